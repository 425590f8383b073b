/**
 * The rules of a site, pure: the life of one agent's control connection (`stepAgent`), who gets a session
 * (`chooseAgent`), and what a hello says about sessions (`reconcile`).
 *
 * An agent is gone, greeting (connected, has not said hello) or ready. Connections are numbered; only the newest of
 * an agent counts. A newer connection replaces the older one at once: an agent that reconnects after a half-open
 * socket is normal and must not wait for a timeout. The older one is told `bye` and closed. If it answers that close,
 * somebody was alive there: two processes use one key, and that is alarmed (GW-14). A half-open one never answers.
 * `bye` makes the replaced process stay away, so that two of them do not replace each other for ever.
 */
import type { AgentToEdge, TargetAnnouncement } from "../../protocol/agent-control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { LOST_AFTER_MS } from "../../protocol/limits.ts";
import { unreachable } from "../../protocol/result.ts";
import { HELLO_MS, RETURN_WAIT_MS, retryAfter, UNLISTED_GRACE_MS } from "./limits.ts";

/** Sent with the close of a replaced connection; its echo is the proof of life. */
export const REPLACED = 4409;

export type Hello = Extract<AgentToEdge, { type: "hello" }>;

/** What the agent announced must still be claimed in D1. */
export interface ClaimDue {
  readonly at: number;
  readonly attempts: number;
}

export type AgentState =
  /** `expected`: targets that it served when it was cut off; empty when it left by itself. */
  | { readonly kind: "gone"; readonly since: number; readonly expected: readonly string[] }
  | { readonly kind: "greeting"; readonly connection: number; readonly since: number }
  | {
      readonly kind: "ready";
      readonly connection: number;
      readonly version: string;
      /** Bundle version that it applied last; 0: none. */
      readonly bundle: number;
      readonly announced: readonly TargetAnnouncement[];
      /** Names that D1 let it claim. */
      readonly targets: readonly string[];
      readonly claim: ClaimDue | null;
      readonly draining: boolean;
    };

export type AgentEvent =
  | { readonly type: "connected"; readonly connection: number }
  | { readonly type: "hello"; readonly connection: number; readonly hello: Hello }
  | { readonly type: "claimed"; readonly connection: number; readonly targets: readonly string[] }
  | { readonly type: "claim_failed"; readonly connection: number }
  | { readonly type: "draining"; readonly connection: number }
  | { readonly type: "bundle_applied"; readonly connection: number; readonly version: number }
  | { readonly type: "alarm" }
  /** `code`: of the close frame that was received. */
  | { readonly type: "closed"; readonly connection: number; readonly code: number };

export type AgentEffect =
  | { readonly type: "replace"; readonly connection: number }
  /** Claim targets and send the active bundle. */
  | { readonly type: "greet" }
  | { readonly type: "touch" }
  | { readonly type: "reconcile"; readonly listed: readonly string[] }
  /** Its sessions live on for the resume window. */
  | { readonly type: "orphan" }
  | { readonly type: "duplicate" }
  | { readonly type: "violation"; readonly connection: number; readonly reason: string };

export interface AgentStep {
  readonly state: AgentState;
  readonly effects: readonly AgentEffect[];
}

export function stepAgent(state: AgentState, event: AgentEvent, now: number): AgentStep {
  const current = state.kind === "gone" ? null : state.connection;
  const same: AgentStep = { state, effects: [] };
  switch (event.type) {
    case "connected":
      return {
        state: { kind: "greeting", connection: event.connection, since: now },
        effects: current === null ? [] : [{ type: "replace", connection: current }],
      };
    case "closed":
      if (event.connection !== current) return event.code === REPLACED ? { state, effects: [{ type: "duplicate" }] } : same;
      return {
        state: { kind: "gone", since: now, expected: leftByItself(state, event.code) ? [] : served(state) },
        effects: [{ type: "orphan" }],
      };
    case "hello": {
      if (event.connection !== current) return same;
      if (state.kind === "ready") return violation(state, event.connection, "a second hello");
      const { hello, connection } = event;
      return {
        state: {
          kind: "ready",
          connection,
          version: hello.version,
          bundle: hello.bundle,
          announced: hello.targets,
          targets: [],
          claim: { at: now + retryAfter(0), attempts: 0 },
          draining: false,
        },
        effects: [{ type: "reconcile", listed: hello.sessions }, { type: "greet" }, { type: "touch" }],
      };
    }
    case "claimed":
      if (state.kind !== "ready" || event.connection !== current) return same;
      return { state: { ...state, targets: event.targets, claim: null }, effects: [] };
    case "claim_failed": {
      if (state.kind !== "ready" || event.connection !== current) return same;
      const attempts = (state.claim?.attempts ?? 0) + 1;
      return { state: { ...state, claim: { at: now + retryAfter(attempts), attempts } }, effects: [] };
    }
    case "draining":
      if (event.connection !== current) return same;
      if (state.kind !== "ready") return violation(state, event.connection, "draining before hello");
      return { state: { ...state, draining: true }, effects: [] };
    case "bundle_applied":
      if (event.connection !== current) return same;
      if (state.kind !== "ready") return violation(state, event.connection, "bundle_applied before hello");
      return { state: { ...state, bundle: event.version }, effects: [{ type: "touch" }] };
    case "alarm":
      if (state.kind === "greeting" && now >= state.since + HELLO_MS) return violation(state, state.connection, "no hello");
      if (state.kind === "ready" && state.claim !== null && now >= state.claim.at) {
        return {
          state: { ...state, claim: { ...state.claim, at: now + retryAfter(state.claim.attempts + 1) } },
          effects: [{ type: "greet" }],
        };
      }
      return same;
    default:
      return unreachable(event);
  }
}

/** RFC 6455 section 7.4.1: 1000 and 1001 are a leaving; so is any close of an agent that drains. */
const leftByItself = (state: AgentState, code: number): boolean =>
  code === 1000 || code === 1001 || (state.kind === "ready" && state.draining);

/** What it served, or served before it began to reconnect. */
const served = (state: AgentState): readonly string[] => (state.kind === "ready" ? state.targets : []);

/** Whether waiting a little for this agent may bring one that serves the target. */
export function maySoonServe(state: AgentState, target: string, now: number): boolean {
  switch (state.kind) {
    case "gone":
      return state.expected.includes(target) && now - state.since < RETURN_WAIT_MS;
    case "greeting":
      return now - state.since < RETURN_WAIT_MS;
    case "ready":
      return state.claim?.attempts === 0 && !state.draining && state.announced.some(({ name }) => name === target);
    default:
      return unreachable(state);
  }
}

/** When the alarm has something to do for this agent; ms since the epoch. */
export function agentAlarm(state: AgentState): number | null {
  if (state.kind === "greeting") return state.since + HELLO_MS;
  return state.kind === "ready" ? (state.claim?.at ?? null) : null;
}

const violation = (state: AgentState, connection: number, reason: string): AgentStep => ({
  state,
  effects: [{ type: "violation", connection, reason }],
});

export interface Candidate {
  readonly id: string;
  readonly state: AgentState;
  readonly sessions: number;
  /** When it last sent a ping, ms since the epoch; null: it never did on this connection. */
  readonly pingedAt: number | null;
}

/**
 * The agent for a new session: ready, not draining, serving the target; one whose pings stopped only if there is no
 * other; of those the one with the fewest sessions, and of equals the first by id, so that the choice can be explained.
 */
export function chooseAgent(candidates: readonly Candidate[], target: string, now: number): string | null {
  const able = candidates.filter(({ state }) => state.kind === "ready" && !state.draining && state.targets.includes(target));
  const silent = ({ pingedAt }: Candidate): number => (pingedAt !== null && now - pingedAt > LOST_AFTER_MS ? 1 : 0);
  const [best] = able.sort((a, b) => silent(a) - silent(b) || a.sessions - b.sessions || (a.id < b.id ? -1 : 1));
  return best?.id ?? null;
}

/** A session as the site knows it: given to `agent`; `end` is owed to its SessionDO at `end.due`. */
export interface SiteSession {
  readonly id: string;
  readonly agent: string;
  readonly end: OwedEnd | null;
}

export interface OwedEnd {
  /** `agent`: the agent said so, which is final. `site`: the site concluded it, and may be proved wrong in time. */
  readonly by: "agent" | "site";
  readonly code: ErrorCode;
  readonly message: string;
  readonly at: number;
  readonly due: number;
  readonly attempts: number;
}

export interface Reconciled {
  /** Rows to write anew. */
  readonly changed: readonly SiteSession[];
  /** Listed, but not known to be this agent's: look at the SessionDO. */
  readonly unknown: readonly string[];
}

/** Compares what an agent says it holds with what it was given. Never takes back what the agent itself reported. */
export function reconcile(known: readonly SiteSession[], listed: readonly string[], now: number): Reconciled {
  const held = new Set(listed);
  const changed: SiteSession[] = [];
  for (const session of known) {
    if (session.end?.by === "agent") continue;
    if (held.has(session.id)) {
      if (session.end !== null) changed.push({ ...session, end: null });
      continue;
    }
    const due = Math.min(session.end?.due ?? Number.POSITIVE_INFINITY, now + UNLISTED_GRACE_MS);
    changed.push({ ...session, end: lostEnd("the agent no longer holds the session", now, due) });
  }
  const ours = new Set(known.map(({ id }) => id));
  return { changed, unknown: listed.filter((id) => !ours.has(id)) };
}

/** An end that the site concluded. */
export const lostEnd = (message: string, now: number, due: number): OwedEnd => ({
  by: "site",
  code: "session_lost",
  message,
  at: now,
  due,
  attempts: 0,
});
