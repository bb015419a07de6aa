//! Many organizations side by side: each one's providers in turn, no failure reaching beyond its pair.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use serde::Serialize;

use super::due::Due;
use super::run::{self, Ended, Told};
use super::{Engine, Event, lock, resolve};
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::store::organizations::Organization;
use crate::store::runs::{Outcome, Tally};
use crate::store::user_error;

/// How one pair came out.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) organization: String,
    pub(crate) provider: String,
    /// The row of `integration_sync_logs`; null where nothing was begun.
    pub(crate) run: Option<String>,
    /// `already_running` where another process was at it, else the outcome of the run.
    pub(crate) outcome: String,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) duration_ms: u64,
    pub(crate) warnings: Vec<String>,
    /// The streams that were read in full because settings, mappings or filters have changed.
    pub(crate) reread: Vec<String>,
    /// Those of the warnings that say that rows may not be what is at the provider.
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
}

impl Report {
    /// Returns the exit code: 0 if all went well, 3 if something did not, and the cause's own where all failed for it.
    pub(crate) fn exit(&self) -> Exit {
        let failed = |run: &&RunReport| !matches!(run.outcome.as_str(), "ok" | "already_running");
        let bad: Vec<&RunReport> = self.runs.iter().filter(failed).collect();
        let Some(first) = bad.first() else { return Exit::Done };
        let cause = |run: &RunReport| run.error.as_ref().map_or(Exit::Partial as u8, |error| error.exit);
        if bad.len() < self.runs.len() || bad.iter().any(|run| run.outcome == "partial" || cause(run) != cause(first)) {
            return Exit::Partial;
        }
        let own = [
            Exit::Refused,
            Exit::Key,
            Exit::Unavailable,
            Exit::Invalid,
            Exit::Conflict,
            Exit::NotFound,
            Exit::Database,
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

/// Syncs organizations, `jobs` of them at a time. An error of the database itself ends everything.
pub(crate) fn sync(engine: &Engine<'_>, wanted: &[Due]) -> Result<Report> {
    engine.store().relax_durability()?;
    let next = AtomicUsize::new(0);
    let runs = Mutex::new(Vec::new());
    let fatal = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..engine.options.jobs.min(wanted.len()) {
            scope.spawn(|| {
                while let Some(due) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for provider in &due.providers {
                        if engine.stop.load(Ordering::Relaxed) {
                            return;
                        }
                        match pair(engine, &due.organization, provider) {
                            Ok(report) => runs.lock().unwrap_or_else(PoisonError::into_inner).push(report),
                            Err(error) => {
                                fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                                next.store(wanted.len(), Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    let position = |run: &RunReport| wanted.iter().position(|due| due.organization.slug.as_str() == run.organization);
    runs.sort_by_key(position);
    Ok(Report { runs })
}

/// Runs one pair under its lock.
fn pair(engine: &Engine<'_>, organization: &Organization, provider: &Name) -> Result<RunReport> {
    let names = (organization.slug.as_str(), provider.as_str());
    let database = engine.store().path().to_owned();
    let nothing = |outcome, error| Ok(report(names, outcome, None, Tally::default(), (Vec::new(), error), 0));
    let _lock = match lock::take(&database, names.0, names.1) {
        Ok(Some(lock)) => lock,
        Ok(None) => return nothing("already_running", None),
        // A lock file of another user, say: this pair's trouble alone.
        Err(error) => {
            let error = UserError::new(Exit::Locked, "lock_unusable", format!("{error:#}"))
                .hint("check the owner and mode of the folder of locks beside the database");
            return nothing(Outcome::Failed.as_str(), Some(error));
        }
    };
    (engine.watch)(&Event::Started { organization: names.0, provider: names.1 });
    let began = std::time::Instant::now();
    let ended = one(engine, organization, provider);
    (engine.watch)(&Event::Finished { organization: names.0, provider: names.1 });
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match ended {
        Ok(Ended { run_id, outcome, tally, warnings, told, error }) => {
            let report = report(names, outcome.as_str(), run_id, tally, (warnings, error), took);
            Ok(RunReport { reread: told.reread, doubts: told.doubts, ..report })
        }
        Err(error) => match error.downcast_ref::<UserError>() {
            // Wrong settings, a credential that does not open: this pair's trouble alone.
            Some(own) if user_error(&error).is_none() && own.exit != Exit::Database => {
                let own = own.clone();
                Ok(report(names, Outcome::Failed.as_str(), None, Tally::default(), (Vec::new(), Some(own)), took))
            }
            _ => Err(error),
        },
    }
}

fn one(engine: &Engine<'_>, organization: &Organization, provider: &Name) -> Result<Ended> {
    let planned = resolve::plan(engine, organization, provider).and_then(|plan| {
        let secrets = engine.vault.open(engine.store().read(), organization, &plan.provider)?;
        Ok((plan, secrets))
    });
    match planned {
        Ok((plan, secrets)) => run::run(engine, &plan, secrets),
        Err(error) => match error.downcast::<UserError>() {
            Ok(error) => unplanned(engine, organization, provider, error),
            Err(fault) => Err(fault),
        },
    }
}

/// Logs a run that could not even be planned, so that `status` and `log` show it.
fn unplanned(engine: &Engine<'_>, organization: &Organization, provider: &Name, error: UserError) -> Result<Ended> {
    let stored = engine.library.provider(provider).map(|(stored, _)| stored.id);
    let run_id = match stored {
        Some(provider_id) => {
            let log = super::log::RunLog::start(engine, (organization.id, provider_id), None)?;
            log.finish(engine, &Tally::default(), &[], Outcome::Failed, Some(&error))?;
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
        doubts: Vec::new(),
        error: error.map(|error| ReportedError {
            code: error.code.to_owned(),
            exit: error.exit as u8,
            message: error.message,
            hint: error.hint,
        }),
    }
}
