/**
 * The catalogue as it is loaded from real servers with an ordinary login, and kept: what is known of relations made of
 * each other, of privileges, of what stands beside pg_catalog's functions; when it is out of date; when there is none.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { availableVersions } from "../../../support/postgres.ts";
import { classOf, loaded, rules, startTarget, type Target } from "./world.ts";

const SCHEMA = `
  create schema app;
  grant usage on schema app to job;
  create domain app.mail as text;
  create domain app.checked as text check (length(value) > 0);
  create table app.users (id int primary key, name text, email app.mail, note text, loud text generated always as (upper(email)) stored,
                          quiet text generated always as (lower(name)) stored);
  grant select (id, name) on app.users to job;
  create table app.heirs (more text) inherits (app.users);
  create table app.parts (at int, e text) partition by list (at);
  create table app.part_1 (e text, at int);
  alter table app.parts attach partition app.part_1 for values in (1);
  create view app.bare as select id, email as e from app.users;
  create view app.computed as select id, e || '' as x from app.bare;
  create view app.filtered as select id from app.bare where e like 'a%';
  create view app.joined as select b.e, o.at from app.bare b join app.parts o on o.at = b.id;
  create view app.clean as select id, name from app.users;
  create materialized view app.stored as select * from app.bare;
  create function app.lower(app.mail) returns text language sql as 'select ''x''';
  create function app.only_here(int) returns int language sql as 'select 1';
  create function app.is_fine(text) returns bool language sql as 'select true';
  create domain app.judged as text check (app.is_fine(value));
  create type app.state as enum ('a', 'b');
  create operator app.@#@ (leftarg = text, rightarg = text, function = texteq);`;

describe.each(availableVersions())("PostgreSQL %i", (version) => {
  let target: Target;
  const RULES = rules({ email: ["app.users.email"], part: ["app.part_1.e"] });
  beforeAll(async () => {
    target = await startTarget(version, SCHEMA);
  }, 60_000);
  afterAll(async () => {
    await target.stop();
  });

  it("closes classes over heirs, partitions, generated columns and views", async () => {
    const keeper = await target.keep();
    const catalogue = await loaded(keeper, RULES);
    const found = (names: string): (string | undefined)[] => names.split(" ").map((name) => classOf(catalogue, `app.${name}`));
    expect(found("users.email users.name users.loud users.quiet")).toEqual(["email", undefined, "computed from email", undefined]);
    expect(found("heirs.email heirs.more heirs.loud")).toEqual(["email", undefined, "computed from email"]);
    // Up from a partition whose columns stand in another order.
    expect(found("part_1.e part_1.at parts.e parts.at")).toEqual(["part", undefined, "part", undefined]);
    expect(found("bare.e bare.id computed.x computed.id")).toEqual(["email", undefined, "computed from email", undefined]);
    expect(found("filtered.id clean.id clean.name stored.e stored.id")).toEqual([
      "computed from email",
      undefined,
      undefined,
      "email",
      undefined,
    ]);
    expect(found("joined.e joined.at")).toEqual(["email", undefined]);
    const oid = (name: string): number => catalogue.resolve("app", name, [])?.oid ?? 0;
    expect(catalogue.filteredBy(oid("filtered"))).toEqual(["email"]);
    expect(catalogue.filteredBy(oid("bare"))).toEqual([]);
    // The planner's samples are of every column.
    expect(classOf(catalogue, "pg_catalog.pg_stats.most_common_vals")).toBe("computed from email+part");
    expect(classOf(catalogue, "pg_catalog.pg_stats.null_frac")).toBeUndefined();
    keeper.close();
  });

  it("knows base types of domains, and what the login may read", async () => {
    const keeper = await target.keep();
    const catalogue = await loaded(keeper, RULES);
    const users = catalogue.resolve("app", "users", []);
    const attributes = new Map([...(users?.attributes.values() ?? [])].map((attribute) => [attribute.name, attribute]));
    expect(attributes.get("email")).toMatchObject({ typeOid: 25, readable: false, generated: false });
    expect(attributes.get("name")).toMatchObject({ readable: true });
    expect(attributes.get("loud")).toMatchObject({ generated: true });
    keeper.close();
  });

  it("resolves pg_catalog first, then the path, and says all that a name may mean", async () => {
    const keeper = await target.keep();
    await target.superuser.query("create table app.pg_class (x int); create table public.users (y int)");
    const catalogue = await loaded(keeper, RULES);
    expect(catalogue.resolve(undefined, "pg_class", ["app"])?.schema).toBe("pg_catalog");
    expect(catalogue.resolve(undefined, "users", ["public", "app"])?.schema).toBe("public");
    expect(catalogue.resolve(undefined, "users", ["app", "public"])?.schema).toBe("app");
    expect(catalogue.candidates(undefined, "users", ["app", "public"])).toHaveLength(2);
    expect(catalogue.resolve(undefined, "users", [])).toBeUndefined();
    await target.superuser.query("drop table app.pg_class; drop table public.users");
    keeper.close();
  });

  it("tells what may stand in for pg_catalog's own, and what sees only its arguments", async () => {
    const keeper = await target.keep();
    const catalogue = await loaded(keeper, { classes: [] });
    expect(catalogue.shadows("function", "lower", ["public", "app"])).toEqual(["app"]);
    expect(catalogue.shadows("function", "lower", ["public"])).toEqual([]);
    expect(catalogue.shadows("function", "upper", ["app"])).toEqual([]);
    expect(catalogue.shadows("operator", "@#@", ["app"])).toEqual(["app"]);
    expect(catalogue.shadows("operator", "=", ["app"])).toEqual([]);
    const sees = (name: string): boolean => catalogue.seesOnlyArguments("app", name, []);
    expect([sees("state"), sees("checked"), sees("mail"), sees("judged"), sees("only_here"), sees("nothing")]).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(catalogue.seesOnlyArguments(undefined, "state", ["app"])).toBe(true);
    expect(catalogue.seesOnlyArguments(undefined, "state", ["public"])).toBe(false);
    keeper.close();
  });

  it("takes an extension's immutable C functions for what they are, and no others", async () => {
    const keeper = await target.keep();
    await target.superuser.query(
      "create schema ext; create extension citext schema ext; create extension pg_trgm schema ext; create extension tablefunc schema ext",
    );
    const catalogue = await loaded(keeper, { classes: [] });
    // citext brings its own `=`, replace() and others: with it in the path they are no hazard.
    for (const name of ["=", "<>", "~~"]) expect(catalogue.shadows("operator", name, ["ext"])).toEqual([]);
    for (const name of ["replace", "strpos", "max"]) expect(catalogue.shadows("function", name, ["ext"])).toEqual([]);
    const sees = (name: string): boolean => catalogue.seesOnlyArguments("ext", name, []);
    // crosstab runs SQL that is given as text.
    expect([sees("citext"), sees("similarity"), sees("%"), sees("crosstab"), sees("connectby")]).toEqual([true, true, false, false, false]);
    await target.superuser.query("drop schema ext cascade");
    keeper.close();
  });

  it("distrusts what a superuser put into pg_catalog", async () => {
    const keeper = await target.keep();
    expect((await loaded(keeper, { classes: [] })).shadows("function", "upper", [])).toEqual([]);
    await target.superuser.query("create function pg_catalog.upper(app.state) returns text language sql as 'select ''x'''");
    expect((await loaded(keeper, { classes: [] })).shadows("function", "upper", [])).toEqual(["pg_catalog"]);
    await target.superuser.query("drop function pg_catalog.upper(app.state)");
    keeper.close();
  });

  it("keeps a column's class when it is given another name, until the rules change", async () => {
    const keeper = await target.keep();
    const before = await loaded(keeper, RULES);
    expect(classOf(before, "app.users.email")).toBe("email");
    await target.superuser.query("alter table app.users rename email to contact; alter table app.users rename note to email");
    const after = await loaded(keeper, RULES);
    // The values are where they were, and the rule's name is now another column's.
    expect(classOf(after, "app.users.contact")).toBe("email");
    expect(classOf(after, "app.users.email")).toBe("email");
    const anew = await loaded(keeper, rules({ other: ["app.users.name"] }));
    expect(classOf(anew, "app.users.contact")).toBeUndefined();
    await target.superuser.query("alter table app.users rename email to note; alter table app.users rename contact to email");
    keeper.close();
  });

  it("answers with no catalogue that is known to be out of date", async () => {
    const keeper = await target.keep();
    expect(keeper.current(RULES)).toBeUndefined();
    const first = await loaded(keeper, RULES);
    expect(keeper.current(RULES)).toBe(first);
    expect(keeper.current(rules({ other: ["app.users.name"] }))).toBeUndefined();
    keeper.invalidate();
    expect(keeper.current(RULES)).toBeUndefined();
    // What changed while a load was under way is not in it for certain: it is loaded once more.
    const running = keeper.refresh(RULES);
    await new Promise((resolve) => setImmediate(resolve));
    keeper.invalidate();
    const reloaded = await running;
    expect(reloaded).toMatchObject({ ok: true, value: { version: first.version + 2 } });
    expect(keeper.current(RULES)).toBe(reloaded.ok && reloaded.value);
    const [one, other] = await Promise.all([keeper.refresh(RULES), keeper.refresh(RULES)]);
    expect(one).toBe(other);
    expect(keeper.current(RULES)).toBe(one.ok && one.value);
    keeper.close();
  });

  it("fails with a sentence where a lock is held, and has no catalogue then", async () => {
    const keeper = await target.keep();
    await target.superuser.query("begin; lock table app.users in access exclusive mode");
    const blocked = await keeper.refresh(RULES);
    expect(blocked).toMatchObject({ ok: false });
    expect(!blocked.ok && blocked.error).toContain("lock timeout");
    expect(keeper.current(RULES)).toBeUndefined();
    await target.superuser.query("rollback");
    expect((await keeper.refresh(RULES)).ok).toBe(true);
    keeper.close();
  });

  it("fails with a sentence where the target cannot be reached, and after it was closed", async () => {
    const keeper = await target.keep(1);
    const failed = await keeper.refresh(RULES);
    expect(!failed.ok && failed.error).toContain("cannot connect");
    expect(keeper.current(RULES)).toBeUndefined();
    keeper.close();
    expect(await keeper.refresh(RULES)).toMatchObject({ ok: false });
  });

  it("goes on after its connection was ended", async () => {
    const keeper = await target.keep();
    await loaded(keeper, RULES);
    await target.superuser.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sallyport:catalogue'");
    const again = (await keeper.refresh(RULES)).ok || (await keeper.refresh(RULES)).ok;
    expect(again).toBe(true);
    keeper.close();
  });

  it("binds names to what stands behind them", async () => {
    const keeper = await target.keep();
    const effects = [
      { action: "pg:call", object: { type: "function", schema: "app", name: "only_here" } },
      { action: "pg:select", object: { type: "table", name: "computed" } },
      { action: "pg:update", object: { type: "table", schema: "app", name: "users" } },
      { action: "pg:call", object: { type: "function", schema: "app", name: "nothing" } },
    ] as const;
    const digests = async (): Promise<Record<string, string>> => {
      const answer = await keeper.definitions(effects, ["app"]);
      if (!answer.ok) throw new Error(answer.error);
      return Object.fromEntries(answer.value.map(({ name, definition }) => [name, definition]));
    };
    const before = await digests();
    expect(Object.keys(before)).toEqual(["app.computed", "app.nothing()", "app.only_here()", "app.users"]);
    expect(await digests()).toEqual(before);
    const changed = async (sql: string): Promise<string[]> => {
      await target.superuser.query(`begin; ${sql}; commit`);
      const after = await digests();
      return Object.keys(after).filter((name) => after[name] !== before[name]);
    };
    expect(await changed("create or replace function app.only_here(int) returns int language sql as 'select 2'")).toEqual([
      "app.only_here()",
    ]);
    expect(await changed("create or replace function app.only_here(int) returns int language sql as 'select 1'")).toEqual([]);
    expect(
      await changed("create or replace function app.only_here(int) returns int language sql set search_path = app as 'select 1'"),
    ).toEqual(["app.only_here()"]);
    expect(await changed("create or replace function app.only_here(int) returns int language sql as 'select 1'")).toEqual([]);
    // A view that is read by the view that is named.
    expect(await changed("create or replace view app.bare as select id, name::app.mail as e from app.users")).toEqual(["app.computed"]);
    expect(await changed("create or replace view app.bare as select id, email as e from app.users")).toEqual([]);
    expect(
      await changed(
        "create function app.t() returns trigger language plpgsql as 'begin return new; end'; create trigger t before update on app.users for each row execute function app.t()",
      ),
    ).toContain("app.users");
    expect(await changed("drop trigger t on app.users; drop function app.t()")).toEqual([]);
    expect(await changed("create function app.nothing() returns int language sql as 'select 1'")).toEqual(["app.nothing()"]);
    await target.superuser.query("drop function app.nothing()");
    keeper.close();
  });
});
