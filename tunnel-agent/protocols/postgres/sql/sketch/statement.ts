/**
 * Statements as sketches. What is not named here is opaque: a statement that the gateway cannot see through is refused
 * where there are classified columns.
 */
import { relationName, strings } from "../names.ts";
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "../tree.ts";
import { alteredTable, cluster, createdTable, index, publication, rename, setSchema, statistics, policy, trigger } from "./definitions.ts";
import { NOTHING } from "./expressions.ts";
import { queryOf, reading } from "./query.ts";
import type { Query, Sketch } from "./types.ts";

/** They read no row and make none readable by another name; or they are the machine's to follow, as EXECUTE and FETCH. */
const PLAIN = new Set(
  `TransactionStmt VariableSetStmt VariableShowStmt ConstraintsSetStmt ExecuteStmt DeallocateStmt FetchStmt ClosePortalStmt
  DiscardStmt ListenStmt UnlistenStmt NotifyStmt LockStmt VacuumStmt RefreshMatViewStmt ReindexStmt CheckPointStmt
  LoadStmt DropStmt TruncateStmt CommentStmt SecLabelStmt GrantStmt GrantRoleStmt AlterDefaultPrivilegesStmt AlterOwnerStmt
  CreateSeqStmt AlterSeqStmt CreateEnumStmt AlterEnumStmt CompositeTypeStmt CreateRangeStmt CreateDomainStmt DefineStmt
  CreateOpClassStmt CreateOpFamilyStmt AlterOpFamilyStmt AlterOperatorStmt AlterTypeStmt CreateConversionStmt CreateCastStmt
  CreateExtensionStmt AlterExtensionStmt AlterExtensionContentsStmt CreateRoleStmt AlterRoleStmt AlterRoleSetStmt DropRoleStmt
  CreatedbStmt DropdbStmt AlterDatabaseStmt AlterDatabaseSetStmt AlterDatabaseRefreshCollStmt AlterSystemStmt DropOwnedStmt
  ReassignOwnedStmt AlterCollationStmt AlterTSDictionaryStmt AlterTSConfigurationStmt AlterStatsStmt AlterObjectDependsStmt
  CreateEventTrigStmt AlterEventTrigStmt CreatePLangStmt CreateAmStmt CreateTransformStmt CreateTableSpaceStmt
  DropTableSpaceStmt AlterTableSpaceOptionsStmt AlterTableMoveAllStmt CreateSubscriptionStmt AlterSubscriptionStmt
  DropSubscriptionStmt ReplicaIdentityStmt`.split(/\s+/),
);

const PLAIN_SKETCH: Sketch = { kind: "plain" };

const opaque = (sentence: string): Sketch => ({ kind: "opaque", sentence });

const copies = (what: string, value: unknown): Sketch => {
  const node = nodeOf(value);
  if (node === undefined || !QUERIES.has(node[0])) return opaque(`${what} copies rows that it does not show`);
  return { kind: "copies", what, query: queryOf(node[0], node[1]) };
};

const QUERIES = new Set(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

export function sketchOf(kind: string, fields: Fields): Sketch {
  if (PLAIN.has(kind)) return PLAIN_SKETCH;
  if (QUERIES.has(kind)) return query(queryOf(kind, fields));
  switch (kind) {
    case "CopyStmt":
      return copy(fields);
    case "ExplainStmt":
      return { kind: "explain", inner: inner(fields["query"]), measures: listOf(fields, "options").some((item) => isSerialize(item)) };
    case "DeclareCursorStmt":
    case "PrepareStmt":
      return inner(fields["query"]);
    case "CreateTableAsStmt":
      return copies(fields["objtype"] === "OBJECT_MATVIEW" ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE AS", fields["query"]);
    case "ViewStmt":
      return copies("CREATE VIEW", fields["query"]);
    case "CreateSchemaStmt":
      return { kind: "several", parts: listOf(fields, "schemaElts").map((item) => inner(item)) };
    case "CreateStmt":
      return createdTable(fields);
    case "AlterTableStmt":
      return alteredTable(fields);
    case "ClusterStmt":
      return cluster(fields);
    case "IndexStmt":
      return index(fields);
    case "CreateStatsStmt":
      return statistics(fields);
    case "CreatePolicyStmt":
    case "AlterPolicyStmt":
      return policy(fields);
    case "CreateTrigStmt":
      return trigger(fields);
    case "RenameStmt":
      return rename(fields);
    case "AlterObjectSchemaStmt":
      return setSchema(fields);
    case "CreatePublicationStmt":
    case "AlterPublicationStmt":
      return publication(fields);
    case "AlterDomainStmt":
      // A new constraint is tried on every value of the domain that is stored.
      return fields["subtype"] === "C" || fields["def"] !== undefined
        ? opaque("a constraint of a domain is tried on every value that is stored, whichever column it is in")
        : PLAIN_SKETCH;
    case "DoStmt":
      return opaque("what a DO block reads cannot be seen");
    case "CallStmt":
      return opaque("what a procedure reads cannot be seen");
    case "CreateFunctionStmt":
    case "AlterFunctionStmt":
      return opaque("a function's body may read anything once something calls it");
    case "RuleStmt":
      return opaque("a rule's actions run whenever its table is used");
    default:
      return opaque("the gateway cannot tell what it does with classified columns");
  }
}

function inner(value: unknown): Sketch {
  const node = nodeOf(value);
  return node === undefined ? opaque("the gateway does not know its inner statement") : sketchOf(node[0], node[1]);
}

/** `SELECT … INTO t` stands in the leftmost arm of a set operation. */
function query(found: Query): Sketch {
  let arm = found;
  while (arm.kind === "set") arm = arm.left;
  return arm.kind === "select" && arm.into ? { kind: "copies", what: "SELECT INTO", query: found } : { kind: "query", query: found };
}

const isSerialize = (option: unknown): boolean => textOf(nodeOf(option)?.[1], "defname")?.toLowerCase() === "serialize";

function copy(fields: Fields): Sketch {
  const relation = fieldsOf(fields, "relation");
  if (relation === undefined) {
    const node = nodeOf(fields["query"]);
    return node === undefined
      ? opaque("the gateway does not see what it copies")
      : { kind: "copy-query", query: queryOf(node[0], node[1]) };
  }
  const columns = Array.isArray(fields["attlist"]) ? strings(fields["attlist"]) : null;
  const from = fields["is_from"] === true;
  const where = fields["whereClause"] === undefined ? NOTHING : reading(fields["whereClause"]);
  return { kind: "copy-table", relation: relationName(relation), columns, from, where };
}
