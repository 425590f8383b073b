/**
 * The agent's end of a session: accepts the streams that the connector opens. It redials through `dial` when its socket
 * is lost, or when the gateway dispatches the session again, and keeps the session for RESUME_WINDOW_MS without one.
 * A connector that leaves says so, and the session ends at once.
 */
import type { WebSocket } from "ws";
import type { ApprovalNotice } from "../protocol/stream/control.ts";
import type { LinkTiming } from "./backoff.ts";
import { SessionLink } from "./session-link.ts";
import type { LinkLog, LinkState, LinkStream, Ready, SessionEnd } from "./types.ts";

export interface AgentLinkOptions {
  /** A socket to the session's object, open or (better) still opening. A rejection is a failed try, not the end. */
  readonly dial: () => Promise<WebSocket>;
  /** What the connector is told on every socket. */
  readonly ready: Ready;
  /** Listen for `error` on the stream. */
  readonly onStream: (stream: LinkStream) => void;
  readonly log: LinkLog;
  readonly onState?: (state: LinkState, why: string) => void;
  readonly timing?: Partial<LinkTiming>;
  readonly random?: () => number;
}

export interface AgentLink {
  readonly state: LinkState;
  /** Bytes kept for the connector, over all streams. */
  readonly held: number;
  /** The gateway dispatched the session again: drop the socket, if any, and dial. Streams stay. */
  redial(): void;
  /** Tells the connector how an approval stands: now or when it is back, and again on each new socket. */
  tell(notice: ApprovalNotice): void;
  /** Tells the connector and closes. Resolves when it has been told, or cannot be. */
  end(end: SessionEnd): Promise<void>;
  readonly ended: Promise<SessionEnd>;
}

/** Dials at once. */
export function serveSession(options: AgentLinkOptions): AgentLink {
  const { ready, ...rest } = options;
  const link = new SessionLink({ role: { role: "acceptor", ready }, ...rest });
  link.start();
  return link;
}
