//! Stage 5: a page of mapped records meets what is stored. Runs inside the transaction that also moves the progress.

use anyhow::{Context as _, Result};

use super::erased::Erased;
use super::remarks::Remarks;
use super::resolve::StreamPlan;
use super::transform::kinds::{self, Kinds};
use super::transform::{Batch, Row};
use crate::connector::{Connector, Sent, Undetailed};
use crate::domain::entity::Entity;
use crate::domain::pairing::Candidate;
use crate::store::Connection;
use crate::store::quarantine::{self, Aside, Kept};
use crate::store::records::{Owner, Record, Rows};
use crate::store::runs::Tally;

/// What a run knows while it writes.
pub(super) struct Writer<'r> {
    pub(super) owner: Owner,
    pub(super) stream: String,
    /// The number with which the read began: rows marked with it or a later one it has seen.
    pub(super) begun_with: i64,
    /// The run that quarantined records are filed under; `None` in a dry run, which files none.
    pub(super) run_id: Option<i64>,
    /// How many more learners the organization may have.
    pub(super) room: Option<u64>,
    /// Whether nothing was stored before: then a row is inserted without looking for it first.
    pub(super) expects_new: bool,
    /// Whether records of this provider are in quarantine, and may have to be taken out.
    pub(super) has_quarantine: bool,
    /// Who must not come back.
    pub(super) erased: Erased<'r>,
    pub(super) now: chrono::DateTime<chrono::Utc>,
    /// Who knows the secrets that a provider may have said back; `None` for records that were stored without them.
    pub(super) connector: Option<&'r Connector<'r>>,
}

/// What became of a page.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) tally: Tally,
    pub(super) remarks: Remarks,
    /// Which types the values of each slot have.
    pub(super) seen: Vec<Kinds>,
    /// How much of the room is used up.
    pub(super) room_used: u64,
    /// The rows that were there already, in a dry run only.
    pub(super) found: Vec<i64>,
    /// The rows that were marked as deleted, in a dry run only.
    pub(super) gone: Vec<i64>,
    /// The rows of what was merged into others, in a dry run only.
    pub(super) merged: Vec<i64>,
    /// The learners that were inserted, in a dry run only.
    pub(super) came: Vec<Candidate>,
}

impl Written {
    /// Takes another page in.
    pub(super) fn add(&mut self, other: Written) {
        self.tally += other.tally;
        self.remarks += other.remarks;
        kinds::add(&mut self.seen, &other.seen);
        self.room_used += other.room_used;
        self.found.extend(other.found);
        self.gone.extend(other.gone);
        self.merged.extend(other.merged);
        self.came.extend(other.came);
    }
}

/// A page being written.
struct Writing<'w> {
    writer: &'w Writer<'w>,
    plan: &'w StreamPlan,
    tx: &'w Connection,
    rows: Rows<'w>,
    written: &'w mut Written,
}

impl Writer<'_> {
    /// Writes a page. The rows of one too large to be held are made here, part by part.
    pub(super) fn write(&mut self, tx: &Connection, plan: &StreamPlan, batch: &Batch) -> Result<Written> {
        self.erased.refresh(tx)?;
        let mut written = Written { tally: Tally { pages: 1, ..Tally::default() }, ..Written::default() };
        self.begin(tx, plan, &mut written)?.batch(batch)?;
        for part in batch.page().parts() {
            let part = part.context("reading an answer back from the disk")?;
            self.begin(tx, plan, &mut written)?.batch(&plan.transform.batch(&plan.filters, part))?;
        }
        // Their rows are marked by whatever tells of deletes.
        written.tally.read += batch.page().gone;
        Ok(written)
    }

    fn begin<'w>(&'w self, tx: &'w Connection, plan: &'w StreamPlan, written: &'w mut Written) -> Result<Writing<'w>> {
        Ok(Writing { writer: self, plan, tx, rows: Rows::new(tx, &self.owner)?, written })
    }
}

impl<'w> Writing<'w> {
    fn batch(self, batch: &Batch) -> Result<()> {
        let (writer, tx) = (self.writer, self.tx);
        let (written, merged) = (self.rows_of(batch)?, &batch.merged);
        if merged.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::new(tx, &writer.owner)?;
        for key in merged {
            // One that the same read has shown is there.
            let Some(present) = rows.find(key)?.filter(|row| !row.deleted && row.generation < writer.begun_with) else {
                continue;
            };
            rows.delete(key)?;
            written.tally.deleted += 1;
            if writer.run_id.is_none() {
                written.merged.push(present.id);
            }
            let pair = (writer.owner.organization_id, writer.owner.provider_id);
            quarantine::remove(tx, pair, &writer.stream, key)?;
        }
        Ok(())
    }

    /// Writes the rows of a page, or of a part of it.
    fn rows_of(mut self, batch: &Batch) -> Result<&'w mut Written> {
        self.written.remarks += batch.remarks;
        kinds::add(&mut self.written.seen, &batch.seen);
        batch.each(|row, sent| {
            self.written.tally.read += 1;
            match row {
                Row::Deleted(key) => {
                    if let Some(id) = self.rows.delete(key)? {
                        self.written.tally.deleted += 1;
                        self.note_gone(id);
                    }
                    self.passed(key)
                }
                Row::Bad { key, reasons } => self.quarantine(key, sent, reasons),
                Row::Record { record, in_scope } => self.row(&record, in_scope),
            }
        })?;
        for thin in &batch.page().undetailed {
            self.undetailed(thin)?;
        }
        self.rows.finish()?;
        Ok(self.written)
    }

    fn row(&mut self, record: &Record<'_>, in_scope: bool) -> Result<()> {
        if self.is_erased(record.key, record.uln()) {
            return Ok(());
        }
        let Writing { writer, rows, written, .. } = self;
        let tally = &mut written.tally;
        if !in_scope {
            tally.filtered += 1;
        }
        let learner = writer.owner.entity == Entity::Learner;
        let full = learner && writer.room.is_some_and(|room| written.room_used >= room);
        if writer.expects_new && in_scope && !full && rows.insert(record)? {
            tally.inserted += 1;
            written.room_used += u64::from(learner);
            self.note_came(record);
        } else if let Some(present) = rows.find(record.key)? {
            if writer.run_id.is_none() {
                written.found.push(present.id);
            }
            if present.generation == writer.owner.generation {
                let same = present.hash == record.hash;
                written.remarks.repeated += u64::from(same);
                written.remarks.repeated_otherwise += u64::from(!same);
            }
            if present.hash == record.hash && !present.deleted && present.in_scope == in_scope {
                rows.see(&present);
                tally.unchanged += u64::from(in_scope);
            } else {
                rows.update(present.id, record, in_scope)?;
                tally.updated += u64::from(in_scope);
            }
        } else if in_scope {
            if full {
                tally.over_cap += 1;
            } else {
                rows.insert(record)?;
                tally.inserted += 1;
                written.room_used += u64::from(learner);
                self.note_came(record);
            }
        }
        self.passed(record.key)
    }

    /// Takes a record out of quarantine: what has come now is newer, and it is good.
    fn passed(&self, key: &str) -> Result<()> {
        let Writer { owner, stream, has_quarantine, .. } = self.writer;
        if *has_quarantine || self.written.tally.quarantined > 0 {
            quarantine::remove(self.tx, (owner.organization_id, owner.provider_id), stream, key)?;
        }
        Ok(())
    }

    /// Notes a row in a dry run, where what is written to it is rolled back.
    fn note_gone(&mut self, id: i64) {
        if self.writer.run_id.is_none() {
            self.written.gone.push(id);
        }
    }

    /// Notes a learner that was inserted in a dry run.
    fn note_came(&mut self, record: &Record<'_>) {
        if self.writer.run_id.is_none() && self.writer.owner.entity == Entity::Learner {
            self.written.came.push(record.candidate(&self.writer.owner.now));
        }
    }

    /// Files a record that cannot be stored; of one that is too large only a note.
    fn quarantine(&mut self, key: &str, sent: Sent<'_>, reasons: &[String]) -> Result<()> {
        let kept = if sent.refused().is_some() { Kept::Digest } else { Kept::Whole };
        self.file(key, (sent.text(), kept), reasons, None)
    }

    /// Files a record whose details could not be read.
    fn undetailed(&mut self, thin: &Undetailed) -> Result<()> {
        self.written.tally.read += 1;
        let key = self.plan.transform.key_of(&thin.record);
        self.written.remarks.keyless += u64::from(self.plan.transform.known_key(&thin.record).is_none());
        self.file(&key, (&thin.record, Kept::Thin), std::slice::from_ref(&thin.reason), thin.each.as_deref())
    }

    /// Counts a record of a person who was erased, of which nothing else is kept.
    fn is_erased(&mut self, key: &str, uln: Option<&str>) -> bool {
        let Writer { erased, owner, .. } = self.writer;
        let is_erased = erased.any() && owner.entity == Entity::Learner && erased.has(key, uln);
        self.written.tally.erased += u64::from(is_erased);
        is_erased
    }

    /// Files a record. The row it would have changed was seen, so that no sweep takes it for gone.
    fn file(&mut self, key: &str, (record, kept): (&str, Kept), reasons: &[String], each: Option<&str>) -> Result<()> {
        let Writer { owner, stream, run_id, now, erased, .. } = self.writer;
        if owner.entity == Entity::Learner && erased.stands_in(key, record) {
            self.written.tally.erased += 1;
            return Ok(());
        }
        let pair = (owner.organization_id, owner.provider_id);
        self.written.tally.quarantined += 1;
        let mut repeated = quarantine::has(self.tx, pair, (stream, key), owner.generation)?;
        if let Some(present) = self.rows.find(key)? {
            repeated |= present.generation == owner.generation;
            if run_id.is_none() {
                self.written.found.push(present.id);
            }
            self.rows.see(&present);
        }
        // What comes twice has others passed over, whether it can be stored or not.
        self.written.remarks.repeated += u64::from(repeated);
        if let Some(run_id) = run_id {
            let (shape, generation) = (self.plan.shape.as_str(), owner.generation);
            let without = |text: &str| self.writer.connector.and_then(|connector| connector.without_secrets(text));
            let spared = without(record);
            let record = spared.as_deref().unwrap_or(record);
            let reasons: &[String] =
                &reasons.iter().map(|said| without(said).unwrap_or_else(|| said.clone())).collect::<Vec<_>>();
            let aside = Aside { stream, key, reasons, record, kept, each, shape, generation };
            quarantine::put(self.tx, (pair.0, pair.1, *run_id), &aside, *now)?;
        }
        Ok(())
    }
}
