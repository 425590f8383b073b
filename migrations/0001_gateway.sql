-- Facts and the searchable index of the gateway (docs/storage.md). R2 holds the recordings themselves: the
-- tables `commands`, `command_outcomes` and `segments` can be built again from them, `commands_fts` and
-- `command_actions` from `commands`. Times are milliseconds since the epoch. JSON columns hold the shapes of
-- protocol/*.ts.

-- ── sites, agents and their targets ──

CREATE TABLE sites (
  name TEXT PRIMARY KEY,
  first_named_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  site TEXT NOT NULL REFERENCES sites (name),
  -- Ed25519 public key: `x` of the JWK, base64url of 32 bytes (RFC 8037).
  public_key TEXT NOT NULL UNIQUE,
  -- JSON array of the target names it may announce; NULL: any.
  allowed_targets TEXT,
  version TEXT,
  bundle INTEGER,
  enrolled_at INTEGER NOT NULL,
  last_seen_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_by_site ON agents (site);

-- One-time tokens: only the SHA-256 is kept. `agent` is who used it.
CREATE TABLE enrolment_tokens (
  hash TEXT PRIMARY KEY,
  site TEXT NOT NULL REFERENCES sites (name),
  allowed_targets TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  agent TEXT
) STRICT, WITHOUT ROWID;

-- A name belongs to the site that announced it first, until none of the site's agents announces it (GW-14).
CREATE TABLE targets (
  name TEXT PRIMARY KEY,
  site TEXT NOT NULL REFERENCES sites (name),
  -- TargetAnnouncement, the latest.
  announcement TEXT NOT NULL,
  -- Whose announcement it is.
  agent TEXT NOT NULL,
  announced_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX targets_by_site ON targets (site);

CREATE TABLE target_announcers (
  agent TEXT NOT NULL,
  target TEXT NOT NULL,
  PRIMARY KEY (agent, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_announcers_by_target ON target_announcers (target);

-- ── bundles ──

-- By digest, so that a rollback does not copy them.
CREATE TABLE bundle_files (
  digest TEXT PRIMARY KEY,
  files TEXT NOT NULL
) STRICT;

-- Rows are never changed or removed: `version` only grows (GW-27).
CREATE TABLE bundles (
  version INTEGER PRIMARY KEY,
  digest TEXT NOT NULL REFERENCES bundle_files (digest),
  published_at INTEGER NOT NULL,
  published_by TEXT NOT NULL,
  note TEXT,
  -- For a rollback: the version that was active before it.
  rolled_back_from INTEGER
) STRICT;

CREATE TABLE active_bundle (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL REFERENCES bundles (version)
) STRICT;

-- ── sessions ──

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  target TEXT NOT NULL,
  protocol TEXT NOT NULL,
  site TEXT NOT NULL,
  agent TEXT,
  state TEXT NOT NULL CHECK (state IN ('opening', 'active', 'ended')),
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  deadline INTEGER NOT NULL,
  end_code TEXT,
  end_message TEXT,
  bundle INTEGER NOT NULL,
  -- Workload; the three columns after it repeat what lists are filtered by.
  workload TEXT NOT NULL,
  pipeline TEXT,
  run_id TEXT,
  job_id TEXT,
  -- Sums over `segments`.
  commands INTEGER NOT NULL DEFAULT 0,
  denied INTEGER NOT NULL DEFAULT 0,
  sealed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (started_at);
CREATE INDEX sessions_by_identity ON sessions (identity, started_at);
CREATE INDEX sessions_by_target ON sessions (target, started_at);
CREATE INDEX sessions_by_pipeline ON sessions (pipeline, started_at) WHERE pipeline IS NOT NULL;
CREATE INDEX sessions_by_run ON sessions (run_id, started_at) WHERE run_id IS NOT NULL;
CREATE INDEX sessions_by_job ON sessions (job_id, started_at) WHERE job_id IS NOT NULL;
CREATE INDEX sessions_not_ended ON sessions (started_at) WHERE state <> 'ended';

-- What is known of each segment in R2, to check a new one against its neighbours.
CREATE TABLE segments (
  session TEXT NOT NULL,
  n INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  first_prev TEXT NOT NULL,
  last_hash TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  commands INTEGER NOT NULL,
  denied INTEGER NOT NULL,
  -- The segment ends with the seal.
  sealed INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;

-- ── commands: append-only; what became of one is in command_outcomes, which may arrive first ──

CREATE TABLE commands (
  -- The row number that commands_fts and command_actions refer to.
  id INTEGER PRIMARY KEY,
  session TEXT NOT NULL,
  command INTEGER NOT NULL,
  at INTEGER NOT NULL,
  identity TEXT NOT NULL,
  target TEXT NOT NULL,
  via TEXT NOT NULL,
  text TEXT NOT NULL,
  truncated INTEGER NOT NULL,
  shape TEXT,
  effects TEXT NOT NULL,
  decision TEXT NOT NULL,
  policies TEXT NOT NULL,
  reason TEXT,
  bundle INTEGER NOT NULL,
  UNIQUE (session, command)
) STRICT;
CREATE INDEX commands_by_time ON commands (at);
CREATE INDEX commands_by_identity ON commands (identity, at);
CREATE INDEX commands_by_target ON commands (target, at);
-- Nearly all commands are allowed: an index of those would cost a write for each and find nothing.
CREATE INDEX commands_not_allowed ON commands (decision, at) WHERE decision <> 'allow';

CREATE TABLE command_outcomes (
  session TEXT NOT NULL,
  command INTEGER NOT NULL,
  status TEXT NOT NULL,
  code TEXT,
  tag TEXT,
  rows INTEGER,
  ms REAL,
  PRIMARY KEY (session, command)
) STRICT, WITHOUT ROWID;

CREATE TABLE command_actions (
  action TEXT NOT NULL,
  command_row INTEGER NOT NULL,
  PRIMARY KEY (action, command_row)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE commands_fts USING fts5 (text, content = 'commands', content_rowid = 'id', tokenize = 'unicode61');

CREATE TRIGGER commands_inserted AFTER INSERT ON commands BEGIN
  INSERT INTO commands_fts (rowid, text) VALUES (new.id, new.text);
  INSERT OR IGNORE INTO command_actions (action, command_row)
    SELECT value ->> 'action', new.id FROM json_each(new.effects);
END;
CREATE TRIGGER commands_deleted AFTER DELETE ON commands BEGIN
  INSERT INTO commands_fts (commands_fts, rowid, text) VALUES ('delete', old.id, old.text);
  DELETE FROM command_actions WHERE command_row = old.id
    AND action IN (SELECT value ->> 'action' FROM json_each(old.effects));
END;

-- ── refusals at the edge, with the reason that the peer did not get ──

CREATE TABLE refusals (
  ref TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  identity TEXT,
  target TEXT,
  issuer TEXT,
  subject TEXT,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  policies TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_by_time ON refusals (at);
CREATE INDEX refusals_by_identity ON refusals (identity, at) WHERE identity IS NOT NULL;
CREATE INDEX refusals_by_code ON refusals (code, at);
