/**
 * numeric, in text and in numeric_send's form (utils/adt/numeric.c): Int16 number of digits, weight of the first, sign
 * and scale, then the digits, of base 10000.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import { floorTo, normalise, parseDecimal, printDecimal, type Decimal } from "../../../../masking/decimal.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";
import { permuteIntegers } from "./integers.ts";
import { constant, each, NULL, type Family, type Format } from "./mask.ts";
import { decodeText } from "./text.ts";

const POSITIVE = 0x0000;
const NEGATIVE = 0x4000;
const SPECIAL: ReadonlyMap<number, string> = new Map([
  [0xc000, "NaN"],
  [0xd000, "Infinity"],
  [0xf000, "-Infinity"],
]);
const SPECIALS = new Set(SPECIAL.values());
const MAX_SCALE = 0x3fff;
const MAX_WEIGHT = 0x7fff;

/** A number, or one of the three that are none; null for what is no numeric. */
export function readNumeric(value: Buffer, format: Format): Decimal | string | null {
  if (format === 1) return readBinary(value);
  const text = decodeText(value);
  if (text === null) return null;
  if (SPECIALS.has(text)) return text;
  return /^-?\d+(?:\.\d+)?$/.test(text) ? parseDecimal(text) : null;
}

function readBinary(value: Buffer): Decimal | string | null {
  if (value.length < 8) return null;
  const count = value.readUInt16BE(0);
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  const scale = value.readUInt16BE(6);
  if (value.length !== 8 + count * 2 || scale > MAX_SCALE) return null;
  const special = SPECIAL.get(sign);
  if (special !== undefined) return count === 0 ? special : null;
  if (sign !== POSITIVE && sign !== NEGATIVE) return null;
  let digits = "";
  for (let at = 8; at < value.length; at += 2) {
    const digit = value.readUInt16BE(at);
    if (digit > 9999) return null;
    digits += digit.toString().padStart(4, "0");
  }
  // Decimal digits after the point that the groups hold; negative: zeros that they leave out before it.
  const after = (count - 1 - weight) * 4;
  const magnitude = BigInt(digits === "" ? "0" : digits) * (after < 0 ? 10n ** BigInt(-after) : 1n);
  return { coefficient: sign === NEGATIVE ? -magnitude : magnitude, scale: Math.max(after, 0) };
}

/** Null for a number beyond what numeric holds: a floor may be, at its very edge. */
export function writeNumeric(value: Decimal, format: Format): Buffer | null {
  if (format === 0) return Buffer.from(printDecimal(value), "latin1");
  const negative = value.coefficient < 0n;
  const written = printDecimal({ coefficient: negative ? -value.coefficient : value.coefficient, scale: value.scale });
  const [whole = "0", fraction = ""] = written.split(".");
  const padded = whole.padStart(Math.ceil(whole.length / 4) * 4, "0") + fraction.padEnd(Math.ceil(fraction.length / 4) * 4, "0");
  const digits = Array.from({ length: padded.length / 4 }, (_, i) => Number(padded.slice(i * 4, i * 4 + 4)));
  let weight = Math.ceil(whole.length / 4) - 1;
  while (digits.length > 0 && digits[0] === 0) {
    digits.shift();
    weight--;
  }
  while (digits.length > 0 && digits.at(-1) === 0) digits.pop();
  if (weight > MAX_WEIGHT) return null;
  const out = Buffer.alloc(8 + digits.length * 2);
  out.writeUInt16BE(digits.length, 0);
  out.writeInt16BE(digits.length === 0 ? 0 : weight, 2);
  out.writeUInt16BE(negative ? NEGATIVE : POSITIVE, 4);
  out.writeUInt16BE(value.scale, 6);
  for (const [index, digit] of digits.entries()) out.writeUInt16BE(digit, 8 + index * 2);
  return out;
}

/** Digits of a digest, after a one, that stand for a number which no int8 holds: 96 bits. */
const TOKEN_DIGITS = 24;

/** Whole numbers as int8 does it, so that they agree; all others as a whole number of 29 digits, beyond every int8. */
function hasher(hash: KeyedHash): (value: Decimal | string) => Decimal {
  const permute = permuteIntegers(hash);
  return (value) => {
    const exact = typeof value === "string" ? value : normalise(value);
    if (typeof exact !== "string" && exact.scale === 0) {
      const permuted = permute(exact.coefficient);
      if (permuted !== null) return { coefficient: permuted, scale: 0 };
    }
    const digest = hash.digest("numeric", typeof exact === "string" ? exact : printDecimal(exact));
    return { coefficient: BigInt(`0x1${digest.slice(0, TOKEN_DIGITS)}`), scale: 0 };
  };
}

export const numeric: Family = ({ strategy, format, hash }) => {
  switch (strategy.kind) {
    case "redact":
    case "partial":
    case "null":
      return NULL;
    case "zero":
      return constant(format === 0 ? "0" : Buffer.alloc(8));
    case "hash": {
      const token = hasher(hash);
      return each((cell) => {
        const value = readNumeric(cell, format);
        return value === null ? null : writeNumeric(token(value), format);
      });
    }
    case "generalise": {
      const { to } = strategy;
      if (typeof to === "string") return NULL;
      return each((cell) => {
        const value = readNumeric(cell, format);
        const floored = value === null || typeof value === "string" ? null : floorTo(value, to.step);
        return floored === null ? null : writeNumeric(floored, format);
      });
    }
    default:
      return unreachable(strategy);
  }
};
