//! A hash in each row of settings and of sealed values, renewed when the row is written, by which damage is found.
//!
//! SQLite checks how its pages hang together and not what stands in them: of flipped bits it notices one in five. Which
//! tables take part is told by the schema: those with a column `row_digest`.

use anyhow::{Context as _, Result};
use ring::digest::{Context, SHA256};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

/// The column that holds the hash of the others.
const DIGEST: &str = "row_digest";

/// A row that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Differing {
    pub(super) table: String,
    /// Its `rowid`; `None` where the rows of the table can no longer be read.
    pub(super) row: Option<i64>,
    /// What it is known by, as far as that can be told.
    pub(super) name: String,
}

/// A table whose rows carry a hash.
struct Table {
    name: String,
    /// All columns but the hash and those that are computed.
    columns: Vec<String>,
    /// Positions in `columns` of what a row is known by: its slug, else its key.
    known_by: Vec<usize>,
}

impl Table {
    fn read(connection: &Connection, name: String) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare_cached("SELECT name, pk > 0 FROM pragma_table_info(?1) WHERE name <> ?2")?;
        let columns: Vec<(String, bool)> = statement
            .query_map([name.as_str(), DIGEST], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let slug = columns.iter().position(|(name, _)| name == "slug");
        let key = || columns.iter().enumerate().filter(|(_, (_, key))| *key).map(|(position, _)| position).collect();
        let known_by = slug.map_or_else(key, |slug| vec![slug]);
        Ok(Table { name, known_by, columns: columns.into_iter().map(|(name, _)| name).collect() })
    }

    /// Returns a query for the row's number, its hash, and its columns.
    fn select(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("\"{column}\"")).collect();
        format!("SELECT rowid, {DIGEST}, {} FROM \"{}\"", columns.join(", "), self.name)
    }

    /// Returns the hash of a row of [`Table::select`]: each column's name, type and value after their lengths.
    fn digest(&self, row: &Row<'_>) -> rusqlite::Result<[u8; 32]> {
        let mut context = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(self.name.as_bytes());
        for (position, column) in self.columns.iter().enumerate() {
            part(column.as_bytes());
            match row.get_ref(position + 2)? {
                ValueRef::Null => part(b"null"),
                ValueRef::Integer(number) => [b"integer", &number.to_be_bytes()[..]].into_iter().for_each(&mut part),
                ValueRef::Real(number) => [b"real", &number.to_be_bytes()[..]].into_iter().for_each(&mut part),
                ValueRef::Text(text) => [b"text", text].into_iter().for_each(&mut part),
                ValueRef::Blob(bytes) => [b"blob", bytes].into_iter().for_each(&mut part),
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(digest)
    }

    /// Returns what a row of [`Table::select`] is known by.
    fn name_of(&self, row: &Row<'_>) -> String {
        let value = |position: &usize| {
            let value = match row.get_ref(position + 2).unwrap_or(ValueRef::Null) {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => "?".to_owned(),
            };
            if self.known_by.len() == 1 { value } else { format!("{}={value}", self.columns[*position]) }
        };
        self.known_by.iter().map(value).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the tables whose rows carry a hash; none before the schema that brought it.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = connection.prepare(
        "SELECT s.name FROM sqlite_schema s JOIN pragma_table_info(s.name) c
         WHERE s.type = 'table' AND c.name = ?1 ORDER BY s.name",
    )?;
    let names: Vec<String> = statement.query_map([DIGEST], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names.into_iter().map(|name| Table::read(connection, name)).collect()
}

/// Gives the rows written since the last time their hash; to be called before a transaction commits. Returns whether any
/// were of settings or credentials, those that were deleted included: tokens come and go with the runs that need them.
pub(super) fn renew(tx: &Connection) -> Result<bool> {
    let mut marked = tx.prepare_cached("SELECT DISTINCT table_name, row FROM changed_rows ORDER BY table_name")?;
    let rows: Vec<(String, i64)> =
        marked.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    if rows.is_empty() {
        return Ok(false);
    }
    for rows in rows.chunk_by(|one, other| one.0 == other.0) {
        let table = Table::read(tx, rows[0].0.clone())?;
        for (_, row) in rows {
            write(tx, &table, *row)?;
        }
    }
    tx.prepare_cached("DELETE FROM changed_rows")?.execute([])?;
    Ok(rows.iter().any(|(table, _)| table != "access_tokens"))
}

/// Gives all rows their hash anew, as a migration may have given them columns; not those that were damaged before it.
pub(super) fn renew_all(tx: &Connection, damaged: &[Differing]) -> Result<()> {
    let tables = tables(tx)?;
    // A schema from before there were any.
    if tables.is_empty() {
        return Ok(());
    }
    for table in tables {
        let mut statement = tx.prepare(&format!("SELECT rowid FROM \"{}\"", table.name))?;
        let rows: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let is_damaged = |row: &i64| damaged.iter().any(|one| one.table == table.name && one.row == Some(*row));
        for row in rows.into_iter().filter(|row| !is_damaged(row)) {
            write(tx, &table, row)?;
        }
    }
    tx.execute("DELETE FROM changed_rows", [])?;
    Ok(())
}

/// Gives one row its hash; one that is gone again needs none.
fn write(tx: &Connection, table: &Table, row: i64) -> Result<()> {
    let mut statement = tx.prepare_cached(&format!("{} WHERE rowid = ?1", table.select()))?;
    let mut rows = statement.query([row])?;
    let Some(found) = rows.next()? else { return Ok(()) };
    let digest = table.digest(found)?;
    drop(rows);
    // One that fits is not written again: of an immutable row only the hash may change.
    tx.prepare_cached(&format!("UPDATE \"{}\" SET {DIGEST} = ?1 WHERE rowid = ?2 AND {DIGEST} IS NOT ?1", table.name))?
        .execute((digest.as_slice(), row))
        .with_context(|| format!("writing the hash of a row of {}", table.name))?;
    Ok(())
}

/// Returns the rows that are not as they were written. Rows marked as written by another program are taken as they are.
pub(super) fn differing(connection: &Connection) -> Result<Vec<Differing>> {
    let mut differing = Vec::new();
    for table in tables(connection)? {
        if let Err(error) = differing_in(connection, &table, &mut differing) {
            let name = format!("its rows cannot be read to the end: {error}");
            differing.push(Differing { table: table.name.clone(), row: None, name });
        }
    }
    Ok(differing)
}

fn differing_in(connection: &Connection, table: &Table, differing: &mut Vec<Differing>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!(
        "{} WHERE rowid NOT IN (SELECT row FROM changed_rows WHERE table_name = ?1)",
        table.select()
    ))?;
    let mut rows = statement.query([table.name.as_str()])?;
    while let Some(row) = rows.next()? {
        let stored = matches!(row.get_ref(1)?, ValueRef::Blob(stored) if stored == table.digest(row)?);
        if !stored {
            let row_number = row.get(0)?;
            differing.push(Differing { table: table.name.clone(), row: Some(row_number), name: table.name_of(row) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Keep, set_meta};
    use super::*;

    fn store() -> super::super::Store {
        let mut store = super::super::tests::memory();
        store
            .change(Keep::Yes, |tx| {
                tx.execute_batch(
                    "INSERT INTO integration_presets (slug, name, recommended, position) VALUES ('aptem', 'Aptem', 1, 1);
                     INSERT INTO integration_preset_defaults (preset_id, revision, document, providers, message, created_by, created_at)
                     VALUES (1, 1, 'preset: aptem', '[\"aptem\"]', '', 'admin', '2026-11-01T00:00:00.000Z');",
                )?;
                set_meta(tx, "x", "y")
            })
            .unwrap();
        store
    }

    /// Changes a row as a flipped bit would: no trigger sees it.
    fn flip(store: &super::super::Store, sql: &str) {
        let connection = store.read();
        connection
            .execute_batch("CREATE TEMP TABLE kept AS SELECT name, sql FROM sqlite_schema WHERE type = 'trigger';")
            .unwrap();
        let triggers: Vec<(String, String)> = connection
            .prepare("SELECT name, sql FROM kept")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        triggers.iter().for_each(|(name, _)| connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
        connection.execute_batch(sql).unwrap();
        triggers.iter().for_each(|(_, sql)| connection.execute_batch(sql).unwrap());
    }

    #[test]
    fn rows_that_were_written_carry_a_hash_that_fits() {
        let store = store();
        assert_eq!(differing(store.read()).unwrap(), []);
        let without: i64 = store
            .read()
            .query_row("SELECT count(*) FROM integration_preset_defaults WHERE row_digest IS NULL", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(without, 0);
    }

    #[test]
    fn a_value_that_changed_without_being_written_is_found_and_named() {
        for (table, name, sql) in [
            ("integration_presets", "aptem", "UPDATE integration_presets SET name = 'Aptfm'"),
            ("integration_presets", "aptem", "UPDATE integration_presets SET position = 3"),
            (
                "integration_preset_defaults",
                "preset_id=1 revision=1",
                "UPDATE integration_preset_defaults SET document = 'preset: aptfm'",
            ),
            ("meta", "x", "UPDATE meta SET value = 'z' WHERE key = 'x'"),
            ("meta", "x", "UPDATE meta SET row_digest = zeroblob(32) WHERE key = 'x'"),
            ("meta", "x", "UPDATE meta SET row_digest = NULL WHERE key = 'x'"),
        ] {
            let store = store();
            flip(&store, sql);
            let found = differing(store.read()).unwrap();
            assert_eq!(found.len(), 1, "{sql}");
            assert_eq!((found[0].table.as_str(), found[0].name.as_str()), (table, name), "{sql}");
        }
    }

    #[test]
    fn another_program_may_write_and_the_next_change_gives_the_hash() {
        let mut store = store();
        store.read().execute("UPDATE integration_presets SET name = 'By hand'", []).unwrap();
        assert_eq!(differing(store.read()).unwrap(), []);
        store.change(Keep::Yes, |tx| set_meta(tx, "x", "z")).unwrap();
        let marked: i64 = store.read().query_row("SELECT count(*) FROM changed_rows", [], |row| row.get(0)).unwrap();
        assert_eq!((marked, differing(store.read()).unwrap()), (0, vec![]));
    }

    #[test]
    fn a_migration_gives_new_hashes_but_not_to_what_was_damaged() {
        let store = store();
        flip(&store, "UPDATE meta SET value = 'z' WHERE key = 'x'");
        let damaged = differing(store.read()).unwrap();
        store.read().execute_batch("ALTER TABLE meta ADD COLUMN later INTEGER NOT NULL DEFAULT 0").unwrap();
        assert_eq!(differing(store.read()).unwrap().len(), 2);
        renew_all(store.read(), &damaged).unwrap();
        assert_eq!(differing(store.read()).unwrap(), damaged);
    }

    #[test]
    fn revisions_of_defaults_are_immutable_still() {
        let store = store();
        let error = store.read().execute("UPDATE integration_preset_defaults SET document = 'x'", []).unwrap_err();
        assert!(error.to_string().contains("immutable"), "{error}");
    }

    #[test]
    fn every_table_with_a_hash_marks_what_is_written() {
        let store = store();
        for table in tables(store.read()).unwrap() {
            let triggers: i64 = store
                .read()
                .query_row(
                    "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 AND sql LIKE '%changed_rows%'",
                    [&table.name],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(triggers, 3, "{}: triggers `_inserted`, `_updated` and `_deleted`", table.name);
        }
    }
}
