/** COPY, output, time, size and loss against a real server: PG-21, PG-26 to PG-28, PG-50 to PG-52, PG-56; kill and recording. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, fieldsOf, firstColumn, letters, message, RawClient, serialize, statusOf } from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";

let postgres: PostgresServer;
let gateway: Gateway;
let tight: Gateway;
let client: RawClient;
const noAddress = (text: string): string => text.replaceAll(/\S+@\S+/g, "«email»");
beforeAll(async () => {
  postgres = await startPostgres();
  gateway = await startGateway({ postgres, maskText: noAddress });
  const limits = {
    row_bytes: 100_000,
    result_bytes: 1_000_000,
    copy_in_bytes: 1000,
    statement_s: 0.3,
    idle_in_transaction_s: 0.3,
    unsynced_s: 0.3,
  };
  tight = await startGateway({ postgres, config: { limits } });
  const setup = await RawClient.ready(gateway.port);
  await setup.query("create table t (n int primary key, mail text unique)");
  setup.destroy();
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await tight.stop();
  await postgres.stop();
});
beforeEach(async () => {
  client?.destroy();
  client = await RawClient.ready(gateway.port);
  await client.query("truncate t");
  gateway.recorder.clear();
  tight.recorder.clear();
});

const { parse, bind, execute, sync, flush } = serialize;
const data = (text: string): Buffer => message("d", text);
const count = async (): Promise<(string | null)[]> => firstColumn(await client.query("select count(*) from t"));

describe("PG-21 COPY FROM STDIN", () => {
  const copy = Buffer.concat([parse({ text: "copy t from stdin" }), bind({}), execute({})]);

  test("by Query: data, done", async () => {
    client.send(serialize.query("copy t from stdin"));
    expect(letters(await client.until("G"))).toBe("G");
    client.send(data("1\ta\n2\t"), data("b\n"), message("c"));
    expect(letters(await client.until("Z"))).toBe("CZ");
    expect(await count()).toEqual(["2"]);
    expect(gateway.recorder.outcomes[0]).toMatchObject({ status: "ok", tag: "COPY 2", rows: 2 });
  });

  test("everything sent at once, before the server asked for data", async () => {
    client.send(serialize.query("copy t from stdin"), data("1\ta\n"), message("c"), serialize.query("select 5"));
    expect(letters(await client.until("Z"))).toBe("GCZ");
    expect(firstColumn(await client.until("Z"))).toEqual(["5"]);
    expect(await count()).toEqual(["1"]);
  });

  test("a Sync sent with the Execute is swallowed, as the server does: one ready, and it stays in step", async () => {
    client.send(copy, sync());
    expect(letters(await client.until("G"))).toBe("12G");
    client.send(flush(), data("1\ta\n"), sync(), data("2\tb\n"), message("c"), sync());
    expect(letters(await client.until("Z"))).toBe("CZ");
    expect(await count()).toEqual(["2"]);
  });

  test("an Execute that fails leaves the Sync to be answered, and the stray data to be dropped", async () => {
    client.send(parse({ text: "copy t (n) from stdin (header match)" }), bind({}), execute({}), sync(), data("1\n"), message("c"), sync());
    const first = letters(await client.until("Z"));
    expect(first.endsWith("Z")).toBe(true);
    const next = await client.query("select 6");
    const seen = firstColumn(next).length > 0 ? next : await client.until("Z");
    expect(firstColumn(seen)).toEqual(["6"]);
  });

  test.each(["simple", "extended"])("bad data fails it while more is on its way (%s)", async (via) => {
    client.send(via === "simple" ? serialize.query("copy t from stdin") : copy);
    await client.until("G");
    client.send(data("not a number\tx\n"), data("2\tb\n"), message("c"), ...(via === "simple" ? [] : [sync()]));
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "22P02" });
    expect(await count()).toEqual(["0"]);
  });

  test("CopyFail fails it with 57014", async () => {
    client.send(serialize.query("copy t from stdin"));
    await client.until("G");
    client.send(data("1\ta\n"), serialize.copyFail("changed my mind"));
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "57014" });
    expect(await count()).toEqual(["0"]);
  });

  test("anything else amid the data ends the connection, and nothing is committed", async () => {
    client.send(serialize.query("copy t from stdin"));
    await client.until("G");
    client.send(data("1\ta\n"), serialize.query("select 1"));
    expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "08P01" });
    client = await RawClient.ready(gateway.port);
    expect(await count()).toEqual(["0"]);
  });

  test("more than the limit: 54000, and the connection goes on", async () => {
    const raw = await RawClient.ready(tight.port);
    raw.send(serialize.query("copy t from stdin"));
    await raw.until("G");
    for (let n = 0; n < 300; n++) raw.send(data(`${n}\tx${n}\n`));
    raw.send(message("c"));
    expect(errorOf(await raw.until("Z"))).toMatchObject({ C: "54000" });
    expect(firstColumn(await raw.query("select count(*) from t"))).toEqual(["0"]);
  });

  test("COPY TO STDOUT streams through", async () => {
    await client.query("insert into t select n, n from generate_series(1, 3) n");
    const answer = await client.query("copy t to stdout");
    expect(letters(answer)).toBe("HdddcCZ");
    expect(answer.filter(({ type }) => type === "d").map(({ body }) => body.toString())).toEqual(["1\t1\n", "2\t2\n", "3\t3\n"]);
  });
});

describe("PG-26, PG-27, PG-28: what the target says", () => {
  test("PG-26 errors keep code, message and names, lose context and source, and pass the detectors", async () => {
    await client.query("insert into t values (1, 'a@b.example')");
    const error = errorOf(await client.query("insert into t values (2, 'a@b.example')"));
    expect(error).toMatchObject({ C: "23505", n: "t_mail_key", t: "t", D: "Key «email» already exists." });
    const context = errorOf(await client.query("do $$ begin perform 1/0; end $$"));
    expect(
      Object.keys(context ?? {})
        .sort()
        .join(""),
    ).toBe("CMSV");
  });

  test("PG-27 notices are filtered, and capped", async () => {
    const answer = await client.query("do $$ begin for i in 1..5000 loop raise notice 'n % a@b.example', i; end loop; end $$");
    const notices = answer.filter(({ type }) => type === "N").map(({ body }) => fieldsOf(body));
    expect(notices).toHaveLength(100);
    expect(notices[0]).toEqual({ S: "NOTICE", V: "NOTICE", C: "00000", M: "n 1 «email»" });
  });

  test("PG-28 a reported parameter is no channel for data", async () => {
    const answer = await client.query("set application_name = 'a@b.example'; set timezone = 'Asia/Tokyo'");
    const reported = answer.filter(({ type }) => type === "S").map(({ body }) => body.toString());
    expect(reported).toEqual(["TimeZone\0Asia/Tokyo\0"]);
    expect(client.greeting.map(({ body }) => body.toString()).find((text) => text.startsWith("application_name"))).toBe(
      "application_name\0\0",
    );
    gateway.setRule(() => "allow");
    expect(errorOf(await client.query("select set_config('application_name', (select 'secret'), false)"))).toMatchObject({ C: "42501" });
  });
});

describe("time", () => {
  test("PG-50 a pipeline left without Sync is ended", async () => {
    const raw = await RawClient.ready(tight.port);
    raw.send(parse({ text: "select 1" }), bind({}), execute({}), flush());
    expect(letters(await raw.until("C"))).toBe("12DC");
    const answer = await raw.untilClosed();
    expect(errorOf(answer)).toMatchObject({ S: "FATAL", C: "25P03" });
    expect(tight.recorder.outcomes).toMatchObject([{ status: "unknown" }]);
  });

  test("PG-51 a statement is cancelled at the limit, and the connection goes on", async () => {
    const raw = await RawClient.ready(tight.port);
    const answer = await raw.query("select pg_sleep(999)");
    expect(errorOf(answer)).toMatchObject({ S: "ERROR", C: "57014", M: "sallyport: canceling statement: it ran longer than 0.3 s" });
    expect(firstColumn(await raw.query("select 1"))).toEqual(["1"]);
    expect(tight.recorder.outcomes[0]).toMatchObject({ status: "cancelled", code: "57014" });
  });

  test("PG-51 lifting the server's timeouts does not lift the gateway's, and is policy's to allow", async () => {
    const raw = await RawClient.ready(tight.port);
    expect(errorOf(await raw.query("set statement_timeout = 0"))).toBeUndefined();
    expect(errorOf(await raw.query("select pg_sleep(999)"))).toMatchObject({ C: "57014" });
    expect(tight.recorder.commands[0]?.effects).toContainEqual({ action: "pg:set", resource: "orders-db" });
  });

  test("an open transaction left idle is ended", async () => {
    const raw = await RawClient.ready(tight.port);
    await raw.query("begin");
    expect(errorOf(await raw.untilClosed())).toMatchObject({ S: "FATAL", C: "25P03" });
  });
});

describe("PG-52 a client that disappears", () => {
  async function until(check: () => Promise<boolean>): Promise<void> {
    while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const waiting = async (): Promise<string | null> =>
    firstColumn(await client.query("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"))[0] ?? null;

  test("while it waits for a lock: cancelled, not committed, recorded as unknown", async () => {
    await client.query("begin; lock table t in exclusive mode");
    const raw = await RawClient.ready(gateway.port);
    raw.send(serialize.query("insert into t values (99, 'lost')"));
    await until(async () => (await waiting()) === "1");
    raw.destroy();
    await until(async () => (await waiting()) === "0");
    await client.query("commit");
    expect(await count()).toEqual(["0"]);
    expect(gateway.recorder.outcomeOf(/99/)).toMatchObject({ status: "unknown" });
    expect(gateway.recorder.closed.at(-1)).toMatchObject({ reason: "the client disconnected" });
  });

  test("the target disappears: FATAL 08006 or its own words, and the outcome is unknown", async () => {
    const raw = await RawClient.ready(gateway.port);
    raw.send(serialize.query("select pg_sleep(60)"));
    await until(
      async () => firstColumn(await client.query("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'"))[0] === "1",
    );
    const direct = await RawClient.ready(gateway.port);
    // Signals are refused by the gateway, so the test asks the server itself.
    const admin = await connectTo(postgres, "postgres");
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60)'");
    await admin.end();
    expect(errorOf(await raw.untilClosed())).toMatchObject({ S: "FATAL", C: "57P01" });
    direct.destroy();
  });
});

describe("PG-56 size", () => {
  test("one huge row: 54000, without holding it, and the connection goes on", async () => {
    const answer = await client.query("select repeat('x', 100000000)");
    expect(letters(answer)).toBe("TEZ");
    expect(errorOf(answer)).toMatchObject({ S: "ERROR", C: "54000" });
    expect(firstColumn(await client.query("select 1"))).toEqual(["1"]);
    expect(gateway.recorder.outcomes[0]).toMatchObject({ status: "error", code: "54000" });
  });

  test("too much in all, by rows and by COPY: 54000 in place of the rest", async () => {
    for (const sql of [
      "select repeat('x', 1000) from generate_series(1, 100000)",
      "copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout",
    ]) {
      const raw = await RawClient.ready(tight.port);
      const answer = await raw.query(sql);
      expect(errorOf(answer)).toMatchObject({ C: "54000" });
      expect(raw.received).toBeLessThan(1_100_000);
      expect(firstColumn(await raw.query("select 1"))).toEqual(["1"]);
    }
  });

  test("a slow reader stops the target from being read", async () => {
    client.send(serialize.query("select repeat('x', 10000) from generate_series(1, 20000)"));
    client.pause();
    const before = process.memoryUsage().rss;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    expect(client.received).toBeLessThan(20 * 1024 * 1024);
    client.resume();
    expect(letters(await client.until("Z")).length).toBe(20_003);
  });
});

describe("the session's end and the recorder", () => {
  test("GW-17 a kill says why with 57P01 and ends the target's side", async () => {
    const other = await startGateway({ postgres });
    const raw = await RawClient.ready(other.port);
    raw.send(serialize.query("select pg_sleep(61)"));
    const running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(61)'";
    while (firstColumn(await client.query(running))[0] !== "1");
    other.kill({ code: "identity_revoked", message: "This identity is revoked." });
    expect(errorOf(await raw.untilClosed())).toMatchObject({ S: "FATAL", C: "57P01", M: "sallyport: This identity is revoked." });
    while (firstColumn(await client.query(running))[0] !== "0");
    await other.stop();
    expect(other.recorder.outcomes).toMatchObject([{ status: "unknown" }]);
  });

  test("GW-20 what cannot be recorded does not run: 58030, inside a transaction too", async () => {
    gateway.recorder.unavailable = true;
    expect(errorOf(await client.query("insert into t values (1, 'x')"))).toMatchObject({ C: "58030" });
    client.send(parse({ text: "insert into t values (1, 'x')" }), bind({}), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "58030" });
    gateway.recorder.unavailable = false;
    await client.query("begin; insert into t values (2, 'y')");
    gateway.recorder.unavailable = true;
    expect(statusOf(await client.query("insert into t values (3, 'z')"))).toBe("E");
    gateway.recorder.unavailable = false;
    await client.query("commit");
    expect(await count()).toEqual(["0"]);
  });
});
