/**
 * Type-checks policies against the schema, with the errors' places mapped back to the user's file. Cedar's warnings
 * are errors here when they mean that a policy can never apply: a forbid that never fires is a hole.
 */
import type { Rule } from "../rules.ts";
import { problem, type Place } from "../problem.ts";
import { CEDAR_SCHEMA } from "../schema.ts";
import type { Problem } from "../types.ts";
import type { CedarModule, DetailedError } from "./module.ts";
import { cedarMessage, errorPlace } from "./read.ts";
import type { PolicySource } from "./source.ts";

/** The prefix only repeats the id; the problem's place says more. */
const withoutPolicyPrefix = (message: string): string => message.replaceAll(/for policy `[^`]*`, /g, "");

interface Found {
  readonly severity: Problem["severity"];
  readonly rule: Rule;
  readonly policy: PolicySource;
  readonly place: Place;
  readonly message: string;
}

/** One mistake is reported once for every action that a policy covers: the first message stands for all at its place. */
function grouped(found: readonly Found[]): readonly Problem[] {
  const groups = new Map<string, { readonly first: Found; readonly messages: Set<string> }>();
  for (const each of [...found].sort((a, b) => (a.message < b.message ? -1 : 1))) {
    const key = `${each.rule} ${each.policy.id} ${each.place.line}:${each.place.column}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: each, messages: new Set([each.message]) });
    else group.messages.add(each.message);
  }
  return [...groups.values()].map(({ first, messages }) => {
    const more = messages.size === 1 ? "" : ` (and ${messages.size - 1} more like it, for other actions or types)`;
    return problem(first.severity, first.rule, first.policy.file, `${first.message}${more}`, first.place);
  });
}

export function validatePolicies(cedar: CedarModule, policies: readonly PolicySource[]): readonly Problem[] {
  const [any] = policies;
  if (any === undefined) return [];
  const byId = new Map(policies.map((policy) => [policy.id, policy]));
  const staticPolicies = Object.fromEntries(policies.map((policy) => [policy.id, policy.text]));
  const answer = cedar.validate({ schema: CEDAR_SCHEMA, policies: { staticPolicies } });
  if (answer.type === "failure") {
    const [error] = answer.errors;
    return [
      problem(
        "error",
        "cedar-syntax",
        any.file,
        `the policies could not be checked: ${error === undefined ? "unreadable" : cedarMessage(error)}`,
      ),
    ];
  }
  const found = (severity: Problem["severity"], rule: Rule, policyId: string, error: DetailedError): Found[] => {
    const policy = byId.get(policyId) ?? any;
    const place = policy.origin === "grant" ? policy.place : errorPlace(policy.place, policy.text, error);
    return [{ severity, rule, policy, place, message: withoutPolicyPrefix(cedarMessage(error)) }];
  };
  const failing = new Set(answer.validationErrors.map((each) => each.policyId));
  return grouped([
    ...answer.validationErrors.flatMap((each) => found("error", "cedar-type", each.policyId, each.error)),
    // A policy with an error is often called impossible as well, because of it.
    ...answer.validationWarnings.flatMap((each) => {
      if (failing.has(each.policyId)) return [];
      return /impossible|applicable action/.test(each.error.message)
        ? found("error", "policy-never-applies", each.policyId, each.error)
        : found("warning", "cedar-warning", each.policyId, each.error);
    }),
  ]);
}
