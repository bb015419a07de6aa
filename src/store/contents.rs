//! What is in a database, told in numbers: by which a copy is known to be whole, and `db status` says what there is.

use std::collections::BTreeMap;

use anyhow::Result;
use rusqlite::Connection;

use super::{meta, migrate};

/// What a database holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) schema: i64,
    /// The id that sealed values are bound to.
    pub(crate) database_id: String,
    /// How many rows each table has.
    pub(crate) rows: BTreeMap<String, i64>,
}

impl Contents {
    /// Counts what a database holds; where it is to be of one moment, within a transaction.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'")?;
        let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let count = |table: String| {
            let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
            connection.query_row(&sql, [], |row| row.get(0)).map(|count| (table, count))
        };
        Ok(Contents {
            schema: migrate::schema_version(connection, std::path::Path::new("the copy"))?,
            database_id: meta(connection, "database_id")?.unwrap_or_default(),
            rows: tables.into_iter().map(count).collect::<rusqlite::Result<_>>()?,
        })
    }

    /// Returns how many rows a table has, none where there is no such table.
    pub(crate) fn count(&self, table: &str) -> i64 {
        self.rows.get(table).copied().unwrap_or_default()
    }
}
