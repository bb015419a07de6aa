-- One for each organization that ever had a person erased: the key of the hashes in `erasures`, sealed under the data key.
CREATE TABLE erasure_keys (
    organization_id  INTEGER NOT NULL PRIMARY KEY,
    data_key_version INTEGER NOT NULL,
    sealed           BLOB NOT NULL,
    -- Counts what is erased and lifted, so that a run under way notices both.
    revision         INTEGER NOT NULL,
    row_digest       BLOB,
    FOREIGN KEY (organization_id, data_key_version) REFERENCES data_keys (organization_id, version)
) STRICT;
CREATE TRIGGER erasure_keys_inserted AFTER INSERT ON erasure_keys
BEGIN INSERT INTO changed_rows VALUES ('erasure_keys', NEW.rowid); END;
CREATE TRIGGER erasure_keys_updated AFTER UPDATE ON erasure_keys WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('erasure_keys', NEW.rowid); END;
CREATE TRIGGER erasure_keys_deleted AFTER DELETE ON erasure_keys
BEGIN INSERT INTO changed_rows VALUES ('erasure_keys', OLD.rowid); END;

-- What erased persons were known by, each a keyed hash: a key at a provider, or a ULN. A record that has it is left out.
CREATE TABLE erasures (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    -- The same for all that one person was known by.
    person          INTEGER NOT NULL,
    digest          BLOB NOT NULL,
    erased_at       TEXT NOT NULL,
    row_digest      BLOB,
    UNIQUE (organization_id, digest)
) STRICT;
CREATE TRIGGER erasures_inserted AFTER INSERT ON erasures
BEGIN INSERT INTO changed_rows VALUES ('erasures', NEW.rowid); END;
CREATE TRIGGER erasures_updated AFTER UPDATE ON erasures WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('erasures', NEW.rowid); END;
CREATE TRIGGER erasures_deleted AFTER DELETE ON erasures
BEGIN INSERT INTO changed_rows VALUES ('erasures', OLD.rowid); END;

-- When all that an organization had was destroyed. Its row stays, so that neither its name nor its number is given again.
ALTER TABLE organizations ADD COLUMN purged_at TEXT;

-- A run may go once nothing in quarantine speaks of it.
CREATE INDEX quarantine_run ON quarantine (run_id);

-- One row: when a sync of everything last removed what was older than it is to be kept.
CREATE TABLE retention_applied (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at TEXT NOT NULL
) STRICT;
