/**
 * Pre-parsed policy sets inside the Cedar module. The module keeps every set it was given until the name is given
 * again, so the names are a fixed number of slots, reused least recently used first: memory stays bounded however
 * many bundles and identities come and go. A set whose slot was taken is parsed again when it is next needed.
 *
 * A set holds only the policies whose principal scope can match one identity; Cedar would not be satisfied by the
 * others (a scope mismatch is neither satisfied nor an error), so leaving them out changes no decision.
 */
import { unreachable } from "../../protocol/result.ts";
import type { CedarModule, PolicyJson } from "../cedar/module.ts";
import type { PolicySource } from "../cedar/source.ts";
import type { IdentityDeclaration } from "../types.ts";
import type { CedarRequest } from "./entities.ts";

/** Enough for the identities that are busy at one time in one isolate or agent. */
export const MAX_POLICY_SETS = 64;

export interface Evaluation {
  readonly allowed: boolean;
  /** The determining policies: satisfied forbids, else satisfied permits. */
  readonly determining: readonly string[];
  /** Something could not be evaluated: the caller denies. */
  readonly failed: string | undefined;
}

/** One parsed or parseable set. Equal sets are not recognised: whoever makes one keeps it. */
export interface PolicySet {
  evaluate(request: CedarRequest): Evaluation;
}

export type MakePolicySet = (policies: readonly PolicySource[]) => PolicySet;

/** All sets of one module go through one maker: the slots are its. */
export function createPolicySets(cedar: CedarModule): MakePolicySet {
  /** Owner of each slot, least recently used first. */
  const slots = new Map<string, object>();
  for (let index = 0; index < MAX_POLICY_SETS; index++) slots.set(`sallyport-${index}`, {});

  return (policies) => {
    const owner = {};
    let slot = "";
    const take = (): string | undefined => {
      if (slot !== "" && slots.get(slot) === owner) {
        slots.delete(slot);
        slots.set(slot, owner);
        return undefined;
      }
      const [oldest = ""] = slots.keys();
      slots.delete(oldest);
      slots.set(oldest, owner);
      slot = oldest;
      const parsed = cedar.preparsePolicySet(oldest, {
        staticPolicies: Object.fromEntries(policies.map((policy) => [policy.id, policy.text])),
      });
      if (parsed.type === "success") return undefined;
      // The slot still holds another set: disown it, so that nothing is ever decided with that.
      slots.set(oldest, {});
      return "the policies could not be parsed";
    };
    return {
      evaluate(request) {
        const fault = take();
        if (fault !== undefined) return { allowed: false, determining: [], failed: fault };
        const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: slot });
        if (answer.type === "failure")
          return { allowed: false, determining: [], failed: "the policy engine could not evaluate the request" };
        const { decision, diagnostics } = answer.response;
        const [error] = diagnostics.errors;
        const failed = error === undefined ? undefined : `policy ${error.policyId} could not be evaluated`;
        return { allowed: decision === "allow" && failed === undefined, determining: [...diagnostics.reason].sort(), failed };
      },
    };
  };
}

function entityOf(reference: { readonly entity: { type: string; id: string } | { __entity: { type: string; id: string } } }): {
  type: string;
  id: string;
} {
  return "__entity" in reference.entity ? reference.entity.__entity : reference.entity;
}

/** Whether a policy's principal scope admits the identity. What it does not know, it admits: Cedar decides. */
export function principalMayMatch(json: PolicyJson, identity: Pick<IdentityDeclaration, "name" | "groups">): boolean {
  const inGroup = (reference: { type: string; id: string }): boolean =>
    (reference.type === "Identity" && reference.id === identity.name) ||
    (reference.type === "Group" && identity.groups.includes(reference.id));
  const scope = json.principal;
  switch (scope.op) {
    case "All":
      return true;
    case "==": {
      if (!("entity" in scope)) return true;
      const entity = entityOf(scope);
      return entity.type === "Identity" && entity.id === identity.name;
    }
    case "in":
      return !("entity" in scope) || inGroup(entityOf(scope));
    case "is":
      return scope.entity_type === "Identity" && (scope.in === undefined || !("entity" in scope.in) || inGroup(entityOf(scope.in)));
    default:
      return unreachable(scope);
  }
}
