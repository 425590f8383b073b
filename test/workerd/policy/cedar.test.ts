/** Cedar in real workerd: the same compiler decides there, from the module that workerd compiled. */
import { expect, it } from "vitest";
import { compileBundle } from "../../../worker/cedar.ts";
import type { Resource } from "../../../policy/types.ts";

const FILES = {
  "gateway.yaml": "audience: https://gate.example.com\nissuers:\n  - provider: github\n",
  "identities/orders-ci.yaml": `name: orders-ci
owner: team-orders
purpose: reads orders
groups: [ci]
match: { provider: github, claims: { repository_id: 123 } }
grants:
  - { target: orders-db, actions: [pg:read], tables: [public.*] }
  - { target: orders-db, actions: [pg:drop], approval: dba }
gateway: [policy:publish]
`,
  "identities/dana.yaml": `name: dana
kind: human
owner: dana
purpose: consents
groups: [dba]
match: { provider: github, claims: { repository_id: 124 } }
`,
  "policies/guardrails.cedar": '@id("no-secrets") forbid (principal, action, resource is Table) when { resource.name == "secrets" };',
};

it("decides allow, hold and deny in workerd", () => {
  const compiled = compileBundle(FILES);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  const decide = (action: string, resource: Resource) =>
    compiled.value.decide(
      {
        identity: "orders-ci",
        action,
        resource,
        context: { approvals: [], workload: { provider: "github", issuer: "i", subject: "s" }, now: 1_800_000_000_000 },
      },
      { name: "orders-db", protocol: "postgres", labels: [] },
    );
  const table = (name: string): Resource => ({ type: "table", target: "orders-db", schema: "public", table: name });
  expect(decide("connect", { type: "target", target: "orders-db" }).outcome).toBe("allow");
  expect(decide("pg:select", table("orders"))).toMatchObject({ outcome: "allow", policies: ["identity/orders-ci#grant-1"] });
  expect(decide("pg:select", table("secrets"))).toMatchObject({ outcome: "deny", policies: ["no-secrets"] });
  expect(decide("pg:drop", table("orders"))).toMatchObject({ outcome: "hold", approvals: [{ group: "dba", min: 1 }] });
  expect(decide("pg:delete", table("orders"))).toMatchObject({ outcome: "deny", policies: [] });
});

it("reports problems in workerd as in Node", () => {
  const compiled = compileBundle({ ...FILES, "policies/bad.cedar": "permit (principal, action, resource) when { context.nope };" });
  const errors = compiled.ok ? [] : compiled.error.filter((problem) => problem.severity === "error");
  expect(errors).toMatchObject([{ file: "policies/bad.cedar", line: 1, column: 45, rule: "cedar-type" }]);
});
