//! One rate budget as all processes see it: when the last requests were sent, how long none may be, what share is in use.
//!
//! It is a small file of fixed layout, locked by the kernel for the moment of a change. A sliding window is counted: it
//! keeps to the rate at every moment, where a bucket that starts full would send twice as many in its first window.
//! A file that is no such thing is started anew. Where there can be none, the process counts for itself alone.
//!
//! ```text
//! 0  a mark                24  held at       the hold was asked for then
//! 8  slots there are       32  held until    nothing is sent before
//! 16 requests so far       40  share         of the rate, in thousandths
//! 80 slots: when each      48  share as of   it grows from here on
//!    was sent, in turn     56  halved at     the provider refused a request then
//!                          64  told at       the provider told how many it has left then
//!                          72  told last     the number of the last of those
//! ```
//!
//! All are 64 bits, little end first; moments are microseconds since 1970.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::domain::manifest::Rate;

/// No hold is longer, whatever a provider says; one that claims to be is not believed.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(86_400);

const MARK: u64 = u64::from_le_bytes(*b"skrate02");
const HEAD: usize = 80;
/// More requests than this in one window are not counted one by one: the rate is taken to be this.
const MOST_SLOTS: u64 = 1 << 20;
/// The whole rate, and by how much of it a halved share grows with each window.
const WHOLE: u64 = 1000;
const GROWTH: u64 = 100;

/// By how much a window is counted longer, at least and at most.
const LEAST_MARGIN: Duration = Duration::from_millis(50);
const MOST_MARGIN: Duration = Duration::from_millis(500);

/// So many requests in so long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    requests: u32,
    per: Duration,
}

impl From<Rate> for Pace {
    fn from(rate: Rate) -> Self {
        Pace { requests: rate.requests, per: rate.per.std() }
    }
}

impl Pace {
    /// Returns the pace of a rate with its window a little longer, by a hundredth: requests do not take the
    /// same time to get there, and what arrives closer together than it was sent would be refused.
    pub(super) fn with_margin(rate: Rate) -> Self {
        let Pace { requests, per } = rate.into();
        Pace { requests, per: per + (per / 100).clamp(LEAST_MARGIN, MOST_MARGIN) }
    }
}

/// Where a budget is kept.
pub(super) enum Place {
    File(File),
    /// Of this process alone.
    Memory(Vec<u8>),
}

impl Place {
    /// Changes the budget, alone among all processes. `now` is asked once that is so.
    pub(super) fn change<T>(
        &mut self,
        pace: impl Into<Pace>,
        now: impl Fn() -> u64,
        change: impl Fn(&mut Window<'_>) -> io::Result<T>,
    ) -> T {
        let pace = pace.into();
        loop {
            match self.alone(|place| {
                let mut window = Window::open(place, pace, now())?;
                let changed = change(&mut window)?;
                window.save()?;
                Ok(changed)
            }) {
                Ok(changed) => return changed,
                // The disk is full, say: a budget is no reason for a sync to stop.
                Err(_) => *self = Place::Memory(Vec::new()),
            }
        }
    }

    fn alone<T>(&mut self, act: impl FnOnce(&mut Place) -> io::Result<T>) -> io::Result<T> {
        if let Place::File(file) = self {
            file.lock()?;
        }
        let done = act(self);
        if let Place::File(file) = self {
            file.unlock()?;
        }
        done
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Place::File(file) => Ok(file.metadata()?.len()),
            Place::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Makes it this long, with nothing but zeros in it.
    fn clear(&mut self, length: usize) -> io::Result<()> {
        match self {
            Place::File(file) => {
                file.set_len(0)?;
                file.set_len(length as u64)
            }
            Place::Memory(bytes) => {
                *bytes = vec![0; length];
                Ok(())
            }
        }
    }

    fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        match self {
            Place::File(file) => file.read_exact_at(into, at as u64),
            Place::Memory(bytes) => {
                into.copy_from_slice(bytes.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    fn write(&mut self, at: usize, from: &[u8]) -> io::Result<()> {
        match self {
            Place::File(file) => file.write_all_at(from, at as u64),
            Place::Memory(bytes) => {
                bytes.get_mut(at..at + from.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(from);
                Ok(())
            }
        }
    }
}

/// A budget in hand, at one moment.
pub(super) struct Window<'p> {
    place: &'p mut Place,
    now: u64,
    /// The requests of the whole rate, and how long a window is.
    full: u64,
    per: u64,
    slots: u64,
    sent: u64,
    held_at: u64,
    held_until: u64,
    share: u64,
    share_as_of: u64,
    halved_at: u64,
    told_at: u64,
    told_last: u64,
}

impl<'p> Window<'p> {
    fn open(place: &'p mut Place, rate: Pace, now: u64) -> io::Result<Self> {
        let full = u64::from(rate.requests).min(MOST_SLOTS);
        let per = micros(rate.per);
        let head = read_head(place)?;
        let sound = head.is_some_and(|[mark, slots, ..]| {
            mark == MARK && (1..=MOST_SLOTS).contains(&slots) && place.len().is_ok_and(|length| length == size(slots))
        });
        let head = match head.filter(|_| sound) {
            Some(head) => head,
            None => {
                place.clear(usize::try_from(size(full)).unwrap_or(HEAD))?;
                [MARK, full, 0, 0, 0, WHOLE, 0, 0, 0, 0]
            }
        };
        let [_, slots, sent, held_at, held_until, share, share_as_of, halved_at, told_at, told_last] = head;
        let share = share.clamp(1, WHOLE);
        let mut window = Window {
            place,
            now,
            full,
            per,
            slots,
            sent,
            held_at,
            held_until,
            share,
            share_as_of,
            halved_at,
            told_at,
            told_last,
        };
        if window.slots < full {
            window.widen(full)?;
        }
        window.grow();
        Ok(window)
    }

    /// Makes room for a greater rate than there was.
    fn widen(&mut self, slots: u64) -> io::Result<()> {
        let kept = (0..self.slots).rev().map(|back| self.back(back + 1)).collect::<io::Result<Vec<u64>>>()?;
        self.place.clear(usize::try_from(size(slots)).unwrap_or(HEAD))?;
        (self.slots, self.sent, self.told_at) = (slots, 0, 0);
        kept.into_iter().try_for_each(|sent| self.put(sent))
    }

    /// Gives back some of a share that was taken away, for each window that went well since.
    fn grow(&mut self) {
        if self.share == WHOLE {
            return;
        }
        let windows = self.now.saturating_sub(self.share_as_of) / self.per;
        self.share = self.share.saturating_add(GROWTH.saturating_mul(windows)).min(WHOLE);
        // One from before the clock was set back counts from now.
        self.share_as_of = (self.share_as_of + windows * self.per).min(self.now);
    }

    /// Returns how many requests a window takes at present.
    fn allowed(&self) -> u64 {
        (self.full * self.share / WHOLE).max(1)
    }

    /// Takes one request out of the budget. Returns the moment it counts from, or how long to wait before asking again.
    pub(super) fn take(&mut self) -> io::Result<Result<u64, Duration>> {
        let wait = self.wait()?;
        if !wait.is_zero() {
            return Ok(Err(wait));
        }
        self.put(self.now)?;
        Ok(Ok(self.now))
    }

    /// Returns how long it is until the budget has room.
    pub(super) fn wait(&mut self) -> io::Result<Duration> {
        let held = self.held();
        if held > self.now {
            return Ok(Duration::from_micros(held - self.now));
        }
        if self.is_told() && self.sent >= self.told_last {
            return Ok(Duration::from_micros(self.told_at + self.per - self.now));
        }
        let sent = self.back(self.allowed())?;
        // One that is still to come was sent before the clock was set back: now at the latest, if it can be of this
        // window at all.
        let leaves = if sent == 0 || sent > self.now + self.per { 0 } else { sent.min(self.now) + self.per };
        Ok(Duration::from_micros(leaves.saturating_sub(self.now)))
    }

    /// Returns the moment before which nothing is sent. One that cannot have been asked for like that is not believed.
    fn held(&self) -> u64 {
        let believed = self.held_at <= self.now && self.held_until.saturating_sub(self.held_at) <= micros(LONGEST_HOLD);
        if believed { self.held_until } else { 0 }
    }

    /// Sends nothing for so long, as the provider asks: its word beats what it was guessed to have left.
    pub(super) fn advised(&mut self, wait: Duration) -> io::Result<()> {
        (self.told_at, self.told_last) = (0, 0);
        self.hold(wait)
    }

    /// Sends nothing for so long, or as long as was asked for before.
    pub(super) fn hold(&mut self, wait: Duration) -> io::Result<()> {
        let until = self.now + micros(wait.min(LONGEST_HOLD));
        if until > self.held() {
            (self.held_at, self.held_until) = (self.now, until);
        }
        Ok(())
    }

    /// Halves the share after a request was refused for the rate. Requests sent before the last time this was done tell
    /// nothing new: they were under way together.
    pub(super) fn refused(&mut self, sent: u64) -> io::Result<()> {
        let halved_at = if self.halved_at > self.now { 0 } else { self.halved_at };
        if sent < halved_at {
            return Ok(());
        }
        self.share = (self.share / 2).max(WHOLE.div_ceil(self.full)).clamp(1, self.share);
        (self.halved_at, self.share_as_of) = (self.now, self.now);
        Ok(())
    }

    /// Returns whether the provider has told of this window how many requests it has left.
    fn is_told(&self) -> bool {
        self.told_at <= self.now && self.now < self.told_at.saturating_add(self.per)
    }

    /// Heeds that the provider has only so many requests left for a window from now on: others spend them too, or its rate
    /// is lower. That it has as many as we think, or more, changes nothing.
    pub(super) fn left(&mut self, left: u64) -> io::Result<()> {
        let allowed = self.allowed();
        let begins = (self.now + 1).saturating_sub(self.per);
        // The moments rise from the oldest on, so the first of this window is found by halving.
        let (mut older, mut counted) = (allowed, 0);
        while counted < older {
            let middle = counted + (older - counted).div_ceil(2);
            if self.back(middle)? >= begins { counted = middle } else { older = middle - 1 }
        }
        if left < allowed.saturating_sub(counted) {
            let last = self.sent.saturating_add(left);
            // Answers may overtake each other: what an earlier one has told is not taken back.
            self.told_last = if self.is_told() { last.min(self.told_last) } else { last };
            self.told_at = self.now;
        }
        Ok(())
    }

    /// Returns when the request so many back was sent, 0 if there was none.
    fn back(&self, back: u64) -> io::Result<u64> {
        let slot = (self.sent % self.slots + self.slots - back % self.slots) % self.slots;
        let mut bytes = [0; 8];
        self.place.read(at(slot), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn put(&mut self, moment: u64) -> io::Result<()> {
        self.place.write(at(self.sent % self.slots), &moment.to_le_bytes())?;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    fn save(&mut self) -> io::Result<()> {
        let (mut bytes, head) = (
            [0; HEAD],
            [
                MARK,
                self.slots,
                self.sent,
                self.held_at,
                self.held_until,
                self.share,
                self.share_as_of,
                self.halved_at,
                self.told_at,
                self.told_last,
            ],
        );
        for (into, word) in bytes.chunks_exact_mut(8).zip(head) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        self.place.write(0, &bytes)
    }
}

/// Returns the words of the head, if there is one.
fn read_head(place: &Place) -> io::Result<Option<[u64; 10]>> {
    if place.len()? < HEAD as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEAD];
    place.read(0, &mut bytes)?;
    let mut words = [0; 10];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    Ok(Some(words))
}

fn at(slot: u64) -> usize {
    usize::try_from(size(slot)).unwrap_or(usize::MAX)
}

/// Returns how long a budget with so many slots is.
fn size(slots: u64) -> u64 {
    HEAD as u64 + 8 * slots
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::duration::Length;
    use crate::locks;

    const SECOND: u64 = 1_000_000;
    const START: u64 = 1_800_000_000 * SECOND;

    fn rate(requests: u32, seconds: u32) -> Rate {
        Rate { requests, per: Length(seconds) }
    }

    proptest! {
        /// What counts is when requests arrive: each may be under way for up to 50 ms longer than another.
        #[test]
        fn a_rate_is_used_to_its_edge_without_a_refusal(delays in prop::collection::vec(0_u64..50_000, 303)) {
            let (mut place, mut now) = (Place::Memory(Vec::new()), START);
            let mut arrived = Vec::new();
            for delay in delays {
                loop {
                    match place.change(Pace::with_margin(rate(100, 10)), || now, |window| window.take()) {
                        Ok(_) => break,
                        Err(wait) => now += micros(wait),
                    }
                }
                arrived.push(now + delay);
                now += 1_000;
            }
            prop_assert!(now - START < 31 * SECOND, "303 calls in {} us", now - START);
            arrived.sort_unstable();
            prop_assert!(arrived.windows(101).all(|calls| calls[100] - calls[0] >= 10 * SECOND));
        }
    }

    /// A budget and a clock that a test moves.
    struct Bench {
        place: Place,
        rate: Rate,
        now: Cell<u64>,
    }

    impl Bench {
        fn new(rate: Rate) -> Self {
            Bench { place: Place::Memory(Vec::new()), rate, now: Cell::new(START) }
        }

        fn change<T>(&mut self, change: impl Fn(&mut Window<'_>) -> io::Result<T>) -> T {
            self.place.change(self.rate, || self.now.get(), change)
        }

        fn take(&mut self) -> Result<u64, Duration> {
            self.change(|window| window.take())
        }

        fn wait(&mut self, micros: u64) {
            self.now.set(self.now.get() + micros);
        }

        /// Returns how many requests go through at this moment.
        fn room(&mut self) -> usize {
            std::iter::from_fn(|| self.take().ok()).count()
        }
    }

    #[test]
    fn never_more_than_the_rate_in_any_window() {
        let mut bench = Bench::new(rate(3, 10));
        let mut sent = Vec::new();
        for _ in 0..10 {
            while let Err(wait) = bench.take() {
                bench.wait(micros(wait));
            }
            sent.push(bench.now.get());
            bench.wait(700_000);
        }
        assert!(sent.windows(4).all(|window| window[3] - window[0] >= 10 * SECOND), "{sent:?}");
    }

    proptest! {
        /// Several processes, each with the file open for itself, ask in any order and at any pace.
        #[test]
        fn processes_that_share_a_folder_share_the_rate(
            requests in 1_u32..6,
            asks in prop::collection::vec((0_usize..8, 0_u64..900_000), 1..120),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let rate = rate(requests, 2);
            let mut processes: Vec<Place> =
                (0..8).map(|_| Place::File(locks::open(folder.path(), "rate").unwrap())).collect();
            let (mut now, mut sent) = (START, Vec::new());
            for (process, pause) in asks {
                now += pause;
                match processes[process].change(rate, || now, |window| window.take()) {
                    Ok(at) => sent.push(at),
                    // What it is told to wait is what it takes: not more, not less.
                    Err(wait) => {
                        prop_assert!(wait <= Duration::from_secs(2) && !wait.is_zero());
                        let then = now + micros(wait);
                        prop_assert!(processes[process].change(rate, || then - 1, |window| window.take()).is_err());
                        prop_assert!(processes[process].change(rate, || then, |window| window.take()).is_ok());
                        (now, _) = (then, sent.push(then));
                    }
                }
            }
            let most = requests as usize;
            prop_assert!(sent.windows(most + 1).all(|window| window[most] - window[0] >= 2 * SECOND), "{sent:?}");
            prop_assert!(processes.iter().all(|place| matches!(place, Place::File(_))));
        }
    }

    #[test]
    fn eight_that_ask_at_the_same_moment_get_no_more_than_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        let ask = || {
            // The kernel tells open files apart, whichever process they are in.
            let mut place = Place::File(locks::open(folder.path(), "rate").unwrap());
            (0..400).filter(|_| place.change(rate(1000, 10), || START, |window| window.take()).is_ok()).count()
        };
        let taken: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    #[ignore = "measures: cargo test --release --lib what_a_request_costs -- --ignored --nocapture"]
    fn what_a_request_costs() {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Place::File(locks::open(folder.path(), "rate").unwrap());
        let began = std::time::Instant::now();
        for now in 0..100_000 {
            place.change(rate(100, 10), || START + now * SECOND, |window| window.take()).unwrap();
        }
        #[expect(clippy::print_stderr, reason = "a measurement is to be read")]
        {
            eprintln!("{:?} a request", began.elapsed() / 100_000);
        }
    }

    #[test]
    fn a_held_budget_waits_as_told_and_never_less_for_a_shorter_word() {
        let mut bench = Bench::new(rate(3, 10));
        bench.change(|window| window.hold(Duration::from_secs(5)));
        bench.change(|window| window.hold(Duration::from_secs(1)));
        assert_eq!(bench.take(), Err(Duration::from_secs(5)));
        bench.wait(5 * SECOND);
        assert!(bench.take().is_ok());
        // Ten years are a day at most.
        bench.change(|window| window.hold(Duration::from_secs(315_360_000)));
        assert_eq!(bench.take(), Err(LONGEST_HOLD));
    }

    #[test]
    fn a_clock_that_jumps_holds_nothing_up() {
        let mut bench = Bench::new(rate(2, 10));
        // An hour, a year and fifty years ahead of the truth, then set right.
        for ahead in [3_600, 31_536_000, 1_576_800_000] {
            bench.now.set(START + ahead * SECOND);
            assert_eq!(bench.room(), 2);
            bench.change(|window| window.hold(Duration::from_secs(600)));
            bench.change(|window| window.refused(window.now));
            bench.now.set(START);
            assert!(bench.take().is_ok(), "set back by {ahead} s");
            bench.now.set(START + 100 * SECOND);
            assert!(bench.take().is_ok());
        }
        // By less than a window: those before still count, and for no more than another window.
        let mut bench = Bench::new(rate(2, 10));
        assert_eq!(bench.room(), 2);
        bench.now.set(START - 4 * SECOND);
        assert_eq!(bench.take(), Err(Duration::from_secs(10)));
        bench.wait(10 * SECOND);
        assert_eq!(bench.take(), Err(Duration::from_secs(4)));
    }

    #[test]
    fn a_burst_of_refusals_halves_once_and_quiet_windows_grow_it_back() {
        let mut bench = Bench::new(rate(100, 10));
        let first = bench.take().unwrap();
        bench.wait(SECOND);
        bench.change(|window| window.refused(first));
        // Ten more that were under way at the same time.
        (0..10).for_each(|_| bench.change(|window| window.refused(first)));
        bench.wait(9 * SECOND);
        assert_eq!(bench.room(), 50);
        bench.wait(11 * SECOND);
        assert_eq!(bench.room(), 70, "ten more after each window without trouble, the first window included");
        // One sent after that is a new refusal.
        let later = bench.now.get();
        bench.wait(1);
        bench.change(|window| window.refused(later));
        bench.wait(9 * SECOND);
        assert_eq!(bench.room(), 0);
        bench.wait(SECOND);
        assert_eq!(bench.room(), 45);
        bench.wait(1_000 * SECOND);
        assert_eq!(bench.room(), 100, "and never above the rate that is declared");
    }

    #[test]
    fn one_request_a_window_always_remains() {
        let mut bench = Bench::new(rate(4, 1));
        for _ in 0..50 {
            bench.wait(1);
            let now = bench.now.get();
            bench.change(|window| window.refused(now));
        }
        assert_eq!(bench.room(), 1);
        bench.wait(SECOND);
        assert_eq!(bench.room(), 1);
    }

    #[test]
    fn what_the_provider_has_left_lowers_the_budget_and_never_raises_it() {
        let mut bench = Bench::new(rate(10, 10));
        bench.take().unwrap();
        bench.change(|window| window.left(500));
        bench.change(|window| window.left(9));
        bench.change(|window| window.left(3));
        assert_eq!(bench.room(), 3);
        bench.change(|window| window.left(10));
        assert_eq!(bench.room(), 0);
        bench.wait(10 * SECOND);
        assert_eq!(bench.room(), 10, "and it is whole again a window later");
        bench.wait(10 * SECOND);
        bench.change(|window| window.left(0));
        assert_eq!(bench.room(), 0);
    }

    #[test]
    fn a_file_that_is_no_budget_is_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Place::File(locks::open(folder.path(), "rate").unwrap());
        let write = |bytes: &[u8]| std::fs::write(folder.path().join("rate"), bytes).unwrap();
        open().change(rate(5, 10), || START, |window| window.take()).unwrap();
        let good = std::fs::read(folder.path().join("rate")).unwrap();
        assert_eq!(good.len(), HEAD + 5 * 8);
        let mut foreign = good.clone();
        foreign[0] ^= 1;
        let mut vast = good.clone();
        vast[8..16].fill(0xFF);
        for bytes in [&b""[..], b"hello", &[0xFF; 200], &good[..good.len() - 1], &foreign, &vast] {
            write(bytes);
            let mut place = open();
            assert_eq!(
                (0..9).filter(|_| place.change(rate(5, 10), || START, |window| window.take()).is_ok()).count(),
                5
            );
            assert!(matches!(place, Place::File(_)));
        }
        // What cannot be told from a budget can say anything, and holds nothing up for long all the same.
        let mut absurd = good.clone();
        absurd[16..64].fill(0xFF);
        write(&absurd);
        let waits = open().change(rate(5, 10), || START, |window| window.take()).err();
        assert!(waits.is_none_or(|wait| wait <= Duration::from_secs(10)), "{waits:?}");
    }

    #[test]
    fn a_greater_rate_keeps_what_was_sent_under_the_lower_one() {
        let mut bench = Bench::new(rate(3, 10));
        assert_eq!(bench.room(), 3);
        bench.rate = rate(8, 10);
        assert_eq!(bench.room(), 5);
        bench.rate = rate(2, 10);
        bench.wait(10 * SECOND);
        assert_eq!(bench.room(), 2);
    }

    #[test]
    fn a_budget_that_cannot_be_written_is_kept_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rate");
        std::fs::write(&path, "").unwrap();
        let mut place = Place::File(File::open(&path).unwrap());
        let taken = (0..5).filter(|_| place.change(rate(3, 10), || START, |window| window.take()).is_ok()).count();
        assert_eq!((taken, matches!(place, Place::Memory(_))), (3, true));
    }
}
