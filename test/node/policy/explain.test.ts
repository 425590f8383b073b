/** `explain` in words, and the bundle's own tests. */
import { describe, expect, it } from "vitest";
import { explain, lintBundle, runBundleTests, type AnalyseCommand } from "../../../policy/index.ts";
import { compileBundle } from "../../../policy/cedar.node.ts";
import { ok, err } from "../../../protocol/result.ts";
import { bundle, compiled, FACTS, NOW, problemsOf, READ, request, table, target } from "./bundles.ts";

const GRANTS = `${READ}  - { id: writes, target: orders-db, actions: [pg:insert], tables: [public.orders] }
  - { id: drops, target: orders-db, actions: [pg:drop], approval: dba }
`;
const CEDAR = `@id("from-main") permit (principal in Group::"ci", action == Action::"pg:delete", resource is Table in Target::"orders-db")
when { resource.name == "orders" && context.workload has ref && context.workload.ref == "refs/heads/main" };
@id("closed") @reason("Closed.") forbid (principal, action, resource is Table) when { resource.name == "secrets" };`;
const policy = compiled(bundle(GRANTS, CEDAR));
const why = (action: string, resource: Parameters<typeof request>[1], context = {}) =>
  explain(policy, request(action, resource, context), FACTS).text.split("\n");

describe("explain", () => {
  it("names what permits, with its place", () => {
    expect(why("pg:select", table("orders"))).toEqual([
      "orders-ci pg:select on orders-db/public.orders: allow",
      "permitted",
      "  identity/orders-ci#grant-1 (identities/ci.yaml:7) permits: all of it holds",
    ]);
  });
  it("names what forbids beside what would permit", () => {
    expect(why("pg:select", table("secrets")).slice(1)).toEqual([
      "Closed.",
      "  identity/orders-ci#grant-1 (identities/ci.yaml:7) permits: all of it holds",
      "  closed (policies/p.cedar:3) forbids: Closed.",
    ]);
  });
  it("names what waits", () => {
    expect(why("pg:drop", table("orders"))[2]).toBe(
      "  identity/orders-ci#drops (identities/ci.yaml:9) waits: it waits for the consent of dba",
    );
  });
  it("names what is near, by the one part that differs", () => {
    const lines = why("pg:insert", table("items"));
    expect(lines[1]).toBe("no policy permits orders-ci pg:insert on orders-db/public.items");
    expect(lines).toContain("  identity/orders-ci#grant-1 (identities/ci.yaml:7) is near: it covers another action: in pg:read");
    expect(lines.find((line) => line.includes("#writes"))).toMatch(/is near: it would permit if .*resource\.name == "orders"/);
    expect(why("pg:delete", table("orders"))).toContain(
      "  from-main (policies/p.cedar:1) is near: it would permit if context.workload has ref",
    );
    const fork = { workload: { provider: "github", issuer: "i", subject: "s", ref: "fork" } };
    expect(why("pg:delete", table("orders"), fork)).toContain(
      '  from-main (policies/p.cedar:1) is near: it would permit if context.workload.ref == "refs/heads/main"',
    );
  });
  it("answers what cannot be asked", () => {
    expect(explain(policy, request("pg:select", table("orders"))).text).toBe(
      "orders-ci pg:select on orders-db/public.orders: deny\nnothing is known of the target orders-db",
    );
    expect(explain(policy, request("connect", target(), {}, "nobody"), FACTS).text).toBe(
      'nobody connect on orders-db: deny\nunknown identity "nobody"',
    );
  });
});

const tests = (body: string) => bundle(GRANTS, CEDAR, { "tests/t.yaml": `tests:\n${body}` });
/** Stands for a classifier: one table's DROP, or nothing that can be read. */
const analyse: AnalyseCommand = (command) =>
  command.startsWith("DROP")
    ? ok({ statements: [{ effects: [{ action: "pg:drop", object: { type: "table", name: command.slice(11) } }] }] })
    : command.startsWith("COPY")
      ? ok({ statements: [{ effects: [], forbidden: { sentence: "No programs." } }] })
      : err({ reason: "unparsable" });

describe("the bundle's tests", () => {
  const run = (body: string, withAnalyser = true) => {
    const files = tests(body);
    return runBundleTests(files, compiled(files), { now: NOW, ...(withAnalyser ? { analyse } : {}) });
  };
  it("pass and fail with file and line", () => {
    const results =
      run(`  - { name: reads, identity: orders-ci, action: pg:select, resource: orders-db/public.orders, expect: allow, policies: "identity/orders-ci#grant-1" }
  - { name: wrong, identity: orders-ci, action: pg:select, resource: orders-db/private.orders, expect: allow }
  - { name: by whom, identity: orders-ci, action: pg:select, resource: orders-db/public.orders, expect: allow, policies: closed }
  - { name: asks, identity: orders-ci, action: pg:drop, resource: orders-db/public.orders, expect: hold, asks: security }
  - { name: gateway, identity: mira, action: policy:publish, resource: gateway, expect: allow }
`);
    expect(results.map((each) => [each.name, each.file, each.line, each.passed])).toEqual([
      ["reads", "tests/t.yaml", 2, true],
      ["wrong", "tests/t.yaml", 3, false],
      ["by whom", "tests/t.yaml", 4, false],
      ["asks", "tests/t.yaml", 5, false],
      ["gateway", "tests/t.yaml", 6, true],
    ]);
    expect(results[1]?.message).toBe("expected allow, got deny: no policy permits orders-ci pg:select on orders-db/private.orders");
    expect(results[2]?.message).toBe("expected closed to decide, got identity/orders-ci#grant-1");
    expect(results[3]?.message).toBe("expected to ask security, asks dba");
  });
  it("of commands are classified by the analyser, in every schema of the path", () => {
    const results = run(`  - { name: held, identity: orders-ci, target: orders-db, command: DROP TABLE orders, expect: hold }
  - { name: two schemas, identity: orders-ci, target: orders-db, command: DROP TABLE secrets, search_path: [private, public], expect: deny, policies: closed }
  - { name: forbidden, identity: orders-ci, target: orders-db, command: COPY t TO PROGRAM 'x', expect: deny }
  - { name: unreadable, identity: orders-ci, target: orders-db, command: DORP, expect: deny }
`);
    expect(results.map((each) => [each.name, each.passed, each.decision.reason])).toEqual([
      ["held", true, "needs the consent of dba"],
      ["two schemas", true, "Closed."],
      ["forbidden", true, "No programs."],
      ["unreadable", true, "the command cannot be read: unparsable"],
    ]);
  });
  it("of commands fail where there is no analyser: what cannot run has not passed", () => {
    const [result] = run("  - { name: held, identity: orders-ci, target: orders-db, command: DROP TABLE orders, expect: deny }\n", false);
    expect(result).toMatchObject({ passed: false, message: expect.stringContaining("can only be tested where the SQL analyser is") });
  });
  it("state the job, the time and the target's facts", () => {
    const files = bundle(
      "  - { target: orders-db, actions: [pg:select], expires: 2027-01-01 }\n",
      'forbid (principal, action == Action::"pg:select", resource in Environment::"staging");',
      {
        "tests/t.yaml": `targets: [{ name: orders-db, environment: staging }]
tests:
  - { name: staging, identity: orders-ci, action: pg:select, resource: orders-db/public.orders, expect: deny }
---
tests:
  - { name: elsewhere, identity: orders-ci, action: pg:select, resource: orders-db/public.orders, expect: allow }
  - { name: later, identity: orders-ci, action: pg:select, resource: orders-db/public.orders, now: 2027-01-01, expect: deny }
`,
      },
    );
    expect(runBundleTests(files, compiled(files), { now: NOW }).map((each) => [each.name, each.passed])).toEqual([
      ["staging", true],
      ["elsewhere", true],
      ["later", true],
    ]);
  });
  it("are checked when the bundle is compiled", () => {
    const said = (body: string) =>
      problemsOf(tests(body))
        .filter((each) => each.severity === "error")
        .map((each) => `${each.line}:${each.column} ${each.rule} ${each.message}`);
    expect(said("  - { name: x, identity: orders-ic, action: pg:select, resource: a/b.c, expect: allow }\n")).toEqual([
      "2:26 test-form no identity is called orders-ic: did you mean orders-ci?",
    ]);
    expect(said("  - { name: x, identity: mira, expect: allow }\n")).toEqual([expect.stringContaining("a test asks something")]);
    expect(said("  - { name: x, identity: mira, action: pg:selct, resource: a/b, expect: allow }\n")).toEqual([
      expect.stringContaining('unknown action "pg:selct"'),
    ]);
    expect(said("  - { name: x, identity: mira, action: pg:select, resource: a/b.c.d, expect: allow }\n")).toEqual([
      expect.stringContaining("cannot read the resource"),
    ]);
    expect(said("  - { name: x, identity: mira, action: connect, resource: a, expect: alow }\n")).toEqual([
      expect.stringContaining("did you mean allow?"),
    ]);
    expect(said("  - { name: x, identity: mira, action: connect, resource: a, expect: allow, asks: dba }\n")).toEqual([
      expect.stringContaining("asks: belongs to expect: hold"),
    ]);
  });
});

it("lintBundle says all there is to say of a bundle, good or bad", () => {
  expect(lintBundle(bundle(READ), compileBundle).map((each) => each.rule)).toEqual(["group-unused", "group-unused"]);
  expect(lintBundle({}, compileBundle).map((each) => each.rule)).toContain("file-missing");
});
