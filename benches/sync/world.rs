//! A home of its own with a database and one organization that reads from the server.

use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_skillsctl");

/// The three mappings that are by paths, or by expressions that make the same kind of thing.
pub(crate) const PATHS: [&str; 3] = ["company_name", "lastname", "firstname"];
pub(crate) const EXPRESSIONS: [&str; 3] = [
    "{expr: \"(company_name|default('', true)|split)[:2]|join(' ')\"}",
    "{expr: \"firstname ~ ' ' ~ lastname\"}",
    "{expr: \"firstname|upper if division_code else firstname\"}",
];

/// A database with one organization that reads from the server.
pub(crate) struct World<'f> {
    folder: &'f Path,
}

impl<'f> World<'f> {
    pub(crate) fn new(folder: &'f Path, url: &str, mappings: [&str; 3]) -> Self {
        let world = World { folder };
        let written = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("writing a file");
            folder.join(name).display().to_string()
        };
        let [name, contact, first] = mappings;
        let provider = include_str!("provider.yaml").replace("URL", url);
        let preset =
            include_str!("preset.yaml").replace("NAME", name).replace("CONTACT", contact).replace("FIRST", first);
        world.run(&["init"]);
        world.run(&["provider", "add", "-f", &written("provider.yaml", &provider)]);
        world.run(&["preset", "apply", "-f", &written("preset.yaml", &preset)]);
        let create = ["org", "create", "--name", "Bench", "--slug", "bench", "--preset", "bench", "--yes"];
        world.run(&[create.as_slice(), &["--billing-name", "B", "--billing-email", "b@example.org"]].concat());
        world
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("HOME", self.folder).args(words).arg("--db").arg(self.folder.join("skills.db"));
        command
    }

    fn run(&self, words: &[&str]) {
        let output = self.command(words).stdin(Stdio::null()).output().expect("starting the program");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the query of a list for the shell of SQLite.
    pub(crate) fn shell(&self, mode: &str) -> Command {
        let sql = "SELECT e.external_key, p.slug, e.account_manager, e.address, e.contact_email, e.contact_name, e.crm_id, e.custom,
                          e.domain, e.name, e.phone, e.in_scope, e.dormant, e.first_seen_at, e.changed_at, e.deleted_at
                   FROM employers e JOIN integration_providers p ON p.id = e.provider_id
                   WHERE e.organization_id = (SELECT id FROM organizations WHERE slug = 'bench') AND p.slug = 'bench'
                     AND e.deleted_at IS NULL AND e.in_scope = 1 ORDER BY e.external_key";
        let mut command = Command::new("sqlite3");
        command.arg("-readonly").arg(mode).arg(self.folder.join("skills.db")).arg(sql);
        command
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("skills.db")).expect("opening the database")
    }

    pub(crate) fn rows(&self) -> usize {
        let count: u32 =
            self.database().query_row("SELECT count(*) FROM employers", [], |row| row.get(0)).expect("counting");
        count as usize
    }

    /// Copies the organization, straight into the table: making each by a command would measure something else.
    pub(crate) fn add_organizations(&self, number: u32) {
        let sql = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
             SELECT 'org-' || i, 'Organization ' || i, preset_id, defaults_revision, time_zone, status, created_at, updated_at
             FROM n, organizations WHERE slug = 'bench'";
        self.database().execute(sql, [number]).expect("inserting");
    }

    /// Adds rows that an earlier read of the organization left, with ids before those that will be served.
    pub(crate) fn add_rows(&self, number: u32) {
        let rows = "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
             INSERT INTO employers (organization_id, provider_id, external_key, crm_id, name, contact_name, contact_email, custom,
                                    content_hash, first_seen_at, changed_at, generation, in_scope)
             SELECT o.id, p.id, printf('%07d', i), 'crm-' || i, 'Acme Training ' || i || ' Ltd', 'O''Neill',
                    'learner' || i || '@example.co.uk', '{\"division\":\"DIV-001\",\"first_name\":\"Amelia\"}', randomblob(16),
                    '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 1, 1
             FROM n, organizations o, integration_providers p WHERE o.slug = 'bench' AND p.slug = 'bench'";
        let state = "INSERT INTO sync_state (organization_id, provider_id, stream, generation)
             SELECT o.id, p.id, 'contacts', 1 FROM organizations o, integration_providers p
             WHERE o.slug = 'bench' AND p.slug = 'bench'";
        self.database().execute(rows, [number]).expect("inserting");
        self.database().execute(state, []).expect("inserting");
    }
}
