//! Destroys everything an organization has. Which tables that are is told by the schema: all that have `organization_id`.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params};

use super::sealing_keys;
use super::text::stamp;
use crate::mutants;

/// The column by which a table belongs to an organization.
const OWNER: &str = "organization_id";
/// Who did what is told for as long as the database lives, also of organizations that are gone.
const KEPT: &str = "audit_log";

/// Returns how many rows an organization has in each table that it has any in.
pub(crate) fn rows(connection: &Connection, organization_id: i64) -> Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    for table in tables(connection)? {
        let sql = format!("SELECT count(*) FROM \"{table}\" WHERE {OWNER} = ?1");
        let count: i64 = connection.query_row(&sql, [organization_id], |row| row.get(0))?;
        if count > 0 {
            rows.insert(table, u64::try_from(count).unwrap_or(0));
        }
    }
    Ok(rows)
}

/// Deletes all of it. What stays is the organization's own row, emptied: neither its name nor its number, to which sealed
/// values are bound, is ever given again.
pub(crate) fn purge(tx: &Connection, organization_id: i64, now: DateTime<Utc>) -> Result<()> {
    // Tables point to each other; what counts is that no row points nowhere in the end.
    tx.execute_batch("PRAGMA defer_foreign_keys = ON")?;
    for table in tables(tx)? {
        tx.execute(&format!("DELETE FROM \"{table}\" WHERE {OWNER} = ?1"), [organization_id])?;
    }
    sealing_keys::delete_unneeded(tx)?;
    tx.execute(
        "UPDATE organizations SET name = slug, max_learners = NULL, billing_name = NULL, billing_email = NULL,
                purged_at = :now, updated_at = :now, revision = revision + 1 WHERE id = :id",
        named_params! { ":id": organization_id, ":now": stamp(now) },
    )?;
    mutants::point("purge written");
    Ok(())
}

fn tables(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT s.name FROM sqlite_schema s JOIN pragma_table_info(s.name) c
         WHERE s.type = 'table' AND c.name = ?1 AND s.name <> ?2 ORDER BY s.name",
    )?;
    let names = statement.query_map([OWNER, KEPT], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables that are of no organization. One that is new must be named here, or have the column by which it is purged.
    const OF_NOBODY: [&str; 12] = [
        "audit_log",
        "changed_rows",
        "integration_preset_defaults",
        "integration_presets",
        "integration_providers",
        "master_keys",
        "meta",
        "organizations",
        "provider_manifests",
        "refinery_schema_history",
        "retention_applied",
        "sealing_keys",
    ];

    #[test]
    fn every_table_is_purged_or_known_to_be_of_no_organization() {
        let store = super::super::tests::memory();
        let connection = store.read();
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
            .unwrap();
        let all: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let purged = tables(connection).unwrap();
        for table in &all {
            let of_nobody = OF_NOBODY.contains(&table.as_str());
            assert!(of_nobody != purged.contains(table), "`{table}`: purge it by `{OWNER}`, or name it in OF_NOBODY");
        }
        // What points to an organization does so by that column, also where it is not called a table of one.
        let sql = "SELECT s.name, f.\"from\" FROM sqlite_schema s JOIN pragma_foreign_key_list(s.name) f
                   WHERE s.type = 'table' AND f.\"table\" = 'organizations'";
        let mut statement = connection.prepare(sql).unwrap();
        let pointing = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        for (table, column) in pointing.unwrap().map(Result::unwrap) {
            assert_eq!(column, OWNER, "{table}");
        }
    }
}
