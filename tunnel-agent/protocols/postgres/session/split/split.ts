/**
 * The front of a client that is served by two logins (guarantee A): each has a session machine and a backend of its
 * own. The low one serves everything; the high one only what `route` sends there, which are statements that are proven
 * to be bare projections of classified columns. This file decides which of the two hears each of the client's messages.
 *
 * A lane is left only when it is quiet: everything asked of it is answered, so the client sees one order. Where a
 * pipeline changes lanes without a Sync, the lane that is left gets one of our own, and its ReadyForQuery is not passed
 * on; that is done only where nothing but reads and BEGIN came before, since it ends an implicit transaction. The
 * transaction status that the client sees is the low lane's always, and an error in the high lane really aborts the
 * transaction that is open there (PG-54).
 *
 * Sans-IO: machines, sockets and the questions to the backends are behind `SplitActions`. What it cannot do: let the
 * high login see what the client's open transaction wrote, or keep a portal of the high lane over a Sync.
 */
import { FrameReader, type FrameHandler, type Handling, type Verdict } from "../../codec/framing.ts";
import type { TransactionStatus } from "../../codec/backend.ts";
import { writeBare } from "../../codec/frontend.ts";
import { F } from "../../codec/types.ts";
import { single } from "../../codec/writer.ts";
import { SQLSTATE, type Refusal } from "../../refusal.ts";
import type { KnownSql } from "../authorise.ts";
import type { SessionMachine } from "../machine.ts";
import { Destinations, refusedMixture, type Destination, type LaneName, type Route, type TextFacts } from "./route.ts";
import type { LaneOptions } from "../types.ts";

export type LaneMachine = Pick<SessionMachine, "status" | "quiet" | "amid" | "discarding" | "waits" | "names" | "ended" | "readyDue">;

export interface SplitActions {
  machine(lane: LaneName): LaneMachine | null;
  route(sql: string): Route;
  /** What of a text matters to the lanes, wherever it runs. */
  facts(sql: string): TextFacts;
  /** Hands a whole message, or a slice of one, to a machine. */
  deliver(lane: LaneName, bytes: Buffer): void;
  refuse(via: "simple" | "parse" | "extended", sql: string | KnownSql, refusal: Refusal): void;
  /** Makes the low machine skip to Sync; `abort`: and its backend's transaction fail. */
  discard(abort: boolean): void;
  /** Makes the high lane fit to go on where the low one is; `prepared()` tells the result, later. */
  prepare(): void;
  /** Ends the high lane, which nobody uses at the moment; it is opened again when it is needed. */
  dropHigh(): void;
  /** Loads the catalogue anew; `refreshed()` tells when. */
  refresh(): void;
  /** The client is served by this lane now. */
  turnTo(lane: LaneName): void;
}

/** Bytes of a message whose body is read here; longer ones are handed on unread, for the machine to refuse. */
const MAX_SMALL = 8 * 1024;
/** What Parse may hold beside its text. */
const PARSE_EXTRA = 4 * 65_535 + 1024;

/** Bytes of our own. */
const SYNC = single((writer) => writeBare(writer, "Sync"));

export const cancelledWhileWaiting: Refusal = {
  code: SQLSTATE.query_canceled,
  message: "sallyport: canceling statement due to user request",
};

const TERMINATE = single((writer) => writeBare(writer, "Terminate"));

const inFailedTransaction: Refusal = {
  code: SQLSTATE.in_failed_sql_transaction,
  message: "current transaction is aborted, commands ignored until end of transaction block",
};

interface Held {
  readonly bytes: Buffer;
  readonly destination: Destination;
}

export class SplitFront implements FrameHandler {
  readonly #does: SplitActions;
  readonly #limits: { readonly statement_bytes: number; readonly bind_bytes: number };
  readonly #reader: FrameReader;
  readonly #destinations: Destinations;
  #current: LaneName = "low";
  /** A message that waits for its lane; none is read after it. */
  #held: Held | null = null;
  #waiting: "nothing" | "high lane" | "catalogue" = "nothing";
  /** A Sync of our own is on its way, behind so many for which the client is to hear ReadyForQuery. */
  #between: { before: number } | null = null;
  /** An error went to the client since the lane's last ReadyForQuery. */
  readonly #failed = { low: false, high: false };
  /** The high lane failed amid a transaction of the low one, which is to fail too before the client hears that it is ready. */
  #abort = false;
  /** The low lane was used since the high one was made ready. */
  #used = true;
  #cancelled = false;
  #busy = false;

  constructor(does: SplitActions, limits: { readonly statement_bytes: number; readonly bind_bytes: number }) {
    this.#does = does;
    this.#limits = limits;
    this.#reader = new FrameReader(this);
    this.#destinations = new Destinations(does);
  }

  get current(): LaneName {
    return this.#current;
  }

  /** Bytes of the client that wait here. */
  get backlog(): number {
    return this.#reader.backlog;
  }

  /** What the machine of a lane asks. */
  lane(lane: LaneName): Pick<LaneOptions, "ready" | "failed" | "elsewhere" | "open"> {
    return {
      ready: (status) => this.#ready(lane, status),
      failed: () => {
        this.#failed[lane] = true;
      },
      open: () => this.#does.machine(lane === "low" ? "high" : "low")?.status === "T",
      elsewhere: () => lane === "low" && (this.#current === "high" || this.#waiting !== "nothing"),
    };
  }

  receive(bytes: Buffer): void {
    this.#run(() => this.#reader.push(bytes));
  }

  /** A machine has had its turn, and what it wanted was done. */
  turned(): void {
    this.#run(() => undefined);
  }

  /** The client's cancel request. True when it is for a message that waits here, and not for what a machine runs. */
  cancel(): boolean {
    if (this.#waiting === "nothing") return false;
    this.#cancelled = true;
    return true;
  }

  /** The high lane is ready for the message that waits, or why it cannot have it. */
  prepared(refusal: Refusal | null): void {
    this.#run(() => {
      if (refusal === null) this.#used = false;
      this.#goOn((held) => {
        if (refusal === null) this.#turn("high", held);
        else this.#refuse(held.destination, refusal);
      });
    });
  }

  refreshed(): void {
    this.#run(() =>
      this.#goOn((held) => {
        this.#held = { ...held, destination: this.#destinations.settle(held.destination) };
      }),
    );
  }

  #goOn(act: (held: Held) => void): void {
    const held = this.#held;
    const cancelled = this.#cancelled;
    this.#waiting = "nothing";
    this.#cancelled = false;
    this.#steps++;
    if (held === null) return;
    this.#held = null;
    if (cancelled) this.#refuse(held.destination, cancelledWhileWaiting);
    else act(held);
  }

  // ── what the machines ask ──

  #ready(lane: LaneName, status: TransactionStatus): TransactionStatus | null {
    if (this.#between !== null && this.#between.before-- === 0) return null;
    const failed = this.#failed[lane];
    this.#failed[lane] = false;
    if (lane === "low") return status;
    const low = this.#does.machine("low")?.status ?? "I";
    if (!failed || low !== "T") return low;
    this.#abort = true;
    return null;
  }

  // ── going on ──

  #run(act: () => void): void {
    // A machine's turn within one of ours: the outer one looks again.
    if (this.#busy) return;
    this.#busy = true;
    try {
      act();
      for (let before = -1; before !== this.#steps && this.#does.machine("low")?.ended === false;) {
        before = this.#steps;
        this.#advance();
        if (this.#held === null) this.#reader.resume();
      }
    } finally {
      this.#busy = false;
    }
  }

  /** Grows whenever something was done that may make more possible. */
  #steps = 0;

  #advance(): void {
    if (this.#abort) return this.#abortLow();
    const from = this.#does.machine(this.#current);
    if (from === null || this.#waiting !== "nothing") return;
    const held = this.#held;
    if (held === null) {
      // Between two pipelines the low lane is the one that listens: notifications, and the loss of its backend.
      if (this.#current === "high" && from.quiet) this.#goTo("low");
      return;
    }
    const { destination } = held;
    if (from.discarding && this.#between === null)
      return this.#turn(this.#current, { ...held, destination: this.#destinations.here(this.#current) });
    if (destination.kind === "unknown") {
      this.#waiting = "catalogue";
      return this.#does.refresh();
    }
    const lane = destination.kind === "lane" ? destination.lane : "low";
    if (!this.#isHere(destination)) {
      if (from.amid && this.#between === null) return this.#leave(held, lane);
      if (!from.quiet) return;
    }
    if (this.#between !== null && this.#fell(held)) return;
    if (lane === "high" && this.#does.machine("low")?.status === "E") return this.#inFailed(held);
    if (this.#mustPrepare(destination)) {
      this.#waiting = "high lane";
      return this.#does.prepare();
    }
    this.#turn(lane, held);
  }

  /** The transaction has failed since the message was read: its server says so, or we do for what only the high lane knows. */
  #inFailed(held: Held): void {
    const { destination } = held;
    if (typeof destination.sql === "string") return this.#turn("low", { ...held, destination: this.#destinations.here("low") });
    this.#held = null;
    this.#refuse(destination, inFailedTransaction);
  }

  #mustPrepare(destination: Destination): boolean {
    if (destination.kind !== "lane" || destination.lane === "low" || destination.asItIs) return false;
    return this.#used || this.#does.machine("high") === null;
  }

  /** It can be handed on without further ado. */
  #isHere(destination: Destination): boolean {
    return destination.kind === "lane" && destination.lane === this.#current && !this.#mustPrepare(destination);
  }

  /** The pipeline goes on in another lane: ends this one's part of it. */
  #leave(held: Held, lane: LaneName): void {
    this.#steps++;
    if (this.#current === "low" && lane === "high" && !this.#destinations.mayPart) {
      this.#held = null;
      return this.#refuse(held.destination, refusedMixture);
    }
    this.#between = { before: this.#does.machine(this.#current)?.readyDue ?? 0 };
    this.#does.deliver(this.#current, SYNC);
  }

  /** Our own Sync was answered. True when the part that it ended had failed: then the rest of the pipeline is skipped. */
  #fell({ destination }: Held): boolean {
    this.#between = null;
    this.#steps++;
    const lane = this.#current;
    const failed = this.#failed[lane];
    this.#failed[lane] = false;
    if (!failed) return false;
    this.#held = null;
    this.#used = true;
    this.#goTo("low");
    this.#does.discard(lane === "high" && this.#does.machine("low")?.status === "T");
    // Goodbye is not skipped.
    if (destination.kind === "lane" && destination.message?.type === "Terminate") this.#does.deliver("low", TERMINATE);
    return true;
  }

  #abortLow(): void {
    this.#abort = false;
    this.#steps++;
    this.#used = true;
    this.#goTo("low");
    this.#does.discard(true);
    this.#does.deliver("low", SYNC);
  }

  #goTo(lane: LaneName): void {
    if (lane === this.#current) return;
    this.#current = lane;
    this.#does.turnTo(lane);
  }

  #turn(lane: LaneName, held: Held): void {
    this.#steps++;
    this.#held = null;
    this.#goTo(lane);
    if (held.destination.kind === "refusal") this.#refuse(held.destination, held.destination.refusal);
    else this.#deliver(held);
  }

  #refuse(destination: Destination, refusal: Refusal): void {
    this.#steps++;
    this.#used = true;
    this.#goTo("low");
    if (destination.via === null) return;
    this.#does.refuse(destination.via, destination.sql, refusal);
  }

  #deliver({ bytes, destination }: Held): void {
    if (this.#current === "low") this.#used = true;
    if (this.#destinations.delivered(destination, this.#current)) this.#does.dropHigh();
    this.#does.deliver(this.#current, bytes);
  }

  // ── the client's messages ──

  paused(): boolean {
    this.#reader.flush();
    if (this.#held !== null || this.#abort) return true;
    const machine = this.#does.machine(this.#current);
    if (machine === null || machine.waits) return true;
    // What comes after a statement that may yet abort the transaction must not run before that is known.
    return this.#current === "high" && !machine.amid && !machine.quiet && this.#does.machine("low")?.status === "T";
  }

  forward(bytes: Buffer): void {
    if (this.#current === "low") this.#used = true;
    this.#does.deliver(this.#current, bytes);
  }

  badLength(type: number): void {
    this.#does.deliver(this.#current, Buffer.from([type, 0, 0, 0, 0]));
  }

  head(type: number, length: number): Handling {
    this.#reader.flush();
    const { statement_bytes: statement, bind_bytes: bind } = this.#limits;
    switch (type) {
      case F.Query:
        return length <= statement + 1 ? "assemble" : "stream";
      case F.Parse:
        return length <= statement + PARSE_EXTRA ? "assemble" : "stream";
      case F.Bind:
        return length <= bind ? "assemble" : "stream";
      case F.Describe:
      case F.Close:
      case F.Execute:
      case F.Terminate:
        return length <= MAX_SMALL ? "assemble" : "stream";
      default:
        return "stream";
    }
  }

  part(): boolean {
    return true;
  }

  message(type: number, body: Buffer): Verdict {
    const current = this.#does.machine(this.#current);
    const destination =
      current?.discarding === true ? this.#destinations.here(this.#current) : this.#destinations.of(type, body, this.#current);
    const header = Buffer.allocUnsafe(5);
    header.writeUInt8(type, 0);
    header.writeInt32BE(body.length + 4, 1);
    const held: Held = { bytes: Buffer.concat([header, body]), destination };
    if (this.#isHere(destination)) this.#deliver(held);
    else {
      this.#held = held;
      this.#steps++;
    }
    return "drop";
  }
}
