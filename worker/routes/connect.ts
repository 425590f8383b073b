/**
 * A runner's sockets. `connect`: authenticate, decide, admit, store, then hand the upgrade to the session's object.
 * `resume`: the object checks the secret that connect's 101 gave; no token is needed, so a session outlives its token.
 *
 * Whoever may not connect to a target learns nothing about whether it exists. The decision and every fact the object
 * gets come from here; of the client's request nothing is passed on.
 */
import { Hono } from "hono";
import { connectUpgrade, resumeUpgrade } from "../../durable-objects/session/upgrade.ts";
import type { SessionFacts } from "../../durable-objects/session/facts.ts";
import { HOLD_HEADER } from "../../protocol/connect.ts";
import { ERRORS } from "../../protocol/errors.ts";
import { mintSessionId, parsePlanId, parseSessionId, parseTargetName, type PlanId } from "../../protocol/ids.ts";
import { PLAN_HEADER } from "../../protocol/connect.ts";
import { SESSION_MAX_S } from "../../protocol/limits.ts";
import { returnPlan } from "../../store/plans.ts";
import { insertSession, markSessionEnded } from "../../store/sessions.ts";
import { findTarget, targetFacts, type Target } from "../../store/targets.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admit, type Admitted } from "../guard.ts";
import { refuse, type Audit } from "../refusal.ts";
import { takePlan } from "../plans.ts";
import { passUpgrade, wantsWebSocket } from "../upgrade.ts";

export const connect: Hono<GatewayEnv> = new Hono<GatewayEnv>();

connect.get("/v1/targets/:target/connect", async (c) => {
  // Before the token is looked at: it counts once.
  if (!wantsWebSocket(c)) return refuse(c, "upgrade_required", { reason: "no WebSocket upgrade" });
  const name = parseTargetName(c.req.param("target"));
  if (!name.ok) return refuse(c, "bad_request", { reason: name.error }, { detail: name.error });
  const hold = holdOf(c.req.header(HOLD_HEADER));
  if (hold === undefined) {
    const detail = `The header ${HOLD_HEADER} must be wait or fail.`;
    return refuse(c, "bad_request", { reason: detail }, { detail });
  }
  const header = c.req.header(PLAN_HEADER);
  const plan = header === undefined ? undefined : parsePlanId(header);
  if (plan?.ok === false) return refuse(c, "bad_request", { reason: plan.error }, { detail: plan.error });
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;

  const { caller, bundle } = admitted.value;
  const target = await findTarget(c.env.DB, name.value);
  const now = Date.now();
  const decision = bundle.policy.decide(
    {
      identity: caller.identity.name,
      action: "connect",
      resource: { type: "target", target: name.value },
      context: { approvals: [], workload: caller.workload, now },
    },
    // Of a target nobody announced there are no facts; a grant by its name still earns the plainer answer below.
    target === null ? { name: name.value, protocol: "", labels: [] } : targetFacts(target),
  );
  const about: Omit<Audit, "reason"> = {
    identity: caller.identity.name,
    target: name.value,
    issuer: caller.workload.issuer,
    subject: caller.workload.subject,
  };
  if (decision.outcome !== "allow") {
    const code = decision.outcome === "hold" ? "approval_required" : "denied";
    return refuse(c, code, { ...about, reason: `connect: ${decision.reason}`, policies: decision.policies });
  }
  if (target === null) return refuse(c, "target_unknown", { ...about, reason: "no agent has announced this target" });
  // Neither the job nor its identity's declaration can take back the other's `fail`.
  const mode = caller.identity.hold === "fail" ? "fail" : hold;
  return openSession(c, admitted.value, { target, policies: decision.policies, hold: mode, plan: plan?.value }, now, about);
});

/** What the job wants of held commands; undefined for what is neither. */
const holdOf = (header: string | undefined): "wait" | "fail" | undefined =>
  header === undefined || header === "wait" ? "wait" : header === "fail" ? "fail" : undefined;

interface Opening {
  readonly target: Target;
  readonly policies: readonly string[];
  readonly hold: "wait" | "fail";
  /** The plan that the session is to run by. */
  readonly plan: PlanId | undefined;
}

async function openSession(
  c: GatewayContext,
  { caller, bundle }: Admitted,
  { target, policies, hold, plan }: Opening,
  now: number,
  about: Omit<Audit, "reason">,
): Promise<Response> {
  const { gateway } = bundle.policy;
  const identity = caller.identity.name;
  const opening: SessionFacts = {
    id: mintSessionId((bytes) => crypto.getRandomValues(bytes)),
    target: target.announcement.name,
    protocol: target.announcement.protocol,
    site: target.site,
    identity,
    workload: caller.workload,
    policies,
    approvals: [],
    hold,
    bundle: bundle.version,
    startedAt: now,
    deadline: now + Math.min(SESSION_MAX_S, gateway.session_max_s) * 1000,
  };
  const admission = await c.env.IDENTITIES.getByName(identity).admit(opening.id, gateway.sessions_per_identity, opening.deadline);
  if (admission === "revoked") return refuse(c, "identity_revoked", { ...about, reason: "revoked between authentication and admission" });
  if (admission === "too_many") {
    return refuse(c, "too_many", { ...about, reason: `the identity has ${gateway.sessions_per_identity} live sessions, its limit` });
  }
  const taken = plan === undefined ? null : await takePlan(c.env, plan, { caller, target: opening.target, session: opening.id, now });
  if (taken?.ok === false) {
    await c.env.IDENTITIES.getByName(identity).release(opening.id);
    return refuse(c, taken.error.code, { ...about, reason: taken.error.reason }, { detail: taken.error.message });
  }
  const facts: SessionFacts = taken === null ? opening : { ...opening, plan: taken.value };
  // A plan whose session did not come to be was not used.
  const giveBack = (): Promise<void> => (plan === undefined ? Promise.resolve() : returnPlan(c.env.DB, plan, facts.id));
  const session = (): ReturnType<typeof c.env.SESSIONS.getByName> => c.env.SESSIONS.getByName(facts.id);
  try {
    await insertSession(c.env.DB, {
      id: facts.id,
      identity,
      target: facts.target,
      protocol: facts.protocol,
      site: facts.site,
      started_at: facts.startedAt,
      deadline: facts.deadline,
      bundle: facts.bundle,
      workload: facts.workload,
    });
    await session().open(facts);
  } catch (thrown) {
    // The object does not have the session, or will find nobody joining it; either way it is over for the others.
    await Promise.allSettled([
      c.env.IDENTITIES.getByName(identity).release(facts.id),
      markSessionEnded(c.env.DB, facts.id, "internal", ERRORS.internal.sentence, Date.now()),
      giveBack(),
    ]);
    throw thrown;
  }
  // From here on the object answers for the session's end, including a refusal of this very upgrade.
  const upgraded = await passUpgrade(c, () => session().fetch(connectUpgrade()), { ...about, policies }, "internal");
  if (upgraded.status !== 101) await giveBack();
  return upgraded;
}

/** `Authorization: Resume <secret>`; secrets are 43 characters of base64url. */
const RESUME = /^Resume +([A-Za-z0-9_-]{32,128})$/i;

connect.get("/v1/sessions/:id/resume", async (c) => {
  if (!wantsWebSocket(c)) return refuse(c, "upgrade_required", { reason: "no WebSocket upgrade" });
  const id = parseSessionId(c.req.param("id"));
  const secret = RESUME.exec(c.req.header("authorization") ?? "")?.[1];
  // A session that one cannot name or open does not exist (GW-24).
  if (!id.ok) return refuse(c, "not_found", { reason: id.error });
  if (secret === undefined) return refuse(c, "not_found", { reason: `session ${id.value}: no resume secret was presented` });
  return passUpgrade(c, () => c.env.SESSIONS.getByName(id.value).fetch(resumeUpgrade(secret)), {}, "agent_unready");
});
