/** docs/threat-model.md names tests that exist: each file is there, and holds a title with the words. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const page = readFileSync(new URL("../../../docs/threat-model.md", import.meta.url), "utf8");
const named = [...page.matchAll(/`([a-z0-9/-]+\.(?:test\.ts|yaml|json))` — \*([^*]+)\*/g)].map(([, file = "", words = ""]) => ({
  file,
  words,
}));

test("every row names a test", () => {
  const rows = [...page.matchAll(/^\| (?:(?:PG|GW)-\d\d|\d)[^|]*\|.*$/gm)].map(([row]) => row);
  expect(rows.length).toBeGreaterThan(60);
  expect(rows.filter((row) => !row.includes("` — *"))).toEqual([]);
});

test.each(named)("$file — $words", ({ file, words }) => {
  const url = new URL(`../../${file}`, import.meta.url);
  expect(existsSync(url), file).toBe(true);
  expect(readFileSync(url, "utf8")).toContain(words);
});
