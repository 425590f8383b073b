/**
 * One session as the agent serves it: its link to the connector, its streams, its recording, its deadline. It ends
 * once, for the first reason that comes: the connector left, a kill, the deadline, draining, a fault.
 *
 * The end, in order: the protocol rooms hear the reason (they tell their clients and end the target's side); after
 * ROOM_GRACE_MS at most the connector is told and the link closed; the gateway is told; the rooms get a little longer
 * for their outcomes; the recording is sealed. After the seal a room that still runs can record nothing, so it can
 * forward nothing.
 */
import type { Logger } from "pino";
import { serveSession, type AgentLink } from "../link/agent.ts";
import type { LinkStream, SessionEnd } from "../link/types.ts";
import type { Dispatch, TargetAnnouncement } from "../protocol/agent-control.ts";
import { KILL_GRACE_MS } from "../protocol/limits.ts";
import type { SessionId } from "../protocol/ids.ts";
import type { TargetFacts } from "../policy/types.ts";
import type { Approvals } from "./approvals.ts";
import { denied, targetFactsOf, unmasked } from "./facts.ts";
import { describeFault, runIn } from "./fault-domain.ts";
import { PlanLedger } from "./plan-ledger.ts";
import type { PolicyHolder } from "./policy-holder.ts";
import { RecordingUnavailable } from "./recording/recorder.ts";
import type { SessionRecording } from "./recording/recording.ts";
import type { SessionContext, TargetServer } from "./session.ts";
import type { DialSession } from "./uplink/gateway.ts";

/** The gateway cuts the sockets KILL_GRACE_MS after a kill: what the clients are told must be on its way before. */
const ROOM_GRACE_MS = KILL_GRACE_MS - 150;
/** For outcomes that come after the link is closed, e.g. of a cancelled statement. */
const OUTCOME_GRACE_MS = 5_000;
const END_RETRY_MS = 5_000;
/** setTimeout's limit; a session is far shorter. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface LiveSessionOptions {
  readonly id: SessionId;
  readonly dispatch: Dispatch;
  readonly target: TargetAnnouncement;
  readonly server: TargetServer;
  readonly policy: PolicyHolder;
  readonly recording: SessionRecording;
  readonly dial: DialSession;
  readonly approvals: Approvals;
  readonly maskText: (text: string) => string;
  readonly digest: (bytes: Uint8Array | string) => string;
  readonly maskingKey: Uint8Array;
  readonly log: Logger;
  readonly now: () => number;
  readonly monotonic: () => number;
  /** The gateway's clock, ms since the epoch. */
  readonly gatewayNow: () => number;
  /** The gateway should hear of the end. */
  readonly onEnded: (end: SessionEnd) => void;
  /** The recording is sealed, or left to the next start's recovery. */
  readonly onClosed: () => void;
}

export class LiveSession {
  readonly id: SessionId;
  readonly #o: LiveSessionOptions;
  readonly #abort = new AbortController();
  readonly #context: SessionContext;
  readonly #facts: TargetFacts;
  readonly #link: AgentLink;
  readonly #serving = new Map<LinkStream, Promise<void>>();
  readonly #deadline: NodeJS.Timeout;
  #dialSecret: string;
  #closed: Promise<void> | undefined;
  #stopping = false;

  constructor(options: LiveSessionOptions) {
    this.id = options.id;
    this.#o = options;
    this.#dialSecret = options.dispatch.dial_secret;
    const { name, protocol } = options.target;
    this.#facts = targetFactsOf(options.target);
    this.#context = this.#makeContext();
    const { database, user } = options.server.ready;
    this.#link = runIn(this, () =>
      serveSession({
        dial: () => options.dial(this.id, this.#dialSecret),
        ready: { target: name, protocol, database, user },
        onStream: (stream) => this.#serve(stream),
        onState: (state) => {
          if (state === "open") options.approvals.present(this.id);
        },
        log: options.log,
      }),
    );
    this.#link.ended.then(
      (end) => this.end(end),
      (error: unknown) => this.fault(error),
    );
    const left = Math.max(0, options.dispatch.deadline - options.gatewayNow());
    this.#deadline = setTimeout(
      () => void this.end({ code: "session_expired", message: "The session reached its deadline." }),
      Math.min(left, MAX_TIMER_MS),
    );
  }

  /** The gateway lost the session's socket and asks for another. */
  redial(dispatch: Dispatch): void {
    this.#dialSecret = dispatch.dial_secret;
    this.#link.redial();
  }

  /** Ends the session for this reason, unless it is ending already. Resolves when the recording is closed. */
  end(end: SessionEnd): Promise<void> {
    this.#closed ??= runIn(this, () => this.#end(end));
    return this.#closed;
  }

  /** A new bundle decides from now on. */
  policyChanged(version: number): void {
    this.#record((recording) => recording.policy(version));
    const { target, server, policy } = this.#o;
    const fault = unmasked(target, server, policy.masking(target.name));
    if (fault !== undefined) void this.end(fault);
  }

  /** Something threw where nobody caught it: this session ends, the others go on. */
  fault(error: unknown): void {
    this.#o.log.error(describeFault(error), "the session failed inside the agent");
    this.#record((recording) => recording.gap(`The session failed inside the agent: ${describeFault(error).error}.`));
    void this.end({ code: "internal", message: "The session failed inside the agent." });
  }

  /** The process exits: do not keep it alive for a recording that cannot be sealed now. */
  giveUp(): void {
    this.#stopping = true;
  }

  #makeContext(): SessionContext {
    const { dispatch, policy, recording, approvals, maskText, maskingKey, digest, log, now, monotonic } = this.#o;
    const { identity, workload } = dispatch;
    return {
      facts: { id: this.id, target: dispatch.target, identity, workload, startedAt: dispatch.started_at, deadline: dispatch.deadline },
      recorder: recording,
      approvals: approvals.session({
        id: this.id,
        mode: dispatch.hold,
        present: () => this.#link.state === "open",
        tell: (notice) => this.#link.tell(notice),
        run: (work) => runIn(this, () => this.#guarded(work)),
      }),
      plan: dispatch.plan === undefined ? undefined : new PlanLedger(dispatch.plan),
      masking: () => policy.masking(dispatch.target),
      maskingKey,
      decideAll: (needs, approvals = []) => {
        const standing = policy.standing();
        if (standing.kind === "none") return denied(standing.reason);
        // Consent to the session is not consent to a command.
        const context = { approvals, workload, now: now() };
        return standing.policy.decideAll(
          needs.map(({ action, resource }) => ({ identity, action, resource, context })),
          this.#facts,
        );
      },
      policyVersion: () => policy.version,
      signal: this.#abort.signal,
      maskText,
      digest,
      log,
      now,
      monotonic,
    };
  }

  /** For what is called from outside of the session's own events. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fault(error);
    }
  }

  #serve(stream: LinkStream): void {
    if (this.#closed !== undefined) {
      stream.destroy();
      return;
    }
    const served = this.#serveStream(stream).finally(() => this.#serving.delete(stream));
    this.#serving.set(stream, served);
  }

  async #serveStream(stream: LinkStream): Promise<void> {
    stream.on("error", () => {
      // A reset by the peer; the room sees it on the stream too.
    });
    try {
      await this.#o.server.serve(stream, { streamId: stream.streamId, auth: stream.meta.auth }, this.#context);
    } catch (error) {
      const fault = describeFault(error);
      this.#o.log.error({ stream: stream.streamId, ...fault }, "a stream failed inside the agent");
      this.#record((recording) => recording.gap(`Stream ${stream.streamId} failed inside the agent: ${fault.error}.`));
      stream.destroy();
    }
  }

  /** For events that stop nothing when they cannot be written. */
  #record(write: (recording: SessionRecording) => void): void {
    try {
      write(this.#o.recording);
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
      this.#o.log.error({ reason: error.message }, "an event could not be recorded");
    }
  }

  async #end(end: SessionEnd): Promise<void> {
    const { log, onEnded, onClosed } = this.#o;
    clearTimeout(this.#deadline);
    log.info({ code: end.code }, "session ending");
    this.#abort.abort(end);
    await this.#served(ROOM_GRACE_MS);
    this.#o.approvals.ended(this.id);
    await within(this.#link.end(end), KILL_GRACE_MS);
    onEnded(end);
    await this.#served(OUTCOME_GRACE_MS);
    for (const stream of this.#serving.keys()) stream.destroy();
    await this.#seal(end);
    onClosed();
  }

  #served(ms: number): Promise<void> {
    return within(Promise.all(this.#serving.values()), ms);
  }

  /** Tries until the disk takes it, or the process exits. */
  async #seal(end: SessionEnd): Promise<void> {
    for (;;) {
      try {
        this.#o.recording.end(end);
        return;
      } catch (error) {
        if (!(error instanceof RecordingUnavailable)) throw error;
        this.#o.log.error({ reason: error.message }, "the recording could not be sealed; trying again");
      }
      if (this.#stopping) {
        this.#o.recording.abandon();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, END_RETRY_MS).unref());
    }
  }
}

/** Waits for `work` for `ms` at most; a failure of it is an end too. */
async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([Promise.allSettled([work]), late]);
  clearTimeout(timer);
}
