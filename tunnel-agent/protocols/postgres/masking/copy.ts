/**
 * Masks what COPY TO STDOUT sends, in the text and CSV formats, in UTF-8 (PG-20).
 *
 * Guarantees: rows are put together from pieces that split anywhere; a masked field never leaves as it came; NULL stays
 * NULL; all other bytes are those that came; no more than one row of `maxRow` bytes is kept.
 * Does not: mask the binary format, which the caller refuses, and other encodings than UTF-8 (COPY's ENCODING option),
 * where a byte of a character may look like a delimiter: it refuses those too.
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { copy, MessageBlocks } from "./blocks.ts";
import { compilePlan, count, type Cell, type CellOptions } from "./cells.ts";
import { createCsvFormat } from "./copy-csv.ts";
import type { CopyFormat } from "./copy-format.ts";
import { createTextFormat } from "./copy-text.ts";
import type { ColumnPlan } from "./types.ts";

export interface CopyMaskerOptions extends CellOptions {
  readonly format: "text" | "csv";
  /** One byte each. Defaults are COPY's own: tab or comma, `\N` or nothing, double quotes, the quote as its own escape. */
  readonly delimiter?: string | undefined;
  readonly nullString?: string | undefined;
  readonly quote?: string | undefined;
  readonly escape?: string | undefined;
  /** Whether the first row is the columns' names: it passes. */
  readonly header: boolean;
  /** One entry a column of the copy; their formats are ignored, since COPY writes the text format of each type. */
  readonly plan: ColumnPlan;
  /** Longest row, bytes. */
  readonly maxRow: number;
}

/**
 * `options`: a delimiter, quote or escape that is not one byte; `row-too-long`; `columns`: a row with another number of
 * fields than the plan; `cut-off`: the end came inside of a row.
 */
export type CopyFailure = "options" | "row-too-long" | "columns" | "cut-off";

export interface CopyMasker {
  /**
   * The rows that are whole by now, each a buffer that ends in its newline: the data of one CopyData each. They may be
   * slices of `bytes`. After a failure nothing more may be pushed.
   */
  push(bytes: Buffer): Result<Buffer[], CopyFailure>;
  /** The same for many rows at little cost: puts whole CopyData messages, type and length included, one a row. */
  append(bytes: Buffer): Result<null, CopyFailure>;
  /** Messages put since the last take, as one buffer that is the caller's to keep; null when there are none. */
  take(): Buffer | null;
  /** CopyDone came. */
  end(): Result<null, CopyFailure>;
}

const COPY_DATA = 0x64;

function createFormat(options: CopyMaskerOptions): CopyFormat | null {
  const csv = options.format === "csv";
  const oneByte = (text: string): number => (text.length === 1 && text.charCodeAt(0) < 0x80 ? text.charCodeAt(0) : -1);
  const quoteText = options.quote ?? '"';
  const delimiter = oneByte(options.delimiter ?? (csv ? "," : "\t"));
  const nullString = Buffer.from(options.nullString ?? (csv ? "" : "\\N"), "utf8");
  const quote = oneByte(quoteText);
  const escape = oneByte(options.escape ?? quoteText);
  if (delimiter < 0 || quote < 0 || escape < 0) return null;
  return csv ? createCsvFormat(delimiter, nullString, quote, escape) : createTextFormat(delimiter, nullString);
}

export function createCopyMasker(options: CopyMaskerOptions): Result<CopyMasker, CopyFailure> {
  const format = createFormat(options);
  if (format === null) return err("options");
  const { maxRow, counts } = options;
  const columns = options.plan.length;
  const cells = compilePlan(options.plan, options, 0).filter((cell) => cell !== undefined);
  /** What replaces a field by a mask that is the same for every value, without quotes and with. */
  const constants = cells.map(({ mask }) =>
    mask.kind === "constant" ? { bare: format.encode(mask.bytes, false), quoted: format.encode(mask.bytes, true) } : null,
  );
  const blocks = new MessageBlocks(COPY_DATA);
  const ends = new Int32Array(columns);
  /** Of the row at hand: the bounds of its changed fields, and what replaces them. */
  const changedFrom = new Int32Array(columns);
  const changedTo = new Int32Array(columns);
  const masked: Buffer[] = [];
  let changed = 0;
  let size = 0;
  let { header } = options;
  /** A row whose end has not come: its first `kept` bytes. */
  let held = Buffer.alloc(0);
  let kept = 0;

  const keep = (piece: Buffer): void => {
    if (held.length - kept < piece.length) {
      const larger = Buffer.allocUnsafe(Math.min(maxRow, 2 * (kept + piece.length)));
      held.copy(larger, 0, 0, kept);
      held = larger;
    }
    piece.copy(held, kept);
    kept += piece.length;
  };

  /** What a field becomes; undefined when it stays. */
  const maskField = (cell: Cell, index: number, row: Buffer, from: number, to: number): Buffer | undefined => {
    const field = row.subarray(from, to);
    if (format.isNull(field)) return undefined;
    const quoted = format.isQuoted(row, from);
    const constant = constants[index] ?? null;
    if (constant !== null) return quoted ? constant.quoted : constant.bare;
    if (cell.mask.kind === "constant") return format.encode(cell.mask.bytes, quoted);
    const value = format.decode(field);
    const out = cell.mask.of(value);
    return out === value ? undefined : format.encode(out, quoted);
  };

  /** Masks the fields of a row, to be put together later. False when it has another number of them than the plan. */
  const read = (row: Buffer): boolean => {
    changed = 0;
    size = row.length;
    if (format.split(row, 0, row.length - 1, ends) !== columns) return false;
    if (header) {
      header = false;
      return true;
    }
    for (const [index, cell] of cells.entries()) {
      const from = cell.column === 0 ? 0 : (ends[cell.column - 1] ?? 0) + 1;
      const to = ends[cell.column] ?? 0;
      const field = maskField(cell, index, row, from, to);
      if (field === undefined) continue;
      count(counts, cell);
      changedFrom[changed] = from;
      changedTo[changed] = to;
      masked[changed] = field;
      changed++;
      size += field.length - (to - from);
    }
    return true;
  };

  /** Puts the row at hand at out[to…]. */
  const write = (row: Buffer, out: Buffer, to: number): void => {
    let at = to;
    let from = 0;
    for (let i = 0; i < changed; i++) {
      at = copy(row, from, changedFrom[i] ?? 0, out, at);
      const field = masked[i];
      if (field !== undefined) at = copy(field, 0, field.length, out, at);
      from = changedTo[i] ?? 0;
    }
    copy(row, from, row.length, out, at);
  };

  /** Cuts into rows, masks each, and says when one is ready to be written. */
  const cut = (bytes: Buffer, ready: (row: Buffer) => void): Result<null, CopyFailure> => {
    let at = 0;
    while (at < bytes.length) {
      const end = format.rowEnd(bytes, at);
      const piece = bytes.subarray(at, end < 0 ? bytes.length : end);
      if (kept + piece.length > maxRow) return err("row-too-long");
      at += piece.length;
      if (kept > 0 || end < 0) keep(piece);
      if (end < 0) break;
      const row = kept === 0 ? piece : held.subarray(0, kept);
      if (!read(row)) return err("columns");
      ready(row);
      // The row may be handed on as it is: the next one does not overwrite it.
      if (kept > 0) held = Buffer.alloc(0);
      kept = 0;
    }
    return ok(null);
  };

  const put = (row: Buffer): void => {
    const at = blocks.begin(size);
    write(row, blocks.block, at);
  };

  return ok({
    push(bytes) {
      const rows: Buffer[] = [];
      const done = cut(bytes, (row) => {
        const out = changed === 0 ? row : Buffer.allocUnsafe(size);
        if (changed > 0) write(row, out, 0);
        rows.push(out);
      });
      return done.ok ? ok(rows) : done;
    },
    append: (bytes) => cut(bytes, put),
    take: () => blocks.take(),
    end: () => (kept === 0 ? ok(null) : err("cut-off")),
  });
}
