/** What each form of grant covers, and what it does not. */
import { describe, expect, it } from "vitest";
import type { Resource } from "../../../policy/types.ts";
import { ADMIN, bundle, ci, compiled, decide, FACTS, fn, GATEWAY, request, schema, table, target } from "./bundles.ts";

type Row = readonly [action: string, resource: Resource, outcome: "allow" | "hold" | "deny"];

const CASES: readonly { readonly grant: string; readonly rows: readonly Row[] }[] = [
  {
    grant: "{ target: orders-db, actions: [pg:read], tables: [public.*] }",
    rows: [
      ["connect", target(), "allow"],
      ["pg:session", target(), "allow"],
      ["pg:select", table("orders"), "allow"],
      ["pg:select", table("orders", "private"), "deny"],
      ["pg:insert", table("orders"), "deny"],
      ["pg:set", target(), "deny"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [pg:insert], tables: [public.orders, public.audit_*] }",
    rows: [
      ["pg:insert", table("orders"), "allow"],
      ["pg:insert", table("orders2"), "deny"],
      ["pg:insert", table("audit_2026"), "allow"],
      ["pg:insert", table("my_audit_2026"), "deny"],
      ["pg:insert", table("audit"), "deny"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [pg:ddl], schemas: [public] }",
    rows: [
      ["pg:create", schema("public"), "allow"],
      ["pg:drop", table("orders"), "allow"],
      ["pg:drop", fn("f"), "allow"],
      ["pg:drop", schema("private"), "deny"],
      ["pg:drop", target(), "deny"],
      ["pg:select", table("orders"), "deny"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [pg:call], functions: [public.refresh, jobs.*] }",
    rows: [
      ["pg:call", fn("refresh"), "allow"],
      ["pg:call", fn("purge"), "deny"],
      ["pg:call", fn("anything", "jobs"), "allow"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [pg:all] }",
    rows: [
      ["pg:drop", target(), "allow"],
      ["pg:copy-program", target(), "allow"],
      ["pg:call", fn("purge"), "allow"],
      ["policy:publish", { type: "gateway" }, "deny"],
    ],
  },
  {
    grant: `{ target: orders-db, actions: [pg:select], tables: ['public."Odd.Name"', '"a.b".c'] }`,
    rows: [
      ["pg:select", table("Odd.Name"), "allow"],
      ["pg:select", table("odd.name"), "deny"],
      ["pg:select", table("c", "a.b"), "allow"],
      ["pg:select", table("b.c", "a"), "deny"],
    ],
  },
  {
    grant: "{ target: [orders-db, billing-db], actions: [pg:select] }",
    rows: [["pg:select", table("orders"), "allow"]],
  },
  {
    grant: "{ target: other-db, actions: [pg:all] }",
    rows: [
      ["pg:select", table("orders"), "deny"],
      ["connect", target(), "deny"],
    ],
  },
  { grant: "{ targets: { environment: production, labels: pii }, actions: [pg:select] }", rows: [["pg:select", table("orders"), "allow"]] },
  {
    grant: "{ targets: { environment: production, labels: [pii, gdpr] }, actions: [pg:select] }",
    rows: [["pg:select", table("orders"), "deny"]],
  },
  {
    grant: "{ targets: { environment: staging }, actions: [pg:select] }",
    rows: [
      ["pg:select", table("orders"), "deny"],
      ["connect", target(), "deny"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [pg:drop], approval: dba }",
    rows: [
      ["connect", target(), "allow"],
      ["pg:session", target(), "allow"],
      ["pg:drop", table("orders"), "hold"],
    ],
  },
  {
    grant: "{ target: orders-db, actions: [connect, pg:select], approval: dba }",
    rows: [
      ["connect", target(), "hold"],
      ["pg:select", table("orders"), "hold"],
    ],
  },
];

describe("a grant covers what it says", () => {
  for (const { grant, rows } of CASES) {
    it(grant, () => {
      const policy = compiled(bundle(`  - ${grant}\n`));
      for (const [action, resource, outcome] of rows) {
        expect([action, resource, decide(policy, action, resource).outcome]).toEqual([action, resource, outcome]);
      }
    });
  }
});

it("an expired grant gives nothing, not even connect", () => {
  const policy = compiled(bundle("  - { target: orders-db, actions: [pg:select], expires: 2026-12-01 }\n"));
  const at = (now: string) => decide(policy, "pg:select", table("orders"), { now: Date.parse(now) }).outcome;
  expect(at("2026-11-30T23:59:59Z")).toBe("allow");
  expect(at("2026-12-01T00:00:00Z")).toBe("deny");
  expect(decide(policy, "connect", target(), { now: Date.parse("2026-12-02T00:00:00Z") }).outcome).toBe("deny");
});

it("grants of one identity say nothing of another", () => {
  const policy = compiled(bundle("  - { target: orders-db, actions: [pg:all] }\n"));
  expect(policy.decide(request("pg:select", table("orders"), {}, "mira"), FACTS).outcome).toBe("deny");
  expect(policy.decide(request("policy:publish", { type: "gateway" }, {}, "mira")).outcome).toBe("allow");
});

it("names its policies by identity and grant, or by the grant's own id", () => {
  const policy = compiled(
    bundle("  - { target: orders-db, actions: [pg:select] }\n  - { id: writes, target: orders-db, actions: [pg:insert] }\n"),
  );
  expect([...policy.policies.keys()]).toEqual([
    "identity/orders-ci#grant-1",
    "identity/orders-ci#grant-1/implied",
    "identity/orders-ci#writes",
    "identity/mira#gateway",
  ]);
  expect(policy.policies.get("identity/orders-ci#writes")).toMatchObject({
    file: "identities/ci.yaml",
    place: { line: 8 },
    effect: "permit",
  });
});

it("several identities may share a file", () => {
  const policy = compiled({
    "gateway.yaml": GATEWAY,
    "identities/all.yaml": `${ci("  - { target: orders-db, actions: [pg:select] }\n")}---\n${ADMIN}`,
  });
  expect([...policy.identities.keys()]).toEqual(["orders-ci", "mira"]);
});

it("no name in a grant becomes policy", () => {
  const evil = `x\\") || true || (resource.name == \\"y`;
  const files = bundle(
    `  - { target: orders-db, actions: [pg:select], tables: ["public.\\"${evil.replaceAll('"', '""').replaceAll('\\""', '\\"\\"')}\\""] }\n`,
  );
  const policy = compiled(files);
  expect(decide(policy, "pg:select", table("orders")).outcome).toBe("deny");
  expect(decide(policy, "pg:select", table('x") || true || (resource.name == "y')).outcome).toBe("allow");
});
