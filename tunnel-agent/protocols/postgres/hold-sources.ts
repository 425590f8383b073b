/**
 * What a target says about a held command, on connections of the agent's own: the definitions of what the command names
 * (PG-48), and how it would be run.
 *
 * EXPLAIN runs what planning runs (PG-39), so it is asked only of a statement that the machine offers as calling nothing
 * but listed functions, only where all it names are plain tables without row security and rules, since views and policies
 * bring functions of their own, and in a session that is read-only and short. What planning itself calls for a table's
 * own types and expressions remains: it is the table owner's.
 */
import { printIdentifier } from "../../../policy/resource.ts";
import { HOLD_ESTIMATE_MS } from "../../../protocol/limits.ts";
import type { CatalogueKeeper } from "./catalogue/keeper.ts";
import { SideConnection, type Answer } from "./catalogue/side.ts";
import type { HoldSources } from "./hold-shell.ts";
import type { Named } from "./session/hold/types.ts";
import { reachForAgent, type Reachable } from "./target/reach.ts";

export interface HoldTarget extends Reachable {
  readonly catalogue: CatalogueKeeper;
}

/** $1: the search_path. */
const PREPARE = `SELECT pg_catalog.set_config('statement_timeout', '${HOLD_ESTIMATE_MS}ms', false),
  pg_catalog.set_config('lock_timeout', '${HOLD_ESTIMATE_MS / 2}ms', false),
  pg_catalog.set_config('default_transaction_read_only', 'on', false),
  pg_catalog.set_config('search_path', $1, false)`;

/** $1: JSON of [schema, name] pairs. Of those that exist, how many are not plain tables. */
const NOT_PLAIN = `SELECT pg_catalog.count(*)::pg_catalog.text
  FROM pg_catalog.json_array_elements($1::pg_catalog.json) w
  JOIN pg_catalog.pg_namespace n ON n.nspname = w ->> 0
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w ->> 1
 WHERE c.relkind NOT IN ('r', 'p') OR c.relrowsecurity OR c.relhasrules`;

export function holdSources(target: HoldTarget): HoldSources {
  return {
    definitions: async ({ effects, searchPath }) => {
      const read = await target.catalogue.definitions(effects, searchPath);
      if (!read.ok) throw new Error(read.error);
      return read.value;
    },
    estimate: (sql, named) => explain(target, sql, named),
  };
}

async function explain(target: Reachable, sql: string, { effects, searchPath }: Named): Promise<string | null> {
  const backend = await reachForAgent(target, "estimate");
  if ("why" in backend) return null;
  const side = new SideConnection(backend.socket, backend.rest);
  try {
    const path = [...target.config.search_path, "pg_temp"].map(printIdentifier).join(", ");
    rowsOf(await side.ask(PREPARE, [path]));
    const tables = effects.flatMap(({ object }) =>
      object.type !== "table" ? [] : (object.schema === undefined ? searchPath : [object.schema]).map((schema) => [schema, object.name]),
    );
    const [counted] = rowsOf(await side.ask(NOT_PLAIN, [JSON.stringify(tables)]));
    if (counted?.[0] !== "0") return null;
    // With its options in brackets nothing of the statement can be read as an option.
    const plan = rowsOf(await side.ask(`EXPLAIN (COSTS true, FORMAT TEXT) ${sql}`, []));
    return plan.map(([line]) => line ?? "").join("\n");
  } finally {
    side.close();
  }
}

function rowsOf(answer: Answer): readonly (readonly (string | null)[])[] {
  if (!answer.ok) throw new Error(answer.error);
  return answer.value;
}
