/**
 * A whole gateway for the tests of routes: the real Worker with real D1, R2 and objects, a bundle pushed through the
 * API, an issuer whose keys are served over HTTP, and agents enrolled through the API with keys of their own.
 */
import { env, exports } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { ProblemJson } from "../../../protocol/api.ts";
import { mintSessionId, type SessionId } from "../../../protocol/ids.ts";
import { insertSession, type NewSession } from "../../../store/sessions.ts";
import { AUDIENCE, startIssuer, type TestIssuer } from "../identity/issuer.ts";

export const BOOTSTRAP = "bootstrap-for-tests-only-0123456789";
export const ORIGIN = AUDIENCE;

export interface Call {
  /** The name of an identity of `bundleFiles`, to sign a token of; or a whole Authorization header. */
  readonly as?: string;
  readonly json?: unknown;
  readonly body?: BodyInit;
  readonly headers?: Record<string, string>;
}

export class Gateway {
  readonly issuer: TestIssuer;

  constructor(issuer: TestIssuer) {
    this.issuer = issuer;
  }

  /** A token of the job that the identity matches, good for one request. */
  async token(identity: string, claims: Record<string, unknown> = {}): Promise<string> {
    return this.issuer.token({ now: Date.now(), claims: { repository_id: REPOSITORIES[identity], ...claims } });
  }

  async fetch(method: string, path: string, { as, json, body, headers = {} }: Call = {}): Promise<Response> {
    const sent = new Headers(headers);
    if (as !== undefined) sent.set("authorization", as.includes(" ") ? as : `Bearer ${await this.token(as)}`);
    if (json !== undefined) sent.set("content-type", "application/json");
    const payload = json === undefined ? body : JSON.stringify(json);
    return exports.default.fetch(
      new Request(`${ORIGIN}${path}`, { method, headers: sent, ...(payload === undefined ? {} : { body: payload }) }),
    );
  }

  /** The body of an answer that must have succeeded. */
  async ok<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const response = await this.fetch(method, path, call);
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? (undefined as T) : await response.json<T>();
  }

  /** The problem of an answer that must have been refused. */
  async refused(method: string, path: string, call: Call = {}): Promise<ProblemJson & { status: number }> {
    const response = await this.fetch(method, path, call);
    const text = await response.text();
    if (response.headers.get("content-type") !== "application/problem+json")
      throw new Error(`${method} ${path}: ${response.status} ${text}`);
    const problem = ProblemJson.parse(JSON.parse(text));
    if (problem.status !== response.status) throw new Error(`status ${response.status}, body says ${problem.status}`);
    return problem;
  }
}

/** Each identity is the job of one repository. */
const REPOSITORIES: Record<string, string> = { admin: "1", auditor: "2", orders: "3", billing: "4", stranger: "5" };

const identityFile = (name: string, rest: string): string => `name: ${name}
owner: ${name}@example.com
purpose: tests
match:
  - provider: github
    issuer: ISSUER
    claims: { repository_id: "${REPOSITORIES[name]}", repository_owner_id: "4242", environment: production, ref: refs/heads/main }
${rest}`;

const ADMIN = "gateway: [gateway:admin]";

export function bundleFiles(issuer: TestIssuer, { admin = ADMIN, ...more }: Record<string, string> = {}): Record<string, string> {
  const files: Record<string, string> = {
    "gateway.yaml": `audience: ${AUDIENCE}\nissuers:\n  - { provider: github, issuer: ISSUER }\n`,
    "identities/admin.yaml": identityFile("admin", admin),
    "identities/auditor.yaml": identityFile("auditor", "gateway: [gateway:read]"),
    "identities/orders.yaml": identityFile("orders", "grants:\n  - { target: orders-db, actions: [pg:read], tables: [public.orders] }"),
    "identities/billing.yaml": identityFile("billing", "grants:\n  - { target: billing-db, actions: [pg:read], tables: [public.bills] }"),
    ...more,
  };
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [path, text.replaceAll("ISSUER", issuer.iss)]));
}

/** A gateway with the bundle of `bundleFiles` active. */
export async function startGateway(): Promise<Gateway> {
  const gateway = new Gateway(await startIssuer());
  await gateway.ok("POST", "/v1/bundles", { as: `Bootstrap ${BOOTSTRAP}`, json: { files: bundleFiles(gateway.issuer) } });
  return gateway;
}

export interface TestAgent {
  readonly id: string;
  readonly site: string;
  readonly privateKey: CryptoKey;
  readonly x: string;
  /** An Authorization header for one request. */
  authorization(): Promise<string>;
}

export async function newKey(): Promise<{ privateKey: CryptoKey; x: string }> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  return { privateKey, x: (await exportJWK(publicKey)).x ?? "" };
}

export const enrolBody = (token: string, x: string, name = "agent-1"): object => ({
  token,
  name,
  public_key: { kty: "OKP", crv: "Ed25519", x },
});

export async function enrol(gateway: Gateway, site: string, targets?: string[]): Promise<TestAgent> {
  const { token } = await gateway.ok<{ token: string }>("POST", "/v1/agents/enrolment-tokens", { as: "admin", json: { site, targets } });
  const { privateKey, x } = await newKey();
  const { agent } = await gateway.ok<{ agent: string }>("POST", "/v1/agents/enrol", { json: enrolBody(token, x) });
  const authorization = async (): Promise<string> => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: agent, sub: agent, aud: ORIGIN, iat: now, exp: now + 60, jti: crypto.randomUUID() };
    return `Bearer ${await new SignJWT(claims).setProtectedHeader({ alg: "EdDSA" }).sign(privateKey)}`;
  };
  return { id: agent, site, privateKey, x, authorization };
}

export const newSessionId = (): SessionId => mintSessionId((bytes) => crypto.getRandomValues(bytes));

/** A session as the connect route would have inserted it. */
export async function addSession(more: Partial<NewSession> = {}): Promise<SessionId> {
  const id = newSessionId();
  await insertSession(env.DB, {
    id,
    identity: "orders",
    target: "orders-db",
    protocol: "postgres",
    site: "north",
    started_at: 1000,
    deadline: 9_000_000_000_000,
    bundle: 1,
    workload: { provider: "github", issuer: "https://issuer.test", subject: "repo:shop" },
    ...more,
  });
  return id;
}
