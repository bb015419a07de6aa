//! Puts into the database what commands of other files make, for tests that are about something else.

use rusqlite::{Connection, params};

use crate::support::World;

impl World {
    /// Returns the database itself.
    pub fn sql(&self) -> Connection {
        Connection::open(self.db()).unwrap()
    }

    /// Adds an organization on a preset.
    pub fn seed_organization(&self, slug: &str, preset: &str) {
        let added = self
            .sql()
            .execute(
                "INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
                 SELECT ?1, ?2, id, 1, 'Europe/London', 'active', '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z'
                 FROM integration_presets WHERE slug = ?3",
                params![slug, format!("{slug} Training Ltd"), preset],
            )
            .unwrap();
        assert_eq!(added, 1, "there is no preset {preset}");
    }

    /// Overrides settings of a provider.
    pub fn overridden(&self, slug: &str, provider: &str, document: &str) {
        let (organization, provider) = self.pair(slug, provider);
        self.sql()
            .execute(
                "INSERT INTO organization_integration_overrides (organization_id, provider_id, document, changes, revision)
                 VALUES (?1, ?2, ?3, '{}', 1)",
                params![organization, provider, document],
            )
            .unwrap();
    }

    /// Adds a run and returns its number.
    pub fn ran(&self, slug: &str, provider: &str, run: &Ran) -> i64 {
        let (organization, provider) = self.pair(slug, provider);
        let sql = self.sql();
        sql.execute(
            "INSERT INTO integration_sync_logs
                 (organization_id, provider_id, trigger, started_at, finished_at, outcome, tally, warnings, error_code, error, hint)
             VALUES (?1, ?2, 'schedule', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                organization, provider, run.started, run.finished, run.outcome, run.tally, run.warnings, run.error.map(|error| error.0),
                run.error.map(|error| error.1), run.error.map(|error| error.2)
            ],
        )
        .unwrap();
        sql.last_insert_rowid()
    }

    /// Puts a record into quarantine.
    pub fn set_aside(&self, slug: &str, provider: &str, run: i64, key: &str, record: &str) {
        let (organization, provider) = self.pair(slug, provider);
        self.sql()
            .execute(
                "INSERT INTO quarantine (organization_id, provider_id, stream, record_key, reasons, record, run_id, created_at)
                 VALUES (?1, ?2, 'learners', ?3, '[\"`learner.email`: not an e-mail address\"]', ?4, ?5, '2026-11-30T08:00:00.000Z')",
                params![organization, provider, key, record, run],
            )
            .unwrap();
    }

    /// Adds a learner.
    pub fn learner(&self, slug: &str, provider: &str, key: &str, name: &str, gone: Option<&str>) {
        let (organization, provider) = self.pair(slug, provider);
        self.sql()
            .execute(
                "INSERT INTO learners (organization_id, provider_id, external_key, external_id, last_name, programme, progress, custom,
                                       content_hash, first_seen_at, changed_at, generation, in_scope, deleted_at)
                 VALUES (?1, ?2, ?3, ?3, ?4, 'Team Leader', 12.5, '{\"division\":\"North\"}', x'00', '2026-11-01T00:00:00.000Z',
                         '2026-11-02T00:00:00.000Z', 1, 1, ?5)",
                params![organization, provider, key, name, gone],
            )
            .unwrap();
    }

    pub fn pair(&self, slug: &str, provider: &str) -> (i64, i64) {
        let id = |table: &str, slug: &str| -> i64 {
            self.sql().query_row(&format!("SELECT id FROM {table} WHERE slug = ?1"), [slug], |row| row.get(0)).unwrap()
        };
        (id("organizations", slug), id("integration_providers", provider))
    }
}

/// A run to add.
pub struct Ran {
    pub started: &'static str,
    pub finished: Option<&'static str>,
    pub outcome: &'static str,
    pub tally: &'static str,
    pub warnings: &'static str,
    /// Code, message and hint.
    pub error: Option<(&'static str, &'static str, &'static str)>,
}

impl Default for Ran {
    fn default() -> Self {
        Ran {
            started: "2026-11-30T08:58:00.000Z",
            finished: Some("2026-11-30T08:58:00.000Z"),
            outcome: "ok",
            tally: r#"{"read": 10, "inserted": 7, "unchanged": 3}"#,
            warnings: "[]",
            error: None,
        }
    }
}
