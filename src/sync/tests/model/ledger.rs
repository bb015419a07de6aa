//! What the server has shown: the pages of each read in their order, what could be noticed about them, and whom a complete
//! read passed over all the same.

use std::collections::{BTreeMap, BTreeSet};

/// A page that was answered with 200.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// Keys, with the content where it was shown in full.
    pub(super) rows: Vec<(u32, Option<u32>)>,
    /// The place of the next page.
    pub(super) next: Option<String>,
    /// Whether it says that it is the last.
    pub(super) ended: bool,
    /// Whether anything about it shows that it is not to be trusted.
    pub(super) doubtful: bool,
    /// Whether it says nothing of more where more may well be. A total that is met says that there is none.
    pub(super) unproved: bool,
    /// Whether it contradicts itself, so that nothing may be built on it.
    pub(super) absurd: bool,
    pub(super) total: Option<i64>,
    /// How many rows it had, those without a key included.
    pub(super) count: i64,
    /// Who was listed and has no details.
    pub(super) gone: BTreeSet<u32>,
}

/// The pages of one value of the loop that follow each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) pages: Vec<Shown>,
    /// Whether any page contradicted itself, even one that was asked for again.
    absurd: bool,
}

impl Chain {
    /// Takes a page in that was asked for at a place, `None` for the first. Returns whether any page leads to it.
    fn add(&mut self, at: Option<&str>, page: Shown) -> bool {
        let before = match at {
            None => Some(0),
            Some(at) => {
                self.pages.iter().rposition(|shown| shown.next.as_deref() == Some(at)).map(|position| position + 1)
            }
        };
        let Some(before) = before else { return false };
        self.pages.truncate(before);
        self.absurd = page.absurd || (self.absurd && at.is_some());
        self.pages.push(page);
        true
    }

    fn has_ended(&self) -> bool {
        self.pages.last().is_some_and(|page| page.ended)
    }

    /// Returns whether whoever reads these pages with care finds nothing wrong with them.
    fn is_clean(&self) -> bool {
        let mut keys = BTreeSet::new();
        let twice = self.pages.iter().flat_map(|page| &page.rows).any(|(key, _)| !keys.insert(*key));
        let doubtful = self.pages.iter().any(|page| page.doubtful || !page.gone.is_empty());
        let totals: Vec<i64> = self.pages.iter().filter_map(|page| page.total).collect();
        let came: i64 = self.pages.iter().map(|page| page.count).sum();
        let counts = match (totals.first(), totals.last()) {
            (Some(first), Some(last)) => came == *last && last >= first,
            _ => !self.pages.last().is_some_and(|page| page.unproved),
        };
        !twice && !doubtful && counts && !self.absurd
    }
}

/// A read of everything, or of a window.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// After how many happenings it began.
    pub(super) began: u64,
    /// Who was to be seen then.
    pub(super) there: BTreeSet<u32>,
    /// The window of changes.
    pub(super) window: Option<(i64, i64)>,
    chains: Vec<Chain>,
}

impl Reading {
    pub(super) fn begin(values: usize, began: u64, there: BTreeSet<u32>, window: Option<(i64, i64)>) -> Self {
        Reading { began, there, window, chains: vec![Chain::default(); values] }
    }

    /// Takes a page in. One that no page before leads to belongs to another read.
    pub(super) fn add(&mut self, value: usize, at: Option<&str>, page: Shown) {
        let Some(chain) = self.chains.get_mut(value) else { return };
        if !chain.add(at, page) {
            *chain = Chain::default();
        }
    }

    pub(super) fn chain(&self, value: usize) -> Option<&Chain> {
        self.chains.get(value)
    }

    /// Returns the newest page of a value.
    pub(super) fn newest(&mut self, value: usize) -> Option<&mut Shown> {
        self.chains.get_mut(value)?.pages.last_mut()
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.chains.is_empty() && self.chains.iter().all(Chain::has_ended)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.chains.iter().all(Chain::is_clean)
    }

    /// Returns whom it showed, with the content where it was shown in full.
    pub(super) fn shown(&self) -> BTreeMap<u32, Option<u32>> {
        let rows = self.chains.iter().flat_map(|chain| &chain.pages).flat_map(|page| &page.rows);
        let mut shown = BTreeMap::new();
        for (key, content) in rows {
            let known = shown.entry(*key).or_insert(*content);
            *known = content.or(*known);
        }
        shown
    }
}

/// A read of everything that came to its end.
#[derive(Debug, Clone)]
struct Whole {
    clean: bool,
    /// Whether the run that made it went on to its end: else its last page may never have been stored.
    sure: bool,
    shown: BTreeSet<u32>,
}

/// What was shown of a stream.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Everything, and changes.
    pub(super) reads: [Option<Reading>; 2],
    wholes: Vec<Whole>,
}

impl Ledger {
    /// Returns a read that has come to its end, and forgets it. `sure` says that its run has too.
    pub(super) fn close(&mut self, mode: usize, sure: bool) -> Option<Reading> {
        let read = self.reads[mode].take_if(|read| read.has_ended())?;
        if mode == 0 {
            self.wholes.push(Whole { clean: read.is_clean(), sure, shown: read.shown().into_keys().collect() });
        }
        Some(read)
    }

    /// Returns whether so many of the newest reads of everything were clean.
    pub(super) fn are_proved(&self, count: u32) -> bool {
        self.wholes.len() >= count as usize && self.wholes.iter().rev().take(count as usize).all(|whole| whole.clean)
    }

    /// Returns how many clean reads of everything in a row have missed a key, up to now.
    pub(super) fn missed(&self, key: u32) -> u32 {
        let open = self.reads[0].as_ref().filter(|read| read.has_ended());
        let open = open.map(|read| (read.is_clean(), false, read.shown().contains_key(&key)));
        let wholes = self.wholes.iter().rev().map(|whole| (whole.clean, whole.sure, whole.shown.contains(&key)));
        let mut missed = 0;
        for (clean, sure, shown) in open.into_iter().chain(wholes) {
            if shown && sure {
                break;
            }
            missed += u32::from(clean && !shown);
        }
        missed
    }
}
