/** Long texts: the prover's work grows with the text, and not with its square. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { startWorld, type World } from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld();
}, 120_000);
afterAll(async () => {
  await world.stop();
});

const times = (count: number, one: (index: number) => string): string[] => Array.from({ length: count }, (_, index) => one(index));

it.each([
  ["conditions", () => `select id from app.users where ${times(20_000, (i) => `id = ${i}`).join(" or ")}`, "untouched"],
  ["relations", () => `select a1.id from ${times(12_000, (i) => `app.users a${i}`).join(", ")}`, "untouched"],
  [
    "relations that are mentioned",
    () => `select 1 from ${times(6000, (i) => `app.users a${i}`).join(", ")} where ${times(6000, (i) => `a${i}.id = 1`).join(" and ")}`,
    "untouched",
  ],
  [
    "names that may be of any relation",
    () => `select 1 from ${times(4000, (i) => `app.users a${i}`).join(", ")} where ${times(8000, () => "name = 'x'").join(" and ")}`,
    "untouched",
  ],
  [
    "functions that see what is before them",
    () => `select 1 from app.users a, ${times(4000, (i) => `generate_series(1, id) g${i}`).join(", ")}`,
    "untouched",
  ],
  ["joins", () => `select * from app.orders a0 ${times(160, (i) => `join app.orders a${i + 1} using (id)`).join(" ")}`, "untouched"],
  ["more outputs than a server takes", () => `select ${times(30_000, () => "*").join(", ")} from app.users`, "unknown"],
  [
    "WITH queries",
    () =>
      `with c0 as (select id from app.users) ${times(3000, (i) => `, c${i + 1} as (select id, 1 as n from c${i})`).join("")} select * from c3000`,
    "untouched",
  ],
  [
    "WITH queries that double",
    () =>
      `with c0 as (select id from app.users) ${times(40, (i) => `, c${i + 1} as (select a.*, b.* from c${i} a, c${i} b)`).join("")} select * from c40`,
    "untouched",
  ],
  [
    "subqueries",
    () =>
      `select id from app.users where ${times(4000, () => "exists (select 1 from app.orders o where o.user_id = users.id)").join(" and ")}`,
    "untouched",
  ],
] as const)(
  "many %s",
  (_what, text, expected) => {
    expect(world.prove(text())?.kind).toBe(expected);
  },
  20_000,
);
