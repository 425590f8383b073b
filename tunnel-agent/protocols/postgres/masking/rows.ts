/**
 * Masks rows by a column plan: DataRow bodies in, DataRow bodies or messages out (manual section 55.7: Int16 count of columns,
 * then for each an Int32 length, -1 for NULL, and that many bytes).
 *
 * Guarantees: a cell that the plan masks never leaves as it came; NULL stays NULL; all other bytes are copied as they are;
 * a row is checked to its last byte (PG-57). Where the mask does not depend on the value, the value is not read.
 * Does not: know which column is sensitive. The plan says so, and a row with another number of columns is malformed.
 */
import type { ColumnPlan, MaskCounts } from "./types.ts";
import { createScan } from "./values/scan.ts";
import { createValueMask } from "./values/index.ts";
import type { MaskOf } from "./values/mask.ts";

export interface RowMaskerOptions {
  /** The site's masking key. */
  readonly key: Uint8Array;
  /** Added to as values are masked, by class. */
  readonly counts: MaskCounts;
}

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

/** What is done with a cell; `undefined`: it passes. */
interface Cell {
  readonly class: string;
  /** For masks that do not depend on the value; null is NULL. */
  readonly constant: Buffer | null | undefined;
  readonly of: MaskOf | undefined;
}

const DATA_ROW = 0x44;
const HEADER = 5;
/** Bytes of one block that rows are put into; longer rows get one of their own. */
const BLOCK = 64 * 1024;
/** Up to here a loop copies faster than a call. */
const FEW = 24;

function compile(plan: ColumnPlan, { key, counts }: RowMaskerOptions): (Cell | undefined)[] {
  return plan.map((column): Cell | undefined => {
    if (column === null) return undefined;
    if ("scan" in column) {
      const of = createScan(column, key, counts);
      // Its findings count themselves, by their own classes.
      return of === null ? undefined : { class: "", constant: undefined, of };
    }
    const mask = createValueMask(column, key);
    if (mask.kind === "constant") return { class: column.class, constant: mask.bytes, of: undefined };
    return { class: column.class, constant: undefined, of: mask.of };
  });
}

export function createRowMasker(plan: ColumnPlan, options: RowMaskerOptions): RowMasker {
  const { counts } = options;
  const cells = compile(plan, options);
  const columns = cells.length;
  /** Of the row at hand: where each changed cell's length field begins, where the cell ends, and what replaces it. */
  const starts = new Int32Array(columns);
  const ends = new Int32Array(columns);
  const masked: (Buffer | null)[] = Array.from({ length: columns }, () => null);
  let changed = 0;
  /** Length of the masked body. */
  let size = 0;

  const count = (name: string): void => {
    if (name !== "") counts.set(name, (counts.get(name) ?? 0) + 1);
  };

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
      const from = at + 4;
      if (length < 0) {
        if (length !== -1) return false;
        at = from;
        continue;
      }
      if (length > end - from) return false;
      const cell = cells[i];
      if (cell !== undefined) {
        let bytes = cell.constant;
        if (bytes === undefined) {
          const value = body.subarray(from, from + length);
          bytes = cell.of === undefined ? null : cell.of(value);
          if (bytes === value) {
            at = from + length;
            continue;
          }
        }
        count(cell.class);
        starts[changed] = at;
        ends[changed] = from + length;
        masked[changed] = bytes;
        changed++;
        size += (bytes === null ? 0 : bytes.length) - length;
      }
      at = from + length;
    }
    return at === end;
  };

  /** Puts the row at hand at out[to…]. */
  const write = (body: Buffer, out: Buffer, to: number): void => {
    let at = to;
    let from = 0;
    for (let i = 0; i < changed; i++) {
      const start = starts[i] ?? 0;
      at = copy(body, from, start, out, at);
      const bytes = masked[i] ?? null;
      if (bytes === null) {
        out.writeInt32BE(-1, at);
        at += 4;
      } else {
        out.writeInt32BE(bytes.length, at);
        at = copy(bytes, 0, bytes.length, out, at + 4);
      }
      from = ends[i] ?? 0;
    }
    copy(body, from, body.length, out, at);
  };

  let block = Buffer.alloc(0);
  let filled = 0;
  let taken = 0;
  /** Blocks that filled up and were not taken yet. */
  let full: Buffer[] = [];

  /** Room for so many bytes; where they begin in `block`. */
  const room = (bytes: number): number => {
    if (block.length - filled < bytes) {
      if (filled > taken) full.push(block.subarray(taken, filled));
      block = Buffer.allocUnsafeSlow(Math.max(BLOCK, bytes));
      filled = 0;
      taken = 0;
    }
    const at = filled;
    filled += bytes;
    return at;
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
      const at = room(HEADER + size);
      block.writeUInt8(DATA_ROW, at);
      block.writeInt32BE(size + 4, at + 1);
      write(body, block, at + HEADER);
      return true;
    },
    take() {
      const last = filled > taken ? block.subarray(taken, filled) : null;
      taken = filled;
      if (full.length === 0) return last;
      const all = last === null ? full : [...full, last];
      full = [];
      return all.length === 1 ? (all[0] ?? null) : Buffer.concat(all);
    },
  };
}

/** Copies from[start, end) to to[at…]; returns where it ended. */
function copy(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  if (end - start > FEW) {
    from.copy(to, at, start, end);
    return at + end - start;
  }
  let write = at;
  for (let read = start; read < end; read++) to[write++] = from[read] ?? 0;
  return write;
}
