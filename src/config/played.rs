//! What a test plays to the runs of its own: the time, a fault put in, a kill. Other threads of the process see none of it.
//!
//! A run works on several threads. They are told by the number of the run they work on, so a test that plays takes numbers
//! for its runs that nobody else has.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error;

/// How many runs one who plays may make.
const RUNS: i64 = 1 << 16;
/// How long a fetching thread waits for the page it fetched last to be written. Only a read that has failed lets it wait.
const PATIENCE: Duration = Duration::from_millis(500);

thread_local! {
    /// What is played to this thread itself, which begins runs.
    static OWN: RefCell<Option<Arc<Played>>> = const { RefCell::new(None) };
    /// How many pages were written when this thread began to fetch, and how many it has fetched.
    static FETCHED: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// What is played, by the number before the first run it is played to.
static ALL: Mutex<BTreeMap<i64, Arc<Played>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicI64 = AtomicI64::new(1 << 40);

/// What is played to the runs of one test.
#[derive(Default)]
pub(crate) struct Played {
    /// The time, in seconds since 1970.
    now: AtomicI64,
    mutant: Option<&'static str>,
    course: Mutex<Course>,
    moved: Condvar,
}

/// How far a run has come.
#[derive(Default)]
struct Course {
    /// At how many points from now it is killed.
    kill_in: Option<u32>,
    killed: bool,
    /// How many pages were written.
    written: u64,
}

/// Plays as long as it is there.
pub(crate) struct Playing {
    pub(crate) played: Arc<Played>,
    /// The number before that of the first run.
    pub(crate) before: i64,
}

/// What a killed run unwinds with.
pub(crate) struct Killed;

impl Playing {
    /// Plays to this thread and to the runs it begins, which are to be numbered from after `before`.
    pub(crate) fn begin(mutant: Option<&'static str>) -> Self {
        let played = Arc::new(Played { mutant, ..Played::default() });
        let before = NEXT.fetch_add(RUNS, Ordering::Relaxed);
        all().insert(before, Arc::clone(&played));
        be_quiet_of_kills();
        OWN.set(Some(Arc::clone(&played)));
        Playing { played, before }
    }
}

/// Lets no kill be told of as a panic: threads that wait for one that was killed panic in their turn.
fn be_quiet_of_kills() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !at_hand().is_some_and(|played| played.course().killed) {
                tell(panic);
            }
        }));
    });
}

impl Drop for Playing {
    fn drop(&mut self) {
        all().remove(&self.before);
        OWN.set(None);
    }
}

impl Played {
    /// Sets the clock.
    pub(crate) fn set(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Begins another run, to be killed at this point of it, if at any.
    pub(crate) fn begin_run(&self, kill_in: Option<u32>) {
        *self.course() = Course { kill_in, ..Course::default() };
    }

    /// Ends the run. Returns whether it was killed.
    pub(crate) fn end_run(&self) -> bool {
        std::mem::take(&mut *self.course()).killed
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes by a point. A page is asked for once the one before is written, so that all happens in one order; a run that is
    /// killed writes nothing any more, on any thread.
    fn point(&self, name: &str) {
        let mut course = self.course();
        match name {
            "page asked for" => course = self.after_the_last_page(course),
            "page received" => FETCHED.set(FETCHED.get().map(|(written, fetched)| (written, fetched + 1))),
            "page committed" | "feed page committed" => course.written += 1,
            _ => {}
        }
        if let Some(left) = &mut course.kill_in {
            *left = left.saturating_sub(1);
            course.killed |= course.kill_in == Some(0);
        }
        let killed = course.killed;
        drop(course);
        self.moved.notify_all();
        if killed {
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    fn after_the_last_page<'c>(&self, course: MutexGuard<'c, Course>) -> MutexGuard<'c, Course> {
        let (began, fetched) = FETCHED.get().unwrap_or((course.written, 0));
        FETCHED.set(Some((began, fetched)));
        let waits = |course: &mut Course| !course.killed && course.written < began + fetched;
        self.moved.wait_timeout_while(course, PATIENCE, waits).unwrap_or_else(PoisonError::into_inner).0
    }
}

fn all() -> MutexGuard<'static, BTreeMap<i64, Arc<Played>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what is played to this thread, if anything is.
fn at_hand() -> Option<Arc<Played>> {
    OWN.with_borrow(Clone::clone).or_else(|| {
        let run = error::run_at_hand()?;
        let (before, played) = all().range(..run).next_back().map(|(before, played)| (*before, Arc::clone(played)))?;
        (run <= before + RUNS).then_some(played)
    })
}

/// Returns the time that is played to this thread.
pub(super) fn now() -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at_hand()?.now.load(Ordering::Relaxed), 0)
}

/// Returns whether a fault is put in.
pub(crate) fn on(mutant: &'static str) -> bool {
    at_hand().is_some_and(|played| played.mutant == Some(mutant))
}

/// Marks a moment at which a run may be killed.
pub(crate) fn point(name: &'static str) {
    if let Some(played) = at_hand() {
        played.point(name);
    }
}
