/** Plans at the edge: kept as the agent answered, one approval for what is held, and one session of the same identity and pipeline. */
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { PLAN_HEADER, type ProblemJson } from "../../../protocol/api.ts";
import type { Approval } from "../../../protocol/approval.ts";
import { MAX_PLAN_BYTES } from "../../../protocol/limits.ts";
import type { Plan, PlanAnswer, PlannedStatement } from "../../../protocol/plan.ts";
import { forgetPlans, readPlan, usePlan } from "../../../store/plans.ts";
import { FILES, jobToken, must, ORIGIN, prepareWorld, publish, Runner, site, type Agent } from "../objects/world.ts";

const identity = (name: string, more = "kind: non-human"): string =>
  `name: ${name}\n${more}\nowner: team@example.com\npurpose: tests\nmatch:\n  - issuer: https://issuer.test\n    claims: { job: ${name} }\n`;

beforeAll(async () => {
  await prepareWorld();
  const connects = ["other", "dana"]
    .map((name) => `@id("${name}-connects")\npermit (principal == Identity::"${name}", action == Action::"connect", resource);\n`)
    .join("");
  await publish(
    {
      ...FILES,
      "identities/other.yaml": identity("other"),
      "identities/dana.yaml": identity("dana", "kind: human\ngroups: [dba]"),
      "policies/others.cedar": connects,
    },
    1,
  );
});

const TEXT = "SELECT 1; ALTER TABLE t ADD c int;";
const statement = (more: Partial<PlannedStatement> = {}): PlannedStatement => ({
  start: 0,
  end: 8,
  line: 1,
  digest: "a".repeat(64),
  text: "SELECT 1",
  effects: [{ action: "pg:session", resource: "db" }],
  decision: "allow",
  policies: ["p"],
  needs: [],
  ...more,
});
const HELD = statement({
  start: 10,
  end: 33,
  digest: "b".repeat(64),
  text: "ALTER TABLE t ADD c int",
  effects: [{ action: "pg:alter", resource: "db/public.t" }],
  decision: "hold",
  reason: "changes are looked at",
  needs: [{ group: "dba", min: 1 }],
  ttl: 600_000,
});
const answer = (...statements: PlannedStatement[]): PlanAnswer => ({
  statements,
  environment: { database: "shop", role: "app", search_path: "public" },
  bundle: 2,
});

async function call(method: string, path: string, job: string, json?: unknown): Promise<Response> {
  const headers = { authorization: `Bearer ${await jobToken(job)}`, ...(json === undefined ? {} : { "content-type": "application/json" }) };
  return exports.default.fetch(
    new Request(`${ORIGIN}${path}`, { method, headers, ...(json === undefined ? {} : { body: JSON.stringify(json) }) }),
  );
}

async function planned(agent: Agent, target: string, value: unknown, text = TEXT, job = "ci"): Promise<Response> {
  const response = call("POST", `/v1/targets/${target}/plans`, job, { text });
  const ask: { type: string; id?: string } | Response | undefined = await Promise.race([agent.control?.message("ask"), response]);
  if (ask instanceof Response) throw new Error(`not asked: ${await ask.text()}`);
  agent.say({ type: "answer", id: ask?.id, answer: { ok: true, value } });
  return response;
}
const made = async (agent: Agent, target: string, ...statements: PlannedStatement[]): Promise<Plan> =>
  (await planned(agent, target, answer(...statements))).json<Plan>();
const codeOf = async (response: Response): Promise<string> => (await response.json<ProblemJson>()).code;

async function vote(approval: string, as: "approve" | "deny"): Promise<void> {
  const { digest } = await (await call("GET", `/v1/approvals/${approval}`, "dana")).json<Approval>();
  const response = await call("POST", `/v1/approvals/${approval}/votes`, "dana", { vote: as, digest, reason: "because" });
  if (!response.ok) throw new Error(await response.text());
}

const connect = (target: string, plan: string, job = "ci") => new Runner().connect(target, job, { [PLAN_HEADER]: plan });
/** Opens a session by the plan, as far as both ends are joined; what the agent was told of the plan. */
async function session(agent: Agent, target: string, plan: string): Promise<unknown> {
  const connecting = connect(target, plan);
  const dispatch = await agent.dispatch();
  must(await agent.dialBack(dispatch.session, dispatch.dial_secret));
  must(await connecting);
  return dispatch.plan;
}
async function refusal(target: string, plan: string, job = "ci"): Promise<string> {
  const dialled = await connect(target, plan, job);
  return dialled.ok ? "connected" : dialled.problem.code;
}

describe("making a plan", () => {
  test("all allowed: kept, nobody asked; who may not connect gets none", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    expect(plan).toMatchObject({ state: "allowed", identity: "ci", target, statements: [{ decision: "allow" }] });
    expect(plan.approval).toBeUndefined();
    expect(await readPlan(env.DB, plan.id)).toMatchObject({ text: TEXT, verdict: "allowed", used_by: null });
    expect(await codeOf(await call("POST", `/v1/targets/${target}/plans`, "stranger", { text: "SELECT 1" }))).toBe("denied");
  });

  test("what is held is asked for once, with the exact text cut from what was sent", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement(), HELD);
    expect(plan.state).toBe("pending");
    const approval = await (await call("GET", `/v1/approvals/${plan.approval}`, "dana")).json<Approval>();
    expect(approval).toMatchObject({
      mode: "later",
      session: plan.id,
      identity: "ci",
      needs: [{ group: "dba", min: 1 }],
      subject: { kind: "plan", target, statements: [{ text: "ALTER TABLE t ADD c int" }], environment: { database: "shop" } },
    });
  });

  test("with a denied statement nobody is asked", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement({ decision: "deny" }), HELD);
    expect(plan).toMatchObject({ state: "denied" });
    expect(plan.approval).toBeUndefined();
    expect(await refusal(target, plan.id)).toBe("plan_unusable");
  });

  test("an answer whose places do not fit the text, or of an older bundle, makes none", async () => {
    const { agent, target } = await site();
    for (const wrong of [answer(statement({ end: 99 })), answer(HELD, statement()), { ...answer(statement()), bundle: 1 }]) {
      expect(await codeOf(await planned(agent, target, wrong))).toBe("agent_unready");
    }
  });

  test("a text over the limit is refused before the agent is asked", async () => {
    const { agent, target } = await site();
    const text = `SELECT '${"x".repeat(MAX_PLAN_BYTES)}'`;
    expect(await codeOf(await call("POST", `/v1/targets/${target}/plans`, "ci", { text }))).toBe("too_large");
    expect(agent.control?.unread().join()).not.toContain('"ask"');
  });
});

describe("running by a plan", () => {
  test("once: the agent gets its statements, a second session is refused", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    expect(await session(agent, target, plan.id)).toEqual({
      id: plan.id,
      statements: [{ digest: "a".repeat(64), approved: false }],
      approvals: [],
    });
    expect(await refusal(target, plan.id)).toBe("plan_unusable");
    expect(await (await call("GET", `/v1/plans/${plan.id}`, "ci")).json<Plan>()).toMatchObject({ state: "used" });
  });

  test("not before consent; then with the groups that gave it, for the statements that got it", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement(), HELD);
    expect(await refusal(target, plan.id)).toBe("approval_required");
    await vote(plan.approval ?? "", "approve");
    expect(await session(agent, target, plan.id)).toEqual({
      id: plan.id,
      statements: [
        { digest: "a".repeat(64), approved: false },
        { digest: "b".repeat(64), approved: true },
      ],
      approval: plan.approval,
      approvals: ["dba"],
    });
    expect(await (await call("GET", `/v1/approvals/${plan.approval}`, "dana")).json()).toMatchObject({ used_at: expect.any(Number) });
    expect(await refusal(target, plan.id)).toBe("plan_unusable");
  });

  test("not after a person refused", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, HELD);
    await vote(plan.approval ?? "", "deny");
    expect(await refusal(target, plan.id)).toBe("plan_unusable");
    expect(await (await call("GET", `/v1/plans/${plan.id}`, "ci")).json()).toMatchObject({
      state: "denied",
      outcome: { by: ["dana"], reason: "because" },
    });
  });

  test("GW-24 another identity, another pipeline's ref and another target find no such plan", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    expect(await refusal(target, plan.id, "other")).toBe("not_found");
    expect(await codeOf(await call("GET", `/v1/plans/${plan.id}`, "other"))).toBe("not_found");
    expect(await (await call("GET", "/v1/plans", "other")).json()).toMatchObject({ rows: [] });
    const elsewhere = await site();
    expect(await refusal(elsewhere.target, plan.id)).toBe("not_found");
    await env.DB.prepare("UPDATE plans SET pipeline_key = 'another' WHERE id = ?").bind(plan.id).run();
    expect(await refusal(target, plan.id)).toBe("not_found");
    expect(await refusal(target, "pln_nonsense")).toBe("bad_request");
  });

  test("its time is over", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    await env.DB.prepare("UPDATE plans SET expires_at = 1 WHERE id = ?").bind(plan.id).run();
    expect(await refusal(target, plan.id)).toBe("plan_unusable");
  });

  test("retention forgets it, and not one that could still be run", async () => {
    const { agent, target } = await site();
    const [old, live] = [await made(agent, target, statement()), await made(agent, target, statement())];
    await env.DB.prepare("UPDATE plans SET created_at = 1, expires_at = 2 WHERE id = ?").bind(old.id).run();
    await env.DB.prepare("UPDATE plans SET created_at = 1 WHERE id = ?").bind(live.id).run();
    await forgetPlans(env.DB, 1_000);
    expect([await readPlan(env.DB, old.id), (await readPlan(env.DB, live.id))?.id]).toEqual([null, live.id]);
  });

  test("of many at once exactly one gets it", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => usePlan(env.DB, plan.id, `ses_${n}`, Date.now())));
    expect(all.filter(Boolean)).toHaveLength(1);
  });

  test("a session that never came to be did not use it", async () => {
    const { agent, target } = await site();
    const plan = await made(agent, target, statement());
    const connecting = connect(target, plan.id);
    const { session: refused } = await agent.dispatch();
    agent.say({ type: "refused", session: refused, code: "policy_stale", message: "no" });
    expect((await connecting).ok).toBe(false);
    expect(await session(agent, target, plan.id)).toMatchObject({ id: plan.id });
  });
});
