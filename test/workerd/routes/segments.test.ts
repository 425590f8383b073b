/** Recording upload: idempotent, chained, the session's own agent only, healed after a crash between R2 and D1. */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import type { CommandRow, SegmentAnswer, SessionKeys, SessionRow } from "../../../protocol/api.ts";
import { MAX_SEGMENT_BYTES } from "../../../protocol/limits.ts";
import { addSession, enrol, newKey, newSessionId, startGateway, type Gateway, type TestAgent } from "./gateway.ts";
import { RecordingWriter } from "./recording.ts";

let gateway: Gateway;
let agent: TestAgent;
beforeAll(async () => {
  gateway = await startGateway();
  agent = await enrol(gateway, "north");
});

const type = { "content-type": "application/x-ndjson" };
const path = (session: string, n: number | string): string => `/v1/agent/sessions/${session}/segments/${n}`;

async function put(session: string, n: number, body: string, by = agent): Promise<SegmentAnswer> {
  return gateway.ok("PUT", path(session, n), { as: await by.authorization(), body, headers: type });
}
async function refused(session: string, n: number | string, body: string, by = agent, headers: Record<string, string> = type) {
  return gateway.refused("PUT", path(session, n), { as: await by.authorization(), body, headers });
}
const read = (session: string): Promise<SessionRow> => gateway.ok("GET", `/v1/sessions/${session}`, { as: "orders" });
const commandsOf = async (session: string): Promise<CommandRow[]> =>
  (await gateway.ok<{ rows: CommandRow[] }>("GET", `/v1/sessions/${session}/commands`, { as: "orders" })).rows;
const stored = async (session: string): Promise<string[]> =>
  (await env.RECORDINGS.list({ prefix: `recordings/${session}/` })).objects.map((object) => object.key);

async function started(): Promise<{ session: string; log: RecordingWriter; first: string }> {
  const session = await addSession();
  const log = new RecordingWriter({ session, agent: agent.id, key: agent.privateKey });
  const first = (await log.start()) + (await log.command("select * from orders")) + (await log.outcome(0));
  return { session, log, first };
}

describe("a recording", () => {
  it("is stored, indexed, and read back byte for byte", async () => {
    const { session, log, first } = await started();
    const denied = { decision: "deny", reason: "denied: no permit", effects: [{ action: "pg:drop", resource: "orders-db/public.orders" }] };
    const second = (await log.command("drop table orders", denied)) + (await log.outcome(1, { status: "refused", code: "42501" }));
    const third = (await log.signed("checkpoint")) + (await log.end()) + (await log.signed("seal"));
    expect(await put(session, 0, first)).toEqual({ stored: true, events: 3 });
    expect(await put(session, 1, second)).toEqual({ stored: true, events: 2 });
    expect(await read(session)).toMatchObject({ state: "opening", commands: 2, denied: 1, sealed: false });
    expect(await put(session, 2, third)).toEqual({ stored: true, events: 3 });

    expect(await read(session)).toMatchObject({ state: "ended", end_code: "session_closed", commands: 2, denied: 1, sealed: true });
    expect(await commandsOf(session)).toMatchObject([
      { command: 1, text: "drop table orders", decision: "deny", status: "refused", code: "42501", identity: "orders" },
      { command: 0, text: "select * from orders", decision: "allow", status: "ok", rows: 2, ms: 1.5, policies: ["p1"] },
    ]);
    const recording = await gateway.fetch("GET", `/v1/sessions/${session}/recording`, { as: "orders" });
    expect(recording.headers.get("content-type")).toBe("application/x-ndjson");
    expect(new TextDecoder().decode(await recording.arrayBuffer())).toBe(first + second + third);
    const { keys } = await gateway.ok<SessionKeys>("GET", `/v1/sessions/${session}/keys`, { as: "orders" });
    expect(keys).toMatchObject([{ agent: agent.id, public_key: agent.x, revoked_at: null }]);
    expect(await stored(session)).toEqual(["00000000", "00000001", "00000002"].map((n) => `recordings/${session}/${n}.ndjson`));
    // Nothing follows the seal.
    expect(await refused(session, 3, await log.command("select 1"))).toMatchObject({ status: 409, code: "conflict" });
  });

  it("sent again changes nothing; other bytes under its number are a conflict", async () => {
    const { session, first } = await started();
    expect(await put(session, 0, first)).toMatchObject({ stored: true });
    expect(await put(session, 0, first)).toEqual({ stored: false, events: 3 });
    const other = new RecordingWriter({ session, agent: agent.id, key: agent.privateKey });
    expect(await refused(session, 0, await other.start())).toMatchObject({ status: 409, code: "conflict" });
    expect(await (await env.RECORDINGS.get(`recordings/${session}/00000000.ndjson`))?.text()).toBe(first);
    expect(await commandsOf(session)).toHaveLength(1);
    expect(await read(session)).toMatchObject({ commands: 1 });
  });

  it("written to R2 but not indexed is healed by the agent's next try", async () => {
    const { session, first } = await started();
    await env.RECORDINGS.put(`recordings/${session}/00000000.ndjson`, first, {
      sha256: await crypto.subtle.digest("SHA-256", new TextEncoder().encode(first)),
    });
    expect(await put(session, 0, first)).toEqual({ stored: false, events: 3 });
    expect(await commandsOf(session)).toHaveLength(1);
  });

  it("may arrive out of order, and must fit its neighbours all the same", async () => {
    const { session, log, first } = await started();
    const second = (await log.command("select 2")) + (await log.outcome(1));
    await put(session, 1, second);
    expect(await commandsOf(session)).toHaveLength(1);
    const fork = new RecordingWriter({ session, agent: agent.id, key: agent.privateKey });
    const forked = (await fork.start()) + (await fork.command("select 'else'")) + (await fork.outcome(0));
    expect(await refused(session, 0, forked)).toMatchObject({ code: "conflict", detail: "Segment 0: segment 1 does not continue it." });
    expect(await stored(session)).toHaveLength(1);
    await put(session, 0, first);
    expect(await refused(session, 2, await fork.command("select 3"))).toMatchObject({
      detail: "Segment 2: it does not continue segment 1.",
    });
    expect(await read(session)).toMatchObject({ commands: 2 });
  });

  it("an outcome that arrives before its command is joined with it", async () => {
    const session = await addSession();
    const log = new RecordingWriter({ session, agent: agent.id, key: agent.privateKey });
    const first = (await log.start()) + (await log.command("select 1"));
    await put(session, 1, await log.outcome(0));
    expect(await commandsOf(session)).toEqual([]);
    await put(session, 0, first);
    expect(await commandsOf(session)).toMatchObject([{ command: 0, status: "ok", tag: "SELECT 2" }]);
  });
});

describe("refused, and not stored (GW-21)", () => {
  const cases: [string, (log: RecordingWriter, first: string) => Promise<string> | string, RegExp][] = [
    ["an altered event", (_, first) => first.replace("from orders", "from people"), /line 2: its hash does not fit/],
    ["a removed event", (_, first) => first.split("\n").toSpliced(1, 1).join("\n"), /line 2: its seq does not follow/],
    ["a cut line", (_, first) => first.slice(0, -5), /does not end with a whole line/],
    ["no line", () => "\n", /line 1: not JSON/],
    [
      "an event that the schema does not know",
      async (log, first) => first + (await log.line({ type: "gap", note: "x" }, { type: "nonsense" })),
      /line 4: not an event/,
    ],
    [
      "an event of another session",
      async (log, first) => first + (await log.outcome(0, { session: newSessionId() })),
      /line 4: of another session/,
    ],
    ["a broken chain", async (log, first) => first + (await log.outcome(0, { prev: "0".repeat(64) })), /line 4: its prev/],
    [
      "another identity than the session's",
      (log) => log.start({ identity: "admin", seq: 0, prev: "0".repeat(64) }),
      /identity or target is not/,
    ],
    ["a duplicate hash key", (_, first) => first.replace(',"hash":"', `,"hash":"${"a".repeat(64)}","hash":"`), /line 1: /],
    ["a seal without the end", async (log, first) => first + (await log.signed("seal")), /line 4: the seal follows/],
    [
      "a seal by another key",
      async (log, first) => first + (await log.end()) + (await log.signed("seal", { key: (await newKey()).privateKey })),
      /line 5: its signature/,
    ],
    [
      "a seal of another agent",
      async (log, first) => first + (await log.end()) + (await log.signed("seal", { agent: "agt_other" })),
      /line 5: signed by another agent/,
    ],
    ["bytes that are not UTF-8", (_, first) => first.replace("orders", "\ud800"), /not UTF-8/],
  ];
  it.each(cases)("%s", async (_, spoil, detail) => {
    const { session, log, first } = await started();
    expect(await refused(session, 0, await spoil(log, first))).toMatchObject({
      status: 400,
      code: "bad_request",
      detail: expect.stringMatching(detail),
    });
    expect(await stored(session)).toEqual([]);
    // The control: unspoilt it is taken.
    expect(await put(session, 0, first)).toMatchObject({ stored: true });
  });

  it("a session of another agent, or none (GW-24): the same answer", async () => {
    const { session, first } = await started();
    await put(session, 0, first);
    const other = await enrol(gateway, "north");
    const answers = [await refused(session, 1, first, other), await refused(newSessionId(), 0, first), await refused("ses_x", 0, first)];
    for (const answer of answers) expect(answer).toMatchObject({ status: 404, code: "not_found", title: answers[0]?.title });
    // Another site's agent does not get a session that nobody has taken yet.
    const elsewhere = await enrol(gateway, "south");
    expect(await refused(await addSession(), 0, first, elsewhere)).toMatchObject({ status: 404 });
  });

  it("wrong type, wrong number, too much, no agent's token, an identity's token", async () => {
    const { session, first } = await started();
    expect(await refused(session, 0, first, agent, { "content-type": "application/json" })).toMatchObject({ code: "bad_request" });
    expect(await refused(session, -1, first)).toMatchObject({ code: "bad_request" });
    expect(await refused(session, "1e3", first)).toMatchObject({ code: "bad_request" });
    expect(await refused(session, 0, "x".repeat(MAX_SEGMENT_BYTES + 1))).toMatchObject({ status: 413, code: "too_large" });
    expect(await gateway.refused("PUT", path(session, 0), { body: first, headers: type })).toMatchObject({ code: "token_missing" });
    expect(await gateway.refused("PUT", path(session, 0), { as: "admin", body: first, headers: type })).toMatchObject({ status: 401 });
    expect(await stored(session)).toEqual([]);
  });
});
