/**
 * What a load brings back, before any rule is applied: plain rows of the server's catalogues.
 */
import type { Query } from "../sql/sketch/types.ts";
import type { Relation } from "./types.ts";

/** A function, operator or type that is not pg_catalog's own: the overloads of one name together. */
export interface RawCode {
  readonly kind: "function" | "operator" | "type";
  readonly schema: string;
  readonly name: string;
  /** Every one of them can read nothing but its arguments. */
  readonly sealed: boolean;
  /** Of functions: one takes a row, or anything, as its only argument; or one takes a value of some other type. */
  readonly takesRow: boolean;
  readonly takesValue: boolean;
}

export interface RawView {
  readonly oid: number;
  /** Relations and functions of others that its definition names. */
  readonly reads: readonly number[];
  readonly callsOthers: boolean;
}

/** A view's definition as the analysis read it. */
export interface ViewDefinition {
  /** Undefined: it could not be read, and so may hold anything. */
  readonly query: Query | undefined;
}

export interface RawCatalogue {
  readonly relations: readonly Relation[];
  /** `[child, parent]`: partitions and inheritance. */
  readonly inherits: readonly (readonly [number, number])[];
  /** Generated columns, and each column that one of them is computed from. */
  readonly generated: readonly { readonly relation: number; readonly attnum: number; readonly from: number }[];
  readonly views: readonly RawView[];
  readonly code: readonly RawCode[];
  /** Casts to a type of pg_catalog's by a function that is not: the type's name, and where the function is. */
  readonly casts: readonly { readonly target: string; readonly schema: string }[];
  /** Functions and operators in pg_catalog that did not come with the server, or are not what its version has. */
  readonly drifted: readonly { readonly kind: "function" | "operator"; readonly name: string }[];
}

export const EMPTY_CATALOGUE: RawCatalogue = { relations: [], inherits: [], generated: [], views: [], code: [], casts: [], drifted: [] };
