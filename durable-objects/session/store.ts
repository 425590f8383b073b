/**
 * What a session keeps, in its object's SQLite: one row, read once when an instance starts and written whole at
 * each change. Two JSON columns, since nothing is ever looked up inside; `v` names their form.
 */
import type { SessionFacts } from "./facts.ts";
import type { SessionRecord } from "./record.ts";

const FORM = 1;

export interface StoredSession {
  readonly facts: SessionFacts;
  readonly record: SessionRecord;
}

export class SessionStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** null: never opened here, or forgotten. Throws on a form that this version does not know. */
  load(): StoredSession | null {
    // The table is made by create() alone: whoever asks for ids that do not exist leaves nothing behind.
    if (this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'session'").toArray().length === 0) return null;
    const row = this.#sql.exec<{ v: number; facts: string; record: string }>("SELECT v, facts, record FROM session").toArray()[0];
    if (row === undefined) return null;
    if (row.v !== FORM) throw new Error(`session stored in form ${row.v}; this version reads form ${FORM}`);
    return { facts: JSON.parse(row.facts) as SessionFacts, record: JSON.parse(row.record) as SessionRecord };
  }

  create(facts: SessionFacts, record: SessionRecord): void {
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS session (
      one INTEGER PRIMARY KEY CHECK (one = 1), v INTEGER NOT NULL, facts TEXT NOT NULL, record TEXT NOT NULL) STRICT`);
    const insert = "INSERT INTO session (one, v, facts, record) VALUES (1, ?, ?, ?)";
    this.#sql.exec(insert, FORM, JSON.stringify(facts), JSON.stringify(record));
  }

  save(record: SessionRecord): void {
    this.#sql.exec("UPDATE session SET record = ?", JSON.stringify(record));
  }
}
