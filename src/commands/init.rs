//! `init`: the database, the master key, and the built-in providers and presets.

use anyhow::Result;
use clap::Args;
use ring::rand::SystemRandom;
use serde::Serialize;

use super::change;
use crate::config::{self, KeySource};
use crate::domain::{manifest, preset};
use crate::error::{Exit, UserError};
use crate::output::{Cell, pairs};
use crate::secrets::MasterKey;
use crate::session::Session;
use crate::store::{self, Keep, keys, presets, providers, sealing_keys};
use crate::vault::{self, Vault};
use crate::{builtin, lookup};

/// Create the database, the master key, and the built-in providers and presets
///
/// Running it again changes nothing, except that providers shipped with a newer program are brought up to date.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl init\n  skillsctl init --db /var/lib/skillsctl/skills.db --key-file /etc/skillsctl/skillsctl.key"
)]
pub(crate) struct InitArgs {}

#[derive(Debug, Serialize)]
struct Initialized {
    database: String,
    /// Where the master key is; its value is shown nowhere.
    key_source: String,
    key_id: String,
    database_created: bool,
    key_created: bool,
    /// The id of the public key that values are deposited to where there is no master key.
    sealing_key: String,
    providers_loaded: Vec<String>,
    presets_loaded: Vec<String>,
}

pub(crate) fn run(_args: &InitArgs, session: &Session) -> Result<Exit> {
    if session.keep == Keep::DryRun {
        return Err(UserError::new(
            Exit::Usage,
            "dry_run_unsupported",
            "`init` creates files, which a dry run cannot take back",
        )
        .hint("give another place with --db and --key-file to try it out")
        .into());
    }
    let paths = session.paths()?;
    let database_created = store::create(&paths.db)?;
    let mut store = session.store()?;
    let registered = keys::in_force(store.read())?.is_some();
    let (vault, source, key_created) = if registered {
        let source = KeySource::resolve(&session.key_flags, &session.environment)?;
        (session.vault(&store)?, source.to_string(), false)
    } else {
        let (key, source, created) = first_key(session)?;
        let database_id = store.database_id().to_owned();
        store.change(Keep::Yes, |tx| {
            vault::register(tx, &database_id, &key, session.now)?;
            change::record(tx, session, ("key register", &key.id().to_string()), (None, None))
        })?;
        (Vault::unlock(&store, [anyhow::Ok(key)])?, source, created)
    };
    let key_id = vault.key_id();
    let sealing_key = store.change(Keep::Yes, |tx| sealing_key(tx, &vault, session))?;
    let (providers_loaded, presets_loaded) = store.change(Keep::Yes, |tx| load_built_in(tx, session))?;
    let initialized = Initialized {
        database: paths.db.display().to_string(),
        key_source: source,
        key_id: key_id.to_string(),
        database_created,
        key_created,
        sealing_key,
        providers_loaded,
        presets_loaded,
    };
    session.output.one("Initialized", &initialized, |look| {
        let made = |created: bool| if created { "created" } else { "unchanged" };
        let loaded = |names: &[String]| if names.is_empty() { "unchanged".to_owned() } else { names.join(", ") };
        pairs(
            &[
                ("database", Cell::text(format!("{} ({})", initialized.database, made(database_created)))),
                ("master key", Cell::text(format!("{} ({}, id {key_id})", initialized.key_source, made(key_created)))),
                ("sealing key", Cell::text(&initialized.sealing_key)),
                ("providers", Cell::text(loaded(&initialized.providers_loaded))),
                ("presets", Cell::text(loaded(&initialized.presets_loaded))),
            ],
            look,
        )
    })?;
    if key_created {
        session.output.note(
            "keep a copy of the key file apart from the database and its backups: without it no credential opens",
        );
        session.output.note("next: skillsctl org create");
    }
    Ok(Exit::Done)
}

/// Returns the id of the sealing key, which is made where there is none.
fn sealing_key(tx: &store::Connection, vault: &Vault, session: &Session) -> Result<String> {
    if let Some(present) = sealing_keys::in_force(tx)? {
        return Ok(present.id);
    }
    let id = vault.new_sealing_key(tx, (&session.actor, session.now))?.id();
    change::record(tx, session, ("sealing-key create", &id), (None, Some(&id)))?;
    Ok(id)
}

/// Returns the master key of a database that knows none yet, made anew where there is none.
fn first_key(session: &Session) -> Result<(MasterKey, String, bool)> {
    let source = KeySource::resolve(&session.key_flags, &session.environment);
    let path = match &source {
        Ok(KeySource::File { path, .. }) if path.symlink_metadata().is_err() => Some(path.clone()),
        Err(error) if error.code == "key_missing" => config::default_key_file(&session.environment),
        _ => None,
    };
    if let Some(path) = path {
        let key = MasterKey::generate(&SystemRandom::new())?;
        config::create_key_file(&path, &key)?;
        return Ok((key, path.display().to_string(), true));
    }
    let source = source?;
    Ok((source.load(&session.environment)?, source.to_string(), false))
}

/// Loads what is shipped and not there yet. A provider that was replaced by hand is left alone.
fn load_built_in(tx: &store::Connection, session: &Session) -> Result<(Vec<String>, Vec<String>)> {
    let mut loaded = (Vec::new(), Vec::new());
    let present = providers::all(tx)?;
    for (name, text) in builtin::PROVIDERS {
        let manifest = manifest::load(name, text)?;
        let replaced = present.iter().any(|provider| provider.slug == manifest.provider && !provider.built_in);
        if !replaced && providers::put(tx, &manifest, text, true, session.now)? {
            loaded.0.push(manifest.provider.to_string());
        }
    }
    let catalog = lookup::catalog(tx)?;
    for (name, text) in builtin::PRESETS {
        let preset = preset::read_preset(name, text, &catalog)?;
        if presets::find(tx, preset.slug.as_str())?.is_none() {
            let new = presets::NewRevision {
                preset: &preset,
                document: text,
                message: "as shipped",
                created_by: &session.actor,
            };
            presets::append(tx, &new, session.now)?;
            loaded.1.push(preset.slug.to_string());
        }
    }
    for (action, names) in [("provider add", &loaded.0), ("preset apply", &loaded.1)] {
        for name in names {
            change::record(tx, session, (action, name), (None, Some("as shipped")))?;
        }
    }
    Ok(loaded)
}
