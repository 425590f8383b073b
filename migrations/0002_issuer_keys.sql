-- Last good public keys of each issuer, so that a new isolate need not fetch them and an issuer's outage is survived
-- for a bounded time (docs/identity.md). Derived: safe to empty.

CREATE TABLE issuer_keys (
  -- `iss`, and the configured jwks_uri or '' for discovery: another place to look means other keys.
  issuer TEXT NOT NULL,
  jwks_uri TEXT NOT NULL,
  -- JWK Set, public keys only.
  jwks TEXT NOT NULL,
  fetched_at INTEGER NOT NULL,
  PRIMARY KEY (issuer, jwks_uri)
) STRICT, WITHOUT ROWID;
