/** A target's listener over a real session (the coupler as the edge): what passes, how each side ends, what leaves the runner. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { serveSession, type AgentLink } from "../../../link/agent.ts";
import { openWebSocket } from "../../../link/dial.ts";
import type { LinkStream } from "../../../link/types.ts";
import type { GatewayClient } from "../../../runner/gateway.ts";
import { createReporter } from "../../../runner/reporter.ts";
import { HeldCommands, holdMode } from "../../../runner/tunnel/held.ts";
import { openTarget, type OpenTarget } from "../../../runner/tunnel/target.ts";
import { Coupler } from "../link/coupler.ts";
import { FAST, quiet } from "../link/rig.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

interface Setup {
  readonly target: OpenTarget;
  readonly agent: AgentLink;
  readonly coupler: Coupler;
  readonly said: string[];
  readonly held: HeldCommands;
}

/** `onStream` is the agent's side of each connection. */
async function setUp(
  onStream: (stream: LinkStream) => void,
  ready: { user?: string; database?: string } = {},
  wishes?: "wait" | "fail",
): Promise<Setup> {
  const coupler = new Coupler();
  await coupler.listen();
  closers.push(() => coupler.close());
  const agent = serveSession({
    dial: () => Promise.resolve(openWebSocket(`${coupler.origin}/v1/sessions/x/agent`, {})),
    ready: { target: "orders-db", protocol: "postgres", ...ready },
    onStream: (stream) => {
      stream.on("error", () => {});
      onStream(stream);
    },
    log: quiet,
    timing: FAST,
  });
  closers.push(() => agent.end({ code: "session_closed", message: "" }));
  const unused = (): never => {
    throw new Error("not called");
  };
  const gateway: GatewayClient = {
    origin: coupler.origin.replace("ws:", "http:"),
    identity: "orders-ci",
    headers: () => Promise.resolve({ authorization: "DPoP c", dpop: "p" }),
    request: unused,
    open: unused,
  };
  const said: string[] = [];
  const report = createReporter({}, (line) => said.push(line));
  const held = new HeldCommands(report);
  const target = await openTarget(gateway, "orders-db", report, { hold: wishes, held });
  closers.push(() => target.close());
  return { target, agent, coupler, said, held };
}

async function client({ target }: Setup): Promise<Socket> {
  const socket = connect({ port: target.address.port, host: target.address.host, allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}

async function text(source: AsyncIterable<unknown>): Promise<string> {
  let all = "";
  for await (const chunk of source) all += String(chunk);
  return all;
}

describe("a connection through the listener", () => {
  it("passes bytes and half-closes both ways", async () => {
    const setup = await setUp((stream) => void text(stream).then((asked) => stream.end(`${asked}!`)));
    const socket = await client(setup);
    socket.end("hello");
    expect(await text(socket)).toBe("hello!");
  });

  it("that vanishes takes its stream along, and no other", async () => {
    const streams: LinkStream[] = [];
    const setup = await setUp((stream) => {
      streams.push(stream);
      stream.pipe(stream);
    });
    const doomed = await client(setup);
    const other = await client(setup);
    doomed.write("x");
    other.write("y");
    await Promise.all([once(doomed, "data"), once(other, "data")]);
    const gone = new Promise((resolve) => {
      for (const stream of streams) stream.once("close", resolve);
    });
    doomed.resetAndDestroy();
    await gone;
    other.write("z");
    expect(String((await once(other, "data"))[0])).toBe("z");
    other.destroy();
  });

  it("that the agent cuts ends at the client too", async () => {
    const setup = await setUp((stream) => stream.once("data", () => stream.destroy()));
    const socket = await client(setup);
    socket.write("x");
    expect(await text(socket).catch(() => "")).toBe("");
  });

  it("survives a cut of the session's sockets", async () => {
    const setup = await setUp((stream) => stream.pipe(stream));
    const socket = await client(setup);
    setup.coupler.cut();
    socket.end("through");
    expect(await text(socket)).toBe("through");
    expect(setup.said.join("")).toMatch(/the connection was lost .* resuming\n.*resumed/);
  });
});

describe("the end", () => {
  it("of the session: the client still reads the agent's last words, then the listener is gone and we are told", async () => {
    const words = "FATAL: terminated by an administrator";
    const streams: LinkStream[] = [];
    const setup = await setUp((stream) => streams.push(stream));
    const socket = await client(setup);
    socket.write("x");
    while (streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    streams[0]?.end(words);
    await setup.agent.end({ code: "session_killed", message: "enough" });
    expect(await text(socket)).toBe(words);
    expect(await setup.target.ended).toEqual({ code: "session_killed", message: "enough" });
    expect(setup.said).toEqual(["sallyport: orders-db: the session has ended: enough [session_killed]\n"]);
    const late = connect({ port: setup.target.address.port, host: setup.target.address.host });
    expect((await once(late, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
    socket.destroy();
  });

  it("of the command: streams may finish before the session does", async () => {
    let finished = "";
    const setup = await setUp((stream) => {
      const serve = async (): Promise<void> => {
        const asked = await text(stream);
        await new Promise((resolve) => setTimeout(resolve, 100));
        finished = asked;
        stream.end();
      };
      void serve();
    });
    const socket = await client(setup);
    socket.resume();
    socket.end("last words");
    await once(socket, "finish");
    // The command is gone; its connection is not, as far as the agent is concerned.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await setup.target.close();
    expect(finished).toBe("last words");
    expect(await setup.agent.ended).toMatchObject({ code: "session_closed" });
    expect(setup.said).toEqual([]);
  });
});

describe("what leaves the runner", () => {
  it("is the verifier, never the password", async () => {
    const sent: string[] = [];
    const setup = await setUp((stream) => stream.pipe(stream));
    setup.coupler.tap = (from, data) => {
      if (from === "runner") sent.push(data.toString("latin1"));
      return true;
    };
    const socket = await client(setup);
    socket.end("x");
    await text(socket);
    const all = sent.join("\n");
    expect(all).toContain('"method":"scram-sha-256"');
    expect(all).not.toContain(setup.target.address.password);
  });

  it("is refused where the agent's facts would break an environment", async () => {
    await expect(setUp(() => {}, { user: "ci", database: "shop\nLD_PRELOAD=/tmp/x" })).rejects.toThrow(/control characters/);
  });

  it("names the session's user and database, or the identity where the agent names no user", async () => {
    expect((await setUp(() => {}, { user: "app", database: "shop" })).target.address).toMatchObject({
      user: "app",
      database: "shop",
      host: "127.0.0.1",
    });
    expect((await setUp(() => {})).target.address).toMatchObject({ user: "orders-ci", database: undefined });
  });
});

describe("commands that need an approval", () => {
  const APPROVAL = `apr_${"0".repeat(26)}`;

  it("each state of an approval is told once, though it is said again on every socket", async () => {
    const setup = await setUp(() => {});
    setup.agent.tell({ approval: APPROVAL, state: "waiting", message: "held for approval" });
    await until(() => setup.said.some((line) => line.includes("held for approval")));
    setup.coupler.cut();
    setup.agent.tell({ approval: APPROVAL, state: "approved", message: "approved by anna" });
    await until(() => setup.said.some((line) => line.includes("approved by anna")));
    expect(setup.said.filter((line) => line.includes("approv"))).toEqual([
      "sallyport: orders-db: held for approval\n",
      "sallyport: orders-db: approved by anna\n",
    ]);
    expect(setup.held.status(3)).toBe(3);
  });

  it("a command that failed after a refusal exits 75; one that succeeded, or failed for its own reasons, as it did", async () => {
    const setup = await setUp(() => {}, {}, "fail");
    expect(setup.coupler.headers["sallyport-hold"]).toBe("fail");
    expect(setup.held.status(3)).toBe(3);
    setup.agent.tell({ approval: APPROVAL, state: "refused", message: "it needs an approval" });
    await until(() => setup.said.length > 0);
    expect([setup.held.status(3), setup.held.status(0)]).toEqual([75, 0]);
  });

  it("SALLYPORT_HOLD is wait or fail, and anything else is told", () => {
    expect([holdMode({}), holdMode({ SALLYPORT_HOLD: "" }), holdMode({ SALLYPORT_HOLD: "fail" })]).toEqual([undefined, undefined, "fail"]);
    expect(() => holdMode({ SALLYPORT_HOLD: "never" })).toThrow(/SALLYPORT_HOLD is "never": write wait/);
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
