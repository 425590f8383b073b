/** The control socket against a real server: redial, dead connections, messages that are none, and its backoff. */
import * as fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import type { AddressInfo } from "node:net";
import type { EdgeToAgent } from "../../../protocol/agent-control.ts";
import { backoffDelay } from "../../../tunnel-agent/uplink/backoff.ts";
import { ControlSocket, type ControlSocketOptions } from "../../../tunnel-agent/uplink/control-socket.ts";

let server: WebSocketServer;
let accepted: WebSocket[];
let heard: string[];
let log: string;
let messages: EdgeToAgent[];
let socket: ControlSocket | undefined;
let lost: number;

beforeEach(async () => {
  accepted = [];
  heard = [];
  messages = [];
  log = "";
  lost = 0;
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((resolve) => server.once("listening", resolve));
  server.on("connection", (ws) => {
    accepted.push(ws);
    ws.on("message", (data: Buffer) => {
      heard.push(data.toString());
      if (data.toString() === "ping") ws.send("pong");
    });
  });
});
afterEach(async () => {
  socket?.stop();
  for (const client of server.clients) client.terminate();
  await new Promise((resolve) => server.close(resolve));
});

function dial(over: Partial<ControlSocketOptions> = {}): ControlSocket {
  socket = new ControlSocket({
    gateway: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    headers: () => Promise.resolve({ authorization: "Bearer x" }),
    onOpen: () => {},
    onMessage: (message) => messages.push(message),
    onAlive: () => {},
    onLost: () => (lost += 1),
    log: pino({ level: "debug" }, { write: (line: string) => void (log += line) }),
    random: () => 0,
    ...over,
  });
  socket.start();
  return socket;
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 1_000 && !condition(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}

describe("redial", () => {
  test("after a cut, after a refusal, and after headers that could not be made; never two sockets", async () => {
    const control = dial();
    await until(() => control.connected);
    accepted[0]?.terminate();
    await until(() => accepted.length === 2 && control.connected);
    expect(lost).toBe(1);
    expect(server.clients.size).toBe(1);
    server.shouldHandle = () => false;
    accepted[1]?.terminate();
    await until(() => log.includes('"reason":"HTTP 400"'));
    server.shouldHandle = () => true;
    await until(() => control.connected);
    control.stop();
    let tries = 0;
    const again = dial({
      headers: () => {
        tries += 1;
        return tries === 1 ? Promise.reject(new Error("no key")) : Promise.resolve({});
      },
    });
    await until(() => again.connected);
    expect(again.dials).toBe(2);
  });

  test("stop is for good", async () => {
    const control = dial();
    await until(() => control.connected);
    control.stop();
    await until(() => server.clients.size === 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(accepted).toHaveLength(1);
  });

  test("a connection that answers nothing counts as dead", async () => {
    const control = dial({ timing: { pingMs: 20, lostMs: 100 } });
    await until(() => heard.includes("ping"));
    await new Promise((resolve) => setTimeout(resolve, 200));
    // It answers, so it lives.
    expect(accepted).toHaveLength(1);
    accepted[0]?.pause();
    await until(() => accepted.length === 2 && control.connected);
    expect(log).toContain("no answer to pings");
  });
});

describe("messages", () => {
  test("what the schema does not know is logged and ignored; what follows is heard", async () => {
    const control = dial();
    await until(() => control.connected);
    const [edge] = accepted;
    edge?.send("not json");
    edge?.send(JSON.stringify({ type: "obey", now: true }));
    edge?.send(JSON.stringify({ type: "kill", session: "ses_1", code: "no_such_code", message: "x" }));
    edge?.send(Buffer.from([1, 2, 3]), { binary: true });
    edge?.send(JSON.stringify({ type: "kill", session: "ses_2", code: "session_killed", message: "x" }));
    await until(() => messages.length > 0);
    expect(messages).toEqual([{ type: "kill", session: "ses_2", code: "session_killed", message: "x" }]);
    expect(control.connected).toBe(true);
    expect(log).not.toContain("obey");
  });

  test("one over its limit closes the connection before it is kept", async () => {
    const control = dial();
    await until(() => control.connected);
    accepted[0]?.send("x".repeat(4 * 1024 * 1024));
    await until(() => accepted.length === 2);
    expect(messages).toEqual([]);
  });

  test("a round trip says that the other end has what was sent before, and only then", async () => {
    const control = dial();
    await until(() => control.connected);
    let arrived = false;
    accepted[0]?.pause();
    control.send({ type: "draining" });
    control.afterRoundTrip(() => (arrived = true));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([arrived, heard]).toEqual([false, []]);
    accepted[0]?.resume();
    await until(() => arrived);
    expect(heard).toEqual(['{"type":"draining"}']);
  });
});

test("backoff grows to its limit, and is never less than half a step", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempts, random) => {
      const delay = backoffDelay(attempts, { baseMs: 250, maxMs: 30_000 }, () => random);
      const step = Math.min(30_000, 250 * 2 ** Math.min(attempts - 1, 30));
      expect(delay).toBeGreaterThanOrEqual(step / 2);
      expect(delay).toBeLessThanOrEqual(step);
    }),
  );
});
