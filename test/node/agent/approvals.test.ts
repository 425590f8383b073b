/** Approvals between the agent and the gateway: what is said, and said again, and that each outcome is told once. */
import { createHash } from "node:crypto";
import { pino } from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import type { AgentToEdge } from "../../../protocol/agent-control.ts";
import { approvalDigestText, ApprovalRequest, type ApprovalOutcome } from "../../../protocol/approval.ts";
import { parseSessionId } from "../../../protocol/ids.ts";
import { MAX_AGENT_CONTROL, MAX_PENDING_APPROVALS } from "../../../protocol/limits.ts";
import type { ApprovalNotice } from "../../../protocol/stream/control.ts";
import { Approvals } from "../../../tunnel-agent/approvals.ts";
import type { ApprovalNews, SessionApprovals } from "../../../tunnel-agent/session.ts";

const SESSION = "ses_00000000000000000000000001";
const id = parseSessionId(SESSION);
if (!id.ok) throw new Error(id.error);
const session = id.value;

let up: boolean;
let sent: AgentToEdge[];
let roundTrips: (() => void)[];
let present: boolean;
let told: ApprovalNotice[];
let approvals: Approvals;

beforeEach(() => {
  up = true;
  sent = [];
  roundTrips = [];
  present = true;
  told = [];
  approvals = new Approvals({
    gateway: "https://gate.example.com",
    line: {
      send: (message) => {
        if (up) sent.push(message);
        return up;
      },
      afterRoundTrip: (done) => void roundTrips.push(done),
    },
    random: (bytes) => crypto.getRandomValues(bytes),
    gatewayNow: () => 1_000_000,
    now: () => 400_000,
    bundle: () => 7,
    log: pino({ level: "silent" }),
  });
});

const sessionOf = (mode: "wait" | "fail" = "wait"): SessionApprovals =>
  approvals.session({ id: session, mode, present: () => present, tell: (notice) => told.push(notice), run: (work) => work() });

const asked = (text = "DROP TABLE t") => ({
  command: 1,
  subject: { kind: "command" as const, target: "orders-db", protocol: "postgres", statements: [{ text }], environment: {}, objects: [] },
  effects: [{ action: "pg:drop", resource: "orders-db/public.t" }],
  needs: [{ group: "dba", min: 1 }],
  policies: ["p"],
  reason: "because",
  ttl: 60_000,
  in_transaction: false,
});

function ask(mode: "wait" | "fail" = "wait", text?: string) {
  const news: ApprovalNews[] = [];
  const facade = sessionOf(mode);
  const { approval, url } = facade.mint();
  const pending = facade.request(approval, asked(text), (one) => news.push(one));
  return { approval, url, pending, news };
}

const outcome = (state: ApprovalOutcome["state"]): ApprovalOutcome => ({ state, at: 1, groups: ["dba"], by: ["anna"] });
const requests = (): string[] => sent.flatMap((message) => (message.type === "approval_request" ? [message.request.approval] : []));
const withdrawals = (): string[] => sent.flatMap((message) => (message.type === "approval_withdraw" ? [message.approval] : []));
const settle = (approval: string, state: ApprovalOutcome["state"]): void =>
  approvals.receive({ type: "approval_settled", approval, outcome: outcome(state) });

/** The control socket is lost, and comes back. */
function reconnect(): void {
  up = true;
  approvals.welcomed();
}

test("a request fits the contract: its digest is of what it shows, and its link leads to the gateway", () => {
  const { approval, url } = ask();
  const request = sent[0]?.type === "approval_request" ? ApprovalRequest.parse(sent[0].request) : undefined;
  expect(request).toMatchObject({ approval, session: SESSION, mode: "wait", bundle: 7, command: 1 });
  expect(request?.digest).toBe(createHash("sha256").update(approvalDigestText(asked().subject)).digest("hex"));
  expect(url).toBe(`https://gate.example.com/approvals/${approval}`);
});

test("times of the gateway's clock are told by this machine's", () => {
  const { approval, news } = ask();
  approvals.receive({ type: "approval_opened", approval, expires_at: 1_060_000, url: "u" });
  expect(news).toEqual([{ type: "opened", expiresAt: 460_000, url: "u" }]);
});

describe("a lost control socket loses nothing", () => {
  test("a request made without one is sent with the next, and again until its outcome is here", () => {
    up = false;
    const { approval, news } = ask();
    expect(sent).toEqual([]);
    reconnect();
    approvals.receive({ type: "approval_opened", approval, expires_at: 2e6, url: "u" });
    reconnect();
    expect(requests()).toEqual([approval, approval]);
    settle(approval, "denied");
    reconnect();
    expect(requests()).toHaveLength(2);
    expect(news.map(({ type }) => type)).toEqual(["opened", "settled"]);
  });

  test("an outcome that the gateway says twice is told once", () => {
    const { approval, news } = ask();
    settle(approval, "approved");
    settle(approval, "approved");
    settle(approval, "denied");
    expect(news).toEqual([{ type: "settled", outcome: outcome("approved") }]);
  });

  test("a withdrawal is repeated until a round trip shows that it arrived, and said once", () => {
    const { approval, pending, news } = ask();
    up = false;
    pending.withdraw("the client left");
    pending.withdraw("again");
    reconnect();
    expect(withdrawals()).toEqual([approval]);
    // That socket was lost as well: no round trip.
    reconnect();
    expect(withdrawals()).toEqual([approval, approval]);
    for (const done of roundTrips) done();
    reconnect();
    expect(withdrawals()).toHaveLength(2);
    settle(approval, "approved");
    expect(news).toEqual([]);
    expect(requests()).toEqual([approval]);
  });
});

test("the session's end withdraws what waits in it; another session's stays", () => {
  const { approval } = ask();
  const later = ask("fail");
  approvals.ended(session);
  expect(withdrawals()).toEqual([approval]);
  expect(requests()).toContain(later.approval);
  expect(approvals.size).toBe(1);
});

describe("GW-28 consent waits for the connector", () => {
  test("while it is away, an approval is kept; when it is back it is told, once", () => {
    const { approval, news } = ask();
    present = false;
    settle(approval, "approved");
    expect(news).toEqual([]);
    reconnect();
    expect(requests()).toEqual([approval]);
    present = true;
    approvals.present(session);
    approvals.present(session);
    expect(news).toEqual([{ type: "settled", outcome: outcome("approved") }]);
  });

  test("where it does not come back, nobody is told, and the request is withdrawn", () => {
    const { approval, news } = ask();
    present = false;
    settle(approval, "approved");
    approvals.ended(session);
    approvals.present(session);
    expect(news).toEqual([]);
    expect(withdrawals()).toEqual([approval]);
  });

  test("a denial needs nobody", () => {
    const { approval, news } = ask();
    present = false;
    settle(approval, "denied");
    expect(news).toHaveLength(1);
  });
});

describe("mode fail", () => {
  test("asks for later, and does not wait for the outcome", () => {
    const { approval, news } = ask("fail");
    expect(sent[0]).toMatchObject({ request: { mode: "later" } });
    approvals.receive({ type: "approval_opened", approval, expires_at: 2e6, url: "u" });
    settle(approval, "approved");
    expect(news.map(({ type }) => type)).toEqual(["opened"]);
    expect(approvals.size).toBe(0);
  });

  test("hears of consent that was given before", () => {
    const { approval, news } = ask("fail");
    settle(approval, "approved");
    expect(news).toMatchObject([{ type: "settled" }]);
  });
});

describe("bounds", () => {
  test("what does not fit one message cannot be approved: nothing is cut for the approver", async () => {
    const { news } = ask("wait", "x".repeat(MAX_AGENT_CONTROL));
    expect(news).toEqual([]);
    await Promise.resolve();
    expect(news).toMatchObject([{ type: "refused", code: "too_large" }]);
    expect([sent, approvals.size]).toEqual([[], 0]);
  });

  test("what the contract cannot hold is refused here, not sent for the gateway to take amiss", async () => {
    const news: ApprovalNews[] = [];
    const facade = sessionOf();
    facade.request(facade.mint().approval, { ...asked(), needs: [] }, (one) => news.push(one));
    await Promise.resolve();
    expect(news).toMatchObject([{ type: "refused", code: "too_large" }]);
    expect([sent, approvals.size]).toEqual([[], 0]);
  });

  test("more than so many at once are refused", async () => {
    for (let n = 0; n < MAX_PENDING_APPROVALS; n += 1) ask();
    const { news } = ask();
    await Promise.resolve();
    expect(news).toMatchObject([{ type: "refused", code: "too_many" }]);
    expect(approvals.size).toBe(MAX_PENDING_APPROVALS);
  });
});

test("what the connector is told is short", () => {
  const facade = sessionOf();
  facade.tell(facade.mint().approval, "waiting", "x".repeat(5000));
  expect(told[0]?.message).toHaveLength(1024);
});
