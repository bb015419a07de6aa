//! Stage 2: which read of a stream is next, and its pages, fetched on a thread of their own while the last is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use chrono::{DateTime, TimeDelta, Utc};

use super::resolve::StreamPlan;
use super::turn::Turn;
use crate::connector::{Connector, Failure, Page, Start, Wanted, Window};
use crate::domain::duration::Length;
use crate::domain::manifest::{PageKind, Read};
use crate::domain::moment::Range;
use crate::domain::path::Projection;
use crate::error;
use crate::mutants;
use crate::store::state::{Counted, Mode, OpenRead, StreamState};

/// Pages that may wait between the thread that fetches and the one that writes.
const AHEAD: usize = 2;

/// A page that was counted off is not gone on with after this long: what was deleted meanwhile has moved the rest forward.
const COUNTED: TimeDelta = TimeDelta::hours(1);

/// No window is shorter, in seconds: what cannot be read in that time cannot be read.
const SHORTEST_WINDOW: u32 = 60;

/// More than any two clocks differ that are set at all.
pub(super) const CLOCKS: TimeDelta = TimeDelta::days(1);

/// Returns the end of a window that is read now, by the provider's time.
pub(super) fn end(plan: &StreamPlan, now: DateTime<Utc>) -> DateTime<Utc> {
    now - plan.stream.cursor.as_ref().map_or(TimeDelta::zero(), |cursor| cursor.settle.delta())
}

/// Returns whether a stream that was read completely need not be read again yet.
pub(super) fn rests(plan: &StreamPlan, state: &StreamState, now: DateTime<Utc>) -> bool {
    let again = plan.stream.every.and_then(|every| Some(state.watermark? + every.delta()));
    state.open_read.is_none()
        && state.shape.as_ref() == Some(&plan.shape)
        && again.is_some_and(|again| now < again && state.watermark <= Some(now + CLOCKS))
}

/// Returns the window that begins at `from`, as long as it may be; `until` is where the last one ends.
fn window(plan: &StreamPlan, from: DateTime<Utc>, until: DateTime<Utc>, step: Option<u32>) -> OpenRead {
    let longest = step.map(Length).or_else(|| plan.stream.cursor.as_ref().and_then(|cursor| cursor.step));
    let to = longest.map_or(until, |longest| until.min(from + longest.delta()));
    OpenRead {
        until: (to < until).then_some(until),
        step,
        ..OpenRead::begin(Mode::Changes, (Some(from), to), &plan.shape)
    }
}

/// Returns the window that follows one that was read, if there is one. It begins where that one ends: what has the time of
/// the edge is in both.
pub(super) fn next_window(plan: &StreamPlan, read: &OpenRead) -> Option<OpenRead> {
    let until = read.until.filter(|until| read.to < *until)?;
    Some(window(plan, read.to, until, read.step))
}

/// Returns the first half of a window, `None` for one that cannot be halved.
pub(super) fn half(plan: &StreamPlan, open: &OpenRead) -> Option<OpenRead> {
    let from = open.from.filter(|_| open.mode == Mode::Changes)?;
    let length = open.to - from;
    // Rounded up, so that two of them reach to the end.
    let half = u32::try_from((length.num_milliseconds() + 1_999) / 2_000).ok()?.max(SHORTEST_WINDOW);
    (length > Length(SHORTEST_WINDOW).delta()).then(|| window(plan, from, open.until.unwrap_or(open.to), Some(half)))
}

/// Takes back the end of a read that lies ahead of the provider's time, as its answers tell it.
pub(super) fn hold_back(plan: &StreamPlan, open: &mut OpenRead, now: DateTime<Utc>) {
    let end = end(plan, now);
    open.to = open.to.min(end);
    open.until = open.until.map(|until| until.min(end));
}

/// Notes what a page says about how much there is, for reads whose pages are counted off. `open` still stands before it.
pub(super) fn count(read: &Read, open: &mut OpenRead, page: &Page) {
    if open.position.is_none() {
        let begun = page.total.filter(|_| is_counted(read));
        open.counted = begun.map(|total| Counted { first: total, last: total, came: 0 });
    }
    if let Some(counted) = &mut open.counted {
        counted.last = page.total.unwrap_or(counted.last);
        counted.came += page.len() as u64 + page.gone + page.undetailed.len() as u64;
    }
}

/// Returns what is amiss with a read whose last page is there: fewer records came than there are, or some went meanwhile
/// and moved others to pages that were read already.
pub(super) fn shortfall(open: &OpenRead) -> Option<String> {
    let Counted { first, last, came } = open.counted.filter(|_| open.position.is_none())?;
    (last < first || came < last).then(|| {
        format!("{came} records came, while the provider said at first that there are {first} and in the end {last}")
    })
}

fn is_counted(read: &Read) -> bool {
    matches!(read.page.kind, PageKind::Number(_) | PageKind::Offset)
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
    let everything = || OpenRead::begin(Mode::Full, (None, end(plan, now)), &plan.shape);
    // One far in the future was taken from a wrong clock: what lies before it may never have been read.
    let watermark = state.watermark.filter(|watermark| *watermark <= now + CLOCKS);
    let retention = stream.cursor.as_ref().and_then(|cursor| cursor.retention);
    let forgotten =
        retention.filter(|retention| watermark.is_some_and(|watermark| watermark + retention.delta() <= now));
    if let Some(open) = &state.open_read
        && (forgotten.is_none() || open.mode == Mode::Full)
        && open.shape == plan.shape
        && !open.is_spent()
        && open.each <= plan.each.len()
        && (!full || open.mode == Mode::Full)
    {
        if is_counted(read_of(plan, open)) && open.position.is_some() && open.to + COUNTED <= now {
            let mut again = match open.from {
                Some(from) => window(plan, from, end(plan, now), open.step),
                None => everything(),
            };
            (again.keyless, again.shifted) = (open.keyless, open.shifted);
            return (again, Some("begun again, as its pages may have shifted meanwhile".to_owned()));
        }
        return (open.clone(), None);
    }
    let (Some(watermark), Some(cursor), Some(_)) = (watermark, &stream.cursor, &stream.changes) else {
        return (everything(), None);
    };
    // Without a full read to rely on, changes are changes of nothing known.
    if full || state.last_full_at.is_none() {
        return (everything(), None);
    }
    // A read begun under other settings may have left rows of theirs, even where these have been in force before.
    let reshaped = state.open_read.as_ref().is_some_and(|open| open.shape != plan.shape);
    if reshaped || state.shape.as_ref() != Some(&plan.shape) {
        return (
            everything(),
            Some("the manifest, settings, mappings or filters changed, so it was read in full once".to_owned()),
        );
    }
    if let Some(retention) = forgotten {
        let reason = format!(
            "last read longer ago than the {retention} for which the provider keeps changes, so it was read in full once"
        );
        return (everything(), Some(reason));
    }
    let every = stream.deletes.sweep.every();
    if every.is_some_and(|every| state.last_full_at.is_none_or(|last| last + every.delta() <= now)) {
        return (everything(), None);
    }
    let overlap = if mutants::on("strict-start") { TimeDelta::milliseconds(-1) } else { cursor.overlap.delta() };
    let from = (watermark - overlap).min(end(plan, now));
    (window(plan, from, end(plan, now), None), None)
}

/// Returns the read of what changed in a range of time. It moves nothing that other reads go on from.
pub(super) fn backfill(plan: &StreamPlan, range: Range) -> OpenRead {
    window(plan, range.from, range.to, None)
}

/// Returns the manifest's read for what was decided.
pub(super) fn read_of<'p>(plan: &'p StreamPlan, open: &OpenRead) -> &'p Read {
    match (open.mode, &plan.stream.changes, &plan.stream.job) {
        (Mode::Changes, Some(changes), _) => changes,
        (Mode::Full, _, Some(job)) if open.job.is_some() => &job.download,
        _ => &plan.stream.full,
    }
}

/// Fetches the pages of one read, makes something of each by `prepare`, and hands that to `take`, which says by an error
/// that it has had enough. Pages are fetched on a thread of their own, and prepared by whichever of the two is ahead of the
/// other. Between pages the turn is shared with other runs; it is not held while the provider lets wait.
pub(super) fn pages<T: Send>(
    (connector, turn): (&Connector<'_>, &Turn<'_>),
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
        let run = error::run_at_hand();
        let fetching = scope.spawn(move || {
            error::working_on(run);
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
        let fetched = || {
            receiver.try_recv().ok().or_else(|| {
                idle.store(true, Ordering::Relaxed);
                let fetched = turn.receive(&receiver);
                idle.store(false, Ordering::Relaxed);
                fetched
            })
        };
        let read = std::iter::from_fn(fetched).try_for_each(|fetched| {
            take(match fetched? {
                Fetched::Raw(page) => prepare(*page),
                Fetched::Prepared(page) => page,
            })?;
            turn.share();
            Ok(())
        });
        drop(receiver);
        if read.is_err() {
            // A request that is still under way may take long.
            turn.aside(|| fetching.join().ok());
        }
        read
    })
}

/// Returns where a read begins or goes on.
pub(super) fn start<'p>(plan: &'p StreamPlan, open: &OpenRead) -> Start<'p> {
    Start {
        window: Window { from: open.from, to: open.to },
        position: open.position.clone(),
        each: plan.each.get(open.each).and_then(Option::as_deref),
        job: open.job.as_ref().map(|job| job.id.clone()),
        details: true,
    }
}
