/**
 * A recorded result as a small table for a terminal: what the client saw of it, as far as it was kept. Columns are as wide
 * as their widest value up to a limit; longer values are cut, and say so.
 */
import type { RecordingEvent } from "../protocol/recording/event.ts";

type ResultEvent = Extract<RecordingEvent, { type: "result" }>;
type Value = ResultEvent["rows"][number][number];

/** Characters of one value. */
const MAX_WIDTH = 40;
/** Rows that are printed of one event. */
const MAX_ROWS = 20;

/** One line whatever is in it: a value must not look like a line of the transcript (GW-22). */
function printed(value: Value | undefined): string {
  if (value === undefined) return "";
  if (value === null) return "NULL";
  if (typeof value !== "string") return `(${value.bytes} bytes)`;
  const text = value.replaceAll(/[\u0000-\u001F\u007F-\u009F]/g, " ");
  const characters = Array.from(text);
  return characters.length > MAX_WIDTH ? `${characters.slice(0, MAX_WIDTH - 1).join("")}…` : text;
}

/** Indented, and without a newline at its end. */
export function resultTable(event: ResultEvent): string {
  const { columns, rows, truncated, from = 0 } = event;
  const shown = rows.slice(0, MAX_ROWS).map((row) => row.map(printed));
  const count = Math.max(columns.length, ...shown.map((row) => row.length), 0);
  const titles = Array.from({ length: count }, (_, i) => {
    const column = columns[i];
    if (column === undefined) return `column ${i + 1}`;
    return printed(column.class === undefined ? column.name : `${column.name} [${column.class}]`);
  });
  const widths = titles.map((title, i) => Math.max(lengthOf(title), ...shown.map((row) => lengthOf(row[i] ?? ""))));
  const line = (cells: readonly string[]): string => `   │ ${widths.map((width, i) => pad(cells[i] ?? "", width)).join(" │ ")}`.trimEnd();
  const which = event.result === undefined ? "" : `, result ${event.result + 1}`;
  const all = rows.length > shown.length ? [`   │ … ${rows.length - shown.length} more recorded`] : [];
  const cut = truncated ? ["   │ … what follows is not recorded"] : [];
  const head = `   #${event.command}${which}: ${from === 0 ? "" : `rows from ${from + 1}, `}${rows.length} row(s) recorded`;
  return [head, line(titles), ...shown.map(line), ...all, ...cut].join("\n");
}

const lengthOf = (text: string): number => Array.from(text).length;
const pad = (text: string, width: number): string => text + " ".repeat(width - lengthOf(text));
