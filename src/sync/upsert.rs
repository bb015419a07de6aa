//! Stage 5: a page of mapped records meets what is stored. Runs inside the transaction that also moves the progress.

use anyhow::Result;

use super::resolve::StreamPlan;
use super::transform::Mapped;
use crate::connector::{Page, Undetailed};
use crate::domain::entity::Entity;
use crate::store::quarantine::{self, Aside, Kept};
use crate::store::records::{self, Former, Owner};
use crate::store::runs::Tally;
use crate::store::{Connection, hash};

/// A record of more bytes is not stored, and of one only its size and digest are kept in quarantine.
const LARGEST: usize = 8 << 20;

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
    /// How much of the room is used up.
    pub(super) room_used: u64,
    /// The rows that were there already, in a dry run only.
    pub(super) found: Vec<i64>,
    /// The rows that were marked as deleted, in a dry run only.
    pub(super) gone: Vec<i64>,
}

impl Written {
    /// Takes another page in.
    pub(super) fn add(&mut self, other: Written) {
        self.tally += other.tally;
        self.warnings += other.warnings;
        self.room_used += other.room_used;
        self.found.extend(other.found);
        self.gone.extend(other.gone);
    }
}

impl Writer {
    /// Writes a page. `seen` notes which sources exist in any record.
    pub(super) fn write(
        &self,
        tx: &Connection,
        plan: &StreamPlan,
        page: &Page,
        seen: &mut Vec<bool>,
    ) -> Result<Written> {
        let mut written = Written { tally: Tally { pages: 1, ..Tally::default() }, ..Written::default() };
        let mut values = Vec::new();
        for text in page.records() {
            written.tally.read += 1;
            match plan.transform.apply(text, &mut values, seen) {
                Mapped::Deleted(key) => {
                    if let Some(id) = records::delete(tx, &self.owner, &key)? {
                        written.tally.deleted += 1;
                        self.note(id, &mut written.gone);
                    }
                    self.passed(tx, &key)?;
                }
                Mapped::Bad { key, reasons } => self.quarantine(tx, plan, &key, text, &reasons, &mut written)?,
                Mapped::Row { record, .. } if text.len() > LARGEST => {
                    let reason = format!("it has {} bytes, more than the {LARGEST} that are taken", text.len());
                    self.quarantine(tx, plan, &record.key, text, &[reason], &mut written)?;
                }
                Mapped::Row { record, custom, warnings } => {
                    written.warnings += warnings;
                    let in_scope = plan.filters.pass(&record.columns, &custom);
                    self.row(tx, plan, &record, in_scope, text, &mut written)?;
                }
            }
        }
        for thin in &page.undetailed {
            self.undetailed(tx, plan, thin, &mut written)?;
        }
        // Their rows are marked by whatever tells of deletes.
        written.tally.read += page.gone;
        Ok(written)
    }

    fn row(
        &self,
        tx: &Connection,
        plan: &StreamPlan,
        record: &records::Record<'_>,
        in_scope: bool,
        text: &str,
        written: &mut Written,
    ) -> Result<()> {
        let tally = &mut written.tally;
        if !in_scope {
            tally.filtered += 1;
        }
        let learner = self.owner.entity == Entity::Learner;
        let full = learner && self.room.is_some_and(|room| written.room_used >= room);
        if self.expects_new && in_scope && !full && records::insert(tx, &self.owner, record)? {
            tally.inserted += 1;
            written.room_used += u64::from(learner);
        } else if let Some(present) = records::find(tx, &self.owner, &record.key)? {
            self.note(present.id, &mut written.found);
            if present.hash == record.hash && !present.deleted && present.in_scope == in_scope {
                records::see(tx, &self.owner, present.id)?;
                tally.unchanged += u64::from(in_scope);
            } else {
                records::update(tx, &self.owner, present.id, record, in_scope)?;
                tally.updated += u64::from(in_scope);
            }
        } else if in_scope {
            match records::former(tx, &self.owner, record)? {
                Former::One(id) => {
                    records::update(tx, &self.owner, id, record, true)?;
                    tally.adopted += 1;
                }
                Former::Several(number) => {
                    let reason = format!(
                        "its ULN stands in {number} learners of the provider before, so it is not clear which one it is"
                    );
                    return self.quarantine(tx, plan, &record.key, text, &[reason], written);
                }
                Former::None if full => tally.over_cap += 1,
                Former::None => {
                    records::insert(tx, &self.owner, record)?;
                    tally.inserted += 1;
                    written.room_used += u64::from(learner);
                }
            }
        }
        self.passed(tx, &record.key)
    }

    /// Takes a record out of quarantine: what has come now is newer, and it is good.
    fn passed(&self, tx: &Connection, key: &str) -> Result<()> {
        if self.has_quarantine {
            quarantine::remove(tx, (self.owner.organization_id, self.owner.provider_id), &self.stream, key)?;
        }
        Ok(())
    }

    /// Notes a row in a dry run, where what is written to it is rolled back.
    fn note(&self, id: i64, rows: &mut Vec<i64>) {
        if self.run_id.is_none() {
            rows.push(id);
        }
    }

    /// Files a record that cannot be stored.
    fn quarantine(
        &self,
        tx: &Connection,
        plan: &StreamPlan,
        key: &str,
        text: &str,
        reasons: &[String],
        written: &mut Written,
    ) -> Result<()> {
        let digest;
        let (record, kept) = if text.len() > LARGEST {
            digest = format!(r#"{{"bytes":{},"sha256":"{}"}}"#, text.len(), hash(text));
            (digest.as_str(), Kept::Digest)
        } else {
            (text, Kept::Whole)
        };
        let (generation, shape) = (self.owner.generation, &plan.shape);
        self.file(
            tx,
            &Aside { stream: &self.stream, key, reasons, record, kept, each: None, shape, generation },
            written,
        )
    }

    /// Files a record whose details could not be read.
    fn undetailed(&self, tx: &Connection, plan: &StreamPlan, thin: &Undetailed, written: &mut Written) -> Result<()> {
        written.tally.read += 1;
        let aside = Aside {
            stream: &self.stream,
            key: &plan.transform.key_of(&thin.record),
            reasons: std::slice::from_ref(&thin.reason),
            record: &thin.record,
            kept: Kept::Thin,
            each: thin.each.as_deref(),
            shape: &plan.shape,
            generation: self.owner.generation,
        };
        self.file(tx, &aside, written)
    }

    /// Files a record. The row it would have changed was seen, so that no sweep takes it for gone.
    fn file(&self, tx: &Connection, aside: &Aside<'_>, written: &mut Written) -> Result<()> {
        written.tally.quarantined += 1;
        if let Some(present) = records::find(tx, &self.owner, aside.key)? {
            self.note(present.id, &mut written.found);
            records::see(tx, &self.owner, present.id)?;
        }
        if let Some(run_id) = self.run_id {
            let owner = (self.owner.organization_id, self.owner.provider_id, run_id);
            quarantine::put(tx, owner, aside, self.now)?;
        }
        Ok(())
    }
}
