/**
 * Token exchange (RFC 8693) for a session credential bound to the sender's key (RFC 9449): a job's OIDC token, spent once, for a
 * credential of CREDENTIAL_TTL_S; that one for its successor, with the same key, until CREDENTIAL_MAX_AGE_S after the exchange.
 */
import type { Env } from "../../durable-objects/env.ts";
import type { TokenAnswer } from "../../protocol/api.ts";
import type { Random } from "../../protocol/ids.ts";
import { ok, type Result } from "../../protocol/result.ts";
import { learntOf, objected, proofOf, recogniseToken, useCredential } from "./authenticate.ts";
import { refused, type ActiveBundle, type Refused } from "./caller.ts";
import { mintCredential } from "./credential.ts";
import { keySourceOf } from "./dev-issuer.ts";
import type { KeySource } from "./keys-shell.ts";
import { ACCESS_TOKEN_TYPE, type TokenRequest } from "./token-request.ts";

export interface Exchange {
  readonly request: Request;
  readonly asked: TokenRequest;
  /** The DPoP header. */
  readonly proof: string;
}

/** `now` in ms since the epoch. Throws only when storage fails. */
export function exchangeToken(
  exchange: Exchange,
  env: Env,
  bundle: ActiveBundle,
  now: number,
  random: Random,
  keys: KeySource = keySourceOf(env),
): Promise<Result<TokenAnswer, Refused>> {
  const { request, asked, proof } = exchange;
  return asked.kind === "exchange"
    ? issue(request, asked.token, proof, env, bundle, now, random, keys)
    : renew(request, asked.credential, proof, env, bundle, now, random);
}

async function issue(
  request: Request,
  token: string,
  proofText: string,
  env: Env,
  bundle: ActiveBundle,
  now: number,
  random: Random,
  keys: KeySource,
): Promise<Result<TokenAnswer, Refused>> {
  const known = await recogniseToken(token, bundle, now, keys);
  if (!known.ok) return known;
  const { identity, verified } = known.value;
  const learnt = learntOf(verified.workload, identity);
  const proof = await proofOf({ request, credential: null, proof: proofText, bindToCredential: false }, env, now);
  if (!proof.ok) return refused("proof_invalid", proof.error, learnt);

  const minted = await mintCredential(identity.name, random);
  const issued = await env.IDENTITIES.getByName(identity.name).issue(
    {
      hash: minted.hash,
      jkt: proof.value.jkt,
      claims: JSON.stringify(verified.claims),
      token: { key: verified.replayKey, until: verified.acceptance.rememberUntil },
      proof: { key: proof.value.replayKey, until: proof.value.refusedFrom },
    },
    now,
  );
  if (!issued.ok) return objected(issued.error, learnt);
  return ok(answer(minted.text, identity.name, issued.value.expires_at, now));
}

async function renew(
  request: Request,
  credential: string,
  proof: string,
  env: Env,
  bundle: ActiveBundle,
  now: number,
  random: Random,
): Promise<Result<TokenAnswer, Refused>> {
  // RFC 9449 section 5: at the token endpoint a proof has no `ath`; the key's thumbprint is what binds.
  const used = await useCredential({ request, credential, proof, bindToCredential: false }, env, bundle, now);
  if (!used.ok) return used;
  const { identity, workload } = used.value.caller;
  const minted = await mintCredential(identity.name, random);
  const renewed = await env.IDENTITIES.getByName(identity.name).renew(used.value.hash, minted.hash, now);
  if (!renewed.ok) return objected(renewed.error, learntOf(workload, identity));
  return ok(answer(minted.text, identity.name, renewed.value.expires_at, now));
}

const answer = (credential: string, identity: string, expiresAt: number, now: number): TokenAnswer => ({
  access_token: credential,
  issued_token_type: ACCESS_TOKEN_TYPE,
  token_type: "DPoP",
  expires_in: Math.max(0, Math.floor((expiresAt - now) / 1000)),
  identity,
});
