/**
 * The room link/: a Node shell around protocol/stream, used by runner/ and tunnel-agent/. It owns the
 * WebSocket of one session, redials and resumes it, and hands out streams as Node Duplexes.
 */
import type { Duplex } from "node:stream";
import type { ErrorCode } from "../protocol/errors.ts";
import type { StreamMeta } from "../protocol/stream/control.ts";

/** Why a session ended, as both ends are told. */
export interface SessionEnd {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What the agent tells the connector once the session is usable. */
export interface Ready {
  readonly target: string;
  readonly protocol: string;
  readonly database?: string | undefined;
  readonly user?: string | undefined;
}

/**
 * One stream. Writing respects the peer's credit (`write` returns false, `drain` follows); reading grants credit as
 * the reader consumes. `end()` sends FIN; `destroy(error)` sends RESET. Half-close is independent in each direction.
 */
export interface LinkStream extends Duplex {
  readonly streamId: number;
  readonly meta: StreamMeta;
}

export type LinkState = "connecting" | "open" | "lost" | "ended";
