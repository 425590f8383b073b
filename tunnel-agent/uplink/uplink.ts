/**
 * The conversation on the control socket: hello, welcome, bundles, dispatches, kills, ends. Keeps what the gateway
 * must still hear: an `ended` is said again after each reconnect until a round trip after it shows that it arrived;
 * it is idempotent at the gateway. Should even that be lost (the object restarted with the message unread), the next
 * hello does not list the session, and its deadline stands.
 */
import type { Logger } from "pino";
import type { AgentToEdge, Dispatch, EdgeToAgent, TargetAnnouncement } from "../../protocol/agent-control.ts";
import { unreachable } from "../../protocol/result.ts";
import type { SessionEnd } from "../../link/types.ts";
import type { PolicyHolder } from "../policy-holder.ts";
import { ControlSocket, type ControlSocketOptions } from "./control-socket.ts";

/** Ends that wait at once; the oldest goes first. */
const MAX_ENDS = 10_000;

export interface UplinkOptions extends Pick<ControlSocketOptions, "gateway" | "headers" | "log" | "random"> {
  /** The product's version. */
  readonly version: string;
  readonly site: string;
  readonly targets: readonly TargetAnnouncement[];
  readonly policy: PolicyHolder;
  /** Live sessions. */
  readonly sessions: () => readonly string[];
  readonly onDispatch: (dispatch: Dispatch) => void;
  /** Never rejects. */
  readonly onAsk: (ask: Extract<EdgeToAgent, { type: "ask" }>) => Promise<Extract<AgentToEdge, { type: "answer" }>["answer"]>;
  readonly onKill: (session: string, end: SessionEnd) => void;
  /** The gateway does not want this agent. */
  readonly onBye: (end: SessionEnd) => void;
  readonly onWelcome: () => void;
  readonly onApproval: (message: Extract<EdgeToAgent, { type: `approval_${string}` }>) => void;
  /** ms since the epoch; and a monotonic clock, ms. */
  readonly now: () => number;
  readonly monotonic: () => number;
}

export class Uplink {
  readonly #o: UplinkOptions;
  readonly #log: Logger;
  readonly #socket: ControlSocket;
  readonly #ends = new Map<string, Extract<AgentToEdge, { type: "ended" }>>();
  #welcomed = false;
  #synced = false;
  #draining = false;
  /** The gateway's clock minus our monotonic one, ms: a jump of this machine's clock moves no deadline. */
  #offset: number;

  constructor(options: UplinkOptions) {
    this.#o = options;
    this.#log = options.log;
    this.#offset = options.now() - options.monotonic();
    this.#socket = new ControlSocket({
      gateway: options.gateway,
      headers: options.headers,
      log: options.log,
      random: options.random,
      onOpen: () => this.#hello(),
      onMessage: (message) => this.#receive(message),
      // Once this socket has brought the active bundle, it would bring a newer one too.
      onAlive: () => {
        if (this.#synced) options.policy.confirm();
      },
      onLost: () => {
        this.#welcomed = false;
        this.#synced = false;
      },
    });
  }

  /** Welcomed, and the socket is open. */
  get connected(): boolean {
    return this.#welcomed;
  }

  get dials(): number {
    return this.#socket.dials;
  }

  /** The gateway's clock, ms since the epoch: deadlines are its. */
  gatewayNow(): number {
    return this.#o.monotonic() + this.#offset;
  }

  start(): void {
    this.#socket.start();
  }

  ended(session: string, end: SessionEnd): void {
    const message = { type: "ended", session, code: end.code, message: end.message.slice(0, 1024), at: this.#o.now() } as const;
    this.#ends.set(session, message);
    for (const oldest of this.#ends.keys()) {
      if (this.#ends.size <= MAX_ENDS) break;
      this.#ends.delete(oldest);
    }
    if (this.#welcomed) this.#sendEnds([message]);
  }

  refused(session: string, end: SessionEnd): void {
    // Not repeated: the gateway gives up on a dispatch by itself after DIAL_BACK_MS.
    this.#socket.send({ type: "refused", session, code: end.code, message: end.message });
  }

  /** Not repeated: the caller says it again after the next welcome. */
  send(message: AgentToEdge): boolean {
    return this.#welcomed && this.#socket.send(message);
  }

  afterRoundTrip(done: () => void): void {
    this.#socket.afterRoundTrip(done);
  }

  draining(): void {
    this.#draining = true;
    this.#socket.send({ type: "draining" });
  }

  /** Resolves once the gateway has heard everything, or after `ms`. */
  async flush(ms: number): Promise<void> {
    if (!this.#welcomed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#socket.afterRoundTrip(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  stop(): void {
    this.#socket.stop();
  }

  #hello(): void {
    const { version, targets, policy, sessions } = this.#o;
    this.#socket.send({ type: "hello", version, targets: [...targets], bundle: policy.version, sessions: [...sessions()] });
  }

  #sendEnds(messages: readonly Extract<AgentToEdge, { type: "ended" }>[]): void {
    for (const message of messages) this.#socket.send(message);
    this.#socket.afterRoundTrip(() => {
      for (const message of messages) if (this.#ends.get(message.session) === message) this.#ends.delete(message.session);
    });
  }

  #receive(message: EdgeToAgent): void {
    switch (message.type) {
      case "welcome":
        this.#welcome(message);
        return;
      case "bundle": {
        const applied = this.#o.policy.apply(message);
        this.#synced = applied.ok;
        const { version, digest } = message;
        if (applied.ok) this.#log.info({ bundle: version, digest }, "bundle active");
        else this.#log.error({ bundle: version, digest, reason: applied.error }, "bundle refused");
        this.#socket.send({ type: "bundle_applied", version, ...(applied.ok ? {} : { error: applied.error.slice(0, 4096) }) });
        return;
      }
      case "dispatch":
        this.#o.onDispatch(message);
        return;
      case "kill":
        this.#o.onKill(message.session, { code: message.code, message: message.message });
        return;
      case "approval_opened":
      case "approval_refused":
      case "approval_settled":
        this.#o.onApproval(message);
        return;
      case "ask":
        // Not repeated after a lost socket: the gateway knows that its question was lost with it.
        void this.#o.onAsk(message).then((answer) => this.#socket.send({ type: "answer", id: message.id, answer }));
        return;
      case "bye":
        this.#log.error({ code: message.code, reason: message.message }, "the gateway sent this agent away");
        this.#socket.stop();
        this.#o.onBye({ code: message.code, message: message.message });
        return;
      default:
        unreachable(message);
    }
  }

  #welcome(message: Extract<EdgeToAgent, { type: "welcome" }>): void {
    this.#welcomed = true;
    this.#offset = message.now - this.#o.monotonic();
    const skew = message.now - this.#o.now();
    if (Math.abs(skew) > 5000)
      this.#log.warn({ skew_ms: skew }, "this machine's clock differs from the gateway's: agent tokens may be refused");
    if (message.site !== this.#o.site) this.#log.warn({ site: message.site, expected: this.#o.site }, "the gateway names another site");
    this.#log.info({ gateway: message.gateway, site: message.site, agent: message.agent }, "connected to the gateway");
    if (this.#draining) this.#socket.send({ type: "draining" });
    if (this.#ends.size > 0) this.#sendEnds([...this.#ends.values()]);
    this.#o.onWelcome();
  }
}
