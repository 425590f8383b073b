/** Questions to a site's agents through SiteDO: who is asked, whose answers count, and what comes when there is none. */
import { env } from "cloudflare:workers";
import { evictDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, test } from "vitest";
import type { EdgeToAgent, Question } from "../../../protocol/agent-control.ts";
import { ASK_TIMEOUT_MS, MAX_AGENT_CONTROL, MAX_OPEN_QUESTIONS } from "../../../protocol/limits.ts";
import { Agent, prepareWorld, site } from "./world.ts";

beforeAll(prepareWorld);

const siteOf = (agent: Agent) => env.SITES.getByName(agent.site);
const posture = (target: string): Question => ({ kind: "posture", target });

async function asked(agent: Agent): Promise<Extract<EdgeToAgent, { type: "ask" }>> {
  return (await agent.control?.message("ask")) as Extract<EdgeToAgent, { type: "ask" }>;
}

describe("an answer", () => {
  test("comes from the agent that was asked, by the question's id", async () => {
    const { agent, target } = await site();
    const answer = siteOf(agent).ask(posture(target), 5_000);
    const { id, question } = await asked(agent);
    expect(question).toEqual(posture(target));
    agent.say({ type: "answer", id, answer: { ok: true, value: { level: "A" } } });
    expect(await answer).toEqual({ ok: true, agent: agent.id, json: '{"level":"A"}' });
  });

  test("a refusal keeps its code and sentence", async () => {
    const { agent, target } = await site();
    const answer = siteOf(agent).ask(posture(target), 5_000);
    agent.say({ type: "answer", id: (await asked(agent)).id, answer: { ok: false, code: "target_unreachable", message: "It is down." } });
    expect(await answer).toEqual({ ok: false, code: "target_unreachable", message: "It is down." });
  });

  test("of another agent of the site, or to another id, counts for nothing", async () => {
    const { agent, target } = await site();
    const other = await Agent.enrol(agent.site);
    await other.connect([`${target}-2`]);
    const answer = siteOf(agent).ask(posture(target), 5_000);
    const { id } = await asked(agent);
    other.say({ type: "answer", id, answer: { ok: true, value: "forged" } });
    agent.say({ type: "answer", id: crypto.randomUUID(), answer: { ok: true, value: "another" } });
    agent.say({ type: "answer", id, answer: { ok: true, value: "mine" } });
    expect(await answer).toMatchObject({ ok: true, json: '"mine"' });
  });

  test("answers cross: each asker gets its own", async () => {
    const { agent, target } = await site();
    const first = siteOf(agent).ask(posture(target), 5_000);
    const one = await asked(agent);
    const second = siteOf(agent).ask(posture(target), 5_000);
    const two = await asked(agent);
    agent.say({ type: "answer", id: two.id, answer: { ok: true, value: 2 } });
    agent.say({ type: "answer", id: one.id, answer: { ok: true, value: 1 } });
    expect([await first, await second]).toMatchObject([{ json: "1" }, { json: "2" }]);
  });
});

describe("no answer", () => {
  test("nobody serves the target: site_offline", async () => {
    const { agent } = await site();
    expect(await siteOf(agent).ask(posture("somewhere-else"), 5_000)).toMatchObject({ ok: false, code: "site_offline" });
  });

  test("silence ends at the time limit, and an answer that comes later is nobody's", async () => {
    const { agent, target } = await site();
    const answer = siteOf(agent).ask(posture(target), 50);
    const { id } = await asked(agent);
    expect(await answer).toMatchObject({ ok: false, code: "agent_unready", message: expect.stringContaining("did not answer") });
    agent.say({ type: "answer", id, answer: { ok: true, value: "late" } });
    const next = siteOf(agent).ask(posture(target), 5_000);
    agent.say({ type: "answer", id: (await asked(agent)).id, answer: { ok: true, value: "in time" } });
    expect(await next).toMatchObject({ ok: true, json: '"in time"' });
  });

  test("the agent's connection is lost: told at once, not at the time limit", async () => {
    const { agent, target } = await site();
    const answer = siteOf(agent).ask(posture(target), ASK_TIMEOUT_MS);
    await asked(agent);
    agent.control?.close(1000);
    expect(await answer).toMatchObject({ ok: false, code: "agent_unready", message: expect.stringContaining("lost") });
  });

  test("the object is evicted after a question: the next one works, and no old answer counts for it", async () => {
    const { agent, target } = await site();
    const answer = siteOf(agent).ask(posture(target), 2_000);
    const { id } = await asked(agent);
    agent.say({ type: "answer", id, answer: { ok: true, value: 1 } });
    expect(await answer).toMatchObject({ ok: true });
    await evictDurableObject(siteOf(agent));
    const again = siteOf(agent).ask(posture(target), 5_000);
    agent.say({ type: "answer", id, answer: { ok: true, value: "of the old question" } });
    agent.say({ type: "answer", id: (await asked(agent)).id, answer: { ok: true, value: 2 } });
    expect(await again).toMatchObject({ ok: true, json: "2" });
  });

  test("a question larger than a control message is refused, and the socket lives", async () => {
    const { agent, target } = await site();
    const workload = { provider: "oidc", issuer: "https://issuer.test", subject: "job" } as const;
    const plan: Question = { kind: "plan", target, identity: "ci", workload, text: "x".repeat(MAX_AGENT_CONTROL) };
    expect(await siteOf(agent).ask(plan, 5_000)).toMatchObject({ ok: false, code: "too_large" });
    expect(await siteOf(agent).agents()).toHaveLength(1);
  });

  test("so many are open at once, and no more", async () => {
    const { agent, target } = await site();
    const open = Array.from({ length: MAX_OPEN_QUESTIONS }, () => siteOf(agent).ask(posture(target), 5_000));
    const ids = [];
    for (let n = 0; n < MAX_OPEN_QUESTIONS; n += 1) ids.push((await asked(agent)).id);
    expect(await siteOf(agent).ask(posture(target), 5_000)).toMatchObject({
      ok: false,
      code: "agent_unready",
      message: expect.stringContaining("open"),
    });
    for (const id of ids) agent.say({ type: "answer", id, answer: { ok: true, value: id } });
    expect((await Promise.all(open)).filter(({ ok }) => ok)).toHaveLength(MAX_OPEN_QUESTIONS);
  });
});
