/**
 * What deterministic masks need of cryptography, as an argument: this room has none of its own. One `KeyedHash` belongs
 * to one data class, so that equal values of two classes do not look equal.
 */

export interface KeyedHash {
  /**
   * HMAC-SHA-256 over `kind` and `value` (a string as UTF-8) under the class's key: 64 hexadecimal digits, lower case.
   * `kind` keeps apart what must not agree.
   */
  digest(kind: string, value: Uint8Array | string): string;
}

/** Digits of a digest that a token of text shows: 128 bits. */
const TOKEN_DIGITS = 32;

/** The token that stands for a text: the same for equal texts of one class, whatever type of text they have. */
export function textToken(hash: KeyedHash, value: Uint8Array | string): string {
  return hash.digest("text", value).slice(0, TOKEN_DIGITS);
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Lower case, two digits a byte. */
export function hex(bytes: Uint8Array, from = 0, to = bytes.length): string {
  let out = "";
  for (let i = from; i < to; i++) out += HEX[bytes[i] ?? 0];
  return out;
}
