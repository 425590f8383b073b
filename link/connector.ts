/**
 * The connector's end of a session: connects once, with what the caller authenticates with, and from then on redials
 * with the session's own secret, which only this process knows. It opens the streams.
 */
import type { IncomingMessage } from "node:http";
import { RESUME_HEADER, SESSION_HEADER } from "../protocol/connect.ts";
import { parseSessionId, type SessionId } from "../protocol/ids.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { ApprovalNotice, StreamMeta } from "../protocol/stream/control.ts";
import type { LinkTiming } from "./backoff.ts";
import { openWebSocket, whenOpen, type DialFailure } from "./dial.ts";
import { SessionLink } from "./session-link.ts";
import type { LinkLog, LinkState, LinkStream, Ready, SessionEnd } from "./types.ts";

export interface ConnectOptions {
  /** `wss://GATEWAY/v1/targets/TARGET/connect`; https works too. */
  readonly url: string;
  /** Headers of the first request: its authorisation. */
  readonly headers: () => Promise<Record<string, string>>;
  /** Where a session is redialled: `wss://GATEWAY/v1/sessions/ID/resume`. */
  readonly resumeUrl: (session: SessionId) => string;
  readonly log: LinkLog;
  readonly onState?: (state: LinkState, why: string) => void;
  /** A command is held, was refused until it is approved, or is settled; each state of an approval once. */
  readonly onApproval?: (notice: ApprovalNotice) => void;
  readonly timing?: Partial<LinkTiming>;
  readonly random?: () => number;
}

/** `end`: the session came to be, but ended before it was usable. */
export interface ConnectFailure extends DialFailure {
  readonly end?: SessionEnd | undefined;
}

export interface ConnectorSession {
  readonly id: SessionId;
  readonly ready: Ready;
  readonly state: LinkState;
  /** Bytes kept for the agent, over all streams. */
  readonly held: number;
  /** A new stream; destroyed with a SessionEndedError where none can be opened. Listen for `error`. */
  open(meta: StreamMeta): LinkStream;
  readonly ended: Promise<SessionEnd>;
  /** Ends the session for both ends. Resolves when the agent has been told, or cannot be. */
  close(): Promise<void>;
}

/** Connects, and waits until the agent is ready. Never rejects, unless `headers` does. */
export async function connectSession(options: ConnectOptions): Promise<Result<ConnectorSession, ConnectFailure>> {
  const socket = openWebSocket(options.url, await options.headers());
  let answer: IncomingMessage | undefined;
  socket.once("upgrade", (response) => (answer = response));
  const opened = await whenOpen(socket);
  if (!opened.ok) return err(opened.error);
  const id = parseSessionId(answer?.headers[SESSION_HEADER]);
  const secret = answer?.headers[RESUME_HEADER];
  if (!id.ok || typeof secret !== "string") {
    socket.terminate();
    return err({ message: "the gateway's answer names no session: is this the address of a Sallyport gateway?", status: 101 });
  }
  const { log, onState, onApproval, timing, random } = options;
  const link = new SessionLink({
    role: { role: "opener" },
    dial: () => Promise.resolve(openWebSocket(options.resumeUrl(id.value), { authorization: `Resume ${secret}` })),
    log,
    onState,
    onApproval,
    timing,
    random,
  });
  link.start(opened.value);
  const ready = await Promise.race([link.ready, link.ended]);
  if ("code" in ready) return err({ message: ready.message, end: ready });
  return ok({
    id: id.value,
    ready,
    get state() {
      return link.state;
    },
    get held() {
      return link.held;
    },
    open: (meta) => link.open(meta),
    ended: link.ended,
    close: () => link.end({ code: "session_closed", message: "The connector left." }),
  });
}
