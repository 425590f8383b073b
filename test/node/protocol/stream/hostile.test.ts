/**
 * A peer that breaks the protocol: each violation ends the session with `protocol_violation` and its own sentence, and
 * the peer is told before the socket closes. What is merely late is ignored.
 */
import { describe, expect, it } from "vitest";
import { MAX_FRAME_PAYLOAD, MAX_SESSION_CONTROL, MAX_STREAMS, STREAM_WINDOW } from "../../../../protocol/limits.ts";
import { beginData, encodeReset, encodeWindow, MAX_FRAME } from "../../../../protocol/stream/frame.ts";
import { META, Wire, type End } from "./wire.ts";

type Message = string | Uint8Array;

const hello = (more: object = {}): string => JSON.stringify({ type: "hello", v: 1, epoch: 9, opened: 0, streams: [], ...more });
const openMessage = (stream: number): string => JSON.stringify({ type: "open", stream, meta: META });
const data = (stream: number, offset: number, length: number, fin = false): Uint8Array => beginData(stream, offset, length, fin);
const entry = (id: number, more: object = {}): object => ({ id, received: 0, limit: STREAM_WINDOW, fin: false, ...more });

/** A live pair with one open stream, of which 100 bytes went from opener to acceptor and none was acknowledged. */
function live(): Wire {
  const wire = new Wire();
  wire.connect();
  const id = wire.opener.machine.open(META);
  wire.opener.machine.write(id ?? 0, [Buffer.alloc(100)]);
  wire.settle();
  return wire;
}

/** The end's answer to one message. */
function answer(end: End, message: Message): { code: string | undefined; message: string | undefined; told: unknown } {
  end.queue.length = 0;
  end.take(message);
  const last = end.queue.at(-1);
  return { code: end.ended?.code, message: end.ended?.message, told: typeof last === "string" ? JSON.parse(last) : last };
}

const VIOLATIONS: { what: string; to: "opener" | "acceptor"; message: Message; says: string }[] = [
  { what: "text that is not JSON", to: "acceptor", message: "{", says: "not JSON" },
  { what: "an unknown control message", to: "acceptor", message: '{"type":"sudo"}', says: "control message" },
  { what: "an oversized control message", to: "acceptor", message: `"${"x".repeat(MAX_SESSION_CONTROL)}"`, says: "limit" },
  { what: "a second hello", to: "acceptor", message: hello(), says: "second hello" },
  { what: "open by the acceptor", to: "opener", message: openMessage(2), says: "open from the acceptor" },
  { what: "ready from the opener", to: "acceptor", message: '{"type":"ready","target":"t","protocol":"p"}', says: "ready from the opener" },
  { what: "a stream opened twice", to: "acceptor", message: openMessage(1), says: "open of stream 1 after 1" },
  { what: "a pong without a ping", to: "opener", message: '{"type":"pong","n":1}', says: "pong without a ping" },
  { what: "an unknown frame", to: "acceptor", message: new Uint8Array(20).fill(9), says: "unknown type" },
  { what: "an empty frame", to: "acceptor", message: new Uint8Array(0), says: "shorter" },
  { what: "an oversized frame", to: "acceptor", message: data(1, 100, MAX_FRAME_PAYLOAD + 1), says: "limit" },
  { what: "data on a stream that was not opened", to: "acceptor", message: data(2, 0, 1), says: "not opened" },
  { what: "data beyond the credit", to: "acceptor", message: data(1, STREAM_WINDOW, 1), says: "gap" },
  { what: "data with a gap", to: "acceptor", message: data(1, 101, 1), says: "gap" },
  { what: "a FIN below what was received", to: "acceptor", message: data(1, 0, 50, true), says: "FIN at 50 after 100" },
  {
    what: "an acknowledgement of what was not sent",
    to: "opener",
    message: encodeWindow(1, 101, STREAM_WINDOW, false),
    says: "acknowledges 101 of 100",
  },
  { what: "DONE before the end", to: "opener", message: encodeWindow(1, 100, STREAM_WINDOW, true), says: "DONE before the end" },
  { what: "credit that falls", to: "opener", message: encodeWindow(1, 100, STREAM_WINDOW - 1, false), says: "credit falls" },
  { what: "credit without bound", to: "opener", message: encodeWindow(1, 100, 2 ** 50, false), says: "limit" },
];

describe("a peer that breaks the protocol", () => {
  it.each(VIOLATIONS)("$what", ({ to, message, says }) => {
    const wire = live();
    const got = answer(wire[to], message);
    expect(got.code).toBe("protocol_violation");
    expect(got.message).toContain(says);
    expect(got.told).toEqual({ type: "end", code: "protocol_violation", message: got.message });
    expect(wire[to].machine.streamCount).toBe(0);
  });

  it("overruns its credit, in order", () => {
    const { acceptor } = live();
    for (let offset = 100; offset < STREAM_WINDOW;) {
      const length = Math.min(MAX_FRAME_PAYLOAD, STREAM_WINDOW - offset);
      acceptor.take(data(1, offset, length));
      offset += length;
    }
    expect(acceptor.ended).toBeUndefined();
    expect(answer(acceptor, data(1, STREAM_WINDOW, 1)).message).toContain("exceeds its credit");
  });

  it("opens more streams than it may, by one", () => {
    const { acceptor } = live();
    for (let id = 2; id <= MAX_STREAMS; id += 1) acceptor.take(openMessage(id));
    expect(acceptor.ended).toBeUndefined();
    expect(answer(acceptor, openMessage(MAX_STREAMS + 1)).message).toContain("more than 256 streams");
  });

  it("sends data after its FIN", () => {
    const { acceptor } = live();
    acceptor.take(data(1, 100, 0, true));
    expect(acceptor.ended).toBeUndefined();
    expect(answer(acceptor, data(1, 100, 1)).message).toContain("DATA after FIN");
  });

  it("goes back on an acknowledgement", () => {
    const { opener } = live();
    opener.take(encodeWindow(1, 60, STREAM_WINDOW, false));
    expect(opener.ended).toBeUndefined();
    expect(answer(opener, encodeWindow(1, 59, STREAM_WINDOW, false)).message).toContain("falls from 60 to 59");
  });
});

const GREETINGS: { what: string; to: "opener" | "acceptor"; message: Message; says: string }[] = [
  { what: "a frame before hello", to: "acceptor", message: data(1, 100, 1), says: "frame before hello" },
  { what: "control before hello", to: "acceptor", message: openMessage(2), says: "open before hello" },
  { what: "another version", to: "acceptor", message: hello({ v: 2 }), says: "control message" },
  { what: "an opener that was opened to", to: "acceptor", message: hello({ opened: 1 }), says: "claims 1 opened" },
  { what: "streams never opened", to: "opener", message: hello({ opened: 2 }), says: "claims 2 opened" },
  { what: "a stream beyond what it has seen", to: "opener", message: hello({ opened: 0, streams: [entry(1)] }), says: "has seen 0" },
  { what: "a stream twice", to: "opener", message: hello({ opened: 1, streams: [entry(1), entry(1)] }), says: "twice" },
  {
    what: "bytes never sent",
    to: "opener",
    message: hello({ opened: 1, streams: [entry(1, { received: 101 })] }),
    says: "claims 101 of 100",
  },
  {
    what: "a FIN never sent",
    to: "opener",
    message: hello({ opened: 1, streams: [entry(1, { received: 100, fin: true })] }),
    says: "FIN that was not sent",
  },
  { what: "credit without bound", to: "opener", message: hello({ opened: 1, streams: [entry(1, { limit: 2 ** 40 })] }), says: "limit" },
  { what: "an unfinished stream forgotten", to: "opener", message: hello({ opened: 1 }), says: "forgotten before its end" },
  {
    what: "too many streams",
    to: "opener",
    message: hello({ streams: Array.from({ length: MAX_STREAMS + 1 }, (_, i) => entry(i + 1)) }),
    says: "control message",
  },
];

describe("a peer that resumes wrongly", () => {
  it.each(GREETINGS)("$what", ({ to, message, says }) => {
    const wire = live();
    wire.cut();
    wire.connect();
    const got = answer(wire[to], message);
    expect(got.code).toBe("protocol_violation");
    expect(got.message).toContain(says);
  });

  it("takes back an acknowledgement it gave before the cut", () => {
    const wire = live();
    wire.opener.take(encodeWindow(1, 60, STREAM_WINDOW, false));
    wire.cut();
    wire.connect();
    expect(answer(wire.opener, hello({ opened: 1, streams: [entry(1, { received: 59 })] })).message).toContain("falls from 60 to 59");
  });
});

describe("what is late, repeated or crossed", () => {
  it("is ignored on a stream that is over", () => {
    const { acceptor, opener } = live();
    acceptor.machine.reset(1, "cancelled");
    acceptor.take(data(1, 100, 10));
    acceptor.take(encodeWindow(1, 0, STREAM_WINDOW, false));
    expect(acceptor.ended).toBeUndefined();
    opener.take(encodeReset(1, "cancelled", false));
    opener.take(encodeReset(1, "cancelled", false));
    opener.take(encodeReset(1, "cancelled", true));
    expect(opener.of(1).resets).toEqual(["cancelled"]);
    expect(opener.ended).toBeUndefined();
  });

  it("is trimmed to the part that is new", () => {
    const { acceptor } = live();
    const repeated = data(1, 90, 20);
    repeated.fill(7, 14);
    acceptor.take(repeated);
    expect(acceptor.of(1).bytes.map((bytes) => bytes.length)).toEqual([100, 10]);
    acceptor.take(data(1, 0, 100));
    expect(acceptor.of(1).unconsumed).toBe(110);
    expect(acceptor.ended).toBeUndefined();
  });

  it("a frame of the largest size is taken", () => {
    const { acceptor } = live();
    const largest = data(1, 100, MAX_FRAME_PAYLOAD);
    expect(largest.length).toBe(MAX_FRAME);
    acceptor.take(largest);
    expect(acceptor.ended).toBeUndefined();
  });
});
