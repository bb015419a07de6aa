//! Deletes: what a feed of deleted records says, and what a complete full read no longer found, with a brake.

use std::borrow::Cow;

use super::resolve::StreamPlan;
use super::turn::Turn;
use super::{Engine, fetch};
use crate::config;
use crate::connector::{Connector, Failure, Page, Start, Window, scalar};
use crate::domain::manifest::key::joined;
use crate::domain::manifest::{Manifest, Sweep};
use crate::domain::path::Projection;
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::store::records::{self, Owner, Rows, Tried};
use crate::store::state::OpenRead;
use crate::store::{Keep, Store, audit, quarantine};

/// The deletes that follow a complete read of a stream.
pub(super) struct Deletes<'d> {
    pub(super) plan: &'d StreamPlan,
    pub(super) manifest: &'d Manifest,
    pub(super) owner: &'d Owner,
    pub(super) keep: Keep,
    /// Who said that more rows may vanish at once than the brake allows, and of what; `None` where nobody did.
    pub(super) allow_mass: Option<(&'d str, String)>,
}

impl Deletes<'_> {
    /// Marks as deleted what the stream's feed lists. Returns how many rows that were.
    pub(super) fn feed(
        &self,
        connector: &Connector<'_>,
        (engine, turn): (&Engine<'_>, &Turn<'_>),
        read: &mut OpenRead,
        tried: &mut Tried,
    ) -> Result<u64, Failure> {
        let Deletes { plan, owner, .. } = self;
        let Some(feed) = &plan.stream.deletes.feed else { return Ok(0) };
        let mut projection = Projection::default();
        let keys: Vec<usize> = plan.stream.key.paths().map(|path| projection.add(path)).collect();
        let mut deleted = 0;
        for each in &plan.each {
            let start = Start {
                window: Window { from: read.from, to: read.to },
                position: None,
                each: each.as_deref(),
                job: None,
                details: false,
            };
            let (mut is_first, mut end) = (true, None);
            let take = |page: Page| {
                fetch::count(feed, &mut read.completeness, is_first, &page);
                (is_first, end) = (false, page.end);
                let marked = engine.change(self.keep, |tx| {
                    let (mut marked, rows) = (Vec::new(), Rows::new(tx, owner)?);
                    let pair = (owner.organization_id, owner.provider_id);
                    let mut mark = |page: &Page| -> anyhow::Result<()> {
                        for record in page.records() {
                            let parts = keys.iter().map(|slot| record.value(*slot).and_then(scalar).map(Cow::Owned));
                            let Some(key) = joined(parts) else { continue };
                            marked.extend(rows.delete(&key)?);
                            quarantine::remove(tx, pair, &plan.name, &key)?;
                        }
                        Ok(())
                    };
                    mark(&page)?;
                    for part in page.parts() {
                        mark(&part?)?;
                    }
                    Ok(marked)
                });
                for id in marked.map_err(Failure::Internal)? {
                    // In a dry run a row is live again for whatever else tells of its delete.
                    deleted += u64::from(self.keep == Keep::Yes || tried.gone.insert(id));
                }
                mutants::point("feed page committed");
                Ok(())
            };
            fetch::pages((connector, turn), plan, (feed, &projection), start, |page| page, take)?;
            read.completeness.end_list(end);
        }
        Ok(deleted)
    }

    /// Marks as deleted what no complete full read since `oldest` has seen. Returns how many rows that were; nothing where reads
    /// do not tell. Stops instead if more would vanish than the brake allows.
    pub(super) fn sweep(&self, store: &mut Store, oldest: i64, tried: &Tried) -> Result<Option<u64>, Failure> {
        let Deletes { owner, .. } = self;
        let deletes = &self.plan.stream.deletes;
        if deletes.sweep == Sweep::Never {
            return Ok(None);
        }
        let tried = (self.keep == Keep::DryRun).then_some(tried);
        let (live, unseen) = records::unseen(store.read(), owner, oldest, tried).map_err(Failure::Internal)?;
        if unseen == 0 {
            return Ok(Some(0));
        }
        #[expect(clippy::cast_precision_loss, reason = "a share of rows needs no more than 52 bits")]
        let share = unseen as f64 / live as f64;
        let mass = share > deletes.max;
        if mass && self.allow_mass.is_none() {
            return Err(Failure::Stream(
                UserError::new(
                    Exit::Conflict,
                    "mass_delete",
                    format!(
                        "{unseen} of {live} {} are no longer at {}: that is more than {:.0} %, so none was marked as deleted",
                        owner.entity.table(),
                        self.manifest.title,
                        deletes.max * 100.0
                    ),
                )
                .hint("check whether the credential still sees everything; if they are really gone: skillsctl sync ORG --full --allow-mass-delete --confirm ORG"),
            ));
        }
        match tried {
            Some(_) => Ok(Some(unseen)),
            None => {
                let swept = store.change(Keep::Yes, |tx| {
                    let swept = records::sweep(tx, owner, oldest)?;
                    if let Some((actor, of)) = self.allow_mass.as_ref().filter(|_| mass) {
                        let subject = format!("{of}/{}: {swept} of {live}", self.plan.name);
                        let entry = audit::Entry {
                            actor,
                            action: "sync mass-delete",
                            subject: &subject,
                            before: None,
                            after: None,
                        };
                        audit::insert(tx, config::now(), &entry)?;
                    }
                    Ok(swept)
                });
                swept.map(Some).map_err(Failure::Internal)
            }
        }
    }
}
