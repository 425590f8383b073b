/**
 * What the SQL room tells the machine about one string of SQL. Pure: text in, facts out; no catalogue yet.
 */
import type { Result } from "../../../../protocol/result.ts";
import type { Sketch } from "./sketch/types.ts";

export type PgObject =
  /** `schema` is absent when the name was not qualified: the machine then asks for every schema the search_path has had. */
  | { readonly type: "table"; readonly schema?: string | undefined; readonly name: string }
  | { readonly type: "schema"; readonly name: string }
  /** Also an operator or a type that is cast to, by its name. Without `schema` it is none of pg_catalog's: those are always qualified. */
  | { readonly type: "function"; readonly schema?: string | undefined; readonly name: string }
  /** The whole target: database-wide actions. */
  | { readonly type: "target" };

/** One thing a statement does: action of docs/policy.md (`pg:select`, `pg:drop`, …) on one object. */
export interface Effect {
  readonly action: string;
  readonly object: PgObject;
}

/** How a statement changes the state that the gateway must simulate. */
export type SessionEffect =
  | { readonly kind: "prepare"; readonly name: string }
  | { readonly kind: "execute"; readonly name: string }
  | { readonly kind: "deallocate"; readonly name: string | null }
  | { readonly kind: "declare-cursor"; readonly name: string }
  | { readonly kind: "use-cursor"; readonly name: string }
  | { readonly kind: "close-cursor"; readonly name: string | null }
  | { readonly kind: "discard-all" }
  | { readonly kind: "transaction"; readonly what: "begin" | "commit" | "rollback" | "savepoint" | "rollback-to" | "release" }
  | { readonly kind: "search-path"; readonly schemas: readonly string[] };

/** As the statement's options say, with the server's defaults. */
export interface CopyFormat {
  readonly format: "text" | "csv" | "binary";
  /** The first line (or of text: row) is the columns' names. */
  readonly header: boolean;
  readonly delimiter: string;
  readonly nullString: string;
  readonly quote: string;
  readonly escape: string;
}

/** A name that was taken for one of pg_catalog's: the server may find another in the search_path first (PG-44). */
export interface Builtin {
  /** `cast`: a type that is cast to. */
  readonly kind: "function" | "operator" | "cast";
  readonly name: string;
  /** Written with `pg_catalog.` before it. */
  readonly qualified: boolean;
}

export interface Statement {
  /** e.g. `SelectStmt`; libpg-query's node name. */
  readonly node: string;
  /** Where in the text it stands, UTF-16 indexes: from its first token to before its `;`. */
  readonly span: readonly [start: number, end: number];
  /** Union over the whole tree: CTEs, subqueries, EXPLAIN's inner statement, PREPARE's and DECLARE's too. Never empty: what needs no right says `pg:session` on the target. */
  readonly effects: readonly Effect[];
  readonly session: readonly SessionEffect[];
  readonly copy?: "in" | "out" | undefined;
  /** Of COPY … TO STDOUT: how it writes its rows; undefined where that is not certain. */
  readonly copyFormat?: CopyFormat | undefined;
  /** Refused whatever policy says (COPY PROGRAM, 2PC, role changes, …): the hazard's id in THREATS.md and a sentence. */
  readonly forbidden?: { readonly hazard: string; readonly sentence: string } | undefined;
  /** Functions, operators and types that have no effect of their own, because they are the server's harmless ones. */
  readonly builtins: readonly Builtin[];
  /**
   * Names after a dot: `t.f` and `(x).f` are a column or field f, or a call of f with that row. `ofFunctions`: the row may be a
   * function's in FROM, which is any type of value.
   */
  readonly fields: { readonly names: readonly string[]; readonly ofFunctions: boolean };
  /** What it reads, for masking/prove.ts. */
  readonly sketch: Sketch;
}

export interface AnalysedSql {
  /** In order; an empty string has none. */
  readonly statements: readonly Statement[];
  /** The text with literals replaced by placeholders and comments dropped. */
  readonly shape: string;
  /** The text with secrets removed whatever detectors say (PASSWORD '…', USER MAPPING options, …), for the recording. */
  readonly redacted: string;
}

export type SqlRefusal =
  | { readonly reason: "unparsable"; readonly message: string; readonly position?: number | undefined }
  /** `tokens`, as far as they were counted, where the text is short enough and yet has more than MAX_SQL_TOKENS. */
  | { readonly reason: "too-long"; readonly bytes: number; readonly limit: number; readonly tokens?: number | undefined }
  | { readonly reason: "too-deep"; readonly limit: number }
  | { readonly reason: "identifier-too-long"; readonly identifier: string };

/**
 * `serverMajor` is the target's major version (15, 18, …). Without it, functions that only some versions have count as
 * somebody's own and need `pg:call`.
 */
export type AnalyseSql = (sql: string, serverMajor?: number) => Result<AnalysedSql, SqlRefusal>;
