/**
 * What of the target's own words reaches the client: the one place where errors, notices and parameter values are
 * filtered (PG-26, PG-27, PG-28). Fields that quote data out of context (W, q), the server's insides (F, L, R, p) and
 * unknown ones are dropped; the texts that stay go through the detectors. Where a classified column may have had a part
 * in what is said, its text gives way to the condition's name, and of names only those of the catalogue stay.
 */
import { conditionName } from "./conditions.ts";
import type { ErrorFields } from "./codec/backend.ts";

const TEXT_FIELDS = new Set(["M", "D", "H"]);
/** Severity, SQLSTATE, position; schema, table, column, data type and constraint by name. */
const PLAIN_FIELDS = new Set(["S", "V", "C", "P", "s", "t", "c", "d", "n"]);
const SQLSTATE_FORM = /^[0-9A-Z]{5}$/;
const SEVERITIES = new Set(["ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"]);

/** `text`: its words, after the detectors. `condition`: what kind it is; `knows` says which names are the catalogue's. */
export type Telling =
  | { readonly kind: "text"; readonly maskText: (text: string) => string }
  | { readonly kind: "condition"; readonly knows: (schema: string, table: string, column: string | undefined) => boolean };

/** Null when the target's message lacks what every error has (PG-57). */
export function filterFields(fields: ErrorFields, telling: Telling): ErrorFields | null {
  if (!SQLSTATE_FORM.test(fields.get("C") ?? "") || !fields.has("M") || !fields.has("S")) return null;
  const severity = fields.get("V");
  if (severity !== undefined && !SEVERITIES.has(severity)) return null;
  if (telling.kind === "condition") return conditionFields(fields, telling.knows);
  const out = new Map<string, string>();
  for (const [letter, value] of fields) {
    if (PLAIN_FIELDS.has(letter)) out.set(letter, value);
    else if (TEXT_FIELDS.has(letter)) out.set(letter, telling.maskText(value));
  }
  return out;
}

/** RAISE may put any value in any field that names something, so that a name stays only if there is such a thing. */
function conditionFields(fields: ErrorFields, knows: Extract<Telling, { kind: "condition" }>["knows"]): ErrorFields {
  const code = fields.get("C") ?? "";
  const severity = fields.get("V") ?? fields.get("S") ?? "ERROR";
  const said = SEVERITIES.has(severity) ? severity : "ERROR";
  const out = new Map([
    ["S", said],
    ["V", said],
    ["C", code],
    ["M", conditionName(code)],
  ]);
  const position = fields.get("P");
  if (position !== undefined && /^\d{1,10}$/.test(position)) out.set("P", position);
  const [schema, table, column] = [fields.get("s"), fields.get("t"), fields.get("c")];
  if (schema === undefined || table === undefined || !knows(schema, table, undefined)) return out;
  out.set("s", schema).set("t", table);
  if (column !== undefined && knows(schema, table, column)) out.set("c", column);
  return out;
}

/** Whether the target ends the connection with this error. `S` is translated by `lc_messages`; `V` (since 9.6) is not. */
export function isFatal(fields: ErrorFields): boolean {
  const severity = fields.get("V") ?? fields.get("S");
  return severity === "FATAL" || severity === "PANIC";
}

/** Values of parameters that the client may see, by their form. What is not here, or looks otherwise, is not reported. */
const REPORTED: ReadonlyMap<string, RegExp> = new Map(
  Object.entries({
    client_encoding: /^UTF8$/,
    standard_conforming_strings: /^on$/,
    server_version: /^[0-9A-Za-z .()~+:_-]{1,64}$/,
    server_encoding: /^[A-Z0-9_]{1,32}$/,
    integer_datetimes: /^(on|off)$/,
    is_superuser: /^(on|off)$/,
    in_hot_standby: /^(on|off)$/,
    default_transaction_read_only: /^(on|off)$/,
    DateStyle: /^(ISO|Postgres|SQL|German), (DMY|MDY|YMD)$/,
    IntervalStyle: /^(postgres|postgres_verbose|sql_standard|iso_8601)$/,
    TimeZone: /^[A-Za-z0-9_+\-/]{1,64}$/,
    scram_iterations: /^[0-9]{1,10}$/,
  }),
);

export function mayReport(name: string, value: string): boolean {
  return REPORTED.get(name)?.test(value) ?? false;
}

/** CommandComplete's tags are words and counts; anything else is not a tag. */
const TAG = /^[A-Z]+(?: [A-Z]+){0,4}(?: \d{1,20}){0,2}$/;

export const isTag = (tag: string): boolean => TAG.test(tag);

/** Rows of a tag such as `INSERT 0 5`, `SELECT 3`: its last number. */
export function rowsOfTag(tag: string): number | undefined {
  const match = / (\d{1,15})$/.exec(tag);
  return match === null ? undefined : Number(match[1]);
}
