/** Names with `*` against a plain model of them, and paths into json. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJsonPath, printJsonPath, type JsonPath } from "../../../policy/json-path.ts";
import { coversPattern, matchesPattern } from "../../../policy/pattern.ts";

/** The definition, without regard to cost. */
const model = (pattern: string, name: string): boolean =>
  pattern === ""
    ? name === ""
    : pattern.startsWith("*")
      ? model(pattern.slice(1), name) || (name !== "" && model(pattern, name.slice(1)))
      : name !== "" && name[0] === pattern[0] && model(pattern.slice(1), name.slice(1));

const patterns = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 7 });
const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 9 });

describe("patterns", () => {
  it("match as their definition says", () => {
    fc.assert(
      fc.property(patterns, names, (pattern, name) => matchesPattern(pattern, name) === model(pattern, name)),
      { numRuns: 2000 },
    );
  });
  it("know nothing but the star", () => {
    for (const [pattern, name, matches] of [
      [".*", "x", false],
      [".*", ".x", true],
      ["a?c", "abc", false],
      ["[ab]", "a", false],
      ["a\\*", "a*", false],
      ["a\\*", "a\\x", true],
      ["(a+)+$", "aaa", false],
      ["Ä*", "Ärger", true],
      ["", "", true],
      ["*", "", true],
    ] as const)
      expect([pattern, name, matchesPattern(pattern, name)]).toEqual([pattern, name, matches]);
  });
  it("GW-25: cost no more than their length times the name's, whatever they are", () => {
    // A matcher that goes back would be at this until the sun is cold.
    const name = "a".repeat(100_000);
    expect(matchesPattern(`${"a*".repeat(120)}b`, name)).toBe(false);
    expect(matchesPattern(`${"*a".repeat(120)}*`, name)).toBe(true);
  });
  it("that cover another take every name that the other takes", () => {
    fc.assert(
      fc.property(patterns, patterns, names, (wide, narrow, name) => {
        fc.pre(coversPattern(wide, narrow) && model(narrow, name));
        return model(wide, name);
      }),
      { numRuns: 500 },
    );
    expect(coversPattern("*a*", "b*a")).toBe(true);
    expect(coversPattern("a*", "*")).toBe(false);
  });
});

describe("paths into json", () => {
  it("are read in every way of writing a name", () => {
    const member = (name: string) => ({ kind: "member" as const, name });
    for (const [text, path] of [
      ["$.a", [member("a")]],
      ['$."a b"', [member("a b")]],
      ['$["a"]', [member("a")]],
      ['$[ "a.b" ]', [member("a.b")]],
      ['$."\\u0061\\"]"', [member('a"]')]],
      ["$.größe._x1", [member("größe"), member("_x1")]],
      ["$[*].a.*", [{ kind: "elements" }, member("a"), { kind: "any-member" }]],
      ['$."*"', [member("*")]],
    ] as const)
      expect([text, parseJsonPath(text)]).toEqual([text, { ok: true, value: path }]);
  });
  it("are refused when anything of them is unread", () => {
    for (const text of [
      "",
      "a",
      ".a",
      "$a",
      "$.",
      "$.a.",
      "$.a b",
      "$.1a",
      "$[1]",
      "$[*",
      "$['a']",
      '$."a',
      '$."\\x"',
      "$.a[*]x",
      "$..a",
      "$.**",
      "$.a()",
      "$ .a",
    ])
      expect([text, parseJsonPath(text).ok]).toEqual([text, false]);
    expect(parseJsonPath(`$${".a".repeat(33)}`)).toMatchObject({ ok: false, error: expect.stringContaining("more than 32 steps") });
  });
  it("survive being printed", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("member" as const), name: fc.string() }),
      fc.record({ kind: fc.constantFrom("elements" as const, "any-member" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 32 }), (path: JsonPath) => {
        expect(parseJsonPath(printJsonPath(path))).toEqual({ ok: true, value: path });
      }),
    );
  });
});
