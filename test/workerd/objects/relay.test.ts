/** The coupling suite against `relay`, and what only the relay does: it hibernates, sees losses, and cuts who overruns. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { RELAY_BUFFER_MAX } from "../../../durable-objects/session/relay.ts";
import { agentFirst, couplingSuite, runnerFirst, sessionObject } from "./coupling-suite.ts";
import { joined, talks } from "./world.ts";

couplingSuite("relay");

describe("only the relay", () => {
  test("hibernates: a woken instance finds the peer by its socket's tags", async () => {
    const session = await joined();
    await evictDurableObject(sessionObject(session));
    await talks(session);
    await evictDurableObject(sessionObject(session));
    session.r.close(4000, "bye");
    expect(await session.a.closed).toEqual({ code: 4000, reason: "bye" });
  });

  test.each([
    ["the runner", runnerFirst],
    ["the agent", agentFirst],
  ] as const)("is evicted with its sockets (a deploy), and the session is resumed, %s first", async (_, resume) => {
    const session = await joined();
    await evictDurableObject(sessionObject(session), { webSockets: "close" });
    await Promise.all([session.r.closed, session.a.closed]);
    await resume(session);
    await talks(session);
  });

  test("knows of a loss, and that a join ends it", async () => {
    const session = await joined();
    expect(await sessionObject(session).state()).toMatchObject({ state: "active", lostAt: null });
    session.r.close(3000);
    await expect.poll(() => sessionObject(session).state()).toMatchObject({ lostAt: expect.any(Number) });
    await session.a.closed;
    await runnerFirst(session);
    expect(await sessionObject(session).state()).toMatchObject({ lostAt: null });
  });

  test("an agent that dials again while the object still has its old socket closes the old pair when it is joined", async () => {
    const session = await joined();
    const { a: old } = session;
    const resuming = session.runner.resume();
    const dispatch = await session.agent.dispatch();
    const dialled = await session.agent.dialBack(dispatch.session, dispatch.dial_secret);
    expect(dialled.ok && (await resuming).ok).toBe(true);
    expect(await old.closed).toMatchObject({ code: 1012 });
  });

  test("a peer that sends more than the other takes is cut, resumably: no byte of a session is lost to the tripwire", async () => {
    const session = await joined();
    const object = sessionObject(session);
    // Sockets within one process queue nothing, so the amount is set where a stalled network would have set it.
    const stall = (bytes: number) =>
      runInDurableObject(object, (_, state) => {
        for (const socket of state.getWebSockets("agent")) {
          Object.defineProperty(socket, "bufferedAmount", { value: bytes, configurable: true });
        }
      });
    await stall(RELAY_BUFFER_MAX);
    await talks(session);
    await stall(RELAY_BUFFER_MAX + 1);
    session.r.send("one more");
    expect(await session.r.closed).toMatchObject({ code: 1013 });
    expect(await session.a.closed).toMatchObject({ code: 1013 });
    await runnerFirst(session);
    await talks(session);
  });
});
