/**
 * YAML text to a value, with the place of every key, so that a problem found later can be pointed at. Pure.
 * Messages never quote the text: a line of agent.yaml may hold a secret that should not be there.
 */
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document, type YAMLError } from "yaml";

export interface Place {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface YamlProblem extends Place {
  readonly message: string;
}

export interface YamlSource {
  readonly value: unknown;
  readonly problems: readonly YamlProblem[];
  /** Where the value at `path` is; where it is missing, the nearest parent that is there. `key`: the key itself instead of its value. */
  place(path: readonly PropertyKey[], key?: boolean): Place;
}

const SENTENCES: Partial<Record<YAMLError["code"], string>> = {
  DUPLICATE_KEY: "this key is given twice: keep one",
  TAB_AS_INDENT: "indent with spaces, not tabs",
  BAD_INDENT: "the indentation does not fit the lines above",
  MISSING_CHAR: "a character is missing here, such as a closing quote, a bracket or the space after a colon",
  MULTILINE_IMPLICIT_KEY: "a key must be on one line: is a colon or a quote missing?",
  BLOCK_AS_IMPLICIT_KEY: "a nested mapping cannot begin on this line: put it on the next one, indented, or quote the value",
  UNEXPECTED_TOKEN: "this is not expected here: quote the value if it begins with a special character",
  TAG_RESOLVE_FAILED: "tags (!…) are not supported: quote the value if it begins with !",
  BAD_ALIAS: "aliases (*…) must name an anchor: quote the value if it begins with *",
};

export function parseYaml(text: string): YamlSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const problems = [...document.errors, ...document.warnings].map((error) => ({
    ...at(error.pos[0]),
    message: SENTENCES[error.code] ?? `this is not YAML (${error.code.toLowerCase().replaceAll("_", " ")})`,
  }));
  let value: unknown;
  if (problems.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch {
      problems.push({ line: 1, column: 1, message: "an alias (*…) names no anchor, or there are too many: write the values out" });
    }
  }
  return { value, problems, place: (path, key = false) => at(offsetOf(document, path, key)) };
}

function offsetOf(document: Document.Parsed, path: readonly PropertyKey[], key: boolean): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const [index, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step);
      if (pair === undefined) return offset;
      const wanted = key && index === path.length - 1 ? pair.key : (pair.value ?? pair.key);
      node = pair.value;
      if (isNode(wanted)) offset = wanted.range?.[0] ?? offset;
      continue;
    }
    const next: unknown = typeof step === "number" && isNode(node) && "items" in node ? node.items[step] : undefined;
    if (!isNode(next)) return offset;
    node = next;
    offset = next.range?.[0] ?? offset;
  }
  return offset;
}
