//! `integration_presets` and `integration_preset_defaults`: presets and the immutable revisions of their defaults.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::text::{self, stamp};
use crate::domain::names::Name;
use crate::domain::preset::Preset;
use crate::error::{Exit, UserError, nearest};

/// A preset with its newest revision.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) id: i64,
    pub(crate) slug: Name,
    pub(crate) name: String,
    pub(crate) recommended: bool,
    /// The newest revision of its defaults.
    pub(crate) revision: u32,
    pub(crate) providers: Vec<Name>,
    pub(crate) updated_at: DateTime<Utc>,
    /// How many organizations use it, deleted ones left out.
    pub(crate) organizations: i64,
}

/// One revision of a preset's defaults.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    pub(crate) revision: u32,
    /// The YAML as it was applied.
    pub(crate) document: String,
    pub(crate) message: String,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
    /// How many organizations are pinned to it, deleted ones left out.
    pub(crate) organizations: i64,
}

const SELECT: &str = "SELECT p.id, p.slug, p.name, p.recommended, d.revision, d.providers, d.created_at,
            (SELECT count(*) FROM organizations o WHERE o.preset_id = p.id AND o.status <> 'deleted') AS organizations
     FROM integration_presets p
     JOIN integration_preset_defaults d ON d.preset_id = p.id
      AND d.revision = (SELECT max(revision) FROM integration_preset_defaults WHERE preset_id = p.id)";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Summary> {
    Ok(Summary {
        id: row.get("id")?,
        slug: text::parsed(row, "slug")?,
        name: row.get("name")?,
        recommended: row.get("recommended")?,
        revision: row.get("revision")?,
        providers: text::json(row, "providers")?,
        updated_at: text::at(row, "created_at")?,
        organizations: row.get("organizations")?,
    })
}

/// Returns all presets in their display order.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Summary>> {
    let mut statement = connection.prepare(&format!("{SELECT} ORDER BY p.position, p.id"))?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns a preset if it exists.
pub(crate) fn find(connection: &Connection, slug: &str) -> Result<Option<Summary>> {
    Ok(connection.query_row(&format!("{SELECT} WHERE p.slug = ?1"), [slug], from_row).optional()?)
}

/// Returns a preset, or an error that names the nearest one there is.
pub(crate) fn by_slug(connection: &Connection, slug: &str) -> Result<Summary> {
    if let Some(found) = find(connection, slug)? {
        return Ok(found);
    }
    let known = all(connection)?;
    let meant =
        nearest(slug, known.iter().map(|preset| preset.slug.as_str())).map(|word| format!("did you mean `{word}`?"));
    Err(UserError::new(Exit::NotFound, "preset_not_found", format!("there is no preset `{slug}`"))
        .hint("`skillsctl preset list` shows what there is")
        .hint_if(meant)
        .into())
}

/// Returns one revision of a preset's defaults.
pub(crate) fn revision(connection: &Connection, preset: &Summary, number: u32) -> Result<Revision> {
    let found = revisions_where(connection, preset.id, "AND d.revision = :revision", number)?.pop();
    found.ok_or_else(|| {
        UserError::new(
            Exit::NotFound,
            "revision_not_found",
            format!("preset `{}` has no defaults revision {number}", preset.slug),
        )
        .hint(format!("`skillsctl preset history {}` shows revisions 1 to {}", preset.slug, preset.revision))
        .into()
    })
}

/// Returns all revisions, newest first.
pub(crate) fn history(connection: &Connection, preset: &Summary) -> Result<Vec<Revision>> {
    revisions_where(connection, preset.id, "AND :revision = :revision", 0)
}

fn revisions_where(
    connection: &Connection,
    preset_id: i64,
    condition: &'static str,
    number: u32,
) -> Result<Vec<Revision>> {
    let mut statement = connection.prepare(&format!(
        "SELECT d.revision, d.document, d.message, d.created_by, d.created_at,
                (SELECT count(*) FROM organizations o
                  WHERE o.preset_id = d.preset_id AND o.defaults_revision = d.revision AND o.status <> 'deleted') AS organizations
         FROM integration_preset_defaults d WHERE d.preset_id = :preset {condition} ORDER BY d.revision DESC"
    ))?;
    let rows = statement.query_map(named_params! { ":preset": preset_id, ":revision": number }, |row| {
        Ok(Revision {
            revision: row.get("revision")?,
            document: row.get("document")?,
            message: row.get("message")?,
            created_by: row.get("created_by")?,
            created_at: text::at(row, "created_at")?,
            organizations: row.get("organizations")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A revision about to be stored.
pub(crate) struct NewRevision<'a> {
    pub(crate) preset: &'a Preset,
    pub(crate) document: &'a str,
    pub(crate) message: &'a str,
    pub(crate) created_by: &'a str,
}

/// Stores a document as the next revision of its preset, which is created if it is new. Returns the revision's number.
pub(crate) fn append(tx: &Connection, new: &NewRevision<'_>, now: DateTime<Utc>) -> Result<u32> {
    let preset = new.preset;
    tx.execute(
        "INSERT INTO integration_presets (slug, name, recommended, position)
         VALUES (:slug, :name, :recommended, (SELECT coalesce(max(position), 0) + 1 FROM integration_presets))
         ON CONFLICT (slug) DO UPDATE SET name = excluded.name, recommended = excluded.recommended",
        named_params! { ":slug": preset.slug.as_str(), ":name": preset.name, ":recommended": preset.recommended },
    )?;
    let providers: Vec<&str> = preset.providers.iter().map(|(name, _)| name.as_str()).collect();
    Ok(tx.query_row(
        "INSERT INTO integration_preset_defaults (preset_id, revision, document, providers, message, created_by, created_at)
         SELECT p.id, coalesce((SELECT max(revision) FROM integration_preset_defaults WHERE preset_id = p.id), 0) + 1,
                :document, :providers, :message, :created_by, :now
         FROM integration_presets p WHERE p.slug = :slug
         RETURNING revision",
        named_params! {
            ":slug": preset.slug.as_str(), ":document": new.document, ":providers": serde_json::to_string(&providers)?,
            ":message": new.message, ":created_by": new.created_by, ":now": stamp(now),
        },
        |row| row.get(0),
    )?)
}
