//! Deletes: what a feed of deleted records says, and what a complete full read no longer found, with a brake.

use std::collections::HashSet;

use super::fetch;
use super::resolve::StreamPlan;
use crate::connector::{Connector, Failure, Page, Start, Window};
use crate::domain::manifest::{Manifest, Sweep};
use crate::domain::path::Projection;
use crate::error::{Exit, UserError};
use crate::store::records::{self, Owner, Rows};
use crate::store::state::{Mode, OpenRead};
use crate::store::{Keep, Store};

/// Marks as deleted what the stream's feed lists. Returns how many rows that were.
pub(super) fn feed(
    connector: &Connector<'_>,
    plan: &StreamPlan,
    open: &OpenRead,
    owner: &Owner,
    mut change: impl FnMut(&mut dyn FnMut(&crate::store::Connection) -> anyhow::Result<u64>) -> anyhow::Result<u64>,
) -> Result<u64, Failure> {
    let Some(read) = &plan.stream.deletes.feed else { return Ok(0) };
    let mut projection = Projection::default();
    let key = projection.add(&plan.stream.key);
    let mut deleted = 0;
    for each in &plan.each {
        let start = Start {
            window: Window { from: open.from, to: open.to },
            position: None,
            each: each.as_deref(),
            details: false,
        };
        let take = |page: Page| {
            deleted += change(&mut |tx| {
                let (mut gone, rows) = (0, Rows::new(tx, owner)?);
                let mut mark = |page: &Page| -> anyhow::Result<()> {
                    for record in page.records() {
                        let Some(key) = record.value(key).and_then(crate::connector::scalar) else { continue };
                        gone += u64::from(rows.delete(&key)?);
                    }
                    Ok(())
                };
                mark(&page)?;
                for part in page.parts() {
                    mark(&part?)?;
                }
                Ok(gone)
            })
            .map_err(Failure::Internal)?;
            Ok(())
        };
        fetch::pages(connector, plan, (read, &projection), start, |page| page, take)?;
    }
    Ok(deleted)
}

/// Marks as deleted what complete full reads did not find. Stops instead if more would vanish than the brake allows.
/// `dry` are the rows that a dry run has found: its pages were rolled back, so the rows themselves do not tell.
pub(super) fn sweep(
    store: &mut Store,
    plan: &StreamPlan,
    manifest: &Manifest,
    open: &OpenRead,
    owner: &Owner,
    dry: Option<&HashSet<i64>>,
    allow_mass: bool,
) -> Result<u64, Failure> {
    let deletes = &plan.stream.deletes;
    if open.mode != Mode::Full || deletes.sweep == Sweep::Never {
        return Ok(0);
    }
    let oldest = owner.generation - i64::from(deletes.after) + 1;
    let (live, unseen) = records::unseen(store.read(), owner, oldest, dry).map_err(Failure::Internal)?;
    if unseen == 0 {
        return Ok(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of rows needs no more than 52 bits")]
    let share = unseen as f64 / live as f64;
    if share > deletes.max && !allow_mass {
        return Err(Failure::Stream(
            UserError::new(
                Exit::Conflict,
                "mass_delete",
                format!(
                    "{unseen} of {live} {} are no longer at {}: that is more than {:.0} %, so none was marked as deleted",
                    owner.entity.table(),
                    manifest.title,
                    deletes.max * 100.0
                ),
            )
            .hint("check whether the credential still sees everything; if they are really gone, sync again with `--full --allow-mass-delete`"),
        ));
    }
    match dry {
        Some(_) => Ok(unseen),
        None => store.change(Keep::Yes, |tx| records::sweep(tx, owner, oldest)).map_err(Failure::Internal),
    }
}
