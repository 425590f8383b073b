/** Session credentials in use: the proof of the key they are bound to (RFC 9449 section 4.3), and what ends them. */
import { env } from "cloudflare:workers";
import { UnsecuredJWT } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { CREDENTIAL_TTL_S } from "../../../protocol/limits.ts";
import { authenticate } from "../../../worker/identity/authenticate.ts";
import type { ActiveBundle } from "../../../worker/identity/caller.ts";
import { exchangeToken } from "../../../worker/identity/exchange.ts";
import { bearer, bundle, clientKey, identity, ORIGIN, proof, withCredential, type ClientKey, type ProofOptions } from "./gateway.ts";
import { startIssuer, type TestIssuer } from "./issuer.ts";

const NOW = Math.floor(Date.now() / 1000) * 1000;
const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);

let issuer: TestIssuer;
let key: ClientKey;
let active: ActiveBundle;
let credential: string;

beforeAll(async () => {
  [issuer, key] = await Promise.all([startIssuer(), clientKey()]);
  active = bundle([issuer.config()], [identity(issuer.iss)]);
  credential = await obtain(key);
});

async function obtain(holder: ClientKey, within = active): Promise<string> {
  const url = `${ORIGIN}/v1/token`;
  const request = new Request(url, { method: "POST" });
  const asked = { kind: "exchange", token: await issuer.token({ now: NOW }) } as const;
  const answer = await exchangeToken(
    { request, asked, proof: await proof(holder, { now: NOW, method: "POST", url }) },
    env,
    within,
    NOW,
    random,
  );
  if (!answer.ok) throw new Error(answer.error.reason);
  return answer.value.access_token;
}

async function verdict(request: Request, now = NOW, within = active): Promise<string> {
  const answer = await authenticate(request, env, within, now);
  return answer.ok ? "ok" : `${answer.error.code}: ${answer.error.reason}`;
}
/** A proof made so, with the credential. */
const verdictOf = async (options: Partial<ProofOptions>, holder = key, now = NOW): Promise<string> =>
  verdict(withCredential(credential, await proof(holder, { now: NOW, credential, ...options })), now);

test("a credential and a fresh proof are the identity, again and again", async () => {
  for (let n = 0; n < 3; n++) {
    const request = withCredential(credential, await proof(key, { now: NOW, credential }));
    expect(await authenticate(request, env, active, NOW)).toMatchObject({
      ok: true,
      value: { via: "credential", workload: { repository_id: "7070" }, expiresAt: NOW + CREDENTIAL_TTL_S * 1000 },
    });
  }
});

test.each(["ES256", "EdDSA", "RS256", "PS256"])("keys for %s", async (alg) => {
  const holder = await clientKey(alg);
  const own = await obtain(holder);
  expect(await verdict(withCredential(own, await proof(holder, { now: NOW, credential: own })))).toBe("ok");
});

describe("proofs that prove nothing", () => {
  test("another key", async () => {
    expect(await verdictOf({}, await clientKey())).toMatch(/^proof_invalid: .*another key/);
  });

  test("a replayed jti", async () => {
    const once = await proof(key, { now: NOW, credential });
    expect(await verdict(withCredential(credential, once))).toBe("ok");
    expect(await verdict(withCredential(credential, once))).toMatch(/^token_replayed/);
  });

  test("of a crowd with one proof one passes", async () => {
    const once = await proof(key, { now: NOW, credential });
    const answers = await Promise.all(Array.from({ length: 8 }, () => verdict(withCredential(credential, once))));
    expect(answers.filter((answer) => answer === "ok")).toHaveLength(1);
  });

  test.each([
    ["another method", { method: "POST" }, /htm is not GET/],
    ["no method", { claims: { htm: undefined } }, /htm/],
    ["another path", { url: `${ORIGIN}/v1/history` }, /htu is not/],
    ["another host", { url: "https://evil.test/v1/whoami" }, /htu is not/],
    ["another scheme", { url: "http://gate.test/v1/whoami" }, /htu is not/],
    ["no address", { claims: { htu: undefined } }, /htu is not/],
    ["a relative address", { claims: { htu: "/v1/whoami" } }, /htu is not/],
    ["another credential", { credential: "sallyport~other~x" }, /ath/],
    ["no credential", { claims: { ath: undefined } }, /ath/],
    ["no iat", { claims: { iat: undefined } }, /iat is missing/],
    ["no jti", { claims: { jti: undefined } }, /jti/],
    ["a jti too long", { claims: { jti: "x".repeat(257) } }, /jti/],
    ["typ JWT", { header: { typ: "JWT" } }, /typ is not dpop\+jwt/],
    ["no typ", { header: { typ: undefined } }, /typ is not dpop\+jwt/],
  ])("%s", async (_name, options, reason) => {
    const said = await verdictOf(options);
    expect(said).toMatch(/^proof_invalid: /);
    expect(said).toMatch(reason);
  });

  test("a clock more than a minute off, either way", async () => {
    expect(await verdictOf({ now: NOW - 60_000 })).toBe("ok");
    expect(await verdictOf({ now: NOW + 60_000 })).toBe("ok");
    expect(await verdictOf({ now: NOW - 61_000 })).toMatch(/^proof_invalid: .*iat/);
    expect(await verdictOf({ now: NOW + 61_000 })).toMatch(/^proof_invalid: .*iat/);
  });

  test("a jwk that is missing, private or symmetric, and alg none", async () => {
    expect(await verdictOf({ header: { jwk: undefined } })).toMatch(/^proof_invalid/);
    expect(await verdictOf({ header: { jwk: { ...key.jwk, d: "c2VjcmV0" } } })).toMatch(/^proof_invalid/);
    expect(await verdictOf({ header: { jwk: { kty: "oct", k: "c2VjcmV0" } } })).toMatch(/^proof_invalid/);
    expect(await verdictOf({ header: { jwk: (await clientKey()).jwk } })).toMatch(/^proof_invalid: .*SIGNATURE/);
    const unsigned = new UnsecuredJWT({ jti: "1", htm: "GET", htu: `${ORIGIN}/v1/whoami`, iat: NOW / 1000 }).encode();
    expect(await verdict(withCredential(credential, unsigned))).toMatch(/^proof_invalid/);
  });

  test("two proofs, and none", async () => {
    const one = await proof(key, { now: NOW, credential });
    const two = new Headers({ authorization: `DPoP ${credential}` });
    two.append("dpop", one);
    two.append("dpop", await proof(key, { now: NOW, credential }));
    expect(await verdict(new Request(`${ORIGIN}/v1/whoami`, { headers: two }))).toMatch(/^proof_invalid: more than one/);
    expect(await verdict(new Request(`${ORIGIN}/v1/whoami`, { headers: { authorization: `DPoP ${credential}` } }))).toMatch(
      /^proof_invalid: no DPoP/,
    );
  });
});

test("the address is compared after normalisation, without query and fragment", async () => {
  for (const url of ["https://GATE.test:443/v1/whoami", `${ORIGIN}/v1/whoami?x=1#y`, `${ORIGIN}/v1/./whoami`, `${ORIGIN}/v1/%77hoami`]) {
    expect(await verdictOf({ url })).toBe("ok");
  }
});

test("with a configured origin that is the address, whatever host the request came by", async () => {
  const request = withCredential(credential, await proof(key, { now: NOW, credential }), "http://10.0.0.1:8787/v1/whoami");
  expect(await verdict(request.clone())).toMatch(/^proof_invalid: .*htu/);
  expect(await authenticate(request, { ...env, SALLYPORT_ORIGIN: ORIGIN }, active, NOW)).toMatchObject({ ok: true });
});

describe("credentials that are none", () => {
  test("a bound credential as Bearer", async () => {
    expect(await verdict(bearer(credential))).toMatch(/^token_invalid/);
  });

  test("made-up ones, and another identity's name on the secret", async () => {
    const secret = credential.split("~")[2] ?? "";
    const [name] = [...active.policy.identities.keys()];
    const made = [
      "sallyport",
      "sallyport~",
      `sallyport~${name}~short`,
      `sallyport~nobody~${secret}`,
      `sallyport~${name}~${"A".repeat(43)}`,
    ];
    made.push(`other~${name}~${secret}`, `${credential}~x`, `sallyport~UPPER~${secret}`);
    for (const text of made) {
      expect(await verdict(withCredential(text, await proof(key, { now: NOW, credential: text })))).toMatch(/^token_invalid/);
    }
  });

  test("an expired one", async () => {
    const later = NOW + CREDENTIAL_TTL_S * 1000;
    expect(await verdictOf({ now: later - 1000 }, key, later - 1)).toBe("ok");
    expect(await verdictOf({ now: later }, key, later)).toMatch(/^credential_expired/);
  });
});

describe("the active bundle rules a credential at every use", () => {
  const use = async (within: ActiveBundle): Promise<string> =>
    verdict(withCredential(credential, await proof(key, { now: NOW, credential })), NOW, within);
  const declared = () => [...active.policy.identities.values()][0] ?? identity(issuer.iss);

  test("a tightened match ends it", async () => {
    const tightened = {
      ...declared(),
      match: identity(issuer.iss, { claims: { repository_id: ["7070"], ref: ["refs/heads/release"] } }).match,
    };
    expect(await use(bundle([issuer.config()], [tightened]))).toMatch(/^identity_unmatched: the credential's claims no longer match/);
  });

  test("so does an identity or an issuer that is gone, and a second identity that matches", async () => {
    expect(await use(bundle([issuer.config()], []))).toMatch(/^token_invalid: .*does not declare/);
    expect(await use(bundle([], [declared()]))).toMatch(/^identity_unmatched: the issuer/);
    expect(await use(bundle([issuer.config()], [declared(), identity(issuer.iss)]))).toMatch(/^identity_unmatched: .*ambiguous/);
  });

  test("what the bundle now says of the identity is what the caller gets", async () => {
    const promoted = { ...declared(), groups: ["dba"] };
    const request = withCredential(credential, await proof(key, { now: NOW, credential }));
    expect(await authenticate(request, env, bundle([issuer.config()], [promoted]), NOW)).toMatchObject({
      ok: true,
      value: { identity: { groups: ["dba"] } },
    });
  });
});

test("revocation ends it at once (GW-17)", async () => {
  const within = bundle([issuer.config()], [identity(issuer.iss)]);
  const own = await obtain(key, within);
  const request = async (): Promise<Request> => withCredential(own, await proof(key, { now: NOW, credential: own }));
  expect(await verdict(await request(), NOW, within)).toBe("ok");
  const [name = ""] = [...within.policy.identities.keys()];
  await env.IDENTITIES.getByName(name).revoke("test", "mira", NOW);
  expect(await verdict(await request(), NOW, within)).toMatch(/^identity_revoked/);
});
