/**
 * Bundle files → a `Policy`, or the problems that keep it from being one. Any error refuses the whole bundle: half a
 * bundle could lack a forbid.
 *
 * Order: classify the files, read gateway.yaml, identities, Cedar and tests, compile grants, validate everything
 * against the schema, lint. Every problem found on the way is reported, not only the first.
 */
import type { BundleFiles } from "../protocol/agent-control.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { classify, type BundleFile, type FileKind } from "./bundle/files.ts";
import { readGateway } from "./bundle/gateway.ts";
import { gatewayPolicy, grantPolicies, type GrantPolicy } from "./bundle/grants.ts";
import { readIdentity, type IdentityFile } from "./bundle/identity.ts";
import { readMasking } from "./bundle/masking.ts";
import { readTests } from "./bundle/tests.ts";
import { readYaml, type YamlDocument } from "./bundle/yaml.ts";
import type { CedarModule } from "./cedar/module.ts";
import { readAnnotations, readCedarFile } from "./cedar/read.ts";
import type { PolicySource } from "./cedar/source.ts";
import { validatePolicies } from "./cedar/validate.ts";
import { createEngine } from "./engine/decide.ts";
import { createExplain } from "./engine/explain.ts";
import { createPolicySets } from "./engine/sets.ts";
import { lint, type LintInput } from "./lint/index.ts";
import { byPlace, failed, problem } from "./problem.ts";
import type { CompileBundle, GatewayConfig, Policy, Problem } from "./types.ts";

const documentsOf = (files: readonly BundleFile[], kind: FileKind, problems: Problem[]): { file: string; document: YamlDocument }[] =>
  files
    .filter((file) => file.kind === kind)
    .flatMap(({ path, text }) => {
      const read = readYaml(path, text);
      problems.push(...read.problems);
      if (read.documents.length === 0 && read.problems.length === 0)
        problems.push(problem("error", "file-empty", path, "this file is empty: fill it or remove it", { line: 1, column: 1 }));
      return failed(read.problems) ? [] : read.documents.map((document) => ({ file: path, document }));
    });

/** Files that hold one document take the first and refuse more. */
function onlyDocument(
  files: readonly BundleFile[],
  kind: FileKind,
  problems: Problem[],
): { file: string; document: YamlDocument } | undefined {
  const [first, second] = documentsOf(files, kind, problems);
  if (second !== undefined)
    problems.push(
      problem("error", "yaml-documents", second.file, "this file holds one YAML document: remove the second", second.document.locate([])),
    );
  return first;
}

function grantSources(cedar: CedarModule, identity: IdentityFile, problems: Problem[]): readonly PolicySource[] {
  const { file, name } = identity.declaration;
  const source = (policy: GrantPolicy, place: PolicySource["place"]): PolicySource[] => {
    const parsed = cedar.policyToJson(policy.text);
    if (parsed.type === "failure") {
      problems.push(
        problem(
          "error",
          "grant-compile",
          file,
          `this grant of ${name} could not be compiled: ${parsed.errors[0]?.message ?? "unreadable"}`,
          place,
        ),
      );
      return [];
    }
    const notes = readAnnotations(parsed.json);
    return [
      {
        id: policy.id,
        origin: "grant",
        effect: parsed.json.effect,
        text: policy.text,
        file,
        place,
        approvals: notes.approvals,
        approvalMin: notes.approvalMin,
        hold: notes.hold,
        reason: notes.reason,
        json: parsed.json,
      },
    ];
  };
  // Several grants on one target imply the same: the first speaks for all.
  const implied = new Set<string>();
  const isFirst = (policy: GrantPolicy): boolean =>
    !implied.has(policy.text) && (policy.id.endsWith("/implied") ? implied.add(policy.text).size > 0 : true);
  const fromGrants = identity.grants.flatMap((grant, index) => {
    const compiled = grantPolicies(name, grant, index + 1);
    if (compiled.ok) return compiled.value.filter(isFirst).flatMap((policy) => source(policy, grant.place));
    const place = identity.locate(["grants", index, ...compiled.error.path]);
    problems.push(problem("error", "grant-name", file, compiled.error.message, place));
    return [];
  });
  const onGateway = gatewayPolicy(identity);
  return onGateway === undefined ? fromGrants : [...fromGrants, ...source(onGateway, identity.locate(["gateway"]))];
}

function uniqueIds(policies: readonly PolicySource[], problems: Problem[]): ReadonlyMap<string, PolicySource> {
  const byId = new Map<string, PolicySource>();
  for (const policy of policies) {
    const other = byId.get(policy.id);
    if (other === undefined) byId.set(policy.id, policy);
    else
      problems.push(
        problem(
          "error",
          "policy-id",
          policy.file,
          `the policy id ${policy.id} is there twice: also in ${other.file} line ${other.place.line}`,
          policy.place,
        ),
      );
  }
  return byId;
}

function readIdentities(files: readonly BundleFile[], gateway: GatewayConfig | undefined, problems: Problem[]): readonly IdentityFile[] {
  const identities: IdentityFile[] = [];
  for (const { file, document } of documentsOf(files, "identity", problems)) {
    const identity = readIdentity(file, document, gateway, problems);
    if (identity === undefined) continue;
    const twin = identities.find((other) => other.declaration.name === identity.declaration.name);
    if (twin !== undefined)
      problems.push(
        problem(
          "error",
          "identity-twice",
          file,
          `the identity ${identity.declaration.name} is declared twice: also in ${twin.declaration.file}`,
          identity.locate(["name"]),
        ),
      );
    else identities.push(identity);
  }
  return identities;
}

/** Everything but the engine: reads, compiles the grants and checks. Problems are pushed. */
export function readBundle(cedar: CedarModule, files: BundleFiles, floor: BundleFiles, problems: Problem[]): LintInput {
  const known = classify(files, problems);
  const gatewayDocument = onlyDocument(known, "gateway", problems);
  const gateway = gatewayDocument === undefined ? undefined : readGateway(gatewayDocument.file, gatewayDocument.document, problems);
  const maskingDocument = onlyDocument(known, "masking", problems);
  const masking = maskingDocument === undefined ? undefined : readMasking(maskingDocument.file, maskingDocument.document, problems);
  const identities = readIdentities(known, gateway, problems);
  const names = {
    identities: identities.map((identity) => identity.declaration.name),
    // What could not be read may declare any class.
    classes: maskingDocument !== undefined && masking === undefined ? undefined : (masking?.rules.classes ?? []).map((each) => each.name),
  };
  for (const { file, document } of documentsOf(known, "test", problems)) readTests(file, document, names, problems);
  const policies = [
    ...identities.flatMap((identity) => grantSources(cedar, identity, problems)),
    ...known.filter((file) => file.kind === "cedar").flatMap((file) => readCedarFile(cedar, file.path, file.text, "cedar", problems)),
    ...Object.entries(floor).flatMap(([file, text]) => readCedarFile(cedar, file, text, "floor", problems)),
  ];
  const channels = gateway === undefined ? undefined : gatewayDocument?.document.locate(["approvals", "channels"]);
  return { gateway, identities, policies, masking, channels };
}

export function createPolicyCompiler(cedar: CedarModule): CompileBundle {
  const makeSet = createPolicySets(cedar);
  return (files, floor = {}): Result<Policy, readonly Problem[]> => {
    const problems: Problem[] = [];
    const bundle = readBundle(cedar, files, floor, problems);
    const policies = uniqueIds(bundle.policies, problems);
    const whole = !failed(problems);
    const unique = [...policies.values()];
    // A grant whose words are wrong was compiled with them: Cedar would only repeat what is known.
    const checked = whole ? unique : unique.filter((policy) => policy.origin !== "grant");
    problems.push(...validatePolicies(cedar, checked), ...lint({ ...bundle, policies: unique }, whole));
    problems.sort(byPlace);
    if (failed(problems) || bundle.gateway === undefined) return err(problems);
    const identities = new Map(bundle.identities.map(({ declaration }) => [declaration.name, declaration]));
    const engine = createEngine({ identities, policies, makeSet });
    const explain = createExplain({ cedar, identities, policies, decide: engine.decide });
    return ok({
      explain,
      gateway: bundle.gateway,
      masking: bundle.masking?.rules ?? { classes: [] },
      identities,
      policies,
      warnings: problems,
      decide: engine.decide,
      decideAll: engine.decideAll,
    });
  };
}
