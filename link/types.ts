/**
 * The room link/: a Node shell around protocol/stream, used by runner/ and tunnel-agent/. It owns the
 * WebSocket of one session, redials and resumes it, and hands out streams as Node Duplexes.
 */
import type { Duplex } from "node:stream";
import type { ErrorCode } from "../protocol/errors.ts";
import type { StreamMeta } from "../protocol/stream/control.ts";
import type { ReadyFacts } from "../protocol/stream/events.ts";

/** Why a session ended, as both ends are told. */
export interface SessionEnd {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What the agent tells the connector once the session is usable. */
export type Ready = ReadyFacts;

/**
 * One stream. Writing respects the peer's credit (`write` returns false, `drain` follows); reading grants credit as
 * the reader consumes. `end()` sends FIN; `destroy(error)` sends RESET. Half-close is independent in each direction.
 * A RESET by the peer is an error with code ECONNRESET. When the session ends, what has arrived can still be read,
 * and then the stream fails with a SessionEndedError.
 */
export interface LinkStream extends Duplex {
  readonly streamId: number;
  readonly meta: StreamMeta;
}

export type LinkState = "connecting" | "open" | "lost" | "ended";

/** pino's shape, as far as it is used. */
export interface LinkLog {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export class SessionEndedError extends Error {
  override name = "SessionEndedError";
  readonly code: ErrorCode;

  constructor(end: SessionEnd) {
    super(end.message);
    this.code = end.code;
  }
}
