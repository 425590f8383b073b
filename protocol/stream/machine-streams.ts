/**
 * The streams of one end of a session: opening, data, credit, ends, and what a resume does to each. It knows whether
 * frames may be sent (`live`), not how sockets come and go: that is machine.ts.
 */
import { MAX_STREAMS } from "../limits.ts";
import { unreachable } from "../result.ts";
import type { ResetCode, SessionControl, StreamMeta, StreamState } from "./control.ts";
import type { SessionEvent } from "./events.ts";
import { decodeFrame, encodeReset, encodeWindow, type Allocate, type Frame } from "./frame.ts";
import { ReceiveSide } from "./receive-side.ts";
import { SendSide } from "./send-side.ts";

/** What is wrong with a message, or undefined. */
export type Wrong = string | undefined;

interface Stream {
  readonly meta: StreamMeta;
  readonly send: SendSide;
  readonly receive: ReceiveSide;
}

/**
 * - `down`: no socket; nothing may be sent, and what finishes may be forgotten, since the next hello will not list it.
 * - `greeting`: our hello has listed the streams and the peer's has not come; nothing may be sent nor forgotten.
 * - `live`: frames flow.
 */
type Link = "down" | "greeting" | "live";

const MAX_STREAM_ID = 0xffffffff;

export class StreamTable {
  readonly #opener: boolean;
  readonly #send: (message: Uint8Array | SessionControl) => void;
  readonly #streams = new Map<number, Stream>();
  /** Streams that we have reset and whose peer has not said that it knows. */
  readonly #resets = new Map<number, ResetCode>();
  /** Streams that have something to send, whose turn comes in this order; empty unless live. */
  readonly #ready = new Map<number, Stream>();
  /** The highest stream id opened: by us as opener, by the peer as acceptor. */
  #opened = 0;
  #link: Link = "down";

  constructor(opener: boolean, send: (message: Uint8Array | SessionControl) => void) {
    this.#opener = opener;
    this.#send = send;
  }

  get count(): number {
    return this.#streams.size + this.#resets.size;
  }

  /** Bytes kept for the peer over all streams. */
  get held(): number {
    let sum = 0;
    for (const stream of this.#streams.values()) sum += stream.send.held;
    return sum;
  }

  /** What a hello says of the streams. From now on, until `resume`, nothing is sent. */
  greet(): { readonly opened: number; readonly streams: StreamState[] } {
    this.down();
    this.#link = "greeting";
    const streams: StreamState[] = [];
    for (const [id, { receive }] of this.#streams) {
      receive.grant();
      streams.push({ id, received: receive.received, limit: receive.limit, fin: receive.fin });
    }
    for (const [id, reset] of this.#resets) streams.push({ id, received: 0, limit: 0, fin: false, reset });
    return { opened: this.#opener ? 0 : this.#opened, streams };
  }

  down(): void {
    this.#link = "down";
    this.#ready.clear();
  }

  clear(): void {
    this.down();
    this.#streams.clear();
    this.#resets.clear();
  }

  // ── what the application does ──

  open(meta: StreamMeta): number | undefined {
    if (this.count >= MAX_STREAMS || this.#opened >= MAX_STREAM_ID) return undefined;
    const id = (this.#opened += 1);
    this.#streams.set(id, { meta, send: new SendSide(id), receive: new ReceiveSide() });
    if (this.#link === "live") this.#send({ type: "open", stream: id, meta });
    return id;
  }

  write(id: number, chunks: readonly Uint8Array[]): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined) return true;
    if (stream.send.finished) throw new Error(`stream ${id}: write after FIN`);
    for (const chunk of chunks) stream.send.write(chunk);
    this.#pump(id, stream);
    return !stream.send.blocked;
  }

  fin(id: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.send.finish();
    this.#pump(id, stream);
  }

  reset(id: number, code: ResetCode): void {
    if (!this.#forget(id)) return;
    this.#resets.set(id, code);
    if (this.#link === "live") this.#send(encodeReset(id, code, false));
  }

  consumed(id: number, count: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.receive.consume(count);
    this.#grant(id, stream);
  }

  /** Whether nextFrame() has one. */
  get sendable(): boolean {
    return this.#ready.size > 0;
  }

  /** The next DATA frame; the streams take turns. */
  nextFrame(allocate: Allocate): Uint8Array | undefined {
    for (const [id, stream] of this.#ready) {
      const frame = stream.send.nextFrame(allocate);
      if (!stream.send.sendable) this.#ready.delete(id);
      else if (this.#ready.size > 1) {
        this.#ready.delete(id);
        this.#ready.set(id, stream);
      }
      return frame;
    }
    return undefined;
  }

  // ── what the peer says ──

  /** The peer's hello: agree on offsets, send what it lacks, forget what it has finished with. */
  resume(hello: Extract<SessionControl, { type: "hello" }>, events: SessionEvent[]): Wrong {
    // The opener judges by what the acceptor has seen; the acceptor has seen every stream that it keeps.
    const seen = this.#opener ? hello.opened : this.#opened;
    if (this.#opener ? seen > this.#opened : hello.opened !== 0) return `hello claims ${hello.opened} opened streams`;
    this.#link = "live";
    const listed = new Set<number>();
    for (const entry of hello.streams) {
      if (listed.has(entry.id)) return `hello lists stream ${entry.id} twice`;
      if (this.#opener && entry.id > seen) return `hello lists stream ${entry.id} but has seen ${seen}`;
      listed.add(entry.id);
      const wrong = this.#resumeListed(entry, events);
      if (wrong !== undefined) return `hello, stream ${entry.id}: ${wrong}`;
    }
    for (const [id, code] of this.#resets) {
      // Not listed: the peer knows of the reset, or never knew the stream.
      if (listed.has(id)) this.#send(encodeReset(id, code, false));
      else this.#resets.delete(id);
    }
    events.push({ type: "live" });
    for (const [id, stream] of this.#streams) {
      const wrong = listed.has(id) ? undefined : this.#resumeUnlisted(id, stream, id > seen);
      if (wrong !== undefined) return `hello, stream ${id}: ${wrong}`;
      if (!this.#streams.has(id)) continue;
      this.#pump(id, stream);
      this.#grant(id, stream); // what became due while nothing could be sent
    }
    return undefined;
  }

  #resumeListed(entry: StreamState, events: SessionEvent[]): Wrong {
    if (entry.reset !== undefined) {
      this.#peerResets(entry.id, entry.reset, false, events);
      return undefined;
    }
    const stream = this.#streams.get(entry.id);
    if (stream === undefined) return undefined; // finished here: our hello does not list it, which tells the peer
    const was = stream.send.blocked;
    const wrong = stream.send.resume(entry.received, entry.limit, entry.fin);
    if (wrong === undefined && was && !stream.send.blocked) events.push({ type: "drain", stream: entry.id });
    return wrong;
  }

  #resumeUnlisted(id: number, stream: Stream, unseen: boolean): Wrong {
    if (unseen) {
      this.#send({ type: "open", stream: id, meta: stream.meta });
      return stream.send.rewind();
    }
    // The peer forgets a stream once both directions are done, so ours are too, though its last DONE was lost.
    if (!stream.send.finReached || !stream.receive.done) return "forgotten before its end";
    this.#forget(id);
    return undefined;
  }

  peerOpens(id: number, meta: StreamMeta, events: SessionEvent[]): Wrong {
    if (this.#opener) return "open from the acceptor";
    if (id <= this.#opened) return `open of stream ${id} after ${this.#opened}`;
    if (this.count >= MAX_STREAMS) return `more than ${MAX_STREAMS} streams`;
    this.#opened = id;
    this.#streams.set(id, { meta, send: new SendSide(id), receive: new ReceiveSide() });
    events.push({ type: "open", stream: id, meta });
    return undefined;
  }

  frame(bytes: Uint8Array, events: SessionEvent[]): Wrong {
    const decoded = decodeFrame(bytes);
    if (!decoded.ok) return decoded.error;
    const frame = decoded.value;
    const stream = this.#streams.get(frame.stream);
    if (stream === undefined) {
      if (frame.stream > this.#opened) return `frame for stream ${frame.stream}, which was not opened`;
      if (frame.type === "reset") this.#peerResets(frame.stream, frame.code, frame.answer, events);
      return undefined; // the rest has crossed with the stream's end
    }
    switch (frame.type) {
      case "data":
        return this.#data(frame, stream, events);
      case "window":
        return this.#window(frame, stream, events);
      case "reset":
        this.#peerResets(frame.stream, frame.code, frame.answer, events);
        return undefined;
      default:
        return unreachable(frame);
    }
  }

  #data(frame: Extract<Frame, { type: "data" }>, stream: Stream, events: SessionEvent[]): Wrong {
    const taken = stream.receive.data(frame.offset, frame.payload, frame.fin);
    if (typeof taken === "string") return `stream ${frame.stream}: ${taken}`;
    if (taken.fresh.length > 0) events.push({ type: "data", stream: frame.stream, bytes: taken.fresh });
    if (taken.fin) events.push({ type: "fin", stream: frame.stream });
    // With something to consume, the WINDOW waits for consumed(): the application gets its data first.
    if (taken.fresh.length === 0) this.#grant(frame.stream, stream);
    return undefined;
  }

  #window(frame: Extract<Frame, { type: "window" }>, stream: Stream, events: SessionEvent[]): Wrong {
    const was = stream.send.blocked;
    const wrong = stream.send.window(frame.ack, frame.limit, frame.done);
    if (wrong !== undefined) return `stream ${frame.stream}: ${wrong}`;
    this.#pump(frame.stream, stream);
    if (was && !stream.send.blocked) events.push({ type: "drain", stream: frame.stream });
    this.#forgetIfDone(frame.stream, stream);
    return undefined;
  }

  /** Every RESET is answered once, whatever is known of the stream: so its sender may forget it. */
  #peerResets(id: number, code: ResetCode, answer: boolean, events: SessionEvent[]): void {
    if (answer) {
      this.#resets.delete(id);
      return;
    }
    if (id > this.#opened) return; // in a hello: its open was lost with a socket, so it never was
    if (this.#forget(id)) events.push({ type: "reset", stream: id, code });
    this.#send(encodeReset(id, code, true));
  }

  // ── inside ──

  #forget(id: number): boolean {
    this.#ready.delete(id);
    return this.#streams.delete(id);
  }

  #pump(id: number, stream: Stream): void {
    if (this.#link === "live" && stream.send.sendable) this.#ready.set(id, stream);
  }

  #grant(id: number, stream: Stream): void {
    const { receive } = stream;
    if (receive.windowDue && this.#link === "live") {
      receive.grant();
      this.#send(encodeWindow(id, receive.received, receive.limit, receive.done));
    }
    this.#forgetIfDone(id, stream);
  }

  #forgetIfDone(id: number, stream: Stream): void {
    if (stream.send.done && stream.receive.done && this.#link !== "greeting") this.#forget(id);
  }
}
