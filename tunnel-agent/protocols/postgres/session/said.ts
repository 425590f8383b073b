/**
 * What the target says beside results: errors, notices, parameter values. All of it passes the filter of output.ts;
 * an error also tells which messages the backend now skips.
 */
import { writeFields, writeNotification, writeParameterStatus, type ErrorFields } from "../codec/backend.ts";
import type { Verdict } from "../codec/framing.ts";
import { filterFields, isFatal, mayReport, type Telling } from "../output.ts";
import { refusalFields, SQLSTATE, type Refusal } from "../refusal.ts";
import { copyFailed } from "./copy.ts";
import type { Core } from "./core.ts";
import { endOutput } from "./results.ts";
import { running } from "./running.ts";
import { parseSearchPath } from "./search-path.ts";

/** Notices that one command may cause at the client; a trigger can raise one a row (PG-27). */
const MAX_NOTICES = 100;

/** RAISE NOTICE and RAISE WARNING without a code of their own. */
const SPOKEN = new Set(["00000", "01000"]);

/** How much of the target's words may be told now. */
const toldOf = (core: Core): Telling =>
  core.masking.quiet
    ? { kind: "condition", knows: (schema, table, column) => core.masking.knows(schema, table, column) }
    : { kind: "text", maskText: core.options.session.maskText };

export function onNotice(core: Core, fields: ErrorFields): Verdict | null {
  const filtered = filterFields(fields, toldOf(core));
  if (filtered === null) return null;
  // A notice of its own making is all words, and they may quote anything.
  if (core.masking.quiet && SPOKEN.has(filtered.get("C") ?? "")) return "drop";
  const command = running(core.front)?.command;
  if (command !== undefined && ++command.notices > MAX_NOTICES) return "drop";
  core.say((writer) => writeFields(writer, "NoticeResponse", filtered));
  return "drop";
}

/** What another session says reaches this one only where policy allowed LISTEN (PG-25). That session's pid is nobody's business. */
export function onNotification(core: Core, channel: string, payload: string): Verdict {
  if (core.listening) core.say((writer) => writeNotification(writer, 0, channel, core.options.session.maskText(payload)));
  return "drop";
}

/** Values on which the reading of SQL rests must not move (PG-45); the rest is the gateway's to report (PG-28). */
export function onParameterStatus(core: Core, name: string, value: string): Verdict | null {
  const drifted = (name === "client_encoding" && value !== "UTF8") || (name === "standard_conforming_strings" && value !== "on");
  if (drifted) {
    core.fatal({
      code: SQLSTATE.feature_not_supported,
      message: `sallyport: ${name} changed at the target, so SQL could be read otherwise than it was decided`,
    });
    return "halt";
  }
  if (name === "search_path") {
    // Reported since PostgreSQL 18: what a function did to it counts as well.
    const schemas = parseSearchPath(value);
    if (schemas === null) return null;
    core.authoriser.addSchemas(schemas);
    return "drop";
  }
  if (mayReport(name, value)) core.say((writer) => writeParameterStatus(writer, name, value));
  return "drop";
}

export function onError(core: Core, fields: ErrorFields): Verdict | null {
  const filtered = filterFields(fields, toldOf(core));
  if (filtered === null) return null;
  const code = filtered.get("C") ?? "";
  const { front } = core;
  const run = running(front);
  if (run !== null) endOutput(core, run);
  if (isFatal(fields)) {
    if (run !== null) core.outcomes.failed(run.command, code);
    core.say((writer) => writeFields(writer, "ErrorResponse", filtered));
    core.end(`the target ended the connection: ${code}`);
    return "halt";
  }
  if (front === undefined || run?.phase === "failed") return null;
  const own = ownWords(core);
  const said = own?.code ?? code;
  if (front.kind !== "poison" || front.refusal !== null) {
    core.options.lane?.failed();
    const hint = core.options.lane?.hint(code);
    const theirs = hint === undefined ? filtered : new Map([...filtered, ["H", hint]]);
    core.say((writer) => writeFields(writer, "ErrorResponse", own === null ? theirs : refusalFields("ERROR", own)));
  }
  core.outcomes.pipelineFailed(said);
  if (core.copyIn !== null) copyFailed(core);
  switch (front.kind) {
    case "sync":
      break;
    case "query":
      core.outcomes.failed(front.command, said);
      front.phase = "failed";
      core.barrier = front;
      break;
    case "execute":
    case "bind":
      core.outcomes.failed(front.command, said);
      skip(core, said);
      break;
    case "parse":
      skip(core, said);
      if (front.name === "") core.names.statements.delete("");
      break;
    case "poison":
    case "close":
    case "describe-statement":
    case "describe-portal":
    case "layout":
      skip(core, said);
      break;
  }
  return "drop";
}

function skip(core: Core, code: string): void {
  // After a Sync of our own the backend listens again; the client has yet to send its own.
  const synced = core.skipToSync(code);
  if (synced && !(core.front?.kind === "sync" && core.front.own === true)) return;
  core.discarding = true;
  core.segmentSince ??= core.now;
}

/** Our own refusal, where the backend's error is only its echo. */
function ownWords(core: Core): Refusal | null {
  const { front, instead } = core;
  if (front?.kind === "poison") return front.refusal;
  core.instead = null;
  return instead?.refusal ?? null;
}
