//! What follows a read that came to its end: its doubts are told, a proved one deletes, and only then the watermark moves.

use chrono::TimeDelta;

use super::read::Reading;
use super::resolve::StreamPlan;
use super::run::Run;
use super::{fetch, sweep, view};
use crate::connector::Failure;
use crate::domain::completeness::Completeness;
use crate::mutants;
use crate::store::state::{self, Mode, OpenRead, StreamState, View};
use crate::store::{quarantine, records};

impl Run<'_> {
    /// What follows a read that came to its end: deletes, and only then the watermark. `empty` says that it brought no record.
    /// Returns the read, with all that speaks against it.
    pub(super) fn finish_read(
        &mut self,
        reading: Reading<'_>,
        state: &mut StreamState,
        mut read: OpenRead,
        empty: bool,
    ) -> Result<OpenRead, Failure> {
        mutants::point("read ended");
        let Reading { stream, writer, whole, .. } = reading;
        let (engine, plan, owner) = (self.engine, self.plan, &writer.owner);
        let deletes = sweep::Deletes {
            plan: stream,
            manifest: &plan.manifest,
            owner,
            keep: engine.options.keep,
            allow_mass: engine
                .options
                .allow_mass_delete
                .then(|| (engine.options.actor.as_str(), format!("{}/{}", plan.organization.slug, plan.provider.slug))),
        };
        self.tally.deleted += deletes.feed(self.connector, (engine, self.turn), &mut read, &mut self.tried)?;
        // Behind a window in doubt everything is read.
        state.open_read = fetch::next_window(stream, &read).filter(|_| read.completeness.is_proved());
        if !self.moves() {
            self.doubts(stream, &read.completeness);
            self.count_usage();
            let (log, tally) = (self.log, self.tally);
            self.change(|tx| log.count(tx, &tally))?;
            return Ok(read);
        }
        let full = read.mode == Mode::Full;
        let changed = !empty;
        let empty = empty && full && whole;
        if empty && records::any_live(engine.store().read(), owner).map_err(Failure::Internal)? {
            let title = &plan.manifest.title;
            self.doubt(stream, &format!("{title} showed no record at all, where some were before"));
        }
        if full {
            self.look_again(stream, &mut read)?;
        }
        self.doubts(stream, &read.completeness);
        let proved = read.completeness.is_proved();
        // The one place where a read proves what is gone.
        let after = stream.stream.deletes.after;
        let oldest = match full && proved {
            true if mutants::on("shared-count") => Some(read.number - i64::from(after) + 1),
            true => state.prove(read.number, after),
            false => None,
        };
        let (swept, failure) = match oldest.map_or(Ok(None), |oldest| self.sweep(&deletes, oldest)) {
            Ok(swept) => (swept, None),
            Err(failure) => (None, Some(failure)),
        };
        mutants::point("swept");
        // Who is there must be known: by this read, or by one before and what changed since.
        if proved && failure.is_none() && (full || (changed && state.last_full_at.is_some())) {
            self.take_over(stream, owner)?;
        }
        // By both clocks: one that was wrong once must not hide what comes. The provider's tells whole seconds.
        let differs = self.connector.provider_time(read.begun) != read.begun;
        let by_theirs = read.to - TimeDelta::seconds(i64::from(differs));
        let until = by_theirs.min(fetch::end(stream, read.begun));
        state.shape = Some(read.shape.clone());
        state.view = Some(read.view.clone());
        state.doubts = (!proved).then(|| read.completeness.clone());
        if !read.completeness.holds_back() {
            state.watermark = Some(until);
        }
        if !proved {
            state.last_full_at = None;
        } else if full && failure.is_none() {
            state.last_full_at = Some(until);
        }
        self.count_usage();
        let (pair, log, tally) = (self.pair(), self.log, self.tally);
        self.change(|tx| {
            state::put(tx, pair, &stream.name, state)?;
            if let (Some(_), Some(oldest), false) = (swept, oldest, empty) {
                quarantine::sweep(tx, pair, &stream.name, oldest)?;
            }
            log.count(tx, &tally)?;
            mutants::point("watermark written");
            Ok(())
        })?;
        mutants::point("watermark committed");
        failure.map_or(Ok(read), Err)
    }

    /// Asks at the end of a full read what the credential sees, so that a group left while it was read is noticed.
    fn look_again(&mut self, stream: &StreamPlan, read: &mut OpenRead) -> Result<(), Failure> {
        if self.plan.manifest.check.as_ref().is_none_or(|check| check.scope.is_none()) {
            return Ok(());
        }
        let (scope, why) = self.turn.call(|| view::scope(self.connector)).unwrap_or(Err(Failure::Stopped))?;
        self.tell(stream, why);
        let now = View { scope, ..read.view.clone() };
        if read.completeness.is_proved() {
            view::difference(&read.view, &now).into_iter().for_each(|doubt| read.completeness.note(doubt, 1));
        }
        read.view = now;
        Ok(())
    }

    /// Says what speaks against a read, and what follows from it.
    fn doubts(&mut self, stream: &StreamPlan, read: &Completeness) {
        let so = match self.moves() {
            true => ", so nothing that is missing was marked as deleted, and the next sync reads everything again",
            false => "",
        };
        self.told.incomplete |= read.shows_loss();
        for line in read.lines() {
            self.doubt(stream, &format!("{line}{so}"));
        }
    }

    /// Marks as deleted what complete full reads have missed. Returns how many rows that were; nothing where reads do not tell.
    fn sweep(&mut self, deletes: &sweep::Deletes<'_>, oldest: i64) -> Result<Option<u64>, Failure> {
        let swept = deletes.sweep(&mut self.engine.store(), oldest, &self.tried)?;
        self.tally.deleted += swept.unwrap_or(0);
        Ok(swept)
    }
}
