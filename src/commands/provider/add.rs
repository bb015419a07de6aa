//! `provider add`: puts a manifest in force, unless a preset or an organization would break by it.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::declined;
use super::super::source::Source;
use crate::builtin;
use crate::domain::{manifest, names, secretlike};
use crate::error::Exit;
use crate::lookup;
use crate::session::Session;
use crate::store::{self, Keep, audit, providers};
use crate::yaml;

/// Add a provider by its manifest, or put a changed manifest in force
///
/// Nothing is stored unless every preset and every organization that uses the provider still fits it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl provider add -f examples/providers/larkfield.yaml\n  skillsctl provider add -f - --dry-run < larkfield.yaml\n  skillsctl provider add -f my-aptem.yaml --yes"
)]
pub(super) struct AddArgs {
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Serialize)]
struct Added {
    slug: String,
    title: String,
    /// `added`, `changed` or `unchanged`.
    outcome: &'static str,
    revision: u32,
    built_in: bool,
    manifest_hash: String,
    previous_hash: Option<String>,
    presets_checked: usize,
    organizations_checked: usize,
    unverified: Vec<String>,
}

pub(super) fn run(args: &AddArgs, session: &Session) -> Result<Exit> {
    let text = args.source.read()?;
    // First of all: what is wrong besides is said with the line it stands in.
    secretlike::refuse_in(&yaml::parse(&args.source.file, &text)?)?;
    let findings = manifest::check(&args.source.file, &text);
    let count = findings.len();
    if let Some(first) = findings.into_iter().next() {
        let rest = (count > 1)
            .then(|| format!("{count} findings; `skillsctl provider lint {}` shows them all", args.source.file));
        return Err(first.hint_if(rest).into());
    }
    let manifest = manifest::load(&args.source.file, &text)?;
    let mut store = session.store()?;
    let (present, others): (Vec<_>, Vec<_>) =
        providers::all(store.read())?.into_iter().partition(|provider| provider.slug == manifest.provider);
    names::distinct(&manifest.title, others.iter().map(|other| (other.slug.as_str(), other.name.as_str())))?;
    let present = present.into_iter().next();
    let hash = store::hash(&text);
    let unchanged = present.as_ref().is_some_and(|present| present.manifest_hash == hash);
    // The very text that is shipped is the built-in one again.
    let built_in = builtin::PROVIDERS.iter().any(|(_, shipped)| *shipped == text);
    let mut checked = lookup::Checked::default();
    if !unchanged {
        checked = lookup::check_manifest(store.read(), &manifest)?;
        if let Some(present) = present.as_ref().filter(|present| present.built_in && !built_in) {
            let what = format!("Replace the built-in manifest of {}?", present.name);
            if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
                return Err(declined().into());
            }
        }
        store.change(session.keep, |tx| {
            providers::put(tx, &manifest, &text, built_in, session.now)?;
            let entry = audit::Entry {
                actor: &session.actor,
                action: "provider add",
                subject: manifest.provider.as_str(),
                before: present.as_ref().map(|present| present.manifest.as_str()),
                after: Some(&text),
            };
            audit::insert(tx, session.now, &entry)
        })?;
    }
    let outcome = match &present {
        None => "added",
        Some(_) if unchanged => "unchanged",
        Some(_) => "changed",
    };
    let added = Added {
        slug: manifest.provider.to_string(),
        title: manifest.title.clone(),
        outcome,
        revision: manifest.revision,
        built_in: if unchanged { present.as_ref().is_some_and(|present| present.built_in) } else { built_in },
        manifest_hash: hash,
        previous_hash: present.map(|present| present.manifest_hash),
        presets_checked: checked.presets,
        organizations_checked: checked.organizations,
        unverified: manifest.unverified(),
    };
    session.output.one("ProviderAdded", &added, |_| format!("{} {}", added.slug, added.outcome))?;
    session.note_dry_run();
    if outcome == "added" && session.keep == Keep::Yes {
        session.output.note(format!("next: name `{}` in a preset: skillsctl preset apply -f FILE", added.slug));
    }
    Ok(Exit::Done)
}
