/**
 * The sketch of one statement: which relations and columns its text names, and where, without a catalogue. It is all
 * that masking/prove.ts needs of the tree, and much smaller; kept with the analysis of the text.
 *
 * A sketch says more rather than less: what a reference could mean is decided by the catalogue, and an expression is no
 * more than the set of what it names. Only three things are kept exactly: the list of outputs, the FROM list with its
 * aliases, and which names are visible where.
 */
import type { QualifiedName } from "../names.ts";

/** A column reference as written: `[column]`, `[table, column]`, `[schema, table, column]`; `star`: the last is `*`. */
export interface Mention {
  readonly names: readonly string[];
  readonly star: boolean;
}

/** Everything that an expression, or a list of them, names outside its subqueries; and those. */
export interface Reads {
  readonly mentions: readonly Mention[];
  /** `exists`: only whether there is a row matters, so that its outputs are not used. */
  readonly subqueries: readonly { readonly query: Query; readonly exists: boolean }[];
}

export interface Output {
  /** What a query around this one may call it; undefined where only the server knows. */
  readonly name: string | undefined;
  /** Where the output is nothing but a column reference. */
  readonly bare: Mention | undefined;
  /** `(expression).*`: it is several columns, and only the server knows how many. */
  readonly spreads: boolean;
  readonly reads: Reads;
}

/** A key of ORDER BY, GROUP BY or DISTINCT ON that may stand for an output: by its name, or by its place from 1. */
export type SortKey = { readonly name: string } | { readonly place: number };

export interface CommonTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly query: Query;
  /** Columns that SEARCH and CYCLE add. */
  readonly added: readonly string[];
}

export interface With {
  readonly recursive: boolean;
  readonly tables: readonly CommonTable[];
}

/** A list of relations and how they answer to names. */
export type FromItem =
  | {
      readonly kind: "relation";
      readonly relation: QualifiedName;
      readonly alias: string | undefined;
      readonly columns: readonly string[];
      readonly sample: Reads | undefined;
    }
  | {
      readonly kind: "query";
      readonly query: Query;
      readonly lateral: boolean;
      readonly alias: string | undefined;
      readonly columns: readonly string[];
    }
  /** Functions, XMLTABLE, JSON_TABLE: what their columns are called, only the server knows. */
  | { readonly kind: "function"; readonly reads: Reads; readonly alias: string | undefined; readonly columns: readonly string[] }
  | {
      readonly kind: "join";
      readonly left: FromItem;
      readonly right: FromItem;
      readonly natural: boolean;
      readonly using: readonly string[];
      /** `JOIN … USING (…) AS alias`: the merged columns only. */
      readonly usingAlias: string | undefined;
      readonly on: Reads;
      readonly alias: string | undefined;
      readonly columns: readonly string[];
    };

export type Query = SelectQuery | SetQuery | ValuesQuery | ChangeQuery;

export interface SelectQuery {
  readonly kind: "select";
  readonly with: With | undefined;
  readonly from: readonly FromItem[];
  readonly outputs: readonly Output[];
  /** WHERE, HAVING, GROUP BY, ORDER BY, WINDOW, DISTINCT ON, LIMIT, OFFSET. */
  readonly reads: Reads;
  readonly keys: readonly SortKey[];
  /** The first of grouping, DISTINCT, HAVING that it has: then no output is a bare column of one row. */
  readonly gathers: string | undefined;
  /** SELECT INTO. */
  readonly into: boolean;
}

/** UNION, INTERSECT, EXCEPT. */
export interface SetQuery {
  readonly kind: "set";
  readonly with: With | undefined;
  readonly left: Query;
  readonly right: Query;
  readonly reads: Reads;
}

export interface ValuesQuery {
  readonly kind: "values";
  readonly with: With | undefined;
  readonly width: number;
  readonly reads: Reads;
}

/** INSERT, UPDATE, DELETE, MERGE. Target columns that are only written are no mentions. */
export interface ChangeQuery {
  readonly kind: "change";
  readonly with: With | undefined;
  readonly relation: QualifiedName;
  readonly alias: string | undefined;
  /** INSERT's source. */
  readonly source: Query | undefined;
  /** UPDATE's FROM, DELETE's and MERGE's USING. */
  readonly from: readonly FromItem[];
  /** New values, conditions, ON CONFLICT's target and action. */
  readonly reads: Reads;
  /** `excluded`, and PG 18's old and new by whatever names RETURNING gives them: rows like the target's. */
  readonly rows: readonly string[];
  readonly outputs: readonly Output[];
  /** ON CONFLICT without its columns: any unique column of the relation may decide. */
  readonly anyConflict: boolean;
}

/** What a definition statement must not do with classified columns. */
export interface Definition {
  /** Columns of relations that it names, and whose values it would look at, copy or set free; null: any of them. */
  readonly concerns: readonly { readonly relation: QualifiedName; readonly columns: readonly string[] | null; readonly what: string }[];
  /** Expressions over the columns of this relation, and those that the statement adds to it. */
  readonly within: readonly { readonly relation: QualifiedName; readonly reads: Reads }[];
  readonly added: readonly string[];
  /** Schemas whose relations would go by another name. */
  readonly schemas: readonly string[];
  /** It speaks of every table that there is. */
  readonly everything: string | undefined;
}

export type Sketch =
  /** Neither reads relations nor writes them, whatever policy says of it. */
  | { readonly kind: "plain" }
  | { readonly kind: "query"; readonly query: Query }
  | {
      readonly kind: "copy-table";
      readonly relation: QualifiedName;
      readonly columns: readonly string[] | null;
      readonly from: boolean;
      readonly where: Reads;
    }
  | { readonly kind: "copy-query"; readonly query: Query }
  /** `measures`: SERIALIZE, which prints how many bytes the rows take. */
  | { readonly kind: "explain"; readonly inner: Sketch; readonly measures: boolean }
  /** CREATE TABLE AS, CREATE MATERIALIZED VIEW, CREATE VIEW: rows of a query under a new name. */
  | { readonly kind: "copies"; readonly what: string; readonly query: Query }
  | { readonly kind: "definition"; readonly definition: Definition }
  | { readonly kind: "several"; readonly parts: readonly Sketch[] }
  /** Runs or changes what cannot be seen: DO, CALL, bodies of functions. */
  | { readonly kind: "opaque"; readonly sentence: string };
