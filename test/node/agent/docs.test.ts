/** docs/operations.md says what the code does: its examples are accepted, its tables are complete. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compileBundle } from "../../../policy/cedar.node.ts";
import { parseAgentConfig } from "../../../tunnel-agent/config/load.ts";
import { createMetrics } from "../../../tunnel-agent/metrics.ts";
import { EXIT } from "../../../tunnel-agent/main.ts";
import { PROTOCOLS } from "../../../tunnel-agent/protocols/registry.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/operations.md"), "utf8");
const block = (language: string): string => new RegExp(`\`\`\`${language}\\n([^\`]*)\`\`\``).exec(page)?.[1] ?? "";

test("the example agent.yaml is accepted", () => {
  expect(parseAgentConfig(block("yaml"), "agent.yaml", PROTOCOLS)).toMatchObject({ ok: true, value: { site: "dc1" } });
});

test("the example of two logins is accepted where the example has one", () => {
  const second = /```yaml\n( {4}user:[^`]*)```/.exec(page)?.[1] ?? "";
  expect(second).toContain("classified_login");
  const [before] = block("yaml").split("    user:");
  const parsed = parseAgentConfig(`${before}${second}`, "agent.yaml", PROTOCOLS);
  expect(parsed).toMatchObject({ ok: true });
});

test("the example floor is one", () => {
  const compiled = compileBundle({}, { "floor.cedar": block("cedar") });
  expect(compiled.ok ? [] : compiled.error.filter((problem) => problem.file === "floor.cedar")).toEqual([]);
});

test("every metric is in the table", async () => {
  const readings = {
    sessions: 0,
    connected: true,
    dials: 1,
    policyVersion: 1,
    policyAge: 0,
    spoolBytes: 0,
    backlog: { segments: 0, bytes: 0 },
  };
  const text = await createMetrics(() => readings).text();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = ""]) => name);
  expect(names.length).toBeGreaterThan(10);
  const expanded = page.replace("`sallyport_agent_upload_backlog_bytes`, `…_segments`", "$& `sallyport_agent_upload_backlog_segments`");
  for (const name of names) expect(expanded).toContain(`\`${name}\``);
});

test("every exit status is in the table", () => {
  for (const status of Object.values(EXIT)) expect(page).toMatch(new RegExp(`^\\| ${status} \\|`, "m"));
});
