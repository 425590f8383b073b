/**
 * Who is calling: a job by its own OIDC token (once), or by a session credential and a proof of its key. Verifies, matches
 * against the active bundle, and has the identity's object claim the single use and check revocation, in one call.
 *
 * A credential's stored claims are matched again on every use, so a tightened bundle holds for the next request.
 */
import type { Env } from "../../durable-objects/env.ts";
import type { CredentialObjection } from "../../durable-objects/identity/object.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { err, ok, unreachable, type Result } from "../../protocol/result.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { IdentityDeclaration } from "../../policy/types.ts";
import { refused, type ActiveBundle, type Caller, type Learnt, type Refused } from "./caller.ts";
import { parseCredential } from "./credential.ts";
import { keySourceOf } from "./dev-issuer.ts";
import { verifyProof, type Proof } from "./dpop.ts";
import { verifyIdToken, type VerifiedToken } from "./id-token.ts";
import type { KeySource } from "./keys-shell.ts";
import { matchIdentity } from "./match.ts";
import { publicUrl } from "./origin.ts";
import { readPresented } from "./presented.ts";
import { isObject, readWorkload } from "./providers/adapter.ts";
import { ADAPTERS } from "./providers/index.ts";

/** `now` in ms since the epoch. Throws only when storage fails. */
export async function authenticate(
  request: Request,
  env: Env,
  bundle: ActiveBundle,
  now: number,
  keys: KeySource = keySourceOf(env),
): Promise<Result<Caller, Refused>> {
  const presented = readPresented(request);
  if (!presented.ok) return presented;
  switch (presented.value.scheme) {
    case "bearer":
      return authenticateToken(presented.value.token, env, bundle, now, keys);
    case "dpop": {
      const { credential, proof } = presented.value;
      const used = await useCredential({ request, credential, proof, bindToCredential: true }, env, bundle, now);
      return used.ok ? ok(used.value.caller) : used;
    }
    default:
      return unreachable(presented.value);
  }
}

async function authenticateToken(
  token: string,
  env: Env,
  bundle: ActiveBundle,
  now: number,
  keys: KeySource,
): Promise<Result<Caller, Refused>> {
  const known = await recogniseToken(token, bundle, now, keys);
  if (!known.ok) return known;
  const { identity, verified } = known.value;
  const use = await env.IDENTITIES.getByName(identity.name).present(
    { key: verified.replayKey, until: verified.acceptance.rememberUntil },
    now,
  );
  if (use !== "ok") return objected(use, learntOf(verified.workload, identity));
  return ok({ identity, workload: verified.workload, via: "oidc", expiresAt: verified.acceptance.expiresAt });
}

/** Verified and matched, but not claimed: its single use is still to be spent. */
export async function recogniseToken(
  token: string,
  bundle: ActiveBundle,
  now: number,
  keys: KeySource,
): Promise<Result<{ identity: IdentityDeclaration; verified: VerifiedToken }, Refused>> {
  const verified = await verifyIdToken(token, bundle.policy.gateway.issuers, keys, now);
  if (!verified.ok) return verified;
  const { claims, workload } = verified.value;
  const identity = matchIdentity(bundle.policy.identities.values(), claims, workload);
  if (!identity.ok) return refused("identity_unmatched", identity.error, learntOf(workload));
  return ok({ identity: identity.value, verified: verified.value });
}

export interface PresentedCredential {
  readonly request: Request;
  readonly credential: string;
  readonly proof: string;
  /** The proof must name the credential (`ath`, RFC 9449 section 7.1); not at the token endpoint. */
  readonly bindToCredential: boolean;
}

export interface UsedCredential {
  readonly caller: Caller;
  /** By which the object knows it. */
  readonly hash: string;
}

/** Claims the proof, not the credential: that one is good until it expires. */
export async function useCredential(
  presented: PresentedCredential,
  env: Env,
  bundle: ActiveBundle,
  now: number,
): Promise<Result<UsedCredential, Refused>> {
  const parsed = await parseCredential(presented.credential);
  if (parsed === null) return refused("token_invalid", "presented as DPoP, but not of a session credential's form");
  // Before an object is asked: objects are not made for names that anyone makes up.
  if (!bundle.policy.identities.has(parsed.identity)) {
    return refused("token_invalid", `a credential of ${parsed.identity}, which the active bundle does not declare`);
  }
  const learnt: Learnt = { identity: parsed.identity };
  const proof = await proofOf(presented, env, now);
  if (!proof.ok) return refused("proof_invalid", proof.error, learnt);

  const use = await env.IDENTITIES.getByName(parsed.identity).use(
    { hash: parsed.hash, jkt: proof.value.jkt, proof: { key: proof.value.replayKey, until: proof.value.refusedFrom } },
    now,
  );
  if (!use.ok) return objected(use.error, learnt);
  const again = rematch(use.value.claims, parsed.identity, bundle);
  if (!again.ok) return again;
  return ok({ caller: { ...again.value, via: "credential", expiresAt: use.value.expires_at }, hash: parsed.hash });
}

export function proofOf(
  presented: Omit<PresentedCredential, "credential"> & { credential: string | null },
  env: Env,
  now: number,
): Promise<Result<Proof, string>> {
  const { request, credential, proof, bindToCredential } = presented;
  return verifyProof(proof, {
    method: request.method,
    url: publicUrl(request, env),
    credential: bindToCredential ? credential : null,
    now,
  });
}

/** The claims that the credential was issued for, against the bundle that is active now: same issuer, same identity. */
function rematch(json: string, name: string, bundle: ActiveBundle): Result<{ identity: IdentityDeclaration; workload: Workload }, Refused> {
  const claims: unknown = JSON.parse(json);
  const issuer = isObject(claims) ? bundle.policy.gateway.issuers.find((candidate) => candidate.issuer === claims["iss"]) : undefined;
  if (!isObject(claims) || issuer === undefined) {
    return refused("identity_unmatched", "the issuer of the credential's token is no longer in the active bundle", { identity: name });
  }
  const workload = readWorkload(ADAPTERS[issuer.provider], claims);
  if (!workload.ok) return refused("identity_unmatched", workload.error, { identity: name, issuer: issuer.issuer });
  const matched = matchIdentity(bundle.policy.identities.values(), claims, workload.value);
  const learnt = { ...learntOf(workload.value), identity: name };
  if (!matched.ok) return refused("identity_unmatched", `the credential's claims no longer match: ${matched.error}`, learnt);
  if (matched.value.name !== name) return refused("identity_unmatched", `the credential's claims now match ${matched.value.name}`, learnt);
  return ok({ identity: matched.value, workload: workload.value });
}

export const learntOf = (workload: Workload, identity?: IdentityDeclaration): Learnt => ({
  issuer: workload.issuer,
  subject: workload.subject,
  ...(identity === undefined ? {} : { identity: identity.name }),
});

const OBJECTIONS: Readonly<Record<CredentialObjection, readonly [ErrorCode, string]>> = {
  revoked: ["identity_revoked", "the identity is revoked"],
  replayed: ["token_replayed", "the token was used before"],
  too_many: ["too_many", "the identity has too many unexpired tokens or credentials"],
  unknown: ["token_invalid", "no such credential: never issued, or gone with a revocation"],
  expired: ["credential_expired", "the credential has expired"],
  wrong_key: ["proof_invalid", "the proof is of another key than the credential is bound to"],
};

export function objected(objection: CredentialObjection, learnt: Learnt): Result<never, Refused> {
  const [code, reason] = OBJECTIONS[objection];
  return err({ ...learnt, code, reason });
}
