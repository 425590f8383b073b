/** docs/limits.md and protocol/limits.ts say the same: each limit once, with its value. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import * as limits from "../../../protocol/limits.ts";

const page = readFileSync(new URL("../../../docs/limits.md", import.meta.url), "utf8");
const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| ([\d,]+)(?: [a-z]+)? \| [^|]+ \|$/gm)];

it("each limit has exactly one row, with its value", () => {
  const documented = rows.map(([, name, value = ""]) => `${name} ${Number(value.replaceAll(",", ""))}`);
  const known = Object.entries(limits).map(([name, value]) => `${name} ${String(value)}`);
  expect(documented.toSorted()).toEqual(known.toSorted());
});
