/**
 * Type-checks policies against the schema, with the errors' places mapped back to the user's file. Cedar's warnings
 * are errors here when they mean that a policy can never apply: a forbid that never fires is a hole.
 */
import { problem } from "../problem.ts";
import { CEDAR_SCHEMA } from "../schema.ts";
import type { BundleFiles } from "../../protocol/agent-control.ts";
import type { Problem } from "../types.ts";
import type { CedarModule, DetailedError } from "./module.ts";
import { cedarMessage, errorPlace } from "./read.ts";
import type { PolicySource } from "./source.ts";

/** The prefix only repeats the id, which the user sees in the problem's place. */
const withoutPolicyPrefix = (message: string): string => message.replaceAll(/for policy `[^`]*`, /g, "");

export function validatePolicies(cedar: CedarModule, policies: readonly PolicySource[], files: BundleFiles): readonly Problem[] {
  if (policies.length === 0) return [];
  const byId = new Map(policies.map((policy) => [policy.id, policy]));
  const answer = cedar.validate({
    schema: CEDAR_SCHEMA,
    policies: { staticPolicies: Object.fromEntries(policies.map((policy) => [policy.id, policy.text])) },
  });
  if (answer.type === "failure") {
    const [error] = answer.errors;
    return [
      problem(
        "error",
        "cedar-syntax",
        policies[0]?.file ?? "",
        `the policies could not be checked: ${error === undefined ? "unreadable" : cedarMessage(error)}`,
      ),
    ];
  }
  const seen = new Set<string>();
  const located = (severity: Problem["severity"], rule: string, policyId: string, error: DetailedError): Problem[] => {
    const policy = byId.get(policyId);
    if (policy === undefined) return [problem("error", rule, "", cedarMessage(error))];
    const text = files[policy.file] ?? "";
    const offset = policy.origin === "grant" ? -1 : text.indexOf(policy.text);
    const place = offset < 0 ? policy.place : errorPlace(text, offset, policy.text, error);
    const key = JSON.stringify([rule, policyId, error.message, place]);
    if (seen.has(key)) return [];
    seen.add(key);
    return [problem(severity, rule, policy.file, withoutPolicyPrefix(cedarMessage(error)), place)];
  };
  const failing = new Set(answer.validationErrors.map((each) => each.policyId));
  return [
    ...answer.validationErrors.flatMap((each) => located("error", "cedar-type", each.policyId, each.error)),
    // A policy with an error is often called impossible as well, because of it.
    ...answer.validationWarnings.flatMap((each) => {
      if (failing.has(each.policyId)) return [];
      const impossible = /impossible|applicable action/.test(each.error.message);
      return located(impossible ? "error" : "warning", impossible ? "policy-never-applies" : "cedar-warning", each.policyId, each.error);
    }),
  ];
}
