/**
 * Names and what they may mean at one place of a query: the relations of its FROM list, and those of the queries around
 * it. A name that more than one level or relation has means all of them: which one the server takes can change with a
 * column that somebody adds or drops between the catalogue and the statement.
 */
import type { Classified, Relation } from "../catalogue/types.ts";
import type { Mention } from "../sql/sketch/types.ts";

export interface Column {
  readonly name: string;
  /** Undefined: nothing of it is classified. */
  readonly taint: Classified | undefined;
  /** Where it is from, when it is a bare column of one relation. */
  readonly origin: { readonly relation: number; readonly attnum: number } | null;
}

/** One relation as a query sees it. Only tables have system columns; of a view `ctid` is a name like any other. */
export interface Item {
  readonly alias: string | undefined;
  /** Its own name, by which it is known unless it has an alias. */
  readonly relation: string | undefined;
  readonly columns: readonly Column[];
  /** It has more columns than these, all of them clean. */
  readonly open: boolean;
  /** It has ctid and the like. */
  readonly system: boolean;
}

/**
 * What a list of items has by name. A list only grows, while its FROM list is read, and the index grows with it: a long text may
 * mention thousands of columns of thousands of relations.
 */
interface Index {
  indexed: number;
  readonly columns: Map<string, Column[]>;
  readonly items: Map<string, Item[]>;
  open: boolean;
  system: boolean;
}

const indexes = new WeakMap<readonly Item[], Index>();

function indexOf(items: readonly Item[]): Index {
  let index = indexes.get(items);
  if (index === undefined) {
    index = { indexed: 0, columns: new Map(), items: new Map(), open: false, system: false };
    indexes.set(items, index);
  }
  for (; index.indexed < items.length; index.indexed++) {
    const item = items[index.indexed];
    if (item === undefined) continue;
    for (const column of item.columns) append(index.columns, column.name, column);
    const name = item.alias ?? item.relation;
    if (name !== undefined) append(index.items, name, item);
    if (item.open) index.open = true;
    if (item.system) index.system = true;
  }
  return index;
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

export interface Scope {
  readonly items: readonly Item[];
  readonly parent: Scope | null;
}

/** Columns, or a whole row with all of its columns. */
export interface Found {
  readonly kind: "columns" | "row";
  readonly columns: readonly Column[];
}

/** PostgreSQL 12 and later (access/sysattr.h). */
const SYSTEM_COLUMNS = new Set(["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"]);

/** The columns of what a name may mean; where that is more than one relation, none of them has an origin. */
export function columnsOf(relations: readonly Relation[], classified: (oid: number, attnum: number) => Classified | undefined): Column[] {
  const certain = relations.length === 1;
  return relations.flatMap((relation) =>
    [...relation.attributes.values()].map(({ attnum, name }): Column => {
      const origin = certain ? { relation: relation.oid, attnum } : null;
      return { name, taint: classified(relation.oid, attnum), origin };
    }),
  );
}

/** An alias's column list gives the first columns other names. */
export function renamed(columns: readonly Column[], names: readonly string[]): readonly Column[] {
  if (names.length === 0) return columns;
  const more = names.slice(columns.length).map((name): Column => ({ name, taint: undefined, origin: null }));
  return [...columns.map((column, index) => ({ ...column, name: names[index] ?? column.name })), ...more];
}

/** `u.*`, `app.u.*`, `*`. Undefined: there is no such relation. */
export function expand({ names }: Mention, scope: Scope): { readonly columns: readonly Column[]; readonly open: boolean } | undefined {
  const items = names.length === 0 ? scope.items : itemsNamed(names, scope);
  if (items.length === 0) return names.length === 0 ? { columns: [], open: false } : undefined;
  return { columns: items.flatMap(({ columns }) => columns), open: items.some(({ open }) => open) };
}

/** What a reference without a star may mean. Undefined: nothing that is known. */
export function lookUp(names: readonly string[], scope: Scope): Found | undefined {
  const column = names.at(-1) ?? "";
  return names.length === 1 ? unqualified(column, scope) : qualified(names.slice(0, -1), column, scope);
}

function unqualified(name: string, scope: Scope): Found | undefined {
  const levels = levelsOf(scope).map(({ items }) => indexOf(items));
  const [one, ...others] = levels.flatMap((level) => {
    const found = level.columns.get(name);
    return found === undefined ? [] : [found];
  });
  if (one !== undefined) return { kind: "columns", columns: others.length === 0 ? one : [one, ...others].flat() };
  // An alias may have a system column's name: the row is then meant where there is no such column.
  const rows = itemsNamed([name], scope);
  if (rows.length > 0) return { kind: "row", columns: rows.flatMap((item) => item.columns) };
  const isSystem = SYSTEM_COLUMNS.has(name);
  return levels.some(({ open, system }) => open || (isSystem && system)) ? { kind: "columns", columns: [] } : undefined;
}

/** `t.c`: a column; or the function c of the row t, which then is touched as a whole. */
function qualified(relation: readonly string[], name: string, scope: Scope): Found | undefined {
  const items = itemsNamed(relation, scope);
  if (items.length === 0) return undefined;
  const columns = items.flatMap((item) => item.columns.filter((column) => column.name === name));
  if (columns.length > 0) return { kind: "columns", columns };
  const isSystem = SYSTEM_COLUMNS.has(name);
  if (items.some(({ open, system }) => open || (isSystem && system))) return { kind: "columns", columns: [] };
  const row = items.flatMap((item) => item.columns);
  return row.some(({ taint }) => taint !== undefined) ? { kind: "row", columns: row } : undefined;
}

/** By alias, or by the relation's own name where it has none; a schema or database before it only narrows. */
function itemsNamed(names: readonly string[], scope: Scope): readonly Item[] {
  const name = names.at(-1) ?? "";
  return levelsOf(scope).flatMap(({ items }) => indexOf(items).items.get(name) ?? []);
}

function levelsOf(scope: Scope): Scope[] {
  const levels: Scope[] = [];
  for (let level: Scope | null = scope; level !== null; level = level.parent) levels.push(level);
  return levels;
}
