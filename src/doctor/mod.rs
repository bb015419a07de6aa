//! What `doctor` looks at: a list of checks of this installation, each a function that says how something stands.
//!
//! Nothing is written, and no key is needed. To add a check, write a function in the file it belongs to and a line of
//! [`CHECKS`].

mod database;
mod files;
mod key;
mod program;
mod work;

use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::{Environment, KeyFlags};
use crate::error::{Exit, UserError};
use crate::store::{self, Store};
use crate::vault::Vault;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    /// It works, but somebody should know.
    Warn,
    /// It is not safe, or does not work.
    Fail,
}

/// What a check has to say of one thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The check, like `database_file`.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// How it stands, in one line.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// What the process ends with for one that fails.
    #[serde(skip)]
    pub(crate) exit: Exit,
}

/// Where the checks look.
pub(crate) struct Ground<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) key_flags: &'a KeyFlags,
    /// Where the database should be.
    pub(crate) path: &'a Path,
    /// The database, or why it cannot be opened.
    pub(crate) store: std::result::Result<&'a Store, &'a anyhow::Error>,
    /// Proves the master key to the database.
    pub(crate) unlock: &'a dyn Fn(&Store) -> Result<Vault>,
    pub(crate) now: DateTime<Utc>,
}

impl Ground<'_> {
    /// Returns the database, if it can be opened and has the newest schema: settings and runs of an older one are not to be read.
    fn up_to_date(&self) -> Option<&Store> {
        self.store.ok().filter(|store| store.schema().is_ok_and(|schema| schema == store::newest_schema()))
    }
}

/// A check. It has nothing to say where what it looks at is not there, or what it needs cannot be read.
type Check = fn(&Ground<'_>) -> Result<Vec<Said>>;

/// All checks, in the order they are told.
const CHECKS: [(&str, Check); 24] = [
    ("program", program::build),
    ("process", program::process),
    ("key", key::source),
    ("key_place", key::place),
    ("key_replaced", key::replaced),
    ("database", database::opens),
    ("soundness", database::soundness),
    ("sqlite", database::engine),
    ("log", database::log),
    ("database_file", files::database),
    ("folder", files::folder),
    ("ancestors", files::ancestors),
    ("locks", files::locks),
    ("file_system", files::file_system),
    ("space", files::space),
    ("copies", files::copies),
    ("backup", work::backup),
    ("clock", work::clock),
    ("runs", work::runs),
    ("standing", work::standing),
    ("schedule", work::schedule),
    ("credential_age", work::credential_age),
    ("network", work::network),
    ("anchor", work::anchor),
];

/// What a check says; its name is put in by [`examine`].
struct Said {
    verdict: Verdict,
    message: String,
    hint: Option<String>,
    exit: Exit,
}

fn ok(message: impl Into<String>) -> Said {
    Said { verdict: Verdict::Ok, message: message.into(), hint: None, exit: Exit::Done }
}

fn warn(message: impl Into<String>, hint: impl Into<String>) -> Said {
    Said { verdict: Verdict::Warn, message: message.into(), hint: Some(hint.into()), exit: Exit::Partial }
}

fn fail(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Said {
    Said { verdict: Verdict::Fail, message: message.into(), hint: Some(hint.into()), exit }
}

/// Returns what an error says, as a failure.
fn failed(error: &UserError) -> Said {
    Said { verdict: Verdict::Fail, message: error.message.clone(), hint: error.hint.clone(), exit: error.exit }
}

/// Looks at everything. A check that cannot be brought to its end has found something, too.
pub(crate) fn examine(ground: &Ground<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (check, look) in CHECKS {
        let said = look(ground).unwrap_or_else(|error| {
            let hint = "`skillsctl db check` shows whether the database is sound";
            vec![fail(Exit::Database, format!("it cannot be looked at: {error:#}"), hint)]
        });
        let named = |Said { verdict, message, hint, exit }| Finding { check, verdict, message, hint, exit };
        findings.extend(said.into_iter().map(named));
    }
    findings
}
