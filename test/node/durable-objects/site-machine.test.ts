/** The site's rules: an agent's connections, who gets a session, and what a hello says about sessions. */
import { describe, expect, test } from "vitest";
import { HELLO_MS, RETURN_WAIT_MS, UNLISTED_GRACE_MS } from "../../../durable-objects/site/limits.ts";
import {
  agentAlarm,
  chooseAgent,
  lostEnd,
  maySoonServe,
  reconcile,
  REPLACED,
  stepAgent,
  type AgentEvent,
  type AgentState,
  type Candidate,
  type Hello,
  type SiteSession,
} from "../../../durable-objects/site/machine.ts";
import { LOST_AFTER_MS } from "../../../protocol/limits.ts";

const NOW = 1_000_000;
const HELLO: Hello = {
  type: "hello",
  version: "1",
  bundle: 3,
  sessions: ["s1"],
  targets: [{ name: "db", protocol: "postgres", labels: [] }],
};

function after(...events: readonly AgentEvent[]): AgentState {
  let state: AgentState = { kind: "gone", since: 0, expected: [] };
  for (const event of events) state = stepAgent(state, event, NOW).state;
  return state;
}
const ready = (connection = 1): readonly AgentEvent[] => [
  { type: "connected", connection },
  { type: "hello", connection, hello: HELLO },
  { type: "claimed", connection, targets: ["db"] },
];
const effects = (state: AgentState, event: AgentEvent, now = NOW): string[] => stepAgent(state, event, now).effects.map(({ type }) => type);

describe("an agent's connections", () => {
  test("connected, hello, claimed: ready with what D1 let it claim, and not before", () => {
    expect(after(...ready().slice(0, 2))).toMatchObject({ kind: "ready", targets: [], draining: false });
    expect(after(...ready())).toMatchObject({ kind: "ready", targets: ["db"], claim: null });
  });

  test("a newer one replaces the older, whose words and close then count for nothing", () => {
    const state = after(...ready(1));
    expect(stepAgent(state, { type: "connected", connection: 2 }, NOW).effects).toEqual([{ type: "replace", connection: 1 }]);
    const replaced = after(...ready(1), ...ready(2));
    for (const event of [
      { type: "draining", connection: 1 },
      { type: "claimed", connection: 1, targets: ["other"] },
      { type: "bundle_applied", connection: 1, version: 9 },
      { type: "hello", connection: 1, hello: HELLO },
      { type: "closed", connection: 1, code: 1006 },
    ] as const) {
      expect(stepAgent(replaced, event, NOW)).toEqual({ state: replaced, effects: [] });
    }
  });

  test("only an echoed close proves that two were alive (GW-14)", () => {
    const state = after(...ready(1), ...ready(2));
    expect(effects(state, { type: "closed", connection: 1, code: REPLACED })).toEqual(["duplicate"]);
    expect(effects(state, { type: "closed", connection: 1, code: 1006 })).toEqual([]);
    expect(effects(state, { type: "closed", connection: 2, code: 1006 })).toEqual(["orphan"]);
  });

  test("one that says nothing is closed, one that speaks before its hello too", () => {
    const greeting = after({ type: "connected", connection: 1 });
    expect(agentAlarm(greeting)).toBe(NOW + HELLO_MS);
    expect(effects(greeting, { type: "alarm" })).toEqual([]);
    expect(effects(greeting, { type: "alarm" }, NOW + HELLO_MS)).toEqual(["violation"]);
    expect(effects(greeting, { type: "draining", connection: 1 })).toEqual(["violation"]);
    expect(effects(greeting, { type: "bundle_applied", connection: 1, version: 1 })).toEqual(["violation"]);
    expect(effects(after(...ready()), { type: "hello", connection: 1, hello: HELLO })).toEqual(["violation"]);
  });

  test("a claim is tried again by the alarm until it is done, with growing pauses", () => {
    let state = after(...ready().slice(0, 2));
    const pauses: number[] = [];
    let now = NOW;
    for (let i = 0; i < 5; i += 1) {
      state = stepAgent(state, { type: "claim_failed", connection: 1 }, now).state;
      const due = agentAlarm(state) ?? 0;
      pauses.push(due - now);
      now = due;
      const step = stepAgent(state, { type: "alarm" }, now);
      expect(step.effects).toEqual([{ type: "greet" }]);
      state = step.state;
    }
    expect(pauses).toEqual([2000, 4000, 8000, 16_000, 32_000]);
    expect(agentAlarm(stepAgent(state, { type: "claimed", connection: 1, targets: [] }, now).state)).toBeNull();
  });
});

describe("who gets a session", () => {
  const candidate = (id: string, overrides: Partial<Candidate> = {}): Candidate => ({
    id,
    state: after(...ready()),
    sessions: 0,
    pingedAt: null,
    ...overrides,
  });
  const draining = after(...ready(), { type: "draining", connection: 1 });
  const silent = { pingedAt: NOW - LOST_AFTER_MS - 1 };

  test.each([
    ["nobody", [], null],
    ["the fewest sessions", [candidate("a", { sessions: 2 }), candidate("b", { sessions: 1 })], "b"],
    ["of equals, the first by id", [candidate("b"), candidate("a")], "a"],
    ["never one that drains", [candidate("a", { state: draining }), candidate("b", { sessions: 9 })], "b"],
    [
      "never one that is gone or has not said hello",
      [candidate("a", { state: after() }), candidate("b", { state: after(...ready().slice(0, 1)) })],
      null,
    ],
    ["one whose pings stopped only if there is no other", [candidate("a", silent), candidate("b", { sessions: 9, pingedAt: NOW })], "b"],
    ["but then it", [candidate("a", silent)], "a"],
  ])("%s", (_, candidates, chosen) => {
    expect(chooseAgent(candidates, "db", NOW)).toBe(chosen);
  });

  test("only for a target that it may serve", () => {
    expect(chooseAgent([candidate("a")], "other-db", NOW)).toBeNull();
  });
});

describe("who may come back in a moment", () => {
  const cutOff = after(...ready(), { type: "closed", connection: 1, code: 1006 });
  test.each([
    ["one that was cut off", cutOff, NOW + 1, true],
    ["not for long", cutOff, NOW + RETURN_WAIT_MS, false],
    ["not one that closed by itself", after(...ready(), { type: "closed", connection: 1, code: 1000 }), NOW, false],
    [
      "not one that drained",
      after(...ready(), { type: "draining", connection: 1 }, { type: "closed", connection: 1, code: 1006 }),
      NOW,
      false,
    ],
    ["one that is connecting", after(...ready().slice(0, 1)), NOW, true],
    ["one whose claim is under way", after(...ready().slice(0, 2)), NOW, true],
    ["not one whose claim failed", after(...ready().slice(0, 2), { type: "claim_failed", connection: 1 }), NOW, false],
    ["not one that was never there", after(), NOW, false],
  ])("%s", (_, state, now, expected) => {
    expect(maySoonServe(state, "db", now)).toBe(expected);
    if (state.kind !== "greeting") expect(maySoonServe(state, "other-db", now)).toBe(false);
  });
});

describe("what a hello says about sessions", () => {
  const session = (id: string, end: SiteSession["end"] = null): SiteSession => ({ id, agent: "a", end });
  const orphaned = lostEnd("gone", NOW - 10, NOW + 50_000);
  const said = { by: "agent", code: "session_closed", message: "m", at: NOW, due: NOW, attempts: 1 } as const;

  test("listed ones live on, unlisted ones end after a grace, the agent's own word stands", () => {
    const known = [session("kept"), session("back", orphaned), session("missing"), session("late", orphaned), session("over", said)];
    const { changed, unknown } = reconcile(known, ["kept", "back", "over", "foreign"], NOW);
    expect(changed).toEqual([
      session("back"),
      { ...session("missing"), end: expect.objectContaining({ by: "site", code: "session_lost", due: NOW + UNLISTED_GRACE_MS }) },
      { ...session("late"), end: expect.objectContaining({ due: NOW + UNLISTED_GRACE_MS }) },
    ]);
    expect(unknown).toEqual(["foreign"]);
  });

  test("an end that is due sooner is not put off", () => {
    const soon = lostEnd("gone", NOW, NOW + 1);
    expect(reconcile([session("s", soon)], [], NOW).changed).toMatchObject([{ end: { due: NOW + 1 } }]);
  });
});
