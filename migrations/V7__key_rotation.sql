-- When another master key took the place of this one, which then wraps nothing any more; null for the one in force.
ALTER TABLE master_keys ADD COLUMN replaced_at TEXT;
CREATE UNIQUE INDEX master_keys_in_force ON master_keys ((replaced_at IS NULL)) WHERE replaced_at IS NULL;

-- Tokens are sealed values, too: damage to one is found.
ALTER TABLE access_tokens ADD COLUMN row_digest BLOB;
CREATE TRIGGER access_tokens_inserted AFTER INSERT ON access_tokens
BEGIN INSERT INTO changed_rows VALUES ('access_tokens', NEW.rowid); END;
CREATE TRIGGER access_tokens_updated AFTER UPDATE ON access_tokens WHEN NEW.row_digest IS OLD.row_digest
BEGIN INSERT INTO changed_rows VALUES ('access_tokens', NEW.rowid); END;
CREATE TRIGGER access_tokens_deleted AFTER DELETE ON access_tokens
BEGIN INSERT INTO changed_rows VALUES ('access_tokens', OLD.rowid); END;
