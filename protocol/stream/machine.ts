/**
 * One end of a session: numbered streams over a succession of sockets. Sans-IO: messages in → events out, with the
 * messages to send in `takeOutput()`. docs/protocol.md is the specification.
 *
 * Guarantees, whatever the peer does and whenever sockets are cut: the application gets each byte of a stream once and
 * in order; FIN and RESET arrive once; no more than STREAM_WINDOW bytes per stream and direction are kept, and one chunk
 * that the application has written beyond; a peer that breaks the protocol ends the session with `protocol_violation`.
 * It has no clock: `tick` is told the time, and resume windows are the shell's business.
 *
 * The opener opens streams, the acceptor takes them; in all else the two ends are alike.
 */
import type { ErrorCode } from "../errors.ts";
import { LOST_AFTER_MS, MAX_APPROVAL_NOTICES, PING_AFTER_MS } from "../limits.ts";
import { unreachable } from "../result.ts";
import { parseSessionControl, type ApprovalNotice, type ResetCode, type SessionControl, type StreamMeta } from "./control.ts";
import type { ReadyFacts, SessionEvent } from "./events.ts";
import { cleared, type Allocate } from "./frame.ts";
import { StreamTable, type Wrong } from "./machine-streams.ts";

export type MachineRole = { readonly role: "opener" } | { readonly role: "acceptor"; readonly ready: ReadyFacts };

type Phase =
  /** No socket. */
  | "detached"
  /** Our hello is out, the peer's has not come. */
  | "greeting"
  | "live"
  | "ended";

const MAX_END_MESSAGE = 1024;
const NOTHING: readonly never[] = [];

export class SessionMachine {
  readonly #role: MachineRole;
  readonly #table: StreamTable;
  readonly #allocate: Allocate;
  #phase: Phase = "detached";
  #epoch = 0;
  #peerEpoch = 0;
  #output: (string | Uint8Array)[] = [];
  #heard = false;
  #heardAt = 0;
  #pings = 0;
  /** Acceptor: what was told last of each approval, said again on every socket. Opener: what was heard last. */
  readonly #notices = new Map<string, ApprovalNotice>();
  #pingedAt = 0;

  /** `allocate`: memory for DATA frames. */
  constructor(role: MachineRole, allocate: Allocate = cleared) {
    this.#role = role;
    this.#allocate = allocate;
    this.#table = new StreamTable(role.role === "opener", (message) =>
      this.#output.push(message instanceof Uint8Array ? message : JSON.stringify(message)),
    );
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Streams open, or reset and not known to be. */
  get streamCount(): number {
    return this.#table.count;
  }

  /** Bytes kept for the peer over all streams. */
  get held(): number {
    return this.#table.held;
  }

  /**
   * Messages to send, in order, on the present socket: all control messages, WINDOWs and RESETs, and DATA until `budget`
   * bytes are exceeded. What is left stays with the machine (`congested`), not in the socket's queue, where it would delay
   * everything else and be kept twice.
   */
  takeOutput(budget = Number.POSITIVE_INFINITY): readonly (string | Uint8Array)[] {
    for (let left = budget; left > 0;) {
      const frame = this.#table.nextFrame(this.#allocate);
      if (frame === undefined) break;
      this.#output.push(frame);
      left -= frame.length;
    }
    if (this.#output.length === 0) return NOTHING;
    const output = this.#output;
    this.#output = [];
    return output;
  }

  /** There is DATA that credit allows and that no budget has let out yet. */
  get congested(): boolean {
    return this.#table.sendable;
  }

  /** A new socket is open; whatever the last one still carried is lost. `now`: monotonic, ms. */
  connected(now: number): void {
    if (this.#phase === "ended") return;
    this.#phase = "greeting";
    this.#output = [];
    this.#heard = false;
    this.#heardAt = now;
    this.#pingedAt = now;
    this.#epoch += 1;
    this.#say({ type: "hello", v: 1, epoch: this.#epoch, ...this.#table.greet() });
    if (this.#role.role !== "acceptor") return;
    this.#say({ type: "ready", ...this.#role.ready });
    for (const notice of this.#notices.values()) this.#say({ type: "approval", ...notice });
  }

  /** The socket is gone. Streams stay as they are. */
  disconnected(): void {
    if (this.#phase === "ended") return;
    this.#phase = "detached";
    this.#output = [];
    this.#table.down();
  }

  /** Takes one message of the present socket. */
  receive(message: string | Uint8Array): readonly SessionEvent[] {
    if (this.#phase === "ended" || this.#phase === "detached") return NOTHING;
    this.#heard = true;
    const events: SessionEvent[] = [];
    const wrong = typeof message === "string" ? this.#control(message, events) : this.#frame(message, events);
    if (wrong !== undefined) events.push(this.#end("us", "protocol_violation", wrong));
    return events;
  }

  /** Opens a stream; undefined where MAX_STREAMS are open or the session has ended. */
  open(meta: StreamMeta): number | undefined {
    if (this.#role.role !== "opener") throw new Error("only the opener opens streams");
    return this.#phase === "ended" ? undefined : this.#table.open(meta);
  }

  /**
   * Takes ownership of the chunks, and packs them into as few frames as they fit. False: beyond the peer's credit, wait
   * for `drain`. A stream that is gone swallows them.
   */
  write(id: number, chunks: readonly Uint8Array[]): boolean {
    return this.#table.write(id, chunks);
  }

  /** The last byte has been written. */
  fin(id: number): void {
    this.#table.fin(id);
  }

  /** Drops the stream both ways: what was not sent never will be, what arrives is ignored. */
  reset(id: number, code: ResetCode): void {
    this.#table.reset(id, code);
  }

  /** The application has taken `count` bytes of `data` events: they become credit. */
  consumed(id: number, count: number): void {
    this.#table.consumed(id, count);
  }

  /**
   * Acceptor: how an approval stands now. Said at once, or on the next socket; the last state of each of the latest
   * MAX_APPROVAL_NOTICES is said again on every socket, since nothing acknowledges a control message.
   */
  approval(notice: ApprovalNotice): void {
    if (this.#role.role !== "acceptor") throw new Error("only the acceptor tells of approvals");
    if (this.#phase === "ended") return;
    this.#remember(notice);
    if (this.#phase !== "detached") this.#say({ type: "approval", ...notice });
  }

  #remember(notice: ApprovalNotice): void {
    this.#notices.delete(notice.approval);
    this.#notices.set(notice.approval, notice);
    for (const oldest of this.#notices.keys()) {
      if (this.#notices.size <= MAX_APPROVAL_NOTICES) break;
      this.#notices.delete(oldest);
    }
  }

  /** Ends the session for both ends, after what credit allows to be sent; undefined where it has ended already. */
  end(code: ErrorCode, message: string): SessionEvent | undefined {
    if (this.#phase === "ended") return undefined;
    this.#letOut(Number.POSITIVE_INFINITY);
    return this.#end("us", code, message);
  }

  /**
   * To be called every few seconds while there is a socket. `now`: monotonic, ms. "lost": the peer has been silent
   * for LOST_AFTER_MS, drop the socket.
   */
  tick(now: number): "ok" | "lost" {
    if (this.#phase === "detached" || this.#phase === "ended") return "ok";
    if (this.#heard) {
      this.#heard = false;
      this.#heardAt = now;
    }
    const silence = now - this.#heardAt;
    if (silence >= LOST_AFTER_MS) return "lost";
    if (this.#phase === "live" && silence >= PING_AFTER_MS && now - this.#pingedAt >= PING_AFTER_MS / 2) {
      this.#pingedAt = now;
      this.#pings += 1;
      this.#say({ type: "ping", n: this.#pings });
    }
    return "ok";
  }

  #letOut(budget: number): void {
    for (let left = budget; left > 0;) {
      const frame = this.#table.nextFrame(this.#allocate);
      if (frame === undefined) return;
      this.#output.push(frame);
      left -= frame.length;
    }
  }

  #frame(bytes: Uint8Array, events: SessionEvent[]): Wrong {
    return this.#phase === "live" ? this.#table.frame(bytes, events) : "frame before hello";
  }

  #control(text: string, events: SessionEvent[]): Wrong {
    const parsed = parseSessionControl(text);
    if (!parsed.ok) return parsed.error;
    const message = parsed.value;
    if (this.#phase !== "live" && message.type !== "hello" && message.type !== "end") return `${message.type} before hello`;
    switch (message.type) {
      case "hello":
        return this.#hello(message, events);
      case "ready": {
        if (this.#role.role !== "opener") return "ready from the opener";
        const { target, protocol, database, user } = message;
        events.push({ type: "ready", ready: { target, protocol, database, user } });
        return undefined;
      }
      case "approval": {
        if (this.#role.role !== "opener") return "approval from the opener";
        const { approval, state, message: sentence } = message;
        // Said again on each socket; told once.
        if (this.#notices.get(approval)?.state === state) return undefined;
        const news = { approval, state, message: sentence };
        this.#remember(news);
        events.push({ type: "approval", news });
        return undefined;
      }
      case "open":
        return this.#table.peerOpens(message.stream, message.meta, events);
      case "end":
        events.push(this.#end("peer", message.code, message.message));
        return undefined;
      case "ping":
        this.#say({ type: "pong", n: message.n });
        return undefined;
      case "pong":
        return message.n > this.#pings ? "pong without a ping" : undefined;
      default:
        return unreachable(message);
    }
  }

  #hello(hello: Extract<SessionControl, { type: "hello" }>, events: SessionEvent[]): Wrong {
    if (this.#phase !== "greeting") return "second hello on one socket";
    if (hello.epoch <= this.#peerEpoch) {
      // It counts from the beginning again: it has lost what it kept for us, and would repeat or skip bytes.
      events.push(this.#end("us", "session_lost", `the peer has forgotten the session: hello ${hello.epoch} after ${this.#peerEpoch}`));
      return undefined;
    }
    this.#peerEpoch = hello.epoch;
    this.#phase = "live";
    return this.#table.resume(hello, events);
  }

  #say(message: SessionControl): void {
    this.#output.push(JSON.stringify(message));
  }

  #end(by: "us" | "peer", code: ErrorCode, message: string): SessionEvent {
    const text = message.slice(0, MAX_END_MESSAGE);
    if (by === "us" && this.#phase !== "detached") this.#say({ type: "end", code, message: text });
    this.#phase = "ended";
    this.#table.clear();
    return { type: "ended", by, code, message: text };
  }
}
