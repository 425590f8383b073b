/**
 * The shell around the session machine: a client and a target socket, a timer, and nothing that decides. Backpressure
 * goes end to end: a side that cannot be written to stops the other from being read, so memory is bounded by the two
 * sockets' windows whatever the result's size.
 *
 * The client may be a socket, or one of the two ends that split-relay.ts makes of it for a target with two logins.
 */
import type { Duplex } from "node:stream";
import { KILL_GRACE_MS } from "../../../protocol/limits.ts";
import { HoldShell, type HoldShellOptions, type HoldSources } from "./hold-shell.ts";
import type { SessionMachine } from "./session/machine.ts";
import type { OwnAnswer, OwnQuery } from "./session/own-query.ts";
import type { CatalogueNeed } from "./session/masking.ts";
import type { SessionEvent } from "./session/types.ts";

/** Bytes of the client that may wait for the backend before the client is not read any more. */
const MAX_BACKLOG = 256 * 1024;

/** What a relay does to its client; a Duplex is one. */
export interface ClientEnd {
  /** False: nothing more until `clientDrained()`. */
  write(bytes: Buffer): boolean;
  cork(): void;
  uncork(): void;
  pause(): unknown;
  resume(): unknown;
  end(): unknown;
  destroy(): unknown;
}

export interface RelayOptions {
  readonly client: ClientEnd;
  readonly target: Duplex;
  readonly machine: SessionMachine;
  readonly monotonic: () => number;
  /** Cancels at the target; settles when the request was taken or cannot be. Never rejects. */
  readonly cancel: () => Promise<void>;
  /** Loads the catalogue; settles when that is done or cannot be. Never rejects. */
  readonly loadCatalogue: (need: CatalogueNeed) => Promise<void>;
  readonly session: HoldShellOptions["session"];
  readonly holdSources: HoldSources;
  /** A fault of our own, for the log. */
  readonly failed: (error: unknown) => void;
  /** After every turn of the machine, when what it wanted was done. */
  readonly turned?: () => void;
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #holds: HoldShell;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #clientFull = false;
  #targetFull = false;
  #resting = false;
  #own: { readonly query: OwnQuery; readonly answer: (answer: OwnAnswer | null) => void } | null = null;
  #finish: ((reason: string) => void) | null = null;
  bytesOut = 0;
  bytesIn = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { session, holdSources: sources, machine } = options;
    this.#holds = new HoldShell({ session, sources, machine, do: (turn) => this.do(turn) });
  }

  /** Runs until the conversation is over; resolves with why. `first`: bytes of the target that were read before. */
  run(first: Buffer): Promise<string> {
    const { target, machine } = this.#options;
    return new Promise((resolve) => {
      this.#finish = resolve;
      target.on("data", (bytes: Buffer) => this.fromTarget(bytes));
      target.on("end", () => this.do(() => machine.targetClosed("the target closed the connection")));
      target.on("close", () => this.do(() => machine.targetClosed("the connection to the target was lost")));
      target.on("drain", () => {
        this.#targetFull = false;
        this.#flow();
      });
      if (first.length > 0) this.fromTarget(first);
      this.#flow();
    });
  }

  fromClient(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    this.do(() => this.#options.machine.receiveClient(bytes));
  }

  fromTarget(bytes: Buffer): void {
    if (this.#own !== null) this.#answered(this.#own, bytes);
    else this.do(() => this.#options.machine.receiveBackend(bytes));
  }

  /** Asks the backend a question of our own; only while the machine is quiet. Null: the conversation ended instead. */
  ask(query: OwnQuery): Promise<OwnAnswer | null> {
    return new Promise((answer) => {
      if (this.#finish === null || this.#own !== null) return answer(null);
      this.#own = { query, answer };
      if (!this.#options.target.write(query.bytes)) this.#targetFull = true;
    });
  }

  #answered({ query, answer }: { query: OwnQuery; answer: (answer: OwnAnswer | null) => void }, bytes: Buffer): void {
    const whole = query.receive(bytes);
    if (query.broken !== null) {
      const why = query.broken;
      return this.do(() => this.#options.machine.targetClosed(`the target broke the protocol: ${why}`));
    }
    if (whole === null) return;
    this.#own = null;
    for (const aside of query.takeAside()) this.fromTarget(aside);
    answer(whole);
  }

  /** Its connection is gone, or half closed. */
  clientClosed(): void {
    this.do(() => this.#options.machine.clientClosed());
  }

  clientDrained(): void {
    this.#clientFull = false;
    this.#flow();
  }

  /** While it rests the target is not read: what it says of its own accord waits for its turn. */
  rest(resting: boolean): void {
    this.#resting = resting;
    this.#flow();
  }

  /** One turn of the machine, and what it wants done. */
  do(turn: () => SessionEvent[]): void {
    try {
      this.#perform(turn());
    } catch (error) {
      // A bug: nothing is known of the state any more, so nothing more may pass.
      this.#options.failed(error);
      this.#close("internal error", true);
    }
    this.#flow();
    this.#arm();
    this.#options.turned?.();
  }

  #perform(events: SessionEvent[]): void {
    const { client, target } = this.#options;
    if (events.length > 1) client.cork();
    for (const event of events) {
      switch (event.type) {
        case "to-client":
          this.bytesOut += event.bytes.length;
          if (!client.write(event.bytes)) this.#clientFull = true;
          break;
        case "to-target":
          if (!target.write(event.bytes)) this.#targetFull = true;
          break;
        case "cancel":
          void this.#options.cancel().then(() => this.do(() => this.#options.machine.cancelDone()));
          break;
        case "load-catalogue":
          void this.#options.loadCatalogue(event.need).then(() => this.do(() => this.#options.machine.catalogueLoaded()));
          break;
        case "end":
          this.#close(event.reason, event.abandon);
          break;
        case "inspect":
        case "request-approval":
        case "withdraw-approval":
          this.#holds.perform(event);
          break;
      }
    }
    if (events.length > 1) client.uncork();
  }

  /** A side is read only while the other can be written to. */
  #flow(): void {
    const { client, target, machine } = this.#options;
    if (machine.ended) return;
    if (this.#targetFull || machine.backlog > MAX_BACKLOG) client.pause();
    else client.resume();
    if (this.#clientFull || this.#resting) target.pause();
    else target.resume();
  }

  /** One timer, set again only for an earlier deadline; it looks anew when it fires. */
  #arm(): void {
    const deadline = this.#options.machine.deadline();
    if (deadline === null || deadline >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = deadline;
    const wait = Math.max(0, Math.ceil(deadline - this.#options.monotonic()));
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.do(() => this.#options.machine.expire());
    }, wait);
  }

  #close(reason: string, abandon: boolean): void {
    const finish = this.#finish;
    if (finish === null) return;
    this.#finish = null;
    clearTimeout(this.#timer);
    this.#own?.answer(null);
    this.#own = null;
    const { client, target, cancel } = this.#options;
    // The last words leave if the peer takes them in time; then the stream is gone whatever the peer does.
    client.resume();
    client.end();
    setTimeout(() => client.destroy(), KILL_GRACE_MS).unref();
    if (!abandon) {
      target.resume();
      target.end();
      setTimeout(() => target.destroy(), KILL_GRACE_MS).unref();
      finish(reason);
      return;
    }
    // What still runs there is nobody's any more: cancel it, and let the backend find its connection gone (PG-52).
    target.destroy();
    void cancel().then(() => finish(reason));
  }
}

/** Joins a relay to a client's socket; `first` bytes of it were read before. */
export function attachClient(client: Duplex, relay: Relay, first: Buffer): void {
  client.on("data", (bytes: Buffer) => relay.fromClient(bytes));
  client.on("end", () => relay.clientClosed());
  client.on("close", () => relay.clientClosed());
  client.on("drain", () => relay.clientDrained());
  if (first.length > 0) relay.fromClient(first);
  if (client.destroyed || client.readableEnded) relay.clientClosed();
}
