/**
 * The password of one run, and what the agent needs to check it: a SCRAM-SHA-256 verifier (RFC 5802 section 3, RFC 7677;
 * the parts of RFC 5803's stored form). The password stays in this process and its child's environment; from the
 * verifier it cannot be had, and with 192 random bits it cannot be guessed either, whatever the iterations.
 */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import type { ClientAuth } from "../../protocol/stream/control.ts";

const PASSWORD_BYTES = 24;
const SALT_BYTES = 16;
/** RFC 7677 section 4's minimum. More would only slow each connection: the password is not a person's. */
const ITERATIONS = 4096;

export interface ClientSecret {
  /** base64url: needs no escaping in URLs, shells or connection strings, and no SASLprep (RFC 4013). */
  readonly password: string;
  readonly auth: ClientAuth;
}

/** `random`: as many random bytes as asked for. */
export function makeClientSecret(random: (bytes: number) => Buffer): ClientSecret {
  const password = random(PASSWORD_BYTES).toString("base64url");
  return { password, auth: scramVerifier(password, random(SALT_BYTES), ITERATIONS) };
}

/** StoredKey and ServerKey of RFC 5802 section 3. `password` is ASCII, so SASLprep leaves it as it is. */
export function scramVerifier(password: string, salt: Buffer, iterations: number): ClientAuth & { readonly method: "scram-sha-256" } {
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const hmac = (text: string): Buffer => createHmac("sha256", salted).update(text).digest();
  return {
    method: "scram-sha-256",
    iterations,
    salt: salt.toString("base64"),
    stored_key: createHash("sha256").update(hmac("Client Key")).digest("base64"),
    server_key: hmac("Server Key").toString("base64"),
  };
}
