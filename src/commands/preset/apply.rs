//! `preset validate`, `apply`, `edit` and `rollback`: how a revision of defaults comes to be. None is ever changed.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::{self, Changed};
use super::super::editor::{self, Draft};
use super::super::schema;
use super::super::source::Source;
use crate::domain::difference;
use crate::domain::names::{self, Name};
use crate::domain::preset::{self, Catalog, Preset};
use crate::domain::secretlike;
use crate::error::{Exit, UserError, nearest};
use crate::lookup;
use crate::output::{Change, changes};
use crate::session::Session;
use crate::store::presets::{self, NewRevision};
use crate::store::{Connection, Store};
use crate::yaml;

/// Check a preset's file without applying it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset validate -f aptem_hubspot.yaml\n  skillsctl preset export bud | skillsctl preset validate -f -"
)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    source: Source,
}

/// Apply a preset's file as a new revision of its defaults
///
/// Organizations created from then on get it. Those that exist stay on their revision until `org upgrade` moves them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset apply -f aptem_hubspot.yaml -m 'sync every half hour'\n  skillsctl preset apply -f aptem_hubspot.yaml --dry-run\n  skillsctl preset apply -f - < aptem_hubspot.yaml"
)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    source: Source,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
}

/// Edit a preset's defaults in an editor, and apply them as a new revision
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset edit aptem_hubspot\n  skillsctl preset edit aptem_hubspot -m 'map the tutor too'"
)]
pub(crate) struct EditArgs {
    /// The preset's slug
    preset: String,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT", default_value = "edited")]
    message: String,
}

/// Apply an earlier revision of a preset's defaults once more, as a new one
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl preset rollback aptem_hubspot --to 2\n  skillsctl preset rollback aptem_hubspot --to 2 --dry-run"
)]
pub(crate) struct RollbackArgs {
    /// The preset's slug
    preset: String,
    /// The revision to go back to
    #[arg(long, value_name = "N")]
    to: u32,
}

#[derive(Debug, Serialize)]
struct Valid {
    slug: Name,
    file: String,
    valid: bool,
    providers: Vec<Name>,
    /// What applying it would change against the newest revision; everything is new where there is none.
    changes: Vec<Change>,
}

pub(super) fn validate(args: &ValidateArgs, session: &Session) -> Result<Exit> {
    let text = args.source.read()?;
    let store = session.store()?;
    let catalog = lookup::catalog(store.read())?;
    secretlike::refuse_in(&yaml::parse(&args.source.file, &text)?)?;
    let preset = preset::read_preset(&args.source.file, &text, &catalog)?;
    let newest = newest(store.read(), &catalog, preset.slug.as_str())?;
    let valid = Valid {
        slug: preset.slug.clone(),
        file: args.source.file.clone(),
        valid: true,
        providers: preset.providers.iter().map(|(name, _)| name.clone()).collect(),
        changes: change::shown(difference::presets(newest.as_ref().unwrap_or(&nothing(&preset)), &preset)),
    };
    session.output.one("PresetValidation", &valid, |look| {
        let against = if newest.is_some() { "" } else { ", a new preset" };
        format!("{}: valid{against}\n{}", valid.slug, changes(&valid.changes, look))
    })?;
    Ok(Exit::Done)
}

pub(super) fn apply(args: &ApplyArgs, session: &Session) -> Result<Exit> {
    let text = args.source.read()?;
    let mut store = session.store()?;
    let new = New { file: &args.source.file, text: &text, message: &args.message, action: "preset apply", base: None };
    append(&mut store, session, &new)?.tell(session, "PresetChange")
}

pub(super) fn edit(args: &EditArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let summary = presets::by_slug(store.read(), &args.preset)?;
    let stored = presets::revision(store.read(), &summary, summary.revision)?;
    let draft = Draft {
        name: summary.slug.as_str(),
        text: stored.document,
        kind: "preset",
        schema: schema::preset(&lookup::catalog(store.read())?),
        instead: format!("`skillsctl preset export {}` and `skillsctl preset apply -f FILE`", summary.slug),
        resume: "skillsctl preset apply -f".into(),
    };
    let changed = editor::edit(session, &draft, |file, text| {
        let base = Some((summary.slug.as_str(), summary.revision));
        let new = New { file, text, message: &args.message, action: "preset edit", base };
        append(&mut store, session, &new)
    })?;
    let unchanged = || Changed { revision: Some(summary.revision), ..Changed::unchanged(session, &summary.slug) };
    changed.unwrap_or_else(unchanged).tell(session, "PresetChange")
}

pub(super) fn rollback(args: &RollbackArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let summary = presets::by_slug(store.read(), &args.preset)?;
    let stored = presets::revision(store.read(), &summary, args.to)?;
    let new = New {
        file: &format!("{} revision {}", summary.slug, args.to),
        text: &stored.document,
        message: &format!("rollback to revision {}", args.to),
        action: "preset rollback",
        base: Some((summary.slug.as_str(), summary.revision)),
    };
    append(&mut store, session, &new)?.tell(session, "PresetChange")
}

/// A document on its way to be a revision.
struct New<'a> {
    file: &'a str,
    text: &'a str,
    message: &'a str,
    action: &'static str,
    /// The preset and its newest revision when the document was taken from there.
    base: Option<(&'a str, u32)>,
}

/// Appends a document to its preset's revisions, unless it means the same as the newest.
fn append(store: &mut Store, session: &Session, new: &New<'_>) -> Result<Changed> {
    store.change(session.keep, |tx| {
        let catalog = lookup::catalog(tx)?;
        secretlike::refuse_in(&yaml::parse(new.file, new.text)?)?;
        let preset = preset::read_preset(new.file, new.text, &catalog)?;
        let slug = preset.slug.as_str();
        let present = presets::find(tx, slug)?;
        if let Some((base, revision)) = new.base {
            check_base(base, revision, slug, present.as_ref().map(|summary| summary.revision))?;
        }
        let known = presets::all(tx)?;
        let others = known.iter().filter(|other| other.slug != preset.slug);
        names::distinct(&preset.name, others.map(|other| (other.slug.as_str(), other.name.as_str())))?;
        let before = newest(tx, &catalog, slug)?;
        if before.as_ref() == Some(&preset) {
            let revision = present.map(|summary| summary.revision);
            return Ok(Changed { revision, ..Changed::unchanged(session, slug) });
        }
        let revision =
            NewRevision { preset: &preset, document: new.text, message: new.message, created_by: &session.actor };
        let number = presets::append(tx, &revision, session.now)?;
        let old = present.as_ref().map(|summary| presets::revision(tx, summary, summary.revision)).transpose()?;
        let old = old.map(|revision| revision.document);
        change::record(tx, session, (new.action, slug), (old.as_deref(), Some(new.text)))?;
        let mut changed = Changed::new(session, slug, if present.is_some() { "applied" } else { "created" });
        changed.revision = Some(number);
        changed.changes = change::shown(difference::presets(before.as_ref().unwrap_or(&nothing(&preset)), &preset));
        match present.map(|summary| summary.organizations) {
            None => changed.notes.extend(lookalike(tx, slug)?),
            Some(0) => changed.notes.push("no organization uses it yet; new ones get this revision".into()),
            Some(count) => {
                let stay = if count == 1 {
                    "1 organization stays on its revision".into()
                } else {
                    format!("{count} organizations stay on their revisions")
                };
                changed
                    .notes
                    .push(format!("{stay}; only new ones get this one, `skillsctl org upgrade` moves an old one"));
            }
        }
        Ok(changed)
    })
}

/// Fails where the document is not of the preset it was taken from, or that preset has moved on since.
fn check_base(base: &str, revision: u32, slug: &str, present: Option<u32>) -> Result<(), UserError> {
    if slug != base {
        let message = format!("the document is of `{slug}`, but `{base}` was opened");
        return Err(UserError::new(Exit::Invalid, "other_preset", message).hint(format!(
            "leave `preset: {base}` as it was; a new preset is made with `skillsctl preset apply -f FILE`"
        )));
    }
    match present {
        Some(newest) if newest != revision => {
            let message = format!("preset `{base}` got revision {newest} meanwhile; {revision} was opened");
            Err(UserError::new(Exit::Conflict, "changed_under_you", message)
                .hint(format!("`skillsctl preset diff {base} {revision} {newest}` shows what changed")))
        }
        _ => Ok(()),
    }
}

/// Returns the newest revision of a preset; none also where it cannot be read under the manifests of today.
fn newest(connection: &Connection, catalog: &Catalog, slug: &str) -> Result<Option<Preset>> {
    let Some(summary) = presets::find(connection, slug)? else { return Ok(None) };
    Ok(lookup::preset_at(connection, catalog, &summary, summary.revision).ok())
}

/// Returns the empty preset that everything of a new one is compared with.
fn nothing(preset: &Preset) -> Preset {
    Preset { providers: Vec::new(), role_reports: Vec::new(), ..preset.clone() }
}

/// Returns a word of doubt where a new preset is named nearly like another one.
fn lookalike(connection: &Connection, slug: &str) -> Result<Option<String>> {
    let known = presets::all(connection)?;
    let others = known.iter().map(|preset| preset.slug.as_str()).filter(|known| *known != slug);
    Ok(nearest(slug, others).map(|near| format!("this is a new preset; did you mean `{near}`, which exists?")))
}
