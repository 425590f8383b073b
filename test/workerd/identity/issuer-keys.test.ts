/** GW-04: an issuer's keys over real HTTP: caching, rotation, unknown kid, outage, restart of the isolate, hostile documents. */
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { IssuerConfig } from "../../../policy/types.ts";
import { ISSUER_KEYS_MAX_AGE_MS, ISSUER_KEYS_STALE_MS, ISSUER_REFETCH_MS, MAX_ISSUER_DOCUMENT_BYTES } from "../../../protocol/limits.ts";
import { createKeySource, emptyMemory, type KeyMemory } from "../../../worker/identity/keys-shell.ts";
import { makeKey, startIssuer, type TestIssuer } from "./issuer.ts";

const NOW = Date.now();

/** One isolate: its memory goes with it, D1 stays. */
function isolate(
  memory: KeyMemory = emptyMemory(),
): (issuer: TestIssuer, kid: string, now: number, config?: Partial<IssuerConfig>) => Promise<string> {
  const keys = createKeySource(env.DB, undefined, memory);
  return async (issuer, kid, now, config = {}) => {
    const found = await keys.find(issuer.config(config), kid, now);
    return found.ok ? "ok" : `${found.error.kind}: ${found.error.reason}`;
  };
}

/** What a fresh isolate with an empty database makes of an issuer that answers so. */
async function judged(
  routes: Record<string, { status?: number; headers?: Record<string, string>; body?: string }>,
  config: Partial<IssuerConfig> = {},
): Promise<string> {
  const issuer = await startIssuer();
  await issuer.serve(undefined, routes);
  return isolate()(issuer, issuer.key.kid, NOW, config);
}

describe("caching", () => {
  test("fresh keys are not fetched again, old ones are", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    for (const after of [0, 1, ISSUER_KEYS_MAX_AGE_MS - 1]) expect(await find(issuer, issuer.key.kid, NOW + after)).toBe("ok");
    expect(await issuer.hits("/keys")).toBe(1);
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_MAX_AGE_MS)).toBe("ok");
    expect(await issuer.hits("/keys")).toBe(2);
  });

  test("a new isolate takes them from the database", async () => {
    const issuer = await startIssuer();
    expect(await isolate()(issuer, issuer.key.kid, NOW)).toBe("ok");
    await issuer.goDown();
    expect(await isolate()(issuer, issuer.key.kid, NOW + 1)).toBe("ok");
    expect(await issuer.hits("/keys")).toBe(1);
  });

  test("a crowd of requests causes one fetch", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    await issuer.serve(undefined, {
      "/.well-known/openid-configuration": { delay: 100, body: JSON.stringify({ issuer: issuer.iss, jwks_uri: `${issuer.iss}/keys` }) },
    });
    const answers = await Promise.all(Array.from({ length: 20 }, () => find(issuer, issuer.key.kid, NOW)));
    expect(new Set(answers)).toEqual(new Set(["ok"]));
    expect(await issuer.hits("/keys")).toBe(1);
  });

  test("a configured jwks_uri is used in place of discovery", async () => {
    const issuer = await startIssuer();
    await issuer.serve(undefined, {
      "/.well-known/openid-configuration": { status: 500 },
      "/elsewhere": { body: JSON.stringify({ keys: [issuer.key.publicJwk] }) },
    });
    expect(await isolate()(issuer, issuer.key.kid, NOW, { jwks_uri: `${issuer.iss}/elsewhere` })).toBe("ok");
    // Another place to look means other keys: what was found there does not answer for discovery.
    expect(await isolate()(issuer, issuer.key.kid, NOW)).toMatch(/^unavailable: /);
  });
});

describe("rotation", () => {
  test("a kid that appears is found at once by one more fetch", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    expect(await find(issuer, issuer.key.kid, NOW)).toBe("ok");
    const next = await makeKey("next");
    await issuer.serve([issuer.key.publicJwk, next.publicJwk]);
    expect(await find(issuer, "next", NOW + 1000)).toBe("ok");
    expect(await issuer.hits("/keys")).toBe(2);
  });

  test("a key that the issuer withdrew is refused once the set was fetched again", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    expect(await find(issuer, issuer.key.kid, NOW)).toBe("ok");
    const old = issuer.key.kid;
    await issuer.serve([(await makeKey("next")).publicJwk]);
    expect(await find(issuer, old, NOW + ISSUER_KEYS_MAX_AGE_MS)).toMatch(/^unknown_key: /);
  });

  test("invented kids cost the issuer one fetch per interval", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    expect(await find(issuer, issuer.key.kid, NOW)).toBe("ok");
    for (let n = 0; n < 30; n++) expect(await find(issuer, `invented-${n}`, NOW + n)).toMatch(/^unknown_key: /);
    await Promise.all(Array.from({ length: 10 }, (_, n) => find(issuer, `crowd-${n}`, NOW + 100)));
    expect(await issuer.hits("/keys")).toBe(2);
    expect(await find(issuer, "invented", NOW + ISSUER_REFETCH_MS)).toMatch(/^unknown_key: /);
    expect(await issuer.hits("/keys")).toBe(3);
    // And the key in use is none the worse for it.
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_REFETCH_MS)).toBe("ok");
  });
});

describe("outage", () => {
  test("the known kid passes, a new one does not, until the last good keys are too old", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    expect(await find(issuer, issuer.key.kid, NOW)).toBe("ok");
    await issuer.goDown();
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_MAX_AGE_MS)).toBe("ok");
    expect(await find(issuer, "new", NOW + ISSUER_KEYS_MAX_AGE_MS + 1)).toMatch(/^unknown_key: .*last fetch failed/);
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_STALE_MS - 1)).toBe("ok");
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_STALE_MS)).toMatch(/^unavailable: keys are 14400 s old/);
    // It comes back.
    await issuer.serve();
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_STALE_MS + ISSUER_REFETCH_MS)).toBe("ok");
  });

  test("so does an isolate that starts during it", async () => {
    const issuer = await startIssuer();
    expect(await isolate()(issuer, issuer.key.kid, NOW)).toBe("ok");
    await issuer.goDown();
    const find = isolate();
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_MAX_AGE_MS)).toBe("ok");
    expect(await isolate()(issuer, issuer.key.kid, NOW + ISSUER_KEYS_STALE_MS)).toMatch(/^unavailable: /);
  });

  test("an issuer never reached is unavailable, and asked again only after a while", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    await issuer.goDown();
    for (const after of [0, 1, ISSUER_REFETCH_MS - 1])
      expect(await find(issuer, issuer.key.kid, NOW + after)).toMatch(/^unavailable: no keys of the issuer/);
    expect(await issuer.hits("/.well-known/openid-configuration")).toBe(1);
    await issuer.serve();
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_REFETCH_MS)).toBe("ok");
  });
});

describe("hostile documents", () => {
  test("redirects are not followed", async () => {
    const elsewhere = await startIssuer();
    const moved = { status: 302, headers: { location: `${elsewhere.iss}/keys` } };
    expect(await judged({ "/keys": moved })).toMatch(/key set: a redirect \(302\)/);
    expect(await judged({ "/.well-known/openid-configuration": { ...moved, status: 307 } })).toMatch(/discovery: a redirect \(307\)/);
    expect(await elsewhere.hits("/keys")).toBe(0);
  });

  test("documents over the cap are not read, with a length or without", async () => {
    const body = JSON.stringify({ keys: [], padding: "x".repeat(MAX_ISSUER_DOCUMENT_BYTES) });
    expect(await judged({ "/keys": { body } })).toMatch(/larger than 131072 bytes/);
    expect(await judged({ "/keys": { body, headers: { "transfer-encoding": "chunked" } } })).toMatch(/larger than 131072 bytes/);
  });

  test("a discovery document of another issuer is refused", async () => {
    const victim = await startIssuer();
    const body = JSON.stringify({ issuer: victim.iss, jwks_uri: `${victim.iss}/keys` });
    expect(await judged({ "/.well-known/openid-configuration": { body } })).toMatch(/of another issuer/);
    expect(await victim.hits("/keys")).toBe(0);
  });

  test("errors, other shapes and what is no JSON are refused", async () => {
    for (const route of [
      { status: 500 },
      { status: 404 },
      { body: "<html>" },
      { body: "[]" },
      { body: "{}" },
      { body: '{"keys":{}}' },
      { body: '{"keys":[]}' },
    ]) {
      expect(await judged({ "/keys": route })).toMatch(/^unavailable: /);
    }
  });

  test("plain http beyond loopback is never asked", async () => {
    expect(await judged({}, { jwks_uri: "http://keys.example.com/jwks" })).toMatch(/neither https nor/);
    expect(await judged({}, { jwks_uri: "ftp://127.0.0.1/jwks" })).toMatch(/neither https nor/);
    expect(await judged({}, { jwks_uri: "https://user:pass@keys.example.com/jwks" })).toMatch(/credentials/);
  });

  test("symmetric, private-only, encryption and unnamed keys are not keys", async () => {
    const key = await makeKey("k");
    const bad = [
      { kty: "oct", kid: "k", k: "c2VjcmV0" },
      { ...key.publicJwk, use: "enc" },
      { ...key.publicJwk, kid: undefined },
    ];
    for (const each of bad)
      expect(await judged({ "/keys": { body: JSON.stringify({ keys: [each] }) } })).toMatch(/no public signature key/);
  });

  test("a good set replaced by a bad one is kept", async () => {
    const [issuer, find] = [await startIssuer(), isolate()];
    expect(await find(issuer, issuer.key.kid, NOW)).toBe("ok");
    await issuer.serve([]);
    expect(await find(issuer, issuer.key.kid, NOW + ISSUER_KEYS_MAX_AGE_MS)).toBe("ok");
  });
});
