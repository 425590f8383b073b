/**
 * The world of the approvals' tests: the gateway of objects/world.ts with people, groups and channels in its bundle, agents
 * that ask, and chat as test/support/chat-server.ts plays it. Each test has its own agent, target and session.
 */
import { env, exports } from "cloudflare:workers";
import { inject } from "vitest";
import { approvalDigestText, type Approval, type ApprovalRequest, type ApprovalSubject } from "../../../protocol/approval.ts";
import { ProblemJson } from "../../../protocol/api.ts";
import { mintApprovalId } from "../../../protocol/ids.ts";
import { listRefusals } from "../../../store/refusals.ts";
import { FILES, joined, jobToken, ORIGIN, prepareWorld, publish, site, type Session } from "../objects/world.ts";

export { ORIGIN };

declare module "vitest" {
  interface ProvidedContext {
    /** Provided by test/support/chat-server.ts. */
    readonly chatServer: string;
  }
}

export const TEAM = "T0TESTS1";

const person = (name: string, rest: string): string => `name: ${name}
kind: human
owner: ${name}@example.com
purpose: tests
match:
  - issuer: https://issuer.test
    claims: { job: "${name}" }
${rest}
`;

const chat = (name: string): string => `chat:
  - slack: { team: ${TEAM}, user: U0${name.toUpperCase()} }
  - webhook: { user: ${name}-pager }`;

/** mira and noor are DBAs, otis is security, pia is neither; auditor may read sessions, admin everything. */
export const PEOPLE: Record<string, string> = {
  "identities/mira.yaml": person("mira", `groups: [dba]\n${chat("mira")}`),
  "identities/noor.yaml": person("noor", `groups: [dba, security]\n${chat("noor")}`),
  "identities/otis.yaml": person("otis", `groups: [security]\n${chat("otis")}`),
  "identities/pia.yaml": person("pia", `groups: [others]\n${chat("pia")}`),
  "identities/auditor.yaml": person("auditor", "gateway: [session:read]"),
  "identities/admin.yaml": person("admin", "gateway: [gateway:admin]"),
};

export const bundleFiles = (hook: string, more: Record<string, string> = {}): Record<string, string> => ({
  ...FILES,
  "gateway.yaml": `${FILES["gateway.yaml"]}approvals:
  ttl_max: 1h
  channels:
    - group: dba
      slack: { team: ${TEAM}, channel: C0DBA, secret: SLACK_DBA }
    - group: security
      webhook: { url: "${inject("chatServer")}/hooks/${hook}", secret: DBA_WEBHOOK }
`,
  ...PEOPLE,
  ...more,
});

let version = 0;

/** Publishes people and channels; the webhook's name is the file's own. */
export async function prepareApprovals(hook: string): Promise<void> {
  await prepareWorld();
  version = await publish(bundleFiles(hook), 1);
}

/** Publishes another bundle. */
export async function republish(files: Record<string, string>, by = "test"): Promise<number> {
  version = await publish(files, version, by);
  return version;
}

export const hex = async (text: string): Promise<string> =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");

export interface Ask {
  readonly text?: string;
  readonly subject?: Partial<ApprovalSubject>;
  readonly more?: Partial<ApprovalRequest>;
}

/** A request as an agent makes it. */
export async function request(
  session: string,
  target: string,
  { text = "ALTER TABLE orders ADD note text", subject = {}, more = {} }: Ask = {},
): Promise<ApprovalRequest> {
  const whole: ApprovalSubject = {
    kind: "command",
    target,
    protocol: "postgres",
    statements: [{ text }],
    environment: { database: "shop", role: "low", search_path: "public" },
    objects: [],
    ...subject,
  };
  return {
    approval: mintApprovalId((bytes) => crypto.getRandomValues(bytes)),
    session,
    command: 3,
    mode: "wait",
    subject: whole,
    digest: await hex(approvalDigestText(whole)),
    effects: [{ action: "pg:alter", resource: `${target}/public.orders` }],
    needs: [{ group: "dba", min: 1 }],
    policies: ["ddl-held"],
    reason: "Changes of tables wait for a DBA.",
    bundle: 2,
    ttl: 60_000,
    in_transaction: false,
    ...more,
  };
}

type FromEdge = { readonly type: string; readonly approval: string } & Record<string, unknown>;

/** A session that is up, and its agent's side of approvals. */
export class Asking {
  readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  get id(): string {
    return this.session.runner.session;
  }

  async request(ask: Ask = {}): Promise<ApprovalRequest> {
    return request(this.id, this.session.target, ask);
  }

  /** Sends a request and waits for the edge's first word on it. */
  async ask(ask: Ask = {}): Promise<{ request: ApprovalRequest; answer: FromEdge }> {
    const made = await this.request(ask);
    return { request: made, answer: await this.send(made) };
  }

  async send(made: ApprovalRequest): Promise<FromEdge> {
    this.session.agent.say({ type: "approval_request", request: made });
    return this.heard(made.approval);
  }

  /** The edge's next word on an approval. */
  async heard(approval: string, type?: string): Promise<FromEdge> {
    const control = this.session.agent.control;
    if (control === undefined) throw new Error("no control socket");
    return (await control.message(
      (message) => message["approval"] === approval && (type === undefined || message["type"] === type),
    )) as FromEdge;
  }

  withdraw(approval: string, reason = "the client cancelled"): void {
    this.session.agent.say({ type: "approval_withdraw", session: this.id, approval, reason });
  }
}

export async function asking(at?: Parameters<typeof joined>[0]): Promise<Asking> {
  return new Asking(await joined(at ?? (await site())));
}

export const objectOf = (approval: string) => env.APPROVALS.getByName(approval);

export async function read(approval: string): Promise<Approval> {
  const whole = await objectOf(approval).read();
  if (whole === null) throw new Error(`${approval} is not there`);
  return whole as Approval;
}

/** An API call as a person or job. */
export async function call(as: string | null, method: string, path: string, json?: unknown): Promise<Response> {
  const headers = new Headers(as === null ? {} : { authorization: `Bearer ${await jobToken(as)}` });
  if (json !== undefined) headers.set("content-type", "application/json");
  return exports.default.fetch(
    new Request(`${ORIGIN}${path}`, { method, headers, ...(json === undefined ? {} : { body: JSON.stringify(json) }) }),
  );
}

export const vote = (
  as: string,
  { approval, digest }: Pick<ApprovalRequest, "approval" | "digest">,
  how: "approve" | "deny" = "approve",
  reason?: string,
) => call(as, "POST", `/v1/approvals/${approval}/votes`, { vote: how, digest, ...(reason === undefined ? {} : { reason }) });

export async function problem(response: Response): Promise<ProblemJson> {
  return ProblemJson.parse(await response.json());
}

/** The audit's reason of a refusal. */
export async function auditOf(response: Response): Promise<string> {
  const { ref } = await problem(response);
  const { rows } = await listRefusals(env.DB, { ref }, { limit: 1, cursor: null });
  return rows[0]?.reason ?? "nothing";
}

/** What Slack was told about an approval, oldest first. */
export async function slackCalls(approval: string): Promise<{ method: string; body: Record<string, unknown> }[]> {
  const calls: { method: string; body: Record<string, unknown> }[] = await (await fetch(`${inject("chatServer")}/slack/calls`)).json();
  return calls.filter(({ body }) => JSON.stringify(body).includes(approval));
}

export async function hooks(name: string, approval: string): Promise<{ headers: Record<string, string>; body: string }[]> {
  const all: { headers: Record<string, string>; body: string }[] = await (await fetch(`${inject("chatServer")}/hooks/${name}`)).json();
  return all.filter(({ body }) => body.includes(approval));
}

/** Waits until `look` finds something. */
export async function eventually<T>(look: () => Promise<T | null | undefined | false>, what: string): Promise<T> {
  for (let n = 0; n < 200; n += 1) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    await scheduler.wait(25);
  }
  throw new Error(`it did not come to pass: ${what}`);
}
