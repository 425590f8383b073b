/**
 * Cuts a byte stream into messages: a type byte, an Int32 length that counts itself, a body. Chunks may split
 * anywhere. The handler says of each header, before anything is allocated, whether the body is
 *
 *   assemble  gathered whole and handed to `message`
 *   stream    passed on in the pieces it comes in, each shown to `part` first
 *   skip      read and thrown away
 *   halt      wrong: nothing more of this stream is read
 *
 * Bytes that pass unchanged are collected as one run over the chunk and leave by `forward` in one slice; a handler
 * that says something of its own in the same direction calls `flush()` first, so that order is kept.
 */
import { unreachable } from "../../../../protocol/result.ts";

export type Handling = "assemble" | "stream" | "skip" | "halt";
export type Verdict = "pass" | "drop" | "halt";

export interface FrameHandler {
  /** `length`: the body's, ≥ 0. */
  head(type: number, length: number): Handling;
  /** `body` is valid only during the call. `pass`: the message goes on as it came. */
  message(type: number, body: Buffer): Verdict;
  /** bytes[from, to) of a streamed body; `first` and `last` mark its ends (an empty body has one empty part). False halts. */
  part(type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean): boolean;
  /** Asked before each message: true leaves the rest unread until `resume()`. */
  paused(): boolean;
  forward(bytes: Buffer): void;
  /** The length field is below 4 or above 2^31-1. */
  badLength(type: number): void;
}

const HEADER = 5;
/** What is allocated for an assembled body at once (more comes as bytes do, so an announced length costs nothing), and up to where a streamed body is gathered. */
const FIRST_PIECE = 64 * 1024;

export class FrameReader {
  readonly #handler: FrameHandler;
  readonly #header = Buffer.alloc(HEADER);
  #headerFilled = 0;
  #mode: "header" | "assemble" | "stream" | "skip" | "halted" = "header";
  #type = 0;
  /** Bytes of the body still to come. */
  #left = 0;
  /** Header and the body so far, of a message that is being assembled from several chunks. */
  #assembly: Buffer = Buffer.alloc(0);
  #assembled = 0;
  /** Whether what is being assembled was to be streamed. */
  #streamed = false;
  #chunk: Buffer = Buffer.alloc(0);
  #runStart = 0;
  #runEnd = 0;
  #waiting: Buffer[] = [];
  #busy = false;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Bytes received and not yet looked at, because the handler is paused. */
  get backlog(): number {
    return this.#waiting.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  push(chunk: Buffer): void {
    if (this.#mode === "halted" || chunk.length === 0) return;
    this.#waiting.push(chunk);
    this.resume();
  }

  /** Goes on after a pause; harmless otherwise. */
  resume(): void {
    if (this.#busy) return;
    this.#busy = true;
    for (let chunk = this.#waiting.shift(); chunk !== undefined; chunk = this.#waiting.shift()) {
      const consumed = this.#read(chunk);
      if (this.#mode === "halted") this.#waiting = [];
      else if (consumed < chunk.length) {
        this.#waiting.unshift(chunk.subarray(consumed));
        break;
      }
    }
    this.#busy = false;
  }

  /** Hands the run of passing bytes on. */
  flush(): void {
    if (this.#runEnd > this.#runStart) this.#handler.forward(this.#chunk.subarray(this.#runStart, this.#runEnd));
    this.#runStart = this.#runEnd;
  }

  #pass(from: number, to: number): void {
    if (from !== this.#runEnd) {
      this.flush();
      this.#runStart = from;
    }
    this.#runEnd = to;
  }

  #read(chunk: Buffer): number {
    this.#chunk = chunk;
    this.#runStart = 0;
    this.#runEnd = 0;
    let at = 0;
    while (this.#mode !== "halted") {
      if (this.#mode !== "header") at = this.#body(chunk, at);
      else if (at === chunk.length || (this.#headerFilled === 0 && this.#handler.paused())) break;
      else at = this.#begin(chunk, at);
      if (this.#mode !== "header" && at === chunk.length) break;
    }
    this.flush();
    this.#chunk = this.#header;
    this.#runStart = 0;
    this.#runEnd = 0;
    return at;
  }

  /** Reads a header, or the part of one that is there, and what follows it where that is whole. Returns where it stopped. */
  #begin(chunk: Buffer, at: number): number {
    const whole = this.#headerFilled === 0 && chunk.length - at >= HEADER;
    let bodyAt = at + HEADER;
    let header = chunk;
    let headerAt = at;
    if (!whole) {
      const take = Math.min(HEADER - this.#headerFilled, chunk.length - at);
      chunk.copy(this.#header, this.#headerFilled, at, at + take);
      this.#headerFilled += take;
      if (this.#headerFilled < HEADER) return at + take;
      this.#headerFilled = 0;
      bodyAt = at + take;
      header = this.#header;
      headerAt = 0;
    }
    this.#type = header.readUInt8(headerAt);
    const length = header.readInt32BE(headerAt + 1) - 4;
    if (length < 0) {
      this.#mode = "halted";
      this.#handler.badLength(this.#type);
      return chunk.length;
    }
    const handling = this.#handler.head(this.#type, length);
    this.#left = length;
    switch (handling) {
      case "halt":
        this.#mode = "halted";
        return chunk.length;
      case "skip":
        this.#mode = length === 0 ? "header" : "skip";
        return bodyAt;
      case "stream":
        this.#streamed = true;
        // A small body that is not all here is gathered, so that what went on ends at a message's end nearly always.
        if (chunk.length - bodyAt < length && length <= FIRST_PIECE) return this.#gather(header, headerAt, bodyAt);
        return this.#stream(chunk, bodyAt, whole ? at : -1, true);
      case "assemble":
        this.#streamed = false;
        if (chunk.length - bodyAt >= length) return this.#whole(chunk, whole ? at : -1, bodyAt, bodyAt + length);
        return this.#gather(header, headerAt, bodyAt);
      default:
        return unreachable(handling);
    }
  }

  #gather(header: Buffer, headerAt: number, bodyAt: number): number {
    this.#assembly = Buffer.allocUnsafe(HEADER + Math.min(this.#left, FIRST_PIECE));
    header.copy(this.#assembly, 0, headerAt, headerAt + HEADER);
    this.#assembled = HEADER;
    this.#mode = "assemble";
    return bodyAt;
  }

  #body(chunk: Buffer, at: number): number {
    switch (this.#mode) {
      case "skip": {
        const skip = Math.min(this.#left, chunk.length - at);
        this.#left -= skip;
        if (this.#left === 0) this.#mode = "header";
        return at + skip;
      }
      case "stream":
        return this.#stream(chunk, at, -1, false);
      case "assemble":
        return this.#assemble(chunk, at);
      case "header":
      case "halted":
        return at;
      default:
        return unreachable(this.#mode);
    }
  }

  /** `headerAt`: where the header lies in this chunk, or -1 when it came in an earlier one. Nothing of a refused part goes on. */
  #stream(chunk: Buffer, at: number, headerAt: number, first: boolean): number {
    const to = at + Math.min(this.#left, chunk.length - at);
    this.#left -= to - at;
    this.#mode = this.#left === 0 ? "header" : "stream";
    if (!this.#handler.part(this.#type, chunk, at, to, first, this.#left === 0)) {
      this.#mode = "halted";
      return chunk.length;
    }
    this.#passWhole(headerAt, at, to, first);
    return to;
  }

  /** Passes [from, to) of this chunk with the header before it, wherever that is. */
  #passWhole(headerAt: number, from: number, to: number, withHeader: boolean): void {
    if (withHeader && headerAt < 0) {
      this.flush();
      this.#handler.forward(Buffer.from(this.#header));
      this.#runStart = this.#runEnd = from;
    }
    this.#pass(withHeader && headerAt >= 0 ? headerAt : from, to);
  }

  #assemble(chunk: Buffer, at: number): number {
    const take = Math.min(this.#left, chunk.length - at);
    if (this.#assembled + take > this.#assembly.length) {
      const size = Math.min(this.#assembled + this.#left, 2 * (this.#assembled + take));
      const larger = Buffer.allocUnsafe(size);
      this.#assembly.copy(larger, 0, 0, this.#assembled);
      this.#assembly = larger;
    }
    chunk.copy(this.#assembly, this.#assembled, at, at + take);
    this.#assembled += take;
    this.#left -= take;
    if (this.#left > 0) return at + take;
    const bytes = this.#assembly.subarray(0, this.#assembled);
    this.#assembly = this.#header;
    this.#mode = "header";
    const verdict = this.#streamed ? this.#gathered(bytes) : this.#handler.message(this.#type, bytes.subarray(HEADER));
    if (verdict === "pass") {
      this.flush();
      this.#handler.forward(bytes);
    }
    if (verdict === "halt") this.#mode = "halted";
    return at + take;
  }

  #gathered(bytes: Buffer): Verdict {
    return this.#handler.part(this.#type, bytes, HEADER, bytes.length, true, true) ? "pass" : "halt";
  }

  /** A message whose body lies in this chunk; `headerAt` is -1 when its header began in an earlier one. */
  #whole(chunk: Buffer, headerAt: number, bodyAt: number, end: number): number {
    const verdict = this.#handler.message(this.#type, chunk.subarray(bodyAt, end));
    if (verdict === "halt") {
      this.#mode = "halted";
      return chunk.length;
    }
    if (verdict === "pass") this.#passWhole(headerAt, bodyAt, end, true);
    return end;
  }
}
