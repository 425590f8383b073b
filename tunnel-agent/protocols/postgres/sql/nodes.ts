/**
 * The table of every node that PostgreSQL 18's grammar can put into a tree, and what each means. What is not here is
 * refused. The test compares it with the grammar's own list, so a new libpg-query cannot add a node unnoticed.
 */
import {
  call,
  columnReference,
  equality,
  functionCall,
  indirection,
  jsonFunctionName,
  operator,
  operatorExpression,
  sinceVersion,
  typeUse,
} from "./functions.ts";
import { ALTER_NODES } from "./statements/alter.ts";
import { CREATE_NODES } from "./statements/create.ts";
import { QUERY_NODES } from "./statements/query.ts";
import { SESSION_NODES } from "./statements/session.ts";
import { qualified } from "./names.ts";
import { listOf, nodeOf, textOf, type Fields } from "./tree.ts";
import type { Handler, NodeTable, Walk } from "./walk.ts";

/** No node below them can do anything. */
const LEAVES = `Integer Float Boolean String BitString A_Const A_Star Alias ParamRef SetToDefault RoleSpec
  AccessPriv ObjectWithArgs TriggerTransition ReplicaIdentityStmt ATAlterConstraint JsonFormat JsonReturning CTESearchClause
  ReturningOption LockingClause`.split(/\s+/);

/** They do nothing of themselves. */
const PLAIN = `List A_Indices A_ArrayExpr ResTarget MultiAssignRef WindowDef RangeSubselect RangeTableFunc RangeTableFuncCol
  CaseWhen CoalesceExpr MinMaxExpr NullTest BooleanTest RowExpr BoolExpr XmlExpr XmlSerialize GroupingFunc
  GroupingSet NamedArgExpr TypeCast CollateClause WithClause CommonTableExpr CTECycleClause InferClause OnConflictClause
  ReturningClause MergeWhenClause IndexElem TableLikeClause PartitionSpec PartitionElem PartitionBoundSpec PartitionRangeDatum
  StatsElem VacuumRelation PublicationObjSpec PublicationTable ReturnStmt
  JsonValueExpr JsonBehavior JsonOutput JsonArgument JsonTablePathSpec JsonTableColumn JsonKeyValue JsonAggConstructor`.split(/\s+/);

/** ORDER BY … USING operator. */
function sortBy(fields: Fields, walk: Walk): void {
  operator(fields["useOp"], walk);
  walk.children("SortBy", fields, "useOp");
}

/** `x operator ANY (SELECT …)`, `(a, b) operator (SELECT …)`. */
function subLink(fields: Fields, walk: Walk): void {
  operator(fields["operName"], walk);
  if (fields["subLinkType"] === "ANY_SUBLINK" && fields["operName"] === undefined) equality(walk);
  walk.children("SubLink", fields, "operName");
}

/** `CASE x WHEN y`: x = y. */
function caseExpression(fields: Fields, walk: Walk): void {
  if (fields["arg"] !== undefined) equality(walk);
  walk.children("CaseExpr", fields);
}

function join(fields: Fields, walk: Walk): void {
  if (fields["isNatural"] === true || fields["usingClause"] !== undefined) equality(walk);
  walk.children("JoinExpr", fields);
}

/** A function in FROM; the types of a column definition list are cast to. */
function rangeFunction(fields: Fields, walk: Walk): void {
  walk.facts.functionRow();
  walk.children("RangeFunction", fields);
  columnTypes(fields["coldeflist"], walk);
  // ROWS FROM: pairs of a function and its column definition list.
  for (const pair of listOf(fields, "functions")) {
    const node = nodeOf(pair);
    for (const item of Array.isArray(node?.[1]["items"]) ? (node[1]["items"] as unknown[]) : []) {
      const inner = nodeOf(item);
      if (inner?.[0] === "List") columnTypes(inner[1]["items"], walk);
    }
  }
}

function columnTypes(definitions: unknown, walk: Walk): void {
  for (const definition of Array.isArray(definitions) ? (definitions as unknown[]) : []) {
    const node = nodeOf(definition);
    const type = node?.[0] === "ColumnDef" ? node[1]["typeName"] : undefined;
    if (typeof type === "object" && type !== null) walk.node("TypeName", type as Fields);
  }
}

/** TABLESAMPLE method(…): a method is a function. */
function tableSample(fields: Fields, walk: Walk): void {
  const { schema, name } = qualified(fields["method"]);
  const builtin = (schema === undefined || schema === "pg_catalog") && (name === "bernoulli" || name === "system");
  if (!builtin) call({ schema, name }, undefined, walk);
  walk.children("RangeTableSample", fields, "method");
}

const WHO: ReadonlyMap<unknown, string> = new Map([
  ["SVFOP_CURRENT_ROLE", "current_user"],
  ["SVFOP_CURRENT_USER", "current_user"],
  ["SVFOP_USER", "current_user"],
  ["SVFOP_SESSION_USER", "session_user"],
]);

/** CURRENT_USER and its like are functions in all but their form; dates and names of the place are values. */
function valueFunction(fields: Fields, walk: Walk): void {
  const name = WHO.get(fields["op"]);
  if (name !== undefined) walk.facts.builtin("function", name, true);
}

/** An option: `name = value`. A bare word as value is parsed as a type, and is none. */
function option(fields: Fields, walk: Walk): void {
  const name = textOf(fields, "defname")?.toLowerCase();
  if (name === "program" || name === "filename") {
    walk.facts.forbid("PG-22", "A foreign table of a file or a program of the database server is refused.");
  }
  const arg = nodeOf(fields["arg"]);
  if (arg?.[0] !== "TypeName") walk.children("DefElem", fields);
}

const EXPRESSION_NODES: readonly [string, Handler][] = [
  ["FuncCall", functionCall],
  ["A_Expr", operatorExpression],
  ["A_Indirection", indirection],
  ["ColumnRef", columnReference],
  ["TypeName", typeUse],
  ["SortBy", sortBy],
  ["SubLink", subLink],
  ["CaseExpr", caseExpression],
  ["JoinExpr", join],
  ["RangeFunction", rangeFunction],
  ["RangeTableSample", tableSample],
  ["SQLValueFunction", valueFunction],
  ["DefElem", option],
  ["JsonObjectConstructor", sinceVersion("JsonObjectConstructor", 16, "json_object")],
  ["JsonArrayConstructor", sinceVersion("JsonArrayConstructor", 16, "json_array")],
  ["JsonArrayQueryConstructor", sinceVersion("JsonArrayQueryConstructor", 16, "json_array")],
  ["JsonObjectAgg", sinceVersion("JsonObjectAgg", 16, "json_objectagg")],
  ["JsonArrayAgg", sinceVersion("JsonArrayAgg", 16, "json_arrayagg")],
  ["JsonIsPredicate", "children"],
  ["JsonParseExpr", sinceVersion("JsonParseExpr", 17, "json")],
  ["JsonScalarExpr", sinceVersion("JsonScalarExpr", 17, "json_scalar")],
  ["JsonSerializeExpr", sinceVersion("JsonSerializeExpr", 17, "json_serialize")],
  ["JsonFuncExpr", sinceVersion("JsonFuncExpr", 17, jsonFunctionName)],
  ["JsonTable", sinceVersion("JsonTable", 17, "json_table")],
  ["MergeSupportFunc", sinceVersion("MergeSupportFunc", 17, "merge_action")],
];

export const NODES: NodeTable = new Map<string, Handler>([
  ...LEAVES.map((kind): [string, Handler] => [kind, "leaf"]),
  ...PLAIN.map((kind): [string, Handler] => [kind, "children"]),
  ...EXPRESSION_NODES,
  ...QUERY_NODES,
  ...CREATE_NODES,
  ...ALTER_NODES,
  ...SESSION_NODES,
]);
