/**
 * A session that runs by a plan: which of its statements the plan holds, and how policy decides those that people
 * consented to. What sets up or ends a transaction and harmless settings pass without being in it, if policy lets them;
 * everything else is in the plan or is refused. Pure.
 *
 * A statement is decided anew at its moment: the plan's consent counts for the statements that were held when it was
 * made, and for no other (DESIGN.md, invariant 4).
 */
import type { Decision } from "../../../../policy/types.ts";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { SessionPlan } from "../../../session.ts";
import { SQLSTATE, type Refusal } from "../refusal.ts";
import type { Statement } from "../sql/types.ts";
import { statementDigest } from "../statement-digest.ts";
import type { Subject } from "./authorise.ts";

/** Statements of a plan that a text is. */
export interface PlanUse {
  /** Its number in the plan, for each statement; null for one that needs no plan. */
  readonly indexes: readonly (number | null)[];
  /** They were counted when their portal was bound. */
  readonly taken: boolean;
}

const HARMLESS = new Set(["TransactionStmt", "VariableShowStmt", "DeallocateStmt", "ClosePortalStmt"]);
const HARMLESS_SESSION = new Set(["transaction", "deallocate", "close-cursor"]);
/** What drivers set when they connect. Not DateStyle and its like: they change what a literal of the plan means. */
const HARMLESS_SET =
  /^SET\s+(?:SESSION\s+|LOCAL\s+)?(?:application_name|client_encoding|client_min_messages|extra_float_digits|standard_conforming_strings)\s*(?:=|TO\b)/i;

/** Of a statement and its text: whether it needs no place in a plan. */
export function isHarmless({ node, effects, session, copy, forbidden }: Statement, text: string): boolean {
  if (forbidden !== undefined || copy !== undefined) return false;
  if (!effects.every(({ action, object }) => action === "pg:session" && object.type === "target")) return false;
  if (!session.every(({ kind }) => HARMLESS_SESSION.has(kind))) return false;
  return HARMLESS.has(node) || (node === "VariableSetStmt" && HARMLESS_SET.test(text));
}

/** For each statement its digest, or null where it needs no place in a plan. */
export const plannedDigests = (sql: string, statements: readonly Statement[]): readonly (string | null)[] =>
  statements.map((statement) => {
    const text = sql.slice(...statement.span);
    return isHarmless(statement, text) ? null : statementDigest(text);
  });

export function useOf(plan: SessionPlan, subject: Subject): Result<PlanUse, Refusal> {
  if (subject.use !== undefined) return ok(subject.use);
  const { digests } = subject;
  if (digests === undefined || subject.dynamic) return err(notInPlan(plan));
  const wanted = digests.filter((digest) => digest !== null);
  const found = plan.find(wanted);
  if (found === null) return err(notInPlan(plan));
  let next = 0;
  return ok({ indexes: digests.map((digest) => (digest === null ? null : (found[next++] ?? null))), taken: false });
}

export function takeFrom(plan: SessionPlan, { indexes, taken }: PlanUse): void {
  if (!taken) plan.take(indexes.filter((index) => index !== null));
}

/** Whether people consented to any of it. */
export const consentedIn = (plan: SessionPlan, { indexes }: PlanUse): boolean =>
  indexes.some((index) => index !== null && plan.approved(index));

/** Decides the statements that people consented to with that consent, and the others without. `approvals`: consent to this very command, now. */
export function decideByPlan(
  plan: SessionPlan,
  { indexes }: PlanUse,
  statements: readonly Statement[],
  approvals: readonly string[],
  decide: (statements: readonly Statement[], approvals: readonly string[]) => Decision,
): Decision {
  const isApproved = (_: Statement, at: number): boolean => {
    const index = indexes[at] ?? null;
    return index !== null && plan.approved(index);
  };
  const consented = statements.filter(isApproved);
  const others = statements.filter((statement, at) => !isApproved(statement, at));
  if (consented.length === 0) return decide(statements, approvals);
  const by = decide(consented, [...new Set([...plan.approvals, ...approvals])]);
  if (others.length === 0) return by;
  return stricter(by, decide(others, approvals));
}

function stricter(a: Decision, b: Decision): Decision {
  const [first, second] = rank(a) >= rank(b) ? [a, b] : [b, a];
  if (first.outcome === "deny") return first;
  const approvals = [...first.approvals, ...second.approvals.filter(({ group }) => !first.approvals.some((need) => need.group === group))];
  return { ...first, policies: [...new Set([...first.policies, ...second.policies])], approvals };
}

const rank = ({ outcome }: Decision): number => ({ allow: 0, hold: 1, deny: 2 })[outcome];

const notInPlan = ({ id }: SessionPlan): Refusal => ({
  code: SQLSTATE.insufficient_privilege,
  message: `sallyport: this statement is not in plan ${id}, or its turn has passed`,
  hint: "A session with --plan runs the plan's statements in their order, each as often as it is listed. Plan it anew to run another.",
});
