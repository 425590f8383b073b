/** Detectors inside of values: what is found is masked by its class, and the value keeps its type's form. */
import { describe, expect, it } from "vitest";
import type { MaskStrategy } from "../../../../policy/types.ts";
import type { ColumnScan, MaskCounts } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";
import { createScan } from "../../../../tunnel-agent/protocols/postgres/masking/values/scan.ts";

const KEY = Buffer.alloc(32, 3);
const REDACT: MaskStrategy = { kind: "redact" };
const RULES: ColumnScan["scan"] = [
  { detector: "email", class: "contact", strategy: { kind: "partial", keep: "domain" } },
  { detector: "card", class: "card", strategy: REDACT },
  { detector: "ssn", class: "ssn", strategy: { kind: "null" } },
  { detector: "ssn", class: "later", strategy: REDACT },
];

function scanned(typeOid: number, value: Buffer | string, format: 0 | 1 = 0, counts: MaskCounts = new Map()): Buffer | null | "same" {
  const scan = createScan({ typeOid, format, scan: RULES }, KEY, counts);
  const bytes = Buffer.from(value);
  const out = scan?.(bytes) ?? null;
  return out === bytes ? "same" : out;
}
const shown = (...given: Parameters<typeof scanned>): string | null => scanned(...given)?.toString() ?? null;

describe("a scan", () => {
  it("masks each finding by its class's strategy and leaves the rest", () => {
    const counts: MaskCounts = new Map();
    const text = "anna@example.org paid with 4111 1111 1111 1111, ssn 078-05-1120, iban DE89370400440532013000";
    expect(shown(25, text, 0, counts)).toBe("****@example.org paid with [card], ssn , iban DE89370400440532013000");
    expect(counts).toEqual(
      new Map([
        ["contact", 1],
        ["card", 1],
        ["ssn", 1],
      ]),
    );
  });

  it.each([
    ["text", 25, "nothing here"],
    ["json", 114, '{"a": [1, "nothing"]}'],
    ["an array", 1009, '{a,NULL,"b c"}'],
  ])("leaves %s without findings the very bytes that came", (_, oid, value) => {
    expect(scanned(oid, value)).toBe("same");
  });

  it("keeps JSON valid: strings, numbers and names of members are searched one by one", () => {
    const json = '{"to": "anna@example.org", "anna@example.org": {"card": 4111111111111111, "n": 1.50}, "x": "\\u0061nna@example.org"}';
    expect(shown(114, json)).toBe('{"to": "****@example.org", "****@example.org": {"card": "[card]", "n": 1.50}, "x": "****@example.org"}');
    expect(shown(3802, `\u0001${json}`, 1)).toMatch(/^\u0001\{"to": "\*{4}@example.org"/);
    expect(scanned(114, '{"to": "anna@example.org"')).toBeNull();
  });

  it("keeps arrays, in both formats", () => {
    expect(shown(1009, '{anna@example.org,"4111111111111111, \\"x\\"",NULL}')).toBe('{****@example.org,"[card], \\"x\\"",NULL}');
    const header = Buffer.from("00000001 00000000 00000019 00000001 00000001".replaceAll(" ", ""), "hex");
    const element = (text: string): Buffer => Buffer.concat([Buffer.of(0, 0, 0, text.length), Buffer.from(text)]);
    expect(scanned(1009, Buffer.concat([header, element("anna@example.org")]), 1)).toEqual(
      Buffer.concat([header, element("****@example.org")]),
    );
    expect(scanned(1009, Buffer.concat([header, element("x")]), 1)).toBe("same");
  });

  it("of a type that is not known masks its text, and makes its binary form NULL", () => {
    expect(shown(16_400, "(anna@example.org,37)")).toBe("(****@example.org,37)");
    expect(scanned(16_400, Buffer.from("\u0000\u0000\u0000\u0010anna@example.org\u0007", "latin1"), 1)).toBeNull();
    expect(scanned(16_400, Buffer.from("\u0000\u0000\u0000\u0004anna", "latin1"), 1)).toBe("same");
  });

  it("of text that is no UTF-8 makes NULL of what is found in", () => {
    expect(scanned(25, Buffer.from("\xfcanna@example.org", "latin1"))).toBeNull();
    expect(scanned(25, Buffer.from("\xfcanna", "latin1"))).toBe("same");
  });

  it("has nothing to do with types that hold no text", () => {
    for (const oid of [20, 1700, 1184, 17, 2950, 869])
      expect(createScan({ typeOid: oid, format: 0, scan: RULES }, KEY, new Map())).toBeNull();
    expect(createScan({ typeOid: 25, format: 0, scan: [] }, KEY, new Map())).toBeNull();
  });
});
