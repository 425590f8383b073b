/**
 * A client of a target with two logins: puts together the lanes, the front between them, and the way to the second
 * backend, which is opened with the client's settings and can only read.
 */
import type { Duplex } from "node:stream";
import type { MaskingRules } from "../../../policy/types.ts";
import { unreachable } from "../../../protocol/result.ts";
import type { SessionContext } from "../../session.ts";
import type { Catalogue } from "./catalogue/types.ts";
import type { ClientParameters } from "./client/parameters.ts";
import { makeLane, ownName, serverMajor, unprovableBy, type LaneTarget } from "./lane.ts";
import type { Unprovable } from "./masking/plan.ts";
import { serverJudges, type Need } from "./masking/second-login.ts";
import { SQLSTATE, type Refusal } from "./refusal.ts";
import type { SessionMachine } from "./session/machine.ts";
import type { Route, TextFacts } from "./session/split/route.ts";
import type { LaneOptions } from "./session/types.ts";
import { SplitRelay } from "./split-relay.ts";
import type { AnalysedSql, Statement } from "./sql/types.ts";
import { reachWhileWanted, targetParameters, type Backend, type Reachable } from "./target/reach.ts";

/** The login for classified columns, and when it is needed. */
export interface ClassifiedLogin {
  readonly reach: Reachable;
  /** Whether a statement needs it, and may have it. `rules`: of the target. */
  needs(statement: Statement, rules: MaskingRules, searchPath: readonly string[]): Need;
}

export interface SplitInput {
  readonly client: Duplex;
  readonly stream: number;
  readonly session: SessionContext;
  readonly backend: Backend;
  readonly parameters: ClientParameters;
}

/** ms that a statement of the high lane waits for a lock: one that the same client's low lane holds would never be free. */
const LOCK_TIMEOUT = "30s";

export function twoLogins(target: LaneTarget, high: ClassifiedLogin, input: SplitInput): SplitRelay {
  const { client, stream, session, backend, parameters } = input;
  const major = serverMajor(backend);
  const connect = (): Promise<Backend | { readonly why: string }> =>
    reachWhileWanted(high.reach, highParameters(high.reach, session, parameters), client, session.signal);
  const low: MachineTerms = {
    lane: { login: undefined, admits: () => null, hint: (code) => (code === SQLSTATE.insufficient_privilege ? LOW_HINT : undefined) },
    unprovable: (catalogue) => (judgedByServer(catalogue) ? "leave" : unprovableBy(target.config)),
  };
  const second: MachineTerms = {
    lane: {
      login: "classified",
      admits: (statements, schemas) => (statements.every((statement) => mayRun(statement, schemas)) ? null : notHere),
      hint: () => undefined,
    },
    unprovable: () => "refuse",
  };
  const mayRun = (statement: Statement, schemas: readonly string[]): boolean =>
    statement.effects.every(({ action }) => action === "pg:session") || high.needs(statement, session.masking(), schemas) === "yes";
  return new SplitRelay({
    client,
    limits: target.config.limits,
    user: target.config.user,
    ownName: ownName("asks"),
    low: (end, front, turned) =>
      makeLane({ target, reach: target, client: end, stream, session, backend, turned, ...low, lane: { ...low.lane, ...front } }),
    high: async (end, front, turned) => {
      const opened = await connect();
      if ("why" in opened) {
        const why = session.maskText(opened.why);
        session.log.warn({ stream, target: target.name }, `target not reached with the login for classified columns: ${why}`);
        return null;
      }
      const lane = { ...second.lane, ...front };
      return makeLane({ target, reach: high.reach, client: end, stream, session, backend: opened, turned, ...second, lane });
    },
    route: (sql, machine, highNames) => {
      const analysed = target.analysis.analyse(sql, major);
      return analysed.ok ? route(high, analysed.value, session.masking(), machine, highNames) : "low";
    },
    facts: (sql) => {
      const analysed = target.analysis.analyse(sql, major);
      return analysed.ok ? factsOf(analysed.value) : { harmless: false, forgets: false };
    },
    refresh: async () => {
      // What went wrong is in the agent's log; the statement goes to the ordinary login.
      await target.catalogue.refresh(session.masking());
    },
  });
}

/** What one of the two machines is told beside what the front tells it. */
interface MachineTerms {
  readonly lane: Pick<LaneOptions, "login" | "admits" | "hint">;
  readonly unprovable: (catalogue: Catalogue | null) => Unprovable;
}

const judged = new WeakMap<Catalogue, boolean>();

function judgedByServer(catalogue: Catalogue | null): boolean {
  if (catalogue === null) return false;
  const before = judged.get(catalogue);
  if (before !== undefined) return before;
  const now = serverJudges(catalogue);
  judged.set(catalogue, now);
  return now;
}

const LOW_HINT =
  "Classified columns are read by another login, in a SELECT that lists them as they are: not in an expression, a condition, an order, a view or a write.";

const notHere: Refusal = {
  code: SQLSTATE.insufficient_privilege,
  message: "sallyport: this statement may not run as the login for classified columns",
  hint: "The data classes or the tables have changed since it was prepared: prepare it again.",
};

/** The client's startup settings, in a backend that only reads, and sees every row or says that it does not. */
function highParameters(reach: Reachable, session: SessionContext, parameters: ClientParameters): [string, string][] {
  return [
    ...targetParameters(reach, session.facts.id, parameters),
    ["default_transaction_read_only", "on"],
    ["row_security", "off"],
    ["lock_timeout", LOCK_TIMEOUT],
  ];
}

function route(
  high: ClassifiedLogin,
  analysed: AnalysedSql,
  rules: MaskingRules,
  low: SessionMachine,
  highNames: SessionMachine["names"] | undefined,
): Route {
  const [statement, second] = analysed.statements;
  if (statement === undefined || second !== undefined) return "low";
  // A name that only the high backend has.
  for (const effect of statement.session) {
    if (effect.kind === "deallocate" && effect.name !== null && highNames?.statements.has(effect.name) === true) return "high as it is";
    if (effect.kind === "execute" && highNames?.statements.has(effect.name) === true) return "high";
    if (effect.kind !== "execute" && effect.kind !== "prepare") return "low";
  }
  const needs = high.needs(statement, rules, low.searchPath);
  switch (needs) {
    case "yes":
      return "high";
    case "no":
      return "low";
    case "unknown":
      return "unknown";
    default:
      return unreachable(needs);
  }
}

function factsOf({ statements }: AnalysedSql): TextFacts {
  const harmless = statements.every(
    ({ node, effects, session }) =>
      (node === "SelectStmt" || node === "TransactionStmt") &&
      effects.every(({ action }) => action === "pg:select" || action === "pg:session") &&
      session.every((effect) => effect.kind === "transaction" && effect.what === "begin"),
  );
  const forgets = statements.some(({ session }) =>
    session.some((effect) => effect.kind === "discard-all" || (effect.kind === "deallocate" && effect.name === null)),
  );
  return { harmless, forgets };
}
