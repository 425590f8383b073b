/**
 * The state that the parts of the session machine share, and the few things they all do: speak to either side, expect
 * a reply, record a command, fail. The parts (simple.ts, extended.ts, copy.ts, backend.ts) hold the protocol's rules;
 * machine.ts puts them together. Sans-IO: what is to be done comes out as events.
 *
 * The queue of expected replies is the truth about the backend: every forwarded message is in it until it is answered
 * or skipped. When the backend reports an error, everything up to the next Sync is taken back, since it skips that.
 */
import { RecordingUnavailable } from "../../../recording/recorder.ts";
import { writeFields, writeReadyForQuery, type TransactionStatus } from "../codec/backend.ts";
import { writeBare, writeDescribe } from "../codec/frontend.ts";
import { MessageWriter } from "../codec/writer.ts";
import { refusalFields, SQLSTATE, type Refusal } from "../refusal.ts";
import { Authoriser, type Verdict } from "./authorise.ts";
import { StandIns } from "./effects.ts";
import { Holds } from "./hold/hold.ts";
import { SessionMasking, type CatalogueNeed } from "./masking.ts";
import { Names, type TrackedPortal } from "./names.ts";
import { Outcomes } from "./outcomes.ts";
import { Plans } from "./plans.ts";
import { consentedIn, takeFrom } from "./planned.ts";
import type { Command, Expected, MachineOptions, SessionEvent } from "./types.ts";

/** Replies outstanding before the client has to wait. */
const MAX_PIPELINE = 2048;
/** How long a backend may go on after it was asked to cancel, ms. */
const CANCEL_GRACE_MS = 10_000;

export interface RecordedSql {
  readonly text: string;
  readonly digest: string;
  readonly shape?: string | undefined;
  readonly parameters?: readonly (string | null | { bytes: number })[] | undefined;
}

/** Puts whole messages together: masked rows or copy data. */
interface Masked {
  take(): Buffer | null;
}

export class Core {
  readonly options: MachineOptions;
  readonly names = new Names();
  readonly authoriser: Authoriser;
  readonly outcomes: Outcomes;
  readonly masking: SessionMasking;
  readonly plans: Plans;
  /** What is to be done once the catalogue is loaded; nothing else of the client is looked at before. */
  loading: (() => void) | null = null;
  readonly holds: Holds;
  /** As the backend last said, which is what the client was last told. */
  status: TransactionStatus = "I";
  ended = false;
  /** The client's messages are skipped up to its next Sync. */
  discarding = false;
  /** Extended messages were forwarded since the last Sync, and when the first was. */
  segmentSince: number | null = null;
  /** A Bind or Execute was among them: an implicit transaction has done something. */
  ran = false;
  /** Portals bound since the last Sync. */
  bound: TrackedPortal[] = [];
  /** The client's next message waits until this is answered. */
  barrier: Expected | null = null;
  /** A cancel of ours is on its way: what would be sent now could be hit by it. */
  cancelling = false;
  /** A LISTEN was allowed and has succeeded. */
  listening = false;
  /** The client said goodbye: end once everything is answered. */
  leaving = false;
  /** Copy data is expected of the client: passed on, or skipped after its limit. */
  copyIn: "open" | "overrun" | null = null;
  copyInBytes = 0;
  /** A streamed message to the client is cut: nothing can be said before its rest. */
  midMessage = false;
  /** What the client gets in place of the error that our cancel will cause. */
  instead: { readonly refusal: Refusal; readonly until: number; readonly dropping: boolean } | null = null;
  /** Since when the front of the queue is what it is, or the backend is idle. Monotonic ms. */
  since: number;

  readonly #queue: Expected[] = [];
  readonly #toClient = new MessageWriter();
  readonly #toTarget = new MessageWriter();
  /** Holds masked rows that were not yet handed on; while there are any, nothing is in `#toClient`. */
  #masked: Masked | null = null;
  #events: SessionEvent[] = [];
  /** Set by machine.ts: hand on what passes untouched, so that our words come after it. */
  flushToClient: () => void = () => undefined;
  flushToTarget: () => void = () => undefined;

  constructor(options: MachineOptions) {
    this.options = options;
    this.masking = new SessionMasking(options.masking, options.session, options.target, this.names);
    this.plans = new Plans(options.session.maskingKey);
    this.authoriser = new Authoriser(
      options,
      this.names,
      this.masking,
      new StandIns(options.masking?.source ?? null, () => options.session.masking()),
    );
    this.since = options.session.monotonic();
    this.outcomes = new Outcomes(options.session);
    this.holds = new Holds(this);
  }

  get now(): number {
    return this.options.session.monotonic();
  }

  // ── speaking ──

  say(write: (writer: MessageWriter) => void): void {
    this.flushToClient();
    if (this.#masked !== null) this.#flushClient();
    write(this.#toClient);
  }

  /** From here on the client hears what this masker puts together, after all that was said before. */
  sayMasked(masker: Masked): void {
    this.flushToClient();
    if (this.#masked === masker) return;
    this.#flushClient();
    this.#masked = masker;
  }

  tell(write: (writer: MessageWriter) => void): void {
    this.flushToTarget();
    write(this.#toTarget);
  }

  passToClient(bytes: Buffer): void {
    this.#flushClient();
    this.#events.push({ type: "to-client", bytes });
  }

  passToTarget(bytes: Buffer): void {
    this.#flushTarget();
    this.#events.push({ type: "to-target", bytes });
  }

  #flushClient(): void {
    if (this.#masked !== null) {
      const rows = this.#masked.take();
      this.#masked = null;
      if (rows !== null) this.#events.push({ type: "to-client", bytes: rows });
      return;
    }
    const bytes = this.#toClient.take();
    if (bytes !== null) this.#events.push({ type: "to-client", bytes });
  }

  #flushTarget(): void {
    const bytes = this.#toTarget.take();
    if (bytes !== null) this.#events.push({ type: "to-target", bytes });
  }

  /** What the shell is to do, after what was said so far. */
  emit(event: SessionEvent): void {
    this.flushToClient();
    this.#flushClient();
    this.#events.push(event);
  }

  takeEvents(): SessionEvent[] {
    this.#flushClient();
    this.#flushTarget();
    const events = this.#events;
    this.#events = [];
    return events;
  }

  // ── expecting ──

  get idle(): boolean {
    return this.#queue.length === 0;
  }

  /** How often the client is yet to hear ReadyForQuery. */
  get readyDue(): number {
    return this.#queue.filter((expected) => expected.kind === "query" || (expected.kind === "sync" && expected.own !== true)).length;
  }

  get front(): Expected | undefined {
    return this.#queue[0];
  }

  expect(expected: Expected): void {
    if (this.#queue.length === 0) this.since = this.now;
    this.#queue.push(expected);
    if (this.#queue.length === MAX_PIPELINE) this.tell((writer) => writeBare(writer, "Flush"));
  }

  /** The front was answered. */
  answered(): void {
    const front = this.#queue.shift();
    this.since = this.now;
    if (front === this.barrier) this.barrier = null;
  }

  /** The backend skips up to the next Sync: takes back what it will not see. True when that Sync is already on its way. */
  skipToSync(code: string): boolean {
    const skipped: Expected[] = [];
    let synced = false;
    while (this.#queue.length > 0 && !synced) {
      if (this.#queue[0]?.kind === "sync") synced = true;
      else {
        const front = this.#queue.shift();
        if (front !== undefined) skipped.push(front);
      }
    }
    for (const expected of skipped.toReversed()) {
      if ("undo" in expected) expected.undo();
      if ("command" in expected) this.outcomes.skipped(expected.command, code);
      if (expected === this.barrier) this.barrier = null;
    }
    this.since = this.now;
    return synced;
  }

  /** Whether the client's next message may be looked at. */
  get mustWait(): boolean {
    return (
      this.ended ||
      this.holds.active ||
      this.loading !== null ||
      this.leaving ||
      this.barrier !== null ||
      this.cancelling ||
      this.#queue.length >= MAX_PIPELINE
    );
  }

  /** Has the catalogue loaded or confirmed, and then goes on with `then`. */
  load(need: CatalogueNeed, then: () => void): void {
    this.loading = then;
    this.#flushTarget();
    this.#events.push({ type: "load-catalogue", need });
  }

  // ── recording ──

  /** Before anything is forwarded. Null when it could not be recorded: then it must not run (GW-20). */
  record(via: string, sql: RecordedSql, verdict: Verdict, controlsTransaction = false, approval?: string): Command | null {
    const { session, streamId } = this.options;
    const { decision } = verdict;
    if (verdict.masking?.touches === true) this.masking.touched = true;
    try {
      const number = session.recorder.command({
        stream: streamId,
        via,
        text: sql.text,
        digest: sql.digest,
        ...(sql.shape === undefined ? {} : { shape: sql.shape }),
        ...(sql.parameters === undefined ? {} : { parameters: [...sql.parameters] }),
        effects: [...verdict.effects],
        decision: decision.outcome,
        policies: [...decision.policies],
        ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
        ...(approval === undefined ? this.#consentOf(verdict) : { approval }),
        ...(this.options.lane?.login === undefined ? {} : { login: this.options.lane.login }),
      });
      if (decision.outcome === "allow" && session.plan !== undefined && verdict.use !== undefined) takeFrom(session.plan, verdict.use);
      return this.outcomes.began(number, controlsTransaction);
    } catch (error) {
      if (error instanceof RecordingUnavailable) return null;
      throw error;
    }
  }

  /** Of a plan's statement that people consented to. */
  #consentOf({ use }: Verdict): { readonly approval?: string } {
    const { plan } = this.options.session;
    if (plan?.approval === undefined || use === undefined || !consentedIn(plan, use)) return {};
    return { approval: plan.approval };
  }

  // ── failing ──

  sayError(refusal: Refusal): void {
    this.options.lane?.failed();
    this.say((writer) => writeFields(writer, "ErrorResponse", refusalFields("ERROR", refusal)));
  }

  sayReady(): void {
    const status = this.readyStatus;
    if (status !== null) this.say((writer) => writeReadyForQuery(writer, status));
  }

  /** What ReadyForQuery tells the client now; null where somebody else tells it. */
  get readyStatus(): TransactionStatus | null {
    const { lane } = this.options;
    return lane === undefined ? this.status : lane.ready(this.status);
  }

  /**
   * Makes the backend fail where the refused message would have been, so that what the client is told is true: an
   * open transaction is aborted, an implicit one rolled back, and the rest up to Sync skipped by both (PG-14, PG-54).
   * Whatever was forwarded before is answered first, and if that fails the client hears that instead. Null: the client
   * has been told already.
   */
  poison(refusal: Refusal | null): void {
    this.tell((writer) => writeDescribe(writer, "S", this.options.poison));
    this.expect({ kind: "poison", refusal });
  }

  /** Asks for a cancel; the client gets `refusal` in place of the error that it causes. `dropping`: results are withheld from here on. */
  cancelFor(refusal: Refusal, dropping: boolean): void {
    this.instead = { refusal, until: this.now + CANCEL_GRACE_MS, dropping };
    this.cancel();
  }

  cancel(): void {
    this.cancelling = true;
    this.#flushTarget();
    this.#events.push({ type: "cancel" });
  }

  /** Tells the client why, unless it is amid a message, and ends the conversation. */
  fatal(refusal: Refusal): void {
    if (this.ended) return;
    if (!this.midMessage) this.say((writer) => writeFields(writer, "ErrorResponse", refusalFields("FATAL", refusal)));
    this.end(`${refusal.code} ${refusal.message}`);
  }

  /** Something that must not happen by the protocol: on whose side, and what. */
  violated(side: "client" | "target", what: string): void {
    const message = side === "client" ? what : `the target broke the protocol: ${what}`;
    this.fatal({ code: SQLSTATE.protocol_violation, message: side === "client" ? message : `sallyport: ${message}` });
  }

  /** The client said goodbye: ends at once, or when everything it asked for is answered. */
  leave(): void {
    this.leaving = true;
    if (this.idle || this.segmentSince !== null) this.end("the client left");
  }

  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.holds.abandon(reason);
    this.flushToClient();
    const abandon = !this.idle || this.segmentSince !== null;
    this.outcomes.abandon();
    this.masking.transactionEnded();
    if (!abandon) this.tell((writer) => writeBare(writer, "Terminate"));
    this.#flushClient();
    this.#flushTarget();
    this.#events.push({ type: "end", reason, abandon });
  }
}
