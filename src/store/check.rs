//! Whether a database holds together: its pages, its references, its schema, and the hashes of its rows.

use std::collections::BTreeMap;

use anyhow::Result;
use rusqlite::Connection;
use serde::Serialize;

use super::{digests, migrate};

/// How many findings of one kind are told; a file that is broken all over has thousands.
const MOST: usize = 100;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check found it.
    pub(crate) check: Check,
    /// Where: a table, and the row as far as it is known.
    pub(crate) place: String,
    pub(crate) problem: String,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// How the pages of the file hang together, and whether indexes fit their tables.
    Structure,
    /// Rows that point to rows.
    References,
    /// Tables, indexes, triggers and views.
    Schema,
    /// Whether rows of settings and sealed values are as they were written.
    Rows,
    /// Whether manifests, defaults and overrides can be read and fit each other.
    Documents,
    /// Whether sealed values have the form of one, or open.
    Sealed,
}

impl Check {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Check::Structure => "structure",
            Check::References => "references",
            Check::Schema => "schema",
            Check::Rows => "rows",
            Check::Documents => "documents",
            Check::Sealed => "sealed",
        }
    }
}

/// Returns what is wrong with the file as such; with any of it, it is not to be relied on at all.
pub(crate) fn unsound(connection: &Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    run(&mut findings, Check::Structure, |found| structure(connection, "integrity_check", found));
    run(&mut findings, Check::References, |found| references(connection, found));
    run(&mut findings, Check::Schema, |found| schema(connection, found));
    findings
}

/// Returns how the pages of the file do not hang together, without comparing indexes with their tables: fast, also for a
/// large file.
pub(crate) fn loose_pages(connection: &Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    run(&mut findings, Check::Structure, |found| structure(connection, "quick_check", found));
    findings
}

/// Returns rows of settings and sealed values that are not as they were written.
pub(crate) fn damaged_rows(connection: &Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    run(&mut findings, Check::Rows, |found| {
        let problem = "is not as it was written: it was damaged on disk";
        found.extend(
            digests::differing(connection)?.into_iter().map(|row| (place(&row.table, &row.name), problem.into())),
        );
        Ok(())
    });
    findings
}

/// Adds what one check finds. One that cannot be brought to its end has found something, too.
fn run(findings: &mut Vec<Finding>, check: Check, look: impl FnOnce(&mut Vec<(String, String)>) -> Result<()>) {
    let mut found = Vec::new();
    if let Err(error) = look(&mut found) {
        found.push(("database".to_owned(), format!("cannot be read to the end: {error:#}")));
    }
    findings.extend(found.into_iter().take(MOST).map(|(place, problem)| Finding { check, place, problem }));
}

fn place(table: &str, name: &str) -> String {
    format!("{table} {name}").trim_end().to_owned()
}

fn structure(connection: &Connection, pragma: &str, found: &mut Vec<(String, String)>) -> Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}({MOST})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let problem = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
        if problem != "ok" {
            found.push(("database".to_owned(), problem));
        }
    }
    Ok(())
}

fn references(connection: &Connection, found: &mut Vec<(String, String)>) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()?
        && found.len() < MOST
    {
        let (table, id, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = id.map(|id| format!("row {id}")).unwrap_or_default();
        found.push((place(&table, &id), format!("points to a row of {parent} that is not there")));
    }
    Ok(())
}

/// Compares the schema with that of a new database. What was added to it, like an index for a report, is nobody's harm.
fn schema(connection: &Connection, found: &mut Vec<(String, String)>) -> Result<()> {
    let schema = migrate::schema_version(connection, std::path::Path::new("the database"))?;
    let present = objects(connection)?;
    for ((kind, name), sql) in objects(&migrate::pattern(schema)?)? {
        let place = format!("{kind} {name}");
        match present.get(&(kind, name)) {
            None => found.push((place, "is not there".to_owned())),
            Some(other) if *other != sql => found.push((place, format!("is not that of schema {schema}"))),
            Some(_) => {}
        }
    }
    Ok(())
}

type Objects = BTreeMap<(String, String), Option<String>>;

fn objects(connection: &Connection) -> Result<Objects> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(break_it: &str) -> Vec<(Check, String)> {
        let store = super::super::tests::memory();
        store.read().pragma_update(None, "foreign_keys", "OFF").unwrap();
        store.read().execute_batch(break_it).unwrap();
        let all = [unsound(store.read()), damaged_rows(store.read())].concat();
        all.into_iter().map(|finding| (finding.check, finding.place)).collect()
    }

    #[test]
    fn a_new_database_is_sound() {
        assert_eq!(found(""), []);
    }

    #[test]
    fn a_row_that_points_nowhere_is_found() {
        let row = "INSERT INTO data_keys (organization_id, version, key_id, wrapped, created_at) VALUES (7, 1, 'x', x'00', '')";
        let data_key = (Check::References, "data_keys row 1".to_owned());
        assert_eq!(found(row), [data_key.clone(), data_key]);
    }

    #[test]
    fn a_schema_that_is_another_is_found_and_additions_are_not() {
        assert_eq!(found("DROP VIEW learner_report"), [(Check::Schema, "view learner_report".to_owned())]);
        assert_eq!(
            found("DROP INDEX learners_dormant_uln; CREATE INDEX learners_dormant_uln ON learners (uln)"),
            [(Check::Schema, "index learners_dormant_uln".to_owned())]
        );
        assert_eq!(found("CREATE INDEX mine ON learners (programme); CREATE VIEW theirs AS SELECT 1"), []);
    }
}
