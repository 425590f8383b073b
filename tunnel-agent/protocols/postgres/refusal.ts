/**
 * What the gateway itself says to a client, as fields of an ErrorResponse. Every refusal is made here or with
 * `refusal()`, so that one place decides how much a peer is told: the reason that policy gives, never the target's
 * address, credential or log.
 */
import type { Decision } from "../../../policy/types.ts";
import { unreachable } from "../../../protocol/result.ts";
import type { ErrorFields } from "./codec/backend.ts";
import type { MaskingVerdict } from "./masking/types.ts";
import type { SqlRefusal } from "./sql/types.ts";

/** PostgreSQL's SQLSTATEs (manual appendix A) that the gateway uses, by condition name. */
export const SQLSTATE = {
  feature_not_supported: "0A000",
  sqlclient_unable_to_establish_sqlconnection: "08001",
  connection_failure: "08006",
  protocol_violation: "08P01",
  invalid_authorization_specification: "28000",
  invalid_password: "28P01",
  in_failed_sql_transaction: "25P02",
  idle_in_transaction_session_timeout: "25P03",
  invalid_sql_statement_name: "26000",
  invalid_cursor_name: "34000",
  invalid_catalog_name: "3D000",
  duplicate_cursor: "42P03",
  duplicate_prepared_statement: "42P05",
  insufficient_privilege: "42501",
  syntax_error: "42601",
  name_too_long: "42622",
  undefined_column: "42703",
  undefined_table: "42P01",
  too_many_connections: "53300",
  program_limit_exceeded: "54000",
  statement_too_complex: "54001",
  admin_shutdown: "57P01",
  query_canceled: "57014",
  system_error: "58000",
  io_error: "58030",
} as const;
export type SqlState = (typeof SQLSTATE)[keyof typeof SQLSTATE];

export interface Refusal {
  readonly code: SqlState;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** Characters from 1, in the statement. */
  readonly position?: number | undefined;
}

/** `FATAL`: the connection ends with it. */
export type Severity = "ERROR" | "FATAL";

/** The fields of a refusal, in the order PostgreSQL sends them. `V` is the severity that is never translated. */
export function refusalFields(severity: Severity, refusal: Refusal): ErrorFields {
  const fields = new Map([
    ["S", severity],
    ["V", severity],
    ["C", refusal.code],
    ["M", clean(refusal.message)],
  ]);
  if (refusal.detail !== undefined) fields.set("D", clean(refusal.detail));
  if (refusal.hint !== undefined) fields.set("H", clean(refusal.hint));
  if (refusal.position !== undefined) fields.set("P", String(refusal.position));
  return fields;
}

/** No NUL can stand in a protocol string, and no control character belongs on a terminal. */
function clean(text: string): string {
  return text.replaceAll(/[\u0000-\u0008\u000B-\u001F\u007F]/g, "\uFFFD").slice(0, 4096);
}

const policies = (decision: Decision): string | undefined =>
  decision.policies.length === 0 ? undefined : `Decided by ${decision.policies.join(", ")}.`;

export function deniedByPolicy(decision: Decision, hint?: string): Refusal {
  return {
    code: SQLSTATE.insufficient_privilege,
    message: `sallyport: ${decision.reason}`,
    detail: policies(decision) ?? "No policy permits it.",
    hint,
  };
}

/** A command that policy would allow after an approval: who would have to consent. */
export function approvalRequired(decision: Decision): Refusal {
  const groups = decision.approvals.map(({ group, min }) => (min > 1 ? `${min} of ${group}` : group));
  return {
    code: SQLSTATE.insufficient_privilege,
    message: `sallyport: approval required: ${decision.reason}`,
    detail: policies(decision),
    hint: groups.length === 0 ? undefined : `It needs the approval of ${groups.join(" and ")}.`,
  };
}

/** Refused whatever policy says; `hazard` is a row of docs/threat-model.md. */
export function forbidden(hazard: string, sentence: string): Refusal {
  return {
    code: SQLSTATE.insufficient_privilege,
    message: `sallyport: ${sentence}`,
    detail: `No policy can allow it (${hazard}).`,
  };
}

export function notAnalysed(refusal: SqlRefusal): Refusal {
  switch (refusal.reason) {
    case "unparsable":
      return { code: SQLSTATE.syntax_error, message: `sallyport: ${refusal.message}`, position: refusal.position };
    case "too-long":
      return {
        code: SQLSTATE.program_limit_exceeded,
        message:
          refusal.tokens === undefined
            ? `sallyport: the statement has ${refusal.bytes} bytes, and the limit is ${refusal.limit}`
            : `sallyport: the statement has ${refusal.tokens} words and symbols, which is too many`,
      };
    case "too-deep":
      return { code: SQLSTATE.statement_too_complex, message: `sallyport: the statement nests deeper than ${refusal.limit} levels` };
    case "identifier-too-long":
      return {
        code: SQLSTATE.name_too_long,
        message: "sallyport: an identifier is longer than 63 bytes, and PostgreSQL would cut it to another name",
      };
    default:
      return unreachable(refusal);
  }
}

export const unknownStatement = (name: string): Refusal => ({
  code: SQLSTATE.invalid_sql_statement_name,
  message: `prepared statement "${name}" does not exist`,
});

export const unknownPortal = (name: string): Refusal => ({
  code: SQLSTATE.invalid_cursor_name,
  message: `portal "${name}" does not exist`,
});

/** SQL's EXECUTE or FETCH of something that the protocol prepared and that is no plain query. */
export const notByName: Refusal = {
  code: SQLSTATE.feature_not_supported,
  message: "sallyport: a statement that changes the session cannot be run through EXECUTE or FETCH",
  hint: "Run it directly.",
};

/** Level B: it touches a classified column in a way of which nothing can be proven. */
export function notProvable({ hazard, sentence, classes }: Extract<MaskingVerdict, { kind: "unprovable" }>): Refusal {
  return {
    code: SQLSTATE.insufficient_privilege,
    message: `sallyport: ${sentence}`,
    detail: `${classes.length === 0 ? "Masking" : `Masking of ${classes.join(", ")}`} decided it, since it is not certain what would be shown (${hazard}).`,
    hint: "Classified columns may be selected as they are, and come masked; or ask for the action unmask on their class.",
  };
}

/** `what`, e.g. `relation "public.orders"`. */
export function notInCatalogue(what: string): Refusal {
  return {
    code: /^(?:the|a) column /.test(what) ? SQLSTATE.undefined_column : SQLSTATE.undefined_table,
    message: `sallyport: ${what} does not exist, or is not known yet`,
    hint: "Where columns are classified, nothing is run that the agent's catalogue does not have: what another transaction has not committed is not in it.",
  };
}

export const notCopied: Refusal = {
  code: SQLSTATE.insufficient_privilege,
  message: "sallyport: this COPY would send classified columns in a form that cannot be masked",
  detail: "Copy data are masked in text and CSV, in UTF-8, and where each column is one of a table (PG-20).",
};

export const catalogueMissing: Refusal = {
  code: SQLSTATE.system_error,
  message: "sallyport: the target's catalogue could not be read, so nothing can be said of what this shows",
  hint: "The agent's log says why. Try again.",
};

/** What the backend says of a result is not what its statement says (PG-17, PG-30). */
export function notAsForeseen(why: string): Refusal {
  return {
    code: SQLSTATE.insufficient_privilege,
    message: "sallyport: the result is not the one that was foreseen, so nothing of it is shown",
    detail: `Masking: ${why}.`,
    hint: "Connect again: a definition may have changed meanwhile.",
  };
}

/** Rows that were chosen under other rules are not shown under these. */
export const rulesChanged: Refusal = {
  code: SQLSTATE.insufficient_privilege,
  message: "sallyport: the masking rules have changed since this cursor was opened",
  hint: "Open it again.",
};

export const unknownLayout: Refusal = {
  code: SQLSTATE.system_error,
  message: "sallyport: rows came of which it is not known what they hold",
};

export const notRecorded: Refusal = {
  code: SQLSTATE.io_error,
  message: "sallyport: the command cannot be recorded, so it is not run",
};

export const violation = (message: string): Refusal => ({ code: SQLSTATE.protocol_violation, message });
