/** A machine without sockets: what it says to either side, as bytes, and a clock that the test moves. */
import type { MaskingRules } from "../../../../policy/types.ts";
import { Limits } from "../../../../tunnel-agent/protocols/postgres/config.ts";
import type { MachineOptions, SessionEvent } from "../../../../tunnel-agent/protocols/postgres/session/types.ts";
import { SessionMachine } from "../../../../tunnel-agent/protocols/postgres/session/machine.ts";
import type { SessionApprovals } from "../../../../tunnel-agent/session.ts";
import { loadSqlParser } from "../../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { fieldsOf, message, type Message } from "../raw-client.ts";
import { allowAll, testSession, type Rule } from "../support.ts";

const analyse = await loadSqlParser();

export const POISON = "poison";

/** Whole messages of a byte string; a last cut one is given with the type `…`. */
export function messagesOf(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 5 <= bytes.length ? at + 1 + bytes.readInt32BE(at + 1) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) {
      messages.push({ type: "…", body: bytes.subarray(at) });
      break;
    }
    messages.push({ type: String.fromCharCode(bytes.readUInt8(at)), body: bytes.subarray(at + 5, end) });
    at = end;
  }
  return messages;
}

export const letters = (bytes: Buffer): string =>
  messagesOf(bytes)
    .map(({ type }) => type)
    .join("");

export function errorOf(bytes: Buffer): Record<string, string> | undefined {
  const error = messagesOf(bytes).find(({ type }) => type === "E");
  return error === undefined ? undefined : fieldsOf(error.body);
}

export interface RigOptions {
  readonly rule?: Rule;
  readonly limits?: Record<string, number>;
  readonly approvals?: SessionApprovals;
  /** Data classes of the target, and where its catalogue comes from. */
  readonly rules?: MaskingRules;
  readonly masking?: MachineOptions["masking"];
}

export class Rig {
  readonly machine: SessionMachine;
  readonly recorder: ReturnType<typeof testSession>["recorder"];
  readonly setRule: (rule: Rule) => void;
  readonly events: SessionEvent[] = [];
  now = 1000;
  #client: Buffer[] = [];
  #target: Buffer[] = [];

  constructor(options: RigOptions = {}) {
    const { approvals, rules } = options;
    const { session, recorder, setRule } = testSession(options.rule ?? allowAll, {
      ...(approvals === undefined ? {} : { approvals }),
      ...(rules === undefined ? {} : { masking: rules }),
    });
    this.recorder = recorder;
    this.setRule = setRule;
    this.machine = new SessionMachine({
      session: { ...session, monotonic: () => this.now },
      streamId: 1,
      target: "orders-db",
      user: "app",
      searchPath: ["public"],
      database: "shop",
      limits: Limits.parse(options.limits ?? {}),
      recordResults: "none",
      masking: options.masking,
      analyse: (sql) => analyse(sql, 18),
      poison: POISON,
    });
  }

  #take(events: SessionEvent[]): this {
    this.events.push(...events);
    for (const event of events) {
      if (event.type === "to-client") this.#client.push(event.bytes);
      if (event.type === "to-target") this.#target.push(event.bytes);
    }
    return this;
  }

  client(...parts: Buffer[]): this {
    return this.#take(this.machine.receiveClient(Buffer.concat(parts)));
  }

  backend(...parts: Buffer[]): this {
    return this.#take(this.machine.receiveBackend(Buffer.concat(parts)));
  }

  do(turn: (machine: SessionMachine) => SessionEvent[]): this {
    return this.#take(turn(this.machine));
  }

  /** What was said to the client since the last call. */
  toClient(): Buffer {
    const bytes = Buffer.concat(this.#client);
    this.#client = [];
    return bytes;
  }

  toTarget(): Buffer {
    const bytes = Buffer.concat(this.#target);
    this.#target = [];
    return bytes;
  }

  get end(): Extract<SessionEvent, { type: "end" }> | undefined {
    return this.events.find((event) => event.type === "end");
  }

  get cancels(): number {
    return this.events.filter(({ type }) => type === "cancel").length;
  }
}

const field = (name: string): Buffer =>
  Buffer.concat([Buffer.from(`${name}\0`), Buffer.from("000000000000000000190004ffffffff0000", "hex")]);

/** What a backend says. */
export const say = {
  ready: (status = "I"): Buffer => message("Z", status),
  complete: (tag: string): Buffer => message("C", `${tag}\0`),
  columns: (...names: string[]): Buffer => message("T", Buffer.from([0, names.length]), ...names.map(field)),
  row: (...cells: string[]): Buffer =>
    message(
      "D",
      Buffer.from([0, cells.length]),
      ...cells.map((cell) => {
        const length = Buffer.alloc(4);
        length.writeInt32BE(cell.length);
        return Buffer.concat([length, Buffer.from(cell)]);
      }),
    ),
  error: (code: string, text = "it failed", severity = "ERROR"): Buffer =>
    message("E", `S${severity}\0V${severity}\0C${code}\0M${text}\0\0`),
  notice: (text: string): Buffer => message("N", `SNOTICE\0VNOTICE\0C00000\0M${text}\0\0`),
  status: (name: string, value: string): Buffer => message("S", `${name}\0${value}\0`),
  parsed: message("1"),
  bound: message("2"),
  closed: message("3"),
  noData: message("n"),
  suspended: message("s"),
  copyIn: message("G", Buffer.from([0, 0, 0])),
  copyOut: message("H", Buffer.from([0, 0, 0])),
  copyDone: message("c"),
};
