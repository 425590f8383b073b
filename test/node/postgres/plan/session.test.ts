/**
 * A session that runs by a plan, against a real server: what is in the plan runs, in its order, as often as it is listed,
 * by simple and by extended protocol; everything else is refused, whatever policy says.
 */
import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PlanLedger } from "../../../../tunnel-agent/plan-ledger.ts";
import { statementDigest } from "../../../../tunnel-agent/protocols/postgres/statement-digest.ts";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { RawClient, letters, errorOf, serialize } from "../raw-client.ts";
import { startGateway, type Gateway, type Rule } from "../support.ts";

let postgres: PostgresServer;
let root: Client;
let gateway: Gateway | undefined;

beforeAll(async () => {
  postgres = await startPostgres();
  root = await connectTo(postgres, "postgres");
  await root.query("CREATE TABLE t (n int)");
});
afterAll(async () => {
  await root.end();
  await postgres.stop();
});
beforeEach(() => root.query("TRUNCATE t"));
afterEach(() => gateway?.stop());

const ONE = "INSERT INTO t VALUES (1)";
const TWO = "INSERT INTO t VALUES (2)";
const THREE = "INSERT INTO t VALUES (3)";

interface Listed {
  readonly sql: string;
  readonly approved?: boolean;
}

async function start(statements: readonly (string | Listed)[], rule: Rule = () => "allow"): Promise<void> {
  const listed = statements.map((entry) => (typeof entry === "string" ? { sql: entry } : entry));
  const plan = new PlanLedger({
    id: "pln_1",
    statements: listed.map(({ sql, approved = false }: Listed) => ({ digest: statementDigest(sql), approved })),
    approval: "apr_1",
    approvals: ["dba"],
  });
  gateway = await startGateway({ postgres, plan, rule });
}

async function client(): Promise<RawClient> {
  return RawClient.ready(gateway?.port ?? 0);
}
async function run(raw: RawClient, sql: string): Promise<string> {
  const messages = await raw.query(sql);
  const error = errorOf(messages);
  return error === undefined ? "ok" : `${error["C"]} ${error["M"]}`;
}
const rows = async (): Promise<number[]> => (await root.query<{ n: number }>("SELECT n FROM t ORDER BY ctid")).rows.map(({ n }) => n);
const NOT_IN_PLAN = expect.stringMatching(/^42501 sallyport: this statement is not in plan pln_1/);

describe("simple", () => {
  test("what is listed runs, however it is spaced; then no more", async () => {
    await start([ONE, TWO]);
    const raw = await client();
    expect(await run(raw, "INSERT /* why */ INTO t\n VALUES (1);")).toBe("ok");
    expect(await run(raw, TWO)).toBe("ok");
    expect(await run(raw, TWO)).toEqual(NOT_IN_PLAN);
    expect(await run(raw, ONE)).toEqual(NOT_IN_PLAN);
    expect(await rows()).toEqual([1, 2]);
    raw.destroy();
  });

  test("what is not listed is refused; the control is the same session without a plan", async () => {
    await start([ONE]);
    const raw = await client();
    for (const sql of [
      THREE,
      "insert into t values (1)",
      "SELECT 1",
      "SET search_path = public",
      "SET datestyle = 'DMY'",
      "DO $$begin end$$",
      `${ONE}; ${TWO}`,
    ]) {
      expect(await run(raw, sql), sql).toEqual(NOT_IN_PLAN);
    }
    expect(await rows()).toEqual([]);
    raw.destroy();
    await gateway?.stop();
    gateway = await startGateway({ postgres });
    const free = await client();
    expect(await run(free, THREE)).toBe("ok");
    free.destroy();
  });

  test("forwards only: what was passed over does not come back; twice listed runs twice", async () => {
    await start([ONE, TWO, ONE, THREE]);
    const raw = await client();
    expect(await run(raw, TWO)).toBe("ok");
    expect(await run(raw, ONE)).toBe("ok");
    expect(await run(raw, ONE)).toEqual(NOT_IN_PLAN);
    expect(await run(raw, THREE)).toBe("ok");
    expect(await rows()).toEqual([2, 1, 3]);
    raw.destroy();
  });

  test("several statements in one Query are each counted", async () => {
    await start([ONE, TWO, THREE]);
    const raw = await client();
    expect(await run(raw, `${ONE}; ${TWO}`)).toBe("ok");
    expect(await run(raw, `${TWO}; ${THREE}`)).toEqual(NOT_IN_PLAN);
    expect(await run(raw, THREE)).toBe("ok");
    expect(await rows()).toEqual([1, 2, 3]);
    raw.destroy();
  });

  test("transactions and what drivers set need no place; policy still decides them", async () => {
    await start([ONE], (action) => (action === "pg:set" ? "deny" : "allow"));
    const raw = await client();
    for (const sql of ["BEGIN", "SAVEPOINT s", "SHOW search_path", "SET application_name = 'x'", "SET extra_float_digits TO 3", ""]) {
      expect(await run(raw, sql), sql).toBe("ok");
    }
    expect(await run(raw, ONE)).toBe("ok");
    expect(await run(raw, "COMMIT")).toBe("ok");
    expect(await rows()).toEqual([1]);
    raw.destroy();
  });

  test("all connections of the session share it", async () => {
    await start([ONE]);
    const [first, second] = [await client(), await client()];
    const both = await Promise.all([run(first, ONE), run(second, ONE)]);
    expect(both.filter((outcome) => outcome === "ok")).toHaveLength(1);
    expect(await rows()).toEqual([1]);
    first.destroy();
    second.destroy();
  });
});

describe("consent", () => {
  const held: Rule = (action) => (action === "pg:insert" ? "hold" : "allow");

  test("counts for the statements that got it, inside a transaction too, and is in the record", async () => {
    await start([{ sql: ONE, approved: true }], held);
    const raw = await client();
    expect(await run(raw, "BEGIN")).toBe("ok");
    expect(await run(raw, ONE)).toBe("ok");
    expect(await run(raw, "COMMIT")).toBe("ok");
    expect(await rows()).toEqual([1]);
    expect(gateway?.recorder.commands.filter(({ approval }) => approval !== undefined)).toMatchObject([
      { text: ONE, approval: "apr_1", decision: "allow" },
    ]);
    raw.destroy();
  });

  test("does not count for others of the plan, nor beside an approved one in the same Query", async () => {
    await start([{ sql: ONE, approved: true }, TWO], held);
    const raw = await client();
    expect(await run(raw, "BEGIN")).toBe("ok");
    expect(await run(raw, `${ONE}; ${TWO}`)).toMatch(/^42501 .*(approval|consent)/);
    expect(await rows()).toEqual([]);
    raw.destroy();
  });

  test("does not outweigh a policy that denies by then", async () => {
    await start([{ sql: ONE, approved: true }], held);
    gateway?.setRule(() => "deny");
    const raw = await client();
    expect(await run(raw, ONE)).toMatch(/^42501/);
    expect(await rows()).toEqual([]);
    raw.destroy();
  });
});

describe("extended", () => {
  const parse = (name: string, text: string) => serialize.parse({ name, text });
  const bindExecute = (statement: string, portal = "", rowsAtMost = 0) => [
    serialize.bind({ statement, portal }),
    serialize.execute({ portal, rows: rowsAtMost }),
  ];

  test("a statement is counted when it is bound: a second Bind of it is refused", async () => {
    await start([ONE]);
    const raw = await client();
    raw.send(parse("s", ONE), ...bindExecute("s"), serialize.sync());
    expect(letters(await raw.until("Z"))).toBe("12CZ");
    raw.send(...bindExecute("s"), serialize.sync());
    expect(errorOf(await raw.until("Z"))?.["M"]).toContain("not in plan");
    expect(await rows()).toEqual([1]);
    raw.destroy();
  });

  test("two Binds before one Execute count twice", async () => {
    await start([ONE]);
    const raw = await client();
    raw.send(parse("s", ONE), serialize.bind({ statement: "s", portal: "a" }), serialize.bind({ statement: "s", portal: "b" }));
    raw.send(serialize.execute({ portal: "a" }), serialize.execute({ portal: "b" }), serialize.sync());
    expect(errorOf(await raw.until("Z"))?.["M"]).toContain("not in plan");
    expect(await rows()).toEqual([]);
    raw.destroy();
  });

  test("a portal may be read in parts", async () => {
    await start(["SELECT generate_series(1, 3)"]);
    const raw = await client();
    raw.send(serialize.query("BEGIN"));
    await raw.until("Z");
    raw.send(parse("", "SELECT generate_series(1, 3)"), ...bindExecute("", "p", 2), serialize.sync());
    expect(letters(await raw.until("Z"))).toBe("12DDsZ");
    raw.send(serialize.execute({ portal: "p", rows: 2 }), serialize.sync());
    expect(letters(await raw.until("Z"))).toBe("DCZ");
    raw.destroy();
  });

  test("a name that SQL prepared is no way around it", async () => {
    await start([`PREPARE x AS ${ONE}`]);
    const raw = await client();
    expect(await run(raw, `PREPARE x AS ${ONE}`)).toBe("ok");
    expect(await run(raw, "EXECUTE x")).toEqual(NOT_IN_PLAN);
    raw.send(...bindExecute("x"), serialize.sync());
    expect(errorOf(await raw.until("Z"))?.["M"]).toContain("not in plan");
    expect(await rows()).toEqual([]);
    raw.destroy();
  });
});
