//! Whether a run that is refused goes on with the credentials that those in force have replaced: for a day, once, and only
//! before it has stored anything, so that no run holds pages of two accounts.

use anyhow::Result;

use super::Engine;
use super::resolve::Plan;
use crate::connector::Failure;
use crate::domain::credential::in_grace;
use crate::error::UserError;
use crate::store::credentials::{self, Credential, Stage};
use crate::store::runs::Tally;
use crate::vault::Opened;

/// Returns whether a run failed for its credentials before it stored anything. Those of another account are no such case: to
/// go on would hide that.
pub(super) fn is_refusal(failure: Option<&Failure>, tally: &Tally) -> bool {
    let refused = |code: &str| matches!(code, "credential_refused" | "reauth_required");
    tally.pages == 0 && matches!(failure, Some(Failure::Refused(error)) if refused(error.code))
}

/// Returns the credentials that those of a run have replaced not long ago, opened. None if a person has replaced any since it
/// began, if they are the newer ones, which a rollback has put aside, or if they do not open.
pub(super) fn previous(engine: &Engine<'_>, plan: &Plan, given: &[i64]) -> Result<Option<Opened>> {
    let place = (&plan.organization, &plan.provider);
    let pair = (place.0.id, place.1.id);
    let store = engine.store();
    let current = credentials::together(store.read(), pair, Stage::Current)?;
    if !current.iter().map(|credential| credential.given).eq(given.iter().copied()) {
        return Ok(None);
    }
    let now = engine.now();
    let may_be_tried = |previous: &Credential| {
        let replaced_by = current.iter().find(|current| current.field == previous.field);
        previous.staged_at.is_some_and(|at| in_grace(at, now))
            && replaced_by.is_some_and(|current| current.given > previous.given)
    };
    let mut replaced = credentials::together(store.read(), pair, Stage::Previous)?;
    replaced.retain(|credential| credential.stage == Stage::Previous);
    if replaced.is_empty() || !replaced.iter().all(may_be_tried) {
        return Ok(None);
    }
    match engine.vault.open_stage(store.read(), place, Stage::Previous) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.is::<UserError>() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn only_a_refused_credential_before_the_first_page_is_a_refusal() {
        let refused = |code| Failure::Refused(UserError::new(Exit::Refused, code, "no"));
        let none = Tally::default();
        for code in ["credential_refused", "reauth_required"] {
            assert!(is_refusal(Some(&refused(code)), &none), "{code}");
            assert!(!is_refusal(Some(&refused(code)), &Tally { pages: 1, ..none }), "{code}: rows of it are stored");
        }
        for code in ["wrong_account", "not_allowed", "credential_replaced", "credentials_missing"] {
            assert!(!is_refusal(Some(&refused(code)), &none), "{code}");
        }
        let stream = Failure::Stream(UserError::new(Exit::Refused, "credential_refused", "no"));
        assert!(!is_refusal(Some(&stream), &none) && !is_refusal(None, &none));
    }
}
