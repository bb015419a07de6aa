//! The key of an organization's erasures, sealed under its data key.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::Vault;
use crate::error::{Exit, UserError};
use crate::secrets::{ErasureContext, ErasureKey};
use crate::store::Connection;
use crate::store::erasures::{self, StoredKey};
use crate::store::organizations::Organization;

impl Vault {
    /// Returns the key that an organization's erased persons are known by; nothing where nobody ever was erased.
    pub(crate) fn erasure_key(
        &self,
        connection: &Connection,
        organization: &Organization,
    ) -> Result<Option<ErasureKey>> {
        let Some(stored) = erasures::key(connection, organization.id)? else { return Ok(None) };
        let data_key = self.data_key(connection, organization, stored.data_key_version)?;
        let context = self.erasure_context(organization, stored.data_key_version);
        let key = ErasureKey::open(&data_key, &context, &stored.sealed).ok_or_else(|| {
            let message = format!("the key of the erasures of `{}` does not open", organization.slug);
            UserError::new(Exit::Key, "erasure_key_unreadable", message)
                .hint("it was changed or moved in the database: restore a backup")
        })?;
        Ok(Some(key))
    }

    /// Returns the same, made where there is none.
    pub(crate) fn erasure_key_or_new(
        &self,
        tx: &Connection,
        organization: &Organization,
        now: DateTime<Utc>,
    ) -> Result<ErasureKey> {
        if let Some(key) = self.erasure_key(tx, organization)? {
            return Ok(key);
        }
        let key = ErasureKey::generate()?;
        self.keep_erasure_key(tx, organization, &key, now)?;
        Ok(key)
    }

    /// Seals the key under the newest data key, in place of what was sealed before. The hashes stay as they are.
    pub(crate) fn keep_erasure_key(
        &self,
        tx: &Connection,
        organization: &Organization,
        key: &ErasureKey,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (data_key, data_key_version) = self.data_key_or_new(tx, organization, now)?;
        let sealed = key.seal(&data_key, &self.erasure_context(organization, data_key_version))?;
        erasures::put_key(tx, organization.id, &StoredKey { data_key_version, sealed })
    }

    fn erasure_context(&self, organization: &Organization, dek_version: i64) -> ErasureContext<'_> {
        ErasureContext { db_id: &self.database_id, organization_id: organization.id, dek_version }
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use crate::secrets::{DataKey, MasterKey};
    use crate::store::keys::{self, WrappedKey};
    use crate::store::organizations::{self, NewOrganization};
    use crate::store::{Keep, Store};
    use crate::vault;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn store() -> (Store, Vault, Organization) {
        let mut store = crate::store::tests::memory();
        let (id, key) = (store.database_id().to_owned(), MasterKey::generate(&SystemRandom::new()).unwrap());
        let organization = store.change(Keep::Yes, |tx| {
            vault::register(tx, &id, &key, NOW)?;
            tx.execute_batch(
                "INSERT INTO integration_presets (slug, name, recommended, position) VALUES ('aptem', 'Aptem', 1, 1);
                 INSERT INTO integration_preset_defaults (preset_id, revision, document, providers, message, created_by, created_at)
                 VALUES (1, 1, '', '[]', '', 'admin', '2026-11-01T00:00:00.000Z');",
            )?;
            let new = NewOrganization {
                slug: "acme".parse().map_err(anyhow::Error::msg)?,
                name: "Acme".into(),
                preset_id: 1,
                defaults_revision: 1,
                max_learners: None,
                billing_name: None,
                billing_email: None,
                time_zone: chrono_tz::Europe::London,
            };
            organizations::insert(tx, &new, NOW)?;
            organizations::by_slug(tx, "acme")
        });
        let vault = Vault::unlock(&store, [anyhow::Ok(key)]).unwrap();
        (store, vault, organization.unwrap())
    }

    #[test]
    fn hashes_stay_the_same_when_their_key_is_sealed_under_a_new_data_key() {
        let (mut store, vault, organization) = store();
        assert!(vault.erasure_key(store.read(), &organization).unwrap().is_none());
        let change = store.change(Keep::Yes, |tx| {
            let before = vault.erasure_key_or_new(tx, &organization, NOW)?.of_key("aptem", "7");
            let data_key = DataKey::generate(&SystemRandom::new())?;
            let wrapped = vault.in_force().wrap(&data_key, &vault.wrapping(&organization, 2))?;
            keys::insert_data_key(
                tx,
                organization.id,
                &WrappedKey { version: 2, key_id: vault.key_id(), wrapped },
                NOW,
            )?;
            let key = vault.erasure_key_or_new(tx, &organization, NOW)?;
            vault.keep_erasure_key(tx, &organization, &key, NOW)?;
            Ok(before)
        });
        let before = change.unwrap();
        // Nothing needs the old data key any more.
        store.change(Keep::Yes, |tx| Ok(tx.execute("DELETE FROM data_keys WHERE version = 1", [])?)).unwrap();
        let key = vault.erasure_key(store.read(), &organization).unwrap().unwrap();
        assert_eq!(key.of_key("aptem", "7"), before);
    }

    #[test]
    fn a_key_moved_to_another_organization_does_not_open() {
        let (mut store, vault, organization) = store();
        let key = store.change(Keep::Yes, |tx| vault.erasure_key_or_new(tx, &organization, NOW));
        assert!(key.is_ok());
        let other = Organization { id: organization.id + 1, ..organization.clone() };
        let context = vault.erasure_context(&other, 1);
        let data_key = vault.data_key(store.read(), &organization, 1).unwrap();
        let stored = erasures::key(store.read(), organization.id).unwrap().unwrap();
        assert!(ErasureKey::open(&data_key, &context, &stored.sealed).is_none());
    }
}
