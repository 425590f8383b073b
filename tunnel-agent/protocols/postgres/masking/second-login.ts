/**
 * Guarantee A, two logins: when the ordinary login's server is the judge of every statement, and which statements need
 * the login for classified columns, and may have it. Pure.
 *
 * The second login runs a statement for an identity that the ordinary login's rights were chosen for. So it must add
 * nothing to them but the classified columns, which are masked: every other column of what the statement reads must be
 * one that the ordinary login may read, and nothing may depend on who asks.
 */
import { unreachable } from "../../../../protocol/result.ts";
import type { Catalogue, Relation } from "../catalogue/types.ts";
import type { Statement } from "../sql/types.ts";
import { prove } from "./prove.ts";

/**
 * Whether the ordinary login may read no classified column, nor a view whose rows are computed or chosen from one: then
 * the server refuses what would reveal them, and statements of which nothing can be proven may be left to it. One such
 * column, anywhere, and the target has guarantee B. The server's own views (pg_stats) show each role what it may read.
 */
export function serverJudges(catalogue: Catalogue): boolean {
  if (!catalogue.hasClasses) return false;
  for (const relation of catalogue.withClasses()) {
    if (relation.schema === "pg_catalog" || relation.schema === "information_schema") continue;
    const filtered = catalogue.filteredBy(relation.oid).length > 0;
    for (const { attnum, readable } of relation.attributes.values()) {
      if (readable && (filtered || catalogue.classified(relation.oid, attnum) !== undefined)) return false;
    }
  }
  return true;
}

/** Statements that only return rows; those of a PREPARE are bound later, one by one. */
const READS = new Set(["SelectStmt", "CopyStmt", "PrepareStmt"]);
/**
 * Tables, partitioned tables, materialized views. A view may ask who its reader is, a foreign table maps each role to a
 * login of its own.
 */
const PLAIN = new Set<Relation["kind"]>(["r", "p", "m"]);

/** Functions whose result is another for another login or session. */
const ASKS_WHO = /^(pg_.*|txid_.*|has_.*|inet_.*|current_(user|setting|query|schemas?)|session_user|getpgusername|row_security_active)$/;

/** Columns of the system's, for which a right to some columns of a table is not enough. */
const SYSTEM_COLUMN = /"(?:tableoid|ctid|xmin|xmax|cmin|cmax)"/;

export type Need = "yes" | "no" | "unknown";

interface Kept {
  readonly catalogue: Catalogue;
  readonly path: string;
  readonly need: Need;
}
/** The last answer for a statement: it is asked when it is routed, and when it is decided. */
const kept = new WeakMap<Statement, Kept>();

/**
 * Whether a statement needs the login for classified columns. `yes`: it is a bare projection of columns that the ordinary
 * login may not read, and reads nothing else that this one may not. `no`: it runs as the ordinary login, whose server
 * refuses what must be. `unknown`: the catalogue must be loaded anew.
 */
export function needsSecondLogin(statement: Statement, catalogue: Catalogue, searchPath: readonly string[]): Need {
  const path = JSON.stringify(searchPath);
  const before = kept.get(statement);
  if (before !== undefined && before.catalogue === catalogue && before.path === path) return before.need;
  const need = isRead(statement) ? needOf(statement, catalogue, searchPath) : "no";
  kept.set(statement, { catalogue, path, need });
  return need;
}

/** It does nothing but return rows, and asks for nothing that depends on who asks. */
function isRead({ node, copy, forbidden, effects, builtins, sketch }: Statement): boolean {
  if (!READS.has(node) || copy === "in" || forbidden !== undefined) return false;
  if (effects.some(({ action }) => action !== "pg:select")) return false;
  if (builtins.some(({ kind, name }) => kind === "function" && ASKS_WHO.test(name))) return false;
  return !SYSTEM_COLUMN.test(JSON.stringify(sketch));
}

function needOf(statement: Statement, catalogue: Catalogue, searchPath: readonly string[]): Need {
  const verdict = prove(statement, catalogue, searchPath);
  switch (verdict.kind) {
    case "untouched":
    case "unprovable":
      return "no";
    case "unknown":
      return "unknown";
    case "projection":
      break;
    default:
      return unreachable(verdict);
  }
  for (const { object } of statement.effects) {
    if (object.type !== "table") return "no";
    const [relation, another] = catalogue.candidates(object.schema, object.name, searchPath);
    if (relation === undefined) return "unknown";
    if (another !== undefined || !sameForBoth(relation, catalogue)) return "no";
  }
  const withheld = verdict.columns.some(({ origin }) => {
    if (origin === null) return false;
    const attribute = catalogue.relation(origin.relation)?.attributes.get(origin.attnum);
    return attribute?.readable === false;
  });
  return withheld ? "yes" : "no";
}

/** What the second login sees of it is what the first one does, and classified columns. */
function sameForBoth({ oid, kind, rowSecurity, attributes }: Relation, catalogue: Catalogue): boolean {
  if (!PLAIN.has(kind) || rowSecurity !== false) return false;
  for (const { attnum, readable } of attributes.values()) {
    if (!readable && catalogue.classified(oid, attnum)?.kind !== "class") return false;
  }
  return true;
}
