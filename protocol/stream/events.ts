/** What a SessionMachine tells its shell. */
import type { ErrorCode } from "../errors.ts";
import type { ApprovalNotice, ResetCode, StreamMeta } from "./control.ts";

/** Facts that an acceptor tells its opener on every socket. */
export interface ReadyFacts {
  readonly target: string;
  readonly protocol: string;
  readonly database?: string | undefined;
  readonly user?: string | undefined;
}

export type SessionEvent =
  /** The peer's hello was accepted on the present socket: offsets are agreed and what was missing is on its way. */
  | { readonly type: "live" }
  /** Opener only. */
  | { readonly type: "ready"; readonly ready: ReadyFacts }
  /** Opener only: a command is held, refused until approved, or settled. */
  | { readonly type: "approval"; readonly news: ApprovalNotice }
  /** Acceptor only. */
  | { readonly type: "open"; readonly stream: number; readonly meta: StreamMeta }
  /** A view of the message that was received: consume or copy it. */
  | { readonly type: "data"; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly type: "fin"; readonly stream: number }
  /** The peer reset the stream; the machine has forgotten it. */
  | { readonly type: "reset"; readonly stream: number; readonly code: ResetCode }
  /** A write that returned false is within the peer's credit now. */
  | { readonly type: "drain"; readonly stream: number }
  /** Final. `by`: who said so; a violation by the peer is ended by us, and the output holds the message for it. */
  | { readonly type: "ended"; readonly by: "us" | "peer"; readonly code: ErrorCode; readonly message: string };
