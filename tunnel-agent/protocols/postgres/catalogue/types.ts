/**
 * What the agent knows of a target's objects, as one immutable snapshot: loaded by a side connection with the ordinary
 * login, loaded again after DDL, on a timer, and when something unknown turns up. Pure data and lookups; making it of what
 * was loaded is catalogue/create.ts, loading catalogue/load.ts, keeping it fresh catalogue/keeper.ts.
 */
import type { JsonPath } from "../../../../policy/json-path.ts";

/** PostgreSQL's `pg_class.relkind`: tables, views, materialized views, partitioned and foreign tables, sequences. */
export type RelationKind = "r" | "v" | "m" | "p" | "f" | "S";

export interface Attribute {
  readonly attnum: number;
  readonly name: string;
  /** The base type where it is a domain. */
  readonly typeOid: number;
  /** Whether the ordinary login may SELECT it (`has_column_privilege`). */
  readonly readable: boolean;
  /** Computed from others; COPY leaves it out unless it is named. */
  readonly generated: boolean;
}

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** By attnum, in its order; dropped ones are left out. */
  readonly attributes: ReadonlyMap<number, Attribute>;
  /** Row security is enabled (`pg_class.relrowsecurity`): another login sees other rows. Absent: not known, so it counts as true. */
  readonly rowSecurity?: boolean | undefined;
}

/**
 * What is sensitive about a column. `class`: its values are of that data class and no other. `derived`: it is computed
 * from classified columns in a way that is not a bare copy (a view's expression): nothing can be said of its values.
 */
export type Classified =
  | { readonly kind: "class"; readonly class: string; readonly paths: readonly JsonPath[] }
  | { readonly kind: "derived"; readonly from: readonly string[] };

/** `cast`: `name` is the type that is cast to. */
export type ShadowKind = "function" | "operator" | "cast";

export interface Catalogue {
  /** Grows with every load. */
  readonly version: number;
  /** `undefined` when the snapshot does not have it: refresh, then deny. */
  relation(oid: number): Relation | undefined;
  /** As the server resolves it with this path: pg_catalog first, then the schemas in order, pg_temp last. */
  resolve(schema: string | undefined, name: string, searchPath: readonly string[]): Relation | undefined;
  /** Every relation that the name may mean, if the path is some of these schemas in some order. */
  candidates(schema: string | undefined, name: string, searchPath: readonly string[]): readonly Relation[];
  /** Those of one schema. */
  relationsIn(schema: string): readonly Relation[];
  /** Closed over views, materialized views, partitions and inheritance. Undefined: not classified. */
  classified(oid: number, attnum: number): Classified | undefined;
  /** Classes of the columns by which a view's rows are chosen: its very rows say something of them. Empty for others. */
  filteredBy(oid: number): readonly string[];
  /** Relations of which a column is classified, or whose rows are chosen by one. */
  withClasses(): readonly Relation[];
  /** Whether any attribute of it is classified. */
  touchesClasses(oid: number): boolean;
  /** Whether any column of the target is. */
  readonly hasClasses: boolean;
  /**
   * Schemas within `searchPath` that hold a function, operator or cast of this name beside pg_catalog's, so that an
   * unqualified use may mean theirs (PG-44); `pg_catalog` itself where somebody added or replaced one there. Those of
   * extensions that read nothing are not counted. Empty: the name can only be the server's own.
   */
  shadows(kind: ShadowKind, name: string, searchPath: readonly string[]): readonly string[];
  /**
   * Schemas within `searchPath` that hold a function of this name which may be called as `row.name`, so that it is perhaps
   * no column. `ofFunctions`: the row may be any value.
   */
  rowFunctions(name: string, ofFunctions: boolean, searchPath: readonly string[]): readonly string[];
  /**
   * Whether calls of this function or operator, or casts to this type, can read nothing but their arguments, whichever
   * of its overloads is meant: an enum, a plain domain, an extension's immutable C function. False also when unknown.
   */
  seesOnlyArguments(schema: string | undefined, name: string, searchPath: readonly string[]): boolean;
}
