/**
 * Names in the tree, as objects of policy. Catalogue relations are recognised here, and those that hold credentials
 * or other people's data are kept apart from the ones that drivers and psql's \d read (PG-40).
 */
import type { ActionName } from "../../../../policy/actions.ts";
import { listed } from "./builtins/lookup.ts";
import type { Facts } from "./facts.ts";
import { nodeOf, textOf, type Fields } from "./tree.ts";
import type { PgObject } from "./types.ts";
import type { Walk } from "./walk.ts";

export interface QualifiedName {
  readonly schema?: string | undefined;
  readonly name: string;
}

/** The strings of a list of String nodes; anything else in it is skipped. */
export function strings(list: unknown): string[] {
  if (!Array.isArray(list)) return [];
  const names: string[] = [];
  for (const item of list as unknown[]) {
    const node = nodeOf(item);
    if (node?.[0] === "String" && typeof node[1]["sval"] === "string") names.push(node[1]["sval"]);
  }
  return names;
}

/** `[catalog.][schema.]name`: the server accepts its own database's name in front, and nothing else. */
export function qualified(list: unknown): QualifiedName {
  const names = strings(list);
  const name = names.at(-1) ?? "";
  return names.length > 1 ? { schema: names.at(-2), name } : { name };
}

/** A RangeVar's name. TEMP puts it in this session's own schema, which policy calls pg_temp. */
export function relationName(relation: Fields): QualifiedName {
  const name = textOf(relation, "relname") ?? "";
  const schema = textOf(relation, "schemaname") ?? (relation["relpersistence"] === "t" ? "pg_temp" : undefined);
  return schema === undefined ? { name } : { schema, name };
}

/** Secrets of the server and of other roles, the agent's own among them: no policy opens them. */
const CREDENTIALS = new Set(["pg_authid", "pg_shadow", "pg_user_mapping", "pg_user_mappings", "user_mapping_options", "_pg_user_mappings"]);

/** Values of columns, what others run, and the server's configuration: `pg:inspect`, which no reading grant contains. */
const INSPECTED = new Set(
  `pg_statistic pg_statistic_ext_data pg_stats pg_stats_ext pg_stats_ext_exprs pg_largeobject
  pg_stat_activity pg_stat_replication pg_stat_wal_receiver pg_replication_slots pg_aios
  pg_file_settings pg_hba_file_rules pg_ident_file_mappings pg_config pg_subscription`.split(/\s+/),
);
/** The same from extensions, which live in any schema. */
const INSPECTED_EXTENSIONS = new Set(
  `pg_stat_statements pg_stat_statements_info pg_stat_monitor pg_store_plans pg_wait_sampling_current pg_wait_sampling_history
  pg_qualstats pg_stat_kcache pg_stat_kcache_detail pg_buffercache`.split(/\s+/),
);

/** One thing done to one relation. */
export function relationEffect(walk: Pick<Walk, "facts" | "serverMajor">, action: ActionName, relation: QualifiedName): void {
  const { facts } = walk;
  const { schema, name } = relation;
  if (schema !== undefined) {
    one(facts, action, schema, name);
    return;
  }
  // The server looks in pg_catalog first, and finds there whatever the catalogue has.
  const known = listed("relations", name, walk.serverMajor);
  if (known !== "no" || name.startsWith("pg_")) one(facts, action, "pg_catalog", name);
  if (known !== "yes") one(facts, action, undefined, name);
}

function one(facts: Facts, action: ActionName, schema: string | undefined, name: string): void {
  const object: PgObject = { type: "table", schema, name };
  facts.effect(action, object);
  const catalogue = schema === "pg_catalog" || schema === "information_schema";
  if (catalogue && CREDENTIALS.has(name)) {
    facts.forbid("PG-40", `${name} holds credentials.`);
  } else if ((catalogue && INSPECTED.has(name)) || INSPECTED_EXTENSIONS.has(name) || schema === "pg_toast") {
    facts.effect("pg:inspect", object);
  }
}

/** A type, collation, operator class or the like: its schema stands for it, or the whole target where none is written. */
export function inSchema({ schema }: QualifiedName): PgObject {
  return schema === undefined ? { type: "target" } : { type: "schema", name: schema };
}

export const functionObject = ({ schema, name }: QualifiedName): PgObject => ({ type: "function", schema, name });
