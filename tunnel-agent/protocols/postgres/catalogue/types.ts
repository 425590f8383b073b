/**
 * What the agent knows of a target's objects, as one immutable snapshot: loaded by a side connection with the ordinary
 * login, loaded again after DDL, on a timer, and when something unknown turns up. Pure data and lookups; loading is
 * catalogue/load.ts, keeping it fresh catalogue/keeper.ts.
 */
import type { JsonPath } from "../../../../policy/json-path.ts";

/** PostgreSQL's `pg_class.relkind`: tables, views, materialized views, partitioned and foreign tables. */
export type RelationKind = "r" | "v" | "m" | "p" | "f";

export interface Attribute {
  readonly attnum: number;
  readonly name: string;
  /** The base type where it is a domain. */
  readonly typeOid: number;
  /** Whether the ordinary login may SELECT it (`has_column_privilege`). */
  readonly readable: boolean;
}

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** By attnum; dropped ones are left out. */
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

export interface Catalogue {
  /** Grows with every load. */
  readonly version: number;
  /** `undefined` when the snapshot does not have it: refresh, then deny. */
  relation(oid: number): Relation | undefined;
  /** As the server resolves it with this path: pg_catalog first, then the schemas in order, pg_temp last. */
  resolve(schema: string | undefined, name: string, searchPath: readonly string[]): Relation | undefined;
  /** Closed over views, materialized views, partitions and inheritance. Undefined: not classified. */
  classified(oid: number, attnum: number): Classified | undefined;
  /** Whether any attribute of it is classified. */
  touchesClasses(oid: number): boolean;
  /** Whether any column of the target is. */
  readonly hasClasses: boolean;
  /**
   * Schemas outside pg_catalog and within `searchPath` that hold a function, operator or cast of this name, so that an
   * unqualified use may mean theirs (PG-44). Empty: the name can only be pg_catalog's.
   */
  shadows(kind: "function" | "operator", name: string, searchPath: readonly string[]): readonly string[];
}
