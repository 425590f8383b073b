/**
 * Runs the bundle's own tests against its compiled policy. Commands are classified by the analyser that the caller
 * passes, the one that the agent uses; without one, a test of a command fails and says so: a test that cannot run has
 * not passed.
 */
import type { BundleFiles } from "../protocol/agent-control.ts";
import type { Result } from "../protocol/result.ts";
import type { Workload } from "../protocol/workload.ts";
import { classify } from "./bundle/files.ts";
import { readTests, type BundleTest } from "./bundle/tests.ts";
import { readYaml } from "./bundle/yaml.ts";
import type { Decision, DecisionRequest, Policy, Resource } from "./types.ts";

/** The part of the SQL room's answer that a decision needs; its `AnalyseSql` fits. */
export type AnalyseCommand = (command: string) => Result<
  {
    readonly statements: readonly {
      readonly effects: readonly {
        readonly action: string;
        readonly object:
          | { readonly type: "table" | "function"; readonly schema?: string | undefined; readonly name: string }
          | { readonly type: "schema"; readonly name: string }
          | { readonly type: "target" };
      }[];
      readonly forbidden?: { readonly sentence: string } | undefined;
    }[];
  },
  { readonly reason: string; readonly message?: string }
>;

export interface TestOptions {
  /** For tests that state no time; ms since the epoch. */
  readonly now: number;
  readonly analyse?: AnalyseCommand;
}

export interface TestResult {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly passed: boolean;
  /** What was expected and what came; empty when it passed. */
  readonly message: string;
  readonly decision: Decision;
}

type Need = Pick<DecisionRequest, "action" | "resource">;

const refusal = (reason: string): Decision => ({ outcome: "deny", policies: [], approvals: [], reason });

/** A name without a schema could be in any schema of the path: all of them are asked for, as the agent does. */
function needsOf(command: string, target: string, searchPath: readonly string[], analyse: AnalyseCommand): readonly Need[] | Decision {
  const analysed = analyse(command);
  if (!analysed.ok) return refusal(`the command cannot be read: ${analysed.error.message ?? analysed.error.reason}`);
  const forbidden = analysed.value.statements.find((statement) => statement.forbidden !== undefined)?.forbidden;
  if (forbidden !== undefined) return refusal(forbidden.sentence);
  return analysed.value.statements
    .flatMap((statement) => statement.effects)
    .flatMap(({ action, object }): Need[] => {
      if (object.type === "target") return [{ action, resource: { type: "target", target } }];
      if (object.type === "schema") return [{ action, resource: { type: "schema", target, schema: object.name } }];
      const schemas = object.schema === undefined ? searchPath : [object.schema];
      return schemas.map((schema): Need => {
        const resource: Resource =
          object.type === "table"
            ? { type: "table", target, schema, table: object.name }
            : { type: "function", target, schema, name: object.name };
        return { action, resource };
      });
    });
}

/** A job of the identity's first issuer, with what the test states of it. */
function workloadOf(test: BundleTest, policy: Policy): Workload {
  const issuer = policy.identities.get(test.identity)?.match[0]?.issuer ?? "";
  const provider = policy.gateway.issuers.find((each) => each.issuer === issuer)?.provider ?? "oidc";
  return { provider, issuer, subject: test.identity, ...test.workload };
}

function answer(test: BundleTest, policy: Policy, options: TestOptions): Decision | string {
  const context = { approvals: test.approvals, workload: workloadOf(test, policy), now: test.now ?? options.now };
  const request = (need: Need): DecisionRequest => ({ identity: test.identity, ...need, context });
  const { question } = test;
  if (question.kind === "action") return policy.decide(request(question), test.facts);
  if (options.analyse === undefined)
    return "a command can only be tested where the SQL analyser is: write action: and resource:, or run the tests with the sallyport command";
  const needs = needsOf(question.command, question.target, question.searchPath, options.analyse);
  return "outcome" in needs ? needs : policy.decideAll(needs.map(request), test.facts);
}

function fault(test: BundleTest, decision: Decision): string {
  const by = decision.policies.length === 0 ? "" : ` by ${decision.policies.join(", ")}`;
  if (decision.outcome !== test.expect) return `expected ${test.expect}, got ${decision.outcome}${by}: ${decision.reason}`;
  const asked = decision.approvals.map((each) => each.group).sort();
  if (test.asks !== undefined && JSON.stringify([...test.asks].sort()) !== JSON.stringify(asked))
    return `expected to ask ${test.asks.join(", ")}, asks ${asked.join(", ")}`;
  const missing = (test.policies ?? []).filter((id) => !decision.policies.includes(id));
  if (missing.length > 0) return `expected ${missing.join(", ")} to decide, got ${decision.policies.join(", ") || "no policy"}`;
  return "";
}

/** In the files' order. `files` are those that `policy` was compiled from, so their form is known to be good. */
export function runBundleTests(files: BundleFiles, policy: Policy, options: TestOptions): readonly TestResult[] {
  const tests = classify(files, [])
    .filter((file) => file.kind === "test")
    .flatMap(({ path, text }) =>
      readYaml(path, text).documents.flatMap((document) =>
        readTests(path, document, { identities: [...policy.identities.keys()], classes: undefined }, []),
      ),
    );
  return tests.map((test): TestResult => {
    const decision = answer(test, policy, options);
    const unanswered = typeof decision === "string";
    const message = unanswered ? decision : fault(test, decision);
    return {
      name: test.name,
      file: test.file,
      line: test.place.line,
      passed: message === "",
      message,
      decision: unanswered ? refusal(decision) : decision,
    };
  });
}
