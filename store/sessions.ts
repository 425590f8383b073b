/**
 * Sessions in D1: the index of what happened, not the live state, which is SessionDO's. A row is inserted before
 * the session's sockets exist, and its end is written once: the first end wins.
 */
import type { SessionRow } from "../protocol/api.ts";
import type { Outcome } from "../protocol/recording/event.ts";
import { Workload } from "../protocol/workload.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";
import { cut } from "./text.ts";

export interface NewSession {
  readonly id: string;
  readonly identity: string;
  readonly target: string;
  readonly protocol: string;
  readonly site: string;
  /** ms since the epoch. */
  readonly started_at: number;
  readonly deadline: number;
  /** The bundle's version that allowed it. */
  readonly bundle: number;
  readonly workload: Workload;
}

export async function insertSession(db: D1Database, session: NewSession): Promise<void> {
  const { workload } = session;
  await db
    .prepare(
      `INSERT INTO sessions (id, identity, target, protocol, site, state, started_at, deadline, bundle, workload, pipeline, run_id, job_id)
       VALUES (?, ?, ?, ?, ?, 'opening', ?, ?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      session.id,
      session.identity,
      session.target,
      session.protocol,
      session.site,
      session.started_at,
      session.deadline,
      session.bundle,
      JSON.stringify(workload),
      workload.pipeline ?? null,
      workload.run_id ?? null,
      workload.job_id ?? null,
    )
    .run();
}

/** An agent serves it. Does not bring an ended session back. */
export async function markSessionActive(db: D1Database, id: string, agent: string): Promise<void> {
  await db.prepare("UPDATE sessions SET state = 'active', agent = ? WHERE id = ? AND state <> 'ended'").bind(agent, id).run();
}

/** True when this call ended it, false when it had ended before or is unknown. */
export async function markSessionEnded(db: D1Database, id: string, code: string, message: string, at: number): Promise<boolean> {
  const { meta } = await db
    .prepare(
      "UPDATE sessions SET state = 'ended', end_code = ?, end_message = ?, ended_at = MAX(?, started_at) WHERE id = ? AND state <> 'ended'",
    )
    .bind(code, cut(message, 1024), at, id)
    .run();
  return meta.changes > 0;
}

/** For a session that no agent has taken yet, takes it for an agent of its site. Returns who has it now, or null when there is no such session. */
export async function agentOfSession(db: D1Database, id: string, agent: string, site: string): Promise<string | null> {
  const [, read] = await db.batch<{ agent: string | null }>([
    db.prepare("UPDATE sessions SET agent = ? WHERE id = ? AND agent IS NULL AND site = ?").bind(agent, id, site),
    db.prepare("SELECT agent FROM sessions WHERE id = ?").bind(id),
  ]);
  return read?.results[0]?.agent ?? null;
}

interface Stored extends Omit<SessionRow, "workload" | "sealed"> {
  readonly workload: string;
  readonly sealed: number;
}

const COLUMNS = `s.id, s.identity, s.target, s.protocol, s.site, s.agent, s.state, s.started_at, s.ended_at, s.deadline, s.end_code, s.end_message,
  s.bundle, s.workload, s.commands, s.denied, s.sealed`;

const toRow = (row: Stored): SessionRow => ({ ...row, workload: Workload.parse(JSON.parse(row.workload)), sealed: row.sealed === 1 });

export async function readSession(db: D1Database, id: string): Promise<SessionRow | null> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM sessions s WHERE s.id = ?`).bind(id).first<Stored>();
  return row === null ? null : toRow(row);
}

export interface SessionFilters {
  readonly identity?: string | undefined;
  readonly pipeline?: string | undefined;
  readonly run?: string | undefined;
  readonly job?: string | undefined;
  readonly target?: string | undefined;
  readonly site?: string | undefined;
  readonly state?: SessionRow["state"] | undefined;
  /** Sessions that hold a command with this action; with this decision; with both in one command. */
  readonly action?: string | undefined;
  readonly decision?: Outcome | undefined;
  /** ms since the epoch: `since` ≤ started_at < `until`. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** Newest first. */
export async function listSessions(db: D1Database, filters: SessionFilters, { limit, cursor }: PageRequest): Promise<Page<SessionRow>> {
  const conditions = new Conditions()
    .when(filters.identity, "s.identity = ?")
    .when(filters.pipeline, "s.pipeline = ?")
    .when(filters.run, "s.run_id = ?")
    .when(filters.job, "s.job_id = ?")
    .when(filters.target, "s.target = ?")
    .when(filters.site, "s.site = ?")
    .when(filters.state, "s.state = ?")
    .when(filters.since, "s.started_at >= ?")
    .when(filters.until, "s.started_at < ?");
  const { action, decision } = filters;
  const withAction = "SELECT c.session FROM commands c JOIN command_actions a ON a.command_row = c.id WHERE a.action = ?";
  if (action !== undefined && decision !== undefined) conditions.add(`s.id IN (${withAction} AND c.decision = ?)`, action, decision);
  else if (action !== undefined) conditions.add(`s.id IN (${withAction})`, action);
  else if (decision !== undefined) {
    conditions.add("EXISTS (SELECT 1 FROM commands c WHERE c.session = s.id AND c.decision = ?)", decision);
  }
  conditions.after(cursor, "s.started_at", "s.id");
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM sessions s ${conditions.where} ORDER BY s.started_at DESC, s.id DESC LIMIT ?`)
    .bind(...conditions.binds, limit + 1)
    .all<Stored>();
  return pageOf(results, limit, (row) => ({ at: row.started_at, key: row.id }), toRow);
}
