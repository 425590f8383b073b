/** Two logins for one client, against a real server: who runs what, transactions, pipelines, names. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, letters, RawClient, serialize, statusOf } from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";
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

const { parse, bind, execute, sync, close, describe: describeMessage } = serialize;
const pbe = (text: string, name = ""): Buffer => Buffer.concat([parse({ text, name }), bind({ statement: name }), execute({})]);
const send = async (...parts: Buffer[]) => {
  client.send(...parts);
  return await client.until("Z");
};
const EMAIL = "select email from users where id = 1";
const notes = async () => firstColumn(await client.query("select text from notes order by id"));
const ranAs = (text: RegExp) => gateway.recorder.commands.filter((event) => text.test(event.text)).map(({ login }) => login ?? "ordinary");
/** Backends of the gateway's at the server, by login. */
const backends = async (): Promise<string[]> => {
  const admin = await connectTo(postgres, "postgres");
  const { rows } = await admin.query<{ usename: string }>(
    "SELECT usename FROM pg_stat_activity WHERE usename LIKE 'app%' AND application_name <> 'sallyport:catalogue' ORDER BY usename",
  );
  await admin.end();
  return rows.map(({ usename }) => usename);
};

describe("which login runs what", () => {
  test("what is routed to it runs on the second login, the rest on the first", async () => {
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
    expect(firstColumn(await client.query("select current_user"))).toEqual(["app"]);
    expect(firstColumn(await client.query("select current_user /* no email */ "))).toEqual(["app"]);
    expect(ranAs(/email from users/)).toEqual(["classified"]);
    expect(ranAs(/current_user/)).toEqual(["ordinary", "ordinary"]);
  });

  test("A: what the first login may not read, its own server refuses, whatever the statement", async () => {
    for (const sql of ["select id from users where email = 'x'", "select count(*) from users where email like 's%'"]) {
      const answer = await client.query(sql);
      expect(letters(answer)).toBe("EZ");
      expect(errorOf(answer)?.["C"]).toBe("42501");
    }
  });

  test("the second login's backend is opened only when it is needed, and can only read", async () => {
    const before = await backends();
    expect(before.filter((user) => user === "app_classified")).toEqual([]);
    await client.query(EMAIL);
    expect(await backends()).toEqual([...before, "app_classified"]);
    const written = await client.query("insert into users (id, name) values (77, 'email')");
    expect(errorOf(written)).toBeUndefined();
    expect((await client.query("delete from users where id = 77")).at(-2)?.body.toString()).toBe("DELETE 1\0");
    const readOnly = await client.query("select email from users where id = 1 for update");
    expect(errorOf(readOnly)?.["C"]).toMatch(/^(25006|42501)$/);
  });
});

describe("transactions", () => {
  test("read, then classified, then read: one transaction for the client", async () => {
    expect(statusOf(await client.query("begin"))).toBe("T");
    expect(statusOf(await client.query("select id from users"))).toBe("T");
    const answer = await client.query(EMAIL);
    expect([firstColumn(answer), statusOf(answer)]).toEqual([[SENTINEL], "T"]);
    await client.query("insert into notes (text) values ('kept')");
    expect(statusOf(await client.query("commit"))).toBe("I");
    expect(await notes()).toEqual(["kept"]);
  });

  test("write, then classified: refused, and the transaction is aborted at the target", async () => {
    await client.query("begin");
    await client.query("insert into notes (text) values ('lost')");
    const answer = await client.query(EMAIL);
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501", M: expect.stringMatching(/has written/) });
    expect(statusOf(answer)).toBe("E");
    expect((await client.query("commit")).at(-2)?.body.toString()).toBe("ROLLBACK\0");
    expect(await notes()).toEqual([]);
    expect(gateway.recorder.commands.find(({ text }) => text === EMAIL)).toMatchObject({ decision: "deny" });
    // Control: without the write it is allowed.
    await client.query("begin");
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
    await client.query("rollback");
  });

  test.each(["repeatable read", "serializable"])("in %s it is refused: the snapshots would differ", async (level) => {
    await client.query(`begin isolation level ${level}`);
    const answer = await client.query(EMAIL);
    expect([errorOf(answer)?.["C"], statusOf(answer)]).toEqual(["42501", "E"]);
    await client.query("rollback");
  });

  test("PG-54 an error in the second lane aborts the transaction of the first", async () => {
    await client.query("begin");
    const answer = await client.query("select email, 1/(id - id) from users");
    expect(letters(answer)).toMatch(/^T?EZ$/);
    expect(statusOf(answer)).toBe("E");
    expect(errorOf(await client.query(EMAIL))?.["C"]).toBe("25P02");
    const inserted = await client.query("insert into notes (text) values ('lost')");
    expect(errorOf(inserted)?.["C"]).toBe("25P02");
    expect((await client.query("commit")).at(-2)?.body.toString()).toBe("ROLLBACK\0");
    expect(await notes()).toEqual([]);
  });

  test("PG-54 likewise by the extended protocol, what follows in the pipeline is skipped", async () => {
    await client.query("begin");
    const answer = await send(pbe("select email, 1/(id - id) from users"), pbe("select 1"), sync());
    expect(letters(answer)).toMatch(/^12D?EZ$/);
    expect(statusOf(answer)).toBe("E");
    expect(errorOf(await client.query("insert into notes (text) values ('lost')"))?.["C"]).toBe("25P02");
    await client.query("rollback");
    // Outside of a transaction nothing is left behind.
    expect(statusOf(await client.query("select email, 1/(id - id) from users"))).toBe("I");
  });

  test("PG-54 pipelined segments after the failing one find the transaction aborted", async () => {
    await client.query("begin");
    client.send(
      pbe("select email, 1/(id - id) from users"),
      sync(),
      pbe(EMAIL),
      sync(),
      pbe("insert into notes (text) values ('lost')"),
      sync(),
    );
    const answers = [await client.until("Z"), await client.until("Z"), await client.until("Z")];
    expect(answers.map((answer) => errorOf(answer)?.["C"])).toEqual(["22012", "25P02", "25P02"]);
    expect(answers.map(statusOf)).toEqual(["E", "E", "E"]);
    await client.query("commit");
    expect(await notes()).toEqual([]);
  });
});

describe("PG-53 the gateway's own question to the first lane", () => {
  test("neither commits nor aborts the client's transaction, and leaves its unnamed statement and savepoints alone", async () => {
    await send(parse({ name: "high", text: EMAIL }), sync());
    await client.query("begin");
    await client.query("savepoint s");
    await send(parse({ text: "select 3" }), sync());
    expect(firstColumn(await send(bind({ statement: "high", portal: "p" }), execute({ portal: "p" }), sync()))).toEqual([SENTINEL]);
    expect(firstColumn(await send(bind({}), execute({}), sync()))).toEqual(["3"]);
    await client.query("insert into notes (text) values ('undone')");
    expect(letters(await client.query("rollback to s"))).toBe("CZ");
    expect(letters(await client.query("commit"))).toBe("CZ");
    expect(await notes()).toEqual([]);
  });

  test("a write that was undone to a savepoint still counts: the server says what the transaction is", async () => {
    await client.query("begin");
    await client.query("savepoint s");
    await client.query("insert into notes (text) values ('undone')");
    await client.query("rollback to s");
    const answer = await client.query(EMAIL);
    // Refused or allowed as the server counts it; either way nothing that is not committed is seen as if it were.
    expect([errorOf(answer)?.["C"] ?? "read", statusOf(answer)]).toEqual(["42501", "E"]);
    await client.query("rollback");
  });

  test("is not taken for the client's: it is in no record", async () => {
    await client.query(EMAIL);
    expect(gateway.recorder.commands.map(({ text }) => text)).toEqual([EMAIL]);
  });
});

describe("pipelines of both lanes", () => {
  test("segments of either lane answer in order", async () => {
    client.send(
      pbe("select 1"),
      sync(),
      pbe(EMAIL),
      sync(),
      pbe("insert into notes (text) values ('x') returning text"),
      sync(),
      pbe(EMAIL),
      sync(),
    );
    const answers = [await client.until("Z"), await client.until("Z"), await client.until("Z"), await client.until("Z")];
    expect(answers.map(letters)).toEqual(["12DCZ", "12DCZ", "12DCZ", "12DCZ"]);
    expect(answers.map((answer) => firstColumn(answer)[0])).toEqual(["1", SENTINEL, "x", SENTINEL]);
    expect(await notes()).toEqual(["x"]);
  });

  test("reads and BEGIN may come before in one segment, as JDBC sends them; and what follows goes back", async () => {
    const answer = await send(pbe("begin"), pbe("select 7"), pbe(EMAIL), pbe("insert into notes (text) values ('y')"), sync());
    expect(letters(answer)).toBe("12C12DC12DC12CZ");
    expect([firstColumn(answer), statusOf(answer)]).toEqual([["7", SENTINEL], "T"]);
    await client.query("rollback");
    expect(await notes()).toEqual([]);
  });

  test("after a write of the same segment it is refused, and the write is undone", async () => {
    const answer = await send(pbe("insert into notes (text) values ('z')"), pbe(EMAIL), pbe("select 1"), sync());
    expect(letters(answer)).toBe("12CEZ");
    expect(errorOf(answer)).toMatchObject({ C: "0A000", H: expect.stringMatching(/Sync/) });
    expect(await notes()).toEqual([]);
  });

  test("an error before the change of lanes skips the rest", async () => {
    const answer = await send(pbe("select 1/0"), pbe(EMAIL), sync());
    expect(letters(answer)).toMatch(/^12?EZ$/);
    expect(gateway.recorder.outcomeOf(/email/)).toBeUndefined();
    expect(firstColumn(await client.query(EMAIL))).toEqual([SENTINEL]);
  });

  test("an error after the change of lanes aborts the transaction begun before it", async () => {
    const answer = await send(
      pbe("begin"),
      pbe("select email, 1/(id - id) from users"),
      pbe("insert into notes (text) values ('w')"),
      sync(),
    );
    expect(letters(answer)).toMatch(/^12C12D?EZ$/);
    expect(statusOf(answer)).toBe("E");
    await client.query("commit");
    expect(await notes()).toEqual([]);
  });

  test("many in a row, sent at once", async () => {
    const texts = Array.from({ length: 40 }, (_, i) => (i % 3 === 0 ? EMAIL : `select ${i}`));
    client.send(...texts.flatMap((text) => [pbe(text), sync()]));
    for (const [i] of texts.entries()) {
      expect(firstColumn(await client.until("Z"))).toEqual([i % 3 === 0 ? SENTINEL : String(i)]);
    }
  });
});

describe("names", () => {
  test("a statement prepared in either lane is bound where it was parsed", async () => {
    expect(letters(await send(parse({ name: "low", text: "select name from users where id = $1" }), sync()))).toBe("1Z");
    expect(letters(await send(parse({ name: "high", text: "select email from users where id = $1" }), sync()))).toBe("1Z");
    const run = (statement: string) => send(bind({ statement, values: ["1"] }), describeMessage({ type: "P" }), execute({}), sync());
    for (const _ of [1, 2]) {
      expect(firstColumn(await run("high"))).toEqual([SENTINEL]);
      expect(firstColumn(await run("low"))).toEqual(["name 1"]);
    }
    expect(letters(await send(close({ type: "S", name: "high" }), sync()))).toBe("3Z");
    expect(errorOf(await run("high"))?.["C"]).toBe("26000");
    expect(firstColumn(await run("low"))).toEqual(["name 1"]);
  });

  test("a name is one name, whichever lane has it", async () => {
    await send(parse({ name: "n", text: "select email from users where id = 1" }), sync());
    const again = await send(parse({ name: "n", text: "select 1" }), sync());
    expect([letters(again), errorOf(again)?.["C"]]).toEqual(["EZ", "42P05"]);
    expect(firstColumn(await send(bind({ statement: "n" }), execute({}), sync()))).toEqual([SENTINEL]);
    expect(letters(await client.query("deallocate n"))).toBe("CZ");
    expect(letters(await send(parse({ name: "n", text: "select 1" }), sync()))).toBe("1Z");
    expect(firstColumn(await send(bind({ statement: "n" }), execute({}), sync()))).toEqual(["1"]);
  });

  test("the unnamed statement is the last one, of either lane", async () => {
    await send(parse({ text: EMAIL }), sync());
    await send(parse({ text: "select 3" }), sync());
    expect(firstColumn(await send(bind({}), execute({}), sync()))).toEqual(["3"]);
    await send(parse({ text: EMAIL }), sync());
    expect(firstColumn(await send(bind({}), execute({}), sync()))).toEqual([SENTINEL]);
    await client.query("select 1");
    expect(errorOf(await send(bind({}), execute({}), sync()))?.["C"]).toBe("26000");
  });

  test("in a transaction that wrote, a prepared statement of the second lane is refused at Bind, and can be closed", async () => {
    await send(parse({ name: "high", text: EMAIL }), sync());
    await client.query("begin");
    await client.query("insert into notes (text) values ('v')");
    expect(letters(await send(describeMessage({ type: "S", name: "high" }), sync()))).toBe("tTZ");
    const bound = await send(bind({ statement: "high" }), execute({}), sync());
    expect([letters(bound), errorOf(bound)?.["C"], statusOf(bound)]).toEqual(["EZ", "42501", "E"]);
    await client.query("rollback");
    expect(letters(await send(close({ type: "S", name: "high" }), sync()))).toBe("3Z");
  });

  test("EXECUTE of it runs there, but its arguments read nothing there", async () => {
    await send(parse({ name: "high", text: "select email from users where id = $1" }), sync());
    expect(firstColumn(await client.query("execute high(1)"))).toEqual([SENTINEL]);
    const spying = "execute high(length(query_to_xml('select email from users where id = 1', false, false, '')::text))";
    expect(errorOf(await client.query(spying))?.["C"]).toBe("42501");
    expect(ranAs(/execute/)).toEqual(["classified", "classified"]);
    expect(gateway.recorder.commands.at(-1)).toMatchObject({ decision: "deny" });
  });

  test("DEALLOCATE ALL and DISCARD ALL forget both lanes' statements", async () => {
    for (const sql of ["deallocate all", "discard all"]) {
      await send(parse({ name: "high", text: EMAIL }), sync());
      await client.query(sql);
      expect(errorOf(await send(bind({ statement: "high" }), execute({}), sync()))?.["C"]).toBe("26000");
      expect(letters(await send(parse({ name: "high", text: EMAIL }), sync()))).toBe("1Z");
    }
  });
});
