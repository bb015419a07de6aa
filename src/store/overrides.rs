//! `organization_integration_overrides`: what is different for one organization, per provider.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};

use super::text;
use crate::domain::names::Name;
use crate::domain::settings::{Overrides, SettingKey, nested_overrides, stored_overrides};
use crate::error::{Exit, UserError};

/// Who changed a setting last, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) by: String,
    pub(crate) at: DateTime<Utc>,
}

/// The overrides of one provider with their history.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) overrides: Overrides,
    /// By the setting's key as text.
    pub(crate) changes: BTreeMap<String, Changed>,
    /// Counts changes; 0 where nothing was ever overridden.
    pub(crate) revision: i64,
}

/// Returns the overrides of one provider; empty where there are none.
pub(crate) fn get(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<Stored> {
    let found = connection
        .prepare_cached(
            "SELECT document, changes, revision FROM organization_integration_overrides
             WHERE organization_id = :organization AND provider_id = :provider",
        )?
        .query_row(named_params! { ":organization": organization_id, ":provider": provider_id }, |row| {
            let document: serde_json::Value = text::json(row, "document")?;
            Ok(Stored {
                overrides: stored_overrides(&document),
                changes: text::json(row, "changes")?,
                revision: row.get("revision")?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Returns the overrides of all organizations, by organization and provider.
pub(crate) fn all(connection: &Connection) -> Result<HashMap<(i64, i64), Overrides>> {
    let mut statement =
        connection.prepare("SELECT organization_id, provider_id, document FROM organization_integration_overrides")?;
    let rows = statement.query_map([], |row| {
        let document: serde_json::Value = text::json(row, "document")?;
        Ok(((row.get(0)?, row.get(1)?), stored_overrides(&document)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the overrides of all organizations that may say whether and when a provider is synced.
pub(crate) fn of_schedules(connection: &Connection) -> Result<HashMap<(i64, i64), Overrides>> {
    // Most overrides are of other things; to read them all would be most of the work.
    let mut statement = connection.prepare(
        "SELECT organization_id, provider_id, document FROM organization_integration_overrides
         WHERE instr(document, '\"enabled\"') OR instr(document, '\"sync_frequency\"')",
    )?;
    let rows = statement.query_map([], |row| {
        let document: serde_json::Value = text::json(row, "document")?;
        let mut overrides = stored_overrides(&document);
        overrides.retain(|key, _| matches!(key, SettingKey::Enabled | SettingKey::SyncFrequency));
        Ok(((row.get(0)?, row.get(1)?), overrides))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the slugs of all providers an organization has overrides of, dormant ones too.
pub(crate) fn providers(connection: &Connection, organization_id: i64) -> Result<Vec<Name>> {
    let mut statement = connection.prepare_cached(
        "SELECT p.slug FROM organization_integration_overrides o JOIN integration_providers p ON p.id = o.provider_id
         WHERE o.organization_id = ?1 AND o.document <> '{}' ORDER BY p.id",
    )?;
    let rows = statement.query_map([organization_id], |row| text::parsed(row, "slug"))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores overrides in place of those read at `revision`; each leaf that differs is marked with who and when.
/// Returns false if nothing is different. If somebody else has changed them since, it is a conflict.
pub(crate) fn put(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    overrides: &Overrides,
    read_at: i64,
    changed: &Changed,
) -> Result<bool> {
    let present = get(tx, organization_id, provider_id)?;
    if present.revision != read_at {
        return Err(UserError::new(
            Exit::Conflict,
            "changed_under_you",
            "these overrides were changed by somebody else meanwhile",
        )
        .hint("look at them again with `skillsctl override show ORG`, then repeat the change")
        .into());
    }
    if present.overrides == *overrides {
        return Ok(false);
    }
    let mut changes = present.changes;
    changes.retain(|key, _| overrides.keys().any(|known| known.to_string() == *key));
    for (key, change) in overrides {
        if present.overrides.get(key) != Some(change) {
            changes.insert(key.to_string(), changed.clone());
        }
    }
    tx.execute(
        "INSERT INTO organization_integration_overrides (organization_id, provider_id, document, changes, revision)
         VALUES (:organization, :provider, :document, :changes, 1)
         ON CONFLICT (organization_id, provider_id)
         DO UPDATE SET document = :document, changes = :changes, revision = revision + 1",
        named_params! {
            ":organization": organization_id, ":provider": provider_id,
            ":document": serde_json::to_string(&nested_overrides(overrides))?, ":changes": serde_json::to_string(&changes)?,
        },
    )?;
    Ok(true)
}
