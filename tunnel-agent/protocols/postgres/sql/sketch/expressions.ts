/**
 * Expressions, as the set of what they name. Every field of every node is looked at, so that a form of expression which
 * nobody thought of is still seen: only the columns that it names and the queries in it matter.
 */
import { strings } from "../names.ts";
import { nodeOf, textOf, unwrap, type Fields } from "../tree.ts";
import type { Mention, Query, Reads } from "./types.ts";

export const NOTHING: Reads = { mentions: [], subqueries: [] };

/** Turns a SelectStmt, InsertStmt, … into a query; given by query.ts, which needs this file in turn. */
export type QueryOf = (kind: string, fields: Fields) => Query;

const QUERIES = new Set(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

export class ReadsBuilder {
  readonly #queryOf: QueryOf;
  readonly #mentions: Mention[] = [];
  readonly #subqueries: { query: Query; exists: boolean }[] = [];

  constructor(queryOf: QueryOf) {
    this.#queryOf = queryOf;
  }

  /** Any value of the tree: a node, a list, a bare object of a concrete type. */
  add(value: unknown): this {
    if (Array.isArray(value)) {
      for (const item of value) this.add(item);
    } else if (typeof value === "object" && value !== null) {
      const node = unwrap(value);
      if (node === undefined) this.#fields(value as Fields);
      else this.#node(node[0], node[1]);
    }
    return this;
  }

  addMention(mention: Mention): this {
    this.#mentions.push(mention);
    return this;
  }

  addQuery(query: Query): this {
    this.#subqueries.push({ query, exists: false });
    return this;
  }

  get reads(): Reads {
    return this.#mentions.length + this.#subqueries.length === 0 ? NOTHING : { mentions: this.#mentions, subqueries: this.#subqueries };
  }

  #fields(fields: Fields): void {
    for (const field in fields) {
      const value = fields[field];
      if (typeof value === "object" && value !== null) this.add(value);
    }
  }

  #node(kind: string, fields: Fields): void {
    if (kind === "ColumnRef") {
      this.#mentions.push(mentionOf(fields));
      return;
    }
    if (QUERIES.has(kind)) {
      this.#subqueries.push({ query: this.#queryOf(kind, fields), exists: false });
      return;
    }
    if (kind === "SubLink") {
      this.add(fields["testexpr"]);
      const select = nodeOf(fields["subselect"]);
      if (select !== undefined) {
        this.#subqueries.push({ query: this.#queryOf(select[0], select[1]), exists: fields["subLinkType"] === "EXISTS_SUBLINK" });
      }
      return;
    }
    this.#fields(fields);
  }
}

/** A ColumnRef: names, and perhaps a star at the end. */
export function mentionOf(fields: Fields): Mention {
  const list = fields["fields"];
  const last = Array.isArray(list) ? nodeOf(list.at(-1)) : undefined;
  return { names: strings(list), star: last?.[0] === "A_Star" };
}

/** The bare column reference that a node is, if it is nothing else. */
export function bareColumn(value: unknown): Mention | undefined {
  const node = nodeOf(value);
  return node?.[0] === "ColumnRef" ? mentionOf(node[1]) : undefined;
}

/** The name that the server gives an output without one of its own, where that is plain to see (FigureColname, parse_target.c). */
export function outputName(value: unknown): string | undefined {
  const node = nodeOf(value);
  if (node === undefined) return undefined;
  const [kind, fields] = node;
  switch (kind) {
    case "ColumnRef":
      return mentionOf(fields).star ? undefined : strings(fields["fields"]).at(-1);
    case "FuncCall":
      return strings(fields["funcname"]).at(-1);
    case "A_Const":
    case "A_Expr":
    case "ParamRef":
    case "BoolExpr":
    case "NullTest":
      return "?column?";
    case "CaseExpr":
      return outputName(fields["defresult"]) ?? "case";
    case "CoalesceExpr":
      return "coalesce";
    default:
      return textOf(fields, "name");
  }
}
