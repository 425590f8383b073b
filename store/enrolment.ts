/**
 * One-time enrolment tokens. The table holds only the SHA-256 of a token, so reading D1 enrols nobody; a token
 * is used up and its agent written in one transaction, so it makes at most one agent.
 */
import { err, ok, type Result } from "../protocol/result.ts";
import { findAgent, type Agent } from "./agents.ts";

export interface NewEnrolmentToken {
  /** Lower-case hex of SHA-256 over the token. */
  readonly hash: string;
  readonly site: string;
  /** Target names its agent may announce; null: any. */
  readonly targets: readonly string[] | null;
  readonly created_at: number;
  readonly created_by: string;
  /** ms since the epoch. */
  readonly expires_at: number;
}

export async function insertEnrolmentToken(db: D1Database, token: NewEnrolmentToken): Promise<void> {
  await db.batch([
    db.prepare("INSERT OR IGNORE INTO sites (name, first_named_at) VALUES (?, ?)").bind(token.site, token.created_at),
    db
      .prepare(`INSERT INTO enrolment_tokens (hash, site, allowed_targets, created_at, created_by, expires_at) VALUES (?, ?, ?, ?, ?, ?)`)
      .bind(
        token.hash,
        token.site,
        token.targets === null ? null : JSON.stringify(token.targets),
        token.created_at,
        token.created_by,
        token.expires_at,
      ),
  ]);
}

export interface Enrolment {
  readonly hash: string;
  readonly agent: string;
  readonly name: string;
  /** `x` of the Ed25519 JWK. */
  readonly public_key: string;
  readonly now: number;
}

/** Why an enrolment was refused: for the audit, not for the peer. */
export type EnrolmentFailure = "unknown token" | "token already used" | "token expired" | "key already enrolled";

/** Uses the token up and makes the agent, both or neither. */
export async function enrolAgent(db: D1Database, enrolment: Enrolment): Promise<Result<Agent, EnrolmentFailure>> {
  const { hash, agent, name, public_key, now } = enrolment;
  await db.batch([
    db
      .prepare(
        `UPDATE enrolment_tokens SET used_at = ?1, agent = ?2
         WHERE hash = ?3 AND used_at IS NULL AND expires_at > ?1 AND NOT EXISTS (SELECT 1 FROM agents WHERE public_key = ?4)`,
      )
      .bind(now, agent, hash, public_key),
    // Selects nothing unless the statement above gave the token to this very agent.
    db
      .prepare(
        `INSERT INTO agents (id, name, site, public_key, allowed_targets, enrolled_at)
         SELECT ?1, ?2, site, ?3, allowed_targets, ?4 FROM enrolment_tokens WHERE hash = ?5 AND agent = ?1`,
      )
      .bind(agent, name, public_key, now, hash),
  ]);
  const enrolled = await findAgent(db, agent);
  return enrolled === null ? err(await whyNot(db, enrolment)) : ok(enrolled);
}

async function whyNot(db: D1Database, { hash, now }: Enrolment): Promise<EnrolmentFailure> {
  const token = await db
    .prepare("SELECT used_at, expires_at FROM enrolment_tokens WHERE hash = ?")
    .bind(hash)
    .first<{ used_at: number | null; expires_at: number }>();
  if (token === null) return "unknown token";
  if (token.used_at !== null) return "token already used";
  return token.expires_at <= now ? "token expired" : "key already enrolled";
}
