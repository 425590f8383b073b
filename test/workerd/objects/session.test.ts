/** SessionDO over time: its one alarm (deadline, loss, reaping, retries, forgetting) and what it owes to others. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { connectUpgrade, dialBackUpgrade, resumeUpgrade } from "../../../durable-objects/session/upgrade.ts";
import { RESUME_WINDOW_MS } from "../../../protocol/limits.ts";
import { readSession } from "../../../store/sessions.ts";
import { runnerFirst, sessionObject } from "./coupling-suite.ts";
import { joined, prepareWorld, Runner, site, talks, type Session } from "./world.ts";

beforeAll(prepareWorld);
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const HOUR = 3_600_000;

/** Only Date moves, so that sockets and timers go on; the alarm is run by hand. */
function travel(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
}

const alarmOf = (session: Session) => runInDurableObject(sessionObject(session), (_, state) => state.storage.getAlarm());
const abort = (session: Session) => runInDurableObject(sessionObject(session), (_, state) => state.abort("test")).catch(() => undefined);

describe("the deadline", () => {
  test("is absolute: the alarm ends the session with session_expired and cuts it", async () => {
    const session = await joined();
    const { started_at: startedAt, deadline } = (await readSession(env.DB, session.runner.session)) ?? { started_at: 0, deadline: 0 };
    expect(deadline).toBe(startedAt + HOUR);
    expect(await alarmOf(session)).toBeLessThanOrEqual(deadline);
    travel(HOUR);
    expect(await runDurableObjectAlarm(sessionObject(session))).toBe(true);
    expect(await session.agent.control?.message("kill")).toMatchObject({ code: "session_expired" });
    await Promise.all([session.r.closed, session.a.closed]);
    expect(await session.runner.resume()).toMatchObject({ status: 410, problem: { code: "session_expired" } });
  });

  test("a redial after the deadline finds it ended even if no alarm came", async () => {
    const session = await joined();
    await abort(session);
    travel(HOUR);
    expect(await session.runner.resume()).toMatchObject({ status: 410, problem: { code: "session_expired" } });
  });
});

describe("a loss", () => {
  test("nobody comes back within the window: session_lost", async () => {
    const session = await joined();
    await abort(session);
    expect(await sessionObject(session).state()).toMatchObject({ state: "active", lostAt: expect.any(Number) });
    travel(RESUME_WINDOW_MS - 1_000);
    await runDurableObjectAlarm(sessionObject(session));
    expect(await sessionObject(session).state()).toMatchObject({ state: "active" });
    vi.useRealTimers();
    travel(RESUME_WINDOW_MS + 1_000);
    await runDurableObjectAlarm(sessionObject(session));
    expect(await sessionObject(session).state()).toMatchObject({ state: "ended", code: "session_lost" });
    await expect.poll(() => readSession(env.DB, session.runner.session)).toMatchObject({ end_code: "session_lost" });
  });

  test("a resume within the window stops its clock", async () => {
    const session = await joined();
    await abort(session);
    await runnerFirst(session);
    travel(RESUME_WINDOW_MS * 2);
    await runDurableObjectAlarm(sessionObject(session));
    vi.useRealTimers();
    await talks(session);
  });

  test("an agent that comes with nothing (it was restarted) loses its sessions, after a grace for its own word", async () => {
    const session = await joined();
    session.agent.control?.close();
    await session.agent.connect([session.target], []);
    const sites = env.SITES.getByName(session.agent.site);
    await runDurableObjectAlarm(sites);
    expect(await sessionObject(session).state()).toMatchObject({ state: "active" });
    travel(6_000);
    await runDurableObjectAlarm(sites);
    expect(await sessionObject(session).state()).toMatchObject({ state: "ended", code: "session_lost" });
  });

  test("an agent that comes back with its sessions keeps them; one that does not, loses them after the window", async () => {
    const kept = await joined();
    const lost = await joined();
    for (const { agent } of [kept, lost]) agent.control?.close();
    await expect.poll(() => env.SITES.getByName(kept.agent.site).agents()).toEqual([]);
    await expect.poll(() => env.SITES.getByName(lost.agent.site).agents()).toEqual([]);
    await kept.agent.connect([kept.target], [kept.runner.session]);
    travel(RESUME_WINDOW_MS + 1_000);
    for (const { agent } of [kept, lost]) await runDurableObjectAlarm(env.SITES.getByName(agent.site));
    expect(await sessionObject(kept).state()).toMatchObject({ state: "active" });
    expect(await sessionObject(lost).state()).toMatchObject({ state: "ended", code: "session_lost" });
  });
});

describe("opening", () => {
  test("a session that nobody joins is reaped by the alarm, released and told to D1", async () => {
    const { agent, target } = await site();
    const connecting = new Runner().connect(target);
    const { session } = await agent.dispatch();
    const object = env.SESSIONS.getByName(session);
    // The instance dies with the runner's upgrade, and the Worker's repetitions find the same: nobody.
    travel(31_000);
    await runDurableObjectAlarm(object);
    expect(await object.state()).toMatchObject({ state: "ended", code: "agent_unready" });
    expect(await connecting).toMatchObject({ status: 503, problem: { code: "agent_unready" } });
    await expect.poll(() => readSession(env.DB, session)).toMatchObject({ state: "ended", end_code: "agent_unready" });
    await expect.poll(async () => (await env.IDENTITIES.getByName("ci").status()).live_sessions).not.toContain(session);
    expect(await agent.control?.message("kill")).toMatchObject({ session, code: "agent_unready" });
  });
});

describe("what is owed", () => {
  test("D1 being down neither keeps a session alive nor loses its end", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const session = await joined();
    await expect.poll(() => readSession(env.DB, session.runner.session)).toMatchObject({ state: "active" });
    await env.DB.exec("ALTER TABLE sessions RENAME TO sessions_away");
    try {
      await sessionObject(session).kill("session_killed", "while D1 is down");
      await Promise.all([session.r.closed, session.a.closed]);
      await expect.poll(async () => (await env.IDENTITIES.getByName("ci").status()).live_sessions).not.toContain(session.runner.session);
    } finally {
      await env.DB.exec("ALTER TABLE sessions_away RENAME TO sessions");
    }
    expect(await readSession(env.DB, session.runner.session)).toMatchObject({ state: "active" });
    travel(120_000);
    await runDurableObjectAlarm(sessionObject(session));
    await expect
      .poll(() => readSession(env.DB, session.runner.session))
      .toMatchObject({ state: "ended", end_code: "session_killed", end_message: "while D1 is down" });
  });

  test("the session is forgotten a day after its end", async () => {
    const session = await joined();
    await sessionObject(session).kill("session_killed", "over");
    await session.r.closed;
    await expect.poll(() => readSession(env.DB, session.runner.session)).toMatchObject({ state: "ended" });
    travel(25 * HOUR);
    for (let i = 0; i < 3; i += 1) await runDurableObjectAlarm(sessionObject(session));
    expect(await sessionObject(session).state()).toEqual({ state: "unknown" });
    expect(await session.runner.resume()).toMatchObject({ status: 404 });
  });
});

describe("who may speak to the object", () => {
  test("GW-24: a wrong resume secret, a wrong dial secret, another agent or another site find nothing", async () => {
    const session = await joined();
    const object = sessionObject(session);
    const { agent, runner, secret } = session;
    const wrong = secret.replaceAll(/./g, "A");
    for (const upgrade of [
      resumeUpgrade(wrong),
      resumeUpgrade(""),
      resumeUpgrade(secret),
      dialBackUpgrade("agt_00000000000000000000000000", agent.site, secret),
      dialBackUpgrade(agent.id, "elsewhere", secret),
    ]) {
      expect((await object.fetch(upgrade)).status).toBe(404);
    }
    expect((await object.fetch(dialBackUpgrade(agent.id, agent.site, wrong))).status).toBe(409);
    expect((await object.fetch(connectUpgrade())).status).toBe(409);
    expect((await env.SESSIONS.getByName("ses_00000000000000000000000000").fetch(resumeUpgrade(runner.secret))).status).toBe(404);
    await talks(session);
  });

  test("asking for sessions that do not exist stores nothing", async () => {
    const object = env.SESSIONS.getByName("ses_00000000000000000000000001");
    expect((await object.fetch(resumeUpgrade("x".repeat(43)))).status).toBe(404);
    expect(await object.kill("session_killed", "m")).toBe(false);
    expect(await runInDurableObject(object, (_, state) => state.storage.sql.exec("SELECT name FROM sqlite_master").toArray())).toEqual([]);
  });

  test("secrets are stored as hashes only", async () => {
    const session = await joined();
    const stored = await runInDurableObject(sessionObject(session), (_, state) =>
      JSON.stringify(state.storage.sql.exec("SELECT * FROM session").toArray()),
    );
    expect(stored).toContain(session.runner.session);
    expect(stored).not.toContain(session.runner.secret);
    expect(stored).not.toContain(session.secret);
  });
});
