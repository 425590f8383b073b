/**
 * What D1 has to say to an agent that said hello: which of its targets it may serve, and the active bundle. Failures
 * of D1 are thrown, and tried again by the caller. A refused target is alarmed and audited (GW-14).
 */
import type { BundleFiles, TargetAnnouncement } from "../../protocol/agent-control.ts";
import { mintSecret } from "../../protocol/ids.ts";
import { touchAgent } from "../../store/agents.ts";
import { activeVersion, readBundleFiles } from "../../store/bundles.ts";
import { insertRefusal } from "../../store/refusals.ts";
import { claimTargets } from "../../store/targets.ts";
import { logAlarm, logWarning, reasonOf } from "../log.ts";
import type { StoredAgent } from "./store.ts";

export interface Greeting {
  /** Names it may serve. */
  readonly targets: string[];
  /** null: none is active. */
  readonly bundle: { readonly version: number; readonly digest: string; readonly files: BundleFiles } | null;
}

export async function greet(
  db: D1Database,
  agent: StoredAgent & { readonly site: string },
  announced: readonly TargetAnnouncement[],
  now: number,
): Promise<Greeting> {
  const { accepted, refused } = await claimTargets(db, agent.site, agent.id, announced, now);
  for (const { name, reason } of refused) {
    logAlarm("target_refused", { agent: agent.id, agent_name: agent.name, site: agent.site, target: name, reason });
    await insertRefusal(db, {
      ref: `ref_${mintSecret((bytes) => crypto.getRandomValues(bytes)).slice(0, 16)}`,
      at: now,
      code: "denied",
      reason: `agent ${agent.name} (${agent.id}) of site ${agent.site} announced target ${name}: ${reason}`,
      target: name,
      method: "GET",
      path: "/v1/agent/control",
    });
  }
  const active = await activeVersion(db);
  if (active === null) return { targets: accepted.map(({ name }) => name), bundle: null };
  const files = await readBundleFiles(db, active.digest);
  if (files === null) throw new Error(`the files of active bundle ${active.version} are missing`);
  return { targets: accepted.map(({ name }) => name), bundle: { ...active, files } };
}

/** When the agent was last seen, and with what. For display: a failure is logged and forgotten. */
export async function touch(db: D1Database, { id, state }: StoredAgent, now: number): Promise<void> {
  if (state.kind !== "ready") return;
  try {
    await touchAgent(db, id, { version: state.version, bundle: state.bundle, at: now });
  } catch (thrown) {
    logWarning("agent_not_touched", { agent: id, reason: reasonOf(thrown) });
  }
}
