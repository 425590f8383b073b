/** A plan on a terminal and as an exit status. Texts come masked from the agent; names and reasons are others' words, so escaped. */
import type { Plan, PlannedStatement } from "../protocol/plan.ts";
import { unreachable } from "../protocol/result.ts";
import { EXIT } from "./exit.ts";
import { cut, plain, table, when } from "./print.ts";

/** 0: it may be run. 3: people are asked. 4: refused, or over. */
export function statusOf({ state }: Plan): number {
  switch (state) {
    case "allowed":
    case "approved":
      return EXIT.ok;
    case "pending":
      return EXIT.approval;
    case "denied":
    case "expired":
    case "withdrawn":
    case "used":
      return EXIT.refused;
    default:
      return unreachable(state);
  }
}

const WIDTH = 60;

const needs = ({ decision, needs: asked }: PlannedStatement): string =>
  decision === "hold" ? `hold: ${asked.map(({ group, min }) => (min > 1 ? `${min} of ${group}` : group)).join(", ")}` : decision;

const effects = (statement: PlannedStatement): string => {
  const [first, ...more] = statement.effects;
  if (first === undefined) return "–";
  return `${first.action} ${first.resource}${more.length === 0 ? "" : ` +${more.length}`}`;
};

const firstLine = (text: string): string => cut((text.split("\n").find((line) => line.trim() !== "") ?? "").trim(), WIDTH);

export function printPlan(plan: Plan): string {
  const rows = plan.statements.map((statement, n) => [
    String(n + 1),
    String(statement.line),
    needs(statement),
    cut(effects(statement), WIDTH),
    firstLine(statement.text),
    statement.policies.join(", "),
  ]);
  const reasons = plan.statements.flatMap(({ decision, reason }, n) =>
    decision === "allow" || reason === undefined ? [] : [`${n + 1}: ${plain(reason)}`],
  );
  return [table(["#", "line", "decision", "action", "statement", "policy"], rows), ...(reasons.length === 0 ? [] : ["", ...reasons])].join(
    "\n",
  );
}

/** What is so, and how to go on. `file`: as it was given; undefined where it was not a file. */
export function adviceOn(plan: Plan, file: string | undefined): string {
  const { id, target, state, outcome } = plan;
  const by = outcome === undefined || outcome.by.length === 0 ? "" : ` by ${outcome.by.map(plain).join(", ")}`;
  const why = outcome?.reason === undefined ? "" : `: ${plain(outcome.reason)}`;
  const run = `sallyport run --plan ${id} ${target} -- psql ${file === undefined ? "" : `-f ${plain(file)}`}`.trimEnd();
  switch (state) {
    case "allowed":
      return `plan ${id}: every statement is allowed. Run it until ${when(plan.expires_at)}, once:\n  ${run}`;
    case "approved":
      return `plan ${id} was approved${by}. Run it until ${when(plan.expires_at)}, once:\n  ${run}`;
    case "pending":
      return `plan ${id} waits for approval ${plan.approval ?? ""} until ${when(plan.expires_at)}. Once it is given:\n  ${run}`;
    case "denied":
      return outcome === undefined
        ? `plan ${id}: policy denies a statement, so nothing of it can be run`
        : `plan ${id} was denied${by}${why}`;
    case "expired":
    case "withdrawn":
      return `plan ${id} is ${state}${why}: plan it anew`;
    case "used":
      return `plan ${id} was used by session ${plan.used_by ?? ""}: plan it anew to run it again`;
    default:
      return unreachable(state);
  }
}
