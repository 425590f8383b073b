/** Rows by a column plan: what is masked, what is left as it is, and what is malformed. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MaskStrategy } from "../../../../policy/types.ts";
import { createRowMasker } from "../../../../tunnel-agent/protocols/postgres/masking/rows.ts";
import type { ColumnMask, ColumnPlan, MaskCounts } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";
import { createValueMask } from "../../../../tunnel-agent/protocols/postgres/masking/values/index.ts";

const KEY = Buffer.alloc(32, 9);
const TEXT = 25;

const column = (kind: MaskStrategy, typeOid = TEXT): ColumnMask => ({ class: "email", strategy: kind, paths: [], typeOid, format: 0 });
const scan: ColumnPlan[number] = {
  typeOid: TEXT,
  format: 0,
  scan: [{ detector: "email", class: "contact", strategy: { kind: "redact" } }],
};

export function row(cells: readonly (Buffer | string | null)[]): Buffer {
  const parts = cells.map((cell) => {
    const bytes = cell === null ? null : Buffer.from(cell);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes === null ? -1 : bytes.length);
    return bytes === null ? length : Buffer.concat([length, bytes]);
  });
  const count = Buffer.alloc(2);
  count.writeUInt16BE(cells.length);
  return Buffer.concat([count, ...parts]);
}

const masker = (plan: ColumnPlan, counts: MaskCounts = new Map()) => createRowMasker(plan, { key: KEY, counts });

/** As it would be done without care for speed: cut, mask, put together. */
function naive(plan: ColumnPlan, cells: readonly (Buffer | null)[]): Buffer {
  return row(
    cells.map((cell, index) => {
      const entry = plan[index];
      if (cell === null || entry === null || entry === undefined) return cell;
      if ("scan" in entry) return Buffer.from(cell.toString().replaceAll("anna@example.org", "[contact]"));
      const mask = createValueMask(entry, KEY);
      return mask.kind === "constant" ? mask.bytes : mask.of(cell);
    }),
  );
}

describe("a row", () => {
  it("has its masked cells replaced and the others copied", () => {
    const counts: MaskCounts = new Map();
    const plan = [null, column({ kind: "redact" }), null, column({ kind: "null" }), column({ kind: "redact" })];
    const masked = masker(plan, counts).mask(row(["1", "anna@example.org", "x", "secret", null]));
    expect(masked).toEqual(row(["1", "[email]", "x", null, null]));
    expect(counts).toEqual(new Map([["email", 2]]));
  });

  it("goes on as it came where nothing of it changed", () => {
    const counts: MaskCounts = new Map();
    expect(masker([null, column({ kind: "redact" }), scan], counts).mask(row(["1", null, "no address"]))).toBeNull();
    expect(counts.size).toBe(0);
  });

  it("has what detectors find masked inside its texts", () => {
    const counts: MaskCounts = new Map();
    expect(masker([scan], counts).mask(row(["to anna@example.org, and bo@example.org"]))).toEqual(row(["to [contact], and [contact]"]));
    expect(counts).toEqual(new Map([["contact", 2]]));
  });

  it.each([
    ["empty", Buffer.alloc(0)],
    ["without columns", row([])],
    ["with a column too few", row(["a"])],
    ["with a column too many", row(["a", "b", "c"])],
    ["cut off in a length", row(["a", "bc"]).subarray(0, 9)],
    ["cut off in a value", row(["a", "bc"]).subarray(0, -1)],
    ["with bytes left over", Buffer.concat([row(["a", "bc"]), Buffer.of(0)])],
    ["with a length of -2", Buffer.concat([row(["a", "b"]).subarray(0, 7), Buffer.of(255, 255, 255, 254)])],
    ["with a length beyond it", Buffer.concat([row(["a", "b"]).subarray(0, 7), Buffer.of(127, 255, 255, 255, 1)])],
  ])("is malformed when it is %s", (_, body) => {
    const rows = masker([null, column({ kind: "redact" })]);
    expect(rows.mask(body)).toBe("malformed");
    expect(rows.append(body)).toBe(false);
    expect(rows.take()).toBeNull();
    // The same masker takes a sound row.
    expect(rows.mask(row(["a", "b"]))).toEqual(row(["a", "[email]"]));
  });
});

const strategy = fc.constantFrom<MaskStrategy>(
  { kind: "redact" },
  { kind: "partial", keep: { first: 0, last: 4 } },
  { kind: "partial", keep: "domain" },
  { kind: "hash" },
  { kind: "null" },
  { kind: "zero" },
  { kind: "generalise", to: "year" },
);
const entry = fc.oneof(
  fc.constant(null),
  fc.constant(scan),
  strategy.map((kind) => column(kind)),
);
const cell = fc.oneof(
  fc.constant(null),
  fc.constantFrom("anna@example.org", "4111111111111111", "1987-03-05", "").map((text) => Buffer.from(text)),
  fc.string({ unit: "binary", maxLength: 300 }).map((text) => Buffer.from(text)),
);
const table = fc
  .array(entry, { minLength: 1, maxLength: 9 })
  .chain((plan) => fc.record({ plan: fc.constant(plan), rows: fc.array(fc.tuple(...plan.map(() => cell)), { maxLength: 5 }) }));

describe("any rows", () => {
  it("are what cutting, masking and putting together makes of them", () => {
    fc.assert(
      fc.property(table, ({ plan, rows }) => {
        const rowMasker = masker(plan);
        for (const cells of rows) {
          const body = row(cells);
          expect(rowMasker.mask(body) ?? body).toEqual(naive(plan, cells));
        }
      }),
    );
  });

  it("are the same messages when they are put one after another", () => {
    fc.assert(
      fc.property(table, fc.integer({ min: 1, max: 4 }), ({ plan, rows }, every) => {
        const rowMasker = masker(plan);
        const out: Buffer[] = [];
        const expected: Buffer[] = [];
        for (const [index, cells] of rows.entries()) {
          const body = row(cells);
          expect(rowMasker.append(body)).toBe(true);
          const masked = naive(plan, cells);
          const header = Buffer.from("D\0\0\0\0", "latin1");
          header.writeInt32BE(masked.length + 4, 1);
          expected.push(header, masked);
          if (index % every === 0) out.push(rowMasker.take() ?? Buffer.alloc(0));
        }
        out.push(rowMasker.take() ?? Buffer.alloc(0));
        expect(rowMasker.take()).toBeNull();
        expect(Buffer.concat(out)).toEqual(Buffer.concat(expected));
      }),
    );
  });

  it("keep every byte over more than one block, and over rows longer than a block", () => {
    const rowMasker = masker([null, column({ kind: "redact" })]);
    const rows = Array.from({ length: 400 }, (_, i) => [Buffer.alloc(i === 7 ? 200_000 : i * 3, i), Buffer.from(`secret ${i}`)]);
    const bodies = rows.map(([first]) => row([first ?? null, "[email]"]));
    for (const cells of rows) rowMasker.append(row(cells));
    const out = rowMasker.take() ?? Buffer.alloc(0);
    let at = 0;
    for (const body of bodies) {
      expect(out.readInt32BE(at + 1)).toBe(body.length + 4);
      expect(out.subarray(at + 5, at + 5 + body.length).equals(body)).toBe(true);
      at += 5 + body.length;
    }
    expect(at).toBe(out.length);
  });
});
