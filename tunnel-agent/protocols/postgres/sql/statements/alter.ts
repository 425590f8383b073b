/**
 * ALTER, RENAME, SET SCHEMA, OWNER TO, DROP, TRUNCATE, COMMENT, SECURITY LABEL, GRANT and REVOKE. CASCADE reaches objects
 * that the statement does not name, so it is asked of the whole target as well.
 */
import type { ActionName } from "../../../../../policy/actions.ts";
import { TARGET } from "../facts.ts";
import { functionObject, inSchema, qualified, relationEffect, relationName, strings } from "../names.ts";
import { isRelationKind, isRelationPart, objectOf } from "../objects.ts";
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "../tree.ts";
import type { PgObject } from "../types.ts";
import type { Handler, Walk } from "../walk.ts";
import { definition, functionOptions } from "./create.ts";

const OWN_ATTRIBUTES = "ALTER ROLE, ALTER DATABASE and ALTER SYSTEM change what the gateway relies on.";

function effectOn(walk: Walk, action: ActionName, object: PgObject | undefined): void {
  if (object === undefined) walk.facts.forbid("unknown", "The gateway does not know this kind of object.");
  else if (object.type === "table") relationEffect(walk, action, object);
  else walk.facts.effect(action, object);
}

function alterTable(fields: Fields, walk: Walk): void {
  effectOn(walk, "pg:alter", objectOf(fields["objtype"], undefined, fieldsOf(fields, "relation")));
  walk.children("AlterTableStmt", fields, "relation");
}

function alterTableCommand(fields: Fields, walk: Walk): void {
  if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect("pg:drop", TARGET);
  if (fields["subtype"] === "AT_GenericOptions" || fields["subtype"] === "AT_AlterColumnGenericOptions") walk.facts.secret("literals");
  const def = nodeOf(fields["def"]);
  switch (def?.[0]) {
    case "RangeVar":
      // INHERIT and NO INHERIT: the parent's rows change.
      relationEffect(walk, "pg:alter", relationName(def[1]));
      walk.children("AlterTableCmd", fields, "def");
      break;
    case "TypeName":
      walk.children("AlterTableCmd", fields, "def");
      break;
    default:
      walk.children("AlterTableCmd", fields);
  }
}

function partition(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields, "name");
  if (relation !== undefined) relationEffect(walk, "pg:alter", relationName(relation));
  walk.children("PartitionCmd", fields, "name");
}

/** ALTER of one relation by a statement of its own. */
function altersRelation(kind: string, field: string): Handler {
  return (fields, walk) => {
    const relation = fieldsOf(fields, field);
    if (relation !== undefined) relationEffect(walk, "pg:alter", relationName(relation));
    walk.children(kind, fields, field);
  };
}

/** ALTER of what belongs to a schema, named by a list of strings; its options may name functions. */
function altersInSchema(kind: string, field: string): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:alter", inSchema(qualified(fields[field])));
    if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect("pg:drop", TARGET);
    definition(fields["options"], walk);
    walk.children(kind, fields, field, "options");
  };
}

function altersOnTarget(kind: string, ...more: readonly ActionName[]): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:alter", TARGET);
    for (const action of more) walk.facts.effect(action);
    walk.children(kind, fields);
  };
}

function altersWithSecrets(kind: string): Handler {
  return (fields, walk) => {
    walk.facts.effect("pg:alter", TARGET);
    walk.facts.secret("literals");
    definition(fields["func_options"], walk);
    walk.children(kind, fields, "func_options");
  };
}

/** ALTER ROLE, DATABASE and SYSTEM (PG-42). */
function refused(action: ActionName): Handler {
  return (_fields, walk) => {
    walk.facts.effect(action);
    walk.facts.secret("literals");
    walk.facts.forbid("PG-42", OWN_ATTRIBUTES);
  };
}

function alterFunction(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:alter", functionObject(qualified(fieldsOf(fields, "func")?.["objname"])));
  functionOptions(fields["actions"], walk);
}

function alterOperator(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:alter", inSchema(qualified(fieldsOf(fields, "opername")?.["objname"])));
  definition(fields["options"], walk);
}

/** Roles and databases are refused under every spelling of ALTER. */
function altersRoleOrDatabase(kind: unknown, walk: Walk): boolean {
  if (kind !== "OBJECT_ROLE" && kind !== "OBJECT_DATABASE") return false;
  walk.facts.effect(kind === "OBJECT_ROLE" ? "pg:role" : "pg:system");
  walk.facts.forbid("PG-42", OWN_ATTRIBUTES);
  return true;
}

/** A new name is as good as a new object: what others mean by that name changes. */
function rename(fields: Fields, walk: Walk): void {
  const kind = fields["renameType"];
  if (altersRoleOrDatabase(kind, walk)) return;
  const relation = fieldsOf(fields, "relation");
  // A schema's old name stands where other objects have the name of their part.
  const object: PgObject | undefined =
    kind === "OBJECT_SCHEMA" ? { type: "schema", name: textOf(fields, "subname") ?? "" } : objectOf(kind, fields["object"], relation);
  effectOn(walk, "pg:alter", object);
  if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect("pg:drop", TARGET);
  const name = textOf(fields, "newname");
  if (object === undefined || name === undefined || isRelationPart(kind)) return;
  if (object.type === "table" && isRelationKind(kind)) relationEffect(walk, "pg:create", { schema: object.schema, name });
  else if (object.type === "function") walk.facts.effect("pg:create", { ...object, name });
  else if (object.type === "schema" && kind === "OBJECT_SCHEMA") walk.facts.effect("pg:create", { type: "schema", name });
}

function setSchema(fields: Fields, walk: Walk): void {
  const object = objectOf(fields["objectType"], fields["object"], fieldsOf(fields, "relation"));
  effectOn(walk, "pg:alter", object);
  const schema = textOf(fields, "newschema");
  if (object === undefined || schema === undefined) return;
  if (object.type === "table" || object.type === "function") effectOn(walk, "pg:create", { type: object.type, schema, name: object.name });
  else walk.facts.effect("pg:create", { type: "schema", name: schema });
}

function setOwner(fields: Fields, walk: Walk): void {
  if (altersRoleOrDatabase(fields["objectType"], walk)) return;
  effectOn(walk, "pg:alter", objectOf(fields["objectType"], fields["object"], fieldsOf(fields, "relation")));
}

function dependsOn(fields: Fields, walk: Walk): void {
  effectOn(walk, "pg:alter", objectOf(fields["objectType"], fields["object"], fieldsOf(fields, "relation")));
}

function drop(fields: Fields, walk: Walk): void {
  for (const object of listOf(fields, "objects")) effectOn(walk, "pg:drop", objectOf(fields["removeType"], object));
  if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect("pg:drop", TARGET);
}

function dropsOnTarget(...actions: readonly ActionName[]): Handler {
  return (_fields, walk) => {
    for (const action of actions) walk.facts.effect(action);
  };
}

function truncate(fields: Fields, walk: Walk): void {
  for (const relation of listOf(fields, "relations")) {
    const node = nodeOf(relation);
    if (node !== undefined) relationEffect(walk, "pg:truncate", relationName(node[1]));
  }
  if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect("pg:truncate", TARGET);
}

function comment(fields: Fields, walk: Walk): void {
  effectOn(walk, "pg:comment", objectOf(fields["objtype"], fields["object"]));
}

/** Objects, all objects of a schema, or defaults for objects to come. */
function grant(fields: Fields, walk: Walk): void {
  const action = fields["is_grant"] === true ? "pg:grant" : "pg:revoke";
  switch (fields["targtype"]) {
    case "ACL_TARGET_ALL_IN_SCHEMA":
      for (const schema of strings(fields["objects"])) walk.facts.effect(action, { type: "schema", name: schema });
      break;
    case "ACL_TARGET_OBJECT":
      for (const object of listOf(fields, "objects")) effectOn(walk, action, objectOf(fields["objtype"], object));
      break;
    case "ACL_TARGET_DEFAULTS":
      break;
    default:
      walk.facts.forbid("unknown", "The gateway does not know what this GRANT is on.");
  }
  if (fields["behavior"] === "DROP_CASCADE") walk.facts.effect(action, TARGET);
  if (fields["objtype"] === "OBJECT_PARAMETER_ACL") walk.facts.effect("pg:system");
}

function grantRole(fields: Fields, walk: Walk): void {
  walk.facts.effect(fields["is_grant"] === true ? "pg:grant" : "pg:revoke");
  walk.facts.effect("pg:role");
}

function defaultPrivileges(fields: Fields, walk: Walk): void {
  const action = fieldsOf(fields, "action")?.["is_grant"] === true ? "pg:grant" : "pg:revoke";
  const schemas = listOf(fields, "options").flatMap((option) => {
    const node = nodeOf(option);
    const arg = node?.[1]["defname"] === "schemas" ? nodeOf(node[1]["arg"]) : undefined;
    return arg?.[0] === "List" ? strings(arg[1]["items"]) : [];
  });
  for (const name of schemas) walk.facts.effect(action, { type: "schema", name });
  if (schemas.length === 0) walk.facts.effect(action, TARGET);
}

function alterOpFamily(fields: Fields, walk: Walk): void {
  walk.facts.effect("pg:alter", inSchema(qualified(fields["opfamilyname"])));
  walk.children("AlterOpFamilyStmt", fields, "opfamilyname");
}

/** Functions of an event trigger stay as they are; everything else about it is the target's. */
export const ALTER_NODES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["AlterTableStmt", alterTable],
  ["AlterTableCmd", alterTableCommand],
  ["PartitionCmd", partition],
  ["AlterSeqStmt", altersRelation("AlterSeqStmt", "sequence")],
  ["AlterPolicyStmt", altersRelation("AlterPolicyStmt", "table")],
  ["AlterDomainStmt", altersInSchema("AlterDomainStmt", "typeName")],
  ["AlterEnumStmt", altersInSchema("AlterEnumStmt", "typeName")],
  ["AlterTypeStmt", altersInSchema("AlterTypeStmt", "typeName")],
  ["AlterCollationStmt", altersInSchema("AlterCollationStmt", "collname")],
  ["AlterStatsStmt", altersInSchema("AlterStatsStmt", "defnames")],
  ["AlterTSDictionaryStmt", altersInSchema("AlterTSDictionaryStmt", "dictname")],
  ["AlterTSConfigurationStmt", altersInSchema("AlterTSConfigurationStmt", "cfgname")],
  ["AlterOpFamilyStmt", alterOpFamily],
  ["AlterOperatorStmt", alterOperator],
  ["AlterFunctionStmt", alterFunction],
  ["AlterTableMoveAllStmt", altersOnTarget("AlterTableMoveAllStmt")],
  ["AlterTableSpaceOptionsStmt", altersOnTarget("AlterTableSpaceOptionsStmt", "pg:system")],
  ["AlterExtensionStmt", altersOnTarget("AlterExtensionStmt")],
  ["AlterExtensionContentsStmt", (_fields, walk) => walk.facts.effect("pg:alter", TARGET)],
  ["AlterEventTrigStmt", altersOnTarget("AlterEventTrigStmt")],
  ["AlterPublicationStmt", altersOnTarget("AlterPublicationStmt")],
  ["AlterSubscriptionStmt", altersWithSecrets("AlterSubscriptionStmt")],
  ["AlterForeignServerStmt", altersWithSecrets("AlterForeignServerStmt")],
  ["AlterFdwStmt", altersWithSecrets("AlterFdwStmt")],
  ["AlterUserMappingStmt", altersWithSecrets("AlterUserMappingStmt")],
  ["AlterRoleStmt", refused("pg:role")],
  ["AlterRoleSetStmt", refused("pg:role")],
  ["AlterDatabaseStmt", refused("pg:system")],
  ["AlterDatabaseSetStmt", refused("pg:system")],
  ["AlterDatabaseRefreshCollStmt", refused("pg:system")],
  ["AlterSystemStmt", refused("pg:system")],
  ["RenameStmt", rename],
  ["AlterObjectSchemaStmt", setSchema],
  ["AlterOwnerStmt", setOwner],
  ["AlterObjectDependsStmt", dependsOn],
  ["DropStmt", drop],
  ["DropdbStmt", dropsOnTarget("pg:drop")],
  ["DropRoleStmt", dropsOnTarget("pg:role")],
  ["DropTableSpaceStmt", dropsOnTarget("pg:drop", "pg:system")],
  ["DropUserMappingStmt", dropsOnTarget("pg:drop")],
  ["DropSubscriptionStmt", dropsOnTarget("pg:drop", "pg:system")],
  ["DropOwnedStmt", dropsOnTarget("pg:drop")],
  ["ReassignOwnedStmt", dropsOnTarget("pg:role")],
  ["TruncateStmt", truncate],
  ["CommentStmt", comment],
  ["SecLabelStmt", comment],
  ["GrantStmt", grant],
  ["GrantRoleStmt", grantRole],
  ["AlterDefaultPrivilegesStmt", defaultPrivileges],
]);
