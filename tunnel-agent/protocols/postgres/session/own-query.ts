/**
 * A question of the gateway's own to a backend that is quiet: one fixed statement through Parse, Bind, Execute, Sync,
 * under a name that is closed again, so that neither the client's unnamed statement nor its transaction is touched
 * (PG-53). The answer is one row of text. What the backend says of its own accord meanwhile is put aside for the session
 * machine.
 */
import { decodeBackend, type TransactionStatus } from "../codec/backend.ts";
import { FrameReader, type FrameHandler, type Handling, type Verdict } from "../codec/framing.ts";
import { writeBare, writeBind, writeClose, writeExecute, writeParse } from "../codec/frontend.ts";
import { B, printType } from "../codec/types.ts";
import { single } from "../codec/writer.ts";

export interface OwnAnswer {
  /** Null where the backend refused. */
  readonly row: readonly (string | null)[] | null;
  /** SQLSTATE. */
  readonly error: string | null;
  readonly status: TransactionStatus;
}

/** Bytes of one message of the answer. */
const MAX_ANSWER = 64 * 1024;

export class OwnQuery implements FrameHandler {
  readonly bytes: Buffer;
  readonly #reader = new FrameReader(this);
  #aside: Buffer[] = [];
  #row: (string | null)[] | null = null;
  #error: string | null = null;
  #status: TransactionStatus | null = null;
  /** Why it is no answer; the connection is of no use any more. */
  broken: string | null = null;

  constructor(name: string, sql: string, parameters: readonly string[]) {
    this.bytes = single((writer) => {
      writeParse(writer, { statement: name, sql, parameterTypes: [] });
      const values = parameters.map((text) => Buffer.from(text, "utf8"));
      writeBind(writer, { portal: name, statement: name, parameterFormats: [], parameters: values, resultFormats: [] });
      writeExecute(writer, name, 0);
      writeClose(writer, "P", name);
      writeClose(writer, "S", name);
      writeBare(writer, "Sync");
    });
  }

  /** Null until the answer is whole. */
  receive(bytes: Buffer): OwnAnswer | null {
    this.#reader.push(bytes);
    return this.#status === null ? null : { row: this.#row, error: this.#error, status: this.#status };
  }

  /** What was not part of the answer. */
  takeAside(): Buffer[] {
    const aside = this.#aside;
    this.#aside = [];
    return aside;
  }

  paused(): boolean {
    return false;
  }

  forward(bytes: Buffer): void {
    this.#aside.push(bytes);
  }

  badLength(type: number): void {
    this.broken = `invalid length of message ${printType(type)}`;
  }

  part(): boolean {
    return true;
  }

  head(type: number, length: number): Handling {
    if (this.#status !== null) return "stream";
    if (length <= MAX_ANSWER) return "assemble";
    this.broken = `message ${printType(type)} of ${length} bytes`;
    return "halt";
  }

  message(type: number, body: Buffer): Verdict {
    switch (type) {
      case B.ParameterStatus:
      case B.NoticeResponse:
      case B.NotificationResponse:
        return "pass";
      case B.DataRow:
        this.#row = cells(body);
        return "drop";
      default:
        break;
    }
    const decoded = decodeBackend(type, body);
    if (!decoded.ok) return this.#break(decoded.error);
    switch (decoded.value.type) {
      case "ParseComplete":
      case "BindComplete":
      case "CommandComplete":
      case "CloseComplete":
        return "drop";
      case "ErrorResponse":
        this.#error = decoded.value.fields.get("C") ?? "";
        this.#row = null;
        return "drop";
      case "ReadyForQuery":
        this.#status = decoded.value.status;
        return "drop";
      default:
        return this.#break(`message ${printType(type)} is not due`);
    }
  }

  #break(why: string): "halt" {
    this.broken = why;
    return "halt";
  }
}

function cells(body: Buffer): (string | null)[] {
  const row: (string | null)[] = [];
  const count = body.length < 2 ? 0 : body.readInt16BE(0);
  for (let i = 0, at = 2; i < count && at + 4 <= body.length; i++) {
    const length = body.readInt32BE(at);
    row.push(length < 0 ? null : body.toString("utf8", at + 4, at + 4 + length));
    at += 4 + Math.max(0, length);
  }
  return row;
}
