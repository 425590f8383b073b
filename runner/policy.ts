/** What `sallyport policy …` does: the policy room on a directory, and publishing it. */
import { compileBundle } from "../policy/cedar.node.ts";
import { explain, parseResource, runBundleTests } from "../policy/index.ts";
import type { Policy, Problem, TargetFacts } from "../policy/types.ts";
import type { BundleFiles } from "../protocol/agent-control.ts";
import { BundlePushAnswer } from "../protocol/api.ts";
import { loadSqlParser } from "../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { bootstrapRequest } from "./bootstrap.ts";
import { readBundleDirectory } from "./bundle.ts";
import type { ExplainOptions, PushOptions } from "./commands/policy.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import { GatewayRefused } from "./ask.ts";
import { connectGateway } from "./options.ts";
import { json, note, out, plain, plainLines } from "./print.ts";

type ShownProblem = Omit<Problem, "line" | "column"> & { readonly line?: number | undefined; readonly column?: number | undefined };

/** `file:line:column: severity: message [rule]`, as editors and CI systems recognise it. */
const print = ({ file, line, column, severity, rule, message }: ShownProblem, directory: string): string =>
  plain(
    `${directory}/${file}${line === undefined ? "" : `:${line}${column === undefined ? "" : `:${column}`}`}: ${severity}: ${message} [${rule}]`,
  );

async function read(directory: string): Promise<BundleFiles> {
  const files = await readBundleDirectory(directory);
  if (!files.ok) throw new CommandFailed(EXIT.usage, files.error);
  return files.value;
}

async function compile(directory: string): Promise<{ files: BundleFiles; policy: Policy }> {
  const files = await read(directory);
  const compiled = compileBundle(files);
  if (compiled.ok) return { files, policy: compiled.value };
  for (const problem of compiled.error) process.stderr.write(`${print(problem, directory)}\n`);
  throw new CommandFailed(EXIT.failed, `the bundle ${directory} does not compile: see above`);
}

export async function lint(directory: string, asJson: boolean): Promise<number> {
  const files = await read(directory);
  const compiled = compileBundle(files);
  const problems = compiled.ok ? compiled.value.warnings : compiled.error;
  if (asJson) json({ ok: compiled.ok, problems });
  else {
    for (const problem of problems) out(print(problem, directory));
    const errors = problems.filter((problem) => problem.severity === "error").length;
    note(
      compiled.ok
        ? `${directory} is good${problems.length === 0 ? "" : `, with ${problems.length} warning(s)`}`
        : `${errors} error(s) in ${directory}`,
    );
  }
  return compiled.ok ? EXIT.ok : EXIT.failed;
}

export async function test(directory: string, asJson: boolean): Promise<number> {
  const { files, policy } = await compile(directory);
  const results = runBundleTests(files, policy, { now: Date.now(), analyse: await loadSqlParser() });
  const failed = results.filter((result) => !result.passed);
  if (asJson) json({ passed: results.length - failed.length, failed: failed.length, results });
  else {
    for (const result of results) {
      out(
        plain(
          `${result.passed ? "ok  " : "FAIL"} ${result.name}${result.passed ? "" : `\t(${directory}/${result.file}:${result.line}) ${result.message}`}`,
        ),
      );
    }
    note(results.length === 0 ? `no tests in ${directory}/tests` : `${results.length - failed.length} passed, ${failed.length} failed`);
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

export async function explainRequest(
  directory: string,
  asked: { readonly target: string; readonly action: string; readonly resource: string | undefined },
  options: ExplainOptions,
): Promise<number> {
  const { policy } = await compile(directory);
  const identity = policy.identities.get(options.identity);
  if (identity === undefined)
    throw new CommandFailed(
      EXIT.usage,
      `the bundle declares no identity ${plain(options.identity)}; it has ${[...policy.identities.keys()].join(", ")}`,
    );
  const resource = parseResource(asked.resource === undefined ? asked.target : `${asked.target}/${asked.resource}`);
  if (!resource.ok) throw new CommandFailed(EXIT.usage, resource.error);
  const classes = policy.masking.classes.map((each) => each.name);
  if (resource.value.type === "class" && !classes.includes(resource.value.name)) {
    const declared = classes.length === 0 ? "none" : classes.join(", ");
    throw new CommandFailed(EXIT.usage, `no data class is called ${resource.value.name}; masking.yaml declares ${declared}`);
  }
  const issuer = identity.match[0]?.issuer ?? "";
  const provider = policy.gateway.issuers.find((entry) => entry.issuer === issuer)?.provider ?? "oidc";
  const facts: TargetFacts = { name: asked.target, protocol: "postgres", environment: options.environment, labels: [] };
  const explanation = explain(
    policy,
    {
      identity: identity.name,
      action: asked.action,
      resource: resource.value,
      context: { approvals: options.approved ?? [], workload: { provider, issuer, subject: "" }, now: Date.now() },
    },
    facts,
  );
  if (options.json === true) json(explanation);
  else out(plainLines(explanation.text));
  return { allow: EXIT.ok, hold: EXIT.approval, deny: EXIT.failed }[explanation.decision.outcome];
}

export async function push(directory: string, options: PushOptions): Promise<number> {
  const { files } = await compile(directory);
  return publish("/v1/bundles", { files, ...common(options) }, options, directory);
}

export const rollback = (version: number, options: PushOptions): Promise<number> =>
  publish("/v1/bundles/rollback", { to: version, ...common(options) }, options, `version ${version}`);

const common = ({ note: why, expectActive, allowLockout }: PushOptions) => ({
  ...(why === undefined ? {} : { note: why }),
  ...(expectActive === undefined ? {} : { expect_active: expectActive }),
  ...(allowLockout === true ? { allow_lockout: true } : {}),
});

async function publish(path: string, body: unknown, options: PushOptions, directory: string): Promise<number> {
  try {
    const answer =
      options.bootstrap === true
        ? await bootstrapRequest(options.gateway, path, BundlePushAnswer, body)
        : await connectGateway(options).request(path, BundlePushAnswer, { method: "POST", body });
    if (options.json === true) json(answer);
    else {
      for (const warning of answer.warnings) note(print(warning, directory));
      out(`version ${answer.version} is active (digest ${answer.digest.slice(0, 12)})`);
      const missed = answer.sites.filter((site) => !site.delivered).map((site) => site.site);
      if (missed.length > 0) note(`not told yet, they take it when their agents connect: ${missed.join(", ")}`);
    }
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof GatewayRefused)) throw error;
    for (const problem of error.problem.problems ?? []) process.stderr.write(`${print(problem, directory)}\n`);
    throw error;
  }
}
