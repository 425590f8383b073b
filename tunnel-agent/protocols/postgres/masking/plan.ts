/**
 * From what was proven of a statement and what the backend says of its result to what happens with each column. Both must
 * agree: the parse tree alone does not know what a name came to mean (PG-17), and the backend's (table OID, attribute
 * number) alone is blank behind every expression (PG-31) and wrong behind an assignment (PG-30).
 *
 * Guarantees: a column whose origin is classified is masked or nothing of the result passes; an origin that the catalogue
 * does not know never passes by as unclassified where anything is classified.
 * Does not look at values, and names and positions of columns mean nothing to it (PG-32).
 */
import type { DataClass, MaskingRules } from "../../../../policy/types.ts";
import { err, ok, unreachable, type Result } from "../../../../protocol/result.ts";
import type { Catalogue } from "../catalogue/types.ts";
import type { FieldDescription } from "../codec/backend.ts";
import type { ColumnMask, ColumnPlan, ColumnScan, MaskingVerdict } from "./types.ts";

/** What is done where nothing can be proven: `refuse` at level B, `mask` at level C, `leave` where the database itself judges (level A). */
export type Unprovable = "refuse" | "mask" | "leave";

export interface PlanOptions {
  /** As masked for this session: without the classes that it may read. */
  readonly catalogue: Catalogue | null;
  /** Of this target; without the classes that it may read. */
  readonly rules: MaskingRules;
  readonly unprovable: Unprovable;
}

/** Objects below this OID are the server's own (FirstNormalObjectId). */
export const FIRST_USER_OID = 16_384;

/** text, varchar, bpchar, name, json, jsonb, xml, unknown: what detectors look through. */
const TEXT = 25;
const SCANNED = new Set([TEXT, 1043, 1042, 19, 114, 3802, 142, 705]);
/** Types whose values a marker may stand in for. */
const MARKABLE = new Set([TEXT, 1043, 1042, 705]);

/** What one column is by its origin: of a class, of nobody knows what, or nothing sensitive. */
type Origin = { readonly class: string; readonly paths: ColumnMask["paths"] } | "unknown" | null;

/**
 * The plan for a result with these columns, of a statement of which one of these verdicts holds (`EXECUTE x` may run what
 * this text prepared or what was prepared before). The error says what does not agree, without any data.
 */
export function planColumns(
  fields: readonly FieldDescription[],
  verdicts: readonly MaskingVerdict[],
  options: PlanOptions,
): Result<ColumnPlan, string> {
  const { catalogue } = options;
  if (catalogue === null) return ok(fields.map((field) => scanOf(field, options.rules)));
  let why = "nothing was proven of it";
  for (const verdict of verdicts) {
    const origins = originsOf(fields, verdict, catalogue, options.unprovable);
    if (!origins.ok) {
      why = origins.error;
      continue;
    }
    return ok(fields.map((field, i) => entryOf(field, origins.value[i] ?? null, verdict, options.rules)));
  }
  return err(why);
}

/** Whether nothing of a row changes under it. */
export const isIdle = (plan: ColumnPlan): boolean => plan.every((entry) => entry === null);

function originsOf(
  fields: readonly FieldDescription[],
  verdict: MaskingVerdict,
  catalogue: Catalogue,
  unprovable: Unprovable,
): Result<readonly Origin[], string> {
  switch (verdict.kind) {
    case "untouched":
      return everyOrigin(fields, (field) => (isUnclassified(field, catalogue) ? ok(null) : err(unforeseen(field, catalogue))));
    case "projection": {
      const { columns } = verdict;
      if (columns.length !== fields.length) {
        return err(`the result has ${fields.length} columns, and ${columns.length} were foreseen`);
      }
      return everyOrigin(fields, (field, i) => {
        const expected = columns[i]?.origin ?? null;
        if (expected === null) return isUnclassified(field, catalogue) ? ok(null) : err(unforeseen(field, catalogue));
        if (field.tableOid !== expected.relation || field.attributeNumber !== expected.attnum) {
          return err(`column ${i + 1} comes from elsewhere than its statement says`);
        }
        const found = catalogue.classified(expected.relation, expected.attnum);
        if (found === undefined) return isUnclassified(field, catalogue) ? ok(null) : err(unforeseen(field, catalogue));
        return found.kind === "class" ? ok(found) : err(unforeseen(field, catalogue));
      });
    }
    case "unknown":
    case "unprovable":
      if (unprovable === "refuse") return err("nothing can be proven of it");
      return everyOrigin(fields, (field) => ok(likelyOrigin(field, catalogue, unprovable)));
    default:
      return unreachable(verdict);
  }
}

function everyOrigin(
  fields: readonly FieldDescription[],
  origin: (field: FieldDescription, i: number) => Result<Origin, string>,
): Result<readonly Origin[], string> {
  const origins: Origin[] = [];
  for (const [i, field] of fields.entries()) {
    const one = origin(field, i);
    if (!one.ok) return one;
    origins.push(one.value);
  }
  return ok(origins);
}

/** The backend names no origin, or one that is known and has no class. */
function isUnclassified({ tableOid, attributeNumber }: FieldDescription, catalogue: Catalogue): boolean {
  if (tableOid === 0) return true;
  // Made since the catalogue was loaded: it may have classes like others, unless there are none at all.
  if (catalogue.relation(tableOid) === undefined && tableOid >= FIRST_USER_OID) return !catalogue.hasClasses;
  // 0 stands for the whole row.
  if (attributeNumber === 0) return !catalogue.touchesClasses(tableOid);
  return catalogue.classified(tableOid, attributeNumber) === undefined;
}

function unforeseen({ tableOid }: FieldDescription, catalogue: Catalogue): string {
  const relation = catalogue.relation(tableOid);
  if (relation === undefined) return "a column comes from a relation that the catalogue does not have";
  return `a column of ${relation.schema}.${relation.name} is classified, and its statement does not say so`;
}

/** By lineage alone, which proves nothing (level C): what has no origin counts as of a class. */
function likelyOrigin(field: FieldDescription, catalogue: Catalogue, unprovable: Unprovable): Origin {
  const found = field.tableOid === 0 ? undefined : catalogue.classified(field.tableOid, field.attributeNumber);
  if (found?.kind === "class") return found;
  if (unprovable === "leave") return null;
  if (found !== undefined || field.tableOid === 0) return "unknown";
  return isUnclassified(field, catalogue) ? null : "unknown";
}

function entryOf(field: FieldDescription, origin: Origin, verdict: MaskingVerdict, rules: MaskingRules): ColumnMask | ColumnScan | null {
  if (origin === null) return scanOf(field, rules);
  const { typeOid } = field;
  const format = field.format === 1 ? 1 : 0;
  if (origin === "unknown") {
    const [name = "unknown"] = verdict.kind === "unprovable" ? verdict.classes : [];
    return { class: name, strategy: { kind: MARKABLE.has(typeOid) ? "redact" : "null" }, paths: [], typeOid, format };
  }
  const strategy = rules.classes.find(({ name }) => name === origin.class)?.mask ?? { kind: "null" };
  return { class: origin.class, strategy, paths: origin.paths, typeOid, format };
}

/** What detectors look for in a column; null where there are none, or where its values are no text. */
function scanOf({ typeOid, format }: FieldDescription, rules: MaskingRules): ColumnScan | null {
  // Binary jsonb begins with a version; its text stays its own business.
  if (!SCANNED.has(typeOid) || (typeOid === 3802 && format === 1)) return null;
  const scan = scansOf(rules.classes);
  return scan.length === 0 ? null : { scan, typeOid, format: format === 1 ? 1 : 0 };
}

const scansOf = (classes: readonly DataClass[]): ColumnScan["scan"] =>
  classes.flatMap(({ name, detectors, mask }) => detectors.map((detector) => ({ detector, class: name, strategy: mask })));

/** A plan for COPY's columns, which have neither types nor origins on the wire: what was proven is all there is (PG-20). */
export function planCopy(columns: number, verdicts: readonly MaskingVerdict[], options: PlanOptions): Result<ColumnPlan, string> {
  const { catalogue, rules } = options;
  const scan = scansOf(rules.classes);
  const text: ColumnScan | null = scan.length === 0 ? null : { scan, typeOid: TEXT, format: 0 };
  const plain = (): ColumnPlan => Array.from({ length: columns }, () => text);
  if (catalogue === null) return ok(plain());
  const [verdict, ...others] = verdicts;
  if (verdict === undefined || others.length > 0) return err("nothing was proven of it");
  switch (verdict.kind) {
    case "untouched":
      return ok(plain());
    case "projection": {
      if (verdict.columns.length !== columns) return err(`the copy has ${columns} columns, and ${verdict.columns.length} were foreseen`);
      const plan: (ColumnMask | ColumnScan | null)[] = [];
      for (const { origin } of verdict.columns) {
        const found = origin === null ? undefined : catalogue.classified(origin.relation, origin.attnum);
        if (found?.kind === "derived") return err("a column is computed from classified ones");
        if (origin === null || found === undefined) {
          plan.push(text);
          continue;
        }
        const typeOid = catalogue.relation(origin.relation)?.attributes.get(origin.attnum)?.typeOid ?? 0;
        const strategy = rules.classes.find(({ name }) => name === found.class)?.mask ?? { kind: "null" };
        plan.push({ class: found.class, strategy, paths: found.paths, typeOid, format: 0 });
      }
      return ok(plan);
    }
    case "unknown":
    case "unprovable":
      return options.unprovable === "leave" ? ok(plain()) : err("nothing can be proven of it");
    default:
      return unreachable(verdict);
  }
}
