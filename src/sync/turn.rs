//! Turns: which of the runs that have begun works now, first come, first served.
//!
//! A run holds a turn while it works. Between two pages, once its turn has lasted a slice and others wait, it queues again
//! behind them. While it waits for its provider it steps aside, so that one that does not answer costs the others nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::error;

/// How long a turn lasts where others wait for one.
const SLICE: Duration = Duration::from_secs(10);
/// How long a provider may take to answer before its run steps aside.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns of one invocation.
pub(super) struct Turns {
    queue: Mutex<Queue>,
    slice: Duration,
}

struct Queue {
    free: usize,
    waiting: VecDeque<Arc<Place>>,
}

/// One who waits.
struct Place {
    thread: Thread,
    called: AtomicBool,
}

impl Queue {
    fn join(&mut self) -> Arc<Place> {
        let place = Arc::new(Place { thread: std::thread::current(), called: AtomicBool::new(false) });
        self.waiting.push_back(Arc::clone(&place));
        place
    }

    /// Hands a turn straight to who has waited longest: nobody overtakes. Returns false where nobody waits.
    fn call(&mut self) -> bool {
        let Some(place) = self.waiting.pop_front() else { return false };
        place.called.store(true, Ordering::Release);
        place.thread.unpark();
        true
    }
}

impl Place {
    fn wait(&self) {
        while !self.called.load(Ordering::Acquire) {
            std::thread::park();
        }
    }
}

impl Turns {
    /// Returns turns of which so many are held at once.
    pub(super) fn new(at_once: usize) -> Self {
        Turns { queue: Mutex::new(Queue { free: at_once, waiting: VecDeque::new() }), slice: SLICE }
    }

    /// Waits for a turn and takes it. To be called with no lock held that a run needs.
    pub(super) fn take(&self) -> Turn<'_> {
        self.wait();
        Turn { turns: self, since: Cell::new(Instant::now()) }
    }

    fn wait(&self) {
        let place = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return;
            }
            queue.join()
        };
        place.wait();
    }

    fn give(&self) {
        let mut queue = self.queue();
        if !queue.call() {
            queue.free += 1;
        }
    }

    /// Hands a turn on and queues for another, where others wait. In one step, so that nobody comes in between.
    fn pass_on(&self) {
        let place = {
            let mut queue = self.queue();
            if !queue.call() {
                return;
            }
            queue.join()
        };
        place.wait();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn that is held; dropping it gives it up.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    since: Cell<Instant>,
}

impl Turn<'_> {
    /// Queues again where the turn has lasted its slice and others wait. For between two pages.
    pub(super) fn share(&self) {
        if self.since.get().elapsed() >= self.turns.slice {
            self.turns.pass_on();
            self.since.set(Instant::now());
        }
    }

    /// Returns the next thing that another thread sends, `None` after the last. Steps aside if it takes long to come.
    pub(super) fn receive<T>(&self, receiver: &Receiver<T>) -> Option<T> {
        match receiver.recv_timeout(PATIENCE) {
            Ok(sent) => Some(sent),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.aside(|| receiver.recv().ok()),
        }
    }

    /// Returns what a call answers, which is made on a thread of its own. Steps aside if that takes long.
    pub(super) fn call<T: Send>(&self, call: impl FnOnce() -> T + Send) -> Option<T> {
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            let run = error::run_at_hand();
            scope.spawn(move || {
                error::working_on(run);
                sender.send(call())
            });
            self.receive(&receiver)
        })
    }

    /// Gives the turn up while waiting for something, then queues for another.
    pub(super) fn aside<T>(&self, wait: impl FnOnce() -> T) -> T {
        /// Has a turn again when it goes, also where the waiting panics: the turn is given up once more after it.
        struct Aside<'a>(&'a Turn<'a>);
        impl Drop for Aside<'_> {
            fn drop(&mut self) {
                self.0.turns.wait();
                self.0.since.set(Instant::now());
            }
        }
        self.turns.give();
        let _back = Aside(self);
        wait()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.give();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Waits until so many stand in the queue.
    fn queued(turns: &Turns, number: usize) {
        while turns.queue().waiting.len() < number {
            std::thread::yield_now();
        }
    }

    #[test]
    fn turns_are_had_in_the_order_they_were_asked_for() {
        let turns = Turns::new(1);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let held = turns.take();
            for number in 0..20 {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.take();
                    order.lock().unwrap().push(number);
                });
                queued(turns, number + 1);
            }
            drop(held);
        });
        assert_eq!(order.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(turns.queue().free, 1);
    }

    #[test]
    fn a_long_run_has_one_page_for_each_of_the_others() {
        // Every turn has lasted its slice at once, so that each page is a turn.
        let turns = Turns { slice: Duration::ZERO, ..Turns::new(1) };
        let pages = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let held = turns.take();
            for (position, (run, length)) in [("long", 50), ("a", 3), ("b", 3), ("c", 3)].into_iter().enumerate() {
                let (turns, pages) = (&turns, &pages);
                scope.spawn(move || {
                    let turn = turns.take();
                    for _ in 0..length {
                        pages.lock().unwrap().push(run);
                        turn.share();
                    }
                });
                queued(turns, position + 1);
            }
            drop(held);
        });
        let pages = pages.into_inner().unwrap();
        assert_eq!(&pages[..12], ["long", "a", "b", "c"].repeat(3).as_slice());
        assert_eq!(pages.len(), 59);
    }

    #[test]
    fn nobody_queues_within_a_slice_or_where_nobody_waits() {
        let turns = Turns::new(1);
        let turn = turns.take();
        turn.share();
        assert_eq!(turns.queue().free, 0);
        let alone = Turns { slice: Duration::ZERO, ..Turns::new(1) };
        let turn = alone.take();
        turn.share();
        assert!(alone.queue().waiting.is_empty());
    }

    #[test]
    fn who_waits_for_a_provider_costs_the_others_nothing() {
        let turns = Turns::new(1);
        let (sender, receiver) = channel::<u32>();
        std::thread::scope(|scope| {
            let turns = &turns;
            let stuck = scope.spawn(move || {
                let turn = turns.take();
                let page = turn.receive(&receiver);
                (page, turns.queue().free)
            });
            // Only once the stuck one has stepped aside are these turns to be had.
            while turns.queue().free > 0 {
                std::thread::yield_now();
            }
            for _ in 0..100 {
                drop(turns.take());
            }
            sender.send(7).unwrap();
            assert_eq!(stuck.join().unwrap(), (Some(7), 0), "it has a turn again before it goes on");
        });
        assert_eq!(turns.queue().free, 1);
    }

    #[test]
    fn a_panic_while_aside_gives_up_no_turn_twice() {
        let turns = Turns::new(2);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let turn = turns.take();
            turn.aside(|| std::panic::resume_unwind(Box::new("no answer")))
        }));
        assert!(panicked.is_err());
        assert_eq!(turns.queue().free, 2);
    }
}
