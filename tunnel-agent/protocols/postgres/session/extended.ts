/**
 * The extended protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync. Messages are forwarded at once, pipelines
 * stay pipelines. A refusal is sticky: what follows is dropped up to Sync (PG-14, PG-15), and the backend is made to do
 * the same (`poison`). Parse, Bind and Execute are each decided with the policy of their moment.
 *
 * Bind is what is recorded: it plans, and planning runs functions (PG-39). The first Execute before the next Sync
 * belongs to its record; every later one has a record of its own.
 */
import {
  writeBare,
  writeBind,
  writeClose,
  writeDescribe,
  writeExecute,
  writeParse,
  type Bind,
  type NameSpace,
  type Parse,
} from "../codec/frontend.ts";
import type { ApprovalParameter } from "../../../../protocol/approval.ts";
import { err, ok } from "../../../../protocol/result.ts";
import { notRecorded, rulesChanged, SQLSTATE, unknownPortal, unknownStatement, type Refusal } from "../refusal.ts";
import { denied, type KnownSql, type Verdict } from "./authorise.ts";
import type { Core, RecordedSql } from "./core.ts";
import { approvalParameters, exactOf, type HeldText } from "./hold/subject.ts";
import type { Consent } from "./hold/types.ts";
import { boundBefore } from "./hold/words.ts";
import { MAX_NAME_BYTES, MAX_NAMES, type TrackedPortal, type TrackedStatement } from "./names.ts";
import { recordParameters } from "./parameters.ts";
import { refuseQuery, refuseRecorded } from "./simple.ts";
import type { Command, Expected } from "./types.ts";

/** Refuses in the middle of a pipeline. */
export function refuseExtended(core: Core, refusal: Refusal): void {
  core.segmentSince ??= core.now;
  core.poison(refusal);
  core.discarding = true;
}

function nameProblem(core: Core, name: string, held: ReadonlyMap<string, unknown>): Refusal | null {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    return { code: SQLSTATE.name_too_long, message: `sallyport: a name is longer than ${MAX_NAME_BYTES} bytes` };
  if (name === core.options.poison) return unknownStatement(name);
  if (held.size >= MAX_NAMES && !held.has(name)) {
    return { code: SQLSTATE.program_limit_exceeded, message: `sallyport: more than ${MAX_NAMES} prepared statements or portals` };
  }
  return null;
}

function forward(core: Core, write: Parameters<Core["tell"]>[0], expected: Expected): void {
  core.segmentSince ??= core.now;
  if (expected.kind === "bind" || expected.kind === "execute") core.ran = true;
  core.tell(write);
  core.expect(expected);
}

/** `loaded`: the catalogue was loaded for it just now. */
export function onParse(core: Core, message: Parse, loaded = false): void {
  if (core.discarding) return;
  const { statement: name, sql } = message;
  const problem = nameProblem(core, name, core.names.statements);
  if (problem !== null) return refuseExtended(core, problem);
  const refuse = (refusal: Refusal): void => {
    // Its backend keeps the unnamed statement from before; nobody may reach that by the name of the refused one (PG-14).
    if (name === "") core.names.statements.delete("");
    refuseExtended(core, refusal);
  };
  const known = core.authoriser.know(sql);
  if (!known.ok) return refuseRecorded(core, known.error, known.error.verdict, refuse, "parse");
  const { text, digest, analysed, subject } = known.value;
  const need = loaded ? null : core.authoriser.mustLoad(subject, false);
  if (need !== null) return core.load(need, () => onParse(core, message, true));
  const verdict = core.authoriser.decide(subject);
  // What needs consent is held at Bind, when its parameters are known; Parse runs nothing.
  if (verdict.decision.outcome === "deny" && verdict.refusal !== null)
    return refuseRecorded(core, { text, digest, shape: analysed.shape }, verdict, refuse, "parse");
  // A failed Parse leaves no unnamed statement behind (exec_parse_message drops it first); a named one stays as it was.
  const undo = core.names.setStatement(name, { known: known.value, subject, fields: null, parameterTypes: message.parameterTypes });
  forward(core, (writer) => writeParse(writer, message), { kind: "parse", name, undo });
}

function recorded(statement: TrackedStatement, digest: string, parameters: RecordedSql["parameters"]): RecordedSql {
  const { text, analysed } = statement.known;
  return { text, digest, shape: analysed.shape, parameters };
}

export function onBind(core: Core, message: Bind, loaded = false): void {
  if (core.discarding) return;
  const statement = core.names.statements.get(message.statement);
  if (statement === undefined) return refuseExtended(core, unknownStatement(message.statement));
  const problem = nameProblem(core, message.portal, core.names.portals);
  if (problem !== null) return refuseExtended(core, problem);
  const need = loaded ? null : core.authoriser.mustLoad(statement.subject);
  if (need !== null) {
    const kept = { ...message, parameters: message.parameters.map((parameter) => (parameter === null ? null : Buffer.from(parameter))) };
    return core.load(need, () => onBind(core, kept, true));
  }
  const { session } = core.options;
  const parameters = recordParameters(message, session.maskText);
  const digest = parameters === undefined ? statement.known.digest : session.digest(digestedBytes(statement.known.digest, message));
  const sql = recorded(statement, digest, parameters);
  const verdict = core.authoriser.decide(statement.subject);
  const refuse = (refusal: Refusal): void => refuseExtended(core, refusal);
  const { controlsTransaction } = statement.known;
  if (verdict.decision.outcome === "hold") {
    // It outlives the bytes that it came in.
    const kept = { ...message, parameters: message.parameters.map((parameter) => parameter && Buffer.from(parameter)) };
    const values = approvalParameters(kept);
    const run = (command: Command, decided: Verdict, consent: Consent | null): void =>
      forwardBind(core, kept, { statement: begun(statement, decided), parameters, digest, values }, command, consent);
    const exact = () => exactOf(core, heldText(statement, values, message.statement));
    return core.holds.begin({ via: "extended", subject: statement.subject, record: sql, controlsTransaction, exact, refuse, run }, verdict);
  }
  if (verdict.refusal !== null) return refuseRecorded(core, sql, verdict, refuse, "extended");
  const command = core.record("extended", sql, verdict, controlsTransaction);
  if (command === null) return refuse(notRecorded);
  forwardBind(core, message, { statement: begun(statement, verdict), parameters, digest, values: undefined }, command, null);
}

/** The statement as its portal has it: its places in the session's plan are taken, and the portal may be executed in parts. */
function begun(statement: TrackedStatement, { use }: Verdict): TrackedStatement {
  return use === undefined ? statement : { ...statement, subject: { ...statement.subject, use: { ...use, taken: true } } };
}

function forwardBind(
  core: Core,
  message: Bind,
  portalOf: Pick<TrackedPortal, "statement" | "parameters" | "digest" | "values">,
  command: Command,
  consent: Consent | null,
): void {
  core.outcomes.forwarded(command);
  const bound = { command, policyVersion: core.options.session.policyVersion(), consent };
  const { epoch } = core.masking;
  const portal: TrackedPortal = {
    ...portalOf,
    source: message.statement,
    columns: -1,
    fields: null,
    laidOut: false,
    epoch,
    formats: message.resultFormats,
    bound,
    declared: false,
  };
  const undo = core.names.setPortal(message.portal, portal);
  core.bound.push(portal);
  forward(core, (writer) => writeBind(writer, message), { kind: "bind", command, undo });
  if (core.masking.active) layOut(core, message.portal, portal);
}

/** Our own Describe of a portal, after its Bind: what its rows hold is known before they come, whatever the client asks (PG-18). */
function layOut(core: Core, name: string, portal: TrackedPortal): void {
  if (portal.laidOut) return;
  portal.laidOut = true;
  const undo = (): void => {
    portal.laidOut = false;
  };
  forward(core, (writer) => writeDescribe(writer, "P", name), { kind: "layout", portal, undo });
}

/** A statement as people see it; `source`: the name that it, or the cursor, was given. */
function heldText(statement: TrackedStatement, values: readonly ApprovalParameter[] | undefined, source: string): HeldText {
  const { known, subject, parameterTypes } = statement;
  // Made by SQL's PREPARE or DECLARE: its text holds more than what runs now.
  const runs = subject === known.subject ? undefined : `what this text made under the name ${source}`;
  return { known, subject, parameters: values, parameterTypes, runs };
}

/** The statement's digest, then each parameter with its length: equal only for equal text and equal parameters. */
function digestedBytes(statementDigest: string, message: Bind): Buffer {
  const parts: Buffer[] = [Buffer.from(statementDigest, "latin1")];
  for (const parameter of message.parameters) {
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(parameter === null ? -1 : parameter.length);
    parts.push(length);
    if (parameter !== null) parts.push(parameter);
  }
  return Buffer.concat(parts);
}

export function onDescribe(core: Core, space: NameSpace, name: string): void {
  if (core.discarding) return;
  if (space === "S") {
    const statement = core.names.statements.get(name);
    if (statement === undefined) return refuseExtended(core, unknownStatement(name));
    return forward(core, (writer) => writeDescribe(writer, "S", name), {
      kind: "describe-statement",
      statement,
      parameters: false,
    });
  }
  const portal = core.names.portals.get(name);
  if (portal === undefined) return refuseExtended(core, unknownPortal(name));
  forward(core, (writer) => writeDescribe(writer, "P", name), { kind: "describe-portal", portal });
}

export function onExecute(core: Core, name: string, maxRows: number, loaded = false): void {
  if (core.discarding) return;
  const portal = core.names.portals.get(name);
  if (portal === undefined) return refuseExtended(core, unknownPortal(name));
  const { statement } = portal;
  // Bind has planned it, unless it only names what is planned now.
  const need = loaded ? null : core.authoriser.mustLoad(statement.subject, statement.subject.dynamic);
  if (need !== null) return core.load(need, () => onExecute(core, name, maxRows, true));
  const consent = portal.bound?.consent ?? null;
  const verdict = core.authoriser.decide(statement.subject, consent?.groups);
  const sql = recorded(statement, portal.digest, portal.parameters);
  if (verdict.decision.outcome === "hold") {
    portal.bound = null;
    const { controlsTransaction } = statement.known;
    const refuse = (refusal: Refusal): void => refuseExtended(core, refusal);
    // Bound while policy did not hold it, so that its parameters were not kept.
    const unknown = portal.parameters !== undefined && portal.values === undefined;
    const run = (command: Command, allowed: Verdict): void => {
      if (portal.epoch === core.masking.epoch) return forwardExecute(core, name, maxRows, portal, command, allowed);
      core.outcomes.refused(command, rulesChanged.code);
      refuse(rulesChanged);
    };
    const exact = () => (unknown ? err(boundBefore) : exactOf(core, heldText(statement, portal.values, portal.source)));
    return core.holds.begin({ via: "extended", subject: statement.subject, record: sql, controlsTransaction, exact, refuse, run }, verdict);
  }
  if (verdict.refusal !== null) return refuseRecorded(core, sql, verdict, (refusal) => refuseExtended(core, refusal), "extended");
  if (portal.epoch !== core.masking.epoch) {
    const refused = denied(verdict.effects, rulesChanged, rulesChanged.message);
    return refuseRecorded(core, sql, refused, (refusal) => refuseExtended(core, refusal), "extended");
  }
  const command = continued(core, portal) ?? core.record("extended", sql, verdict, statement.known.controlsTransaction, consent?.approval);
  if (command === null) return refuseExtended(core, notRecorded);
  forwardExecute(core, name, maxRows, portal, command, verdict);
}

function forwardExecute(core: Core, name: string, maxRows: number, portal: TrackedPortal, command: Command, verdict: Verdict): void {
  const { statement } = portal;
  core.outcomes.forwarded(command);
  core.authoriser.extendSearchPath(statement.subject.statements);
  if (core.masking.active) layOut(core, name, portal);
  const expected: Expected = {
    kind: "execute",
    portal,
    command,
    known: statement.known,
    done: 0,
    phase: "idle",
    columns: portal.columns,
    masking: verdict.masking ?? null,
    output: null,
  };
  forward(core, (writer) => writeExecute(writer, name, maxRows), expected);
  if (statement.subject.barrier) {
    core.tell((writer) => writeBare(writer, "Flush"));
    core.barrier = expected;
  }
}

/** The command that this portal's Bind recorded, once, under the policy it was decided by. */
function continued(core: Core, portal: TrackedPortal): Command | null {
  const { bound } = portal;
  portal.bound = null;
  return bound !== null && bound.policyVersion === core.options.session.policyVersion() ? bound.command : null;
}

export function onClose(core: Core, space: NameSpace, name: string): void {
  if (core.discarding) return;
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    return refuseExtended(core, { code: SQLSTATE.name_too_long, message: `sallyport: a name is longer than ${MAX_NAME_BYTES} bytes` });
  }
  const undo = core.names.close(space, name);
  forward(core, (writer) => writeClose(writer, space, name), { kind: "close", undo });
}

export function onFlush(core: Core): void {
  if (core.copyIn !== null || core.discarding) return;
  core.tell((writer) => writeBare(writer, "Flush"));
}

export function onSync(core: Core): void {
  // In copy-in the server ignores it (PG-21); forwarding it would owe a ReadyForQuery that never comes.
  if (core.copyIn !== null) return;
  core.discarding = false;
  core.segmentSince = null;
  core.ran = false;
  for (const portal of core.bound) portal.bound = null;
  core.bound = [];
  core.tell((writer) => writeBare(writer, "Sync"));
  core.expect({ kind: "sync" });
}

/** Refuses what cannot go where it would have to (split.ts), as if it had come here. */
export function refuseElsewhere(core: Core, via: "simple" | "parse" | "extended", sql: string | KnownSql, refusal: Refusal): void {
  if (core.discarding) return;
  const known = typeof sql === "string" ? core.authoriser.know(sql) : ok(sql);
  const refuse = (said: Refusal): void => (via === "simple" ? refuseQuery(core, said) : refuseExtended(core, said));
  if (!known.ok) return refuseRecorded(core, known.error, known.error.verdict, refuse, via);
  const { text, digest, analysed, subject } = known.value;
  // What policy refuses is refused in its words.
  const decided = core.authoriser.decide(subject);
  const verdict = decided.refusal === null ? denied(decided.effects, refusal, refusal.message) : decided;
  refuseRecorded(core, { text, digest, shape: analysed.shape }, verdict, refuse, via);
}
