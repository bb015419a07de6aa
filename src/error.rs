//! Errors a user can put right: each says what failed, carries a stable code, an exit code, and what to do next.

use std::cell::Cell;
use std::fmt;

/// What the caller of the process should do next (`help exit-codes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// A fault of the program itself.
    Fault = 1,
    /// The command line was wrong; nothing was touched.
    Usage = 2,
    /// Some organizations or records failed, the rest is done.
    Partial = 3,
    /// Not allowed, or a provider refused the credential.
    Refused = 4,
    /// The thing named does not exist.
    NotFound = 5,
    /// It exists already, or changed under the caller.
    Conflict = 6,
    /// A file or a setting is invalid; nothing was applied.
    Invalid = 7,
    /// The master key is missing or wrong.
    Key = 8,
    /// A provider or the network failed; trying later may help.
    Unavailable = 9,
    /// There are changes (only where `--exit-code` asks).
    Changes = 10,
    /// Another process holds the lock.
    Locked = 11,
    /// The database is corrupt, too new, read-only or full.
    Database = 12,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// Every code with its meaning, in order, for `help exit-codes`.
    pub(crate) const ALL: [(Exit, &'static str); 15] = [
        (Exit::Done, "done"),
        (Exit::Fault, "a fault of ours: please report it"),
        (Exit::Usage, "wrong usage; nothing was touched"),
        (Exit::Partial, "partly done: some organizations or records failed"),
        (Exit::Refused, "not allowed, or a provider refused the credential"),
        (Exit::NotFound, "not found"),
        (Exit::Conflict, "conflict: it exists already, or changed under you"),
        (Exit::Invalid, "invalid file or setting; nothing was applied"),
        (Exit::Key, "the master key is missing or wrong"),
        (Exit::Unavailable, "a provider or the network failed; try later"),
        (Exit::Changes, "there are changes (only with --exit-code)"),
        (Exit::Locked, "locked by another process"),
        (Exit::Database, "database: corrupt, too new, read-only or full"),
        (Exit::Interrupted, "interrupted by Ctrl-C"),
        (Exit::Terminated, "ended by SIGTERM"),
    ];
}

thread_local! {
    static RUN: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Notes which run this thread works on, so that a fault of ours can be told with it.
pub(crate) fn working_on(run: Option<i64>) {
    RUN.set(run);
}

/// Returns the run this thread works on.
pub(crate) fn run_at_hand() -> Option<i64> {
    RUN.get()
}

/// An error with a next step. Travels inside `anyhow::Error`; `output::report` finds it again.
#[derive(Debug, Clone)]
pub(crate) struct UserError {
    /// The exit code of the process when this error ends it.
    pub(crate) exit: Exit,
    /// A stable snake_case name for scripts, like `org_not_found`.
    pub(crate) code: &'static str,
    /// What failed and why: lower case, no full stop, names in backticks. Never a secret.
    pub(crate) message: String,
    /// What to run or change next.
    pub(crate) hint: Option<String>,
    /// Where in a file it is wrong, for errors about a file.
    pub(crate) place: Option<Place>,
}

/// A position in a file: line and column count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as the user named it, or `-` for standard input.
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl UserError {
    /// Returns an error without a hint; add one with [`UserError::hint`] wherever there is a next step.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        UserError { exit, code, message: message.into(), hint: None, place: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next, where something is known.
    #[must_use]
    pub(crate) fn hint_if(mut self, hint: Option<String>) -> Self {
        if hint.is_some() {
            self.hint = hint;
        }
        self
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}

/// Returns the known word nearest to a mistyped one, where one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().min(word.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_typing_error_and_leaves_strangers_alone() {
        let known = ["aptem", "hubspot", "salesforce"];
        assert_eq!(nearest("aptme", known), Some("aptem"));
        assert_eq!(nearest("hubspto", known), Some("hubspot"));
        assert_eq!(nearest("moodle", known), None);
    }

    #[test]
    fn exit_codes_are_listed_once_each() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| *exit as u8).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130, 143]);
    }
}
