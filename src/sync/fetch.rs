//! Stage 2: which read of a stream is next, and its pages, fetched on a thread of their own while the last is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use chrono::{DateTime, TimeDelta, Utc};

use super::resolve::StreamPlan;
use super::turn::Turn;
use super::view;
use crate::connector::{Connector, Failure, Page, Start, Wanted, Window};
use crate::domain::completeness::{Completeness, Doubt};
use crate::domain::duration::Length;
use crate::domain::manifest::{PageKind, Read};
use crate::domain::moment::Range;
use crate::domain::path::Projection;
use crate::error::{self, Exit, UserError};
use crate::mutants;
use crate::store::state::{Mode, OpenRead, StreamState, View};

/// Pages that may wait between the thread that fetches and the one that writes.
const AHEAD: usize = 2;

/// A page that was counted off is not gone on with after this long: what was deleted meanwhile has moved the rest forward.
const COUNTED: TimeDelta = TimeDelta::hours(1);

/// No window is shorter, in seconds: what cannot be read in that time cannot be read.
const SHORTEST_WINDOW: u32 = 60;

/// After so many runs in a row without a page a position is given up, whatever the reason.
const MOST_FAILURES: u32 = 3;

/// More than any two clocks differ that are set at all.
pub(super) const CLOCKS: TimeDelta = TimeDelta::days(1);

/// A watermark that is further ahead of this machine's clock was taken from a clock that was wrong.
const FUTURE: TimeDelta = TimeDelta::minutes(1);

/// Returns the end of a window that is read now, by the provider's time.
pub(super) fn end(plan: &StreamPlan, now: DateTime<Utc>) -> DateTime<Utc> {
    now - plan.stream.cursor.as_ref().map_or(TimeDelta::zero(), |cursor| cursor.settle.delta())
}

/// Returns whether a stream that was read completely need not be read again yet.
pub(super) fn rests(plan: &StreamPlan, state: &StreamState, now: DateTime<Utc>) -> bool {
    let again = plan.stream.every.and_then(|every| Some(state.watermark? + every.delta()));
    state.open_read.is_none()
        && state.doubts.is_none()
        && state.shape.as_ref() == Some(&plan.shape)
        && again.is_some_and(|again| now < again && state.watermark <= Some(now + FUTURE))
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
    Some(OpenRead { begun: read.begun, ..window(plan, read.to, until, read.step) })
}

/// Returns the first half of a window, `None` for one that cannot be halved.
pub(super) fn half(plan: &StreamPlan, open: &OpenRead) -> Option<OpenRead> {
    let from = open.from.filter(|_| open.mode == Mode::Changes)?;
    let length = open.to - from;
    // Rounded up, so that two of them reach to the end.
    let half = u32::try_from((length.num_milliseconds() + 1_999) / 2_000).ok()?.max(SHORTEST_WINDOW);
    let window = || window(plan, from, open.until.unwrap_or(open.to), Some(half));
    (length > Length(SHORTEST_WINDOW).delta()).then(|| OpenRead { begun: open.begun, ..window() })
}

/// Takes back the end of a read that lies ahead of the provider's time, as its answers tell it.
pub(super) fn hold_back(plan: &StreamPlan, open: &mut OpenRead, now: DateTime<Utc>) {
    let end = end(plan, now);
    open.to = open.to.min(end);
    open.until = open.until.map(|until| until.min(end));
}

/// Takes a page into the progress of its read.
pub(super) fn take(read: &Read, open: &mut OpenRead, page: &Page) -> Result<(), Failure> {
    count(read, &mut open.completeness, open.position.is_none(), page);
    if open.completeness.is_endless() {
        let message = "far more records came than the provider said there are";
        return Err(Failure::Distrust(
            UserError::new(Exit::Unavailable, "list_endless", message)
                .hint("the list may never end; ask the provider, or try again later"),
        ));
    }
    open.failures = 0;
    open.position = page.next.clone();
    if open.position.is_some() {
        return Ok(());
    }
    if let Some(why) = open.completeness.mismatch().filter(|_| !open.recounted) {
        open.recounted = true;
        return Err(Failure::Restart(UserError::new(Exit::Unavailable, "pages_shifted", why)));
    }
    if page.next.is_none() {
        open.completeness.end_list(page.end.filter(|_| !mutants::on("empty-believed")));
    }
    open.next_value(open.each + 1);
    Ok(())
}

/// Notes what a page says about how much there is. Each page of a keyset is a query of its own, with a total of its own.
pub(super) fn count(read: &Read, completeness: &mut Completeness, is_first: bool, page: &Page) {
    let total = page.total.filter(|_| !matches!(read.page.kind, PageKind::Keyset(_)));
    completeness.page(is_first, total, page.len() as u64 + page.gone + page.undetailed.len() as u64);
}

fn is_counted(read: &Read) -> bool {
    matches!(read.page.kind, PageKind::Number(_) | PageKind::Offset)
}

/// What decides which read is next.
pub(super) struct Now<'n> {
    /// The provider's time.
    pub(super) time: DateTime<Utc>,
    /// The time of this machine: how long ago something was is told by one clock.
    pub(super) ours: DateTime<Utc>,
    /// What a read would be made with.
    pub(super) view: &'n View,
    /// Whether everything is asked for, from its beginning.
    pub(super) full: bool,
    /// Whether this only brings up to date what another read of the same run has just read.
    pub(super) reads_on: bool,
}

/// Decides what to read: goes on with what was begun, else what changed, else everything. Returns the read and, where it does
/// not go on or is a full one for a reason worth telling, that reason.
pub(super) fn next_read(plan: &StreamPlan, state: &StreamState, now: &Now<'_>) -> (OpenRead, Option<String>) {
    let begun = state.open_read.as_ref().filter(|_| !now.full);
    let refused = begun.map(|open| goes_on(plan, state, open, now));
    if let (Some(open), Some(Ok(()))) = (begun, &refused) {
        return (open.clone(), None);
    }
    let (open, reason) = anew(plan, state, now);
    let given_up = refused.and_then(Result::err).flatten();
    (open, reason.or(given_up.map(|why| format!("begun again, as {why}"))))
}

/// Returns whether a read that was begun can be gone on with, and if not why, where that is worth telling.
fn goes_on(plan: &StreamPlan, state: &StreamState, open: &OpenRead, now: &Now<'_>) -> Result<(), Option<String>> {
    let is_forgotten = open.mode == Mode::Changes && forgotten(plan, state, now.time).is_some();
    // One from before reads had numbers cannot tell what it has seen.
    let is_old = open.number == 0 && (open.position.is_some() || open.each > 0);
    if is_forgotten || is_old || open.shape != plan.shape || open.is_spent() || open.each > plan.each.len() {
        return Err(None);
    }
    if open.number == 0 {
        return Ok(());
    }
    match view::difference(&open.view, now.view) {
        Some(Doubt::Credential) => return Err(Some("the credential was replaced meanwhile".to_owned())),
        Some(_) => return Err(Some("what the credential sees has changed meanwhile".to_owned())),
        None => {}
    }
    if open.failures >= MOST_FAILURES {
        return Err(Some(format!("{} runs in a row got no page where it stood", open.failures)));
    }
    if is_counted(read_of(plan, open)) && open.position.is_some() && open.to + COUNTED <= now.time {
        return Err(Some("its pages may have shifted meanwhile".to_owned()));
    }
    Ok(())
}

/// Returns for how long the provider keeps changes, if the last read was longer ago.
fn forgotten(plan: &StreamPlan, state: &StreamState, now: DateTime<Utc>) -> Option<Length> {
    let retention = plan.stream.cursor.as_ref().and_then(|cursor| cursor.retention)?;
    (state.watermark? + retention.delta() <= now).then_some(retention)
}

/// Decides what to read where nothing is gone on with.
fn anew(plan: &StreamPlan, state: &StreamState, now: &Now<'_>) -> (OpenRead, Option<String>) {
    let stream = &plan.stream;
    let everything =
        |reason: Option<String>| (OpenRead::begin(Mode::Full, (None, end(plan, now.time)), &plan.shape), reason);
    // What lies before one in the future may never have been read.
    let watermark = state.watermark.filter(|watermark| *watermark <= now.ours + FUTURE);
    let differs = state.view.as_ref().and_then(|before| view::difference(before, now.view));
    if let Some(doubt) = differs {
        let what = if doubt == Doubt::Credential { "the credential" } else { "what the credential sees" };
        let so = "so everything is read once: what was not seen before may have old times of change";
        let known = stream.changes.is_some() && watermark.is_some();
        return everything(known.then(|| format!("{what} has changed since the last read, {so}")));
    }
    let (Some(watermark), Some(cursor), Some(_)) = (watermark, &stream.cursor, &stream.changes) else {
        let is_ahead = state.watermark.is_some() && watermark.is_none();
        let reason = "the clock of this machine was ahead at the last read, so everything is read once";
        return everything(is_ahead.then(|| reason.to_owned()));
    };
    // Without a proved full read to rely on, changes are changes of nothing known.
    if now.full || state.last_full_at.is_none() {
        let doubted = state.doubts.as_ref().filter(|_| !now.full);
        return everything(doubted.map(|_| "read in full, as the read before was not proved complete".to_owned()));
    }
    // A read begun under other settings may have left rows of theirs, even where these have been in force before.
    let reshaped = state.open_read.as_ref().is_some_and(|open| open.shape != plan.shape);
    if reshaped || state.shape.as_ref() != Some(&plan.shape) {
        let reason = "the manifest, settings, mappings or filters changed, so it was read in full once";
        return everything(Some(reason.to_owned()));
    }
    if let Some(retention) = forgotten(plan, state, now.time) {
        return everything(Some(format!(
            "last read longer ago than the {retention} for which the provider keeps changes, so it was read in full once"
        )));
    }
    let every = stream.deletes.sweep.every().filter(|_| !now.reads_on);
    if every.is_some_and(|every| state.last_full_at.is_none_or(|last| last + every.delta() <= now.ours)) {
        return everything(None);
    }
    let overlap = if mutants::on("strict-start") { TimeDelta::milliseconds(-1) } else { cursor.overlap.delta() };
    let from = (watermark - overlap).min(end(plan, now.time));
    (window(plan, from, end(plan, now.time), None), None)
}

/// Returns whether an error says that the provider does not know the position that was asked for, or that it leads nowhere.
/// Others may pass.
pub(super) fn refuses_position(error: &UserError) -> bool {
    matches!(error.code, "provider_rejected" | "not_found_at_provider" | "foreign_link")
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
