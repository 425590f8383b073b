/**
 * The recording of one live session: the SessionRecorder that protocol rooms write to, and the events that the
 * agent's core adds (start, policy changes, faults, end, seal). Cuts the log into segments, each ending in a signed
 * checkpoint, and offers them for upload about a second after their first event, so that commands are searchable soon.
 *
 * Guarantees: an event is in the spool when its method returns, but for outcomes and results, which are there before the
 * next event and within the turn of the event loop: the answer need not wait for it, and if the process dies in between, recovery
 * says `unknown`. Nothing follows the seal. When the end cannot be written (full disk), `end` says so and may be called
 * again; the next start of the agent recovers what is left.
 */
import { MAX_EVENT_BYTES, SEGMENT_TARGET_BYTES } from "../../protocol/limits.ts";
import { FIRST_PREV, type NewEvent } from "../../protocol/recording/event.ts";
import type { SessionEnd } from "../../link/types.ts";
import { EventChain, type Line, type Sign } from "./chain.ts";
import { RecordingUnavailable, type EventOf, type SessionRecorder } from "./recorder.ts";
import type { Purpose, SpoolFile } from "./spool.ts";

/** Bytes `from`–`to` of the session's spool file are segment `number`; `last` ends in the seal. */
export interface Segment {
  readonly session: string;
  /** From 0. */
  readonly number: number;
  readonly from: number;
  readonly to: number;
  readonly last: boolean;
}

/** What recordings count, for metrics. */
export interface RecordingStats {
  commands(target: string, decision: string): void;
  bytes(target: string, received: number, sent: number): void;
  failed(): void;
}

export interface RecordingOptions {
  readonly session: string;
  readonly target: string;
  readonly agent: string;
  readonly file: SpoolFile;
  readonly sign: Sign;
  /** ms since the epoch. */
  readonly now: () => number;
  /** The bundle that decides now. */
  readonly bundle: () => number;
  readonly onSegment: (segment: Segment) => void;
  readonly stats: RecordingStats;
  /** Takes known credentials out of an event's JSON. */
  readonly redact: (json: string) => string;
}

/** First flush after this long, ms; a long session's segments grow: one more second for each 60 segments, up to ten. */
const FLUSH_MS = 1_000;
const FLUSH_MAX_MS = 10_000;
const flushDelay = (segments: number): number => Math.min(FLUSH_MS * (1 + Math.floor(segments / 60)), FLUSH_MAX_MS);

export class SessionRecording implements SessionRecorder {
  readonly #o: RecordingOptions;
  readonly #chain: EventChain;
  #commands = 0;
  /** Commands that were recorded and have no outcome yet, with the outcome to give when none comes. */
  readonly #open = new Map<number, "unknown" | "refused">();
  /** Outcomes and results that are still to be written, in order. */
  readonly #due: { readonly event: Extract<NewEvent, { type: "outcome" | "result" }>; readonly at: number }[] = [];
  #soon: NodeJS.Immediate | undefined;
  #segments = 0;
  #segmentStart: number;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #sealed = false;

  constructor(options: RecordingOptions) {
    this.#o = options;
    this.#chain = new EventChain(options.session, 0, FIRST_PREV, options.redact);
    this.#segmentStart = options.file.size;
  }

  get sealed(): boolean {
    return this.#sealed;
  }

  start(event: EventOf<"session.start">): void {
    this.#write({ type: "session.start", ...event }, "new", true);
  }

  streamOpen(event: EventOf<"stream.open">): void {
    this.#write({ type: "stream.open", ...event }, "new", false);
  }

  streamClose(event: EventOf<"stream.close">): void {
    this.#write({ type: "stream.close", ...event }, "closing", false);
    this.#o.stats.bytes(this.#o.target, event.bytes_in, event.bytes_out);
  }

  command(event: Omit<EventOf<"command">, "command" | "bundle">): number {
    const command = this.#commands + 1;
    this.#write({ type: "command", command, ...event, bundle: this.#o.bundle() }, "new", true);
    this.#commands = command;
    this.#open.set(command, event.decision === "allow" ? "unknown" : "refused");
    this.#o.stats.commands(this.#o.target, event.decision);
    return command;
  }

  outcome(event: EventOf<"outcome">): void {
    if (this.#ended) throw new RecordingUnavailable("the recording has ended");
    this.#open.delete(event.command);
    this.#later({ type: "outcome", ...event });
  }

  /** The answer is on its way before this is written. */
  #later(event: Extract<NewEvent, { type: "outcome" | "result" }>): void {
    this.#due.push({ event, at: this.#o.now() });
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      try {
        this.#settle();
      } catch (error) {
        // They stay due: the next event writes them first, or is itself refused.
        if (!(error instanceof RecordingUnavailable)) throw error;
      }
    });
  }

  approval(event: EventOf<"approval">): void {
    this.#write({ type: "approval", ...event }, "closing", false);
  }

  result(event: EventOf<"result">): void {
    if (!this.#ended) this.#later({ type: "result", ...event });
  }

  #settle(): void {
    for (let due = this.#due[0]; due !== undefined; due = this.#due[0]) {
      if (due.event.type === "outcome") this.#put(due.event, "closing", false, due.at);
      else this.#putIfRoom(due.event, due.at);
      this.#due.shift();
    }
  }

  /** A result is a view for people: where the spool is short of space it is left out, and nothing stops for it. */
  #putIfRoom(event: NewEvent, at: number): void {
    try {
      this.#put(event, "new", false, at);
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
    }
  }

  policy(bundle: number, note?: string): void {
    this.#write({ type: "policy", bundle, ...(note === undefined ? {} : { note }) }, "closing", false);
  }

  gap(note: string): void {
    this.#write({ type: "gap", note }, "closing", false);
  }

  /**
   * Writes what is missing of the end: outcomes of open commands, session.end, seal; closes the file.
   * @throws RecordingUnavailable: call it again later; what was written stays written.
   */
  end(end: SessionEnd): void {
    if (this.#sealed) return;
    if (!this.#ended) {
      for (const [command, status] of this.#open) this.outcome({ command, status });
      clearImmediate(this.#soon);
      this.#write({ type: "session.end", code: end.code, message: end.message }, "closing", false);
      this.#ended = true;
    }
    this.#append(this.#chain.signed("seal", this.#o.agent, this.#o.sign, this.#o.now()), "closing", true);
    this.#sealed = true;
    this.#cut(true);
    this.#o.file.close();
  }

  /** The process stops before the end could be written: recovery will seal it. */
  abandon(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    this.#o.file.close();
  }

  #write(event: NewEvent, purpose: Purpose, sync: boolean): void {
    if (this.#ended) throw new RecordingUnavailable("the recording has ended");
    this.#settle();
    this.#put(event, purpose, sync, this.#o.now());
  }

  #put(event: NewEvent, purpose: Purpose, sync: boolean, at: number): void {
    const line = this.#chain.line(event, at);
    if (line.bytes.length > MAX_EVENT_BYTES) {
      throw new RecordingUnavailable(`an event of ${line.bytes.length} bytes exceeds the limit of ${MAX_EVENT_BYTES}`);
    }
    this.#append(line, purpose, sync);
    if (this.#o.file.size - this.#segmentStart >= SEGMENT_TARGET_BYTES) this.#closeSegment();
    else this.#timer ??= setTimeout(() => this.#closeSegment(), flushDelay(this.#segments)).unref();
  }

  #append(line: Line, purpose: Purpose, sync: boolean): void {
    try {
      this.#o.file.append(line.bytes, purpose, sync);
    } catch (error) {
      this.#o.stats.failed();
      throw error;
    }
    this.#chain.accept(line);
  }

  #closeSegment(): void {
    if (this.#ended || this.#o.file.size === this.#segmentStart) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      this.#append(this.#chain.signed("checkpoint", this.#o.agent, this.#o.sign, this.#o.now()), "closing", true);
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
      // The segment stays open: the events are in the spool, and the next event tries again.
      return;
    }
    this.#cut(false);
  }

  #cut(last: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const to = this.#o.file.size;
    this.#o.onSegment({ session: this.#o.session, number: this.#segments, from: this.#segmentStart, to, last });
    this.#segments += 1;
    this.#segmentStart = to;
  }
}
