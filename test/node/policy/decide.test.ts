/** The decision's rules: deny by default, forbid wins, hold only where consent helps, nothing evaluated wrongly allows. */
import { describe, expect, it } from "vitest";
import { loadCedar } from "../../../policy/cedar.node.ts";
import { createPolicyCompiler } from "../../../policy/index.ts";
import { MAX_POLICY_SETS } from "../../../policy/engine/sets.ts";
import type { Policy } from "../../../policy/types.ts";
import { bundle, compiled, decide, FACTS, fn, NOW, problemsOf, READ, request, table, target } from "./bundles.ts";

const DROP = "  - { target: orders-db, actions: [pg:drop], approval: dba }\n";

describe("deny", () => {
  const policy = compiled(bundle(READ));
  it("by default, naming no policy", () => {
    expect(decide(policy, "pg:delete", table("orders"))).toEqual({
      outcome: "deny",
      policies: [],
      approvals: [],
      reason: "no policy permits orders-ci pg:delete on orders-db/public.orders",
    });
  });
  it("an unknown action, identity, or an action on the wrong resource", () => {
    expect(decide(policy, "pg:everything", table("orders")).reason).toBe('unknown action "pg:everything"');
    expect(decide(policy, "pg:read", table("orders")).reason).toBe('unknown action "pg:read"');
    expect(decide(policy, "toString", table("orders")).outcome).toBe("deny");
    expect(decide(policy, "pg:select", fn("f")).reason).toBe("pg:select is not asked of a function");
    expect(policy.decide(request("pg:select", table("orders"), {}, "nobody"), FACTS).reason).toBe('unknown identity "nobody"');
    expect(policy.decide(request("pg:select", table("orders"), {}, "__proto__"), FACTS).outcome).toBe("deny");
  });
  it("a target whose facts are missing or another's", () => {
    expect(policy.decide(request("pg:select", table("orders"))).reason).toBe("nothing is known of the target orders-db");
    expect(policy.decide(request("pg:select", table("orders")), { ...FACTS, name: "billing-db" }).outcome).toBe("deny");
  });
  it("text that is not well formed, and a time that is none", () => {
    expect(decide(policy, "pg:select", table("orders\ud800")).reason).toBe("a name is not well-formed text");
    expect(decide(policy, "pg:select", table("orders"), { now: Number.NaN }).outcome).toBe("deny");
    expect(decide(policy, "pg:select", table("orders"), { now: 9e15 }).outcome).toBe("deny");
  });
  it("what Cedar cannot evaluate: a forbid that fails is not skipped", () => {
    // The type checker lets only arithmetic fail: this sum overflows.
    const cedar = `@id("overflow") forbid (principal, action == Action::"pg:select", resource)
when { context.now.offset(duration("9223372036854775807ms")) < context.now };`;
    expect(decide(compiled(bundle(READ)), "pg:select", table("orders")).outcome).toBe("allow");
    const broken = decide(compiled(bundle(READ, cedar)), "pg:select", table("orders"));
    expect(broken).toMatchObject({ outcome: "deny", reason: "policy overflow could not be evaluated" });
  });
});

describe("forbid wins", () => {
  const forbid = '@id("closed") @reason("Closed.") forbid (principal, action, resource is Table) when { resource.name == "secrets" };';
  const policy = compiled(bundle(`${READ}${DROP}`, forbid));
  it("over a permit, with its id and reason", () => {
    expect(decide(policy, "pg:select", table("secrets"))).toEqual({
      outcome: "deny",
      policies: ["closed"],
      approvals: [],
      reason: "Closed.",
    });
    expect(decide(policy, "pg:select", table("orders")).outcome).toBe("allow");
  });
  it("over an approval: it is not held, and consent does not help", () => {
    expect(decide(policy, "pg:drop", table("secrets"))).toMatchObject({ outcome: "deny", policies: ["closed"] });
    expect(decide(policy, "pg:drop", table("secrets"), { approvals: ["dba"] })).toMatchObject({ outcome: "deny", policies: ["closed"] });
  });
  it("on an environment and on a label, whatever the resource's type", () => {
    const guarded = compiled(
      bundle(
        "  - { target: orders-db, actions: [pg:all] }\n",
        'forbid (principal, action in Action::"pg:ddl", resource in Environment::"production");\nforbid (principal, action == Action::"pg:select", resource in Label::"pii");',
      ),
    );
    for (const resource of [table("orders"), fn("f"), target()]) expect(decide(guarded, "pg:drop", resource).outcome).toBe("deny");
    expect(decide(guarded, "pg:drop", table("orders"), {}, { ...FACTS, environment: "staging" }).outcome).toBe("allow");
    expect(decide(guarded, "pg:select", table("orders")).outcome).toBe("deny");
    expect(decide(guarded, "pg:select", table("orders"), {}, { ...FACTS, labels: [] }).outcome).toBe("allow");
  });
});

describe("hold", () => {
  const cedar = `@id("two") @approval("dba, security") @approval_min("2")
permit (principal == Identity::"orders-ci", action == Action::"pg:truncate", resource in Target::"orders-db")
when { context.approvals.containsAll(["dba", "security"]) };
@id("either") @approval("dba")
permit (principal == Identity::"orders-ci", action == Action::"pg:truncate", resource in Target::"orders-db")
when { resource is Table && resource.name == "cheap" && context.approvals.contains("dba") };`;
  const people = ["a", "b"].map(
    (name) =>
      `name: ${name}\nkind: human\nowner: x\npurpose: y\ngroups: [dba, security]\nmatch: { provider: oidc, claims: { sub: ${name}, org_id: acme } }\n`,
  );
  const policy = compiled(bundle(DROP, cedar, { "identities/people.yaml": people.join("---\n") }));
  it("names the group to ask and the policy that waits", () => {
    expect(decide(policy, "pg:drop", table("orders"))).toEqual({
      outcome: "hold",
      policies: ["identity/orders-ci#grant-1"],
      approvals: [{ group: "dba", min: 1 }],
      hold: { inTransaction: false, ttl: 900_000 },
      reason: "needs the consent of dba",
    });
  });
  it("becomes allow with that group's consent, and not with another's", () => {
    expect(decide(policy, "pg:drop", table("orders"), { approvals: ["dba"] }).outcome).toBe("allow");
    expect(decide(policy, "pg:drop", table("orders"), { approvals: ["security", "nobody"] }).outcome).toBe("hold");
  });
  it("asks all groups of a permit, with its minimum, and only those that are missing", () => {
    expect(decide(policy, "pg:truncate", table("orders")).approvals).toEqual([
      { group: "dba", min: 2 },
      { group: "security", min: 2 },
    ]);
    expect(decide(policy, "pg:truncate", table("orders"), { approvals: ["dba"] }).approvals).toEqual([{ group: "security", min: 2 }]);
    expect(decide(policy, "pg:truncate", table("orders"), { approvals: ["security", "dba"] }).outcome).toBe("allow");
  });
  it("asks the fewest where several permits would do", () => {
    expect(decide(policy, "pg:truncate", table("cheap"))).toMatchObject({ policies: ["either"], approvals: [{ group: "dba", min: 1 }] });
  });
});

describe("decideAll", () => {
  const policy = compiled(bundle(`${READ}${DROP}`));
  const all = (...needs: Parameters<typeof request>[]) =>
    policy.decideAll(
      needs.map((need) => request(...need)),
      FACTS,
    );
  it("denies nothing at all, allows when all are allowed, holds when some are held, denies when one is denied", () => {
    expect(all().outcome).toBe("deny");
    expect(all(["pg:select", table("a")], ["pg:select", table("b")])).toMatchObject({
      outcome: "allow",
      policies: ["identity/orders-ci#grant-1"],
    });
    expect(all(["pg:select", table("a")], ["pg:drop", table("b")])).toMatchObject({
      outcome: "hold",
      approvals: [{ group: "dba", min: 1 }],
    });
    expect(all(["pg:drop", table("b")], ["pg:delete", table("a")])).toMatchObject({ outcome: "deny", approvals: [] });
  });
});

describe("the agent's floor", () => {
  const floor = {
    "floor.cedar":
      '@reason("Not on this site.") forbid (principal, action == Action::"pg:select", resource) when { resource is Table && resource.name == "orders" };',
  };
  it("takes away what the bundle grants", () => {
    const policy = compiled(bundle(READ), floor);
    expect(decide(policy, "pg:select", table("orders"))).toMatchObject({
      outcome: "deny",
      policies: ["floor/floor.cedar#policy0"],
      reason: "Not on this site.",
    });
    expect(decide(policy, "pg:select", table("items")).outcome).toBe("allow");
  });
  it("cannot grant, and may speak of identities that the bundle does not have", () => {
    expect(problemsOf(bundle(READ), { "floor.cedar": "permit (principal, action, resource);" })).toMatchObject([
      { file: "floor.cedar", rule: "floor-permit", severity: "error" },
    ]);
    expect(
      compiled(bundle(READ), { "floor.cedar": 'forbid (principal == Identity::"retired", action, resource);' }).policies.size,
    ).toBeGreaterThan(0);
  });
});

describe("bounded state", () => {
  it("a policy goes on deciding rightly after its set lost its slot to others", () => {
    const cedar = loadCedar();
    let parsed = 0;
    const counting = {
      ...cedar,
      preparsePolicySet: (...args: Parameters<typeof cedar.preparsePolicySet>) => (parsed++, cedar.preparsePolicySet(...args)),
    };
    const compile = createPolicyCompiler(counting);
    const make = (name: string): Policy => {
      const result = compile(bundle(`  - { target: orders-db, actions: [pg:select], tables: [public.${name}] }\n`));
      if (!result.ok) throw new Error("does not compile");
      return result.value;
    };
    const first = make("first");
    expect(decide(first, "pg:select", table("first")).outcome).toBe("allow");
    expect(parsed).toBe(1);
    for (let index = 0; index < MAX_POLICY_SETS; index++)
      expect(decide(make(`t${index}`), "pg:select", table("first")).outcome).toBe("deny");
    // Not cached: another time of another table.
    expect(decide(first, "pg:select", table("other")).outcome).toBe("deny");
    expect(decide(first, "pg:select", table("first"), { approvals: ["x"] }).outcome).toBe("allow");
    expect(parsed).toBe(MAX_POLICY_SETS + 2);
  });

  it("a set that cannot be parsed denies, and leaves no other set in its place", () => {
    const cedar = loadCedar();
    let broken = false;
    const failing = {
      ...cedar,
      preparsePolicySet: (...args: Parameters<typeof cedar.preparsePolicySet>) =>
        broken ? { type: "failure" as const, errors: [] } : cedar.preparsePolicySet(...args),
    };
    const compile = createPolicyCompiler(failing);
    const open = compile(bundle("  - { target: orders-db, actions: [pg:all] }\n"));
    const closed = compile(bundle(READ));
    if (!open.ok || !closed.ok) throw new Error("does not compile");
    expect(decide(open.value, "pg:drop", table("orders")).outcome).toBe("allow");
    broken = true;
    expect(decide(closed.value, "pg:select", table("orders"))).toMatchObject({
      outcome: "deny",
      reason: "the policies could not be parsed",
    });
    broken = false;
    expect(decide(closed.value, "pg:select", table("items")).outcome).toBe("allow");
    expect(decide(closed.value, "pg:drop", table("orders")).outcome).toBe("deny");
  });

  it("a decision is kept by everything that it depends on", () => {
    const cedar = `permit (principal, action == Action::"pg:select", resource) when { context.workload has ref && context.workload.ref == "main" };
@id("later") forbid (principal, action == Action::"pg:select", resource) when { context.now >= datetime("2026-11-22T12:00:05Z") };`;
    const policy = compiled(bundle("  - { target: orders-db, actions: [connect] }\n", cedar));
    const workload = (ref: string) => ({ provider: "github" as const, issuer: "i", subject: "s", ref });
    for (let turn = 0; turn < 2; turn++) {
      expect(decide(policy, "pg:select", table("a"), { workload: workload("main") }).outcome).toBe("allow");
      expect(decide(policy, "pg:select", table("a"), { workload: workload("fork") }).outcome).toBe("deny");
      expect(decide(policy, "pg:select", table("a"), { workload: workload("main"), now: NOW + 4999 }).outcome).toBe("allow");
      expect(decide(policy, "pg:select", table("a"), { workload: workload("main"), now: NOW + 5000 }).policies).toEqual(["later"]);
    }
  });
});
