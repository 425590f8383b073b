/**
 * Where each statement of a text stands. The parser says it in bytes of UTF-8 (RawStmt's stmt_location and stmt_len, which
 * end before the semicolon); here it is UTF-16 indexes, without PostgreSQL's white space around.
 */
import type { RawStmt } from "libpg-query";

const BEFORE = /^[ \t\n\r\f\v]+/;
const AFTER = /[ \t\n\r\f\v]+$/;

export function spansOf(parsed: readonly RawStmt[], sql: string): (readonly [start: number, end: number])[] {
  const toIndex = /[\u0080-\uffff]/.test(sql) ? indexer(sql) : (byte: number): number => byte;
  return parsed.map(({ stmt_location: location = 0, stmt_len: length = 0 }) => {
    const from = toIndex(location);
    const to = length === 0 ? sql.length : toIndex(location + length);
    const text = sql.slice(from, to);
    const start = from + (BEFORE.exec(text)?.[0].length ?? 0);
    return [start, Math.max(start, to - (AFTER.exec(text)?.[0].length ?? 0))] as const;
  });
}

/** Bytes to indexes, asked in rising order: one pass over the text. */
function indexer(sql: string): (byte: number) => number {
  const bytes = Buffer.from(sql, "utf8");
  let [byte, index] = [0, 0];
  return (wanted) => {
    if (wanted < byte) [byte, index] = [0, 0];
    index += bytes.toString("utf8", byte, wanted).length;
    byte = wanted;
    return index;
  };
}
