/**
 * Brings segments from the spool to the gateway: `PUT /v1/agent/sessions/:id/segments/:n`, in order within a session,
 * a few sessions at once, again and again with backoff until acknowledged. Uploads are idempotent at the gateway, so
 * after a restart every segment still in the spool is simply sent again. A session's file is removed once its last
 * segment, and so all of them, are acknowledged.
 *
 * Never on the data path: recordings hand segments over and go on. It never gives up and never deletes what was not
 * acknowledged; a segment that the gateway refuses for good (4xx) is tried again slowly and counted.
 */
import type { Logger } from "pino";
import { backoffDelay } from "../uplink/backoff.ts";
import type { Segment } from "./recording.ts";
import type { Spool } from "./spool.ts";

export type PutResult =
  | { readonly kind: "stored" }
  /** Try again soon: network, 5xx, 401, 429. */
  | { readonly kind: "unavailable"; readonly reason: string }
  /** The gateway understood and will not take it. */
  | { readonly kind: "refused"; readonly reason: string };

export interface UploaderOptions {
  readonly spool: Spool;
  readonly put: (session: string, number: number, body: Buffer<ArrayBuffer>, signal: AbortSignal) => Promise<PutResult>;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onResult?: (result: PutResult["kind"]) => void;
}

const CONCURRENCY = 4;
const RETRY = { baseMs: 500, maxMs: 30_000 };
/** Slower in the end, but quick at first: a session that has just begun may not be known everywhere yet. */
const REFUSED_RETRY = { baseMs: 500, maxMs: 5 * 60_000 };

interface Queue {
  readonly session: string;
  readonly segments: Segment[];
  attempts: number;
  state: "idle" | "sending" | "waiting";
  timer?: NodeJS.Timeout;
}

export class Uploader {
  readonly #o: UploaderOptions;
  readonly #queues = new Map<string, Queue>();
  readonly #abort = new AbortController();
  #sending = 0;
  #idle: (() => void)[] = [];

  constructor(options: UploaderOptions) {
    this.#o = options;
  }

  add(segment: Segment): void {
    let queue = this.#queues.get(segment.session);
    if (queue === undefined) {
      queue = { session: segment.session, segments: [], attempts: 0, state: "idle" };
      this.#queues.set(segment.session, queue);
    }
    queue.segments.push(segment);
    this.#pump();
  }

  /** Not acknowledged yet. */
  get backlog(): { readonly segments: number; readonly bytes: number } {
    let segments = 0;
    let bytes = 0;
    for (const queue of this.#queues.values()) {
      segments += queue.segments.length;
      for (const segment of queue.segments) bytes += segment.to - segment.from;
    }
    return { segments, bytes };
  }

  /** The gateway is back: what waits for a retry goes now. */
  retryNow(): void {
    for (const queue of this.#queues.values()) {
      if (queue.state !== "waiting") continue;
      clearTimeout(queue.timer);
      queue.state = "idle";
      queue.attempts = 0;
    }
    this.#pump();
  }

  /** Resolves true once nothing is left to upload, false after `ms`. */
  async drain(ms: number): Promise<boolean> {
    if (this.backlog.segments === 0) return true;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const empty = new Promise<boolean>((resolve) => this.#idle.push(() => resolve(true)));
    const done = await Promise.race([timeout, empty]);
    clearTimeout(timer);
    return done;
  }

  stop(): void {
    this.#abort.abort();
    for (const queue of this.#queues.values()) clearTimeout(queue.timer);
  }

  #pump(): void {
    for (const queue of this.#queues.values()) {
      if (this.#sending >= CONCURRENCY || this.#abort.signal.aborted) return;
      const [segment] = queue.segments;
      if (queue.state !== "idle" || segment === undefined) continue;
      queue.state = "sending";
      this.#sending += 1;
      void this.#send(queue, segment);
    }
  }

  async #send(queue: Queue, segment: Segment): Promise<void> {
    const result = await this.#attempt(segment);
    this.#sending -= 1;
    if (this.#abort.signal.aborted) return;
    if (result.kind === "stored") {
      queue.state = "idle";
      queue.attempts = 0;
      queue.segments.shift();
      if (segment.last) this.#finished(queue);
    } else {
      queue.attempts += 1;
      queue.state = "waiting";
      const delay = backoffDelay(queue.attempts, result.kind === "refused" ? REFUSED_RETRY : RETRY, this.#o.random);
      queue.timer = setTimeout(() => {
        queue.state = "idle";
        this.#pump();
      }, delay).unref();
      const level = result.kind === "refused" ? "error" : "warn";
      this.#o.log[level](
        { session: queue.session, segment: segment.number, attempt: queue.attempts, reason: result.reason, retry_ms: Math.round(delay) },
        "a recording segment was not stored; it stays in the spool",
      );
    }
    this.#pump();
    if (this.backlog.segments === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #attempt(segment: Segment): Promise<PutResult> {
    let result: PutResult;
    try {
      const body = await this.#o.spool.read(segment.session, segment.from, segment.to);
      result = await this.#o.put(segment.session, segment.number, body, this.#abort.signal);
    } catch (error) {
      result = { kind: "unavailable", reason: error instanceof Error ? error.message : "unknown" };
    }
    this.#o.onResult?.(result.kind);
    return result;
  }

  #finished(queue: Queue): void {
    this.#queues.delete(queue.session);
    try {
      this.#o.spool.remove(queue.session);
    } catch (error) {
      this.#o.log.error({ session: queue.session, err: error }, "an acknowledged spool file could not be removed");
    }
  }
}
