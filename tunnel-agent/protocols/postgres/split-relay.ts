/**
 * The shell of a client that two logins serve (session/split/split.ts decides): one relay for each lane, both of them with an
 * end of the client's socket in place of a socket. The high lane's backend is opened when the first statement needs it,
 * and ends with the client, or alone while nobody uses it.
 *
 * Backpressure is the relays' own: the client is read while the present lane wants it, a lane's target while the client
 * takes what it says; the low target rests while the high lane has the client.
 */
import type { Duplex } from "node:stream";
import { unreachable } from "../../../protocol/result.ts";
import { SQLSTATE, type Refusal } from "./refusal.ts";
import type { Lane } from "./lane.ts";
import type { ClientEnd } from "./relay.ts";
import type { SessionMachine } from "./session/machine.ts";
import { OwnQuery } from "./session/own-query.ts";
import { SplitFront, type SplitActions } from "./session/split/split.ts";
import type { LaneName, Route, TextFacts } from "./session/split/route.ts";
import { highSettings, judge, LOW_QUESTION, SETTINGS_QUESTION } from "./session/split/state.ts";

/** Bytes of the client that may wait for a lane before the client is not read any more. */
const MAX_BACKLOG = 256 * 1024;

/** The front's part of what a lane's machine asks. */
type FrontOptions = ReturnType<SplitFront["lane"]>;

export interface SplitOptions {
  readonly client: Duplex;
  readonly limits: { readonly statement_bytes: number; readonly bind_bytes: number; readonly connect_s: number };
  /** What `$user` in a search_path stands for. */
  readonly user: string;
  /** A name that no client can guess. */
  readonly ownName: string;
  low(end: ClientEnd, lane: FrontOptions, turned: () => void): Lane;
  /** Connects as the high login. Never rejects; null after it has logged why not. */
  high(end: ClientEnd, lane: FrontOptions, turned: () => void): Promise<Lane | null>;
  route(sql: string, low: SessionMachine, highNames: SessionMachine["names"] | undefined): Route;
  facts(sql: string): TextFacts;
  /** Loads the catalogue anew. Never rejects. */
  refresh(): Promise<void>;
}

export const noHighLogin: Refusal = {
  code: SQLSTATE.sqlclient_unable_to_establish_sqlconnection,
  message: "sallyport: the login that may read classified columns could not be used",
  hint: "The agent's log says why.",
};

export class SplitRelay {
  readonly #options: SplitOptions;
  readonly #front: SplitFront;
  readonly #low: Lane;
  #high: Lane | null = null;
  /** What the high backend's settings are. */
  #settings: string | null = null;
  readonly #wantsPause = { low: false, high: false };
  readonly #ends: Promise<string>[] = [];
  #ended = false;
  bytesIn = 0;

  constructor(options: SplitOptions) {
    this.#options = options;
    this.#front = new SplitFront(this.#actions(), options.limits);
    this.#low = options.low(this.#end("low"), this.#front.lane("low"), () => this.#turned());
  }

  get bytesOut(): number {
    return this.#low.relay.bytesOut + this.#highBytes + (this.#high?.relay.bytesOut ?? 0);
  }
  /** Of high lanes that are gone. */
  #highBytes = 0;

  /** Runs until the conversation is over; resolves with why, when both backends are let go. */
  async run(first: Buffer): Promise<string> {
    const { client } = this.#options;
    const ended = this.#low.relay.run(this.#low.rest);
    client.on("data", (bytes: Buffer) => this.#fromClient(bytes));
    client.on("end", () => this.#clientClosed());
    client.on("close", () => this.#clientClosed());
    client.on("drain", () => this.#lane(this.#front.current)?.relay.clientDrained());
    if (first.length > 0) this.#fromClient(first);
    if (client.destroyed || client.readableEnded) this.#clientClosed();
    this.#flow();
    const reason = await ended;
    await Promise.all(this.#ends);
    return reason;
  }

  cancel(): void {
    if (this.#front.cancel()) return;
    const lane = this.#lane(this.#front.current);
    lane?.relay.do(() => lane.machine.cancel());
  }

  abort(refusal: Refusal): void {
    const lane = this.#lane(this.#front.current) ?? this.#low;
    lane.relay.do(() => lane.machine.abort(refusal));
  }

  #lane(lane: LaneName): Lane | null {
    return lane === "low" ? this.#low : this.#high;
  }

  #fromClient(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    this.#front.receive(bytes);
    this.#flow();
  }

  #clientClosed(): void {
    for (const lane of [this.#high, this.#low]) lane?.relay.clientClosed();
  }

  #turned(): void {
    this.#front.turned();
    this.#flow();
  }

  #flow(): void {
    if (this.#ended) return;
    const { client } = this.#options;
    if (this.#wantsPause[this.#front.current] || this.#front.backlog > MAX_BACKLOG) client.pause();
    else client.resume();
  }

  /** The client as a lane's relay sees it. */
  #end(lane: LaneName): ClientEnd {
    const { client } = this.#options;
    return {
      write: (bytes) => {
        if (this.#front.current === lane) return client.write(bytes);
        // The low lane may still say why all is over; the high one, that nobody listens to, nothing.
        return lane === "high" || this.#high?.machine.midMessage === true || client.write(bytes);
      },
      cork: () => client.cork(),
      uncork: () => client.uncork(),
      pause: () => {
        this.#wantsPause[lane] = true;
      },
      resume: () => {
        this.#wantsPause[lane] = false;
      },
      end: () => this.#laneEnded(lane),
      destroy: () => this.#ended && client.destroy(),
    };
  }

  #laneEnded(lane: LaneName): void {
    if (lane === "high" && this.#front.current === "low") {
      this.#forgetHigh();
      return;
    }
    if (this.#ended) return;
    this.#ended = true;
    const { client } = this.#options;
    client.resume();
    client.end();
    const other = this.#lane(lane === "low" ? "high" : "low");
    other?.relay.clientClosed();
  }

  #forgetHigh(): void {
    this.#highBytes += this.#high?.relay.bytesOut ?? 0;
    this.#high = null;
    this.#settings = null;
  }

  #actions(): SplitActions {
    return {
      machine: (lane) => (lane === "low" ? this.#low.machine : (this.#high?.machine ?? null)),
      route: (sql) => this.#options.route(sql, this.#low.machine, this.#high?.machine.names),
      facts: (sql) => this.#options.facts(sql),
      deliver: (lane, bytes) => this.#lane(lane)?.relay.fromClient(bytes),
      refuse: (via, sql, refusal) => this.#low.relay.do(() => this.#low.machine.refuse(via, sql, refusal)),
      discard: (abort) => this.#low.relay.do(() => this.#low.machine.discard(abort)),
      prepare: () => {
        void this.#prepare().then((refusal) => this.#front.prepared(refusal));
      },
      dropHigh: () => this.#high?.relay.clientClosed(),
      refresh: () => {
        void this.#options.refresh().then(() => this.#front.refreshed());
      },
      turnTo: (lane) => {
        if (lane === "low") this.#low.machine.touch();
        this.#low.relay.rest(lane === "high");
      },
    };
  }

  /** Opens the high lane where there is none, and gives it the settings of the low one. Null: it may be used. */
  async #prepare(): Promise<Refusal | null> {
    const state = await this.#ask(this.#low, LOW_QUESTION, []);
    if (state === null) return noHighLogin;
    const judged = judge(state);
    switch (judged.kind) {
      case "refused":
        return judged.refusal;
      case "settings":
        break;
      default:
        return unreachable(judged);
    }
    this.#high ??= await this.#open();
    const high = this.#high;
    if (high === null || this.#ended) return noHighLogin;
    const values = highSettings(judged, this.#options.user);
    const settings = JSON.stringify(values);
    if (settings === this.#settings) return null;
    if ((await this.#ask(high, SETTINGS_QUESTION, values)) === null) return noHighLogin;
    high.machine.addSchemas(judged.searchPath);
    this.#settings = settings;
    return null;
  }

  async #open(): Promise<Lane | null> {
    const lane = await this.#options.high(this.#end("high"), this.#front.lane("high"), () => this.#turned());
    if (lane === null) return null;
    const ended = lane.relay.run(lane.rest);
    this.#ends.push(ended);
    if (this.#ended) lane.relay.clientClosed();
    return lane;
  }

  /** One row, or null where there is none: then the lane that was asked has ended. */
  async #ask(lane: Lane, sql: string, parameters: readonly string[]): Promise<readonly (string | null)[] | null> {
    const give = (why: string): void => lane.relay.do(() => lane.machine.targetClosed(why));
    const timer = setTimeout(() => give("the target did not answer the gateway in time"), this.#options.limits.connect_s * 1000);
    const answer = await lane.relay.ask(new OwnQuery(this.#options.ownName, sql, parameters));
    clearTimeout(timer);
    if (answer === null) return null;
    // Nothing that was simulated holds any more when the backend is elsewhere than the machine thinks.
    if (answer.row !== null && answer.status === lane.machine.status) return answer.row;
    give(`the target did not answer the gateway: ${answer.error ?? "its transaction is not in the state that it was in"}`);
    return null;
  }
}
