/**
 * agent.yaml, read whole: syntax, the agent's keys, each target's keys by its protocol's own schema, names that
 * occur twice. All problems at once, each as `file:line:column: key: what to write instead`.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { err, ok, type Result } from "../../protocol/result.ts";
import type { TargetProtocol } from "../session.ts";
import { nearest } from "../../policy/problem.ts";
import { AgentYaml, TARGET_COMMON_KEYS, TargetCommon } from "./schema.ts";
import { parseYaml, type Place, type YamlSource } from "./yaml.ts";

export interface TargetEntry {
  readonly name: string;
  readonly protocol: string;
  readonly environment?: string | undefined;
  readonly labels: readonly string[];
  /** The protocol's own keys, as its schema gave them. */
  readonly config: unknown;
}

export interface AgentConfig extends Omit<AgentYaml, "targets"> {
  /** Directory of agent.yaml: relative paths in it start here. */
  readonly directory: string;
  /** Absolute. */
  readonly state_dir: string;
  readonly targets: readonly TargetEntry[];
}

export interface ConfigProblem extends Place {
  readonly file: string;
  readonly message: string;
}

export const printProblem = (problem: ConfigProblem): string => `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`;

export type Protocols = Readonly<Record<string, TargetProtocol>>;

/** Keys for a file that leaves them out, as it writes them: `sallyport dev` knows the gateway and gives the enrolment token. */
export type ConfigDefaults = Readonly<Partial<Record<keyof AgentYaml, unknown>>>;

/** Reads and checks the file at `path`. */
export function loadAgentConfig(
  path: string,
  protocols: Protocols,
  defaults: ConfigDefaults = {},
): Result<AgentConfig, readonly ConfigProblem[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    return err([{ file: path, line: 1, column: 1, message: `the file cannot be read: ${code}` }]);
  }
  return parseAgentConfig(text, path, protocols, defaults);
}

export function parseAgentConfig(
  text: string,
  file: string,
  protocols: Protocols,
  defaults: ConfigDefaults = {},
): Result<AgentConfig, readonly ConfigProblem[]> {
  const source = parseYaml(text);
  if (source.problems.length > 0) return err(source.problems.map((problem) => ({ file, ...problem })));
  const problems: ConfigProblem[] = [];
  const report = (path: readonly PropertyKey[], message: string, key = false): void => {
    const label = path.length === 0 ? "" : `${printPath(path)}: `;
    problems.push({ file, ...source.place(path, key), message: label + message });
  };
  const { value } = source;
  const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
  const parsed = AgentYaml.safeParse(isMapping ? { ...defaults, ...value } : value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) reportIssue(issue, [], Object.keys(AgentYaml.shape), report);
  }
  const targets = readTargets(source, protocols, report);
  if (!parsed.success || problems.length > 0) return err(problems.sort((a, b) => a.line - b.line || a.column - b.column));
  const directory = dirname(resolve(file));
  return ok({ ...parsed.data, directory, state_dir: resolve(directory, parsed.data.state_dir), targets });
}

type Report = (path: readonly PropertyKey[], message: string, key?: boolean) => void;

function readTargets(source: YamlSource, protocols: Protocols, report: Report): TargetEntry[] {
  const { value } = source;
  const list = typeof value === "object" && value !== null && "targets" in value && Array.isArray(value.targets) ? value.targets : [];
  const entries: TargetEntry[] = [];
  const seen = new Set<string>();
  for (const [index, raw] of (list as unknown[]).entries()) {
    const common = TargetCommon.safeParse(raw);
    if (!common.success) continue; // reported with the rest of the file
    const { name, protocol, environment, labels } = common.data;
    if (seen.has(name)) report(["targets", index, "name"], "another target has this name: choose a different one");
    seen.add(name);
    const room = Object.hasOwn(protocols, protocol) ? protocols[protocol] : undefined;
    if (room === undefined) {
      report(["targets", index, "protocol"], `this agent does not speak it: write one of ${Object.keys(protocols).join(", ")}`);
      continue;
    }
    const own = Object.fromEntries(Object.entries(common.data).filter(([key]) => !(TARGET_COMMON_KEYS as readonly string[]).includes(key)));
    const config = room.config.safeParse(own);
    if (config.success) entries.push({ name, protocol, environment, labels, config: config.data });
    else
      for (const issue of config.error.issues)
        reportIssue(issue, ["targets", index], [...TARGET_COMMON_KEYS, ...keysOf(room.config)], report);
  }
  return entries;
}

/** Keys of an object schema, for suggestions; none for other schemas. */
function keysOf(schema: z.ZodType): string[] {
  return "shape" in schema && typeof schema.shape === "object" && schema.shape !== null ? Object.keys(schema.shape) : [];
}

function reportIssue(issue: z.core.$ZodIssue, base: readonly PropertyKey[], known: readonly string[], report: Report): void {
  const path = [...base, ...issue.path];
  if (issue.code !== "unrecognized_keys") {
    const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
    report(path, missing ? `it is missing: add it (${issue.expected})` : issue.message);
    return;
  }
  for (const key of issue.keys) {
    const near = issue.path.length === 0 ? nearest(key, known) : undefined;
    const instead =
      near === undefined ? (issue.path.length === 0 ? `known are ${known.join(", ")}` : "remove it") : `did you mean ${near}?`;
    report([...path, key], `unknown key: ${instead}`, true);
  }
}

const printPath = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? String(step) : `${text}.${String(step)}`),
    "",
  );
