//! What is odd about the records of a read, though nothing failed: counted while they are written, told at its end.

use crate::domain::completeness::Doubt;
use crate::error::{Exit, UserError};

/// How many records or values of a read were odd in each way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remarks {
    /// Values that were dropped because they were bad, where the mapping asks to be told.
    pub(super) bad_values: u64,
    /// Dates that are so far away that they stand for none, more likely.
    pub(super) odd_dates: u64,
    /// Values that stood twice in their record.
    pub(super) twice: u64,
    /// Records that do not say when they changed, though they should.
    pub(super) undated: u64,
    /// Records that say of no row that it is still there.
    pub(super) keyless: u64,
    /// Records that the same pass over the list had brought before, with the same values.
    pub(super) repeated: u64,
    /// Those that it had brought with other values.
    pub(super) repeated_otherwise: u64,
    /// Records of a page whose key another one of it has.
    pub(super) shared_key: u64,
}

impl std::ops::AddAssign for Remarks {
    fn add_assign(&mut self, other: Remarks) {
        self.bad_values += other.bad_values;
        self.odd_dates += other.odd_dates;
        self.twice += other.twice;
        self.undated += other.undated;
        self.keyless += other.keyless;
        self.repeated += other.repeated;
        self.repeated_otherwise += other.repeated_otherwise;
        self.shared_key += other.shared_key;
    }
}

impl Remarks {
    /// Returns what speaks against the read having shown everything.
    pub(super) fn doubts(&self) -> impl Iterator<Item = (Doubt, u64)> {
        let repeated_otherwise = self.repeated_otherwise.saturating_sub(self.shared_key);
        [
            (Doubt::Keyless, self.keyless),
            (Doubt::Repeated, self.repeated),
            (Doubt::RepeatedOtherwise, repeated_otherwise),
            (Doubt::SharedKey, self.shared_key),
        ]
        .into_iter()
    }

    /// Returns a line for each kind that is no doubt, of `read` records that should say at `cursor` when they changed.
    pub(super) fn lines(&self, cursor: &str, read: u64) -> impl Iterator<Item = String> {
        let Remarks { bad_values, odd_dates, twice, undated, .. } = *self;
        let lines = [
            (bad_values, format!("{bad_values} bad values were left empty")),
            (odd_dates, format!("dates up to 1900 or in more than 100 years, which may stand for none: {odd_dates}")),
            (twice, format!("values that stand twice in their record, of which the last was taken: {twice}")),
            (undated, format!("records without `{cursor}`, which changes may never find: {undated} of {read}")),
        ];
        lines.into_iter().filter(|(count, _)| *count > 0).map(|(_, line)| line)
    }

    /// Returns the error of changes most of which do not say when they were made: then nothing proves that they are all.
    pub(super) fn undated_changes(&self, cursor: &str, read: u64) -> Option<UserError> {
        let message = format!("{} of {read} changed records have no `{cursor}`, by which they are found", self.undated);
        let error = UserError::new(Exit::Unavailable, "cursor_missing", message)
            .hint("the records are kept; correct `cursor.field` in the manifest, or ask the provider");
        (self.undated * 2 > read).then_some(error)
    }
}
