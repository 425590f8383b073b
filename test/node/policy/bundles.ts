/** Small bundles for the policy tests: one that compiles, and ways to change it. */
import { compileBundle } from "../../../policy/cedar.node.ts";
import type { Decision, DecisionRequest, Policy, Problem, Resource, TargetFacts } from "../../../policy/types.ts";
import type { BundleFiles } from "../../../protocol/agent-control.ts";

export const NOW = Date.parse("2026-11-22T12:00:00Z");

export const GATEWAY = `audience: https://gate.example.com
issuers:
  - provider: github
  - provider: oidc
    issuer: https://login.example.com
`;

export const ADMIN = `name: mira
kind: human
owner: mira
purpose: runs the gateway
groups: [dba]
match: { provider: oidc, claims: { sub: u1, org_id: acme } }
gateway: [policy:publish]
`;

/** `grants` is YAML, indented by two. */
export const ci = (grants: string, more = ""): string => `name: orders-ci
owner: team-orders
purpose: reads orders
groups: [ci]
match: { provider: github, claims: { repository_id: 123 } }
${more}grants:
${grants}`;

export const READ = "  - { target: orders-db, actions: [pg:read], tables: [public.*] }\n";

export const bundle = (grants: string, cedar = "", more: BundleFiles = {}): BundleFiles => ({
  "gateway.yaml": GATEWAY,
  "identities/ci.yaml": ci(grants),
  "identities/mira.yaml": ADMIN,
  ...(cedar === "" ? {} : { "policies/p.cedar": cedar }),
  ...more,
});

export function compiled(files: BundleFiles, floor?: BundleFiles): Policy {
  const result = compileBundle(files, floor);
  if (!result.ok) throw new Error(JSON.stringify(result.error, null, 1));
  return result.value;
}

/** Errors and warnings alike. */
export function problemsOf(files: BundleFiles, floor?: BundleFiles): readonly Problem[] {
  const result = compileBundle(files, floor);
  return result.ok ? result.value.warnings : result.error;
}

/** `file:line:column severity rule`, for comparing at a glance. */
export const brief = (problems: readonly Problem[]): readonly string[] =>
  problems.map((each) => `${each.file}:${each.line ?? 0}:${each.column ?? 0} ${each.severity} ${each.rule}`);

export const FACTS: TargetFacts = { name: "orders-db", protocol: "postgres", environment: "production", labels: ["pii"] };

export const table = (name: string, schema = "public", target = "orders-db"): Resource => ({ type: "table", target, schema, table: name });
export const schema = (name: string): Resource => ({ type: "schema", target: "orders-db", schema: name });
export const target = (name = "orders-db"): Resource => ({ type: "target", target: name });
export const fn = (name: string, inSchema = "public"): Resource => ({ type: "function", target: "orders-db", schema: inSchema, name });

export const request = (
  action: string,
  resource: Resource,
  context: Partial<DecisionRequest["context"]> = {},
  identity = "orders-ci",
): DecisionRequest => ({
  identity,
  action,
  resource,
  context: {
    approvals: [],
    workload: { provider: "github", issuer: "https://token.actions.githubusercontent.com", subject: "repo:acme/orders" },
    now: NOW,
    ...context,
  },
});

export const decide = (
  policy: Policy,
  action: string,
  resource: Resource,
  context: Partial<DecisionRequest["context"]> = {},
  facts: TargetFacts = FACTS,
): Decision => policy.decide(request(action, resource, context), facts);
