/**
 * Checks DataRows as their bytes pass, without copying them: Int16 count of columns, then for each column an Int32
 * length (-1 is NULL) and that many bytes, which together must fill the message exactly (PG-57: column mismatch,
 * length -2, bytes left over).
 */

/** The number of columns of a whole row whose body is bytes[from, to); -1 when it is malformed. */
export function checkDataRow(bytes: Buffer, from: number, to: number): number {
  if (to - from < 2) return -1;
  const columns = bytes.readUInt16BE(from);
  let at = from + 2;
  for (let i = 0; i < columns; i++) {
    if (to - at < 4) return -1;
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length === -1) continue;
    if (length < 0 || length > to - at) return -1;
    at += length;
  }
  return at === to ? columns : -1;
}

/** The same for a row that comes in parts. One scanner is reused for row after row. */
export class DataRowScanner {
  #left = 0;
  #columnsLeft = -1;
  #columns = 0;
  #fieldLeft = 0;
  /** Bytes of a count or length that straddles two parts. */
  #number = 0;
  #numberBytes = 0;

  /** `length`: the body's. */
  begin(length: number): void {
    this.#left = length;
    this.#columnsLeft = -1;
    this.#fieldLeft = 0;
    this.#number = 0;
    this.#numberBytes = 0;
  }

  /** Feeds bytes[from, to), at most what is left of the body. False when the row is malformed. */
  scan(bytes: Buffer, from: number, to: number): boolean {
    let at = from;
    while (at < to) {
      if (this.#fieldLeft > 0) {
        const skip = Math.min(this.#fieldLeft, to - at);
        this.#fieldLeft -= skip;
        this.#left -= skip;
        at += skip;
        continue;
      }
      if (this.#columnsLeft === 0) return false;
      this.#number = (this.#number << 8) | bytes.readUInt8(at);
      this.#numberBytes++;
      this.#left--;
      at++;
      if (this.#columnsLeft < 0) {
        if (this.#numberBytes === 2) {
          this.#columns = this.#number;
          this.#columnsLeft = this.#number;
          this.#number = 0;
          this.#numberBytes = 0;
        }
      } else if (this.#numberBytes === 4) {
        if (this.#number < -1 || this.#number > this.#left) return false;
        this.#fieldLeft = Math.max(this.#number, 0);
        this.#columnsLeft--;
        this.#number = 0;
        this.#numberBytes = 0;
      }
    }
    return true;
  }

  /** After the last part: the number of columns, or -1 when the row ended too early. */
  finish(): number {
    return this.#columnsLeft === 0 && this.#fieldLeft === 0 && this.#left === 0 ? this.#columns : -1;
  }
}
