/** GW-02, GW-03, GW-05, GW-08: which OIDC tokens are a caller, with keys served over real HTTP and signatures by jose. */
import { env } from "cloudflare:workers";
import { exportSPKI, importJWK, SignJWT, UnsecuredJWT, type CryptoKey } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { authenticate } from "../../../worker/identity/authenticate.ts";
import { bearer, bundle, identity } from "./gateway.ts";
import { AUDIENCE, makeKey, startIssuer, type TestIssuer, type TokenOptions } from "./issuer.ts";

const NOW = Date.now();
const S = 1000;

let issuer: TestIssuer;
let other: TestIssuer;
beforeAll(async () => {
  [issuer, other] = await Promise.all([startIssuer(), startIssuer()]);
});

/** "ok", or the refusal's code and reason. */
async function verdict(token: string, now = NOW): Promise<string> {
  const declared = identity(issuer.iss);
  const answer = await authenticate(bearer(token), env, bundle([issuer.config(), other.config()], [declared]), now);
  return answer.ok ? "ok" : `${answer.error.code}: ${answer.error.reason}`;
}
const verdictOf = async (options: Partial<TokenOptions>, now = NOW): Promise<string> =>
  verdict(await issuer.token({ now: NOW, ...options }), now);

test("an ordinary token is its identity, with the workload it says", async () => {
  const declared = identity(issuer.iss, { groups: ["deployers"] });
  const answer = await authenticate(bearer(await issuer.token({ now: NOW })), env, bundle([issuer.config()], [declared]), NOW);
  expect(answer).toMatchObject({
    ok: true,
    value: {
      identity: { name: declared.name },
      via: "oidc",
      workload: { provider: "github", repository_id: "7070", environment: "production" },
    },
  });
});

describe("the signature (GW-03)", () => {
  test("alg none is refused", async () => {
    const claims = {
      repository_id: "7070",
      repository_owner_id: "1",
      event_name: "push",
      sub: "x",
      aud: AUDIENCE,
      iss: issuer.iss,
      jti: "1",
    };
    const unsigned = new UnsecuredJWT(claims).setIssuedAt().setExpirationTime("5m").encode();
    expect(await verdict(unsigned)).toMatch(/^token_invalid: alg "none"/);
    expect(await verdict(`${unsigned}e30`)).toMatch(/^token_invalid: /);
  });

  test("HS256 with the public key as the secret is refused", async () => {
    const [, payload = ""] = (await issuer.token({ now: NOW })).split(".");
    const pem = await exportSPKI((await importJWK(issuer.key.publicJwk, "RS256", { extractable: true })) as CryptoKey);
    for (const secret of [pem, pem.trim(), JSON.stringify(issuer.key.publicJwk)]) {
      const forged = await new SignJWT(JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as Record<string, unknown>)
        .setProtectedHeader({ alg: "HS256", kid: issuer.key.kid })
        .sign(new TextEncoder().encode(secret));
      expect(await verdict(forged)).toMatch(/^token_invalid: alg "HS256"/);
    }
  });

  test("an asymmetric algorithm outside the issuer's pin is refused", async () => {
    const pss = await makeKey(issuer.key.kid, "PS256");
    expect(await verdictOf({ key: pss })).toMatch(/^token_invalid: alg "PS256"/);
  });

  test("an algorithm that no issuer may have is refused even when the bundle lists it", async () => {
    const config = issuer.config({ algorithms: ["HS256", "none"] });
    const forged = await new SignJWT({ iss: issuer.iss, aud: AUDIENCE })
      .setProtectedHeader({ alg: "HS256", kid: issuer.key.kid })
      .sign(new TextEncoder().encode("a secret of thirty-two characters"));
    const answer = await authenticate(bearer(forged), env, bundle([config], [identity(issuer.iss)]), NOW);
    expect(answer).toMatchObject({
      ok: false,
      error: { code: "token_invalid", reason: expect.stringMatching(/^alg "HS256" is not one of/) },
    });
  });

  test("another key under a known kid is refused", async () => {
    expect(await verdictOf({ key: await makeKey(issuer.key.kid) })).toMatch(/^token_invalid: signature/);
  });

  test("a missing kid is refused", async () => {
    expect(await verdictOf({ header: { kid: undefined } })).toBe("token_invalid: no kid in the header");
  });

  test("keys that the token brings along are never looked at", async () => {
    const attacker = await startIssuer();
    for (const header of [{ jwk: attacker.key.publicJwk }, { jku: `${attacker.iss}/keys` }, { x5u: `${attacker.iss}/keys` }]) {
      expect(await verdictOf({ key: { ...attacker.key, kid: issuer.key.kid }, header })).toMatch(/^token_invalid: signature/);
      // A header of that kind beside a good signature changes nothing either.
      expect(await verdictOf({ header })).toBe("ok");
    }
    expect(await attacker.hits("/keys")).toBe(0);
  });

  test("a kid that looks like a path only selects", async () => {
    expect(await verdictOf({ header: { kid: "../../../../dev/null" } })).toMatch(/^token_invalid: the issuer has no key of this kid/);
  });

  test("crit is refused", async () => {
    const [header = "", payload, signature] = (await issuer.token({ now: NOW })).split(".");
    const critical = { ...(JSON.parse(atob(header)) as object), crit: ["exp"], exp: 1 };
    expect(await verdict([btoa(JSON.stringify(critical)).replaceAll("=", ""), payload, signature].join("."))).toMatch(
      /^token_invalid: a crit header/,
    );
  });

  test("what is no JWT is refused", async () => {
    for (const text of ["x", "a.b", "a.b.c", "..", "e30.e30.", "W10.W10.W10"]) expect(await verdict(text)).toMatch(/^token_invalid: /);
  });

  test("a token over its size limit is refused unread", async () => {
    expect(await verdict("a".repeat(17_000))).toMatch(/^too_large: /);
  });
});

describe("issuer and audience (GW-02, GW-05)", () => {
  test("GitHub's default audience, the owner's URL, is refused", async () => {
    expect(await verdictOf({ claims: { aud: "https://github.com/acme" } })).toMatch(/^token_invalid: aud/);
  });

  test("a list with our audience alone is taken, with another beside it refused", async () => {
    expect(await verdictOf({ claims: { aud: [AUDIENCE] } })).toBe("ok");
    for (const aud of [
      [AUDIENCE, "https://elsewhere.test"],
      [],
      [[AUDIENCE]],
      `${AUDIENCE}/`,
      AUDIENCE.toUpperCase(),
      undefined,
      null,
      7,
    ]) {
      expect(await verdictOf({ claims: { aud } })).toMatch(/^token_invalid: aud/);
    }
  });

  test("azp and client_id stand in for no audience", async () => {
    expect(await verdictOf({ claims: { aud: "other", azp: AUDIENCE, client_id: AUDIENCE } })).toMatch(/^token_invalid: aud/);
  });

  test("another issuer of the bundle with the same claims is no match", async () => {
    expect(await verdict(await other.token({ now: NOW }))).toMatch(/^identity_unmatched: /);
  });

  test("an issuer's name on another's signature is refused", async () => {
    expect(await verdict(await other.token({ now: NOW, claims: { iss: issuer.iss } }))).toMatch(/^token_invalid: /);
  });

  test("an issuer the bundle does not list is refused, unasked", async () => {
    const stranger = await startIssuer();
    expect(await verdict(await stranger.token({ now: NOW }))).toMatch(/is not an issuer of the active bundle/);
    expect(await stranger.hits("/.well-known/openid-configuration")).toBe(0);
    for (const iss of [`${issuer.iss}/`, issuer.iss.toUpperCase(), "", undefined, 5]) {
      expect(await verdictOf({ claims: { iss } })).toMatch(/is not an issuer of the active bundle/);
    }
  });
});

describe("time (GW-08)", () => {
  const at = (iat: number, exp = iat + 300, rest: Record<string, unknown> = {}): Partial<TokenOptions> => ({
    claims: { iat: iat + Math.floor(NOW / S), exp: exp + Math.floor(NOW / S), nbf: undefined, ...rest },
  });
  const late = Math.floor(NOW / S) * S;

  test("a minute of skew either way is taken, more is not", async () => {
    expect(await verdictOf(at(60), late)).toBe("ok");
    expect(await verdictOf(at(61), late)).toMatch(/^token_invalid: iat is 61 s in the future/);
    expect(await verdictOf(at(-300, -59), late)).toBe("ok");
    expect(await verdictOf(at(-300, -60), late)).toMatch(/^token_expired: exp/);
  });

  test("a runner five minutes ahead is refused", async () => {
    expect(await verdictOf(at(300), late)).toMatch(/^token_invalid: iat/);
  });

  test("age is limited whatever exp says", async () => {
    expect(await verdictOf(at(-659, 86_400), late)).toBe("ok");
    expect(await verdictOf(at(-660, 86_400), late)).toMatch(/^token_expired: issued 660 s ago/);
  });

  test("iat and exp are mandatory numbers", async () => {
    for (const iat of [undefined, "soon", null, -1]) expect(await verdictOf({ claims: { iat } })).toMatch(/^token_invalid: iat/);
    for (const exp of [undefined, "later", null]) expect(await verdictOf({ claims: { exp } })).toMatch(/^token_invalid: exp/);
  });

  test("nbf in the future is refused", async () => {
    expect(await verdictOf(at(0, 300, { nbf: Math.floor(NOW / S) + 61 }), late)).toMatch(/^token_invalid: nbf/);
    expect(await verdictOf(at(0, 300, { nbf: Math.floor(NOW / S) + 60 }), late)).toBe("ok");
  });
});

test("no refusal repeats the token", async () => {
  const token = await issuer.token({ now: NOW, claims: { aud: "other" } });
  const said = await verdict(token);
  for (const part of token.split(".")) expect(said).not.toContain(part);
});
