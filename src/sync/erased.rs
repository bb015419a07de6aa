//! Who was erased and must not come back. A page may have been read before somebody was erased and be written after it, so
//! this is looked up anew in the transaction of each page: one look-up, and a hash a record where anybody was erased.

use std::collections::HashSet;

use anyhow::{Context as _, Result};

use crate::domain::names::Name;
use crate::domain::person;
use crate::domain::uln::{self, Uln};
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::secrets::{ErasureKey, PersonHash};
use crate::store::organizations::Organization;
use crate::store::{Connection, erasures};
use crate::vault::Vault;

/// Who was erased from an organization, as records of one provider tell.
pub(super) struct Erased<'v> {
    /// None where nobody was erased when it was asked for: a replay does without the master key then.
    vault: Option<&'v Vault>,
    organization: Organization,
    provider: Name,
    /// The state of erasures that is known, once it was looked for.
    revision: Option<Option<i64>>,
    known: Option<(ErasureKey, HashSet<PersonHash>)>,
}

impl<'v> Erased<'v> {
    /// Returns nobody; [`Erased::refresh`] looks.
    pub(super) fn of(vault: Option<&'v Vault>, organization: &Organization, provider: &Name) -> Self {
        let (organization, provider) = (organization.clone(), provider.clone());
        Erased { vault, organization, provider, revision: None, known: None }
    }

    /// Looks who was erased as of this transaction.
    pub(super) fn refresh(&mut self, tx: &Connection) -> Result<()> {
        let revision = erasures::revision(tx, self.organization.id)?;
        let is_known = self.revision == Some(revision) || (mutants::on("erasures-once") && self.revision.is_some());
        if is_known {
            return Ok(());
        }
        let hashes = erasures::hashes(tx, self.organization.id)?;
        self.known = None;
        if !hashes.is_empty() {
            let vault = self.vault.ok_or_else(|| {
                let message = format!("a person was erased from `{}` meanwhile", self.organization.slug);
                UserError::new(Exit::Conflict, "changed_under_you", message).hint("run the same command again")
            })?;
            let key = vault.erasure_key(tx, &self.organization)?.context("an erasure has no key")?;
            self.known = Some((key, hashes));
        }
        self.revision = Some(revision);
        Ok(())
    }

    /// Returns whether anybody was erased.
    pub(super) fn any(&self) -> bool {
        self.known.is_some()
    }

    /// Returns whether a record of this key is of a person who was erased, or of this ULN.
    pub(super) fn has(&self, key: &str, uln: Option<&str>) -> bool {
        self.known.as_ref().is_some_and(|(hash, known)| {
            let uln = uln.filter(|uln| uln::check(uln) == Uln::Valid);
            known.contains(&hash.of_key(self.provider.as_str(), key))
                || uln.is_some_and(|uln| known.contains(&hash.of_uln(uln)))
        })
    }

    /// Returns whether a record that could not be mapped is of such a person: by its key, or any ULN that stands in it.
    pub(super) fn stands_in(&self, key: &str, record: &str) -> bool {
        let mut ulns = record.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == 10);
        self.any() && (self.has(key, None) || ulns.any(|word| self.has(key, Some(word))))
    }

    /// Returns what a run says without the persons who were erased.
    pub(super) fn unnamed(&self, text: &str) -> String {
        if !self.any() {
            return text.to_owned();
        }
        person::without_words(text, |word| self.has(word, Some(word)))
    }

    /// Returns an error without the persons who were erased.
    pub(super) fn unnamed_error(&self, error: &UserError) -> UserError {
        let mut error = error.clone();
        error.message = self.unnamed(&error.message);
        error.hint = error.hint.map(|hint| self.unnamed(&hint));
        error
    }
}
