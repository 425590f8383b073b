/**
 * What stands behind the names of a statement, so that an approval can be bound to it: a function or view that was
 * replaced after people consented is not what they consented to (PG-48).
 *
 * Covers: functions by all overloads of the name, with their settings and owner; relations by columns, constraints,
 * triggers with their functions, rules, policies, and the definitions of views with those of what they read. Does not
 * cover what a function's body calls by text.
 */
import { createHash } from "node:crypto";
import { ok, type Result } from "../../../../protocol/result.ts";
import type { Effect } from "../sql/types.ts";
import type { Answer } from "./side.ts";

export interface Definition {
  /** `app.orders`, `app.f()`. */
  readonly name: string;
  /** SHA-256, hex, of what defines it; of nothing where there is no such thing. */
  readonly definition: string;
}

const FUNCTION_TEXT = `pg_catalog.concat_ws(E'\\n', p.oid, p.proowner, p.prolang, p.prosrc, p.probin, p.proconfig, p.prosecdef, p.provolatile,
  p.proargtypes, p.proallargtypes, p.proargmodes, p.prorettype, p.pronargdefaults, pg_catalog.pg_get_expr(p.proargdefaults, 0),
  (SELECT pg_catalog.row_to_json(g)::pg_catalog.text FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid = p.oid))`;

/** $1: JSON of [schema, name] pairs. Functions, and operators by the function behind them, and types. */
const FUNCTIONS = `
  WITH wanted AS (SELECT w ->> 0 AS schema, w ->> 1 AS name FROM pg_catalog.json_array_elements($1::pg_catalog.json) w)
  SELECT n.nspname, p.proname, ${FUNCTION_TEXT}
    FROM wanted JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = wanted.name
   UNION ALL
  SELECT n.nspname, o.oprname, pg_catalog.concat_ws(E'\\n', o.oid, ${FUNCTION_TEXT})
    FROM wanted JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_operator o ON o.oprnamespace = n.oid AND o.oprname = wanted.name
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
   UNION ALL
  SELECT n.nspname, t.typname, pg_catalog.concat_ws(E'\\n', t.oid, t.typtype, t.typbasetype, t.typinput, t.typdefault,
         (SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ',' ORDER BY k.oid) FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid))
    FROM wanted JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = wanted.name
   ORDER BY 1, 2, 3`;

/** $1: JSON of [schema, name] pairs. A view reads others: theirs, and the functions they call, count as its own. */
const RELATIONS = `
  WITH RECURSIVE wanted AS (
    SELECT c.oid, n.nspname AS schema, c.relname AS name
      FROM pg_catalog.json_array_elements($1::pg_catalog.json) w
      JOIN pg_catalog.pg_namespace n ON n.nspname = w ->> 0
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w ->> 1
  ), reads (root, oid) AS (
    SELECT oid, oid FROM wanted
     UNION
    SELECT reads.root, d.refobjid
      FROM reads JOIN pg_catalog.pg_rewrite r ON r.ev_class = reads.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  )
  SELECT wanted.schema, wanted.name, pg_catalog.concat_ws(E'\\n', c.oid, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
        pg_catalog.pg_get_expr(f.adbin, f.adrelid)), ',' ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0),
    (SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ',' ORDER BY k.oid) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.tgenabled, pg_catalog.pg_get_triggerdef(t.oid), ${FUNCTION_TEXT}), ',' ORDER BY t.oid)
       FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', r.ev_enabled, pg_catalog.pg_get_ruledef(r.oid)), ',' ORDER BY r.oid) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid),
    (SELECT pg_catalog.string_agg(pg_catalog.row_to_json(o)::pg_catalog.text, ',' ORDER BY o.polname) FROM pg_catalog.pg_policy o WHERE o.polrelid = c.oid),
    (SELECT pg_catalog.string_agg(${FUNCTION_TEXT}, ',' ORDER BY p.oid)
       FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
       JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid WHERE r.ev_class = c.oid))
    FROM wanted JOIN reads ON reads.root = wanted.oid JOIN pg_catalog.pg_class c ON c.oid = reads.oid
   ORDER BY 1, 2, c.oid`;

type Ask = (sql: string, parameters: readonly string[]) => Promise<Answer>;

/** Sorted by name; every name that the effects can mean has an entry. */
export async function definitionsOf(
  effects: readonly Effect[],
  searchPath: readonly string[],
  ask: Ask,
): Promise<Result<readonly Definition[], string>> {
  const [functions, relations] = [new Map<string, [string, string]>(), new Map<string, [string, string]>()];
  for (const { object } of effects) {
    if (object.type !== "table" && object.type !== "function") continue;
    const wanted = object.type === "table" ? relations : functions;
    for (const schema of object.schema === undefined ? searchPath : [object.schema]) {
      wanted.set(`${schema}.${object.name}${object.type === "function" ? "()" : ""}`, [schema, object.name]);
    }
  }
  const definitions: Definition[] = [];
  for (const [wanted, sql, after] of [
    [functions, FUNCTIONS, "()"],
    [relations, RELATIONS, ""],
  ] as const) {
    if (wanted.size === 0) continue;
    const answer = await ask(sql, [JSON.stringify([...wanted.values()])]);
    if (!answer.ok) return answer;
    const texts = new Map<string, string[]>([...wanted.keys()].map((name) => [name, []]));
    for (const [schema, name, text] of answer.value) texts.get(`${schema}.${name}${after}`)?.push(text ?? "");
    for (const [name, parts] of texts) definitions.push({ name, definition: sha256(parts) });
  }
  return ok(definitions.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)));
}

/** Lengths between the parts, so that no two lists of them look alike. */
function sha256(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest("hex");
}
