//! Removes what is older than it is to be kept, a little at a time, so that nobody else waits long to write.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::domain::entity::Entity;
use crate::domain::retention::{Keeping, Policy};
use crate::store::{Connection, Keep, Store, audit, retention, runs};

/// How often a sync of everything that is due looks for what is too old.
const EVERY: TimeDelta = TimeDelta::days(1);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Removed {
    pub(crate) runs: u64,
    /// Records out of quarantine.
    pub(crate) quarantined: u64,
    /// Rows that were gone at the provider.
    pub(crate) learners: u64,
    pub(crate) employers: u64,
}

impl Removed {
    /// Returns whether it was nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Removed::default()
    }
}

/// How to remove.
pub(crate) struct Removing<'r> {
    pub(crate) keep: Keep,
    pub(crate) actor: &'r str,
    pub(crate) now: DateTime<Utc>,
    /// Set from outside to end soon: what is left is for the next time.
    pub(crate) stop: &'r AtomicBool,
}

/// Applies the policy in force unless that was done in the last day, as an ordinary part of a sync of everything.
pub(crate) fn daily(store: &mut Store, removing: &Removing<'_>) -> Result<Removed> {
    let applied = retention::applied_at(store.read())?;
    // One from the future was noted by a clock that was wrong.
    let is_due = applied.is_none_or(|at| at + EVERY <= removing.now || at > removing.now);
    if !is_due || removing.keep == Keep::DryRun || removing.stop.load(Ordering::Relaxed) {
        return Ok(Removed::default());
    }
    let removed = apply(store, removing)?;
    store.change(Keep::Yes, |tx| retention::set_applied(tx, removing.now))?;
    Ok(removed)
}

/// Applies the policy in force.
pub(crate) fn apply(store: &mut Store, removing: &Removing<'_>) -> Result<Removed> {
    let policy = retention::policy(store.read())?;
    let before = |keeping: Keeping| keeping.0.map(|length| removing.now - length.delta());
    let mut removed = Removed::default();
    let mut batches = Batches { store, removing, policy: &policy, is_recorded: false };
    if let Some(before) = before(policy.deleted) {
        for (entity, count) in [(Entity::Learner, &mut removed.learners), (Entity::Employer, &mut removed.employers)] {
            let ids = retention::old_deleted(batches.store.read(), entity, before)?;
            *count = batches.remove(&ids, |tx, some| retention::drop_deleted(tx, entity, some, before))?;
        }
    }
    if let Some(before) = before(policy.quarantine) {
        let ids = retention::old_quarantine(batches.store.read(), before)?;
        removed.quarantined = batches.remove(&ids, |tx, some| retention::drop_quarantine(tx, some, before))?;
    }
    if let Some(before) = before(policy.logs) {
        let ids = runs::prunable(batches.store.read(), before)?;
        removed.runs = batches.remove(&ids, runs::prune)?;
    }
    if removing.keep == Keep::Yes && !removed.is_nothing() {
        store.checkpoint()?;
    }
    Ok(removed)
}

/// Transactions of a removal, of which the first that removes anything records it.
struct Batches<'b> {
    store: &'b mut Store,
    removing: &'b Removing<'b>,
    policy: &'b Policy,
    is_recorded: bool,
}

impl Batches<'_> {
    fn remove(&mut self, ids: &[i64], remove: impl Fn(&Connection, &[i64]) -> Result<u64>) -> Result<u64> {
        let Batches { store, removing, policy, is_recorded } = self;
        let Removing { keep, actor, now, stop } = **removing;
        retention::remove(store, (ids, keep), stop, |tx, some| {
            let count = remove(tx, some)?;
            if count > 0 && !std::mem::replace(is_recorded, true) {
                let Policy { logs, quarantine, deleted } = policy;
                let subject = format!("logs {logs}, quarantine {quarantine}, deleted {deleted}");
                let entry =
                    audit::Entry { actor, action: "retention apply", subject: &subject, before: None, after: None };
                audit::insert(tx, now, &entry)?;
            }
            Ok(count)
        })
    }
}
