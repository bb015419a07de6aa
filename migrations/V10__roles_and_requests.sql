-- What a user of the operating system may do when sudo runs the program for them; who has no row may do nothing.
CREATE TABLE role_grants (
    os_user         TEXT NOT NULL PRIMARY KEY,
    role            TEXT NOT NULL CHECK (role IN ('super', 'operator', 'provisioner', 'tenant')),
    -- The one organization that a tenant sees.
    organization_id INTEGER REFERENCES organizations (id),
    granted_by      TEXT NOT NULL,
    granted_at      TEXT NOT NULL,
    row_digest      BLOB,
    CHECK ((role = 'tenant') = (organization_id IS NOT NULL))
) STRICT;
CREATE TRIGGER role_grants_inserted AFTER INSERT ON role_grants
BEGIN INSERT INTO changed_rows VALUES ('role_grants', NEW.rowid); END;
CREATE TRIGGER role_grants_updated AFTER UPDATE ON role_grants WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('role_grants', NEW.rowid); END;
CREATE TRIGGER role_grants_deleted AFTER DELETE ON role_grants
BEGIN INSERT INTO changed_rows VALUES ('role_grants', OLD.rowid); END;

-- Syncs that somebody asked for and the next `sync --all` performs.
CREATE TABLE sync_requests (
    id              INTEGER NOT NULL PRIMARY KEY,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    requested_by    TEXT NOT NULL,
    requested_at    TEXT NOT NULL,
    -- The run that has taken it on; when that run ends well or fails the row goes, and until then it can be taken on again.
    run_id          INTEGER REFERENCES integration_sync_logs (id) ON DELETE CASCADE
) STRICT;
-- One may wait for each pair.
CREATE UNIQUE INDEX sync_requests_waiting ON sync_requests (organization_id, provider_id) WHERE run_id IS NULL;
