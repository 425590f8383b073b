/** The session's machine: properties over any sequence of events, and the rows of its table that matter most. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AGENT_ALONE_MS, ENDED_KEEP_MS, OPENING_MAX_MS } from "../../../durable-objects/session/limits.ts";
import { nextAlarm, step } from "../../../durable-objects/session/machine.ts";
import {
  newRecord,
  NOBODY,
  type Presence,
  type SessionEffect,
  type SessionEvent,
  type SessionRecord,
} from "../../../durable-objects/session/record.ts";
import { DIAL_BACK_MS, KILL_GRACE_MS, RESUME_WINDOW_MS } from "../../../protocol/limits.ts";

const T0 = 1_000_000;
const DEADLINE = T0 + 3_600_000;

/** A machine with its state, for tests that read like a log. */
class Machine {
  record: SessionRecord = newRecord(T0, DEADLINE);
  presence: Presence = NOBODY;
  now = T0;

  on(event: SessionEvent): readonly SessionEffect[] {
    const next = step(this.record, this.presence, event, this.now);
    this.record = next.record;
    this.presence = next.presence;
    return next.effects;
  }

  connect(ref = 1): readonly SessionEffect[] {
    return this.on({ type: "runner_arrived", ref, resumeHash: "resume", freshHash: `h${ref}` });
  }

  resume(ref: number): readonly SessionEffect[] {
    return this.on({ type: "runner_arrived", ref, resumeHash: null, freshHash: `h${ref}` });
  }

  agent(ref: number, secret: "dial" | "offered" | "other", agent = "agt_1"): readonly SessionEffect[] {
    return this.on({ type: "agent_arrived", ref, agent, secret });
  }

  static joined(): Machine {
    const machine = new Machine();
    machine.connect(1);
    machine.on({ type: "dispatched", n: 1, agent: "agt_1" });
    machine.agent(2, "dial");
    machine.on({ type: "settled", what: "active" });
    return machine;
  }
}

const types = (effects: readonly SessionEffect[]): string[] => effects.map(({ type }) => type);
const refused = (effects: readonly SessionEffect[]): Record<number, string> =>
  Object.fromEntries(effects.flatMap((effect) => (effect.type === "refuse" ? [[effect.ref, effect.code]] : [])));

describe("opening", () => {
  test("runner, dispatch, agent: joined once, and D1 is owed `active`", () => {
    const machine = new Machine();
    expect(machine.connect(1)).toEqual([
      { type: "hold", ref: 1, ms: DIAL_BACK_MS },
      { type: "dispatch", n: 1, redial: false },
    ]);
    expect(machine.on({ type: "dispatched", n: 1, agent: "agt_1" })).toEqual([]);
    expect(machine.agent(2, "dial")).toEqual([{ type: "join", runner: 1, agent: 2, generation: 1, first: true }, { type: "settle" }]);
    expect(machine.record.owed.active).toBe(true);
  });

  test("an agent faster than the dispatch's own answer is joined all the same", () => {
    const machine = new Machine();
    machine.connect(1);
    expect(types(machine.agent(2, "offered"))).toEqual(["join", "settle"]);
    expect(machine.on({ type: "dispatched", n: 1, agent: "agt_1" })).toEqual([]);
    expect(machine.record.dial).toMatchObject({ n: 1, used: true });
  });

  test.each([
    ["no agent", { type: "dispatch_failed", n: 1, code: "site_offline" } as const, "site_offline"],
    ["the agent refuses", { type: "agent_refused", agent: "agt_1", code: "policy_stale", message: "m" } as const, "policy_stale"],
    ["nobody dials back", { type: "wait_expired", ref: 1 } as const, "agent_unready"],
  ])("%s: the runner is refused and the session over", (_, event, code) => {
    const machine = new Machine();
    machine.connect(1);
    expect(refused(machine.on(event))).toEqual({ 1: code });
    expect(machine.record.phase).toMatchObject({ kind: "ended", code });
    expect(machine.record.owed).toMatchObject({ ended: true, release: true });
  });

  test("killed while the dispatch is under way: the agent is told once it has it", () => {
    const machine = new Machine();
    machine.connect(1);
    expect(types(machine.on({ type: "killed", code: "session_killed", message: "m" }))).toEqual(["refuse", "tell_agent", "settle"]);
    expect(machine.on({ type: "dispatched", n: 1, agent: "agt_1" })).toEqual([
      { type: "tell_agent", code: "session_killed", message: "m" },
    ]);
  });

  test("the alarm reaps it", () => {
    const machine = new Machine();
    machine.now = nextAlarm(machine.record, machine.presence) ?? 0;
    expect(machine.now).toBe(T0 + OPENING_MAX_MS);
    machine.on({ type: "alarm" });
    expect(machine.record.phase).toMatchObject({ kind: "ended", code: "agent_unready" });
  });
});

describe("resuming", () => {
  test("an agent that waits alone beside a coupling believed live ends it, once", () => {
    const machine = Machine.joined();
    expect(types(machine.agent(3, "dial"))).toEqual(["hold", "watch_alone"]);
    machine.now += AGENT_ALONE_MS;
    expect(types(machine.on({ type: "agent_alone", ref: 3 }))).toEqual(["drop"]);
    expect(types(machine.agent(4, "dial"))).toEqual(["refuse", "hold"]);
    expect(machine.on({ type: "agent_alone", ref: 4 })).toEqual([]);
  });

  test("a runner that came meanwhile is joined, and nothing is dropped", () => {
    const machine = Machine.joined();
    machine.agent(3, "dial");
    expect(types(machine.resume(4))).toEqual(["join"]);
    expect(machine.on({ type: "agent_alone", ref: 3 })).toEqual([]);
  });

  test("an agent with the last secret, while it is open whether a newer was sent: refused if it was, joined if not", () => {
    for (const sent of [true, false]) {
      const machine = Machine.joined();
      expect(types(machine.resume(3))).toEqual(["hold", "dispatch"]);
      expect(types(machine.agent(4, "dial"))).toEqual(["hold", "watch_alone"]);
      if (sent) expect(refused(machine.on({ type: "dispatched", n: 2, agent: "agt_1" }))).toEqual({ 4: "conflict" });
      else expect(types(machine.on({ type: "dispatch_failed", n: 2, code: "site_offline" }))).toEqual(["join"]);
    }
  });

  test("a dispatch that may still arrive is not repeated, one that had its time is", () => {
    const machine = Machine.joined();
    machine.resume(3);
    expect(types(machine.resume(4))).toEqual(["refuse", "hold"]);
    machine.on({ type: "dispatched", n: 2, agent: "agt_1" });
    expect(types(machine.resume(5))).toEqual(["refuse", "hold"]);
    machine.now += DIAL_BACK_MS;
    expect(types(machine.resume(6))).toEqual(["refuse", "hold", "dispatch"]);
  });

  test("a lost session is given up after the window, but not while somebody who came within it is still held", () => {
    const machine = Machine.joined();
    machine.on({ type: "woke" });
    machine.now = T0 + RESUME_WINDOW_MS - 1;
    machine.resume(3);
    machine.now = T0 + RESUME_WINDOW_MS;
    machine.on({ type: "alarm" });
    expect(machine.record.phase.kind).toBe("active");
    // One who comes after the window prolongs nothing.
    machine.resume(4);
    machine.on({ type: "alarm" });
    expect(machine.record.phase).toMatchObject({ kind: "ended", code: "session_lost" });
  });

  test("a redial that the agent refuses is the session's end", () => {
    const machine = Machine.joined();
    machine.resume(3);
    const effects = machine.on({ type: "agent_refused", agent: "agt_1", code: "session_lost", message: "restarted" });
    expect(refused(effects)).toEqual({ 3: "session_lost" });
    expect(types(effects)).not.toContain("tell_agent");
  });

  test("another agent's arrival, refusal or end is worth nothing", () => {
    const machine = Machine.joined();
    expect(refused(machine.agent(3, "dial", "agt_2"))).toEqual({ 3: "not_found" });
    machine.on({ type: "agent_refused", agent: "agt_2", code: "denied", message: "m" });
    machine.on({ type: "agent_ended", agent: "agt_2", code: "session_closed", message: "m", at: T0 });
    expect(machine.record.phase.kind).toBe("active");
  });
});

describe("ending", () => {
  test("a kill is stored, told, and cut after the grace; the alarm cuts if the timer's instance died", () => {
    const machine = Machine.joined();
    expect(machine.on({ type: "killed", code: "session_killed", message: "m" })).toEqual([
      { type: "tell_agent", code: "session_killed", message: "m" },
      { type: "cut", code: "session_killed", ms: KILL_GRACE_MS },
      { type: "settle" },
    ]);
    machine.now = nextAlarm(machine.record, machine.presence) ?? 0;
    expect(machine.now).toBe(T0 + KILL_GRACE_MS);
    expect(machine.on({ type: "alarm" })).toContainEqual({ type: "cut", code: "session_killed", ms: 0 });
  });

  test("an agent's clock cannot put the end outside what the object saw", () => {
    for (const [at, kept] of [
      [0, T0],
      [T0 + 5, T0 + 5],
      [T0 + 1e9, T0 + 10],
    ] as const) {
      const machine = Machine.joined();
      machine.now = T0 + 10;
      machine.on({ type: "agent_ended", agent: "agt_1", code: "session_closed", message: "m", at });
      expect(machine.record.phase).toMatchObject({ at: kept });
    }
  });

  test("what is owed is tried again with growing pauses, and forgotten only when paid", () => {
    const machine = Machine.joined();
    machine.on({ type: "killed", code: "session_killed", message: "m" });
    const pauses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      machine.on({ type: "settle_failed" });
      pauses.push((machine.record.owed.retryAt ?? 0) - machine.now);
      machine.now = machine.record.owed.retryAt ?? 0;
      expect(types(machine.on({ type: "alarm" }))).toContain("settle");
    }
    expect(pauses).toEqual([2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    machine.now += ENDED_KEEP_MS;
    expect(types(machine.on({ type: "alarm" }))).not.toContain("forget");
    for (const what of ["ended", "release"] as const) machine.on({ type: "settled", what });
    expect(types(machine.on({ type: "alarm" }))).toEqual(["forget"]);
  });
});

const events: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.record({
    type: fc.constant("runner_arrived" as const),
    ref: fc.constant(0),
    resumeHash: fc.option(fc.constant("r")),
    freshHash: fc.constant("f"),
  }),
  fc.record({
    type: fc.constant("agent_arrived" as const),
    ref: fc.constant(0),
    agent: fc.constantFrom("agt_1", "agt_2"),
    secret: fc.constantFrom("dial" as const, "offered" as const, "other" as const),
  }),
  fc.record({ type: fc.constant("dispatched" as const), n: fc.nat(4), agent: fc.constant("agt_1") }),
  fc.record({
    type: fc.constant("dispatch_failed" as const),
    n: fc.nat(4),
    code: fc.constantFrom("site_offline" as const, "session_lost" as const),
  }),
  fc.record({
    type: fc.constant("agent_refused" as const),
    agent: fc.constant("agt_1"),
    code: fc.constant("denied" as const),
    message: fc.constant("m"),
  }),
  fc.record({
    type: fc.constant("agent_ended" as const),
    agent: fc.constant("agt_1"),
    code: fc.constant("session_closed" as const),
    message: fc.constant("m"),
    at: fc.nat(),
  }),
  fc.record({ type: fc.constant("killed" as const), code: fc.constant("session_killed" as const), message: fc.constant("m") }),
  fc.record({ type: fc.constant("wait_expired" as const), ref: fc.nat(12) }),
  fc.record({ type: fc.constant("agent_alone" as const), ref: fc.nat(12) }),
  fc.record({ type: fc.constant("uncoupled" as const), generation: fc.nat(4) }),
  fc.constant({ type: "woke" as const }),
  fc.record({ type: fc.constant("settled" as const), what: fc.constantFrom("active" as const, "ended" as const, "release" as const) }),
  fc.constant({ type: "settle_failed" as const }),
  fc.constant({ type: "alarm" as const }),
);

test("any sequence of events: one end at most, every held upgrade answered exactly once, an alarm is always set", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(events, fc.nat(90_000)), { maxLength: 40 }), (sequence) => {
      const machine = new Machine();
      const open = new Set<number>();
      let ended: unknown;
      let drops = 0;
      let joins = 0;
      for (const [index, [event, pause]] of sequence.entries()) {
        machine.now += pause;
        const arrival = event.type === "runner_arrived" || event.type === "agent_arrived";
        if (arrival) open.add(index + 1);
        const effects = machine.on(arrival ? { ...event, ref: index + 1 } : event);
        for (const effect of effects) {
          const answered = effect.type === "refuse" ? [effect.ref] : effect.type === "join" ? [effect.runner, effect.agent] : [];
          for (const ref of answered) expect(open.delete(ref)).toBe(true);
          if (effect.type === "drop") drops += 1;
          if (effect.type === "join") joins += 1;
        }
        const { runner, agent } = machine.presence;
        expect(open).toEqual(new Set([runner, agent].flatMap((held) => (held === null ? [] : [held.ref]))));
        const { phase } = machine.record;
        if (phase.kind === "ended") {
          const { cutAt: _, ...facts } = phase;
          expect(facts).toEqual((ended ??= facts));
          expect(open.size).toBe(0);
        } else expect(ended).toBeUndefined();
        expect(nextAlarm(machine.record, machine.presence)).not.toBeNull();
        expect(machine.presence.live ?? 0).toBeLessThanOrEqual(machine.record.generation);
      }
      expect(drops).toBeLessThanOrEqual(joins);
    }),
    { numRuns: 500 },
  );
});
