-- One row each: what the database itself is.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The master keys that may open data keys, and for each a value that only the right key opens.
CREATE TABLE master_keys (
    key_id      TEXT NOT NULL PRIMARY KEY,
    check_value BLOB NOT NULL,
    created_at  TEXT NOT NULL
) STRICT;

-- Providers, each with the manifest in force. Every manifest ever in force stays in provider_manifests.
CREATE TABLE integration_providers (
    id            INTEGER NOT NULL PRIMARY KEY,
    slug          TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('lms', 'crm')),
    manifest_hash TEXT NOT NULL REFERENCES provider_manifests (hash),
    built_in      INTEGER NOT NULL CHECK (built_in IN (0, 1)),
    enabled       INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    updated_at    TEXT NOT NULL
) STRICT;

CREATE TABLE provider_manifests (
    hash     TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    manifest TEXT NOT NULL,
    added_at TEXT NOT NULL
) STRICT;

CREATE TABLE integration_presets (
    id          INTEGER NOT NULL PRIMARY KEY,
    slug        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    recommended INTEGER NOT NULL CHECK (recommended IN (0, 1)),
    position    INTEGER NOT NULL
) STRICT;

-- Immutable: a change of defaults is a new revision.
CREATE TABLE integration_preset_defaults (
    preset_id  INTEGER NOT NULL REFERENCES integration_presets (id),
    revision   INTEGER NOT NULL,
    document   TEXT NOT NULL,
    -- The providers in the order they are called, as a JSON array of slugs.
    providers  TEXT NOT NULL,
    message    TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (preset_id, revision)
) STRICT;
CREATE TRIGGER integration_preset_defaults_immutable BEFORE UPDATE ON integration_preset_defaults
BEGIN SELECT RAISE(ABORT, 'a revision of defaults is immutable'); END;

CREATE TABLE organizations (
    id                INTEGER NOT NULL PRIMARY KEY,
    slug              TEXT NOT NULL UNIQUE,
    name              TEXT NOT NULL,
    preset_id         INTEGER NOT NULL REFERENCES integration_presets (id),
    -- The pinned revision of the preset's defaults.
    defaults_revision INTEGER NOT NULL,
    max_learners      INTEGER,
    billing_name      TEXT,
    billing_email     TEXT,
    time_zone         TEXT NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'deleted')),
    -- Counts changes, so that two edits of the same thing are noticed.
    revision          INTEGER NOT NULL DEFAULT 1,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    deleted_at        TEXT,
    FOREIGN KEY (preset_id, defaults_revision) REFERENCES integration_preset_defaults (preset_id, revision)
) STRICT;

-- Only what is different from the defaults, never the merged result. Rows of a provider that the organization's preset
-- no longer has are dormant: kept, not read.
CREATE TABLE organization_integration_overrides (
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    document        TEXT NOT NULL CHECK (json_valid(document)),
    -- For each setting who changed it and when, as a JSON map.
    changes         TEXT NOT NULL CHECK (json_valid(changes)),
    enabled         INTEGER GENERATED ALWAYS AS (coalesce(json_extract(document, '$.enabled'), 1)) VIRTUAL,
    revision        INTEGER NOT NULL,
    PRIMARY KEY (organization_id, provider_id)
) STRICT;

-- Each organization's data key, wrapped by a master key.
CREATE TABLE data_keys (
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    version         INTEGER NOT NULL,
    key_id          TEXT NOT NULL REFERENCES master_keys (key_id),
    wrapped         BLOB NOT NULL,
    created_at      TEXT NOT NULL,
    PRIMARY KEY (organization_id, version)
) STRICT;

-- Sealed values, never in the clear.
CREATE TABLE organization_credentials (
    id               INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization_id  INTEGER NOT NULL,
    provider_id      INTEGER NOT NULL REFERENCES integration_providers (id),
    field            TEXT NOT NULL,
    version          INTEGER NOT NULL,
    stage            TEXT NOT NULL CHECK (stage IN ('pending', 'current', 'previous')),
    data_key_version INTEGER NOT NULL,
    sealed           BLOB NOT NULL,
    fingerprint      TEXT NOT NULL,
    created_by       TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    UNIQUE (organization_id, provider_id, field, stage),
    FOREIGN KEY (organization_id, data_key_version) REFERENCES data_keys (organization_id, version)
) STRICT;

-- One row a run of one provider of one organization, failed and interrupted ones too.
CREATE TABLE integration_sync_logs (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    trigger         TEXT NOT NULL CHECK (trigger IN ('manual', 'schedule')),
    started_at      TEXT NOT NULL,
    finished_at     TEXT,
    -- `running` is believed only while a lock is held.
    outcome         TEXT NOT NULL CHECK (outcome IN ('running', 'ok', 'partial', 'failed', 'deferred', 'interrupted')),
    -- What was done, as a JSON map of counts.
    tally           TEXT NOT NULL CHECK (json_valid(tally)),
    warnings        TEXT NOT NULL CHECK (json_valid(warnings)),
    error_code      TEXT,
    error           TEXT,
    hint            TEXT
) STRICT;
CREATE INDEX integration_sync_logs_latest ON integration_sync_logs (organization_id, provider_id, id);

-- How far each stream has been read. Written in the transaction of the page it speaks of.
CREATE TABLE sync_state (
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    stream          TEXT NOT NULL,
    -- Everything up to this instant has been read.
    watermark       TEXT,
    -- The read that is under way, as JSON; null between reads.
    open_read       TEXT CHECK (open_read IS NULL OR json_valid(open_read)),
    -- Counts complete full reads; rows carry the one that saw them last.
    generation      INTEGER NOT NULL,
    last_full_at    TEXT,
    -- The hash of the mappings and filters the rows were made with.
    shape           TEXT,
    PRIMARY KEY (organization_id, provider_id, stream)
) STRICT;

CREATE TABLE learners (
    id              INTEGER NOT NULL PRIMARY KEY,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    -- The record's key at the provider.
    external_key    TEXT NOT NULL,
    external_id     TEXT,
    uln             TEXT,
    first_name      TEXT,
    last_name       TEXT,
    email           TEXT,
    phone           TEXT,
    date_of_birth   TEXT,
    programme       TEXT,
    status          TEXT,
    start           TEXT,
    planned_end     TEXT,
    completion      TEXT,
    -- Percent.
    progress        REAL,
    employer_id     TEXT,
    -- The organization's own fields, as a JSON map.
    custom          TEXT,
    content_hash    BLOB NOT NULL,
    first_seen_at   TEXT NOT NULL,
    changed_at      TEXT NOT NULL,
    -- The newest full read that saw the row.
    generation      INTEGER NOT NULL,
    -- 0 once the row no longer passes the Power BI filters.
    in_scope        INTEGER NOT NULL CHECK (in_scope IN (0, 1)),
    -- 1 while the row's provider is not part of the organization's preset: it may be found again at another provider.
    dormant         INTEGER NOT NULL DEFAULT 0 CHECK (dormant IN (0, 1)),
    deleted_at      TEXT,
    UNIQUE (organization_id, provider_id, external_key)
) STRICT;
-- Partial, so that an ordinary sync pays nothing for them.
CREATE INDEX learners_dormant_uln ON learners (organization_id, uln) WHERE dormant = 1;
CREATE INDEX learners_dormant_email ON learners (organization_id, email) WHERE dormant = 1;

CREATE TABLE employers (
    id              INTEGER NOT NULL PRIMARY KEY,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    external_key    TEXT NOT NULL,
    crm_id          TEXT,
    name            TEXT,
    domain          TEXT,
    phone           TEXT,
    address         TEXT,
    contact_name    TEXT,
    contact_email   TEXT,
    account_manager TEXT,
    custom          TEXT,
    content_hash    BLOB NOT NULL,
    first_seen_at   TEXT NOT NULL,
    changed_at      TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    in_scope        INTEGER NOT NULL CHECK (in_scope IN (0, 1)),
    dormant         INTEGER NOT NULL DEFAULT 0 CHECK (dormant IN (0, 1)),
    deleted_at      TEXT,
    UNIQUE (organization_id, provider_id, external_key)
) STRICT;

-- What a Power BI report reads: the current set, with the columns every filter can name.
CREATE VIEW learner_report AS
SELECT o.name AS Organization, o.slug AS organization_slug, p.name AS LMS_Provider,
       l.external_id, l.uln, l.first_name, l.last_name, l.email, l.phone, l.date_of_birth, l.programme, l.status,
       l.start, l.planned_end, l.completion, l.progress, l.employer_id, l.custom, l.first_seen_at, l.changed_at
FROM learners l
JOIN organizations o ON o.id = l.organization_id
JOIN integration_providers p ON p.id = l.provider_id
WHERE l.deleted_at IS NULL AND l.in_scope = 1;

CREATE VIEW employer_report AS
SELECT o.name AS Organization, o.slug AS organization_slug, p.name AS CRM_Provider,
       e.crm_id, e.name, e.domain, e.phone, e.address, e.contact_name, e.contact_email, e.account_manager,
       e.custom, e.first_seen_at, e.changed_at
FROM employers e
JOIN organizations o ON o.id = e.organization_id
JOIN integration_providers p ON p.id = e.provider_id
WHERE e.deleted_at IS NULL AND e.in_scope = 1;

-- Records that could not be stored, with the reasons. A record that comes again replaces its row; one that passes removes it.
CREATE TABLE quarantine (
    id              INTEGER NOT NULL PRIMARY KEY,
    organization_id INTEGER NOT NULL REFERENCES organizations (id),
    provider_id     INTEGER NOT NULL REFERENCES integration_providers (id),
    stream          TEXT NOT NULL,
    record_key      TEXT NOT NULL,
    reasons         TEXT NOT NULL CHECK (json_valid(reasons)),
    record          TEXT NOT NULL,
    run_id          INTEGER NOT NULL REFERENCES integration_sync_logs (id),
    created_at      TEXT NOT NULL,
    UNIQUE (organization_id, provider_id, stream, record_key)
) STRICT;

-- Who changed what, when; hashes of before and after, never a secret.
CREATE TABLE audit_log (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at           TEXT NOT NULL,
    actor        TEXT NOT NULL,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    before_hash  TEXT,
    after_hash   TEXT
) STRICT;
