//! The server's own state: who is there, what has happened to them, and what a client may not know yet without fault.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ledger::{Ledger, Reading};
use super::plan::{Clocks, Event, Happening, Newcomer, Plan, Shape};
use crate::config::played::Played;

/// A person, or a firm.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) stream: usize,
    pub(super) value: usize,
    /// Counts changes.
    pub(super) content: u32,
    /// When it says it changed, in seconds.
    pub(super) stamp: i64,
    pub(super) there: bool,
    pub(super) hidden: bool,
    wide: bool,
    /// The status that asking for details is answered with.
    pub(super) refused: Option<u16>,
    /// After how many happenings it came, changed, or came into sight or out of it.
    pub(super) touched: u64,
    /// Why a client may not know how it stands, though it did nothing wrong, until it is shown again.
    pub(super) excuse: Option<&'static str>,
}

/// The provider.
pub(super) struct Provider {
    pub(super) shapes: Vec<Shape>,
    pub(super) values: usize,
    pub(super) dated: bool,
    scoped: bool,
    /// By key.
    pub(super) people: BTreeMap<u32, Person>,
    /// The true time, in seconds since 1970.
    pub(super) now: i64,
    /// How many things have happened.
    pub(super) happened: u64,
    pub(super) clocks: Clocks,
    pub(super) wide: bool,
    /// The credential that is to be set before the next sync.
    pub(super) credential: Option<bool>,
    /// How often all places were refused; those told before are refused with this status.
    pub(super) epoch: u32,
    pub(super) gone_status: u16,
    pub(super) shuffle: Option<u64>,
    /// What is still to happen in this sync.
    pub(super) due: VecDeque<(usize, Happening)>,
    /// How many requests this sync has made, and which places its lists were first asked for at: value, and whether that is
    /// the first page.
    pub(super) asked: usize,
    pub(super) first: BTreeMap<usize, (usize, bool)>,
    pub(super) ledgers: Vec<Ledger>,
    /// The page that details are asked for: stream, mode and value.
    pub(super) page: Option<(usize, usize, usize)>,
    /// Who was told in this sync to be gone.
    pub(super) told_gone: BTreeSet<u32>,
    /// Details that were asked for apart from any page, and answered.
    pub(super) given: Vec<(u32, u32)>,
    pub(super) played: Arc<Played>,
    pub(super) stop: &'static AtomicBool,
    /// How often each fault was put in.
    pub(super) spoiled: BTreeMap<String, u64>,
    /// What happened, for people.
    pub(super) journal: Vec<String>,
}

impl Provider {
    pub(super) fn new(plan: &Plan, now: i64, (played, stop): (Arc<Played>, &'static AtomicBool)) -> Self {
        let mut provider = Provider {
            shapes: plan.shapes.clone(),
            values: plan.values.max(1),
            dated: plan.dated,
            scoped: plan.scoped,
            people: BTreeMap::new(),
            now,
            happened: 0,
            clocks: Clocks::default(),
            wide: true,
            credential: Some(true),
            epoch: 0,
            gone_status: 410,
            shuffle: None,
            due: VecDeque::new(),
            asked: 0,
            first: BTreeMap::new(),
            ledgers: plan.shapes.iter().map(|_| Ledger::default()).collect(),
            page: None,
            told_gone: BTreeSet::new(),
            given: Vec::new(),
            played,
            stop,
            spoiled: BTreeMap::new(),
            journal: Vec::new(),
        };
        for newcomer in &plan.people {
            provider.happen(&Event::Come(newcomer.clone(), 0));
        }
        provider
    }

    /// Lets time pass, here and where the client runs.
    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        self.played.set(self.now + self.clocks.ours * 60);
    }

    /// Returns what the header `Date` says.
    pub(super) fn date(&self) -> i64 {
        self.now + self.clocks.date * 60
    }

    /// Returns whether somebody is shown to whoever asks now.
    pub(super) fn is_seen(&self, person: &Person) -> bool {
        person.there && !person.hidden && (self.wide || !person.wide)
    }

    /// Returns whether one page may hold several people and let in for none of them: then the credential is what is doubted.
    pub(super) fn may_shut_out(&self) -> bool {
        let mut lists = BTreeSet::new();
        let shut = self.people.values().filter(|person| person.refused == Some(403) && self.is_seen(person));
        shut.into_iter().any(|person| !lists.insert((person.stream, person.value)))
    }

    pub(super) fn seen_of(&self, stream: usize) -> BTreeSet<u32> {
        let seen = self.people.iter().filter(|(_, person)| person.stream == stream && self.is_seen(person));
        seen.map(|(key, _)| *key).collect()
    }

    /// Lets something happen.
    pub(super) fn happen(&mut self, event: &Event) {
        self.happened += 1;
        match event {
            Event::Come(newcomer, late) => self.come(newcomer, *late),
            Event::Go { who } => self.touch(*who, |person| person.there = false),
            Event::Return { who } => {
                if self.of(*who).is_some_and(|person| !person.there) {
                    self.touch(*who, |person| person.there = true);
                    self.change(*who, 0);
                }
            }
            Event::Change { who, late } => self.change(*who, *late),
            Event::Move { who, value } => {
                let value = value % self.values;
                if self.of(*who).is_some_and(|person| person.value != value) {
                    self.touch(*who, |person| person.value = value);
                    self.change(*who, 0);
                }
            }
            Event::Merge { who, into } => {
                if self.key(*who) != self.key(*into) {
                    self.touch(*who, |person| person.there = false);
                    self.change(*into, 0);
                }
            }
            Event::Hide { who } => self.touch(*who, |person| person.hidden = true),
            Event::Show { who } => {
                if self.of(*who).is_some_and(|person| person.hidden) {
                    let excuse = (!self.scoped).then_some("came into sight without a change");
                    self.touch(*who, |person| {
                        person.hidden = false;
                        person.excuse = excuse.or(person.excuse);
                    });
                }
            }
            Event::Refuse { who, status } => {
                if let Some(person) = self.key(*who).and_then(|key| self.people.get_mut(&key)) {
                    person.refused = Some(*status);
                }
            }
            Event::Credential { wide } => self.credential = Some(*wide),
        }
        self.journal.push(format!("  {event:?}{}", self.named(event)));
    }

    /// Returns whom an event is about, for people.
    fn named(&self, event: &Event) -> String {
        let key = |who: usize| self.key(who).map_or("nobody".to_owned(), |key| key.to_string());
        match event {
            Event::Come(..) => format!(" = {}", self.people.keys().next_back().copied().unwrap_or(0)),
            Event::Merge { who, into } => format!(" = {} into {}", key(*who), key(*into)),
            Event::Go { who }
            | Event::Return { who }
            | Event::Change { who, .. }
            | Event::Move { who, .. }
            | Event::Hide { who }
            | Event::Show { who }
            | Event::Refuse { who, .. } => format!(" = {}", key(*who)),
            Event::Credential { .. } => String::new(),
        }
    }

    /// Sets the credential: who is in sight with it.
    pub(super) fn log_in(&mut self, wide: bool) {
        self.happened += 1;
        if wide != self.wide {
            let happened = self.happened;
            self.people.values_mut().filter(|person| person.wide).for_each(|person| person.touched = happened);
        }
        self.wide = wide;
    }

    fn come(&mut self, newcomer: &Newcomer, late: i64) {
        let key = self.people.keys().next_back().map_or(1, |last| last + 1);
        let person = Person {
            stream: newcomer.stream % self.shapes.len(),
            value: newcomer.value % self.values,
            content: 0,
            stamp: 0,
            there: true,
            hidden: false,
            wide: newcomer.wide,
            refused: None,
            touched: self.happened,
            excuse: None,
        };
        self.people.insert(key, person);
        self.change(self.people.len() - 1, late);
    }

    fn key(&self, who: usize) -> Option<u32> {
        self.people.keys().nth(who % self.people.len().max(1)).copied()
    }

    fn of(&self, who: usize) -> Option<&Person> {
        self.people.get(&self.key(who)?)
    }

    fn touch(&mut self, who: usize, how: impl FnOnce(&mut Person)) {
        let happened = self.happened;
        if let Some(person) = self.key(who).and_then(|key| self.people.get_mut(&key)) {
            how(person);
            person.touched = happened;
        }
    }

    /// Changes somebody, who says that it was some minutes ago. Later than windows overlap, nobody finds it by its time.
    fn change(&mut self, who: usize, late: i64) {
        let (now, stamp) = (self.now, self.now + (self.clocks.stamps - late) * 60);
        let Some(shape) = self.of(who).map(|person| &self.shapes[person.stream]) else { return };
        let reach = shape.changes.map_or(i64::MAX, |changes| changes.overlap * 60 + changes.settle);
        self.touch(who, |person| {
            person.content += 1;
            person.stamp = stamp;
            person.excuse = (now - stamp > reach).then_some("its time of change is long ago");
        });
    }

    /// Draws the conclusions of a read that has come to its end: who was shown is known as shown. Whom it passed over though
    /// nothing about it could be noticed, a client cannot know.
    pub(super) fn conclude(&mut self, stream: usize, read: &Reading) {
        let shown = read.shown();
        let clean = read.is_clean();
        for (key, person) in self.people.iter_mut().filter(|(_, person)| person.stream == stream) {
            if shown.get(key) == Some(&Some(person.content)) {
                person.excuse = None;
                continue;
            }
            let in_window = read.window.is_none_or(|(from, to)| (from..=to).contains(&person.stamp));
            let was_due = read.there.contains(key) && person.touched <= read.began && in_window;
            if clean && was_due && !shown.contains_key(key) {
                person.excuse = Some("a read without fault passed it over");
            }
        }
    }

    /// Ends a sync; one that was killed may not have stored what came last.
    pub(super) fn end_sync(&mut self, killed: bool) {
        self.due.clear();
        self.stop.store(false, Ordering::Relaxed);
        (self.shuffle, self.page) = (None, None);
        self.told_gone.clear();
        self.clocks = Clocks::default();
        self.pass(1);
        let given = std::mem::take(&mut self.given);
        if killed {
            return;
        }
        for (key, content) in given {
            if let Some(person) = self.people.get_mut(&key).filter(|person| person.content == content) {
                person.excuse = None;
            }
        }
        for stream in 0..self.shapes.len() {
            for mode in [0, 1] {
                if let Some(read) = self.ledgers[stream].close(mode, true) {
                    self.conclude(stream, &read);
                }
            }
        }
    }
}
