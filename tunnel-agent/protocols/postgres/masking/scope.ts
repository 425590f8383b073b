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

/** The columns of an item by name; made once, since a long text may mention its columns thousands of times. */
const byName = new WeakMap<readonly Column[], ReadonlyMap<string, readonly Column[]>>();

export function columnsNamed(columns: readonly Column[], name: string): readonly Column[] {
  let index = byName.get(columns);
  if (index === undefined) {
    const made = new Map<string, Column[]>();
    for (const column of columns) {
      const others = made.get(column.name);
      if (others === undefined) made.set(column.name, [column]);
      else others.push(column);
    }
    byName.set(columns, made);
    index = made;
  }
  return index.get(name) ?? [];
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
  const items = [...everyItem(scope)];
  const columns = items.flatMap((item) => columnsNamed(item.columns, name));
  if (columns.length > 0) return { kind: "columns", columns };
  // An alias may have a system column's name: the row is then meant where there is no such column.
  const rows = itemsNamed([name], scope);
  if (rows.length > 0) return { kind: "row", columns: rows.flatMap((item) => item.columns) };
  if (SYSTEM_COLUMNS.has(name) && items.some(({ system }) => system)) return { kind: "columns", columns: [] };
  return items.some(({ open }) => open) ? { kind: "columns", columns: [] } : undefined;
}

/** `t.c`: a column; or the function c of the row t, which then is touched as a whole. */
function qualified(relation: readonly string[], name: string, scope: Scope): Found | undefined {
  const items = itemsNamed(relation, scope);
  if (items.length === 0) return undefined;
  const columns = items.flatMap((item) => columnsNamed(item.columns, name));
  if (columns.length > 0) return { kind: "columns", columns };
  const isSystem = SYSTEM_COLUMNS.has(name);
  if (items.some(({ open, system }) => open || (isSystem && system))) return { kind: "columns", columns: [] };
  const row = items.flatMap((item) => item.columns);
  return row.some(({ taint }) => taint !== undefined) ? { kind: "row", columns: row } : undefined;
}

/** By alias, or by the relation's own name where it has none; a schema or database before it only narrows. */
function itemsNamed(names: readonly string[], scope: Scope): readonly Item[] {
  const name = names.at(-1);
  return [...everyItem(scope)].filter(({ alias, relation }) => (alias ?? relation) === name);
}

function* everyItem(scope: Scope): Iterable<Item> {
  for (let level: Scope | null = scope; level !== null; level = level.parent) yield* level.items;
}
