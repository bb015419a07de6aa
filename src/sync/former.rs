//! Rows of providers that an organization has left are taken over by the same people at the provider of now. All of these must
//! be known before: one of a page alone cannot tell that somebody on another page has the same address.

use super::resolve::StreamPlan;
use super::run::Run;
use crate::connector::Failure;
use crate::domain::entity::Entity;
use crate::domain::pairing;
use crate::store::former;
use crate::store::records::Owner;
use crate::store::{Keep, stamp};

impl Run<'_> {
    /// Takes over what is certain, in one transaction, and tells how many nobody can decide. Done again it changes nothing.
    pub(super) fn take_over(&mut self, stream: &StreamPlan, owner: &Owner) -> Result<(), Failure> {
        let (organization, provider) = (owner.organization_id, owner.provider_id);
        if stream.entity != Entity::Learner
            || !former::any_open(self.engine.store().read(), organization).map_err(Failure::Internal)?
        {
            return Ok(());
        }
        let came = std::mem::take(&mut self.tried.came);
        let tries = self.engine.options.keep == Keep::DryRun;
        let (log, before, since) = (self.log, self.tally, stamp(self.started));
        let (tally, undecided) = self.change(|tx| {
            let sides = former::sides(tx, (organization, Some(provider)), &mut came.into_values())?;
            let pairing = pairing::pair(&sides.stored, &sides.incoming);
            let ids: Vec<(i64, i64)> =
                pairing.pairs.iter().map(|(old, new)| (sides.stored[*old].id, sides.incoming[*new].id)).collect();
            let taken = ids.len() as u64;
            let news: Vec<i64> = ids.iter().map(|(_, new)| *new).collect();
            let mut tally = before;
            // What this run stored as new is not new.
            tally.inserted -= if tries { taken } else { former::count_since(tx, &news, &since)? };
            tally.adopted += taken;
            for pair in ids.into_iter().filter(|_| !tries) {
                former::take_over(tx, pair, &owner.now)?;
            }
            log.count(tx, &tally)?;
            Ok((tally, pairing.undecided_rows()))
        })?;
        self.tally = tally;
        if undecided > 0 {
            let slug = &self.plan.organization.slug;
            self.doubt(
                stream,
                &format!(
                    "{undecided} learners may be the same people as learners of a provider before, and nobody can say: both are \
                     stored; `skillsctl record link {slug}` lists them"
                ),
            );
        }
        Ok(())
    }
}
