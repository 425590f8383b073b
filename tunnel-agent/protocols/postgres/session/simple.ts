/**
 * Simple Query and FunctionCall. A Query is one text of any number of statements and one implicit transaction (PG-12):
 * all of them are decided before the first is forwarded, and it is forwarded unsplit. Until its ReadyForQuery the
 * client's next message waits, so that what that message means is certain.
 */
import { writeBare, writeQuery } from "../codec/frontend.ts";
import { notRecorded, SQLSTATE, type Refusal } from "../refusal.ts";
import { denied, type KnownSql, type Verdict } from "./authorise.ts";
import type { Core } from "./core.ts";
import { exactOf } from "./hold/subject.ts";
import type { Command, Expected } from "./types.ts";

/** `loaded`: the catalogue was loaded for it just now. */
export function onQuery(core: Core, sql: string, loaded = false): void {
  if (core.discarding) return;
  const known = core.authoriser.know(sql);
  if (!known.ok) {
    const { verdict } = known.error;
    refuseRecorded(core, known.error, verdict, (refusal) => refuseQuery(core, refusal));
    return;
  }
  const { text, digest, analysed, subject, controlsTransaction } = known.value;
  const need = loaded ? null : core.authoriser.mustLoad(subject);
  if (need !== null) return core.load(need, () => onQuery(core, sql, true));
  const verdict = core.authoriser.decide(subject);
  const sqlRecord = { text, digest, shape: analysed.shape };
  const run = (command: Command, allowed: Verdict): void => forwardQuery(core, sql, known.value, command, allowed);
  if (verdict.decision.outcome === "hold") {
    const exact = () => exactOf(core, { known: known.value, subject });
    const refuse = (refusal: Refusal): void => refuseQuery(core, refusal);
    return core.holds.begin({ via: "simple", subject, record: sqlRecord, controlsTransaction, exact, refuse, run }, verdict);
  }
  if (verdict.refusal !== null) {
    refuseRecorded(core, sqlRecord, verdict, (refusal) => refuseQuery(core, refusal));
    return;
  }
  const command = core.record("simple", sqlRecord, verdict, controlsTransaction);
  if (command === null) {
    refuseQuery(core, notRecorded);
    return;
  }
  run(command, verdict);
}

function forwardQuery(core: Core, sql: string, known: KnownSql, command: Command, verdict: Verdict): void {
  core.outcomes.forwarded(command);
  core.authoriser.extendSearchPath(known.subject.statements);
  core.names.dropUnnamed();
  core.tell((writer) => writeQuery(writer, sql));
  core.segmentSince = null;
  core.ran = false;
  const expected: Expected = {
    kind: "query",
    command,
    known,
    done: 0,
    phase: "idle",
    columns: -1,
    masking: verdict.masking ?? null,
    output: null,
  };
  core.expect(expected);
  core.barrier = expected;
}

/** Records a refused command, then refuses it. What cannot even be recorded is refused for that reason. */
export function refuseRecorded(
  core: Core,
  sql: Parameters<Core["record"]>[1],
  verdict: Parameters<Core["record"]>[2],
  refuse: (refusal: Refusal) => void,
  via = "simple",
): void {
  const command = core.record(via, sql, verdict);
  if (command === null || verdict.refusal === null) {
    refuse(notRecorded);
    return;
  }
  core.outcomes.refused(command, verdict.refusal.code);
  refuse(verdict.refusal);
}

/** Records and refuses a message whose body is not looked at: what stands in for its text says so. */
export function refuseUnread(core: Core, via: string, text: string, refusal: Refusal, refuse: (refusal: Refusal) => void): void {
  refuseRecorded(core, { text, digest: core.options.session.digest(text) }, denied([], refusal, refusal.message), refuse, via);
}

/** Refuses what is answered by ErrorResponse and ReadyForQuery: Query and FunctionCall. */
export function refuseQuery(core: Core, refusal: Refusal): void {
  if (core.idle && core.segmentSince === null && core.status !== "T") {
    // Nothing is open that an error would undo, so the backend need not know.
    core.sayError(refusal);
    core.sayReady();
    return;
  }
  core.poison(refusal);
  core.tell((writer) => writeBare(writer, "Sync"));
  core.segmentSince = null;
  core.ran = false;
  const sync: Expected = { kind: "sync" };
  core.expect(sync);
  core.barrier = sync;
}

/** FunctionCall runs any function by OID without a word of SQL (PG-23). */
export function onFunctionCall(core: Core): void {
  if (core.discarding) return;
  const refusal: Refusal = { code: SQLSTATE.feature_not_supported, message: "sallyport: the function call protocol is not supported" };
  refuseUnread(core, "function call", "(function call by OID)", refusal, (said) => refuseQuery(core, said));
}
