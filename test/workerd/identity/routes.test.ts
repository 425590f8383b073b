/** `POST /v1/token` and `GET /v1/whoami` through the whole Worker, with a published bundle: what a client sees, what only the audit does. */
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { REFERENCE_HEADER, TokenAnswer, Whoami } from "../../../protocol/api.ts";
import { ERRORS } from "../../../protocol/errors.ts";
import { CREDENTIAL_TTL_S } from "../../../protocol/limits.ts";
import { ACCESS_TOKEN_TYPE, GRANT_TYPE } from "../../../worker/identity/token-request.ts";
import { startGateway, type Gateway } from "../routes/gateway.ts";
import { clientKey, ORIGIN, proof, type ClientKey } from "./gateway.ts";

const ENDPOINT = `${ORIGIN}/v1/token`;
const ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token";

let gateway: Gateway;
let key: ClientKey;
beforeAll(async () => {
  [gateway, key] = await Promise.all([startGateway(), clientKey()]);
});

interface Post {
  readonly form: Record<string, string> | string;
  readonly dpop?: string | null;
  readonly headers?: Record<string, string>;
  readonly query?: string;
}

async function post({ form, dpop, headers = {}, query = "" }: Post): Promise<Response> {
  const sent = new Headers({ "content-type": "application/x-www-form-urlencoded", ...headers });
  const signed = dpop === undefined ? await proof(key, { now: Date.now(), method: "POST", url: ENDPOINT }) : dpop;
  if (signed !== null) sent.set("dpop", signed);
  const body = typeof form === "string" ? form : new URLSearchParams(form).toString();
  return exports.default.fetch(new Request(ENDPOINT + query, { method: "POST", headers: sent, body }));
}

const exchange = (token: string, more: Record<string, string> = {}): Record<string, string> => ({
  grant_type: GRANT_TYPE,
  subject_token: token,
  subject_token_type: ID_TOKEN_TYPE,
  ...more,
});
const renewal = (credential: string): Record<string, string> => exchange(credential, { subject_token_type: ACCESS_TOKEN_TYPE });

async function obtain(identity = "orders"): Promise<TokenAnswer> {
  const response = await post({ form: exchange(await gateway.token(identity)) });
  return TokenAnswer.parse(await response.json());
}

async function whoami(credential: string, holder = key): Promise<Response> {
  const dpop = await proof(holder, { now: Date.now(), credential });
  return exports.default.fetch(new Request(`${ORIGIN}/v1/whoami`, { headers: { authorization: `DPoP ${credential}`, dpop } }));
}

/** The problem's code, after checking that it is a refusal with a reference and nothing but the code's own sentence. */
async function codeOf(response: Response): Promise<string> {
  const problem = await response.json<{ code: keyof typeof ERRORS; title: string; ref: string; status: number }>();
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(problem).toMatchObject({
    title: ERRORS[problem.code].sentence,
    status: response.status,
    ref: response.headers.get(REFERENCE_HEADER),
  });
  return problem.code;
}

describe("exchange", () => {
  test("a job's token buys a credential that works until it is renewed, and then its successor does", async () => {
    const response = await post({ form: exchange(await gateway.token("orders")) });
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const answer = TokenAnswer.parse(await response.json());
    expect(answer).toMatchObject({ token_type: "DPoP", identity: "orders", expires_in: CREDENTIAL_TTL_S });

    const who = Whoami.parse(await (await whoami(answer.access_token)).json());
    expect(who).toMatchObject({
      identity: "orders",
      kind: "non-human",
      owner: "orders@example.com",
      workload: { repository_id: "3", event: "push" },
    });

    const renewed = TokenAnswer.parse(await (await post({ form: renewal(answer.access_token) })).json());
    expect(renewed.access_token).not.toBe(answer.access_token);
    for (const each of [renewed, answer]) expect((await whoami(each.access_token)).status).toBe(200);
  });

  test("spends the token", async () => {
    const token = await gateway.token("orders");
    expect((await post({ form: exchange(token) })).status).toBe(200);
    expect(await codeOf(await post({ form: exchange(token) }))).toBe("token_replayed");
    expect(await codeOf(await gateway.fetch("GET", "/v1/whoami", { as: `Bearer ${token}` }))).toBe("token_replayed");
  });

  test("of a crowd with one token one gets a credential", async () => {
    const token = await gateway.token("orders");
    const answers = await Promise.all(Array.from({ length: 6 }, () => post({ form: exchange(token) })));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status === 401)).toHaveLength(5);
  });

  test("binds to the key of the proof", async () => {
    const { access_token } = await obtain();
    expect(await codeOf(await whoami(access_token, await clientKey()))).toBe("proof_invalid");
    const thief = await clientKey();
    const dpop = await proof(thief, { now: Date.now(), method: "POST", url: ENDPOINT });
    expect(await codeOf(await post({ form: renewal(access_token), dpop }))).toBe("proof_invalid");
  });

  test("needs a proof for this very request, and takes it once", async () => {
    const proofs: (string | null)[] = [
      null,
      await proof(key, { now: Date.now(), method: "GET", url: ENDPOINT }),
      await proof(key, { now: Date.now(), method: "POST", url: `${ORIGIN}/v1/whoami` }),
      await proof(key, { now: Date.now() - 120_000, method: "POST", url: ENDPOINT }),
    ];
    for (const dpop of proofs)
      expect(await codeOf(await post({ form: exchange(await gateway.token("orders")), dpop }))).toBe("proof_invalid");
    const once = await proof(key, { now: Date.now(), method: "POST", url: ENDPOINT });
    expect((await post({ form: exchange(await gateway.token("orders")), dpop: once })).status).toBe(200);
    expect(await codeOf(await post({ form: exchange(await gateway.token("orders")), dpop: once }))).toBe("token_replayed");
  });

  test("refuses tokens of nobody and of the revoked", async () => {
    expect(await codeOf(await post({ form: exchange(await gateway.token("stranger")) }))).toBe("identity_unmatched");
    await env.IDENTITIES.getByName("billing").revoke("test", "mira", Date.now());
    expect(await codeOf(await post({ form: exchange(await gateway.token("billing")) }))).toBe("identity_revoked");
    await env.IDENTITIES.getByName("billing").restore(Date.now());
    expect((await post({ form: exchange(await gateway.token("billing")) })).status).toBe(200);
  });

  test("a revocation ends credentials and their renewal (GW-17)", async () => {
    const { access_token } = await obtain("billing");
    await env.IDENTITIES.getByName("billing").revoke("test", "mira", Date.now());
    expect(await codeOf(await whoami(access_token))).toBe("identity_revoked");
    expect(await codeOf(await post({ form: renewal(access_token) }))).toBe("identity_revoked");
    await env.IDENTITIES.getByName("billing").restore(Date.now());
    expect(await codeOf(await whoami(access_token))).toBe("token_invalid");
  });

  test.each([
    ["an unknown parameter", { scope: "admin" }],
    ["actor_token", { actor_token: "x" }],
    ["another grant type", { grant_type: "authorization_code" }],
    ["another token type", { subject_token_type: "urn:ietf:params:oauth:token-type:saml2" }],
    ["another requested type", { requested_token_type: ID_TOKEN_TYPE }],
    ["another audience", { audience: "https://elsewhere.test" }],
    ["an empty token", { subject_token: "" }],
  ])("refuses %s, unspent", async (_name, more) => {
    const token = await gateway.token("orders");
    expect(await codeOf(await post({ form: exchange(token, more) }))).toBe("bad_request");
    expect((await post({ form: exchange(token, { audience: ORIGIN, requested_token_type: ACCESS_TOKEN_TYPE }) })).status).toBe(200);
  });

  test("refuses repeated parameters, queries, other bodies, and an Authorization header beside", async () => {
    const form = new URLSearchParams(exchange(await gateway.token("orders"))).toString();
    expect(await codeOf(await post({ form: `${form}&grant_type=${encodeURIComponent(GRANT_TYPE)}` }))).toBe("bad_request");
    expect(await codeOf(await post({ form, query: "?subject_token=x" }))).toBe("bad_request");
    expect(await codeOf(await post({ form, headers: { "content-type": "application/json" } }))).toBe("bad_request");
    expect(await codeOf(await post({ form, headers: { authorization: "Bearer x" } }))).toBe("bad_request");
    expect(await codeOf(await post({ form: "x".repeat(64 * 1024) }))).toBe("too_large");
    expect((await exports.default.fetch(new Request(ENDPOINT))).status).toBe(404);
  });
});

describe("whoami", () => {
  test("says who a job's token is, once", async () => {
    const token = await gateway.token("orders");
    const first = await gateway.fetch("GET", "/v1/whoami", { as: `Bearer ${token}` });
    expect(Whoami.parse(await first.json())).toMatchObject({ identity: "orders", groups: [], bundle: 1 });
    expect(await codeOf(await gateway.fetch("GET", "/v1/whoami", { as: `Bearer ${token}` }))).toBe("token_replayed");
  });

  test("refuses a token in the query, wherever else it is", async () => {
    const token = await gateway.token("orders");
    for (const name of ["access_token", "id_token", "token"]) {
      expect(await codeOf(await gateway.fetch("GET", `/v1/whoami?${name}=${token}`))).toBe("bad_request");
      expect(await codeOf(await gateway.fetch("GET", `/v1/whoami?${name}=${token}`, { as: `Bearer ${token}` }))).toBe("bad_request");
    }
    expect((await gateway.fetch("GET", "/v1/whoami", { as: `Bearer ${token}` })).status).toBe(200);
  });

  test("refuses no token, and two", async () => {
    expect(await codeOf(await gateway.fetch("GET", "/v1/whoami"))).toBe("token_missing");
    const headers = new Headers();
    headers.append("authorization", `Bearer ${await gateway.token("orders")}`);
    headers.append("authorization", `Bearer ${await gateway.token("admin")}`);
    expect(await codeOf(await exports.default.fetch(new Request(`${ORIGIN}/v1/whoami`, { headers })))).toBe("token_invalid");
  });
});

test("the reason is in the audit, and no token is; the client gets neither", async () => {
  const token = await gateway.token("orders", { aud: "https://elsewhere.test" });
  const response = await gateway.fetch("GET", "/v1/whoami", { as: `Bearer ${token}` });
  const text = await response.clone().text();
  expect(text).not.toContain("elsewhere");
  expect(await codeOf(response)).toBe("token_invalid");
  const ref = response.headers.get(REFERENCE_HEADER);
  const row = await env.DB.prepare("SELECT * FROM refusals WHERE ref = ?").bind(ref).first();
  expect(row).toMatchObject({ code: "token_invalid", issuer: gateway.issuer.iss, path: "/v1/whoami" });
  expect(String(row?.["reason"])).toContain("elsewhere");
  for (const part of token.split(".")) expect(JSON.stringify(row)).not.toContain(part);
});
