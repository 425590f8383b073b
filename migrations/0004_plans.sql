-- Plans (docs/storage.md): SQL that was decided statement by statement before any of it ran. The row is the record of the
-- intention; whether consent was given is its approval's to say. Times are milliseconds since the epoch.

CREATE TABLE plans (
  id TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  target TEXT NOT NULL,
  -- Workload, and the key by which a later run of the same pipeline is recognised.
  workload TEXT NOT NULL,
  pipeline_key TEXT NOT NULL,
  -- The exact text, and its SHA-256 (hex).
  text TEXT NOT NULL,
  text_sha256 TEXT NOT NULL,
  -- JSON array of PlannedStatement (protocol/plan.ts).
  statements TEXT NOT NULL,
  -- 'held': its approval says more.
  verdict TEXT NOT NULL CHECK (verdict IN ('allowed', 'held', 'denied')),
  approval TEXT,
  -- Digest of the approval's subject, which a use must name.
  digest TEXT,
  bundle INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  -- The session that ran by it, at most one.
  used_by TEXT,
  used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX plans_by_time ON plans (created_at);
CREATE INDEX plans_by_identity ON plans (identity, created_at);
