/** SiteDO: who may serve what, who gets a session, and what an agent's word on a session is worth. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { EdgeToAgent } from "../../../protocol/agent-control.ts";
import { MAX_AGENT_CONTROL } from "../../../protocol/limits.ts";
import { listRefusals } from "../../../store/refusals.ts";
import { Agent, joined, must, prepareWorld, Runner, site, talks, type Session } from "./world.ts";

beforeAll(prepareWorld);
afterEach(() => vi.restoreAllMocks());

const siteOf = (agent: Agent) => env.SITES.getByName(agent.site);
const end = (session: Session) => env.SESSIONS.getByName(session.runner.session).state();
const alarms = () => vi.spyOn(console, "error").mockImplementation(() => undefined);
const name = (stem: string): string => `${stem}-${crypto.randomUUID().slice(0, 8)}`;

/** A second agent of the same site, serving the same target. */
async function replica(of: Agent, target: string): Promise<Agent> {
  const agent = await Agent.enrol(of.site);
  await agent.connect([target]);
  return agent;
}

describe("who may serve a target", () => {
  test("GW-14: another site's agent cannot take a target; it is refused, alarmed and audited", async () => {
    const logged = alarms();
    const { agent, target } = await site();
    const thief = await Agent.enrol(name("elsewhere"));
    await thief.connect([target]);
    expect(await siteOf(thief).agents()).toMatchObject([{ id: thief.id, targets: [] }]);
    expect(logged.mock.calls.flat().join()).toContain('"event":"target_refused"');
    const { rows } = await listRefusals(env.DB, { target }, { limit: 10, cursor: null });
    expect(rows).toMatchObject([{ code: "denied", reason: expect.stringContaining("belongs to another site") }]);
    const session = await joined({ agent, target });
    expect(thief.control?.unread().join()).not.toContain("dispatch");
    await talks(session);
  });

  test("an agent serves no target outside its enrolment", async () => {
    alarms();
    const own = name("own");
    const agent = await Agent.enrol(name("bound"), [own]);
    await agent.connect([own, name("other")]);
    expect(await siteOf(agent).agents()).toMatchObject([{ targets: [own] }]);
  });

  test("an agent that said nothing yet, or does not announce the target, gets no session", async () => {
    const { agent, target } = await site();
    const silent = await Agent.enrol(agent.site);
    await silent.dialControl();
    const other = await Agent.enrol(agent.site);
    await other.connect([name("unrelated")]);
    for (let i = 0; i < 3; i += 1) await joined({ agent, target });
    expect([...(other.control?.unread() ?? []), ...(silent.control?.unread() ?? [])].join()).not.toContain("dispatch");
    expect(await siteOf(agent).agents()).toHaveLength(2);
  });
});

describe("who gets a session", () => {
  test("no agent connected: site_offline at once", async () => {
    const { agent, target } = await site();
    agent.control?.close();
    await expect.poll(() => siteOf(agent).agents()).toEqual([]);
    expect(await new Runner().connect(target)).toMatchObject({ status: 503, problem: { code: "site_offline" } });
  });

  test("replicas share: the one with fewer sessions is next", async () => {
    const { agent, target } = await site();
    const second = await replica(agent, target);
    const next = new Map([agent, second].map((each) => [each, dispatched(each)]));
    for (let i = 0; i < 4; i += 1) {
      const connecting = new Runner().connect(target);
      const { by, dispatch } = await Promise.race(next.values());
      next.set(by, dispatched(by));
      must(await by.dialBack(dispatch.session, dispatch.dial_secret));
      must(await connecting);
    }
    for (const waiting of next.values()) waiting.catch(() => undefined);
    expect((await siteOf(agent).agents()).map(({ sessions }) => sessions)).toEqual([2, 2]);
  });

  test("one replica dying takes only its own sessions", async () => {
    const first = await joined();
    const second = await replica(first.agent, first.target);
    const runner = new Runner();
    const connecting = runner.connect(first.target);
    const { session, dial_secret } = await second.dispatch();
    const a = must(await second.dialBack(session, dial_secret));
    const r = must(await connecting);
    first.agent.control?.close(3000, "kill -9");
    first.a.close(3000, "kill -9");
    await first.r.closed;
    await talks({ r, a });
  });

  test("a draining agent gets no new session, and keeps those it has", async () => {
    const session = await joined();
    session.agent.say({ type: "draining" });
    await expect.poll(() => siteOf(session.agent).agents()).toMatchObject([{ draining: true }]);
    expect(await new Runner().connect(session.target)).toMatchObject({ problem: { code: "site_offline" } });
    await talks(session);
    const resuming = session.runner.resume();
    expect(await session.agent.dispatch()).toMatchObject({ redial: true });
    void resuming;
  });

  test("a session whose first agent went before it was joined goes to another", async () => {
    const { agent, target } = await site();
    const connecting = new Runner().connect(target);
    const first = await agent.dispatch();
    agent.control?.close(3000, "kill -9");
    await expect.poll(() => siteOf(agent).agents()).toEqual([]);
    const second = await replica(agent, target);
    // The instance died too, so the Worker repeats the runner's upgrade.
    await runInDurableObject(env.SESSIONS.getByName(first.session), (_, state) => state.abort("test")).catch(() => undefined);
    const { session, dial_secret } = await second.dispatch();
    expect(session).toBe(first.session);
    must(await second.dialBack(session, dial_secret));
    expect((await connecting).ok).toBe(true);
  });

  test("an agent's refusal is the runner's answer, and the session's end", async () => {
    const { agent, target } = await site();
    const connecting = new Runner().connect(target);
    const { session } = await agent.dispatch();
    agent.say({ type: "refused", session, code: "policy_stale", message: "my bundle is older" });
    expect(await connecting).toMatchObject({ status: 503, problem: { code: "policy_stale", detail: "my bundle is older" } });
    expect(await env.SESSIONS.getByName(session).state()).toMatchObject({ state: "ended", code: "policy_stale" });
  });
});

describe("an agent's word on a session", () => {
  test("ended: the session is over with its code, and a redial is told", async () => {
    const session = await joined();
    session.agent.say({
      type: "ended",
      session: session.runner.session,
      code: "session_closed",
      message: "the client left",
      at: Date.now(),
    });
    await expect.poll(() => end(session)).toMatchObject({ state: "ended", code: "session_closed", message: "the client left" });
    expect(await session.runner.resume()).toMatchObject({ status: 410, problem: { code: "session_closed" } });
    await expect.poll(() => siteOf(session.agent).agents()).toMatchObject([{ sessions: 0 }]);
  });

  test("counts only for sessions that were given to that very agent", async () => {
    const logged = alarms();
    const session = await joined();
    const other = await replica(session.agent, session.target);
    other.say({ type: "ended", session: session.runner.session, code: "session_closed", message: "not mine", at: Date.now() });
    await expect.poll(() => logged.mock.calls.flat().join()).toContain("session_not_of_agent");
    expect(await end(session)).toMatchObject({ state: "active" });
    await talks(session);
  });

  test("a hello that lists a session which ended meanwhile is answered with its end", async () => {
    const session = await joined();
    session.agent.control?.close();
    await expect.poll(() => siteOf(session.agent).agents()).toEqual([]);
    await env.SESSIONS.getByName(session.runner.session).kill("session_killed", "while you were away");
    await session.agent.connect([session.target], [session.runner.session]);
    expect(await firstOf(session.agent, "kill")).toEqual({
      type: "kill",
      session: session.runner.session,
      code: "session_killed",
      message: "while you were away",
    });
  });

  test("a hello that lists a session nobody knows is told that it is lost", async () => {
    const { agent, target } = await site();
    await agent.connect([target], ["ses_00000000000000000000000000"]);
    expect(await firstOf(agent, "kill")).toMatchObject({ session: "ses_00000000000000000000000000", code: "session_lost" });
  });
});

describe("the control socket", () => {
  test("a newer connection of an agent replaces the older, which is sent away; two live ones are alarmed (GW-14)", async () => {
    const logged = alarms();
    const { agent, target } = await site();
    const older = agent.control;
    await agent.connect([target]);
    expect(await older?.message("bye")).toMatchObject({ code: "conflict" });
    expect(await older?.closed).toMatchObject({ code: 4409 });
    await expect.poll(() => logged.mock.calls.flat().join()).toContain('"event":"agent_duplicate"');
    await joined({ agent, target });
  });

  test.each([
    ["a binary message", new Uint8Array(8), 1008],
    ["no JSON", "hello", 1008],
    ["an unknown type", JSON.stringify({ type: "dispatch" }), 1008],
    ["a second hello", JSON.stringify({ type: "hello", version: "1", targets: [], bundle: 0, sessions: [] }), 1008],
    ["an oversized message", `"${"x".repeat(MAX_AGENT_CONTROL)}"`, 1009],
  ])("%s ends it", async (_, message, code) => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { agent } = await site();
    agent.control?.send(message);
    expect(await agent.control?.closed).toMatchObject({ code });
    await expect.poll(() => siteOf(agent).agents()).toEqual([]);
  });

  test("pings are answered", async () => {
    const { agent } = await site();
    await firstOf(agent, "welcome");
    agent.control?.send("ping");
    expect(await agent.control?.next()).toBe("pong");
  });

  test("hibernation keeps it: a dispatch, an end and a kill go through a woken object", async () => {
    const session = await joined();
    await evictDurableObject(siteOf(session.agent));
    const second = await joined({ agent: session.agent, target: session.target });
    await evictDurableObject(siteOf(session.agent));
    await env.SESSIONS.getByName(second.runner.session).kill("session_killed", "after the nap");
    expect(await firstOf(session.agent, "kill")).toMatchObject({ message: "after the nap" });
  });

  test("a deploy drops it without an event: the woken object believes no socket that is not there", async () => {
    const { agent, target } = await site();
    await evictDurableObject(siteOf(agent), { webSockets: "close" });
    expect(await siteOf(agent).agents()).toEqual([]);
    // A runner that comes now waits for the agent, which is on its way back.
    const connecting = new Runner().connect(target);
    await agent.connect([target]);
    const { session, dial_secret } = await agent.dispatch();
    must(await agent.dialBack(session, dial_secret));
    expect((await connecting).ok).toBe(true);
  });

  test("a bundle is pushed to every agent of the site once, and never an older one after a newer (GW-27)", async () => {
    const { agent, target } = await site();
    const second = await replica(agent, target);
    const files = { "gateway.yaml": "x" };
    expect(await siteOf(agent).pushBundle(7, "0".repeat(64), files)).toBe(2);
    expect(await siteOf(agent).pushBundle(6, "1".repeat(64), files)).toBe(0);
    expect(await siteOf(agent).pushBundle(7, "0".repeat(64), files)).toBe(0);
    for (const each of [agent, second]) {
      expect(await firstOf(each, "bundle")).toEqual({ type: "bundle", version: 7, digest: "0".repeat(64), files });
      expect(each.control?.unread().filter((message) => String(message).includes('"bundle"'))).toEqual([]);
    }
  });

  test("GW-15: a revoked agent is sent away, and its sessions end", async () => {
    const session = await joined();
    await siteOf(session.agent).revokeAgent(session.agent.id);
    expect(await firstOf(session.agent, "bye")).toMatchObject({ code: "agent_unknown" });
    await session.agent.control?.closed;
    await session.r.closed;
    expect(await end(session)).toMatchObject({ state: "ended", code: "session_killed" });
    expect(await siteOf(session.agent).agents()).toEqual([]);
  });
});

const dispatched = async (by: Agent) => ({ by, dispatch: await by.dispatch() });

async function firstOf(agent: Agent, type: EdgeToAgent["type"]): Promise<{ type: string } | undefined> {
  return agent.control?.message(type);
}
