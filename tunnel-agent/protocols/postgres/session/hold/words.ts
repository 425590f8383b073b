/**
 * What a client and its user are told of holds. Issue of record: a denied or expired approval is 42501, a cancelled one
 * 57014 (docs/decisions/0009).
 */
import type { Decision } from "../../../../../policy/types.ts";
import type { ApprovalOutcome } from "../../../../../protocol/approval.ts";
import type { ErrorCode } from "../../../../../protocol/errors.ts";
import type { ApprovalId } from "../../../../../protocol/ids.ts";
import type { ErrorFields } from "../../codec/backend.ts";
import { approvalRequired, refusalFields, SQLSTATE, type Refusal } from "../../refusal.ts";

/** SQLSTATE class 01: a warning that something of note happened. */
const WARNING = "01000";

/** `dba`, `2 of dba and sre`. */
/** A reason of the bundle is somebody's own sentence, with or without its full stop. */
const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

const groupsOf = ({ approvals }: Decision): string =>
  approvals.map(({ group, min }) => (min > 1 ? `${min} of ${group}` : group)).join(" and ");

/** Whole seconds under two minutes, then whole minutes. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

const named = (by: readonly string[]): string => (by.length === 0 ? "" : ` by ${by.join(", ")}`);
const because = (reason: string | undefined): string => (reason === undefined || reason === "" ? "" : `: ${reason}`);

/** Fields of the NOTICE. `waited` and `left`: ms. */
export function notice(approval: ApprovalId, url: string, decision: Decision, waited: number, left: number): ErrorFields {
  const so = waited < 1000 ? "" : ` Waiting for ${duration(waited)}.`;
  const fields = refusalFields("ERROR", {
    code: SQLSTATE.insufficient_privilege,
    message: `sallyport: held for approval ${approval}: ${url}`,
    detail: `It needs the approval of ${groupsOf(decision)}: ${sentence(decision.reason)}${so} Votes are taken for ${duration(left)} more.`,
    hint: "It runs once it is approved. Cancel the statement to withdraw the request.",
  });
  const out = new Map(fields);
  out.set("S", "NOTICE");
  out.set("V", "NOTICE");
  out.set("C", WARNING);
  return out;
}

export const waiting = (approval: ApprovalId, url: string): string => `held for approval ${approval}: ${url}`;
export const requested = (approval: ApprovalId, url: string): string => `refused until approval ${approval} is given: ${url}`;

export function settled(approval: ApprovalId, state: ApprovalOutcome["state"], by: readonly string[], reason: string | undefined): string {
  return `approval ${approval}: ${state}${named(by)}${because(reason)}`;
}

const refused = (message: string, more: Partial<Refusal> = {}): Refusal => ({
  code: SQLSTATE.insufficient_privilege,
  message: `sallyport: ${message}`,
  ...more,
});

export const denied = (approval: ApprovalId, { by, reason }: ApprovalOutcome): Refusal =>
  refused(`approval ${approval} was denied${named(by)}${because(reason)}`);

export const expired = (approval: ApprovalId): Refusal =>
  refused(`approval ${approval} expired: nobody decided in time`, { hint: "Run the statement again to ask anew." });

/** By the gateway: an operator, or the session's end there. */
export const withdrawn = (approval: ApprovalId, reason: string | undefined): Refusal => ({
  code: SQLSTATE.query_canceled,
  message: `sallyport: canceling statement: approval ${approval} was withdrawn${because(reason)}`,
});

export const cancelled: Refusal = {
  code: SQLSTATE.query_canceled,
  message: "sallyport: canceling statement due to user request; the request for approval is withdrawn",
};

export const notAsked = (code: ErrorCode, message: string): Refusal =>
  refused(`approval required, and it cannot be asked for: ${message}`, { detail: code });

export const later = (approval: ApprovalId, url: string, decision: Decision): Refusal => ({
  ...approvalRequired(decision),
  message: `sallyport: approval required: ${approval} was requested: ${url}`,
  detail: `It needs the approval of ${groupsOf(decision)}: ${sentence(decision.reason)}`,
  hint: "Once it is approved, the same pipeline can run the same statement once.",
});

export const inTransaction = (decision: Decision): Refusal => ({
  ...approvalRequired(decision),
  hint: `It needs the approval of ${groupsOf(decision)}, and a statement is not held inside an open transaction, whose locks others would wait for. Run it outside of the transaction, or let its policy say @hold_in_transaction("allow").`,
});

export const stale = (approval: ApprovalId): Refusal =>
  refused(`what the statement names has changed since approval ${approval} was asked for`, {
    hint: "Run the statement again to ask anew.",
  });

export const notEnough = (approval: ApprovalId, decision: Decision): Refusal =>
  refused(`the policy changed, and approval ${approval} does not suffice: ${decision.reason}`, {
    hint: "Run the statement again to ask anew.",
  });

export const unreadable: Refusal = refused(
  "approval required, and the definitions of what the statement names could not be read at the target",
  {
    hint: "An approval is bound to them. Try again.",
  },
);

export const boundBefore: Refusal = refused(
  "approval required since the policy changed, and the parameters of this portal are not known any more",
  {
    hint: "Bind it again.",
  },
);

export const tooLong = (what: string, limit: number): Refusal =>
  refused(`approval required, and ${what} is longer than the ${limit} characters that can be shown to an approver with the statement`, {
    hint: "Run the statement itself, not by its name.",
  });
