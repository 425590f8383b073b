/**
 * What an approval keeps, in its object's SQLite: what it is about (written once), its record (written whole at each
 * change), what is still to be told to whom. Every method is one synchronous step. No rules here.
 */
import type { ApprovalChannel } from "../../policy/types.ts";
import type { ApprovalFacts, ApprovalRecord, Notice } from "./facts.ts";

const FORM = 1;

/** Others that must hear of the outcome: the site's object, D1's row. */
export type Debtor = "site" | "index";

interface NoticeRow extends Record<string, SqlStorageValue> {
  n: number;
  channel: string;
  event: string;
  state: string;
  attempts: number;
  error: string | null;
  receipt: string | null;
}

const toNotice = (row: NoticeRow): Notice => ({
  ...(row as unknown as Omit<Notice, "channel">),
  channel: JSON.parse(row.channel) as ApprovalChannel,
});

const NOTICE = "n, channel, event, state, attempts, error, receipt";

export class ApprovalStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** null: never opened here, or forgotten. Throws on a form that this version does not know. */
  load(): { facts: ApprovalFacts; record: ApprovalRecord } | null {
    // The tables are made by create() alone: whoever asks for ids that do not exist leaves nothing behind.
    if (this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'approval'").toArray().length === 0) return null;
    const row = this.#sql.exec<{ v: number; facts: string; record: string }>("SELECT v, facts, record FROM approval").toArray()[0];
    if (row === undefined) return null;
    if (row.v !== FORM) throw new Error(`approval stored in form ${row.v}; this version reads form ${FORM}`);
    return { facts: JSON.parse(row.facts) as ApprovalFacts, record: JSON.parse(row.record) as ApprovalRecord };
  }

  create(facts: ApprovalFacts, record: ApprovalRecord): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS approval (
        one INTEGER PRIMARY KEY CHECK (one = 1), v INTEGER NOT NULL, facts TEXT NOT NULL, record TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS owed (who TEXT PRIMARY KEY, due INTEGER NOT NULL, attempts INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS notices (
        n INTEGER PRIMARY KEY, channel TEXT NOT NULL, event TEXT NOT NULL, state TEXT NOT NULL, due INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0, error TEXT, receipt TEXT) STRICT;
    `);
    const insert = "INSERT INTO approval (one, v, facts, record) VALUES (1, ?, ?, ?)";
    this.#sql.exec(insert, FORM, JSON.stringify(facts), JSON.stringify(record));
  }

  save(record: ApprovalRecord): void {
    this.#sql.exec("UPDATE approval SET record = ?", JSON.stringify(record));
  }

  // ── what is owed ──

  owe(who: Debtor, due: number): void {
    this.#sql.exec(
      "INSERT INTO owed (who, due, attempts) VALUES (?, ?, 0) ON CONFLICT (who) DO UPDATE SET due = excluded.due, attempts = 0",
      who,
      due,
    );
  }

  /** Those due at `now`, which are due again at `lease` unless they are paid or put off sooner. */
  takeOwed(now: number, lease: number): { who: Debtor; attempts: number }[] {
    return this.#sql.exec("UPDATE owed SET due = ? WHERE due <= ? RETURNING who, attempts", lease, now).toArray() as {
      who: Debtor;
      attempts: number;
    }[];
  }

  paid(who: Debtor): void {
    this.#sql.exec("DELETE FROM owed WHERE who = ?", who);
  }

  putOff(who: Debtor, attempts: number, due: number): void {
    this.#sql.exec("UPDATE owed SET attempts = ?, due = ? WHERE who = ?", attempts, due, who);
  }

  // ── notices ──

  addNotice(channel: ApprovalChannel, event: Notice["event"], due: number): void {
    this.#sql.exec("INSERT INTO notices (channel, event, state, due) VALUES (?, ?, 'due', ?)", JSON.stringify(channel), event, due);
  }

  notices(): Notice[] {
    return this.#sql.exec<NoticeRow>(`SELECT ${NOTICE} FROM notices ORDER BY n`).toArray().map(toNotice);
  }

  takeNotices(now: number, lease: number): Notice[] {
    return this.#sql
      .exec<NoticeRow>(`UPDATE notices SET due = ? WHERE state = 'due' AND due <= ? RETURNING ${NOTICE}`, lease, now)
      .toArray()
      .map(toNotice)
      .sort((a, b) => a.n - b.n);
  }

  /** `due`: when it is tried again; null: this is its end. */
  putNotice(n: number, notice: Pick<Notice, "state" | "attempts" | "error" | "receipt">, due: number | null): void {
    const { state, attempts, error, receipt } = notice;
    this.#sql.exec(
      "UPDATE notices SET state = ?, attempts = ?, error = ?, receipt = ?, due = ? WHERE n = ?",
      state,
      attempts,
      error,
      receipt,
      due,
      n,
    );
  }

  /** The earliest of what is owed and of notices; ms since the epoch. */
  firstDue(): number | null {
    return this.#sql
      .exec<{ due: number | null }>(
        "SELECT MIN(due) AS due FROM (SELECT due FROM owed UNION ALL SELECT due FROM notices WHERE state = 'due')",
      )
      .one().due;
  }
}
