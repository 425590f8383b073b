/** What the cron trigger runs: forgets what is older than the active bundle's `retention`. Without a bundle, nothing. */
import type { Env } from "../durable-objects/env.ts";
import { deleteApproval, expiredApprovals } from "../store/approvals.ts";
import { forgetPlans } from "../store/plans.ts";
import { expire } from "../store/retention.ts";
import { activeBundle } from "./bundles.ts";
import { logError } from "./refusal.ts";

/** In one run. */
const APPROVALS = 50;
const DAY_MS = 24 * 3600 * 1000;

export async function forget(env: Env, now: number): Promise<void> {
  const bundle = await activeBundle(env);
  if (bundle === null) return;
  const before = now - bundle.policy.gateway.retention_days * DAY_MS;
  const { kept } = await expire(env.DB, env.RECORDINGS, before);
  for (const { session, error } of kept) logError("an expired recording could not be deleted; its session is kept", error, { session });
  await forgetPlans(env.DB, before);
  for (const approval of await expiredApprovals(env.DB, before, APPROVALS)) {
    try {
      // The row last: while it is there, the object can be found.
      await env.APPROVALS.getByName(approval).forget();
      await deleteApproval(env.DB, approval);
    } catch (error) {
      logError("an expired approval could not be forgotten", error, { approval });
    }
  }
}
