//! The database as a tenant sees it: one organization, and nothing that is secret, however a query is written.
//!
//! The file is attached under a name that nobody can know, and for each of its tables there is a temporary view of the same name:
//! of a table that a tenant's commands read, it shows the organization's part, of others nothing. So their queries are those of
//! everybody. SQLite's authorizer then lets a statement reach the file through these views only.
//!
//! Neither is enough alone. The authorizer is not asked about columns that a `NATURAL JOIN` compares; and a table expression
//! (`WITH`) counts as a view and may be named like one, so the views that are let through bear names that nobody can know, too.
//!
//! This keeps a wrong query of ours from showing what is another's. It is no wall against who can open the file.

use std::path::Path;

use anyhow::Result;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OptionalExtension as _};

use super::{Store, open};
use crate::domain::names::Slug;
use crate::error::{Exit, UserError};

/// What a tenant's connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum May {
    Read,
    /// Also to ask for syncs of its organization, with a row in the audit.
    Request,
}

/// The tables of which a tenant sees its part.
const SEEN: [&str; 13] = [
    "meta",
    "organizations",
    "integration_presets",
    "integration_preset_defaults",
    "integration_providers",
    "provider_manifests",
    "organization_integration_overrides",
    "organization_credentials",
    "credential_deposits",
    "integration_sync_logs",
    "quarantine",
    "sync_requests",
    "sync_state",
];

/// Columns that are empty for a tenant, and so is every blob: what is sealed, what a person on our side wrote, who that was,
/// the records of learners, and where a read stands, which may be a link.
const HIDDEN: [&str; 9] =
    ["fingerprint", "created_by", "requested_by", "changes", "message", "record", "each_value", "open_read", "view"];

/// The functions that queries of a tenant's commands call.
const FUNCTIONS: [&str; 5] = ["coalesce", "count", "max", "min", "sum"];

/// The tables that one who asks for a sync writes to: no views stand before these.
const WRITTEN: [&str; 2] = ["sync_requests", "audit_log"];

/// What the writing reads besides: what a row of the audit follows.
const READ_TO_WRITE: [(&str, &str); 4] =
    [("audit_log", "id"), ("audit_log", "hash"), ("sqlite_sequence", "name"), ("sqlite_sequence", "seq")];

/// Opens the database for a tenant. It is not brought up to date: that is not a tenant's to do.
pub(crate) fn open_for_tenant(path: &Path, own: &Slug, may: May) -> Result<Store> {
    let (mut store, name) = open::attached(path, may == May::Request)?;
    restrict(&store.connection, &name, own.as_str(), may)?;
    guard(&mut store.connection, move |context| allows(context, &name, may))?;
    Ok(store)
}

/// Puts views before all tables of the file that is attached under this name. Names of views that reach through begin with it.
fn restrict(connection: &Connection, file: &str, own: &str, may: May) -> Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let find = "SELECT id, preset_id, defaults_revision FROM organizations WHERE slug = ?1 AND status <> 'deleted'";
    let found: Option<(i64, i64, i64)> =
        connection.query_row(find, [own], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let (own, preset, revision) = found.ok_or_else(|| {
        UserError::new(Exit::NotFound, "org_not_found", format!("the organization of this role, `{own}`, is not there"))
            .hint("ask a super admin which organization the role is of")
    })?;
    let of_own = format!("organization_id = {own}");
    let pinned = format!("preset_id = {preset} AND revision = {revision}");
    let providers = format!(
        "(id IN (SELECT provider_id FROM {file}.integration_sync_logs WHERE {of_own}) OR instr(
            (SELECT providers FROM {file}.integration_preset_defaults WHERE {pinned}), '\"' || slug || '\"') > 0)"
    );
    let list = format!(
        "SELECT name FROM {file}.sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    );
    let tables: Vec<String> =
        connection.prepare(&list)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in &tables {
        let part = match table.as_str() {
            table if may == May::Request && WRITTEN.contains(&table) => continue,
            "meta" => "key IN ('base_domain', 'database_id')",
            "organizations" => &format!("id = {own}"),
            "integration_presets" => &format!("id = {preset}"),
            "integration_preset_defaults" => &pinned,
            "integration_providers" => &providers,
            "provider_manifests" => {
                &format!("hash IN (SELECT manifest_hash FROM {file}.integration_providers WHERE {providers})")
            }
            table if SEEN.contains(&table) => &of_own,
            _ => "0",
        };
        let columns = columns(connection, file, table)?;
        connection.execute_batch(&format!(
            "CREATE TEMP VIEW {file}_{table} AS SELECT {columns} FROM {file}.\"{table}\" WHERE {part};
             CREATE TEMP VIEW \"{table}\" AS SELECT * FROM {file}_{table}"
        ))?;
    }
    if may == May::Request {
        // Who is referred to is checked here: SQLite's own check would read the tables of all organizations.
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        connection.execute_batch(&format!(
            "CREATE TEMP TRIGGER {file}_only BEFORE INSERT ON {file}.sync_requests
             WHEN NEW.organization_id IS NOT {own} OR NEW.run_id IS NOT NULL
               OR NEW.provider_id NOT IN (SELECT id FROM {file}_integration_providers)
             BEGIN SELECT RAISE(ABORT, 'a request is for the own organization'); END"
        ))?;
    } else {
        // Stands before that of the file, for which there can be no view.
        connection.execute_batch("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)")?;
        connection.pragma_update(None, "query_only", "ON")?;
    }
    Ok(())
}

/// Returns the columns of a table as a tenant sees them: those that are hidden are empty.
fn columns(connection: &Connection, file: &str, table: &str) -> Result<String> {
    let mut statement = connection.prepare("SELECT name, type, \"notnull\" FROM pragma_table_info(?1, ?2)")?;
    let columns = statement.query_map([table, file], |row| {
        let (name, kind, filled): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let shown = kind != "BLOB" && !HIDDEN.contains(&name.as_str());
        let empty = match (filled, kind.as_str()) {
            (false, _) => "NULL",
            (true, "BLOB") => "x''",
            // Read as JSON.
            (true, "TEXT") if name == "changes" => "'{}'",
            (true, "TEXT") => "''",
            (true, _) => "0",
        };
        Ok(if shown { format!("\"{name}\"") } else { format!("{empty} AS \"{name}\"") })
    })?;
    Ok(columns.collect::<rusqlite::Result<Vec<_>>>()?.join(", "))
}

/// Has every statement from now on asked about.
fn guard(
    connection: &mut Connection,
    allows: impl Fn(&AuthContext<'_>) -> bool + Send + 'static,
) -> rusqlite::Result<()> {
    connection.authorizer(Some(
        move |context: AuthContext<'_>| {
            if allows(&context) { Authorization::Allow } else { Authorization::Deny }
        },
    ))
}

/// Returns whether a tenant's statement may do this, the file being attached under this name.
fn allows(context: &AuthContext<'_>, file: &str, may: May) -> bool {
    let through_view = context.accessor.is_some_and(|accessor| accessor.starts_with(file));
    let requests = may == May::Request;
    let is_file = context.database_name == Some(file);
    match context.action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, column_name } => {
            let in_temporary = matches!(context.database_name, Some("temp") | None);
            let is_view = SEEN.contains(&table_name) || table_name.starts_with(file);
            let is_written = requests && WRITTEN.contains(&table_name);
            // `changed_rows` is empty, and looked at before every commit.
            (in_temporary && !is_written && (is_view || (requests && table_name == "changed_rows")))
                || (is_file && (through_view || (requests && READ_TO_WRITE.contains(&(table_name, column_name)))))
        }
        AuthAction::Function { function_name } => {
            through_view || FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(function_name))
        }
        AuthAction::Transaction { .. } => requests,
        AuthAction::Insert { table_name } => requests && is_file && WRITTEN.contains(&table_name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use rusqlite::types::ValueRef;

    use super::*;

    /// Stands in every text and blob of the other organization.
    const FOREIGN: &str = "FOREIGN";

    /// Fills every table there is with rows of an organization, whatever its columns mean: so that tables to come are filled, too.
    fn plant(connection: &Connection, own: i64, tag: &str) {
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
                     AND name NOT IN ('refinery_schema_history', 'changed_rows')";
        let mut names = connection.prepare(names).unwrap();
        let tables: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for table in tables {
            let mut columns = connection.prepare("SELECT name, type FROM pragma_table_info(?1)").unwrap();
            let columns: Vec<(String, String)> = columns
                .query_map([&table], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            for number in 0..3 {
                let value = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
                    ("organization_id" | "provider_id" | "preset_id", _) => own.to_string(),
                    ("defaults_revision" | "revision", _) => "1".to_owned(),
                    ("id", "INTEGER")
                        if ["organizations", "integration_presets", "integration_providers"]
                            .contains(&table.as_str()) =>
                    {
                        own.to_string()
                    }
                    ("slug", _) => format!("'{tag}-slug'"),
                    ("hash" | "manifest_hash", _) => format!("'{tag}-hash'"),
                    ("providers", _) => format!("'[\"{tag}-slug\"]'"),
                    ("status", _) => "'active'".to_owned(),
                    ("document" | "changes", _) => format!("'{{\"{tag}\": \"{tag}\"}}'"),
                    (_, "BLOB") => format!("CAST('{tag}-{number}' AS BLOB)"),
                    (_, "TEXT") => format!("'{tag}-{table}-{name}-{number}'"),
                    (_, _) => (own * 1_000 + number).to_string(),
                };
                let values: Vec<String> = columns.iter().map(value).collect();
                let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                let sql = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({})", names.join(","), values.join(","));
                connection.execute(&sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    /// A tenant's connection, the name its file has, and the folder of that.
    struct World {
        store: Store,
        file: String,
        _folder: tempfile::TempDir,
    }

    /// Returns a connection as a tenant gets it, but for what it is guarded by; with another organization in it or without.
    fn world(with_foreign: bool, may: May, allows: impl Fn(&AuthContext<'_>, &str) -> bool + Send + 'static) -> World {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skills.db");
        open::create(&path).unwrap();
        let whole = open::open(&path, "admin", chrono::DateTime::UNIX_EPOCH).unwrap();
        let connection = &whole.connection;
        connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
        connection.execute("UPDATE meta SET value = 'same' WHERE key = 'database_id'", []).unwrap();
        connection.execute("INSERT INTO meta (key, value) VALUES ('base_domain', 'aivii.co.uk')", []).unwrap();
        plant(connection, 1, "own");
        if with_foreign {
            plant(connection, 2, FOREIGN);
        }
        if may == May::Request {
            connection.execute_batch("DELETE FROM sync_requests").unwrap();
        }
        drop(whole);
        let (mut store, file) = open::attached(&path, may == May::Request).unwrap();
        restrict(&store.connection, &file, "own-slug", may).unwrap();
        let name = file.clone();
        guard(&mut store.connection, move |context| allows(context, &name)).unwrap();
        World { store, file, _folder: folder }
    }

    /// Returns all that comes of a statement as one text, and how many rows came.
    fn outcome(World { store, file, .. }: &World, sql: &str) -> (String, usize) {
        let mut said = String::new();
        let mut count = 0;
        let mut run = || -> rusqlite::Result<()> {
            let mut statement = store.connection.prepare(sql)?;
            let width = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                count += 1;
                for column in 0..width {
                    let value = match row.get_ref(column)? {
                        ValueRef::Null => "null".to_owned(),
                        ValueRef::Integer(number) => number.to_string(),
                        ValueRef::Real(number) => number.to_string(),
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    };
                    write!(said, "{value}|").unwrap();
                }
            }
            Ok(())
        };
        if let Err(error) = run() {
            write!(said, "{error:?} {error}").unwrap();
        }
        (said.replace(file.as_str(), "own"), count)
    }

    /// Makes up statements, the same ones for the same seed.
    struct Maker(u64);

    impl Maker {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % bound
        }

        fn one(&mut self, of: &[&str]) -> String {
            of[self.below(of.len())].to_owned()
        }

        fn table(&mut self) -> String {
            const OTHERS: [&str; 19] = [
                "learners",
                "employers",
                "audit_log",
                "data_keys",
                "access_tokens",
                "role_grants",
                "master_keys",
                "changed_rows",
                "learner_report",
                "employer_report",
                "sqlite_schema",
                "sqlite_master",
                "sqlite_temp_schema",
                "sqlite_sequence",
                "refinery_schema_history",
                "dbstat",
                "pragma_table_list",
                "pragma_database_list",
                "x",
            ];
            let name = if self.below(4) > 0 { self.one(&SEEN) } else { self.one(&OTHERS) };
            let qualifier = self.one(&["", "", "", "main.", "main.", "temp."]);
            format!("{qualifier}{name}")
        }

        fn source(&mut self, depth: usize) -> String {
            match self.below(12) {
                0 if depth > 0 => format!("({})", self.select(depth - 1)),
                1 if depth > 0 => format!("({}) AS {}", self.select(depth - 1), self.one(&SEEN)),
                2 => self.one(&[
                    "json_each('[1,2]')",
                    "json_tree('{}')",
                    "pragma_table_info('learners')",
                    "pragma_index_list('organizations')",
                ]),
                3 if depth > 0 => format!("{} CROSS JOIN {}", self.table(), self.table()),
                4 => format!(
                    "{} AS a LEFT JOIN {} AS b ON a.organization_id = b.organization_id",
                    self.table(),
                    self.table()
                ),
                5 => format!("{} NATURAL JOIN {}", self.table(), self.table()),
                _ => self.table(),
            }
        }

        fn value(&mut self, depth: usize) -> String {
            let column = self.one(&[
                "*",
                "*",
                "*",
                "id",
                "slug",
                "name",
                "organization_id",
                "document",
                "sealed",
                "wrapped",
                "fingerprint",
                "error",
                "key",
                "value",
                "subject",
                "actor",
                "rowid",
                "_rowid_",
                "oid",
                "sql",
                "record",
                "manifest",
                "email",
                "1",
                "os_user",
            ]);
            if column == "*" || self.below(2) == 0 {
                return self.one(&["*", "*", "count(*)"]);
            }
            match self.below(14) {
                0 => format!("max({column})"),
                1 => format!("count({column})"),
                2 => format!("coalesce({column}, 'none')"),
                3 => format!("hex({column})"),
                4 => format!("group_concat({column})"),
                5 if depth > 0 => format!("({} LIMIT 1)", self.select(depth - 1)),
                6 if depth > 0 => format!("EXISTS ({})", self.select(depth - 1)),
                7 => format!("row_number() OVER (ORDER BY {column})"),
                8 => self.one(&[
                    "readfile('/etc/passwd')",
                    "load_extension('x')",
                    "zeroblob(100000000)",
                    "sqlite_version()",
                    "changes()",
                ]),
                _ => column,
            }
        }

        fn select(&mut self, depth: usize) -> String {
            let mut sql = format!("SELECT {} FROM {}", self.value(depth), self.source(depth));
            match self.below(8) {
                0 => sql += " WHERE organization_id = 2",
                1 => sql += " WHERE id = 2 OR 1",
                2 if depth > 0 => {
                    let within = self.select(depth - 1);
                    write!(sql, " WHERE 1 IN ({within}) OR 1").unwrap();
                }
                _ => {}
            }
            sql
        }

        fn statement(&mut self) -> String {
            let select = self.select(2);
            match self.below(16) {
                // A name that a guard may take for that of a view.
                0 | 1 => {
                    let name = self.one(&SEEN);
                    let columns = self.one(&["*", "*", "count(*)", "1"]);
                    format!("WITH {name} AS ({select}) SELECT {columns} FROM {name}")
                }
                2 => format!(
                    "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT * FROM x LIMIT 5), y AS ({select}) SELECT * FROM y, x"
                ),
                3 => {
                    format!("{select} {} {}", self.one(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]), self.select(1))
                }
                4 => format!("EXPLAIN QUERY PLAN {select}"),
                5 => {
                    let table = self.table();
                    self.one(&[
                        &format!("UPDATE {table} SET slug = 'x' RETURNING *"),
                        &format!("DELETE FROM {table} RETURNING *"),
                        &format!("INSERT INTO {table} SELECT * FROM main.organizations RETURNING *"),
                        &format!("CREATE TEMP VIEW v AS {select}"),
                        &format!("CREATE TEMP TABLE t AS {select}"),
                        &format!("DROP VIEW {table}"),
                        &format!("ALTER TABLE {table} RENAME TO z"),
                    ])
                }
                6 => self.one(&[
                    "PRAGMA table_list",
                    "PRAGMA database_list",
                    "PRAGMA query_only = OFF",
                    "PRAGMA writable_schema = ON",
                    "PRAGMA integrity_check",
                    "PRAGMA main.table_info(learners)",
                    "ATTACH ':memory:' AS x",
                    "DETACH main",
                    "BEGIN",
                    "SAVEPOINT s",
                    "ANALYZE",
                    "REINDEX",
                    "PRAGMA data_version",
                    "VALUES (1)",
                ]),
                _ => select,
            }
        }
    }

    /// Returns the statements that show what is the other's: its texts, or anything that is otherwise where it is not there; and
    /// how many statements returned any row. With `known`, what is said of `main` is said of the file by its name.
    fn leaks(
        statements: u32,
        known: bool,
        allows: impl Fn(&AuthContext<'_>, &str) -> bool + Copy + Send + 'static,
    ) -> (Vec<String>, u32) {
        let (alone, beside) = (world(false, May::Read, allows), world(true, May::Read, allows));
        let said = |world: &World, sql: &str| {
            let name = format!("{}.", world.file);
            outcome(world, &if known { sql.replace("main.", &name) } else { sql.to_owned() })
        };
        let mut maker = Maker(20_261_130);
        let (mut leaks, mut fruitful) = (Vec::new(), 0);
        for _ in 0..statements {
            let sql = maker.statement();
            let ((one, _), (other, count)) = (said(&alone, &sql), said(&beside, &sql));
            if one != other || other.contains(FOREIGN) {
                leaks.push(format!("{sql}\n  {one}\n  {other}"));
            }
            fruitful += u32::from(count > 0);
        }
        (leaks, fruitful)
    }

    #[test]
    fn ten_thousand_statements_show_a_tenant_nothing_of_another_organization() {
        let (leaks, fruitful) = leaks(10_000, false, |context, file| allows(context, file, May::Read));
        assert!(leaks.is_empty(), "{} statements, the first: {}", leaks.len(), leaks[0]);
        assert!(fruitful > 500, "only {fruitful} statements returned anything at all");
    }

    #[test]
    fn even_one_who_knows_the_name_of_the_file_learns_no_more_than_the_authorizer_is_not_asked_about() {
        let (leaks, _) = leaks(10_000, true, |context, file| allows(context, file, May::Read));
        let asked = leaks.iter().find(|leak| !leak.contains("NATURAL") || leak.contains(FOREIGN));
        assert!(asked.is_none(), "{} statements, one: {}", leaks.len(), asked.unwrap());
        let beside = world(true, May::Read, |context, file| allows(context, file, May::Read));
        let file = &beside.file;
        let sql = format!("SELECT count(*) FROM {file}.sync_requests NATURAL JOIN {file}.quarantine");
        assert_ne!(
            outcome(&beside, &sql),
            outcome(&beside, &sql.replace(&format!("{file}."), "")),
            "then why hide the name"
        );
    }

    #[test]
    fn a_guard_with_a_hole_is_noticed() {
        let reads = |context: &AuthContext<'_>| matches!(context.action, AuthAction::Read { .. });
        let shown = |leaks: &(Vec<String>, u32)| leaks.0.iter().any(|leak| leak.contains(FOREIGN));
        assert!(shown(&leaks(500, true, |_, _| true)), "none at all");
        let every = move |context: &AuthContext<'_>, file: &str| reads(context) || allows(context, file, May::Read);
        assert!(shown(&leaks(500, true, every)), "one that lets every column be read");
        let any_view = move |context: &AuthContext<'_>, file: &str| {
            (reads(context) && context.accessor.is_some()) || allows(context, file, May::Read)
        };
        assert!(shown(&leaks(2_000, true, any_view)), "one to which every view is as good");
        // A table expression may be named like a view.
        let named = move |context: &AuthContext<'_>, file: &str| {
            let named = context.accessor.is_some_and(|accessor| SEEN.contains(&accessor));
            (reads(context) && named) || allows(context, file, May::Read)
        };
        assert!(shown(&leaks(5_000, true, named)), "one that goes by names that can be known");
    }

    #[test]
    fn secret_columns_are_empty_for_a_tenant() {
        let world = world(true, May::Read, |context, file| allows(context, file, May::Read));
        for (sql, shown) in [
            ("SELECT field FROM organization_credentials LIMIT 1", "own-organization_credentials-field-0|"),
            ("SELECT sealed, fingerprint, created_by, row_digest FROM organization_credentials LIMIT 1", "|||null|"),
            ("SELECT field, sealed, created_by FROM credential_deposits LIMIT 1", "own-credential_deposits-field-0|||"),
            ("SELECT changes FROM organization_integration_overrides LIMIT 1", "{}|"),
            ("SELECT requested_by FROM sync_requests LIMIT 1", "|"),
            ("SELECT record, each_value FROM quarantine LIMIT 1", "|null|"),
            ("SELECT message, created_by FROM integration_preset_defaults", "||"),
            ("SELECT key, value FROM meta ORDER BY key", "base_domain|aivii.co.uk|database_id|same|"),
        ] {
            assert_eq!(outcome(&world, sql).0, shown, "{sql}");
        }
    }

    #[test]
    fn a_tenant_asks_for_syncs_of_its_own_organization_and_writes_nothing_else() {
        let World { mut store, file, _folder } =
            world(true, May::Request, |context, file| allows(context, file, May::Request));
        let now = chrono::DateTime::UNIX_EPOCH;
        let mut ask = |pair| {
            store.change(crate::store::Keep::Yes, |tx| super::super::requests::insert(tx, pair, "bob", now)).ok()
        };
        assert_eq!(ask((1, 1)), Some(true));
        assert_eq!(ask((1, 1)), Some(false), "one waits for each pair");
        assert_eq!(ask((2, 2)), None, "another organization");
        assert_eq!(ask((1, 2)), None, "a provider that is not its own");
        let request = "INSERT INTO sync_requests (organization_id, provider_id, requested_by, requested_at) VALUES (2, 1, '', '')";
        let foreign = store.connection.execute_batch(request).unwrap_err().to_string();
        assert!(foreign.contains("for the own organization"), "{foreign}");
        for sql in [
            "INSERT INTO FILE.organizations SELECT * FROM organizations",
            "INSERT INTO FILE.role_grants (os_user, role, granted_by, granted_at) VALUES ('bob', 'super', '', '')",
            "UPDATE FILE.sync_requests SET organization_id = 2",
            "DELETE FROM FILE.sync_requests",
            "DELETE FROM FILE.audit_log",
            "UPDATE FILE.organizations SET name = 'x'",
            "SELECT * FROM FILE.audit_log",
            "SELECT subject FROM audit_log",
            "SELECT slug FROM FILE.organizations",
            "SELECT count(*) FROM sync_requests",
            "SELECT requested_by FROM FILE.sync_requests",
            "ATTACH ':memory:' AS x",
            "VACUUM INTO '/nowhere/x'",
            "DROP TRIGGER FILE_only",
            "PRAGMA writable_schema = ON",
        ] {
            let sql = sql.replace("FILE", &file);
            let error = store.connection.execute_batch(&sql).unwrap_err().to_string();
            assert!(
                error.contains("prohibited") || error.contains("denied") || error.contains("not authorized"),
                "{sql}: {error}"
            );
        }
    }

    #[test]
    fn what_is_not_there_has_no_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skills.db");
        open::create(&path).unwrap();
        drop(open::open(&path, "admin", chrono::DateTime::UNIX_EPOCH).unwrap());
        let error = open_for_tenant(&path, &"acme".parse().unwrap(), May::Read).err().unwrap();
        assert_eq!(error.downcast_ref::<UserError>().unwrap().code, "org_not_found");
    }
}
