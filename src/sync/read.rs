//! One read of a stream: everything, or what changed in one window, page by page, and then what follows its end.

use chrono::{DateTime, Utc};

use super::remarks::Remarks;
use super::resolve::StreamPlan;
use super::run::Run;
use super::transform::Batch;
use super::upsert::{Writer, Written};
use super::{Event, details, fetch, job, sweep, view};
use crate::connector::Failure;
use crate::domain::entity::Entity;
use crate::domain::manifest::{PageKind, Sweep};
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::store::quarantine;
use crate::store::records::{self, Owner, Tried};
use crate::store::state::{self, Mode, OpenRead, StreamState, Views};

/// A read under way.
struct Reading<'s> {
    stream: &'s StreamPlan,
    /// What was decided at its start.
    open: OpenRead,
    /// Where it stands.
    at: OpenRead,
    /// When it began, by our clock.
    now: DateTime<Utc>,
    writer: Writer<'s>,
    views: Views,
    remarks: Remarks,
}

impl<'r> Run<'r> {
    /// Reads one window, or everything. What is left open in the state afterwards is the window that follows. `seen` notes
    /// which sources any record has.
    pub(super) fn read(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        seen: &mut Vec<bool>,
    ) -> Result<(), Failure> {
        let mut reading = self.begin(stream, state)?;
        let before = self.tally.read;
        let mut failure = None;
        for each in reading.open.each..stream.each.len() {
            if each > reading.open.each {
                reading.at.next_value(each);
            }
            match self.pages(&mut reading, state, seen) {
                // The other values of a loop are read all the same.
                Err(why @ (Failure::Stream(_) | Failure::Skip(_))) if stream.each.len() > 1 => {
                    let (Failure::Stream(error) | Failure::Skip(error)) = &why else { continue };
                    let value = stream.each[each].as_deref().unwrap_or_default();
                    self.tell(stream, [format!("`{value}`: {}", error.message)]);
                    reading.at.failed = true;
                    failure.get_or_insert(why);
                }
                pages => pages?,
            }
        }
        let read = self.tally.read - before;
        let cursor = stream.stream.cursor.as_ref().and_then(|cursor| cursor.field.as_ref());
        let field = cursor.map(ToString::to_string).unwrap_or_default();
        self.tell(stream, reading.remarks.lines(&field, read));
        let failure = failure.or_else(|| match reading.open.mode {
            Mode::Changes => reading.remarks.undated_changes(&field, read).map(Failure::Stream),
            Mode::Full => None,
        });
        if failure.is_some() || reading.at.failed {
            state.open_read = Some(OpenRead { each: 0, position: None, failed: true, ..reading.open });
            self.keep(stream, state)?;
            // A value of the loop that failed in a run before this one is read again at once.
            let error =
                || UserError::new(Exit::Unavailable, "read_incomplete", "a part of it could not be read before");
            return Err(failure.unwrap_or_else(|| Failure::Restart(error())));
        }
        self.finish_read(reading, state, read == 0)
    }

    /// Decides what is read, and by which number its rows are marked as seen.
    fn begin<'s>(&mut self, stream: &'s StreamPlan, state: &mut StreamState) -> Result<Reading<'s>, Failure>
    where
        'r: 's,
    {
        let pair = self.pair();
        let adopt = records::has_dormant(self.engine.store().read(), pair.0).map_err(Failure::Internal)?;
        let now = self.engine.now();
        let begun = state.open_read.clone();
        let mine = Some(self.credential.clone());
        if let Some(open) = state.open_read.as_mut().filter(|open| open.credential.is_some() && open.credential != mine)
        {
            open.begin_again();
            self.tell(stream, ["begun again, as the credential was replaced meanwhile".to_owned()]);
        }
        let (open, reason) = match (self.engine.options.backfill, &state.open_read) {
            (Some(range), None) => (fetch::backfill(stream, range), None),
            (Some(_), Some(open)) => (open.clone(), None),
            (None, _) => fetch::next_read(stream, state, self.connector.provider_time(now), self.engine.options.full),
        };
        let other = |shape: Option<&String>| shape.is_some_and(|shape| *shape != stream.shape);
        if reason.is_some() && (other(state.shape.as_ref()) || other(begun.as_ref().map(|begun| &begun.shape))) {
            self.told.reread.push(stream.name.clone());
        }
        self.tell(stream, reason);
        let mut owner = Owner {
            organization_id: pair.0,
            provider_id: pair.1,
            entity: stream.entity,
            generation: state.generation,
            full: open.mode == Mode::Full,
            now: records::moment(now),
            adopt,
        };
        let goes_on = begun.as_ref() == Some(&open);
        let open = OpenRead { credential: mine, ..open };
        if owner.full && (!goes_on || mutants::on("generation-anew")) {
            // Rows may also come from another stream that fed the entity before, with a count of its own.
            let newest = self.newest_generation(state, &owner).map_err(Failure::Internal)?;
            // One given up, or one that may have missed rows, counts for nothing where several must miss a row: the next
            // takes its number.
            let undone = state.watermark.is_some() && state.last_full_at.is_none();
            let given_up = undone || begun.as_ref().is_some_and(|open| open.mode == Mode::Full);
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
        let views = if owner.full { self.views(stream, goes_on)? } else { Views::default() };
        state.open_read = Some(open.clone());
        let mut writer = self.writer(stream, owner, now)?;
        // Former learners are looked for before anything is inserted.
        writer.expects_new = state.watermark.is_none() && !writer.owner.adopt;
        writer.counted = counted;
        self.tried = Tried::default();
        Ok(Reading { stream, at: open.clone(), open, now, writer, views, remarks: Remarks::default() })
    }

    /// Returns the newest full read that any row may have been seen by. The rows themselves are asked only where the stream
    /// was never read: there may be many.
    fn newest_generation(&self, state: &StreamState, owner: &Owner) -> anyhow::Result<i64> {
        let store = self.engine.store();
        match state.generation {
            0 => records::newest_generation(store.read(), owner),
            _ => state::newest_generation(store.read(), self.pair()),
        }
    }

    /// Returns what the last full read of a stream was made with and what this one is, which goes on with one begun before
    /// or not.
    fn views(&mut self, stream: &StreamPlan, goes_on: bool) -> Result<Views, Failure> {
        let pair = self.pair();
        let mut views = state::views(self.engine.store().read(), pair, &stream.name).map_err(Failure::Internal)?;
        let begun = views.open.take().filter(|_| goes_on);
        views.open = Some(view::opened(&self.credential, begun.as_ref()));
        self.change(|tx| state::put_views(tx, pair, &stream.name, &views))?;
        Ok(views)
    }

    /// Returns what writes rows of a stream.
    fn writer(&self, stream: &StreamPlan, owner: Owner, now: DateTime<Utc>) -> Result<Writer<'r>, Failure> {
        let pair = self.pair();
        let quarantined = quarantine::count(self.engine.store().read(), pair.0, pair.1).map_err(Failure::Internal)?;
        Ok(Writer {
            owner,
            stream: stream.name.clone(),
            run_id: self.log.id,
            room: self.room,
            expects_new: false,
            counted: false,
            has_quarantine: quarantined > 0,
            erased: self.erased(),
            now,
            connector: Some(self.connector),
        })
    }

    /// Asks again for the details of records that are in quarantine without them and that this run has not met, so that one
    /// which failed in a read of changes is not lost.
    pub(super) fn details(
        &mut self,
        stream: &StreamPlan,
        state: &StreamState,
        seen: &mut Vec<bool>,
    ) -> Result<(), Failure> {
        if stream.stream.detail.is_none() {
            return Ok(());
        }
        let (pair, now) = (self.pair(), self.engine.now());
        let (rows, adopt) = {
            let store = self.engine.store();
            let rows = quarantine::thin(store.read(), pair, &stream.name, self.log.id, details::AT_ONCE);
            (rows.map_err(Failure::Internal)?, records::has_dormant(store.read(), pair.0).map_err(Failure::Internal)?)
        };
        if rows.is_empty() {
            return Ok(());
        }
        let thin: Vec<_> = rows.iter().map(|row| (row.record.as_str(), row.each.as_deref())).collect();
        let answers = self.turn.call(|| self.connector.details(&stream.stream, &thin, &stream.transform.wanted));
        let answers = answers.unwrap_or(Err(Failure::Stopped))?;
        let owner = Owner {
            organization_id: pair.0,
            provider_id: pair.1,
            entity: stream.entity,
            generation: state.generation,
            full: false,
            now: records::moment(now),
            adopt,
        };
        let mut writer = self.writer(stream, owner, now)?;
        self.count_usage();
        let (log, before) = (self.log, self.tally);
        let (written, tally) = self.change(|tx| {
            let written = details::write(tx, stream, &mut writer, &rows, &answers)?;
            let mut tally = before;
            tally += written.tally;
            log.count(tx, &tally)?;
            Ok((written, tally))
        })?;
        self.tally = tally;
        self.took(&mut writer, &written, seen);
        Ok(())
    }

    /// Reads the pages of one value of the stream's loop, and writes each.
    fn pages(
        &mut self,
        reading: &mut Reading<'_>,
        state: &mut StreamState,
        seen: &mut Vec<bool>,
    ) -> Result<(), Failure> {
        let (stream, each) = (reading.stream, reading.at.each);
        let mut prepare = || {
            job::prepare(self.connector, stream, &mut reading.at, reading.now, |at| {
                state.open_read = Some(at.clone());
                self.keep(stream, state)
            })
        };
        // A job takes its time.
        let refused = if stream.stream.job.is_some() { self.turn.aside(&mut prepare) } else { prepare() }?;
        self.tell(stream, refused.map(|why| format!("read without a job: {why}")));
        let begun = reading.at.clone();
        let read = fetch::read_of(stream, &begun);
        let (connector, turn) = (self.connector, self.turn);
        let prepare = |page| stream.transform.batch(&stream.filters, page);
        let wanted = &stream.transform.projection;
        let take = |batch: Batch| {
            let (page, at) = (batch.page(), &mut reading.at);
            fetch::count(read, at, page);
            at.position = page.next.clone();
            // The first answer may have told that our clock is ahead of the provider's.
            fetch::hold_back(stream, at, connector.provider_time(reading.now));
            if let Some(why) = fetch::shortfall(at) {
                if let Some(open) = state.open_read.as_mut().filter(|open| !open.recounted) {
                    open.recounted = true;
                    return Err(Failure::Restart(UserError::new(Exit::Unavailable, "pages_shifted", why)));
                }
                at.shifted = true;
                self.tell(stream, [format!("some may be missing, so no deletes were looked for: {why}")]);
            }
            let mut stands = at.clone();
            if at.position.is_none() {
                at.each = each + 1;
                stands = OpenRead { each: each + 1, job: None, counted: None, ..stands };
            }
            state.open_read = Some(stands);
            if mutants::on("watermark-first") {
                state.watermark = Some(at.to);
            }
            self.page(reading, state, &batch, seen)
        };
        let start = fetch::start(stream, &begun);
        let pages = fetch::pages((connector, turn), stream, (read, wanted), start, prepare, take);
        if matches!(pages, Ok(()) | Err(Failure::Stream(_))) && (pages.is_ok() || stream.each.len() > 1) {
            job::clear(connector, stream, &begun);
        }
        pages
    }

    /// Writes one page: its rows, the progress and the counters in one transaction.
    fn page(
        &mut self,
        reading: &mut Reading<'_>,
        state: &mut StreamState,
        batch: &Batch,
        seen: &mut Vec<bool>,
    ) -> Result<(), Failure> {
        self.count_usage();
        let (pair, log, before) = (self.pair(), self.log, self.tally);
        let stream = reading.stream;
        if mutants::on("progress-first") {
            self.change(|tx| state::put(tx, pair, &stream.name, state))?;
        }
        let moves = self.moves();
        let (written, tally) = self.change(|tx| {
            let written = reading.writer.write(tx, stream, batch)?;
            if let Some(open) = &mut state.open_read {
                open.keyless |= written.remarks.keyless > 0;
                open.shifted |= written.remarks.repeated > 0;
                (reading.at.keyless, reading.at.shifted) = (open.keyless, open.shifted);
            }
            let mut tally = before;
            tally += written.tally;
            // A backfill is apart from what the next sync goes on from.
            if moves {
                state::put(tx, pair, &stream.name, state)?;
            }
            log.count(tx, &tally)?;
            mutants::point("page written");
            Ok((written, tally))
        })?;
        mutants::point("page committed");
        self.tally = tally;
        reading.remarks += written.remarks;
        self.took(&mut reading.writer, &written, seen);
        (self.engine.watch)(&Event::Page {
            organization: self.plan.organization.slug.as_str(),
            provider: self.plan.provider.slug.as_str(),
            stream: &stream.name,
            tally: &self.tally,
        });
        Ok(())
    }

    /// Notes what was written beside the tally.
    fn took(&mut self, writer: &mut Writer<'_>, written: &Written, seen: &mut Vec<bool>) {
        seen.resize(seen.len().max(written.seen.len()), false);
        seen.iter_mut().zip(&written.seen).for_each(|(seen, now)| *seen |= now);
        self.tried.found.extend(&written.found);
        for id in &written.gone {
            // A dry run finds a row live again that it has marked as deleted before.
            self.tally.deleted -= u64::from(!self.tried.gone.insert(*id));
        }
        writer.has_quarantine |= written.tally.quarantined > 0;
        if writer.owner.entity == Entity::Learner {
            self.room = self.room.map(|room| room.saturating_sub(written.room_used));
            writer.room = self.room;
        }
    }

    /// What follows a complete read: deletes, and only then the watermark. `empty` says that it brought no record.
    fn finish_read(&mut self, reading: Reading<'_>, state: &mut StreamState, empty: bool) -> Result<(), Failure> {
        mutants::point("read ended");
        let Reading { stream, open, writer, mut views, .. } = reading;
        let (engine, plan, owner) = (self.engine, self.plan, &writer.owner);
        let deletes = sweep::Deletes {
            plan: stream,
            manifest: &plan.manifest,
            open: &open,
            owner,
            keep: engine.options.keep,
            allow_mass: engine
                .options
                .allow_mass_delete
                .then(|| (engine.options.actor.as_str(), format!("{}/{}", plan.organization.slug, plan.provider.slug))),
        };
        self.tally.deleted += deletes.feed(self.connector, (engine, self.turn), &mut self.tried)?;
        let read = state.open_read.take().unwrap_or_else(|| open.clone());
        state.open_read = fetch::next_window(stream, &read);
        if !self.moves() {
            self.count_usage();
            let (log, tally) = (self.log, self.tally);
            return self.change(|tx| log.count(tx, &tally));
        }
        let whole = open.mode == Mode::Full && open.each == 0 && open.position.is_none();
        let empty = empty && whole;
        if empty && records::any_live(engine.store().read(), owner).map_err(Failure::Internal)? {
            let title = &plan.manifest.title;
            self.doubt(stream, &format!("{title} showed no record at all, where some were before"));
        }
        if let Some(open) = &mut views.open {
            let unseen = self.turn.call(|| view::closed(open, self.connector)).unwrap_or(Err(Failure::Stopped))?;
            self.tell(stream, unseen);
        }
        let unsure = read.keyless || read.shifted;
        let (swept, failure) = match if unsure { Ok(None) } else { self.sweep(&deletes, &views) } {
            Ok(swept) => (swept, None),
            Err(failure) => (None, Some(failure)),
        };
        mutants::point("swept");
        state.watermark = Some(read.to);
        state.shape = Some(open.shape.clone());
        if read.shifted {
            state.last_full_at = None;
        } else if open.mode == Mode::Full && failure.is_none() {
            state.last_full_at = Some(read.to);
        }
        self.count_usage();
        let (pair, log, tally) = (self.pair(), self.log, self.tally);
        // One read with two credentials was no complete read with either.
        let seen_whole = views.open.take().filter(|open| open.credential.is_some() && failure.is_none());
        views.last = seen_whole.or(views.last);
        self.change(|tx| {
            state::put(tx, pair, &stream.name, state)?;
            if owner.full {
                state::put_views(tx, pair, &stream.name, &views)?;
            }
            if swept.is_some() && !empty {
                quarantine::sweep(tx, pair, &stream.name, deletes.oldest())?;
            }
            log.count(tx, &tally)?;
            mutants::point("watermark written");
            Ok(())
        })?;
        mutants::point("watermark committed");
        failure.map_or(Ok(()), Err)
    }

    /// Marks as deleted what is missing, unless another view than the last full read's is why. Returns how many rows that
    /// were; nothing where this read does not tell.
    fn sweep(&mut self, deletes: &sweep::Deletes<'_>, views: &Views) -> Result<Option<u64>, Failure> {
        if let Some(why) = view::doubt(views) {
            let so = "so nothing that is missing was marked as deleted; the next full read does that";
            self.doubt(deletes.plan, &format!("{why}, {so}"));
            return Ok(None);
        }
        let swept = deletes.sweep(&mut self.engine.store(), &self.tried)?;
        self.tally.deleted += swept.unwrap_or(0);
        Ok(swept)
    }
}
