//! Many organizations side by side: each one's providers one after the other, no failure reaching beyond its pair.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::due::{Due, Wanted};
use super::lock::Taken;
use super::resolve::Plan;
use super::run::{self, Ended, Told};
use super::turn::{Turn, Turns};
use super::{Engine, Event, lock, resolve};
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::store::organizations::Organization;
use crate::store::runs::{self, Finish, Outcome, Tally, Trigger};
use crate::vault::Opened;

/// How many runs may have begun for each that works: the others wait for their provider, or for a turn.
const BEGUN_PER_JOB: usize = 4;
/// No more runs than this have begun at once, unless more jobs are asked for: each holds a few open files.
const BEGUN: usize = 128;
/// How soon runs notice that they are to end.
const NOTICE: Duration = Duration::from_millis(20);

/// How one pair came out.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) organization: String,
    pub(crate) provider: String,
    /// The row of `integration_sync_logs`; null where nothing was begun.
    pub(crate) run: Option<String>,
    /// `already_running` where another process was at it, `already_run` where one has been since it was found due, else
    /// the outcome of the run.
    pub(crate) outcome: String,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) duration_ms: u64,
    pub(crate) warnings: Vec<String>,
    /// The streams that were read in full because settings, mappings or filters have changed.
    pub(crate) reread: Vec<String>,
    /// Whether the credentials in force were refused and it went on with those they had replaced.
    pub(crate) fell_back: bool,
    /// Those of the warnings that say that rows may not be what is at the provider, or credentials not good.
    #[serde(skip)]
    pub(crate) doubts: Vec<String>,
    pub(crate) error: Option<ReportedError>,
}

/// An error as scripts see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReportedError {
    pub(crate) code: String,
    pub(crate) exit: u8,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// How all of it came out.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) runs: Vec<RunReport>,
    /// How many that were to run were not begun, as there was no time left.
    pub(crate) not_begun: usize,
}

impl Report {
    /// Returns the exit code: 0 if all went well, 3 if something did not, and the cause's own where all failed for it.
    pub(crate) fn exit(&self) -> Exit {
        let failed = |run: &&RunReport| run.error.is_some() || !is_well(&run.outcome);
        let bad: Vec<&RunReport> = self.runs.iter().filter(failed).collect();
        let Some(first) = bad.first() else {
            return if self.not_begun > 0 { Exit::Partial } else { Exit::Done };
        };
        let cause = |run: &RunReport| run.error.as_ref().map_or(Exit::Partial as u8, |error| error.exit);
        if self.not_begun > 0
            || bad.len() < self.runs.len()
            || bad.iter().any(|run| run.outcome == "partial" || cause(run) != cause(first))
        {
            return Exit::Partial;
        }
        let own = [
            Exit::Refused,
            Exit::Key,
            Exit::Unavailable,
            Exit::Invalid,
            Exit::Conflict,
            Exit::NotFound,
            Exit::Locked,
            Exit::Database,
            Exit::Fault,
            Exit::Interrupted,
        ];
        own.into_iter().find(|exit| *exit as u8 == cause(first)).unwrap_or(Exit::Partial)
    }

    /// Returns the counts of all runs.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.runs.iter().for_each(|run| total += run.tally);
        total
    }
}

/// Returns whether an outcome leaves nothing to do.
fn is_well(outcome: &str) -> bool {
    matches!(outcome, "ok" | "already_running" | "already_run")
}

/// Syncs organizations, `jobs` of them at a time. An error of the database itself ends everything.
pub(crate) fn sync(engine: &Engine<'_>, wanted: &[Due]) -> Result<Report> {
    engine.store().relax_durability()?;
    let turns = Turns::new(engine.options.jobs);
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (working, ended) = channel::<()>();
        for _ in 0..begun_at_most(engine.options.jobs).min(wanted.len()) {
            let (working, turns, next, reports) = (working.clone(), &turns, &next, &reports);
            scope.spawn(move || {
                let _working = working;
                loop {
                    let turn = turns.take();
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(due) = wanted.get(place) else { return };
                    for report in organization(engine, &turn, due) {
                        reports.lock().unwrap_or_else(PoisonError::into_inner).push((place, report));
                    }
                }
            });
        }
        drop(working);
        // Nothing is ever sent: this lasts until the last one has ended.
        while ended.recv_timeout(NOTICE) == Err(RecvTimeoutError::Timeout) {
            engine.halt.store(engine.halted(), Ordering::Relaxed);
        }
    });
    if let Some(error) = engine.broken.get() {
        return Err(error.clone().into());
    }
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(place, _)| *place);
    let all: usize = wanted.iter().map(|due| due.providers.len()).sum();
    Ok(Report { not_begun: all - reports.len(), runs: reports.into_iter().map(|(_, report)| report).collect() })
}

/// Returns how many organizations may have begun at once.
fn begun_at_most(jobs: usize) -> usize {
    jobs.max((jobs * BEGUN_PER_JOB).min(BEGUN))
}

/// Runs the providers of an organization, as many as there is time for.
fn organization(engine: &Engine<'_>, turn: &Turn<'_>, due: &Due) -> Vec<RunReport> {
    let mut reports = Vec::new();
    for wanted in &due.providers {
        if engine.halted() {
            break;
        }
        reports.extend(pair(engine, turn, &due.organization, wanted));
        turn.share();
    }
    reports
}

/// Runs one pair under its lock. Returns nothing where the database has failed, which is told once for all.
fn pair(engine: &Engine<'_>, turn: &Turn<'_>, organization: &Organization, wanted: &Wanted) -> Option<RunReport> {
    let provider = &wanted.provider;
    let names = (organization.slug.as_str(), provider.as_str());
    let database = engine.store().path().to_owned();
    let nothing = |outcome, error| Some(report(names, outcome, None, Tally::default(), (Vec::new(), error), 0));
    let _lock = match lock::take(&database, names, engine.now()) {
        Ok(Taken::Free(lock)) => lock,
        Ok(Taken::Held(holder)) => {
            // Asked for by name, it was not done; of all that is due, it is being done.
            let error = || {
                let message = format!("{holder} is syncing it");
                UserError::new(Exit::Locked, "already_running", message)
                    .hint(format!("wait until it has ended: `skillsctl status {}` shows how far it is", names.0))
            };
            return nothing("already_running", (engine.options.trigger == Trigger::Manual).then(error));
        }
        // A lock file of another user, say: this pair's trouble alone.
        Err(error) => {
            let error = lock::unusable(&error);
            // But a full disk is everybody's.
            if error.exit == Exit::Database {
                return failed(engine, names, error.into(), 0);
            }
            return nothing(Outcome::Failed.as_str(), Some(error));
        }
    };
    mutants::point("lock taken");
    match was_run_since(engine, organization, wanted) {
        Ok(false) => {}
        Ok(true) => return nothing("already_run", None),
        Err(fault) => return failed(engine, names, fault, 0),
    }
    (engine.watch)(&Event::Started { organization: names.0, provider: names.1 });
    let began = std::time::Instant::now();
    let ended = one(engine, turn, organization, provider);
    (engine.watch)(&Event::Finished { organization: names.0, provider: names.1 });
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match ended {
        Ok(Ended { run_id, outcome, tally, warnings, told, error }) => {
            let report = report(names, outcome.as_str(), run_id, tally, (warnings, error), took);
            let Told { reread, doubts, fell_back, .. } = told;
            Some(RunReport { reread, doubts, fell_back, ..report })
        }
        Err(fault) => failed(engine, names, fault, took),
    }
}

/// Returns whether another process has run a pair since it was found due: it has had its turn in this slot.
fn was_run_since(engine: &Engine<'_>, organization: &Organization, wanted: &Wanted) -> Result<bool> {
    let stored = engine.library.provider(&wanted.provider);
    let (Some(newest), Some((provider, _))) = (wanted.newest_run, stored) else { return Ok(false) };
    let last = runs::last(engine.store().read(), (organization.id, provider.id))?;
    Ok(last.newest.unwrap_or(0) > newest)
}

/// Returns the report of a run that ended in a fault: this pair's trouble alone, unless it is the database's.
fn failed(engine: &Engine<'_>, names: (&str, &str), fault: anyhow::Error, took: u64) -> Option<RunReport> {
    let error = match fault.downcast_ref::<UserError>() {
        Some(own) => {
            if own.exit == Exit::Database {
                engine.broken.get_or_init(|| own.clone());
            }
            own.clone()
        }
        None => {
            if let Some(error) = crate::store::user_error(&fault) {
                engine.broken.get_or_init(|| error);
            }
            UserError::new(Exit::Fault, "internal", format!("{fault:#}"))
        }
    };
    if engine.broken.get().is_some() {
        return None;
    }
    Some(report(names, Outcome::Failed.as_str(), None, Tally::default(), (Vec::new(), Some(error)), took))
}

fn one(engine: &Engine<'_>, turn: &Turn<'_>, organization: &Organization, provider: &Name) -> Result<Ended> {
    let planned = resolve::plan(engine, organization, provider).and_then(|mut plan| {
        let opened = opened(engine, &mut plan)?;
        Ok((plan, opened))
    });
    match planned {
        Ok((plan, opened)) => run::run(engine, turn, &plan, opened),
        Err(error) => match error.downcast::<UserError>() {
            Ok(error) => unplanned(engine, organization, provider, error),
            Err(fault) => Err(fault),
        },
    }
}

/// Opens the credentials of a plan, those too that were deposited.
fn opened(engine: &Engine<'_>, plan: &mut Plan) -> Result<Opened> {
    let mut store = engine.store();
    let place = (&plan.organization, &plan.provider);
    let by = (engine.options.actor.as_str(), engine.now());
    let intake = engine.vault.take_in(&mut store, place, &plan.manifest, by)?;
    let opened = engine.vault.open(store.read(), place.0, place.1)?;
    let missing = plan.credentials.iter().filter(|field| !opened.secrets.contains_key(*field));
    intake.suffices(&missing.collect::<Vec<_>>())?;
    plan.warnings.extend_from_slice(&intake.warnings);
    plan.doubts = intake.warnings;
    Ok(opened)
}

/// Logs a run that could not even be planned, so that `status` and `log` show it.
fn unplanned(engine: &Engine<'_>, organization: &Organization, provider: &Name, error: UserError) -> Result<Ended> {
    let stored = engine.library.provider(provider).map(|(stored, _)| stored.id);
    let run_id = match stored {
        Some(provider_id) => {
            let log = super::log::RunLog::start(engine, (organization.id, provider_id), None)?;
            let (tally, outcome, error) = (&Tally::default(), Outcome::Failed, Some(&error));
            log.finish(engine, None, &Finish { outcome, tally, warnings: &[], error, due_at: None, fell_back: false })?;
            log.id
        }
        None => None,
    };
    let (tally, told) = (Tally::default(), Told::default());
    Ok(Ended { run_id, outcome: Outcome::Failed, tally, warnings: Vec::new(), told, error: Some(error) })
}

fn report(
    (organization, provider): (&str, &str),
    outcome: &str,
    run: Option<i64>,
    tally: Tally,
    (warnings, error): (Vec<String>, Option<UserError>),
    duration_ms: u64,
) -> RunReport {
    RunReport {
        organization: organization.to_owned(),
        provider: provider.to_owned(),
        run: run.map(|id| id.to_string()),
        outcome: outcome.to_owned(),
        tally,
        duration_ms,
        warnings,
        reread: Vec::new(),
        fell_back: false,
        doubts: Vec::new(),
        error: error.map(|error| ReportedError {
            code: error.code.to_owned(),
            exit: error.exit as u8,
            message: error.message,
            hint: error.hint,
        }),
    }
}
