/**
 * The world of the objects' tests: the real Worker and its real objects, with a bundle in D1 and an issuer whose keys
 * D1 already holds, so that no request leaves. Runner and agent are played with plain WebSockets through the real
 * routes, tokens and all. Each test has its own site and target.
 */
import { env, exports } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { bundleDigestText, type EdgeToAgent } from "../../../protocol/agent-control.ts";
import { DIAL_HEADER, ProblemJson, RESUME_HEADER, SESSION_HEADER } from "../../../protocol/api.ts";
import { mintAgentId, mintSecret } from "../../../protocol/ids.ts";
import { publishBundle } from "../../../store/bundles.ts";
import { enrolAgent, insertEnrolmentToken } from "../../../store/enrolment.ts";
import { writeIssuerKeys } from "../../../store/issuer-keys.ts";
import { Peer } from "./peer.ts";

export const ORIGIN = "https://gate.test";
const ISSUER = "https://issuer.test";
const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);

let issuerKey: CryptoKey | undefined;

/** `ci` may connect to every target, to those that begin with `held-` with an approval only; `stranger` may nothing. */
export const FILES = {
  "gateway.yaml": `audience: ${ORIGIN}\nissuers:\n  - provider: oidc\n    issuer: ${ISSUER}\nsession_max: 1h\nsessions_per_identity: 500\n`,
  "identities/ci.yaml": identityFile("ci"),
  "identities/stranger.yaml": identityFile("stranger"),
  "identities/ops.yaml": `${identityFile("ops")}gateway: [policy:publish]\n`,
  "policies/connect.cedar": `@id("ci-connects")\npermit (principal == Identity::"ci", action == Action::"connect", resource);\n`,
};

function identityFile(name: string): string {
  return `name: ${name}\nkind: non-human\nowner: team@example.com\npurpose: tests\nmatch:\n  - issuer: ${ISSUER}\n    claims: { job: "${name}" }\n`;
}

async function sha256(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Once per file: issuer and bundle. */
export async function prepareWorld(): Promise<void> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  issuerKey = privateKey;
  const jwk = { ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256", use: "sig" };
  await writeIssuerKeys(env.DB, ISSUER, "", { jwks: JSON.stringify({ keys: [jwk] }), fetched_at: Date.now() });
  await publish(FILES, null);
}

/** Publishes and returns the version. */
export async function publish(files: Record<string, string>, replaces: number | null, by = "test"): Promise<number> {
  const digest = await sha256(bundleDigestText(files));
  const published = { digest, files, published_at: Date.now(), published_by: by, note: null, replaces, rollback: false };
  const row = await publishBundle(env.DB, published);
  if (!row.ok) throw new Error(row.error);
  return row.value.version;
}

export async function jobToken(job: string): Promise<string> {
  if (issuerKey === undefined) throw new Error("prepareWorld() first");
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ iss: ISSUER, sub: `job:${job}`, aud: ORIGIN, iat: now, exp: now + 300, jti: crypto.randomUUID(), job })
    .setProtectedHeader({ alg: "ES256", kid: "k1" })
    .sign(issuerKey);
}

/** What an upgrade came to. */
export type Dialled =
  | { readonly ok: true; readonly peer: Peer; readonly headers: Headers }
  | { readonly ok: false; readonly status: number; readonly problem: ProblemJson };

async function dial(path: string, headers: Record<string, string>): Promise<Dialled> {
  const response = await exports.default.fetch(new Request(`${ORIGIN}${path}`, { headers: { upgrade: "websocket", ...headers } }));
  if (response.webSocket === null) {
    return { ok: false, status: response.status, problem: ProblemJson.parse(await response.json()) };
  }
  return { ok: true, peer: new Peer(response.webSocket), headers: response.headers };
}

export function must(dialled: Dialled): Peer {
  if (dialled.ok) return dialled.peer;
  throw new Error(`refused: ${dialled.status} ${JSON.stringify(dialled.problem)}`);
}

/** A connector, as far as the edge sees one. */
export class Runner {
  session = "";
  secret = "";
  socket: Peer | undefined;

  async connect(target: string, job = "ci", extra: Record<string, string> = {}): Promise<Dialled> {
    const dialled = await dial(`/v1/targets/${target}/connect`, { authorization: `Bearer ${await jobToken(job)}`, ...extra });
    if (dialled.ok) {
      this.session = dialled.headers.get(SESSION_HEADER) ?? "";
      this.secret = dialled.headers.get(RESUME_HEADER) ?? "";
      this.socket = dialled.peer;
    }
    return dialled;
  }

  async resume(secret = this.secret, session = this.session): Promise<Dialled> {
    const dialled = await dial(`/v1/sessions/${session}/resume`, { authorization: `Resume ${secret}` });
    if (dialled.ok) this.socket = dialled.peer;
    return dialled;
  }
}

type Dispatched = Extract<EdgeToAgent, { type: "dispatch" }>;

/** An agent, as far as the edge sees one: an enrolled key, a control socket, a socket for each session. */
export class Agent {
  readonly id: string;
  readonly name: string;
  readonly site: string;
  readonly #key: CryptoKey;
  control: Peer | undefined;

  private constructor(id: string, name: string, site: string, key: CryptoKey) {
    this.id = id;
    this.name = name;
    this.site = site;
    this.#key = key;
  }

  static async enrol(site: string, targets: readonly string[] | null = null): Promise<Agent> {
    const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
    const hash = await sha256(mintSecret(random));
    const now = Date.now();
    await insertEnrolmentToken(env.DB, { hash, site, targets, created_at: now, created_by: "test", expires_at: now + 60_000 });
    const id = mintAgentId(random);
    const name = `agent-${id.slice(-6)}`;
    const enrolled = await enrolAgent(env.DB, { hash, agent: id, name, public_key: (await exportJWK(publicKey)).x ?? "", now });
    if (!enrolled.ok) throw new Error(enrolled.error);
    return new Agent(id, name, site, privateKey);
  }

  async #headers(): Promise<Record<string, string>> {
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ iss: this.id, sub: this.id, aud: ORIGIN, iat: now, exp: now + 60, jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: "EdDSA" })
      .sign(this.#key);
    return { authorization: `Bearer ${token}` };
  }

  /** The control socket without a hello. */
  async dialControl(extra: Record<string, string> = {}): Promise<Peer> {
    this.control = must(await dial("/v1/agent/control", { ...(await this.#headers()), ...extra }));
    return this.control;
  }

  /** Connects, says hello, and waits until the edge has claimed the targets. */
  async connect(targets: readonly string[], sessions: readonly string[] = []): Promise<Peer> {
    const control = await this.dialControl();
    this.hello(targets, sessions);
    await control.message("bundle");
    return control;
  }

  hello(targets: readonly string[], sessions: readonly string[] = []): void {
    const announced = targets.map((name) => ({ name, protocol: "postgres", labels: [] }));
    this.say({ type: "hello", version: "1.0.0", targets: announced, bundle: 1, sessions });
  }

  say(message: unknown): void {
    this.control?.send(JSON.stringify(message));
  }

  /** The next dispatch on the control socket. */
  async dispatch(): Promise<Dispatched> {
    return (await this.control?.message("dispatch")) as Dispatched;
  }

  async dialBack(session: string, secret: string, extra: Record<string, string> = {}): Promise<Dialled> {
    return dial(`/v1/sessions/${session}/agent`, { ...(await this.#headers()), [DIAL_HEADER]: secret, ...extra });
  }
}

export interface Session {
  readonly runner: Runner;
  readonly agent: Agent;
  readonly target: string;
  /** The runner's and the agent's socket. */
  r: Peer;
  a: Peer;
  /** The dial secret that the agent has. */
  secret: string;
}

/** An agent that is connected and serves one target of its own. */
export async function site(): Promise<{ agent: Agent; target: string }> {
  const stem = crypto.randomUUID().slice(0, 8);
  const agent = await Agent.enrol(`site-${stem}`);
  const target = `db-${stem}`;
  await agent.connect([target]);
  return { agent, target };
}

/** Rejects when the dial was refused; never resolves otherwise. */
async function refused(dialling: Promise<Dialled>): Promise<never> {
  must(await dialling);
  return new Promise(() => undefined);
}

/** A session that is up. */
export async function joined(at?: { agent: Agent; target: string }): Promise<Session> {
  const { agent, target } = at ?? (await site());
  const runner = new Runner();
  const connecting = runner.connect(target);
  const dispatch = await Promise.race([agent.dispatch(), refused(connecting)]);
  const a = must(await agent.dialBack(dispatch.session, dispatch.dial_secret));
  const r = must(await connecting);
  return { runner, agent, target, r, a, secret: dispatch.dial_secret };
}

/** Sends a message each way, text and binary, and checks that each arrives. */
export async function talks(session: Pick<Session, "r" | "a">): Promise<void> {
  const { r, a } = session;
  const text = crypto.randomUUID();
  const bytes = new Uint8Array(crypto.getRandomValues(new Uint8Array(2048)));
  for (const [from, to] of [
    [r, a],
    [a, r],
  ] as const) {
    from.send(text);
    from.send(bytes);
    const first = await to.next();
    const second = await to.next();
    if (first !== text) throw new Error(`expected ${text}, got ${String(first)}`);
    if (!(second instanceof Uint8Array) || second.length !== bytes.length || second.some((byte, at) => byte !== bytes[at])) {
      throw new Error("the bytes did not arrive as they were sent");
    }
  }
}
