/** Questions as the agent answers them: by whose policy, what the asker hears of a failure, and what is bounded. */
import { pino } from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { compileBundle } from "../../../policy/cedar.node.ts";
import type { EdgeToAgent, Question } from "../../../protocol/agent-control.ts";
import { MAX_AGENT_CONTROL } from "../../../protocol/limits.ts";
import { Questions } from "../../../tunnel-agent/questions.ts";
import { AskRefused, type AskContext, type TargetServer } from "../../../tunnel-agent/session.ts";
import { READ_ONLY } from "./support/bundles.ts";

let log = "";
beforeEach(() => {
  log = "";
});

type Room = (question: Question, context: AskContext) => Promise<unknown>;

function questions(room: Room | undefined, policy = compiled()): Questions {
  const server: TargetServer = { serve: () => Promise.resolve(), ready: {}, ...(room === undefined ? {} : { ask: room }) };
  const announcement = { name: "orders-db", protocol: "postgres" as const, environment: "production", labels: [] };
  return new Questions({
    targets: new Map([["orders-db", { announcement, server }]]),
    policy: { standing: () => policy, version: 7, masking: () => ({ classes: [] }) },
    maskText: (text) => text,
    log: pino({ level: "debug" }, { write: (line: string) => void (log += line) }),
    now: () => 1_790_000_000_000,
    giveUpMs: 100,
  });
}

function compiled() {
  const policy = compileBundle(READ_ONLY);
  if (!policy.ok) throw new Error("the test's bundle does not compile");
  return { kind: "active", version: 7, policy: policy.value } as const;
}

const workload = { provider: "github", issuer: "https://token.actions.githubusercontent.com", subject: "repo:shop" } as const;
const plan = (identity: string): Question => ({ kind: "plan", target: "orders-db", identity, workload, text: "select 1" });
const posture: Question = { kind: "posture", target: "orders-db" };
const ask = (question: Question): Extract<EdgeToAgent, { type: "ask" }> => ({ type: "ask", id: "1", question });

const decides =
  (action: string): Room =>
  (_, { decideAll }) =>
    Promise.resolve(decideAll([{ action, resource: { type: "table", target: "orders-db", schema: "public", table: "orders" } }]).outcome);

describe("an answer", () => {
  test("is decided for the identity that the question names, by the bundle that is active", async () => {
    expect(await questions(decides("pg:select")).answer(ask(plan("orders-ci")))).toEqual({ ok: true, value: "allow" });
    expect(await questions(decides("pg:delete")).answer(ask(plan("orders-ci")))).toEqual({ ok: true, value: "deny" });
    expect(await questions(decides("pg:select")).answer(ask(plan("somebody")))).toEqual({ ok: true, value: "deny" });
  });

  test("is a denial where the question names nobody, and where there is no policy", async () => {
    expect(await questions(decides("pg:select")).answer(ask(posture))).toEqual({ ok: true, value: "deny" });
    const none = { kind: "none", reason: "The agent has no policy yet." } as const;
    const room: Room = (_, { decideAll }) =>
      Promise.resolve(decideAll([{ action: "pg:select", resource: { type: "target", target: "orders-db" } }]).reason);
    expect(await questions(room, none as never).answer(ask(plan("orders-ci")))).toEqual({ ok: true, value: none.reason });
  });
});

describe("no answer", () => {
  test("another target, and a protocol that has none", async () => {
    expect(await questions(decides("x")).answer(ask({ ...posture, target: "other" }))).toMatchObject({ ok: false, code: "target_unknown" });
    expect(await questions(undefined).answer(ask(posture))).toMatchObject({ ok: false, code: "bad_request" });
  });

  test("what a room refuses is told; what it throws is not, and is in the log without its message", async () => {
    const refused = questions(() => Promise.reject(new AskRefused("target_unreachable", "The target did not let the agent in.")));
    expect(await refused.answer(ask(posture))).toEqual({
      ok: false,
      code: "target_unreachable",
      message: "The target did not let the agent in.",
    });
    const failing = questions(() => Promise.reject(new Error("password hunter2 at 10.0.0.1")));
    const answer = await failing.answer(ask(posture));
    expect(answer).toMatchObject({ ok: false, code: "internal" });
    expect(JSON.stringify(answer)).not.toContain("hunter2");
    expect(log).toContain("a question failed inside the agent");
    expect(log).not.toContain("hunter2");
  });

  test("a room that does not stop: the gateway is answered, and the place is not free until it does", async () => {
    let release: () => void = () => undefined;
    const room: Room = () => new Promise((resolve) => (release = () => resolve("late")));
    const some = questions(room);
    const answers = await Promise.all([1, 2, 3, 4].map(() => some.answer(ask(posture))));
    expect(answers).toMatchObject(answers.map(() => ({ ok: false, code: "agent_unready", message: "The target did not answer in time." })));
    expect(await some.answer(ask(posture))).toMatchObject({
      ok: false,
      code: "agent_unready",
      message: expect.stringContaining("other questions"),
    });
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await some.answer(ask(posture))).toMatchObject({ message: "The target did not answer in time." });
  });

  test("an answer that would not fit a control message is a refusal, not a broken socket", async () => {
    const answer = await questions(() => Promise.resolve("x".repeat(MAX_AGENT_CONTROL))).answer(ask(posture));
    expect(answer).toMatchObject({ ok: false, code: "too_large" });
  });
});
