/**
 * A client of the wire protocol that can say anything: it writes raw bytes, or messages made by pg-protocol (not by
 * the codec under test), and keeps what comes back as letters and bodies.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** CommonJS; `serialize` is not among its ES exports. */
import { serialize } from "pg-protocol";

export { serialize };

export interface Message {
  /** The type byte as a letter. */
  readonly type: string;
  readonly body: Buffer;
}

export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

export const message = (type: string, ...parts: (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as Buffer)));
  return Buffer.concat([Buffer.from(type, "latin1"), int32(body.length + 4), body]);
};

export const startupPacket = (code: number, pairs: readonly string[] = [], end = "\0"): Buffer => {
  const body = Buffer.concat([int32(code), Buffer.from(pairs.map((text) => `${text}\0`).join("") + (pairs.length > 0 ? end : ""))]);
  return Buffer.concat([int32(body.length + 4), body]);
};

export const V3_0 = 196_608;
export const V3_2 = 196_610;
export const SSL = 80_877_103;
export const GSS = 80_877_104;
export const CANCEL = 80_877_102;

/** Fields of an ErrorResponse or NoticeResponse by letter. */
export function fieldsOf(body: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const part of body.toString("utf8").split("\0")) if (part !== "") fields[part.slice(0, 1)] = part.slice(1);
  return fields;
}

export const letters = (messages: readonly Message[]): string => messages.map(({ type }) => type).join("");

export class RawClient {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #bytes: Buffer = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  /** Bytes received so far. */
  received = 0;
  closed = false;
  greeting: Message[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#chunks.push(chunk);
      this.received += chunk.length;
      this.#wake();
    });
    socket.on("error", () => undefined);
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.closed = true;
        this.#wake();
      });
    }
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  /** Logged in (auth `trust`), first ReadyForQuery read. */
  static async ready(port: number, pairs: readonly string[] = ["user", "tester"], version: number = V3_0): Promise<RawClient> {
    const client = await RawClient.open(port);
    client.send(startupPacket(version, pairs));
    client.greeting = await client.until("Z");
    return client;
  }

  send(...parts: Buffer[]): void {
    this.#socket.write(Buffer.concat(parts));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Waits for at least `count` bytes, or the end. */
  async #have(count: number): Promise<boolean> {
    for (let have = this.#bytes.length; ;) {
      have = this.#bytes.length + this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (have >= count || this.closed) {
        this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks]);
        this.#chunks = [];
        return have >= count;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(count: number): Buffer {
    const bytes = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(bytes.length);
    return bytes;
  }

  /** The next `count` raw bytes, fewer at the connection's end. */
  async raw(count: number): Promise<Buffer> {
    await this.#have(count);
    return this.#take(count);
  }

  /** Messages up to and with the first of this type, or up to the connection's end. */
  async until(type: string): Promise<Message[]> {
    const taken: Message[] = [];
    for (;;) {
      const one = await this.next();
      if (one === undefined) return taken;
      taken.push(one);
      if (one.type === type) return taken;
    }
  }

  /** The next message; undefined at the connection's end. */
  async next(): Promise<Message | undefined> {
    if (this.#bytes.length < 5 && !(await this.#have(5))) return undefined;
    const length = this.#bytes.readInt32BE(1) + 1;
    if (this.#bytes.length < length && !(await this.#have(length))) return undefined;
    const bytes = this.#take(length);
    return { type: String.fromCharCode(bytes.readUInt8(0)), body: bytes.subarray(5) };
  }

  /** Messages up to the connection's end. */
  async untilClosed(): Promise<Message[]> {
    return await this.until("");
  }

  /** One simple Query, answered. */
  async query(sql: string): Promise<Message[]> {
    this.send(serialize.query(sql));
    return await this.until("Z");
  }
}

/** First column of each row, as text. */
export function firstColumn(messages: readonly Message[]): (string | null)[] {
  return messages
    .filter(({ type }) => type === "D")
    .map(({ body }) => {
      const length = body.readInt32BE(2);
      return length < 0 ? null : body.toString("utf8", 6, 6 + length);
    });
}

export function errorOf(messages: readonly Message[]): Record<string, string> | undefined {
  const error = messages.find(({ type }) => type === "E");
  return error === undefined ? undefined : fieldsOf(error.body);
}

export const statusOf = (messages: readonly Message[]): string | undefined =>
  messages.findLast(({ type }) => type === "Z")?.body.toString();
