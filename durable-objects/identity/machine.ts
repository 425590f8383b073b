/**
 * The rules of one identity at the edge, without storage or clock: single use, credentials, admission, revocation,
 * and when a session's end is tried again. object.ts reads facts from store.ts, asks here, and writes.
 *
 * All times are ms since the epoch.
 */
import { CREDENTIAL_MAX_AGE_S, CREDENTIAL_TTL_S } from "../../protocol/limits.ts";

/** Keys that count once (tokens, proofs), each remembered until what it names can no longer pass. */
export interface SingleUse {
  readonly key: string;
  readonly until: number;
}

/** Clocks of edge and object differ a little; a key is kept this much longer than it could pass. */
export const SINGLE_USE_MARGIN_MS = 60_000;

export type SingleUseVerdict = "ok" | "replayed" | "too_many";

/** At the cap a new key is refused: forgetting a live one would let its token pass again. */
export function judgeSingleUse(seen: boolean, remembered: number, adding: number, cap: number): SingleUseVerdict {
  if (seen) return "replayed";
  return remembered + adding > cap ? "too_many" : "ok";
}

// ── session credentials ──

export interface Credential {
  /** Thumbprint of the key that it is bound to. */
  readonly jkt: string;
  /** The claims of the job's token, JSON: matched again on every use, against the bundle that is active then. */
  readonly claims: string;
  readonly expires_at: number;
  /** No renewal lives longer. */
  readonly ends_at: number;
}

export type CredentialVerdict = "ok" | "unknown" | "expired" | "wrong_key";

/** `found` was looked up by the hash of what was presented, so whoever gets past `unknown` knew the secret. */
export function judgeCredential(found: Credential | null, jkt: string, now: number): CredentialVerdict {
  if (found === null) return "unknown";
  if (found.jkt !== jkt) return "wrong_key";
  return now >= found.expires_at ? "expired" : "ok";
}

export const firstLife = (now: number): Pick<Credential, "expires_at" | "ends_at"> => ({
  expires_at: now + CREDENTIAL_TTL_S * 1000,
  ends_at: now + CREDENTIAL_MAX_AGE_S * 1000,
});

/** A renewal ends no later than the first credential of its line allows. */
export const nextLife = (ends_at: number, now: number): Pick<Credential, "expires_at" | "ends_at"> => ({
  expires_at: Math.min(now + CREDENTIAL_TTL_S * 1000, ends_at),
  ends_at,
});

// ── sessions ──

export type Admission = "ok" | "revoked" | "too_many";

/** `known`: this very session was admitted before; asking again changes nothing. */
export function judgeAdmission(revoked: boolean, known: boolean, live: number, limit: number): Admission {
  if (revoked) return "revoked";
  return known || live < limit ? "ok" : "too_many";
}

/**
 * A session that was admitted may not be open yet when the identity is revoked: its object then has nothing to end and says
 * so, and would open a moment later. So for this long after admission "nothing to end" is not believed.
 */
export const OPENING_MS = 30_000;

/** What an attempt to end a session came to: its object ended it, had none to end, or could not be asked. */
export type EndAttempt = "ended" | "nothing" | "failed";

export const isSettled = (attempt: EndAttempt, admittedAt: number, now: number): boolean =>
  attempt === "ended" || (attempt === "nothing" && now - admittedAt >= OPENING_MS);

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/** Doubling: soon at first, since a revocation should hold within a second; never given up before the session's deadline. */
export const retryAt = (attempts: number, now: number): number =>
  now + Math.min(FIRST_RETRY_MS * 2 ** Math.max(0, attempts - 1), LAST_RETRY_MS);

/** How long what has expired may lie about in storage. */
export const CLEANUP_MS = 10 * 60_000;

/** When the object must wake: for the earliest retry, or to clean up; null when it holds nothing that passes. */
export function nextAlarm(retry: number | null, holdsExpiring: boolean, now: number): number | null {
  if (retry !== null) return Math.max(retry, now);
  return holdsExpiring ? now + CLEANUP_MS : null;
}
