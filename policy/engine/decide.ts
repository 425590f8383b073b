/**
 * `decide` and `decideAll` over a compiled bundle.
 *
 * Guarantees: never throws; deny by default; a satisfied forbid denies whatever permits, and is never held; an error
 * while evaluating denies; `hold` only where consent of the groups that a permit's own `@approval` names makes the
 * real decision allow.
 */
import type { PolicySource } from "../cedar/source.ts";
import { printResource } from "../resource.ts";
import type { Decision, DecisionRequest, HoldTerms, IdentityDeclaration, TargetFacts } from "../types.ts";
import { refuse, show } from "./admissible.ts";
import { createDecisionCache } from "./cache.ts";
import { cedarRequest } from "./entities.ts";
import { principalMayMatch, type Evaluation, type MakePolicySet, type PolicySet } from "./sets.ts";

export interface EngineOptions {
  readonly identities: ReadonlyMap<string, IdentityDeclaration>;
  readonly policies: ReadonlyMap<string, PolicySource>;
  readonly makeSet: MakePolicySet;
}

export interface Engine {
  readonly decide: (request: DecisionRequest, target?: TargetFacts) => Decision;
  readonly decideAll: (requests: readonly DecisionRequest[], target?: TargetFacts) => Decision;
}

const deny = (reason: string, policies: readonly string[] = []): Decision => ({ outcome: "deny", policies, approvals: [], reason });

const byStrictness = (a: HoldTerms, b: HoldTerms): number => Number(a.inTransaction) - Number(b.inTransaction) || a.ttl - b.ttl;

/** What all of the holding policies allow. */
const strictest = (terms: readonly HoldTerms[]): HoldTerms => ({
  inTransaction: terms.every((each) => each.inTransaction),
  ttl: Math.min(...terms.map((each) => each.ttl)),
});

export function createEngine({ identities, policies, makeSet }: EngineOptions): Engine {
  const sets = new Map<string, PolicySet>();
  const setFor = (identity: IdentityDeclaration): PolicySet => {
    const known = sets.get(identity.name);
    if (known !== undefined) return known;
    const made = makeSet([...policies.values()].filter((policy) => principalMayMatch(policy.json, identity)));
    sets.set(identity.name, made);
    return made;
  };
  const everyGroup = [...new Set([...policies.values()].flatMap((policy) => policy.approvals))].sort();
  const usesNow = [...policies.values()].some((policy) => /\bnow\b/.test(policy.text));
  const cache = createDecisionCache(usesNow);

  const reasonOf = (ids: readonly string[]): string | undefined =>
    ids.map((id) => policies.get(id)?.reason).find((reason) => reason !== undefined);

  function fromDeny(evaluation: Evaluation, request: DecisionRequest): Decision {
    if (evaluation.failed !== undefined) return deny(evaluation.failed, evaluation.determining);
    const ids = evaluation.determining;
    return deny(reasonOf(ids) ?? `forbidden to ${request.identity}: ${request.action} on ${show(printResource(request.resource))}`, ids);
  }

  function evaluate(request: DecisionRequest, identity: IdentityDeclaration, target: TargetFacts | undefined): Decision {
    const set = setFor(identity);
    const given = [...new Set(request.context.approvals)].sort();
    const withApprovals = (groups: readonly string[]): Evaluation => set.evaluate(cedarRequest(request, identity, target, groups));
    const real = withApprovals(given);
    if (real.allowed) {
      return { outcome: "allow", policies: real.determining, approvals: [], reason: reasonOf(real.determining) ?? "permitted" };
    }
    if (real.failed !== undefined || real.determining.length > 0) return fromDeny(real, request);
    const nothing = deny(`no policy permits ${request.identity} ${request.action} on ${show(printResource(request.resource))}`);
    if (everyGroup.length === 0) return nothing;
    const consenting = withApprovals([...new Set([...given, ...everyGroup])]);
    if (!consenting.allowed) return nothing;
    // The permits that would allow it, least consent first, of equals the strictest; the first that the real decision
    // confirms is asked for.
    const candidates = consenting.determining
      .flatMap((id) => policies.get(id) ?? [])
      .filter((policy) => policy.approvals.length > 0)
      .sort(
        (a, b) =>
          a.approvals.length - b.approvals.length ||
          a.approvalMin - b.approvalMin ||
          byStrictness(a.hold, b.hold) ||
          (a.id < b.id ? -1 : 1),
      );
    for (const candidate of candidates) {
      if (!withApprovals([...new Set([...given, ...candidate.approvals])]).allowed) continue;
      const missing = candidate.approvals.filter((group) => !given.includes(group));
      if (missing.length === 0) continue;
      return {
        outcome: "hold",
        policies: [candidate.id],
        approvals: missing.map((group) => ({ group, min: candidate.approvalMin })),
        hold: candidate.hold,
        reason: candidate.reason ?? `needs the consent of ${missing.join(" and ")}`,
      };
    }
    return nothing;
  }

  function decide(request: DecisionRequest, target?: TargetFacts): Decision {
    try {
      const identity = identities.get(request.identity);
      if (identity === undefined) return deny(`unknown identity ${JSON.stringify(show(request.identity))}`);
      const refused = refuse(request, target);
      if (refused !== undefined) return deny(refused);
      return cache.through(request, target, () => evaluate(request, identity, target));
    } catch {
      // A bug or a value that Cedar's binding cannot take: what cannot be decided is denied.
      return deny("the request could not be decided");
    }
  }

  return {
    decide,
    decideAll(requests, target) {
      if (requests.length === 0) return deny("nothing was asked for");
      const decisions = requests.map((request) => decide(request, target));
      const denied = decisions.find((decision) => decision.outcome === "deny");
      if (denied !== undefined) return denied;
      const policyIds = [...new Set(decisions.flatMap((decision) => decision.policies))];
      const held = decisions.filter((decision) => decision.outcome === "hold");
      const [first] = held.length === 0 ? decisions : held;
      const approvals = new Map<string, number>();
      for (const { group, min } of held.flatMap((decision) => decision.approvals))
        approvals.set(group, Math.max(min, approvals.get(group) ?? 0));
      const reason = first?.reason ?? "permitted";
      if (held.length === 0) return { outcome: "allow", policies: policyIds, approvals: [], reason };
      return {
        outcome: "hold",
        policies: policyIds,
        approvals: [...approvals].map(([group, min]) => ({ group, min })),
        hold: strictest(held.flatMap((decision) => decision.hold ?? [])),
        reason,
      };
    },
  };
}
