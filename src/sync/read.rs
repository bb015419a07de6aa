//! One read of a stream: everything, or what changed in one window, page by page, and then what follows its end.

use chrono::{DateTime, Utc};

use super::remarks::Remarks;
use super::resolve::StreamPlan;
use super::run::Run;
use super::transform::Batch;
use super::transform::kinds::{self, Kinds};
use super::upsert::{Writer, Written};
use super::{Event, fetch, job, view};
use crate::connector::Failure;
use crate::domain::completeness::Doubt;
use crate::domain::entity::Entity;
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::store::quarantine;
use crate::store::records::{self, Owner, Tried};
use crate::store::state::{self, Mode, OpenRead, StreamState};

/// A read under way; its progress is `open_read` of the stream's state.
pub(super) struct Reading<'s> {
    pub(super) stream: &'s StreamPlan,
    pub(super) writer: Writer<'s>,
    remarks: Remarks,
    /// Whether this run began it.
    pub(super) whole: bool,
}

impl<'r> Run<'r> {
    /// Reads one window, or everything, as `open` says. Nothing is open afterwards if it came to its end.
    pub(super) fn read(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        open: OpenRead,
        seen: &mut Vec<Kinds>,
    ) -> Result<OpenRead, Failure> {
        let mut reading = self.begin(stream, state, open)?;
        let (before, pages) = (self.tally.read, self.tally.pages);
        let mut failure = None;
        while let Some(open) = state.open_read.as_ref().filter(|open| open.each < stream.each.len()) {
            let each = open.each;
            match self.pages(&mut reading, state, seen) {
                // The other values of a loop are read all the same.
                Err(why) if stream.each.len() > 1 && is_of_value(&why) => {
                    let (Failure::Stream(error)
                    | Failure::Skip(error)
                    | Failure::Distrust(error)
                    | Failure::Refused(error)) = &why
                    else {
                        continue;
                    };
                    let value = stream.each[each].as_deref().unwrap_or_default();
                    self.tell(stream, [format!("`{value}`: {}", error.message)]);
                    failure.get_or_insert(why);
                    if let Some(open) = &mut state.open_read {
                        open.failed = true;
                        open.next_value(each + 1);
                    }
                }
                pages => pages?,
            }
        }
        let Some(read) = state.open_read.clone() else { return Err(Failure::Stopped) };
        // Let in for another value, the credential is not what is wrong.
        let failure = match failure {
            Some(Failure::Refused(error)) if self.tally.pages > pages => Some(Failure::Skip(error)),
            failure => failure,
        };
        let came = self.tally.read - before;
        let cursor = stream.stream.cursor.as_ref().and_then(|cursor| cursor.field.as_ref());
        let field = cursor.map(ToString::to_string).unwrap_or_default();
        self.tell(stream, reading.remarks.lines(&field, came));
        let failure = failure.or_else(|| match read.mode {
            Mode::Changes => reading.remarks.undated_changes(&field, came).map(Failure::Stream),
            Mode::Full => None,
        });
        if failure.is_some() || read.failed {
            if let Some(open) = &mut state.open_read {
                open.begin_again();
                open.failed = true;
            }
            self.keep(stream, state)?;
            // A value of the loop that failed in a run before this one is read again at once.
            let error =
                || UserError::new(Exit::Unavailable, "read_incomplete", "a part of it could not be read before");
            return Err(failure.unwrap_or_else(|| Failure::Restart(error())));
        }
        self.finish_read(reading, state, read, came == 0)
    }

    /// Opens a read, with numbers of its own for the rows it will see unless it goes on.
    fn begin<'s>(
        &mut self,
        stream: &'s StreamPlan,
        state: &mut StreamState,
        mut open: OpenRead,
    ) -> Result<Reading<'s>, Failure>
    where
        'r: 's,
    {
        let (pair, now) = (self.pair(), self.engine.now());
        let mut owner = Owner {
            organization_id: pair.0,
            provider_id: pair.1,
            entity: stream.entity,
            generation: open.value_number(),
            now: records::moment(now),
        };
        let whole = open.number == 0;
        if open.begun == DateTime::UNIX_EPOCH {
            open.begun = now;
        }
        if !self.moves() {
            // A backfill counts for nothing, and needs no number of its own.
            open.number = state.generation.max(1);
            owner.generation = open.number;
        } else if whole || mutants::on("generation-anew") {
            open.number = self.newest_generation(state, &owner).map_err(Failure::Internal)? + 1;
            open.view = self.view(stream)?;
            let differs = state.view.as_ref().and_then(|before| view::difference(before, &open.view));
            differs.into_iter().for_each(|doubt| open.completeness.note(doubt, 1));
            let values = i64::try_from(stream.each.len()).unwrap_or_default();
            state.generation = open.number + (values - 1).max(0);
            owner.generation = open.value_number();
        }
        let mut writer = self.writer(stream, owner, now)?;
        writer.expects_new = state.watermark.is_none();
        writer.begun_with = open.number;
        state.open_read = Some(open);
        self.tried = Tried::default();
        Ok(Reading { stream, writer, remarks: Remarks::default(), whole })
    }

    /// Returns the newest number that any row may be marked with. The rows themselves are asked only where the stream was
    /// never read: there may be many.
    fn newest_generation(&self, state: &StreamState, owner: &Owner) -> anyhow::Result<i64> {
        let store = self.engine.store();
        let newest = state::newest_generation(store.read(), self.pair())?.max(state.generation);
        match state.generation {
            0 => Ok(newest.max(records::newest_generation(store.read(), owner)?)),
            _ => Ok(newest),
        }
    }

    /// Returns what writes rows of a stream.
    pub(super) fn writer(&self, stream: &StreamPlan, owner: Owner, now: DateTime<Utc>) -> Result<Writer<'r>, Failure> {
        let pair = self.pair();
        let quarantined = quarantine::count(self.engine.store().read(), pair.0, pair.1).map_err(Failure::Internal)?;
        Ok(Writer {
            begun_with: owner.generation,
            owner,
            stream: stream.name.clone(),
            run_id: self.log.id,
            room: self.room,
            expects_new: false,
            has_quarantine: quarantined > 0,
            erased: self.erased(),
            now,
            connector: Some(self.connector),
        })
    }

    /// Reads the pages of one value of the stream's loop, and writes each.
    fn pages(
        &mut self,
        reading: &mut Reading<'_>,
        state: &mut StreamState,
        seen: &mut Vec<Kinds>,
    ) -> Result<(), Failure> {
        let stream = reading.stream;
        self.prepare_job(stream, state)?;
        let Some(begun) = state.open_read.clone() else { return Ok(()) };
        if self.moves() {
            reading.writer.owner.generation = begun.value_number();
        }
        let read = fetch::read_of(stream, &begun);
        let (connector, turn) = (self.connector, self.turn);
        let prepare = |page| stream.transform.batch(&stream.filters, page);
        let wanted = &stream.transform.projection;
        let take = |batch: Batch| {
            if let Some(open) = &mut state.open_read {
                fetch::take(read, open, batch.page())?;
                // The first answer may have told that our clock is ahead of the provider's.
                fetch::hold_back(stream, open, connector.provider_time(open.begun));
                if mutants::on("watermark-first") {
                    state.watermark = Some(open.to);
                }
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

    /// Has the provider prepare a large read by a job, where the stream has such.
    fn prepare_job(&mut self, stream: &StreamPlan, state: &mut StreamState) -> Result<(), Failure> {
        if stream.stream.job.is_none() {
            return Ok(());
        }
        let now = self.engine.now();
        let Some(mut open) = state.open_read.clone() else { return Ok(()) };
        let mut prepare = || {
            job::prepare(self.connector, stream, &mut open, now, |at| {
                state.open_read = Some(at.clone());
                self.keep(stream, state)
            })
        };
        // A job takes its time.
        let refused = self.turn.aside(&mut prepare)?;
        state.open_read = Some(open);
        self.tell(stream, refused.map(|why| format!("read without a job: {why}")));
        Ok(())
    }

    /// Writes one page: its rows, the progress and the counters in one transaction.
    fn page(
        &mut self,
        reading: &mut Reading<'_>,
        state: &mut StreamState,
        batch: &Batch,
        seen: &mut Vec<Kinds>,
    ) -> Result<(), Failure> {
        self.count_usage();
        let (pair, log, before) = (self.pair(), self.log, self.tally);
        let stream = reading.stream;
        if mutants::on("progress-first") {
            self.change(|tx| state::put(tx, pair, &stream.name, state))?;
        }
        let (moves, unreadable) = (self.moves(), self.connector.take_replaced());
        let (written, tally) = self.change(|tx| {
            let written = reading.writer.write(tx, stream, batch)?;
            if let Some(open) = state.open_read.as_mut().filter(|_| moves) {
                open.completeness.note(Doubt::Unreadable, unreadable);
                open.completeness.note(Doubt::DetailGone, batch.page().gone);
                if stream.each.len() == 1 || !mutants::on("loop-unchecked") {
                    written.remarks.doubts().for_each(|(doubt, count)| open.completeness.note(doubt, count));
                }
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
    pub(super) fn took(&mut self, writer: &mut Writer<'_>, written: &Written, seen: &mut Vec<Kinds>) {
        kinds::add(seen, &written.seen);
        self.tried.found.extend(&written.found);
        self.tried.came.extend(written.came.iter().map(|came| (came.key.clone(), came.clone())));
        for id in &written.gone {
            // A dry run finds a row live again that it has marked as deleted before.
            self.tally.deleted -= u64::from(!self.tried.gone.insert(*id));
        }
        for id in &written.merged {
            // In a dry run a row that was shown before does not say so.
            self.tally.deleted -= u64::from(self.tried.found.contains(id) || !self.tried.gone.insert(*id));
        }
        writer.has_quarantine |= written.tally.quarantined > 0;
        if writer.owner.entity == Entity::Learner {
            self.room = self.room.map(|room| room.saturating_sub(written.room_used));
            writer.room = self.room;
        }
    }
}

/// Returns whether a failure may be that of one value of a loop alone.
fn is_of_value(failure: &Failure) -> bool {
    match failure {
        Failure::Stream(_) | Failure::Skip(_) | Failure::Distrust(_) => true,
        Failure::Refused(error) => error.code == "not_allowed",
        _ => false,
    }
}
