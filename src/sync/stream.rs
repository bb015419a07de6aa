//! One stream of a run: its reads, one after the other, until it is read up to now; and what becomes of one that fails.

use chrono::TimeDelta;

use super::resolve::StreamPlan;
use super::run::Run;
use super::transform::kinds::{self, Kinds};
use super::{details, fetch, view};
use crate::connector::Failure;
use crate::domain::completeness::Doubt;
use crate::mutants;
use crate::store::quarantine;
use crate::store::records::{self, Owner};
use crate::store::state::{self, OpenRead, StreamState, View};

/// So often a run reads on from where its reads ended up to now.
const MOST_READS_ON: u32 = 3;

/// So often a run begins one read again, however far it came each time.
const MOST_RESTARTS: u32 = 5;

/// A read that ends so long before the provider's now is followed by another at once.
const LATE: TimeDelta = TimeDelta::minutes(1);

impl Run<'_> {
    /// Reads one stream to its end and up to now, window by window: each once more from its start if the provider has lost the
    /// position, and in halves if it holds too much.
    pub(super) fn stream(&mut self, stream: &StreamPlan) -> Result<(), Failure> {
        let pair = self.pair();
        let mut state = state::get(self.engine.store().read(), pair, &stream.name).map_err(Failure::Internal)?;
        let options = &self.engine.options;
        let started = self.engine.now();
        if options.backfill.is_some() {
            state.open_read = None;
        } else if !options.full && options.stream.is_none() && fetch::rests(stream, &state, started) {
            return Ok(());
        }
        let (mut seen, before) = (Vec::new(), self.tally);
        let mut next = Some(self.first_read(stream, &mut state)?);
        let mut reads_on = 0;
        while let Some(open) = next.take() {
            let resumed = open.position.is_some() || open.each > 0;
            let read = self.read_through(stream, &mut state, open, &mut seen)?;
            if !read.completeness.is_proved() {
                break;
            }
            next = state.open_read.clone();
            // A read that was begun by an earlier run, or by a clock behind the provider's, ends in the past.
            let until = fetch::end(stream, self.connector.provider_time(started));
            let by_clock = until - read.to >= LATE;
            let behind = match stream.stream.changes {
                Some(_) => read.begun < started || by_clock,
                None => resumed,
            };
            if next.is_none() && behind && self.moves() && reads_on < MOST_READS_ON {
                reads_on += 1;
                next = Some(self.next_read(stream, &mut state, true)?);
            }
        }
        let read = self.tally.read - before.read;
        self.details(stream, &state, &mut seen)?;
        self.compare_kinds(stream, &mut state, &seen)?;
        if read > 0 {
            let sources = stream.transform.never_seen(&seen).map(|source| format!("`{source}`"));
            let sources = sources.collect::<Vec<_>>().join(", ");
            if !sources.is_empty() {
                self.tell(stream, [format!("none of the {read} records has {sources}")]);
            }
        }
        Ok(())
    }

    /// Tells of sources whose values have another type than in all runs before, and keeps which they had.
    fn compare_kinds(&mut self, stream: &StreamPlan, state: &mut StreamState, seen: &[Kinds]) -> Result<(), Failure> {
        let before = state.field_types.clone();
        for (source, now) in stream.transform.kinds(seen).filter(|(_, kinds)| *kinds != 0) {
            let known = state.field_types.entry(source.to_owned()).or_default();
            if let Some(change) = kinds::change(*known, now) {
                self.doubt(stream, &format!("`{source}` {change}"));
            }
            *known |= now;
        }
        if before != state.field_types { self.keep(stream, state) } else { Ok(()) }
    }

    /// Decides what a run reads first.
    fn first_read(&mut self, stream: &StreamPlan, state: &mut StreamState) -> Result<OpenRead, Failure> {
        match self.engine.options.backfill {
            Some(range) => Ok(fetch::backfill(stream, range)),
            None => self.next_read(stream, state, false),
        }
    }

    /// Decides what is read next, and tells why where that is worth telling.
    fn next_read(&mut self, stream: &StreamPlan, state: &mut StreamState, reads_on: bool) -> Result<OpenRead, Failure> {
        let view = self.view(stream)?;
        let ours = self.engine.now();
        let time = self.connector.provider_time(ours);
        let full = self.engine.options.full && !reads_on;
        let (open, reason) = fetch::next_read(stream, state, &fetch::Now { time, ours, view: &view, full, reads_on });
        let other = |shape: Option<&String>| shape.is_some_and(|shape| *shape != stream.shape);
        let begun = state.open_read.as_ref().map(|open| &open.shape);
        if reason.is_some() && (other(state.shape.as_ref()) || other(begun)) {
            self.told.reread.push(stream.name.clone());
        }
        self.tell(stream, reason);
        Ok(open)
    }

    /// Returns what a read is made with. What the credential sees is asked once a run.
    pub(super) fn view(&mut self, stream: &StreamPlan) -> Result<View, Failure> {
        if self.scope.is_none() && self.moves() {
            let (scope, why) = self.turn.call(|| view::scope(self.connector)).unwrap_or(Err(Failure::Stopped))?;
            self.tell(stream, why);
            self.scope = Some(scope);
        }
        Ok(View { credential: Some(self.credential.clone()), scope: self.scope.clone().flatten() })
    }

    /// Reads one window, or everything, until it is read or cannot be. Returns the read.
    fn read_through(
        &mut self,
        stream: &StreamPlan,
        state: &mut StreamState,
        open: OpenRead,
        seen: &mut Vec<Kinds>,
    ) -> Result<OpenRead, Failure> {
        // A position that an earlier run has left may lead nowhere by now.
        let mut left_behind = open.position.is_some();
        let (mut again, mut halved, mut restarts) = (false, false, 0);
        let mut open = open;
        loop {
            let pages = self.tally.pages;
            let read = self.read(stream, state, open, seen);
            self.tell(stream, self.connector.take_notices());
            // A page in between is progress: what goes wrong behind it is another matter.
            let stands = self.tally.pages == pages;
            again &= stands;
            left_behind &= stands;
            let failure = match read {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            let Some(at) = &mut state.open_read else { return Err(failure) };
            open = match failure {
                Failure::Restart(error) if !again && restarts < MOST_RESTARTS => {
                    (again, restarts) = (true, restarts + 1);
                    self.tell(stream, [format!("begun again: {}", error.message)]);
                    at.begin_again();
                    at.clone()
                }
                Failure::Stream(error) if left_behind && fetch::refuses_position(&error) => {
                    left_behind = false;
                    self.tell(stream, [format!("begun again, as its position was refused: {}", error.message)]);
                    at.begin_again();
                    at.clone()
                }
                Failure::Halve(error) => {
                    let Some(half) = fetch::half(stream, at) else { return Err(Failure::Stream(error)) };
                    if !std::mem::replace(&mut halved, true) {
                        self.tell(stream, [format!("read in shorter windows: {}", error.message)]);
                    }
                    half
                }
                failure => return Err(self.left(stream, state, failure)),
            };
            state.open_read = Some(open.clone());
            self.keep(stream, state)?;
        }
    }

    /// Notes in the progress of a read that it failed: one whose answers contradict themselves is given up, and so is a
    /// position that is refused.
    fn left(&mut self, stream: &StreamPlan, state: &mut StreamState, failure: Failure) -> Failure {
        let Some(open) = &mut state.open_read else { return failure };
        let stands = open.position.is_some();
        let failure = match failure {
            Failure::Distrust(error) => {
                if !mutants::on("position-kept") {
                    open.completeness.note(Doubt::Distrusted, 1);
                    state.doubts = Some(open.completeness.clone());
                    (state.open_read, state.last_full_at) = (None, None);
                }
                Failure::Stream(error)
            }
            Failure::Stream(error) if stands && fetch::refuses_position(&error) => {
                open.begin_again();
                Failure::Stream(error)
            }
            Failure::Stream(_) | Failure::Skip(_) | Failure::Restart(_) if stands => {
                open.failures += 1;
                failure
            }
            _ => return failure,
        };
        match self.keep(stream, state) {
            Ok(()) => failure,
            Err(fault) => fault,
        }
    }

    /// Asks again for the details of records that are in quarantine without them and that this run has not met, so that one
    /// which failed in a read of changes is not lost.
    pub(super) fn details(
        &mut self,
        stream: &StreamPlan,
        state: &StreamState,
        seen: &mut Vec<Kinds>,
    ) -> Result<(), Failure> {
        if stream.stream.detail.is_none() {
            return Ok(());
        }
        let (pair, now) = (self.pair(), self.engine.now());
        let rows = quarantine::thin(self.engine.store().read(), pair, &stream.name, self.log.id, details::AT_ONCE)
            .map_err(Failure::Internal)?;
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
            now: records::moment(now),
        };
        let mut writer = self.writer(stream, owner, now)?;
        self.count_usage();
        let replaced = self.connector.take_replaced();
        let replaced = (replaced > 0).then(|| format!("characters of details that cannot be read: {replaced}"));
        self.tell(stream, replaced);
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
}
