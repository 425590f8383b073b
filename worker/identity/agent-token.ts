/**
 * An agent's own token: a JWT that it signs with its enrolled Ed25519 key for one dial or upload. `iss` = `sub` = the agent's
 * id, `aud` = the gateway's origin exactly, at most AGENT_TOKEN_TTL_S from `iat` to `exp`, `jti` used once (GW-15).
 *
 * The key comes from the database, never from the token; a revoked agent's is not used. So a stolen key is worth nothing
 * from the revocation on, and a stolen token nothing after its one use.
 */
import { decodeJwt, importJWK } from "jose";
import type { Env } from "../../durable-objects/env.ts";
import { parseAgentId, parseSiteName, type AgentId, type SiteName } from "../../protocol/ids.ts";
import { AGENT_TOKEN_TTL_S, MAX_CLOCK_SKEW_S } from "../../protocol/limits.ts";
import type { Claims } from "../../protocol/provider-claims.ts";
import { ok, type Result } from "../../protocol/result.ts";
import { findAgent } from "../../store/agents.ts";
import { refused, type Refused } from "./caller.ts";
import { sha256 } from "./digest.ts";
import { verifyJws } from "./jws.ts";
import { gatewayOrigin } from "./origin.ts";
import { readPresented } from "./presented.ts";

export interface VerifiedAgent {
  readonly agent: AgentId;
  readonly name: string;
  readonly site: SiteName;
  /** Target names that it may announce; null: any. */
  readonly targets: string[] | null;
}

const ALGORITHMS = ["EdDSA", "Ed25519"];
const MAX_AGENT_TOKEN = 4096;
const MAX_JTI = 256;

/** `now` in ms since the epoch. Throws only when storage fails. */
export async function authenticateAgent(request: Request, env: Env, now: number): Promise<Result<VerifiedAgent, Refused>> {
  const presented = readPresented(request);
  if (!presented.ok) return presented;
  if (presented.value.scheme !== "bearer") return refused("token_invalid", "an agent sends its token as Bearer");
  const { token } = presented.value;
  if (token.length > MAX_AGENT_TOKEN)
    return refused("too_large", `an agent's token of ${token.length} characters, limit ${MAX_AGENT_TOKEN}`);

  const id = parseAgentId(issuerOf(token));
  if (!id.ok) return refused("token_invalid", "iss is not an agent's id");
  const learnt = { issuer: id.value, subject: id.value };
  const agent = await findAgent(env.DB, id.value);
  if (agent === null) return refused("agent_unknown", "no agent of this id is enrolled", learnt);
  if (agent.revoked_at !== null) return refused("agent_unknown", `agent ${agent.name} is revoked`, learnt);
  const site = parseSiteName(agent.site);
  if (!site.ok) return refused("agent_unknown", `agent ${agent.name} is enrolled for a site of no valid name`, learnt);

  const key = { kty: "OKP", crv: "Ed25519", x: agent.public_key };
  const verified = await verifyJws(token, () => importJWK(key, "EdDSA"), ALGORITHMS);
  if (!verified.ok) return refused("token_invalid", `signature: ${verified.error}`, learnt);
  const { claims } = verified.value;

  const origin = gatewayOrigin(request, env);
  const wrong = objection(claims, id.value, origin, now);
  if (wrong !== null) return refused(wrong.code, wrong.reason, learnt);
  const first = await env.IDENTITIES.getByName(`agent:${id.value}`).claim(
    `agent:${await sha256(String(claims["jti"]))}`,
    (Number(claims["exp"]) + MAX_CLOCK_SKEW_S) * 1000,
    now,
  );
  if (!first) return refused("token_replayed", "the agent's token was used before", learnt);
  return ok({ agent: id.value, name: agent.name, site: site.value, targets: agent.targets === null ? null : [...agent.targets] });
}

function objection(
  claims: Claims,
  id: AgentId,
  origin: string,
  now: number,
): { readonly code: "token_invalid" | "token_expired"; readonly reason: string } | null {
  const invalid = (reason: string): { code: "token_invalid"; reason: string } => ({ code: "token_invalid", reason });
  const { iss, sub, aud, iat, exp, jti } = claims;
  if (iss !== id || sub !== id) return invalid("iss and sub must both be the agent's id");
  if (aud !== origin) return invalid(`aud is not ${origin}`);
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_JTI) return invalid("jti is missing or too long");
  if (typeof iat !== "number" || typeof exp !== "number" || !Number.isFinite(iat) || !Number.isFinite(exp))
    return invalid("iat or exp is missing");
  if (exp - iat > AGENT_TOKEN_TTL_S || exp <= iat) return invalid(`exp is not within ${AGENT_TOKEN_TTL_S} s after iat`);
  const nowS = now / 1000;
  if (iat > nowS + MAX_CLOCK_SKEW_S) return invalid(`iat is ${Math.round(iat - nowS)} s in the future`);
  if (nowS >= exp + MAX_CLOCK_SKEW_S) return { code: "token_expired", reason: `exp passed ${Math.round(nowS - exp)} s ago` };
  return null;
}

/** Only to look the key up; the signature is checked with that key. */
function issuerOf(token: string): unknown {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}
