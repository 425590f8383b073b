/**
 * Newest-first paging over (time, key): the cursor is the last row's pair, so rows that arrive meanwhile move
 * nothing. Also the list of SQL conditions that the filters of a list build. No I/O.
 *
 * A cursor is opaque to clients but not secret: it names only where to go on, and every query still carries
 * its own authorisation conditions.
 */
import { err, ok, type Result } from "../protocol/result.ts";

export const DEFAULT_PAGE = 50;
export const MAX_PAGE = 200;

export interface Cursor {
  /** ms since the epoch. */
  readonly at: number;
  readonly key: string;
}

export interface PageRequest {
  readonly limit: number;
  readonly cursor: Cursor | null;
}

export interface Page<Row> {
  readonly rows: Row[];
  readonly cursor: string | null;
}

const CURSOR = /^(\d{1,15})\.([a-z0-9._-]{1,64})$/;

export const formatCursor = (cursor: Cursor): string => `${cursor.at}.${cursor.key}`;

export function parseCursor(text: string): Result<Cursor, string> {
  const [, at, key] = CURSOR.exec(text) ?? [];
  return at === undefined || key === undefined ? err("not a cursor of this list") : ok({ at: Number(at), key });
}

/** A value D1 can bind. */
export type Bind = string | number | null;

/** Conditions joined by AND, each with its own parameters in order. */
export class Conditions {
  readonly #sql: string[] = [];
  readonly #binds: Bind[] = [];

  add(sql: string, ...binds: Bind[]): this {
    this.#sql.push(sql);
    this.#binds.push(...binds);
    return this;
  }

  /** Adds the condition when the value is given. */
  when(value: string | number | undefined, sql: string): this {
    return value === undefined ? this : this.add(sql, value);
  }

  /** Everything strictly after the cursor in the order `at DESC, key DESC`. */
  after(cursor: Cursor | null, at: string, key: string, bindKey: (key: string) => Bind = (text) => text): this {
    return cursor === null ? this : this.add(`(${at}, ${key}) < (?, ?)`, cursor.at, bindKey(cursor.key));
  }

  get where(): string {
    return this.#sql.length === 0 ? "" : `WHERE ${this.#sql.map((sql) => `(${sql})`).join(" AND ")}`;
  }

  get binds(): readonly Bind[] {
    return this.#binds;
  }
}

/** Makes a page of up to `limit` rows from a query that asked for one more. */
export function pageOf<Stored, Row>(
  stored: readonly Stored[],
  limit: number,
  cursorOf: (row: Stored) => Cursor,
  toRow: (row: Stored) => Row,
): Page<Row> {
  const rows = stored.slice(0, limit);
  const last = rows.at(-1);
  const more = stored.length > limit && last !== undefined;
  return { rows: rows.map(toRow), cursor: more ? formatCursor(cursorOf(last)) : null };
}
