/** Commands, pipelines and transactions against a real server: PG-12 to PG-16, PG-22 to PG-24, PG-45, PG-54. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Rule } from "../support.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, letters, message, RawClient, serialize, startupPacket, statusOf, V3_0 } from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";

/** Writing to `t` is allowed, dropping and deleting are not; `held` needs an approval. */
const rule: Rule = (action, resource) => {
  if (resource.type === "table" && resource.table === "held") return "hold";
  return action === "pg:drop" || action === "pg:delete" || action === "pg:truncate" ? "deny" : "allow";
};

let postgres: PostgresServer;
let gateway: Gateway;
let client: RawClient;
beforeAll(async () => {
  postgres = await startPostgres();
  gateway = await startGateway({ postgres });
  const setup = await RawClient.ready(gateway.port);
  await setup.query("create table t (n int); create table held (n int); create table other (n int)");
  setup.destroy();
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await postgres.stop();
});
beforeEach(async () => {
  client?.destroy();
  client = await RawClient.ready(gateway.port);
  gateway.setRule(() => "allow");
  await client.query("truncate t; deallocate all");
  gateway.setRule(rule);
  gateway.recorder.clear();
});

const { parse, bind, execute, sync, flush, describe: describeMessage } = serialize;
/** Parse, Bind, Execute of the unnamed statement. */
const pbe = (text: string): Buffer => Buffer.concat([parse({ text }), bind({}), execute({})]);
const rows = async (): Promise<(string | null)[]> => firstColumn(await client.query("select n from t order by n"));

describe("PG-12 several statements in one Query", () => {
  test("one denied: nothing is forwarded, one error, one ready", async () => {
    const answer = await client.query("insert into t values (1); drop table t");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ S: "ERROR", C: "42501", D: "Decided by test-deny." });
    expect(await rows()).toEqual([]);
    expect(gateway.recorder.commands[0]).toMatchObject({ decision: "deny", via: "simple" });
    expect(gateway.recorder.outcomes[0]).toEqual({ command: 1, status: "refused", code: "42501" });
  });

  test("all allowed: forwarded as one, one implicit transaction, one outcome", async () => {
    expect(letters(await client.query("insert into t values (1); select 1"))).toBe("CTDCZ");
    expect(gateway.recorder.outcomes.at(-1)).toMatchObject({ status: "ok", tag: "INSERT 0 1; SELECT 1", rows: 2 });
    expect(letters(await client.query("insert into t values (2); select 1/0"))).toBe("CEZ");
    expect(gateway.recorder.outcomes.at(-1)).toMatchObject({ status: "error", code: "22012" });
    expect(await rows()).toEqual(["1"]);
  });
});

test("PG-13 bytes after the text's end are refused, and nothing of it runs", async () => {
  client.send(message("Q", "insert into t values (1)\0; drop table other\0"));
  expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "08P01" });
  client = await RawClient.ready(gateway.port);
  expect(await rows()).toEqual([]);
});

describe("PG-14 a refusal in a pipeline", () => {
  test("the first: one error, one ready, no effect; the previous unnamed statement is not run again", async () => {
    client.send(pbe("insert into t values (1)"), sync());
    await client.until("Z");
    client.send(pbe("drop table t"), pbe("insert into t values (2)"), sync());
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(statusOf(answer)).toBe("I");
    expect(await rows()).toEqual(["1"]);
  });

  test("after the refusal the unnamed statement is gone", async () => {
    client.send(pbe("insert into t values (1)"), sync());
    await client.until("Z");
    client.send(parse({ text: "drop table t" }), sync());
    await client.until("Z");
    client.send(bind({}), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "26000" });
    expect(await rows()).toEqual(["1"]);
  });

  test("what came before is answered first, and undone with the implicit transaction", async () => {
    client.send(pbe("insert into t values (1)"), pbe("drop table t"), pbe("insert into t values (2)"), sync());
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("12CEZ");
    expect(await rows()).toEqual([]);
    expect(gateway.recorder.outcomeOf(/values \(1\)/)).toMatchObject({ status: "error", code: "42501" });
  });

  test("an earlier error of the backend is the one that is told", async () => {
    client.send(pbe("select 1/0"), pbe("drop table t"), sync());
    const answer = await client.until("Z");
    expect(letters(answer).replaceAll(/[12]/g, "")).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "22012" });
  });

  test("the next pipeline works, also when it was sent before the answer", async () => {
    client.send(pbe("drop table t"), sync(), pbe("insert into t values (3)"), sync());
    expect(letters(await client.until("Z"))).toBe("EZ");
    expect(letters(await client.until("Z"))).toBe("12CZ");
    expect(await rows()).toEqual(["3"]);
  });

  test("Flush brings the refusal without Sync", async () => {
    client.send(parse({ text: "drop table t" }), flush());
    expect(errorOf(await client.until("E"))).toMatchObject({ C: "42501" });
    client.send(sync());
    expect(letters(await client.until("Z"))).toBe("Z");
  });
});

describe("PG-15 a refusal is sticky to Sync", () => {
  test("a later, allowed Parse does not lift it", async () => {
    client.send(parse({ name: "bad", text: "drop table t" }), parse({ name: "good", text: "insert into t values (1)" }));
    client.send(bind({ statement: "good" }), execute({}), sync());
    expect(letters(await client.until("Z"))).toBe("EZ");
    client.send(bind({ statement: "good" }), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "26000" });
    expect(await rows()).toEqual([]);
  });

  test("unparsable and over-long text is refused too", async () => {
    client.send(pbe("selekt 1"), pbe("insert into t values (1)"), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "42601" });
    client.send(pbe(`select '${"x".repeat(2 * 1024 * 1024)}'`), pbe("insert into t values (1)"), sync());
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "54000" });
    expect(errorOf(await client.query(`select '${"x".repeat(2 * 1024 * 1024)}'`))).toMatchObject({ C: "54000" });
    expect(gateway.recorder.commands.at(-1)).toMatchObject({ via: "simple", decision: "deny", text: "(2097162 bytes, not read)" });
    expect(await rows()).toEqual([]);
  });
});

describe("PG-16 names are shared by SQL and the protocol", () => {
  test("a Bind of an SQL-prepared statement gets that statement's verdict", async () => {
    gateway.setRule(() => "allow");
    await client.query("insert into t values (1); prepare x as delete from t");
    gateway.setRule(rule);
    client.send(bind({ statement: "x" }), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "42501" });
    expect(await rows()).toEqual(["1"]);
  });

  test("EXECUTE takes the effects of what it names, at the time it runs", async () => {
    await client.query("prepare x as insert into t values (1)");
    expect(letters(await client.query("execute x"))).toBe("CZ");
    expect(gateway.recorder.commands.at(-1)?.effects).toContainEqual({ action: "pg:insert", resource: "orders-db/public.t" });
    gateway.setRule((action) => (action === "pg:insert" ? "deny" : "allow"));
    expect(errorOf(await client.query("execute x"))).toMatchObject({ C: "42501" });
    client.send(parse({ name: "y", text: "insert into t values (2)" }), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "42501" });
  });

  test("EXECUTE of a protocol-prepared statement, DEALLOCATE of it, and unknown names", async () => {
    client.send(parse({ name: "p1", text: "insert into t values (7)" }), sync());
    await client.until("Z");
    expect(letters(await client.query("execute p1"))).toBe("CZ");
    expect(letters(await client.query("deallocate p1"))).toBe("CZ");
    expect(errorOf(await client.query("execute p1"))).toMatchObject({ C: "26000" });
    client.send(bind({ statement: "p1" }), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "26000" });
    client.send(describeMessage({ type: "S", name: "nothing" }), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "26000" });
    client.send(execute({ portal: "nothing" }), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "34000" });
    expect(await rows()).toEqual(["7"]);
  });

  test("a name made and run in one text, and one that survives a rollback", async () => {
    expect(errorOf(await client.query("prepare x as delete from t; execute x"))).toMatchObject({ C: "42501" });
    await client.query("begin; prepare kept as insert into t values (4); rollback");
    expect(letters(await client.query("execute kept"))).toBe("CZ");
    expect(await rows()).toEqual(["4"]);
  });

  test("a failed Parse does not give its name to another statement", async () => {
    client.send(parse({ name: "n", text: "select 1" }), sync());
    await client.until("Z");
    client.send(parse({ name: "n", text: "insert into t values (5)" }), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "42P05" });
    gateway.recorder.clear();
    client.send(bind({ statement: "n" }), execute({}), sync());
    expect(firstColumn(await client.until("Z"))).toEqual(["1"]);
    expect(gateway.recorder.commands.map(({ text }) => text)).toEqual(["select 1"]);
  });

  test("what a pipeline skipped after an error did not happen to the names either", async () => {
    client.send(parse({ name: "n", text: "select 1" }), sync());
    await client.until("Z");
    client.send(pbe("select 1/0"), serialize.close({ type: "S", name: "n" }), parse({ name: "m", text: "select 2" }), sync());
    await client.until("Z");
    client.send(bind({ statement: "n" }), execute({}), sync());
    expect(firstColumn(await client.until("Z"))).toEqual(["1"]);
    client.send(bind({ statement: "m" }), execute({}), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "26000" });
  });

  test("a cursor carries the effects of its query", async () => {
    await client.query("insert into t values (1), (2)");
    await client.query("begin; declare c cursor for select n from t order by n");
    expect(firstColumn(await client.query("fetch 1 from c"))).toEqual(["1"]);
    gateway.setRule((action) => (action === "pg:select" ? "deny" : "allow"));
    expect(errorOf(await client.query("fetch 1 from c"))).toMatchObject({ C: "42501" });
    await client.query("rollback");
    expect(errorOf(await client.query("fetch 1 from unknown"))).toMatchObject({ C: "34000" });
  });

  test("a name that PostgreSQL would cut is refused", async () => {
    client.send(message("P", `${"n".repeat(64)}\0select 1\0`, Buffer.alloc(2)), sync());
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "42622" });
  });
});

describe("PG-54 a refusal inside a transaction aborts it at the target", () => {
  test.each([
    ["simple", async () => await client.query("drop table t")],
    [
      "extended",
      async () => {
        client.send(pbe("drop table t"), sync());
        return await client.until("Z");
      },
    ],
  ])("%s: BEGIN; INSERT; refused; COMMIT leaves nothing", async (_via, refused) => {
    await client.query("begin");
    await client.query("insert into t values (1)");
    const answer = await refused();
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(statusOf(answer)).toBe("E");
    expect(errorOf(await client.query("select 1"))).toMatchObject({ C: "25P02" });
    const commit = await client.query("commit");
    expect(commit[0]?.body.toString()).toBe("ROLLBACK\0");
    expect(await rows()).toEqual([]);
  });

  test("a savepoint before it can be returned to, as after any error", async () => {
    await client.query("begin");
    await client.query("insert into t values (1)");
    await client.query("savepoint s");
    expect(statusOf(await client.query("drop table t"))).toBe("E");
    expect(statusOf(await client.query("rollback to s"))).toBe("T");
    await client.query("commit");
    expect(await rows()).toEqual(["1"]);
  });

  test("a refused Query amid a pipeline without Sync undoes what the pipeline did", async () => {
    client.send(pbe("insert into t values (1)"), serialize.query("drop table t"));
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("12CEZ");
    expect(statusOf(answer)).toBe("I");
    expect(await rows()).toEqual([]);
  });
});

test("PG-53 what the gateway sends of its own never commits the client's work", async () => {
  client.send(pbe("insert into t values (1)"), pbe("drop table t"), flush());
  expect(errorOf(await client.until("E"))).toMatchObject({ C: "42501" });
  const other = await RawClient.ready(gateway.port);
  expect(firstColumn(await other.query("select count(*) from t"))).toEqual(["0"]);
  client.send(sync());
  await client.until("Z");
  expect(await rows()).toEqual([]);
  client.send(pbe("insert into t values (1)"), pbe("select 1/0"), sync());
  await client.until("Z");
  expect(await rows()).toEqual([]);
  other.destroy();
});

test("PG-55 PREPARE TRANSACTION is refused whatever policy says", async () => {
  gateway.setRule(() => "allow");
  await client.query("begin; insert into t values (1)");
  const answer = await client.query("prepare transaction 'x'");
  expect(errorOf(answer)).toMatchObject({ C: "42501" });
  expect(statusOf(answer)).toBe("E");
  expect(errorOf(await client.query("rollback; commit prepared 'x'"))).toMatchObject({ C: "42501" });
});

test("PG-56 a statement that nests too deep is refused with 54001", async () => {
  expect(errorOf(await client.query(`select ${"abs(".repeat(2000)}1${")".repeat(2000)}`))?.["C"]).toMatch(/^54/);
});

test("PG-49 an approval that would be needed inside a transaction is said, with the groups", async () => {
  await client.query("begin");
  const answer = await client.query("select * from held");
  expect(errorOf(answer)).toMatchObject({ C: "42501", H: expect.stringContaining("It needs the approval of dba") });
  expect(errorOf(answer)?.["M"]).toMatch(/^sallyport: approval required/);
  expect(gateway.recorder.commands.at(-1)).toMatchObject({ decision: "hold", policies: ["test-hold"] });
});

describe("PG-22 files and programs", () => {
  test.each(["copy/**/t/**/to/**/program/**/$$true$$", "copy t from '/etc/passwd'", "copy (select 1) to program 'cat'"])(
    "%s",
    async (sql) => {
      gateway.setRule(() => "allow");
      expect(errorOf(await client.query(sql))).toMatchObject({ C: "42501" });
    },
  );
});

test("PG-23 a function call by OID is refused and never forwarded", async () => {
  client.send(message("F", Buffer.from([0, 0, 0x0c, 0x5b, 0, 0, 0, 0, 0, 0])));
  const answer = await client.until("Z");
  expect(letters(answer)).toBe("EZ");
  expect(errorOf(answer)).toMatchObject({ C: "0A000" });
  expect(gateway.recorder.commands).toMatchObject([{ via: "function call", decision: "deny" }]);
  expect(firstColumn(await client.query("select 1"))).toEqual(["1"]);
});

describe("PG-24 replication", () => {
  test("is refused at startup", async () => {
    const raw = await RawClient.open(gateway.port);
    raw.send(startupPacket(V3_0, ["user", "u", "replication", "database"]));
    expect(errorOf(await raw.untilClosed())).toMatchObject({ S: "FATAL", C: "0A000" });
  });

  test("and slots are, whatever policy says", async () => {
    gateway.setRule(() => "allow");
    expect(errorOf(await client.query("select * from pg_logical_slot_peek_changes('s', null, null)"))).toMatchObject({ C: "42501" });
  });
});

describe("PG-45 the reading of SQL does not move", () => {
  test("SET standard_conforming_strings=off is refused whatever policy says", async () => {
    gateway.setRule(() => "allow");
    expect(errorOf(await client.query("set standard_conforming_strings = off"))).toMatchObject({ C: "42501" });
    expect(errorOf(await client.query("set client_encoding = 'SJIS'"))).toMatchObject({ C: "42501" });
  });

  test("a drift that a function causes ends the connection", async () => {
    gateway.setRule(() => "allow");
    await client.query(
      "create or replace function drift() returns int language plpgsql as $$ begin set standard_conforming_strings = off; return 1; end $$",
    );
    client.send(serialize.query("select drift()"));
    const answer = await client.untilClosed();
    expect(errorOf(answer)).toMatchObject({ S: "FATAL", C: "0A000" });
  });

  test("an identifier that PostgreSQL would cut is refused", async () => {
    expect(errorOf(await client.query(`select 1 as ${"x".repeat(64)}`))).toMatchObject({ C: "42622" });
  });
});

test("an unqualified name is decided for every schema the search_path has had", async () => {
  gateway.setRule(() => "allow");
  await client.query("create schema if not exists s2; create table if not exists s2.t (n int)");
  gateway.setRule((_action, resource) => (resource.type === "table" && resource.schema === "s2" ? "deny" : "allow"));
  expect(errorOf(await client.query("select * from t"))).toBeUndefined();
  expect(errorOf(await client.query("set search_path = s2; select * from t"))).toMatchObject({ C: "42501" });
  await client.query("begin; set search_path = s2; rollback");
  const answer = errorOf(await client.query("select * from t"));
  expect(answer).toMatchObject({ C: "42501", H: '"t" is not qualified, so it was asked for in public, s2.' });
  expect(errorOf(await client.query("select * from public.t"))).toBeUndefined();
});
