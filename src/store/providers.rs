//! `integration_providers` and `provider_manifests`: the providers, each with the manifest in force.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::text::{self, stamp};
use crate::domain::manifest::{Kind, Manifest};
use crate::domain::names::Name;
use crate::error::{Exit, UserError, nearest};

/// A provider as stored; its manifest is the text that was added.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) id: i64,
    pub(crate) slug: Name,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// SHA-256 of the manifest's text.
    pub(crate) manifest_hash: String,
    pub(crate) manifest: String,
    pub(crate) built_in: bool,
    pub(crate) updated_at: DateTime<Utc>,
}

const SELECT: &str = "SELECT p.id, p.slug, p.name, p.kind, p.manifest_hash, m.manifest, p.built_in, p.updated_at
     FROM integration_providers p JOIN provider_manifests m ON m.hash = p.manifest_hash";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Provider> {
    let kind = if row.get_ref("kind")?.as_str()? == "lms" { Kind::Lms } else { Kind::Crm };
    Ok(Provider {
        id: row.get("id")?,
        slug: text::parsed(row, "slug")?,
        name: row.get("name")?,
        kind,
        manifest_hash: row.get("manifest_hash")?,
        manifest: row.get("manifest")?,
        built_in: row.get("built_in")?,
        updated_at: text::at(row, "updated_at")?,
    })
}

/// Returns all providers in the order they were added.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Provider>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY p.id"))?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns every manifest that ever was in force: the hash it is recorded under, its provider, and its text.
pub(crate) fn manifests(connection: &Connection) -> Result<Vec<(String, String, String)>> {
    let mut statement = connection.prepare("SELECT hash, provider, manifest FROM provider_manifests ORDER BY rowid")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns a provider, or an error that names the nearest one there is.
pub(crate) fn by_slug(connection: &Connection, slug: &str) -> Result<Provider> {
    let found = connection.query_row(&format!("{SELECT} WHERE p.slug = ?1"), [slug], from_row).optional()?;
    match found {
        Some(provider) => Ok(provider),
        None => {
            let known = slugs(connection)?;
            let meant = nearest(slug, known.iter().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
            Err(UserError::new(Exit::NotFound, "provider_not_found", format!("there is no provider `{slug}`"))
                .hint(format!("known providers: {}", known.join(", ")))
                .hint_if(meant)
                .into())
        }
    }
}

fn slugs(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT slug FROM integration_providers ORDER BY id")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Puts a manifest in force. Returns false if it was in force already.
pub(crate) fn put(
    tx: &Connection,
    manifest: &Manifest,
    manifest_text: &str,
    built_in: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    let hash = super::hash(manifest_text);
    let present: Option<String> = tx
        .query_row(
            "SELECT manifest_hash FROM integration_providers WHERE slug = ?1",
            [manifest.provider.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    if present.as_ref() == Some(&hash) {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO provider_manifests (hash, provider, manifest, added_at) VALUES (:hash, :provider, :manifest, :now)
         ON CONFLICT (hash) DO NOTHING",
        named_params! { ":hash": hash, ":provider": manifest.provider.as_str(), ":manifest": manifest_text, ":now": stamp(now) },
    )?;
    tx.execute(
        "INSERT INTO integration_providers (slug, name, kind, manifest_hash, built_in, updated_at)
         VALUES (:slug, :name, :kind, :hash, :built_in, :now)
         ON CONFLICT (slug) DO UPDATE SET name = :name, kind = :kind, manifest_hash = :hash, built_in = :built_in, updated_at = :now",
        named_params! {
            ":slug": manifest.provider.as_str(), ":name": manifest.title, ":kind": manifest.kind.as_str(), ":hash": hash,
            ":built_in": built_in, ":now": stamp(now),
        },
    )?;
    Ok(true)
}
