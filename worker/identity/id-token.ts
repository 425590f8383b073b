/**
 * An OIDC token of a job, verified: issuer known to the bundle, algorithm pinned for it, signature by a key of that issuer
 * named by `kid`, registered claims (claims.ts), read into the vocabulary by the provider's adapter.
 *
 * Of the header only `alg` and `kid` are used, and `kid` only selects among the issuer's own keys: `jku`, `jwk`, `x5u` and
 * `x5c` are never read, `crit` is refused (RFC 8725 sections 3.1, 3.10). Replay is not checked here: its key is returned.
 */
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader } from "jose";
import { MAX_TOKEN_BYTES } from "../../protocol/limits.ts";
import type { Claims } from "../../protocol/provider-claims.ts";
import { ok, type Result } from "../../protocol/result.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { IssuerConfig } from "../../policy/types.ts";
import { refused, type Learnt, type Refused } from "./caller.ts";
import { checkClaims, type Acceptance } from "./claims.ts";
import { sha256 } from "./digest.ts";
import { ASYMMETRIC_ALGORITHMS } from "./key-set.ts";
import { verifyJws } from "./jws.ts";
import type { KeySource } from "./keys-shell.ts";
import { readWorkload } from "./providers/adapter.ts";
import { ADAPTERS } from "./providers/index.ts";

export interface VerifiedToken {
  readonly claims: Claims;
  readonly workload: Workload;
  readonly acceptance: Acceptance;
  /** Same for the same token, and for nothing else: what single use is remembered by. */
  readonly replayKey: string;
}

/** `now` in ms since the epoch. */
export async function verifyIdToken(
  token: string,
  issuers: readonly IssuerConfig[],
  keys: KeySource,
  now: number,
): Promise<Result<VerifiedToken, Refused>> {
  if (token.length > MAX_TOKEN_BYTES) return refused("too_large", `a token of ${token.length} characters, limit ${MAX_TOKEN_BYTES}`);
  const envelope = readEnvelope(token, issuers);
  if (!envelope.ok) return envelope;
  const { issuer, kid, algorithms } = envelope.value;
  const learnt: Learnt = { issuer: issuer.issuer };

  const jwks = await keys.find(issuer, kid, now);
  if (!jwks.ok) return refused(jwks.error.kind === "unavailable" ? "issuer_unavailable" : "token_invalid", jwks.error.reason, learnt);

  const verified = await verifyJws(token, createLocalJWKSet({ keys: [...jwks.value.keys] }), algorithms);
  if (!verified.ok) return refused("token_invalid", `signature: ${verified.error}`, learnt);
  const { claims } = verified.value;

  const acceptance = checkClaims(claims, issuer, now);
  const subject = typeof claims["sub"] === "string" ? claims["sub"].slice(0, 512) : "";
  if (!acceptance.ok) return refused(acceptance.error.code, acceptance.error.reason, { ...learnt, subject });
  const workload = readWorkload(ADAPTERS[issuer.provider], claims);
  if (!workload.ok) return refused("token_invalid", workload.error, { ...learnt, subject });
  return ok({ claims, workload: workload.value, acceptance: acceptance.value, replayKey: await replayKey(claims, token) });
}

interface Envelope {
  readonly issuer: IssuerConfig;
  readonly kid: string;
  readonly algorithms: readonly string[];
}

/** What must be known before a key can be looked up. Nothing of it is trusted: the signature is checked after. */
function readEnvelope(token: string, issuers: readonly IssuerConfig[]): Result<Envelope, Refused> {
  let header: ReturnType<typeof decodeProtectedHeader>;
  let claimed: unknown;
  try {
    header = decodeProtectedHeader(token);
    claimed = decodeJwt(token).iss;
  } catch {
    return refused("token_invalid", "not a signed JWT");
  }
  const issuer = issuers.find((candidate) => candidate.issuer === claimed);
  if (issuer === undefined) {
    return refused("token_invalid", `iss ${printed(claimed)} is not an issuer of the active bundle`);
  }
  const learnt: Learnt = { issuer: issuer.issuer };
  if (header.crit !== undefined) return refused("token_invalid", "a crit header, whose extensions are not known here", learnt);
  const algorithms = issuer.algorithms.filter((algorithm) => ASYMMETRIC_ALGORITHMS.includes(algorithm));
  if (typeof header.alg !== "string" || !algorithms.includes(header.alg)) {
    return refused(
      "token_invalid",
      `alg ${printed(header.alg)} is not one of ${algorithms.join(", ")}, which this issuer is pinned to`,
      learnt,
    );
  }
  // OpenID Connect Core section 10.1 lets a lone key go unnamed, but then a rotation could not be told from a forgery.
  if (typeof header.kid !== "string" || header.kid === "") return refused("token_invalid", "no kid in the header", learnt);
  return ok({ issuer, kid: header.kid, algorithms });
}

/** `iss|jti` where there is a jti, so a re-signed copy is the same token; else the token itself (IDENTITY.md). */
async function replayKey(claims: Claims, token: string): Promise<string> {
  const jti = claims["jti"];
  return typeof jti === "string" && jti !== ""
    ? `jti:${await sha256(JSON.stringify([claims["iss"], jti]))}`
    : `token:${await sha256(token)}`;
}

const printed = (value: unknown): string => (JSON.stringify(value) ?? "(missing)").slice(0, 300);
