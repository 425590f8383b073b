/**
 * The policy room's door: what the Worker, the agent and the CLI call. The Cedar module comes from worker/cedar.ts or
 * cedar.node.ts, whose `compileBundle` is `createPolicyCompiler` of it.
 */
import type { BundleFiles } from "../protocol/agent-control.ts";
import type { CompileBundle, DecisionRequest, Explanation, Policy, Problem, TargetFacts } from "./types.ts";

export { createPolicyCompiler } from "./compile.ts";
export { classOfColumn, rulesFor, type ColumnName } from "./masking.ts";
export { approverFor, membersOf } from "./people.ts";
export { parseResource, printResource } from "./resource.ts";
export { runBundleTests, type AnalyseCommand, type TestOptions, type TestResult } from "./run-tests.ts";

/** Every problem of a bundle, warnings included, file by file; empty when there is nothing to say. */
export function lintBundle(files: BundleFiles, compile: CompileBundle): readonly Problem[] {
  const compiled = compile(files);
  return compiled.ok ? compiled.value.warnings : compiled.error;
}

/** Why a request is decided as it is. */
export const explain = (policy: Policy, request: DecisionRequest, target?: TargetFacts): Explanation => policy.explain(request, target);
