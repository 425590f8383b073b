/**
 * What the machine says on the wire, message by message: how much a small exchange costs, when credit is granted,
 * what a resume repeats, and liveness.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { LOST_AFTER_MS, MAX_STREAMS, PING_AFTER_MS, STREAM_WINDOW } from "../../../../protocol/limits.ts";
import { decodeFrame, type Frame } from "../../../../protocol/stream/frame.ts";
import { joined, META, READY, Wire } from "./wire.ts";

let wire: Wire;
beforeEach(() => {
  wire = new Wire();
  wire.connect();
  wire.settle();
});

/** A message as the test compares it. */
function read(message: string | Uint8Array): Frame | Record<string, unknown> {
  if (typeof message === "string") return JSON.parse(message) as Record<string, unknown>;
  const decoded = decodeFrame(message);
  if (!decoded.ok) throw new Error(decoded.error);
  return decoded.value;
}

/** What waits to go to the peer, decoded; stays in the queue. */
function waiting(from: "opener" | "acceptor"): (Frame | Record<string, unknown>)[] {
  wire[from].flush();
  return wire[from].queue.map(read);
}

function open(): number {
  const id = wire.opener.machine.open(META);
  if (id === undefined) throw new Error("refused");
  return id;
}

function consumeAll(side: "opener" | "acceptor", id: number): void {
  const seen = wire[side].of(id);
  wire[side].machine.consumed(id, seen.unconsumed);
  seen.unconsumed = 0;
}

describe("the conversation", () => {
  it("begins with hellos, and the acceptor's facts, on every socket", () => {
    expect(wire.opener.readies).toEqual([READY]);
    wire.cut();
    wire.connect();
    expect(waiting("opener")).toEqual([{ type: "hello", v: 1, epoch: 2, opened: 0, streams: [] }]);
    expect(waiting("acceptor")).toEqual([
      { type: "hello", v: 1, epoch: 2, opened: 0, streams: [] },
      { type: "ready", ...READY },
    ]);
    wire.settle();
    expect([wire.opener.lives, wire.acceptor.lives]).toEqual([2, 2]);
  });

  it("spends one message each way on a small request and its answer", () => {
    const id = open();
    wire.settle();
    wire.opener.machine.write(id, [Buffer.from("question")]);
    expect(waiting("opener")).toHaveLength(1);
    wire.deliver("opener", 1);
    consumeAll("acceptor", id);
    wire.acceptor.machine.write(id, [Buffer.from("ans"), Buffer.from("wer")]);
    expect(waiting("acceptor")).toEqual([
      expect.objectContaining({ type: "data", offset: 0, payload: new Uint8Array(Buffer.from("answer")) }),
    ]);
    wire.deliver("acceptor", 1);
    consumeAll("opener", id);
    expect([waiting("opener"), waiting("acceptor")]).toEqual([[], []]);
  });

  it("grants credit after half a window, not before", () => {
    const id = open();
    wire.opener.machine.write(id, [Buffer.alloc(STREAM_WINDOW)]);
    wire.settle();
    const half = STREAM_WINDOW / 2;
    wire.acceptor.machine.consumed(id, half - 1);
    expect(waiting("acceptor")).toEqual([]);
    wire.acceptor.machine.consumed(id, 1);
    expect(waiting("acceptor")).toEqual([{ type: "window", stream: id, done: false, ack: STREAM_WINDOW, limit: STREAM_WINDOW + half }]);
  });

  it("acknowledges every 128th small frame, so that the peer need not keep them all", () => {
    const id = open();
    for (let n = 1; n <= 128; n += 1) {
      wire.opener.machine.write(id, [Buffer.from("x")]);
      wire.deliver("opener", 10);
      consumeAll("acceptor", id);
      expect(waiting("acceptor")).toHaveLength(n < 128 ? 0 : 1);
    }
    expect(wire.opener.machine.held).toBe(128);
    wire.settle();
    expect(wire.opener.machine.held).toBe(0);
  });

  it("holds what is beyond the credit, and drains when the peer consumes", () => {
    const id = open();
    expect(wire.opener.machine.write(id, [Buffer.alloc(STREAM_WINDOW)])).toBe(true);
    expect(wire.opener.machine.write(id, [Buffer.alloc(10)])).toBe(false);
    wire.settle();
    expect(wire.acceptor.of(id).unconsumed).toBe(STREAM_WINDOW);
    expect(wire.opener.of(id).drains).toBe(0);
    consumeAll("acceptor", id);
    wire.settle();
    expect(wire.opener.of(id).drains).toBe(1);
    expect(wire.acceptor.of(id).unconsumed).toBe(10);
  });

  it("lets streams take turns within a budget, and control pass before them", () => {
    const first = open();
    const second = open();
    wire.settle();
    wire.opener.machine.write(first, [Buffer.alloc(300_000)]);
    wire.opener.machine.write(second, [Buffer.alloc(100_000)]);
    const some = wire.opener.machine.takeOutput(1).map(read);
    expect(some).toEqual([expect.objectContaining({ type: "data", stream: first })]);
    expect(wire.opener.machine.congested).toBe(true);
    wire.opener.machine.reset(second, "cancelled");
    wire.opener.machine.open(META);
    const more = wire.opener.machine.takeOutput(1).map(read);
    expect(more.map((message) => message["type"])).toEqual(["reset", "open", "data"]);
    expect(wire.opener.machine.takeOutput().map(read)).toHaveLength(3);
    expect(wire.opener.machine.congested).toBe(false);
  });

  it("closes a stream in each direction on its own, and forgets it when both have", () => {
    const id = open();
    wire.opener.machine.write(id, [Buffer.from("all")]);
    wire.opener.machine.fin(id);
    wire.settle();
    expect(wire.acceptor.of(id).fins).toBe(1);
    wire.acceptor.machine.write(id, [Buffer.from("still")]);
    consumeAll("acceptor", id);
    wire.settle();
    expect(joined(wire.opener.of(id).bytes).toString()).toBe("still");
    wire.acceptor.machine.fin(id);
    consumeAll("opener", id);
    wire.settle();
    expect([wire.opener.machine.streamCount, wire.acceptor.machine.streamCount]).toEqual([0, 0]);
  });

  it("refuses to open more streams than MAX_STREAMS, until one is over", () => {
    const ids = Array.from({ length: MAX_STREAMS }, () => open());
    expect(wire.opener.machine.open(META)).toBeUndefined();
    wire.settle();
    wire.opener.machine.reset(ids[0] ?? 0, "cancelled");
    // Not before the peer knows: it would count one too many.
    expect(wire.opener.machine.open(META)).toBeUndefined();
    wire.settle();
    expect(wire.opener.machine.open(META)).toBe(MAX_STREAMS + 1);
    wire.settle();
    expect(wire.acceptor.ended).toBeUndefined();
  });

  it("carries an end either way, after what was written", () => {
    const id = open();
    wire.settle();
    wire.acceptor.machine.write(id, [Buffer.from("FATAL")]);
    wire.acceptor.machine.end("session_killed", "by an administrator");
    wire.settle();
    expect(joined(wire.opener.of(id).bytes).toString()).toBe("FATAL");
    expect(wire.opener.ended).toEqual({ type: "ended", by: "peer", code: "session_killed", message: "by an administrator" });
    expect(wire.opener.machine.open(META)).toBeUndefined();
    expect(wire.opener.machine.receive("anything")).toEqual([]);
  });
});

describe("a resume", () => {
  it("repeats exactly what the peer lacks, and opens that were lost", () => {
    const first = open();
    wire.opener.machine.write(first, [Buffer.from("0123456789")]);
    wire.deliver("opener", 2);
    const second = open();
    wire.opener.machine.write(first, [Buffer.from("abc")]);
    wire.opener.machine.write(second, [Buffer.from("new")]);
    wire.opener.machine.fin(second);
    wire.opener.flush();
    wire.cut();
    wire.opener.machine.write(first, [Buffer.from("def")]);
    wire.connect();
    wire.deliver("acceptor", 10);
    expect(waiting("opener").slice(1)).toEqual([
      { type: "open", stream: second, meta: META },
      expect.objectContaining({ type: "data", stream: first, offset: 10, payload: new Uint8Array(Buffer.from("abcdef")) }),
      expect.objectContaining({ type: "data", stream: second, offset: 0, fin: true }),
    ]);
    wire.settle();
    expect(joined(wire.acceptor.of(first).bytes).toString()).toBe("0123456789abcdef");
    expect(joined(wire.acceptor.of(second).bytes).toString()).toBe("new");
  });

  it("says DONE again where a stream was finished between our hello and the peer's", () => {
    const id = open();
    wire.settle();
    wire.opener.machine.write(id, [Buffer.from("x")]);
    wire.opener.machine.fin(id);
    wire.acceptor.machine.fin(id);
    wire.settle();
    wire.cut();
    wire.connect();
    // The acceptor's hello lists the stream as unfinished; it is consumed before the opener's hello comes.
    consumeAll("acceptor", id);
    wire.settle();
    expect([wire.opener.machine.streamCount, wire.acceptor.machine.streamCount]).toEqual([0, 0]);
  });

  it("lets a finished stream go though its last DONE was lost", () => {
    const id = open();
    wire.settle();
    wire.opener.machine.fin(id);
    wire.acceptor.machine.fin(id);
    wire.deliver("opener", 1);
    wire.deliver("acceptor", 2);
    wire.cut();
    wire.connect();
    wire.settle();
    expect([wire.opener.machine.streamCount, wire.acceptor.machine.streamCount]).toEqual([0, 0]);
    expect([wire.opener.ended, wire.acceptor.ended]).toEqual([undefined, undefined]);
  });

  it("keeps a RESET over a cut, tells it once, and forgets the stream", () => {
    const id = open();
    wire.settle();
    wire.acceptor.machine.reset(id, "refused");
    wire.acceptor.flush();
    wire.cut();
    wire.connect();
    wire.settle();
    expect(wire.opener.of(id).resets).toEqual(["refused"]);
    expect([wire.opener.machine.streamCount, wire.acceptor.machine.streamCount]).toEqual([0, 0]);
    expect(wire.opener.machine.write(id, [Buffer.from("late")])).toBe(true);
    expect(waiting("opener")).toEqual([]);
  });

  it("ends with session_lost where the peer begins anew", () => {
    const hello = JSON.stringify({ type: "hello", v: 1, epoch: 1, opened: 0, streams: [] });
    wire.cut();
    wire.connect();
    wire.opener.take(hello);
    expect(wire.opener.ended).toMatchObject({ by: "us", code: "session_lost" });
  });
});

describe("liveness", () => {
  it("pings after silence, and loses a peer that says nothing", () => {
    const { machine } = wire.opener;
    expect(machine.tick(1_000)).toBe("ok");
    expect(machine.tick(1_000 + PING_AFTER_MS - 1)).toBe("ok");
    expect(waiting("opener")).toEqual([]);
    expect(machine.tick(1_000 + PING_AFTER_MS)).toBe("ok");
    expect(waiting("opener")).toEqual([{ type: "ping", n: 1 }]);
    expect(machine.tick(1_000 + LOST_AFTER_MS)).toBe("lost");
  });

  it("counts any message as a sign of life, and answers pings", () => {
    const { machine } = wire.opener;
    machine.tick(1_000);
    machine.tick(1_000 + PING_AFTER_MS);
    wire.settle();
    expect(machine.tick(2_000 + PING_AFTER_MS)).toBe("ok");
    expect(machine.tick(2_000 + PING_AFTER_MS + LOST_AFTER_MS - 1)).toBe("ok");
  });

  it("loses a socket whose peer never greets", () => {
    wire.cut();
    wire.opener.machine.connected(50_000);
    expect(wire.opener.machine.tick(50_000 + LOST_AFTER_MS)).toBe("lost");
  });
});
