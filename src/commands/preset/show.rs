//! `preset list`, `show`, `diff`, `history` and `export`.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::change;
use super::super::editor::with_schema_line;
use crate::domain::difference;
use crate::domain::names::Name;
use crate::domain::settings;
use crate::error::{Exit, UserError};
use crate::lookup;
use crate::output::{self, ALWAYS, Cell, Change, Column, Format, List};
use crate::session::Session;
use crate::store::presets;

/// List presets, the recommended one starred
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl preset list\n  skillsctl preset list --json")]
pub(crate) struct ListArgs {}

/// Show a preset's defaults as they were applied
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset show aptem_hubspot\n  skillsctl preset show aptem_hubspot --revision 2 --json"
)]
pub(crate) struct ShowArgs {
    /// The preset's slug
    preset: String,
    /// Revision to show; the newest unless given
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
}

/// Show what differs between two revisions of a preset
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset diff aptem_hubspot\n  skillsctl preset diff aptem_hubspot 1 3\n  skillsctl preset diff aptem_hubspot 2 --exit-code"
)]
pub(crate) struct DiffArgs {
    /// The preset's slug
    preset: String,
    /// The older revision; the one before the newest unless given
    #[arg(value_name = "A")]
    from: Option<u32>,
    /// The later revision; the newest unless given
    #[arg(value_name = "B")]
    to: Option<u32>,
    /// End with exit code 10 if there are changes
    #[arg(long)]
    exit_code: bool,
}

/// List the revisions of a preset's defaults, newest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset history aptem_hubspot\n  skillsctl preset history aptem_hubspot --json"
)]
pub(crate) struct HistoryArgs {
    /// The preset's slug
    preset: String,
}

/// Print a preset's document, as a file to edit and apply
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset export aptem_hubspot > aptem_hubspot.yaml\n  skillsctl preset export aptem_hubspot --revision 1 > before.yaml"
)]
pub(crate) struct ExportArgs {
    /// The preset's slug
    preset: String,
    /// Revision to print; the newest unless given
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Listed {
    slug: Name,
    name: String,
    recommended: bool,
    providers: Vec<Name>,
    revision: u32,
    organizations: i64,
    #[serde(serialize_with = "output::instant")]
    updated_at: DateTime<Utc>,
}

pub(super) fn list(_args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let items: Vec<Listed> = presets::all(store.read())?
        .into_iter()
        .map(|preset| Listed {
            slug: preset.slug,
            name: preset.name,
            recommended: preset.recommended,
            providers: preset.providers,
            revision: preset.revision,
            organizations: preset.organizations,
            updated_at: preset.updated_at,
        })
        .collect();
    let list = List {
        kind: "PresetList",
        items: &items,
        warnings: Vec::new(),
        name: |preset: &Listed| preset.slug.to_string(),
        empty: "no presets; `skillsctl init` loads those that are shipped",
    };
    session.output.list(
        list,
        [
            Column { header: "SLUG", priority: ALWAYS, cell: |preset, _| Cell::text(preset.slug.as_str()) },
            Column {
                header: "NAME",
                priority: 90,
                cell: |preset, _| {
                    Cell::text(format!("{}{}", preset.name, if preset.recommended { " ★ recommended" } else { "" }))
                },
            },
            Column { header: "PROVIDERS", priority: 70, cell: |preset, _| Cell::text(joined(&preset.providers)) },
            Column { header: "DEFAULTS", priority: 60, cell: |preset, _| Cell::number(preset.revision) },
            Column { header: "ORGANIZATIONS", priority: 65, cell: |preset, _| Cell::number(preset.organizations) },
            Column { header: "CHANGED", priority: 50, cell: |preset, _| Cell::time(preset.updated_at) },
        ],
    )?;
    Ok(Exit::Done)
}

fn joined(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Serialize)]
struct ShownProvider {
    provider: Name,
    settings: Value,
}

#[derive(Debug, Serialize)]
struct Shown {
    slug: Name,
    name: String,
    recommended: bool,
    revision: u32,
    newest_revision: u32,
    message: String,
    created_by: String,
    #[serde(serialize_with = "output::instant")]
    created_at: DateTime<Utc>,
    /// How many organizations are pinned to this revision.
    organizations: i64,
    providers: Vec<ShownProvider>,
    role_reports: Map<String, Value>,
}

pub(super) fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let summary = presets::by_slug(connection, &args.preset)?;
    let stored = presets::revision(connection, &summary, args.revision.unwrap_or(summary.revision))?;
    if session.output.format() == Format::Table {
        session.output.document(&ended(&stored.document))?;
        return Ok(Exit::Done);
    }
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::preset_at(connection, &catalog, &summary, stored.revision)?;
    let shown = Shown {
        slug: preset.slug,
        name: preset.name,
        recommended: preset.recommended,
        revision: stored.revision,
        newest_revision: summary.revision,
        message: stored.message,
        created_by: stored.created_by,
        created_at: stored.created_at,
        organizations: stored.organizations,
        providers: preset
            .providers
            .into_iter()
            .map(|(provider, block)| ShownProvider { provider, settings: settings::nested(block) })
            .collect(),
        role_reports: preset.role_reports.into_iter().map(|(role, reports)| (role, reports.into())).collect(),
    };
    session.output.one("Preset", &shown, |_| stored.document.clone())?;
    Ok(Exit::Done)
}

pub(super) fn export(args: &ExportArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let summary = presets::by_slug(store.read(), &args.preset)?;
    let stored = presets::revision(store.read(), &summary, args.revision.unwrap_or(summary.revision))?;
    let document = ended(&with_schema_line("preset", &stored.document));
    if session.output.is_json() {
        session.output.one(
            "PresetExport",
            &Export { slug: summary.slug, revision: stored.revision, document },
            |_| String::new(),
        )?;
    } else {
        session.output.document(&document)?;
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Export {
    slug: Name,
    revision: u32,
    document: String,
}

fn ended(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[derive(Debug, Serialize)]
struct Diff {
    slug: Name,
    from: u32,
    to: u32,
    changes: Vec<Change>,
}

pub(super) fn diff(args: &DiffArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let summary = presets::by_slug(connection, &args.preset)?;
    let to = args.to.unwrap_or(summary.revision);
    let Some(from) = args.from.or_else(|| to.checked_sub(1).filter(|from| *from > 0)) else {
        return Err(UserError::new(
            Exit::NotFound,
            "revision_not_found",
            format!("preset `{}` has only one revision, so there is nothing before it", summary.slug),
        )
        .into());
    };
    let catalog = lookup::catalog(connection)?;
    let before = lookup::preset_at(connection, &catalog, &summary, from)?;
    let after = lookup::preset_at(connection, &catalog, &summary, to)?;
    let changes = change::shown(difference::presets(&before, &after));
    let exit = if args.exit_code && !changes.is_empty() { Exit::Changes } else { Exit::Done };
    let diff = Diff { slug: summary.slug, from, to, changes };
    session.output.one("PresetDiff", &diff, |look| output::changes(&diff.changes, look))?;
    if diff.changes.is_empty() {
        session.output.note(format!("revisions {from} and {to} mean the same"));
    }
    Ok(exit)
}

#[derive(Debug, Serialize)]
struct Past {
    revision: u32,
    message: String,
    created_by: String,
    #[serde(serialize_with = "output::instant")]
    created_at: DateTime<Utc>,
    organizations: i64,
}

pub(super) fn history(args: &HistoryArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let summary = presets::by_slug(store.read(), &args.preset)?;
    let items: Vec<Past> = presets::history(store.read(), &summary)?
        .into_iter()
        .map(|revision| Past {
            revision: revision.revision,
            message: revision.message,
            created_by: revision.created_by,
            created_at: revision.created_at,
            organizations: revision.organizations,
        })
        .collect();
    let list = List {
        kind: "PresetRevisionList",
        items: &items,
        warnings: Vec::new(),
        name: |past: &Past| past.revision.to_string(),
        empty: "no revisions",
    };
    session.output.list(
        list,
        [
            Column { header: "REVISION", priority: ALWAYS, cell: |past, _| Cell::number(past.revision) },
            Column { header: "MESSAGE", priority: 90, cell: |past, _| Cell::text(&past.message) },
            Column { header: "BY", priority: 60, cell: |past, _| Cell::text(&past.created_by) },
            Column { header: "WHEN", priority: 80, cell: |past, _| Cell::time(past.created_at) },
            Column { header: "ORGANIZATIONS", priority: 70, cell: |past, _| Cell::number(past.organizations) },
        ],
    )?;
    Ok(Exit::Done)
}
