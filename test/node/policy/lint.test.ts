/** The linter's rules, each with a bundle that breaks it and one that does not. */
import { describe, expect, it } from "vitest";
import { ADMIN, bundle, ci, GATEWAY, problemsOf, READ } from "./bundles.ts";
import type { BundleFiles } from "../../../protocol/agent-control.ts";

const said = (files: BundleFiles) =>
  problemsOf(files).map((each) => `${each.file}:${each.line} ${each.severity} ${each.rule} ${each.message}`);
const has = (files: BundleFiles, text: string): boolean => said(files).some((line) => line.includes(text));

/** The match of orders-ci, of a provider that the gateway knows. */
function match(provider: string, claims: string, more = "", environment = ""): BundleFiles {
  const issuers = ["gitlab", "buildkite"].map((each) => `  - provider: ${each}\n`).join("");
  const own = ["circleci", "kubernetes"].map((each) => `  - { provider: ${each}, issuer: https://${each}.example.com }\n`).join("");
  const identity = ci(READ, environment).replace(/match.*\n/, `match: { provider: ${provider}, claims: { ${claims} }${more} }\n`);
  return { ...bundle(READ), "gateway.yaml": `${GATEWAY}${issuers}${own}`, "identities/ci.yaml": identity };
}

describe("a match must hold an immutable id (GW-06)", () => {
  const rows: readonly (readonly [provider: string, claims: string, weak: boolean])[] = [
    ["github", 'sub: "repo:acme/orders:ref:refs/heads/main"', true],
    ["github", "repository: acme/orders, ref: refs/heads/main", true],
    ["github", "repository_owner_id: 1", true],
    ["github", "repository_id: 1", false],
    ["github", 'repository_id: 1, ref: "refs/heads/*"', true],
    ["gitlab", "project_id: 1", true],
    ["gitlab", "job_project_id: 1", false],
    ["buildkite", "pipeline_id: 1", true],
    ["buildkite", "organization_id: 1, pipeline_id: 1", false],
    ["circleci", "oidc.circleci.com/vcs-origin: github.com/acme/orders", true],
    ["circleci", "oidc.circleci.com/project-id: x", false],
    ["kubernetes", 'sub: "system:serviceaccount:ns:sa"', true],
    ["kubernetes", "/kubernetes.io/serviceaccount/uid: x", false],
    ["oidc", "sub: u2", true],
    ["oidc", "email: a@example.com", true],
    ["oidc", "name: A, preferred_username: a", true],
    ["oidc", "sub: u2, email: a@example.com", false],
    ["oidc", "oid: u2", false],
  ];
  for (const [provider, claims, weak] of rows) {
    it(`${provider} { ${claims} } is ${weak ? "weak" : "strong"}`, () => {
      expect(has(match(provider, claims), "error match-weak")).toBe(weak);
      expect(has(match(provider, claims, ", allow_weak_match: true"), "match-weak")).toBe(false);
      expect(has(match(provider, claims, ", allow_weak_match: true"), "warning match-strong")).toBe(!weak);
    });
  }
  it("says what to write", () => {
    expect(
      has(
        match("buildkite", "sub: x"),
        "sub alone is not an identity: add organization_id with pipeline_id; or write allow_weak_match: true and answer for it",
      ),
    ).toBe(true);
  });
});

describe("a match of a production job", () => {
  const production = "environment: production\n";
  it("pins a ref", () => {
    expect(has(match("github", "repository_id: 1", "", production), "warning ref-unpinned")).toBe(true);
    expect(has(match("github", "repository_id: 1, ref: refs/heads/main", "", production), "ref-unpinned")).toBe(false);
    expect(has(match("github", "repository_id: 1"), "ref-unpinned")).toBe(false);
  });
  it("warns of events that strangers cause (GW-07)", () => {
    expect(
      has(
        match("github", "repository_id: 1, event_name: [push, pull_request_target]"),
        "warning event-outsider pull_request_target may run code",
      ),
    ).toBe(true);
    expect(has(match("github", "repository_id: 1, event_name: push"), "event-outsider")).toBe(false);
    expect(has(match("gitlab", "job_project_id: 1, pipeline_source: merge_request_event"), "event-outsider")).toBe(true);
  });
});

it("two identities that one token fits are refused, two that a claim tells apart are not", () => {
  const twin = (claims: string) =>
    bundle(READ, "", { "identities/twin.yaml": ci(READ).replace("orders-ci", "orders-twin").replace("repository_id: 123", claims) });
  expect(has(twin("repository_id: 123, ref: refs/heads/main"), "error match-overlap a token that fits this also fits")).toBe(true);
  expect(has(twin("repository_id: 124"), "match-overlap")).toBe(false);
});

describe("approvals", () => {
  const permit = (head: string, tail: string) => bundle(READ, `${head} permit (principal, action == Action::"pg:drop", resource) ${tail};`);
  const rows: readonly (readonly [head: string, tail: string, rule: string | undefined])[] = [
    ['@approval("dba")', 'when { context.approvals.contains("dba") }', undefined],
    [
      '@approval("dba")',
      'when { principal.name == "x" && (context.approvals.contains("dba") || context.approvals.containsAny(["dba"])) }',
      undefined,
    ],
    ["", 'when { context.approvals.contains("dba") }', "approval-unnamed"],
    ['@approval("dba")', "", "approval-unasked"],
    ['@approval("dba")', 'when { !context.approvals.contains("dba") }', "approval-use"],
    ['@approval("dba")', 'unless { context.approvals.contains("dba") }', "approval-use"],
    ['@approval("dba")', 'when { if context.approvals.contains("dba") then true else false }', "approval-use"],
    ['@approval("dba")', "when { !context.approvals.isEmpty() }", "approval-use"],
    ['@approval("dba")', "when { context.approvals.contains(principal.name) }", "approval-use"],
    ['@approval("dba")', 'when { context.approvals == ["dba"] }', "approval-use"],
    ['@approval("security")', 'when { context.approvals.contains("security") }', "approval-group"],
    ['@approval("dba") @approval_min("2")', 'when { context.approvals.contains("dba") }', "approval-min"],
    ['@approval("DBA!")', 'when { context.approvals.contains("DBA!") }', "approval-form"],
    ['@approval_min("2")', "", "approval-min"],
  ];
  for (const [head, tail, rule] of rows) {
    it(`${head} permit ${tail}: ${rule ?? "fine"}`, () => {
      const rules = problemsOf(permit(head, tail))
        .filter((each) => each.severity === "error")
        .map((each) => each.rule);
      expect(rules).toEqual(rule === undefined ? [] : expect.arrayContaining([rule]));
    });
  }
  it("a forbid asks nobody", () => {
    expect(
      has(
        bundle(READ, 'forbid (principal, action == Action::"pg:drop", resource) unless { context.approvals.contains("dba") };'),
        "error approval-in-forbid",
      ),
    ).toBe(true);
  });
  it("a group of machines alone is an error, and so is one of nobody", () => {
    expect(
      has(bundle("  - { target: orders-db, actions: [pg:drop], approval: ci }\n"), "error approval-group no human is in the group ci"),
    ).toBe(true);
    expect(
      has(
        bundle("  - { target: orders-db, actions: [pg:drop], approval: nobody }\n"),
        "identities/ci.yaml:7 error approval-group nobody is in the group nobody",
      ),
    ).toBe(true);
  });
});

describe("grants", () => {
  const grants = (...lines: string[]) => bundle(lines.map((line) => `  - { ${line} }\n`).join(""));
  it("that never apply", () => {
    expect(
      has(
        grants("target: a, actions: [pg:select, pg:do], tables: [public.*]"),
        "identities/ci.yaml:7 error grant-nothing pg:do never applies here",
      ),
    ).toBe(true);
    expect(has(grants("target: a, actions: [pg:select], functions: [public.f]"), "error grant-nothing")).toBe(true);
    expect(has(grants("target: a, actions: [pg:read, pg:session, connect], tables: [public.*]"), "grant-nothing")).toBe(false);
  });
  it("that another one covers", () => {
    const wide = "target: a, actions: [pg:all]";
    expect(
      has(
        grants(wide, "target: a, actions: [pg:select], tables: [public.x]"),
        "identities/ci.yaml:8 warning grant-shadowed grant 1 permits all of this already",
      ),
    ).toBe(true);
    expect(
      has(
        grants("target: a, actions: [pg:drop], approval: dba", wide),
        "warning grant-shadowed grant 2 permits all of this without consent, so dba would never be asked",
      ),
    ).toBe(true);
    expect(
      has(
        grants("target: a, actions: [pg:select], tables: [public.x_*]", "target: a, actions: [pg:select], tables: [public.x_1]"),
        "grant-shadowed",
      ),
    ).toBe(true);
    expect(
      has(
        grants("target: a, actions: [pg:select], schemas: [public]", "target: a, actions: [pg:select], tables: [public.x_1]"),
        "grant-shadowed",
      ),
    ).toBe(true);
    expect(
      has(
        grants("target: a, actions: [pg:select], tables: [public.x]", "target: a, actions: [pg:select], tables: [public.y]"),
        "grant-shadowed",
      ),
    ).toBe(false);
    expect(has(grants("target: a, actions: [pg:select]", "target: b, actions: [pg:select]"), "grant-shadowed")).toBe(false);
    expect(
      has(
        grants("target: a, actions: [pg:select], expires: 2027-01-01", "target: a, actions: [pg:select], tables: [public.y]"),
        "grant-shadowed",
      ),
    ).toBe(false);
    expect(
      has(grants("target: a, actions: [pg:drop], approval: dba", "target: a, actions: [pg:drop], tables: [public.y]"), "grant-shadowed"),
    ).toBe(false);
  });
  it("that a blanket forbid takes away", () => {
    const files = bundle(
      "  - { target: a, actions: [pg:drop] }\n",
      '@id("no") forbid (principal, action in [Action::"pg:ddl"], resource);',
    );
    expect(has(files, "identities/ci.yaml:7 warning grant-forbidden no forbids pg:drop to everybody")).toBe(true);
  });
});

describe("references", () => {
  it("to identities and groups that do not exist", () => {
    expect(
      has(
        bundle(READ, 'forbid (principal == Identity::"orders-ic", action, resource);'),
        "error identity-unknown no identity is called orders-ic: did you mean orders-ci?",
      ),
    ).toBe(true);
    expect(
      has(
        bundle(READ, 'forbid (principal, action, resource) when { principal in Group::"cy" };'),
        "warning group-empty nobody is in the group cy: did you mean ci?",
      ),
    ).toBe(true);
    expect(
      has(bundle(READ, 'forbid (principal in Group::"ci", action, resource);'), "group-unused no policy and no approval uses the group ci"),
    ).toBe(false);
    expect(has(bundle(READ), "warning group-unused no policy and no approval uses the group ci")).toBe(true);
  });
  it("identities that may do nothing and issuers of nobody", () => {
    const idle = ci(READ)
      .replace(/grants:\n.*\n/, "")
      .replace("orders-ci", "idle")
      .replace("123", "124");
    expect(has(bundle(READ, "", { "identities/idle.yaml": idle }), "warning identity-idle idle may do nothing")).toBe(true);
    expect(has(match("github", "repository_id: 1"), "gateway.yaml:3 warning issuer-unused")).toBe(false);
    expect(has(match("github", "repository_id: 1"), "warning issuer-unused no identity comes from https://gitlab.com")).toBe(true);
  });
});

describe("somebody must be able to publish", () => {
  const without = (cedar: string) => ({
    ...bundle(READ, cedar),
    "identities/mira.yaml": ADMIN.replace("gateway: [policy:publish]\n", "gateway: [policy:read]\n"),
  });
  it("by a grant or by Cedar", () => {
    expect(has(without(""), "warning nobody-publishes")).toBe(true);
    expect(has(without('permit (principal == Identity::"mira", action == Action::"policy:publish", resource);'), "nobody-publishes")).toBe(
      false,
    );
    expect(
      has(without('permit (principal in Group::"dba", action in Action::"gateway:admin", resource is Gateway);'), "nobody-publishes"),
    ).toBe(false);
    expect(
      has(without('permit (principal in Group::"nobody", action in Action::"gateway:admin", resource);'), "warning nobody-publishes"),
    ).toBe(true);
    expect(has(without('permit (principal, action in Action::"gateway:read", resource is Gateway);'), "warning nobody-publishes")).toBe(
      true,
    );
  });
});
