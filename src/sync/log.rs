//! Stage 6: a run in `integration_sync_logs`, from its start to however it ended.

use anyhow::Result;

use super::Engine;
use super::erased::Erased;
use super::resolve::Plan;
use crate::error::{self, UserError};
use crate::mutants;
use crate::store::requests;
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
        // A part of a sync is not what was asked for.
        let whole = kind == Kind::Sync && engine.options.stream.is_none();
        let id = engine.change(Keep::Yes, |tx| {
            let id = runs::start(tx, pair, (kind, trigger, shape), now)?;
            if whole {
                requests::take_on(tx, pair, id)?;
            }
            Ok(id)
        })?;
        error::working_on(Some(id));
        mutants::point("run row written");
        Ok(RunLog { id: Some(id) })
    }

    /// Counts a page, in its transaction.
    pub(super) fn count(self, tx: &Connection, tally: &Tally) -> Result<()> {
        self.id.map_or(Ok(()), |id| runs::count(tx, id, tally))
    }

    /// Records how the run ended. What it says does without persons who were `erased`.
    pub(super) fn finish(self, engine: &Engine<'_>, erased: Option<Erased<'_>>, finish: &Finish<'_>) -> Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        let now = engine.now();
        engine.change(Keep::Yes, |tx| {
            match erased {
                None => runs::finish(tx, id, finish, now)?,
                Some(mut erased) => {
                    erased.refresh(tx)?;
                    let warnings: Vec<String> = finish.warnings.iter().map(|warning| erased.unnamed(warning)).collect();
                    let error = finish.error.map(|error| erased.unnamed_error(error));
                    runs::finish(tx, id, &Finish { warnings: &warnings, error: error.as_ref(), ..*finish }, now)?;
                }
            }
            // One that stopped on its way has not done what was asked for.
            if !matches!(finish.outcome, Outcome::Deferred | Outcome::Interrupted) {
                requests::answered(tx, id)?;
            }
            Ok(())
        })?;
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
