/**
 * The session's state machine: pure, no clock, no I/O. `step` takes what is stored (`SessionRecord`), what only
 * memory knows (`Presence`) and one event, and answers with both anew and the effects to carry out.
 *
 * States: opening → active → ended. Exactly one end: events after it change nothing but what is still owed.
 *
 * Resumption, and why it neither deadlocks nor livelocks
 * - A runner and an agent each arrive with an upgrade that is held until the other's is there; then they are joined.
 *   At most one of each is held: a newer arrival replaces the older, which is refused with `conflict`.
 * - A runner that arrives alone makes the object mint a new dial secret and ask SiteDO to dispatch it. Only the
 *   newest secret that may have reached the agent is good. If older ones were too, an agent could be joined by an old
 *   one and then be told by the dispatch to dial again: both would chase each other for ever. While it is open whether
 *   a dispatch was sent, an agent with the secret before it is held (`tentative`): sent, it is refused with `conflict`
 *   (it has the new one and comes again); not sent, it is joined. A dispatch under way, or sent a moment ago and not
 *   used yet, is not repeated, so a runner that comes again quickly cannot overtake its agent for ever either.
 * - An agent that lost its socket comes unasked, with the secret it has, and is held for the runner.
 * - A natively coupled pair hides its end from the object (`live` is a belief). A new pair beside a dead one is
 *   harmless: both ends speak on one socket at a time and drop the old one when they dial, which ends the old coupling
 *   from their side. So arrivals never end a coupling by themselves. One case needs more: the agent noticed a half-open
 *   socket, the runner did not, and nobody tells it. If an agent waits alone for AGENT_ALONE_MS while a coupling is
 *   believed live, the old one is ended (`drop`), so that the runner notices and redials. `drop` clears the belief
 *   and only a join sets it: at most one drop per join, and a join needs both ends. No livelock.
 * - A loss starts the clock of RESUME_WINDOW_MS; a join stops it. What the object cannot see, the agent reports
 *   (`agent_ended`), and the deadline bounds everything.
 */
import { ERRORS, type ErrorCode } from "../../protocol/errors.ts";
import { DIAL_BACK_MS, KILL_GRACE_MS, RESUME_WINDOW_MS } from "../../protocol/limits.ts";
import { unreachable } from "../../protocol/result.ts";
import {
  AGENT_ALONE_MS,
  ENDED_KEEP_MS,
  END_LINGER_MS,
  OPENING_MAX_MS,
  REDISPATCH_AFTER_MS,
  RETRY_FIRST_MS,
  RETRY_MAX_MS,
} from "./limits.ts";
import type { Owed, Phase, Presence, SessionEffect, SessionEvent, SessionRecord, Step } from "./record.ts";

const sentence = (code: ErrorCode): string => ERRORS[code].sentence;

/** The agent has the session, or may have it. */
const wasOffered = (record: SessionRecord): boolean => record.dial !== null || record.offered !== null;

interface Ending {
  readonly code: ErrorCode;
  readonly message: string;
  readonly at: number;
  /** ms that the sockets stay, so that the client hears why in its own protocol. */
  readonly grace: number;
  /** Whether a timer cuts them; the alarm does in any case, but is not as punctual. */
  readonly punctual: boolean;
  /** Whether the agent must be told; not when it was the one that said so. */
  readonly tell: boolean;
}

function end(record: SessionRecord, presence: Presence, ending: Ending, now: number): Step {
  const { code, message, at, grace, punctual } = ending;
  const effects: SessionEffect[] = [];
  // To a runner whose first connect fails there was no session yet: the code alone speaks (503, …).
  if (presence.runner !== null) {
    effects.push({ type: "refuse", ref: presence.runner.ref, code, message, over: presence.runner.resumeHash === null });
  }
  if (presence.agent !== null) effects.push({ type: "refuse", ref: presence.agent.ref, code, message, over: true });
  if (ending.tell && wasOffered(record)) effects.push({ type: "tell_agent", code, message });
  const coupled = presence.live !== null;
  if (coupled && punctual) effects.push({ type: "cut", code, ms: grace });
  effects.push({ type: "settle" });
  return {
    record: {
      ...record,
      phase: { kind: "ended", code, message, at, cutAt: coupled ? now + grace : null },
      owed: { active: record.owed.active, ended: true, release: true, attempts: 0, retryAt: now + RETRY_FIRST_MS },
    },
    presence: { ...presence, runner: null, agent: null },
    effects,
  };
}

/** An end that the gateway decides. */
const endBy = (record: SessionRecord, presence: Presence, code: ErrorCode, message: string, now: number): Step =>
  end(record, presence, { code, message, at: now, grace: KILL_GRACE_MS, punctual: true, tell: true }, now);

function join(record: SessionRecord, presence: Presence, now: number): Step {
  const { runner, agent } = presence;
  if (runner === null || agent === null) throw new Error("bug: a join needs both");
  const generation = record.generation + 1;
  const first = record.phase.kind === "opening";
  return {
    record: {
      ...record,
      phase: { kind: "active", agent: agent.id, lostAt: null },
      agent: agent.id,
      generation,
      resumeHash: runner.resumeHash ?? record.resumeHash,
      dial: record.dial === null ? null : { ...record.dial, used: true },
      owed: first ? { ...record.owed, active: true, attempts: 0, retryAt: now + RETRY_FIRST_MS } : record.owed,
    },
    presence: { ...presence, runner: null, agent: null, live: generation },
    effects: [{ type: "join", runner: runner.ref, agent: agent.ref, generation, first }, ...(first ? ([{ type: "settle" }] as const) : [])],
  };
}

/** An arrival proves that the coupling, if any, is dead: the clock of the resume window starts. */
const lost = (record: SessionRecord, now: number): SessionRecord =>
  record.phase.kind === "active" && record.phase.lostAt === null ? { ...record, phase: { ...record.phase, lostAt: now } } : record;

function refuseOnly(record: SessionRecord, presence: Presence, ref: number, code: ErrorCode): Step {
  return { record, presence, effects: [{ type: "refuse", ref, code, message: sentence(code), over: false }] };
}

/** A held upgrade makes room for a newer one of the same side. */
const replaced = (ref: number): SessionEffect => ({ type: "refuse", ref, code: "conflict", message: sentence("conflict"), over: false });

function runnerArrived(given: SessionRecord, before: Presence, event: SessionEvent & { type: "runner_arrived" }, now: number): Step {
  const redial = event.resumeHash === null;
  if (redial !== (given.phase.kind === "active")) return refuseOnly(given, before, event.ref, "conflict");
  const displaced: SessionEffect[] = before.runner === null ? [] : [replaced(before.runner.ref)];
  const runner = { ref: event.ref, since: now, resumeHash: event.resumeHash };
  const presence: Presence = { ...before, runner };
  const record = lost(given, now);
  if (presence.agent !== null && !presence.agent.tentative) {
    const joined = join(record, presence, now);
    return { ...joined, effects: [...displaced, ...joined.effects] };
  }
  const hold: SessionEffect = { type: "hold", ref: event.ref, ms: DIAL_BACK_MS };
  const onItsWay = redial && record.dial !== null && !record.dial.used && now - record.dial.sentAt < REDISPATCH_AFTER_MS;
  if (presence.dispatching !== null || onItsWay) return { record, presence, effects: [...displaced, hold] };
  const n = Math.max(record.dial?.n ?? 0, record.offered?.n ?? 0) + 1;
  return {
    // Not joined yet: the dispatch may go to another agent than the last one did.
    record: { ...record, agent: redial ? record.agent : null, offered: { n, hash: event.freshHash, sentAt: 0, used: false } },
    presence: { ...presence, dispatching: n },
    effects: [...displaced, hold, { type: "dispatch", n, redial }],
  };
}

function agentArrived(given: SessionRecord, before: Presence, event: SessionEvent & { type: "agent_arrived" }, now: number): Step {
  // A secret that leaked to another agent is of no use to it.
  if (given.agent !== null && given.agent !== event.agent) return refuseOnly(given, before, event.ref, "not_found");
  if (event.secret === "other") return refuseOnly(given, before, event.ref, given.agent === null ? "not_found" : "conflict");
  const effects: SessionEffect[] = [];
  if (before.agent !== null) effects.push(replaced(before.agent.ref));
  const record: SessionRecord = event.secret === "offered" ? { ...lost(given, now), dial: given.offered, offered: null } : lost(given, now);
  const tentative = event.secret === "dial" && before.dispatching !== null && given.offered !== null;
  const presence: Presence = { ...before, agent: { ref: event.ref, since: now, id: event.agent, tentative } };
  if (presence.runner !== null && !tentative) {
    const joined = join(record, presence, now);
    return { ...joined, effects: [...effects, ...joined.effects] };
  }
  effects.push({ type: "hold", ref: event.ref, ms: DIAL_BACK_MS });
  if (presence.live !== null) effects.push({ type: "watch_alone", ref: event.ref, ms: AGENT_ALONE_MS });
  return { record, presence, effects };
}

function dispatched(given: SessionRecord, before: Presence, event: SessionEvent & { type: "dispatched" }, now: number): Step {
  const presence: Presence = before.dispatching === event.n ? { ...before, dispatching: null } : before;
  const agent = given.phase.kind === "opening" ? event.agent : given.agent;
  if (given.offered?.n !== event.n) return { record: { ...given, agent }, presence, effects: [] };
  const record: SessionRecord = { ...given, agent, dial: { ...given.offered, sentAt: now }, offered: null };
  if (presence.agent === null || !presence.agent.tentative) return { record, presence, effects: [] };
  return refuseOnly(record, { ...presence, agent: null }, presence.agent.ref, "conflict");
}

function dispatchFailed(record: SessionRecord, before: Presence, event: SessionEvent & { type: "dispatch_failed" }, now: number): Step {
  const presence: Presence = {
    ...before,
    dispatching: before.dispatching === event.n ? null : before.dispatching,
    agent: before.agent === null ? null : { ...before.agent, tentative: false },
  };
  if (presence.runner !== null && presence.agent !== null) return join(record, presence, now);
  if (record.phase.kind === "opening" || event.code === "session_lost")
    return endBy(record, presence, event.code, sentence(event.code), now);
  if (presence.runner === null) return { record, presence, effects: [] };
  return refuseOnly(record, { ...presence, runner: null }, presence.runner.ref, event.code);
}

function waitExpired(record: SessionRecord, presence: Presence, ref: number, now: number): Step {
  if (presence.runner?.ref === ref) {
    const code = "agent_unready";
    if (record.phase.kind === "opening") return endBy(record, presence, code, sentence(code), now);
    return refuseOnly(record, { ...presence, runner: null }, ref, code);
  }
  if (presence.agent?.ref === ref) return refuseOnly(record, { ...presence, agent: null }, ref, "agent_unready");
  return { record, presence, effects: [] };
}

/** When a lost session is given up: after the window, and after the wait of whoever came within it and is still held. */
function givenUpAt(lostAt: number, presence: Presence): number {
  const windowEnd = lostAt + RESUME_WINDOW_MS;
  const held = [presence.runner, presence.agent].flatMap((waiting) =>
    waiting !== null && waiting.since < windowEnd ? [waiting.since] : [],
  );
  return Math.max(windowEnd, ...held.map((since) => since + DIAL_BACK_MS));
}

const retryAfter = (attempts: number): number => Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempts, 10));

function alarm(record: SessionRecord, presence: Presence, now: number): Step {
  const { phase, owed } = record;
  if (phase.kind !== "ended") {
    if (now >= record.deadline) return endBy(record, presence, "session_expired", sentence("session_expired"), now);
    if (phase.kind === "opening" && now >= record.startedAt + OPENING_MAX_MS)
      return endBy(record, presence, "agent_unready", sentence("agent_unready"), now);
    if (phase.kind === "active" && phase.lostAt !== null && now >= givenUpAt(phase.lostAt, presence))
      return endBy(record, presence, "session_lost", sentence("session_lost"), now);
  }
  const effects: SessionEffect[] = [];
  let next = record;
  if (phase.kind === "ended" && phase.cutAt !== null && now >= phase.cutAt) {
    next = { ...next, phase: { ...phase, cutAt: null } };
    effects.push({ type: "cut", code: phase.code, ms: 0 });
  }
  if (owed.retryAt !== null && now >= owed.retryAt) {
    next = { ...next, owed: { ...owed, retryAt: now + retryAfter(owed.attempts) } };
    effects.push({ type: "settle" });
  }
  if (phase.kind === "ended" && owed.retryAt === null && now >= phase.at + ENDED_KEEP_MS) effects.push({ type: "forget" });
  return { record: next, presence, effects };
}

function settled(record: SessionRecord, presence: Presence, what: "active" | "ended" | "release"): Step {
  const owed: Owed = { ...record.owed, [what]: false };
  const done = !owed.active && !owed.ended && !owed.release;
  return { record: { ...record, owed: done ? { ...owed, attempts: 0, retryAt: null } : owed }, presence, effects: [] };
}

function settleFailed(record: SessionRecord, presence: Presence, now: number): Step {
  const attempts = record.owed.attempts + 1;
  return { record: { ...record, owed: { ...record.owed, attempts, retryAt: now + retryAfter(attempts) } }, presence, effects: [] };
}

/** What an ended session still answers. */
function afterEnd(record: SessionRecord, presence: Presence, phase: Phase & { kind: "ended" }, event: SessionEvent, now: number): Step {
  const same: Step = { record, presence, effects: [] };
  switch (event.type) {
    case "runner_arrived": {
      const { code, message } = phase;
      return { ...same, effects: [{ type: "refuse", ref: event.ref, code, message, over: event.resumeHash === null }] };
    }
    case "agent_arrived": {
      if (event.secret === "other" && record.agent !== event.agent) return refuseOnly(record, presence, event.ref, "not_found");
      const { code, message } = phase;
      return { ...same, effects: [{ type: "refuse", ref: event.ref, code, message, over: true }] };
    }
    case "dispatched":
      // The end came while the dispatch was under way: the agent now has a session that is over.
      return {
        record: { ...record, agent: event.agent },
        presence,
        effects: [{ type: "tell_agent", code: phase.code, message: phase.message }],
      };
    case "uncoupled":
      return { record, presence: presence.live === event.generation ? { ...presence, live: null } : presence, effects: [] };
    case "alarm":
      return alarm(record, presence, now);
    case "settled":
      return settled(record, presence, event.what);
    case "settle_failed":
      return settleFailed(record, presence, now);
    case "dispatch_failed":
    case "agent_refused":
    case "agent_ended":
    case "killed":
    case "wait_expired":
    case "agent_alone":
    case "woke":
      return same;
    default:
      return unreachable(event);
  }
}

/** One event. `now` is ms since the epoch. */
export function step(record: SessionRecord, presence: Presence, event: SessionEvent, now: number): Step {
  const same: Step = { record, presence, effects: [] };
  if (record.phase.kind === "ended") return afterEnd(record, presence, record.phase, event, now);
  switch (event.type) {
    case "runner_arrived":
    case "agent_arrived": {
      if (now >= record.deadline) {
        const over = endBy(record, presence, "session_expired", sentence("session_expired"), now);
        const answered = step(over.record, over.presence, event, now);
        return { ...answered, effects: [...over.effects, ...answered.effects] };
      }
      return event.type === "runner_arrived" ? runnerArrived(record, presence, event, now) : agentArrived(record, presence, event, now);
    }
    case "dispatched":
      return dispatched(record, presence, event, now);
    case "dispatch_failed":
      return dispatchFailed(record, presence, event, now);
    case "agent_refused":
      if (record.agent !== null && record.agent !== event.agent) return same;
      return end(record, presence, { ...event, at: now, grace: KILL_GRACE_MS, punctual: true, tell: false }, now);
    case "agent_ended": {
      if (record.agent !== null && record.agent !== event.agent) return same;
      // The agent's clock is its own: its word counts only within what the object saw.
      const at = Math.min(Math.max(event.at, record.startedAt), now);
      return end(
        record,
        presence,
        { code: event.code, message: event.message, at, grace: END_LINGER_MS, punctual: false, tell: false },
        now,
      );
    }
    case "killed":
      return endBy(record, presence, event.code, event.message, now);
    case "wait_expired":
      return waitExpired(record, presence, event.ref, now);
    case "agent_alone":
      if (presence.agent?.ref !== event.ref || presence.runner !== null || presence.live === null) return same;
      return { record, presence: { ...presence, live: null }, effects: [{ type: "drop" }] };
    case "uncoupled":
      if (presence.live !== event.generation) return same;
      return { record: lost(record, now), presence: { ...presence, live: null }, effects: [] };
    case "woke":
      return { record: lost(record, now), presence, effects: [] };
    case "settled":
      return settled(record, presence, event.what);
    case "settle_failed":
      return settleFailed(record, presence, now);
    case "alarm":
      return alarm(record, presence, now);
    default:
      return unreachable(event);
  }
}

/** When the object's one alarm must ring next; ms since the epoch. */
export function nextAlarm(record: SessionRecord, presence: Presence): number | null {
  const { phase, owed } = record;
  const times: number[] = [];
  if (owed.retryAt !== null) times.push(owed.retryAt);
  switch (phase.kind) {
    case "opening":
      times.push(record.deadline, record.startedAt + OPENING_MAX_MS);
      break;
    case "active":
      times.push(record.deadline);
      if (phase.lostAt !== null) times.push(givenUpAt(phase.lostAt, presence));
      break;
    case "ended":
      if (phase.cutAt !== null) times.push(phase.cutAt);
      if (owed.retryAt === null) times.push(phase.at + ENDED_KEEP_MS);
      break;
    default:
      return unreachable(phase);
  }
  return times.length === 0 ? null : Math.min(...times);
}
