/**
 * All sessions that this agent serves: takes dispatches, refuses what it must not or cannot take, and hands kills,
 * new bundles and draining on to the live ones.
 *
 * A dispatch is taken only when the target is ours, the policy is at least the dispatch's and is not stale, this
 * agent's own policy (floor included) allows `connect` too, the target's protocol can keep its rules (GW-19), and the
 * recording could be begun (GW-20).
 */
import type { SessionEnd } from "../link/types.ts";
import type { Dispatch, TargetAnnouncement } from "../protocol/agent-control.ts";
import { parseSessionId, type SessionId } from "../protocol/ids.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { unmasked } from "./facts.ts";
import { describeFault } from "./fault-domain.ts";
import { LiveSession, type LiveSessionOptions } from "./live-session.ts";
import { RecordingUnavailable } from "./recording/recorder.ts";
import { SessionRecording, type RecordingStats, type Segment } from "./recording/recording.ts";
import type { Spool } from "./recording/spool.ts";
import type { TargetServer } from "./session.ts";
import type { AgentIdentity } from "./state/identity.ts";

/** How long a dispatch waits for the push of the bundle that it was decided with, ms. */
const BUNDLE_WAIT_MS = 3_000;
/** Live sessions of one agent. */
export const MAX_SESSIONS = 2_000;

export interface ServedTarget {
  readonly announcement: TargetAnnouncement;
  readonly server: TargetServer;
}

export interface SessionsOptions extends Pick<
  LiveSessionOptions,
  "policy" | "dial" | "maskText" | "log" | "now" | "monotonic" | "gatewayNow" | "approvals" | "maskingKey"
> {
  readonly identity: AgentIdentity;
  readonly targets: ReadonlyMap<string, ServedTarget>;
  readonly spool: Spool;
  /** Takes known credentials out of an event's JSON. */
  readonly redact: (json: string) => string;
  readonly onSegment: (segment: Segment) => void;
  readonly stats: RecordingStats & { session(target: string, code: string): void };
  readonly onEnded: (session: string, end: SessionEnd) => void;
  readonly onRefused: (session: string, end: SessionEnd) => void;
}

export class Sessions {
  readonly #o: SessionsOptions;
  readonly #live = new Map<string, LiveSession>();
  /** Dispatches that wait for a bundle. */
  readonly #opening = new Set<string>();
  #draining = false;
  #emptied: (() => void)[] = [];

  constructor(options: SessionsOptions) {
    this.#o = options;
  }

  ids(): string[] {
    return [...this.#live.keys()];
  }

  get size(): number {
    return this.#live.size;
  }

  async dispatch(dispatch: Dispatch): Promise<void> {
    const live = this.#live.get(dispatch.session);
    if (live !== undefined) {
      live.redial(dispatch);
      return;
    }
    if (this.#opening.has(dispatch.session)) return;
    this.#opening.add(dispatch.session);
    try {
      const opened = await this.#open(dispatch);
      if (opened.ok) return;
      this.#o.log.warn(
        { session: dispatch.session, target: dispatch.target, code: opened.error.code, reason: opened.error.message },
        "session refused",
      );
      this.#o.onRefused(dispatch.session, opened.error);
    } catch (error) {
      this.#o.log.error({ session: dispatch.session, ...describeFault(error) }, "a dispatch failed inside the agent");
      this.#o.onRefused(dispatch.session, { code: "internal", message: "The session could not be begun: the agent failed." });
    } finally {
      this.#opening.delete(dispatch.session);
    }
  }

  kill(session: string, end: SessionEnd): void {
    const live = this.#live.get(session);
    // Unknown here: over already, or never taken. The gateway may be waiting for the word.
    if (live !== undefined) {
      void live.end(end);
      return;
    }
    this.#opening.delete(session);
    this.#o.onEnded(session, end);
  }

  policyChanged(version: number): void {
    for (const session of this.#live.values()) session.policyChanged(version);
  }

  /** No new sessions from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Resolves when no session is live, or after `ms`, or when `now` aborts. */
  async empty(ms: number, now: AbortSignal): Promise<void> {
    if (this.#live.size === 0 || now.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      now.addEventListener("abort", () => resolve(), { once: true });
      this.#emptied.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Ends all; resolves when every recording is sealed or left to recovery. */
  async endAll(end: SessionEnd): Promise<void> {
    const ending = [...this.#live.values()].map((session) => {
      session.giveUp();
      return session.end(end);
    });
    await Promise.all(ending);
  }

  async #open(dispatch: Dispatch): Promise<Result<void, SessionEnd>> {
    const { policy, targets, gatewayNow } = this.#o;
    const id = parseSessionId(dispatch.session);
    if (!id.ok) return refuse("bad_request", "The dispatch's session id is not one.");
    if (dispatch.redial) return refuse("session_lost", "The agent does not know this session: its process was restarted.");
    if (this.#live.size + this.#opening.size > MAX_SESSIONS)
      return refuse("agent_unready", `The agent serves ${MAX_SESSIONS} sessions, its limit.`);
    const target = targets.get(dispatch.target);
    if (target === undefined) return refuse("target_unknown", "The agent does not serve this target.");
    if (!(await policy.atLeast(dispatch.bundle, BUNDLE_WAIT_MS))) {
      return refuse("policy_stale", `The agent decides with bundle ${policy.version}, the gateway with ${dispatch.bundle}.`);
    }
    // While it waited, it may have been killed or the agent told to stop.
    if (!this.#opening.has(dispatch.session)) return refuse("session_killed", "The session was ended before it began.");
    if (this.#draining) return refuse("agent_draining", "The agent is shutting down.");
    if (dispatch.deadline <= gatewayNow()) return refuse("session_expired", "The session's deadline has passed.");
    const admitted = this.#admit(dispatch, target.announcement);
    if (!admitted.ok) return admitted;
    const fault = unmasked(target.announcement, target.server, policy.masking(dispatch.target));
    if (fault !== undefined) return err(fault);
    return this.#start(id.value, dispatch, target);
  }

  /** The gateway allowed `connect`; this agent's policy and floor must too. */
  #admit(dispatch: Dispatch, announcement: TargetAnnouncement): Result<void, SessionEnd> {
    const standing = this.#o.policy.standing();
    if (standing.kind === "none") return refuse("policy_stale", standing.reason);
    const { identity, target, workload, approvals } = dispatch;
    const { name, protocol, environment, labels } = announcement;
    const decision = standing.policy.decide(
      { identity, action: "connect", resource: { type: "target", target }, context: { approvals, workload, now: this.#o.now() } },
      { name, protocol, environment, labels },
    );
    if (decision.outcome === "allow") return ok(undefined);
    return refuse(decision.outcome === "hold" ? "approval_required" : "denied", `The agent's policy: ${decision.reason}`);
  }

  #start(id: SessionId, dispatch: Dispatch, target: ServedTarget): Result<void, SessionEnd> {
    const { identity, policy, spool, stats, now, onSegment } = this.#o;
    const log = this.#o.log.child({ session: id, target: dispatch.target, identity: dispatch.identity });
    let recording: SessionRecording;
    try {
      const file = spool.create(id);
      const common = {
        session: id,
        target: dispatch.target,
        agent: identity.agent,
        sign: identity.sign,
        now,
        stats,
        onSegment,
        redact: this.#o.redact,
      };
      recording = new SessionRecording({ ...common, file, bundle: () => policy.version });
      try {
        const { name, protocol } = target.announcement;
        const { workload, deadline } = dispatch;
        const facts = { agent: identity.agent, identity: dispatch.identity, workload, bundle: policy.version, deadline };
        recording.start({ target: name, protocol, site: identity.site, ...facts });
      } catch (error) {
        recording.abandon();
        spool.discard(id);
        throw error;
      }
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
      log.error({ reason: error.message }, "the session cannot be recorded");
      return refuse("recording_unavailable", "The session cannot be recorded, so nothing runs.");
    }
    const { dial, maskText, monotonic, gatewayNow, approvals } = this.#o;
    const session = new LiveSession({
      id,
      dispatch,
      target: target.announcement,
      server: target.server,
      policy,
      recording,
      dial,
      approvals,
      maskText,
      digest: identity.digest,
      maskingKey: this.#o.maskingKey,
      log,
      now,
      monotonic,
      gatewayNow,
      onEnded: (end) => {
        stats.session(dispatch.target, end.code);
        this.#o.onEnded(id, end);
      },
      onClosed: () => this.#closed(id),
    });
    this.#live.set(id, session);
    log.info({ bundle: policy.version, deadline: dispatch.deadline }, "session started");
    return ok(undefined);
  }

  #closed(id: SessionId): void {
    this.#live.delete(id);
    if (this.#live.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
  }
}

const refuse = (code: SessionEnd["code"], message: string): Result<never, SessionEnd> => err({ code, message });
