/**
 * The client's messages: which are known, how long they may be, and who handles them. Every message is decoded
 * exactly, also those that are then dropped; one that is not known, or does not decode, ends the conversation (PG-13).
 */
import type { FrameHandler, Handling, Verdict } from "../codec/framing.ts";
import { decodeFrontend } from "../codec/frontend.ts";
import { F, printType } from "../codec/types.ts";
import { SQLSTATE, type Refusal } from "../refusal.ts";
import { onCopyData, onCopyEnd } from "./copy.ts";
import type { Core } from "./core.ts";
import { onBind, onClose, onDescribe, onExecute, onFlush, onParse, onSync, refuseExtended } from "./extended.ts";
import { onFunctionCall, onQuery, refuseQuery, refuseUnread } from "./simple.ts";

/** Bytes of a message that holds a name or a reason. */
const MAX_SMALL = 8 * 1024;
/** What Parse may hold beside its text: a name and types of 65,535 parameters. */
const PARSE_EXTRA = 4 * 65_535 + 1024;

/** Messages that the server would also refuse amid copy data. */
const IN_COPY = new Set<number>([F.CopyData, F.CopyDone, F.CopyFail, F.Sync, F.Flush, F.Terminate]);

export class ClientSide implements FrameHandler {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  paused(): boolean {
    return this.#core.mustWait;
  }

  forward(bytes: Buffer): void {
    this.#core.passToTarget(bytes);
  }

  badLength(type: number): void {
    this.#core.violated("client", `invalid length of message ${printType(type)}`);
  }

  head(type: number, length: number): Handling {
    const core = this.#core;
    const { limits } = core.options;
    if (core.copyIn !== null && !IN_COPY.has(type)) return this.#violated(`unexpected message ${printType(type)} during COPY from stdin`);
    switch (type) {
      case F.CopyData:
        return onCopyData(core, length);
      case F.Query:
        return length <= limits.statement_bytes + 1 ? "assemble" : this.#tooLong("query", length, limits.statement_bytes);
      case F.Parse:
        return length <= limits.statement_bytes + PARSE_EXTRA ? "assemble" : this.#tooLong("parse", length, limits.statement_bytes);
      case F.Bind:
        return length <= limits.bind_bytes ? "assemble" : this.#tooLong("bind", length, limits.bind_bytes);
      case F.FunctionCall:
        onFunctionCall(core);
        return "skip";
      case F.Describe:
      case F.Close:
      case F.Execute:
      case F.CopyFail:
        return length <= MAX_SMALL ? "assemble" : this.#violated(`message ${printType(type)} of ${length} bytes`);
      case F.Sync:
      case F.Flush:
      case F.Terminate:
      case F.CopyDone:
        return length === 0 ? "assemble" : this.#violated(`message ${printType(type)} with a body`);
      default:
        return this.#violated(`invalid frontend message type ${printType(type)}`);
    }
  }

  #violated(what: string): "halt" {
    this.#core.violated("client", what);
    return "halt";
  }

  /** Refused unread: nothing of it is held in memory. */
  #tooLong(what: "query" | "parse" | "bind", bytes: number, limit: number): "skip" {
    const core = this.#core;
    const refusal: Refusal = {
      code: SQLSTATE.program_limit_exceeded,
      message: `sallyport: the ${what === "bind" ? "parameters have" : "statement has"} ${bytes} bytes, and the limit is ${limit}`,
    };
    if (core.discarding) return "skip";
    refuseUnread(core, what === "query" ? "simple" : what, `(${bytes} bytes, not read)`, refusal, (said) => {
      if (what === "query") refuseQuery(core, said);
      else refuseExtended(core, said);
    });
    return "skip";
  }

  part(): boolean {
    return true;
  }

  message(type: number, body: Buffer): Verdict {
    const core = this.#core;
    const decoded = decodeFrontend(type, body);
    if (!decoded.ok) return this.#violated(decoded.error);
    const message = decoded.value;
    switch (message.type) {
      case "Query":
        onQuery(core, message.sql);
        break;
      case "Parse":
        onParse(core, message);
        break;
      case "Bind":
        onBind(core, message);
        break;
      case "Describe":
        onDescribe(core, message.space, message.name);
        break;
      case "Execute":
        onExecute(core, message.portal, message.maxRows);
        break;
      case "Close":
        onClose(core, message.space, message.name);
        break;
      case "Sync":
        onSync(core);
        break;
      case "Flush":
        onFlush(core);
        break;
      case "CopyDone":
        onCopyEnd(core, null);
        break;
      case "CopyFail":
        onCopyEnd(core, message.message);
        break;
      case "Terminate":
        core.leave();
        break;
      case "Password":
        return this.#violated("a password message after authentication");
    }
    return core.ended ? "halt" : "drop";
  }
}
