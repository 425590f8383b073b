/** Two logins for one client, against a real server: large results, holds, settings, cancels, losses, ends. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { eventually } from "../../../support/eventually.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { CANCEL, errorOf, fieldsOf, firstColumn, int32, letters, RawClient, serialize, startupPacket, statusOf } from "../raw-client.ts";
import { allowAll, startGateway, type Gateway } from "../support.ts";
import { byWord, createWith, logins, prepareDatabase, SENTINEL } from "./two-logins.ts";

let postgres: PostgresServer;
let gateway: Gateway;
let client: RawClient;
beforeAll(async () => {
  postgres = await startPostgres();
  await prepareDatabase(postgres);
  gateway = await startGateway({ postgres, config: logins, create: createWith(byWord) });
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await postgres.stop();
});
beforeEach(async () => {
  client?.destroy();
  client = await RawClient.ready(gateway.port);
  await client.query("truncate notes");
  gateway.recorder.clear();
});

const { parse, bind, execute, sync } = serialize;
const pbe = (text: string, name = ""): Buffer => Buffer.concat([parse({ text, name }), bind({ statement: name }), execute({})]);
const EMAIL = "select email from users where id = 1";
/** Backends of the gateway's at the server, by login. */
const backends = async (): Promise<string[]> => {
  const admin = await connectTo(postgres, "postgres");
  const { rows } = await admin.query<{ usename: string }>(
    "SELECT usename FROM pg_stat_activity WHERE usename LIKE 'app%' AND application_name <> 'sallyport:catalogue' ORDER BY usename",
  );
  await admin.end();
  return rows.map(({ usename }) => usename);
};

describe("large results", () => {
  test("a slow reader gets all rows of the second lane, and then the first lane's", async () => {
    client.pause();
    client.send(
      serialize.query("select repeat('x', 1000) || email from users, generate_series(1, 2000)"),
      serialize.query("select count(*) from users, generate_series(1, 2000)"),
    );
    await eventually(() => expect(gateway.recorder.commands.length).toBeGreaterThan(0));
    client.resume();
    expect(firstColumn(await client.until("Z"))).toHaveLength(10_000);
    expect(firstColumn(await client.until("Z"))).toEqual(["10000"]);
  });
});

describe("holds", () => {
  test("PG-49 in the client's open transaction a statement of the second lane is refused, and not held", async () => {
    gateway.setRule((action, resource) =>
      action === "pg:select" && resource.type === "table" && resource.table === "users" ? "hold" : "allow",
    );
    await client.query("begin");
    const answer = await client.query(EMAIL);
    gateway.setRule(allowAll);
    expect([errorOf(answer)?.["C"], statusOf(answer)]).toEqual(["42501", "E"]);
    expect(gateway.recorder.commands.at(-1)).toMatchObject({ decision: "hold", login: "classified" });
    await client.query("rollback");
  });
});

describe("settings", () => {
  test("formats, and the schemas in which names are looked up, are those of the client's session", async () => {
    await client.query("set datestyle to 'SQL, DMY'");
    const joined = "select joined, email from users where id = 1";
    expect(firstColumn(await client.query(joined))).toEqual(["04/02/2020"]);
    await client.query("set search_path to side, public");
    expect(firstColumn(await client.query(EMAIL))).toEqual(["aside@example.com"]);
    await client.query("reset search_path; reset datestyle");
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
    expect(firstColumn(await client.query(joined))).toEqual(["2020-02-04"]);
  });

  test("SET LOCAL counts within its transaction only", async () => {
    await client.query("begin");
    await client.query("set local search_path to side");
    expect(firstColumn(await client.query(EMAIL))).toEqual(["aside@example.com"]);
    await client.query("commit");
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
  });
});

describe("ends", () => {
  const cancelPacket = (): Buffer => {
    const key = client.greeting.find(({ type }) => type === "K")?.body ?? Buffer.alloc(0);
    return Buffer.concat([int32(4 + 4 + key.length), int32(CANCEL), key]);
  };

  test("PG-11 a cancel reaches the lane that runs", async () => {
    client.send(serialize.query("select email, pg_sleep(30) from users where id = 1"));
    await eventually(async () => expect(gateway.recorder.commands.length).toBe(1));
    await eventually(async () => {
      const other = await RawClient.open(gateway.port);
      other.send(cancelPacket());
      await other.untilClosed();
      if (client.received === 0) throw new Error("nothing came");
    });
    const answer = await client.until("Z");
    expect(errorOf(answer)?.["C"]).toBe("57014");
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
  });

  test("a client that leaves, and one that is killed, leave no backend", async () => {
    const before = (await backends()).length;
    const second = await RawClient.ready(gateway.port);
    await second.query(EMAIL);
    await second.query("begin");
    await second.query(EMAIL);
    expect((await backends()).length).toBe(before + 2);
    second.destroy();
    await eventually(async () => expect((await backends()).length).toBe(before));
  });

  test("two clients at once have two backends each, and their own results", async () => {
    const second = await RawClient.ready(gateway.port);
    const answers = await Promise.all([
      client.query("select email, pg_sleep(0.2) from users where id = 1"),
      second.query("select email, pg_sleep(0.1) from users where id = 2"),
    ]);
    expect(answers.map((answer) => firstColumn(answer))).toEqual([[SENTINEL], ["user2@example.com"]]);
    second.destroy();
  });

  test("the second backend's death while it is idle is nobody's end", async () => {
    await client.query(EMAIL);
    const admin = await connectTo(postgres, "postgres");
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_classified'");
    await admin.end();
    await eventually(async () => expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]));
    expect(firstColumn(await client.query("select 1"))).toEqual(["1"]);
  });

  test("Terminate ends both backends", async () => {
    const before = (await backends()).length;
    const second = await RawClient.ready(gateway.port);
    second.send(pbe(EMAIL), sync(), serialize.end());
    expect(letters(await second.untilClosed())).toBe("12DCZ");
    await eventually(async () => expect((await backends()).length).toBe(before));
  });

  test("a kill ends both, and the client is told once", async () => {
    const own = await startGateway({ postgres, config: logins, create: createWith(byWord) });
    const before = (await backends()).length;
    const second = await RawClient.ready(own.port);
    await second.query(EMAIL);
    second.send(serialize.query("select email, pg_sleep(30) from users where id = 1"));
    await eventually(async () => expect(own.recorder.commands.length).toBe(2));
    own.kill({ code: "session_killed", message: "killed by the test" });
    const last = await second.untilClosed();
    expect(last.filter(({ type }) => type === "E").map(({ body }) => fieldsOf(body)["C"])).toEqual(["57P01"]);
    await eventually(async () => expect((await backends()).length).toBe(before));
    expect(own.recorder.outcomes.at(-1)).toMatchObject({ status: "unknown" });
    await own.stop();
  });

  test("a second login that cannot log in refuses the statement, and the session goes on", async () => {
    const admin = await connectTo(postgres, "postgres");
    await admin.query("ALTER ROLE app_classified NOLOGIN");
    const second = await RawClient.ready(gateway.port);
    const answer = await second.query(EMAIL);
    expect([letters(answer), errorOf(answer)?.["C"]]).toEqual(["EZ", "08001"]);
    expect(firstColumn(await second.query("select 1"))).toEqual(["1"]);
    await admin.query("ALTER ROLE app_classified LOGIN");
    expect(firstColumn(await second.query(EMAIL))).toEqual([SENTINEL]);
    await admin.end();
    second.destroy();
  });
});

test("COPY of a classified projection comes from the second login", async () => {
  const answer = await client.query("copy (select id, email from users order by id limit 1) to stdout");
  expect(letters(answer)).toBe("HdcCZ");
  expect(answer.find(({ type }) => type === "d")?.body.toString()).toBe(`1\t${SENTINEL}\n`);
});

test("startup packets and passwords: neither login's password is said to the client", async () => {
  expect(JSON.stringify(client.greeting.map(({ body }) => body.toString("latin1")))).not.toMatch(/password/);
  const wrong = await RawClient.open(gateway.port);
  wrong.send(startupPacket(196_608, ["user", "app_classified"]));
  expect((await wrong.until("Z")).at(-1)?.body.toString()).toBe("I");
  expect(firstColumn(await wrong.query("select current_user"))).toEqual(["app"]);
  wrong.destroy();
});
