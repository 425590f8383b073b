/**
 * What a site keeps, in its object's SQLite: its agents' states, the sessions given to them, and a counter that
 * numbers connections. The sockets themselves are the runtime's; an attachment on each says whose it is.
 */
import type { AgentState, SiteSession } from "./machine.ts";

export interface StoredAgent {
  readonly id: string;
  readonly name: string;
  readonly state: AgentState;
}

interface SessionRow extends Record<string, SqlStorageValue> {
  id: string;
  agent: string;
  end: string | null;
}

const toSession = (row: SessionRow): SiteSession => ({
  id: row.id,
  agent: row.agent,
  end: row.end === null ? null : (JSON.parse(row.end) as SiteSession["end"]),
});

export class SiteStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, end TEXT, due INTEGER) STRICT;
      CREATE INDEX IF NOT EXISTS sessions_by_agent ON sessions (agent);
      CREATE INDEX IF NOT EXISTS sessions_by_due ON sessions (due) WHERE due IS NOT NULL;
      CREATE TABLE IF NOT EXISTS approvals (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, waits INTEGER NOT NULL, withdrawal TEXT, due INTEGER, attempts INTEGER NOT NULL DEFAULT 0) STRICT;
      CREATE INDEX IF NOT EXISTS approvals_by_session ON approvals (session);
      CREATE INDEX IF NOT EXISTS approvals_by_due ON approvals (due) WHERE due IS NOT NULL;
      CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    `);
  }

  nextConnection(): number {
    return this.#sql
      .exec<{ value: number }>(
        "INSERT INTO counters (name, value) VALUES ('connection', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
      )
      .one().value;
  }

  agents(): StoredAgent[] {
    return this.#sql
      .exec<{ id: string; name: string; state: string }>("SELECT id, name, state FROM agents ORDER BY id")
      .toArray()
      .map((row) => ({ ...row, state: JSON.parse(row.state) as AgentState }));
  }

  agent(id: string): StoredAgent | null {
    const [row] = this.#sql
      .exec<{ id: string; name: string; state: string }>("SELECT id, name, state FROM agents WHERE id = ?", id)
      .toArray();
    return row === undefined ? null : { ...row, state: JSON.parse(row.state) as AgentState };
  }

  putAgent({ id, name, state }: StoredAgent): void {
    this.#sql.exec(
      "INSERT INTO agents (id, name, state) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state",
      id,
      name,
      JSON.stringify(state),
    );
  }

  dropAgent(id: string): void {
    this.#sql.exec("DELETE FROM agents WHERE id = ?", id);
  }

  session(id: string): SiteSession | null {
    const [row] = this.#sql.exec<SessionRow>("SELECT id, agent, end FROM sessions WHERE id = ?", id).toArray();
    return row === undefined ? null : toSession(row);
  }

  sessionsOf(agent: string): SiteSession[] {
    return this.#sql.exec<SessionRow>("SELECT id, agent, end FROM sessions WHERE agent = ? ORDER BY id", agent).toArray().map(toSession);
  }

  countSessions(agent: string): number {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM sessions WHERE agent = ?", agent).one().n;
  }

  /** Ends that are owed by `now`, ms since the epoch; at most `limit`. */
  dueEnds(now: number, limit: number): SiteSession[] {
    return this.#sql
      .exec<SessionRow>("SELECT id, agent, end FROM sessions WHERE due <= ? ORDER BY due LIMIT ?", now, limit)
      .toArray()
      .map(toSession);
  }

  /** Of ends and of withdrawals. */
  firstDue(): number | null {
    return this.#sql
      .exec<{ due: number | null }>("SELECT MIN(due) AS due FROM (SELECT due FROM sessions UNION ALL SELECT due FROM approvals)")
      .one().due;
  }

  putSession({ id, agent, end }: SiteSession): void {
    this.#sql.exec(
      `INSERT INTO sessions (id, agent, end, due) VALUES (?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET agent = excluded.agent, end = excluded.end, due = excluded.due`,
      id,
      agent,
      end === null ? null : JSON.stringify(end),
      end?.due ?? null,
    );
  }

  dropSession(id: string): void {
    this.#sql.exec("DELETE FROM sessions WHERE id = ?", id);
  }

  // ── approvals of sessions, until they are settled or the session is over ──

  /** `waits`: the session waits for it. One that is there stays as it is. */
  putApproval(id: string, session: string, waits: boolean): void {
    this.#sql.exec("INSERT OR IGNORE INTO approvals (id, session, waits) VALUES (?, ?, ?)", id, session, waits ? 1 : 0);
  }

  dropApproval(id: string): void {
    this.#sql.exec("DELETE FROM approvals WHERE id = ?", id);
  }

  isApprovalOf(id: string, session: string): boolean {
    return this.#sql.exec("SELECT 1 FROM approvals WHERE id = ? AND session = ?", id, session).toArray().length > 0;
  }

  /** Owes the withdrawal of those that the session waits for; the others are forgotten here. */
  endApprovals(session: string, reason: string, due: number): void {
    this.#sql.exec("DELETE FROM approvals WHERE session = ? AND waits = 0 AND due IS NULL", session);
    this.#sql.exec("UPDATE approvals SET withdrawal = COALESCE(withdrawal, ?), due = ? WHERE session = ?", reason, due, session);
  }

  /** The first reason stays. */
  oweWithdrawal(id: string, reason: string, due: number): void {
    this.#sql.exec("UPDATE approvals SET withdrawal = COALESCE(withdrawal, ?), due = ? WHERE id = ?", reason, due, id);
  }

  dueWithdrawals(now: number, limit: number): { approval: string; reason: string; attempts: number }[] {
    return this.#sql
      .exec<{ approval: string; reason: string; attempts: number }>(
        "SELECT id AS approval, COALESCE(withdrawal, '') AS reason, attempts FROM approvals WHERE due <= ? ORDER BY due LIMIT ?",
        now,
        limit,
      )
      .toArray();
  }

  putOffWithdrawal(id: string, attempts: number, due: number): void {
    this.#sql.exec("UPDATE approvals SET attempts = ?, due = ? WHERE id = ?", attempts, due, id);
  }
}
