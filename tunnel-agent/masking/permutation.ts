/**
 * Keyed permutations of a range of numbers, so that numbers and dates can be masked in kind: equal values stay equal,
 * different ones stay different, and the result is of the same range.
 *
 * A balanced Feistel network over the least even number of bits that holds the range, ten rounds as in NIST SP 800-38G,
 * with an HMAC a round as its pseudorandom function. What falls out of the range is permuted again until it falls
 * in ("cycle walking"), which keeps it a permutation.
 *
 * Does not: hide a small range. Who can have values of their choice masked can list what a small range maps to; that is so
 * of every deterministic mask.
 */
import type { KeyedHash } from "./keyed-hash.ts";

const ROUNDS = 10;

/** Both in [0, size). */
export type Permutation = (value: bigint) => bigint;

/**
 * Of [0, size), 2 ≤ size ≤ 2^64. Where `within` is given: of the part of it that `within` holds of; values outside that part must not be given.
 * `kind` keeps it apart from other permutations and tokens of the class.
 */
export function createPermutation(
  hash: KeyedHash,
  kind: string,
  size: bigint,
  within: (value: bigint) => boolean = () => true,
): Permutation {
  const half = Math.ceil((size - 1n).toString(2).length / 2);
  const mask = 2 ** half - 1;
  const shift = BigInt(half);
  const low = BigInt(mask);
  const block = new Uint8Array(5);

  const round = (index: number, value: number): number => {
    block[0] = index;
    block[1] = value >>> 24;
    block[2] = value >>> 16;
    block[3] = value >>> 8;
    block[4] = value;
    return Number.parseInt(hash.digest(kind, block).slice(0, 8), 16) & mask;
  };

  const once = (value: bigint): bigint => {
    let left = Number(value >> shift);
    let right = Number(value & low);
    for (let index = 0; index < ROUNDS; index++) {
      const next = (left ^ round(index, right)) >>> 0;
      left = right;
      right = next;
    }
    return (BigInt(left) << shift) | BigInt(right);
  };

  return (value) => {
    let out = once(value);
    while (out >= size || !within(out)) out = once(out);
    return out;
  };
}
