//! One run: one provider of one organization through all stages.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::log::{RunLog, addressed};
use super::resolve::{Plan, StreamPlan};
use super::upsert::{Writer, Written};
use super::{Engine, Event, details, fetch, sweep, view};
use crate::connector::{Connector, Failure, Page};
use crate::domain::entity::Entity;
use crate::domain::manifest::Sweep;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::secrets::Secret;
use crate::store::records::{self, Owner, Tried};
use crate::store::runs::{Outcome, Tally};
use crate::store::state::{self, Mode, OpenRead, StreamState, Views};
use crate::store::{Connection, Keep, audit, quarantine};

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
    /// Warnings that rows may not be what is at the provider. They are among the others too.
    pub(super) doubts: Vec<String>,
}

/// A run under way.
struct Run<'r> {
    engine: &'r Engine<'r>,
    plan: &'r Plan,
    connector: &'r Connector<'r>,
    log: RunLog,
    tally: Tally,
    warnings: Vec<String>,
    told: Told,
    /// How many learners may still be added; `None` is no limit.
    room: Option<u64>,
    /// What a dry run did to the rows of the stream being read.
    tried: Tried,
}

/// Runs a plan. Whatever happens is logged; an error here is one of the database's or of ours.
pub(super) fn run(engine: &Engine<'_>, plan: &Plan, secrets: BTreeMap<Name, Secret>) -> Result<Ended> {
    let pair = (plan.organization.id, plan.provider.id);
    let log = RunLog::start(engine, pair, Some(&plan.shape))?;
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
    let (tally, warnings, told, tried) = (Tally::default(), Vec::new(), Told::default(), Tried::default());
    let mut run = Run { engine, plan, connector: &connector, log, tally, warnings, told, room, tried };
    let failure = run.streams();
    run.count_usage();
    let Run { tally, warnings, told, .. } = run;
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
    Ok(Ended { run_id: log.id, outcome, tally, warnings, told, error })
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
        let begun = state.open_read.clone();
        if reason.is_some() && begun.as_ref().is_none_or(|begun| begun.shape != stream.shape) {
            self.told.reread.push(stream.name.clone());
        }
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
        if owner.full && begun.as_ref() != Some(&open) {
            // Rows may also come from another stream that fed the entity before, with a count of its own.
            let newest = records::newest_generation(self.engine.store().read(), &owner).map_err(Failure::Internal)?;
            // One given up counts for nothing where several must miss a row: the next takes its number.
            let given_up = begun.as_ref().is_some_and(|open| open.mode == Mode::Full);
            let next = i64::from(!given_up || stream.stream.deletes.after == 1);
            owner.generation = if newest > state.generation { newest + 1 } else { state.generation + next };
        }
        state.generation = owner.generation;
        // Rows are marked as seen only where a sweep will ask: it costs a write for each row that did not change.
        owner.full &= stream.stream.deletes.sweep != Sweep::Never;
        let views = if owner.full { self.views(stream, begun.as_ref() == Some(&open))? } else { Views::default() };
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
        self.tried = Tried::default();
        let mut seen = Vec::new();
        let mut bad_values = self.details(stream, &mut writer, &mut seen)?;
        let before = self.tally;
        for each in open.each..stream.each.len() {
            let mut at = OpenRead { each, ..open.clone() };
            if each > open.each {
                at.position = None;
            }
            let read = fetch::read_of(stream, &at);
            fetch::pages(self.connector, stream, read, fetch::start(stream, &at), |page| {
                at.position = page.next.clone();
                // The first answer may have told that our clock is ahead of the provider's.
                at.to = at.to.min(fetch::end(stream, self.connector.provider_time(now)));
                at.each = if at.position.is_some() { each } else { each + 1 };
                state.open_read = Some(at.clone());
                bad_values += self.page(stream, &mut writer, &state, &page, &mut seen)?;
                Ok(())
            })?;
        }
        let read = self.tally.read - before.read;
        let from_its_start = open.each == 0 && open.position.is_none();
        let empty = open.mode == Mode::Full && from_its_start && read == 0;
        self.finish_read(stream, &mut state, (&open, empty), &writer.owner, views)?;
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
        page: &Page,
        seen: &mut Vec<bool>,
    ) -> Result<u64, Failure> {
        self.count_usage();
        let (pair, log, before) = (self.pair(), self.log, self.tally);
        let (written, tally) = self.change(|tx| {
            let written = writer.write(tx, stream, page, seen)?;
            let mut tally = before;
            tally += written.tally;
            state::put(tx, pair, &stream.name, state)?;
            log.count(tx, &tally)?;
            Ok((written, tally))
        })?;
        self.tally = tally;
        self.took(stream, writer, &written);
        (self.engine.watch)(&Event::Page {
            organization: self.plan.organization.slug.as_str(),
            provider: self.plan.provider.slug.as_str(),
            stream: &stream.name,
            tally: &self.tally,
        });
        Ok(written.warnings)
    }

    /// Notes what was written beside the tally.
    fn took(&mut self, stream: &StreamPlan, writer: &mut Writer, written: &Written) {
        self.tried.found.extend(&written.found);
        for id in &written.gone {
            // A dry run finds a row live again that it has marked as deleted before.
            self.tally.deleted -= u64::from(!self.tried.gone.insert(*id));
        }
        writer.has_quarantine |= written.tally.quarantined > 0;
        if stream.entity == Entity::Learner {
            self.room = self.room.map(|room| room.saturating_sub(written.room_used));
            writer.room = self.room;
        }
    }

    /// Asks again for the details of records that are in quarantine without them, so that one which failed in a read of
    /// changes is not lost. Returns how many bad values were left empty.
    fn details(&mut self, stream: &StreamPlan, writer: &mut Writer, seen: &mut Vec<bool>) -> Result<u64, Failure> {
        if !writer.has_quarantine || stream.stream.detail.is_none() {
            return Ok(0);
        }
        let rows = quarantine::thin(self.engine.store().read(), self.pair(), &stream.name, details::AT_ONCE)
            .map_err(Failure::Internal)?;
        let thin: Vec<_> = rows.iter().map(|row| (row.record.as_str(), row.each.as_deref())).collect();
        let answers = self.connector.details(&stream.stream, &thin, &stream.transform.wanted)?;
        self.count_usage();
        let (log, before) = (self.log, self.tally);
        let (written, tally) = self.change(|tx| {
            let written = details::write(tx, stream, writer, &rows, &answers, seen)?;
            let mut tally = before;
            tally += written.tally;
            log.count(tx, &tally)?;
            Ok((written, tally))
        })?;
        self.tally = tally;
        self.took(stream, writer, &written);
        Ok(written.warnings)
    }

    /// Returns what the last full read of a stream was made with and what this one is, which goes on with one begun before
    /// or not.
    fn views(&mut self, stream: &StreamPlan, goes_on: bool) -> Result<Views, Failure> {
        let pair = self.pair();
        let mut views = state::views(self.engine.store().read(), pair, &stream.name).map_err(Failure::Internal)?;
        let begun = views.open.take().filter(|_| goes_on);
        views.open = Some(view::opened(self.engine, self.plan, begun.as_ref()).map_err(Failure::Internal)?);
        self.change(|tx| state::put_views(tx, pair, &stream.name, &views))?;
        Ok(views)
    }

    /// Warns that rows may not be what is at the provider.
    fn doubt(&mut self, warning: String) {
        self.warnings.push(warning.clone());
        self.told.doubts.push(warning);
    }

    /// What follows a complete read: deletes, and only then the watermark. `empty` is one that showed no record at all.
    fn finish_read(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        (open, empty): (&OpenRead, bool),
        owner: &Owner,
        mut views: Views,
    ) -> Result<(), Failure> {
        if empty && records::any_live(self.engine.store().read(), owner).map_err(Failure::Internal)? {
            let title = &self.plan.manifest.title;
            self.doubt(format!("{}: {title} showed no record at all, where some were before", stream.name));
        }
        let deletes = sweep::Deletes {
            plan: stream,
            manifest: &self.plan.manifest,
            open,
            owner,
            keep: self.engine.options.keep,
            allow_mass: self.engine.options.allow_mass_delete,
        };
        self.tally.deleted += deletes.feed(self.connector, self.engine, &mut self.tried)?;
        if let Some(open) = &mut views.open {
            self.warnings.extend(view::closed(open, self.connector)?);
        }
        let (swept, failure) = match self.sweep(&deletes, &views) {
            Ok(swept) => (swept, None),
            Err(failure) => (None, Some(failure)),
        };
        let to = state.open_read.take().map_or(open.to, |open| open.to);
        state.watermark = Some(to);
        state.shape = Some(open.shape.clone());
        if open.mode == Mode::Full && failure.is_none() {
            state.last_full_at = Some(to);
        }
        // One read with two credentials was no complete read with either.
        let whole = views.open.take().filter(|open| open.credential.is_some() && failure.is_none());
        views.last = whole.or(views.last);
        self.count_usage();
        let (pair, log, tally) = (self.pair(), self.log, self.tally);
        self.change(|tx| {
            state::put(tx, pair, &stream.name, state)?;
            if owner.full {
                state::put_views(tx, pair, &stream.name, &views)?;
            }
            if swept.is_some() && !empty {
                quarantine::sweep(tx, pair, &stream.name, deletes.oldest())?;
            }
            log.count(tx, &tally)
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Marks as deleted what is missing, unless another view than the last full read's is why. Returns how many rows that
    /// were; nothing where this read does not tell.
    fn sweep(&mut self, deletes: &sweep::Deletes<'_>, views: &Views) -> Result<Option<u64>, Failure> {
        if let Some(why) = view::doubt(views) {
            let name = &deletes.plan.name;
            self.doubt(format!(
                "{name}: {why}, so nothing that is missing was marked as deleted; the next full read does that"
            ));
            return Ok(None);
        }
        let swept = deletes.sweep(&mut self.engine.store(), &self.tried)?;
        self.tally.deleted += swept.unwrap_or(0);
        Ok(swept)
    }

    fn count_usage(&mut self) {
        let usage = self.connector.usage();
        self.tally.requests = usage.requests.load(Ordering::Relaxed);
        self.tally.retries = usage.retries.load(Ordering::Relaxed);
        self.tally.waited_ms = usage.waited_ms.load(Ordering::Relaxed);
        self.tally.bytes = usage.bytes.load(Ordering::Relaxed);
    }
}
