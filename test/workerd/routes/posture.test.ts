/** Who may ask for a target's posture, what each is shown, and what comes when the agent cannot tell. */
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { ProblemJson } from "../../../protocol/api.ts";
import type { Posture } from "../../../protocol/posture.ts";
import { listRefusals } from "../../../store/refusals.ts";
import { FILES, jobToken, ORIGIN, prepareWorld, publish, site, type Agent } from "../objects/world.ts";

const DBA =
  "name: dba\nkind: non-human\nowner: team@example.com\npurpose: tests\nmatch:\n  - issuer: https://issuer.test\n    claims: { job: dba }\n";

beforeAll(async () => {
  await prepareWorld();
  const inspects = '@id("dba-inspects")\npermit (principal == Identity::"dba", action == Action::"target:inspect", resource);\n';
  await publish({ ...FILES, "identities/dba.yaml": DBA, "policies/dba.cedar": inspects }, 1);
});

const POSTURE: Posture = {
  level: "B",
  why: "The agent has one login.",
  server_version: "15.1",
  database: "shop",
  classified: [{ column: "public.customers.email", class: "email" }],
  findings: [
    { check: "superuser", status: "fail", login: "shop_app", message: "it is superuser", sql: ["ALTER ROLE shop_app NOSUPERUSER;"] },
  ],
  bundle: 2,
};

async function ask(target: string, job: string): Promise<Response> {
  const headers = { authorization: `Bearer ${await jobToken(job)}` };
  return exports.default.fetch(new Request(`${ORIGIN}/v1/targets/${target}/posture`, { headers }));
}

async function answered(agent: Agent, target: string, job: string, answer: unknown): Promise<Response> {
  const response = ask(target, job);
  const question: { type: string; id?: string } | undefined = await agent.control?.message("ask");
  agent.say({ type: "answer", id: question?.id, answer });
  return response;
}

describe("who may ask", () => {
  test("target:inspect sees all of it", async () => {
    const { agent, target } = await site();
    const response = await answered(agent, target, "dba", { ok: true, value: POSTURE });
    expect(await response.json()).toEqual({ detail: "full", target, agent: agent.id, posture: POSTURE });
  });

  test("connect alone hears the level, and no role or column", async () => {
    const { agent, target } = await site();
    const response = await answered(agent, target, "ci", { ok: true, value: POSTURE });
    expect(await response.json()).toEqual({ detail: "level", target, level: "B" });
  });

  test("anybody else is denied, whether the target exists or not, and the agent is not asked", async () => {
    const { agent, target } = await site();
    for (const name of [target, "no-such-db"]) {
      const response = await ask(name, "stranger");
      expect(response.status).toBe(403);
      expect((await response.json<ProblemJson>()).code).toBe("denied");
    }
    expect(agent.control?.unread().join()).not.toContain('"ask"');
    const { rows } = await listRefusals(env.DB, { target, identity: "stranger" }, { limit: 5, cursor: null });
    expect(rows).toMatchObject([{ code: "denied", reason: expect.stringContaining("posture") }]);
  });
});

describe("no posture", () => {
  test("the agent's own words and code, for what it refuses", async () => {
    const { agent, target } = await site();
    const answer = { ok: false, code: "target_unreachable", message: "The agent could not reach the target." };
    const response = await answered(agent, target, "dba", answer);
    expect(response.status).toBe(502);
    expect(await response.json<ProblemJson>()).toMatchObject({ code: "target_unreachable", detail: answer.message });
  });

  test("an answer of another shape is not passed on", async () => {
    const { agent, target } = await site();
    const response = await answered(agent, target, "dba", { ok: true, value: { ...POSTURE, level: "Z" } });
    expect(response.status).toBe(503);
    expect(await response.json<ProblemJson>()).toMatchObject({ code: "agent_unready", detail: expect.stringContaining("upgrade") });
  });

  test("nobody serves the target any more: site_offline", async () => {
    const { agent, target } = await site();
    agent.control?.close(1000);
    await agent.control?.closed;
    const response = await ask(target, "dba");
    expect((await response.json<ProblemJson>()).code).toBe("site_offline");
  });
});
