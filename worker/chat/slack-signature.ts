/**
 * Slack's request signature, version 0: `v0=` and the hex of HMAC-SHA256 under the app's signing secret, over
 * `v0:{X-Slack-Request-Timestamp}:{raw body}` ("Verifying requests from Slack"). Compared by WebCrypto, in constant time.
 */
import { isRecent } from "./door.ts";

export interface SignedRequest {
  /** Headers as they came; null: missing. */
  readonly signature: string | null;
  readonly timestamp: string | null;
  /** The raw body: what was signed is bytes, not the form that they spell. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** One form each, so that no other spelling of a signature passes as a new message. */
const SIGNATURE = /^v0=([0-9a-f]{64})$/;
const TIMESTAMP = /^\d{1,12}$/;

export type SlackVerdict = "ok" | "malformed" | "stale" | "forged";

/** `now` in ms since the epoch. */
export async function verifySlack({ signature, timestamp, body }: SignedRequest, secret: string, now: number): Promise<SlackVerdict> {
  const hex = SIGNATURE.exec(signature ?? "")?.[1];
  if (hex === undefined || timestamp === null || !TIMESTAMP.test(timestamp)) return "malformed";
  if (!isRecent(Number(timestamp), now)) return "stale";
  const encoder = new TextEncoder();
  const prefix = encoder.encode(`v0:${timestamp}:`);
  const signed = new Uint8Array(prefix.length + body.length);
  signed.set(prefix);
  signed.set(body, prefix.length);
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const mac = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return (await crypto.subtle.verify("HMAC", key, mac, signed)) ? "ok" : "forged";
}
