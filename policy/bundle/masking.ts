/**
 * masking.yaml → `MaskingRules`: data classes by name, what belongs to them, and how each is masked.
 *
 *     classes:
 *       email:
 *         columns: [orders-db/public.customers.email, "orders-db/crm.*.email"]
 *         names: ["*email*"]
 *         targets: [orders-db]
 *         detectors: [email]
 *         mask: { partial: domain }
 *
 * A rule that could never apply is refused here, since it would look like protection. Whether the catalogue has such a
 * column is not known here: `sallyport doctor` says so.
 */
import * as z from "zod";
import { MAX_MASKING_PATTERNS } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { DETECTOR_CLASSES } from "../detectors.ts";
import { parseJsonPath } from "../json-path.ts";
import { problem, type Place } from "../problem.ts";
import { CLASS_NAME, parseName } from "../resource.ts";
import type { Rule } from "../rules.ts";
import type { ColumnPattern, DataClass, MaskingRules, Problem } from "../types.ts";
import { list, mapping, oneOf, text } from "./fields.ts";
import { readMask } from "./mask.ts";
import { shaped, type YamlDocument } from "./yaml.ts";

const COLUMN = "a column as target/schema.table.column";
const COLUMN_ADVICE = "write target/schema.table.column, such as orders-db/public.users.email; each part may hold *";
const NAME = "a column's name in lower case, such as email or *card*";

const RawClass = mapping({
  columns: list(text(COLUMN, 512), "columns as target/schema.table.column", 2000).optional(),
  names: list(text(NAME, 128), NAME, 500).optional(),
  targets: list(
    text("a target's name", 63).regex(/^[a-z0-9*][a-z0-9._*-]*$/, "write a target's name, which may hold *, such as orders-db or *-db"),
    "a target's name or a list of them",
    64,
  ).optional(),
  detectors: list(oneOf(DETECTOR_CLASSES), `a detector or a list of them: ${DETECTOR_CLASSES.join(", ")}`, 32).optional(),
  paths: list(text("a path such as $.contact.email", 512), "paths such as $.contact.email or $.items[*].card", 200).optional(),
  mask: z.unknown().optional(),
  description: text("a sentence about this class", 500).optional(),
});

const CLASS_ADVICE = "name a data class with 1–63 of a–z, 0–9, '-', '_', '.', beginning with a letter, such as email";
const Masking = mapping({
  classes: z.record(z.string().regex(CLASS_NAME), RawClass, {
    error: (issue) =>
      issue.code === "invalid_key" ? CLASS_ADVICE : "write data classes as `name:` with columns:, names: or detectors: under it",
  }),
});

export interface MaskingFile {
  readonly file: string;
  readonly rules: MaskingRules;
  /** Place of a value inside the document, for the linter. */
  locate(path: readonly PropertyKey[]): Place;
}

/** PostgreSQL's NAMEDATALEN leaves 63 bytes; a longer name is no object's. */
const MAX_NAME_BYTES = 63;
const tooLong = (part: string): boolean => !part.includes("*") && new TextEncoder().encode(part).length > MAX_NAME_BYTES;

/** `*` is a wildcard in quoted parts too: "Card*" could not be written otherwise. */
export function parseColumnPattern(written: string): Result<ColumnPattern, string> {
  const slash = written.indexOf("/");
  const target = written.slice(0, Math.max(0, slash));
  if (!/^[a-z0-9*][a-z0-9._*-]*$/.test(target)) return err(`no target before the / in ${JSON.stringify(written)}: ${COLUMN_ADVICE}`);
  const parts = parseName(written.slice(slash + 1));
  if (!parts.ok) return err(`${parts.error}; ${COLUMN_ADVICE}`);
  const [schema, table, column, more] = parts.value.map((part) => part.text);
  if (schema === undefined || table === undefined || column === undefined || more !== undefined) {
    const said = more === undefined ? "lacks a part" : "has a part too many";
    return err(`${JSON.stringify(written)} ${said}: ${COLUMN_ADVICE}`);
  }
  const long = [schema, table, column].find(tooLong);
  if (long !== undefined)
    return err(`${JSON.stringify(long)} is longer than PostgreSQL's names, which have ${MAX_NAME_BYTES} bytes at most`);
  return ok({ target, schema, table, column });
}

/** Names are looked for in any case, so only lower case is written. */
function parseColumnName(written: string): Result<string, string> {
  if (written !== written.toLowerCase())
    return err(`${JSON.stringify(written)} has capitals: write ${written.toLowerCase()}, which finds the name in any case`);
  const parts = parseName(written);
  if (!parts.ok) return err(parts.error.replace("write schema.name", "write one column's name"));
  const [only, more] = parts.value;
  if (only === undefined || more !== undefined) return err(`${JSON.stringify(written)} has several parts: write it under columns:`);
  if (tooLong(only.text))
    return err(`${JSON.stringify(written)} is longer than PostgreSQL's names, which have ${MAX_NAME_BYTES} bytes at most`);
  return ok(only.text);
}

/** Undefined when there are problems; they are pushed. */
export function readMasking(file: string, document: YamlDocument, problems: Problem[]): MaskingFile | undefined {
  const before = problems.length;
  const raw = shaped(file, document, Masking, problems);
  if (raw === undefined) return undefined;
  const classes = Object.entries(raw.classes).map(([name, entry]): DataClass => {
    const at = (...path: PropertyKey[]): Place => document.locate(["classes", name, ...path]);
    const say = (rule: Rule, message: string, place: Place): void => {
      problems.push(problem("error", rule, file, message, place));
    };
    /** Each entry of a key as `parse` reads it; what it cannot read is said at its place. */
    const each = <T>(key: "columns" | "names" | "paths", rule: Rule, parse: (text: string) => Result<T, string>): T[] =>
      (entry[key] ?? []).flatMap((written, index) => {
        const parsed = parse(written);
        if (parsed.ok) return [parsed.value];
        say(rule, parsed.error, at(key, index));
        return [];
      });
    if (entry.columns === undefined && entry.names === undefined && entry.detectors === undefined)
      say("masking-class", `nothing belongs to ${name}: write columns:, names: or detectors:`, at());
    if (entry.targets !== undefined && entry.names === undefined && entry.detectors === undefined)
      say(
        "masking-class",
        "targets: says where names: and detectors: look, and here are none: columns: names its targets itself",
        at("targets"),
      );
    if (entry.paths !== undefined && entry.columns === undefined)
      say(
        "masking-class",
        "paths: lead into the json columns of columns:, and here are none: write columns:, or leave paths: out",
        at("paths"),
      );
    const mask = readMask(entry.mask);
    if (!mask.ok) say("masking-mask", mask.error.message, at("mask", ...mask.error.path));
    return {
      name,
      columns: each("columns", "masking-column", parseColumnPattern),
      names: each("names", "masking-column", parseColumnName),
      targets: entry.targets ?? [],
      detectors: [...new Set(entry.detectors)],
      paths: each("paths", "masking-path", parseJsonPath),
      mask: mask.ok ? mask.value : { kind: "redact" },
    };
  });
  const patterns = classes.reduce((sum, each) => sum + each.columns.length + each.names.length, 0);
  if (patterns > MAX_MASKING_PATTERNS) {
    const message = `the classes list ${patterns} columns and names, and ${MAX_MASKING_PATTERNS} are the most: use * where names have something in common`;
    problems.push(problem("error", "bundle-size", file, message, document.locateKey(["classes"])));
  }
  if (problems.length > before) return undefined;
  return { file, rules: { classes }, locate: (path) => document.locate(path) };
}
