/**
 * What deterministic masks need of cryptography, as an argument: this room has none of its own. One `KeyedHash` belongs
 * to one data class, so that equal values of two classes do not look equal.
 */

export interface KeyedHash {
  /** HMAC-SHA-256 over `kind` and `value` under the class's key: 32 bytes. `kind` keeps types apart that must not agree. */
  digest(kind: string, value: Uint8Array | string): Uint8Array;
  /** AES-256 of one block of 16 bytes under another key of the class: what permutations are built from. */
  block(input: Uint8Array): Uint8Array;
}

/** Bytes of a digest that a token of text shows: 128 bits. */
export const TOKEN_BYTES = 16;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Lower case, two digits a byte. */
export function hex(bytes: Uint8Array, from = 0, to = bytes.length): string {
  let out = "";
  for (let i = from; i < to; i++) out += HEX[bytes[i] ?? 0];
  return out;
}

/** The token that stands for a text: the same for equal texts of one class, whatever type of text they have. */
export function textToken(hash: KeyedHash, value: Uint8Array | string): string {
  return hex(hash.digest("text", value), 0, TOKEN_BYTES);
}
