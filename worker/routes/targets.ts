/**
 * `/v1/targets` and `/v1/can`: what there is and what the asking identity may do with it, by the very policy that
 * will decide. A target that the identity may not connect to is not shown to it, unless it may read agents anyway.
 */
import { Hono } from "hono";
import * as z from "zod";
import { actionEntry } from "../../policy/actions.ts";
import { parseResource, printResource } from "../../policy/resource.ts";
import type { Decision, Resource } from "../../policy/types.ts";
import { CanQuestion, type CanAnswer, type TargetRow } from "../../protocol/api.ts";
import { ok, type Result } from "../../protocol/result.ts";
import { formatCursor } from "../../store/page.ts";
import { findTarget, listTargets, targetFacts, unannouncedFacts, type Target } from "../../store/targets.ts";
import { badRequest, readJson, readQuery } from "../body.ts";
import type { GatewayEnv } from "../env.ts";
import { admit, mayOnGateway, type Admitted } from "../guard.ts";
import { onlineAgents } from "../online.ts";
import { refuse } from "../refusal.ts";

export const targets: Hono<GatewayEnv> = new Hono<GatewayEnv>();

function decide({ caller, bundle }: Admitted, action: string, resource: Resource, target: Target | null): Decision {
  const unannounced = resource.type === "gateway" ? undefined : unannouncedFacts(resource.target);
  return bundle.policy.decide(
    { identity: caller.identity.name, action, resource, context: { approvals: [], workload: caller.workload, now: Date.now() } },
    target === null ? unannounced : targetFacts(target),
  );
}

targets.get("/v1/targets", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, z.object({}));
  if (!query.ok) return query.error;
  const all = mayOnGateway(admitted.value, "agent:read");
  const shown = (await listTargets(c.env.DB))
    .map((target) => ({
      target,
      connect: decide(admitted.value, "connect", { type: "target", target: target.announcement.name }, target).outcome,
    }))
    .filter(({ connect }) => all || connect !== "deny");
  const { limit, cursor } = query.value.page;
  const after = shown.filter(({ target }) => cursor === null || target.announcement.name > cursor.key);
  const online = await onlineAgents(
    c.env,
    after.slice(0, limit).map(({ target }) => target.site),
  );
  const rows = after.slice(0, limit).map(({ target, connect }): TargetRow => {
    const { announcement, site, announcers } = target;
    return { ...announcement, site, online: announcers.some((agent) => online.has(agent)), connect };
  });
  const last = rows.at(-1);
  return c.json({ rows, cursor: last !== undefined && after.length > limit ? formatCursor({ at: 0, key: last.name }) : null });
});

/** `resource` as people write it: nothing for the target itself, else what follows `TARGET/` in a printed resource. */
function resourceOf(question: z.infer<typeof CanQuestion>): Result<Resource, string> {
  if (question.target === "gateway" && question.resource === undefined) return ok({ type: "gateway" });
  return parseResource(question.resource === undefined ? question.target : `${question.target}/${question.resource}`);
}

targets.post("/v1/can", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const body = await readJson(c, CanQuestion);
  if (!body.ok) return body.error;
  const resource = resourceOf(body.value);
  if (!resource.ok) return badRequest(c, resource.error);
  const action = body.value.action ?? "connect";
  const entry = actionEntry(action);
  if (entry === undefined) return badRequest(c, "There is no such action: docs/policy.md lists them.");
  if (!entry.on.includes(resource.value.type)) {
    return badRequest(c, `${action} is asked of ${entry.on.join(", ")}, not of ${resource.value.type}.`);
  }
  const target = resource.value.type === "gateway" ? null : await findTarget(c.env.DB, resource.value.target);
  const { outcome, policies, approvals, reason } = decide(admitted.value, action, resource.value, target);
  // Whoever may not use a target learns nothing about whether there is one.
  if (target === null && resource.value.type !== "gateway" && outcome !== "deny") {
    return refuse(c, "target_unknown", {
      reason: "asked what it may do with a target that nobody announces",
      identity: admitted.value.caller.identity.name,
      target: resource.value.target,
    });
  }
  return c.json({
    outcome,
    action,
    resource: printResource(resource.value),
    policies: [...policies],
    approvals: [...approvals],
    reason,
  } satisfies CanAnswer);
});
