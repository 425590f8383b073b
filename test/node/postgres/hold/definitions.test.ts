/** PG-48 on a real server: what was approved is what runs, or nothing does; and what the approver is told of the plan. */
import { describe, expect, test } from "vitest";
import { errorOf } from "../raw-client.ts";
import { HoldRig, INSERT, quietly } from "./rig.ts";

const rig = HoldRig.declare();

/** Calls of one's own functions need the group dba too. */
const calls = (): void =>
  rig.gateway.setRule((action, resource) =>
    action === "pg:call" || (resource.type === "table" && resource.table === "held") ? "hold" : "allow",
  );

describe("PG-48 definitions change between request and consent", () => {
  test.each([
    ["a column is added", INSERT, "alter table held add column m int"],
    ["a trigger is added", INSERT, "create trigger t before insert on held for each row execute function other()"],
    [
      "a trigger's function is replaced",
      "update locks set n = 1",
      "create or replace function trig() returns trigger language plpgsql as 'begin raise exception ''x''; end'",
    ],
    ["the function is replaced", "select f()", "create or replace function f() returns int language sql as 'select 2'"],
    ["an overload appears", "select f()", "create function f(int default 1) returns int language sql as 'select 3'"],
    ["the table is another one of the same name", INSERT, "alter table held rename to was_held; create table held (n int)"],
    ["what did not exist does now", "create table fresh (n int)", "create table fresh (n int, m int)"],
  ])("%s: 42501, and nothing ran", async (_, sql, change) => {
    await rig.direct(`drop table if exists was_held, fresh; drop function if exists f(int);
      create or replace function f() returns int language sql as 'select 1';
      create or replace function other() returns trigger language plpgsql as 'begin return new; end';
      create or replace function trig() returns trigger language plpgsql as 'begin return new; end';
      create trigger t before update on locks for each row execute function trig()`);
    rig.gateway.setRule(() => "hold");
    const { asked } = await rig.hold(sql);
    expect(asked.request.subject.objects.length).toBeGreaterThan(0);
    await rig.direct(change);
    asked.settle("approved");
    const answer = await rig.client.until("Z");
    expect(quietly(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501", M: expect.stringContaining("has changed") });
    expect(await rig.rows()).toEqual([]);
  });

  test("control: where nothing changed, or only what it does not name, it runs", async () => {
    const { asked } = await rig.hold();
    expect(asked.request.subject.objects).toEqual([{ name: "public.held", definition: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    await rig.direct("alter table t add column m int; insert into held values (9)");
    asked.settle("approved");
    expect(quietly(await rig.client.until("Z"))).toBe("CZ");
    expect(await rig.rows()).toEqual([1, 9]);
  });
});

describe("the target's estimate", () => {
  test("is shown for a plain statement on plain tables, and runs nothing", async () => {
    await rig.direct("insert into held select generate_series(1, 500); analyze held");
    const { asked } = await rig.hold("delete from held where n > 0");
    expect(asked.request.estimate).toMatch(/^Delete on held .*rows=/);
    expect(await rig.rows()).toHaveLength(500);
    asked.settle("denied");
    await rig.client.until("Z");
  });

  test("PG-39 there is none where planning would run a function: of one's own, in a view, in a policy", async () => {
    await rig.direct(`drop view if exists v; drop table if exists ran; create table ran (n int);
      create or replace function leak() returns int language plpgsql immutable as 'begin raise warning ''leaked''; perform set_config(''a.b'', ''1'', false); return 1; end';
      create view v as select n from held where n = leak();
      alter table locks enable row level security`);
    rig.gateway.setRule(() => "hold");
    for (const sql of ["select n from held where n = leak()", "select n from v", "select n from locks", INSERT]) {
      const { asked } = await rig.hold(sql);
      expect([sql, asked.request.estimate]).toEqual([sql, undefined]);
      asked.settle("denied");
      await rig.client.until("Z");
    }
    const { asked } = await rig.hold("select n from held where n = 1");
    expect(asked.request.estimate).toContain("Seq Scan on held");
    asked.settle("denied");
    await rig.client.until("Z");
  });

  test("there is none for what the target cannot plan; it is held all the same", async () => {
    calls();
    const { asked } = await rig.hold("select no_such_column from held");
    expect(asked.request.estimate).toBeUndefined();
    asked.settle("approved");
    expect(errorOf(await rig.client.until("Z"))).toMatchObject({ C: "42703" });
  });
});
