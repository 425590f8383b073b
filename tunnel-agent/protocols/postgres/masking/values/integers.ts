/**
 * int2, int4 and int8, and what numeric shares with them: a hash that is a permutation, so that different numbers stay
 * different and a join of an int4 with an int8 or a numeric column still finds its partners.
 *
 * The permutation is in rings: numbers that fit an int2 among themselves, those that fit an int4 but no int2 among
 * themselves, and so on. A masked number therefore fits whatever type holds it, and tells which ring it was from.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import { floorTo } from "../../../../masking/decimal.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";
import { createPermutation, type Permutation } from "../../../../masking/permutation.ts";
import { decodeText } from "./text.ts";
import { constant, each, NULL, type Family, type Format } from "./mask.ts";

type Bytes = 2 | 4 | 8;

const fits = (value: bigint, bytes: Bytes): boolean => BigInt.asIntN(bytes * 8, value) === value;

/** A permutation of the numbers of each ring; null for a number that no int8 holds. */
export function permuteIntegers(hash: KeyedHash): (value: bigint) => bigint | null {
  const ring = (bytes: Bytes, inner: Bytes | null): Permutation => {
    const bits = bytes * 8;
    const half = 2n ** BigInt(bits - 1);
    const within = inner === null ? undefined : (shifted: bigint): boolean => !fits(shifted - half, inner);
    const permute = createPermutation(hash, `permutation int${bits}`, 2n ** BigInt(bits), within);
    return (value) => permute(value + half) - half;
  };
  const rings = [
    { bytes: 2, permute: ring(2, null) },
    { bytes: 4, permute: ring(4, 2) },
    { bytes: 8, permute: ring(8, 4) },
  ] as const;
  return (value) => rings.find(({ bytes }) => fits(value, bytes))?.permute(value) ?? null;
}

/** int2send and its like: two's complement, in network order. */
function read(value: Buffer, bytes: Bytes, format: Format): bigint | null {
  if (format === 0) {
    const text = value.length <= 20 ? decodeText(value) : null;
    if (text === null || !/^-?\d+$/.test(text)) return null;
    const number = BigInt(text);
    return fits(number, bytes) ? number : null;
  }
  if (value.length !== bytes) return null;
  return bytes === 8 ? value.readBigInt64BE(0) : BigInt(value.readIntBE(0, bytes));
}

function write(value: bigint, bytes: Bytes, format: Format): Buffer {
  if (format === 0) return Buffer.from(value.toString(), "latin1");
  const out = Buffer.alloc(bytes);
  if (bytes === 8) out.writeBigInt64BE(value);
  else out.writeIntBE(Number(value), 0, bytes);
  return out;
}

export const integer =
  (bytes: Bytes): Family =>
  ({ strategy, format, hash }) => {
    const through = (change: (value: bigint) => bigint | null) =>
      each((cell) => {
        const value = read(cell, bytes, format);
        const changed = value === null ? null : change(value);
        return changed === null || !fits(changed, bytes) ? null : write(changed, bytes, format);
      });
    switch (strategy.kind) {
      case "redact":
      case "partial":
      case "null":
        return NULL;
      case "zero":
        return constant(write(0n, bytes, format));
      case "hash":
        return through(permuteIntegers(hash));
      case "generalise": {
        const { to } = strategy;
        if (typeof to === "string") return NULL;
        return through((value) => {
          const floored = floorTo({ coefficient: value, scale: 0 }, to.step);
          return floored === null || floored.scale > 0 ? null : floored.coefficient;
        });
      }
      default:
        return unreachable(strategy);
    }
  };
