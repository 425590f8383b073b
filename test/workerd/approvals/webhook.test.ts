/** The webhook's door, both ways: the specification's vector, what is sent and how often, votes that are refused. */
import { runDurableObjectAlarm } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { Approval } from "../../../protocol/approval.ts";
import { asking, auditOf, eventually, hooks, objectOf, ORIGIN, prepareApprovals, problem, read, vote, type Asking } from "./world.ts";

const HOOK = "webhook";
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

beforeAll(() => prepareApprovals(HOOK));
afterEach(() => vi.restoreAllMocks());

test("the signature is the specification's", () => {
  const at = new Date(1_614_265_330_000);
  const signature = new Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}');
  expect(signature).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

const NEEDS_SECURITY = { more: { needs: [{ group: "security", min: 1 }] } };

async function pending(ask: Parameters<Asking["ask"]>[0] = NEEDS_SECURITY) {
  const asks = await asking();
  const { request: made } = await asks.ask(ask);
  return { asks, made };
}

describe("out", () => {
  test("approval.requested with the whole, approval.settled with the outcome, each signed", async () => {
    const { asks, made } = await pending();
    const [requested] = await eventually(async () => {
      const got = await hooks(HOOK, made.approval);
      return got.length > 0 && got;
    }, "a webhook");
    expect(new Webhook(SECRET).verify(requested?.body ?? "", requested?.headers ?? {})).toMatchObject({ type: "approval.requested" });
    const event = JSON.parse(requested?.body ?? "") as { data: unknown };
    expect(Approval.parse(event.data)).toMatchObject({ ...made, identity: "ci", state: "pending" });
    expect(event.data).toMatchObject({ url: `${ORIGIN}/approvals/${made.approval}` });
    await vote("otis", made);
    await asks.heard(made.approval, "approval_settled");
    const settled = await eventually(async () => (await hooks(HOOK, made.approval))[1], "a second webhook");
    expect(new Webhook(SECRET).verify(settled.body, settled.headers)).toMatchObject({
      type: "approval.settled",
      data: { outcome: { state: "approved", by: ["otis"] } },
    });
    expect(settled.headers["webhook-id"]).not.toBe(requested?.headers["webhook-id"]);
  });

  test("is tried again with the same id until it is taken, and the attempts are shown", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await fetch(`${inject("chatServer")}/hooks/${HOOK}`, { method: "PUT", body: "[500, 503]" });
    const { made } = await pending();
    await eventually(async () => {
      await runDurableObjectAlarm(objectOf(made.approval));
      return (await read(made.approval)).notices[0]?.state === "sent";
    }, "sent");
    const got = await hooks(HOOK, made.approval);
    expect(got).toHaveLength(3);
    expect(new Set(got.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect((await read(made.approval)).notices).toEqual([
      { channel: `webhook ${new URL(inject("chatServer")).host}`, event: "requested", state: "sent", attempts: 3 },
    ]);
  });

  test("410 ends it, and the approval goes on without the channel", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await fetch(`${inject("chatServer")}/hooks/${HOOK}`, { method: "PUT", body: "[410]" });
    const { asks, made } = await pending();
    await eventually(async () => (await read(made.approval)).notices[0]?.state === "failed", "failed");
    expect((await read(made.approval)).notices).toMatchObject([{ error: "http_410", attempts: 1 }]);
    await vote("otis", made);
    expect(await asks.heard(made.approval, "approval_settled")).toMatchObject({ outcome: { state: "approved" } });
  });
});

interface Sent {
  readonly id?: string;
  readonly at?: Date;
  readonly secret?: string;
  readonly headers?: Record<string, string>;
}

async function send(
  vote: unknown,
  { id = `msg_${crypto.randomUUID()}`, at = new Date(), secret = SECRET, headers = {} }: Sent = {},
): Promise<Response> {
  const body = typeof vote === "string" ? vote : JSON.stringify(vote);
  const signed = {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
    ...headers,
  };
  return exports.default.fetch(new Request(`${ORIGIN}/v1/chat/webhook/votes`, { method: "POST", body, headers: signed }));
}

describe("in", () => {
  const ballot = ({ approval, digest }: { approval: string; digest: string }, more: object = {}) => ({
    approval,
    digest,
    vote: "approve",
    user: "otis-pager",
    ...more,
  });

  test("a signed vote counts as the human's whose account it names", async () => {
    const { asks, made } = await pending();
    const response = await send(ballot(made, { vote: "deny", reason: "change freeze" }));
    expect(await response.json()).toEqual({ approval: made.approval, state: "denied", needs: [] });
    expect(await asks.heard(made.approval, "approval_settled")).toMatchObject({
      outcome: { state: "denied", by: ["otis"], reason: "change freeze" },
    });
  });

  test.each<[string, Sent, string]>([
    ["forged", { secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, "No matching signature"],
    ["old", { at: new Date(Date.now() - 301_000) }, "too old"],
    ["from the future", { at: new Date(Date.now() + 400_000) }, "too new"],
    ["unsigned", { headers: { "webhook-signature": "" } }, "Missing"],
    ["of another version", { headers: { "webhook-signature": "v2,AAAA" } }, "No matching signature"],
    ["under another id", { headers: { "webhook-id": "msg_other" } }, "No matching signature"],
  ])("%s: 401, audited, nothing changed", async (_, how, why) => {
    const { made } = await pending();
    const response = await send(ballot(made), how);
    expect(response.status).toBe(401);
    expect(await auditOf(response)).toContain(why);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [] });
  });

  test("replayed: the same id counts once", async () => {
    const { made } = await pending({ more: { needs: [{ group: "security", min: 2 }] } });
    const id = `msg_${crypto.randomUUID()}`;
    expect((await send(ballot(made), { id })).status).toBe(200);
    const again = await send(ballot(made), { id });
    expect(again.status).toBe(401);
    expect(await auditOf(again)).toContain("replayed");
    expect((await read(made.approval)).votes).toHaveLength(1);
  });

  test.each<[string, object, number, string, string]>([
    ["unmapped", { user: "otis" }, 403, "vote_refused", "unmapped"],
    ["of another channel's account", { user: "U0OTIS" }, 403, "vote_refused", "unmapped"],
    ["of no member", { user: "mira-pager" }, 403, "vote_refused", "not_a_member"],
    ["for another command", { digest: "0".repeat(64) }, 403, "vote_refused", "other_command"],
  ])("%s: refused, recorded, audited", async (_, more, status, code, refusal) => {
    const { made } = await pending();
    const response = await send(ballot(made, more));
    expect(response.status).toBe(status);
    expect(await problem(response.clone())).toMatchObject({ code });
    expect(await auditOf(response)).toBe(`vote on ${made.approval}: ${refusal}`);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [{ door: "webhook", refused: refusal }] });
  });

  test("duplicate and late: refused and recorded", async () => {
    const { made } = await pending({ more: { needs: [{ group: "security", min: 2 }] } });
    expect((await send(ballot(made))).status).toBe(200);
    expect(await problem(await send(ballot(made)))).toMatchObject({ code: "vote_refused" });
    expect((await send(ballot(made, { user: "noor-pager" }))).status).toBe(200);
    expect(await problem(await send(ballot(made, { user: "noor-pager" })))).toMatchObject({ code: "approval_over" });
    expect((await read(made.approval)).votes.map(({ refused }) => refused)).toEqual([undefined, "duplicate", undefined, "late"]);
  });

  test.each<[string, unknown, number]>([
    ["no JSON", "{", 400],
    ["another shape", { approval: 1 }, 400],
    ["another vote", { approval: "apr_x", digest: "0".repeat(64), vote: "maybe", user: "otis-pager" }, 400],
    ["no such approval", { approval: `apr_${"z".repeat(26)}`, digest: "0".repeat(64), vote: "approve", user: "otis-pager" }, 404],
    ["no id", { approval: "../x", digest: "0".repeat(64), vote: "approve", user: "otis-pager" }, 404],
  ])("signed, but %s", async (_, body, status) => {
    expect((await send(body)).status).toBe(status);
  });
});
