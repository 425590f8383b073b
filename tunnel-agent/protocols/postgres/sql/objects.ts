/**
 * Objects of definition statements (DROP, COMMENT, GRANT, RENAME, …): how the grammar writes the name of each kind, and
 * what policy asks about. Relations are tables; types, collations and the like are their schema; what belongs to the
 * database or the server is the target.
 */
import { unreachable } from "../../../../protocol/result.ts";
import { inSchema, qualified, relationName, type QualifiedName } from "./names.ts";
import { TARGET } from "./facts.ts";
import { nodeOf, textOf, type Fields } from "./tree.ts";
import type { PgObject } from "./types.ts";

type Family = "relation" | "part-of-relation" | "function" | "schema" | "in-schema" | "in-schema-by-method" | "target";

/** Every ObjectType of PostgreSQL 18 that can be named in a statement. */
const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ...each("relation", "TABLE VIEW MATVIEW INDEX SEQUENCE FOREIGN_TABLE"),
  ...each("part-of-relation", "COLUMN TABCONSTRAINT TRIGGER RULE POLICY"),
  ...each("function", "FUNCTION PROCEDURE ROUTINE AGGREGATE"),
  ...each("schema", "SCHEMA"),
  ...each(
    "in-schema",
    "TYPE DOMAIN DOMCONSTRAINT ATTRIBUTE COLLATION CONVERSION OPERATOR STATISTIC_EXT TSPARSER TSDICTIONARY TSTEMPLATE TSCONFIGURATION",
  ),
  ...each("in-schema-by-method", "OPCLASS OPFAMILY"),
  ...each(
    "target",
    `DATABASE ROLE EXTENSION FDW FOREIGN_SERVER LANGUAGE TABLESPACE EVENT_TRIGGER ACCESS_METHOD CAST TRANSFORM PUBLICATION
    PUBLICATION_REL PUBLICATION_NAMESPACE SUBSCRIPTION LARGEOBJECT USER_MAPPING PARAMETER_ACL`,
  ),
]);

function each(family: Family, kinds: string): [string, Family][] {
  return kinds.split(/\s+/).map((kind) => [`OBJECT_${kind}`, family]);
}

export const isRelationKind = (kind: unknown): boolean => FAMILIES.get(String(kind)) === "relation";
export const isRelationPart = (kind: unknown): boolean => FAMILIES.get(String(kind)) === "part-of-relation";

/** Undefined for a kind that the table does not hold. `name` is the wrapped node, `relation` the bare RangeVar where there is one. */
export function objectOf(kind: unknown, name: unknown, relation?: Fields): PgObject | undefined {
  const family = FAMILIES.get(String(kind));
  switch (family) {
    case undefined:
      return undefined;
    case "relation":
    case "part-of-relation":
      return { type: "table", ...(relation === undefined ? relationIn(name, family) : relationName(relation)) };
    case "function":
      return { type: "function", ...nameIn(name) };
    case "schema":
      return { type: "schema", name: nameIn(name).name };
    case "in-schema":
      return inSchema(relation === undefined ? nameIn(name) : relationName(relation));
    case "in-schema-by-method":
      return inSchema(qualified(itemsOf(name).slice(1)));
    case "target":
      return TARGET;
    default:
      return unreachable(family);
  }
}

/** A wrapped RangeVar, or a list of names; of a part, all but its own name. */
function relationIn(name: unknown, family: "relation" | "part-of-relation"): QualifiedName {
  const node = nodeOf(name);
  if (node?.[0] === "RangeVar") return relationName(node[1]);
  const items = itemsOf(name);
  return qualified(family === "relation" ? items : items.slice(0, -1));
}

function itemsOf(name: unknown): unknown[] {
  if (Array.isArray(name)) return name as unknown[];
  const node = nodeOf(name);
  const items = node?.[0] === "List" ? node[1]["items"] : undefined;
  return Array.isArray(items) ? (items as unknown[]) : [];
}

/** The name in a String, a List, a TypeName or an ObjectWithArgs; of a list that begins with a type (a domain's constraint), the type's. */
function nameIn(name: unknown): QualifiedName {
  if (Array.isArray(name)) return qualified(name);
  const node = nodeOf(name);
  switch (node?.[0]) {
    case "String":
      return { name: textOf(node[1], "sval") ?? "" };
    case "TypeName":
      return qualified(node[1]["names"]);
    case "ObjectWithArgs":
      return qualified(node[1]["objname"]);
    case "List": {
      const items = itemsOf(name);
      const first = nodeOf(items[0]);
      return first?.[0] === "TypeName" ? qualified(first[1]["names"]) : qualified(items);
    }
    default:
      return { name: "" };
  }
}
