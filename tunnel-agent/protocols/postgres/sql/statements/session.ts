/**
 * Statements about the session itself: parameters, transactions, prepared statements, cursors, messages; and those about
 * the server. Each says both what right it needs and how it changes the state that the gateway mirrors.
 */
import { TARGET, Facts } from "../facts.ts";
import { constantText } from "../constants.ts";
import { call } from "../functions.ts";
import { qualified, relationEffect, relationName } from "../names.ts";
import { applySearchPath, applySetting } from "../settings.ts";
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "../tree.ts";
import type { Handler, Walk } from "../walk.ts";

/** SET and RESET. */
function setParameter(fields: Fields, walk: Walk): void {
  const { facts } = walk;
  const name = textOf(fields, "name") ?? "";
  switch (fields["kind"]) {
    case "VAR_SET_VALUE": {
      const values = listOf(fields, "args").map((arg) => constantText(arg));
      const known = values.filter((value) => value !== undefined);
      if (name.toLowerCase() === "search_path") {
        // Each argument is one name as it stands: SET search_path = 'a, b' is a single odd schema.
        if (known.length < values.length) facts.forbid("PG-17", "search_path is set to constants only.");
        applySearchPath(known, facts);
        return;
      }
      applySetting(name, known.length === values.length ? { kind: "values", values: known } : { kind: "unknown" }, facts);
      return;
    }
    case "VAR_SET_DEFAULT":
    case "VAR_RESET":
      if (name.toLowerCase() === "search_path") applySearchPath([], facts);
      else applySetting(name, { kind: "default" }, facts);
      return;
    case "VAR_SET_CURRENT":
      // Only a function's own settings take the current value.
      return;
    case "VAR_SET_MULTI":
      setTransaction(name, listOf(fields, "args"), walk);
      return;
    case "VAR_RESET_ALL":
      facts.effect("pg:session");
      return;
    default:
      facts.forbid("unknown", "The gateway does not know this kind of SET.");
  }
}

/** SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION …, SET TRANSACTION SNAPSHOT. */
function setTransaction(name: string, args: readonly unknown[], walk: Walk): void {
  switch (name) {
    case "TRANSACTION":
    case "SESSION CHARACTERISTICS":
      walk.facts.effect("pg:session");
      transactionModes(args, walk);
      return;
    case "TRANSACTION SNAPSHOT":
      walk.facts.effect("pg:set");
      return;
    default:
      walk.facts.forbid("unknown", "The gateway does not know this kind of SET.");
  }
}

/** READ WRITE undoes the read-only default that an administrator may have set, so it is no harmless mode (PG-43). */
function transactionModes(options: readonly unknown[], walk: Walk): void {
  for (const option of options) {
    const fields = nodeOf(option)?.[1];
    const name = fields === undefined ? undefined : textOf(fields, "defname");
    if (fields === undefined || name === undefined) continue;
    const value = constantText(fields["arg"]);
    applySetting(name, value === undefined ? { kind: "unknown" } : { kind: "values", values: [value] }, walk.facts);
  }
}

/** A SET clause of a function holds while the function runs: what no session may set, no function sets either. */
export function settingOfFunction(setting: Fields, walk: Walk): void {
  const apart = new Facts();
  setParameter(setting, walk.into(apart));
  const { forbidden } = apart;
  if (forbidden !== undefined) walk.facts.forbid(forbidden.hazard, forbidden.sentence);
}

function transaction(fields: Fields, walk: Walk): void {
  const { facts } = walk;
  facts.effect("pg:session");
  const chain = fields["chain"] === true;
  switch (fields["kind"]) {
    case "TRANS_STMT_BEGIN":
    case "TRANS_STMT_START":
      facts.session({ kind: "transaction", what: "begin" });
      transactionModes(listOf(fields, "options"), walk);
      return;
    case "TRANS_STMT_COMMIT":
    case "TRANS_STMT_ROLLBACK":
      facts.session({ kind: "transaction", what: fields["kind"] === "TRANS_STMT_COMMIT" ? "commit" : "rollback" });
      if (chain) facts.session({ kind: "transaction", what: "begin" });
      return;
    case "TRANS_STMT_SAVEPOINT":
      facts.session({ kind: "transaction", what: "savepoint" });
      return;
    case "TRANS_STMT_RELEASE":
      facts.session({ kind: "transaction", what: "release" });
      return;
    case "TRANS_STMT_ROLLBACK_TO":
      facts.session({ kind: "transaction", what: "rollback-to" });
      return;
    case "TRANS_STMT_PREPARE":
    case "TRANS_STMT_COMMIT_PREPARED":
    case "TRANS_STMT_ROLLBACK_PREPARED":
      facts.forbid("PG-55", "A prepared transaction would keep its locks after the session.");
      return;
    default:
      facts.forbid("unknown", "The gateway does not know this transaction statement.");
  }
}

/** The inner statement's effects are asked for at once: what may not run need not be prepared. */
function prepare(fields: Fields, walk: Walk): void {
  walk.facts.session({ kind: "prepare", name: textOf(fields, "name") ?? "" });
  walk.children("PrepareStmt", fields);
}

function execute(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:session");
  walk.facts.session({ kind: "execute", name: textOf(fields, "name") ?? "" });
  walk.children("ExecuteStmt", fields);
}

function deallocate(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:session");
  walk.facts.session({ kind: "deallocate", name: textOf(fields, "name") ?? null });
}

function declareCursor(fields: Fields, walk: Walk): void {
  walk.facts.session({ kind: "declare-cursor", name: textOf(fields, "portalname") ?? "" });
  walk.children("DeclareCursorStmt", fields);
}

function fetch(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:session");
  walk.facts.session({ kind: "use-cursor", name: textOf(fields, "portalname") ?? "" });
}

function closeCursor(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:session");
  walk.facts.session({ kind: "close-cursor", name: textOf(fields, "portalname") ?? null });
}

/** The same as its statement, ANALYZE or not (PG-39); but a cursor that is only explained is not opened. */
function explain(fields: Fields, walk: Walk): void {
  const inner = new Facts();
  walk.into(inner).children("ExplainStmt", fields);
  walk.facts.merge(inner, (effect) => effect.kind !== "declare-cursor");
}

function discard(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:session");
  if (fields["target"] === "DISCARD_ALL") walk.facts.session({ kind: "discard-all" });
}

function doBlock(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:do");
  walk.facts.secret("bodies");
  walk.children("DoStmt", fields);
}

/** A procedure is never harmless, whatever its name. */
function callProcedure(fields: Fields, walk: Walk): void {
  const procedure = fieldsOf(fields, "funccall");
  if (procedure === undefined) {
    walk.facts.forbid("unknown", "The gateway does not see which procedure this calls.");
    return;
  }
  const { schema, name } = qualified(procedure["funcname"]);
  walk.facts.effect("pg:call", { type: "function", schema, name });
  // For the functions that are refused or have a meaning under any name.
  call({ schema, name }, undefined, walk);
  walk.children("FuncCall", procedure, "funcname");
}

/** A statement on a list of relations, or on everything when it names none. */
function onRelations(action: "pg:lock" | "pg:maintain", field: string): Handler {
  return (fields, walk) => {
    const relations = listOf(fields, field);
    if (relations.length === 0) walk.facts.effect(action, TARGET);
    for (const item of relations) {
      const node = nodeOf(item);
      const relation = node?.[0] === "VacuumRelation" ? fieldsOf(node[1], "relation") : node?.[1];
      if (relation !== undefined) relationEffect(walk, action, relationName(relation));
    }
  };
}

function maintainOne(kind: string): Handler {
  return (fields, walk) => {
    const relation = fieldsOf(fields, "relation");
    if (relation === undefined) walk.facts.effect("pg:maintain", TARGET);
    else relationEffect(walk, "pg:maintain", relationName(relation));
    walk.children(kind, fields, "relation");
  };
}

function reindex(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields, "relation");
  const name = textOf(fields, "name");
  if (relation !== undefined) relationEffect(walk, "pg:reindex", relationName(relation));
  else if (fields["kind"] === "REINDEX_OBJECT_SCHEMA" && name !== undefined) walk.facts.effect("pg:reindex", { type: "schema", name });
  else walk.facts.effect("pg:reindex", TARGET);
}

function importForeignSchema(fields: Fields, walk: Walk): void {
  const schema = textOf(fields, "local_schema");
  walk.facts.effect("pg:import", TARGET);
  if (schema !== undefined) walk.facts.effect("pg:import", { type: "schema", name: schema });
  walk.facts.secret("literals");
}

const needs =
  (...actions: Parameters<Facts["effect"]>[0][]): Handler =>
  (_fields, walk) => {
    for (const action of actions) walk.facts.effect(action);
  };

export const SESSION_NODES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["VariableSetStmt", setParameter],
  ["VariableShowStmt", needs("pg:session")],
  ["ConstraintsSetStmt", needs("pg:session")],
  ["TransactionStmt", transaction],
  ["PrepareStmt", prepare],
  ["ExecuteStmt", execute],
  ["DeallocateStmt", deallocate],
  ["DeclareCursorStmt", declareCursor],
  ["FetchStmt", fetch],
  ["ClosePortalStmt", closeCursor],
  ["ExplainStmt", explain],
  ["DiscardStmt", discard],
  ["ListenStmt", needs("pg:listen")],
  ["UnlistenStmt", needs("pg:listen")],
  ["NotifyStmt", needs("pg:notify")],
  ["DoStmt", doBlock],
  ["CallStmt", callProcedure],
  ["LockStmt", onRelations("pg:lock", "relations")],
  ["VacuumStmt", onRelations("pg:maintain", "rels")],
  ["ClusterStmt", maintainOne("ClusterStmt")],
  ["RefreshMatViewStmt", maintainOne("RefreshMatViewStmt")],
  ["ReindexStmt", reindex],
  ["ImportForeignSchemaStmt", importForeignSchema],
  ["CheckPointStmt", needs("pg:checkpoint")],
  ["LoadStmt", needs("pg:load")],
]);
