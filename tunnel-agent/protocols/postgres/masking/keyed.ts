/** The cryptography of deterministic masks: one `KeyedHash` a data class, from the site's masking key. */
import { createCipheriv, createHmac, createSecretKey, type KeyObject } from "node:crypto";
import type { KeyedHash } from "../../../masking/keyed-hash.ts";

/** Bytes; the masking key of a site is 32. */
const MIN_KEY = 16;

/** Keys of their own for class and use, as HMAC-SHA-256 of what they are for. */
function derive(key: KeyObject, name: string, use: "digest" | "block"): KeyObject {
  return createSecretKey(createHmac("sha256", key).update(`sallyport mask 1\0${use}\0${name}`).digest());
}

/** Throws when the key is too short to be one: without a key tokens could be computed by anybody. */
export function createKeyedHash(key: Uint8Array, name: string): KeyedHash {
  if (key.length < MIN_KEY) throw new RangeError(`the masking key has ${key.length} bytes; at least ${MIN_KEY} are needed`);
  const secret = createSecretKey(key);
  const digestKey = derive(secret, name, "digest");
  // One block at a time, with inputs that never repeat a meaning: ECB is AES itself.
  const cipher = createCipheriv("aes-256-ecb", derive(secret, name, "block"), null).setAutoPadding(false);
  return {
    digest: (kind, value) => createHmac("sha256", digestKey).update(`${kind}\0`).update(value).digest(),
    block: (input) => cipher.update(input),
  };
}
