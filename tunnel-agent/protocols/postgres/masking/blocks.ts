/**
 * Collects messages that are written piece by piece into blocks, so that many small ones leave as one buffer. A block that
 * was taken from is never written again where it was taken.
 */

/** Type and Int32 length, which counts itself. */
const HEADER = 5;
/** Bytes of one block; longer messages get one of their own. */
const BLOCK = 64 * 1024;
/** Up to here a loop copies faster than a call. */
const FEW = 24;

export class MessageBlocks {
  /** Where the message that was begun last is to be written. */
  block: Buffer = Buffer.alloc(0);
  readonly #type: number;
  #filled = 0;
  #taken = 0;
  /** Blocks that filled up and were not taken yet. */
  #full: Buffer[] = [];

  constructor(type: number) {
    this.#type = type;
  }

  /** Begins a message whose body has this length, and returns where in `block` the body belongs; all of it must be written. */
  begin(length: number): number {
    const size = HEADER + length;
    if (this.block.length - this.#filled < size) {
      if (this.#filled > this.#taken) this.#full.push(this.block.subarray(this.#taken, this.#filled));
      this.block = Buffer.allocUnsafeSlow(Math.max(BLOCK, size));
      this.#filled = 0;
      this.#taken = 0;
    }
    const at = this.#filled;
    this.block[at] = this.#type;
    this.block.writeInt32BE(length + 4, at + 1);
    this.#filled = at + size;
    return at + HEADER;
  }

  /** All messages since the last take; null when there are none. */
  take(): Buffer | null {
    const last = this.#filled > this.#taken ? this.block.subarray(this.#taken, this.#filled) : null;
    this.#taken = this.#filled;
    if (this.#full.length === 0) return last;
    const all = last === null ? this.#full : [...this.#full, last];
    this.#full = [];
    return all.length === 1 ? (all[0] ?? null) : Buffer.concat(all);
  }
}

/** Copies from[start, end) to to[at…]; returns where it ended. */
export function copy(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  if (end - start > FEW) {
    from.copy(to, at, start, end);
    return at + end - start;
  }
  let write = at;
  for (let read = start; read < end; read++) to[write++] = from[read] ?? 0;
  return write;
}
