/** What the cron trigger runs: forgets what is older than the active bundle's `retention`. Without a bundle, nothing. */
import type { Env } from "../durable-objects/env.ts";
import { expire } from "../store/retention.ts";
import { activeBundle } from "./bundles.ts";
import { logError } from "./refusal.ts";

const DAY_MS = 24 * 3600 * 1000;

export async function forget(env: Env, now: number): Promise<void> {
  const bundle = await activeBundle(env);
  if (bundle === null) return;
  const { kept } = await expire(env.DB, env.RECORDINGS, now - bundle.policy.gateway.retention_days * DAY_MS);
  for (const { session, error } of kept) logError("an expired recording could not be deleted; its session is kept", error, { session });
}
