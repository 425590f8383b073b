/**
 * Which columns are classified: those that the rules name, and all that shows their values — partitions and heirs and
 * their parents, generated columns, views and materialized views, the planner's samples. Pure.
 *
 * Guarantees: a column that shows classified values is classified, as far as relations are made of each other in the
 * catalogue. What triggers, functions or people copied elsewhere is not seen; rules have to name it.
 */
import { classOfColumn } from "../../../../policy/masking.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import { Lineage, classesOf, type Relations } from "../masking/lineage.ts";
import type { QualifiedName } from "../sql/names.ts";
import type { RawCatalogue, ViewDefinition } from "./raw.ts";
import type { Classified, Relation } from "./types.ts";

export type Classes = Map<number, Map<number, Classified>>;

/** Column OID and number, as a key. */
export const columnKey = (oid: number, attnum: number): string => `${oid}.${attnum}`;

export const isSystemSchema = (schema: string): boolean =>
  schema === "pg_catalog" || schema === "information_schema" || schema === "pg_toast";

/**
 * Columns of the server's own relations that hold values of others' columns, or texts that may: planner's samples
 * (PG-40), and what sessions run.
 */
const SAMPLES: ReadonlyMap<string, RegExp> = new Map([
  ["pg_statistic", /^stavalues\d$/],
  ["pg_stats", /^(most_common_vals|histogram_bounds|most_common_elems|range_bounds_histogram)$/],
  ["pg_stats_ext", /^most_common_vals$/],
  ["pg_stats_ext_exprs", /^(most_common_vals|histogram_bounds|most_common_elems|range_bounds_histogram)$/],
  ["pg_statistic_ext_data", /^(stxdmcv|stxdexpr)$/],
  ["pg_stat_activity", /^query$/],
  ["pg_stat_statements", /^query$/],
  ["pg_stat_monitor", /^(query|comments)$/],
]);

/** Those of extensions are found in any schema. */
const isSample = ({ schema, name }: Relation, column: string): boolean => {
  const columns = SAMPLES.get(name);
  return columns !== undefined && (schema === "pg_catalog" || name.startsWith("pg_stat_")) && columns.test(column);
};

/** Two things that are true of one column. */
export function both(one: Classified | undefined, other: Classified): Classified {
  if (one === undefined) return other;
  if (one.kind === "class" && other.kind === "class" && one.class === other.class) {
    const same = JSON.stringify(one.paths) === JSON.stringify(other.paths);
    return same ? one : { ...one, paths: [] };
  }
  return { kind: "derived", from: [...new Set([...classesOf(one), ...classesOf(other)])].sort() };
}

/** What the rules say of each column by its name; `remembered`: what was known of it by its number. */
export function named(relations: readonly Relation[], rules: MaskingRules, remembered: ReadonlyMap<string, Classified>): Classes {
  const classes: Classes = new Map();
  for (const relation of relations) {
    const { oid, schema, name: table, attributes } = relation;
    const found = new Map<number, Classified>();
    for (const { attnum, name } of attributes.values()) {
      const rule = classOfColumn(isSystemSchema(schema) ? onlyExact(rules, schema) : rules, { schema, table, column: name });
      const memory = remembered.get(columnKey(oid, attnum));
      const direct: Classified | undefined =
        rule === undefined ? undefined : { kind: "class", class: rule.dataClass.name, paths: rule.paths };
      const classified = memory === undefined ? direct : both(direct, memory);
      if (classified !== undefined) found.set(attnum, classified);
    }
    if (found.size > 0) classes.set(oid, found);
  }
  return classes;
}

/** Patterns are not meant for the server's own relations: only a rule that names their schema speaks of them. */
function onlyExact(rules: MaskingRules, schema: string): MaskingRules {
  const classes = rules.classes.map((one) => ({ ...one, names: [], columns: one.columns.filter((pattern) => pattern.schema === schema) }));
  return { classes };
}

/** Views whose definition has to be read: they may show something classified, or call what nobody can see through. */
export function viewsToRead(raw: RawCatalogue, classes: Classes): number[] {
  const suspect = new Set(classes.keys());
  const reading = new Set<number>();
  for (let before = -1; before !== suspect.size + reading.size;) {
    before = suspect.size + reading.size;
    for (const [child, parent] of raw.inherits) {
      if (suspect.has(child)) suspect.add(parent);
      else if (suspect.has(parent)) suspect.add(child);
    }
    for (const { oid, reads, callsOthers } of raw.views) {
      if (!callsOthers && reads.length > 0 && !reads.some((one) => suspect.has(one))) continue;
      suspect.add(oid);
      reading.add(oid);
    }
  }
  return [...reading];
}

/** Each turn can only add; a chain of views longer than this is closed by calling all of it computed. */
const MAX_TURNS = 200;

/** Classes by which a view's rows are chosen, by its OID. */
export type Filters = ReadonlyMap<number, readonly string[]>;

/** Closes `classes` over everything that shows what they name. */
export function close(classes: Classes, raw: RawCatalogue, definitions: ReadonlyMap<number, ViewDefinition>): Filters {
  if (classes.size === 0) return new Map();
  const byOid = new Map(raw.relations.map((relation) => [relation.oid, relation]));
  const closing = new Closing(classes, byOid, raw.relations);
  for (const relation of raw.relations) {
    for (const { attnum, name } of relation.attributes.values()) {
      if (isSample(relation, name)) closing.add(relation.oid, attnum, { kind: "derived", from: closing.all });
    }
  }
  for (let turn = 0; closing.changed; turn++) {
    closing.changed = false;
    for (const [child, parent] of raw.inherits) closing.inherit(child, parent);
    for (const { relation, attnum, from } of raw.generated) {
      const source = classes.get(relation)?.get(from);
      if (source !== undefined) closing.add(relation, attnum, { kind: "derived", from: classesOf(source) });
    }
    for (const [oid, definition] of definitions) {
      if (turn < MAX_TURNS) closing.view(oid, definition);
      else closing.wholly(oid, closing.all);
    }
  }
  return closing.filters;
}

class Closing implements Relations {
  changed = true;
  readonly filters = new Map<number, readonly string[]>();
  readonly all: readonly string[];
  readonly #classes: Classes;
  readonly #byOid: ReadonlyMap<number, Relation>;
  readonly #byName = new Map<string, Relation>();
  /** Columns whose class a rule states: a computed value of that class is what it says. */
  readonly #stated = new Set<string>();

  constructor(classes: Classes, byOid: ReadonlyMap<number, Relation>, relations: readonly Relation[]) {
    this.#classes = classes;
    this.#byOid = byOid;
    this.all = [...new Set([...classes.values()].flatMap((columns) => [...columns.values()].flatMap((one) => classesOf(one))))].sort();
    for (const relation of relations) this.#byName.set(`${relation.schema}\0${relation.name}`, relation);
    for (const [oid, columns] of classes) for (const attnum of columns.keys()) this.#stated.add(columnKey(oid, attnum));
  }

  /** A view's definition, as the server prints it, has every name with its schema but those of pg_catalog. */
  candidates({ schema, name }: QualifiedName): readonly Relation[] {
    const found = this.#byName.get(`${schema ?? "pg_catalog"}\0${name}`);
    return found === undefined ? [] : [found];
  }

  classified(oid: number, attnum: number): Classified | undefined {
    return this.#classes.get(oid)?.get(attnum);
  }

  filteredBy(oid: number): readonly string[] {
    return this.filters.get(oid) ?? [];
  }

  add(oid: number, attnum: number, classified: Classified): void {
    let columns = this.#classes.get(oid);
    if (columns === undefined) {
      columns = new Map();
      this.#classes.set(oid, columns);
    }
    const before = columns.get(attnum);
    const stated =
      before?.kind === "class" && this.#stated.has(columnKey(oid, attnum)) && classesOf(classified).every((one) => one === before.class);
    if (stated) return;
    const after = both(before, classified);
    if (JSON.stringify(after) === JSON.stringify(before)) return;
    columns.set(attnum, after);
    this.changed = true;
  }

  /** Columns of one name are one column. A parent shows its children's rows; a child holds what was sent to its parent. */
  inherit(child: number, parent: number): void {
    const [below, above] = [this.#byOid.get(child), this.#byOid.get(parent)];
    if (below === undefined || above === undefined) return;
    const numbers = new Map([...below.attributes.values()].map(({ name, attnum }) => [name, attnum]));
    for (const { name, attnum } of above.attributes.values()) {
      const own = numbers.get(name);
      if (own === undefined) continue;
      const [lower, upper] = [this.classified(child, own), this.classified(parent, attnum)];
      if (lower !== undefined) this.add(parent, attnum, lower);
      if (upper !== undefined) this.add(child, own, upper);
    }
  }

  view(oid: number, { query }: ViewDefinition): void {
    if (query === undefined) {
      this.wholly(oid, this.all);
      return;
    }
    const lineage = new Lineage(this, false);
    const { columns, open } = lineage.top(query);
    const attributes = [...(this.#byOid.get(oid)?.attributes.values() ?? [])];
    const onRows = lineage.touches.filter(({ output }) => output === null).flatMap(({ classes }) => classes);
    if (lineage.unknown.length > 0 || open || columns.length !== attributes.length) this.wholly(oid, this.all);
    else if (onRows.length > 0) this.wholly(oid, onRows);
    columns.forEach(({ taint }, index) => {
      const attnum = attributes[index]?.attnum;
      if (attnum !== undefined && taint !== undefined) this.add(oid, attnum, taint);
    });
    for (const { output, classes } of lineage.touches) {
      const attnum = output === null ? undefined : attributes[output]?.attnum;
      if (attnum !== undefined) this.add(oid, attnum, { kind: "derived", from: classes });
    }
  }

  /** Which rows there are already says something: every column is computed. */
  wholly(oid: number, from: readonly string[]): void {
    const classes = [...new Set([...this.filteredBy(oid), ...from])].sort();
    if (classes.length > this.filteredBy(oid).length) this.changed = true;
    this.filters.set(oid, classes);
    for (const attnum of this.#byOid.get(oid)?.attributes.keys() ?? []) this.add(oid, attnum, { kind: "derived", from: classes });
  }
}
