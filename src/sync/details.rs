//! Records that are in quarantine for want of their details: each run of the stream asks for those again that it has not
//! met.

use anyhow::Result;

use super::resolve::StreamPlan;
use super::upsert::{Writer, Written};
use crate::connector::{Detailed, Page, reason};
use crate::store::Connection;
use crate::store::quarantine::{self, Quarantined};

/// How many are asked for in one run.
pub(super) const AT_ONCE: u32 = 100;

/// Writes what came of asking for the details of `rows` again.
pub(super) fn write(
    tx: &Connection,
    plan: &StreamPlan,
    writer: &mut Writer<'_>,
    rows: &[Quarantined],
    answers: &[Detailed],
) -> Result<Written> {
    let mut all = Written::default();
    for (row, answer) in rows.iter().zip(answers) {
        match answer {
            Detailed::Full(record) => {
                let page = Page::of_records(&[record], &plan.transform.projection);
                let mut written = writer.write(tx, plan, &plan.transform.batch(&plan.filters, page))?;
                written.tally.pages = 0;
                // A record that still cannot be stored is filed under its key, whole now.
                if written.tally.quarantined == 0 || plan.transform.key_of(record) != row.key {
                    quarantine::delete(tx, row.id)?;
                }
                writer.room = writer.room.map(|room| room.saturating_sub(written.room_used));
                all.add(written);
            }
            // Its row, if there is one, is marked by whatever tells of deletes. Listed again, it is set aside again.
            answer if has_left(answer) => {
                all.tally.read += 1;
                quarantine::delete(tx, row.id)?;
            }
            Detailed::Failed(error) | Detailed::Refused(error) => {
                all.tally.read += 1;
                all.tally.quarantined += 1;
                let tried = Quarantined { at: writer.now, ..row.clone() };
                quarantine::keep(tx, &tried, &[reason(error)], &plan.shape)?;
            }
            Detailed::Gone | Detailed::Untried => all.tally.quarantined += 1,
        }
    }
    Ok(all)
}

/// Returns whether a record is no longer there to be asked for.
fn has_left(answer: &Detailed) -> bool {
    match answer {
        Detailed::Gone => true,
        Detailed::Failed(error) => error.code == "not_found_at_provider",
        Detailed::Full(_) | Detailed::Refused(_) | Detailed::Untried => false,
    }
}
