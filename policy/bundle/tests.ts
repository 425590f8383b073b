/**
 * tests/*.yaml: what the bundle's authors expect of it. A file names the facts of its targets once, then its tests:
 *
 *     targets:
 *       - { name: orders-db, environment: production, labels: [pii] }
 *     tests:
 *       - name: the job reads orders
 *         identity: orders-ci
 *         action: pg:select
 *         resource: orders-db/public.orders
 *         expect: allow
 *       - name: dropping is held
 *         identity: orders-ci
 *         target: orders-db
 *         command: DROP TABLE public.orders
 *         expect: hold
 *         asks: [dba]
 */
import type { z } from "zod";
import { Workload } from "../../protocol/workload.ts";
import { actionEntry, ACTIONS } from "../actions.ts";
import { problem, suggestion, type Place } from "../problem.ts";
import { parseResource } from "../resource.ts";
import type { Problem, Resource, TargetFacts } from "../types.ts";
import { instant, list, mapping, name, oneOf, text } from "./fields.ts";
import { shaped, type YamlDocument } from "./yaml.ts";

const workloadFields = Object.fromEntries(
  Object.keys(Workload.shape).map((field) => [field, field === "provider" ? Workload.shape.provider.optional() : text("text").optional()]),
);

const Target = mapping({
  name: name("a target's name"),
  protocol: text("a protocol such as postgres", 63).default("postgres"),
  environment: text("an environment's name", 63).optional(),
  labels: list(text("a label", 63), "a label or a list of labels", 32).default([]),
});

const Test = mapping({
  name: text("what this test shows", 256),
  identity: name("an identity's name"),
  workload: mapping(workloadFields).optional(),
  approvals: list(name("a group's name"), "groups that have consented", 8).default([]),
  now: instant.optional(),
  action: text("an action such as pg:select", 64).optional(),
  resource: text("a resource: TARGET, TARGET/schema.table, TARGET/[class], gateway", 512).optional(),
  target: name("the target of the command").optional(),
  command: text("a command, such as an SQL statement", 65_536).optional(),
  search_path: list(text("a schema's name", 63), "schemas that unqualified names are looked up in", 16).default(["public"]),
  expect: oneOf(["allow", "hold", "deny"]),
  asks: list(name("a group's name"), "the groups that must be asked", 8).optional(),
  policies: list(text("a policy's id", 256), "ids of the policies that decide", 32).optional(),
});

const Tests = mapping({
  targets: list(Target, "the facts of the targets", 64).default([]),
  tests: list(Test, "tests", 1000),
});

export type Question =
  | { readonly kind: "action"; readonly action: string; readonly resource: Resource }
  | { readonly kind: "command"; readonly target: string; readonly command: string; readonly searchPath: readonly string[] };

export interface BundleTest {
  readonly name: string;
  readonly file: string;
  readonly place: Place;
  readonly identity: string;
  /** Only what the test states. */
  readonly workload: Partial<Workload>;
  readonly approvals: readonly string[];
  /** ms since the epoch. */
  readonly now: number | undefined;
  readonly question: Question;
  /** Facts of the target that is asked about; undefined for the gateway. */
  readonly facts: TargetFacts | undefined;
  readonly expect: "allow" | "hold" | "deny";
  readonly asks: readonly string[] | undefined;
  readonly policies: readonly string[] | undefined;
}

type RawTest = z.infer<typeof Test>;

function readQuestion(raw: RawTest, fault: (key: string, message: string) => void): Question | undefined {
  if (raw.command !== undefined) {
    if (raw.action !== undefined || raw.resource !== undefined)
      fault("command", "a test asks one thing: write action: and resource:, or target: and command:");
    if (raw.target === undefined) fault("command", "missing: write target: beside command:");
    return raw.target === undefined
      ? undefined
      : { kind: "command", target: raw.target, command: raw.command, searchPath: raw.search_path };
  }
  const written = raw.resource ?? raw.target;
  if (raw.action === undefined || written === undefined) {
    fault("name", "a test asks something: write action: and resource:, or target: and command:");
    return undefined;
  }
  if (actionEntry(raw.action) === undefined)
    fault("action", `unknown action ${JSON.stringify(raw.action)}${suggestion(raw.action, Object.keys(ACTIONS))}`);
  const resource = parseResource(written);
  if (resource.ok) return { kind: "action", action: raw.action, resource: resource.value };
  fault(raw.resource === undefined ? "target" : "resource", resource.error);
  return undefined;
}

/** What a test may speak of. */
export interface KnownNames {
  readonly identities: readonly string[];
  /** Undefined: not known, so any will do. */
  readonly classes: readonly string[] | undefined;
}

/** The tests of one document; problems are pushed. */
export function readTests(file: string, document: YamlDocument, known: KnownNames, problems: Problem[]): readonly BundleTest[] {
  const raw = shaped(file, document, Tests, problems);
  if (raw === undefined) return [];
  return raw.tests.flatMap((test, index): BundleTest[] => {
    const fault = (key: string, message: string): void => {
      problems.push(problem("error", "test-form", file, message, document.locate(["tests", index, key])));
    };
    if (!known.identities.includes(test.identity))
      fault("identity", `no identity is called ${test.identity}${suggestion(test.identity, known.identities)}`);
    if (test.asks !== undefined && test.expect !== "hold") fault("asks", "asks: belongs to expect: hold");
    const question = readQuestion(test, fault);
    if (question === undefined) return [];
    // A slip of the pen would be denied, and a test that expects that would pass.
    if (question.kind === "action" && question.resource.type === "class" && known.classes?.includes(question.resource.name) === false)
      fault("resource", `no data class is called ${question.resource.name}${suggestion(question.resource.name, known.classes)}`);
    const target =
      question.kind === "command" ? question.target : question.resource.type === "gateway" ? undefined : question.resource.target;
    return [
      {
        name: test.name,
        file,
        place: document.locate(["tests", index]),
        identity: test.identity,
        workload: test.workload ?? {},
        approvals: test.approvals,
        now: test.now === undefined ? undefined : Date.parse(test.now),
        question,
        facts:
          target === undefined
            ? undefined
            : (raw.targets.find((each) => each.name === target) ?? { name: target, protocol: "postgres", labels: [] }),
        expect: test.expect,
        asks: test.asks,
        policies: test.policies,
      },
    ];
  });
}
