-- The row that a row of a former provider belongs to, where a person said that both are of one learner: the older one is history.
ALTER TABLE learners ADD COLUMN linked_to INTEGER REFERENCES learners (id) ON UPDATE CASCADE ON DELETE CASCADE;
CREATE INDEX learners_linked ON learners (linked_to) WHERE linked_to IS NOT NULL;
-- 1 where it is settled whose row this is: it was taken over, linked, or said to be nobody else's. No sync matches it again.
ALTER TABLE learners ADD COLUMN settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1));

-- Rows are matched with all of both providers at hand, so that nothing is looked for by its address.
DROP INDEX learners_dormant_email;

DROP VIEW learner_report;
-- What a Power BI report reads: the current set, with the columns every filter can name. A learner linked to a row is in it once.
CREATE VIEW learner_report AS
SELECT o.name AS Organization, o.slug AS organization_slug, p.name AS LMS_Provider,
       l.external_id, l.uln, l.first_name, l.last_name, l.email, l.phone, l.date_of_birth, l.programme, l.status,
       l.start, l.planned_end, l.completion, CAST(l.progress AS REAL) AS progress, l.employer_id, l.custom,
       min(l.first_seen_at, coalesce((SELECT min(f.first_seen_at) FROM learners f WHERE f.linked_to = l.id), l.first_seen_at))
           AS first_seen_at,
       l.changed_at
FROM learners l
JOIN organizations o ON o.id = l.organization_id
JOIN integration_providers p ON p.id = l.provider_id
WHERE l.deleted_at IS NULL AND l.in_scope = 1 AND l.linked_to IS NULL;
