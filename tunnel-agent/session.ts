/**
 * What a protocol room gets to serve a session, and what it must offer. The seam between the agent's core
 * (uplink, policy, recording, credentials) and protocols/*.
 */
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { z } from "zod";
import type { Decision, MaskingRules, Resource } from "../policy/types.ts";
import type { Question } from "../protocol/agent-control.ts";
import type { ApprovalOutcome, ApprovalRequest } from "../protocol/approval.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { ApprovalId, SessionId } from "../protocol/ids.ts";
import type { ClientAuth } from "../protocol/stream/control.ts";
import type { Workload } from "../protocol/workload.ts";
import type { SessionRecorder } from "./recording/recorder.ts";

/** A credential by reference. `read()` re-reads at each use; the value is never logged, recorded or put in an error. */
export interface Credential {
  /** How it was written in agent.yaml, e.g. `env:ORDERS_PASSWORD`: safe to show. */
  readonly reference: string;
  read(): Promise<string>;
}

export interface SessionFacts {
  readonly id: SessionId;
  readonly target: string;
  readonly identity: string;
  readonly workload: Workload;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly deadline: number;
}

export interface SessionEndReason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** How an approval goes on, told in this order; `refused` or `settled` is the last word. */
export type ApprovalNews =
  /** `expiresAt`: ms since the epoch, by this agent's clock (`SessionContext.now`). */
  | { readonly type: "opened"; readonly expiresAt: number; readonly url: string }
  | { readonly type: "refused"; readonly code: ErrorCode; readonly message: string }
  | { readonly type: "settled"; readonly outcome: ApprovalOutcome };

/** One request for consent. Losing the control socket loses nothing: the request is repeated, the outcome comes later. */
export interface PendingApproval {
  /** Nobody waits for it any more. Idempotent. */
  withdraw(reason: string): void;
}

export interface SessionApprovals {
  /** What a held command does to its client. */
  readonly mode: "wait" | "fail";
  /** A new id, and where people can look: known before the request is made, so that it can be recorded and told first. */
  mint(): { readonly approval: ApprovalId; readonly url: string };
  /**
   * Sends the request; `onNews` is called later, never from within. In mode `wait` it is told of the outcome, and of
   * consent only while the connector is there (GW-28); in mode `fail`, `opened` is the last word.
   */
  request(
    approval: ApprovalId,
    request: Omit<ApprovalRequest, "approval" | "session" | "mode" | "digest" | "bundle">,
    onNews: (news: ApprovalNews) => void,
  ): PendingApproval;
  /** Tells the connector, which tells its user. */
  tell(approval: ApprovalId, state: "waiting" | "refused" | "approved" | "denied" | "expired" | "withdrawn", message: string): void;
}

/** What a session begun with `run --plan` may run (plan-ledger.ts). */
export interface SessionPlan {
  readonly id: string;
  /** The approval that its held statements got, and the groups that consented. */
  readonly approval: string | undefined;
  readonly approvals: readonly string[];
  /** Where these stand, one after the other, in what is left of the plan; null: they do not. */
  find(digests: readonly string[]): readonly number[] | null;
  /** Whether people consented to the statement at this place. */
  approved(index: number): boolean;
  /** They run now: neither they nor what was before them can run again. */
  take(indexes: readonly number[]): void;
}

export interface SessionContext {
  readonly facts: SessionFacts;
  readonly approvals: SessionApprovals;
  readonly plan: SessionPlan | undefined;
  /** Data classes of the active bundle that this target has; changes with `policyVersion()`. */
  masking(): MaskingRules;
  /** Key for deterministic masks (`hash`): the same in all agents of a site that share it, never sent anywhere. */
  readonly maskingKey: Uint8Array;
  readonly recorder: SessionRecorder;
  /**
   * Decides with the bundle that is active now. A stale or absent bundle denies. `policyVersion()` changes when a
   * new bundle is applied: a cache of decisions is keyed by it. `approvals`: groups that consented to this very command.
   */
  decideAll(needs: readonly { readonly action: string; readonly resource: Resource }[], approvals?: readonly string[]): Decision;
  policyVersion(): number;
  /**
   * Aborted when the session is killed, revoked, expired or drained; `signal.reason` is a `SessionEndReason`.
   * The protocol then tells its client in its own words, ends the target's side and closes its streams,
   * within KILL_GRACE_MS.
   */
  readonly signal: AbortSignal;
  /** Masks sensitive values in text that will be stored (detectors). Linear time. */
  maskText(text: string): string;
  /** HMAC-SHA-256 under the agent's recording key, hex. */
  digest(bytes: Uint8Array | string): string;
  readonly log: Logger;
  /** ms since the epoch; and a monotonic clock, ms. */
  now(): number;
  monotonic(): number;
}

export interface StreamOpen {
  readonly streamId: number;
  readonly auth: ClientAuth;
}

/** One target as its protocol serves it; made once at start from agent.yaml. */
export interface TargetServer {
  /** Serves one client connection until either side ends. Never rejects for a peer's fault: it tells the client and resolves. */
  serve(client: Duplex, open: StreamOpen, session: SessionContext): Promise<void>;
  /** What the connector tells clients. */
  readonly ready: { readonly database?: string | undefined; readonly user?: string | undefined };
  /**
   * Results are masked by `session.masking()`. Where this is not so and the bundle has data classes for the target, there
   * are no sessions of it: a rule that nobody keeps must not look like one that is kept (GW-19).
   */
  readonly masks?: boolean;
  /**
   * Answers a question that needs no session; absent where the protocol has none to answer. Rejects with `AskRefused`
   * for what the asker may hear; any other rejection is for the log only.
   */
  ask?(question: Question, context: AskContext): Promise<unknown>;
}

/** Why a question has no answer, in a sentence that the asker gets: no address, credential or value in it. */
export class AskRefused extends Error {
  override name = "AskRefused";
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a question is answered with: the policy that is active now. */
export interface AskContext {
  /** For the identity that the question names; of a question that names none, everything is denied. */
  readonly decideAll: SessionContext["decideAll"];
  readonly masking: SessionContext["masking"];
  readonly maskText: SessionContext["maskText"];
  readonly policyVersion: number;
  readonly log: Logger;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What a protocol room gets to make a target. */
export interface TargetDeps {
  /**
   * A credential by its reference, as `CredentialReference` (credentials/reference.ts) let it through: `env:NAME`,
   * `file:PATH` (relative to agent.yaml), `exec:COMMAND ARGUMENTS`.
   */
  credential(reference: string): Credential;
  /** A path of agent.yaml (a CA file, …), made absolute: relative ones are relative to agent.yaml. */
  resolvePath(path: string): string;
  /** The entry's `name`. */
  readonly name: string;
  readonly log: Logger;
}

/** A protocol room as the registry knows it. */
export interface TargetProtocol<C = unknown> {
  /** The protocol's own keys of a target entry in agent.yaml (all but name, protocol, environment and labels); strict. */
  readonly config: z.ZodType<C>;
  /** Does no I/O that can fail for a target's fault: a target that is down must not keep the agent from starting. */
  create(config: C, deps: TargetDeps): TargetServer | Promise<TargetServer>;
}
