/**
 * Decisions already made under one policy, least recently used forgotten first. A decision depends on nothing but
 * the request's fields and the target's facts, and on the second of `now` where some policy reads it; all are in the key.
 */
import { printResource } from "../resource.ts";
import type { Decision, DecisionRequest, TargetFacts } from "../types.ts";

export const MAX_CACHED_DECISIONS = 2048;
/** Longer keys are not kept, so the cache holds a few megabytes at most. */
export const MAX_CACHE_KEY = 4096;

export interface DecisionCache {
  through(request: DecisionRequest, target: TargetFacts | undefined, decide: () => Decision): Decision;
}

export function createDecisionCache(usesNow: boolean): DecisionCache {
  const known = new Map<string, Decision>();
  return {
    through(request, target, decide) {
      const { approvals, workload, now } = request.context;
      const key = JSON.stringify([
        request.identity,
        request.action,
        request.resource.type,
        printResource(request.resource),
        approvals,
        workload,
        target ?? null,
        usesNow ? Math.floor(now / 1000) : 0,
      ]);
      if (key.length > MAX_CACHE_KEY) return decide();
      const cached = known.get(key);
      if (cached !== undefined) {
        known.delete(key);
        known.set(key, cached);
        return cached;
      }
      const decision = decide();
      known.set(key, decision);
      if (known.size > MAX_CACHED_DECISIONS) {
        const [oldest] = known.keys();
        if (oldest !== undefined) known.delete(oldest);
      }
      return decision;
    },
  };
}
