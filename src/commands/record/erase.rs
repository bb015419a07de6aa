//! `record erase` and `record erasures`: a person out of everything an organization holds, for good.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::{self, declined};
use super::super::copies;
use crate::domain::names::Name;
use crate::domain::person::By;
use crate::error::{Exit, UserError};
use crate::output::{ALWAYS, Cell, Column, List};
use crate::secrets::{ErasureKey, PersonHash, hex};
use crate::session::Session;
use crate::store::backup::{self, Copy};
use crate::store::erasures::{self, Erasure};
use crate::store::organizations::{self, Organization};
use crate::store::persons::{self, Person};
use crate::store::{Connection, Keep, Store, providers, stamp};
use crate::sync::lock;

/// Erase a person: everything that an organization holds of a learner, for good
///
/// Goes: the rows of all providers that are of the same person (by the key, a valid ULN, or an e-mail address that nobody else
/// has), records in quarantine, and what logs say. Kept is a keyed hash of each key and ULN, which nobody can read without the
/// master key: by it the next sync leaves the person out, and counts that. Backups are not reached; they are listed.
///
/// Erase the person at the provider, too. Needs the master key.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record erase acme --learner 10421 --dry-run\n  skillsctl record erase acme --learner 10421\n  skillsctl record erase acme --learner 10421 --provider aptem --confirm 10421\n  skillsctl record erase acme --learner 10421 --lift"
)]
pub(super) struct EraseArgs {
    /// Slug of the organization
    org: String,
    /// The learner's key at a provider, as `record list` shows it
    #[arg(long, value_name = "KEY")]
    learner: String,
    /// Slug of the provider whose key it is, where several people have it
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
    /// The key once more, as consent, instead of typing it
    #[arg(long, value_name = "KEY", conflicts_with = "lift")]
    confirm: Option<String>,
    /// Let a person who was erased come back with the next record of it
    #[arg(long)]
    lift: bool,
}

/// List who was erased from an organization, by hashes alone
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl record erasures acme\n  skillsctl record erasures acme --json")]
pub(super) struct ErasuresArgs {
    /// Slug of the organization
    org: String,
}

/// What became of a person. Nothing here says who it is.
#[derive(Debug, Serialize)]
struct Erased {
    organization: String,
    /// `erased`, or `unchanged` where nothing was held of a person who was erased before.
    outcome: &'static str,
    dry_run: bool,
    /// The first of the hashes that are kept, as the audit names it.
    person: String,
    rows: Vec<OneRow>,
    quarantined: usize,
    log_lines: usize,
    /// Rows that share the key or the e-mail address and were left alone, by provider: they may be of others.
    left: Vec<String>,
    /// Syncs that were under way.
    running: Vec<String>,
    /// Whether nothing of it is left in the database's files; null in a dry run.
    files_rewritten: Option<bool>,
    /// Copies of the database, which still hold the person if they are from before.
    copies: Vec<Copy>,
}

#[derive(Debug, Serialize)]
struct OneRow {
    provider: String,
    /// By what it was found.
    by: By,
}

/// The hashes of everything that a person is known by; of a person of whom nothing is held, of the key at any provider.
pub(super) fn hashes(
    connection: &Connection,
    key: &ErasureKey,
    (learner, provider): (&str, Option<&Name>),
    person: &Person,
) -> Result<Vec<PersonHash>> {
    let mut hashes: Vec<PersonHash> = person.keys.iter().map(|(of, own)| key.of_key(of.as_str(), own)).collect();
    hashes.extend(person.ulns().into_iter().map(|uln| key.of_uln(uln)));
    if person.keys.is_empty() {
        let all = providers::all(connection)?.into_iter().map(|provider| provider.slug);
        let meant = all.filter(|slug| provider.is_none_or(|provider| provider == slug));
        hashes.extend(meant.map(|slug| key.of_key(slug.as_str(), learner)));
    }
    Ok(hashes)
}

/// Returns how the audit and lists call a person: the key itself must not stand there.
fn called(hash: &PersonHash) -> String {
    hex::encode(&hash[..8])
}

pub(super) fn run(args: &EraseArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    if let Some(provider) = &args.provider {
        providers::by_slug(store.read(), provider.as_str())?;
    }
    let meant = (args.learner.as_str(), args.provider.as_ref());
    let vault = session.vault(&store)?;
    let person = persons::find(store.read(), organization.id, meant.0, meant.1)?;
    let before = match vault.erasure_key(store.read(), &organization)? {
        Some(key) => {
            let hashes = hashes(store.read(), &key, meant, &person)?;
            erasures::find(store.read(), organization.id, &hashes)?
        }
        None => Vec::new(),
    };
    if args.lift {
        return lift(&mut store, session, &organization, &before);
    }
    if !person.is_held() && before.is_empty() {
        return Err(not_found(&organization).into());
    }
    let mut copies = backup::copies(store.read(), store.path())?;
    if !person.is_held() {
        // What was copied since the person was erased holds nothing of it.
        let at = before.iter().map(|erasure| stamp(erasure.at)).max();
        copies.retain(|copy| copy.at <= at);
    }
    let mut erased = outcome(&store, session, &organization, (&person, &before), copies)?;
    if session.keep == Keep::Yes {
        if session.output.can_ask() && args.confirm.is_none() {
            session.output.lay_out(text(&erased));
        }
        if !consent(args, session)? {
            return Err(declined().into());
        }
    }
    let subject = store.change(session.keep, |tx| {
        // As it is now: a sync may have stored more since.
        let person = persons::find(tx, organization.id, meant.0, meant.1)?;
        let key = vault.erasure_key_or_new(tx, &organization, session.now)?;
        let hashes = hashes(tx, &key, meant, &person)?;
        persons::erase(tx, organization.id, &person)?;
        if person.is_held() {
            erasures::insert(tx, organization.id, &hashes, session.now)?;
        }
        let called = erasures::find(tx, organization.id, &hashes)?.first().map(|erasure| called(&erasure.hash));
        let called = called.unwrap_or_default();
        let subject = format!("{}/{called}", organization.slug);
        change::record(tx, session, ("record erase", &subject), (None, None))?;
        Ok(called)
    })?;
    erased.person = subject;
    if session.keep == Keep::Yes {
        erased.files_rewritten = Some(copies::rewritten(&store, session, "the person is erased"));
    }
    tell(session, &erased)
}

pub(super) fn not_found(organization: &Organization) -> UserError {
    // The key is personal data, so the message does without it.
    let message = format!("nothing is held of a learner with this key in `{}`", organization.slug);
    UserError::new(Exit::NotFound, "record_not_found", message)
        .hint(format!("`skillsctl record list {} learners --all` shows what there is", organization.slug))
}

/// Returns whether the key was given or typed once more. The messages do without it.
fn consent(args: &EraseArgs, session: &Session) -> Result<bool> {
    match &args.confirm {
        Some(given) if *given == args.learner => Ok(true),
        Some(_) => {
            let message = "`--confirm` is not the key that `--learner` gives";
            Err(UserError::new(Exit::Usage, "confirm_mismatch", message).hint("give the same key twice").into())
        }
        None => {
            session.output.require_terminal("--confirm KEY")?;
            session.output.confirm_destroy(&args.learner, None)
        }
    }
}

/// Returns what is about to be done.
fn outcome(
    store: &Store,
    session: &Session,
    organization: &Organization,
    (person, before): (&Person, &[Erasure]),
    copies: Vec<Copy>,
) -> Result<Erased> {
    let slug = organization.slug.as_str();
    let running = providers::all(store.read())?
        .into_iter()
        .filter(|provider| lock::is_held(store.path(), slug, provider.slug.as_str()))
        .map(|provider| provider.slug.to_string());
    let mut left: Vec<String> = person.doubtful.iter().map(|known| known.provider.to_string()).collect();
    left.sort();
    Ok(Erased {
        organization: slug.to_owned(),
        outcome: if person.is_held() { "erased" } else { "unchanged" },
        dry_run: session.keep == Keep::DryRun,
        person: before.first().map(|erasure| called(&erasure.hash)).unwrap_or_default(),
        rows: person.rows.iter().map(|(known, by)| OneRow { provider: known.provider.to_string(), by: *by }).collect(),
        quarantined: person.quarantined.len(),
        log_lines: person.mentions.iter().map(|mention| mention.lines.len()).sum(),
        left,
        running: running.collect(),
        files_rewritten: None,
        copies,
    })
}

fn text(erased: &Erased) -> String {
    let rows: Vec<String> =
        erased.rows.iter().map(|row| format!("{} (by its {})", row.provider, row.by.as_str())).collect();
    let mut parts = Vec::new();
    if !rows.is_empty() {
        let word = if rows.len() == 1 { "row" } else { "rows" };
        parts.push(format!("{} {word}: {}", rows.len(), rows.join(", ")));
    }
    if erased.quarantined > 0 {
        parts.push(format!("{} in quarantine", erased.quarantined));
    }
    if erased.log_lines > 0 {
        parts.push(format!("named by {} lines of logs", erased.log_lines));
    }
    if parts.is_empty() {
        parts.push("nothing is held".to_owned());
    }
    format!("{}: a learner: {}\n", erased.organization, parts.join("; "))
}

/// Tells what was done, and what has still to be.
fn tell(session: &Session, erased: &Erased) -> Result<Exit> {
    session.output.one("PersonErased", erased, |_| format!("{}{}\n", text(erased), erased.outcome))?;
    if !session.output.is_json() {
        if !erased.left.is_empty() {
            session.output.warn(format!(
                "left alone, as they may be of others: rows with the same key or e-mail address at {}; erase them by their own key",
                erased.left.join(", ")
            ));
        }
        if !erased.running.is_empty() {
            session.output.warn(format!(
                "a sync of {} is under way, and its place may name the person until its next page; run this again when it has ended",
                erased.running.join(", ")
            ));
        }
        copies::tell(
            session,
            &erased.copies,
            "copies of the database from before still hold the person; to restore one brings the person back:",
        );
        session
            .output
            .note("the provider still has the person, unless it was erased there; syncs leave it out and count it");
    }
    session.note_dry_run();
    Ok(if erased.files_rewritten == Some(false) { Exit::Partial } else { Exit::Done })
}

/// Forgets the hashes of a person.
fn lift(store: &mut Store, session: &Session, organization: &Organization, found: &[Erasure]) -> Result<Exit> {
    let Some(erasure) = found.first() else {
        let message = format!("nobody with this key was erased from `{}`", organization.slug);
        return Err(UserError::new(Exit::NotFound, "erasure_not_found", message)
            .hint(format!("`skillsctl record erasures {}` shows when somebody was", organization.slug))
            .into());
    };
    let subject = format!("{}/{}", organization.slug, called(&erasure.hash));
    store.change(session.keep, |tx| {
        for erasure in found {
            erasures::lift(tx, organization.id, erasure.person)?;
        }
        change::record(tx, session, ("record erase --lift", &subject), (None, None))
    })?;
    let mut changed = change::Changed::new(session, &organization.slug, "lifted");
    changed.notes.push("the person comes back when its record changes at the provider, or with a full read".to_owned());
    changed.next.push(format!("skillsctl sync {} --full", organization.slug));
    changed.tell(session, "ErasureLifted")
}

#[derive(Debug, Serialize)]
struct Listed {
    person: String,
    hashes: u64,
    erased_at: String,
    #[serde(skip)]
    row: Erasure,
}

pub(super) fn list(args: &ErasuresArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let listed = |row: Erasure| Listed { person: called(&row.hash), hashes: row.hashes, erased_at: stamp(row.at), row };
    let rows: Vec<Listed> = erasures::list(store.read(), organization.id)?.into_iter().map(listed).collect();
    let list = List {
        kind: "ErasureList",
        items: &rows,
        warnings: Vec::new(),
        name: |row| row.person.clone(),
        empty: "nobody was erased",
    };
    session.output.list(
        list,
        [
            Column { header: "person", priority: ALWAYS, cell: |row, _| Cell::text(&row.person) },
            Column { header: "erased", priority: 2, cell: |row, _| Cell::time(row.row.at) },
            Column { header: "hashes", priority: 1, cell: |row, _| Cell::number(row.hashes) },
        ],
    )?;
    Ok(Exit::Done)
}
