/**
 * CREATE of every kind. What a definition contains counts as done now: the query of a view, the actions of a rule, the
 * SQL body, defaults and checks, and the functions that a trigger, operator, aggregate or cast is made of.
 */
import type { ActionName } from "../../../../../policy/actions.ts";
import { TARGET } from "../facts.ts";
import { call } from "../functions.ts";
import { functionObject, inSchema, qualified, relationEffect, relationName } from "../names.ts";
import { objectOf } from "../objects.ts";
import { fieldsOf, listOf, nodeOf, textOf, unwrap, type Fields } from "../tree.ts";
import type { Handler, Walk } from "../walk.ts";
import { settingOfFunction } from "./session.ts";

/** CREATE of a relation named by a field. */
function createsRelation(kind: string, field: string): Handler {
  return (fields, walk) => {
    const relation = fieldsOf(fields, field);
    if (relation !== undefined) {
      relationEffect(walk, "pg:create", relationName(relation));
      if (fields["replace"] === true) relationEffect(walk, "pg:alter", relationName(relation));
    }
    walk.children(kind, fields, field);
  };
}

/** CREATE of what belongs to a schema, named by a list of strings. */
function createsInSchema(kind: string, field: string): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:create", inSchema(qualified(fields[field])));
    walk.children(kind, fields, field, "typeName");
  };
}

/** CREATE of what belongs to the database or the server. */
function createsOnTarget(kind: string, ...more: readonly ActionName[]): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:create", TARGET);
    for (const action of more) walk.facts.effect(action);
    walk.children(kind, fields);
  };
}

/** As `createsOnTarget`, for statements whose string literals may be credentials of other servers. */
function createsWithSecrets(kind: string, ...more: readonly ActionName[]): Handler {
  const create = createsOnTarget(kind, ...more);
  return (fields, walk) => {
    walk.facts.secret("literals");
    if (typeof create === "function") create(fields, walk);
  };
}

function createTable(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields, "relation");
  if (relation !== undefined) relationEffect(walk, "pg:create", relationName(relation));
  for (const parent of listOf(fields, "inhRelations")) {
    const node = nodeOf(parent);
    // A child's rows become the parent's.
    if (node !== undefined) relationEffect(walk, "pg:alter", relationName(node[1]));
  }
  walk.children("CreateStmt", fields, "relation", "inhRelations", "ofTypename");
}

/** A foreign key watches the other table: its rows can no longer go, and whether a value is there can be found out. */
function constraint(fields: Fields, walk: Walk): void {
  const other = fieldsOf(fields, "pktable");
  if (other !== undefined) relationEffect(walk, "pg:alter", relationName(other));
  walk.children("Constraint", fields, "pktable");
}

function createForeignTable(fields: Fields, walk: Walk): void {
  walk.facts.secret("literals");
  const base = fieldsOf(fields, "base");
  if (base !== undefined) createTable(base, walk);
  walk.children("CreateForeignTableStmt", fields, "base");
}

function createFunction(fields: Fields, walk: Walk): void {
  const { facts } = walk;
  const object = functionObject(qualified(fields["funcname"]));
  facts.effect("pg:create", object);
  if (fields["replace"] === true) facts.effect("pg:alter", object);
  facts.secret("bodies");
  functionOptions(fields["options"], walk);
  walk.children("CreateFunctionStmt", fields, "funcname", "returnType", "options");
}

/** Options of CREATE and ALTER FUNCTION: settings for its calls, and its language. */
export function functionOptions(options: unknown, walk: Walk): void {
  for (const option of Array.isArray(options) ? (options as unknown[]) : []) {
    const node = nodeOf(option);
    if (node === undefined) continue;
    const fields = node[1];
    const arg = nodeOf(fields["arg"]);
    switch (fields["defname"]) {
      case "set":
        if (arg !== undefined) settingOfFunction(arg[1], walk);
        break;
      case "language":
        // Code that the server loads into itself.
        if (["c", "internal"].includes((textOf(arg?.[1], "sval") ?? "").toLowerCase())) walk.facts.effect("pg:load");
        break;
      case "support":
        call(qualified(arg?.[0] === "List" ? arg[1]["items"] : fields["arg"]), undefined, walk);
        break;
      default:
        walk.node(node[0], fields);
    }
  }
}

/** Its elements are made in the new schema unless they say otherwise. */
function createSchema(fields: Fields, walk: Walk): void {
  const owner = fieldsOf(fields, "authrole");
  const name = textOf(fields, "schemaname") ?? (owner === undefined ? undefined : textOf(owner, "rolename"));
  walk.facts.effect("pg:create", name === undefined ? TARGET : { type: "schema", name });
  for (const element of listOf(fields, "schemaElts")) {
    const node = nodeOf(element);
    if (node === undefined) continue;
    const [kind, inner] = node;
    const field = kind === "ViewStmt" ? "view" : kind === "CreateSeqStmt" ? "sequence" : "relation";
    const relation = fieldsOf(inner, field);
    const placed = relation === undefined || textOf(relation, "schemaname") !== undefined || name === undefined;
    walk.node(kind, placed ? inner : { ...inner, [field]: { ...relation, schemaname: name } });
  }
}

function createTrigger(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields, "relation");
  const other = fieldsOf(fields, "constrrel");
  if (relation !== undefined) {
    relationEffect(walk, "pg:create", relationName(relation));
    if (fields["replace"] === true) relationEffect(walk, "pg:alter", relationName(relation));
  }
  if (other !== undefined) relationEffect(walk, "pg:alter", relationName(other));
  call(qualified(fields["funcname"]), undefined, walk);
  walk.children("CreateTrigStmt", fields, "relation", "constrrel", "funcname");
}

/** CREATE of something that is made of functions, each named by a list of strings in a field. */
function createsFromFunctions(kind: string, name: string | null, ...functions: readonly string[]): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:create", name === null ? TARGET : inSchema(qualified(fields[name])));
    for (const field of functions) {
      const value = fields[field];
      if (value === undefined) continue;
      call(qualified(Array.isArray(value) ? value : (value as Fields)["objname"]), undefined, walk);
    }
    walk.children(kind, fields, ...(name === null ? [] : [name]), ...functions, "sourcetype", "targettype", "type_name", "datatype");
  };
}

/** Options of CREATE AGGREGATE, OPERATOR, TYPE, TEXT SEARCH … and of ranges that name a function to be called later. */
const FUNCTION_OPTIONS = new Set(
  `sfunc sfunc1 finalfunc combinefunc serialfunc deserialfunc msfunc minvfunc mfinalfunc function procedure restrict join
  input output receive send typmod_in typmod_out analyze subscript canonical subtype_diff subtype_diff_function
  start gettoken end lextypes headline init lexize handler validator`.split(/\s+/),
);

export function definition(options: unknown, walk: Walk): void {
  for (const option of Array.isArray(options) ? (options as unknown[]) : []) {
    const node = nodeOf(option);
    const arg = node?.[1]["arg"];
    if (node === undefined || typeof arg !== "object" || arg === null) continue;
    const named = unwrap(arg);
    if (!FUNCTION_OPTIONS.has(String(node[1]["defname"]).toLowerCase()) || named === undefined) {
      walk.node(node[0], node[1]);
      continue;
    }
    switch (named[0]) {
      case "TypeName":
        call(qualified(named[1]["names"]), undefined, walk);
        break;
      case "List":
        call(qualified(named[1]["items"]), undefined, walk);
        break;
      case "String":
        call(qualified([arg]), undefined, walk);
        break;
      default:
        walk.visit(arg);
    }
  }
}

function define(fields: Fields, walk: Walk): void {
  const object = objectOf(fields["kind"], fields["defnames"]);
  if (object === undefined) walk.facts.forbid("unknown", "The gateway does not know this kind of CREATE.");
  else {
    walk.facts.effect("pg:create", object);
    if (fields["replace"] === true) walk.facts.effect("pg:alter", object);
  }
  definition(fields["definition"], walk);
  walk.children("DefineStmt", fields, "defnames", "definition");
}

function createRange(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:create", inSchema(qualified(fields["typeName"])));
  definition(fields["params"], walk);
}

function opClassItem(fields: Fields, walk: Walk): void {
  const name = fieldsOf(fields, "name");
  // itemtype 2 is a function, 1 an operator, 3 a storage type (parsenodes.h).
  if (fields["itemtype"] === 2 && name !== undefined) call(qualified(name["objname"]), undefined, walk);
  walk.children("CreateOpClassItem", fields, "name", "storedtype");
}

function createDomain(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:create", inSchema(qualified(fields["domainname"])));
  walk.children("CreateDomainStmt", fields, "domainname", "typeName");
}

function compositeType(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:create", inSchema(relationName(fieldsOf(fields, "typevar") ?? {})));
  walk.children("CompositeTypeStmt", fields, "typevar");
}

function createStatistics(fields: Fields, walk: Walk): void {
  for (const item of listOf(fields, "relations")) {
    const node = nodeOf(item);
    if (node?.[0] === "RangeVar") relationEffect(walk, "pg:create", relationName(node[1]));
    else walk.visit(item);
  }
  walk.facts.effect("pg:create", inSchema(qualified(fields["defnames"])));
  walk.children("CreateStatsStmt", fields, "relations");
}

function createForeignDataWrapper(fields: Fields, walk: Walk): void {
  walk.facts.secret("literals");
  walk.facts.effect("pg:create");
  walk.facts.effect("pg:system");
  definition(fields["func_options"], walk);
  walk.children("CreateFdwStmt", fields, "func_options");
}

function createRole(_fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:role");
  walk.facts.secret("literals");
}

/** The columns' types are named, not used. */
function columnDefinition(fields: Fields, walk: Walk): void {
  walk.children("ColumnDef", fields, "typeName");
}

function functionParameter(fields: Fields, walk: Walk): void {
  walk.children("FunctionParameter", fields, "argType");
}

export const CREATE_NODES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["CreateStmt", createTable],
  ["CreateForeignTableStmt", createForeignTable],
  ["ViewStmt", createsRelation("ViewStmt", "view")],
  ["IndexStmt", createsRelation("IndexStmt", "relation")],
  ["CreateSeqStmt", createsRelation("CreateSeqStmt", "sequence")],
  ["RuleStmt", createsRelation("RuleStmt", "relation")],
  ["CreatePolicyStmt", createsRelation("CreatePolicyStmt", "table")],
  ["CreateTrigStmt", createTrigger],
  ["CreateTableAsStmt", "children"],
  ["CreateFunctionStmt", createFunction],
  ["CreateSchemaStmt", createSchema],
  ["DefineStmt", define],
  ["CreateDomainStmt", createDomain],
  ["CreateEnumStmt", createsInSchema("CreateEnumStmt", "typeName")],
  ["CreateRangeStmt", createRange],
  ["CompositeTypeStmt", compositeType],
  ["CreateOpClassStmt", createsFromFunctions("CreateOpClassStmt", "opclassname")],
  ["CreateOpFamilyStmt", createsInSchema("CreateOpFamilyStmt", "opfamilyname")],
  ["CreateOpClassItem", opClassItem],
  ["CreateConversionStmt", createsFromFunctions("CreateConversionStmt", "conversion_name", "func_name")],
  ["CreateStatsStmt", createStatistics],
  ["CreateCastStmt", createsFromFunctions("CreateCastStmt", null, "func")],
  ["CreateTransformStmt", createsFromFunctions("CreateTransformStmt", null, "fromsql", "tosql")],
  ["CreateAmStmt", createsFromFunctions("CreateAmStmt", null, "handler_name")],
  ["CreatePLangStmt", createsFromFunctions("CreatePLangStmt", null, "plhandler", "plinline", "plvalidator")],
  ["CreateEventTrigStmt", createsFromFunctions("CreateEventTrigStmt", null, "funcname")],
  ["CreateExtensionStmt", createsOnTarget("CreateExtensionStmt")],
  ["CreatedbStmt", createsOnTarget("CreatedbStmt")],
  ["CreateTableSpaceStmt", createsOnTarget("CreateTableSpaceStmt", "pg:system")],
  ["CreatePublicationStmt", createsOnTarget("CreatePublicationStmt")],
  ["CreateSubscriptionStmt", createsWithSecrets("CreateSubscriptionStmt", "pg:system")],
  ["CreateForeignServerStmt", createsWithSecrets("CreateForeignServerStmt")],
  ["CreateUserMappingStmt", createsWithSecrets("CreateUserMappingStmt")],
  ["CreateFdwStmt", createForeignDataWrapper],
  ["CreateRoleStmt", createRole],
  ["Constraint", constraint],
  ["ColumnDef", columnDefinition],
  ["FunctionParameter", functionParameter],
]);
