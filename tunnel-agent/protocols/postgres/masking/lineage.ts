/**
 * Follows what a query reads to columns of the catalogue: which of its outputs are bare copies of which column, and
 * every other use of a classified one (a touch). Names are resolved as PostgreSQL does it (parse_relation.c,
 * parse_expr.c), and where it is not certain which of several things a name means, it means all of them.
 *
 * Guarantees: a classified column that the query could look at is either the origin of an output or a touch; a name that
 * the catalogue does not have is `unknown`. Does not look at functions, operators and casts: that is prove.ts.
 */
import { unreachable } from "../../../../protocol/result.ts";
import type { Classified, Relation } from "../catalogue/types.ts";
import type { QualifiedName } from "../sql/names.ts";
import type { ChangeQuery, FromItem, Output, Query, Reads, SelectQuery, SortKey, With } from "../sql/sketch/types.ts";
import { columnsOf, expand, lookUp, renamed, type Column, type Item, type Scope } from "./scope.ts";

/** What lineage asks of a catalogue. */
export interface Relations {
  /** Every relation that the name may mean with this path. */
  candidates(name: QualifiedName): readonly Relation[];
  classified(oid: number, attnum: number): Classified | undefined;
  /** Classes of the columns by which its rows were chosen or ordered: a view's WHERE. */
  filteredBy(oid: number): readonly string[];
}

export interface Touch {
  /** Row of THREATS. */
  readonly hazard: string;
  readonly sentence: string;
  readonly classes: readonly string[];
  /** The output, counted from 0, whose expression it is in; null: it bears on rows, or is further in. */
  readonly output: number | null;
}

export interface Outputs {
  readonly columns: readonly Column[];
  /** There are more columns than these, all of them clean, in unknown places. */
  readonly open: boolean;
}

interface FromOutputs extends Outputs {
  readonly items: readonly Item[];
}

/** What becomes of a query's outputs: they are the statement's, something else's, or nobody's. */
type Use = "top" | "inner" | "exists";

interface Tables {
  readonly found: ReadonlyMap<string, Outputs>;
  readonly outer: Tables | null;
}

interface Place {
  readonly hazard: string;
  readonly what: string;
  readonly output: number | null;
}

/** The server's own limit on the outputs of a query (MaxTupleAttributeNumber). */
const MAX_OUTPUTS = 1664;
const UNNAMED = "";
const COMPUTED = { hazard: "PG-31", what: "computes with" };
const RETURNED = { hazard: "PG-30", what: "writes, and returns" };
const DECIDES = { hazard: "PG-34", what: "filters, sorts, groups or joins by", output: null };
const HANDED_ON = { hazard: "PG-31", what: "hands on, by a subquery, a WITH query or a set operation,", output: null };

export const classesOf = (taint: Classified): readonly string[] => (taint.kind === "class" ? [taint.class] : taint.from);

export class Lineage {
  readonly touches: Touch[] = [];
  /** Names that the catalogue does not have. */
  readonly unknown: string[] = [];
  readonly #relations: Relations;
  /** The catalogue has been loaded since the statement came: what it lacks, this session's open transaction has made. */
  readonly #fresh: boolean;

  constructor(relations: Relations, fresh: boolean) {
    this.#relations = relations;
    this.#fresh = fresh;
  }

  /** The outputs of a statement's query. */
  top(query: Query): Outputs {
    return this.#query(query, null, null, "top");
  }

  /** An expression of a definition, over the columns of one relation. */
  within(relation: QualifiedName, added: readonly string[], reads: Reads, hazard: string): void {
    const item = this.#target(relation, undefined, false);
    const more: Item = { alias: undefined, relation: undefined, columns: added.map(clean), open: false, system: false };
    this.#reads(reads, { items: [item, more], parent: null }, null, { hazard, what: "uses in a definition", output: null });
  }

  #query(query: Query, scope: Scope | null, tables: Tables | null, use: Use): Outputs {
    switch (query.kind) {
      case "select":
        return this.#select(query, scope, this.#with(query.with, scope, tables), use);
      case "values": {
        const inner = this.#with(query.with, scope, tables);
        const columns = Array.from({ length: query.width }, (_, index) => clean(`column${index + 1}`));
        const own: Item = { alias: undefined, relation: undefined, columns, open: false, system: false };
        this.#reads(query.reads, { items: [own], parent: scope }, inner, { ...COMPUTED, output: null });
        return { columns, open: false };
      }
      case "set": {
        const inner = this.#with(query.with, scope, tables);
        const left = this.#query(query.left, scope, inner, "inner");
        this.#query(query.right, scope, inner, "inner");
        this.#reads(query.reads, { items: [], parent: scope }, inner, DECIDES);
        return { columns: left.columns.map(({ name }) => clean(name)), open: left.open };
      }
      case "change":
        return this.#change(query, scope, this.#with(query.with, scope, tables));
      default:
        return unreachable(query);
    }
  }

  #with(clause: With | undefined, scope: Scope | null, outer: Tables | null): Tables | null {
    if (clause === undefined) return outer;
    const found = new Map<string, Outputs>();
    // One that may refer to itself, or to a later one, is not known before it has been looked at; but nothing classified comes out of any.
    if (clause.recursive) for (const { name } of clause.tables) found.set(name, { columns: [], open: true });
    let tables: Tables = { found, outer };
    for (const { name, columns, added, query } of clause.tables) {
      const { columns: own, open } = named(this.#query(query, scope, tables, "inner"));
      if (clause.recursive) continue;
      const outputs = { columns: [...renamed(own, columns), ...added.map(clean)].map((column) => clean(column.name)), open };
      // Of two with one name the server complains.
      tables = { found: new Map([[name, outputs]]), outer: tables };
    }
    return tables;
  }

  #select(query: SelectQuery, outer: Scope | null, tables: Tables | null, use: Use): Outputs {
    const from = this.#fromList(query.from, outer, tables);
    const scope: Scope = { items: from.items, parent: outer };
    const outputs = this.#outputs(query.outputs, scope, from, tables);
    this.#reads(query.reads, scope, tables, DECIDES);
    for (const key of query.keys) this.#key(key, outputs, scope);
    const tainted = outputs.columns.filter(({ taint }) => taint !== undefined);
    if (query.gathers !== undefined && tainted.length > 0) {
      this.#touchAll(tainted, { hazard: "PG-34", what: `uses under ${query.gathers}`, output: null });
    }
    if (use === "inner") this.#touchAll(tainted, HANDED_ON);
    return outputs;
  }

  #outputs(list: readonly Output[], scope: Scope, from: Outputs, tables: Tables | null, base = COMPUTED): Outputs {
    const columns: Column[] = [];
    let open = false;
    for (const { name, bare, spreads, reads } of list) {
      if (columns.length > MAX_OUTPUTS) {
        this.#miss(`an output beyond the ${MAX_OUTPUTS}th`);
        break;
      }
      const place = { ...base, output: columns.length };
      if (bare === undefined) {
        this.#reads(reads, scope, tables, place);
        if (spreads) open = true;
        columns.push(clean(name ?? UNNAMED));
      } else if (bare.star) {
        const expanded = bare.names.length === 0 ? from : expand(bare, scope);
        if (expanded === undefined) this.#miss(`the relation ${bare.names.join(".")}`);
        else {
          for (const column of expanded.columns.slice(0, MAX_OUTPUTS)) columns.push(column);
          if (expanded.open) open = true;
        }
      } else {
        const found = this.#find(bare.names, scope, place);
        const [only, another] = found;
        // Of several equal ones nothing can be said but that they are clean: #find has told what is not.
        const column = only !== undefined && another === undefined ? only : undefined;
        if (another !== undefined) this.#touchAll(found, place);
        columns.push(column === undefined ? clean(name ?? UNNAMED) : { ...column, name: name ?? column.name });
      }
    }
    return { columns, open };
  }

  #change(query: ChangeQuery, outer: Scope | null, tables: Tables | null): Outputs {
    if (query.source !== undefined) {
      const { columns } = this.#query(query.source, outer, tables, "top");
      this.#touchAll(columns, { hazard: "PG-29", what: "copies", output: null });
    }
    const silent = query.outputs.length + query.reads.mentions.length === 0 && !query.anyConflict;
    const target = this.#target(query.relation, query.alias, silent);
    const from = this.#fromList(query.from, outer, tables);
    const rows = query.rows.map((alias): Item => ({ ...target, alias, relation: undefined }));
    const scope: Scope = { items: [target, ...from.items, ...rows], parent: outer };
    this.#reads(query.reads, scope, tables, { hazard: "PG-30", what: "chooses or computes what it writes by", output: null });
    if (query.anyConflict)
      this.#touchAll(target.columns, {
        hazard: "PG-34",
        what: "may decide ON CONFLICT, whose columns are not named, by",
        output: null,
      });
    const star = { columns: [...target.columns, ...from.columns], open: target.open || from.open };
    const outputs = this.#outputs(query.outputs, scope, star, tables, RETURNED);
    this.#touchAll(outputs.columns, { ...RETURNED, output: null });
    return { columns: outputs.columns.map(({ name }) => clean(name)), open: outputs.open };
  }

  /** The relation that is written. `silent`: nothing of it is read, so that it may be any. */
  #target(relation: QualifiedName, alias: string | undefined, silent: boolean): Item {
    const found = this.#relations.candidates(relation);
    if (found.length === 0 && !silent && !this.#fresh) this.#miss(`the relation ${printed(relation)}`);
    if (!silent) this.#filtered(relation, found);
    return this.#relationItem(relation, found, alias);
  }

  #relationItem(relation: QualifiedName, found: readonly Relation[], alias: string | undefined): Item {
    const columns = columnsOf(found, (oid, attnum) => this.#relations.classified(oid, attnum));
    return { alias, relation: relation.name, columns, open: found.length === 0, system: found.every(({ kind }) => kind !== "v") };
  }

  /** Whichever of its columns is read, and if none is: how many rows there are says something. */
  #filtered(relation: QualifiedName, found: readonly Relation[]): void {
    const classes = found.flatMap(({ oid }) => this.#relations.filteredBy(oid));
    if (classes.length === 0) return;
    const sentence = `used ${printed(relation)}, a view whose rows are chosen by classified columns (class ${[...new Set(classes)].join(", ")})`;
    this.touches.push({ hazard: "PG-34", sentence, classes, output: null });
  }

  #fromList(list: readonly FromItem[], outer: Scope | null, tables: Tables | null): FromOutputs {
    const items: Item[] = [];
    const columns: Column[] = [];
    let open = false;
    for (const item of list) {
      const found = this.#from(item, { items, parent: outer }, outer, tables);
      for (const one of found.items) items.push(one);
      for (const column of found.columns) columns.push(column);
      if (found.open) open = true;
    }
    return { items, columns, open };
  }

  /** `lateral`: what LATERAL sees, which is what comes before in the list, and the scopes around the query. */
  #from(from: FromItem, lateral: Scope, outer: Scope | null, tables: Tables | null): FromOutputs {
    switch (from.kind) {
      case "relation": {
        const { relation, alias } = from;
        if (from.sample !== undefined) this.#reads(from.sample, lateral, tables, DECIDES);
        const table = relation.schema === undefined ? commonTable(tables, relation.name) : undefined;
        if (table !== undefined)
          return alone({ ...table, alias: alias ?? relation.name, relation: undefined, system: false }, from.columns);
        const found = this.#relations.candidates(relation);
        if (found.length === 0) this.#miss(`the relation ${printed(relation)}`);
        this.#filtered(relation, found);
        return alone(this.#relationItem(relation, found, alias), from.columns);
      }
      case "query": {
        const outputs = named(this.#query(from.query, from.lateral ? lateral : outer, tables, "inner"));
        return alone({ ...outputs, alias: from.alias, relation: undefined, system: false }, from.columns);
      }
      case "function": {
        this.#reads(from.reads, lateral, tables, { ...COMPUTED, output: null });
        return alone({ alias: from.alias, relation: undefined, columns: from.columns.map(clean), open: true, system: false }, []);
      }
      case "join":
        return this.#join(from, lateral, outer, tables);
      default:
        return unreachable(from);
    }
  }

  #join(join: FromItem & { kind: "join" }, lateral: Scope, outer: Scope | null, tables: Tables | null): FromOutputs {
    const left = this.#from(join.left, lateral, outer, tables);
    const right = this.#from(join.right, { items: left.items, parent: lateral }, outer, tables);
    const open = left.open || right.open;
    const shared = join.natural ? commonNames(left, right) : join.using;
    for (const name of shared) {
      const columns = [...left.columns, ...right.columns].filter((column) => column.name === name);
      this.#touchAll(columns, DECIDES);
      if (columns.length === 0 && !open) this.#miss(`the column ${name}`);
    }
    const items = [...left.items, ...right.items];
    this.#reads(join.on, { items, parent: outer }, tables, DECIDES);
    const names = new Set(shared);
    const rest = ({ columns }: Outputs): Column[] => columns.filter(({ name }) => !names.has(name));
    const merged = [...names].map(clean);
    const columns = [...merged, ...rest(left), ...rest(right)];
    if (join.alias !== undefined) return alone({ alias: join.alias, relation: undefined, columns, open, system: false }, join.columns);
    if (join.usingAlias !== undefined)
      items.push({ alias: join.usingAlias, relation: undefined, columns: merged, open: false, system: false });
    return { items, columns, open };
  }

  #reads(reads: Reads, scope: Scope, tables: Tables | null, place: Place): void {
    for (const { names, star } of reads.mentions) {
      if (!star) {
        this.#touchAll(this.#find(names, scope, place), place);
        continue;
      }
      const expanded = expand({ names, star }, scope);
      if (expanded === undefined) this.#miss(`the relation ${names.join(".")}`);
      else this.#touchAll(expanded.columns, place);
    }
    for (const { query, exists } of reads.subqueries) this.#query(query, scope, tables, exists ? "exists" : "inner");
  }

  /** Every column that the name may mean. Whole rows are touched at once. */
  #find(names: readonly string[], scope: Scope, place: Place): readonly Column[] {
    const found = lookUp(names, scope);
    if (found === undefined) this.#miss(`the column ${names.join(".")}`);
    else if (found.kind === "row") this.#touchAll(found.columns, { ...place, what: `${place.what} a whole row with` });
    return found?.kind === "columns" ? found.columns : [];
  }

  /** As the server: an output by its name or place, or else a column. It may be either, so it is both. */
  #key(key: SortKey, outputs: Outputs, scope: Scope): void {
    if ("place" in key) {
      const output = outputs.columns[key.place - 1];
      if (output !== undefined) this.#touchAll([output], DECIDES);
      else if (outputs.open) this.#touchAll(outputs.columns, DECIDES);
      return;
    }
    const named = outputs.columns.filter(({ name }) => name === key.name);
    this.#touchAll(named, DECIDES);
    const found = lookUp([key.name], scope);
    if (found !== undefined) this.#touchAll(found.columns, DECIDES);
    else if (named.length === 0 && !outputs.open) this.#miss(`the column ${key.name}`);
  }

  #touchAll(columns: readonly Column[], { hazard, what, output }: Place): void {
    for (const { name, taint } of columns) {
      if (taint === undefined) continue;
      const classes = classesOf(taint);
      const kind = taint.kind === "class" ? `class ${classes.join(", ")}` : `computed from class ${classes.join(", ")}`;
      this.touches.push({ hazard, sentence: `${what} the column ${name} (${kind})`, classes, output });
    }
  }

  #miss(what: string): void {
    this.unknown.push(what);
  }
}

const clean = (name: string): Column => ({ name, taint: undefined, origin: null });

function alone(item: Item, columns: readonly string[]): FromOutputs {
  const all = renamed(item.columns, columns);
  return { items: [{ ...item, columns: all }], columns: all, open: item.open };
}

/** Whose columns can be mentioned by names that are not known here. */
const named = ({ columns, open }: Outputs): Outputs => ({ columns, open: open || columns.some(({ name }) => name === UNNAMED) });

function commonNames(left: Outputs, right: Outputs): string[] {
  const names = new Set(right.columns.map(({ name }) => name));
  return left.columns.flatMap(({ name }) => (names.has(name) ? [name] : []));
}

function commonTable(tables: Tables | null, name: string): Outputs | undefined {
  for (let level = tables; level !== null; level = level.outer) {
    const found = level.found.get(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

export const printed = ({ schema, name }: QualifiedName): string => (schema === undefined ? name : `${schema}.${name}`);
