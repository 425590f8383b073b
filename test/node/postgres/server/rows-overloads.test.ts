/** PG-44: a function, operator or cast that somebody put where the server looks before, or beside, pg_catalog's own. */
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { fieldsOf, RawClient } from "../raw-client.ts";
import { startGateway, type Gateway, type Rule } from "../support.ts";

/** Everything but calls of functions that are not the server's harmless ones. */
const noCalls: Rule = (action) => (action === "pg:call" ? "deny" : "allow");

const CAPTURED = "returns text language sql as 'select ''captured'''";

let postgres: PostgresServer;
let owner: pg.Client;
let gateway: Gateway;
beforeAll(async () => {
  postgres = await startPostgres();
  owner = await connectTo(postgres, "postgres");
  await owner.query(`
    create domain public.mail as text;
    create table public.people (id int, address public.mail, code varchar(10));
    insert into public.people values (1, 'a@b.example', 'x');`);
}, 60_000);
afterAll(async () => {
  await owner.end();
  await postgres.stop();
});
beforeEach(async () => {
  gateway = await startGateway({ postgres, rule: noCalls });
  return () => gateway.stop();
});

const codeOf = async (client: RawClient, sql: string): Promise<string | null> => {
  const error = (await client.query(sql)).find(({ type }) => type === "E");
  return error === undefined ? null : (fieldsOf(error.body)["C"] ?? "");
};

describe("PG-44 what is found before pg_catalog's own needs pg:call", () => {
  it.each([
    [
      "a function",
      "create function public.lower(varchar) returns text language sql as 'select ''captured'''",
      "select lower(code) from people",
      "drop function public.lower(varchar)",
    ],
    [
      "an operator",
      "create function public.same(varchar, varchar) returns bool language sql as 'select true'; create operator public.= (leftarg = varchar, rightarg = varchar, function = public.same)",
      "select 1 from people where code = 'y'::varchar",
      "drop operator public.= (varchar, varchar); drop function public.same(varchar, varchar)",
    ],
    [
      "the operator behind IN",
      "create function public.same(varchar, varchar) returns bool language sql as 'select true'; create operator public.= (leftarg = varchar, rightarg = varchar, function = public.same)",
      "select 1 from people where code in (select code from people)",
      "drop operator public.= (varchar, varchar); drop function public.same(varchar, varchar)",
    ],
    [
      "what a superuser put into pg_catalog",
      "create function pg_catalog.upper(public.mail) returns text language sql as 'select ''captured'''",
      "select pg_catalog.upper(address) from people",
      "drop function pg_catalog.upper(public.mail)",
    ],
  ])("%s", async (_what, make, sql, drop) => {
    const before = await RawClient.ready(gateway.port);
    // The control: without the stand-in the same statement runs.
    expect(await codeOf(before, sql)).toBe(null);
    before.destroy();
    await owner.query(make);
    const after = await startGateway({ postgres, rule: noCalls });
    try {
      const client = await RawClient.ready(after.port);
      expect(await codeOf(client, sql)).toBe("42501");
      expect(after.recorder.commands.at(-1)?.effects.some(({ action }) => action === "pg:call")).toBe(true);
      // What was prepared under a name is judged by what it calls.
      expect(await codeOf(client, `prepare p as ${sql}`)).toBe("42501");
      client.destroy();
    } finally {
      await after.stop();
      await owner.query(drop);
    }
  });

  it.each([
    [
      "of a table's row",
      "create function public.whole(people) returns text language sql as 'select $1.address::text'",
      "select p.whole from people p",
      "drop function public.whole(people)",
    ],
    [
      "of any row",
      "create function public.whole(record) returns text language plpgsql as 'begin return 1; end'",
      "select s.whole from (select 1 as n) s",
      "drop function public.whole(record)",
    ],
    [
      "of a value that a function in FROM returns",
      "create function public.whole(int) returns text language sql as 'select address::text from people'",
      "select g.whole from generate_series(1, 1) g",
      "drop function public.whole(int)",
    ],
  ])("a function %s, written as a column", async (_what, make, sql, drop) => {
    await owner.query(make);
    const after = await startGateway({ postgres, rule: noCalls });
    try {
      // The control: the server takes it for a call.
      expect((await owner.query(sql)).rows).toHaveLength(1);
      const client = await RawClient.ready(after.port);
      expect(await codeOf(client, sql)).toBe("42501");
      expect(await codeOf(client, "select p.code, p.id from people p")).toBe(null);
      client.destroy();
    } finally {
      await after.stop();
      await owner.query(drop);
    }
  });

  it("one that the session itself makes counts from then on", async () => {
    const loose = await startGateway({
      postgres,
      rule: (action, resource) => (action === "pg:call" && resource.type === "function" && resource.name === "upper" ? "deny" : "allow"),
    });
    try {
      const client = await RawClient.ready(loose.port);
      expect(await codeOf(client, "select upper(code) from people")).toBe(null);
      expect(await codeOf(client, "create function public.upper(varchar) returns text language sql as 'select ''captured'''")).toBe(null);
      expect(await codeOf(client, "select upper(code) from people")).toBe("42501");
      expect(await codeOf(client, "select pg_catalog.upper(code) from people")).toBe(null);
      client.destroy();
    } finally {
      await loose.stop();
      await owner.query("drop function public.upper(varchar)");
    }
  });

  it.each([
    ["in the same transaction", ["begin", `create function public.initcap(varchar) ${CAPTURED}`, "select initcap(code) from people"], 3],
    ["in the same text", [`create function public.initcap(varchar) ${CAPTURED}; select initcap(code) from people`], 1],
    [
      "by another name, in the same transaction",
      [
        "begin",
        `create function public.nothing_yet(varchar) ${CAPTURED}`,
        "alter function public.nothing_yet(varchar) rename to initcap",
        "select initcap(code) from people",
      ],
      4,
    ],
  ])("one that the session makes %s counts although nobody else can see it", async (_how, texts, refused) => {
    const rule: Rule = (action, resource) =>
      action === "pg:call" && resource.type === "function" && resource.name === "initcap" ? "deny" : "allow";
    const loose = await startGateway({ postgres, rule });
    try {
      const client = await RawClient.ready(loose.port);
      // The control, and a decision that might be kept.
      expect(await codeOf(client, "select initcap(code) from people")).toBe(null);
      const codes: (string | null)[] = [];
      for (const text of texts) codes.push(await codeOf(client, text));
      expect(codes.findIndex((code) => code === "42501") + 1).toBe(refused);
      expect(await codeOf(client, "rollback")).toBe(null);
      expect(await codeOf(client, "select initcap(code) from people")).toBe(null);
      client.destroy();
    } finally {
      await loose.stop();
    }
  });

  it("a session gets on while others make definitions without pause", async () => {
    const stop = new AbortController();
    const busy = await RawClient.ready(gateway.port);
    const others = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) await busy.query(`create type public.busy_${i} as enum ('a'); drop type public.busy_${i}`);
    })();
    const client = await RawClient.ready(gateway.port);
    const codes: (string | null)[] = [];
    for (let i = 0; i < 12; i++) codes.push(await codeOf(client, `select upper(code) from people where id < ${i}`));
    stop.abort();
    await others;
    expect(codes.filter((code) => code !== null)).toEqual([]);
    client.destroy();
    busy.destroy();
  });

  it("without a catalogue nothing is taken for the server's own", async () => {
    await owner.query("revoke select on pg_catalog.pg_operator from public; create role bare login password 'x'");
    const blind = await startGateway({ postgres, rule: noCalls, config: { user: "bare" }, password: "x" });
    try {
      const client = await RawClient.ready(blind.port);
      expect(await codeOf(client, "select 1")).toBe(null);
      expect(await codeOf(client, "select lower('X')")).toBe("58000");
      client.destroy();
    } finally {
      await blind.stop();
      await owner.query("grant select on pg_catalog.pg_operator to public; drop role bare");
    }
  });
});
