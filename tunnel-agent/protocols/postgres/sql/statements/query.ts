/**
 * SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, COPY: what reads and writes rows. Rights follow PostgreSQL's own rules: a
 * statement that looks at a column of the table it writes reads that table too (manual, GRANT).
 */
import { copyFormat } from "../copy-format.ts";
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
  const places = new Map<string, number>();
  queries.forEach((query, place) => {
    const name = textOf(query?.[1], "ctename") ?? "";
    if (!places.has(name)) places.set(name, place);
  });
  const all = walk.within(places, queries.length);
  const recursive = clause["recursive"] === true;
  queries.forEach((query, place) => {
    if (query !== undefined) (recursive ? all : walk.within(places, place)).node(query[0], query[1]);
  });
  return all;
}

function select(fields: Fields, walk: Walk): void {
  const inner = withClause(fields, walk);
  const into = fieldsOf(fields, "intoClause");
  if (into !== undefined) inner.node("IntoClause", into);
  inner.children("SelectStmt", fields, "withClause", "intoClause", "lockingClause");
  locking(fields, inner);
}

type LockAction = "pg:update" | "pg:lock";

/**
 * FOR UPDATE and its like: on the tables that they name by alias, or on every table of the FROM list, subqueries
 * included. However many clauses there are, each item is looked at once for each of the two actions.
 */
function locking(query: Fields, walk: Walk): void {
  const clauses = listOf(query, "lockingClause");
  if (clauses.length === 0) return;
  const items = listOf(query, "fromClause");
  const byName = new Map<string, unknown[]>();
  for (const item of items) collectNames(item, byName);
  const locked: Record<LockAction, Set<unknown>> = { "pg:update": new Set(), "pg:lock": new Set() };
  const whole = new Set<LockAction>();
  for (const clause of clauses) {
    const fields = nodeOf(clause)?.[1];
    const strength = textOf(fields, "strength");
    const action: LockAction = strength === "LCS_FORUPDATE" || strength === "LCS_FORNOKEYUPDATE" ? "pg:update" : "pg:lock";
    const names = listOf(fields, "lockedRels");
    if (names.length === 0) whole.add(action);
    for (const name of names) {
      const found = byName.get(textOf(nodeOf(name)?.[1], "relname") ?? "");
      // A name that is not found is the server's to complain about; until then it stands for everything.
      if (found === undefined) whole.add(action);
      else for (const item of found) locked[action].add(item);
    }
  }
  for (const action of ["pg:update", "pg:lock"] as const) {
    for (const item of whole.has(action) ? items : locked[action]) lockTables(item, action, walk);
  }
}

/** The items of a FROM list, and of its joins, by the names they answer to. */
function collectNames(item: unknown, byName: Map<string, unknown[]>): void {
  const node = nodeOf(item);
  if (node === undefined) return;
  const [kind, fields] = node;
  const name = textOf(fieldsOf(fields, "alias"), "aliasname") ?? (kind === "RangeVar" ? textOf(fields, "relname") : undefined);
  if (name !== undefined) {
    const others = byName.get(name);
    if (others === undefined) byName.set(name, [item]);
    else others.push(item);
  }
  if (kind !== "JoinExpr") return;
  collectNames(fields["larg"], byName);
  collectNames(fields["rarg"], byName);
}

function lockTables(value: unknown, action: LockAction, walk: Walk): void {
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
    facts.copy(into ? "in" : "out", into ? undefined : copyFormat(fields));
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
