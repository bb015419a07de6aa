//! `record export-person`: all that is held of a person, as one document.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::entity::Entity;
use crate::domain::json;
use crate::domain::names::Name;
use crate::domain::person::By;
use crate::error::Exit;
use crate::output::Format;
use crate::session::Session;
use crate::store::listing::{self, Row};
use crate::store::organizations;
use crate::store::persons::{self, Person};
use crate::store::{Connection, erasures, providers, quarantine, runs, stamp};

/// Export all that is held of a learner, as one JSON document: for a request of the person itself
///
/// Has the rows of all providers that are of the same person with all their fields, records in quarantine, the lines of logs
/// that name the person, and whether it was erased, which takes the master key to tell. No other personal data is in it,
/// unless it stands in the same record or line.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record export-person acme --learner 10421 > person.json\n  skillsctl record export-person acme --learner 10421 --provider aptem -o yaml"
)]
pub(super) struct ExportArgs {
    /// Slug of the organization
    org: String,
    /// The learner's key at a provider, as `record list` shows it
    #[arg(long, value_name = "KEY")]
    learner: String,
    /// Slug of the provider whose key it is, where several people have it
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
}

#[derive(Debug, Serialize)]
struct Export {
    organization: String,
    organization_name: String,
    exported_at: String,
    rows: Vec<HeldRow>,
    quarantine: Vec<Aside>,
    log: Vec<Line>,
    /// When the person was erased; null where it was not, or where no master key is at hand to tell.
    erased_at: Option<String>,
    /// Whether the master key was at hand.
    erasure_known: bool,
}

#[derive(Debug, Serialize)]
struct HeldRow {
    /// By what it was found to be of the person.
    by: By,
    #[serde(flatten)]
    row: Row,
}

#[derive(Debug, Serialize)]
struct Aside {
    id: String,
    provider: String,
    stream: String,
    key: String,
    reasons: Vec<String>,
    /// When it was set aside last.
    at: String,
    /// The record as the provider sent it: JSON, or text where it is none.
    record: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Line {
    run: String,
    provider: String,
    started_at: String,
    text: String,
}

pub(super) fn run(args: &ExportArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    if let Some(provider) = &args.provider {
        providers::by_slug(connection, provider.as_str())?;
    }
    let person = persons::find(connection, organization.id, &args.learner, args.provider.as_ref())?;
    let (mut erased_at, vault) = (None, session.vault_if_any(&store)?);
    if let Some(key) = vault.as_ref().map(|vault| vault.erasure_key(connection, &organization)).transpose()?.flatten() {
        let hashes = super::erase::hashes(connection, &key, (&args.learner, args.provider.as_ref()), &person)?;
        erased_at = erasures::find(connection, organization.id, &hashes)?.first().map(|erasure| stamp(erasure.at));
    }
    if !person.is_held() && erased_at.is_none() {
        return Err(super::erase::not_found(&organization).into());
    }
    let export = Export {
        organization: organization.slug.to_string(),
        organization_name: organization.name.clone(),
        exported_at: stamp(session.now),
        rows: rows(connection, organization.id, &person)?,
        quarantine: aside(connection, organization.id, &person)?,
        log: lines(connection, &person)?,
        erased_at,
        erasure_known: vault.is_some(),
    };
    match session.output.format() {
        // A person's own copy of it is a document, whatever lists look like.
        Format::Table | Format::Name | Format::Csv => {
            session.output.json_document(&export)?;
        }
        _ => session.output.one("PersonExport", &export, |_| String::new())?,
    }
    Ok(Exit::Done)
}

fn rows(connection: &Connection, organization_id: i64, person: &Person) -> Result<Vec<HeldRow>> {
    let mut held = Vec::new();
    for (known, by) in &person.rows {
        let rows = listing::of_key(connection, organization_id, Entity::Learner, &known.key)?;
        let own = rows.into_iter().filter(|row| row.provider == known.provider.as_str());
        held.extend(own.map(|row| HeldRow { by: *by, row }));
    }
    Ok(held)
}

fn aside(connection: &Connection, organization_id: i64, person: &Person) -> Result<Vec<Aside>> {
    let mut aside = Vec::new();
    for id in &person.quarantined {
        aside.extend(quarantine::by_id(connection, organization_id, *id)?.map(|row| Aside {
            id: row.id.to_string(),
            provider: row.provider.to_string(),
            stream: row.stream,
            key: row.key,
            reasons: row.reasons,
            at: stamp(row.at),
            record: json::part(&row.record),
        }));
    }
    Ok(aside)
}

fn lines(connection: &Connection, person: &Person) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for mention in &person.mentions {
        let run = runs::by_id(connection, mention.run)?;
        lines.extend(mention.lines.iter().map(|text| Line {
            run: run.id.to_string(),
            provider: run.provider.to_string(),
            started_at: stamp(run.started_at),
            text: text.clone(),
        }));
    }
    Ok(lines)
}
