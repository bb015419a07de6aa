//! What one account holds at one service: how many of each kind, when each was last touched, which are gone.

use std::collections::HashSet;

use super::clock::{self, MILLI, SECOND, Ticks, YEAR};
use super::people::{Company, Person, stir};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Learner,
    Employer,
    Contact,
}

/// The mutable half of the records of one kind; the rest follows from the seed.
pub(crate) struct Roster {
    created: Vec<Ticks>,
    modified: Vec<Ticks>,
    revision: Vec<u32>,
    /// When a record was removed; 0 while it is there.
    removed: Vec<Ticks>,
    /// The record that another was merged into: that one is in no list any more.
    merged_into: Vec<Option<usize>>,
    next_pick: usize,
}

impl Roster {
    fn new(seed: u64, size: usize, until: Ticks) -> Roster {
        let modified: Vec<_> = (0..size).map(|index| until - age(seed, index)).collect();
        let created =
            (0..size).map(|index| until - 2 * YEAR - (stir(seed, 51, index) % YEAR as u64) as Ticks).collect();
        Roster {
            created,
            modified,
            revision: vec![0; size],
            removed: vec![0; size],
            merged_into: vec![None; size],
            next_pick: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.modified.len()
    }

    pub(crate) fn live(&self, index: usize) -> bool {
        self.removed.get(index) == Some(&0)
    }

    pub(crate) fn created(&self, index: usize) -> Ticks {
        self.created[index]
    }

    pub(crate) fn modified(&self, index: usize) -> Ticks {
        self.modified[index]
    }

    pub(crate) fn revision(&self, index: usize) -> u32 {
        self.revision[index]
    }

    /// Returns when a record was removed, if it was.
    pub(crate) fn removed(&self, index: usize) -> Option<Ticks> {
        self.removed.get(index).copied().filter(|&at| at != 0)
    }

    /// Changes `count` records that are there; successive calls go round to others.
    pub(crate) fn change(&mut self, count: usize) -> Vec<usize> {
        let picked = self.pick(count);
        for &index in &picked {
            self.revision[index] += 1;
            self.modified[index] = clock::now();
        }
        picked
    }

    /// Gives `count` records that are there one and the same stamp, as a bulk import does.
    pub(crate) fn change_at_once(&mut self, count: usize) -> Vec<usize> {
        let picked = self.change(count);
        let now = clock::now();
        picked.iter().for_each(|&index| self.modified[index] = now);
        picked
    }

    pub(crate) fn add(&mut self, count: usize) -> Vec<usize> {
        let first = self.len();
        for _ in 0..count {
            self.created.push(clock::now());
            self.modified.push(clock::now());
            self.revision.push(0);
            self.removed.push(0);
            self.merged_into.push(None);
        }
        (first..first + count).collect()
    }

    pub(crate) fn remove(&mut self, count: usize) -> Vec<usize> {
        let picked = self.pick(count);
        for &index in &picked {
            self.removed[index] = clock::now();
        }
        picked
    }

    /// Merges `count` records into as many others. Returns both, the one that stays first.
    pub(crate) fn merge(&mut self, count: usize) -> Vec<usize> {
        let picked = self.pick(2 * count);
        for pair in picked.chunks_exact(2) {
            self.modified[pair[0]] = clock::now();
            self.removed[pair[1]] = clock::now();
            self.merged_into[pair[1]] = Some(pair[0]);
        }
        picked
    }

    /// Returns the record that one was merged into.
    pub(crate) fn merged_into(&self, index: usize) -> Option<usize> {
        self.merged_into.get(index).copied().flatten()
    }

    /// Returns the records that were merged into one.
    pub(crate) fn merged(&self, into: usize) -> impl Iterator<Item = usize> {
        self.merged_into.iter().enumerate().filter(move |(_, other)| **other == Some(into)).map(|(index, _)| index)
    }

    fn pick(&mut self, count: usize) -> Vec<usize> {
        let size = self.len();
        let (mut picked, mut known) = (Vec::new(), HashSet::new());
        for _ in 0..size {
            if picked.len() == count {
                break;
            }
            // A prime step visits every record once in `size` turns, unless the size is its multiple.
            let index = self.next_pick * 7919 % size;
            self.next_pick += 1;
            if self.live(index) && known.insert(index) {
                picked.push(index);
            }
        }
        picked
    }
}

/// Returns how long before the newest date a record was touched: within two years, in places many at once.
fn age(seed: u64, index: usize) -> Ticks {
    let block = index / 25;
    if block % 8 == 3 {
        // A bulk import stamped this whole block with one and the same second.
        let second = (stir(seed, 52, block) % (2 * YEAR) as u64) as Ticks;
        return second - second % SECOND;
    }
    let age = (stir(seed, 53, index) % (2 * YEAR) as u64) as Ticks;
    match index % 5 {
        0 => age - age % (10 * MILLI),
        _ => age,
    }
}

/// One account at one service.
pub(crate) struct Account {
    pub(crate) name: String,
    seed: u64,
    employers_at_start: usize,
    /// The newest date that records carry before anything is changed.
    pub(crate) until: Ticks,
    pub(crate) learners: Roster,
    pub(crate) employers: Roster,
    pub(crate) contacts: Roster,
    /// Entity sets, object types or paths that this account's credential may not read.
    pub(crate) withheld: HashSet<String>,
}

impl Account {
    pub(crate) fn new(name: &str, seed: u64, learners: usize, employers: usize, until: Ticks) -> Account {
        Account {
            name: name.to_owned(),
            seed,
            employers_at_start: employers,
            until,
            learners: Roster::new(stir(seed, 41, 0), learners, until),
            employers: Roster::new(stir(seed, 42, 0), employers, until),
            contacts: Roster::new(stir(seed, 43, 0), employers, until),
            withheld: HashSet::new(),
        }
    }

    pub(crate) fn roster(&mut self, kind: Kind) -> &mut Roster {
        match kind {
            Kind::Learner => &mut self.learners,
            Kind::Employer => &mut self.employers,
            Kind::Contact => &mut self.contacts,
        }
    }

    pub(crate) fn learner(&self, index: usize) -> Person {
        Person { seed: self.seed, index, revision: self.learners.revision(index) }
    }

    /// Returns the employer a learner works for; it stays the same when more employers come.
    pub(crate) fn employer_of(&self, learner: usize) -> Option<usize> {
        self.learner(learner).employer(self.employers_at_start)
    }

    pub(crate) fn employer(&self, index: usize) -> Company {
        self.company(index, self.employers.revision(index))
    }

    /// Returns the company of an index as of any revision, whether or not the service holds it.
    pub(crate) fn company(&self, index: usize, revision: u32) -> Company {
        Company { seed: self.seed, index, revision }
    }

    /// Returns the person to talk to at the employer of the same index.
    pub(crate) fn contact(&self, index: usize) -> Person {
        Person { seed: stir(self.seed, 44, 0), index, revision: self.contacts.revision(index) }
    }

    /// Returns a member of the provider's own staff.
    pub(crate) fn staff(&self, index: usize) -> Person {
        Person { seed: stir(self.seed, 45, 0), index, revision: 0 }
    }

    /// Returns a number of this account's own below `below`, for ids that start somewhere else in each account.
    pub(crate) fn offset(&self, purpose: u64, below: u64) -> u64 {
        stir(self.seed, purpose, 0) % below
    }

    /// Returns a well-stirred number for one record of this account.
    pub(crate) fn stirred(&self, purpose: u64, index: usize) -> u64 {
        stir(self.seed, purpose, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_round_and_never_touch_what_is_gone() {
        let until = clock::midnight(clock::now());
        let mut account = Account::new("acme", 5, 30, 3, until);
        let gone = account.learners.remove(5);
        let changed = account.learners.change(25);
        assert_eq!(changed.len(), 25);
        assert!(changed.iter().all(|index| !gone.contains(index) && account.learners.modified(*index) > until));
        assert_eq!(account.learners.change(100).len(), 25);
        assert_eq!(account.learners.add(2), [30, 31]);
    }

    #[test]
    fn dates_lie_in_the_two_years_before_and_some_are_equal() {
        let until = clock::midnight(clock::now());
        let account = Account::new("acme", 5, 500, 0, until);
        let dates: Vec<_> = (0..500).map(|index| account.learners.modified(index)).collect();
        assert!(dates.iter().all(|&at| at <= until && at > until - 2 * YEAR - SECOND));
        assert!(dates[75..100].iter().all(|&at| at == dates[75]));
    }
}
