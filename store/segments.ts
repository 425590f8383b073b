/**
 * Segments in D1: where each lies in its session's chain, so that a new one is checked against its neighbours,
 * whichever came first; and the write that indexes a segment's events. Indexing is one transaction and
 * repeatable, so a failure between R2 and D1 is healed by the agent's next try.
 */
import type { RecordingEvent } from "../protocol/recording/event.ts";
import { indexStatements } from "./commands.ts";
import { cut } from "./text.ts";

export interface SegmentFacts {
  readonly first_seq: number;
  readonly last_seq: number;
  readonly first_prev: string;
  readonly last_hash: string;
  /** It ends with the seal: nothing follows. */
  readonly sealed: boolean;
}

export interface Neighbours {
  /** Segment n − 1, if it has arrived. */
  readonly before: SegmentFacts | null;
  readonly after: SegmentFacts | null;
  /** The number of the sealed segment. */
  readonly sealedAt: number | null;
}

interface Stored extends Omit<SegmentFacts, "sealed"> {
  readonly n: number;
  readonly sealed: number;
}

export async function readNeighbours(db: D1Database, session: string, n: number): Promise<Neighbours> {
  const { results } = await db
    .prepare(
      `SELECT n, first_seq, last_seq, first_prev, last_hash, sealed FROM segments WHERE session = ?1 AND (n IN (?2 - 1, ?2 + 1) OR sealed = 1)`,
    )
    .bind(session, n)
    .all<Stored>();
  const at = (number: number): SegmentFacts | null => {
    const row = results.find((candidate) => candidate.n === number);
    return row === undefined ? null : { ...row, sealed: row.sealed === 1 };
  };
  return { before: at(n - 1), after: at(n + 1), sealedAt: results.find((row) => row.sealed === 1)?.n ?? null };
}

/** What the segment says of its session: commands and outcomes for the index, its end, its seal. */
export async function indexSegment(
  db: D1Database,
  session: string,
  n: number,
  segment: SegmentFacts & { readonly bytes: number; readonly events: readonly RecordingEvent[]; readonly now: number },
): Promise<void> {
  const commands = segment.events.filter((event) => event.type === "command");
  const outcomes = segment.events.filter((event) => event.type === "outcome");
  const end = segment.events.find((event) => event.type === "session.end");
  const statements = [
    ...indexStatements(db, session, { commands, outcomes }),
    db
      .prepare(
        `INSERT OR IGNORE INTO segments
           (session, n, first_seq, last_seq, first_prev, last_hash, bytes, commands, denied, sealed, stored_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .bind(
        session,
        n,
        segment.first_seq,
        segment.last_seq,
        segment.first_prev,
        segment.last_hash,
        segment.bytes,
        commands.length,
        commands.filter((event) => event.decision === "deny").length,
        segment.sealed ? 1 : 0,
        segment.now,
      ),
    db
      .prepare(
        `UPDATE sessions SET (commands, denied, sealed) =
           (SELECT SUM(commands), SUM(denied), MAX(sealed) FROM segments WHERE session = ?1) WHERE id = ?1`,
      )
      .bind(session),
  ];
  if (end !== undefined) {
    // The agent's word on the socket usually came first; this heals a session whose end the edge missed.
    statements.push(
      db
        .prepare(
          "UPDATE sessions SET state = 'ended', end_code = ?, end_message = ?, ended_at = MAX(?, started_at) WHERE id = ? AND state <> 'ended'",
        )
        .bind(end.code, cut(end.message, 1024), end.at, session),
    );
  }
  await db.batch(statements);
}
