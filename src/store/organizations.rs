//! `organizations`: the tenants, each pinned to a revision of its preset's defaults.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::former;
use super::text::{self, stamp};
use crate::domain::names::{Name, Slug};
use crate::error::{Exit, UserError, nearest};

/// Whether an organization is synced, and whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    /// Kept, not synced.
    Suspended,
    /// In the trash, can be restored for 30 days.
    Deleted,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Suspended => "suspended",
            Status::Deleted => "deleted",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Status::Active, Status::Suspended, Status::Deleted]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("unknown status `{text}`"))
    }
}

/// An organization as stored.
#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) id: i64,
    pub(crate) slug: Slug,
    pub(crate) name: String,
    pub(crate) preset_id: i64,
    pub(crate) preset: Name,
    pub(crate) preset_name: String,
    pub(crate) defaults_revision: u32,
    /// The providers of the pinned revision, in the order they are called.
    pub(crate) providers: Vec<Name>,
    /// No more learners than this are stored; `None` is no limit.
    pub(crate) max_learners: Option<u32>,
    pub(crate) billing_name: Option<String>,
    pub(crate) billing_email: Option<String>,
    pub(crate) time_zone: chrono_tz::Tz,
    pub(crate) status: Status,
    /// Counts changes.
    pub(crate) revision: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// When all that it had was destroyed: then its name alone is left.
    pub(crate) purged_at: Option<DateTime<Utc>>,
}

/// An organization about to be stored.
#[derive(Debug, Clone)]
pub(crate) struct NewOrganization {
    pub(crate) slug: Slug,
    pub(crate) name: String,
    pub(crate) preset_id: i64,
    pub(crate) defaults_revision: u32,
    pub(crate) max_learners: Option<u32>,
    pub(crate) billing_name: Option<String>,
    pub(crate) billing_email: Option<String>,
    pub(crate) time_zone: chrono_tz::Tz,
}

const SELECT: &str = "SELECT o.id, o.slug, o.name, o.preset_id, p.slug AS preset, p.name AS preset_name, o.defaults_revision, d.providers,
            o.max_learners, o.billing_name, o.billing_email, o.time_zone, o.status, o.revision, o.created_at, o.updated_at, o.deleted_at,
            o.purged_at
     FROM organizations o
     JOIN integration_presets p ON p.id = o.preset_id
     JOIN integration_preset_defaults d ON d.preset_id = o.preset_id AND d.revision = o.defaults_revision";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Organization> {
    Ok(Organization {
        id: row.get("id")?,
        slug: text::parsed(row, "slug")?,
        name: row.get("name")?,
        preset_id: row.get("preset_id")?,
        preset: text::parsed(row, "preset")?,
        preset_name: row.get("preset_name")?,
        defaults_revision: row.get("defaults_revision")?,
        providers: text::json(row, "providers")?,
        max_learners: row.get("max_learners")?,
        billing_name: row.get("billing_name")?,
        billing_email: row.get("billing_email")?,
        time_zone: zone(row)?,
        status: text::parsed(row, "status")?,
        revision: row.get("revision")?,
        created_at: text::at(row, "created_at")?,
        updated_at: text::at(row, "updated_at")?,
        deleted_at: text::at_or_null(row, "deleted_at")?,
        purged_at: text::at_or_null(row, "purged_at")?,
    })
}

fn zone(row: &Row<'_>) -> rusqlite::Result<chrono_tz::Tz> {
    row.get_ref("time_zone")?.as_str()?.parse().map_err(|error: chrono_tz::ParseError| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.to_string().into())
    })
}

/// Returns all organizations by slug; deleted ones only if asked for.
pub(crate) fn all(connection: &Connection, with_deleted: bool) -> Result<Vec<Organization>> {
    let mut statement =
        connection.prepare(&format!("{SELECT} WHERE :deleted OR o.status <> 'deleted' ORDER BY o.slug"))?;
    let rows = statement.query_map(named_params! { ":deleted": with_deleted }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What schedules need to know of an organization.
pub(crate) struct Scheduled {
    pub(crate) id: i64,
    pub(crate) slug: String,
    pub(crate) preset_id: i64,
    pub(crate) defaults_revision: u32,
    pub(crate) time_zone: chrono_tz::Tz,
}

/// Returns all active organizations in the order of their names, no more of each than schedules need: there may be many
/// thousands, of which hardly one is due.
pub(crate) fn active(connection: &Connection) -> Result<Vec<Scheduled>> {
    let mut statement = connection.prepare(
        "SELECT id, slug, preset_id, defaults_revision, time_zone FROM organizations WHERE status = 'active' ORDER BY slug",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Scheduled {
            id: row.get(0)?,
            slug: row.get(1)?,
            preset_id: row.get(2)?,
            defaults_revision: row.get(3)?,
            time_zone: zone(row)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns an organization in any state, if the slug is taken.
pub(crate) fn find(connection: &Connection, slug: &str) -> Result<Option<Organization>> {
    Ok(connection.query_row(&format!("{SELECT} WHERE o.slug = ?1"), [slug], from_row).optional()?)
}

/// Returns an organization that is not deleted, or an error that names the nearest one there is.
pub(crate) fn by_slug(connection: &Connection, slug: &str) -> Result<Organization> {
    match find(connection, slug)? {
        Some(organization) if organization.status != Status::Deleted => Ok(organization),
        Some(purged) if purged.purged_at.is_some() => Err(gone(slug).into()),
        Some(_) => Err(UserError::new(Exit::NotFound, "org_deleted", format!("organization `{slug}` is deleted"))
            .hint(format!("bring it back with `skillsctl org restore {slug}`"))
            .into()),
        None => {
            let mut statement = connection.prepare("SELECT slug FROM organizations WHERE status <> 'deleted'")?;
            let known: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            let meant = nearest(slug, known.iter().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
            Err(UserError::new(
                Exit::NotFound,
                "org_not_found",
                format!("no organization named `{}`", slug.escape_debug()),
            )
            .hint("`skillsctl org list` shows what there is")
            .hint_if(meant)
            .into())
        }
    }
}

/// Returns the error of an organization that was purged.
pub(crate) fn gone(slug: &str) -> UserError {
    UserError::new(Exit::NotFound, "org_purged", format!("organization `{slug}` was purged: nothing of it is left"))
        .hint("a backup from before may hold it; `skillsctl org list --all` shows when it was deleted")
}

/// Fails for an organization that was purged, as of this transaction: nothing of it may come to be again.
pub(crate) fn not_purged(tx: &Connection, slug: &Slug) -> Result<()> {
    match find(tx, slug.as_str())? {
        Some(organization) if organization.purged_at.is_some() => Err(gone(slug.as_str()).into()),
        _ => Ok(()),
    }
}

/// Stores a new organization and returns its id. A slug that is taken is a conflict.
pub(crate) fn insert(tx: &Connection, new: &NewOrganization, now: DateTime<Utc>) -> Result<i64> {
    if let Some(taken) = find(tx, new.slug.as_str())? {
        let hint = match taken.status {
            Status::Deleted if taken.purged_at.is_some() => {
                "the organization that had it was purged, and its subdomain is not given again: choose another"
                    .to_owned()
            }
            Status::Deleted => format!("it is in the trash: `skillsctl org restore {}` brings it back", taken.slug),
            _ => format!("choose another, or look at it with `skillsctl org show {}`", taken.slug),
        };
        let message = format!("the subdomain `{}` is taken by {}", new.slug, taken.name);
        return Err(UserError::new(Exit::Conflict, "org_exists", message).hint(hint).into());
    }
    Ok(tx.query_row(
        "INSERT INTO organizations (slug, name, preset_id, defaults_revision, max_learners, billing_name, billing_email,
                                    time_zone, status, created_at, updated_at)
         VALUES (:slug, :name, :preset, :revision, :max_learners, :billing_name, :billing_email, :zone, 'active', :now, :now)
         RETURNING id",
        named_params! {
            ":slug": new.slug.as_str(), ":name": new.name, ":preset": new.preset_id, ":revision": new.defaults_revision,
            ":max_learners": new.max_learners, ":billing_name": new.billing_name, ":billing_email": new.billing_email,
            ":zone": new.time_zone.name(), ":now": stamp(now),
        },
        |row| row.get(0),
    )?)
}

/// Stores an organization as edited, unless it has moved on since it was read. Its revision counts up.
pub(crate) fn update(tx: &Connection, edited: &Organization, now: DateTime<Utc>) -> Result<()> {
    let changed = tx.execute(
        "UPDATE organizations SET name = :name, preset_id = :preset, defaults_revision = :defaults, max_learners = :max_learners,
                billing_name = :billing_name, billing_email = :billing_email, time_zone = :zone, status = :status,
                deleted_at = :deleted_at, updated_at = :now, revision = revision + 1
         WHERE id = :id AND revision = :revision",
        named_params! {
            ":id": edited.id, ":revision": edited.revision, ":name": edited.name, ":preset": edited.preset_id,
            ":defaults": edited.defaults_revision, ":max_learners": edited.max_learners, ":billing_name": edited.billing_name,
            ":billing_email": edited.billing_email, ":zone": edited.time_zone.name(), ":status": edited.status.as_str(),
            ":deleted_at": edited.deleted_at.map(stamp), ":now": stamp(now),
        },
    )?;
    if changed == 1 {
        return Ok(());
    }
    Err(UserError::new(
        Exit::Conflict,
        "changed_under_you",
        format!("organization `{}` was changed by somebody else meanwhile", edited.slug),
    )
    .hint(format!("look at it again with `skillsctl org show {}`", edited.slug))
    .into())
}

/// Marks the rows of an organization as dormant where their provider is none of `active`, and as not dormant elsewhere. Whose the
/// rows are that change is open again, but for what is linked: of two linked rows the one in force stands for the person.
pub(crate) fn mark_dormant(tx: &Connection, organization_id: i64, active: &[i64]) -> Result<()> {
    let active = serde_json::to_string(active)?;
    for (table, open) in [("learners", ", settled = linked_to IS NOT NULL"), ("employers", "")] {
        tx.execute(
            &format!(
                "UPDATE {table} SET dormant = provider_id NOT IN (SELECT value FROM json_each(:active)){open}
                 WHERE organization_id = :organization
                   AND dormant <> (provider_id NOT IN (SELECT value FROM json_each(:active)))"
            ),
            named_params! { ":organization": organization_id, ":active": active },
        )?;
    }
    former::turn_links(tx, organization_id)?;
    Ok(())
}
