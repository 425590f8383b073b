/**
 * Bundles in D1. Versions are numbered by the same transaction that makes one active, so they only grow, and of
 * two publications that began from the same active version one finds it changed and gets a conflict. Rolling
 * back publishes the old files again under a new number: no agent ever has to accept a smaller one (GW-27).
 *
 * What a bundle means is policy/'s business: nothing here reads the files.
 */
import type { BundleRow } from "../protocol/api.ts";
import { BundleFiles } from "../protocol/agent-control.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { Conditions, pageOf, type Page, type PageRequest } from "./page.ts";

export interface ActiveVersion {
  readonly version: number;
  /** Lower-case hex of SHA-256 over `canonicalBundle(files)`. */
  readonly digest: string;
}

/** The pointer alone: cheap enough for every request. */
export function activeVersion(db: D1Database): Promise<ActiveVersion | null> {
  return db.prepare("SELECT b.version, b.digest FROM active_bundle a JOIN bundles b ON b.version = a.version").first<ActiveVersion>();
}

export async function readBundleFiles(db: D1Database, digest: string): Promise<BundleFiles | null> {
  const row = await db.prepare("SELECT files FROM bundle_files WHERE digest = ?").bind(digest).first<{ files: string }>();
  return row === null ? null : BundleFiles.parse(JSON.parse(row.files));
}

export interface Publication {
  readonly digest: string;
  readonly files: BundleFiles;
  readonly published_at: number;
  readonly published_by: string;
  readonly note: string | null;
  /** The version that was active when this publication was decided; null: none. */
  readonly replaces: number | null;
  /** The files are those of an older version. */
  readonly rollback: boolean;
}

/** Makes the next version and activates it, unless another became active meanwhile. */
export async function publishBundle(db: D1Database, publication: Publication): Promise<Result<BundleRow, "conflict">> {
  const { digest, files, published_at, published_by, note, replaces, rollback } = publication;
  const results = await db.batch<{ version: number }>([
    db.prepare("INSERT OR IGNORE INTO bundle_files (digest, files) VALUES (?, ?)").bind(digest, JSON.stringify(files)),
    // `IS` compares NULL too. The version counts on from every row, so it grows even after the pointer was removed by hand.
    db
      .prepare(
        `INSERT INTO bundles (version, digest, published_at, published_by, note, rolled_back_from)
         SELECT (SELECT COALESCE(MAX(version), 0) + 1 FROM bundles), ?1, ?2, ?3, ?4, ?5
         WHERE (SELECT version FROM active_bundle) IS ?6`,
      )
      .bind(digest, published_at, published_by, note, rollback ? replaces : null, replaces),
    db.prepare(
      `INSERT INTO active_bundle (id, version) SELECT 1, MAX(version) FROM bundles WHERE changes() = 1 HAVING MAX(version) IS NOT NULL
       ON CONFLICT (id) DO UPDATE SET version = excluded.version RETURNING version`,
    ),
  ]);
  const version = results.at(-1)?.results[0]?.version;
  if (version === undefined) return err("conflict");
  const row = await findBundle(db, version);
  if (row === null) throw new Error(`bundle ${version} was published and cannot be read`);
  return ok(row);
}

interface Stored extends Omit<BundleRow, "active"> {
  readonly active: number;
}

const COLUMNS = `version, digest, published_at, published_by, version IS (SELECT version FROM active_bundle) AS active, note, rolled_back_from`;

const toRow = (row: Stored): BundleRow => ({ ...row, active: row.active === 1 });

export async function findBundle(db: D1Database, version: number): Promise<BundleRow | null> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM bundles WHERE version = ?`).bind(version).first<Stored>();
  return row === null ? null : toRow(row);
}

/** Newest first. */
export async function listBundles(db: D1Database, { limit, cursor }: PageRequest): Promise<Page<BundleRow>> {
  const conditions = new Conditions();
  if (cursor !== null) conditions.add("version < ?", Number(cursor.key));
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM bundles ${conditions.where} ORDER BY version DESC LIMIT ?`)
    .bind(...conditions.binds, limit + 1)
    .all<Stored>();
  return pageOf(results, limit, (row) => ({ at: row.published_at, key: String(row.version) }), toRow);
}
