/**
 * One session over a succession of WebSockets: the shell around SessionMachine that connector.ts and agent.ts share.
 * It dials, says when the session is lost or open, redials within the resume window, and ends once, for one reason.
 *
 * A socket that closes is normal (a deploy drops all of them) and is redialled, with the exceptions of a close that
 * says the peer did not understand us, and of a refusal that says the session is over. After the end nothing is
 * dialled; the streams can still be read to the end of what has arrived.
 */
import type { WebSocket } from "ws";
import { LOST_AFTER_MS, RESUME_WINDOW_MS } from "../protocol/limits.ts";
import { unreachable } from "../protocol/result.ts";
import type { ApprovalNotice, StreamMeta } from "../protocol/stream/control.ts";
import type { SessionEvent } from "../protocol/stream/events.ts";
import { SessionMachine, type MachineRole } from "../protocol/stream/machine.ts";
import { redialDelay, type LinkTiming } from "./backoff.ts";
import { endOfRefusal, whenOpen, type DialFailure } from "./dial.ts";
import { FramePool } from "./frame-pool.ts";
import { isShielded, sendMessage } from "./masking.ts";
import { SessionStream } from "./stream.ts";
import { SessionEndedError, type LinkLog, type LinkState, type Ready, type SessionEnd } from "./types.ts";

export interface SessionLinkOptions {
  readonly role: MachineRole;
  /** The next socket, open or still opening. A rejection counts as a failed try. */
  readonly dial: () => Promise<WebSocket>;
  /** Acceptor: the peer has opened a stream. */
  readonly onStream?: ((stream: SessionStream) => void) | undefined;
  /** Opener only. */
  readonly onApproval?: ((notice: ApprovalNotice) => void) | undefined;
  readonly onState?: ((state: LinkState, why: string) => void) | undefined;
  readonly log: LinkLog;
  readonly timing?: Partial<LinkTiming> | undefined;
  /** In [0, 1). */
  readonly random?: (() => number) | undefined;
}

const TIMING: LinkTiming = {
  resumeWindowMs: RESUME_WINDOW_MS,
  firstMs: 50,
  baseMs: 200,
  maxMs: 5_000,
  stableMs: 2_000,
  tickMs: 5_000,
};
/** WebSocket close codes (RFC 6455 section 7.4.1) that say that going on is pointless. */
const FATAL_CLOSE = new Set([1002, 1003, 1007, 1009, 1010]);
const CLOSE_NORMAL = 1000;
const CLOSE_PROTOCOL_ERROR = 1002;
/** Bytes that may wait in a socket's queue before DATA waits in its stream. */
const SOCKET_QUEUE = 256 * 1024;
/** How long the close handshake after an end may take, ms. */
const CLOSE_MS = 300;

export class SessionLink {
  readonly ended: Promise<SessionEnd>;
  /** The first `ready`; never settles where the session ends before. */
  readonly ready: Promise<Ready>;
  readonly #o: SessionLinkOptions;
  readonly #timing: LinkTiming;
  readonly #random: () => number;
  readonly #machine: SessionMachine;
  readonly #pool = new FramePool();
  readonly #streams = new Map<number, SessionStream>();
  readonly #tick: NodeJS.Timeout;
  #socket: WebSocket | undefined;
  #state: LinkState = "connecting";
  #shielded = false;
  /** The socket's queue is full; a callback will say when it is not. */
  #catchingUp = false;
  #dialling = false;
  /** redial() came while a dial was under way, which may be refused for being old. */
  #again = false;
  #failures = 0;
  #liveAt = 0;
  #redial: NodeJS.Timeout | undefined;
  #window: NodeJS.Timeout | undefined;
  #expired = false;
  #resolveEnded: (end: SessionEnd) => void = () => {};
  #resolveReady: (ready: Ready) => void = () => {};

  constructor(options: SessionLinkOptions) {
    this.#o = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#random = options.random ?? Math.random;
    this.#machine = new SessionMachine(options.role, (bytes) => this.#pool.allocate(bytes));
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    this.ready = new Promise((resolve) => (this.#resolveReady = resolve));
    this.#tick = setInterval(() => this.#watch(), this.#timing.tickMs).unref();
    this.#startWindow();
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Bytes that are kept for the peer, over all streams. */
  get held(): number {
    return this.#machine.held;
  }

  /** Begins, with a socket that is open (and paused, see whenOpen), or by dialling. */
  start(first?: WebSocket): void {
    if (first === undefined) void this.#dial();
    else this.#attach(first);
  }

  /** Opener: a new stream. Where none can be opened it is destroyed with the reason. */
  open(meta: StreamMeta): SessionStream {
    const id = this.#machine.open(meta);
    const stream = this.#makeStream(id ?? 0, meta);
    if (id === undefined) {
      const ended = this.#state === "ended";
      const end: SessionEnd = ended
        ? { code: "session_closed", message: "The session has ended." }
        : { code: "too_many", message: "The session has as many streams open as it may." };
      stream.sessionEnded(new SessionEndedError(end));
      return stream;
    }
    this.#streams.set(id, stream);
    this.#flush();
    return stream;
  }

  /** Acceptor: tells the opener how an approval stands. */
  tell(notice: ApprovalNotice): void {
    this.#machine.approval(notice);
    this.#flush();
  }

  /** The gateway asks for a new socket: the present one, if any, leads nowhere. */
  redial(): void {
    if (this.#state === "ended") return;
    if (this.#dialling) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#redial);
    const socket = this.#socket;
    if (socket !== undefined) this.#lost(socket, "the gateway asked for a new connection", false);
    this.#failures = 0;
    void this.#dial();
  }

  /** Ends the session for both ends, once. Resolves when the peer has been told, or cannot be. */
  async end(end: SessionEnd): Promise<void> {
    const event = this.#machine.end(end.code, end.message);
    if (event === undefined) return;
    this.#flush();
    await this.#finish(end, CLOSE_NORMAL);
  }

  // ── sockets ──

  async #dial(): Promise<void> {
    this.#dialling = true;
    this.#again = false;
    let opened: Awaited<ReturnType<typeof whenOpen>>;
    try {
      opened = await whenOpen(await this.#o.dial());
    } catch (error) {
      opened = { ok: false, error: { message: error instanceof Error ? error.message : "dial failed" } };
    }
    this.#dialling = false;
    if (!opened.ok) this.#dialFailed(opened.error);
    else if (this.#ended()) opened.value.terminate();
    else this.#attach(opened.value);
  }

  /** Read anew: awaits change it. */
  #ended(): boolean {
    return this.#state === "ended";
  }

  #dialFailed(failure: DialFailure): void {
    if (this.#ended()) return;
    const end = this.#again ? undefined : endOfRefusal(failure);
    this.#o.log.debug({ status: failure.status, reason: failure.message }, "no socket for the session");
    if (end !== undefined) {
      this.#machine.end(end.code, end.message);
      void this.#finish(end, CLOSE_NORMAL);
      return;
    }
    this.#failures += 1;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#expired) {
      const end: SessionEnd = { code: "session_lost", message: "The session could not be resumed in time." };
      this.#machine.end(end.code, end.message);
      void this.#finish(end, CLOSE_NORMAL);
      return;
    }
    const delay = this.#again ? 0 : redialDelay(this.#failures, this.#timing, this.#random);
    this.#redial = setTimeout(() => void this.#dial(), delay);
  }

  #attach(socket: WebSocket): void {
    this.#socket = socket;
    this.#shielded = isShielded(new URL(socket.url));
    this.#catchingUp = false;
    let reason = "";
    socket.on("message", (data, binary) => {
      if (socket !== this.#socket || !Buffer.isBuffer(data)) return;
      this.#receive(binary ? data : data.toString("utf8"));
    });
    socket.on("error", (error) => {
      reason = error.message;
      // What ws itself could not accept: too long, not UTF-8, not a frame.
      const broken = "code" in error && typeof error.code === "string" && error.code.startsWith("WS_ERR_");
      if (broken && socket === this.#socket) this.#violated(`The peer's message was refused: ${error.message}.`);
    });
    socket.on("close", (code) => {
      if (socket !== this.#socket) return;
      const why = reason === "" ? `closed with ${code}` : `closed with ${code}: ${reason}`;
      if (FATAL_CLOSE.has(code)) this.#violated(`The peer closed the session's connection with ${code}.`);
      else this.#lost(socket, why, true);
    });
    this.#machine.connected(performance.now());
    this.#flush();
    socket.resume();
    // It may have closed before we listened.
    if (socket.readyState !== socket.OPEN) this.#lost(socket, "closed at once", true);
  }

  #lost(socket: WebSocket, why: string, redial: boolean): void {
    if (socket !== this.#socket || this.#ended()) return;
    this.#socket = undefined;
    socket.terminate();
    this.#machine.disconnected();
    if (this.#state === "open") {
      this.#failures = performance.now() - this.#liveAt >= this.#timing.stableMs ? 0 : this.#failures + 1;
      this.#startWindow();
      this.#setState("lost", why);
    } else this.#failures += 1;
    if (redial) this.#schedule();
  }

  #startWindow(): void {
    clearTimeout(this.#window);
    this.#window = setTimeout(() => {
      this.#expired = true;
      // A dial under way, or a socket whose peer has not greeted yet, may still make it.
      if (this.#dialling || this.#socket !== undefined) return;
      clearTimeout(this.#redial);
      this.#schedule();
    }, this.#timing.resumeWindowMs).unref();
  }

  #watch(): void {
    if (this.#machine.tick(performance.now()) === "ok") this.#flush();
    else if (this.#socket !== undefined) this.#lost(this.#socket, `silent for ${LOST_AFTER_MS} ms`, true);
  }

  // ── messages ──

  #receive(message: string | Buffer): void {
    for (const event of this.#machine.receive(message)) this.#apply(event);
    this.#flush();
  }

  /** Sends what there is, as long as the socket keeps up; the rest follows when it has caught up. */
  #flush(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    // At least one frame, where no callback is due yet: its callback brings the rest.
    const least = this.#catchingUp ? 0 : 1;
    const output = this.#machine.takeOutput(Math.max(SOCKET_QUEUE - socket.bufferedAmount, least));
    const rest = this.#machine.congested && !this.#catchingUp;
    let left = output.length;
    for (const message of output) {
      left -= 1;
      this.#send(socket, message, rest && left === 0);
    }
  }

  #send(socket: WebSocket, message: string | Uint8Array, last: boolean): void {
    const pooled = this.#pool.owns(message);
    if (last) this.#catchingUp = true;
    const done = pooled || last ? () => this.#sent(socket, pooled ? message : undefined, last) : undefined;
    sendMessage(socket, message, this.#shielded, done);
  }

  #sent(socket: WebSocket, frame: Uint8Array | undefined, last: boolean): void {
    if (frame !== undefined) this.#pool.release(frame);
    if (last) this.#caughtUp(socket);
  }

  #caughtUp(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    this.#catchingUp = false;
    this.#flush();
  }

  #apply(event: SessionEvent): void {
    switch (event.type) {
      case "data":
        this.#streams.get(event.stream)?.deliver(event.bytes);
        return;
      case "fin":
        this.#streams.get(event.stream)?.deliverFin();
        return;
      case "drain":
        this.#streams.get(event.stream)?.credited();
        return;
      case "reset":
        this.#streams.get(event.stream)?.resetByPeer(event.code);
        return;
      case "open": {
        const stream = this.#makeStream(event.stream, event.meta);
        this.#streams.set(event.stream, stream);
        this.#o.onStream?.(stream);
        return;
      }
      case "ready":
        this.#resolveReady(event.ready);
        return;
      case "approval":
        this.#o.onApproval?.(event.news);
        return;
      case "live":
        clearTimeout(this.#window);
        this.#expired = false;
        this.#liveAt = performance.now();
        this.#setState("open", "");
        return;
      case "ended":
        this.#flush();
        void this.#finish(event, event.by === "us" ? CLOSE_PROTOCOL_ERROR : CLOSE_NORMAL);
        return;
      default:
        unreachable(event);
    }
  }

  #makeStream(id: number, meta: StreamMeta): SessionStream {
    const stream: SessionStream = new SessionStream(id, meta, {
      write: (id, chunks) => {
        const within = this.#machine.write(id, chunks);
        this.#flush();
        return within;
      },
      fin: (id) => {
        this.#machine.fin(id);
        this.#flush();
      },
      reset: (id, code) => {
        this.#machine.reset(id, code);
        this.#flush();
      },
      consumed: (id, count) => {
        this.#machine.consumed(id, count);
        this.#flush();
      },
    });
    stream.once("close", () => {
      if (this.#streams.get(id) === stream) this.#streams.delete(id);
    });
    return stream;
  }

  // ── the end ──

  #violated(message: string): void {
    this.#machine.disconnected();
    this.#machine.end("protocol_violation", message);
    void this.#finish({ code: "protocol_violation", message }, CLOSE_PROTOCOL_ERROR);
  }

  async #finish({ code, message }: SessionEnd, closeCode: number): Promise<void> {
    if (this.#ended()) return;
    const end: SessionEnd = { code, message };
    clearInterval(this.#tick);
    clearTimeout(this.#redial);
    clearTimeout(this.#window);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#setState("ended", message);
    for (const stream of this.#streams.values()) stream.sessionEnded(new SessionEndedError(end));
    this.#resolveEnded(end);
    if (socket !== undefined) await closeSocket(socket, closeCode);
  }

  #setState(state: LinkState, why: string): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#o.log.debug({ state, why }, "session link");
    this.#o.onState?.(state, why);
  }
}

/** What was sent before goes out first. The peer answers the close, or the socket is cut. */
function closeSocket(socket: WebSocket, code: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.terminate(), CLOSE_MS);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close(code);
    if (socket.readyState === socket.CLOSED) {
      clearTimeout(timer);
      resolve();
    }
  });
}
