-- When a value came to its stage, where it was not set in it: promoted, or replaced by one that was.
ALTER TABLE organization_credentials ADD COLUMN staged_at TEXT;

-- Whether the current credentials were refused and the run went on with those they had replaced.
ALTER TABLE integration_sync_logs ADD COLUMN fell_back INTEGER NOT NULL DEFAULT 0 CHECK (fell_back IN (0, 1));
