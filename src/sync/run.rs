//! One run: one provider of one organization through all stages.

use std::sync::atomic::Ordering;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

use super::erased::Erased;
use super::log::{RunLog, addressed};
use super::resolve::{Plan, StreamPlan};
use super::tokens::Tokens;
use super::turn::Turn;
use super::{Engine, fallback, view};
use crate::connector::{Connector, Failure};
use crate::error::{Exit, UserError};
use crate::store::Connection;
use crate::store::records::{self, Tried};
use crate::store::runs::{Finish, Outcome, Tally};
use crate::store::state::{self, StreamState};
use crate::vault::Opened;

/// A clock that differs by more than this is told of.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);

/// How a run ended.
pub(super) struct Ended {
    pub(super) run_id: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) tally: Tally,
    pub(super) warnings: Vec<String>,
    pub(super) told: Told,
    pub(super) error: Option<UserError>,
}

/// What is said of a run even where warnings are not.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The streams that were read in full because settings have changed.
    pub(super) reread: Vec<String>,
    /// Warnings that rows, or credentials, may not be what they should be. They are among the others too.
    pub(super) doubts: Vec<String>,
    /// Whether it went on with the previous credentials.
    pub(super) fell_back: bool,
    /// Whether a read may have missed rows.
    pub(super) incomplete: bool,
}

/// A run under way.
pub(super) struct Run<'r> {
    pub(super) engine: &'r Engine<'r>,
    pub(super) plan: &'r Plan,
    pub(super) connector: &'r Connector<'r>,
    pub(super) turn: &'r Turn<'r>,
    /// What tells its credentials from others.
    pub(super) credential: String,
    /// A digest of what that sees, once it was asked for.
    pub(super) scope: Option<Option<String>>,
    pub(super) log: RunLog,
    /// When it began, or went on with other credentials.
    pub(super) started: DateTime<Utc>,
    pub(super) tally: Tally,
    /// What was counted before it had this connector.
    earlier: Tally,
    warnings: Vec<String>,
    pub(super) told: Told,
    /// How many learners may still be added; `None` is no limit.
    pub(super) room: Option<u64>,
    /// What a dry run did to the rows of the stream being read.
    pub(super) tried: Tried,
}

/// How far a run has come.
#[derive(Default)]
struct Course {
    tally: Tally,
    warnings: Vec<String>,
    told: Told,
    failure: Option<Failure>,
}

/// Runs a plan. Whatever happens is logged; an error here is one of the database's or of ours.
pub(super) fn run(engine: &Engine<'_>, turn: &Turn<'_>, plan: &Plan, opened: Opened) -> Result<Ended> {
    let pair = (plan.organization.id, plan.provider.id);
    let log = RunLog::start(engine, pair, Some(&plan.shape))?;
    let erased = || Erased::of(Some(engine.vault), &plan.organization, &plan.provider.slug);
    let given = opened.given.clone();
    let told = Told { doubts: plan.doubts.clone(), ..Told::default() };
    let begun = Course { warnings: plan.warnings.clone(), told, ..Course::default() };
    let mut course = attempt((engine, turn, plan), log, opened, begun)?;
    if fallback::is_refusal(course.failure.as_ref(), &course.tally)
        && let Some(previous) = fallback::previous(engine, plan, &given)?
    {
        course = fall_back((engine, turn, plan), log, previous, course)?;
    }
    let Course { tally, warnings, told, failure } = course;
    let due_at = match &failure {
        Some(Failure::Defer(_, due_at)) => *due_at,
        _ => None,
    };
    let (outcome, error) = match failure {
        None if tally.quarantined > 0 || tally.over_cap > 0 || told.incomplete => (Outcome::Partial, None),
        None => (Outcome::Ok, None),
        Some(Failure::Skip(error)) => (Outcome::Partial, Some(error)),
        Some(Failure::Defer(error, _)) => (Outcome::Deferred, Some(error)),
        Some(
            Failure::Refused(error)
            | Failure::Stream(error)
            | Failure::Restart(error)
            | Failure::Distrust(error)
            | Failure::Halve(error)
            | Failure::NoJob(error),
        ) => (Outcome::Failed, Some(error)),
        Some(Failure::Stopped) => {
            let (outcome, error) = if engine.stopped() {
                let message = "the run was interrupted; what it had read is kept";
                (Outcome::Interrupted, UserError::new(Exit::Interrupted, "interrupted", message))
            } else {
                let message = "the time given by --max-runtime was over; what it had read is kept";
                (Outcome::Deferred, UserError::new(Exit::Partial, "out_of_time", message))
            };
            let hint = match engine.options.backfill {
                Some(_) => "a backfill begins anew: give the same command again, or a shorter time",
                None => "the next sync goes on where it stood",
            };
            (outcome, Some(error.hint(hint)))
        }
        Some(Failure::Internal(fault)) => {
            // The log may be impossible to write too; the fault itself is what must be told.
            let error = UserError::new(Exit::Fault, "internal", format!("{fault:#}"));
            let (tally, warnings, fell_back) = (&tally, &warnings[..], told.fell_back);
            let outcome = Outcome::Failed;
            log.finish(
                engine,
                Some(erased()),
                &Finish { outcome, tally, warnings, error: Some(&error), due_at: None, fell_back },
            )
            .ok();
            return Err(fault);
        }
    };
    let error = error.map(|error| addressed(error, plan));
    let fell_back = told.fell_back;
    let finish = Finish { outcome, tally: &tally, warnings: &warnings, error: error.as_ref(), due_at, fell_back };
    log.finish(engine, Some(erased()), &finish)?;
    Ok(Ended { run_id: log.id, outcome, tally, warnings, told, error })
}

/// Goes through all stages with these credentials.
fn attempt(
    (engine, turn, plan): (&Engine<'_>, &Turn<'_>, &Plan),
    log: RunLog,
    opened: Opened,
    course: Course,
) -> Result<Course> {
    let credential = view::credential(&opened);
    let (tokens, secrets) = Tokens::of(
        (&engine.store, engine.vault),
        (&plan.organization, &plan.provider),
        &plan.settings,
        opened,
        &engine.options.actor,
    );
    let connector = &plan.connector(engine, secrets, &tokens);
    let room = records::room(engine.store().read(), &plan.organization)?;
    let Course { tally, warnings, told, .. } = course;
    let (earlier, tried) = (tally, Tried::default());
    let (scope, started) = (None, engine.now());
    let mut run = Run {
        engine,
        plan,
        connector,
        turn,
        credential,
        scope,
        log,
        started,
        tally,
        earlier,
        warnings,
        told,
        room,
        tried,
    };
    let failure = run.streams();
    run.count_usage();
    let Run { tally, warnings, told, .. } = run;
    Ok(Course { tally, warnings, told, failure })
}

/// Goes on with the credentials that those in force have replaced, which were refused. Refused too, the first refusal stands.
fn fall_back(
    (engine, turn, plan): (&Engine<'_>, &Turn<'_>, &Plan),
    log: RunLog,
    previous: Opened,
    mut course: Course,
) -> Result<Course> {
    let refusal = course.failure.take();
    let mut course = attempt((engine, turn, plan), log, previous, course)?;
    if fallback::is_refusal(course.failure.as_ref(), &course.tally) {
        course.warnings.push("the credentials in force were refused, and those they replaced too".to_owned());
        course.failure = refusal;
        return Ok(course);
    }
    let (organization, provider) = (&plan.organization.slug, &plan.provider.slug);
    let warning = format!(
        "the credentials in force were refused, so the run went on with those they replaced, as it may for a day: \
         `skillsctl credential test {organization} {provider}` tries them again, `skillsctl credential rollback \
         {organization} {provider}` goes back"
    );
    course.told.doubts.push(warning.clone());
    course.warnings.push(warning);
    course.told.fell_back = true;
    Ok(course)
}

impl<'r> Run<'r> {
    /// Reads all streams. One that fails does not stop the others, unless it is the credential; the gravest failure is
    /// returned.
    fn streams(&mut self) -> Option<Failure> {
        match self.turn.call(|| self.connector.verify_account()) {
            Some(Ok(())) => {}
            Some(Err(failure)) => return Some(failure),
            None => return Some(Failure::Stopped),
        }
        let plan = self.plan;
        let pair = self.pair();
        if let Err(failure) = self.change(|tx| state::keep_only(tx, pair, &plan.feeding)) {
            return Some(failure);
        }
        let (mut worst, mut skipped, mut refused) = (None, 0, None);
        let pages = self.tally.pages;
        for stream in &plan.streams {
            let Err(failure) = self.stream(stream) else { continue };
            match failure {
                Failure::Skip(error) => {
                    self.warnings.push(format!("{}: left out: {}", stream.name, error.message));
                    skipped += 1;
                    worst.get_or_insert(Failure::Skip(error));
                }
                Failure::Stream(error)
                | Failure::Restart(error)
                | Failure::Distrust(error)
                | Failure::Halve(error)
                | Failure::NoJob(error) => {
                    self.warnings.push(format!("{}: failed: {}", stream.name, error.message));
                    if !matches!(worst, Some(Failure::Stream(_))) {
                        worst = Some(Failure::Stream(error));
                    }
                }
                // Another stream may be let in.
                Failure::Refused(error) if error.code == "not_allowed" => {
                    self.warnings.push(format!("{}: left out: {}", stream.name, error.message));
                    refused.get_or_insert(error);
                }
                other => return Some(other),
            }
        }
        match refused {
            Some(error) if self.tally.pages > pages => {
                worst.get_or_insert(Failure::Skip(error));
            }
            Some(error) => return Some(Failure::Refused(error)),
            None => {}
        }
        self.compare_clocks();
        match worst {
            // Nothing at all was read: that is no run that went well in part.
            Some(Failure::Skip(error)) if skipped == plan.streams.len() => Some(Failure::Stream(error)),
            worst => worst,
        }
    }

    /// Tells of clocks so far apart that one of them must be wrong.
    fn compare_clocks(&mut self) {
        let now = self.engine.now();
        let ahead = self.connector.provider_time(now) - now;
        if ahead.abs() >= CLOCKS_DIFFER {
            let (minutes, way) =
                ((ahead.num_seconds().abs() + 30) / 60, if ahead < TimeDelta::zero() { "behind" } else { "ahead of" });
            let title = &self.plan.manifest.title;
            let warning = format!(
                "the clock of {title} is {minutes} min {way} the clock of this machine: one of them is wrong, and changes may come late"
            );
            self.warnings.push(warning.clone());
            self.told.doubts.push(warning);
        }
    }

    /// Adds warnings of a stream.
    pub(super) fn tell(&mut self, stream: &StreamPlan, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings.into_iter().map(|warning| format!("{}: {warning}", stream.name)));
    }

    /// Warns that rows may not be what is at the provider.
    pub(super) fn doubt(&mut self, stream: &StreamPlan, warning: &str) {
        let warning = format!("{}: {warning}", stream.name);
        self.warnings.push(warning.clone());
        self.told.doubts.push(warning);
    }

    /// Returns what looks who was erased from the organization.
    pub(super) fn erased(&self) -> Erased<'r> {
        Erased::of(Some(self.engine.vault), &self.plan.organization, &self.plan.provider.slug)
    }

    pub(super) fn pair(&self) -> (i64, i64) {
        (self.plan.organization.id, self.plan.provider.id)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T, Failure> {
        self.engine.change(self.engine.options.keep, change).map_err(Failure::Internal)
    }

    /// Returns whether the run moves what the next sync goes on from: a backfill is apart from it.
    pub(super) fn moves(&self) -> bool {
        self.engine.options.backfill.is_none()
    }

    /// Keeps how far a stream was read.
    pub(super) fn keep(&self, stream: &StreamPlan, state: &StreamState) -> Result<(), Failure> {
        if self.moves() {
            self.change(|tx| state::put(tx, self.pair(), &stream.name, state))?;
        }
        Ok(())
    }

    pub(super) fn count_usage(&mut self) {
        let (usage, earlier) = (self.connector.usage(), &self.earlier);
        self.tally.requests = earlier.requests + usage.requests.load(Ordering::Relaxed);
        self.tally.retries = earlier.retries + usage.retries.load(Ordering::Relaxed);
        self.tally.waited_ms = earlier.waited_ms + usage.waited_ms.load(Ordering::Relaxed);
        self.tally.bytes = earlier.bytes + usage.bytes.load(Ordering::Relaxed);
    }
}
