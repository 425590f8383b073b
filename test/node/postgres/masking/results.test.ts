/** Rows through the session machine against a real server: PG-17 to PG-20, PG-32, PG-46; each beside what an unmasked session sees. */
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { errorOf, letters, RawClient, serialize, type Message } from "../raw-client.ts";
import type { Gateway } from "../support.ts";
import { rulesOf, unmasking } from "./rules.ts";
import { heard, rowsOf, RULES, SENTINELS, startWorld, type World } from "./world.ts";

const { parse, bind, describe: describeMessage, execute, sync, close } = serialize;

let world: World;
let gateway: Gateway;
let open: Gateway;
let client: RawClient;
beforeAll(async () => {
  world = await startWorld();
  gateway = await world.gateway();
  open = await world.gateway({ rule: () => "allow" });
}, 60_000);
afterAll(async () => world.stop());
beforeEach(async () => {
  client?.destroy();
  client = await RawClient.ready(gateway.port);
  gateway.recorder.clear();
  gateway.recorder.results.length = 0;
});

const MASKED_ONE = ["1", "name 1", "[email]", "****0001", null, "0"];

async function sent(...messages: Buffer[]): Promise<Message[]> {
  client.send(...messages, sync());
  return await client.until("Z");
}

describe("simple Query", () => {
  test("classified columns come masked, others as they are; an unmasked session sees the values", async () => {
    const sql = "select * from users where id = 1";
    const answer = await client.query(sql);
    expect(letters(answer)).toBe("TDCZ");
    expect(rowsOf(answer)).toEqual([MASKED_ONE]);
    const raw = await RawClient.ready(open.port);
    expect(heard(await raw.query(sql))).toMatch(SENTINELS);
    raw.destroy();
  });

  test("PG-32 neither alias nor place of a column matter", async () => {
    const answer = await client.query('select ssn as id, card "createdAt", u.email x, id as email, u.* from users u where id = 1');
    expect(rowsOf(answer)).toEqual([[null, "****0001", "[email]", "1", ...MASKED_ONE]]);
  });

  test("what touches no classified column is untouched, on the same table too", async () => {
    const answer = await client.query(
      "select u.name, sum(total) from users u join orders o on o.user_id = u.id group by u.name order by 1",
    );
    expect(rowsOf(answer)[0]).toEqual(["name 1", "500"]);
    expect(gateway.recorder.outcomes[0]?.masked).toBeUndefined();
  });

  test("of several statements each result is masked as its own statement says", async () => {
    const answer = await client.query(
      "select id from orders where id = 1; select email from users where id = 2; select 3; select card from users",
    );
    expect(rowsOf(answer).map(([value]) => value)).toEqual([
      "1",
      "[email]",
      "3",
      ...Array.from({ length: 5 }, (_, i) => `****000${i + 1}`),
    ]);
  });

  test("one that cannot be proven refuses the whole text: nothing of it runs", async () => {
    const answer = await client.query("select 1; select lower(email) from users");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501", D: expect.stringContaining("email") as string });
    expect(gateway.recorder.commands[0]).toMatchObject({ decision: "deny" });
  });

  test("a view's bare column has its class; RETURNING likewise", async () => {
    expect(rowsOf(await client.query("select address from mails where id = 1"))).toEqual([["[email]"]]);
    expect(
      rowsOf(await client.query("insert into users values (77, 'new', 'x@sentinel.example', null, null, 5) returning id, name")),
    ).toEqual([["77", "new"]]);
    const returned = await client.query("delete from users where id = 77 returning email");
    expect(heard(returned)).not.toMatch(SENTINELS);
    await world.direct("delete from users where id = 77");
  });

  test("the recording counts what was masked, by class, and holds no value of it", async () => {
    await client.query("select email, card, ssn from users");
    expect(gateway.recorder.outcomes[0]).toMatchObject({ status: "ok", masked: { email: 5, card: 5, ssn: 5 } });
    expect(gateway.recorder.results[0]?.columns).toEqual([
      { name: "email", type: "text", class: "email" },
      { name: "card", type: "text", class: "card" },
      { name: "ssn", type: "text", class: "ssn" },
    ]);
    expect(JSON.stringify(gateway.recorder.results)).not.toMatch(SENTINELS);
  });

  test("thousands of rows, in whatever pieces they come, arrive in order and masked beyond the sample", async () => {
    const answer = await client.query(
      "select a.id, a.email, b.id, c.id from users a, orders b, orders c, orders d order by b.id, c.id, d.id, a.id",
    );
    const rows = rowsOf(answer);
    expect(rows).toHaveLength(40_000);
    expect(rows.every(([, email]) => email === "[email]")).toBe(true);
    expect(rows.at(-1)?.[2]).toBe("20");
    expect(letters(answer).replace(/D+/, "D")).toBe("TDCZ");
  });
});

describe("extended protocol", () => {
  const text = "select * from users where id = $1";
  const one = { values: ["1"] };

  test("PG-18 a client that never sends Describe gets masked rows, each time", async () => {
    expect(letters(await sent(parse({ name: "s", text })))).toBe("1Z");
    for (const _ of [1, 2]) {
      const answer = await sent(bind({ statement: "s", ...one }), execute({}));
      expect(letters(answer)).toBe("2DCZ");
      expect(rowsOf(answer)).toEqual([MASKED_ONE]);
    }
  });

  test("a client's own Describe is answered as usual, once", async () => {
    const answer = await sent(parse({ text }), describeMessage({ type: "S" }), bind(one), describeMessage({ type: "P" }), execute({}));
    expect(letters(answer)).toBe("1tT2TDCZ");
    expect(rowsOf(answer)).toEqual([MASKED_ONE]);
  });

  test("PG-46 binary: masked values have the type's own format", async () => {
    const answer = await sent(
      parse({ text: "select salary, email, ssn, id from users where id = 1" }),
      bind({ binary: true }),
      execute({}),
    );
    const body = answer.find(({ type }) => type === "D")?.body ?? Buffer.alloc(0);
    expect(body.subarray(2, 14).toString("hex")).toBe("000000080000000000000000");
    expect(body.subarray(18, 25).toString()).toBe("[email]");
    expect(body.subarray(25, 29).toString("hex")).toBe("ffffffff");
    expect(heard(answer)).not.toMatch(SENTINELS);
  });

  test("partial Executes, also of a portal that outlives its segment, stay masked", async () => {
    await client.query("begin");
    const first = await sent(parse({ text: "select email from users" }), bind({ portal: "p" }), execute({ portal: "p", rows: 2 }));
    expect(letters(first)).toBe("12DDsZ");
    const rest = await sent(execute({ portal: "p", rows: 2 }), execute({ portal: "p" }));
    expect(letters(rest)).toBe("DDsDCZ");
    expect([...rowsOf(first), ...rowsOf(rest)]).toEqual(Array.from({ length: 5 }, () => ["[email]"]));
    await client.query("commit");
  });

  test("a pipeline stays one: every portal by its own plan", async () => {
    const answer = await sent(
      parse({ name: "a", text: "select email from users where id = 1" }),
      parse({ name: "b", text: "select name from users where id = 1" }),
      bind({ portal: "pa", statement: "a" }),
      bind({ portal: "pb", statement: "b" }),
      execute({ portal: "pb" }),
      execute({ portal: "pa" }),
      close({ type: "P", name: "pa" }),
    );
    expect(letters(answer)).toBe("1122DCDC3Z");
    expect(rowsOf(answer)).toEqual([["name 1"], ["[email]"]]);
  });

  test("an error in a pipeline skips our own messages too, and the next pipeline is in step", async () => {
    const answer = await sent(
      parse({ text: "select 1 / (id - 1), id from users" }),
      bind({}),
      execute({}),
      parse({ text }),
      bind(one),
      execute({}),
    );
    expect(letters(answer)).toBe("12EZ");
    expect(rowsOf(await sent(parse({ text }), bind(one), execute({})))).toEqual([MASKED_ONE]);
  });

  test("node-postgres: prepared, parametrised, and in rows mode", async () => {
    const pg = new Client({ host: "127.0.0.1", port: gateway.port, user: "tester", database: "postgres" });
    await pg.connect();
    for (const _ of [1, 2]) {
      const { rows } = await pg.query({ name: "one", text: "select id, email, salary from users where id = $1", values: [1] });
      expect(rows).toEqual([{ id: 1, email: "[email]", salary: "0" }]);
    }
    await pg.end();
  });
});

describe("PG-19 cursors", () => {
  test.each([
    ["simple FETCH", async () => rowsOf(await client.query("fetch 2 from c"))],
    ["extended FETCH", async () => rowsOf(await sent(parse({ text: "fetch 2 from c" }), bind({}), execute({})))],
    ["Execute of its name", async () => rowsOf(await sent(execute({ portal: "c", rows: 2 })))],
  ])("%s of a declared cursor is masked", async (_, fetch) => {
    await client.query("begin; declare c cursor for select email, id from users order by id");
    expect(await fetch()).toEqual([
      ["[email]", "1"],
      ["[email]", "2"],
    ]);
    await client.query("rollback");
  });

  test("WITH HOLD and BINARY too, after the commit", async () => {
    await client.query("begin; declare h binary cursor with hold for select email, salary from users; commit");
    const rows = await client.query("fetch 1 from h");
    expect(rowsOf(rows)).toEqual([["[email]", "\0\0\0\0\0\0\0\0"]]);
    await client.query("close h");
  });

  test("declared and fetched in one text; EXECUTE of what PREPARE made", async () => {
    const answer = await client.query("begin; declare d cursor for select email from users; fetch d; commit");
    expect(rowsOf(answer)).toEqual([["[email]"]]);
    await client.query("prepare q as select email from users where id = 1");
    expect(rowsOf(await client.query("execute q"))).toEqual([["[email]"]]);
    expect(rowsOf(await sent(parse({ text: "execute q" }), bind({}), execute({})))).toEqual([["[email]"]]);
  });

  test("PG-30 what stands at a cursor's row is not set to a classified value and returned", async () => {
    await client.query("begin; declare c cursor for select id from users for update; fetch c");
    const answer = await client.query("update users set name = email where current of c returning name");
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(heard(answer)).not.toMatch(SENTINELS);
    await client.query("rollback");
    await client.query("prepare e as select email from users");
    expect(errorOf(await client.query("create table copied as execute e"))).toMatchObject({ C: "42501" });
    expect(errorOf(await client.query("explain (costs off, analyze) execute e"))).toMatchObject({ C: "42501" });
  });

  test("a cursor that was opened under other rules is not read under these", async () => {
    const own = await world.gateway({ masking: { classes: [] } });
    const raw = await RawClient.ready(own.port);
    await raw.query("begin; declare c cursor for select lower(email) from users");
    expect(heard(await raw.query("fetch 1 from c"))).toMatch(SENTINELS);
    own.setMasking(rulesOf(RULES));
    expect(errorOf(await raw.query("fetch 1 from c"))).toMatchObject({ C: "42501" });
    raw.destroy();
  });
});

describe("changes while a session lives", () => {
  test("unmask: allowed classes are seen, in conditions too; the rest stays masked", async () => {
    const own = await world.gateway({ rule: unmasking("email") });
    const raw = await RawClient.ready(own.port);
    const answer = await raw.query("select email, card from users where email like 'u1@%'");
    expect(rowsOf(answer)).toEqual([["u1@sentinel.example", "****0001"]]);
    own.setRule(unmasking());
    expect(errorOf(await raw.query("select email, card from users where email like 'u1@%'"))).toMatchObject({ C: "42501" });
    expect(rowsOf(await raw.query("select email from users where id = 1"))).toEqual([["[email]"]]);
    raw.destroy();
  });

  test("what is seen by unmask alone is not recorded; the rest is", async () => {
    const own = await world.gateway({ rule: unmasking("email") });
    const raw = await RawClient.ready(own.port);
    expect(heard(await raw.query("select email from users where id = 1"))).toMatch(SENTINELS);
    expect(heard(await raw.query("copy (select email from users) to stdout"))).toMatch(SENTINELS);
    await raw.query("prepare q as select email from users");
    expect(heard(await raw.query("execute q"))).toMatch(SENTINELS);
    expect(own.recorder.results).toEqual([]);
    await raw.query("select id from users where id = 1");
    expect(own.recorder.results).toMatchObject([{ rows: [["1"]] }]);
    raw.destroy();
    const all = await RawClient.ready(open.port);
    open.recorder.results.length = 0;
    expect(heard(await all.query("select lower(email) from users"))).toMatch(SENTINELS);
    expect(JSON.stringify(open.recorder.results)).not.toMatch(SENTINELS);
    all.destroy();
  });

  test("where rules name nothing that exists, new tables are read in their own transaction", async () => {
    const own = await world.gateway({
      masking: rulesOf('classes:\n  odd: { columns: ["orders-db/public.nowhere.email"], mask: redact }\n'),
    });
    const raw = await RawClient.ready(own.port);
    await raw.query("begin; create table brand_new (n int); insert into brand_new values (7)");
    expect(rowsOf(await raw.query("select n from brand_new"))).toEqual([["7"]]);
    expect(rowsOf(await raw.query("select n + 1 from brand_new"))).toEqual([["8"]]);
    await raw.query("rollback");
    raw.destroy();
  });

  test("a class that is published masks the next result of a live session, of a prepared statement too", async () => {
    const own = await world.gateway({ masking: { classes: [] } });
    const raw = await RawClient.ready(own.port);
    const run = async (): Promise<Message[]> => {
      raw.send(bind({ statement: "s" }), execute({}), sync());
      return await raw.until("Z");
    };
    raw.send(parse({ name: "s", text: "select email from users" }));
    expect(heard(await run())).toMatch(SENTINELS);
    own.setMasking(rulesOf(RULES));
    expect(rowsOf(await run())).toEqual(Array.from({ length: 5 }, () => ["[email]"]));
    raw.destroy();
  });

  test("PG-17 another path, another table: what was parsed for one is not shown of the other", async () => {
    const raw = await RawClient.ready(gateway.port);
    await raw.query("set search_path = other, public");
    const answer = await raw.query("select id, email from users");
    expect(heard(answer)).not.toMatch(SENTINELS);
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(rowsOf(await raw.query("select id, email from other.users"))).toEqual([["1", "free"]]);
    raw.destroy();
  });

  test("PG-17 a view that is replaced through the gateway has its new columns' classes at once", async () => {
    await client.query("create view swapped as select id, name from users");
    expect(rowsOf(await client.query("select name from swapped where id = 1"))).toEqual([["name 1"]]);
    expect(letters(await sent(parse({ name: "v", text: "select name from swapped where id = 1" })))).toBe("1Z");
    // Refused: it would take the values where no rule looks.
    expect(errorOf(await client.query("create or replace view swapped as select id, email as name from users"))).toMatchObject({
      C: "42501",
    });
    const other = await world.gateway({ rule: () => "allow" });
    const raw = await RawClient.ready(other.port);
    expect(errorOf(await raw.query("drop view swapped; create view swapped as select id, email as name from users"))).toBeUndefined();
    raw.destroy();
    await client.query("drop view swapped");
  });

  test("PG-17 a view replaced past the gateway: its new definition counts for the next statement, and at the next Bind", async () => {
    await world.direct("create view moving as select id, name from users");
    const raw = await RawClient.ready(gateway.port);
    const seeing = await RawClient.ready(open.port);
    const sql = "select name from moving where id = 1";
    raw.send(parse({ name: "m", text: sql }), bind({ statement: "m" }), execute({}), sync());
    expect(rowsOf(await raw.until("Z"))).toEqual([["name 1"]]);
    await world.direct("create or replace view moving as select id, email as name from users");
    expect(heard(await seeing.query(sql))).toMatch(SENTINELS);
    raw.send(bind({ statement: "m" }), execute({}), sync());
    expect(rowsOf(await raw.until("Z"))).toEqual([["[email]"]]);
    await world.direct("create or replace view moving as select id, lower(email) as name from users");
    expect(errorOf(await raw.query(sql))).toMatchObject({ C: "42501" });
    raw.send(bind({ statement: "m" }), execute({}), sync());
    expect(errorOf(await raw.until("Z"))).toMatchObject({ C: "42501" });
    await raw.query(`prepare mv as ${sql}`);
    await world.direct("create or replace view moving as select id, name from users");
    await raw.query(`prepare mv as ${sql}`);
    expect(rowsOf(await raw.query("execute mv"))).toEqual([["name 1"]]);
    await world.direct("create or replace view moving as select id, email as name from users");
    expect(rowsOf(await raw.query("execute mv"))).toEqual([["[email]"]]);
    raw.destroy();
    seeing.destroy();
    await world.direct("drop view moving");
  });

  test("PG-17 a table swapped past the gateway: nothing of it is shown, and the next session is right", async () => {
    await world.direct("create table t (a int, b text); insert into t values (1, 'plain')");
    const raw = await RawClient.ready(gateway.port);
    expect(rowsOf(await raw.query("select a, b from t"))).toEqual([["1", "plain"]]);
    await world.direct(
      "alter table t rename to t_old; alter table users rename to users_kept; create view t as select id as a, email as b from users_kept",
    );
    const answer = await raw.query("select a, b from t");
    expect(heard(answer)).not.toMatch(SENTINELS);
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    raw.destroy();
    await world.direct("drop view t; alter table users_kept rename to users; drop table t_old");
    gateway.setMasking(rulesOf(RULES));
  });
});

test("work of a migration in one transaction: what it makes is written before others can see it", async () => {
  const answer = await client.query("begin; create table fresh (id int, note text)");
  expect(errorOf(answer)).toBeUndefined();
  expect(errorOf(await client.query("insert into fresh values (1, 'x')"))).toBeUndefined();
  expect(errorOf(await client.query("commit"))).toBeUndefined();
  expect(rowsOf(await client.query("select note from fresh"))).toEqual([["x"]]);
  await client.query("drop table fresh");
});
