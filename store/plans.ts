/**
 * Plans in D1: the record of what somebody intended to run, and the gate that lets one session run by it. A row is
 * written once; afterwards only who used it changes, by compare-and-set.
 */
import * as z from "zod";
import { PlannedStatement, type PlanRow } from "../protocol/plan.ts";
import { PLANS_PER_IDENTITY } from "../protocol/limits.ts";
import { Workload } from "../protocol/workload.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";

export interface StoredPlan {
  readonly id: string;
  readonly identity: string;
  readonly target: string;
  readonly workload: Workload;
  readonly pipeline_key: string;
  readonly text: string;
  readonly text_sha256: string;
  readonly statements: readonly PlannedStatement[];
  readonly verdict: "allowed" | "held" | "denied";
  readonly approval: string | null;
  readonly digest: string | null;
  readonly bundle: number;
  /** ms since the epoch. */
  readonly created_at: number;
  readonly expires_at: number;
  readonly used_by: string | null;
}

interface Row extends Omit<StoredPlan, "workload" | "statements"> {
  readonly workload: string;
  readonly statements: string;
}

const Statements = z.array(PlannedStatement);
const SUMMARY = "id, identity, target, verdict, approval, bundle, created_at, expires_at, used_by, text_sha256";

/** False: the identity has PLANS_PER_IDENTITY that it could still run. */
export async function insertPlan(db: D1Database, plan: Omit<StoredPlan, "used_by">): Promise<boolean> {
  const { meta } = await db
    .prepare(
      `INSERT INTO plans (id, identity, target, workload, pipeline_key, text, text_sha256, statements, verdict, approval, digest, bundle, created_at, expires_at)
       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14
       WHERE (SELECT COUNT(*) FROM plans WHERE identity = ?2 AND verdict <> 'denied' AND used_by IS NULL AND expires_at > ?13) < ?15`,
    )
    .bind(
      plan.id,
      plan.identity,
      plan.target,
      JSON.stringify(plan.workload),
      plan.pipeline_key,
      plan.text,
      plan.text_sha256,
      JSON.stringify(plan.statements),
      plan.verdict,
      plan.approval,
      plan.digest,
      plan.bundle,
      plan.created_at,
      plan.expires_at,
      PLANS_PER_IDENTITY,
    )
    .run();
  return meta.changes > 0;
}

export async function readPlan(db: D1Database, id: string): Promise<StoredPlan | null> {
  const row = await db.prepare("SELECT * FROM plans WHERE id = ?").bind(id).first<Row>();
  if (row === null) return null;
  return { ...row, workload: Workload.parse(JSON.parse(row.workload)), statements: Statements.parse(JSON.parse(row.statements)) };
}

/** Newest first; `identity`: of one alone. */
export async function listPlans(
  db: D1Database,
  filters: { readonly identity?: string | undefined; readonly target?: string | undefined },
  page: PageRequest,
): Promise<Page<PlanRow>> {
  const conditions = new Conditions()
    .when(filters.identity, "identity = ?")
    .when(filters.target, "target = ?")
    .after(page.cursor, "created_at", "id");
  const { results } = await db
    .prepare(`SELECT ${SUMMARY} FROM plans ${conditions.where} ORDER BY created_at DESC, id DESC LIMIT ?`)
    .bind(...conditions.binds, page.limit + 1)
    .all<PlanRow>();
  return pageOf(
    results,
    page.limit,
    (row) => ({ at: row.created_at, key: row.id }),
    (row) => row,
  );
}

/** Gives the plan to this session; false: another had it, or its time is over. */
export async function usePlan(db: D1Database, id: string, session: string, now: number): Promise<boolean> {
  const { meta } = await db
    .prepare("UPDATE plans SET used_by = ?2, used_at = ?3 WHERE id = ?1 AND used_by IS NULL AND expires_at > ?3 AND verdict <> 'denied'")
    .bind(id, session, now)
    .run();
  return meta.changes > 0;
}

/** Takes it back from a session that never came to be. */
export async function returnPlan(db: D1Database, id: string, session: string): Promise<void> {
  await db.prepare("UPDATE plans SET used_by = NULL, used_at = NULL WHERE id = ? AND used_by = ?").bind(id, session).run();
}

/** Retention. */
export async function forgetPlans(db: D1Database, before: number): Promise<void> {
  await db.prepare("DELETE FROM plans WHERE created_at < ?1 AND expires_at < ?1").bind(before).run();
}
