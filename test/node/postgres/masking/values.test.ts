/** Values: what agrees across formats and types, what is never shown, and what becomes of bytes that are no value. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJsonPath } from "../../../../policy/json-path.ts";
import { MAX_MASKED_VALUE } from "../../../../protocol/limits.ts";
import type { MaskStrategy } from "../../../../policy/types.ts";
import type { ColumnMask } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";
import { createValueMask } from "../../../../tunnel-agent/protocols/postgres/masking/values/index.ts";
import { readNumeric, writeNumeric } from "../../../../tunnel-agent/protocols/postgres/masking/values/numeric.ts";
import { FAMILIES } from "../../../../tunnel-agent/protocols/postgres/masking/values/types.ts";
import { STRATEGIES } from "./samples.ts";

const KEY = Buffer.alloc(32, 3);
const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  numeric: 1700,
  varchar: 1043,
  bpchar: 1042,
  name: 19,
  uuid: 2950,
  jsonb: 3802,
  date: 1082,
  timestamptz: 1184,
  timestamp: 1114,
  inet: 869,
  textArray: 1009,
};

function through(
  typeOid: number,
  strategy: MaskStrategy,
  value: Buffer | string,
  more: Partial<ColumnMask> & { key?: Buffer } = {},
): Buffer | null {
  const { key = KEY, ...column } = more;
  const mask = createValueMask({ class: "email", strategy, paths: [], typeOid, format: 0, ...column }, key);
  return mask.kind === "constant" ? mask.bytes : mask.of(Buffer.from(value));
}
const shown = (...given: Parameters<typeof through>): string | null => through(...given)?.toString() ?? null;

const HASH: MaskStrategy = { kind: "hash" };
const binary = { format: 1 } as const;

function int(bytes: 2 | 4 | 8, value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigInt64BE(value);
  return out.subarray(8 - bytes);
}

describe("a hash", () => {
  it("is a token of 128 bits, the same for equal texts of every type of text", () => {
    const token = shown(OID.text, HASH, "anna@example.org");
    expect(token).toMatch(/^[0-9a-f]{32}$/);
    for (const oid of [OID.varchar, OID.name]) expect(shown(oid, HASH, "anna@example.org", binary)).toBe(token);
    expect(shown(OID.bpchar, HASH, "anna@example.org   ")).toBe(token);
    expect(shown(OID.json, HASH, '"anna\\u0040example.org"')).toBe(JSON.stringify(token));
    expect(shown(OID.textArray, HASH, "{anna@example.org,NULL}")).toBe(`{${token},NULL}`);
  });

  it("depends on the class and on the key", () => {
    const token = shown(OID.text, HASH, "anna@example.org");
    expect(shown(OID.text, HASH, "anna@example.org", { class: "other" })).not.toBe(token);
    expect(shown(OID.text, HASH, "anna@example.org", { key: Buffer.alloc(32, 4) })).not.toBe(token);
    expect(shown(OID.int8, HASH, "5", { class: "other" })).not.toBe(shown(OID.int8, HASH, "5"));
    expect(() => through(OID.text, HASH, "x", { key: Buffer.alloc(8) })).toThrow("masking key");
  });

  it("of a number agrees in both formats, and in every type that can hold it", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.bigInt({ min: -32_768n, max: 32_767n }),
          fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n }),
          fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        ),
        (value) => {
          const token = shown(OID.int8, HASH, value.toString());
          const number = BigInt(token ?? "x");
          expect(through(OID.int8, HASH, int(8, value), binary)).toEqual(int(8, number));
          expect(shown(OID.numeric, HASH, value.toString())).toBe(token);
          expect(shown(OID.numeric, HASH, `${value}.000`)).toBe(token);
          const numeric = writeNumeric({ coefficient: value, scale: 0 }, 1) ?? Buffer.alloc(0);
          expect(readNumeric(through(OID.numeric, HASH, numeric, binary) ?? Buffer.alloc(0), 1)).toEqual({ coefficient: number, scale: 0 });
          for (const bytes of [2, 4] as const) {
            if (BigInt.asIntN(bytes * 8, value) !== value) continue;
            const oid = bytes === 2 ? OID.int2 : OID.int4;
            expect(shown(oid, HASH, value.toString())).toBe(token);
            expect(through(oid, HASH, int(bytes, value), binary)).toEqual(int(bytes, number));
          }
        },
      ),
    );
  });

  it("of numbers never makes two of them equal", () => {
    const tokens = new Set(Array.from({ length: 3000 }, (_, i) => shown(OID.int2, HASH, String(i - 1500))));
    expect(tokens.size).toBe(3000);
    const dates = new Set(
      Array.from({ length: 500 }, (_, i) => shown(OID.date, HASH, `19${10 + (i % 50)}-0${1 + (i % 9)}-${10 + Math.floor(i / 28)}`)),
    );
    expect(dates.size).toBe(500);
  });

  it("of dates, instants, uuids, addresses and bytes agrees in both formats", () => {
    const days = Buffer.alloc(4);
    days.writeInt32BE(-4685);
    const date = shown(OID.date, HASH, "1987-03-05") ?? "";
    expect(through(OID.date, HASH, days, binary)?.readInt32BE(0)).toBe(Date.parse(`${date}T00:00:00Z`) / 86_400_000 - 10_957);
    // Two ways to write one instant.
    expect(shown(OID.timestamptz, HASH, "1987-03-05 12:00:00+02")).toBe(shown(OID.timestamptz, HASH, "1987-03-05 06:30:00-03:30"));
    const uuid = "550e8400-e29b-41d4-a716-446655440000";
    const bytes = Buffer.from(uuid.replaceAll("-", ""), "hex");
    expect(through(OID.uuid, HASH, bytes, binary)?.toString("hex")).toBe(shown(OID.uuid, HASH, uuid)?.replaceAll("-", ""));
    expect(shown(OID.uuid, HASH, uuid)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const address = through(OID.inet, HASH, Buffer.from("0220000410010203", "hex"), binary) ?? Buffer.alloc(0);
    expect(address.subarray(4).toString("hex")).toBe(
      (shown(OID.inet, HASH, "16.1.2.3") ?? "")
        .split(":")
        .map((word) => word.padStart(4, "0"))
        .join(""),
    );
    expect(shown(OID.bytea, HASH, "\\x00ff5c")).toBe(
      `\\x${through(OID.bytea, HASH, Buffer.from("00ff5c", "hex"), binary)?.toString("hex")}`,
    );
    expect(shown(OID.bytea, HASH, "\\000\\377\\\\")).toBe(shown(OID.bytea, HASH, "\\x00ff5c"));
  });

  it("stays the same over what it remembers", () => {
    const mask = createValueMask({ class: "email", strategy: HASH, paths: [], typeOid: OID.text, format: 0 }, KEY);
    if (mask.kind !== "value") throw new Error("a hash depends on the value");
    const first = Array.from({ length: 5000 }, (_, i) => mask.of(Buffer.from(`value ${i % 2500}`))?.toString());
    expect(new Set(first).size).toBe(2500);
    expect(first.slice(0, 2500)).toEqual(first.slice(2500));
  });
});

describe("generalise", () => {
  const to = (to: "year" | "month" | "day" | "network" | { step: number }): MaskStrategy => ({ kind: "generalise", to });
  it.each([
    [OID.date, to("year"), "1987-03-05", "1987-01-01"],
    [OID.date, to("month"), "1987-03-05", "1987-03-01"],
    [OID.timestamp, to("day"), "2024-02-29 23:59:59.5", "2024-02-29 00:00:00"],
    [OID.timestamptz, to("year"), "2024-01-01 00:30:00+02", "2023-01-01 00:00:00+00"],
    [OID.int4, to({ step: 10 }), "37", "30"],
    [OID.int4, to({ step: 10 }), "-37", "-40"],
    [OID.numeric, to({ step: 1000 }), "123456.789", "123000"],
    [OID.text, to("year"), "1987-03-05T10:00:00Z", "1987"],
    [OID.text, to("year"), "born in 1987", "[email]"],
    [OID.text, to({ step: 100 }), "1234.5", "1200"],
    [OID.inet, to("network"), "10.1.2.3/8", "10.0.0.0/8"],
    [OID.inet, to("network"), "2001:db8:1:2::3", "2001:db8:1:0:0:0:0:0/48"],
    [OID.text, to("network"), "10.1.2.3", "10.1.2.0/24"],
    [OID.json, to("year"), '"1987-03-05"', '"1987"'],
    [OID.json, to({ step: 10 }), "37.5", "30"],
    [OID.json, to({ step: 10 }), "1e400000", '"[email]"'],
  ])("%i %j of %s is %s", (oid, strategy, value, general) => {
    expect(shown(oid, strategy, value)).toBe(general);
  });

  it("of a number that would fall out of its type is NULL", () => {
    expect(shown(OID.int2, to({ step: 1000 }), "-32768")).toBeNull();
    expect(shown(OID.int4, to({ step: 1000 }), "-32768")).toBe("-33000");
    const edge = `-${"9".repeat(131_072)}`;
    const number = readNumeric(Buffer.from(edge), 0);
    if (number === null || typeof number === "string") throw new Error("a numeric");
    expect(through(OID.numeric, to({ step: 1000 }), writeNumeric(number, 1) ?? "", binary)).toBeNull();
  });
});

describe("json", () => {
  const at = (...paths: readonly string[]) => ({
    paths: paths.map((text) => {
      const path = parseJsonPath(text);
      if (!path.ok) throw new Error(path.error);
      return path.value;
    }),
  });
  const redact: MaskStrategy = { kind: "redact" };

  it.each([
    ["$.email", '{"email": "a@b.cd",  "n": 1.50, "e": {}}', '{"email": "[email]",  "n": 1.50, "e": {}}'],
    ["$.email", '{"\\u0065mail": "a@b.cd"}', '{"\\u0065mail": "[email]"}'],
    ["$.email", '{"email": "one", "email": "two", "Email": "three"}', '{"email": "[email]", "email": "[email]", "Email": "three"}'],
    ["$.email", '{"x": {"email": "kept"}}', null],
    ["$.email", '{"email": null}', null],
    ["$.email", '[{"email": "one"}, [{"email": {"of": "two"}}]]', '[{"email": "[email]"}, [{"email": "[email]"}]]'],
    ["$.a.b", '{"a": [{"b": 1}, {"b": [2, 3]}, 4]}', '{"a": [{"b": "[email]"}, {"b": "[email]"}, 4]}'],
    ["$.items[*].card", '{"items": [{"card": 4111111111111111}, {"n": 1}]}', '{"items": [{"card": "[email]"}, {"n": 1}]}'],
    ["$.items[*].card", '{"items": {"card": 1}}', '{"items": {"card": "[email]"}}'],
    ["$.tags[*]", '{"tags": ["a", ["b"], {"c": 1}, null]}', '{"tags": ["[email]", "[email]", "[email]", null]}'],
    ["$.tags[*]", '{"tags": "a"}', '{"tags": "[email]"}'],
    ["$.*", '{"a": 1, "b": {"c": 2}}', '{"a": "[email]", "b": "[email]"}'],
    ["$[*]", '["a", "b"]', '["[email]", "[email]"]'],
    ['$."odd key"', '{"odd key": "x", "": "y"}', '{"odd key": "[email]", "": "y"}'],
    ["$.__proto__.a", '{"__proto__": {"a": "x"}}', '{"__proto__": {"a": "[email]"}}'],
  ])("%s of %s", (path, value, masked) => {
    const mask = createValueMask({ class: "email", strategy: redact, typeOid: OID.json, format: 0, ...at(path) }, KEY);
    if (mask.kind !== "value") throw new Error("paths depend on the value");
    const given = Buffer.from(value);
    const out = mask.of(given);
    if (masked === null) expect(out).toBe(given);
    else expect(out?.toString()).toBe(masked);
  });

  it("has each strategy by the kind of the value", () => {
    const value = '{"s": "anna@example.org", "n": 1234567, "b": true, "o": {"x": 1}, "a": [1], "z": null}';
    const all = at("$.*");
    const of = (strategy: MaskStrategy): unknown => JSON.parse(shown(OID.json, strategy, value, all) ?? "");
    expect(of({ kind: "zero" })).toEqual({ s: "", n: 0, b: false, o: {}, a: [], z: null });
    expect(of({ kind: "null" })).toEqual({ s: null, n: null, b: null, o: null, a: null, z: null });
    expect(of({ kind: "partial", keep: { first: 0, last: 2 } })).toEqual({
      s: "****rg",
      n: "****67",
      b: "[email]",
      o: "[email]",
      a: "[email]",
      z: null,
    });
  });

  it("in jsonb's binary form keeps its version byte", () => {
    expect(shown(OID.jsonb, redact, '\u0001{"email":"x"}', { ...binary, ...at("$.email") })).toBe('\u0001{"email":"[email]"}');
    expect(shown(OID.jsonb, redact, '\u0002{"email":"x"}', { ...binary, ...at("$.email") })).toBeNull();
  });

  it.each([
    "",
    "{",
    '{"a" 1}',
    "[1,]",
    '{"a":1,}',
    "01",
    '"\\x"',
    '"\u0001"',
    "nul",
    "1 2",
    "{a:1}",
    `${"[".repeat(513)}${"]".repeat(513)}`,
  ])("that is none, or too deep, is NULL: %.20s", (value) => {
    expect(shown(OID.json, redact, value, at("$.email"))).toBeNull();
  });

  it("is masked at 512 levels", () => {
    const deep = `${'{"a":'.repeat(511)}{"email":"x"}${"}".repeat(511)}`;
    expect(shown(OID.json, redact, deep, at(`$${".a".repeat(20)}`))).not.toContain("x");
    expect(shown(OID.json, redact, deep, at("$.b"))).toBe(deep);
  });

  it("stays JSON, and keeps what no path chooses", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom("$.a", "$.*", "$[*]", "$.a[*].b"),
        fc.constantFrom(...Object.values(STRATEGIES)),
        (value, path, strategy) => {
          const text = JSON.stringify({ a: value, rest: value });
          const masked = JSON.parse(shown(OID.json, strategy, text, at(path)) ?? "null") as { rest: unknown };
          if (path.startsWith("$.a")) expect(masked.rest).toEqual((JSON.parse(text) as { rest: unknown }).rest);
        },
      ),
    );
  });
});

describe("anything at all", () => {
  const oids = [...FAMILIES.keys()];
  const SECRET = "9d1c6ab07e42";
  const blind = [STRATEGIES["redact"], STRATEGIES["hash"], STRATEGIES["zero"], STRATEGIES["null"]].filter(
    (strategy) => strategy !== undefined,
  );

  it("is masked without a throw, and never leaves as it came where it is no value of its type", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...oids),
        fc.constantFrom(...Object.values(STRATEGIES)),
        fc.constantFrom(0, 1),
        fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.constant(new Uint8Array(0))),
        (typeOid, strategy, format, bytes) => {
          const value = Buffer.concat([Buffer.from([0xc3, 0x28]), Buffer.from(bytes)]);
          const masked = through(typeOid, strategy, value, { format: format === 0 ? 0 : 1 });
          expect(masked?.equals(value) ?? false).toBe(false);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("never shows a value by redact, hash, zero or null", () => {
    for (const typeOid of oids) {
      for (const strategy of blind) {
        for (const text of [
          SECRET,
          `"${SECRET}"`,
          `{${SECRET}}`,
          `{"a":"${SECRET}"}`,
          `<a>${SECRET}</a>`,
          `{"{\\"a\\":\\"${SECRET}\\"}"}`,
        ]) {
          for (const format of [0, 1] as const) {
            const masked = through(typeOid, strategy, text, { format });
            expect(masked === null || !masked.includes(SECRET), `${typeOid} ${strategy.kind} ${text}`).toBe(true);
          }
        }
      }
    }
    // The search finds what is there.
    expect(shown(OID.text, { kind: "partial", keep: { first: 12, last: 0 } }, `${SECRET}${SECRET}`)).toContain(SECRET);
  });

  it("becomes NULL where it is too long to be read, and not a byte sooner", () => {
    const longest = "x".repeat(MAX_MASKED_VALUE);
    expect(shown(OID.text, HASH, longest)).toMatch(/^[0-9a-f]{32}$/);
    expect(shown(OID.text, HASH, `${longest}x`)).toBeNull();
    expect(shown(OID.text, { kind: "redact" }, `${longest}x`)).toBe("[email]");
  });

  it("of the greatest length is masked without a throw", () => {
    const fill = (unit: string, before = "", after = ""): Buffer =>
      Buffer.concat([Buffer.from(before), Buffer.alloc(MAX_MASKED_VALUE - before.length - after.length, unit), Buffer.from(after)]);
    const step = STRATEGIES["generalise step"] ?? HASH;
    const domain = STRATEGIES["partial domain"] ?? HASH;
    const cases: readonly (readonly [number, MaskStrategy, Buffer])[] = [
      [OID.bytea, HASH, fill("a\\\\")],
      [OID.bytea, HASH, fill("ab", "\\x")],
      [OID.text, domain, fill("a.", "é@")],
      [OID.text, domain, fill("a@")],
      [OID.numeric, step, fill("7")],
      [OID.json, step, fill("1,", "[", "1]")],
      [OID.json, HASH, fill("[")],
      [OID.json, step, fill("7")],
      [OID.textArray, domain, fill("a,", "{", "b}")],
      [OID.textArray, domain, fill("{")],
      [3807, step, fill("1,", "{", "1}")],
      [1560, { kind: "zero" }, fill("1")],
    ];
    for (const [typeOid, strategy, value] of cases) expect(through(typeOid, strategy, value)?.equals(value) ?? false).toBe(false);
  }, 60_000);

  it("becomes NULL where its type is not known", () => {
    for (const oid of [0, 26, 2205, 16_385, 600, 3614, 2249, 4294967295]) {
      for (const strategy of Object.values(STRATEGIES)) expect(through(oid, strategy, "secret")).toBeNull();
    }
  });
});
