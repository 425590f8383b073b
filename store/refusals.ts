/**
 * The audit of refusals: what was refused, to whom, and the reason that the peer did not get. Everything in a
 * row may come from an attacker, so it is capped and escaped on the way in (GW-22). Never a token.
 */
import type { RefusalRow } from "../protocol/api.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";
import { auditText } from "./text.ts";

export interface NewRefusal {
  readonly ref: string;
  /** ms since the epoch. */
  readonly at: number;
  readonly code: string;
  readonly reason: string;
  readonly identity?: string | undefined;
  readonly target?: string | undefined;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly method: string;
  /** Without the query, which may hold what people searched for. */
  readonly path: string;
  readonly policies?: readonly string[] | undefined;
}

const REASON = 1024;
const NAME = 256;
const LONG = 512;
const POLICIES = 32;

/** The row as it will be stored: also what the log gets. */
export function refusalRecord(refusal: NewRefusal): RefusalRow & { method: string; policies: string[] } {
  const optional = (text: string | undefined, limit: number): string | null => (text === undefined ? null : auditText(text, limit));
  return {
    ref: refusal.ref,
    at: refusal.at,
    code: refusal.code,
    reason: auditText(refusal.reason, REASON),
    identity: optional(refusal.identity, NAME),
    target: optional(refusal.target, NAME),
    issuer: optional(refusal.issuer, LONG),
    subject: optional(refusal.subject, LONG),
    method: auditText(refusal.method, 16),
    path: auditText(refusal.path, LONG),
    policies: (refusal.policies ?? []).slice(0, POLICIES).map((policy) => auditText(policy, NAME)),
  };
}

export async function insertRefusal(db: D1Database, refusal: NewRefusal): Promise<void> {
  const row = refusalRecord(refusal);
  await db
    .prepare(
      `INSERT INTO refusals (ref, at, code, reason, identity, target, issuer, subject, method, path, policies)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      row.ref,
      row.at,
      row.code,
      row.reason,
      row.identity,
      row.target,
      row.issuer,
      row.subject,
      row.method,
      row.path,
      JSON.stringify(row.policies),
    )
    .run();
}

export interface RefusalFilters {
  readonly ref?: string | undefined;
  readonly identity?: string | undefined;
  readonly target?: string | undefined;
  readonly code?: string | undefined;
  /** ms since the epoch: `since` ≤ at < `until`. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** Newest first. */
export async function listRefusals(db: D1Database, filters: RefusalFilters, { limit, cursor }: PageRequest): Promise<Page<RefusalRow>> {
  const conditions = new Conditions()
    .when(filters.ref, "ref = ?")
    .when(filters.identity, "identity = ?")
    .when(filters.target, "target = ?")
    .when(filters.code, "code = ?")
    .when(filters.since, "at >= ?")
    .when(filters.until, "at < ?")
    .after(cursor, "at", "ref");
  const { results } = await db
    .prepare(
      `SELECT ref, at, code, reason, identity, target, issuer, subject, path FROM refusals ${conditions.where} ORDER BY at DESC, ref DESC LIMIT ?`,
    )
    .bind(...conditions.binds, limit + 1)
    .all<RefusalRow>();
  return pageOf(
    results,
    limit,
    (row) => ({ at: row.at, key: row.ref }),
    (row) => row,
  );
}
