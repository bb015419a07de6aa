//! Stage 5: a page of mapped records meets what is stored. Runs inside the transaction that also moves the progress.

use anyhow::{Context as _, Result};

use super::resolve::StreamPlan;
use super::transform::{Batch, Row};
use crate::connector::Sent;
use crate::domain::entity::Entity;
use crate::store::records::{Former, Owner, Record, Rows};
use crate::store::runs::Tally;
use crate::store::{Connection, quarantine};

/// What a run knows while it writes.
pub(super) struct Writer {
    pub(super) owner: Owner,
    pub(super) stream: String,
    /// The run that quarantined records are filed under; `None` in a dry run, which files none.
    pub(super) run_id: Option<i64>,
    /// How many more learners the organization may have.
    pub(super) room: Option<u64>,
    /// Whether nothing was stored before: then a row is inserted without looking for it first.
    pub(super) expects_new: bool,
    /// Whether records of this provider are in quarantine, and may have to be taken out.
    pub(super) has_quarantine: bool,
    pub(super) now: chrono::DateTime<chrono::Utc>,
}

/// What became of a page.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) tally: Tally,
    /// Values that were dropped because they were bad, where the mapping asks to be told.
    pub(super) warnings: u64,
    /// Which sources exist in any record, by slot.
    pub(super) seen: Vec<bool>,
    /// How much of the room is used up.
    pub(super) room_used: u64,
    /// The rows that were there already, in a dry run only.
    pub(super) found: Vec<i64>,
}

impl Writer {
    /// Writes a page. The rows of one too large to be held are made here, part by part.
    pub(super) fn write(&self, tx: &Connection, plan: &StreamPlan, batch: &Batch) -> Result<Written> {
        let mut written = Written { tally: Tally { pages: 1, ..Tally::default() }, ..Written::default() };
        self.rows(tx, batch, &mut written)?;
        for part in batch.page().parts() {
            let part = part.context("reading an answer back from the disk")?;
            self.rows(tx, &plan.transform.batch(&plan.filters, part), &mut written)?;
        }
        // Their rows are marked by whatever tells of deletes.
        written.tally.read += batch.page().gone;
        Ok(written)
    }

    fn rows(&self, tx: &Connection, batch: &Batch, written: &mut Written) -> Result<()> {
        written.warnings += batch.warnings;
        written.seen.resize(batch.seen.len(), false);
        written.seen.iter_mut().zip(&batch.seen).for_each(|(seen, now)| *seen |= now);
        let mut rows = Rows::new(tx, &self.owner)?;
        batch.each(|row, sent| {
            written.tally.read += 1;
            match row {
                Row::Deleted(key) => {
                    if rows.delete(key)? {
                        written.tally.deleted += 1;
                    }
                    Ok(())
                }
                Row::Bad { key, reasons } => self.quarantine(tx, &mut rows, key, sent.text(), reasons, written),
                Row::Record { record, in_scope } => self.row(tx, &mut rows, &record, in_scope, sent, written),
            }
        })?;
        rows.finish()
    }

    fn row(
        &self,
        tx: &Connection,
        rows: &mut Rows<'_>,
        record: &Record<'_>,
        in_scope: bool,
        sent: Sent<'_>,
        written: &mut Written,
    ) -> Result<()> {
        let tally = &mut written.tally;
        if !in_scope {
            tally.filtered += 1;
        }
        let learner = self.owner.entity == Entity::Learner;
        let full = learner && self.room.is_some_and(|room| written.room_used >= room);
        if self.expects_new && in_scope && !full && rows.insert(record)? {
            tally.inserted += 1;
            written.room_used += u64::from(learner);
        } else if let Some(present) = rows.find(record.key)? {
            self.note(present.id, &mut written.found);
            if present.hash == record.hash && !present.deleted && present.in_scope == in_scope {
                rows.see(&present);
                tally.unchanged += u64::from(in_scope);
            } else {
                rows.update(present.id, record, in_scope)?;
                tally.updated += u64::from(in_scope);
            }
        } else if in_scope {
            match rows.former(record)? {
                Former::One(id) => {
                    rows.update(id, record, true)?;
                    tally.adopted += 1;
                }
                Former::Several(number) => {
                    let reason = format!(
                        "its ULN stands in {number} learners of the provider before, so it is not clear which one it is"
                    );
                    return self.quarantine(tx, rows, record.key, sent.text(), &[reason], written);
                }
                Former::None if full => {
                    tally.over_cap += 1;
                    return Ok(());
                }
                Former::None => {
                    rows.insert(record)?;
                    tally.inserted += 1;
                    written.room_used += u64::from(learner);
                }
            }
        }
        if self.has_quarantine {
            quarantine::remove(tx, (self.owner.organization_id, self.owner.provider_id), &self.stream, record.key)?;
        }
        Ok(())
    }

    /// Notes a row that is there, where its mark of being seen is rolled back.
    fn note(&self, id: i64, found: &mut Vec<i64>) {
        if self.run_id.is_none() {
            found.push(id);
        }
    }

    /// Files a record that cannot be stored. The row it would have changed was seen, so that no sweep takes it for gone.
    fn quarantine(
        &self,
        tx: &Connection,
        rows: &mut Rows<'_>,
        key: &str,
        text: &str,
        reasons: &[String],
        written: &mut Written,
    ) -> Result<()> {
        written.tally.quarantined += 1;
        if let Some(present) = rows.find(key)? {
            self.note(present.id, &mut written.found);
            rows.see(&present);
        }
        if let Some(run_id) = self.run_id {
            let owner = (self.owner.organization_id, self.owner.provider_id, run_id);
            quarantine::put(tx, owner, (&self.stream, key), (text, reasons), self.now)?;
        }
        Ok(())
    }
}
