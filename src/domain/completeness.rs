//! Whether a read was complete: the one place for every doubt about it. Only a read without any proves that what it did not
//! show is gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What speaks against a read having shown everything there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Doubt {
    /// Records came twice in one pass over the list: others may have been passed over.
    Repeated,
    /// Records came twice in one pass, with other values the second time.
    RepeatedOtherwise,
    /// Records of one page have the same key: the key does not tell records apart.
    SharedKey,
    /// Records have no key that can be read, so they speak for no row.
    Keyless,
    /// Characters could not be read.
    Unreadable,
    /// Records that were listed have no details.
    DetailGone,
    /// A full page does not say whether there is another.
    UnprovedEnd,
    /// A page that was promised is empty.
    BrokenPromise,
    /// Fewer records came than the provider said there are.
    Fewer,
    /// More came.
    More,
    /// The number of records went down meanwhile, which moves others to pages that were read before.
    Shrunk,
    /// The answers contradicted themselves, and the read was given up.
    Distrusted,
    /// It was made with another credential than the one before.
    Credential,
    /// The credential sees something else than before.
    Scope,
}

impl Doubt {
    /// Returns whether something shows that rows are missing or wrong. A list may well end with a full page, and of another
    /// view everything that it shows was read.
    fn shows_loss(self) -> bool {
        !matches!(self, Doubt::UnprovedEnd | Doubt::Credential | Doubt::Scope)
    }

    /// Returns whether the read cannot move the time up to which everything was read.
    fn holds_back(self) -> bool {
        !matches!(self, Doubt::Credential | Doubt::Scope)
    }

    fn line(self, count: u64) -> String {
        match self {
            Doubt::Repeated => format!("records that came twice, as pages shifted while they were read: {count}"),
            Doubt::RepeatedOtherwise => format!(
                "records that came twice with other values, so that they changed meanwhile or `key` is not unique: {count}"
            ),
            Doubt::SharedKey => {
                format!("records of one page with the same key, so that `key` does not tell them apart: {count}")
            }
            Doubt::Keyless => format!("records without a key that can be read: {count}"),
            Doubt::Unreadable => format!("characters that cannot be read, replaced by U+FFFD: {count}"),
            Doubt::DetailGone => format!("records that are listed and have no details: {count}"),
            Doubt::UnprovedEnd => {
                format!("lists that ended with a full page which does not say whether there is another: {count}")
            }
            Doubt::BrokenPromise => format!("lists that ended with an empty page where more was promised: {count}"),
            Doubt::Fewer => format!("some may be missing: {count} fewer came than the provider said there are"),
            Doubt::More => format!("{count} more came than the provider said there are"),
            Doubt::Shrunk => format!("some may be missing: there were {count} fewer in the end than at first"),
            Doubt::Distrusted => "the answers contradicted themselves, so that the read was given up".to_owned(),
            Doubt::Credential => "the credential has changed since the last full read".to_owned(),
            Doubt::Scope => "what the credential sees has changed since the last full read".to_owned(),
        }
    }
}

/// What the pages of one pass over a list have told of how much there is, and how much came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Total {
    first: u64,
    last: u64,
    came: u64,
}

impl Total {
    fn is_met(self) -> bool {
        self.last >= self.first && self.came == self.last
    }
}

/// So many more records than the provider said there are make a list that never ends.
const ENDLESS: u64 = 10_000;

/// What a read has shown of its own completeness. It is stored with the progress of the read, so that a read that goes on
/// after a kill knows what was doubted before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completeness {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    doubts: BTreeMap<Doubt, u64>,
    /// Of the list that is being read, where its pages tell a total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<Total>,
}

impl Completeness {
    /// Adds a doubt as often as it was met.
    pub(crate) fn note(&mut self, doubt: Doubt, count: u64) {
        if count > 0 {
            *self.doubts.entry(doubt).or_default() += count;
        }
    }

    /// Takes in a page of the list: whether it is the first one, the total it tells, and how many records it brought.
    pub(crate) fn page(&mut self, is_first: bool, total: Option<u64>, came: u64) {
        if is_first {
            self.total = total.map(|total| Total { first: total, last: total, came: 0 });
        }
        if let Some(known) = &mut self.total {
            known.last = total.unwrap_or(known.last);
            known.came += came;
        }
    }

    /// Returns what the total says against the list, whose last page is there.
    pub(crate) fn mismatch(&self) -> Option<String> {
        let Total { first, last, came } = self.total.filter(|total| !total.is_met())?;
        Some(format!(
            "{came} records came, while the provider said at first that there are {first} and in the end {last}"
        ))
    }

    /// Returns whether so much more came than there is said to be that the list does not end by itself.
    pub(crate) fn is_endless(&self) -> bool {
        self.total.is_some_and(|total| total.came / 2 > total.first.max(total.last) + ENDLESS)
    }

    /// Ends a list. `end` is what speaks against its last page being that; a total that is met refutes it.
    pub(crate) fn end_list(&mut self, end: Option<Doubt>) {
        let total = self.total.take();
        if let Some(Total { first, last, came }) = total {
            self.note(Doubt::Fewer, last.saturating_sub(came));
            self.note(Doubt::More, came.saturating_sub(last));
            self.note(Doubt::Shrunk, first.saturating_sub(last));
        }
        if !total.is_some_and(Total::is_met) {
            end.into_iter().for_each(|doubt| self.note(doubt, 1));
        }
    }

    /// Forgets the list being read: another one follows.
    pub(crate) fn forget_list(&mut self) {
        self.total = None;
    }

    /// Returns whether nothing speaks against the read.
    pub(crate) fn is_proved(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Returns whether something shows that rows are missing or wrong.
    pub(crate) fn shows_loss(&self) -> bool {
        self.doubts.keys().any(|doubt| doubt.shows_loss())
    }

    /// Returns whether nothing was read that can be gone on from.
    pub(crate) fn holds_back(&self) -> bool {
        self.doubts.keys().any(|doubt| doubt.holds_back())
    }

    /// Returns a line for each doubt.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.doubts.iter().map(|(doubt, count)| doubt.line(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(totals: &[Option<u64>], came: &[u64], is_proved: bool) -> Completeness {
        let mut read = Completeness::default();
        for (index, (total, came)) in totals.iter().zip(came).enumerate() {
            read.page(index == 0, *total, *came);
        }
        read.end_list((!is_proved).then_some(Doubt::UnprovedEnd));
        read
    }

    #[test]
    fn any_doubt_is_no_proof() {
        let mut read = Completeness::default();
        assert!(read.is_proved() && !read.shows_loss());
        read.note(Doubt::Keyless, 0);
        assert!(read.is_proved(), "what was met no time is no doubt");
        read.note(Doubt::Scope, 1);
        assert!(!read.is_proved() && !read.shows_loss() && !read.holds_back());
        read.note(Doubt::Keyless, 2);
        read.note(Doubt::Keyless, 1);
        assert!(read.shows_loss() && read.holds_back());
        assert_eq!(read.lines().next().as_deref(), Some("records without a key that can be read: 3"));
    }

    #[test]
    fn a_total_is_met_exactly_or_doubted() {
        assert!(read(&[Some(3), Some(3)], &[2, 1], true).is_proved());
        assert!(read(&[Some(3), None], &[2, 1], true).is_proved(), "only some pages tell");
        assert!(read(&[Some(3), Some(4)], &[2, 2], true).is_proved(), "one was added meanwhile");
        for (totals, came) in [([3, 3], [2, 0]), ([3, 3], [2, 2]), ([3, 2], [2, 0]), ([0, 0], [1, 0])] {
            assert!(!read(&totals.map(Some), &came, true).is_proved(), "{totals:?} {came:?}");
        }
    }

    #[test]
    fn an_end_without_a_sign_is_proved_by_a_total_alone() {
        assert!(!read(&[None], &[100], false).is_proved());
        assert!(read(&[Some(100)], &[100], false).is_proved());
        assert!(!read(&[Some(101)], &[100], false).is_proved());
    }

    #[test]
    fn doubts_outlast_a_kill() {
        let mut doubted = read(&[Some(3)], &[2], false);
        doubted.page(true, Some(9), 4);
        let stored = serde_json::to_string(&doubted).unwrap();
        assert_eq!(serde_json::from_str::<Completeness>(&stored).unwrap(), doubted);
    }

    #[test]
    fn a_list_with_far_more_than_its_total_does_not_end() {
        let mut read = Completeness::default();
        read.page(true, Some(460), 400);
        assert!(!read.is_endless());
        read.page(false, Some(460), 30_000);
        assert!(read.is_endless());
    }
}
