/** GW-01: a job's token opens one thing once, whoever presents the copy, and however the objects restart meanwhile. */
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { IdentityDeclaration } from "../../../policy/types.ts";
import { authenticate } from "../../../worker/identity/authenticate.ts";
import { bearer, bundle, identity } from "./gateway.ts";
import { startIssuer, type TestIssuer } from "./issuer.ts";

const NOW = Date.now();

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await startIssuer();
});

async function present(token: string, declared: IdentityDeclaration, now = NOW): Promise<string> {
  const answer = await authenticate(bearer(token), env, bundle([issuer.config()], [declared]), now);
  return answer.ok ? "ok" : answer.error.code;
}

const TWINS: readonly (readonly [string, (name: string) => Promise<void>])[] = [
  ["awake", async () => undefined],
  ["evicted", (name) => evictDurableObject(env.IDENTITIES.getByName(name))],
];

describe.each(TWINS)("the identity's object %s", (_twin, pause) => {
  test("the second use is refused, to the end of the token's life", async () => {
    const declared = identity(issuer.iss);
    const token = await issuer.token({ now: NOW });
    expect(await present(token, declared)).toBe("ok");
    await pause(declared.name);
    for (const after of [0, 1, 60_000, 359_000]) expect(await present(token, declared, NOW + after)).toBe("token_replayed");
    expect(await present(token, declared, NOW + 361_000)).toBe("token_expired");
    // Another token of the same job is another use.
    expect(await present(await issuer.token({ now: NOW }), declared)).toBe("ok");
  });

  test("a token without jti is known by itself", async () => {
    const declared = identity(issuer.iss);
    const token = await issuer.token({ now: NOW, claims: { jti: undefined } });
    expect(await present(token, declared)).toBe("ok");
    await pause(declared.name);
    expect(await present(token, declared)).toBe("token_replayed");
    expect(await present(await issuer.token({ now: NOW, claims: { jti: undefined, run_id: "2" } }), declared)).toBe("ok");
  });

  test("the same jti in another envelope is the same token", async () => {
    const declared = identity(issuer.iss);
    const jti = crypto.randomUUID();
    expect(await present(await issuer.token({ now: NOW, claims: { jti } }), declared)).toBe("ok");
    await pause(declared.name);
    expect(await present(await issuer.token({ now: NOW, claims: { jti }, header: { typ: "jwt" } }), declared)).toBe("token_replayed");
  });
});

test("of two identical tokens that race one passes", async () => {
  const declared = identity(issuer.iss);
  const token = await issuer.token({ now: NOW });
  const answers = await Promise.all(Array.from({ length: 12 }, () => present(token, declared)));
  expect(answers.filter((answer) => answer === "ok")).toHaveLength(1);
  expect(new Set(answers)).toEqual(new Set(["ok", "token_replayed"]));
});

test("the jti of one issuer says nothing of another's", async () => {
  const other = await startIssuer();
  const both = identity(issuer.iss);
  const declared = { ...both, match: [...both.match, { issuer: other.iss, claims: { repository_id: ["7070"] }, allow_weak_match: false }] };
  const jti = crypto.randomUUID();
  const bundled = bundle([issuer.config(), other.config()], [declared]);
  for (const from of [issuer, other]) {
    expect(await authenticate(bearer(await from.token({ now: NOW, claims: { jti } })), env, bundled, NOW)).toMatchObject({ ok: true });
  }
});

test("a used token is remembered beyond its age limit, which a later bundle may raise", async () => {
  const declared = identity(issuer.iss);
  const token = await issuer.token({ now: NOW, claims: { exp: Math.floor(NOW / 1000) + 7200 } });
  expect(await present(token, declared)).toBe("ok");
  const later = NOW + 3_000_000;
  expect(await present(token, declared, later)).toBe("token_expired");
  const raised = bundle([issuer.config({ max_token_age_s: 7200 })], [declared]);
  expect(await authenticate(bearer(token), env, raised, later)).toMatchObject({ ok: false, error: { code: "token_replayed" } });
});

test("a refused token is not spent", async () => {
  const declared = identity(issuer.iss, { claims: { repository_id: ["1"] } });
  const token = await issuer.token({ now: NOW });
  expect(await present(token, declared)).toBe("identity_unmatched");
  expect(await present(token, { ...declared, match: identity(issuer.iss).match })).toBe("ok");
});

test("a revoked identity's token is refused, and works again once restored (GW-17)", async () => {
  const declared = identity(issuer.iss);
  const token = await issuer.token({ now: NOW });
  await env.IDENTITIES.getByName(declared.name).revoke("test", "mira", NOW);
  expect(await present(token, declared)).toBe("identity_revoked");
  await env.IDENTITIES.getByName(declared.name).restore(NOW);
  expect(await present(token, declared)).toBe("ok");
});
