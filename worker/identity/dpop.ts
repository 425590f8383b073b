/**
 * DPoP proofs (RFC 9449 section 4.3): that the sender of this request holds the key which a credential is bound to.
 * Checks 1 to 12 of that section, but for the nonce (check 10): `iat` must lie within DPOP_WINDOW_S of our clock and
 * every `jti` counts once, which the caller claims in the identity's object with the returned key.
 */
import { calculateJwkThumbprint, EmbeddedJWK } from "jose";
import { DPOP_WINDOW_S } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { sha256 } from "./digest.ts";
import { verifyJws } from "./jws.ts";
import { ASYMMETRIC_ALGORITHMS } from "./key-set.ts";
import { isObject } from "./providers/adapter.ts";

export interface ExpectedProof {
  readonly method: string;
  /** The target URI as the sender knows it: public origin and path. */
  readonly url: string;
  /** The credential presented along; null at the token endpoint's exchange, where there is none yet. */
  readonly credential: string | null;
  /** ms since the epoch. */
  readonly now: number;
}

export interface Proof {
  /** RFC 7638 SHA-256 thumbprint of the key. */
  readonly jkt: string;
  readonly replayKey: string;
  /** From when on the proof can no longer pass, ms since the epoch. */
  readonly refusedFrom: number;
}

/** JWK members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1). */
const SECRET_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] as const;
const MAX_JTI = 256;

/** The error is for the audit. */
export async function verifyProof(proof: string, expected: ExpectedProof): Promise<Result<Proof, string>> {
  // EmbeddedJWK verifies with the header's own key, which proves possession and no more: what the key may do follows from `jkt`.
  const verified = await verifyJws(proof, EmbeddedJWK, ASYMMETRIC_ALGORITHMS);
  if (!verified.ok) return err(`DPoP: ${verified.error}`);
  const { header, claims } = verified.value;
  const jwk: unknown = header.jwk;
  if (header.typ !== "dpop+jwt") return err("DPoP: typ is not dpop+jwt");
  if (!isObject(jwk) || SECRET_MEMBERS.some((member) => Object.hasOwn(jwk, member)))
    return err("DPoP: jwk is missing or has private members");

  const { jti, htm, htu, iat, ath } = claims;
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_JTI) return err("DPoP: jti is missing or too long");
  if (htm !== expected.method) return err(`DPoP: htm is not ${expected.method}`);
  const target = targetUri(expected.url);
  if (typeof htu !== "string" || targetUri(htu) !== target) return err(`DPoP: htu is not ${target}`);
  if (typeof iat !== "number" || !Number.isFinite(iat)) return err("DPoP: iat is missing");
  const nowS = expected.now / 1000;
  if (Math.abs(nowS - iat) > DPOP_WINDOW_S) return err(`DPoP: iat is ${Math.round(nowS - iat)} s from our clock, limit ${DPOP_WINDOW_S} s`);
  if (expected.credential !== null && ath !== (await sha256(expected.credential)))
    return err("DPoP: ath is missing or of another credential");

  const jkt = await calculateJwkThumbprint(jwk, "sha256");
  return ok({ jkt, replayKey: `dpop:${await sha256(JSON.stringify([jkt, jti]))}`, refusedFrom: (iat + DPOP_WINDOW_S) * 1000 });
}

/** RFC 9449 section 4.3 check 9: without query and fragment, after syntax- and scheme-based normalisation (RFC 3986 section 6.2.2, 6.2.3). */
function targetUri(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const path = url.pathname.replaceAll(/%[0-9a-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : escape.toUpperCase();
  });
  return url.origin === "null" ? null : url.origin + path;
}
