/**
 * Builds messages one after the other into slabs, so that what one turn of a machine says goes out in one write.
 * Bytes that were handed out are never touched again: a socket may hold them for as long as it likes.
 */
const SLAB = 16 * 1024;

export class MessageWriter {
  #slab: Buffer = Buffer.allocUnsafe(SLAB);
  /** Where the bytes not yet handed out begin and end. */
  #start = 0;
  #end = 0;
  #lengthAt = 0;

  #room(count: number): void {
    if (this.#end + count <= this.#slab.length) return;
    const pending = this.#end - this.#start;
    const larger = Buffer.allocUnsafe(Math.max(SLAB, 2 * (pending + count)));
    this.#slab.copy(larger, 0, this.#start, this.#end);
    this.#lengthAt -= this.#start;
    this.#slab = larger;
    this.#start = 0;
    this.#end = pending;
  }

  /** Begins a message: its type byte, unless it is 0 (startup packets have none), and room for the length. */
  begin(type: number): this {
    this.#room(5);
    if (type !== 0) this.#end = this.#slab.writeUInt8(type, this.#end);
    this.#lengthAt = this.#end;
    this.#end += 4;
    return this;
  }

  byte(value: number): this {
    this.#room(1);
    this.#end = this.#slab.writeUInt8(value, this.#end);
    return this;
  }

  /** 0–65535; signed values as two's complement. */
  int16(value: number): this {
    this.#room(2);
    this.#end = this.#slab.writeUInt16BE(value & 0xffff, this.#end);
    return this;
  }

  int32(value: number): this {
    this.#room(4);
    this.#end = this.#slab.writeInt32BE(value | 0, this.#end);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length);
    this.#slab.set(value, this.#end);
    this.#end += value.length;
    return this;
  }

  /** UTF-8 and a NUL. The text holds no NUL: it came from a decoder of such strings or from the gateway itself. */
  cstring(text: string): this {
    const most = text.length * 3 + 1;
    this.#room(most);
    this.#end += this.#slab.write(text, this.#end, "utf8");
    this.#end = this.#slab.writeUInt8(0, this.#end);
    return this;
  }

  /** Ends the message that was begun: fills its length in. */
  end(): this {
    this.#slab.writeInt32BE(this.#end - this.#lengthAt, this.#lengthAt);
    return this;
  }

  get pending(): number {
    return this.#end - this.#start;
  }

  /** All ended messages since the last call, or null. */
  take(): Buffer | null {
    if (this.#end === this.#start) return null;
    const bytes = this.#slab.subarray(this.#start, this.#end);
    this.#start = this.#end;
    if (this.#slab.length > SLAB) {
      // Grown for a large message: it is the receiver's now, and not kept for small ones.
      this.#slab = Buffer.allocUnsafe(SLAB);
      this.#start = 0;
      this.#end = 0;
    }
    return bytes;
  }
}

/** One message alone. */
export function single(write: (writer: MessageWriter) => void): Buffer {
  const writer = new MessageWriter();
  write(writer);
  return writer.take() ?? Buffer.alloc(0);
}
