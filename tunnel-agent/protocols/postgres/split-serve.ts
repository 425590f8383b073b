/**
 * A client of a target with two logins: puts together the lanes, the front between them, and the way to the second
 * backend, which is opened with the client's settings and can only read.
 */
import type { Duplex } from "node:stream";
import { unreachable } from "../../../protocol/result.ts";
import type { SessionContext } from "../../session.ts";
import type { ClientParameters } from "./client/parameters.ts";
import { makeLane, ownName, serverMajor, type LaneTarget } from "./lane.ts";
import type { AnalysedSql } from "./sql/types.ts";
import type { SessionMachine } from "./session/machine.ts";
import type { Route, TextFacts } from "./session/split-route.ts";
import { SplitRelay } from "./split-relay.ts";
import { reachWhileWanted, targetParameters, type Backend, type Reachable } from "./target/reach.ts";

/** The login for classified columns, and what is known of when it is needed. */
export interface ClassifiedLogin {
  readonly reach: Reachable;
  /** Whether a text needs it, and may have it. */
  needs(analysed: AnalysedSql, session: SessionContext, searchPath: readonly string[]): "yes" | "no" | "unknown";
  refresh(): Promise<void>;
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
  return new SplitRelay({
    client,
    limits: target.config.limits,
    user: target.config.user,
    ownName: ownName("asks"),
    low: (end, lane, turned) => makeLane({ target, reach: target, client: end, stream, session, backend, lane, turned }),
    high: async (end, lane, turned) => {
      const opened = await connect();
      if (!("why" in opened)) return makeLane({ target, reach: high.reach, client: end, stream, session, backend: opened, lane, turned });
      const why = session.maskText(opened.why);
      session.log.warn({ stream, target: target.name }, `target not reached with the login for classified columns: ${why}`);
      return null;
    },
    route: (sql, low, highNames) => {
      const analysed = target.analysis.analyse(sql, major);
      return analysed.ok ? route(high, analysed.value, session, low, highNames) : "low";
    },
    facts: (sql) => {
      const analysed = target.analysis.analyse(sql, major);
      return analysed.ok ? factsOf(analysed.value) : { harmless: false, forgets: false };
    },
    refresh: () => high.refresh(),
  });
}

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
  session: SessionContext,
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
  const needs = high.needs(analysed, session, low.searchPath);
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
