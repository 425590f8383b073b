/**
 * What the high lane has to know of the low one before a statement may run there: whether the client's transaction
 * allows it, and the settings under which the client expects its results. Asked of the low backend itself, so that what
 * functions and triggers did counts as well.
 */
import { printIdentifier } from "../../../../../policy/resource.ts";
import { SQLSTATE, type Refusal } from "../../refusal.ts";
import { parseSearchPath } from "../search-path.ts";

/** What decides how names resolve and how values look, and the client's own timeout. All of them exist since PostgreSQL 12. */
const SETTINGS = [
  "DateStyle",
  "IntervalStyle",
  "TimeZone",
  "bytea_output",
  "extra_float_digits",
  "lc_monetary",
  "lc_numeric",
  "lc_time",
  "xmlbinary",
  "xmloption",
  "default_text_search_config",
  "transform_null_equals",
  "statement_timeout",
] as const;

const settings = SETTINGS.map((name) => `pg_catalog.current_setting('${name}')`).join(", ");

/** Names are qualified: the client's search_path is in force. */
export const LOW_QUESTION = `SELECT pg_catalog.txid_current_if_assigned() IS NOT NULL, pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('search_path'), ${settings}`;

export const SETTINGS_QUESTION = `SELECT ${["search_path", ...SETTINGS].map((name, i) => `pg_catalog.set_config('${name}', $${i + 1}, false)`).join(", ")}`;

export type LowState =
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** `searchPath` as it was written, with `$user` in it. */
  | { readonly kind: "settings"; readonly searchPath: readonly string[]; readonly values: readonly string[] };

const HINT = "It runs as another login, which does not see this transaction: run it before the transaction writes, or after its end.";

const wrote: Refusal = {
  code: SQLSTATE.insufficient_privilege,
  message: "sallyport: classified columns cannot be read in a transaction that has written",
  hint: HINT,
};

const otherSnapshot = (isolation: string): Refusal => ({
  code: SQLSTATE.insufficient_privilege,
  message: `sallyport: classified columns cannot be read in a transaction that is ${isolation.toUpperCase()}`,
  hint: HINT,
});

const oddState: Refusal = {
  code: SQLSTATE.insufficient_privilege,
  message: "sallyport: classified columns cannot be read with these settings of the session",
  hint: "RESET search_path and try again.",
};

/** Reads the answer to LOW_QUESTION. */
export function judge(row: readonly (string | null)[]): LowState {
  const [writes, isolation, path, ...values] = row;
  if (writes !== "f") return { kind: "refused", refusal: wrote };
  if (isolation !== "read committed" && isolation !== "read uncommitted") {
    return { kind: "refused", refusal: otherSnapshot(isolation ?? "unknown") };
  }
  const schemas = parseSearchPath(path ?? "");
  if (schemas === null || values.length !== SETTINGS.length || values.includes(null)) return { kind: "refused", refusal: oddState };
  return {
    kind: "settings",
    searchPath: schemas,
    values: values.map((value) => value ?? ""),
  };
}

/** The parameters of SETTINGS_QUESTION. `user`: the low login, which `$user` stands for in both lanes. */
export function highSettings(state: Extract<LowState, { kind: "settings" }>, user: string): string[] {
  const path = state.searchPath.map((schema) => printIdentifier(schema === "$user" ? user : schema));
  return [path.join(", "), ...state.values];
}
