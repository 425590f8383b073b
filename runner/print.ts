/**
 * What people read on a terminal: tables, times, and text of others made harmless. Statements, branch names and the
 * like come from jobs that may be hostile, so control characters and direction overrides are shown as escapes
 * (GW-13, GW-22).
 */
import { visibleLine, visibleLines } from "../protocol/visible.ts";

/** One line: every unsafe character escaped. */
export const plain = visibleLine;

/** Several lines: newlines and tabs are kept. */
export const plainLines = visibleLines;

/** ms since the epoch → `2026-11-22 08:15:02Z`. */
export const when = (ms: number | null): string => (ms === null ? "–" : `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}Z`);

/** At most `width` characters, the cut shown. */
export const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

/** A table with a header; the last column is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows].map((row) => row.map(plain));
  const widths = header.map((_, column) => Math.max(...lines.map((row) => row[column]?.length ?? 0)));
  return lines
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

export const out = (text: string): void => void process.stdout.write(`${text}\n`);
export const note = (text: string): void => void process.stderr.write(`sallyport: ${text}\n`);
export const json = (value: unknown): void => out(JSON.stringify(value, null, 2));

/** Rows as a table, or with `asJson` the page as it is; says when there is more. */
export function listing<T>(
  page: { readonly rows: readonly T[]; readonly cursor: string | null },
  asJson: boolean,
  header: readonly string[],
  cells: (row: T) => readonly string[],
  nothing: string,
): void {
  if (asJson) return json(page);
  if (page.rows.length === 0) return note(nothing);
  out(table(header, page.rows.map(cells)));
  if (page.cursor !== null) note(`there are more: add --cursor ${page.cursor}`);
}
