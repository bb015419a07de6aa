//! `org list` and `org show`.

use std::collections::HashMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::domain::names::{Name, Slug};
use crate::domain::organization::BASE_DOMAIN;
use crate::error::Exit;
use crate::output::{self, ALWAYS, Cell, Column, List, State, pairs};
use crate::session::Session;
use crate::store::organizations::{self, Organization, Status};
use crate::store::{self, Connection, presets};

/// List organizations
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org list\n  skillsctl org list --preset aptem_hubspot --status suspended\n  skillsctl org list --all -o csv --fields slug,name,status"
)]
pub(crate) struct ListArgs {
    /// Show deleted organizations too
    #[arg(long)]
    all: bool,
    /// Only those on this preset
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// Only those with this status
    #[arg(long, value_enum)]
    status: Option<Status>,
}

/// Show one organization
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl org show acme\n  skillsctl org show acme --json")]
pub(crate) struct ShowArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

/// An organization as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    slug: Slug,
    name: String,
    domain: String,
    preset: Name,
    preset_name: String,
    defaults_revision: u32,
    newest_revision: u32,
    providers: Vec<Name>,
    max_learners: Option<u32>,
    billing_name: Option<String>,
    billing_email: Option<String>,
    time_zone: &'static str,
    status: Status,
    #[serde(serialize_with = "output::instant")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "output::instant")]
    updated_at: DateTime<Utc>,
    #[serde(serialize_with = "output::instant_or_null")]
    deleted_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "output::instant_or_null")]
    purged_at: Option<DateTime<Utc>>,
}

impl Shown {
    fn new(organization: Organization, base: &str, newest_revision: u32) -> Self {
        Shown {
            domain: format!("{}.{base}", organization.slug),
            slug: organization.slug,
            name: organization.name,
            preset: organization.preset,
            preset_name: organization.preset_name,
            defaults_revision: organization.defaults_revision,
            newest_revision,
            providers: organization.providers,
            max_learners: organization.max_learners,
            billing_name: organization.billing_name,
            billing_email: organization.billing_email,
            time_zone: organization.time_zone.name(),
            status: organization.status,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
            deleted_at: organization.deleted_at,
            purged_at: organization.purged_at,
        }
    }

    fn defaults(&self) -> String {
        match self.newest_revision {
            newest if newest > self.defaults_revision => format!("{} (newest {newest})", self.defaults_revision),
            _ => self.defaults_revision.to_string(),
        }
    }

    fn state(&self) -> Cell {
        let state = match self.status {
            Status::Active => State::Ok,
            Status::Suspended => State::Doubtful,
            Status::Deleted => State::Failed,
        };
        Cell::state(state, if self.purged_at.is_some() { "purged" } else { self.status.as_str() })
    }
}

/// Returns the domain below which organizations have their subdomains.
pub(in crate::commands) fn base_domain(connection: &Connection) -> Result<String> {
    Ok(store::meta(connection, "base_domain")?.unwrap_or_else(|| BASE_DOMAIN.to_owned()))
}

pub(super) fn list(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let preset = args.preset.as_deref().map(|slug| presets::by_slug(connection, slug)).transpose()?;
    let newest: HashMap<i64, u32> =
        presets::all(connection)?.into_iter().map(|preset| (preset.id, preset.revision)).collect();
    let base = base_domain(connection)?;
    let with_deleted = args.all || args.status == Some(Status::Deleted);
    let items: Vec<Shown> = organizations::all(connection, with_deleted)?
        .into_iter()
        .filter(|organization| args.status.is_none_or(|status| organization.status == status))
        .filter(|organization| preset.as_ref().is_none_or(|preset| organization.preset_id == preset.id))
        .map(|organization| {
            let newest = newest.get(&organization.preset_id).copied().unwrap_or(organization.defaults_revision);
            Shown::new(organization, &base, newest)
        })
        .collect();
    let list = List {
        kind: "OrgList",
        items: &items,
        warnings: Vec::new(),
        name: |shown: &Shown| shown.slug.to_string(),
        empty: "no organizations; `skillsctl org create` makes one",
    };
    session.output.list(
        list,
        [
            Column { header: "SLUG", priority: ALWAYS, cell: |shown, _| Cell::text(shown.slug.as_str()) },
            Column { header: "NAME", priority: 90, cell: |shown, _| Cell::text(&shown.name) },
            Column { header: "PRESET", priority: 80, cell: |shown, _| Cell::text(&shown.preset_name) },
            Column { header: "DEFAULTS", priority: 60, cell: |shown, _| Cell::text(shown.defaults()) },
            Column { header: "STATUS", priority: 70, cell: |shown, _| shown.state() },
            Column { header: "CREATED", priority: 50, cell: |shown, _| Cell::time(shown.created_at) },
        ],
    )?;
    Ok(Exit::Done)
}

pub(super) fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let newest = presets::by_slug(connection, organization.preset.as_str())?.revision;
    let shown = Shown::new(organization, &base_domain(connection)?, newest);
    session.output.one("Org", &shown, |look| {
        let providers = shown.providers.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let billing: Vec<&str> =
            [&shown.billing_name, &shown.billing_email].into_iter().flatten().map(String::as_str).collect();
        pairs(
            &[
                ("name", Cell::text(&shown.name)),
                ("subdomain", Cell::text(&shown.domain)),
                ("preset", Cell::text(format!("{} ({})", shown.preset_name, shown.preset))),
                ("defaults", Cell::text(shown.defaults())),
                ("providers", Cell::text(providers)),
                ("status", shown.state()),
                ("max learners", shown.max_learners.map_or(Cell::text("no limit"), Cell::number)),
                ("billing", Cell::text_or_empty((!billing.is_empty()).then(|| billing.join(", ")))),
                ("time zone", Cell::text(shown.time_zone)),
                ("created", Cell::time(shown.created_at)),
                ("changed", Cell::time(shown.updated_at)),
            ],
            look,
        )
    })?;
    if newest > shown.defaults_revision && !session.output.is_json() {
        session.output.note(format!(
            "defaults {newest} are there: `skillsctl org upgrade {} --dry-run` shows what they would change",
            shown.slug
        ));
    }
    Ok(Exit::Done)
}
