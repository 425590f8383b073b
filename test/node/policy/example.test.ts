/** The example bundle is clean and its tests pass, commands included; docs/policy.md names all there is to name. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { ACTION_GROUPS, ACTIONS, actionEntry, expandAction } from "../../../policy/actions.ts";
import { compileBundle } from "../../../policy/cedar.node.ts";
import { runBundleTests } from "../../../policy/index.ts";
import { DETECTOR_CLASSES } from "../../../policy/detectors.ts";
import { RULES } from "../../../policy/rules.ts";
import { Workload } from "../../../protocol/workload.ts";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { compiled, NOW } from "./bundles.ts";

const ROOT = join(import.meta.dirname, "../../..");

function directory(path: string): Record<string, string> {
  const base = join(ROOT, path);
  const files = readdirSync(base, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => join(entry.parentPath, entry.name)).map((file) => [relative(base, file), readFileSync(file, "utf8")]),
  );
}

describe("examples/bundle", () => {
  const files = directory("examples/bundle");
  it("compiles without a warning", () => {
    const result = compileBundle(files);
    expect(result.ok ? result.value.warnings : result.error).toEqual([]);
  });
  it("passes its own tests with the agent's analyser", async () => {
    const results = runBundleTests(files, compiled(files), { now: NOW, analyse: await loadSqlParser() });
    expect(results.length).toBeGreaterThan(10);
    expect(results.filter((each) => !each.passed)).toEqual([]);
  });
  it("has tests that fail when a guardrail is taken away", async () => {
    const without = { ...files, "policies/guardrails.cedar": "// nothing" };
    const compiledWithout = compileBundle(without);
    if (!compiledWithout.ok) throw new Error(JSON.stringify(compiledWithout.error));
    const failing = runBundleTests(without, compiledWithout.value, { now: NOW, analyse: await loadSqlParser() }).filter(
      (each) => !each.passed,
    );
    expect(failing.map((each) => each.name)).toEqual([
      "card data is closed, although the grant covers it",
      "not from another branch",
      "card numbers are not, whoever grants it",
    ]);
  });
});

describe("examples/shop/sallyport", () => {
  const files = directory("examples/shop/sallyport");
  it("compiles without a warning and passes its own tests", async () => {
    const result = compileBundle(files);
    expect(result.ok ? result.value.warnings : result.error).toEqual([]);
    const results = runBundleTests(files, compiled(files), { now: NOW, analyse: await loadSqlParser() });
    expect(results.length).toBeGreaterThan(5);
    expect(results.filter((each) => !each.passed)).toEqual([]);
  });
  it("names columns that shop.sql has", () => {
    const sql = readFileSync(join(ROOT, "examples/shop/shop.sql"), "utf8");
    const columns = compiled(files).masking.classes.flatMap((each) => each.columns);
    expect(columns.length).toBeGreaterThan(2);
    for (const { schema, table, column } of columns)
      expect([schema, new RegExp(`CREATE TABLE ${table} \\([^;]*\\n  ${column} `).test(sql)]).toEqual(["public", true]);
  });
});

describe("docs/policy.md", () => {
  const text = readFileSync(join(ROOT, "docs/policy.md"), "utf8");
  const lines = text.split("\n");
  it("has every action with its groups and sentence", () => {
    for (const action of Object.keys(ACTIONS)) {
      const entry = actionEntry(action);
      const groups = entry?.groups.map((group) => `\`${group}\``).join(" ") ?? "";
      expect(lines).toContain(`| \`${action}\` | ${entry?.on.join(", ")} | ${groups} | ${entry?.sentence} |`);
    }
  });
  it("has every group, rule and workload field", () => {
    for (const [group, actions] of Object.entries(ACTION_GROUPS)) expect(lines).toContain(`| \`${group}\` | ${actions} |`);
    for (const [rule, sentence] of Object.entries(RULES)) expect(lines).toContain(`| \`${rule}\` | ${sentence} |`);
    for (const detector of DETECTOR_CLASSES) expect(text).toContain(`\`${detector}\``);
    for (const field of Object.keys(Workload.shape)) expect(text).toContain(`\`${field}\``);
  });
  it("its YAML and Cedar examples are accepted", () => {
    const blocks = [...text.matchAll(/```(yaml|cedar)\n([\s\S]*?)```/g)].map((match) => ({ kind: match[1], body: match[2] ?? "" }));
    const yaml = (start: string): string => blocks.find((block) => block.kind === "yaml" && block.body.startsWith(start))?.body ?? "";
    const people = ["a", "b"].map(
      (name) =>
        `name: ${name}\nkind: human\nowner: x\npurpose: y\ngroups: [dba, security]\nchat: { slack: { team: T0ACME001, user: U0${name.toUpperCase()} }, webhook: { user: ${name} } }\nmatch: { provider: oidc, claims: { sub: ${name}, org_id: x } }\ngateway: gateway:admin\n`,
    );
    const result = compileBundle({
      "gateway.yaml": yaml("audience"),
      "identities/orders-ci.yaml": `${yaml("name: orders-ci")}  - { id: destructive, target: orders-db, actions: [pg:drop], schemas: [public], approval: dba }\n${yaml("grants:").replace("grants:\n", "")}`,
      "identities/dana.yaml": yaml("name: dana"),
      "identities/people.yaml": people.join("---\n"),
      "masking.yaml": yaml("classes"),
      "policies/examples.cedar": blocks
        .filter((block) => block.kind === "cedar")
        .map((block) => block.body)
        .join("\n"),
      "tests/examples.yaml": yaml("targets"),
    });
    expect(result.ok ? result.value.warnings.map((each) => each.rule) : result.error).toEqual(["issuer-unused"]);
    expect(result.ok && [...result.value.policies.keys()]).toEqual(
      expect.arrayContaining(["index-with-consent", "no-real-cards-in-production"]),
    );
    expect(blocks.filter((block) => block.kind === "yaml")).toHaveLength(6);
  });
});

it("every group of actions holds some, and every action's groups exist", () => {
  for (const group of Object.keys(ACTION_GROUPS)) expect([group, expandAction(group).length > 0]).toEqual([group, true]);
  for (const action of Object.keys(ACTIONS))
    for (const group of actionEntry(action)?.groups ?? []) expect(Object.keys(ACTION_GROUPS)).toContain(group);
});
