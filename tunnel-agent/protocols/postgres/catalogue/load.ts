/**
 * Loads a target's catalogue through a side connection: some dozen questions in one conversation. Names, types,
 * privileges, how relations are made of each other, and what stands beside pg_catalog's own functions.
 */
import { CATALOGUE_LOAD_MS, CATALOGUE_LOCK_MS, MAX_CATALOGUE_COLUMNS } from "../../../../protocol/limits.ts";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import { opaqueCode } from "../masking/opaque.ts";
import { HARMLESS_VOLATILE } from "../sql/builtins/excluded.ts";
import { listed } from "../sql/builtins/lookup.ts";
import type { AnalyseSql } from "../sql/types.ts";
import { named, viewsToRead } from "./classify.ts";
import { createCatalogue } from "./create.ts";
import * as queries from "./queries.ts";
import type { RawCatalogue, RawCode, RawView, ViewDefinition } from "./raw.ts";
import type { Row, SideConnection } from "./side.ts";
import type { Attribute, Classified, Relation, RelationKind } from "./types.ts";

export interface Loaded {
  readonly raw: RawCatalogue;
  readonly definitions: ReadonlyMap<number, ViewDefinition>;
}

export interface LoadOptions {
  readonly side: Pick<SideConnection, "ask">;
  readonly analyse: AnalyseSql;
  readonly serverMajor: number | undefined;
  readonly rules: MaskingRules;
  readonly remembered: ReadonlyMap<string, Classified>;
}

/** What is said before the first question. Not as startup parameters: poolers refuse those they do not know. */
export const PREPARE_SIDE = `SELECT pg_catalog.set_config('lock_timeout', '${CATALOGUE_LOCK_MS}ms', false),
  pg_catalog.set_config('statement_timeout', '${CATALOGUE_LOAD_MS}ms', false),
  pg_catalog.set_config('default_transaction_read_only', 'on', false)`;

/** Thrown within this file only: one `catch` turns it into a Result. */
class Failed extends Error {}

export async function load(options: LoadOptions): Promise<Result<Loaded, string>> {
  try {
    const raw = await loadRaw(options);
    const classes = named(raw.relations, options.rules, options.remembered);
    const oids = classes.size === 0 ? [] : viewsToRead(raw, classes);
    return ok({ raw, definitions: await loadViews(oids, raw, options) });
  } catch (error) {
    if (error instanceof Failed) return err(error.message);
    throw error;
  }
}

/** Whether any rule speaks of columns: without one, relations need not be known. */
const speaksOfColumns = ({ classes }: MaskingRules): boolean => classes.some(({ columns, names }) => columns.length + names.length > 0);

async function loadRaw({ side, rules, serverMajor }: LoadOptions): Promise<RawCatalogue> {
  const rows = async (sql: string): Promise<readonly Row[]> => {
    const answer = await side.ask(sql);
    if (!answer.ok) throw new Failed(answer.error);
    return answer.value;
  };
  const withRelations = speaksOfColumns(rules);
  if (withRelations) {
    const [size] = await rows(queries.SIZE);
    const columns = Number(size?.[0] ?? 0);
    if (columns > MAX_CATALOGUE_COLUMNS) throw new Failed(`the target has ${columns} columns, more than ${MAX_CATALOGUE_COLUMNS}`);
  }
  const domains = new Map((withRelations ? await rows(queries.DOMAINS) : []).map(([oid, base]) => [number(oid), number(base)]));
  return {
    relations: withRelations ? (await rows(queries.RELATIONS)).map((row) => relation(row, domains)) : [],
    inherits: withRelations ? (await rows(queries.INHERITANCE)).map(([child, parent]) => [number(child), number(parent)] as const) : [],
    generated: withRelations
      ? (await rows(queries.GENERATED)).map(([oid, attnum, from]) => ({
          relation: number(oid),
          attnum: number(attnum),
          from: number(from),
        }))
      : [],
    views: withRelations ? (await rows(queries.VIEWS)).map((row) => view(row)) : [],
    code: [
      ...(await rows(queries.FUNCTIONS)).map((row) => code("function", row)),
      ...(await rows(queries.OPERATORS)).map((row) => code("operator", row)),
      ...types(await rows(queries.TYPES)),
    ],
    casts: (await rows(queries.CASTS)).map(([target, schema]) => ({ target: text(target), schema: text(schema) })),
    drifted: [
      ...(await rows(queries.ADDED_BUILTINS)).map(
        ([kind, name]) => ({ kind: kind === "operator" ? "operator" : "function", name: text(name) }) as const,
      ),
      ...(await rows(queries.VOLATILE_BUILTINS))
        .map(([name]) => text(name))
        .filter((name) => listed("harmless", name, serverMajor) === "yes" && !HARMLESS_VOLATILE.has(name))
        .map((name) => ({ kind: "function", name }) as const),
    ],
  };
}

const text = (value: string | null | undefined): string => value ?? "";
const number = (value: string | null | undefined): number => Number(value ?? 0);
const truth = (value: string | null | undefined): boolean => value === "t";
const json = (value: string | null | undefined): readonly unknown[] =>
  value === null || value === undefined ? [] : (JSON.parse(value) as unknown[]);

/** A domain's values are sent and compared as its base type's, however many domains deep. */
function baseType(oid: number, domains: ReadonlyMap<number, number>): number {
  let base = oid;
  for (let depth = 0; depth < 100; depth++) {
    const next = domains.get(base);
    if (next === undefined) return base;
    base = next;
  }
  return base;
}

function relation([oid, schema, name, kind, columns, rowSecurity]: Row, domains: ReadonlyMap<number, number>): Relation {
  const attributes = new Map<number, Attribute>();
  for (const item of json(columns) as readonly [number, string, number | string, boolean, boolean][]) {
    const [attnum, attribute, type, readable, generated] = item;
    attributes.set(attnum, { attnum, name: attribute, typeOid: baseType(Number(type), domains), readable, generated });
  }
  return {
    oid: number(oid),
    schema: text(schema),
    name: text(name),
    kind: text(kind) as RelationKind,
    attributes,
    rowSecurity: truth(rowSecurity),
  };
}

const view = ([oid, reads, callsOthers]: Row): RawView => ({
  oid: number(oid),
  reads: json(reads).map(Number),
  callsOthers: truth(callsOthers),
});

const code = (kind: RawCode["kind"], [schema, name, sealed, takesRow, takesValue]: Row): RawCode => ({
  kind,
  schema: text(schema),
  name: text(name),
  sealed: truth(sealed),
  takesRow: truth(takesRow),
  takesValue: truth(takesValue),
});

/** Enums, domains that nobody's function checks, and extensions' base types take a value and nothing else. */
function types(rows: readonly Row[]): RawCode[] {
  const byOid = new Map(rows.map((row) => [number(row[0]), row]));
  const isSealed = (row: Row, depth: number): boolean => {
    const [, , , kind, base, callsOthers, ofExtension] = row;
    if (kind === "e") return true;
    if (kind === "d") {
      const below = byOid.get(number(base));
      return !truth(callsOthers) && depth < 100 && (below === undefined || isSealed(below, depth + 1));
    }
    return kind === "b" && truth(ofExtension);
  };
  return rows.map((row) => ({
    kind: "type",
    schema: text(row[1]),
    name: text(row[2]),
    sealed: isSealed(row, 0),
    takesRow: false,
    takesValue: false,
  }));
}

/** The definitions of these views. One that is gone meanwhile, or cannot be read, may hold anything. */
async function loadViews(oids: readonly number[], raw: RawCatalogue, { side, analyse, serverMajor, rules, remembered }: LoadOptions) {
  const definitions = new Map<number, ViewDefinition>(oids.map((oid) => [oid, { query: undefined }]));
  if (oids.length === 0) return definitions;
  const answer = await side.ask(queries.VIEW_DEFINITIONS, [`{${oids.join(",")}}`]);
  if (!answer.ok) throw new Failed(answer.error);
  // Enough of a catalogue to tell what calls in the definitions are.
  const functions = createCatalogue({ version: 0, raw: { ...raw, relations: [] }, rules, definitions: new Map(), remembered });
  for (const [oid, sql] of answer.value) {
    const read = analyse(text(sql), serverMajor);
    const [statement] = read.ok ? read.value.statements : [];
    if (statement === undefined || statement.sketch.kind !== "query") continue;
    if (opaqueCode(statement, functions, []) !== undefined) continue;
    definitions.set(number(oid), { query: statement.sketch.query });
  }
  return definitions;
}
