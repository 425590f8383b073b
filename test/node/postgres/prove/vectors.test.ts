/**
 * Every vector of test/vectors/postgres/prove: what the prover says, and whether it is true. Truth is two databases that
 * differ in classified values only: what is called untouched must answer the same from both.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { disagreeing, startWorld, unclassifiedRows, VECTORS, withoutOids, written, type World } from "./world.ts";

interface File {
  readonly about: string;
  readonly cases: readonly (readonly [string, string])[];
}

const files = readdirSync(VECTORS)
  .filter((name) => name.endsWith(".yaml") && name !== "masking.yaml")
  .map((name) => ({ name, ...(parse(readFileSync(new URL(name, VECTORS), "utf8")) as File) }));

let world: World;
beforeAll(async () => {
  world = await startWorld();
}, 120_000);
afterAll(async () => {
  await world.stop();
});

/** Statements that cannot be run in a transaction, or ask the client for data. */
const NOT_RUN = /^(begin|copy|prepare|declare|truncate|drop|analyze)/;

describe.each(files)("$name", ({ about, cases }) => {
  it.each(cases)(`${about}: %s`, async (sql, expected) => {
    const verdict = world.prove(sql);
    expect(written(verdict, world.catalogue())).toBe(expected);
    if (verdict === null || NOT_RUN.test(sql)) return;
    if (verdict.kind === "untouched") {
      const [first, second] = await world.both(sql);
      expect(withoutOids(first)).toEqual(withoutOids(second));
      // Two equal errors would prove little.
      if (!sql.includes("nothing")) expect(first.error).toBe(null);
    }
    if (verdict.kind !== "projection") return;
    const [first, second] = await world.both(sql);
    expect(first.error).toBe(null);
    const { columns } = verdict;
    expect(disagreeing(first, columns, world.catalogue())).toEqual([]);
    expect(JSON.stringify(first.rows)).not.toBe(JSON.stringify(second.rows));
    expect(unclassifiedRows(first, columns, world.catalogue())).toEqual(unclassifiedRows(second, columns, world.catalogue()));
  });
});

it("has enough of each, so that none of them can be the answer to everything", () => {
  const all = files.flatMap(({ cases }) => cases.map(([, expected]) => expected.split(" ")[0]));
  for (const kind of ["untouched", "projection", "unprovable", "unknown"]) {
    expect(all.filter((one) => one === kind).length).toBeGreaterThan(5);
  }
  expect(all.length).toBeGreaterThan(200);
});

// The negative control: the two databases do tell apart what the prover refuses.
it("would be told by the databases if classified values were used", async () => {
  const told: string[] = [];
  const refused = files
    .flatMap(({ cases }) => cases)
    .filter(([sql, expected]) => expected.startsWith("unprovable PG-3") && sql.startsWith("select"));
  for (const [sql] of refused) {
    const [first, second] = await world.both(sql);
    if (JSON.stringify(withoutOids(first)) !== JSON.stringify(withoutOids(second))) told.push(sql);
  }
  expect(told.length).toBeGreaterThan(refused.length / 3);
});
