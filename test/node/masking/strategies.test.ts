/** Strategies on texts: what they keep, and what they never do. And the permutation that numbers are hashed by. */
import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { civilOf, daysOf, FIRST_DAY, LAST_DAY } from "../../../tunnel-agent/masking/calendar.ts";
import { floorTo, normalise, parseDecimal, printDecimal } from "../../../tunnel-agent/masking/decimal.ts";
import { createPermutation } from "../../../tunnel-agent/masking/permutation.ts";
import { maskedText, partialText } from "../../../tunnel-agent/masking/strategies.ts";
import { createKeyedHash } from "../../../tunnel-agent/protocols/postgres/masking/keyed.ts";
import { createValueMask } from "../../../tunnel-agent/protocols/postgres/masking/values/index.ts";

const KEY = Buffer.alloc(32, 1);
const hash = createKeyedHash(KEY, "email");

describe("partial", () => {
  it.each([
    ["4111111111111111", { first: 0, last: 4 }, "****1111"],
    ["4111111111111111", { first: 6, last: 4 }, "411111****1111"],
    ["4111111111111111", { first: 16, last: 16 }, "****"],
    ["123456", { first: 0, last: 4 }, "****3456"],
    ["12345", { first: 0, last: 4 }, "****"],
    ["1", { first: 0, last: 1 }, "****"],
    ["", { first: 0, last: 4 }, "****"],
    ["anna", { first: 1, last: 0 }, "a****"],
    ["😀😀😀😀😀😀", { first: 1, last: 1 }, "😀****😀"],
    ["😀😀", { first: 1, last: 1 }, "****"],
    ["anna@example.org", "domain", "****@example.org"],
    ["a@b@müller.example", "domain", "****@müller.example"],
    ["@example.org", "domain", "****"],
    ["anna@localhost", "domain", "****"],
    ["anna@example.org, 078-05-1120", "domain", "****"],
    ["a@1.2.3.4", "domain", "****"],
    ["anna@-example.org", "domain", "****"],
    ["anna@example.org\n", "domain", "****"],
    ["no address", "domain", "****"],
  ] as const)("%s keeping %j is %s", (text, keep, masked) => {
    expect(partialText(text, keep)).toBe(masked);
  });

  it("never shows more than two characters for each one that it hides, nor half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 30 }), fc.nat(12), fc.nat(12), (text, first, last) => {
        const masked = partialText(text, { first, last });
        const shown = masked.length === 4 && masked === "****" ? 0 : first + last;
        expect(shown <= 2 * (Array.from(text).length - shown) || shown === 0).toBe(true);
        expect(masked.isWellFormed()).toBe(true);
        expect(Array.from(masked).length).toBe(shown + 4);
      }),
    );
  });

  it("of bytes is that of text", () => {
    const texts = fc.oneof(
      fc.string({ maxLength: 30 }),
      fc.emailAddress(),
      fc.constantFrom("a@b.c-", "a@b..cd", "@a.bc", "a@b_.cd", "a@bc.d\n"),
    );
    fc.assert(
      fc.property(texts, fc.oneof(fc.constant("domain" as const), fc.record({ first: fc.nat(6), last: fc.nat(6) })), (text, keep) => {
        const mask = createValueMask({ class: "email", strategy: { kind: "partial", keep }, paths: [], typeOid: 25, format: 0 }, KEY);
        if (mask.kind !== "value") throw new Error("partial depends on the value");
        expect(mask.of(Buffer.from(text))?.toString()).toBe(partialText(text, keep));
      }),
    );
  });
});

describe("redact, zero, null", () => {
  it("say nothing of the value, its length included", () => {
    for (const text of ["", "x", "x".repeat(1000)]) {
      expect(maskedText(text, "email", { kind: "redact" }, hash)).toBe("[email]");
      expect(maskedText(text, "email", { kind: "zero" }, hash)).toBe("");
      expect(maskedText(text, "email", { kind: "null" }, hash)).toBeNull();
    }
  });
});

describe("the keyed hash", () => {
  it("is HMAC-SHA-256 under a key of the class, for values of any length", () => {
    const classKey = createHmac("sha256", KEY).update("sallyport mask 1\0email").digest();
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 900, maxLength: 1200 }), fc.string({ maxLength: 400 })),
        (value) => {
          expect(hash.digest("text", value)).toBe(createHmac("sha256", classKey).update("text\0").update(value).digest("hex"));
        },
      ),
    );
  });
});

describe("a permutation", () => {
  it.each([2n, 3n, 10n, 100n, 1000n])("of %i numbers has each of them once, and not in order", (size) => {
    const permute = createPermutation(hash, "test", size);
    const images = Array.from({ length: Number(size) }, (_, i) => permute(BigInt(i)));
    expect(images.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(images.map((_, i) => BigInt(i)));
    if (size > 9n) expect(images).not.toEqual(images.map((_, i) => BigInt(i)));
  });

  it("of part of a range stays in that part", () => {
    const odd = createPermutation(hash, "odd", 200n, (value) => value % 2n === 1n);
    const images = Array.from({ length: 100 }, (_, i) => odd(BigInt(i * 2 + 1)));
    expect(new Set(images).size).toBe(100);
    expect(images.every((image) => image % 2n === 1n && image < 200n)).toBe(true);
  });
});

describe("exact numbers and dates", () => {
  it("days and dates are each other's inverse, and JavaScript's own", () => {
    fc.assert(
      fc.property(fc.integer({ min: FIRST_DAY, max: LAST_DAY }), (days) => {
        const civil = civilOf(days);
        expect(daysOf(civil)).toBe(days);
        const date = new Date(days * 86_400_000);
        expect(civil).toEqual({ year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() });
      }),
    );
  });

  it("floors are multiples, at most one step away", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.nat(12),
        fc.integer({ min: 1, max: 1e6 }),
        (coefficient, scale, step) => {
          const floored = floorTo({ coefficient, scale }, step);
          if (floored === null) throw new Error("a floor");
          expect(floored.scale).toBe(0);
          expect(floored.coefficient % BigInt(step)).toBe(0n);
          const unit = 10n ** BigInt(scale);
          const rest = coefficient - floored.coefficient * unit;
          expect(rest >= 0n && rest < BigInt(step) * unit).toBe(true);
        },
      ),
    );
  });

  it("decimals are read and written exactly", () => {
    for (const text of ["0", "-12.50", "0.00001", "123456789012345678901234567890.5"])
      expect(printDecimal(parseDecimal(text) ?? { coefficient: 0n, scale: 9 })).toBe(text);
    expect(normalise({ coefficient: 1250n, scale: 3 })).toEqual({ coefficient: 125n, scale: 2 });
    for (const text of ["", ".", "-", "1e", "0x1", "1 ", "1e9999999"]) expect(parseDecimal(text)).toBeNull();
  });
});
