/**
 * Commands in D1: the searchable index of what the recordings hold. Append-only and derived: indexing the same
 * events again changes nothing. What became of a command is a row of its own, because its segment may arrive
 * before the command's.
 */
import type { CommandRow } from "../protocol/api.ts";
import { MAX_INDEXED_TEXT } from "../protocol/limits.ts";
import type { Outcome, RecordingEvent } from "../protocol/recording/event.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";
import { cut, withoutNul } from "./text.ts";

type CommandEvent = Extract<RecordingEvent, { type: "command" }>;
type OutcomeEvent = Extract<RecordingEvent, { type: "outcome" }>;

/** One bound parameter stays well below D1's 2 MB. */
const CHUNK = 512 * 1024;

/** JSON arrays of the rows, each of about CHUNK characters at most; one row larger than that goes alone. */
function* chunks(rows: Iterable<unknown>): Generator<string> {
  let parts: string[] = [];
  let size = 0;
  for (const row of rows) {
    const json = JSON.stringify(row);
    if (size + json.length > CHUNK && parts.length > 0) {
      yield `[${parts.join(",")}]`;
      parts = [];
      size = 0;
    }
    parts.push(json);
    size += json.length + 1;
  }
  if (parts.length > 0) yield `[${parts.join(",")}]`;
}

function indexed(event: CommandEvent): Record<string, unknown> {
  const text = withoutNul(event.text);
  return {
    ...event,
    text: cut(text, MAX_INDEXED_TEXT),
    truncated: text.length > MAX_INDEXED_TEXT ? 1 : 0,
    shape: event.shape === undefined ? null : cut(withoutNul(event.shape), MAX_INDEXED_TEXT),
    // What is not indexed would only travel.
    parameters: undefined,
    digest: undefined,
  };
}

/** Statements for one batch. Rows travel as JSON, so the number of parameters does not grow with them. */
export function indexStatements(
  db: D1Database,
  session: string,
  events: { readonly commands: readonly CommandEvent[]; readonly outcomes: readonly OutcomeEvent[] },
): D1PreparedStatement[] {
  const statements: D1PreparedStatement[] = [];
  for (const json of chunks(events.commands.map(indexed))) {
    statements.push(
      db
        .prepare(
          `INSERT OR IGNORE INTO commands
             (session, command, at, identity, target, via, text, truncated, shape, effects, decision, policies, reason, bundle)
           SELECT s.id, value ->> 'command', value ->> 'at', s.identity, s.target, value ->> 'via', value ->> 'text', value ->> 'truncated',
             value ->> 'shape', value ->> 'effects', value ->> 'decision', value ->> 'policies', value ->> 'reason', value ->> 'bundle'
           FROM json_each(?1) JOIN sessions s ON s.id = ?2 ORDER BY value ->> 'command'`,
        )
        .bind(json, session),
    );
  }
  for (const json of chunks(events.outcomes)) {
    statements.push(
      db
        .prepare(
          `INSERT OR IGNORE INTO command_outcomes (session, command, status, code, tag, rows, ms)
           SELECT ?1, value ->> 'command', value ->> 'status', value ->> 'code', value ->> 'tag', value ->> 'rows', value ->> 'ms'
           FROM json_each(?2)`,
        )
        .bind(session, json),
    );
  }
  return statements;
}

const MAX_QUERY = 512;
const MAX_TERMS = 16;

/**
 * A person's words as an FTS5 expression: every word must occur, the beginning of one suffices. Each is quoted,
 * so that FTS5's operators in it are only text. Punctuation separates words, as it does in the index.
 */
export function searchExpression(query: string): Result<string, string> {
  if (query.length > MAX_QUERY) return err(`the search is longer than ${MAX_QUERY} characters`);
  const terms = query.match(/[\p{L}\p{N}\p{M}\p{Co}]+/gu) ?? [];
  if (terms.length === 0) return err("the search holds no word: letters and digits are searched, punctuation is not");
  if (terms.length > MAX_TERMS) return err(`the search holds more than ${MAX_TERMS} words`);
  return ok(terms.map((term) => `"${term}"*`).join(" AND "));
}

export interface CommandFilters {
  readonly session?: string | undefined;
  readonly identity?: string | undefined;
  readonly pipeline?: string | undefined;
  readonly run?: string | undefined;
  readonly job?: string | undefined;
  readonly target?: string | undefined;
  readonly action?: string | undefined;
  readonly decision?: Outcome | undefined;
  /** ms since the epoch: `since` ≤ at < `until`. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  /** An expression from `searchExpression`. */
  readonly match?: string | undefined;
}

interface Stored extends Omit<CommandRow, "truncated" | "effects" | "policies"> {
  readonly id: number;
  readonly truncated: number;
  readonly effects: string;
  readonly policies: string;
}

const toRow = (row: Stored): CommandRow => ({
  session: row.session,
  command: row.command,
  at: row.at,
  identity: row.identity,
  target: row.target,
  pipeline: row.pipeline,
  run_id: row.run_id,
  job_id: row.job_id,
  via: row.via,
  text: row.text,
  truncated: row.truncated === 1,
  shape: row.shape,
  effects: JSON.parse(row.effects) as CommandRow["effects"],
  decision: row.decision,
  policies: JSON.parse(row.policies) as string[],
  reason: row.reason,
  bundle: row.bundle,
  status: row.status,
  code: row.code,
  tag: row.tag,
  rows: row.rows,
  ms: row.ms,
});

/** Newest first. */
export async function listCommands(db: D1Database, filters: CommandFilters, { limit, cursor }: PageRequest): Promise<Page<CommandRow>> {
  const conditions = new Conditions()
    .when(filters.session, "c.session = ?")
    .when(filters.identity, "c.identity = ?")
    .when(filters.pipeline, "s.pipeline = ?")
    .when(filters.run, "s.run_id = ?")
    .when(filters.job, "s.job_id = ?")
    .when(filters.target, "c.target = ?")
    .when(filters.action, "c.id IN (SELECT command_row FROM command_actions WHERE action = ?)")
    .when(filters.decision, "c.decision = ?")
    .when(filters.since, "c.at >= ?")
    .when(filters.until, "c.at < ?")
    .when(filters.match, "c.id IN (SELECT rowid FROM commands_fts WHERE commands_fts MATCH ?)")
    .after(cursor, "c.at", "c.id", Number);
  const { results } = await db
    .prepare(
      `SELECT c.id, c.session, c.command, c.at, c.identity, c.target, s.pipeline, s.run_id, s.job_id, c.via, c.text, c.truncated, c.shape,
         c.effects, c.decision, c.policies, c.reason, c.bundle, o.status, o.code, o.tag, o.rows, o.ms
       FROM commands c JOIN sessions s ON s.id = c.session
       LEFT JOIN command_outcomes o ON o.session = c.session AND o.command = c.command
       ${conditions.where} ORDER BY c.at DESC, c.id DESC LIMIT ?`,
    )
    .bind(...conditions.binds, limit + 1)
    .all<Stored>();
  return pageOf(results, limit, (row) => ({ at: row.at, key: String(row.id) }), toRow);
}
