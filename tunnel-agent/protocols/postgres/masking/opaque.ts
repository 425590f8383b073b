/**
 * Code that a statement runs and that may read tables by itself: functions that are not pg_catalog's harmless ones (PG-35,
 * PG-36), and those that may stand in for one of them (PG-44). What policy allows to be called is not thereby safe to be
 * read from: its rows have no origin.
 */
import type { Catalogue } from "../catalogue/types.ts";
import type { Statement } from "../sql/types.ts";

/** Functions of pg_catalog that change or wait for something and yet return nothing of any table. */
const WITHOUT_ROWS =
  /^(pg_(try_)?advisory_.*|pg_sleep(_for|_until)?|txid_.*|pg_current_xact_id(_if_assigned)?|pg_export_snapshot|pg_snapshot_.*|currval|lastval|nextval|setval|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_is_other_temp_schema|pg_stat_clear_snapshot|pg_input_is_valid)$/;

/** What of the statement is such code, for a sentence; undefined: none. */
export function opaqueCode(
  { effects, builtins, fields }: Pick<Statement, "effects" | "builtins" | "fields">,
  catalogue: Pick<Catalogue, "seesOnlyArguments" | "shadows" | "rowFunctions">,
  searchPath: readonly string[],
): string | undefined {
  for (const { action, object } of effects) {
    if (action !== "pg:call" || object.type !== "function") continue;
    const { schema, name } = object;
    if (schema === "pg_catalog" ? WITHOUT_ROWS.test(name) : catalogue.seesOnlyArguments(schema, name, searchPath)) continue;
    return `${schema === undefined ? "" : `${schema}.`}${name}`;
  }
  for (const { kind, name, qualified } of builtins) {
    const [schema] = catalogue.shadows(kind, name, qualified ? [] : searchPath);
    if (schema !== undefined) return `${schema}.${name}, which may be meant by ${name},`;
  }
  for (const name of fields.names) {
    const [schema] = catalogue.rowFunctions(name, fields.ofFunctions, searchPath);
    if (schema !== undefined) return `${schema}.${name}, which may be meant by .${name},`;
  }
  return undefined;
}
