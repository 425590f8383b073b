/**
 * What the session's machine is made of: what is stored (`SessionRecord`), what only memory knows (`Presence`), and
 * the words between machine and shell (events in, effects out). Types and two constructors; the rules are in machine.ts.
 */
import type { ErrorCode } from "../../protocol/errors.ts";

export type Phase =
  | { readonly kind: "opening" }
  /** `lostAt`: since when the object knows of no coupling. */
  | { readonly kind: "active"; readonly agent: string; readonly lostAt: number | null }
  /** `cutAt`: when the sockets are cut, if any may be left. */
  | { readonly kind: "ended"; readonly code: ErrorCode; readonly message: string; readonly at: number; readonly cutAt: number | null };

/** A dial secret by its hash; `n` counts from 1. */
export interface Dial {
  readonly n: number;
  readonly hash: string;
  /** When its dispatch was sent; 0: never, or not known. */
  readonly sentAt: number;
  readonly used: boolean;
}

/** What D1 and IdentityDO have not been told yet. */
export interface Owed {
  readonly active: boolean;
  readonly ended: boolean;
  readonly release: boolean;
  readonly attempts: number;
  readonly retryAt: number | null;
}

/** All of it is stored; JSON. */
export interface SessionRecord {
  readonly startedAt: number;
  readonly deadline: number;
  readonly phase: Phase;
  /** The agent that was given the session. */
  readonly agent: string | null;
  /** Joins so far; the last one's number names the coupling. */
  readonly generation: number;
  readonly resumeHash: string | null;
  /** The newest dial secret that the agent certainly has. */
  readonly dial: Dial | null;
  /** Minted after it; perhaps sent. */
  readonly offered: Dial | null;
  readonly owed: Owed;
}

interface Waiting {
  /** The shell's name for the held upgrade. */
  readonly ref: number;
  readonly since: number;
}

/** Known to memory alone; gone with the instance, as the sockets are. */
export interface Presence {
  readonly runner: (Waiting & { readonly resumeHash: string | null }) | null;
  readonly agent: (Waiting & { readonly id: string; readonly tentative: boolean }) | null;
  /** Generation of the coupling that is believed live. */
  readonly live: number | null;
  /** Number of the dial whose dispatch is under way. */
  readonly dispatching: number | null;
}

export type SessionEvent =
  /** `resumeHash`: of the secret that a first connect will be given; null for a redial (its secret was checked). */
  | { readonly type: "runner_arrived"; readonly ref: number; readonly resumeHash: string | null; readonly freshHash: string }
  | { readonly type: "agent_arrived"; readonly ref: number; readonly agent: string; readonly secret: "dial" | "offered" | "other" }
  | { readonly type: "dispatched"; readonly n: number; readonly agent: string }
  | { readonly type: "dispatch_failed"; readonly n: number; readonly code: ErrorCode }
  | { readonly type: "agent_refused"; readonly agent: string; readonly code: ErrorCode; readonly message: string }
  | { readonly type: "agent_ended"; readonly agent: string; readonly code: ErrorCode; readonly message: string; readonly at: number }
  | { readonly type: "killed"; readonly code: ErrorCode; readonly message: string }
  /** A held upgrade was held for DIAL_BACK_MS. */
  | { readonly type: "wait_expired"; readonly ref: number }
  | { readonly type: "agent_alone"; readonly ref: number }
  /** The coupling was seen to end (relay only). */
  | { readonly type: "uncoupled"; readonly generation: number }
  /** A new instance, which found no coupling. */
  | { readonly type: "woke" }
  | { readonly type: "settled"; readonly what: "active" | "ended" | "release" }
  | { readonly type: "settle_failed" }
  | { readonly type: "alarm" };

export type SessionEffect =
  | { readonly type: "hold"; readonly ref: number; readonly ms: number }
  | { readonly type: "watch_alone"; readonly ref: number; readonly ms: number }
  | { readonly type: "dispatch"; readonly n: number; readonly redial: boolean }
  | { readonly type: "join"; readonly runner: number; readonly agent: number; readonly generation: number; readonly first: boolean }
  /** `over`: the session is, for good; otherwise the code's own meaning says whether to come again. */
  | { readonly type: "refuse"; readonly ref: number; readonly code: ErrorCode; readonly message: string; readonly over: boolean }
  /** End the old coupling; both ends shall redial. */
  | { readonly type: "drop" }
  /** End the sockets for good, `ms` from now (0: at once). */
  | { readonly type: "cut"; readonly code: ErrorCode; readonly ms: number }
  | { readonly type: "tell_agent"; readonly code: ErrorCode; readonly message: string }
  /** Tell D1 and IdentityDO what is owed. */
  | { readonly type: "settle" }
  /** Delete everything. */
  | { readonly type: "forget" };

export interface Step {
  readonly record: SessionRecord;
  readonly presence: Presence;
  readonly effects: readonly SessionEffect[];
}

export const NOBODY: Presence = { runner: null, agent: null, live: null, dispatching: null };

export function newRecord(startedAt: number, deadline: number): SessionRecord {
  return {
    startedAt,
    deadline,
    phase: { kind: "opening" },
    agent: null,
    generation: 0,
    resumeHash: null,
    dial: null,
    offered: null,
    owed: { active: false, ended: false, release: false, attempts: 0, retryAt: null },
  };
}
