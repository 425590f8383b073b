/** The link's behaviour around its sockets: what it says when connecting, when it redials, and how a session ends. */
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { serveSession } from "../../../link/agent.ts";
import { connectSession, type ConnectorSession } from "../../../link/connector.ts";
import { openWebSocket } from "../../../link/dial.ts";
import type { LinkStream } from "../../../link/types.ts";
import { MAX_STREAMS } from "../../../protocol/limits.ts";
import { Coupler } from "./coupler.ts";
import { FAST, META, quiet, READY, rig, type Rig } from "./rig.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function start(onStream: (stream: LinkStream) => void, timing: Parameters<typeof rig>[1] = {}): Promise<Rig> {
  const made = await rig(onStream, timing);
  closers.push(() => made.close());
  return made;
}

const echo = (stream: LinkStream): void => {
  stream.on("error", () => {});
  stream.pipe(stream);
};

function connect(coupler: Coupler, more: Partial<Parameters<typeof connectSession>[0]> = {}): ReturnType<typeof connectSession> {
  return connectSession({
    url: `${coupler.origin}/v1/targets/orders-db/connect`,
    headers: () => Promise.resolve({}),
    resumeUrl: (id) => `${coupler.origin}/v1/sessions/${id}/resume`,
    log: quiet,
    timing: FAST,
    ...more,
  });
}

/** A stream whose failure at the end of a test is nobody's surprise. */
function open(session: ConnectorSession): LinkStream {
  return session.open(META).on("error", () => {});
}

async function text(stream: LinkStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("connecting", () => {
  it("tells what the gateway said when it refuses", async () => {
    const coupler = new Coupler();
    await coupler.listen();
    closers.push(() => coupler.close());
    coupler.refuse = { runner: "site_offline" };
    const refused = await connect(coupler);
    expect(refused).toMatchObject({ ok: false, error: { status: 503, problem: { code: "site_offline" } } });
  });

  it("tells what happened when there is no gateway", async () => {
    const coupler = new Coupler();
    await coupler.listen();
    const { origin } = coupler;
    await coupler.close();
    const refused = await connectSession({
      url: `${origin}/v1/targets/x/connect`,
      headers: () => Promise.resolve({}),
      resumeUrl: () => origin,
      log: quiet,
    });
    expect(refused.ok).toBe(false);
    if (!refused.ok) expect(refused.error.message).toContain("ECONNREFUSED");
  });

  it("knows the session's id and the target's facts", async () => {
    const { session, coupler, states } = await start(echo);
    expect(session.id).toBe(coupler.session);
    expect(session.ready).toEqual(READY);
    expect(session.state).toBe("open");
    expect(states).toEqual(["open"]);
  });

  it("fails with the agent's reason where the session ends before it is ready", async () => {
    const coupler = new Coupler();
    await coupler.listen();
    closers.push(() => coupler.close());
    coupler.tap = (from, data, binary) => {
      if (from !== "agent" || binary || !data.toString().includes('"hello"')) return true;
      coupler.send("runner", JSON.stringify({ type: "end", code: "target_unreachable", message: "no route" }));
      return false;
    };
    const agent = serveSession({
      dial: () => Promise.resolve(openWebSocket(`${coupler.origin}/agent`, {})),
      ready: READY,
      onStream: echo,
      log: quiet,
      timing: FAST,
    });
    expect(await connect(coupler)).toMatchObject({ ok: false, error: { end: { code: "target_unreachable", message: "no route" } } });
    await agent.end({ code: "session_closed", message: "" });
  });
});

describe("streams", () => {
  it("half-close in each direction on its own", async () => {
    const { session } = await start((stream) => {
      void text(stream).then((asked) => stream.end(`you said ${asked}`));
    });
    const stream = open(session);
    stream.end("hello");
    expect(await text(stream)).toBe("you said hello");
  });

  it("destroying one resets it at the other end, and only it", async () => {
    const served: LinkStream[] = [];
    const errors: Error[] = [];
    const { session } = await start((stream) => {
      served.push(stream);
      stream.on("error", (error) => errors.push(error));
      stream.pipe(stream);
    });
    const doomed = open(session);
    const other = open(session);
    await until(() => served.length === 2);
    doomed.destroy();
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: "ECONNRESET" });
    other.end("fine");
    expect(await text(other)).toBe("fine");
  });

  it("beyond MAX_STREAMS fail at once and leave the others alone", async () => {
    const { session } = await start(echo);
    const streams = Array.from({ length: MAX_STREAMS }, () => open(session));
    const refused = open(session);
    const [error] = (await once(refused, "error")) as [Error];
    expect(error).toMatchObject({ name: "SessionEndedError", code: "too_many" });
    const [, , , fourth] = streams;
    fourth?.end("still");
    expect(fourth === undefined ? "" : await text(fourth)).toBe("still");
  });
});

describe("losing the socket", () => {
  it.each([1001, 1011, 1012, 1013, 4410])("close code %i is redialled with the session's secret", async (code) => {
    const { session, coupler, states } = await start(echo);
    const stream = open(session);
    coupler.closeSide("runner", code);
    coupler.closeSide("agent", code);
    await until(() => coupler.joins === 2 && session.state === "open");
    stream.end("after");
    expect(await text(stream)).toBe("after");
    expect(states).toEqual(["open", "lost", "open"]);
    expect(coupler.resumes.at(-1)).toBe(`Resume ${coupler.secret}`);
  });

  it.each([
    ["session_killed", "session_killed"],
    ["session_expired", "session_expired"],
    ["not_found", "session_lost"],
    ["identity_revoked", "identity_revoked"],
  ] as const)("a redial refused with %s ends both with %s", async (refusal, code) => {
    const { session, agent, coupler } = await start(echo);
    coupler.refuse = { runner: refusal, agent: refusal };
    coupler.cut();
    expect(await session.ended).toMatchObject({ code });
    expect(await agent.ended).toMatchObject({ code });
  });

  it.each(["site_offline", "agent_unready", "conflict", "internal", "too_many"] as const)(
    "a redial refused with %s is tried again",
    async (refusal) => {
      const { session, coupler } = await start(echo);
      coupler.refuse = { runner: refusal };
      coupler.cut();
      await until(() => coupler.resumes.length >= 3);
      coupler.refuse = {};
      await until(() => session.state === "open" && coupler.joins === 2);
    },
  );

  it("ends with session_lost at both ends when the window passes", async () => {
    const window = { resumeWindowMs: 150 };
    const { session, agent, coupler } = await start(echo, { connector: window, agent: window });
    const stream = open(session);
    const failed = once(stream, "error") as Promise<[Error]>;
    coupler.refuse = { runner: "site_offline", agent: "site_offline" };
    coupler.cut();
    expect(await session.ended).toMatchObject({ code: "session_lost" });
    expect(await agent.ended).toMatchObject({ code: "session_lost" });
    expect((await failed)[0]).toMatchObject({ code: "session_lost" });
  });

  it("redial() drops the socket and dials, without ending anything", async () => {
    const { session, agent, coupler } = await start(echo);
    const stream = open(session);
    agent.redial();
    await until(() => coupler.joins === 2 && session.state === "open" && agent.state === "open");
    stream.end("x");
    expect(await text(stream)).toBe("x");
  });

  it("redial() while a dial is refused as old tries again at once", async () => {
    const { session, agent, coupler } = await start(echo, { agent: { baseMs: 60_000, maxMs: 60_000 } });
    let first = true;
    coupler.onHeld = (side) => {
      if (side !== "agent" || !first) return;
      first = false;
      agent.redial();
      coupler.refuseHeld("agent", "conflict");
    };
    coupler.refuse = { runner: "site_offline" };
    coupler.cut();
    await until(() => !first);
    coupler.refuse = {};
    await until(() => coupler.joins === 2 && session.state === "open");
  });
});

describe("ending", () => {
  it("by the connector ends the agent at once", async () => {
    const { session, agent } = await start(echo);
    await session.close();
    expect(await agent.ended).toEqual({ code: "session_closed", message: "The connector left." });
    expect(session.state).toBe("ended");
  });

  it("by the agent reaches the connector after what was written, which can still be read", async () => {
    const { session, agent } = await start((stream) => {
      stream.on("error", () => {});
      stream.write("x".repeat(300_000));
      stream.write("FATAL");
    });
    const stream = open(session);
    await until(() => agent.held > 0);
    await agent.end({ code: "session_killed", message: "by an administrator" });
    expect(await session.ended).toEqual({ code: "session_killed", message: "by an administrator" });
    let got = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => (got += chunk));
    const [error] = (await once(stream, "error")) as [Error];
    expect(got.length).toBe(300_005);
    expect(got.endsWith("FATAL")).toBe(true);
    expect(error).toMatchObject({ code: "session_killed" });
  });

  it("by a violation tells the peer and dials no more", async () => {
    const { session, agent, coupler } = await start(echo);
    coupler.send("agent", Buffer.from([9, 9, 9]));
    expect(await agent.ended).toMatchObject({ code: "protocol_violation" });
    expect(await session.ended).toMatchObject({ code: "protocol_violation" });
    expect(coupler.joins).toBe(1);
  });

  it("by a message that is larger than any may be", async () => {
    const { session, coupler } = await start(echo);
    coupler.send("runner", Buffer.alloc(1024 * 1024));
    expect(await session.ended).toMatchObject({ code: "protocol_violation" });
  });
});
