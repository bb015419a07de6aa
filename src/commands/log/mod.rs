//! `log`: what every run did, failed and interrupted ones too.

mod show;

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::change::{self, declined};
use crate::domain::duration::Length;
use crate::error::Exit;
use crate::output::{ALWAYS, Cell, Column, List, State};
use crate::overview;
use crate::session::Session;
use crate::store::runs::{self, Kind, Outcome, Run, Tally, Trigger, Wanted};
use crate::store::{Keep, Store, organizations, providers, retention, stamp};
use crate::sync::lock;

/// List, show and prune the runs of syncs
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(ListArgs),
    Show(show::ShowArgs),
    Prune(PruneArgs),
}

/// List runs, newest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl log list\n  skillsctl log list acme --provider aptem --limit 5\n  skillsctl log list --outcome failed --json"
)]
struct ListArgs {
    /// Slug of the organization; all of them without it
    org: Option<String>,
    /// Of this provider only
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// That ended like this only
    #[arg(long, value_name = "OUTCOME", value_enum)]
    outcome: Option<Outcome>,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Delete old runs
///
/// The newest run of each organization's provider stays, the newest that ended well, and those with records in quarantine.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl log prune --older-than 90d\n  skillsctl log prune --older-than 30d --yes\n  skillsctl log prune --older-than 30d --yes --dry-run"
)]
struct PruneArgs {
    /// Age from which on runs are deleted, like 90d
    #[arg(long, value_name = "AGE")]
    older_than: Length,
}

pub(crate) fn run(args: LogArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list(&args, session),
        Verb::Show(args) => show::run(&args, session),
        Verb::Prune(args) => prune(&args, session),
    }
}

/// A run as scripts see it.
#[derive(Debug, Serialize)]
struct Shown {
    run: String,
    organization: String,
    provider: String,
    /// `sync`, or `replay` of what was in quarantine.
    run_kind: Kind,
    trigger: Trigger,
    outcome: Outcome,
    started_at: String,
    finished_at: Option<String>,
    duration_ms: Option<u64>,
    tally: Tally,
    warnings: Vec<String>,
    /// Whether the current credentials were refused and it went on with the previous ones.
    fell_back: bool,
    error_code: Option<String>,
    error: Option<String>,
    hint: Option<String>,
    /// When the provider lets a deferred run go on, if it told.
    due_at: Option<String>,
    #[serde(skip)]
    due: Option<DateTime<Utc>>,
    /// The hash of the settings in force: another one is another mapping, filter or manifest.
    settings: Option<String>,
    #[serde(skip)]
    started: DateTime<Utc>,
}

impl Shown {
    fn new(run: Run) -> Self {
        let took = run.finished_at.map(|finished| (finished - run.started_at).num_milliseconds());
        Shown {
            run: run.id.to_string(),
            organization: run.organization.to_string(),
            provider: run.provider.to_string(),
            run_kind: run.kind,
            trigger: run.trigger,
            outcome: run.outcome,
            started_at: stamp(run.started_at),
            finished_at: run.finished_at.map(stamp),
            duration_ms: took.and_then(|took| u64::try_from(took).ok()),
            tally: run.tally,
            warnings: run.warnings,
            fell_back: run.fell_back,
            error_code: run.error_code,
            error: run.error,
            hint: run.hint,
            due_at: run.due_at.map(stamp),
            due: run.due_at,
            settings: run.shape,
            started: run.started_at,
        }
    }
}

/// Returns how a run ended as a cell.
fn outcome(outcome: Outcome) -> Cell {
    let state = match outcome {
        Outcome::Ok => State::Ok,
        Outcome::Running => State::Running,
        Outcome::Partial | Outcome::Interrupted => State::Doubtful,
        Outcome::Failed => State::Failed,
        Outcome::Deferred => State::Neutral,
    };
    Cell::state(state, outcome.as_str())
}

/// Returns the run with the outcome that is to be believed: `running` only while its lock is held.
fn believed(mut run: Run, store: &Store) -> Run {
    let is_running = |organization: &str, provider: &str| lock::is_held(store.path(), organization, provider);
    run.outcome = overview::believed(&run, &is_running);
    run
}

fn list(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = args.org.as_deref().map(|slug| organizations::by_slug(connection, slug)).transpose()?;
    let provider = args.provider.as_deref().map(|slug| providers::by_slug(connection, slug)).transpose()?;
    let wanted = |outcome, limit| Wanted {
        organization_id: organization.as_ref().map(|organization| organization.id),
        provider_id: provider.as_ref().map(|provider| provider.id),
        outcome,
        limit,
    };
    let mut found = match args.outcome {
        // A pair has at most one run that says so, so these are few.
        Some(Outcome::Running) => runs::list(connection, &wanted(Some(Outcome::Running), u32::MAX))?,
        Some(Outcome::Interrupted) => {
            let mut found = runs::list(connection, &wanted(Some(Outcome::Interrupted), args.limit))?;
            found.extend(runs::list(connection, &wanted(Some(Outcome::Running), u32::MAX))?);
            found.sort_by_key(|run| std::cmp::Reverse(run.id));
            found
        }
        outcome => runs::list(connection, &wanted(outcome, args.limit))?,
    };
    found = found.into_iter().map(|run| believed(run, &store)).collect();
    found.retain(|run| args.outcome.is_none_or(|outcome| outcome == run.outcome));
    found.truncate(usize::try_from(args.limit)?);
    let runs: Vec<Shown> = found.into_iter().map(Shown::new).collect();
    let list = List {
        kind: "RunList",
        items: &runs,
        warnings: Vec::new(),
        name: |run| run.run.clone(),
        empty: "no runs; `skillsctl sync ORG` makes one",
    };
    session.output.list(
        list,
        [
            Column { header: "run", priority: ALWAYS, cell: |run, _| Cell::text(&run.run) },
            Column { header: "organization", priority: ALWAYS, cell: |run, _| Cell::text(&run.organization) },
            Column { header: "provider", priority: 9, cell: |run, _| Cell::text(&run.provider) },
            Column { header: "kind", priority: 0, cell: |run, _| Cell::text(run.run_kind.as_str()) },
            Column { header: "outcome", priority: 8, cell: |run, _| outcome(run.outcome) },
            Column { header: "started", priority: 7, cell: |run, _| Cell::time(run.started) },
            Column {
                header: "took",
                priority: 2,
                cell: |run, look| Cell::text_or_empty(run.duration_ms.map(|took| look.duration_ms(took))),
            },
            Column { header: "read", priority: 3, cell: |run, _| Cell::number(run.tally.read) },
            Column { header: "inserted", priority: 6, cell: |run, _| Cell::number(run.tally.inserted) },
            Column { header: "updated", priority: 5, cell: |run, _| Cell::number(run.tally.updated) },
            Column { header: "deleted", priority: 1, cell: |run, _| Cell::number(run.tally.deleted) },
            Column { header: "error", priority: 4, cell: |run, _| Cell::text_or_empty(run.error.as_deref()) },
        ],
    )?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Pruned {
    before: String,
    deleted: u64,
}

fn prune(args: &PruneArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let before = session.now - args.older_than.delta();
    let old = runs::prunable(store.read(), before)?;
    let (count, mut deleted) = (old.len(), 0);
    if count > 0 {
        let runs = if count == 1 { "run" } else { "runs" };
        let what = format!("Delete {count} {runs} from before {}?", before.format("%Y-%m-%d %H:%M UTC"));
        if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
            return Err(declined().into());
        }
        let subject = format!("runs before {}", stamp(before));
        let mut is_recorded = false;
        deleted = retention::remove(&mut store, (&old, session.keep), &AtomicBool::new(false), |tx, some| {
            if !std::mem::replace(&mut is_recorded, true) {
                change::record(tx, session, ("log prune", &subject), (None, None))?;
            }
            runs::prune(tx, some)
        })?;
    }
    let pruned = Pruned { before: stamp(before), deleted };
    session.output.one("LogPruned", &pruned, |look| match deleted {
        0 => format!("unchanged: no run older than {} can go", args.older_than),
        1 => "deleted 1 run".to_owned(),
        _ => format!("deleted {} runs", look.number(i64::try_from(deleted).unwrap_or(i64::MAX))),
    })?;
    session.note_dry_run();
    Ok(Exit::Done)
}
