/** GW-05, GW-06: matching is exact, scoped to the issuer, and of one identity or none. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { IdentityDeclaration } from "../../../policy/types.ts";
import type { Workload } from "../../../protocol/workload.ts";
import { matchIdentity } from "../../../worker/identity/match.ts";
import { claimText, resolveClaim } from "../../../worker/identity/providers/adapter.ts";

const ISSUER = "https://issuer.test";
const workload: Workload = { provider: "oidc", issuer: ISSUER, subject: "x" };

type Entry = Partial<IdentityDeclaration["match"][number]>;

const declare = (name: string, ...entries: Entry[]): IdentityDeclaration => ({
  name,
  kind: "non-human",
  owner: "mira",
  purpose: "test",
  groups: [],
  hold: "wait",
  chat: [],
  file: `identities/${name}.yaml`,
  match: entries.map((entry) => ({ issuer: ISSUER, claims: {}, allow_weak_match: false, ...entry })),
});

function matched(identities: IdentityDeclaration[], claims: Record<string, unknown>): string {
  const answer = matchIdentity(identities, claims, workload);
  return answer.ok ? answer.value.name : `- ${answer.error}`;
}

test("every claim of one entry must hold; any entry suffices", () => {
  const identity = declare("a", { claims: { x: ["1"], y: ["2"] } }, { claims: { z: ["3"] } });
  expect(matched([identity], { x: "1", y: "2" })).toBe("a");
  expect(matched([identity], { z: "3" })).toBe("a");
  expect(matched([identity], { x: "1" })).toMatch(/^- no identity/);
  expect(matched([identity], { x: "1", y: "3" })).toMatch(/^- no identity/);
});

test("an entry of another issuer never holds", () => {
  expect(matched([declare("a", { issuer: `${ISSUER}/`, claims: { x: ["1"] } })], { x: "1" })).toMatch(/^- no identity/);
});

test("two identities that match are refused by name, whatever their order", () => {
  const both = [declare("a", { claims: { x: ["1"] } }), declare("b", { claims: { x: ["1", "2"] } })];
  for (const identities of [both, both.toReversed()]) expect(matched(identities, { x: "1" })).toMatch(/^- ambiguous: .*\ba\b/);
  expect(matched(both, { x: "1" })).toContain("a, b");
  expect(matched(both, { x: "2" })).toBe("b");
});

test("an entry without claims admits nobody, unless it is written out", () => {
  expect(matched([declare("a", {})], { x: "1" })).toMatch(/^- no identity/);
  expect(matched([declare("a", { allow_weak_match: true })], { x: "1" })).toBe("a");
});

describe("claims", () => {
  test("compare by text: strings as they are, numbers and booleans as JSON, nothing else", () => {
    const claims = { s: "7", n: 7, f: 1.5, big: 1e21, t: true, no: false, list: ["7"], object: { x: "7" }, nothing: null, empty: "" };
    expect(Object.keys(claims).map((name) => claimText(claims, name))).toEqual([
      "7",
      "7",
      "1.5",
      "1e+21",
      "true",
      "false",
      undefined,
      undefined,
      undefined,
      "",
    ]);
  });

  test("inherited names are no claims", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "/constructor/name", "/__proto__/x"]) {
      expect(resolveClaim({ x: "1" }, name)).toBeUndefined();
    }
  });

  test("a pointer reaches into objects, never lists, and an own name goes first", () => {
    const claims = { "a.b": { "c/d": { "e~f": "deep" } }, list: ["x"], "/own/name": "own", own: { name: "nested" } };
    expect(resolveClaim(claims, "/a.b/c~1d/e~0f")).toBe("deep");
    expect(resolveClaim(claims, "/own/name")).toBe("own");
    for (const name of ["/a.b", "/a.b/c~1d", "/list/0", "/missing/x", "/", "a.b/c~1d/e~0f"])
      expect(resolveClaim(claims, name)).toBeUndefined();
  });
});

test("only the listed text matches (property)", () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.string(), { maxLength: 4 }), (value, listed) => {
      const holds = matched([declare("a", { claims: { x: listed } })], { x: value }) === "a";
      expect(holds).toBe(value !== "" && listed.includes(value));
    }),
  );
});
