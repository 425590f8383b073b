/**
 * `GET /v1/targets/:target/posture`: the agent looks at its own logins, at the target, now. `target:inspect` shows all of
 * it; who may only connect hears the masking level, which is what its own results depend on. Nothing is kept.
 */
import { Hono } from "hono";
import { parseTargetName } from "../../protocol/ids.ts";
import { Posture, type PostureAnswer } from "../../protocol/posture.ts";
import { findTarget, targetFacts, unannouncedFacts } from "../../store/targets.ts";
import { askAgent } from "../ask.ts";
import type { GatewayEnv } from "../env.ts";
import { admit } from "../guard.ts";
import { refuse } from "../refusal.ts";

export const posture: Hono<GatewayEnv> = new Hono<GatewayEnv>();

posture.get("/v1/targets/:target/posture", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const { caller, bundle } = admitted.value;
  const name = parseTargetName(c.req.param("target"));
  const about = { identity: caller.identity.name, issuer: caller.workload.issuer, subject: caller.workload.subject };
  if (!name.ok) return refuse(c, "bad_request", { ...about, reason: name.error }, { detail: name.error });
  const target = await findTarget(c.env.DB, name.value);
  const decide = (action: "target:inspect" | "connect") =>
    bundle.policy.decide(
      {
        identity: caller.identity.name,
        action,
        resource: { type: "target", target: name.value },
        context: { approvals: [], workload: caller.workload, now: Date.now() },
      },
      target === null ? unannouncedFacts(name.value) : targetFacts(target),
    );
  const inspect = decide("target:inspect");
  const may = inspect.outcome === "allow" ? inspect : decide("connect");
  const audit = { ...about, target: name.value };
  if (may.outcome !== "allow") {
    const code = may.outcome === "hold" ? "approval_required" : "denied";
    return refuse(c, code, { ...audit, reason: `posture: ${may.reason}`, policies: may.policies });
  }
  // Whoever may not use a target learns nothing about whether there is one.
  if (target === null) return refuse(c, "target_unknown", { ...audit, reason: "no agent has announced this target" });
  const asked = await askAgent(c, target, { kind: "posture", target: name.value }, Posture);
  if (!asked.ok) return refuse(c, asked.error.code, { ...audit, reason: asked.error.reason }, { detail: asked.error.message });
  const { agent, answer } = asked.value;
  const shown: PostureAnswer =
    inspect.outcome === "allow"
      ? { detail: "full", target: name.value, agent, posture: answer }
      : { detail: "level", target: name.value, level: answer.level };
  return c.json(shown);
});
