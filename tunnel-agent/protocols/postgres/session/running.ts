/**
 * How a running Query or Execute goes on: results, copies, completion, ready. The number and kind of results must be
 * those that the analysis foresaw: a backend that answers two statements where one was parsed reads the text otherwise
 * than the gateway did (PG-45), and then nothing that was decided holds.
 */
import { writeReadyForQuery, type TransactionStatus } from "../codec/backend.ts";
import type { Verdict } from "../codec/framing.ts";
import { isTag } from "../output.ts";
import type { Statement } from "../sql/types.ts";
import { innerSubject } from "./authorise.ts";
import { beginCopyIn } from "./copy.ts";
import { beginCopyOut } from "./copy-out.ts";
import type { Core } from "./core.ts";
import { endOutput } from "./results.ts";
import type { Expected } from "./types.ts";

export type RunningNow = Extract<Expected, { kind: "query" | "execute" }>;

export function running(expected: Expected | undefined): RunningNow | null {
  return expected?.kind === "query" || expected?.kind === "execute" ? expected : null;
}

export const statementsOf = (run: RunningNow): readonly Statement[] =>
  run.kind === "query" ? run.known.subject.statements : run.portal.statement.subject.statements;

/** `tag` null: EmptyQueryResponse. */
export function onCommandComplete(core: Core, tag: string | null): Verdict | null {
  const run = running(core.front);
  if (run === null || (run.phase !== "idle" && run.phase !== "rows" && run.phase !== "copy-done")) return null;
  if (core.instead?.dropping === true) {
    // It completed although part of its result was withheld: nothing true can be said but this.
    core.fatal(core.instead.refusal);
    return "halt";
  }
  endOutput(core, run);
  const statements = statementsOf(run);
  if (tag === null ? statements.length > 0 || run.phase !== "idle" : !isTag(tag) || run.done >= statements.length) return null;
  const statement = statements[run.done];
  if (tag !== null && statement !== undefined) {
    run.done++;
    core.outcomes.tagged(run.command, tag);
    if (statement.node === "ListenStmt") core.listening = true;
    core.names.apply(statement, run.known, innerSubject, core.masking.epoch);
    core.masking.completed(statement);
  }
  run.phase = "idle";
  run.columns = -1;
  if (run.kind === "execute") {
    core.outcomes.completed(run.command);
    core.answered();
  }
  return "pass";
}

/** `format`: 0 text, 1 binary. */
export function onCopyResponse(core: Core, direction: "in" | "out", format: number, columns: number): Verdict | null {
  const run = running(core.front);
  if (run === null || run.phase !== "idle") return null;
  const statement = statementsOf(run)[run.done];
  if (statement?.copy !== direction) return null;
  if (direction === "out") {
    run.phase = "copy-out";
    return beginCopyOut(core, run, format, columns, statement.copyFormat) ? "pass" : "halt";
  }
  run.phase = "copy-in";
  beginCopyIn(core);
  return "pass";
}

export function onReady(core: Core, status: TransactionStatus): Verdict | null {
  const { front } = core;
  if (front?.kind === "query") {
    if (front.phase !== "failed") {
      if (front.phase !== "idle" || front.done !== front.known.subject.statements.length) return null;
      core.outcomes.completed(front.command);
    }
  } else if (front?.kind !== "sync") return null;
  const before = core.status;
  core.status = status;
  core.outcomes.ready(before, status);
  core.instead = null;
  core.answered();
  if (status === "I" && core.idle && core.segmentSince === null) {
    core.names.endTransaction();
    core.masking.transactionEnded();
    core.authoriser.transactionEnded();
  }
  if (front.kind === "sync" && front.own === true) return "drop";
  const said = core.readyStatus;
  if (said === status) return "pass";
  if (said !== null) core.say((writer) => writeReadyForQuery(writer, said));
  return "drop";
}
