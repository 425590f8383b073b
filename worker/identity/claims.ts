/**
 * The registered claims of a verified OIDC token (RFC 7519 section 4.1) against its issuer's rules. Pure: `now` is
 * passed in, nothing is fetched. Runs after the signature and before anything is matched.
 *
 * `exp` is the provider's word and ours is `iat` plus the issuer's age limit: both must hold, so a job-long token is
 * accepted only while young, unless gateway.yaml says otherwise for that issuer.
 */
import type { ErrorCode } from "../../protocol/errors.ts";
import { MAX_CLOCK_SKEW_S, TOKEN_AGE_CEILING_S } from "../../protocol/limits.ts";
import type { Claims } from "../../protocol/provider-claims.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import type { IssuerConfig } from "../../policy/types.ts";

export interface Acceptance {
  /** From when on the token is refused as too old, without skew, ms since the epoch. */
  readonly expiresAt: number;
  /**
   * Until when its single use is remembered, ms: as long as any bundle could accept it, since the age limit may be raised
   * by one that becomes active after the use.
   */
  readonly rememberUntil: number;
}

export interface ClaimFailure {
  readonly code: ErrorCode;
  readonly reason: string;
}

const fail = (code: ErrorCode, reason: string): Result<never, ClaimFailure> => err({ code, reason });

/** `now` in ms since the epoch; the claims are in seconds (RFC 7519 section 2, NumericDate). */
export function checkClaims(claims: Claims, issuer: IssuerConfig, now: number): Result<Acceptance, ClaimFailure> {
  const nowS = now / 1000;
  if (claims["iss"] !== issuer.issuer) return fail("token_invalid", "iss is not the issuer whose keys verified it");
  if (!isAudience(claims["aud"], issuer.audience)) {
    return fail(
      "token_invalid",
      `aud is ${printed(claims["aud"])}, and must be exactly ${JSON.stringify(issuer.audience)} and nothing else`,
    );
  }

  const issuedAt = numericDate(claims["iat"]);
  if (issuedAt === null) return fail("token_invalid", "iat is missing or not a number: the token's age is unknown");
  if (issuedAt > nowS + MAX_CLOCK_SKEW_S) return fail("token_invalid", `iat is ${Math.round(issuedAt - nowS)} s in the future`);
  const expiry = numericDate(claims["exp"]);
  if (expiry === null) return fail("token_invalid", "exp is missing or not a number");
  if (nowS >= expiry + MAX_CLOCK_SKEW_S) return fail("token_expired", `exp passed ${Math.round(nowS - expiry)} s ago`);
  const age = nowS - issuedAt;
  if (age >= issuer.max_token_age_s + MAX_CLOCK_SKEW_S) {
    return fail("token_expired", `issued ${Math.round(age)} s ago; this issuer's max_token_age_s is ${issuer.max_token_age_s}`);
  }
  if (claims["nbf"] !== undefined) {
    const notBefore = numericDate(claims["nbf"]);
    if (notBefore === null || notBefore > nowS + MAX_CLOCK_SKEW_S) return fail("token_invalid", "nbf is not a number, or in the future");
  }

  const ceiling = Math.max(TOKEN_AGE_CEILING_S, issuer.max_token_age_s);
  return ok({
    expiresAt: Math.min(expiry, issuedAt + issuer.max_token_age_s) * 1000,
    rememberUntil: (Math.min(expiry, issuedAt + ceiling) + MAX_CLOCK_SKEW_S) * 1000,
  });
}

/**
 * A token for several audiences is good at each of them, so any of the others could use it here before the job does: single
 * use would not help. Hence a list is accepted only with our audience alone in it (Kubernetes always sends a list).
 */
function isAudience(aud: unknown, ours: string): boolean {
  return aud === ours || (Array.isArray(aud) && aud.length === 1 && aud[0] === ours);
}

const numericDate = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null);

const printed = (value: unknown): string => (JSON.stringify(value) ?? "missing").slice(0, 200);
