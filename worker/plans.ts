/**
 * Plans, as the edge keeps them: made from an agent's answer, with one approval for the statements that need one, and
 * given to one session. A plan belongs to the identity and pipeline that made it.
 *
 * Nothing is run here, and no decision is made: the agent decided when it answered, and decides again when it runs.
 */
import { pipelineKey } from "../durable-objects/approval/machine.ts";
import type { Env } from "../durable-objects/env.ts";
import type { Dispatch } from "../protocol/agent-control.ts";
import { approvalDigestText, type Approval, type ApprovalNeed, type ApprovalRequest, type ApprovalSubject } from "../protocol/approval.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { mintApprovalId, mintPlanId, type PlanId } from "../protocol/ids.ts";
import { PLAN_TTL_MS } from "../protocol/limits.ts";
import type { Plan, PlanAnswer, PlannedStatement, PlanState } from "../protocol/plan.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { insertPlan, readPlan, usePlan, type StoredPlan } from "../store/plans.ts";
import type { Target } from "../store/targets.ts";
import type { Caller } from "./identity/caller.ts";

const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);
const MAX_EFFECTS = 5_000;
const MAX_POLICIES = 64;

export interface NotPlanned {
  readonly code: ErrorCode;
  readonly message: string;
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export interface Making {
  readonly caller: Caller;
  readonly target: Target;
  readonly text: string;
  readonly answer: PlanAnswer;
  /** Public origin, for links. */
  readonly gateway: string;
  readonly now: number;
}

/** Keeps the plan, and asks people where that is needed. A plan with a denied statement asks nobody. */
export async function makePlan(env: Env, { caller, target, text, answer, gateway, now }: Making): Promise<Result<Plan, NotPlanned>> {
  const id = mintPlanId(random);
  const { statements } = answer;
  const held = statements.filter(({ decision }) => decision === "hold");
  const verdict = statements.some(({ decision }) => decision === "deny") ? "denied" : held.length > 0 ? "held" : "allowed";
  const request = verdict === "held" ? await requestOf(id, target, text, held, answer) : null;
  let expires_at = now + PLAN_TTL_MS;
  if (request !== null) {
    const { identity, workload } = caller;
    const asker = { identity: identity.name, workload, site: target.site, agent: "", gateway, tell: "nobody" } as const;
    const opened = await env.APPROVALS.getByName(request.approval).open(request, asker);
    if (!opened.ok) return err({ code: opened.code, message: opened.message });
    expires_at = opened.expires_at;
  }
  const stored = {
    id,
    identity: caller.identity.name,
    target: target.announcement.name,
    workload: caller.workload,
    pipeline_key: pipelineKey(caller.workload),
    text,
    text_sha256: await sha256(text),
    statements,
    verdict,
    approval: request?.approval ?? null,
    digest: request?.digest ?? null,
    bundle: answer.bundle,
    created_at: now,
    expires_at,
  } as const;
  if (await insertPlan(env.DB, stored)) return ok(await describePlan(env, { ...stored, used_by: null }, now));
  if (request !== null) await env.APPROVALS.getByName(request.approval).withdraw("the plan was not kept");
  return err({ code: "too_many", message: "This identity has too many plans that it could still run: run them, or wait." });
}

async function requestOf(
  plan: PlanId,
  target: Target,
  text: string,
  held: readonly PlannedStatement[],
  { environment, bundle }: PlanAnswer,
): Promise<ApprovalRequest> {
  const subject: ApprovalSubject = {
    kind: "plan",
    target: target.announcement.name,
    protocol: target.announcement.protocol,
    statements: held.map(({ start, end }) => ({ text: text.slice(start, end) })),
    environment,
    objects: [],
  };
  const effects = new Map(held.flatMap((statement) => statement.effects.map((effect) => [`${effect.action} ${effect.resource}`, effect])));
  const ttls = held.flatMap(({ ttl }) => (ttl === undefined ? [] : [ttl]));
  return {
    approval: mintApprovalId(random),
    session: plan,
    mode: "later",
    subject,
    digest: await sha256(approvalDigestText(subject)),
    effects: [...effects.values()].slice(0, MAX_EFFECTS),
    needs: needsOf(held),
    policies: [...new Set(held.flatMap(({ policies }) => policies))].slice(0, MAX_POLICIES),
    reason: held[0]?.reason ?? "",
    bundle,
    ttl: ttls.length === 0 ? PLAN_TTL_MS : Math.min(...ttls),
    in_transaction: false,
  };
}

/** Every group that any statement needs, with the most that any of them asks of it. */
function needsOf(held: readonly PlannedStatement[]): ApprovalNeed[] {
  const needs = new Map<string, number>();
  for (const { group, min } of held.flatMap((statement) => statement.needs)) needs.set(group, Math.max(min, needs.get(group) ?? 0));
  return [...needs].map(([group, min]) => ({ group, min }));
}

/** As its people see it now. */
export async function describePlan(env: Env, stored: StoredPlan, now: number): Promise<Plan> {
  const approval = stored.approval === null ? null : await env.APPROVALS.getByName(stored.approval).read();
  const { id, identity, target, workload, text_sha256, statements, bundle, created_at, expires_at } = stored;
  return {
    id,
    identity,
    target,
    workload,
    state: stateOf(stored, approval, now),
    text_sha256,
    statements: [...statements],
    bundle,
    created_at,
    expires_at,
    ...(stored.approval === null ? {} : { approval: stored.approval }),
    ...(approval?.outcome === undefined ? {} : { outcome: approval.outcome }),
    ...(stored.used_by === null ? {} : { used_by: stored.used_by }),
  };
}

function stateOf({ verdict, used_by, expires_at }: StoredPlan, approval: Approval | null, now: number): PlanState {
  if (verdict === "denied") return "denied";
  if (used_by !== null) return "used";
  const state = verdict === "allowed" ? "allowed" : (approval?.state ?? "expired");
  return (state === "allowed" || state === "approved" || state === "pending") && now >= expires_at ? "expired" : state;
}

/**
 * Gives a plan to a session, once. Somebody else's plan, another pipeline's and another target's do not exist. Consent is
 * checked here once more, by the people of the active bundle, and used up.
 */
export async function takePlan(
  env: Env,
  id: PlanId,
  { caller, target, session, now }: { readonly caller: Caller; readonly target: string; readonly session: string; readonly now: number },
): Promise<Result<NonNullable<Dispatch["plan"]>, NotPlanned & { readonly reason: string }>> {
  const refuse = (code: ErrorCode, message: string, reason: string) => err({ code, message, reason: `plan ${id}: ${reason}` });
  const stored = await readPlan(env.DB, id);
  const pipeline = pipelineKey(caller.workload);
  if (stored === null || stored.identity !== caller.identity.name || stored.pipeline_key !== pipeline || stored.target !== target) {
    const why = stored === null ? "there is none" : `it is of ${stored.identity} for ${stored.target}, perhaps of another pipeline`;
    return refuse("not_found", `This identity and pipeline has no plan ${id} for ${target}.`, why);
  }
  const { state } = await describePlan(env, stored, now);
  if (state === "pending") return refuse("approval_required", `Plan ${id} waits for approval ${stored.approval}.`, "not approved yet");
  if (state !== "allowed" && state !== "approved") return refuse("plan_unusable", `Plan ${id} cannot be run: it is ${state}.`, state);
  const needs = needsOf(stored.statements.filter(({ decision }) => decision === "hold"));
  if (stored.approval !== null) {
    const claim = { by: id, identity: stored.identity, pipeline, target, digest: stored.digest ?? "", needs };
    const used = await env.APPROVALS.getByName(stored.approval).use(claim);
    if (!used.ok) return refuse("plan_unusable", `The consent to plan ${id} does not hold any more.`, "its approval cannot be used");
  }
  if (!(await usePlan(env.DB, id, session, now))) return refuse("plan_unusable", `Plan ${id} cannot be run: it is used.`, "used meanwhile");
  return ok({
    id,
    statements: stored.statements.map(({ digest, decision }) => ({ digest, approved: decision === "hold" })),
    ...(stored.approval === null ? {} : { approval: stored.approval }),
    approvals: needs.map(({ group }) => group),
  });
}
