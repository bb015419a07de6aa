//! Stage 6: a run in `integration_sync_logs`, from its start to however it ended.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::Engine;
use super::resolve::Plan;
use crate::error::{self, UserError};
use crate::mutants;
use crate::store::runs::{self, Finish, Kind, Outcome, Tally};
use crate::store::{Connection, Keep};

/// The run being logged; `None` in a dry run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLog {
    pub(super) id: Option<i64>,
}

impl RunLog {
    /// Records that a run has begun, with the hash of its settings where they could be read.
    pub(super) fn start(engine: &Engine<'_>, pair: (i64, i64), shape: Option<&str>) -> Result<Self> {
        if engine.options.keep == Keep::DryRun {
            return Ok(RunLog { id: None });
        }
        let (trigger, now) = (engine.options.trigger, engine.now());
        let kind = if engine.options.backfill.is_some() { Kind::Backfill } else { Kind::Sync };
        let id = engine.change(Keep::Yes, |tx| runs::start(tx, pair, (kind, trigger, shape), now))?;
        error::working_on(Some(id));
        mutants::point("run row written");
        Ok(RunLog { id: Some(id) })
    }

    /// Counts a page, in its transaction.
    pub(super) fn count(self, tx: &Connection, tally: &Tally) -> Result<()> {
        self.id.map_or(Ok(()), |id| runs::count(tx, id, tally))
    }

    /// Records how the run ended.
    pub(super) fn finish(
        self,
        engine: &Engine<'_>,
        tally: &Tally,
        warnings: &[String],
        outcome: Outcome,
        (error, due_at): (Option<&UserError>, Option<DateTime<Utc>>),
    ) -> Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        let now = engine.now();
        let finish = Finish { outcome, tally, warnings, error, due_at };
        engine.change(Keep::Yes, |tx| runs::finish(tx, id, &finish, now))?;
        mutants::point("run finished");
        Ok(())
    }
}

/// Puts the names of the organization and provider into an error's hint, where it stands for them in capitals.
pub(super) fn addressed(mut error: UserError, plan: &Plan) -> UserError {
    let slug = plan.organization.slug.as_str();
    let named = |hint: String| {
        hint.split(' ').map(|word| if word == "ORG" { slug } else { word }).collect::<Vec<_>>().join(" ")
    };
    error.hint = error.hint.map(named);
    error
}
