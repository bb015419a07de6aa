//! One run: one provider of one organization through all stages.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::log::{RunLog, addressed};
use super::remarks::Remarks;
use super::resolve::{Plan, StreamPlan};
use super::tokens::Tokens;
use super::turn::Turn;
use super::upsert::Writer;
use super::{Engine, Event, fetch, job, sweep};
use crate::connector::{Connector, Failure, Page};
use crate::domain::entity::Entity;
use crate::domain::manifest::{PageKind, Sweep};
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::store::records::{self, Owner};
use crate::store::runs::{Outcome, Tally};
use crate::store::state::{self, Mode, OpenRead, StreamState};
use crate::store::{Connection, Keep, quarantine};
use crate::vault::Opened;

/// How a run ended.
pub(super) struct Ended {
    pub(super) run_id: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) tally: Tally,
    pub(super) warnings: Vec<String>,
    pub(super) error: Option<UserError>,
}

/// A run under way.
struct Run<'r> {
    engine: &'r Engine<'r>,
    plan: &'r Plan,
    connector: &'r Connector<'r>,
    turn: &'r Turn<'r>,
    log: RunLog,
    tally: Tally,
    warnings: Vec<String>,
    /// How many learners may still be added; `None` is no limit.
    room: Option<u64>,
    /// The rows of the stream being read that a dry run has found.
    found: HashSet<i64>,
}

/// Runs a plan. Whatever happens is logged; an error here is one of the database's or of ours.
pub(super) fn run(engine: &Engine<'_>, turn: &Turn<'_>, plan: &Plan, opened: Opened) -> Result<Ended> {
    let pair = (plan.organization.id, plan.provider.id);
    let log = RunLog::start(engine, pair)?;
    let (tokens, secrets) = Tokens::of(
        (&engine.store, engine.vault),
        (&plan.organization, &plan.provider),
        &plan.settings,
        opened,
        &engine.options.actor,
    );
    let connector = plan.connector(engine, secrets, &tokens);
    let room = match plan.organization.max_learners {
        Some(max) => Some(u64::from(max).saturating_sub(records::live_learners(engine.store().read(), pair.0)?)),
        None => None,
    };
    let (tally, warnings, found) = (Tally::default(), plan.warnings.clone(), HashSet::new());
    let mut run = Run { engine, plan, connector: &connector, turn, log, tally, warnings, room, found };
    let failure = run.streams();
    run.count_usage();
    let Run { tally, warnings, .. } = run;
    let due_at = match &failure {
        Some(Failure::Defer(_, due_at)) => *due_at,
        _ => None,
    };
    let (outcome, error) = match failure {
        None if tally.quarantined > 0 || tally.over_cap > 0 => (Outcome::Partial, None),
        None => (Outcome::Ok, None),
        Some(Failure::Skip(error)) => (Outcome::Partial, Some(error)),
        Some(Failure::Defer(error, _)) => (Outcome::Deferred, Some(error)),
        Some(
            Failure::Refused(error)
            | Failure::Stream(error)
            | Failure::Restart(error)
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
            log.finish(engine, &tally, &warnings, Outcome::Failed, (Some(&error), None)).ok();
            return Err(fault);
        }
    };
    if error.as_ref().is_some_and(|error| error.code == "credential_replaced") {
        // A page may have been written since it was.
        engine.store().change(engine.options.keep, |tx| state::begin_again(tx, pair))?;
    }
    let error = error.map(|error| addressed(error, plan));
    log.finish(engine, &tally, &warnings, outcome, (error.as_ref(), due_at))?;
    Ok(Ended { run_id: log.id, outcome, tally, warnings, error })
}

impl Run<'_> {
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
        let (mut worst, mut skipped) = (None, 0);
        for stream in &plan.streams {
            let Err(failure) = self.stream(stream) else { continue };
            match failure {
                Failure::Skip(error) => {
                    self.warnings.push(format!("{}: left out: {}", stream.name, error.message));
                    skipped += 1;
                    worst.get_or_insert(Failure::Skip(error));
                }
                Failure::Stream(error) | Failure::Restart(error) | Failure::Halve(error) | Failure::NoJob(error) => {
                    self.warnings.push(format!("{}: failed: {}", stream.name, error.message));
                    if !matches!(worst, Some(Failure::Stream(_))) {
                        worst = Some(Failure::Stream(error));
                    }
                }
                other => return Some(other),
            }
        }
        match worst {
            // Nothing at all was read: that is no run that went well in part.
            Some(Failure::Skip(error)) if skipped == plan.streams.len() => Some(Failure::Stream(error)),
            worst => worst,
        }
    }

    /// Reads one stream to its end, window by window: each once more from its start if the provider has lost the position,
    /// and in halves if it holds too much.
    fn stream(&mut self, stream: &StreamPlan) -> Result<(), Failure> {
        let pair = self.pair();
        let mut state = state::get(self.engine.store().read(), pair, &stream.name).map_err(Failure::Internal)?;
        let options = &self.engine.options;
        let now = self.connector.provider_time(self.engine.now());
        if options.backfill.is_some() {
            state.open_read = None;
        } else if !options.full && options.stream.is_none() && fetch::rests(stream, &state, now) {
            return Ok(());
        }
        let (mut again, mut halved) = (false, false);
        let (mut seen, before) = (Vec::new(), self.tally);
        loop {
            let read = self.read(stream, &mut state, &mut seen);
            self.tell(stream, self.connector.take_notices());
            match read {
                Ok(()) if state.open_read.is_some() => again = false,
                Err(Failure::Restart(error)) if !again => {
                    again = true;
                    self.warnings.push(format!("{}: begun again: {}", stream.name, error.message));
                    state.open_read.iter_mut().for_each(OpenRead::begin_again);
                    self.keep(stream, &state)?;
                }
                Err(Failure::Halve(error)) => {
                    let Some(half) = state.open_read.as_ref().and_then(|open| fetch::half(stream, open)) else {
                        return Err(Failure::Stream(error));
                    };
                    if !std::mem::replace(&mut halved, true) {
                        self.warnings.push(format!("{}: read in shorter windows: {}", stream.name, error.message));
                    }
                    state.open_read = Some(half);
                    self.keep(stream, &state)?;
                }
                Ok(()) => break,
                failed => return failed,
            }
        }
        let read = self.tally.read - before.read;
        if read > 0 {
            let sources = stream.transform.never_seen(&seen).map(|source| format!("`{source}`"));
            let sources = sources.collect::<Vec<_>>().join(", ");
            if !sources.is_empty() {
                self.tell(stream, [format!("none of the {read} records has {sources}")]);
            }
        }
        Ok(())
    }

    /// Adds warnings of a stream.
    fn tell(&mut self, stream: &StreamPlan, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings.into_iter().map(|warning| format!("{}: {warning}", stream.name)));
    }

    fn pair(&self) -> (i64, i64) {
        (self.plan.organization.id, self.plan.provider.id)
    }

    fn change<T>(&self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T, Failure> {
        self.engine.change(self.engine.options.keep, change).map_err(Failure::Internal)
    }

    /// Returns whether the run moves what the next sync goes on from: a backfill is apart from it.
    fn moves(&self) -> bool {
        self.engine.options.backfill.is_none()
    }

    /// Keeps how far a stream was read.
    fn keep(&self, stream: &StreamPlan, state: &StreamState) -> Result<(), Failure> {
        if self.moves() {
            self.change(|tx| state::put(tx, self.pair(), &stream.name, state))?;
        }
        Ok(())
    }

    /// Reads one window, or everything. What is left open in the state afterwards is the window that follows.
    fn read(&mut self, stream: &StreamPlan, state: &mut StreamState, seen: &mut Vec<bool>) -> Result<(), Failure> {
        let pair = self.pair();
        let (adopt, quarantined) = {
            let store = self.engine.store();
            let adopt = records::has_dormant(store.read(), pair.0).map_err(Failure::Internal)?;
            let quarantined = quarantine::count(store.read(), pair.0, pair.1).map_err(Failure::Internal)?;
            (adopt, quarantined)
        };
        let now = self.engine.now();
        let provider_time = self.connector.provider_time(now);
        let (open, reason) = match (self.engine.options.backfill, &state.open_read) {
            (Some(range), None) => (fetch::backfill(stream, range), None),
            (Some(_), Some(open)) => (open.clone(), None),
            (None, _) => fetch::next_read(stream, state, provider_time, self.engine.options.full),
        };
        self.warnings.extend(reason);
        let mut owner = Owner {
            organization_id: pair.0,
            provider_id: pair.1,
            entity: stream.entity,
            generation: state.generation,
            full: open.mode == Mode::Full,
            now: records::moment(now),
            adopt,
        };
        if owner.full && (state.open_read.as_ref() != Some(&open) || mutants::on("generation-anew")) {
            // Rows may also come from another stream that fed the entity before, with a count of its own.
            let newest = records::newest_generation(self.engine.store().read(), &owner).map_err(Failure::Internal)?;
            // One given up counts for nothing where several must miss a row: the next takes its number.
            let given_up = state.open_read.as_ref().is_some_and(|open| open.mode == Mode::Full);
            let next = i64::from(!given_up || stream.stream.deletes.after == 1);
            owner.generation = if newest > state.generation { newest + 1 } else { state.generation + next };
        }
        // A row seen twice by a read with a number of its own shows that pages shift. A loop may well show one twice.
        let counted = owner.full
            && owner.generation > state.generation
            && stream.each.len() == 1
            && matches!(stream.stream.full.page.kind, PageKind::Number(_) | PageKind::Offset);
        state.generation = owner.generation;
        // Rows are marked as seen only where that will be asked for: it costs a write for each row that did not change.
        owner.full &= stream.stream.deletes.sweep != Sweep::Never || counted;
        state.open_read = Some(open.clone());
        let mut writer = Writer {
            owner,
            stream: stream.name.clone(),
            run_id: self.log.id,
            room: self.room,
            // Former learners are looked for before anything is inserted.
            expects_new: state.watermark.is_none() && !adopt,
            counted,
            has_quarantine: quarantined > 0,
            now,
        };
        self.found.clear();
        let (mut remarks, mut failure) = (Remarks::default(), None);
        let (mut at, before) = (open.clone(), self.tally.read);
        for each in open.each..stream.each.len() {
            if each > open.each {
                at.begin_again();
                at.each = each;
            }
            let refused = job::prepare(self.connector, stream, &mut at, now, |at| {
                state.open_read = Some(at.clone());
                self.keep(stream, state)
            })?;
            self.tell(stream, refused.map(|why| format!("read without a job: {why}")));
            let (read, begun) = (fetch::read_of(stream, &at), at.clone());
            let pages = fetch::pages(self.connector, self.turn, stream, read, fetch::start(stream, &begun), |page| {
                fetch::count(read, &mut at, &page);
                at.position = page.next.clone();
                // The first answer may have told that our clock is ahead of the provider's.
                fetch::hold_back(stream, &mut at, self.connector.provider_time(now));
                if let Some(why) = fetch::shortfall(&at) {
                    if let Some(open) = state.open_read.as_mut().filter(|open| !open.recounted) {
                        open.recounted = true;
                        return Err(Failure::Restart(UserError::new(Exit::Unavailable, "pages_shifted", why)));
                    }
                    at.shifted = true;
                    self.tell(stream, [format!("some may be missing, so no deletes were looked for: {why}")]);
                }
                at.each = if at.position.is_some() { each } else { each + 1 };
                state.open_read = Some(if at.position.is_some() {
                    at.clone()
                } else {
                    OpenRead { job: None, counted: None, ..at.clone() }
                });
                if mutants::on("watermark-first") {
                    state.watermark = Some(at.to);
                }
                remarks += self.page(stream, &mut writer, state, &page, seen)?;
                if let Some(open) = &state.open_read {
                    (at.keyless, at.shifted) = (open.keyless, open.shifted);
                }
                Ok(())
            });
            match pages {
                // The other values of a loop are read all the same.
                Err(Failure::Stream(error)) if stream.each.len() > 1 => {
                    self.tell(
                        stream,
                        [format!("`{}`: {}", stream.each[each].as_deref().unwrap_or_default(), error.message)],
                    );
                    at.failed = true;
                    failure.get_or_insert(Failure::Stream(error));
                }
                pages => pages?,
            }
            job::clear(self.connector, stream, &begun);
        }
        let read = self.tally.read - before;
        let cursor = stream.stream.cursor.as_ref().and_then(|cursor| cursor.field.as_ref());
        let field = cursor.map(ToString::to_string).unwrap_or_default();
        self.tell(stream, remarks.lines(&field, read));
        let failure = failure.or_else(|| match open.mode {
            Mode::Changes => remarks.undated_changes(&field, read).map(Failure::Stream),
            Mode::Full => None,
        });
        if failure.is_some() || at.failed {
            state.open_read = Some(OpenRead { each: 0, position: None, failed: true, ..open });
            self.keep(stream, state)?;
            // A value of the loop that failed in a run before this one is read again at once.
            let error =
                || UserError::new(Exit::Unavailable, "read_incomplete", "a part of it could not be read before");
            return Err(failure.unwrap_or_else(|| Failure::Restart(error())));
        }
        self.finish_read(stream, state, &at, &writer.owner)
    }

    /// Writes one page: its rows, the progress and the counters in one transaction.
    fn page(
        &mut self,
        stream: &StreamPlan,
        writer: &mut Writer,
        state: &mut StreamState,
        page: &Page,
        seen: &mut Vec<bool>,
    ) -> Result<Remarks, Failure> {
        self.count_usage();
        let (pair, log, before) = (self.pair(), self.log, self.tally);
        if mutants::on("progress-first") {
            self.change(|tx| state::put(tx, pair, &stream.name, state))?;
        }
        let moves = self.moves();
        let (written, tally) = self.change(|tx| {
            let written = writer.write(tx, stream, page, seen)?;
            if let Some(open) = &mut state.open_read {
                open.keyless |= written.remarks.keyless > 0;
                open.shifted |= written.remarks.repeated > 0;
            }
            let mut tally = before;
            tally += written.tally;
            if moves {
                state::put(tx, pair, &stream.name, state)?;
            }
            log.count(tx, &tally)?;
            mutants::point("page written");
            Ok((written, tally))
        })?;
        mutants::point("page committed");
        self.tally = tally;
        self.found.extend(&written.found);
        writer.has_quarantine |= written.tally.quarantined > 0;
        if stream.entity == Entity::Learner {
            self.room = self.room.map(|room| room.saturating_sub(written.room_used));
            writer.room = self.room;
        }
        (self.engine.watch)(&Event::Page {
            organization: self.plan.organization.slug.as_str(),
            provider: self.plan.provider.slug.as_str(),
            stream: &stream.name,
            tally: &self.tally,
        });
        Ok(written.remarks)
    }

    /// What follows a complete read: deletes, and only then the watermark.
    fn finish_read(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        open: &OpenRead,
        owner: &Owner,
    ) -> Result<(), Failure> {
        mutants::point("read ended");
        let engine = self.engine;
        let keep = engine.options.keep;
        let fed =
            sweep::feed(self.connector, self.turn, stream, open, owner, |delete| engine.change(keep, |tx| delete(tx)))?;
        self.tally.deleted += fed;
        let read = state.open_read.take().unwrap_or_else(|| open.clone());
        state.open_read = fetch::next_window(stream, &read);
        if !self.moves() {
            self.count_usage();
            let (log, tally) = (self.log, self.tally);
            return self.change(|tx| log.count(tx, &tally));
        }
        let doubtful = read.keyless || read.shifted;
        let swept = if doubtful {
            Ok(0)
        } else {
            sweep::sweep(
                &mut engine.store(),
                stream,
                &self.plan.manifest,
                open,
                owner,
                (keep == Keep::DryRun).then_some(&self.found),
                engine.options.allow_mass_delete,
            )
        };
        let (swept, failure) = match swept {
            Ok(swept) => (swept, None),
            Err(failure) => (0, Some(failure)),
        };
        self.tally.deleted += swept;
        mutants::point("swept");
        let to = read.to;
        state.watermark = Some(to);
        state.shape = Some(open.shape.clone());
        if open.mode == Mode::Full && failure.is_none() {
            state.last_full_at = (!read.shifted).then_some(to);
        }
        self.count_usage();
        let (pair, log, tally) = (self.pair(), self.log, self.tally);
        self.change(|tx| {
            state::put(tx, pair, &stream.name, state)?;
            log.count(tx, &tally)?;
            mutants::point("watermark written");
            Ok(())
        })?;
        mutants::point("watermark committed");
        failure.map_or(Ok(()), Err)
    }

    fn count_usage(&mut self) {
        let usage = self.connector.usage();
        self.tally.requests = usage.requests.load(Ordering::Relaxed);
        self.tally.retries = usage.retries.load(Ordering::Relaxed);
        self.tally.waited_ms = usage.waited_ms.load(Ordering::Relaxed);
        self.tally.bytes = usage.bytes.load(Ordering::Relaxed);
    }
}
