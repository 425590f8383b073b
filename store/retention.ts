/**
 * Forgetting what is older than the bundle's `retention`: recordings, their index, sessions, refusals, used tokens.
 * A little at a time, oldest first, and repeatable: a run that was cut short is continued by the next.
 *
 * A session goes only as a whole, and its row last, so that nothing is left that no row leads to. A recording that
 * R2 does not let go (a bucket lock) keeps its session: retention by lock is stronger than retention by bundle.
 */
import { deleteRecording } from "./recordings.ts";

/** Sessions in one run. */
const SESSIONS = 20;
/** Rows that one statement deletes, and statements for commands in one run. */
const ROWS = 2000;
const STATEMENTS = 10;

export interface Expired {
  readonly sessions: number;
  readonly refusals: number;
  /** Sessions whose recordings could not be deleted. */
  readonly kept: readonly { readonly session: string; readonly error: unknown }[];
}

/** `before`: ms since the epoch. Sessions count from their end; one that never ended, from its deadline. */
export async function expire(db: D1Database, bucket: R2Bucket, before: number): Promise<Expired> {
  const { results } = await db
    .prepare("SELECT id FROM sessions WHERE started_at < ?1 AND COALESCE(ended_at, deadline) < ?1 ORDER BY started_at, id LIMIT ?2")
    .bind(before, SESSIONS)
    .all<{ id: string }>();
  const gone: string[] = [];
  const kept: { session: string; error: unknown }[] = [];
  for (const { id } of results) {
    try {
      await deleteRecording(bucket, id);
      gone.push(id);
    } catch (error) {
      kept.push({ session: id, error });
    }
  }
  const sessions = (await forgetCommands(db, gone)) ? await forgetSessions(db, gone) : 0;
  const [refusals] = await db.batch([
    db.prepare("DELETE FROM refusals WHERE ref IN (SELECT ref FROM refusals WHERE at < ? LIMIT ?)").bind(before, ROWS),
    db.prepare("DELETE FROM enrolment_tokens WHERE MAX(expires_at, COALESCE(used_at, 0)) < ?").bind(before),
  ]);
  return { sessions, refusals: refusals?.meta.changes ?? 0, kept };
}

/** False while some are left. */
async function forgetCommands(db: D1Database, sessions: readonly string[]): Promise<boolean> {
  const ids = JSON.stringify(sessions);
  for (let n = 0; n < STATEMENTS; n++) {
    const { results } = await db
      .prepare(
        `DELETE FROM commands WHERE id IN (SELECT id FROM commands WHERE session IN (SELECT value FROM json_each(?)) LIMIT ?) RETURNING id`,
      )
      .bind(ids, ROWS)
      .all();
    if (results.length < ROWS) return true;
  }
  return false;
}

async function forgetSessions(db: D1Database, sessions: readonly string[]): Promise<number> {
  const ids = JSON.stringify(sessions);
  const of = (table: string, column: string): D1PreparedStatement =>
    db.prepare(`DELETE FROM ${table} WHERE ${column} IN (SELECT value FROM json_each(?))`).bind(ids);
  await db.batch([of("command_outcomes", "session"), of("segments", "session"), of("sessions", "id")]);
  return sessions.length;
}
