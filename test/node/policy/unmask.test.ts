/** Unmasking is an action on a data class: granted by name, forbidden by target, held for consent, never implied. */
import { describe, expect, it } from "vitest";
import { explain, runBundleTests } from "../../../policy/index.ts";
import { parseResource, printResource } from "../../../policy/resource.ts";
import type { Resource, TargetFacts } from "../../../policy/types.ts";
import { bundle, compiled, decide, FACTS, NOW, problemsOf, READ, request, table, target } from "./bundles.ts";

const MASKING = { "masking.yaml": "classes:\n  card: { names: [card] }\n  email: { detectors: [email] }\n" };
const dataClass = (name: string, of = "orders-db"): Resource => ({ type: "class", target: of, name });
const policyOf = (grants: string, cedar = "") => compiled(bundle(grants, cedar, MASKING));
const OTHER: TargetFacts = { name: "crm-db", protocol: "postgres", environment: "staging", labels: [] };
const said = (grants: string, cedar = "", more: Record<string, string> = MASKING): readonly string[] =>
  problemsOf(bundle(grants, cedar, more)).map(
    (each) => `${each.file}:${each.line}:${each.column} ${each.severity} ${each.rule} ${each.message}`,
  );

const UNMASK = "  - { target: orders-db, actions: [unmask], classes: [card] }\n";

describe("a grant of unmask", () => {
  const policy = policyOf(READ + UNMASK);
  const outcome = (name: string, facts = FACTS) => policy.decide(request("unmask", dataClass(name, facts.name)), facts).outcome;
  it("shows the classes that it names, in the targets that it names", () => {
    expect([outcome("card"), outcome("email"), outcome("card", OTHER)]).toEqual(["allow", "deny", "deny"]);
    expect(policyOf(READ).decide(request("unmask", dataClass("card")), FACTS).outcome).toBe("deny");
  });
  it("lets the session be opened, and gives nothing else", () => {
    const only = policyOf(UNMASK);
    expect(decide(only, "connect", target()).outcome).toBe("allow");
    expect(decide(only, "pg:select", table("orders")).outcome).toBe("deny");
    expect(decide(only, "pg:session", target()).outcome).toBe("deny");
  });
  it("can be held, and is allowed with that consent alone", () => {
    const held = policyOf("  - { target: orders-db, actions: [unmask], classes: [card], approval: dba, approval_ttl: 5m }\n");
    expect(decide(held, "unmask", dataClass("card"))).toMatchObject({
      outcome: "hold",
      approvals: [{ group: "dba", min: 1 }],
      hold: { inTransaction: false, ttl: 300_000 },
    });
    expect(decide(held, "unmask", dataClass("card"), { approvals: ["dba"] }).outcome).toBe("allow");
    expect(decide(held, "unmask", dataClass("email"), { approvals: ["dba"] }).outcome).toBe("deny");
  });
  it("ends with its date", () => {
    const until = policyOf("  - { target: orders-db, actions: [unmask], classes: [card], expires: 2026-12-01 }\n");
    expect(decide(until, "unmask", dataClass("card")).outcome).toBe("allow");
    expect(decide(until, "unmask", dataClass("card"), { now: Date.parse("2026-12-01") }).outcome).toBe("deny");
  });
  it("stands beside tables in one grant, each for its own actions", () => {
    const both = policyOf("  - { target: orders-db, actions: [pg:select, unmask], tables: [public.orders], classes: [card, email] }\n");
    expect(decide(both, "unmask", dataClass("email")).outcome).toBe("allow");
    expect(decide(both, "pg:select", table("orders")).outcome).toBe("allow");
    expect(decide(both, "pg:select", table("card")).outcome).toBe("deny");
  });

  const faults: readonly (readonly [name: string, grant: string, message: string])[] = [
    [
      "without classes",
      "target: orders-db, actions: [unmask]",
      "identities/ci.yaml:8:5 error unmask-classes unmask without classes: would show",
    ],
    ["beside a whole target", "target: orders-db, actions: [pg:read, unmask]", "error unmask-classes"],
    [
      "of a class that does not exist",
      "target: orders-db, actions: [unmask], classes: [card, emial]",
      "identities/ci.yaml:8:61 error class-unknown no data class is called emial: did you mean email?",
    ],
    ["of a pattern", "target: orders-db, actions: [unmask], classes: ['*']", "classes.0: write a data class's name"],
    ["of tables", "target: orders-db, actions: [unmask], tables: [public.orders]", "error unmask-classes"],
    [
      "with a read that it narrows away",
      "target: orders-db, actions: [pg:read, unmask], classes: [card]",
      "identities/ci.yaml:8:36 error grant-nothing pg:read never applies here",
    ],
    ["with terms but no consent", "target: orders-db, actions: [unmask], classes: [card], approval_ttl: 5m", "error approval-terms"],
  ];
  for (const [name, grant, message] of faults)
    it(`is refused ${name}`, () => {
      const lines = said(`${READ}  - { ${grant} }\n`);
      expect(
        lines.some((line) => line.includes(message)),
        lines.join("\n"),
      ).toBe(true);
    });
  it("needs a masking.yaml", () => {
    expect(said(UNMASK, "", {})).toContainEqual(
      expect.stringContaining("class-unknown no data class is called card: masking.yaml declares none"),
    );
  });
  it("is worth a word where another grant shows the same", () => {
    expect(said(`${UNMASK}  - { target: orders-db, actions: [unmask], classes: [card], approval: dba }\n`)).toContainEqual(
      expect.stringContaining("grant-shadowed grant 1 permits all of this without consent, so dba would never be asked"),
    );
    const shadowed = (grants: string) => said(grants).filter((line) => line.includes("grant-shadowed"));
    expect(shadowed(`${UNMASK}  - { target: orders-db, actions: [unmask], classes: [email] }\n`)).toEqual([]);
    expect(shadowed(`${READ}  - { target: orders-db, actions: [pg:select, unmask], tables: [public.a], classes: [card] }\n`)).toEqual([]);
  });
});

describe("in Cedar", () => {
  it("a forbid on the class, its target, its environment or its label wins over the grant", () => {
    for (const [scope, outcome] of [
      ['resource == DataClass::"card"', "deny"],
      ['resource == DataClass::"email"', "allow"],
      ['resource in Target::"orders-db"', "deny"],
      ['resource in Target::"crm-db"', "allow"],
      ['resource in Environment::"production"', "deny"],
      ['resource in Environment::"staging"', "allow"],
      ['resource in Label::"pii"', "deny"],
      ["resource is DataClass", "deny"],
    ] as const) {
      const policy = policyOf(UNMASK, `@id("no") forbid (principal, action == Action::"unmask", ${scope});`);
      expect([scope, decide(policy, "unmask", dataClass("card")).outcome]).toEqual([scope, outcome]);
    }
    const byTarget = policyOf(
      UNMASK,
      'forbid (principal, action == Action::"unmask", resource) when { resource.target.name == "orders-db" };',
    );
    expect(decide(byTarget, "unmask", dataClass("card")).outcome).toBe("deny");
  });
  it("a permit of every Postgres action does not show anything", () => {
    const policy = policyOf(READ, 'permit (principal, action in Action::"pg:all", resource in Target::"orders-db");');
    expect(decide(policy, "unmask", dataClass("card")).outcome).toBe("deny");
    expect(decide(policyOf("  - { target: orders-db, actions: [pg:all] }\n"), "unmask", dataClass("card")).outcome).toBe("deny");
  });
  it("a permit of every action does, and the linter says so", () => {
    const permit = (scope: string, condition = "") => `permit (principal, action, ${scope}) ${condition};`;
    const warned = (cedar: string, more?: Record<string, string>) =>
      said(READ, cedar, more).some((line) => line.includes("warning unmask-implied"));
    expect(decide(policyOf(READ, permit("resource")), "unmask", dataClass("card")).outcome).toBe("allow");
    for (const scope of ["resource", 'resource in Target::"orders-db"', 'resource in Environment::"production"'])
      expect([scope, warned(permit(scope))]).toEqual([scope, true]);
    for (const scope of ["resource is Table", 'resource == Target::"orders-db"', "resource is Gateway", "resource is DataClass"])
      expect([scope, warned(permit(scope))]).toEqual([scope, false]);
    const careful = permit("resource", 'unless { action == Action::"unmask" }');
    expect(warned(careful)).toBe(false);
    expect(decide(policyOf(READ, careful), "unmask", dataClass("card")).outcome).toBe("deny");
    expect(warned(permit("resource"), {})).toBe(false);
  });
  it("a class that does not exist is an error, in the floor it is not", () => {
    const cedar = 'forbid (principal, action == Action::"unmask", resource == DataClass::"crad");';
    expect(said(READ, cedar)).toContainEqual(
      expect.stringContaining("policies/p.cedar:1:1 error class-unknown no data class is called crad: did you mean card?"),
    );
    expect(problemsOf(bundle(READ, "", MASKING), { "floor.cedar": cedar }).filter((each) => each.severity === "error")).toEqual([]);
  });
});

describe("is asked of a data class alone", () => {
  it("in print and back", () => {
    expect(printResource(dataClass("card"))).toBe("orders-db/[card]");
    expect(parseResource("orders-db/[card]")).toEqual({ ok: true, value: dataClass("card") });
    for (const text of ["orders-db/[]", "orders-db/[Card]", "orders-db/[a b]", "/[card]", "orders-db/[*]"])
      expect([text, parseResource(text).ok]).toEqual([text, false]);
    // A schema of that name is another thing, and is printed as one.
    expect(printResource({ type: "schema", target: "orders-db", schema: "[card]" })).toBe('orders-db/"[card]"');
  });
  it("and no table, function or target", () => {
    const policy = policyOf(UNMASK);
    expect(decide(policy, "unmask", table("card"))).toMatchObject({ outcome: "deny", reason: "unmask is not asked of a table" });
    expect(decide(policy, "pg:select", dataClass("card")).outcome).toBe("deny");
    expect(policy.decide(request("unmask", dataClass("card"))).reason).toBe("nothing is known of the target orders-db");
  });
});

describe("is explained and tested like every action", () => {
  const policy = policyOf(`${UNMASK}  - { id: consent, target: orders-db, actions: [unmask], classes: [email], approval: dba }\n`);
  it("in words", () => {
    const why = (name: string) => explain(policy, request("unmask", dataClass(name)), FACTS).text.split("\n");
    expect(why("card")).toEqual([
      "orders-ci unmask on orders-db/[card]: allow",
      "permitted",
      "  identity/orders-ci#grant-1 (identities/ci.yaml:7) permits: all of it holds",
    ]);
    expect(why("email")).toContain("  identity/orders-ci#consent (identities/ci.yaml:8) waits: it waits for the consent of dba");
  });
  it("in tests/*.yaml, where a class that does not exist is a mistake", () => {
    const tests = (resource: string, expected: string) =>
      `targets: [{ name: orders-db }]\ntests:\n  - { name: t, identity: orders-ci, action: unmask, resource: "${resource}", expect: ${expected} }\n`;
    const files = (text: string) => bundle(UNMASK, "", { ...MASKING, "tests/t.yaml": text });
    const run = (text: string) => runBundleTests(files(text), compiled(files(text)), { now: NOW }).map((each) => each.passed);
    expect(run(tests("orders-db/[card]", "allow"))).toEqual([true]);
    expect(run(tests("orders-db/[email]", "deny"))).toEqual([true]);
    expect(run(tests("orders-db/[email]", "allow"))).toEqual([false]);
    expect(problemsOf(files(tests("orders-db/[crad]", "deny"))).map((each) => `${each.rule} ${each.message}`)).toContain(
      "test-form no data class is called crad: did you mean card?",
    );
  });
});
