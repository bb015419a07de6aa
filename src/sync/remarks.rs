//! What is odd about the records of a read, though nothing failed: counted while they are written, told at its end.

use crate::error::{Exit, UserError};

/// How many records or values of a read were odd in each way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remarks {
    /// Values that were dropped because they were bad, where the mapping asks to be told.
    pub(super) bad_values: u64,
    /// Values that stood twice in their record.
    pub(super) twice: u64,
    /// Records that do not say when they changed, though they should.
    pub(super) undated: u64,
    /// Records that say of no row that it is still there.
    pub(super) keyless: u64,
    /// Records that the same read had brought before.
    pub(super) repeated: u64,
}

impl std::ops::AddAssign for Remarks {
    fn add_assign(&mut self, other: Remarks) {
        self.bad_values += other.bad_values;
        self.twice += other.twice;
        self.undated += other.undated;
        self.keyless += other.keyless;
        self.repeated += other.repeated;
    }
}

impl Remarks {
    /// Returns a line for each kind there was, of `read` records that should say at `cursor` when they changed.
    pub(super) fn lines(&self, cursor: &str, read: u64) -> impl Iterator<Item = String> {
        let Remarks { bad_values, twice, undated, keyless, repeated } = *self;
        let lines = [
            (bad_values, format!("{bad_values} bad values were left empty")),
            (twice, format!("values that stand twice in their record, of which the last was taken: {twice}")),
            (undated, format!("records without `{cursor}`, which changes may never find: {undated} of {read}")),
            (
                keyless,
                format!("records without a key that can be read, so that nothing is taken for deleted: {keyless}"),
            ),
            (
                repeated,
                format!(
                    "records that came twice, as pages shifted while they were counted: {repeated}; nothing is taken for \
                     deleted, and the next sync reads everything again"
                ),
            ),
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
