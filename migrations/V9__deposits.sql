-- A pair of keys by which whoever has no master key seals what they cannot open. One is in force; those before it stay
-- while a deposit needs them.
CREATE TABLE sealing_keys (
    -- A hash of the public half.
    id         TEXT NOT NULL PRIMARY KEY,
    public_key BLOB NOT NULL,
    key_id     TEXT NOT NULL REFERENCES master_keys (key_id),
    -- The private half, under the master key.
    wrapped    BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    retired_at TEXT,
    row_digest BLOB
) STRICT;
CREATE UNIQUE INDEX sealing_keys_in_force ON sealing_keys (retired_at IS NULL) WHERE retired_at IS NULL;

-- A credential that was sealed without the master key, until a process that has it takes it in.
CREATE TABLE credential_deposits (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    field           TEXT NOT NULL,
    sealing_key_id  TEXT NOT NULL REFERENCES sealing_keys (id),
    -- The credential that a person had set there when it was deposited.
    replaces        INTEGER,
    sealed          BLOB NOT NULL,
    -- Why it was not taken in, if that was tried.
    refused         TEXT,
    created_by      TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    row_digest      BLOB,
    UNIQUE (organization_id, provider_id, field)
) STRICT;

CREATE TRIGGER sealing_keys_inserted AFTER INSERT ON sealing_keys
BEGIN INSERT INTO changed_rows VALUES ('sealing_keys', NEW.rowid); END;
CREATE TRIGGER sealing_keys_updated AFTER UPDATE ON sealing_keys WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('sealing_keys', NEW.rowid); END;
CREATE TRIGGER credential_deposits_inserted AFTER INSERT ON credential_deposits
BEGIN INSERT INTO changed_rows VALUES ('credential_deposits', NEW.rowid); END;
CREATE TRIGGER credential_deposits_updated AFTER UPDATE ON credential_deposits WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('credential_deposits', NEW.rowid); END;
-- As in V6: one that is deleted is marked too.
CREATE TRIGGER sealing_keys_deleted AFTER DELETE ON sealing_keys
BEGIN INSERT INTO changed_rows VALUES ('sealing_keys', OLD.rowid); END;
CREATE TRIGGER credential_deposits_deleted AFTER DELETE ON credential_deposits
BEGIN INSERT INTO changed_rows VALUES ('credential_deposits', OLD.rowid); END;
