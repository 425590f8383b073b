/**
 * Last good key sets of token issuers in D1, shared by all isolates. Derived data: emptying the table costs one fetch
 * for each issuer. An older set never replaces a newer one.
 */

export interface StoredKeys {
  /** JSON of a JWK Set; the caller parses and judges it. */
  readonly jwks: string;
  /** ms since the epoch. */
  readonly fetched_at: number;
}

/** `jwksUri`: the configured one, or "" where discovery finds it. */
export function readIssuerKeys(db: D1Database, issuer: string, jwksUri: string): Promise<StoredKeys | null> {
  return db.prepare("SELECT jwks, fetched_at FROM issuer_keys WHERE issuer = ? AND jwks_uri = ?").bind(issuer, jwksUri).first<StoredKeys>();
}

export async function writeIssuerKeys(db: D1Database, issuer: string, jwksUri: string, keys: StoredKeys): Promise<void> {
  await db
    .prepare(
      `INSERT INTO issuer_keys (issuer, jwks_uri, jwks, fetched_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (issuer, jwks_uri) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at
       WHERE excluded.fetched_at > issuer_keys.fetched_at`,
    )
    .bind(issuer, jwksUri, keys.jwks, keys.fetched_at)
    .run();
}
