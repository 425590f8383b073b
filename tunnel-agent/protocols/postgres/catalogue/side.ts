/**
 * The agent's own conversation with a target: fixed queries with parameters, one at a time, rows as text. A sans-IO
 * machine and a shell around it. Nothing that a client said goes through it but as a parameter.
 *
 * Guarantees: sizes are bounded; anything unexpected ends the conversation. Does not transact: each query is its own.
 */
import type { Duplex } from "node:stream";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { decodeBackend } from "../codec/backend.ts";
import { FrameReader, type FrameHandler, type Handling, type Verdict } from "../codec/framing.ts";
import { writeBare, writeBind, writeDescribe, writeExecute, writeParse } from "../codec/frontend.ts";
import { B, printType } from "../codec/types.ts";
import { single } from "../codec/writer.ts";

export type Row = readonly (string | null)[];
export type Answer = Result<readonly Row[], string>;

/** Bytes of one row, and of one answer. */
const MAX_ROW_BYTES = 16 * 1024 * 1024;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/** Parse, Bind, Describe, Execute, Sync of an unnamed statement; parameters and results as text. */
export function writeQuestion(sql: string, parameters: readonly (string | null)[]): Buffer {
  return single((writer) => {
    writeParse(writer, { statement: "", sql, parameterTypes: [] });
    const values = parameters.map((value) => (value === null ? null : Buffer.from(value, "utf8")));
    writeBind(writer, { portal: "", statement: "", parameterFormats: [], parameters: values, resultFormats: [] });
    writeDescribe(writer, "P", "");
    writeExecute(writer, "", 0);
    writeBare(writer, "Sync");
  });
}

/** Reads the answer to one question at a time. */
export class AnswerReader implements FrameHandler {
  readonly #frames = new FrameReader(this);
  readonly #done: (answer: Answer) => void;
  readonly #broken: (why: string) => void;
  #rows: Row[] = [];
  #bytes = 0;
  #failure: string | null = null;

  constructor(done: (answer: Answer) => void, broken: (why: string) => void) {
    this.#done = done;
    this.#broken = broken;
  }

  push(chunk: Buffer): void {
    this.#frames.push(chunk);
  }

  /** What the target said was wrong with the question that is not answered yet. */
  get failure(): string | null {
    return this.#failure;
  }

  head(type: number, length: number): Handling {
    if (length <= MAX_ROW_BYTES) return "assemble";
    this.#broken(`a message of ${length} bytes (${printType(type)})`);
    return "halt";
  }

  message(type: number, body: Buffer): Verdict {
    if (type === B.DataRow) return this.#row(body);
    const decoded = decodeBackend(type, body);
    if (!decoded.ok) {
      this.#broken(decoded.error);
      return "halt";
    }
    const message = decoded.value;
    switch (message.type) {
      case "ErrorResponse":
        this.#failure ??= `${message.fields.get("C") ?? "?????"} ${message.fields.get("M") ?? ""}`;
        break;
      case "ReadyForQuery": {
        const answer: Answer = this.#failure === null ? ok(this.#rows) : err(this.#failure);
        this.#rows = [];
        this.#bytes = 0;
        this.#failure = null;
        this.#done(answer);
        break;
      }
      case "ParseComplete":
      case "BindComplete":
      case "RowDescription":
      case "NoData":
      case "CommandComplete":
      case "EmptyQueryResponse":
      case "NoticeResponse":
      case "ParameterStatus":
      case "NotificationResponse":
        break;
      default:
        this.#broken(`${message.type} in answer to a question`);
        return "halt";
    }
    return "drop";
  }

  #row(body: Buffer): Verdict {
    this.#bytes += body.length;
    const row = readRow(body);
    if (row !== null && this.#bytes <= MAX_ANSWER_BYTES) {
      this.#rows.push(row);
      return "drop";
    }
    this.#broken(row === null ? "a malformed row" : `an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    return "halt";
  }

  part(): boolean {
    return false;
  }

  paused(): boolean {
    return false;
  }

  forward(): void {}

  badLength(type: number): void {
    this.#broken(`a message of impossible length (${printType(type)})`);
  }
}

/** DataRow: Int16 count, then for each column Int32 length (-1: NULL) and the bytes, which must fill the message. */
function readRow(body: Buffer): Row | null {
  if (body.length < 2) return null;
  const row: (string | null)[] = [];
  let at = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    if (body.length - at < 4) return null;
    const length = body.readInt32BE(at);
    at += 4;
    if (length === -1) {
      row.push(null);
      continue;
    }
    if (length < 0 || length > body.length - at) return null;
    row.push(body.toString("utf8", at, at + length));
    at += length;
  }
  return at === body.length ? row : null;
}

/** A socket that has logged in, as something that answers questions. Questions wait for each other. */
export class SideConnection {
  readonly #socket: Duplex;
  readonly #reader: AnswerReader;
  #waiting: ((answer: Answer) => void) | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #broken: string | null = null;

  constructor(socket: Duplex, rest: Buffer) {
    this.#socket = socket;
    this.#reader = new AnswerReader(
      (answer) => this.#settle(answer),
      (why) => this.#end(`the target broke the protocol: ${why}`),
    );
    socket.on("data", (chunk: Buffer) => this.#reader.push(chunk));
    socket.on("close", () => this.#end(this.#reader.failure ?? "the target closed the connection"));
    socket.on("error", (error: Error) => this.#end(error.message));
    if (rest.length > 0) this.#reader.push(rest);
    socket.resume();
  }

  get usable(): boolean {
    return this.#broken === null;
  }

  /** Rejects never. */
  ask(sql: string, parameters: readonly (string | null)[] = []): Promise<Answer> {
    const answer = this.#turn.then(() => this.#one(sql, parameters));
    this.#turn = answer;
    return answer;
  }

  close(): void {
    if (this.#broken !== null) return;
    this.#broken = "closed";
    this.#socket.end(single((writer) => writeBare(writer, "Terminate")));
    this.#settle(err("the connection was closed"));
  }

  #one(sql: string, parameters: readonly (string | null)[]): Promise<Answer> {
    if (this.#broken !== null) return Promise.resolve(err(this.#broken));
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#socket.write(writeQuestion(sql, parameters));
    });
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(answer);
  }

  #end(why: string): void {
    if (this.#broken !== null) return;
    this.#broken = why;
    this.#socket.destroy();
    this.#settle(err(why));
  }
}
