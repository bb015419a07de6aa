//! Seals what is secret into the database and opens it again, with the master key in hand.

mod credentials;
mod deposits;
mod erasures;
mod rotation;
mod tokens;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
pub(crate) use credentials::Opened;
pub(crate) use deposits::{deposit, sealing_key};
use ring::rand::SystemRandom;
pub(crate) use rotation::{Change, Rotated, rekey, retire, rotate};
pub(crate) use tokens::KeptToken;

use crate::error::{Exit, UserError};
use crate::secrets::{AssociatedData, DataKey, DekContext, KeyId, MasterKey, Names, OpeningKey};
use crate::store::keys::{self, Place, Registered, Wrapped, WrappedKey};
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, Store};

/// The master keys at hand that this database needs, each proved to be what it says.
pub(crate) struct Vault {
    /// The first is the one in force, which everything new is sealed with.
    keys: Vec<MasterKey>,
    database_id: String,
}

/// Registers a master key with a database that has none yet.
pub(crate) fn register(tx: &Connection, database_id: &str, key: &MasterKey, now: DateTime<Utc>) -> Result<()> {
    keys::put_in_force(tx, key.id(), &key.check_value(database_id)?, now)
}

impl Vault {
    /// Checks the keys at hand against the database before anything is written with them. The one in force must be
    /// among them; no more are asked for than are needed.
    pub(crate) fn unlock<E: Into<anyhow::Error>>(
        store: &Store,
        at_hand: impl IntoIterator<Item = Result<MasterKey, E>>,
    ) -> Result<Self> {
        let registered = keys::master_keys(store.read())?;
        let needed = keys::needed(store.read())?;
        let in_force = registered.iter().find(|key| key.replaced_at.is_none()).ok_or_else(|| {
            UserError::new(Exit::Key, "key_not_registered", "the database has no master key yet")
                .hint("run `skillsctl init`")
        })?;
        let (mut keys, mut given) = (Vec::<MasterKey>::new(), Vec::new());
        for key in at_hand {
            let key = key.map_err(Into::into)?;
            given.push(key.id());
            if let Some(known) = registered.iter().find(|known| known.id == key.id()) {
                key.verify_check(store.database_id(), &known.check)?;
                keys.push(key);
            }
            if needed.iter().all(|id| given.contains(id)) {
                break;
            }
        }
        let first = keys.iter().position(|key| key.id() == in_force.id);
        let first = first.ok_or_else(|| wrong_key(in_force, &registered, &given))?;
        keys.swap(0, first);
        Ok(Vault { keys, database_id: store.database_id().to_owned() })
    }

    /// Returns the key in force.
    fn in_force(&self) -> &MasterKey {
        &self.keys[0]
    }

    /// Returns which key is in force.
    pub(crate) fn key_id(&self) -> KeyId {
        self.in_force().id()
    }

    /// Returns the ids of the keys that were proved, the one in force first.
    pub(crate) fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(MasterKey::id).collect()
    }

    /// Returns what makes names out of secrets, the same for all organizations until another key is in force.
    pub(crate) fn names(&self) -> Names {
        self.in_force().names()
    }

    /// Fails unless something that a master key wraps opens; what it is, is not looked at.
    pub(crate) fn unwraps(&self, wrapped: &Wrapped) -> Result<()> {
        let key = self.key_of(wrapped.key_id)?;
        if key.open(&wrapped.sealed, &self.associated_data(&wrapped.place)).is_some() {
            return Ok(());
        }
        Err(rotation::unreadable(&wrapped.place, wrapped.key_id).into())
    }

    /// Returns the master key that something is wrapped by.
    fn key_of(&self, id: KeyId) -> Result<&MasterKey, UserError> {
        self.keys.iter().find(|key| key.id() == id).ok_or_else(|| {
            let message = format!("this is wrapped by the master key `{id}`, which is not at hand");
            UserError::new(Exit::Key, "wrong_key", message)
                .hint("give it beside the other, by SKILLSCTL_KEY_FILE_PREVIOUS for one; see `skillsctl key status`")
        })
    }

    /// Returns what ties something that a master key wraps to its place.
    fn associated_data(&self, place: &Place) -> AssociatedData {
        match place {
            Place::DataKey { organization_id, version, .. } => {
                DekContext { db_id: &self.database_id, organization_id: *organization_id, version: *version }
                    .associated_data()
            }
            Place::OpeningKey { id } => OpeningKey::associated_data(&self.database_id, id),
        }
    }

    fn data_key(&self, connection: &Connection, organization: &Organization, version: i64) -> Result<DataKey> {
        let wrapped = keys::data_key(connection, organization.id, Some(version))?
            .with_context(|| format!("organization `{}` has no data key version {version}", organization.slug))?;
        Ok(self.unwrap(organization, &wrapped)?)
    }

    fn data_key_or_new(
        &self,
        tx: &Connection,
        organization: &Organization,
        now: DateTime<Utc>,
    ) -> Result<(DataKey, i64)> {
        let Some(wrapped) = keys::data_key(tx, organization.id, None)? else {
            return Ok((self.new_data_key(tx, organization, 1, now)?, 1));
        };
        match self.unwrap(organization, &wrapped) {
            // What it sealed is lost. With another, credentials can be set again.
            Err(error) if error.code == "data_key_unreadable" => {
                let version = wrapped.version + 1;
                Ok((self.new_data_key(tx, organization, version, now)?, version))
            }
            key => Ok((key?, wrapped.version)),
        }
    }

    fn new_data_key(
        &self,
        tx: &Connection,
        organization: &Organization,
        version: i64,
        now: DateTime<Utc>,
    ) -> Result<DataKey> {
        // Who seals may have waited for the value since it was there.
        organizations::not_purged(tx, &organization.slug)?;
        let key = DataKey::generate(&SystemRandom::new())?;
        let wrapped = self.in_force().wrap(&key, &self.wrapping(organization, version))?;
        keys::insert_data_key(tx, organization.id, &WrappedKey { version, key_id: self.key_id(), wrapped }, now)?;
        Ok(key)
    }

    fn unwrap(&self, organization: &Organization, wrapped: &WrappedKey) -> Result<DataKey, UserError> {
        self.key_of(wrapped.key_id)?.unwrap(
            &wrapped.wrapped,
            &self.wrapping(organization, wrapped.version),
            organization.slug.as_str(),
        )
    }

    fn wrapping(&self, organization: &Organization, version: i64) -> DekContext<'_> {
        DekContext { db_id: &self.database_id, organization_id: organization.id, version }
    }
}

/// Returns the error of keys at hand among which the one in force is not, which names it.
fn wrong_key(in_force: &Registered, registered: &[Registered], given: &[KeyId]) -> UserError {
    let needed = in_force.id;
    let replaced = registered.iter().find_map(|key| key.replaced_at.filter(|_| given.contains(&key.id)).zip(Some(key)));
    if let Some((at, key)) = replaced {
        let message = format!(
            "the master key `{}` was replaced on {}: this database needs `{needed}` now",
            key.id,
            at.format("%Y-%m-%d %H:%M UTC")
        );
        return UserError::new(Exit::Key, "key_replaced", message).hint(
            "point the key source to the new key: --key-file, SKILLSCTL_KEY_FILE or what else named the old one; \
             `skillsctl key status` shows it",
        );
    }
    let given = match given {
        [] => "none is given".to_owned(),
        [one] => format!("the one given is `{one}`"),
        more => {
            format!("those given are {}", more.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" and "))
        }
    };
    UserError::new(Exit::Key, "wrong_key", format!("this database needs the master key `{needed}`, and {given}"))
        .hint("give the right one with --key-file; `skillsctl key status` shows where the key came from")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Keep;

    fn key() -> MasterKey {
        MasterKey::generate(&SystemRandom::new()).unwrap()
    }

    fn same(key: &MasterKey) -> Result<MasterKey, UserError> {
        Ok(MasterKey::parse(key.to_text().expose()).unwrap())
    }

    fn failed(unlocked: Result<Vault>) -> UserError {
        unlocked.err().unwrap().downcast().unwrap()
    }

    /// Returns a database that had the first key and has the second.
    fn rotated(old: &MasterKey, new: &MasterKey) -> Store {
        let mut store = crate::store::tests::memory();
        let id = store.database_id().to_owned();
        for key in [old, new] {
            store.change(Keep::Yes, |tx| register(tx, &id, key, DateTime::UNIX_EPOCH)).unwrap();
        }
        store
    }

    #[test]
    fn either_of_two_keys_at_hand_may_be_the_one_in_force() {
        let (old, new) = (key(), key());
        let store = rotated(&old, &new);
        for at_hand in [[&old, &new], [&new, &old]] {
            assert_eq!(Vault::unlock(&store, at_hand.map(same)).unwrap().key_id(), new.id());
        }
        // Nor is the second one asked for where the first is enough.
        let unreadable = || Err(UserError::new(Exit::Key, "key_missing", "no such file"));
        assert!(Vault::unlock(&store, [same(&new), unreadable()]).is_ok());
        assert_eq!(failed(Vault::unlock(&store, [same(&old), unreadable()])).code, "key_missing");
    }

    #[test]
    fn a_wrong_key_is_refused_by_an_error_that_names_the_right_one() {
        let (old, new, other) = (key(), key(), key());
        let store = rotated(&old, &new);
        let replaced = failed(Vault::unlock(&store, [same(&old)]));
        assert_eq!((replaced.exit, replaced.code), (Exit::Key, "key_replaced"));
        assert!(replaced.message.contains(&new.id().to_string()) && replaced.message.contains("1970-01-01 00:00 UTC"));
        let wrong = failed(Vault::unlock(&store, [same(&other)]));
        assert_eq!((wrong.exit, wrong.code), (Exit::Key, "wrong_key"));
        assert!(wrong.message.contains(&new.id().to_string()) && wrong.message.contains(&other.id().to_string()));
        assert_eq!(failed(Vault::unlock(&store, [same(&other), same(&key())])).code, "wrong_key");
    }

    #[test]
    fn a_check_value_of_another_key_is_refused() {
        let (old, new) = (key(), key());
        let store = rotated(&old, &new);
        let swap =
            "UPDATE master_keys SET check_value = (SELECT check_value FROM master_keys WHERE replaced_at IS NOT NULL)";
        store.read().execute(swap, []).unwrap();
        assert_eq!(failed(Vault::unlock(&store, [same(&new)])).code, "key_check_unreadable");
    }
}
