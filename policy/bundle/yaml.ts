/**
 * One YAML file → documents of plain values that know their places. YAML 1.2's failsafe schema: every scalar is the
 * text as written (`0123`, `yes` and `1e3` stay what they are); the fields that want a number or a boolean read one.
 *
 * Refused: duplicate keys, tags, anchors and aliases (a small file must not unfold into a large one), keys that
 * are not text. Not checked here: the shape, which is zod's.
 */
import type { Rule } from "../rules.ts";
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments, visit, type Document, type Node } from "yaml";
import type { z } from "zod";
import type { Problem } from "../types.ts";
import { problem, type Place } from "../problem.ts";

export type Path = readonly PropertyKey[];

export interface YamlDocument {
  /** Strings, arrays, objects without prototype surprises, null. */
  readonly value: unknown;
  /** Place of the value at a path, or of the nearest parent that exists. */
  locate(path: Path): Place;
  /** Place of the key at a path. */
  locateKey(path: Path): Place;
}

/** One slip makes many errors after it. */
const MAX_FAULTS = 5;

function nodeAt(document: Document, path: Path): Node | null {
  let node: Node | null = document.contents;
  for (const step of path) {
    if (isMap(node)) {
      // A single mapping may stand where a list of one is meant.
      if (step === 0) continue;
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      if (pair === undefined) return node;
      node =
        isNode(pair.value) && (isMap(pair.value) || isSeq(pair.value) || pair.value.range?.[0] !== pair.value.range?.[1])
          ? pair.value
          : (pair.key as Node);
    } else if (isSeq(node) && typeof step === "number") {
      const item: unknown = node.items[step];
      if (!isNode(item)) return node;
      node = item;
    } else return node;
  }
  return node;
}

function keyAt(document: Document, path: Path): Node | null {
  const parent = nodeAt(document, path.slice(0, -1));
  const last = path.at(-1);
  if (!isMap(parent)) return parent;
  const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === last);
  return pair !== undefined && isNode(pair.key) ? pair.key : parent;
}

const STANDARD_TAGS: ReadonlySet<string> = new Set(["tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str"]);

const PARSE_OPTIONS = {
  version: "1.2",
  schema: "failsafe",
  resolveKnownTags: false,
  merge: false,
  strict: true,
  uniqueKeys: true,
  stringKeys: true,
  prettyErrors: false,
} as const;

interface Read {
  readonly documents: readonly YamlDocument[];
  readonly problems: readonly Problem[];
}

/** What the parser accepts and we do not. */
function refusals(file: string, document: Document, place: (offset: number) => Place): readonly Problem[] {
  const problems: Problem[] = [];
  const refuse = (node: Node, rule: Rule, message: string): void => {
    problems.push(problem("error", rule, file, message, place(node.range?.[0] ?? 0)));
  };
  visit(document, (key, node) => {
    if (!isNode(node)) return undefined;
    if (isAlias(node) || ("anchor" in node && node.anchor !== undefined)) {
      refuse(node, "yaml-anchor", "anchors and aliases are not accepted: write the value out");
      return visit.SKIP;
    }
    if (node.tag !== undefined && !STANDARD_TAGS.has(node.tag))
      refuse(node, "yaml-tag", `the tag ${node.tag} is not accepted: write the value without it`);
    // Objects lose this key on the way, and a claim that is lost matches more.
    if (key === "key" && isScalar(node) && node.value === "__proto__") refuse(node, "unknown-key", "a key cannot be called __proto__");
    return undefined;
  });
  return problems;
}

function readDocuments(file: string, text: string): Read {
  const lines = new LineCounter();
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const parsed: readonly Document[] = parseAllDocuments(text, { ...PARSE_OPTIONS, lineCounter: lines });
  const problems = parsed.flatMap((document) => {
    const faults = [...document.errors, ...document.warnings].slice(0, MAX_FAULTS);
    if (faults.length === 0) return refusals(file, document, place);
    return faults.map((fault) => {
      const twice = fault.code === "DUPLICATE_KEY";
      const message = twice ? "this key is there twice: keep one" : `not valid YAML: ${fault.message}`;
      return problem("error", twice ? "yaml-duplicate-key" : "yaml-syntax", file, message, place(fault.pos[0]));
    });
  });
  if (problems.length > 0) return { documents: [], problems };
  const documents = parsed
    .filter((document) => document.contents !== null)
    .map((document): YamlDocument => {
      const start = (node: Node | null): Place => place((node ?? document.contents)?.range?.[0] ?? 0);
      return {
        value: document.toJS({ maxAliasCount: 0 }) as unknown,
        locate: (path) => start(nodeAt(document, path)),
        locateKey: (path) => start(keyAt(document, path)),
      };
    });
  return { documents, problems };
}

/** Documents in order; empty ones are left out. Any problem is an error, and then there are no documents. */
export function readYaml(file: string, text: string): Read {
  try {
    return readDocuments(file, text);
  } catch {
    // The parser and the walks after it recurse: text that is nested without end exhausts the stack.
    return {
      documents: [],
      problems: [problem("error", "yaml-syntax", file, "not valid YAML: it is nested too deeply to be read", { line: 1, column: 1 })],
    };
  }
}

/** Checks a document's shape. Unknown keys are placed at the key, everything else at the value. */
export function shaped<T>(file: string, document: YamlDocument, schema: z.ZodType<T>, problems: Problem[]): T | undefined {
  const result = schema.safeParse(document.value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const unknown = issue.code === "unrecognized_keys";
    const place = unknown ? document.locateKey([...issue.path, issue.keys[0] ?? ""]) : document.locate(issue.path);
    const where = issue.path.length === 0 ? "" : `${issue.path.map(String).join(".")}: `;
    problems.push(problem("error", unknown ? "unknown-key" : "bundle-shape", file, `${where}${issue.message}`, place));
  }
  return undefined;
}
