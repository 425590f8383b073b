/**
 * A cursor over one message's body. Reading past the end, a missing terminator or bad UTF-8 marks the reader as
 * failed; every later read then gives zero or empty, and `finish()` says so. So a decoder reads straight on and
 * asks once, and a body with bytes left over is as wrong as one with too few (PG-13: exact consumption).
 */

/** `ignoreBOM`: a leading U+FEFF is part of the text. Dropping it would let the parser see another text than the server. */
const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class BodyReader {
  readonly #bytes: Buffer;
  #at: number;
  #failure: string | null = null;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  get failed(): boolean {
    return this.#failure !== null;
  }

  fail(why: string): void {
    this.#failure ??= why;
    this.#at = this.#bytes.length;
  }

  #take(count: number): number {
    if (count < 0 || count > this.left) {
      this.fail("truncated");
      return -1;
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }

  byte(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : this.#bytes.readUInt8(at);
  }

  int16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#bytes.readInt16BE(at);
  }

  /** Counts of Bind, RowDescription, …: Int16 on the wire, read unsigned as the server does for parameters. */
  uint16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#bytes.readUInt16BE(at);
  }

  int32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#bytes.readInt32BE(at);
  }

  uint32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#bytes.readUInt32BE(at);
  }

  /** A view of the body, not a copy. */
  bytes(count: number): Buffer {
    const at = this.#take(count);
    return at < 0 ? this.#bytes.subarray(0, 0) : this.#bytes.subarray(at, at + count);
  }

  /** Everything that is left. */
  rest(): Buffer {
    return this.bytes(this.left);
  }

  #cstringEnd(): number {
    const end = this.#failure === null ? this.#bytes.indexOf(0, this.#at) : -1;
    if (end < 0) this.fail("string without terminator");
    return end;
  }

  /** A NUL-terminated string that must be well-formed UTF-8: what is decoded is, byte for byte, what was sent. */
  cstring(): string {
    const end = this.#cstringEnd();
    if (end < 0) return "";
    const from = this.#at;
    this.#at = end + 1;
    if (end === from) return "";
    try {
      return STRICT.decode(this.#bytes.subarray(from, end));
    } catch {
      this.fail("text is not UTF-8");
      return "";
    }
  }

  /** A NUL-terminated string of the target, whose database may hold bytes that are not UTF-8 (SQL_ASCII): those become U+FFFD. */
  lossyCstring(): string {
    const end = this.#cstringEnd();
    if (end < 0) return "";
    const text = this.#bytes.toString("utf8", this.#at, end);
    this.#at = end + 1;
    return text;
  }

  /** Null when the body was read exactly to its end, else what was wrong. */
  finish(): string | null {
    if (this.#failure === null && this.left > 0) this.#failure = `${this.left} bytes after the end`;
    return this.#failure;
  }
}
