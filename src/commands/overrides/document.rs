//! `override edit` and `override apply`: the overrides of an organization as one document.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;

use super::super::change::Changed;
use super::super::editor::{self, Draft};
use super::super::schema;
use super::super::source::Source;
use super::{Planned, carry_out};
use crate::domain::names::Name;
use crate::domain::preset;
use crate::domain::secretlike;
use crate::domain::settings::{self, Overrides, UNSET};
use crate::error::Exit;
use crate::lookup::{self, Integration};
use crate::session::Session;
use crate::store::{Connection, Store, organizations};
use crate::yaml;

/// Edit an organization's overrides of all its providers in an editor
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl override edit acme\n  skillsctl override edit acme --dry-run")]
pub(crate) struct EditArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

/// Replace all overrides of the providers that a file names
///
/// What the file does not say of such a provider is overridden no longer. Providers it does not name stay as they are.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override apply acme -f acme.yaml\n  skillsctl override apply acme -f acme.yaml --dry-run\n  skillsctl override apply acme -f - < acme.yaml"
)]
pub(crate) struct ApplyArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn apply(args: &ApplyArgs, session: &Session) -> Result<Exit> {
    let text = args.source.read()?;
    let mut store = session.store()?;
    let document = Document { file: &args.source.file, text: &text, opened: None };
    replace(&mut store, session, (&args.org, "override apply"), &document)?.tell(session, "OverrideChange")
}

pub(super) fn edit(args: &EditArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::pinned_preset(connection, &catalog, &organization)?;
    let integrations = lookup::integrations(connection, &organization, &preset)?;
    let opened: BTreeMap<Name, i64> = integrations
        .iter()
        .map(|integration| (integration.provider.slug.clone(), integration.overrides.revision))
        .collect();
    let draft = Draft {
        name: organization.slug.as_str(),
        text: written(organization.slug.as_str(), &integrations),
        kind: "override",
        schema: schema::overrides(&catalog),
        instead: "`skillsctl override set` or `skillsctl override apply -f FILE`".into(),
        resume: format!("skillsctl override apply {} -f", organization.slug),
    };
    let changed = editor::edit(session, &draft, |file, text| {
        let document = Document { file, text, opened: Some(&opened) };
        replace(&mut store, session, (&args.org, "override edit"), &document)
    })?;
    changed.unwrap_or_else(|| Changed::unchanged(session, &organization.slug)).tell(session, "OverrideChange")
}

/// Returns the overrides as a document to edit.
fn written(slug: &str, integrations: &[Integration]) -> String {
    let mut text = editor::schema_line("override");
    text += &format!(
        "# What is different for {slug}. `key: {UNSET}` takes a default away; a key left out has its default.\n\
         # `skillsctl config show {slug} --origin` shows what is in force.\n"
    );
    for integration in integrations {
        let overrides = &integration.overrides.overrides;
        let name = &integration.provider.slug;
        if overrides.is_empty() {
            text += &format!("{name}: {{}}\n");
            continue;
        }
        let document = serde_json::json!({ name.as_str(): settings::nested_overrides(overrides) });
        text += &yaml::to_yaml(&document).replace(&format!(": \"{UNSET}\"\n"), &format!(": {UNSET}\n"));
    }
    text
}

/// A document that replaces overrides.
struct Document<'a> {
    file: &'a str,
    text: &'a str,
    /// The revisions of all overrides when it was opened; then a provider it does not name has none any more.
    opened: Option<&'a BTreeMap<Name, i64>>,
}

fn replace(store: &mut Store, session: &Session, place: (&str, &str), document: &Document<'_>) -> Result<Changed> {
    carry_out(store, session, place, |tx: &Connection, organization| {
        let catalog = lookup::catalog(tx)?;
        let preset = lookup::pinned_preset(tx, &catalog, organization)?;
        secretlike::refuse_in(&yaml::parse(document.file, document.text)?)?;
        let mut wanted = preset::read_overrides(document.file, document.text, &organization.providers, &catalog)?;
        let mut plans = Vec::new();
        for integration in lookup::integrations(tx, organization, &preset)? {
            let mut planned = Planned::new(integration);
            let name = &planned.integration.provider.slug;
            if let Some(opened) = document.opened {
                planned.read_at = opened.get(name).copied().unwrap_or_default();
            }
            match wanted.remove(name) {
                Some(overrides) => planned.overrides = overrides,
                None if document.opened.is_some() => planned.overrides = Overrides::new(),
                None => continue,
            }
            plans.push(planned);
        }
        Ok(plans)
    })
}
