/**
 * SQLite of one identity's object. Every method is one synchronous step, so what a caller does between two awaits is
 * atomic. No rules here, but that expired rows are as good as absent.
 *
 * Holds no secret in clear: credentials by SHA-256, single-use keys by digest. All times are ms since the epoch.
 */
import type { Credential, SingleUse } from "./machine.ts";

export interface Revocation {
  readonly at: number;
  readonly by: string;
  readonly reason: string;
}

export interface SessionToEnd {
  readonly session: string;
  readonly admitted_at: number;
  readonly attempts: number;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS single_use (key TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS single_use_until ON single_use (until);
CREATE TABLE IF NOT EXISTS credentials (
  hash TEXT PRIMARY KEY, jkt TEXT NOT NULL, claims TEXT NOT NULL, expires_at INTEGER NOT NULL, ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credentials_expires ON credentials (expires_at);
CREATE TABLE IF NOT EXISTS sessions (
  session TEXT PRIMARY KEY, admitted_at INTEGER NOT NULL, deadline INTEGER NOT NULL,
  end_at INTEGER, attempts INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
  id INTEGER PRIMARY KEY CHECK (id = 1), revoked_at INTEGER, revoked_by TEXT, revoked_reason TEXT, last_used_at INTEGER
) STRICT;
INSERT OR IGNORE INTO facts (id) VALUES (1);
`;

export class IdentityStore {
  readonly #sql: SqlStorage;
  /** Rows of single_use, expired ones included; counted once, then kept, because counting reads them all. */
  #remembered: number | null = null;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  // ── single use ──

  hasUsed(key: string, now: number): boolean {
    return this.#count("SELECT COUNT(*) AS n FROM single_use WHERE key = ? AND until > ?", key, now) > 0;
  }

  remembered(): number {
    this.#remembered ??= this.#count("SELECT COUNT(*) AS n FROM single_use");
    return this.#remembered;
  }

  remember({ key, until }: SingleUse): void {
    this.#sql.exec("INSERT INTO single_use (key, until) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until", key, until);
    // Over by one where an expired row was replaced: the count is only for the cap, and is taken anew there.
    if (this.#remembered !== null) this.#remembered += 1;
  }

  // ── credentials ──

  addCredential(hash: string, credential: Credential): void {
    const { jkt, claims, expires_at, ends_at } = credential;
    this.#sql.exec(
      "INSERT INTO credentials (hash, jkt, claims, expires_at, ends_at) VALUES (?, ?, ?, ?, ?)",
      hash,
      jkt,
      claims,
      expires_at,
      ends_at,
    );
  }

  credential(hash: string): Credential | null {
    const rows = this.#sql.exec<Record<keyof Credential, SqlStorageValue>>(
      "SELECT jkt, claims, expires_at, ends_at FROM credentials WHERE hash = ?",
      hash,
    );
    return (rows.toArray()[0] as Credential | undefined) ?? null;
  }

  liveCredentials(now: number): number {
    return this.#count("SELECT COUNT(*) AS n FROM credentials WHERE expires_at > ?", now);
  }

  dropCredentials(): void {
    this.#sql.exec("DELETE FROM credentials");
  }

  // ── sessions ──

  addSession(session: string, deadline: number, now: number): void {
    this.#sql.exec("INSERT OR IGNORE INTO sessions (session, admitted_at, deadline) VALUES (?, ?, ?)", session, now, deadline);
  }

  /** Past its deadline a session is over, whether or not it was released. */
  liveSessions(now: number): string[] {
    const rows = this.#sql.exec<{ session: string }>("SELECT session FROM sessions WHERE deadline > ? ORDER BY admitted_at, session", now);
    return rows.toArray().map((row) => row.session);
  }

  dropSession(session: string): void {
    this.#sql.exec("DELETE FROM sessions WHERE session = ?", session);
  }

  /** Marks every live session to be ended; those already marked keep their time. */
  endAll(now: number): void {
    this.#sql.exec("UPDATE sessions SET end_at = ? WHERE end_at IS NULL AND deadline > ?", now, now);
  }

  /** Those due at `now`, which are then due again at `lease` unless what comes of the attempt is written sooner. */
  takeDue(now: number, lease: number): SessionToEnd[] {
    return this.#sql
      .exec<Record<keyof SessionToEnd, SqlStorageValue>>(
        "UPDATE sessions SET end_at = ? WHERE end_at <= ? RETURNING session, admitted_at, attempts",
        lease,
        now,
      )
      .toArray() as SessionToEnd[];
  }

  postponeEnd(session: string, attempts: number, at: number): void {
    this.#sql.exec("UPDATE sessions SET attempts = ?, end_at = ? WHERE session = ?", attempts, at, session);
  }

  nextEnd(): number | null {
    return this.#sql.exec<{ at: number | null }>("SELECT MIN(end_at) AS at FROM sessions").one().at;
  }

  // ── facts ──

  revocation(): Revocation | null {
    const row = this.#sql
      .exec<{ at: number | null; by: string | null; reason: string | null }>(
        "SELECT revoked_at AS at, revoked_by AS by, revoked_reason AS reason FROM facts",
      )
      .one();
    return row.at === null ? null : { at: row.at, by: row.by ?? "", reason: row.reason ?? "" };
  }

  /** Null restores. */
  setRevocation(revocation: Revocation | null): void {
    const { at, by, reason } = revocation ?? { at: null, by: null, reason: null };
    this.#sql.exec("UPDATE facts SET revoked_at = ?, revoked_by = ?, revoked_reason = ?", at, by, reason);
  }

  touch(now: number): void {
    this.#sql.exec("UPDATE facts SET last_used_at = MAX(COALESCE(last_used_at, 0), ?)", now);
  }

  lastUsedAt(): number | null {
    return this.#sql.exec<{ at: number | null }>("SELECT last_used_at AS at FROM facts").one().at;
  }

  // ── cleaning ──

  dropExpired(now: number): void {
    this.#sql.exec("DELETE FROM single_use WHERE until <= ?", now);
    this.#sql.exec("DELETE FROM credentials WHERE expires_at <= ?", now);
    this.#sql.exec("DELETE FROM sessions WHERE deadline <= ?", now);
    this.#remembered = null;
  }

  holdsExpiring(): boolean {
    return (
      this.#count("SELECT (SELECT COUNT(*) FROM sessions) + EXISTS (SELECT 1 FROM single_use) + EXISTS (SELECT 1 FROM credentials) AS n") >
      0
    );
  }

  #count(query: string, ...binds: (string | number)[]): number {
    return this.#sql.exec<{ n: number }>(query, ...binds).one().n;
  }
}
