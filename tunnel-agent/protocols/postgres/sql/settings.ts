/**
 * Server parameters: which a session may set freely, which need `pg:set`, and which the gateway owns. The same rules for
 * SET, RESET and set_config (PG-28, PG-41, PG-43, PG-45, PG-51).
 */
import { constantText, isNull, splitIdentifiers } from "./constants.ts";
import type { Facts } from "./facts.ts";
import type { Walk } from "./walk.ts";

/** What the parameter becomes: constants in the order written, or its default. */
export type NewValue =
  | { readonly kind: "values"; readonly values: readonly string[] }
  | { readonly kind: "default" }
  | { readonly kind: "unknown" };

/** They change how values look, what is reported, or how a statement of one's own is planned and isolated. */
const SAFE = new Set(
  `application_name bytea_output client_min_messages datestyle default_transaction_deferrable default_transaction_isolation
  extra_float_digits intervalstyle lc_messages lc_monetary lc_numeric lc_time lock_timeout seed timezone transaction_deferrable
  transaction_isolation xmlbinary xmloption`.split(/\s+/),
);

const ROLE = new Set(["role", "session_authorization", "session_user", "current_user", "is_superuser"]);

/** The gateway sets them when it logs in, and counts on them. */
const TIMEOUTS = new Set([
  "statement_timeout",
  "idle_in_transaction_session_timeout",
  "idle_session_timeout",
  "transaction_timeout",
  "tcp_keepalives_idle",
  "tcp_keepalives_interval",
  "tcp_keepalives_count",
  "tcp_user_timeout",
  "client_connection_check_interval",
]);

const READ_ONLY = new Set(["transaction_read_only", "default_transaction_read_only"]);

const TRUE_WORDS = new Set(["on", "true", "yes", "1", "t", "y", "tr", "tru", "ye"]);
const UTF8_WORDS = new Set(["utf8", "utf-8", "unicode"]);

const isWord = (value: NewValue, words: ReadonlySet<string>): boolean =>
  value.kind === "values" && value.values.length === 1 && words.has(value.values[0]?.toLowerCase() ?? "");

/** One parameter gets one value. Parameter names do not care about case, quoted or not. */
export function applySetting(parameter: string, value: NewValue, facts: Facts): void {
  const name = parameter.toLowerCase();
  if (ROLE.has(name)) {
    facts.effect("pg:role");
    facts.forbid("PG-41", "A session keeps the role it logged in with.");
  } else if (TIMEOUTS.has(name)) {
    facts.effect("pg:set");
    facts.forbid("PG-51", `The gateway owns ${name}.`);
  } else if (name === "standard_conforming_strings") {
    facts.effect("pg:session");
    if (!isWord(value, TRUE_WORDS))
      facts.forbid("PG-45", "standard_conforming_strings stays on, so that gateway and server read the same SQL.");
  } else if (name === "client_encoding" || name === "names") {
    facts.effect("pg:session");
    if (!isWord(value, UTF8_WORDS)) facts.forbid("PG-45", "client_encoding stays UTF8, so that gateway and server read the same SQL.");
  } else if (READ_ONLY.has(name)) {
    // On only narrows; off or the default may undo what policy or an administrator set (PG-43).
    facts.effect(isWord(value, TRUE_WORDS) ? "pg:session" : "pg:set");
  } else if (SAFE.has(name)) {
    facts.effect("pg:session");
  } else {
    facts.effect("pg:set");
    // A parameter of one's own may carry anything; applications keep tokens there.
    if (name.includes(".")) facts.secret("literals");
  }
}

/** SET search_path: every schema that unqualified names may mean from now on. */
export function applySearchPath(schemas: readonly string[], facts: Facts): void {
  facts.effect("pg:set");
  facts.session({ kind: "search-path", schemas });
}

/** set_config(name, value, is_local) with nothing but constants; false when any of it is computed. */
export function applySetConfig(args: readonly unknown[], walk: Walk): boolean {
  if (args.length !== 3) return false;
  const [name, value, local] = args;
  const parameter = constantText(name);
  const constant = constantText(value);
  if (parameter === undefined || constantText(local) === undefined) return false;
  if (constant === undefined && !isNull(value)) return false;
  if (parameter.toLowerCase() === "search_path") {
    const schemas = constant === undefined ? [] : splitIdentifiers(constant, ",");
    if (schemas === undefined) return false;
    applySearchPath(schemas, walk.facts);
    return true;
  }
  applySetting(parameter, constant === undefined ? { kind: "default" } : { kind: "values", values: [constant] }, walk.facts);
  return true;
}
