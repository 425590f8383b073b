/**
 * Why a request is decided as it is, in words: the policies that permit or forbid it, those that wait for consent, and
 * the permits that missed by one part only. For people; slower than `decide`, whose answer it repeats.
 *
 * Each policy is taken apart and its parts are put to Cedar one by one, so no rule of Cedar is written twice.
 */
import { unreachable } from "../../protocol/result.ts";
import type { CedarModule, EntityUidJson, Expr, PolicyJson } from "../cedar/module.ts";
import type { PolicySource } from "../cedar/source.ts";
import { printResource } from "../resource.ts";
import type { Decision, DecisionRequest, ExplainedPolicy, Explanation, IdentityDeclaration, TargetFacts } from "../types.ts";
import { refuse } from "./admissible.ts";
import { cedarRequest, type CedarRequest } from "./entities.ts";

/** Near misses shown; the rest is counted. */
const MAX_NEAR_MISSES = 8;

const ANY: Pick<PolicyJson, "principal" | "action" | "resource"> = {
  principal: { op: "All" },
  action: { op: "All" },
  resource: { op: "All" },
};

interface Part {
  readonly name: "principal" | "action" | "resource" | "condition";
  /** Holds if and only if the part does; a permit. */
  readonly probe: PolicyJson;
  /** The part, as Cedar would print it. */
  readonly shown: () => string;
}

const isAnd = (body: Expr): body is { "&&": { left: Expr; right: Expr } } => "&&" in body;

/** `a && b && c` in order, so that a `has` comes before what it guards. */
const conjuncts = (body: Expr): readonly Expr[] => (isAnd(body) ? [...conjuncts(body["&&"].left), ...conjuncts(body["&&"].right)] : [body]);

const entity = (reference: EntityUidJson): string => {
  const { type, id } = "__entity" in reference ? reference.__entity : reference;
  return type === "Action" ? id : `${type} ${id}`;
};

/** A scope in words. */
function describeScope(name: "principal" | "action" | "resource", json: PolicyJson): string {
  const scope = json[name];
  switch (scope.op) {
    case "All":
      return "anything";
    case "==":
      return "entity" in scope ? entity(scope.entity) : "a slot";
    case "in":
      if ("entities" in scope) return scope.entities.map(entity).join(", ");
      return "entity" in scope ? `in ${entity(scope.entity)}` : "a slot";
    case "is":
      return scope.in !== undefined && "entity" in scope.in
        ? `any ${scope.entity_type} in ${entity(scope.in.entity)}`
        : `any ${scope.entity_type}`;
    default:
      return unreachable(scope);
  }
}

export interface ExplainOptions {
  readonly cedar: CedarModule;
  readonly identities: ReadonlyMap<string, IdentityDeclaration>;
  readonly policies: ReadonlyMap<string, PolicySource>;
  readonly decide: (request: DecisionRequest, target?: TargetFacts) => Decision;
}

export function createExplain({
  cedar,
  identities,
  policies,
  decide,
}: ExplainOptions): (request: DecisionRequest, target?: TargetFacts) => Explanation {
  const holds = (probe: PolicyJson, request: CedarRequest): boolean => {
    const answer = cedar.isAuthorized({ ...request, policies: { staticPolicies: { probe } } });
    return answer.type === "success" && answer.response.diagnostics.reason.length > 0;
  };

  const print = (json: PolicyJson): string => {
    const text = cedar.policyToText(json);
    return text.type === "success" ? text.text.replaceAll(/\s+/g, " ") : "";
  };

  function partsOf(json: PolicyJson): readonly Part[] {
    const permit = (change: Partial<PolicyJson>): PolicyJson => ({ ...ANY, conditions: [], ...change, effect: "permit" });
    const scope = (["principal", "action", "resource"] as const).map((name): Part => ({
      name,
      probe: permit({ [name]: json[name] }),
      shown: () => describeScope(name, json),
    }));
    const clauses = json.conditions.flatMap((clause): Part[] => {
      if (clause.kind === "unless") {
        const probe = permit({ conditions: [clause] });
        return [{ name: "condition", probe, shown: () => `unless ${/unless \{\s*(.*?)\s*\};?$/.exec(print(probe))?.[1] ?? ""}` }];
      }
      const all = conjuncts(clause.body);
      return all.map((body, index): Part => {
        // With all that comes before it: what it relies on has been tested there.
        const upTo = all.slice(1, index + 1).reduce<Expr>((left, right) => ({ "&&": { left, right } }), all[0] ?? body);
        const own = permit({ conditions: [{ kind: "when", body }] });
        return {
          name: "condition",
          probe: permit({ conditions: [{ kind: "when", body: upTo }] }),
          shown: () => /when \{\s*(.*?)\s*\};?$/.exec(print(own))?.[1] ?? "",
        };
      });
    });
    return [...scope, ...clauses];
  }

  /** The parts that do not hold; of the conditions only the first, since later ones lean on it. */
  function misses(policy: PolicySource, request: CedarRequest): readonly Part[] {
    const parts = partsOf(policy.json);
    const scope = parts.filter((part) => part.name !== "condition" && !holds(part.probe, request));
    const condition = parts.find((part) => part.name === "condition" && !holds(part.probe, request));
    return condition === undefined ? scope : [...scope, condition];
  }

  function examine(policy: PolicySource, request: CedarRequest, approving: CedarRequest): ExplainedPolicy | undefined {
    const of = (verdict: ExplainedPolicy["verdict"], why: string): ExplainedPolicy => ({
      id: policy.id,
      effect: policy.effect,
      file: policy.file,
      line: policy.place.line,
      verdict,
      why,
    });
    const missed = misses(policy, request);
    const [only, ...others] = missed;
    if (only === undefined) return of(policy.effect === "permit" ? "permits" : "forbids", policy.reason ?? "all of it holds");
    if (policy.effect === "forbid") return undefined;
    if (policy.approvals.length > 0 && misses(policy, approving).length === 0)
      return of("waits", `it waits for the consent of ${policy.approvals.join(" and ")}`);
    if (others.length > 0 || only.name === "principal") return undefined;
    return of(
      "near-miss",
      only.name === "condition" ? `it would permit if ${only.shown()}` : `it covers another ${only.name}: ${only.shown()}`,
    );
  }

  return (request, target) => {
    const decision = decide(request, target);
    const identity = identities.get(request.identity);
    const question = `${request.identity} ${request.action} on ${printResource(request.resource)}`;
    const unexplained = (): Explanation => ({ decision, policies: [], text: `${question}: ${decision.outcome}\n${decision.reason}` });
    if (identity === undefined || refuse(request, target) !== undefined) return unexplained();
    const everyGroup = [...policies.values()].flatMap((policy) => policy.approvals);
    const given = request.context.approvals;
    const examined = [...policies.values()].flatMap(
      (policy) =>
        examine(
          policy,
          cedarRequest(request, identity, target, given),
          cedarRequest(request, identity, target, [...given, ...everyGroup]),
        ) ?? [],
    );
    // What is near matters where nothing permits and nothing forbids; an implied permit is near to every command.
    const settled = decision.outcome === "allow" || examined.some((policy) => policy.verdict === "forbids");
    const near = settled ? [] : examined.filter((policy) => policy.verdict === "near-miss" && !policy.id.endsWith("/implied"));
    const said: Readonly<Record<ExplainedPolicy["verdict"], string>> = {
      permits: "permits",
      forbids: "forbids",
      waits: "waits",
      "near-miss": "is near",
    };
    const shown = [...examined.filter((policy) => policy.verdict !== "near-miss"), ...near.slice(0, MAX_NEAR_MISSES)];
    const lines = shown.map((policy) => `  ${policy.id} (${policy.file}:${policy.line}) ${said[policy.verdict]}: ${policy.why}`);
    const more = near.length > MAX_NEAR_MISSES ? [`  and ${near.length - MAX_NEAR_MISSES} more that are near`] : [];
    return { decision, policies: shown, text: [`${question}: ${decision.outcome}`, decision.reason, ...lines, ...more].join("\n") };
  };
}
