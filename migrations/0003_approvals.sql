-- The index of approvals (docs/storage.md): who asked for what, and how it ended. The command, the votes and the truth
-- about the state are in the approval's own object. Times are milliseconds since the epoch.

CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('command', 'plan')),
  mode TEXT NOT NULL CHECK (mode IN ('wait', 'later')),
  -- May lag behind the object; 'pending' past its expiry is expired.
  state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn')),
  identity TEXT NOT NULL,
  target TEXT NOT NULL,
  site TEXT NOT NULL,
  agent TEXT NOT NULL,
  -- Of a plan: the plan's id.
  session TEXT NOT NULL,
  -- Its number in the session's recording.
  command INTEGER,
  -- SHA-256 of `approvalDigestText` (protocol/approval.ts), lower-case hex.
  digest TEXT NOT NULL,
  -- JSON array of the groups that must consent.
  needs TEXT NOT NULL,
  requested_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  ended_at INTEGER,
  -- JSON array of the people who decided.
  by TEXT NOT NULL DEFAULT '[]',
  reason TEXT,
  -- When its consent was used, and by which approval or plan.
  used_at INTEGER,
  used_by TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_time ON approvals (requested_at);
CREATE INDEX approvals_by_identity ON approvals (identity, requested_at);
CREATE INDEX approvals_by_session ON approvals (session);
CREATE INDEX approvals_pending ON approvals (requested_at) WHERE state = 'pending';
CREATE INDEX approvals_to_use ON approvals (identity, digest) WHERE mode = 'later' AND used_at IS NULL;
