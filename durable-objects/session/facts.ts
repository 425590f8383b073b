/**
 * What a session is told at its birth, and what it tells others of itself. Plain data: it crosses RPC.
 */
import type { Dispatch } from "../../protocol/agent-control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { SessionId } from "../../protocol/ids.ts";
import type { Workload } from "../../protocol/workload.ts";

/** Decided and verified by the Worker before `open`; never changes afterwards. */
export interface SessionFacts {
  readonly id: SessionId;
  readonly target: string;
  /** Of the target's announcement: `postgres`, … */
  readonly protocol: string;
  readonly site: string;
  readonly identity: string;
  readonly workload: Workload;
  /** Ids of the policies that allowed `connect`. */
  readonly policies: readonly string[];
  /** Approval groups that consented to the session. */
  readonly approvals: readonly string[];
  /** What a held command does to the client: the job's word or the identity's, whichever is `fail`. */
  readonly hold: "wait" | "fail";
  /** `run --plan`: what it may run. */
  readonly plan?: NonNullable<Dispatch["plan"]> | undefined;
  /** Version of the bundle that decided. */
  readonly bundle: number;
  /** ms since the epoch. */
  readonly startedAt: number;
  /** ms since the epoch; absolute, never extended. */
  readonly deadline: number;
}

/** `SessionDO.state()`. */
export type SessionView =
  | { readonly state: "unknown" }
  | { readonly state: "opening"; readonly facts: SessionFacts }
  | {
      readonly state: "active";
      readonly facts: SessionFacts;
      readonly agent: string;
      /** Since when the object knows of no coupling, ms since the epoch. */
      readonly lostAt: number | null;
      /** Who has arrived and waits for the other. */
      readonly waiting: readonly ("runner" | "agent")[];
    }
  | {
      readonly state: "ended";
      readonly facts: SessionFacts;
      readonly agent: string | null;
      readonly code: ErrorCode;
      readonly message: string;
      readonly at: number;
    };
