-- The token that an organization is logged in with at a provider, sealed: runs that follow each other share it.
CREATE TABLE access_tokens (
    organization_id  INTEGER NOT NULL,
    provider_id      INTEGER NOT NULL REFERENCES integration_providers (id),
    -- A hash of the credentials and settings it was got with; with others it is worth nothing.
    basis            TEXT NOT NULL,
    data_key_version INTEGER NOT NULL,
    sealed           BLOB NOT NULL,
    got_at           TEXT NOT NULL,
    expires_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, provider_id),
    FOREIGN KEY (organization_id, data_key_version) REFERENCES data_keys (organization_id, version)
) STRICT;

-- The id of the row that a person set, where the provider has replaced the value since then; null on such a row itself.
ALTER TABLE organization_credentials ADD COLUMN given_id INTEGER;

-- When the provider lets a deferred run go on, if it told.
ALTER TABLE integration_sync_logs ADD COLUMN due_at TEXT;
