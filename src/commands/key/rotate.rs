//! `key rotate`: another master key in the place of the one in force, or new data keys under it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ring::rand::SystemRandom;
use serde::Serialize;

use crate::config::{KeyFlags, KeySource, create_key_file};
use crate::error::{Exit, UserError};
use crate::output::{Cell, pairs};
use crate::secrets::MasterKey;
use crate::session::Session;
use crate::store::{Keep, Store, organizations, sealing_keys};
use crate::vault::{self, Rotated, Vault};

/// Put another master key in force, or give organizations new data keys
///
/// With a new key, all that the old one wraps is wrapped by the new one, in one transaction, and opened before that is
/// kept; credentials stay as they are. One that is interrupted is before or after, and can be run again.
///
/// With --rekey the data keys themselves are new: credentials are sealed again, and tokens forgotten. After a master key
/// has leaked do both, and replace the credentials at the providers: who had the key could read them.
///
/// Both want the database to themselves: while a sync runs they wait a little, then exit 11.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl key rotate --generate /root/skillsctl-2027.key\n  skillsctl key rotate --new-key-file /root/skillsctl-2027.key --dry-run\n  skillsctl key rotate --new-key-command 'pass show skillsctl-2027'\n  skillsctl key rotate --rekey\n  skillsctl key rotate --rekey --org acme --json"
)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    new: New,
    /// The one organization that gets a new data key; all do without it
    #[arg(long, value_name = "ORG", requires = "rekey")]
    org: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct New {
    /// File that holds the new key
    #[arg(long, value_name = "PATH")]
    new_key_file: Option<PathBuf>,
    /// Command that prints the new key; it runs without a shell
    #[arg(long, value_name = "CMD")]
    new_key_command: Option<String>,
    /// File to make, with a new key in it
    #[arg(long, value_name = "PATH")]
    generate: Option<PathBuf>,
    /// Give organizations new data keys under the same master key
    #[arg(long)]
    rekey: bool,
}

#[derive(Debug, Serialize)]
struct Done {
    /// `rotated`, `rekeyed`, or `unchanged` where the new key is in force already.
    outcome: &'static str,
    dry_run: bool,
    /// The master key that was in force; null where it stays.
    old_key_id: Option<String>,
    /// The master key in force now; null in a dry run that would have made it.
    key_id: Option<String>,
    /// Where the new key is; null where there is none.
    key_source: Option<String>,
    /// Keys that were wrapped anew, or made anew.
    keys: usize,
    /// Credentials that were sealed anew.
    credentials: usize,
    /// Tokens that were forgotten.
    tokens: usize,
    /// Commands to run, and things to do, next.
    next: Vec<String>,
}

pub(crate) fn run(args: &RotateArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store_alone()?;
    let vault = session.vault(&store)?;
    let done = if args.new.rekey {
        rekey(args.org.as_deref(), &mut store, &vault, session)?
    } else {
        rotate(&args.new, &mut store, &vault, session)?
    };
    session.output.one("KeyRotated", &done, |look| {
        let id = done.key_id.as_deref().unwrap_or("a new one");
        let key = match (&done.old_key_id, &done.key_source) {
            (Some(old), Some(source)) => format!("{id}, from {source}, in the place of {old}"),
            _ => id.to_owned(),
        };
        let facts = [
            ("master key", Cell::text(key)),
            ("keys", Cell::number(done.keys)),
            ("credentials sealed", Cell::number(done.credentials)),
            ("tokens forgotten", Cell::number(done.tokens)),
        ];
        format!("{}\n{}", look.bold(done.outcome), pairs(&facts, look))
    })?;
    if !session.output.is_json() {
        done.next.iter().for_each(|next| session.output.note(format!("next: {next}")));
    }
    session.note_dry_run();
    Ok(Exit::Done)
}

fn rotate(args: &New, store: &mut Store, vault: &Vault, session: &Session) -> Result<Done> {
    let flags = KeyFlags { key_file: args.new_key_file.clone(), key_command: args.new_key_command.clone() };
    let source = KeySource::replacement(&flags)?;
    let key = match &source {
        Some(source) => source.load(&session.environment)?,
        None => MasterKey::generate(&SystemRandom::new())?,
    };
    let old = vault.key_id();
    if key.id() == old {
        return Ok(told("unchanged", session, Rotated::default(), Some(old.to_string())));
    }
    if let Some(path) = &args.generate {
        must_be_new(path)?;
    }
    let save = || match &args.generate {
        Some(path) => Ok(create_key_file(path, &key)?),
        None => Ok(()),
    };
    let rotated = vault::rotate(store, vault, &key, &super::change(session), save)?;
    let made = args.generate.as_ref().map(|path| format!("file `{}`", path.display()));
    let is_kept = source.is_some() || session.keep == Keep::Yes;
    let mut done = told("rotated", session, rotated, is_kept.then(|| key.id().to_string()));
    done.old_key_id = Some(old.to_string());
    done.key_source = source.map(|source| source.to_string()).or(made);
    done.next = vec![
        "keep a copy of the new key apart from the database and its backups".to_owned(),
        "point the key source to the new key wherever this database is used (--key-file, SKILLSCTL_KEY_FILE, ...)"
            .to_owned(),
        "skillsctl key check".to_owned(),
        format!("skillsctl key retire {old}"),
    ];
    Ok(done)
}

fn rekey(org: Option<&str>, store: &mut Store, vault: &Vault, session: &Session) -> Result<Done> {
    let of = org.map(|slug| organizations::by_slug(store.read(), slug)).transpose()?;
    let rekeyed = vault::rekey(store, vault, of, &super::change(session))?;
    let mut done = told("rekeyed", session, rekeyed, Some(vault.key_id().to_string()));
    done.next = vec![
        "skillsctl key check".to_owned(),
        "if a key has leaked, replace the credentials at the providers, and here: `skillsctl credential set`"
            .to_owned(),
    ];
    if org.is_none() && sealing_keys::in_force(store.read())?.is_some() {
        done.next
            .push("tell who pins it the id of the new sealing key: `skillsctl credential sealing-key show`".to_owned());
    }
    Ok(done)
}

fn told(outcome: &'static str, session: &Session, rotated: Rotated, key_id: Option<String>) -> Done {
    Done {
        outcome,
        dry_run: session.keep == Keep::DryRun,
        old_key_id: None,
        key_id,
        key_source: None,
        keys: rotated.keys,
        credentials: rotated.credentials,
        tokens: rotated.tokens,
        next: Vec::new(),
    }
}

/// Refuses a file that is there before any work is done; making it refuses that, too.
fn must_be_new(path: &std::path::Path) -> Result<(), UserError> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let shown = path.display();
    Err(UserError::new(Exit::Conflict, "key_file_exists", format!("`{shown}` exists already")).hint(format!(
        "a key is never overwritten; if a rotation that was interrupted made it, go on with `--new-key-file {shown}`"
    )))
}
