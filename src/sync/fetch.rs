//! Stage 2: which read of a stream is next, and its pages, fetched on a thread of their own while the last is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use chrono::{DateTime, TimeDelta, Utc};

use super::resolve::StreamPlan;
use crate::connector::{Connector, Failure, Page, Start, Wanted, Window};
use crate::domain::manifest::{PageKind, Read};
use crate::domain::path::Projection;
use crate::store::state::{Mode, OpenRead, StreamState};

/// Pages that may wait between the thread that fetches and the one that writes.
const AHEAD: usize = 2;

/// A page that was counted off is not gone on with after this long: what was deleted meanwhile has moved the rest forward.
const COUNTED: TimeDelta = TimeDelta::hours(1);

/// More than any two clocks differ that are set at all.
pub(super) const CLOCKS: TimeDelta = TimeDelta::days(1);

/// Returns the end of a window that is read now, by the provider's time.
pub(super) fn end(plan: &StreamPlan, now: DateTime<Utc>) -> DateTime<Utc> {
    now - plan.stream.cursor.as_ref().map_or(TimeDelta::zero(), |cursor| cursor.settle.delta())
}

/// Decides what to read: goes on with what was begun, else what changed, else everything. `now` is the provider's time.
/// Returns the read and, where it is a full one for a reason worth telling, that reason.
pub(super) fn next_read(
    plan: &StreamPlan,
    state: &StreamState,
    now: DateTime<Utc>,
    full: bool,
) -> (OpenRead, Option<String>) {
    let stream = &plan.stream;
    let everything = || OpenRead {
        mode: Mode::Full,
        from: None,
        to: end(plan, now),
        each: 0,
        position: None,
        shape: plan.shape.clone(),
    };
    if let Some(open) = &state.open_read
        && open.shape == plan.shape
        && open.each <= plan.each.len()
        && (!full || open.mode == Mode::Full)
    {
        let counted = matches!(read_of(plan, open).page.kind, PageKind::Number(_) | PageKind::Offset);
        if counted && open.position.is_some() && open.to + COUNTED <= now {
            let again = OpenRead { to: end(plan, now), each: 0, position: None, ..open.clone() };
            return (again, Some(format!("{}: begun again, as its pages may have shifted meanwhile", plan.name)));
        }
        return (open.clone(), None);
    }
    // One far in the future was taken from a wrong clock: what lies before it may never have been read.
    let watermark = state.watermark.filter(|watermark| *watermark <= now + CLOCKS);
    let (Some(watermark), Some(cursor), Some(_)) = (watermark, &stream.cursor, &stream.changes) else {
        return (everything(), None);
    };
    if full {
        return (everything(), None);
    }
    // A read begun under other settings may have left rows of theirs, even where these have been in force before.
    let reshaped = state.open_read.as_ref().is_some_and(|open| open.shape != plan.shape);
    if reshaped || state.shape.as_ref() != Some(&plan.shape) {
        return (
            everything(),
            Some(format!("{}: settings, mappings or filters changed, so it was read in full once", plan.name)),
        );
    }
    let every = stream.deletes.sweep.every();
    if every.is_some_and(|every| state.last_full_at.is_none_or(|last| last + every.delta() <= now)) {
        return (everything(), None);
    }
    let from = (watermark - cursor.overlap.delta()).min(end(plan, now));
    let changes = OpenRead {
        mode: Mode::Changes,
        from: Some(from),
        to: end(plan, now),
        each: 0,
        position: None,
        shape: plan.shape.clone(),
    };
    (changes, None)
}

/// Returns the manifest's read for what was decided.
pub(super) fn read_of<'p>(plan: &'p StreamPlan, open: &OpenRead) -> &'p Read {
    match (open.mode, &plan.stream.changes) {
        (Mode::Changes, Some(changes)) => changes,
        _ => &plan.stream.full,
    }
}

/// Fetches the pages of one read, makes something of each by `prepare`, and hands that to `take`, which says by an error
/// that it has had enough. Pages are fetched on a thread of their own, and prepared by whichever of the two is ahead of the
/// other.
pub(super) fn pages<T: Send>(
    connector: &Connector<'_>,
    plan: &StreamPlan,
    (read, wanted): (&Read, &Projection),
    start: Start<'_>,
    prepare: impl Fn(Page) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    enum Fetched<T> {
        Raw(Box<Page>),
        Prepared(T),
    }
    let wanted = Wanted { fields: &plan.transform.wanted, values: wanted };
    let (idle, prepare) = (AtomicBool::new(false), &prepare);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let taker_is_idle = &idle;
        scope.spawn(move || {
            for page in connector.pages(&plan.stream, read, wanted, start) {
                let fetched = page.map(|page| match taker_is_idle.load(Ordering::Relaxed) {
                    true => Fetched::Raw(Box::new(page)),
                    false => Fetched::Prepared(prepare(page)),
                });
                if sender.send(fetched).is_err() {
                    return;
                }
            }
        });
        loop {
            let fetched = receiver.try_recv().or_else(|_| {
                idle.store(true, Ordering::Relaxed);
                let fetched = receiver.recv();
                idle.store(false, Ordering::Relaxed);
                fetched
            });
            match fetched {
                Ok(Ok(Fetched::Raw(page))) => take(prepare(*page))?,
                Ok(Ok(Fetched::Prepared(page))) => take(page)?,
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Ok(()),
            }
        }
    })
}

/// Returns where a read begins or goes on.
pub(super) fn start<'p>(plan: &'p StreamPlan, open: &OpenRead) -> Start<'p> {
    Start {
        window: Window { from: open.from, to: open.to },
        position: open.position.clone(),
        each: plan.each.get(open.each).and_then(Option::as_deref),
        details: true,
    }
}
