//! One run: one provider of one organization through all stages.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::log::{RunLog, addressed};
use super::resolve::{Plan, StreamPlan};
use super::transform::Batch;
use super::upsert::Writer;
use super::{Engine, Event, fetch, sweep};
use crate::connector::{Connector, Failure};
use crate::domain::entity::Entity;
use crate::domain::manifest::Sweep;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::secrets::Secret;
use crate::store::records::{self, Owner};
use crate::store::runs::{Outcome, Tally};
use crate::store::state::{self, Mode, OpenRead, StreamState};
use crate::store::{Connection, Keep, audit, quarantine};

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
    log: RunLog,
    tally: Tally,
    warnings: Vec<String>,
    /// How many learners may still be added; `None` is no limit.
    room: Option<u64>,
    /// The rows of the stream being read that a dry run has found.
    found: HashSet<i64>,
}

/// Runs a plan. Whatever happens is logged; an error here is one of the database's or of ours.
pub(super) fn run(engine: &Engine<'_>, plan: &Plan, secrets: BTreeMap<Name, Secret>) -> Result<Ended> {
    let pair = (plan.organization.id, plan.provider.id);
    let log = RunLog::start(engine, pair)?;
    let rotate = |field: &Name, value: &Secret| {
        let now = engine.now();
        let actor = engine.options.actor.as_str();
        let subject = format!("{}/{}/{field}", plan.organization.slug, plan.provider.slug);
        // Kept even in a dry run: the provider has replaced it, and the old one may be worth nothing.
        let mut store = engine.store();
        store.change(Keep::Yes, |tx| {
            let stored = engine.vault.set(tx, (&plan.organization, &plan.provider), field, value, (actor, now))?;
            let entry = audit::Entry {
                actor,
                action: "credential rotate",
                subject: &subject,
                before: None,
                after: Some(&stored.fingerprint),
            };
            audit::insert(tx, now, &entry)
        })?;
        // Pages may be lost in a power failure and read again; this may not.
        store.checkpoint()
    };
    let connector = plan.connector(engine, secrets, &rotate);
    let room = match plan.organization.max_learners {
        Some(max) => Some(u64::from(max).saturating_sub(records::live_learners(engine.store().read(), pair.0)?)),
        None => None,
    };
    let (tally, warnings, found) = (Tally::default(), Vec::new(), HashSet::new());
    let mut run = Run { engine, plan, connector: &connector, log, tally, warnings, room, found };
    let failure = run.streams();
    run.count_usage();
    let Run { tally, warnings, .. } = run;
    let (outcome, error) = match failure {
        None if tally.quarantined > 0 || tally.over_cap > 0 => (Outcome::Partial, None),
        None => (Outcome::Ok, None),
        Some(Failure::Skip(error)) => (Outcome::Partial, Some(error)),
        Some(Failure::Defer(error)) => (Outcome::Deferred, Some(error)),
        Some(Failure::Refused(error) | Failure::Stream(error) | Failure::Restart(error)) => {
            (Outcome::Failed, Some(error))
        }
        Some(Failure::Stopped) => {
            let error =
                UserError::new(Exit::Interrupted, "interrupted", "the run was interrupted; what it had read is kept")
                    .hint("the next sync goes on where it stood");
            (Outcome::Interrupted, Some(error))
        }
        Some(Failure::Internal(fault)) => {
            // The log may be impossible to write too; the fault itself is what must be told.
            let error = UserError::new(Exit::Fault, "internal", format!("{fault:#}"));
            log.finish(engine, &tally, &warnings, Outcome::Failed, Some(&error)).ok();
            return Err(fault);
        }
    };
    let error = error.map(|error| addressed(error, plan));
    log.finish(engine, &tally, &warnings, outcome, error.as_ref())?;
    Ok(Ended { run_id: log.id, outcome, tally, warnings, error })
}

impl Run<'_> {
    /// Reads all streams. One that fails does not stop the others, unless it is the credential; the gravest failure is
    /// returned.
    fn streams(&mut self) -> Option<Failure> {
        if let Err(failure) = self.connector.verify_account() {
            return Some(failure);
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
                Failure::Stream(error) | Failure::Restart(error) => {
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

    /// Reads one stream to its end, once more from its start if the provider has lost the position.
    fn stream(&mut self, stream: &StreamPlan) -> Result<(), Failure> {
        match self.read(stream) {
            Err(Failure::Restart(error)) => {
                self.warnings.push(format!("{}: begun again: {}", stream.name, error.message));
                let pair = self.pair();
                let mut state =
                    state::get(self.engine.store().read(), pair, &stream.name).map_err(Failure::Internal)?;
                if let Some(open) = &mut state.open_read {
                    (open.position, open.each) = (None, 0);
                }
                self.change(|tx| state::put(tx, pair, &stream.name, &state))?;
                self.read(stream)
            }
            read => read,
        }
    }

    fn pair(&self) -> (i64, i64) {
        (self.plan.organization.id, self.plan.provider.id)
    }

    /// Returns the newest full read that any row may have been seen by. The rows themselves are asked only where the stream
    /// was never read: there may be many.
    fn newest_generation(&self, state: &StreamState, owner: &Owner) -> Result<i64> {
        let store = self.engine.store();
        match state.generation {
            0 => records::newest_generation(store.read(), owner),
            _ => state::newest_generation(store.read(), self.pair()),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T, Failure> {
        self.engine.store().change(self.engine.options.keep, change).map_err(Failure::Internal)
    }

    fn read(&mut self, stream: &StreamPlan) -> Result<(), Failure> {
        let pair = self.pair();
        let (mut state, adopt, quarantined) = {
            let store = self.engine.store();
            let state = state::get(store.read(), pair, &stream.name).map_err(Failure::Internal)?;
            let adopt = records::has_dormant(store.read(), pair.0).map_err(Failure::Internal)?;
            let quarantined = quarantine::count(store.read(), pair.0, pair.1).map_err(Failure::Internal)?;
            (state, adopt, quarantined)
        };
        let now = self.engine.now();
        let (open, reason) =
            fetch::next_read(stream, &state, self.connector.provider_time(now), self.engine.options.full);
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
        if owner.full && state.open_read.as_ref() != Some(&open) {
            // Rows may also come from another stream that fed the entity before, with a count of its own.
            let newest = self.newest_generation(&state, &owner).map_err(Failure::Internal)?;
            // One given up counts for nothing where several must miss a row: the next takes its number.
            let given_up = state.open_read.as_ref().is_some_and(|open| open.mode == Mode::Full);
            let next = i64::from(!given_up || stream.stream.deletes.after == 1);
            owner.generation = if newest > state.generation { newest + 1 } else { state.generation + next };
        }
        state.generation = owner.generation;
        // Rows are marked as seen only where a sweep will ask: it costs a write for each row that did not change.
        owner.full &= stream.stream.deletes.sweep != Sweep::Never;
        state.open_read = Some(open.clone());
        let mut writer = Writer {
            owner,
            stream: stream.name.clone(),
            run_id: self.log.id,
            room: self.room,
            // Former learners are looked for before anything is inserted.
            expects_new: state.watermark.is_none() && !adopt,
            has_quarantine: quarantined > 0,
            now,
        };
        let before = self.tally;
        self.found.clear();
        let (mut seen, mut bad_values) = (Vec::new(), 0);
        for each in open.each..stream.each.len() {
            let mut at = OpenRead { each, ..open.clone() };
            if each > open.each {
                at.position = None;
            }
            let read = fetch::read_of(stream, &at);
            let prepare = |page| stream.transform.batch(&stream.filters, page);
            let wanted = &stream.transform.projection;
            fetch::pages(self.connector, stream, (read, wanted), fetch::start(stream, &at), prepare, |batch| {
                at.position = batch.page().next.clone();
                // The first answer may have told that our clock is ahead of the provider's.
                at.to = at.to.min(fetch::end(stream, self.connector.provider_time(now)));
                at.each = if at.position.is_some() { each } else { each + 1 };
                state.open_read = Some(at.clone());
                bad_values += self.page(stream, &mut writer, &state, &batch, &mut seen)?;
                Ok(())
            })?;
        }
        self.finish_read(stream, &mut state, &open, &writer.owner)?;
        let read = self.tally.read - before.read;
        if read > 0 {
            let sources: Vec<String> = stream.transform.never_seen(&seen).map(|source| format!("`{source}`")).collect();
            if !sources.is_empty() {
                self.warnings.push(format!("{}: none of the {read} records has {}", stream.name, sources.join(", ")));
            }
        }
        if bad_values > 0 {
            self.warnings.push(format!("{}: {bad_values} bad values were left empty", stream.name));
        }
        Ok(())
    }

    /// Writes one page: its rows, the progress and the counters in one transaction.
    fn page(
        &mut self,
        stream: &StreamPlan,
        writer: &mut Writer,
        state: &StreamState,
        batch: &Batch,
        seen: &mut Vec<bool>,
    ) -> Result<u64, Failure> {
        self.count_usage();
        let (pair, log, before) = (self.pair(), self.log, self.tally);
        let (written, tally) = self.change(|tx| {
            let written = writer.write(tx, stream, batch)?;
            let mut tally = before;
            tally += written.tally;
            state::put(tx, pair, &stream.name, state)?;
            log.count(tx, &tally)?;
            Ok((written, tally))
        })?;
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
        seen.resize(written.seen.len(), false);
        seen.iter_mut().zip(&written.seen).for_each(|(seen, now)| *seen |= now);
        Ok(written.warnings)
    }

    /// What follows a complete read: deletes, and only then the watermark.
    fn finish_read(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        open: &OpenRead,
        owner: &Owner,
    ) -> Result<(), Failure> {
        let engine = self.engine;
        let keep = engine.options.keep;
        let fed =
            sweep::feed(self.connector, stream, open, owner, |delete| engine.store().change(keep, |tx| delete(tx)))?;
        self.tally.deleted += fed;
        let swept = sweep::sweep(
            &mut engine.store(),
            stream,
            &self.plan.manifest,
            open,
            owner,
            (keep == Keep::DryRun).then_some(&self.found),
            engine.options.allow_mass_delete,
        );
        let (swept, failure) = match swept {
            Ok(swept) => (swept, None),
            Err(failure) => (0, Some(failure)),
        };
        self.tally.deleted += swept;
        let to = state.open_read.take().map_or(open.to, |open| open.to);
        state.watermark = Some(to);
        state.shape = Some(open.shape.clone());
        if open.mode == Mode::Full && failure.is_none() {
            state.last_full_at = Some(to);
        }
        self.count_usage();
        let (pair, log, tally) = (self.pair(), self.log, self.tally);
        self.change(|tx| {
            state::put(tx, pair, &stream.name, state)?;
            log.count(tx, &tally)
        })?;
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
