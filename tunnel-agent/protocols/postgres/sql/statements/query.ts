/**
 * SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, COPY: what reads and writes rows. Rights follow PostgreSQL's own rules: a
 * statement that looks at a column of the table it writes reads that table too (manual, GRANT).
 */
import { relationEffect, relationName } from "../names.ts";
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "../tree.ts";
import type { Handler, Walk } from "../walk.ts";

/** A table in a FROM list and everywhere else that no handler claims: it is read, unless it is a WITH query. */
function rangeVar(fields: Fields, walk: Walk): void {
  const relation = relationName(fields);
  if (relation.schema === undefined && walk.isCommonTable(relation.name)) return;
  relationEffect(walk, "pg:select", relation);
}

/**
 * Visits the WITH queries and returns the walk that sees their names. Without RECURSIVE each sees only those before it,
 * so `WITH a AS (SELECT * FROM b), b AS …` reads the table b.
 */
function withClause(fields: Fields, walk: Walk): Walk {
  const clause = fieldsOf(fields, "withClause");
  if (clause === undefined) return walk;
  const queries = listOf(clause, "ctes").map((item) => nodeOf(item));
  const names = queries.map((query) => (query === undefined ? "" : (textOf(query[1], "ctename") ?? "")));
  if (clause["recursive"] === true) {
    const inner = walk.within(names);
    inner.children("WithClause", clause);
    return inner;
  }
  let inner = walk;
  queries.forEach((query, index) => {
    if (query !== undefined) inner.node(query[0], query[1]);
    inner = inner.within([names[index] ?? ""]);
  });
  return inner;
}

function select(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const into = fieldsOf(fields, "intoClause");
  if (into !== undefined) inner.node("IntoClause", into);
  inner.children("SelectStmt", fields, "withClause", "intoClause", "lockingClause");
  for (const clause of listOf(fields, "lockingClause")) {
    const node = nodeOf(clause);
    if (node !== undefined) locking(node[1], fields, inner);
  }
}

/** FOR UPDATE and its like: on the tables it names by alias, or on every table of the FROM list, subqueries included. */
function locking(clause: Fields, query: Fields, walk: Walk): void {
  const strength = textOf(clause, "strength");
  const action = strength === "LCS_FORUPDATE" || strength === "LCS_FORNOKEYUPDATE" ? "pg:update" : "pg:lock";
  const names = listOf(clause, "lockedRels").map((item) => textOf(nodeOf(item)?.[1] ?? {}, "relname"));
  let items = listOf(query, "fromClause");
  if (names.length > 0) {
    const found = names.map((name) => items.flatMap((item) => named(item, name)));
    if (found.every((match) => match.length > 0)) items = found.flat();
  }
  for (const item of items) lockTables(item, action, walk);
}

/** The item of a FROM list, or inside its joins, that answers to the name. */
function named(item: unknown, name: string | undefined): unknown[] {
  const node = nodeOf(item);
  if (node === undefined) return [];
  const [kind, fields] = node;
  const alias = textOf(fieldsOf(fields, "alias") ?? {}, "aliasname");
  if (kind === "JoinExpr") {
    if (alias !== undefined && alias === name) return [item];
    return [...named(fields["larg"], name), ...named(fields["rarg"], name)];
  }
  const own = alias ?? (kind === "RangeVar" ? textOf(fields, "relname") : undefined);
  return own === name ? [item] : [];
}

function lockTables(value: unknown, action: "pg:update" | "pg:lock", walk: Walk): void {
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) lockTables(item, action, walk);
    return;
  }
  const node = nodeOf(value);
  if (node === undefined) return;
  const [kind, fields] = node;
  if (kind === "RangeVar") {
    const relation = relationName(fields);
    if (relation.schema === undefined && walk.isCommonTable(relation.name)) return;
    relationEffect(walk, action, relation);
    return;
  }
  for (const field of ["larg", "rarg", "subquery", "relation", "fromClause"]) {
    const below = fields[field];
    // A set operation's arms are bare SelectStmts.
    const bare = kind === "SelectStmt" && (field === "larg" || field === "rarg") ? { SelectStmt: below } : below;
    if (below !== undefined) lockTables(bare, action, walk);
  }
}

/** Whether a column of the tree is looked at; parameters and constants are not columns. */
function readsColumns(value: unknown): boolean {
  if (Array.isArray(value)) return value.some((item) => readsColumns(item));
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, child]) => key === "ColumnRef" || readsColumns(child));
}

function insert(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const target = relationName(fieldsOf(fields, "relation") ?? {});
  relationEffect(walk, "pg:insert", target);
  const conflict = fieldsOf(fields, "onConflictClause");
  if (conflict?.["action"] === "ONCONFLICT_UPDATE") {
    relationEffect(walk, "pg:update", target);
    relationEffect(walk, "pg:select", target);
  }
  if (readsColumns(fields["returningClause"])) relationEffect(walk, "pg:select", target);
  inner.children("InsertStmt", fields, "withClause", "relation");
}

function update(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const target = relationName(fieldsOf(fields, "relation") ?? {});
  relationEffect(walk, "pg:update", target);
  const looks = ["targetList", "whereClause", "fromClause", "returningClause"].some((field) => readsColumns(fields[field]));
  if (looks) relationEffect(walk, "pg:select", target);
  inner.children("UpdateStmt", fields, "withClause", "relation");
}

function remove(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const target = relationName(fieldsOf(fields, "relation") ?? {});
  relationEffect(walk, "pg:delete", target);
  const looks = ["whereClause", "usingClause", "returningClause"].some((field) => readsColumns(fields[field]));
  if (looks) relationEffect(walk, "pg:select", target);
  inner.children("DeleteStmt", fields, "withClause", "relation");
}

/** The join condition always looks at the target; each WHEN … THEN adds what it does. */
function merge(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const target = relationName(fieldsOf(fields, "relation") ?? {});
  relationEffect(walk, "pg:select", target);
  for (const item of listOf(fields, "mergeWhenClauses")) {
    const command = nodeOf(item)?.[1]["commandType"];
    switch (command) {
      case "CMD_INSERT":
        relationEffect(walk, "pg:insert", target);
        break;
      case "CMD_UPDATE":
        relationEffect(walk, "pg:update", target);
        break;
      case "CMD_DELETE":
        relationEffect(walk, "pg:delete", target);
        break;
      case "CMD_NOTHING":
        break;
      default:
        walk.facts.forbid("unknown", "The gateway does not know what a WHEN clause of this MERGE does.");
    }
  }
  inner.children("MergeStmt", fields, "withClause", "relation");
}

/** COPY … FROM STDIN and TO STDOUT. A file or a program of the server is refused whatever policy says (PG-22). */
function copy(fields: Fields, walk: Walk): void {
  const { facts } = walk;
  const relation = fieldsOf(fields, "relation");
  const into = fields["is_from"] === true;
  if (relation !== undefined) relationEffect(walk, into ? "pg:insert" : "pg:select", relationName(relation));
  if (fields["is_program"] === true) {
    facts.effect("pg:copy-program");
    facts.forbid("PG-22", "COPY runs no program on the database server.");
  } else if (fields["filename"] !== undefined) {
    facts.effect("pg:copy-file");
    facts.forbid("PG-22", "COPY reads and writes no file of the database server; use STDIN or STDOUT.");
  } else {
    facts.copy(into ? "in" : "out");
  }
  walk.children("CopyStmt", fields, "relation");
}

/** WHERE CURRENT OF: what the cursor was declared for. */
function currentOf(fields: Fields, walk: Walk): void {
  const name = textOf(fields, "cursor_name");
  if (name === undefined) walk.facts.forbid("PG-19", "The gateway follows cursors by name only.");
  else walk.facts.session({ kind: "use-cursor", name });
}

/** SELECT INTO and CREATE TABLE AS: the new relation. */
function into(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields, "rel");
  if (relation !== undefined) relationEffect(walk, "pg:create", relationName(relation));
  walk.children("IntoClause", fields, "rel");
}

export const QUERY_NODES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["RangeVar", rangeVar],
  ["SelectStmt", select],
  ["InsertStmt", insert],
  ["UpdateStmt", update],
  ["DeleteStmt", remove],
  ["MergeStmt", merge],
  ["CopyStmt", copy],
  ["CurrentOfExpr", currentOf],
  ["IntoClause", into],
]);
