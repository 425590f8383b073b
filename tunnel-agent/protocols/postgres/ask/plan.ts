/**
 * `sallyport plan TARGET`: decides every statement of a text for one identity, as a session would at this moment, and runs
 * none: the target is not even connected to. What a session could not run by a plan is denied here with the reason: a
 * plan is an exact text, so nothing may come from parameters, from copy data or through a name.
 */
import { AskRefused, type AskContext } from "../../../session.ts";
import { MAX_PLAN_STATEMENTS } from "../../../../protocol/limits.ts";
import type { PlanAnswer, PlannedStatement } from "../../../../protocol/plan.ts";
import { printIdentifier } from "../../../../policy/resource.ts";
import { notAnalysed, SQLSTATE } from "../refusal.ts";
import { Authoriser, denied, subjectOf, type Verdict } from "../session/authorise.ts";
import { SessionMasking } from "../session/masking.ts";
import { Names } from "../session/names.ts";
import { statementDigest } from "../statement-digest.ts";
import { tokenize } from "../sql/lexer.ts";
import type { AnalyseSql, Statement } from "../sql/types.ts";

export interface PlanSettings {
  readonly target: string;
  readonly database: string;
  readonly user: string;
  readonly searchPath: readonly string[];
}

export function plan(text: string, analyse: AnalyseSql, settings: PlanSettings, context: AskContext): PlanAnswer {
  refuseBackslash(text);
  const analysed = analyse(text);
  if (!analysed.ok) {
    const { message, position } = notAnalysed(analysed.error);
    const where = position === undefined ? "" : `, line ${lineAt(text, indexOfCharacter(text, position - 1))}`;
    throw new AskRefused("bad_request", `${message.replace(/^sallyport: /, "")}${where}`);
  }
  const { statements } = analysed.value;
  if (statements.length === 0) throw new AskRefused("bad_request", "The text holds no statement.");
  if (statements.length > MAX_PLAN_STATEMENTS) {
    throw new AskRefused(
      "too_large",
      `The text holds ${statements.length} statements, and a plan at most ${MAX_PLAN_STATEMENTS}: cut it into several.`,
    );
  }
  const names = new Names();
  const session = sessionOf(context);
  const authoriser = new Authoriser(
    { ...settings, session, analyse },
    names,
    new SessionMasking(undefined, session, settings.target, names),
  );
  const planned = statements.map((statement): PlannedStatement => {
    const verdict = decide(statement, text, authoriser);
    authoriser.extendSearchPath([statement]);
    return entry(statement, text, analyse, verdict, context);
  });
  const environment = {
    database: settings.database,
    role: settings.user,
    search_path: settings.searchPath.map(printIdentifier).join(", "),
  };
  return { statements: planned, environment, bundle: context.policyVersion };
}

/** The session that a plan's statements are decided in: nothing of it is recorded, and none of it runs. */
function sessionOf({ decideAll, masking, maskText, policyVersion }: AskContext) {
  return {
    plan: undefined,
    decideAll,
    masking,
    maskText,
    policyVersion: () => policyVersion,
    digest: () => "",
    monotonic: () => performance.now(),
  };
}

/** psql reads its \\commands itself and sends something else, or nothing. SQL has no backslash outside of strings and names. */
function refuseBackslash(text: string): void {
  const found = tokenize(text).find(({ kind, start }) => kind === "error" && text[start] === "\\");
  if (found === undefined) return;
  const line = lineAt(text, found.start);
  throw new AskRefused(
    "bad_request",
    `Line ${line} holds a \\command of psql (or data of COPY), which is not SQL: a plan holds SQL alone. Leave it out, or plan what psql would send.`,
  );
}

/** Why no plan can hold it, whatever policy says; null: it can. */
function impossible({ node, copy, session, span }: Statement, text: string): string | null {
  if (copy === "in") return "COPY FROM STDIN takes rows that are not in the plan: load them in a session of its own.";
  if (session.some(({ kind }) => kind === "execute" || kind === "use-cursor")) {
    return "EXECUTE and FETCH run what a name stands for at that moment: write the statement itself.";
  }
  const holdsCode = node === "PrepareStmt" || node === "CreateFunctionStmt";
  if (!holdsCode && tokenize(text.slice(...span)).some(({ kind }) => kind === "parameter")) {
    return "It takes parameters ($1), whose values are not in the plan: write the values.";
  }
  return null;
}

function decide(statement: Statement, text: string, authoriser: Authoriser): Verdict {
  const why = impossible(statement, text);
  if (why === null) return authoriser.decide(subjectOf([statement]));
  // As if it named nothing, for what it touches.
  const { effects } = authoriser.decide(subjectOf([{ ...statement, session: [] }]));
  return denied(effects, { code: SQLSTATE.insufficient_privilege, message: why }, why);
}

function entry(statement: Statement, text: string, analyse: AnalyseSql, verdict: Verdict, { maskText }: AskContext): PlannedStatement {
  const [start, end] = statement.span;
  const exact = text.slice(start, end);
  const alone = analyse(exact);
  const { decision, effects, refusal } = verdict;
  return {
    start,
    end,
    line: lineAt(text, start),
    digest: statementDigest(exact),
    text: maskText(alone.ok ? alone.value.redacted : exact),
    effects: effects.map(({ action, resource }) => ({ action, resource })),
    decision: refusal !== null && decision.outcome === "allow" ? "deny" : decision.outcome,
    policies: [...decision.policies],
    ...(decision.outcome === "allow" ? {} : { reason: (verdict.reason ?? decision.reason).slice(0, 1024) }),
    needs: decision.outcome === "hold" ? [...decision.approvals] : [],
    ...(decision.hold === undefined ? {} : { ttl: decision.hold.ttl }),
  };
}

const lineAt = (text: string, index: number): number => text.slice(0, index).split("\n").length;

/** The UTF-16 index of a code point. */
const indexOfCharacter = (text: string, characters: number): number => Array.from(text).slice(0, characters).join("").length;
