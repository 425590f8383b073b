/** docs/errors.md and protocol/errors.ts say the same: each code once, with its status, a meaning and an advice. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { ERRORS } from "../../../protocol/errors.ts";

const page = readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8");
const rows = [...page.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| ([^|]+) \| ([^|]+) \|$/gm)];

it("each code has exactly one row, with its status", () => {
  const documented = rows.map(([, code, status]) => `${code} ${status}`);
  const known = Object.entries(ERRORS).map(([code, { status }]) => `${code} ${status}`);
  expect(documented.toSorted()).toEqual(known.toSorted());
});

it("each row says what it means and what to do, in sentences", () => {
  for (const [, code, , meaning = "", advice = ""] of rows) {
    expect(meaning.trim(), code).toMatch(/^[A-Z].*[.]$/);
    expect(advice.trim(), code).toMatch(/[.]$/);
  }
});
