/**
 * Agents and sites in D1. An agent's public key is written once, at enrolment, and never changes: a new key is
 * a new agent. Revoking keeps the row, so that its recordings can still be verified.
 */
import type { TargetAnnouncement } from "../protocol/agent-control.ts";

export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly site: string;
  /** `x` of the Ed25519 JWK: base64url of 32 bytes. */
  readonly public_key: string;
  /** Target names it may announce; null: any. */
  readonly targets: readonly string[] | null;
  readonly version: string | null;
  readonly bundle: number | null;
  /** ms since the epoch, as all `_at`. */
  readonly enrolled_at: number;
  readonly last_seen_at: number | null;
  readonly revoked_at: number | null;
}

interface StoredAgent extends Omit<Agent, "targets"> {
  readonly allowed_targets: string | null;
}

const COLUMNS = "id, name, site, public_key, allowed_targets, version, bundle, enrolled_at, last_seen_at, revoked_at";

function toAgent({ allowed_targets, ...agent }: StoredAgent): Agent {
  return { ...agent, targets: allowed_targets === null ? null : (JSON.parse(allowed_targets) as string[]) };
}

/** A revoked agent is found too: look at `revoked_at`. */
export async function findAgent(db: D1Database, id: string): Promise<Agent | null> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM agents WHERE id = ?`).bind(id).first<StoredAgent>();
  return row === null ? null : toAgent(row);
}

export interface ListedAgent extends Agent {
  readonly announced: readonly TargetAnnouncement[];
}

/** All agents, revoked ones last, by site and name; with what each announces. */
export async function listAgents(db: D1Database): Promise<ListedAgent[]> {
  const { results } = await db
    .prepare(
      `SELECT ${COLUMNS}, (
         SELECT json_group_array(json(t.announcement)) FROM target_announcers a JOIN targets t ON t.name = a.target WHERE a.agent = agents.id
       ) AS announced
       FROM agents ORDER BY revoked_at IS NOT NULL, site, name, id`,
    )
    .all<StoredAgent & { announced: string }>();
  return results.map(({ announced, ...row }) => ({ ...toAgent(row), announced: JSON.parse(announced) as TargetAnnouncement[] }));
}

/** At hello and when a bundle was applied. */
export async function touchAgent(
  db: D1Database,
  id: string,
  seen: { readonly version: string; readonly bundle: number; readonly at: number },
): Promise<void> {
  await db
    .prepare("UPDATE agents SET version = ?, bundle = ?, last_seen_at = MAX(COALESCE(last_seen_at, 0), ?) WHERE id = ?")
    .bind(seen.version, seen.bundle, seen.at, id)
    .run();
}

/** Marks it revoked and releases the targets that only it announced. Returns the agent, or null when there is none. Repeatable. */
export async function revokeAgent(db: D1Database, id: string, at: number): Promise<Agent | null> {
  await db.batch([
    db.prepare("UPDATE agents SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL").bind(at, id),
    db.prepare("DELETE FROM target_announcers WHERE agent = ?").bind(id),
    db
      .prepare(
        `DELETE FROM targets WHERE site = (SELECT site FROM agents WHERE id = ?)
         AND NOT EXISTS (SELECT 1 FROM target_announcers a WHERE a.target = targets.name)`,
      )
      .bind(id),
  ]);
  return findAgent(db, id);
}

/** Names of the sites that have an agent which is not revoked. */
export async function listSites(db: D1Database): Promise<string[]> {
  const { results } = await db.prepare("SELECT DISTINCT site FROM agents WHERE revoked_at IS NULL ORDER BY site").all<{ site: string }>();
  return results.map((row) => row.site);
}
