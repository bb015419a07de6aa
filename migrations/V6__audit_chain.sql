-- Each row of the audit carries a hash of itself and of the row before it, so that `skillsctl audit verify` finds one that was
-- edited, taken out, put in or moved (src/store/chain.rs). Null only until the upgrade has given the rows of before theirs.
ALTER TABLE audit_log ADD COLUMN hash TEXT;

CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'a row of the audit is never deleted'); END;
CREATE TRIGGER audit_log_immutable BEFORE UPDATE ON audit_log WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a row of the audit is never changed'); END;

-- A row of settings or a sealed value that is deleted is marked too: marked rows are how a change that leaves no row in the
-- audit is told and refused (src/store/mod.rs).
CREATE TRIGGER meta_deleted AFTER DELETE ON meta
BEGIN INSERT INTO changed_rows VALUES ('meta', OLD.rowid); END;
CREATE TRIGGER master_keys_deleted AFTER DELETE ON master_keys
BEGIN INSERT INTO changed_rows VALUES ('master_keys', OLD.rowid); END;
CREATE TRIGGER integration_providers_deleted AFTER DELETE ON integration_providers
BEGIN INSERT INTO changed_rows VALUES ('integration_providers', OLD.rowid); END;
CREATE TRIGGER provider_manifests_deleted AFTER DELETE ON provider_manifests
BEGIN INSERT INTO changed_rows VALUES ('provider_manifests', OLD.rowid); END;
CREATE TRIGGER integration_presets_deleted AFTER DELETE ON integration_presets
BEGIN INSERT INTO changed_rows VALUES ('integration_presets', OLD.rowid); END;
CREATE TRIGGER integration_preset_defaults_deleted AFTER DELETE ON integration_preset_defaults
BEGIN INSERT INTO changed_rows VALUES ('integration_preset_defaults', OLD.rowid); END;
CREATE TRIGGER organizations_deleted AFTER DELETE ON organizations
BEGIN INSERT INTO changed_rows VALUES ('organizations', OLD.rowid); END;
CREATE TRIGGER organization_integration_overrides_deleted AFTER DELETE ON organization_integration_overrides
BEGIN INSERT INTO changed_rows VALUES ('organization_integration_overrides', OLD.rowid); END;
CREATE TRIGGER data_keys_deleted AFTER DELETE ON data_keys
BEGIN INSERT INTO changed_rows VALUES ('data_keys', OLD.rowid); END;
CREATE TRIGGER organization_credentials_deleted AFTER DELETE ON organization_credentials
BEGIN INSERT INTO changed_rows VALUES ('organization_credentials', OLD.rowid); END;
