/**
 * One suite for both ways of joining two sockets (STYLE.md, habit 12): native coupling and the JavaScript relay. Runs
 * against the real Worker and objects; each test has its own site, target and session.
 */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { Env } from "../../../durable-objects/env.ts";
import type { SessionDO } from "../../../durable-objects/session/object.ts";
import { readSession } from "../../../store/sessions.ts";
import { joined, must, prepareWorld, talks, type Dialled, type Session } from "./world.ts";

export const sessionObject = (session: Session): DurableObjectStub<SessionDO> => env.SESSIONS.getByName(session.runner.session);

/** The tests' own object environment is this isolate's, so a test file chooses its coupling. */
export function useCoupling(kind: Env["SALLYPORT_COUPLING"]): void {
  Object.assign(env, { SALLYPORT_COUPLING: kind });
}

/** The runner is first: the object dispatches a redial. */
export async function runnerFirst(session: Session): Promise<void> {
  const resuming = session.runner.resume();
  const dispatch = await session.agent.dispatch();
  expect(dispatch).toMatchObject({ session: session.runner.session, redial: true });
  expect(dispatch.dial_secret).not.toBe(session.secret);
  session.secret = dispatch.dial_secret;
  session.a = must(await session.agent.dialBack(dispatch.session, dispatch.dial_secret));
  session.r = must(await resuming);
}

/** The agent is first, unasked, with the secret it has. */
export async function agentFirst(session: Session): Promise<void> {
  const dialling = session.agent.dialBack(session.runner.session, session.secret);
  // The object must hold it, not refuse it.
  await expect.poll(() => sessionObject(session).state()).toMatchObject({ waiting: ["agent"] });
  session.r = must(await session.runner.resume());
  session.a = must(await dialling);
}

async function dialDispatched(session: Session): Promise<Dialled> {
  const { session: id, dial_secret: secret } = await session.agent.dispatch();
  return session.agent.dialBack(id, secret);
}

export function couplingSuite(kind: Env["SALLYPORT_COUPLING"]): void {
  beforeAll(async () => {
    useCoupling(kind);
    await prepareWorld();
  });

  describe(`coupling: ${kind}`, () => {
    test("joins runner and agent, and passes text and binary untouched both ways", async () => {
      const session = await joined();
      await talks(session);
      expect(session.runner.secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
      await expect.poll(() => readSession(env.DB, session.runner.session)).toMatchObject({ state: "active", agent: session.agent.id });
    });

    test("keeps the order of many messages of many sizes", async () => {
      const { r, a } = await joined();
      const sizes = Array.from({ length: 60 }, (_, i) => (i * 7919) % 65_536);
      for (const size of sizes) r.send(new Uint8Array(size).fill(size % 251));
      for (const size of sizes) {
        const message = await a.next();
        expect(message).toHaveLength(size);
        expect(message).toSatisfy((bytes: Uint8Array) => bytes.every((byte) => byte === size % 251));
      }
    });

    test.each(["runner", "agent"] as const)("a close of the %s reaches the other side with its code", async (side) => {
      const { r, a } = await joined();
      const [from, to] = side === "runner" ? [r, a] : [a, r];
      from.close(4321, "so it ends");
      expect(await to.closed).toEqual({ code: 4321, reason: "so it ends" });
    });

    test.each([
      ["runner", "runner", runnerFirst],
      ["runner", "agent", agentFirst],
      ["agent", "runner", runnerFirst],
      ["agent", "agent", agentFirst],
    ] as const)("the %s is cut alone; the session is resumed, the %s first", async (side, _, resume) => {
      const session = await joined();
      (side === "runner" ? session.r : session.a).close(3000, "cut");
      await (side === "runner" ? session.a : session.r).closed;
      await resume(session);
      await talks(session);
    });

    test.each([
      ["runner", runnerFirst],
      ["agent", agentFirst],
    ] as const)("the object is aborted, both are cut; the session is resumed, the %s first", async (_, resume) => {
      const session = await joined();
      await runInDurableObject(sessionObject(session), (_, state) => state.abort("test")).catch(() => undefined);
      expect((await session.r.closed).code).toBe(1006);
      expect((await session.a.closed).code).toBe(1006);
      await resume(session);
      await talks(session);
    });

    test("a runner whose old socket is half-open redials: the agent is told, and the old coupling does no harm", async () => {
      const session = await joined();
      const { r: oldRunner, a: oldAgent } = session;
      const resuming = session.runner.resume();
      const dispatch = await session.agent.dispatch();
      // As the agent's link does: the old socket goes when a new one is dialled.
      oldAgent.close(3000, "redial");
      session.a = must(await session.agent.dialBack(dispatch.session, dispatch.dial_secret));
      session.r = must(await resuming);
      await oldRunner.closed;
      await talks(session);
    });

    test("an agent whose old socket is half-open dials unasked: the runner is made to notice, once", async () => {
      const session = await joined();
      const dialling = session.agent.dialBack(session.runner.session, session.secret);
      // AGENT_ALONE_MS passes.
      const { code } = await session.r.closed;
      expect([1006, 1012]).toContain(code);
      const resuming = session.runner.resume();
      // A native coupling ends with its instance, so the runner may overtake the agent's dial, which the Worker repeats.
      const dialled = await dialling;
      const again = dialled.ok ? dialled : await dialDispatched(session);
      session.a = must(again);
      session.r = must(await resuming);
      await talks(session);
    });

    test("losses one after another, in every order, never cost a session more than a redial", async () => {
      const session = await joined();
      for (const [side, resume] of [
        ["runner", agentFirst],
        ["agent", runnerFirst],
        ["agent", agentFirst],
        ["runner", runnerFirst],
      ] as const) {
        (side === "runner" ? session.r : session.a).close(3000, "cut");
        await (side === "runner" ? session.a : session.r).closed;
        await resume(session);
        await talks(session);
      }
    });

    test("an older dial secret is a conflict once a newer one was sent, and still good while none was", async () => {
      const session = await joined();
      const first = session.secret;
      session.r.close(3000);
      await session.a.closed;
      const resuming = session.runner.resume();
      const dispatch = await session.agent.dispatch();
      await expect.poll(async () => await session.agent.dialBack(dispatch.session, first)).toMatchObject({ status: 409 });
      session.a = must(await session.agent.dialBack(dispatch.session, dispatch.dial_secret));
      session.r = must(await resuming);
      await talks(session);
    });

    test("a kill is told to the agent, cuts both sockets, and answers a redial with its reason; it happens once", async () => {
      const session = await joined();
      const object = sessionObject(session);
      const message = "ended by mira: wrong table";
      expect(await object.kill("session_killed", message)).toBe(true);
      expect(await object.kill("session_expired", "again")).toBe(false);
      expect(await session.agent.control?.message("kill")).toEqual({
        type: "kill",
        session: session.runner.session,
        code: "session_killed",
        message,
      });
      await talks(session);
      const codes = [(await session.r.closed).code, (await session.a.closed).code];
      expect(codes).toEqual(kind === "relay" ? [4410, 4410] : [1006, 1006]);
      const refused = { ok: false, status: 410, problem: { code: "session_killed", detail: message } };
      expect(await session.runner.resume()).toMatchObject(refused);
      expect(await session.agent.dialBack(session.runner.session, session.secret)).toMatchObject(refused);
      await expect
        .poll(() => readSession(env.DB, session.runner.session))
        .toMatchObject({ state: "ended", end_code: "session_killed", end_message: message });
      await expect.poll(async () => (await env.IDENTITIES.getByName("ci").status()).live_sessions).not.toContain(session.runner.session);
    });

    test("an end is 410 to a redial whatever its code means to a first connect", async () => {
      const session = await joined();
      const resuming = session.runner.resume();
      await session.agent.dispatch();
      session.agent.say({ type: "refused", session: session.runner.session, code: "policy_stale", message: "older than its limit" });
      const over = { status: 410, problem: { status: 410, code: "policy_stale", detail: "older than its limit" } };
      expect(await resuming).toMatchObject(over);
      expect(await session.runner.resume()).toMatchObject(over);
    });

    test("an instance that died within a kill's grace has stored the end, and has cut by dying", async () => {
      const session = await joined();
      await sessionObject(session).kill("session_killed", "gone");
      await runInDurableObject(sessionObject(session), (_, state) => state.abort("test")).catch(() => undefined);
      await Promise.all([session.r.closed, session.a.closed]);
      expect(await sessionObject(session).state()).toMatchObject({ state: "ended", code: "session_killed" });
      expect(await session.runner.resume()).toMatchObject({ status: 410, problem: { code: "session_killed" } });
    });

    test("sessions are apart: a kill of one leaves its neighbour of the same agent alone", async () => {
      const one = await joined();
      const two = await joined(one);
      await sessionObject(one).kill("session_killed", "this one");
      await one.r.closed;
      await talks(two);
    });
  });
}
