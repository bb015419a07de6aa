-- Each row of settings and each sealed value carries a hash of itself, so that `db check` finds a bit that flipped on disk:
-- SQLite's own check does not look into values. Triggers mark a row that is written; its hash is renewed before the
-- transaction commits (src/store/digests.rs). A row that changed without being written is damaged.
CREATE TABLE changed_rows (
    table_name TEXT    NOT NULL,
    row        INTEGER NOT NULL
) STRICT;

ALTER TABLE meta ADD COLUMN row_digest BLOB;
ALTER TABLE master_keys ADD COLUMN row_digest BLOB;
ALTER TABLE integration_providers ADD COLUMN row_digest BLOB;
ALTER TABLE provider_manifests ADD COLUMN row_digest BLOB;
ALTER TABLE integration_presets ADD COLUMN row_digest BLOB;
ALTER TABLE integration_preset_defaults ADD COLUMN row_digest BLOB;
ALTER TABLE organizations ADD COLUMN row_digest BLOB;
ALTER TABLE organization_integration_overrides ADD COLUMN row_digest BLOB;
ALTER TABLE data_keys ADD COLUMN row_digest BLOB;
ALTER TABLE organization_credentials ADD COLUMN row_digest BLOB;

-- Immutable still, but for its hash.
DROP TRIGGER integration_preset_defaults_immutable;
CREATE TRIGGER integration_preset_defaults_immutable BEFORE UPDATE ON integration_preset_defaults
WHEN NEW.row_digest IS OLD.row_digest
BEGIN SELECT RAISE(ABORT, 'a revision of defaults is immutable'); END;

CREATE TRIGGER meta_inserted AFTER INSERT ON meta
BEGIN INSERT INTO changed_rows VALUES ('meta', NEW.rowid); END;
CREATE TRIGGER meta_updated AFTER UPDATE ON meta WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('meta', NEW.rowid); END;
CREATE TRIGGER master_keys_inserted AFTER INSERT ON master_keys
BEGIN INSERT INTO changed_rows VALUES ('master_keys', NEW.rowid); END;
CREATE TRIGGER master_keys_updated AFTER UPDATE ON master_keys WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('master_keys', NEW.rowid); END;
CREATE TRIGGER integration_providers_inserted AFTER INSERT ON integration_providers
BEGIN INSERT INTO changed_rows VALUES ('integration_providers', NEW.rowid); END;
CREATE TRIGGER integration_providers_updated AFTER UPDATE ON integration_providers WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('integration_providers', NEW.rowid); END;
CREATE TRIGGER provider_manifests_inserted AFTER INSERT ON provider_manifests
BEGIN INSERT INTO changed_rows VALUES ('provider_manifests', NEW.rowid); END;
CREATE TRIGGER provider_manifests_updated AFTER UPDATE ON provider_manifests WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('provider_manifests', NEW.rowid); END;
CREATE TRIGGER integration_presets_inserted AFTER INSERT ON integration_presets
BEGIN INSERT INTO changed_rows VALUES ('integration_presets', NEW.rowid); END;
CREATE TRIGGER integration_presets_updated AFTER UPDATE ON integration_presets WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('integration_presets', NEW.rowid); END;
CREATE TRIGGER integration_preset_defaults_inserted AFTER INSERT ON integration_preset_defaults
BEGIN INSERT INTO changed_rows VALUES ('integration_preset_defaults', NEW.rowid); END;
CREATE TRIGGER integration_preset_defaults_updated AFTER UPDATE ON integration_preset_defaults WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('integration_preset_defaults', NEW.rowid); END;
CREATE TRIGGER organizations_inserted AFTER INSERT ON organizations
BEGIN INSERT INTO changed_rows VALUES ('organizations', NEW.rowid); END;
CREATE TRIGGER organizations_updated AFTER UPDATE ON organizations WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('organizations', NEW.rowid); END;
CREATE TRIGGER organization_integration_overrides_inserted AFTER INSERT ON organization_integration_overrides
BEGIN INSERT INTO changed_rows VALUES ('organization_integration_overrides', NEW.rowid); END;
CREATE TRIGGER organization_integration_overrides_updated AFTER UPDATE ON organization_integration_overrides WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('organization_integration_overrides', NEW.rowid); END;
CREATE TRIGGER data_keys_inserted AFTER INSERT ON data_keys
BEGIN INSERT INTO changed_rows VALUES ('data_keys', NEW.rowid); END;
CREATE TRIGGER data_keys_updated AFTER UPDATE ON data_keys WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('data_keys', NEW.rowid); END;
CREATE TRIGGER organization_credentials_inserted AFTER INSERT ON organization_credentials
BEGIN INSERT INTO changed_rows VALUES ('organization_credentials', NEW.rowid); END;
CREATE TRIGGER organization_credentials_updated AFTER UPDATE ON organization_credentials WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('organization_credentials', NEW.rowid); END;
