/**
 * `/v1/targets/:target/plans` and `/v1/plans`: SQL that is decided before any of it runs. Making a plan needs what running
 * it would: `connect`. One sees one's own plans; everybody's need `session:read`. What one may not see answers like what
 * does not exist (GW-24).
 */
import { Hono } from "hono";
import * as z from "zod";
import { ERRORS } from "../../protocol/errors.ts";
import { parsePlanId, parseTargetName } from "../../protocol/ids.ts";
import { MAX_PLAN_BYTES } from "../../protocol/limits.ts";
import { PlanAnswer, PlanRequest } from "../../protocol/plan.ts";
import { listPlans, readPlan } from "../../store/plans.ts";
import { findTarget, targetFacts, unannouncedFacts } from "../../store/targets.ts";
import { askAgent } from "../ask.ts";
import { Filter, readJson, readQuery } from "../body.ts";
import type { GatewayEnv } from "../env.ts";
import { admit, mayOnGateway } from "../guard.ts";
import { gatewayOrigin } from "../identity/origin.ts";
import { describePlan, makePlan } from "../plans.ts";
import { refuse } from "../refusal.ts";
import { ownOrAll } from "./sessions.ts";

export const plans: Hono<GatewayEnv> = new Hono<GatewayEnv>();

/** JSON writes a character of SQL as two at most, but for control characters, of which there are few. */
const MAX_BODY = 3 * MAX_PLAN_BYTES;

plans.post("/v1/targets/:target/plans", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const { caller, bundle } = admitted.value;
  const { identity, workload } = caller;
  const about = { identity: identity.name, issuer: workload.issuer, subject: workload.subject };
  const name = parseTargetName(c.req.param("target"));
  if (!name.ok) return refuse(c, "bad_request", { ...about, reason: name.error }, { detail: name.error });
  const body = await readJson(c, PlanRequest, { limit: MAX_BODY });
  if (!body.ok) return body.error;
  const { text } = body.value;
  const audit = { ...about, target: name.value };
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_PLAN_BYTES) {
    const detail = `The text is ${bytes} bytes, and a plan at most ${MAX_PLAN_BYTES}: cut it into several.`;
    return refuse(c, "too_large", { ...audit, reason: detail }, { detail });
  }
  const target = await findTarget(c.env.DB, name.value);
  const now = Date.now();
  const decision = bundle.policy.decide(
    {
      identity: identity.name,
      action: "connect",
      resource: { type: "target", target: name.value },
      context: { approvals: [], workload, now },
    },
    target === null ? unannouncedFacts(name.value) : targetFacts(target),
  );
  if (decision.outcome !== "allow") {
    const code = decision.outcome === "hold" ? "approval_required" : "denied";
    return refuse(c, code, { ...audit, reason: `plan: connect: ${decision.reason}`, policies: decision.policies });
  }
  if (target === null) return refuse(c, "target_unknown", { ...audit, reason: "no agent has announced this target" });
  const asked = await askAgent(c, target, { kind: "plan", target: name.value, identity: identity.name, workload, text }, PlanAnswer);
  if (!asked.ok) return refuse(c, asked.error.code, { ...audit, reason: asked.error.reason }, { detail: asked.error.message });
  const { agent, answer } = asked.value;
  const problem = answerProblem(answer, text, bundle.version);
  if (problem !== null) {
    return refuse(c, "agent_unready", { ...audit, reason: `agent ${agent}: ${problem}` }, { detail: problem });
  }
  const made = await makePlan(c.env, { caller, target, text, answer, gateway: gatewayOrigin(c.req.raw, c.env), now });
  if (!made.ok) return refuse(c, made.error.code, { ...audit, reason: `plan: ${made.error.message}` }, { detail: made.error.message });
  return c.json(made.value, 201);
});

/** What is asked of people is cut from the text that was sent, so its places must be in it, in order. */
function answerProblem({ statements, bundle }: PlanAnswer, text: string, active: number): string | null {
  if (bundle < active) return "The agent has not taken the active bundle yet: try again.";
  let at = 0;
  for (const { start, end } of statements) {
    if (start < at || end <= start || end > text.length) return "The agent's answer does not fit the text: upgrade it.";
    at = end;
  }
  return null;
}

plans.get("/v1/plans", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, z.object({ identity: Filter.optional(), target: Filter.optional() }));
  if (!query.ok) return query.error;
  const filters = ownOrAll(admitted.value, query.value.filters);
  return c.json(filters === null ? { rows: [], cursor: null } : await listPlans(c.env.DB, filters, query.value.page));
});

plans.get("/v1/plans/:id", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const identity = admitted.value.caller.identity.name;
  const id = parsePlanId(c.req.param("id"));
  const stored = id.ok ? await readPlan(c.env.DB, id.value) : null;
  if (stored !== null && (stored.identity === identity || mayOnGateway(admitted.value, "session:read"))) {
    return c.json(await describePlan(c.env, stored, Date.now()));
  }
  const reason = stored === null ? "no such plan" : `plan ${stored.id} is of ${stored.identity}`;
  return refuse(c, "not_found", { reason, identity }, { detail: ERRORS.not_found.sentence });
});
