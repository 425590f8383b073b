/**
 * One client and one backend of its own (never shared, never reused), from the moment that both are logged in: bytes
 * of either side in, events out. It decides and records every command before the target sees it, and holds every
 * answer against what is due. It does no I/O and owns no timer: `deadline()` says when `expire()` wants to be called.
 *
 * What it cannot do: look into functions and triggers, or undo what a command did before its connection was cut.
 */
import type { ApprovalId } from "../../../../protocol/ids.ts";
import { RecordingUnavailable } from "../../../recording/recorder.ts";
import type { ApprovalNews } from "../../../session.ts";
import type { TransactionStatus } from "../codec/backend.ts";
import { FrameReader } from "../codec/framing.ts";
import { notRecorded, SQLSTATE, type Refusal } from "../refusal.ts";
import type { KnownSql } from "./authorise.ts";
import { BackendSide } from "./backend.ts";
import { ClientSide } from "./client.ts";
import { Core } from "./core.ts";
import { refuseElsewhere } from "./extended.ts";
import type { Inspected } from "./hold/types.ts";
import type { Names } from "./names.ts";
import type { MachineOptions, SessionEvent } from "./types.ts";

export class SessionMachine {
  readonly #core: Core;
  readonly #client: FrameReader;
  readonly #backend: FrameReader;

  constructor(options: MachineOptions) {
    this.#core = new Core(options);
    this.#client = new FrameReader(new ClientSide(this.#core));
    this.#backend = new FrameReader(new BackendSide(this.#core));
    this.#core.flushToClient = () => this.#backend.flush();
    this.#core.flushToTarget = () => this.#client.flush();
  }

  get ended(): boolean {
    return this.#core.ended;
  }

  /** Bytes of the client that wait for the backend's answer; the shell stops reading when there are many. */
  get backlog(): number {
    return this.#client.backlog;
  }

  /** The backend's, as it last said. */
  get status(): TransactionStatus {
    return this.#core.status;
  }

  /** Nothing is asked of the backend, nothing is owed to the client, and nothing of either waits here. */
  get quiet(): boolean {
    return this.#core.idle && !this.amid && !this.waits && this.#core.copyIn === null;
  }

  /** How often the client is yet to hear ReadyForQuery. */
  get readyDue(): number {
    return this.#core.readyDue;
  }

  /** The client has begun a pipeline here and not ended it. */
  get amid(): boolean {
    return this.#core.segmentSince !== null || this.#core.discarding;
  }

  /** What the client says up to its next Sync is dropped: something of its pipeline failed. */
  get discarding(): boolean {
    return this.#core.discarding;
  }

  /** The client's next message would not be looked at yet. */
  get waits(): boolean {
    return this.#core.mustWait || this.#client.backlog > 0;
  }

  /** A message to the client is cut: its rest has to come first. */
  get midMessage(): boolean {
    return this.#core.midMessage;
  }

  /** What is known of this client's prepared statements and portals. */
  get names(): Names {
    return this.#core.names;
  }

  /** Schemas that unqualified names may mean: all that the search_path has ever had. */
  get searchPath(): readonly string[] {
    return this.#core.authoriser.schemas;
  }

  /** Unqualified names may mean objects of these schemas too. */
  addSchemas(schemas: readonly string[]): void {
    this.#core.authoriser.addSchemas(schemas);
  }

  /** Refuses in the place of a message that another machine would have had, and records it. */
  refuse(via: "simple" | "parse" | "extended", sql: string | KnownSql, refusal: Refusal): SessionEvent[] {
    return this.#turn(() => refuseElsewhere(this.#core, via, sql, refusal));
  }

  /**
   * Drops what the client says up to its next Sync, of whose failure it has been told elsewhere. `abort`: and makes the
   * backend fail, so that the transaction that is open there is aborted.
   */
  discard(abort: boolean): SessionEvent[] {
    return this.#turn(() => {
      const core = this.#core;
      core.segmentSince ??= core.now;
      core.discarding = true;
      if (abort) core.poison(null);
    });
  }

  /** The client has been busy elsewhere until now. */
  touch(): void {
    if (this.#core.idle) this.#core.since = this.#core.now;
  }

  receiveClient(bytes: Buffer): SessionEvent[] {
    return this.#turn(() => this.#client.push(bytes));
  }

  receiveBackend(bytes: Buffer): SessionEvent[] {
    return this.#turn(() => this.#backend.push(bytes));
  }

  /** The target has taken the cancel request, or never will. */
  cancelDone(): SessionEvent[] {
    return this.#turn(() => {
      this.#core.cancelling = false;
    });
  }

  /** The catalogue was loaded, or could not be. */
  catalogueLoaded(): SessionEvent[] {
    return this.#turn(() => {
      const { loading } = this.#core;
      this.#core.loading = null;
      if (loading !== null) this.#core.masking.freshly(loading);
    });
  }

  /** The client asked for a cancel on another connection (PG-11). */
  cancel(): SessionEvent[] {
    return this.#turn(() => {
      if (this.#core.holds.cancel()) return;
      if (!this.#core.idle && !this.#core.cancelling) this.#core.cancel();
    });
  }

  /** The shell's answer to an `inspect` event. */
  inspected(question: number, answer: Inspected): SessionEvent[] {
    return this.#turn(() => this.#core.holds.inspected(question, answer));
  }

  /** How an approval that was asked for goes on. */
  approvalNews(approval: ApprovalId, news: ApprovalNews): SessionEvent[] {
    return this.#turn(() => this.#core.holds.news(approval, news));
  }

  /** The client's connection is gone, or half closed (PG-52). */
  clientClosed(): SessionEvent[] {
    return this.#turn(() => this.#core.end("the client disconnected"));
  }

  targetClosed(why: string): SessionEvent[] {
    return this.#turn(() => this.#core.fatal({ code: SQLSTATE.connection_failure, message: `sallyport: ${why}` }));
  }

  /** The session is over: killed, revoked, expired, drained. */
  abort(refusal: Refusal): SessionEvent[] {
    return this.#turn(() => this.#core.fatal(refusal));
  }

  #turn(act: () => void): SessionEvent[] {
    const core = this.#core;
    if (core.ended) return [];
    try {
      act();
      core.holds.proceed();
      // What the backend answered may be what the client's next message was waiting for.
      if (!core.mustWait) this.#client.resume();
      if (core.leaving && core.idle) core.end("the client left");
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
      core.fatal(notRecorded);
    }
    return core.takeEvents();
  }

  /** Monotonic ms at which `expire()` is due, if nothing happens before; null for never. */
  deadline(): number | null {
    const at = Math.min(this.#answerBy(), this.#syncBy(), this.#goOnBy(), this.#core.holds.deadline());
    return this.#core.ended || at === NEVER ? null : at;
  }

  expire(): SessionEvent[] {
    return this.#turn(() => {
      const core = this.#core;
      const { now } = core;
      core.holds.expire();
      if (this.#syncBy() <= now) core.fatal(unsynced);
      else if (this.#goOnBy() <= now) core.fatal(idleInTransaction);
      else if (this.#answerBy() > now) return;
      else if (core.instead === null) core.cancelFor(tooSlow(core.options.limits.statement_s), false);
      else core.fatal(core.instead.refusal);
    });
  }

  /** The backend must have answered what it runs, or obeyed the cancel (PG-51). */
  #answerBy(): number {
    const { idle, instead, since, options } = this.#core;
    if (instead !== null && instead.until !== NEVER) return instead.until;
    return idle ? NEVER : since + options.limits.statement_s * 1000;
  }

  /** The client must have ended the pipeline that it began (PG-50). */
  #syncBy(): number {
    const { segmentSince, options, holds } = this.#core;
    // While a command is held it is not the client that lets others wait.
    return segmentSince === null || holds.active ? NEVER : segmentSince + options.limits.unsynced_s * 1000;
  }

  /** The client must have gone on with the transaction that it left open. */
  #goOnBy(): number {
    const { idle, segmentSince, status, since, options, holds } = this.#core;
    if (options.lane?.elsewhere() === true || holds.active) return NEVER;
    return idle && segmentSince === null && status !== "I" ? since + options.limits.idle_in_transaction_s * 1000 : NEVER;
  }
}

const NEVER = Number.POSITIVE_INFINITY;

const tooSlow = (limit: number): Refusal => ({
  code: SQLSTATE.query_canceled,
  message: `sallyport: canceling statement: it ran longer than ${limit} s`,
});

const unsynced: Refusal = {
  code: SQLSTATE.idle_in_transaction_session_timeout,
  message: "sallyport: a pipeline was left without its Sync for too long",
};

const idleInTransaction: Refusal = {
  code: SQLSTATE.idle_in_transaction_session_timeout,
  message: "sallyport: the transaction was left idle for too long",
};
