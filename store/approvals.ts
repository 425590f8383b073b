/**
 * Approvals in D1: the index of who asked for what and how it ended. The approval itself, with the command, the votes
 * and the truth about its state, is its object's. A row is inserted before anybody is asked; an end is written once.
 */
import type { ApprovalOutcome, ApprovalRequest } from "../protocol/approval.ts";
import type { ApprovalRow } from "../protocol/api.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";
import { auditText } from "./text.ts";

export interface NewApproval {
  readonly request: ApprovalRequest;
  readonly identity: string;
  readonly site: string;
  readonly agent: string;
  /** ms since the epoch. */
  readonly requested_at: number;
  readonly expires_at: number;
}

export interface Quotas {
  readonly perIdentity: number;
  readonly perSession: number;
}

/** False: a quota of approvals that take votes is reached. Repeatable: a row that is there stays as it is. */
export async function insertApproval(db: D1Database, approval: NewApproval, quotas: Quotas): Promise<boolean> {
  const { request, identity, site, agent, requested_at, expires_at } = approval;
  const [, found] = await db.batch<{ id: string }>([
    db
      .prepare(
        `INSERT OR IGNORE INTO approvals (id, kind, mode, state, identity, target, site, agent, session, command, digest, needs, requested_at, expires_at)
         SELECT ?1, ?2, ?3, 'pending', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
         WHERE (SELECT COUNT(*) FROM approvals WHERE state = 'pending' AND expires_at > ?12 AND identity = ?4) < ?14
           AND (SELECT COUNT(*) FROM approvals WHERE state = 'pending' AND expires_at > ?12 AND session = ?8) < ?15`,
      )
      .bind(
        request.approval,
        request.subject.kind,
        request.mode,
        identity,
        request.subject.target,
        site,
        agent,
        request.session,
        request.command ?? null,
        request.digest,
        JSON.stringify(request.needs.map(({ group }) => group)),
        requested_at,
        expires_at,
        quotas.perIdentity,
        quotas.perSession,
      ),
    db.prepare("SELECT id FROM approvals WHERE id = ?").bind(request.approval),
  ]);
  return found?.results[0] !== undefined;
}

/** How it ended, and by whom and when its consent was used. Repeatable; the first end wins. */
export async function settleApproval(
  db: D1Database,
  id: string,
  outcome: ApprovalOutcome,
  use: { readonly by: string; readonly at: number } | null,
): Promise<void> {
  const statements = [
    db
      .prepare("UPDATE approvals SET state = ?, ended_at = ?, by = ?, reason = ? WHERE id = ? AND state = 'pending'")
      .bind(
        outcome.state,
        outcome.at,
        JSON.stringify(outcome.by),
        outcome.reason === undefined ? null : auditText(outcome.reason, 1024),
        id,
      ),
  ];
  if (use !== null) {
    statements.push(db.prepare("UPDATE approvals SET used_at = ?, used_by = ? WHERE id = ? AND used_at IS NULL").bind(use.at, use.by, id));
  }
  await db.batch(statements);
}

/**
 * Ids of approvals whose consent may be there for this very command, oldest first. Only their objects know whether it is: a row may
 * lag behind.
 */
export async function findConsents(
  db: D1Database,
  { identity, target, digest, now }: { readonly identity: string; readonly target: string; readonly digest: string; readonly now: number },
): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT id FROM approvals
       WHERE identity = ? AND digest = ? AND target = ? AND mode = 'later' AND kind = 'command' AND state IN ('pending', 'approved')
         AND used_at IS NULL AND expires_at > ?
       ORDER BY requested_at, id LIMIT 20`,
    )
    .bind(identity, digest, target, now)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

interface Stored extends Omit<ApprovalRow, "groups" | "by"> {
  readonly groups: string;
  readonly by: string;
}

const columns = (now: number): string =>
  `a.id, a.kind, a.mode, CASE WHEN a.state = 'pending' AND a.expires_at <= ${now} THEN 'expired' ELSE a.state END AS state,
   a.identity, a.target, a.site, a.session, a.command, a.digest, a.needs AS groups, a.requested_at, a.expires_at,
   CASE WHEN a.state = 'pending' AND a.expires_at <= ${now} THEN a.expires_at ELSE a.ended_at END AS ended_at, a.by, a.reason, a.used_at`;

const toRow = (row: Stored): ApprovalRow => ({ ...row, groups: JSON.parse(row.groups) as string[], by: JSON.parse(row.by) as string[] });

export interface ApprovalFilters {
  readonly state?: ApprovalRow["state"] | undefined;
  readonly identity?: string | undefined;
  readonly target?: string | undefined;
  readonly session?: string | undefined;
  /** ms since the epoch: `since` ≤ requested_at < `until`. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** What somebody sees who may not see all: what he asked for, and what his groups are asked. */
export interface Visible {
  readonly identity: string;
  readonly groups: readonly string[];
}

/** Newest first. `visible` null: everybody's. */
export async function listApprovals(
  db: D1Database,
  filters: ApprovalFilters,
  visible: Visible | null,
  { limit, cursor }: PageRequest,
  now: number,
): Promise<Page<ApprovalRow>> {
  const conditions = new Conditions()
    .when(filters.identity, "a.identity = ?")
    .when(filters.target, "a.target = ?")
    .when(filters.session, "a.session = ?")
    .when(filters.since, "a.requested_at >= ?")
    .when(filters.until, "a.requested_at < ?");
  if (filters.state === "pending") conditions.add("a.state = 'pending' AND a.expires_at > ?", now);
  else if (filters.state === "expired") conditions.add("a.state = 'expired' OR (a.state = 'pending' AND a.expires_at <= ?)", now);
  else conditions.when(filters.state, "a.state = ?");
  if (visible !== null) {
    const asked = "EXISTS (SELECT 1 FROM json_each(a.needs) n WHERE n.value IN (SELECT value FROM json_each(?)))";
    conditions.add(`a.identity = ? OR ${asked}`, visible.identity, JSON.stringify(visible.groups));
  }
  conditions.after(cursor, "a.requested_at", "a.id");
  const { results } = await db
    .prepare(`SELECT ${columns(now)} FROM approvals a ${conditions.where} ORDER BY a.requested_at DESC, a.id DESC LIMIT ?`)
    .bind(...conditions.binds, limit + 1)
    .all<Stored>();
  return pageOf(results, limit, (row) => ({ at: row.requested_at, key: row.id }), toRow);
}

/** Ids of approvals that were over before `before`, ms since the epoch; at most `limit`. */
export async function expiredApprovals(db: D1Database, before: number, limit: number): Promise<string[]> {
  const { results } = await db
    .prepare("SELECT id FROM approvals WHERE requested_at < ?1 AND expires_at < ?1 ORDER BY requested_at, id LIMIT ?2")
    .bind(before, limit)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

export async function deleteApproval(db: D1Database, id: string): Promise<void> {
  await db.prepare("DELETE FROM approvals WHERE id = ?").bind(id).run();
}
