/**
 * The agent's control socket to its SiteDO: dials, redials with jittered backoff, notices a dead connection,
 * validates every message. One socket at a time; what is sent while there is none is dropped, and the owner says
 * everything that matters again after `welcome` (see Uplink).
 *
 * A message that the schema does not know is logged and ignored: what it asked for does not happen.
 */
import type { Logger } from "pino";
import { WebSocket } from "ws";
import { AGENT_PING, AGENT_PONG, type AgentToEdge, EdgeToAgent } from "../../protocol/agent-control.ts";
import { LOST_AFTER_MS, MAX_AGENT_CONTROL, PING_AFTER_MS } from "../../protocol/limits.ts";
import { backoffDelay } from "./backoff.ts";

export interface ControlSocketOptions {
  /** Origin of the gateway. */
  readonly gateway: string;
  /** Headers of a dial, with a fresh agent token. */
  readonly headers: () => Promise<Record<string, string>>;
  readonly onOpen: () => void;
  readonly onMessage: (message: EdgeToAgent) => void;
  /** The connection was alive just now. */
  readonly onAlive: () => void;
  readonly onLost: () => void;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  readonly timing?: Partial<ControlTiming>;
}

export interface ControlTiming {
  /** A ping this often, and the socket counts as dead after this long without a sign of life, ms. */
  readonly pingMs: number;
  readonly lostMs: number;
}

const HANDSHAKE_MS = 10_000;
const RETRY = { baseMs: 250, maxMs: 30_000 };
/** A connection that lived this long ends a series of failures, ms. */
const STABLE_MS = 10_000;

export function socketUrl(gateway: string, path: string): URL {
  const url = new URL(path, gateway);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

export class ControlSocket {
  readonly #o: ControlSocketOptions;
  readonly #timing: ControlTiming;
  #socket: WebSocket | undefined;
  #open = false;
  #attempts = 0;
  #dials = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ControlSocketOptions) {
    this.#o = options;
    this.#timing = { pingMs: PING_AFTER_MS, lostMs: LOST_AFTER_MS, ...options.timing };
  }

  get connected(): boolean {
    return this.#open;
  }

  /** Dials so far, successful or not. */
  get dials(): number {
    return this.#dials;
  }

  start(): void {
    void this.#dial();
  }

  /** True when a socket took it. That it arrives is not known. */
  send(message: AgentToEdge): boolean {
    if (!this.#open || this.#socket === undefined) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Calls back once a ping sent after everything so far was answered on this same socket: the edge has it all. */
  afterRoundTrip(done: () => void): void {
    const socket = this.#socket;
    if (!this.#open || socket === undefined) return;
    const tag = Buffer.from(`r${Math.floor(this.#o.random() * 2 ** 48).toString(36)}`);
    const onPong = (data: Buffer): void => {
      if (!data.equals(tag)) return;
      socket.off("pong", onPong);
      done();
    };
    socket.on("pong", onPong);
    socket.ping(tag);
  }

  /** For good: closes and does not redial. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.close(1000);
    setTimeout(() => socket.terminate(), 1000).unref();
  }

  async #dial(): Promise<void> {
    this.#dials += 1;
    let headers: Record<string, string>;
    try {
      headers = await this.#o.headers();
    } catch (error) {
      this.#retry(error instanceof Error ? error.message : "no token");
      return;
    }
    if (this.#stopped) return;
    const socket = new WebSocket(socketUrl(this.#o.gateway, "/v1/agent/control"), {
      headers: { "user-agent": "sallyport", ...headers },
      perMessageDeflate: false,
      // The gateway counts UTF-16 units, of which one is 3 bytes of UTF-8 at most.
      maxPayload: 3 * MAX_AGENT_CONTROL,
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#socket = socket;
    this.#attach(socket);
  }

  #attach(socket: WebSocket): void {
    let reason = "";
    let openedAt = 0;
    let heard = 0;
    let watch: NodeJS.Timeout | undefined;
    const alive = (): void => {
      heard = performance.now();
      this.#o.onAlive();
    };
    socket.on("open", () => {
      openedAt = performance.now();
      heard = openedAt;
      this.#open = true;
      watch = setInterval(() => {
        if (performance.now() - heard > this.#timing.lostMs) {
          reason = "no answer to pings";
          socket.terminate();
        } else socket.send(AGENT_PING);
      }, this.#timing.pingMs);
      this.#o.onOpen();
    });
    socket.on("pong", alive);
    socket.on("ping", alive);
    socket.on("message", (data, binary) => {
      alive();
      if (!binary && Buffer.isBuffer(data)) this.#receive(data.toString("utf8"));
      else this.#o.log.warn("a binary message on the control socket was ignored");
    });
    socket.on("unexpected-response", (request, response) => {
      reason = `HTTP ${response.statusCode ?? 0}`;
      request.destroy();
      socket.terminate();
    });
    socket.on("error", (error) => {
      if (reason === "") reason = "code" in error && typeof error.code === "string" ? error.code : error.message;
    });
    socket.on("close", (code) => {
      clearInterval(watch);
      if (this.#socket === socket) this.#socket = undefined;
      const wasOpen = this.#open;
      this.#open = false;
      if (openedAt > 0 && performance.now() - openedAt >= STABLE_MS) this.#attempts = 0;
      if (wasOpen) this.#o.onLost();
      this.#retry(reason === "" ? `closed with ${code}` : reason);
    });
  }

  #retry(reason: string): void {
    if (this.#stopped) return;
    this.#attempts += 1;
    const delay = backoffDelay(this.#attempts, RETRY, this.#o.random);
    this.#o.log.warn({ reason, attempt: this.#attempts, retry_ms: Math.round(delay) }, "the control socket is down");
    this.#timer = setTimeout(() => void this.#dial(), delay);
  }

  #receive(text: string): void {
    if (text === AGENT_PONG) return;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      this.#o.log.error("a control message was not JSON and was ignored");
      return;
    }
    const message = EdgeToAgent.safeParse(json);
    if (message.success) {
      this.#o.onMessage(message.data);
      return;
    }
    const issues = message.error.issues.slice(0, 3).map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    this.#o.log.error({ issues }, "a control message was not understood and was ignored");
  }
}
