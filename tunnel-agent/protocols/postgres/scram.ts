/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), both roles, as PostgreSQL speaks it (manual section 55.3): the user name in
 * the messages is empty or ignored, since the startup packet has it. No channel binding: towards clients the gateway
 * stands behind its own tunnel, and the two authentications are independent (PG-06).
 *
 * The server role works from a verifier, so it never learns a password. Secrets appear in no error.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { err, ok, type Result } from "../../../protocol/result.ts";

export const MECHANISM = "SCRAM-SHA-256";
const KEY_BYTES = 32;
const NONCE_BYTES = 18;
/** Bytes of one SCRAM message; a nonce bomb is refused by it (PG-05). */
const MAX_MESSAGE = 2048;
/** RFC 7677 section 4 asks for 4096 at least; more than the upper bound is a denial of service (PG-05). */
const MIN_ITERATIONS = 4096;
const MAX_ITERATIONS = 100_000;

const pbkdf2Async = promisify(pbkdf2);
const hmac = (key: Uint8Array, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
const newNonce = (): string => randomBytes(NONCE_BYTES).toString("base64");

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** RFC 5802 section 7: printable ASCII without the comma. */
const NONCE = /^[\u0021-\u002B\u002D-\u007E]+$/;

function decodeBase64(text: string): Buffer | null {
  return text !== "" && BASE64.test(text) ? Buffer.from(text, "base64") : null;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b.readUInt8(i)));
}

/** Attributes `letter=value` in exactly this order, and nothing else: extensions (`m=`) are not understood, so refused. */
function attributes(message: string, letters: string): readonly string[] | null {
  const parts = message.split(",");
  if (parts.length !== letters.length) return null;
  const values: string[] = [];
  for (const [i, part] of parts.entries()) {
    if (!part.startsWith(`${letters[i]}=`)) return null;
    values.push(part.slice(2));
  }
  return values;
}

export interface ScramVerifier {
  readonly iterations: number;
  /** Base64, all three. */
  readonly salt: string;
  readonly stored_key: string;
  readonly server_key: string;
}

export type ScramFailure =
  | { readonly reason: "malformed"; readonly what: string }
  | { readonly reason: "channel-binding" }
  | { readonly reason: "wrong-password" };

/** The server's part: `first` answers the client's first message, `final` its second. */
export class ScramServer {
  readonly #verifier: ScramVerifier;
  readonly #newNonce: () => string;
  #gs2Header = "";
  #clientFirstBare = "";
  #serverFirst = "";
  #nonce = "";

  constructor(verifier: ScramVerifier, nonce: () => string = newNonce) {
    this.#verifier = verifier;
    this.#newNonce = nonce;
  }

  /** client-first-message → server-first-message (RFC 5802 section 7). */
  first(data: Uint8Array): Result<string, ScramFailure> {
    const text = ascii(data);
    if (text === null) return malformed("client-first-message");
    // gs2-header: cbind-flag "," [authzid] ","
    const match = /^(n|y|p=[A-Za-z0-9.-]+),(a=[^,]*)?,(.*)$/.exec(text);
    if (match === null) return malformed("gs2 header");
    const [, flag = "", authzid, bare = ""] = match;
    // `p`: the client insists on a binding that was not offered. `y`: it could have, and believes that we cannot, which is true.
    if (flag.startsWith("p")) return err({ reason: "channel-binding" });
    if (authzid !== undefined) return malformed("authorization identity");
    const values = attributes(bare, "nr");
    const clientNonce = values?.[1] ?? "";
    if (values === null || !NONCE.test(clientNonce)) return malformed("client nonce");
    this.#gs2Header = `${flag},,`;
    this.#clientFirstBare = bare;
    this.#nonce = clientNonce + this.#newNonce();
    this.#serverFirst = `r=${this.#nonce},s=${this.#verifier.salt},i=${this.#verifier.iterations}`;
    return ok(this.#serverFirst);
  }

  /** client-final-message → server-final-message; success means that the client knows the password. */
  final(data: Uint8Array): Result<string, ScramFailure> {
    const text = ascii(data);
    const values = text === null ? null : attributes(text, "crp");
    if (text === null || values === null) return malformed("client-final-message");
    const [binding = "", nonce = "", proof = ""] = values;
    if (binding !== Buffer.from(this.#gs2Header, "latin1").toString("base64")) return err({ reason: "channel-binding" });
    if (nonce !== this.#nonce) return malformed("nonce");
    const clientProof = decodeBase64(proof);
    if (clientProof === null || clientProof.length !== KEY_BYTES) return malformed("proof");
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},c=${binding},r=${nonce}`;
    const storedKey = Buffer.from(this.#verifier.stored_key, "base64");
    const clientKey = xor(clientProof, hmac(storedKey, authMessage));
    if (!equal(sha256(clientKey), storedKey)) return err({ reason: "wrong-password" });
    return ok(`v=${hmac(Buffer.from(this.#verifier.server_key, "base64"), authMessage).toString("base64")}`);
  }
}

function malformed(what: string): Result<never, ScramFailure> {
  return err({ reason: "malformed", what });
}

function ascii(data: Uint8Array): string | null {
  if (data.length > MAX_MESSAGE || data.some((byte) => byte < 0x20 || byte > 0x7e)) return null;
  return Buffer.from(data).toString("latin1");
}

async function saltedPassword(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
  // SASLprep (RFC 4013) is the identity on ASCII; for the rest NFKC is its normalisation step, and PostgreSQL takes
  // a password that cannot be prepared as the bytes it is.
  return await pbkdf2Async(password.normalize("NFKC"), salt, iterations, KEY_BYTES, "sha256");
}

/** A verifier as a server would store it. */
export async function makeVerifier(password: string, iterations = MIN_ITERATIONS, salt = randomBytes(16)): Promise<ScramVerifier> {
  const salted = await saltedPassword(password, salt, iterations);
  return {
    iterations,
    salt: salt.toString("base64"),
    stored_key: sha256(hmac(salted, "Client Key")).toString("base64"),
    server_key: hmac(salted, "Server Key").toString("base64"),
  };
}

/** The client's part. Errors are sentences for the agent's log. */
export class ScramClient {
  readonly #nonce: string;
  #authMessage = "";
  #serverKey: Buffer = Buffer.alloc(0);

  constructor(nonce: string = newNonce()) {
    this.#nonce = nonce;
  }

  first(): Buffer {
    return Buffer.from(`n,,n=,r=${this.#nonce}`, "latin1");
  }

  /** server-first-message → client-final-message. The password is asked for only once the server's parameters are sound. */
  async final(data: Uint8Array, password: () => Promise<string>): Promise<Result<Buffer, string>> {
    const serverFirst = ascii(data);
    const values = serverFirst === null ? null : attributes(serverFirst, "rsi");
    if (serverFirst === null || values === null) return err("the target's first SCRAM message is malformed");
    const [nonce = "", salt = "", count = ""] = values;
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length || !NONCE.test(nonce)) {
      return err("the target's SCRAM nonce does not continue ours");
    }
    const saltBytes = decodeBase64(salt);
    if (saltBytes === null) return err("the target's SCRAM salt is not base64");
    const iterations = /^[1-9][0-9]{0,8}$/.test(count) ? Number(count) : 0;
    if (iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) {
      return err(`the target asks for ${iterations} SCRAM iterations; accepted are ${MIN_ITERATIONS} to ${MAX_ITERATIONS}`);
    }
    const salted = await saltedPassword(await password(), saltBytes, iterations);
    const withoutProof = `c=biws,r=${nonce}`;
    this.#authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    this.#serverKey = hmac(salted, "Server Key");
    const clientKey = hmac(salted, "Client Key");
    const proof = xor(clientKey, hmac(sha256(clientKey), this.#authMessage));
    return ok(Buffer.from(`${withoutProof},p=${proof.toString("base64")}`, "latin1"));
  }

  /** server-final-message: that the server knows the password too. */
  verify(data: Uint8Array): Result<true, string> {
    const values = attributes(ascii(data) ?? "", "v");
    const signature = decodeBase64(values?.[0] ?? "");
    if (signature === null || !equal(signature, hmac(this.#serverKey, this.#authMessage))) {
      return err("the target's SCRAM signature is wrong: it does not know the password");
    }
    return ok(true);
  }
}
