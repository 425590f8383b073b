/**
 * Definition statements as sketches: whose columns they look at, give another name, or let others see. A statement that
 * only adds an empty place for values concerns nobody.
 */
import { relationName, strings, type QualifiedName } from "../names.ts";
import { isRelationKind } from "../objects.ts";
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "../tree.ts";
import { reading } from "./query.ts";
import type { Definition, Reads, Sketch } from "./types.ts";

type Parts = { -readonly [K in keyof Definition]: Definition[K] extends readonly (infer T)[] ? T[] : Definition[K] };

class Builder {
  readonly #parts: Parts = { concerns: [], within: [], schemas: [], added: [], everything: undefined };

  concern(relation: QualifiedName, columns: readonly string[] | null, what: string): this {
    if (columns === null || columns.length > 0) this.#parts.concerns.push({ relation, columns, what });
    return this;
  }

  within(relation: QualifiedName, ...values: readonly unknown[]): this {
    const reads: Reads = reading(...values);
    if (reads.mentions.length + reads.subqueries.length > 0) this.#parts.within.push({ relation, reads });
    return this;
  }

  adds(column: string): void {
    this.#parts.added.push(column);
  }

  schema(name: string): this {
    this.#parts.schemas.push(name);
    return this;
  }

  everything(what: string): this {
    this.#parts.everything = what;
    return this;
  }

  get sketch(): Sketch {
    const { concerns, within, schemas, everything } = this.#parts;
    if (concerns.length + within.length + schemas.length === 0 && everything === undefined) return { kind: "plain" };
    return { kind: "definition", definition: this.#parts };
  }
}

const relationIn = (fields: Fields, field: string): QualifiedName => relationName(fieldsOf(fields, field) ?? {});

/**
 * One constraint, of a table or of one of its columns. `relation` null: the table is only being made, so that there is no
 * row to try it on; what it refers to has rows.
 */
function constraint(fields: Fields, relation: QualifiedName | null, builder: Builder): void {
  const other = fieldsOf(fields, "pktable");
  if (other !== undefined) {
    const columns = listOf(fields, "pk_attrs");
    // Without columns it is the primary key, whatever that is.
    builder.concern(relationName(other), columns.length === 0 ? null : strings(columns), "a foreign key tells which values there are");
  }
  if (relation === null) return;
  builder.within(relation, fields["raw_expr"], fields["where_clause"]);
  switch (fields["contype"]) {
    case "CONSTR_PRIMARY":
    case "CONSTR_UNIQUE":
      builder.concern(relation, strings(fields["keys"]), "a unique constraint tells whether values are equal");
      return;
    case "CONSTR_FOREIGN":
      builder.concern(relation, strings(fields["fk_attrs"]), "a foreign key tells whether values are in another table");
      return;
    case "CONSTR_EXCLUSION":
      for (const item of listOf(fields, "exclusions")) {
        const element = nodeOf(listOf(nodeOf(item)?.[1], "items")[0])?.[1];
        elements([{ IndexElem: element }], relation, "an exclusion constraint compares values", builder);
      }
      return;
    default:
  }
}

/** Columns and expressions of an index or of extended statistics. */
function elements(list: readonly unknown[], relation: QualifiedName, what: string, builder: Builder): void {
  for (const item of list) {
    const fields = nodeOf(item)?.[1];
    const name = textOf(fields, "name");
    if (name === undefined) builder.within(relation, fields?.["expr"]);
    else builder.concern(relation, [name], what);
  }
}

/** A new column holds nothing but its default, unless it is generated from others. */
function column(fields: Fields, relation: QualifiedName | null, builder: Builder): void {
  for (const item of listOf(fields, "constraints")) {
    const node = nodeOf(item);
    if (node?.[0] !== "Constraint") continue;
    // The column itself has no values yet: only what the expressions name beside it matters.
    constraint(node[1], relation, builder);
  }
}

export function createdTable(fields: Fields): Sketch {
  const builder = new Builder();
  for (const item of listOf(fields, "tableElts")) {
    const node = nodeOf(item);
    if (node?.[0] === "ColumnDef") column(node[1], null, builder);
    else if (node?.[0] === "Constraint") constraint(node[1], null, builder);
  }
  // A partition holds what its parent sends it; an heir's rows are shown by its parent.
  if (fields["partbound"] === undefined) {
    for (const item of listOf(fields, "inhRelations"))
      builder.concern(relationName(nodeOf(item)?.[1] ?? {}), null, "inheritance shows rows under another name");
  }
  return builder.sketch;
}

/** Of ALTER TABLE: what looks at no value and moves no column. */
const HARMLESS = new Set(
  `AT_AddColumn AT_ColumnDefault AT_CookedColumnDefault AT_DropNotNull AT_SetNotNull AT_SetStatistics AT_SetOptions AT_ResetOptions
  AT_SetStorage AT_SetCompression AT_DropColumn AT_ValidateConstraint AT_AlterConstraint AT_DropConstraint AT_ChangeOwner
  AT_ClusterOn AT_DropCluster AT_SetLogged AT_SetUnLogged AT_DropOids AT_SetAccessMethod AT_SetTableSpace AT_SetRelOptions
  AT_ResetRelOptions AT_EnableTrig AT_EnableAlwaysTrig AT_EnableReplicaTrig AT_DisableTrig AT_EnableTrigAll AT_DisableTrigAll
  AT_EnableTrigUser AT_DisableTrigUser AT_EnableRule AT_EnableAlwaysRule AT_EnableReplicaRule AT_DisableRule AT_ReplicaIdentity
  AT_EnableRowSecurity AT_DisableRowSecurity AT_ForceRowSecurity AT_NoForceRowSecurity AT_AddIdentity AT_SetIdentity AT_DropIdentity`.split(
    /\s+/,
  ),
);

export function alteredTable(fields: Fields): Sketch {
  const builder = new Builder();
  const relation = relationIn(fields, "relation");
  for (const item of listOf(fields, "cmds")) {
    const def = nodeOf(nodeOf(item)?.[1]["def"]);
    const added = def?.[0] === "ColumnDef" && nodeOf(item)?.[1]["subtype"] === "AT_AddColumn" ? textOf(def[1], "colname") : undefined;
    if (added !== undefined) builder.adds(added);
  }
  for (const item of listOf(fields, "cmds")) {
    const command = nodeOf(item)?.[1] ?? {};
    const subtype = textOf(command, "subtype") ?? "";
    const name = textOf(command, "name");
    const def = nodeOf(command["def"]);
    switch (subtype) {
      case "AT_AddColumn":
        if (def !== undefined) column(def[1], relation, builder);
        break;
      case "AT_AddConstraint":
        if (def !== undefined) constraint(def[1], relation, builder);
        break;
      case "AT_AlterColumnType":
        builder.within(relation, def?.[1]["raw_default"]);
        builder.concern(relation, name === undefined ? null : [name], "a conversion fails or not by the values");
        break;
      case "AT_SetExpression":
      case "AT_DropExpression":
        builder.within(relation, command["def"]);
        builder.concern(relation, name === undefined ? null : [name], "the column would keep what it was computed from");
        break;
      case "AT_AddInherit":
      case "AT_AttachPartition":
      case "AT_DropInherit":
      case "AT_DetachPartition":
      case "AT_DetachPartitionFinalize": {
        const what = "rows would be shown under another name";
        builder.concern(relation, null, what);
        const other = def?.[0] === "RangeVar" ? def[1] : fieldsOf(def?.[1], "name");
        if (other !== undefined) builder.concern(relationName(other), null, what);
        break;
      }
      case "AT_GenericOptions":
      case "AT_AlterColumnGenericOptions":
        return { kind: "opaque", sentence: "a foreign table's options say which table its rows are from" };
      default:
        if (!HARMLESS.has(subtype)) builder.concern(relation, null, "the gateway cannot tell what this ALTER does with them");
    }
  }
  return builder.sketch;
}

/** Rows are put into an index's order, and whoever reads the table from then on sees that. */
export function cluster(fields: Fields): Sketch {
  const what = "CLUSTER puts rows into the order of values";
  const relation = fieldsOf(fields, "relation");
  return (relation === undefined ? new Builder().everything(what) : new Builder().concern(relationName(relation), null, what)).sketch;
}

/** It keeps rows in the order of values, and a plan that reads it shows that order. */
export function index(fields: Fields): Sketch {
  const relation = relationIn(fields, "relation");
  const builder = new Builder().within(relation, fields["whereClause"]);
  const what = fields["unique"] === true ? "a unique index tells whether values are equal" : "an index has the order of values";
  elements(listOf(fields, "indexParams"), relation, what, builder);
  return builder.sketch;
}

export function statistics(fields: Fields): Sketch {
  const builder = new Builder();
  for (const item of listOf(fields, "relations")) {
    const node = nodeOf(item);
    if (node?.[0] === "RangeVar") elements(listOf(fields, "exprs"), relationName(node[1]), "statistics hold samples of values", builder);
  }
  return builder.sketch;
}

/** Conditions that decide which rows a later statement sees or changes. */
export function policy(fields: Fields): Sketch {
  const table = relationIn(fields, "table");
  return new Builder()
    .concern(table, null, "a policy's condition decides which rows are seen")
    .within(table, fields["qual"], fields["with_check"]).sketch;
}

export function trigger(fields: Fields): Sketch {
  const relation = relationIn(fields, "relation");
  return new Builder().concern(relation, null, "a trigger is given whole rows").sketch;
}

const RENAMED = "rules for masking go by names";

export function rename(fields: Fields): Sketch {
  const builder = new Builder();
  const kind = fields["renameType"];
  const relation = fieldsOf(fields, "relation");
  const part = textOf(fields, "subname");
  if (kind === "OBJECT_SCHEMA" && part !== undefined) builder.schema(part);
  else if (kind === "OBJECT_COLUMN" && relation !== undefined)
    builder.concern(relationName(relation), part === undefined ? null : [part], RENAMED);
  else if (isRelationKind(kind) && relation !== undefined && kind !== "OBJECT_SEQUENCE")
    builder.concern(relationName(relation), null, RENAMED);
  return builder.sketch;
}

export function setSchema(fields: Fields): Sketch {
  const relation = fieldsOf(fields, "relation");
  const builder = new Builder();
  if (relation !== undefined && isRelationKind(fields["objectType"])) builder.concern(relationName(relation), null, RENAMED);
  // An extension's tables move with it.
  if (fields["objectType"] === "OBJECT_EXTENSION") builder.everything(RENAMED);
  return builder.sketch;
}

export function publication(fields: Fields): Sketch {
  const what = "a publication sends rows away unmasked";
  const builder = new Builder();
  if (fields["for_all_tables"] === true) builder.everything(what);
  for (const item of listOf(fields, "pubobjects")) {
    const object = nodeOf(item)?.[1];
    const table = fieldsOf(object, "pubtable");
    const relation = fieldsOf(table, "relation");
    if (relation === undefined) builder.everything(what);
    else builder.concern(relationName(relation), null, what);
  }
  return builder.sketch;
}
