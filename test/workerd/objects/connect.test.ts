/** The runner's and the agent's routes: who gets as far as an object, what they are told, and what the audit keeps. */
import { abortAllDurableObjects, runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { listRefusals } from "../../../store/refusals.ts";
import { activeVersion } from "../../../store/bundles.ts";
import { listSessions } from "../../../store/sessions.ts";
import { Agent, FILES, jobToken, joined, must, ORIGIN, prepareWorld, publish, Runner, site, talks } from "./world.ts";

beforeAll(prepareWorld);
afterEach(() => vi.restoreAllMocks());

const page = { limit: 10, cursor: null };
const refusals = async (target: string) => (await listRefusals(env.DB, { target }, page)).rows;
const sessionsOf = async (target: string) => (await listSessions(env.DB, { target }, page)).rows;
const get = (path: string, headers: Record<string, string> = {}) => exports.default.fetch(new Request(`${ORIGIN}${path}`, { headers }));
const quiet = () => vi.spyOn(console, "error").mockImplementation(() => undefined);

/** Publishes other files for the time of `work`. */
async function governedBy(files: Record<string, string>, work: () => Promise<void>): Promise<void> {
  const active = async () => (await activeVersion(env.DB))?.version ?? null;
  await publish(files, await active());
  try {
    await work();
  } finally {
    await publish(FILES, await active());
  }
}

describe("connect", () => {
  test("needs an upgrade, and does not spend the token on a request without one", async () => {
    const { agent, target } = await site();
    const token = await jobToken("ci");
    const plain = await get(`/v1/targets/${target}/connect`, { authorization: `Bearer ${token}` });
    expect(plain.status).toBe(426);
    const connecting = get(`/v1/targets/${target}/connect`, { authorization: `Bearer ${token}`, upgrade: "websocket" });
    const { session, dial_secret } = await agent.dispatch();
    must(await agent.dialBack(session, dial_secret));
    expect((await connecting).status).toBe(101);
  });

  test("GW-01: the same token does not connect twice", async () => {
    const { agent, target } = await site();
    const headers = { authorization: `Bearer ${await jobToken("ci")}`, upgrade: "websocket" };
    const connecting = get(`/v1/targets/${target}/connect`, headers);
    const { session, dial_secret } = await agent.dispatch();
    must(await agent.dialBack(session, dial_secret));
    expect((await connecting).status).toBe(101);
    expect((await get(`/v1/targets/${target}/connect`, headers)).status).toBe(401);
  });

  test("what a held command does is the job's word or the identity's, and reaches the agent; another word is refused", async () => {
    const world = await site();
    const dispatched = async (headers: Record<string, string>) => {
      const connecting = new Runner().connect(world.target, "ci", headers);
      const { session, dial_secret, hold } = await world.agent.dispatch();
      must(await world.agent.dialBack(session, dial_secret));
      must(await connecting);
      return hold;
    };
    expect(await dispatched({})).toBe("wait");
    expect(await dispatched({ "sallyport-hold": "fail" })).toBe("fail");
    expect(await new Runner().connect(world.target, "ci", { "sallyport-hold": "never" })).toMatchObject({
      status: 400,
      problem: { code: "bad_request", detail: expect.stringContaining("wait or fail") },
    });
  });

  test("no token: 401, audited", async () => {
    expect((await get("/v1/targets/some-db/connect", { upgrade: "websocket" })).status).toBe(401);
  });

  test("who may not connect learns nothing about which targets exist", async () => {
    const { target } = await site();
    const answers = [await new Runner().connect(target, "stranger"), await new Runner().connect("no-such-db", "stranger")];
    for (const answer of answers) expect(answer).toMatchObject({ status: 403, problem: { code: "denied" } });
    expect(await refusals(target)).toMatchObject([{ code: "denied", identity: "stranger", reason: expect.stringContaining("connect") }]);
    expect(await sessionsOf(target)).toEqual([]);
  });

  test("who may is told of a target that no agent announced", async () => {
    expect(await new Runner().connect("no-such-db", "ci")).toMatchObject({ status: 404, problem: { code: "target_unknown" } });
    expect(await new Runner().connect("No_Name!", "ci")).toMatchObject({ status: 400, problem: { code: "bad_request" } });
  });

  test("a hold is approval_required, with the policy that asks for it", async () => {
    const { target } = await site();
    const cedar = `@id("held")\n@approval("dba")\npermit (principal == Identity::"ci", action == Action::"connect", resource) when { context.approvals.contains("dba") };\n`;
    const dba = `${FILES["identities/ops.yaml"].replace("name: ops", "name: dba").replace('"ops"', '"dba"').replace("non-human", "human")}groups: [dba]\n`;
    await governedBy({ ...FILES, "identities/dba.yaml": dba, "policies/connect.cedar": cedar }, async () => {
      expect(await new Runner().connect(target)).toMatchObject({ status: 403, problem: { code: "approval_required", policies: ["held"] } });
    });
  });

  test("GW-26: an identity's quota of live sessions is exact, and an ended one makes room", async () => {
    const { agent, target } = await site();
    const quota = FILES["gateway.yaml"].replace(/sessions_per_identity: \d+/, "sessions_per_identity: 1");
    const identity = FILES["identities/ci.yaml"].replace("name: ci", "name: solo").replace('"ci"', '"solo"');
    const policy = FILES["policies/connect.cedar"].replace('"ci-connects"', '"solo-connects"').replace('"ci"', '"solo"');
    const files = { ...FILES, "gateway.yaml": quota, "identities/solo.yaml": identity, "policies/solo.cedar": policy };
    await governedBy(files, async () => {
      const connecting = new Runner().connect(target, "solo");
      const { session, dial_secret } = await agent.dispatch();
      must(await agent.dialBack(session, dial_secret));
      must(await connecting);
      expect(await new Runner().connect(target, "solo")).toMatchObject({ status: 429, problem: { code: "too_many" } });
      await env.SESSIONS.getByName(session).kill("session_closed", "done");
      await expect.poll(async () => (await env.IDENTITIES.getByName("solo").status()).live_sessions).toEqual([]);
      const again = new Runner().connect(target, "solo");
      const next = await agent.dispatch();
      must(await agent.dialBack(next.session, next.dial_secret));
      must(await again);
    });
  });

  test("GW-17: a revoked identity's live session ends, on both sides, and no new one begins", async () => {
    const session = await joined();
    const identity = env.IDENTITIES.getByName("ci");
    await identity.revoke("leaked", "mira");
    try {
      expect(await session.agent.control?.message("kill")).toMatchObject({ code: "identity_revoked" });
      await Promise.all([session.r.closed, session.a.closed]);
      expect(await session.runner.resume()).toMatchObject({ problem: { code: "identity_revoked" } });
      expect(await new Runner().connect(session.target)).toMatchObject({ status: 403, problem: { code: "identity_revoked" } });
    } finally {
      await identity.restore();
    }
  });

  test("what cannot be written is not opened: the admission is given back", async () => {
    quiet();
    const { agent, target } = await site();
    const live = async () => (await env.IDENTITIES.getByName("ci").status()).live_sessions.length;
    const before = await live();
    await env.DB.exec("ALTER TABLE sessions RENAME TO sessions_away");
    try {
      expect(await new Runner().connect(target)).toMatchObject({ status: 500, problem: { code: "internal" } });
    } finally {
      await env.DB.exec("ALTER TABLE sessions_away RENAME TO sessions");
    }
    expect(await live()).toBe(before);
    expect(agent.control?.unread().join()).not.toContain("dispatch");
  });
});

describe("resume", () => {
  test("GW-24: without the secret, with another session's, or of no session: 404, all alike", async () => {
    const session = await joined();
    const other = await joined();
    const { runner } = session;
    const answers = [
      await runner.resume(other.runner.secret),
      await runner.resume("x"),
      await runner.resume(runner.secret, "ses_00000000000000000000000000"),
      await runner.resume(runner.secret, "ses_1"),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 404, problem: { code: "not_found", title: "No such thing, or not yours to see." } });
    }
    await talks(session);
  });
});

describe("an agent's sockets", () => {
  test("need its own token", async () => {
    for (const path of ["/v1/agent/control", "/v1/sessions/ses_00000000000000000000000000/agent"]) {
      expect((await get(path, { upgrade: "websocket" })).status).toBe(401);
      expect((await get(path)).status).toBe(426);
      const job = { upgrade: "websocket", authorization: `Bearer ${await jobToken("ci")}` };
      expect((await get(path, job)).status).toBe(401);
    }
  });

  test("GW-14: headers that name another agent or site change nothing", async () => {
    const session = await joined();
    const thief = await Agent.enrol("site-of-the-thief");
    const forged = {
      "x-sallyport-agent": session.agent.id,
      "x-sallyport-agent-name": session.agent.name,
      "x-sallyport-site": session.agent.site,
    };
    expect(await thief.dialBack(session.runner.session, session.secret, forged)).toMatchObject({ status: 404 });
    await thief.dialControl(forged);
    thief.hello([session.target]);
    await thief.control?.message("bundle");
    expect(await env.SITES.getByName("site-of-the-thief").agents()).toMatchObject([{ id: thief.id, targets: [] }]);
    expect(await env.SITES.getByName(session.agent.site).agents()).toMatchObject([{ id: session.agent.id }]);
    await talks(session);
  });

  test("a claim that D1 could not take is tried again by the alarm", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { agent, target } = await site();
    await env.DB.exec("ALTER TABLE targets RENAME TO targets_away");
    try {
      await agent.dialControl();
      agent.hello([target]);
      await expect.poll(() => env.SITES.getByName(agent.site).agents()).toMatchObject([{ id: agent.id, targets: [] }]);
    } finally {
      await env.DB.exec("ALTER TABLE targets_away RENAME TO targets");
    }
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 120_000 });
    await runDurableObjectAlarm(env.SITES.getByName(agent.site));
    vi.useRealTimers();
    await agent.control?.message("bundle");
    expect(await env.SITES.getByName(agent.site).agents()).toMatchObject([{ targets: [target] }]);
  });
});

describe("a deploy", () => {
  test("restarts every object and drops every socket; agent and runner come back and go on", async () => {
    const session = await joined();
    await abortAllDurableObjects();
    await Promise.all([session.r.closed, session.a.closed, session.agent.control?.closed]);
    const resuming = session.runner.resume();
    await session.agent.connect([session.target], [session.runner.session]);
    const dispatch = await session.agent.dispatch();
    expect(dispatch).toMatchObject({ session: session.runner.session, redial: true });
    session.a = must(await session.agent.dialBack(dispatch.session, dispatch.dial_secret));
    session.r = must(await resuming);
    await talks(session);
  });

  test("the agent's socket for the session is back before its control socket: it is joined all the same", async () => {
    const session = await joined();
    await abortAllDurableObjects();
    await Promise.all([session.r.closed, session.a.closed]);
    const resuming = session.runner.resume();
    await expect.poll(() => env.SESSIONS.getByName(session.runner.session).state()).toMatchObject({ waiting: ["runner"] });
    session.a = must(await session.agent.dialBack(session.runner.session, session.secret));
    session.r = must(await resuming);
    await talks(session);
  });
});
