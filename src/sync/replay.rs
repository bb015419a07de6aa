//! Replay: records in quarantine meet the settings in force now, as if they had just come. The provider is not called.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::erased::Erased;
use super::lock::{self, RunLock, Taken};
use super::resolve::{self, Plan, StreamPlan};
use super::transform::Row;
use super::upsert::Writer;
use crate::connector::Page;
use crate::domain::entity::Entity;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::lookup::Library;
use crate::store::organizations::Organization;
use crate::store::quarantine::{self, Kept, Quarantined};
use crate::store::records::{self, Owner, Rows};
use crate::store::runs::{self, Finish, Kind, Outcome, Tally, Trigger};
use crate::store::{Connection, Keep, Store, audit, state};
use crate::vault::Vault;

/// So many records are judged in one transaction.
const AT_ONCE: usize = 100;

/// How to replay.
pub(crate) struct Options<'o> {
    pub(crate) keep: Keep,
    /// Set from outside to end soon.
    pub(crate) stop: &'o AtomicBool,
    /// Needed where persons were erased from the organization.
    pub(crate) vault: Option<&'o Vault>,
    /// Who does it, and when.
    pub(crate) actor: &'o str,
    pub(crate) now: DateTime<Utc>,
}

/// How the records of one provider came out.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The row of `integration_sync_logs`; none in a dry run.
    pub(crate) run: Option<i64>,
    /// `quarantined` are those that are left.
    pub(crate) tally: Tally,
    /// Those left of which only the provider can tell the rest.
    pub(crate) need_provider: u64,
    pub(crate) interrupted: bool,
}

/// Takes the lock of a pair, so that no sync writes an older or newer state of the same records meanwhile.
pub(crate) fn lock(store: &Store, organization: &Organization, provider: &Name) -> Result<RunLock> {
    let slug = organization.slug.as_str();
    match lock::take(store.path(), (slug, provider.as_str()), crate::config::now())? {
        Taken::Free(lock) => Ok(lock),
        Taken::Held(holder) => {
            let message = format!("a sync of {slug}/{provider} is under way: {holder} is at it");
            let error = UserError::new(Exit::Locked, "already_running", message);
            Err(error.hint("try again when it has ended; `skillsctl status` shows when").into())
        }
    }
}

/// Replays records of one provider, told by their numbers, newest first. The caller holds the pair's lock.
pub(crate) fn replay(
    store: &mut Store,
    (organization, provider): (&Organization, &Name),
    ids: &[i64],
    options: &Options<'_>,
) -> Result<Replayed> {
    let library = Library::read(store.read())?;
    let plan = resolve::planned(store.read(), &library, organization, (provider, None), None)?;
    let pair = (plan.organization.id, plan.provider.id);
    let run = match options.keep {
        Keep::DryRun => None,
        Keep::Yes => Some(store.change(Keep::Yes, |tx| {
            let subject = format!("{}/{provider}", organization.slug);
            let entry = audit::Entry {
                actor: options.actor,
                action: "quarantine replay",
                subject: &subject,
                before: None,
                after: Some(&plan.shape),
            };
            audit::insert(tx, options.now, &entry)?;
            runs::start(tx, pair, (Kind::Replay, Trigger::Manual, Some(&plan.shape)), options.now)
        })?),
    };
    let room = records::room(store.read(), &plan.organization)?;
    let Options { vault, now, .. } = *options;
    let mut replay = Replay { plan: &plan, vault, run, room, now, need_provider: 0 };
    let mut tally = Tally::default();
    let mut interrupted = false;
    for some in ids.chunks(AT_ONCE) {
        if options.stop.load(Ordering::Relaxed) {
            interrupted = true;
            break;
        }
        let before = tally;
        tally = store.change(options.keep, |tx| {
            let mut tally = before;
            for id in some {
                // One that is no longer there was dropped meanwhile.
                if let Some(row) = quarantine::by_id(tx, pair.0, *id)? {
                    tally += replay.one(tx, &row)?;
                }
            }
            run.map_or(Ok(()), |run| runs::count(tx, run, &tally))?;
            Ok(tally)
        })?;
    }
    if let Some(run) = run {
        let outcome = match tally.quarantined {
            _ if interrupted => Outcome::Interrupted,
            0 => Outcome::Ok,
            _ => Outcome::Partial,
        };
        let finish = Finish { outcome, tally: &tally, warnings: &[], error: None, due_at: None, fell_back: false };
        store.change(Keep::Yes, |tx| runs::finish(tx, run, &finish, crate::config::now()))?;
    }
    Ok(Replayed { run, tally, need_provider: replay.need_provider, interrupted })
}

/// A replay under way.
struct Replay<'p> {
    plan: &'p Plan,
    vault: Option<&'p Vault>,
    run: Option<i64>,
    room: Option<u64>,
    now: DateTime<Utc>,
    need_provider: u64,
}

impl Replay<'_> {
    /// Stores a record, which then leaves quarantine, or leaves it there with the reasons of now.
    fn one(&mut self, tx: &Connection, row: &Quarantined) -> Result<Tally> {
        let stream = self.plan.streams.iter().find(|stream| stream.name == row.stream);
        let judged = match stream {
            _ if row.kept != Kept::Whole => {
                self.need_provider += 1;
                Err(row.reasons.clone())
            }
            None => Err(vec![format!("no mapping reads the stream `{}` any more", row.stream)]),
            Some(stream) => self.judged(tx, stream, row)?,
        };
        let mut tally = match judged {
            Ok(tally) => {
                quarantine::delete(tx, row.id)?;
                tally
            }
            Err(reasons) => {
                let shape = stream.filter(|_| row.kept == Kept::Whole).map(|stream| stream.shape.as_str());
                quarantine::keep(tx, row, &reasons, shape.or(row.shape.as_deref()).unwrap_or_default())?;
                Tally { quarantined: 1, ..Tally::default() }
            }
        };
        (tally.read, tally.pages) = (1, 0);
        Ok(tally)
    }

    /// Writes a record if it passes; if not, returns why.
    fn judged(
        &mut self,
        tx: &Connection,
        stream: &StreamPlan,
        row: &Quarantined,
    ) -> Result<Result<Tally, Vec<String>>> {
        let pair = (self.plan.organization.id, self.plan.provider.id);
        let page = Page::of_records(&[&row.record], &stream.transform.projection);
        let batch = stream.transform.batch(&stream.filters, page);
        let mut judged = Err(Vec::new());
        batch.each(|row, _| -> Result<()> {
            judged = match row {
                Row::Bad { reasons, .. } => Err(reasons.to_vec()),
                Row::Deleted(key) => Ok(key.to_owned()),
                Row::Record { record, .. } => Ok(record.key.to_owned()),
            };
            Ok(())
        })?;
        let key = match judged {
            Ok(key) => key,
            Err(reasons) => return Ok(Err(reasons)),
        };
        let owner = Owner {
            organization_id: pair.0,
            provider_id: pair.1,
            entity: stream.entity,
            // It was there when it came, and no later full read has seen it for that.
            generation: row.generation.min(state::get(tx, pair, &stream.name)?.generation),
            now: records::moment(self.now),
        };
        // A good record takes the one of its key out of quarantine; but this one had no key when it came, so that what is
        // stored under it, or set aside, may be newer.
        let known = key == row.key
            || (Rows::new(tx, &owner)?.find(&key)?.is_none()
                && quarantine::by_key(tx, pair, &stream.name, &key)?.is_none());
        if !known {
            return Ok(Err(vec!["another record of its key has come, which may be newer".into()]));
        }
        let mut writer = Writer {
            begun_with: owner.generation,
            owner,
            stream: stream.name.clone(),
            run_id: self.run,
            room: self.room,
            expects_new: false,
            has_quarantine: false,
            erased: Erased::of(self.vault, &self.plan.organization, &self.plan.provider.slug),
            now: self.now,
            connector: None,
        };
        let written = writer.write(tx, stream, &batch)?;
        if written.tally.over_cap > 0 {
            return Ok(Err(vec!["the organization has as many learners as it may".into()]));
        }
        if written.tally.quarantined > 0 {
            let again = quarantine::by_key(tx, pair, &stream.name, &key)?;
            if let Some(filed) = again.as_ref().filter(|filed| filed.id != row.id) {
                quarantine::delete(tx, filed.id)?;
            }
            return Ok(Err(again.map_or_else(|| row.reasons.clone(), |again| again.reasons)));
        }
        if stream.entity == Entity::Learner {
            self.room = self.room.map(|room| room.saturating_sub(written.room_used));
        }
        Ok(Ok(written.tally))
    }
}
