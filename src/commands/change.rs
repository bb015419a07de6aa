//! A change as every command makes one: shown and asked about first where it does harm, audited, and told afterwards.

use anyhow::Result;
use serde::Serialize;

use crate::domain::difference::Difference;
use crate::error::{Exit, UserError};
use crate::output::{Change, changes};
use crate::session::Session;
use crate::store::{Connection, Keep, audit};

/// What became of a thing.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) slug: String,
    /// Like `created`, `changed` or `unchanged`.
    pub(crate) outcome: &'static str,
    /// Whether it was only tried out.
    pub(crate) dry_run: bool,
    /// The revision of the defaults it now has, where it has any.
    pub(crate) revision: Option<u32>,
    pub(crate) changes: Vec<Change>,
    /// What should be known besides.
    pub(crate) notes: Vec<String>,
    /// Commands that are to be run next.
    pub(crate) next: Vec<String>,
}

impl Changed {
    /// Returns a change without details.
    pub(crate) fn new(session: &Session, slug: impl ToString, outcome: &'static str) -> Self {
        Changed {
            slug: slug.to_string(),
            outcome,
            dry_run: session.keep == Keep::DryRun,
            revision: None,
            changes: Vec::new(),
            notes: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Returns the news that everything was so already.
    pub(crate) fn unchanged(session: &Session, slug: impl ToString) -> Self {
        Changed::new(session, slug, "unchanged")
    }

    /// Shows what would happen and asks for consent; without any, nothing may be done. Returns itself with what was
    /// shown taken out, so that a person is not told twice.
    pub(crate) fn consented(mut self, session: &Session, question: &str) -> Result<Self> {
        let output = &session.output;
        if session.keep == Keep::DryRun || output.agreed() {
            return Ok(self);
        }
        if output.can_ask() {
            let look = output.message_look();
            output.lay_out(changes(&self.changes, &look));
            self.notes.iter().for_each(|note| output.lay_out(note));
        }
        if !output.confirm_harm(question)? {
            return Err(declined().into());
        }
        if !output.is_json() {
            self.changes.clear();
            self.notes.clear();
        }
        Ok(self)
    }

    /// Tells what was done: the change as data, what should be known and run next beside it.
    pub(crate) fn tell(&self, session: &Session, kind: &str) -> Result<Exit> {
        session.output.one(kind, self, |look| {
            let revision = self.revision.map(|revision| format!(" (defaults {revision})")).unwrap_or_default();
            format!("{}: {}{revision}\n{}", self.slug, self.outcome, changes(&self.changes, look))
        })?;
        if !session.output.is_json() {
            self.notes.iter().for_each(|note| session.output.note(note));
            self.next.iter().for_each(|next| session.output.note(format!("next: {next}")));
        }
        session.note_dry_run();
        Ok(Exit::Done)
    }
}

/// Returns the error of a question answered with no.
pub(crate) fn declined() -> UserError {
    UserError::new(Exit::Interrupted, "declined", "not confirmed: nothing was changed")
}

/// Returns differences as they are shown.
pub(crate) fn shown(differences: Vec<Difference>) -> Vec<Change> {
    let change = |difference: Difference| Change {
        path: difference.path,
        before: difference.before,
        after: difference.after,
        note: None,
    };
    differences.into_iter().map(change).collect()
}

/// Records a change in the audit, in its own transaction.
pub(crate) fn record(
    tx: &Connection,
    session: &Session,
    (action, subject): (&str, &str),
    (before, after): (Option<&str>, Option<&str>),
) -> Result<()> {
    audit::insert(tx, session.now, &audit::Entry { actor: &session.actor, action, subject, before, after })
}
