/** GW-15: an agent's own token, against the key it enrolled with. */
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { beforeEach, describe, expect, test } from "vitest";
import { mintAgentId, type AgentId } from "../../../protocol/ids.ts";
import { revokeAgent } from "../../../store/agents.ts";
import { authenticateAgent } from "../../../worker/identity/agent-token.ts";
import { bearer, ORIGIN } from "./gateway.ts";

const NOW = Math.floor(Date.now() / 1000) * 1000;
const S = NOW / 1000;
const CONTROL = `${ORIGIN}/v1/agent/control`;

let agent: AgentId;
let key: CryptoKey;

beforeEach(async () => {
  ({ agent, key } = await enrol());
});

async function enrol(targets: string | null = null): Promise<{ agent: AgentId; key: CryptoKey }> {
  const id = mintAgentId((bytes) => crypto.getRandomValues(bytes));
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { x } = await exportJWK(pair.publicKey);
  await env.DB.batch([
    env.DB.prepare("INSERT OR IGNORE INTO sites (name, first_named_at) VALUES ('hq', 1)"),
    env.DB.prepare(
      "INSERT INTO agents (id, name, site, public_key, allowed_targets, enrolled_at) VALUES (?, 'rack-1', 'hq', ?, ?, 1)",
    ).bind(id, x, targets),
  ]);
  return { agent: id, key: pair.privateKey };
}

function token(claims: Record<string, unknown> = {}, signer = key, alg = "EdDSA"): Promise<string> {
  const payload = { iss: agent, sub: agent, aud: ORIGIN, iat: S, exp: S + 60, jti: crypto.randomUUID(), ...claims };
  return new SignJWT(Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ alg })
    .sign(signer);
}

async function verdict(text: string, now = NOW): Promise<string> {
  const answer = await authenticateAgent(bearer(text, CONTROL), env, now);
  return answer.ok ? "ok" : `${answer.error.code}: ${answer.error.reason}`;
}

test("an enrolled agent is who it says, with its site and targets", async () => {
  expect(await authenticateAgent(bearer(await token(), CONTROL), env, NOW)).toEqual({
    ok: true,
    value: { agent, name: "rack-1", site: "hq", targets: null },
  });
  ({ agent, key } = await enrol('["orders-db"]'));
  expect(await authenticateAgent(bearer(await token(), CONTROL), env, NOW)).toMatchObject({ ok: true, value: { targets: ["orders-db"] } });
});

test("a token is good once, also for an object that was evicted meanwhile", async () => {
  const text = await token();
  expect(await verdict(text)).toBe("ok");
  expect(await verdict(text)).toMatch(/^token_replayed/);
  await evictDurableObject(env.IDENTITIES.getByName(`agent:${agent}`));
  expect(await verdict(text, NOW + 119_000)).toMatch(/^token_replayed/);
  expect(await verdict(await token())).toBe("ok");
});

test("a revoked agent is unknown at once", async () => {
  expect(await verdict(await token())).toBe("ok");
  await revokeAgent(env.DB, agent, NOW);
  expect(await verdict(await token())).toMatch(/^agent_unknown: agent rack-1 is revoked/);
});

test("an agent that never enrolled is unknown", async () => {
  const stranger = mintAgentId((bytes) => crypto.getRandomValues(bytes));
  expect(await verdict(await token({ iss: stranger, sub: stranger }))).toMatch(/^agent_unknown/);
});

describe("refused", () => {
  test("another agent's signature (GW-14)", async () => {
    expect(await verdict(await token({}, (await enrol()).key))).toMatch(/^token_invalid: signature/);
  });

  test("another algorithm", async () => {
    const rsa = await generateKeyPair("RS256", { extractable: true });
    expect(await verdict(await token({}, rsa.privateKey, "RS256"))).toMatch(/^token_invalid: signature: ERR_JOSE_ALG_NOT_ALLOWED/);
  });

  test.each([
    ["sub of another", { sub: "agt_00000000000000000000000000" }],
    ["another gateway's audience", { aud: "https://other.test" }],
    ["an audience list", { aud: [ORIGIN] }],
    ["an audience with a path", { aud: `${ORIGIN}/` }],
    ["a life of more than a minute", { exp: S + 61 }],
    ["an exp before iat", { exp: S - 1 }],
    ["no exp", { exp: undefined }],
    ["no iat", { iat: undefined }],
    ["no jti", { jti: undefined }],
    ["an empty jti", { jti: "" }],
    ["an iat in the future", { iat: S + 61, exp: S + 70 }],
    ["an iss that is no agent's id", { iss: "https://issuer.test", sub: "https://issuer.test" }],
  ])("%s", async (_name, claims) => {
    expect(await verdict(await token(claims))).toMatch(/^token_invalid/);
  });

  test("an expired token, beyond the skew", async () => {
    expect(await verdict(await token(), NOW + 119_000)).toBe("ok");
    expect(await verdict(await token(), NOW + 120_000)).toMatch(/^token_expired/);
  });

  test("no token, and what is no JWT", async () => {
    expect(await authenticateAgent(new Request(CONTROL), env, NOW)).toMatchObject({ ok: false, error: { code: "token_missing" } });
    expect(await verdict("a.b.c")).toMatch(/^token_invalid/);
    expect(await verdict("x".repeat(5000))).toMatch(/^too_large/);
  });
});

test("the audience is the configured origin where there is one", async () => {
  const configured = { ...env, SALLYPORT_ORIGIN: "https://public.test" };
  expect(await authenticateAgent(bearer(await token(), CONTROL), configured, NOW)).toMatchObject({ ok: false });
  expect(await authenticateAgent(bearer(await token({ aud: "https://public.test" }), CONTROL), configured, NOW)).toMatchObject({
    ok: true,
  });
});
