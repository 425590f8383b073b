/**
 * What a protocol room gets to serve a session, and what it must offer. The seam between the agent's core
 * (uplink, policy, recording, credentials) and protocols/*.
 */
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { z } from "zod";
import type { Decision, Resource } from "../policy/types.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { SessionId } from "../protocol/ids.ts";
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

export interface SessionContext {
  readonly facts: SessionFacts;
  readonly recorder: SessionRecorder;
  /**
   * Decides with the bundle that is active now. A stale or absent bundle denies. `policyVersion()` changes when a
   * new bundle is applied: a cache of decisions is keyed by it.
   */
  decideAll(needs: readonly { readonly action: string; readonly resource: Resource }[]): Decision;
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
