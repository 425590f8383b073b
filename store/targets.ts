/**
 * Targets in D1: which site serves a name, and what its agent says of it.
 *
 * A name belongs to the site that announced it first; another site's agent cannot take it over (GW-14), nor can
 * an agent announce a name outside the list its enrolment was bound to. The site keeps the name while any of its
 * agents announces it, connected or not; it lets go by announcing without it, or when its agents are revoked.
 */
import type { TargetFacts } from "../policy/types.ts";
import { TargetAnnouncement } from "../protocol/agent-control.ts";
import { findAgent } from "./agents.ts";

export interface Target {
  readonly announcement: TargetAnnouncement;
  readonly site: string;
  /** Who announced it last. */
  readonly agent: string;
  readonly announced_at: number;
  /** The site's agents that serve it, connected or not. */
  readonly announcers: readonly string[];
}

export interface Claim {
  readonly accepted: TargetAnnouncement[];
  /** With a sentence for the site's operator. */
  readonly refused: { readonly name: string; readonly reason: string }[];
}

interface StoredTarget {
  readonly site: string;
  readonly announcement: string;
  readonly agent: string;
  readonly announced_at: number;
  readonly announcers: string;
}

const COLUMNS = `site, announcement, agent, announced_at,
  (SELECT json_group_array(a.agent) FROM target_announcers a WHERE a.target = targets.name) AS announcers`;

const toTarget = (row: StoredTarget): Target => ({
  ...row,
  announcement: TargetAnnouncement.parse(JSON.parse(row.announcement)),
  announcers: JSON.parse(row.announcers) as string[],
});

/** What policies may know of a target. */
export const targetFacts = ({ announcement }: Target): TargetFacts => ({
  name: announcement.name,
  protocol: announcement.protocol,
  environment: announcement.environment,
  labels: announcement.labels,
});

/** For a decision about a target that nobody has announced: all that is known is its name. */
export const unannouncedFacts = (name: string): TargetFacts => ({ name, protocol: "unknown", labels: [] });

/** Replaces everything this agent announced before. A revoked or unknown agent, or one of another site, gets nothing. */
export async function claimTargets(
  db: D1Database,
  site: string,
  agent: string,
  announcements: readonly TargetAnnouncement[],
  now: number,
): Promise<Claim> {
  const enrolled = await findAgent(db, agent);
  if (enrolled === null || enrolled.revoked_at !== null || enrolled.site !== site) {
    return { accepted: [], refused: announcements.map(({ name }) => ({ name, reason: "the agent is not enrolled for this site" })) };
  }
  const refused: { name: string; reason: string }[] = [];
  const wanted = new Map<string, TargetAnnouncement>();
  for (const announcement of announcements) {
    const { name } = announcement;
    if (wanted.has(name)) refused.push({ name, reason: "announced twice" });
    else if (enrolled.targets !== null && !enrolled.targets.includes(name)) {
      refused.push({ name, reason: "the agent's enrolment does not include this target" });
    } else wanted.set(name, announcement);
  }
  const json = JSON.stringify([...wanted.values()]);
  const results = await db.batch<{ name: string; site: string }>([
    db.prepare("DELETE FROM target_announcers WHERE agent = ?").bind(agent),
    db
      .prepare(
        `INSERT INTO targets (name, site, announcement, agent, announced_at)
         SELECT value ->> 'name', ?1, value, ?2, ?3 FROM json_each(?4)
         WHERE EXISTS (SELECT 1 FROM agents WHERE id = ?2 AND revoked_at IS NULL)
         ON CONFLICT (name) DO UPDATE SET announcement = excluded.announcement, agent = excluded.agent, announced_at = excluded.announced_at
         WHERE targets.site = excluded.site`,
      )
      .bind(site, agent, now, json),
    db
      .prepare(
        `INSERT INTO target_announcers (agent, target)
         SELECT ?1, t.name FROM json_each(?2) CROSS JOIN targets t ON t.name = value ->> 'name' AND t.site = ?3`,
      )
      .bind(agent, json, site),
    db
      .prepare("DELETE FROM targets WHERE site = ? AND NOT EXISTS (SELECT 1 FROM target_announcers a WHERE a.target = targets.name)")
      .bind(site),
    db.prepare("SELECT name, site FROM targets WHERE name IN (SELECT value ->> 'name' FROM json_each(?))").bind(json),
  ]);
  const owners = new Map(results.at(-1)?.results.map((row) => [row.name, row.site]));
  const accepted: TargetAnnouncement[] = [];
  for (const [name, announcement] of wanted) {
    if (owners.get(name) === site) accepted.push(announcement);
    else refused.push({ name, reason: "the name belongs to another site" });
  }
  return { accepted, refused };
}

export async function findTarget(db: D1Database, name: string): Promise<Target | null> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM targets WHERE name = ?`).bind(name).first<StoredTarget>();
  return row === null ? null : toTarget(row);
}

/** All targets by name. */
export async function listTargets(db: D1Database): Promise<Target[]> {
  const { results } = await db.prepare(`SELECT ${COLUMNS} FROM targets ORDER BY name`).all<StoredTarget>();
  return results.map(toTarget);
}
