//! `audit_log`: who changed what and when, written in the transaction of the change.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::text::{self, hash, stamp};

/// One change. `before` and `after` are kept as hashes only.
pub(crate) struct Entry<'a> {
    pub(crate) actor: &'a str,
    /// Noun and verb, like `org create`.
    pub(crate) action: &'a str,
    /// What was changed, like `acme` or `acme/aptem/api_key`.
    pub(crate) subject: &'a str,
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
}

/// Returns when an action was last recorded, and of what.
pub(crate) fn last(connection: &Connection, action: &str) -> Result<Option<(DateTime<Utc>, String)>> {
    let sql = "SELECT at, subject FROM audit_log WHERE action = ?1 ORDER BY id DESC LIMIT 1";
    Ok(connection.query_row(sql, [action], |row| Ok((text::at(row, "at")?, row.get("subject")?))).optional()?)
}

/// Returns when anything was last recorded.
pub(crate) fn newest(connection: &Connection) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT at FROM audit_log ORDER BY at DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| text::at(row, "at")).optional()?)
}

/// Records a change.
pub(crate) fn insert(tx: &Connection, now: DateTime<Utc>, entry: &Entry<'_>) -> Result<()> {
    tx.execute(
        "INSERT INTO audit_log (at, actor, action, subject, before_hash, after_hash)
         VALUES (:at, :actor, :action, :subject, :before, :after)",
        named_params! {
            ":at": stamp(now), ":actor": entry.actor, ":action": entry.action, ":subject": entry.subject,
            ":before": entry.before.map(hash), ":after": entry.after.map(hash),
        },
    )?;
    Ok(())
}
