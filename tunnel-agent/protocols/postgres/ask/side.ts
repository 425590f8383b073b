/**
 * A connection of the agent's own for one question: logs in with the target's ordinary login, runs the agent's fixed
 * statements one at a time, read only and with a path that holds pg_catalog alone, and closes. No client's text ever
 * goes through it. Rows are held whole, so they are bounded.
 */
import type { Duplex } from "node:stream";
import { AskRefused } from "../../../session.ts";
import { decodeBackend } from "../codec/backend.ts";
import { checkDataRow } from "../codec/data-row.ts";
import { FrameReader } from "../codec/framing.ts";
import { writeBare, writeBind, writeExecute, writeParse } from "../codec/frontend.ts";
import { B } from "../codec/types.ts";
import { MessageWriter } from "../codec/writer.ts";
import { reach, type Reachable } from "../target/reach.ts";
import type { RunQuery } from "./posture-facts.ts";

/** Bytes of one message, and of all rows of one answer. */
const MAX_MESSAGE = 1024 * 1024;
const MAX_RESULT = 64 * 1024 * 1024;

const CLOSE_MS = 1_000;

type Row = (string | null)[];

function readRow(body: Buffer): Row | null {
  if (checkDataRow(body, 0, body.length) < 0) return null;
  const row: Row = [];
  let at = 2;
  for (let columns = body.readUInt16BE(0); columns > 0; columns -= 1) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString("utf8", at, at + length));
    at += Math.max(length, 0);
  }
  return row;
}

/** One statement's answer, up to ReadyForQuery. */
class Answer {
  readonly rows: Row[] = [];
  failure: string | null = null;
  readonly done: Promise<void>;
  #bytes = 0;
  #resolve: () => void = () => undefined;

  constructor() {
    this.done = new Promise((resolve) => (this.#resolve = resolve));
  }

  fail(reason: string): void {
    this.failure ??= reason;
    this.#resolve();
  }

  /** False: the target broke the protocol. */
  message(type: number, body: Buffer): boolean {
    if (type === B.DataRow) {
      this.#bytes += body.length;
      const row = this.#bytes > MAX_RESULT ? null : readRow(body);
      if (row === null) return false;
      this.rows.push(row);
      return true;
    }
    const decoded = decodeBackend(type, body);
    if (!decoded.ok) return false;
    switch (decoded.value.type) {
      case "ErrorResponse":
        this.failure ??= `${decoded.value.fields.get("C") ?? "?????"} ${decoded.value.fields.get("M") ?? ""}`;
        return true;
      case "ReadyForQuery":
        this.#resolve();
        return true;
      case "ParseComplete":
      case "BindComplete":
      case "CommandComplete":
      case "NoticeResponse":
      case "ParameterStatus":
        return true;
      default:
        return false;
    }
  }
}

class SideConnection {
  readonly #socket: Duplex;
  #answer: Answer | null = null;

  constructor(socket: Duplex, rest: Buffer) {
    this.#socket = socket;
    const reader = new FrameReader({
      head: (_, length) => (length > MAX_MESSAGE ? this.#halt() : "assemble"),
      message: (type, body) => (this.#answer?.message(type, body) === false ? this.#halt() : "drop"),
      part: () => false,
      paused: () => false,
      forward: () => undefined,
      badLength: () => void this.#halt(),
    });
    const lost = (): void => this.#answer?.fail("the connection to the target was lost");
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
    socket.on("error", lost);
    socket.on("close", lost);
    reader.push(rest);
  }

  #halt(): "halt" {
    this.#answer?.fail("the target broke the protocol, or its answer is too large");
    this.#socket.destroy();
    return "halt";
  }

  async run(sql: string, parameters: readonly string[]): Promise<Row[]> {
    const answer = new Answer();
    this.#answer = answer;
    const writer = new MessageWriter();
    writeParse(writer, { statement: "", sql, parameterTypes: [] });
    const values = parameters.map((text) => Buffer.from(text, "utf8"));
    writeBind(writer, { portal: "", statement: "", parameterFormats: [], parameters: values, resultFormats: [] });
    writeExecute(writer, "", 0);
    writeBare(writer, "Sync");
    const bytes = writer.take();
    if (this.#socket.destroyed) answer.fail("the connection to the target was lost");
    else if (bytes !== null) this.#socket.write(bytes);
    await answer.done;
    if (answer.failure !== null) throw new Error(`a question to the target failed: ${answer.failure}`);
    return answer.rows;
  }
}

/**
 * Gives `work` a connection, and closes it. @throws AskRefused when the target cannot be reached; what `work` throws.
 * `log` hears why it could not be reached.
 */
export async function withSideConnection<T>(
  target: Reachable,
  signal: AbortSignal,
  log: (reason: string) => void,
  work: (run: RunQuery) => Promise<T>,
): Promise<T> {
  const parameters: [string, string][] = [
    ["database", target.config.database],
    ["client_encoding", "UTF8"],
    ["standard_conforming_strings", "on"],
    ["search_path", "pg_catalog"],
    ["default_transaction_read_only", "on"],
    ["statement_timeout", "10s"],
    ["application_name", "sallyport:agent"],
  ];
  const backend = await reach(target, parameters, AbortSignal.any([signal, AbortSignal.timeout(target.config.limits.connect_s * 1000)]));
  if ("why" in backend) {
    log(backend.why);
    throw new AskRefused("target_unreachable", "The agent could not reach the target, or was not accepted by it.");
  }
  const stop = (): void => void backend.socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const side = new SideConnection(backend.socket, backend.rest);
    return await work((sql, parameters = []) => side.run(sql, parameters));
  } finally {
    signal.removeEventListener("abort", stop);
    backend.socket.end(terminate());
    // A target that does not close its end is not waited for.
    setTimeout(() => backend.socket.destroy(), CLOSE_MS).unref();
  }
}

function terminate(): Buffer {
  const writer = new MessageWriter();
  writeBare(writer, "Terminate");
  return writer.take() ?? Buffer.alloc(0);
}
