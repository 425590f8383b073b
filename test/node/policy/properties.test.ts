/** What holds for any request: never a throw, forbid wins, consent never reaches beyond the permit that asks for it. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACTIONS } from "../../../policy/actions.ts";
import { loadCedar } from "../../../policy/cedar.node.ts";
import { cedarPattern, cedarString } from "../../../policy/cedar/text.ts";
import { cedarRequest } from "../../../policy/engine/entities.ts";
import { parseResource, printResource } from "../../../policy/resource.ts";
import type { DecisionRequest, Resource } from "../../../policy/types.ts";
import { bundle, compiled, FACTS, NOW } from "./bundles.ts";

type PatternElement = "Wildcard" | { readonly Literal: string };

const GRANTS = `  - { target: orders-db, actions: [pg:read], tables: [public.*] }
  - { target: orders-db, actions: [pg:drop], schemas: [public], approval: dba }
`;
const CEDAR = `@id("closed") forbid (principal, action, resource is Table) when { resource.name == "secrets" };
@id("ci-writes") @approval("dba") permit (principal in Group::"ci", action in Action::"pg:write", resource in Target::"orders-db")
when { context.approvals.contains("dba") };`;
const policy = compiled(bundle(GRANTS, CEDAR));

const word = fc.oneof(
  fc.constantFrom("public", "orders", "secrets", "orders-db", "", "a.b", '"', "__proto__"),
  fc.string({ unit: "binary", maxLength: 12 }),
);
const resource: fc.Arbitrary<Resource> = fc.oneof(
  fc.constant<Resource>({ type: "gateway" }),
  fc.record({ type: fc.constant("target" as const), target: word }),
  fc.record({ type: fc.constant("schema" as const), target: word, schema: word }),
  fc.record({ type: fc.constant("table" as const), target: word, schema: word, table: word }),
  fc.record({ type: fc.constant("function" as const), target: word, schema: word, name: word }),
);
const request: fc.Arbitrary<DecisionRequest> = fc.record({
  identity: fc.oneof({ weight: 4, arbitrary: fc.constant("orders-ci") }, { weight: 1, arbitrary: word }),
  action: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...Object.keys(ACTIONS)) }, { weight: 1, arbitrary: word }),
  resource,
  context: fc.record({
    approvals: fc.array(fc.oneof(fc.constantFrom("dba", "security"), word), { maxLength: 3 }),
    workload: fc.record({ provider: fc.constant("github" as const), issuer: word, subject: word, ref: word }),
    now: fc.oneof(fc.constant(NOW), fc.double()),
  }),
});
const facts = fc.oneof(fc.constant(FACTS), fc.record({ name: word, protocol: word, labels: fc.array(word, { maxLength: 2 }) }));

describe("any request", () => {
  it("is decided without a throw, and allowed only by a policy that is named", () => {
    fc.assert(
      fc.property(request, facts, (asked, about) => {
        const decision = policy.decide(asked, about);
        if (decision.outcome !== "deny") expect(decision.policies.length).toBeGreaterThan(0);
        if (decision.outcome === "hold") expect(decision.approvals.length).toBeGreaterThan(0);
        else expect(decision.approvals).toEqual([]);
        const explained = policy.explain(asked, about);
        expect(explained.decision).toEqual(decision);
      }),
      { numRuns: 60 },
    );
  });

  it("on a forbidden table is denied, whatever the action, the consent and the job", () => {
    fc.assert(
      fc.property(request, (asked) => {
        const secrets: Resource = { type: "table", target: "orders-db", schema: "public", table: "secrets" };
        expect(policy.decide({ ...asked, resource: secrets }, FACTS).outcome).toBe("deny");
      }),
      { numRuns: 60 },
    );
  });

  it("gets from a group's consent only what a permit annotated with that group gives", () => {
    fc.assert(
      fc.property(request, fc.array(fc.constantFrom("dba", "security", "ci"), { maxLength: 3 }), (asked, approvals) => {
        const bare = policy.decide({ ...asked, context: { ...asked.context, approvals: [] } }, FACTS);
        const consented = policy.decide({ ...asked, context: { ...asked.context, approvals } }, FACTS);
        if (bare.outcome === "deny") expect(consented.outcome).toBe("deny");
        if (bare.outcome === "allow") expect(consented.outcome).toBe("allow");
        if (bare.outcome === "hold" && consented.outcome === "allow") {
          const asks = consented.policies.map((id) => policy.policies.get(id)?.approvals ?? []);
          expect(asks.some((groups) => groups.length > 0 && groups.every((group) => (approvals as string[]).includes(group)))).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });
});

it("leaving out the policies of other principals changes no decision", () => {
  const cedar = loadCedar();
  const staticPolicies = Object.fromEntries([...policy.policies].map(([id, source]) => [id, source.text]));
  const orders = policy.identities.get("orders-ci");
  if (orders === undefined) throw new Error("no identity");
  const known = request.filter(
    (asked) => Object.hasOwn(ACTIONS, asked.action) && Number.isFinite(asked.context.now) && Math.abs(asked.context.now) < 1e14,
  );
  fc.assert(
    fc.property(known, (asked) => {
      const about = asked.resource.type === "gateway" ? undefined : { ...FACTS, name: asked.resource.target };
      const mine = policy.decide({ ...asked, identity: "orders-ci" }, about);
      const whole = cedar.isAuthorized({ ...cedarRequest(asked, orders, about, asked.context.approvals), policies: { staticPolicies } });
      if (whole.type === "success" && whole.response.diagnostics.errors.length === 0 && mine.reason.startsWith("permitted"))
        expect(whole.response.decision).toBe("allow");
      if (whole.type === "success" && whole.response.decision === "allow" && mine.outcome !== "allow") {
        // Only what never reaches Cedar is refused beyond its answer.
        expect(mine.reason).toMatch(/is not asked of|not well-formed/);
      }
    }),
    { numRuns: 60 },
  );
});

it("any text survives as a Cedar literal and as a pattern, and ends none", () => {
  const cedar = loadCedar();
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 20 }).filter((text) => text.isWellFormed()),
      (text) => {
        const parsed = cedar.policyToJson(
          `permit (principal, action, resource) when { ${cedarString(text)} == "" } when { "" like ${cedarPattern(text)} };`,
        );
        if (parsed.type === "failure") throw new Error(JSON.stringify([text, parsed.errors]));
        const [literal, pattern] = parsed.json.conditions.map((condition) => condition.body);
        expect(literal).toEqual({ "==": { left: { Value: text }, right: { Value: "" } } });
        const elements = pattern !== undefined && "like" in pattern ? (pattern.like as { pattern: readonly PatternElement[] }).pattern : [];
        expect(elements.map((element) => (element === "Wildcard" ? "*" : element.Literal)).join("")).toBe(text);
      },
    ),
    { numRuns: 300 },
  );
});

it("a resource's printed form is one-to-one and reads back", () => {
  const name = fc.string({ unit: "binary", minLength: 1, maxLength: 8 });
  const plainTarget = fc.stringMatching(/^[a-z0-9]{1,8}$/).filter((text) => text !== "gateway");
  const object = fc.oneof(
    fc.record({ type: fc.constant("schema" as const), target: plainTarget, schema: name }),
    fc.record({ type: fc.constant("table" as const), target: plainTarget, schema: name, table: name }),
    fc.record({ type: fc.constant("function" as const), target: plainTarget, schema: name, name }),
  );
  fc.assert(
    fc.property(object, (each) => {
      expect(parseResource(printResource(each))).toEqual({ ok: true, value: each });
    }),
    { numRuns: 500 },
  );
});
