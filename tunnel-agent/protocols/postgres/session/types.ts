/**
 * Words of the session machine: what it is given, what it says, and what it waits for from the backend.
 */
import type { Result } from "../../../../protocol/result.ts";
import type { ApprovalId } from "../../../../protocol/ids.ts";
import type { SessionApprovals, SessionContext } from "../../../session.ts";
import type { TransactionStatus } from "../codec/backend.ts";
import type { Limits, RecordResults } from "../config.ts";
import type { MaskCounts } from "../masking/types.ts";
import type { Refusal } from "../refusal.ts";
import type { AnalysedSql, SqlRefusal, Statement } from "../sql/types.ts";
import type { KnownSql } from "./authorise.ts";
import type { Named } from "./hold/types.ts";
import type { CatalogueNeed, MaskingOptions, SubjectMasking } from "./masking.ts";
import type { TrackedPortal, TrackedStatement } from "./names.ts";
import type { Output } from "./results.ts";

/** What the machine wants done, in order. */
export type SessionEvent =
  | { readonly type: "to-client"; readonly bytes: Buffer }
  | { readonly type: "to-target"; readonly bytes: Buffer }
  /** Cancel what the backend is running; `cancelDone()` tells the machine when the target has taken the request. */
  | { readonly type: "cancel" }
  /** Load the catalogue, or only see whether it still holds; `catalogueLoaded()` tells the machine when that was done, or could not be. */
  | { readonly type: "load-catalogue"; readonly need: CatalogueNeed }
  /** Read the definitions of what is named, and the plan of the statement `estimate` if there is one; `inspected()` takes the answer. */
  | {
      readonly type: "inspect";
      readonly question: number;
      readonly named: Named;
      readonly estimate: string | null;
    }
  /** Ask people (SessionApprovals.request); `approvalNews()` takes what comes of it. */
  | { readonly type: "request-approval"; readonly approval: ApprovalId; readonly request: Parameters<SessionApprovals["request"]>[1] }
  | { readonly type: "withdraw-approval"; readonly approval: ApprovalId; readonly reason: string }
  /** The conversation is over: close both sides after what was said. `abandon`: the backend may still be running something. */
  | { readonly type: "end"; readonly reason: string; readonly abandon: boolean };

export interface MachineOptions {
  readonly session: Pick<
    SessionContext,
    | "plan"
    | "decideAll"
    | "policyVersion"
    | "masking"
    | "maskingKey"
    | "maskText"
    | "digest"
    | "recorder"
    | "monotonic"
    | "now"
    | "approvals"
  >;
  readonly streamId: number;
  /** The target's name, for resources. */
  readonly target: string;
  /** The login role, which `$user` in a search_path stands for. */
  readonly user: string;
  readonly searchPath: readonly string[];
  readonly database: string;
  readonly limits: Limits;
  readonly recordResults: RecordResults;
  /** Absent: results pass as they are, whatever masking.yaml says. */
  readonly masking?: MaskingOptions | undefined;
  readonly analyse: (sql: string) => Result<AnalysedSql, SqlRefusal>;
  /** A statement name that no client can guess and the backend does not know: describing it makes the backend fail. */
  readonly poison: string;
  readonly lane?: LaneOptions | undefined;
}

/** Given to each of the two machines that serve one client with a login each (split.ts); absent where there is one. */
export interface LaneOptions {
  /** What the record calls its login; undefined: the ordinary one. */
  readonly login: string | undefined;
  /** The backend is ready: what the client is told of it. Null: nothing, since another word follows. */
  ready(status: TransactionStatus): TransactionStatus | null;
  /** The client is told of an error. */
  failed(): void;
  /** The client is being served by the other one: a transaction that is open here is not idle. */
  elsewhere(): boolean;
  /** The other one has a transaction open, whose locks are kept while this one is waited for. */
  open(): boolean;
  /** Why these statements may not run here, whatever policy says of them; null: they may. */
  admits(statements: readonly Statement[], schemas: readonly string[]): Refusal | null;
  /** What could help a client that the backend told this. */
  hint(code: string): string | undefined;
}

/** One recorded command, until its outcome is. */
export interface Command {
  readonly number: number;
  /** Monotonic ms. */
  readonly startedAt: number;
  endedAt: number | null;
  status: "ok" | "error" | "cancelled" | null;
  code: string | undefined;
  tags: string[];
  rows: number | undefined;
  bytes: number;
  notices: number;
  /** Values masked in its results, by class. */
  readonly masked: MaskCounts;
  /** Waits for ReadyForQuery to have its outcome recorded. */
  listed: boolean;
  /** Holds BEGIN, COMMIT or their like, so that an error after it does not undo it. */
  readonly controlsTransaction: boolean;
}

/** Where a command's output is: between results, in a result of `columns` columns, in copy data, or failed. */
export type Phase = "idle" | "rows" | "copy-out" | "copy-in" | "copy-done" | "failed";

/** Execute and Query: what returns rows, copies, and runs. */
export interface Running {
  readonly command: Command;
  readonly known: KnownSql;
  /** How many of its statements have completed. */
  done: number;
  phase: Phase;
  /** -1: not known yet. */
  columns: number;
  /** What was proven of its results; null: nothing is masked here. */
  readonly masking: SubjectMasking | null;
  /** What the result that is coming in goes through; null: none has begun. */
  output: Output | null;
}

/**
 * What the backend owes for one forwarded message, in order. `undo` takes back what the message did to the names, for
 * when the backend never gets to it.
 */
export type Expected =
  | ({ readonly kind: "query" } & Running)
  | ({ readonly kind: "execute"; readonly portal: TrackedPortal } & Running)
  | { readonly kind: "parse"; readonly name: string; readonly undo: () => void }
  | { readonly kind: "bind"; readonly command: Command; readonly undo: () => void }
  | { readonly kind: "close"; readonly undo: () => void }
  | { readonly kind: "describe-statement"; readonly statement: TrackedStatement; parameters: boolean }
  | { readonly kind: "describe-portal"; readonly portal: TrackedPortal }
  /** Our own Describe, which tells how the portal's rows are to be masked; the client hears nothing of it (PG-18). */
  | { readonly kind: "layout"; readonly portal: TrackedPortal; readonly undo: () => void }
  /** Our own message that must fail: the client gets `refusal` in the failure's place; null: it was told before. */
  | { readonly kind: "poison"; readonly refusal: Refusal | null }
  /** `own`: the client did not send it and hears nothing of it. */
  | { readonly kind: "sync"; readonly own?: true };
