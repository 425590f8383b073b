/**
 * Masks rows by a column plan: DataRow bodies in, DataRow bodies or messages out (manual section 55.7: Int16 count of columns,
 * then for each an Int32 length, -1 for NULL, and that many bytes).
 *
 * Guarantees: a cell that the plan masks never leaves as it came; NULL stays NULL; all other bytes are copied as they are;
 * a row is checked to its last byte (PG-57). Where the mask does not depend on the value, the value is not read.
 * Does not: know which column is sensitive. The plan says so, and a row with another number of columns is malformed.
 */
import { copy, MessageBlocks } from "./blocks.ts";
import { compilePlan, count, type CellOptions } from "./cells.ts";
import type { ColumnPlan } from "./types.ts";

export type MaskedRow = Buffer | null | "malformed";

export interface RowMasker {
  /** A whole row's body: its masked body; null when nothing of it changed; "malformed" is a violation of the target's. */
  mask(body: Buffer): MaskedRow;
  /**
   * The same for many rows at little cost: puts the row's whole message, type and length included, after those before it,
   * changed or not. False when it is malformed; then nothing was put.
   */
  append(body: Buffer): boolean;
  /** Messages put since the last take, as one buffer that is the caller's to keep; null when there are none. */
  take(): Buffer | null;
}

const DATA_ROW = 0x44;

export function createRowMasker(plan: ColumnPlan, options: CellOptions): RowMasker {
  const { counts } = options;
  const cells = compilePlan(plan, options);
  const columns = cells.length;
  const blocks = new MessageBlocks(DATA_ROW);
  /** Of the row at hand: where each changed cell's length field begins, where the cell ends, and what replaces it. */
  const starts = new Int32Array(columns);
  const ends = new Int32Array(columns);
  const masked: (Buffer | null)[] = Array.from({ length: columns }, () => null);
  let changed = 0;
  /** Length of the masked body. */
  let size = 0;

  /** Masks the cells of a row, to be put together later. False when it is malformed. */
  const read = (body: Buffer): boolean => {
    changed = 0;
    const end = body.length;
    size = end;
    if (end < 2 || body.readUInt16BE(0) !== columns) return false;
    let at = 2;
    for (let i = 0; i < columns; i++) {
      if (end - at < 4) return false;
      const length = body.readInt32BE(at);
      const start = at;
      at += 4;
      if (length < -1 || length > end - at) return false;
      if (length === -1) continue;
      at += length;
      const cell = cells[i];
      if (cell === undefined) continue;
      const { mask } = cell;
      let bytes: Buffer | null;
      if (mask.kind === "constant") bytes = mask.bytes;
      else {
        const value = body.subarray(start + 4, at);
        bytes = mask.of(value);
        if (bytes === value) continue;
      }
      count(counts, cell);
      starts[changed] = start;
      ends[changed] = at;
      masked[changed] = bytes;
      changed++;
      size += (bytes === null ? 0 : bytes.length) - length;
    }
    return at === end;
  };

  /** Puts the row at hand at out[to…]. */
  const write = (body: Buffer, out: Buffer, to: number): void => {
    let at = to;
    let from = 0;
    for (let i = 0; i < changed; i++) {
      at = copy(body, from, starts[i] ?? 0, out, at);
      const bytes = masked[i] ?? null;
      out.writeInt32BE(bytes === null ? -1 : bytes.length, at);
      at += 4;
      if (bytes !== null) at = copy(bytes, 0, bytes.length, out, at);
      from = ends[i] ?? 0;
    }
    copy(body, from, body.length, out, at);
  };

  return {
    mask(body) {
      if (!read(body)) return "malformed";
      if (changed === 0) return null;
      const out = Buffer.allocUnsafe(size);
      write(body, out, 0);
      return out;
    },
    append(body) {
      if (!read(body)) return false;
      const at = blocks.begin(size);
      write(body, blocks.block, at);
      return true;
    },
    take: () => blocks.take(),
  };
}
