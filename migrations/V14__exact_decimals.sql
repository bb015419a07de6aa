-- Decimals are kept as the digits they were sent as. A column cannot change its type, so the table is made anew.
DROP VIEW learner_report;

CREATE TABLE learners_exact (
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
    -- Percent, by its digits.
    progress        TEXT,
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

-- A float becomes the shortest text that reads as the same float, a whole number without a point.
INSERT INTO learners_exact
    SELECT id, organization_id, provider_id, external_key, external_id, uln, first_name, last_name, email, phone, date_of_birth,
           programme, status, start, planned_end, completion,
           CASE WHEN progress IS NULL THEN NULL
                WHEN progress = CAST(progress AS INTEGER) AND abs(progress) < 9007199254740992 THEN CAST(CAST(progress AS INTEGER) AS TEXT)
                WHEN CAST(printf('%!.15g', progress) AS REAL) = progress THEN printf('%!.15g', progress)
                WHEN CAST(printf('%!.16g', progress) AS REAL) = progress THEN printf('%!.16g', progress)
                ELSE printf('%!.17g', progress) END,
           employer_id, custom, content_hash, first_seen_at, changed_at, generation, in_scope, dormant, deleted_at
    FROM learners;
DROP TABLE learners;
ALTER TABLE learners_exact RENAME TO learners;
-- Partial, so that an ordinary sync pays nothing for them.
CREATE INDEX learners_dormant_uln ON learners (organization_id, uln) WHERE dormant = 1;
CREATE INDEX learners_dormant_email ON learners (organization_id, email) WHERE dormant = 1;

-- A report calculates with numbers, so here they are what a float holds of them.
CREATE VIEW learner_report AS
SELECT o.name AS Organization, o.slug AS organization_slug, p.name AS LMS_Provider,
       l.external_id, l.uln, l.first_name, l.last_name, l.email, l.phone, l.date_of_birth, l.programme, l.status,
       l.start, l.planned_end, l.completion, CAST(l.progress AS REAL) AS progress, l.employer_id, l.custom, l.first_seen_at, l.changed_at
FROM learners l
JOIN organizations o ON o.id = l.organization_id
JOIN integration_providers p ON p.id = l.provider_id
WHERE l.deleted_at IS NULL AND l.in_scope = 1;
