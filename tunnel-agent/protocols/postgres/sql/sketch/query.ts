/**
 * SELECT, VALUES, set operations, INSERT, UPDATE, DELETE and MERGE as sketches. See types.ts.
 */
import { relationName, strings } from "../names.ts";
import { fieldsOf, listOf, nodeOf, textOf, unwrap, type Fields } from "../tree.ts";
import { bareColumn, NOTHING, outputName, ReadsBuilder } from "./expressions.ts";
import type { ChangeQuery, CommonTable, FromItem, Output, Query, Reads, SortKey, With } from "./types.ts";

export const reading = (...values: readonly unknown[]): Reads => {
  const builder = new ReadsBuilder(queryOf);
  for (const value of values) builder.add(value);
  return builder.reads;
};

/** `kind` is one of SelectStmt, InsertStmt, UpdateStmt, DeleteStmt, MergeStmt. */
export function queryOf(kind: string, fields: Fields): Query {
  switch (kind) {
    case "InsertStmt":
      return insert(fields);
    case "UpdateStmt":
      return update(fields);
    case "DeleteStmt":
      return remove(fields);
    case "MergeStmt":
      return merge(fields);
    default:
      return select(fields);
  }
}

function select(fields: Fields): Query {
  const withClause = withOf(fields);
  const values = listOf(fields, "valuesLists");
  if (values.length > 0) {
    const first = nodeOf(values[0]);
    const width = listOf(first?.[1], "items").length;
    return {
      kind: "values",
      with: withClause,
      width,
      reads: reading(values, fields["sortClause"], fields["limitCount"], fields["limitOffset"]),
    };
  }
  const [left, right] = [fieldsOf(fields, "larg"), fieldsOf(fields, "rarg")];
  if (left !== undefined && right !== undefined) {
    const reads = reading(fields["sortClause"], fields["limitCount"], fields["limitOffset"]);
    // Their keys name outputs, which may hold nothing classified anyway; as column references they would name nothing.
    return {
      kind: "set",
      with: withClause,
      left: select(left),
      right: select(right),
      reads: { mentions: [], subqueries: reads.subqueries },
    };
  }
  const distinct = listOf(fields, "distinctClause");
  const groups = listOf(fields, "groupClause").flatMap((item) => groupingKeys(item));
  const orders = listOf(fields, "sortClause").map((item) => nodeOf(item)?.[1]["node"]);
  const clauses = ["whereClause", "havingClause", "windowClause", "limitCount", "limitOffset"].map((field) => fields[field]);
  const sorts = [...orders, ...groups, ...distinct];
  return {
    kind: "select",
    with: withClause,
    from: listOf(fields, "fromClause").map((item) => fromItem(item)),
    outputs: outputs(listOf(fields, "targetList")),
    reads: reading(...clauses, ...sorts.filter((item) => sortKey(item) === undefined)),
    keys: sorts.flatMap((item) => sortKey(item) ?? []),
    gathers: gathering(fields, groups, distinct),
    into: fields["intoClause"] !== undefined,
  };
}

function gathering(fields: Fields, groups: readonly unknown[], distinct: readonly unknown[]): string | undefined {
  if (groups.length > 0 || listOf(fields, "groupClause").length > 0) return "GROUP BY";
  // DISTINCT without ON is a list with one empty entry.
  if (distinct.length > 0) return "DISTINCT";
  return fields["havingClause"] === undefined ? undefined : "HAVING";
}

/** `GROUP BY (a, b), ROLLUP (c)`: its keys, however they are bracketed. */
function groupingKeys(value: unknown): unknown[] {
  const node = nodeOf(value);
  if (node?.[0] === "GroupingSet") return listOf(node[1], "content").flatMap((item) => groupingKeys(item));
  if (node?.[0] === "RowExpr") return listOf(node[1], "args").flatMap((item) => groupingKeys(item));
  return [value];
}

/** What may name an output; everything else is an ordinary expression. */
function sortKey(value: unknown): SortKey | undefined {
  const node = nodeOf(value);
  if (node === undefined) return undefined;
  if (node[0] === "A_Const") {
    const place = fieldsOf(node[1], "ival");
    return place === undefined ? undefined : { place: Number(place["ival"] ?? 0) };
  }
  const mention = node[0] === "ColumnRef" ? bareColumn(value) : undefined;
  const [name, more] = mention?.names ?? [];
  return mention === undefined || mention.star || name === undefined || more !== undefined ? undefined : { name };
}

function outputs(list: readonly unknown[]): Output[] {
  return list.map((item) => {
    const fields = nodeOf(item)?.[1] ?? {};
    const value = fields["val"];
    const bare = bareColumn(value);
    return {
      name: textOf(fields, "name") ?? outputName(value),
      bare,
      spreads: spreads(value),
      reads: bare === undefined ? reading(value) : NOTHING,
    };
  });
}

function spreads(value: unknown): boolean {
  const node = nodeOf(value);
  return node?.[0] === "A_Indirection" && nodeOf(listOf(node[1], "indirection").at(-1))?.[0] === "A_Star";
}

export function withOf(fields: Fields): With | undefined {
  const clause = fieldsOf(fields, "withClause");
  if (clause === undefined) return undefined;
  const tables = listOf(clause, "ctes").map((item): CommonTable => {
    const table = nodeOf(item)?.[1] ?? {};
    const query = nodeOf(table["ctequery"]);
    // SEARCH and CYCLE add columns that a query around it may name.
    const added = [fieldsOf(table, "search_clause"), fieldsOf(table, "cycle_clause")].flatMap((clause) =>
      ["search_seq_column", "cycle_mark_column", "cycle_path_column"].flatMap((field) => textOf(clause, field) ?? []),
    );
    const inner = query === undefined ? select({}) : queryOf(query[0], query[1]);
    return { name: textOf(table, "ctename") ?? "", columns: strings(table["aliascolnames"]), query: inner, added };
  });
  return { recursive: clause["recursive"] === true, tables };
}

interface AliasClause {
  readonly alias: string | undefined;
  readonly columns: readonly string[];
}

function aliasOf(fields: Fields, field = "alias"): AliasClause {
  const alias = fieldsOf(fields, field);
  return { alias: textOf(alias, "aliasname"), columns: strings(alias?.["colnames"]) };
}

export function fromItem(value: unknown): FromItem {
  const node = nodeOf(value);
  if (node === undefined) return { kind: "function", reads: NOTHING, alias: undefined, columns: [] };
  const [kind, fields] = node;
  switch (kind) {
    case "RangeVar":
      return { kind: "relation", relation: relationName(fields), ...aliasOf(fields), sample: undefined };
    case "RangeTableSample": {
      const inner = fromItem(fields["relation"]);
      const sample = reading(fields["args"], fields["repeatable"]);
      return inner.kind === "relation" ? { ...inner, sample } : inner;
    }
    case "RangeSubselect": {
      const query = nodeOf(fields["subquery"]);
      const inner = query === undefined ? select({}) : queryOf(query[0], query[1]);
      return { kind: "query", query: inner, lateral: fields["lateral"] === true, ...aliasOf(fields) };
    }
    case "JoinExpr": {
      const using = aliasOf(fields, "join_using_alias");
      return {
        kind: "join",
        left: fromItem(fields["larg"]),
        right: fromItem(fields["rarg"]),
        natural: fields["isNatural"] === true,
        using: strings(fields["usingClause"]),
        usingAlias: using.alias,
        on: reading(fields["quals"]),
        ...aliasOf(fields),
      };
    }
    default: {
      const { alias, columns } = aliasOf(fields);
      const defined = listOf(fields, "coldeflist").flatMap((item) => textOf(nodeOf(item)?.[1], "colname") ?? []);
      const { alias: _alias, coldeflist: _columns, ...rest } = fields;
      return {
        kind: "function",
        reads: reading(rest),
        alias: alias ?? functionName(fields),
        columns: columns.length > 0 ? columns : defined,
      };
    }
  }
}

/** A function in FROM without an alias answers to its own name. */
function functionName(fields: Fields): string | undefined {
  const first = nodeOf(listOf(fields, "functions")[0]);
  const items = first?.[0] === "List" ? listOf(first[1], "items") : [];
  const call = nodeOf(items[0]);
  return call?.[0] === "FuncCall" ? strings(call[1]["funcname"]).at(-1) : undefined;
}

interface Returning {
  readonly outputs: readonly Output[];
  readonly rows: readonly string[];
}

function returning(fields: Fields): Returning {
  const clause = fieldsOf(fields, "returningClause");
  const rows = listOf(clause, "options").flatMap((item) => textOf(nodeOf(item)?.[1], "value") ?? []);
  return { outputs: outputs(listOf(clause, "exprs")), rows: clause === undefined ? [] : ["old", "new", ...rows] };
}

function change(fields: Fields, rest: Partial<ChangeQuery> & Pick<ChangeQuery, "reads">): ChangeQuery {
  const target = fieldsOf(fields, "relation") ?? {};
  const { outputs: outs, rows } = returning(fields);
  return {
    kind: "change",
    with: withOf(fields),
    relation: relationName(target),
    alias: aliasOf(target).alias,
    source: undefined,
    from: [],
    outputs: outs,
    anyConflict: false,
    ...rest,
    rows: [...rows, ...(rest.rows ?? [])],
  };
}

/** The new values of `SET a = …`: their expressions, and not the names of what is set. Subscripts are expressions. */
function assigned(list: readonly unknown[]): unknown[] {
  return list.flatMap((item) => {
    const fields = nodeOf(item)?.[1];
    return [fields?.["val"], fields?.["indirection"]];
  });
}

function insert(fields: Fields): Query {
  const source = nodeOf(fields["selectStmt"]);
  const conflict = fieldsOf(fields, "onConflictClause");
  const infer = fieldsOf(conflict, "infer");
  const builder = new ReadsBuilder(queryOf).add(assigned(listOf(fields, "cols")));
  for (const element of listOf(infer, "indexElems")) {
    const index = nodeOf(element)?.[1];
    const name = textOf(index, "name");
    if (name === undefined) builder.add(index?.["expr"]);
    else builder.addMention({ names: [name], star: false });
  }
  builder
    .add(infer?.["whereClause"])
    .add(assigned(listOf(conflict, "targetList")))
    .add(conflict?.["whereClause"]);
  const elements = listOf(infer, "indexElems").length;
  return change(fields, {
    source: source === undefined ? undefined : queryOf(source[0], source[1]),
    reads: builder.reads,
    rows: conflict === undefined ? [] : ["excluded"],
    anyConflict: conflict !== undefined && elements === 0,
  });
}

function update(fields: Fields): Query {
  return change(fields, {
    from: listOf(fields, "fromClause").map((item) => fromItem(item)),
    reads: reading(...assigned(listOf(fields, "targetList")), fields["whereClause"]),
  });
}

function remove(fields: Fields): Query {
  return change(fields, {
    from: listOf(fields, "usingClause").map((item) => fromItem(item)),
    reads: reading(fields["whereClause"]),
  });
}

function merge(fields: Fields): Query {
  const builder = new ReadsBuilder(queryOf).add(fields["joinCondition"]);
  for (const item of listOf(fields, "mergeWhenClauses")) {
    const clause = nodeOf(item)?.[1];
    builder
      .add(clause?.["condition"])
      .add(assigned(listOf(clause, "targetList")))
      .add(clause?.["values"]);
  }
  return change(fields, { from: [fromItem(fields["sourceRelation"])], reads: builder.reads });
}

/** A statement's query, where the node is one. */
export function queryIn(value: unknown): Query | undefined {
  const node = typeof value === "object" && value !== null ? unwrap(value) : undefined;
  return node === undefined ? undefined : queryOf(node[0], node[1]);
}
