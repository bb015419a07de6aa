//! `record quarantine`: records that could not be stored. What they hold is shown by `show` alone.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::change::declined;
use crate::domain::json;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::output::{ALWAYS, Cell, Column, Heading, Look, pairs, spread, thousands};
use crate::session::Session;
use crate::stop::Stop;
use crate::store::organizations::{self, Organization};
use crate::store::quarantine::{self, Kept, Quarantined, Wanted};
use crate::store::runs::Tally;
use crate::store::{Connection, Keep, audit, erasures, providers, stamp};
use crate::sync::replay::{self, Options};

/// How many records of a list are read at once.
const PIECE: usize = 500;

/// List, show, replay and drop the records that could not be stored
///
/// A record that does not fit its mapping is set aside with the reasons, and the rest of its page is stored. It leaves
/// quarantine when it comes again and fits, when a replay stores it, when the provider no longer has it, or when it is
/// dropped.
#[derive(Debug, Args)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(ListArgs),
    Show(ShowArgs),
    Replay(ReplayArgs),
    Drop(DropArgs),
}

/// List the records that could not be stored, those set aside last first, without what they hold
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record quarantine list acme\n  skillsctl record quarantine list acme --provider aptem --reason email --limit 1000"
)]
struct ListArgs {
    /// Slug of the organization
    org: String,
    /// This provider only
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// This stream only
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Those with this text in a reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Show one record that could not be stored, with all that it holds
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record quarantine show acme 12\n  skillsctl record quarantine show acme 12 --json"
)]
struct ShowArgs {
    /// Slug of the organization
    org: String,
    /// Its number in the list
    id: i64,
}

/// Store records out of quarantine by the settings in force now, without calling the provider
///
/// Mend the mapping first (`override set`), then replay. What passes is stored and leaves quarantine; what does not stays, with
/// the reasons of now, and the exit code is 3. A record of which only a part is kept, because its details could not be
/// read or it is too large, needs the provider: the next sync asks for the details again. No key and no credential is used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record quarantine replay acme --all --dry-run\n  skillsctl record quarantine replay acme --all --provider aptem\n  skillsctl record quarantine replay acme 12 13"
)]
struct ReplayArgs {
    #[command(flatten)]
    which: Which,
}

/// Drop records out of quarantine for good
///
/// They come again when they change at the provider, or with the next full read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record quarantine drop acme 12 13 --yes\n  skillsctl record quarantine drop acme --all --stream learners --dry-run"
)]
struct DropArgs {
    #[command(flatten)]
    which: Which,
}

/// Records told by their numbers, or all of them.
#[derive(Debug, Args)]
struct Which {
    /// Slug of the organization
    org: String,
    /// Their numbers in the list
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// With --all: of this provider only
    #[arg(long, value_name = "PROVIDER", conflicts_with = "ids")]
    provider: Option<String>,
    /// With --all: of this stream only
    #[arg(long, value_name = "STREAM", conflicts_with = "ids")]
    stream: Option<String>,
}

impl Which {
    /// Returns the numbers that are meant, with the provider of each. One that is not there is an error.
    fn found(&self, connection: &Connection, organization: &Organization) -> Result<Vec<(i64, Name)>> {
        let provider_id = provider_id(connection, self.provider.as_deref())?;
        let ids = (!self.all).then_some(self.ids.as_slice());
        let wanted = Wanted { provider_id, stream: self.stream.as_deref(), reason: None, ids };
        let found = quarantine::numbers(connection, organization.id, &wanted)?;
        match self.ids.iter().find(|id| !found.iter().any(|(known, _)| known == *id)) {
            Some(missing) => Err(not_found(organization, *missing).into()),
            None => Ok(found),
        }
    }
}

/// A record as scripts see it in a list.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    provider: String,
    stream: String,
    key: String,
    /// The first of them; `show` has all.
    reason: String,
    /// When it was set aside last.
    at: String,
    /// How often it was set aside.
    times: u64,
    /// The run that set it aside last.
    run: String,
    /// `whole`, or what of it is kept: then only the provider can tell the rest.
    kept: Kept,
    #[serde(skip)]
    row: Quarantined,
}

impl From<Quarantined> for Shown {
    fn from(row: Quarantined) -> Self {
        Shown {
            id: row.id.to_string(),
            provider: row.provider.to_string(),
            stream: row.stream.clone(),
            key: row.key.clone(),
            reason: row.reasons.first().cloned().unwrap_or_default(),
            at: stamp(row.at),
            times: row.times,
            run: row.run_id.to_string(),
            kept: row.kept,
            row,
        }
    }
}

/// A record with all that is known of it.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    organization: &'a str,
    #[serde(flatten)]
    shown: &'a Shown,
    reasons: &'a [String],
    /// The hash of the settings it was judged by.
    settings: Option<&'a str>,
    /// The record as the provider sent it: JSON, or text where it is none.
    record: Box<RawValue>,
}

/// What became of a replay.
#[derive(Debug, Serialize)]
struct Replayed {
    organization: String,
    dry_run: bool,
    /// Records that were judged.
    replayed: u64,
    /// Rows that were added, changed, taken over, or the same already.
    stored: u64,
    /// Records that the filters keep out; they have left quarantine.
    filtered: u64,
    /// Records that say of themselves that they are deleted; they have left quarantine.
    deleted: u64,
    /// Records of persons who were erased; they have left quarantine, and nothing of them is kept.
    erased: u64,
    remaining: u64,
    /// Those remaining of which only the provider can tell the rest.
    need_provider: u64,
    runs: Vec<OneRun>,
}

#[derive(Debug, Serialize)]
struct OneRun {
    provider: String,
    run: Option<String>,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Debug, Serialize)]
struct Dropped {
    organization: String,
    dry_run: bool,
    dropped: usize,
}

pub(super) fn run(args: QuarantineArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list(&args, session),
        Verb::Show(args) => show(&args, session),
        Verb::Replay(args) => replay(&args.which, session),
        Verb::Drop(args) => drop_them(&args.which, session),
    }
}

fn provider_id(connection: &Connection, slug: Option<&str>) -> Result<Option<i64>> {
    slug.map(|slug| Ok(providers::by_slug(connection, slug)?.id)).transpose()
}

fn not_found(organization: &Organization, id: i64) -> UserError {
    let slug = &organization.slug;
    let message = format!("there is no record {id} in the quarantine of `{slug}`");
    UserError::new(Exit::NotFound, "quarantine_not_found", message)
        .hint(format!("`skillsctl record quarantine list {slug}` shows what there is"))
}

fn list(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let wanted = Wanted {
        provider_id: provider_id(store.read(), args.provider.as_deref())?,
        stream: args.stream.as_deref(),
        reason: args.reason.as_deref(),
        ids: None,
    };
    let limit = usize::try_from(args.limit)?;
    let mut ids = quarantine::ids(store.read(), organization.id, &wanted, args.limit.saturating_add(1))?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let pieces = ids.chunks(PIECE).map(|ids| -> Result<Vec<Shown>> {
        let found = quarantine::outlines(store.read(), organization.id, ids)?;
        Ok(found.into_iter().map(Shown::from).collect())
    });
    let warnings = || match more {
        true => vec![format!("there are more than {limit} records; --limit shows more")],
        false => Vec::new(),
    };
    let heading = Heading {
        kind: "QuarantineList",
        name: |row: &Shown| row.id.clone(),
        empty: "none: every record that came could be stored",
    };
    session.output.stream(
        &heading,
        [
            Column { header: "id", priority: ALWAYS, cell: |row: &Shown, _| Cell::text(&row.id) },
            Column { header: "provider", priority: 3, cell: |row, _| Cell::text(&row.provider) },
            Column { header: "stream", priority: 4, cell: |row, _| Cell::text(&row.stream) },
            Column { header: "key", priority: 8, cell: |row, _| Cell::text(&row.key) },
            Column { header: "reason", priority: 9, cell: |row, _| Cell::text(&row.reason) },
            Column { header: "when", priority: 6, cell: |row, _| Cell::time(row.row.at) },
            Column { header: "times", priority: 2, cell: |row, _| Cell::number(row.times) },
            Column { header: "run", priority: 5, cell: |row, _| Cell::text(&row.run) },
        ],
        pieces,
        warnings,
    )?;
    Ok(Exit::Done)
}

fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let row =
        quarantine::by_id(store.read(), organization.id, args.id)?.ok_or_else(|| not_found(&organization, args.id))?;
    let shown = Shown::from(row);
    let record = &shown.row.record;
    let whole = Whole {
        organization: organization.slug.as_str(),
        reasons: &shown.row.reasons,
        settings: shown.row.shape.as_deref().filter(|shape| !shape.is_empty()),
        record: json::part(record),
        shown: &shown,
    };
    session.output.one("QuarantinedRecord", &whole, |look| text(&whole, look))?;
    Ok(Exit::Done)
}

fn text(whole: &Whole<'_>, look: &Look) -> String {
    let Whole { shown, .. } = whole;
    let kept = match shown.kept {
        Kept::Whole => None,
        Kept::Thin => Some("without its details; the next sync asks for them again"),
        Kept::Digest => Some("its size and digest only, as it is too large"),
    };
    let mut lines = vec![
        ("id", Cell::text(&shown.id)),
        ("provider", Cell::text(&shown.provider)),
        ("stream", Cell::text(&shown.stream)),
        ("key", Cell::text(&shown.key)),
        ("when", Cell::time(shown.row.at)),
        ("times", Cell::number(shown.times)),
        ("run", Cell::text(&shown.run)),
        ("settings", Cell::text_or_empty(whole.settings)),
    ];
    lines.extend(kept.map(|kept| ("kept", Cell::text(kept))));
    lines.extend(whole.reasons.iter().map(|reason| ("reason", Cell::text(reason))));
    let record = spread(&whole.record);
    // What a provider sent is shown as text, line by line and set in, so that it commands no terminal and passes for nothing of ours.
    let record: Vec<Vec<Cell>> = record.lines().map(|line| vec![Cell::text(line)]).collect();
    format!("{}\n{}", pairs(&lines, look), crate::output::block(&record, 2, look))
}

fn replay(which: &Which, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &which.org)?;
    let found = which.found(store.read(), &organization)?;
    let mut names: Vec<&Name> = found.iter().map(|(_, provider)| provider).collect();
    names.sort_unstable();
    names.dedup();
    // All of them before anything is written.
    let _locks = names.iter().map(|name| replay::lock(&store, &organization, name)).collect::<Result<Vec<_>>>()?;
    let stop = Stop::watch()?;
    // Who was erased is known by keyed hashes alone.
    let any_erased = erasures::revision(store.read(), organization.id)?.is_some();
    let vault = if any_erased { Some(session.vault(&store)?) } else { None };
    let (stop_flag, actor) = (stop.flag(), session.actor.as_str());
    let options = Options { keep: session.keep, stop: stop_flag, vault: vault.as_ref(), actor, now: session.now };
    let (mut runs, mut need_provider) = (Vec::new(), 0);
    for name in names {
        let ids: Vec<i64> = found.iter().filter(|(_, provider)| provider == name).map(|(id, _)| *id).collect();
        let done = match replay::replay(&mut store, (&organization, name), &ids, &options) {
            Err(error) if which.all && which.provider.is_none() && is_dormant(&error) => {
                session.output.warn(format!("{name} is not in the preset of {}: left as it is", organization.slug));
                let left = ids.len() as u64;
                let tally = Tally { read: left, quarantined: left, ..Tally::default() };
                runs.push(OneRun { provider: name.to_string(), run: None, tally });
                continue;
            }
            done => done?,
        };
        need_provider += done.need_provider;
        let run = done.run.map(|run| run.to_string());
        runs.push(OneRun { provider: name.to_string(), run, tally: done.tally });
        if done.interrupted {
            break;
        }
    }
    let mut total = Tally::default();
    runs.iter().for_each(|run| total += run.tally);
    let replayed = Replayed {
        organization: organization.slug.to_string(),
        dry_run: session.keep == Keep::DryRun,
        replayed: total.read,
        stored: total.inserted + total.updated + total.unchanged + total.adopted,
        filtered: total.filtered,
        deleted: total.deleted,
        erased: total.erased,
        remaining: total.quarantined,
        need_provider,
        runs,
    };
    session.output.one("QuarantineReplay", &replayed, |_| told(&replayed))?;
    if replayed.remaining > 0 && !session.output.is_json() {
        let slug = &organization.slug;
        if replayed.need_provider > 0 {
            session.output.note(format!(
                "{} of them are not here in whole: `skillsctl sync {slug}` asks the provider again",
                replayed.need_provider
            ));
        }
        session.output.note(format!("next: skillsctl record quarantine list {slug}"));
    }
    session.note_dry_run();
    Ok(stop.exit().unwrap_or(if replayed.remaining > 0 { Exit::Partial } else { Exit::Done }))
}

/// Returns whether a provider has no settings in force, as the organization has left it.
fn is_dormant(error: &anyhow::Error) -> bool {
    error.downcast_ref::<UserError>().is_some_and(|error| error.code == "provider_not_in_preset")
}

/// Returns what became of a replay as a line for a person.
fn told(replayed: &Replayed) -> String {
    if replayed.replayed == 0 {
        return format!("{}: unchanged: nothing is in quarantine", replayed.organization);
    }
    let counts = [
        (replayed.stored, "stored"),
        (replayed.filtered, "kept out by filters"),
        (replayed.deleted, "deleted"),
        (replayed.erased, "of erased persons left out"),
        (replayed.remaining, "still in quarantine"),
    ];
    let parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", thousands(i64::try_from(count).unwrap_or(i64::MAX))))
        .collect();
    format!("{}: {}", replayed.organization, parts.join(", "))
}

fn drop_them(which: &Which, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &which.org)?;
    let found = which.found(store.read(), &organization)?;
    let records = if found.len() == 1 { "1 record".to_owned() } else { format!("{} records", found.len()) };
    if !found.is_empty() {
        let what = format!("Drop {records} of {} for good?", organization.name);
        if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
            return Err(declined().into());
        }
        store.change(session.keep, |tx| {
            for (id, _) in &found {
                quarantine::delete(tx, *id)?;
            }
            let subject = format!("{}: {records}", organization.slug);
            let entry = audit::Entry {
                actor: &session.actor,
                action: "quarantine drop",
                subject: &subject,
                before: None,
                after: None,
            };
            audit::insert(tx, session.now, &entry)
        })?;
    }
    let dropped = Dropped {
        organization: organization.slug.to_string(),
        dry_run: session.keep == Keep::DryRun,
        dropped: found.len(),
    };
    session.output.one("QuarantineDropped", &dropped, |_| match found.len() {
        0 => format!("{}: unchanged: nothing is in quarantine", organization.slug),
        _ => format!("{}: dropped {records}", organization.slug),
    })?;
    session.note_dry_run();
    Ok(Exit::Done)
}
