/** psql, unmodified: everything it can be asked to do prints the same through the gateway as without it. */
import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../../../support/eventually.ts";
import { findProgram } from "../../../support/programs.ts";
import { startBoth, type Both } from "./both.ts";

const psql = findProgram("psql");

describe.skipIf(psql === undefined)("psql", () => {
  let both: Both;
  beforeAll(async () => {
    both = await startBoth();
    await both.prepare(`
      create schema app;
      create type app.mood as enum ('low', 'high');
      create domain app.positive as int check (value > 0);
      create table app.things (id int primary key, name text not null unique, mood app.mood, price numeric(10, 2), tags text[], data jsonb, at timestamptz, raw bytea, span int4range, size app.positive);
      insert into app.things select i, 'thing ' || i, case when i % 2 = 0 then 'low'::app.mood end, i * 1.25, array['a', 'b"', null], jsonb_build_object('n', i), timestamptz '2026-01-02 03:04:05+00' + i * interval '1 day', decode('00ff', 'hex'), int4range(i, i + 3), i from generate_series(1, 7) i;
      create view app.cheap as select id, name from app.things where price < 4;
      create sequence app.counter;
      create function app.add(a int, b int) returns int language sql immutable as 'select a + b';
    `);
  }, 60_000);
  afterAll(async () => both.stop());

  async function same(script: string, args: readonly string[] = ["-Xa"], env: Record<string, string> = {}): Promise<string> {
    const { direct, through } = await both.run(psql ?? "", args, { input: script, env });
    // CONTEXT quotes data (PG-26), so it is not passed on; the gateway parses before the server does, and says who found the error.
    const stderr = direct.stderr.replaceAll(/^CONTEXT: .*\n/gm, "").replaceAll("ERROR:  syntax error", "ERROR:  sallyport: syntax error");
    expect(through).toEqual({ ...direct, stderr });
    expect(direct.stdout + direct.stderr).not.toBe("");
    return direct.stdout;
  }

  test("every type, aligned, unaligned, CSV, HTML, expanded", async () => {
    await same(
      "table app.things order by id;\n\\x\ntable app.things;\n\\pset format csv\ntable app.things;\n\\pset format html\ntable app.things;\n",
    );
  });
  test("describes: \\d of a table, a view, a type, a function, a sequence; \\l-less lists", async () => {
    await same(
      "\\d app.things\n\\d+ app.cheap\n\\dT+ app.*\n\\df+ app.*\n\\ds app.*\n\\dn\n\\dt app.*\n\\di app.*\n\\dp app.*\n\\sf app.add\n\\sv app.cheap\n",
    );
  });
  test("\\gexec, \\gset, \\gdesc, \\crosstabview, \\g into a program, variables", async () => {
    const out = await same(`
      select format('select %s as n, %L as t', i, 'row ' || i) from generate_series(1, 3) i \\gexec
      select max(id) as top, min(name) as first from app.things \\gset
      \\echo :top :'first'
      select id, name, price, span, now() from app.things where id = :top \\gdesc
      select id % 3 as a, id % 2 as b, count(*) from app.things group by 1, 2 order by 1, 2 \\crosstabview
      select 'piped' \\g | tr a-z A-Z
    `);
    expect(out).toContain("PIPED");
  });
  test("\\watch runs until the statement fails", async () => {
    const out = await same("select 1 / (3 - nextval('app.counter')) as left \\watch 0.02\n", ["-XAt"]);
    expect(out.match(/^[01]$/gm)).toHaveLength(2);
  });
  test("\\copy in and out, text, CSV, binary, with a query, with errors in the data", async () => {
    await same(`
      create table app.loaded (n int, t text);
      \\copy app.loaded from stdin
1\tone
2\t\\N
\\.
      \\copy app.loaded (n, t) from stdin csv header
n,t
3,"three, and ""more"""
\\.
      \\copy app.loaded from stdin
x\tnot a number
\\.
      \\copy app.loaded to stdout csv header force quote *
      \\copy (select t, n from app.loaded where n > 1 order by n) to stdout with (delimiter '|', null '-')
      copy app.loaded to stdout;
      select count(*) from app.loaded;
    `);
  });
  test("transactions, savepoints, ON_ERROR_ROLLBACK, AUTOCOMMIT off, chained", async () => {
    await same(`
      begin; insert into app.things (id, name) values (100, 'tx'); savepoint a; select 1/0; rollback to a; select count(*) from app.things; rollback;
      \\set ON_ERROR_ROLLBACK on
      begin; select nothing; select 1; commit;
      \\set ON_ERROR_ROLLBACK off
      \\set AUTOCOMMIT off
      insert into app.things (id, name) values (101, 'off'); rollback;
      \\set AUTOCOMMIT on
      begin isolation level serializable read only; show transaction_isolation; insert into app.things (id, name) values (1, 'x'); commit and chain; select 2; rollback;
      commit;
    `);
  });
  test("errors: position, hint, detail of constraints; \\errverbose's SQLSTATE; ON_ERROR_STOP's exit status", async () => {
    await same("selec 1;\nselect * from app.thing;\nselect name + 1 from app.things;\nselect count(*) from app.things group by nope;\n");
    const { direct, through } = await both.run(psql ?? "", [
      "-X",
      "-v",
      "ON_ERROR_STOP=1",
      "-c",
      "select 1",
      "-c",
      "select 1/0",
      "-c",
      "select 2",
    ]);
    expect(through).toEqual(direct);
    expect(direct.code).toBe(1);
  });
  test("FETCH_COUNT reads by a cursor; a million rows stay the same", async () => {
    await same("\\set FETCH_COUNT 1000\nselect i, md5(i::text) from generate_series(1, 30000) i;\n", ["-XAt"]);
  });
  test("several statements in one query, one transaction (-1), a file of statements, PREPARE and EXECUTE", async () => {
    await same(
      "select 1\\; select 2\\; select 3;\nprepare p (int) as select id, name from app.things where id = $1;\nexecute p (3);\nexecute p (4);\ndeallocate p;\nexecute p (5);\n",
    );
    const one = await both.run(psql ?? "", ["-X1", "-f", "-"], {
      input: "insert into app.things (id, name) values (200, 'a'); select 1/0; select 3;",
    });
    expect(one.through).toEqual(one.direct);
    const rows = await both.rows("select count(*)::int as n from app.things where id = 200");
    expect(rows.through).toEqual(rows.direct);
  });
  test("notices, warnings, verbosity, and parameters as the server reports them", async () => {
    await same(
      "drop table if exists app.nothing;\ncreate table if not exists app.things (id int);\n\\set VERBOSITY sqlstate\nselect 1/0;\nshow server_version;\nshow timezone;\nset timezone to 'Europe/Lisbon';\nselect timestamptz '2026-06-01 00:00+00';\nset datestyle to german;\nselect date '2026-06-01';\n",
    );
  });
  test("Ctrl-C cancels the statement, and the transaction is as after any error", async () => {
    const outputs: string[] = [];
    for (const way of ["direct", "through"] as const) {
      const child = spawn(psql ?? "", ["-XAt"], { env: both.environment(way), stdio: ["pipe", "pipe", "pipe"] });
      let out = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.stdin.end("select 'ready';\nselect pg_sleep(60);\nselect 'after';\n");
      const asleep = "select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(60);' and state = 'active'";
      await eventually(async () => expect((await both.rows(asleep)).direct).toEqual([{ n: 1 }]));
      child.kill("SIGINT");
      await new Promise((resolve) => child.once("close", resolve));
      outputs.push(out);
    }
    expect(outputs[0]).toContain("canceling statement due to user request");
    expect(outputs[1]).toBe(outputs[0]);
  });
});
