-- Records that could not be stored, with the reasons. A record that comes again replaces its row; one that passes removes it.
-- Their numbers are never given again, so that a list of them can be acted on later.
CREATE TABLE quarantine_numbered (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    stream          TEXT NOT NULL,
    -- The record's key at the provider, or a digest of the record where it has none.
    record_key      TEXT NOT NULL,
    reasons         TEXT NOT NULL CHECK (json_valid(reasons)),
    -- The record as the provider sent it, as far as it is kept.
    record          TEXT NOT NULL,
    -- All of it; without its details, which could not be read; or its size and digest only, as it is too large.
    kept            TEXT NOT NULL DEFAULT 'whole' CHECK (kept IN ('whole', 'thin', 'digest')),
    -- The value of the stream's loop that the record was read for; its details may be asked for with it.
    each_value      TEXT,
    -- The hash of the settings it was judged by.
    shape           TEXT,
    -- The newest full read when it came last: one that a later full read no longer finds is gone.
    generation      INTEGER NOT NULL DEFAULT 0,
    -- How often it was set aside.
    times           INTEGER NOT NULL DEFAULT 1,
    -- The run that set it aside last, and when.
    run_id          INTEGER NOT NULL REFERENCES integration_sync_logs (id),
    created_at      TEXT NOT NULL,
    UNIQUE (organization_id, provider_id, stream, record_key)
) STRICT;
INSERT INTO quarantine_numbered (id, organization_id, provider_id, stream, record_key, reasons, record, run_id, created_at)
    SELECT id, organization_id, provider_id, stream, record_key, reasons, record, run_id, created_at FROM quarantine;
DROP TABLE quarantine;
ALTER TABLE quarantine_numbered RENAME TO quarantine;

-- By what the last complete full read was made, and the one under way: credential and visible scope, as JSON.
ALTER TABLE sync_state ADD COLUMN view TEXT CHECK (view IS NULL OR json_valid(view));
ALTER TABLE sync_state ADD COLUMN open_view TEXT CHECK (open_view IS NULL OR json_valid(open_view));

-- What a run did: `sync` called the provider, `replay` stored records out of quarantine. Schedules heed the former only.
ALTER TABLE integration_sync_logs ADD COLUMN kind TEXT NOT NULL DEFAULT 'sync' CHECK (kind IN ('sync', 'backfill', 'replay'));
-- The hash of the settings in force.
ALTER TABLE integration_sync_logs ADD COLUMN shape TEXT;
-- The newest run of each pair that was a sync is looked for often, and must not cost a look at each run.
DROP INDEX integration_sync_logs_latest;
CREATE INDEX integration_sync_logs_latest ON integration_sync_logs (organization_id, provider_id, kind, id);
