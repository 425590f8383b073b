/**
 * The target's messages, held against what it owes (PG-57). A message that is not due, not known or not well-formed
 * ends the conversation; a due one passes as the bytes it came in, except those that are filtered: errors, notices and
 * parameter values (output.ts). Rows and copy data stream through, checked as they pass.
 */
import { unreachable } from "../../../../protocol/result.ts";
import { decodeBackend, type BackendMessage, type FieldDescription } from "../codec/backend.ts";
import { checkDataRow, DataRowScanner } from "../codec/data-row.ts";
import type { FrameHandler, Handling, Verdict } from "../codec/framing.ts";
import { B, printType } from "../codec/types.ts";
import { SQLSTATE, type Refusal } from "../refusal.ts";
import type { Core } from "./core.ts";
import { onError, onNotice, onNotification, onParameterStatus } from "./said.ts";
import { onCommandComplete, onCopyResponse, onReady, running } from "./running.ts";
import { onCopyOutData, onCopyOutDone } from "./copy-out.ts";
import { describedRows, endOutput, handlingOf, masks, outputOf, passRow } from "./results.ts";
import { MAX_MASKED_ROW_BYTES } from "../../../../protocol/limits.ts";

/** Bytes of a message that is gathered before it is looked at. */
const MAX_DESCRIPTION = 512 * 1024;
const MAX_TEXTS = 1024 * 1024;
const MAX_SMALL = 64 * 1024;

export class BackendSide implements FrameHandler {
  readonly #core: Core;
  readonly #row = new DataRowScanner();

  constructor(core: Core) {
    this.#core = core;
  }

  paused(): boolean {
    return false;
  }

  forward(bytes: Buffer): void {
    this.#core.passToClient(bytes);
  }

  badLength(type: number): void {
    this.#core.violated("target", `invalid length of message ${printType(type)}`);
  }

  #violated(what: string): "halt" {
    this.#core.violated("target", what);
    return "halt";
  }

  head(type: number, length: number): Handling {
    switch (type) {
      case B.DataRow:
      case B.CopyData:
        return this.#data(type, length);
      case B.RowDescription:
      case B.ParameterDescription:
        return this.#small(type, length, MAX_DESCRIPTION);
      case B.NoticeResponse:
      case B.NotificationResponse:
        // Nobody needs a notice that long; it is dropped unread.
        return length <= MAX_TEXTS ? "assemble" : "skip";
      case B.ErrorResponse:
        return this.#small(type, length, MAX_TEXTS);
      case B.ParseComplete:
      case B.BindComplete:
      case B.CloseComplete:
      case B.CommandComplete:
      case B.EmptyQueryResponse:
      case B.NoData:
      case B.PortalSuspended:
      case B.ReadyForQuery:
      case B.ParameterStatus:
      case B.CopyInResponse:
      case B.CopyOutResponse:
      case B.CopyDone:
        return this.#small(type, length, MAX_SMALL);
      case B.CopyBothResponse:
        return this.#violated("it began replication (CopyBothResponse)");
      default:
        return this.#violated(`message ${printType(type)} is not due`);
    }
  }

  #small(type: number, length: number, most: number): Handling {
    return length <= most ? "assemble" : this.#violated(`message ${printType(type)} of ${length} bytes`);
  }

  /** A row or copy data begins: is it due, and within the limits (PG-56)? */
  #data(type: number, length: number): Handling {
    const core = this.#core;
    const run = running(core.front);
    const due =
      run !== null &&
      (type === B.CopyData ? run.phase === "copy-out" : run.phase === "rows" || (run.kind === "execute" && run.phase === "idle"));
    if (!due) return this.#violated(`message ${printType(type)} is not due`);
    if (core.instead?.dropping === true) return "skip";
    run.command.bytes += length + 5;
    const { row_bytes: row, result_bytes: result } = core.options.limits;
    if (length > row) return this.#overLimit(`a row of ${length} bytes; the limit is ${row}`);
    if (result !== undefined && run.command.bytes > result) return this.#overLimit(`a result of more than ${result} bytes`);
    const output = outputOf(core, run);
    if (output === null) return "halt";
    if (masks(output) && length > MAX_MASKED_ROW_BYTES)
      return this.#overLimit(`a row of ${length} bytes to mask; the limit is ${MAX_MASKED_ROW_BYTES}`);
    if (type === B.CopyData) return handlingOf(output, length);
    run.phase = "rows";
    this.#row.begin(length);
    return handlingOf(output, length);
  }

  #overLimit(what: string): "skip" {
    const refusal: Refusal = { code: SQLSTATE.program_limit_exceeded, message: `sallyport: the statement returned ${what}` };
    if (this.#core.instead === null) this.#core.cancelFor(refusal, true);
    else this.#core.instead = { ...this.#core.instead, dropping: true };
    return "skip";
  }

  part(type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean): boolean {
    this.#core.midMessage = !last;
    if (type === B.CopyData) return true;
    if (first && last) return this.#columns(checkDataRow(bytes, from, to));
    if (!this.#row.scan(bytes, from, to)) return this.#columns(-1);
    return last ? this.#columns(this.#row.finish()) : true;
  }

  #columns(count: number): boolean {
    const run = running(this.#core.front);
    if (count >= 0 && run !== null && (run.columns < 0 || run.columns === count)) {
      run.columns = count;
      return true;
    }
    this.#violated(count < 0 ? "malformed DataRow" : "a DataRow with other columns than were described");
    return false;
  }

  message(type: number, body: Buffer): Verdict {
    if (type === B.DataRow) return this.#wholeRow(body);
    if (type === B.CopyData) return this.#wholeCopy(body);
    const decoded = decodeBackend(type, body);
    if (!decoded.ok) return this.#violated(decoded.error);
    return this.#due(decoded.value) ?? this.#violated(`${decoded.value.type} is not due`);
  }

  /** A row that is masked or recorded; `head` has seen to it that it is due. */
  #wholeRow(body: Buffer): Verdict {
    if (!this.#columns(checkDataRow(body, 0, body.length))) return "halt";
    const run = running(this.#core.front);
    const output = run?.output;
    if (run === null || output === null || output === undefined) return this.#violated("a DataRow is not due");
    return passRow(this.#core, output, body) ?? this.#violated("malformed DataRow");
  }

  #wholeCopy(body: Buffer): Verdict {
    const run = running(this.#core.front);
    return (run === null ? null : onCopyOutData(this.#core, run, body)) ?? this.#violated("malformed copy data");
  }

  /** Null when the message is not due. */
  #due(message: BackendMessage): Verdict | null {
    const core = this.#core;
    const { front } = core;
    switch (message.type) {
      case "ParameterStatus":
        return onParameterStatus(core, message.name, message.value);
      case "NoticeResponse":
        return onNotice(core, message.fields);
      case "NotificationResponse":
        return onNotification(core, message.channel, message.payload);
      case "ErrorResponse":
        return onError(core, message.fields);
      case "ReadyForQuery":
        return onReady(core, message.status);
      case "ParseComplete":
        return this.#answers(front?.kind === "parse");
      case "BindComplete":
        if (front?.kind === "bind") core.outcomes.bound(front.command);
        return this.#answers(front?.kind === "bind");
      case "CloseComplete":
        return this.#answers(front?.kind === "close");
      case "ParameterDescription":
        if (front?.kind !== "describe-statement" || front.parameters) return null;
        front.parameters = true;
        return "pass";
      case "NoData":
        return this.#described([], -1);
      case "RowDescription":
        return this.#described(message.fields, message.fields.length);
      case "CommandComplete":
        return onCommandComplete(core, message.tag);
      case "EmptyQueryResponse":
        return onCommandComplete(core, null);
      case "PortalSuspended": {
        if (front?.kind !== "execute" || (front.phase !== "rows" && front.phase !== "idle")) return null;
        endOutput(core, front);
        core.outcomes.completed(front.command);
        return this.#answers(true);
      }
      case "CopyInResponse":
      case "CopyOutResponse":
        return onCopyResponse(core, message.type === "CopyInResponse" ? "in" : "out", message.format, message.columns.length);
      case "CopyDone": {
        const run = running(front);
        if (run === null || run.phase !== "copy-out") return null;
        run.phase = "copy-done";
        if (!onCopyOutDone(run)) return this.#violated("malformed copy data");
        return core.instead?.dropping === true ? "drop" : "pass";
      }
      case "Authentication":
      case "BackendKeyData":
      case "NegotiateProtocolVersion":
      case "CopyBothResponse":
        return null;
      default:
        return unreachable(message);
    }
  }

  #answers(due: boolean): Verdict | null {
    if (!due) return null;
    this.#core.answered();
    return "pass";
  }

  #described(fields: readonly FieldDescription[], columns: number): Verdict | null {
    const { front } = this.#core;
    switch (front?.kind) {
      case "describe-statement":
        front.statement.fields = fields;
        return this.#answers(front.parameters);
      case "describe-portal":
      case "layout":
        front.portal.columns = columns;
        front.portal.fields = fields;
        return this.#answers(true) === "pass" && front.kind === "layout" ? "drop" : "pass";
      case "query":
        if (columns < 0 || front.phase !== "idle") return null;
        if (describedRows(this.#core, front, fields) === null) return "halt";
        front.phase = "rows";
        front.columns = columns;
        return "pass";
      default:
        return null;
    }
  }
}
