//! The key that erased persons are known by. Without it nobody can tell who they are, not even by trying all there are.

use anyhow::Result;
use ring::hmac;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::keys::random_bytes;
use super::sealed::{self, AssociatedData};
use super::{DataKey, Sealed};

const ERASURE_DOMAIN: &str = "skillsctl/erasures/v1";

/// The key of one organization. It stays the same when master key and data key change: it is sealed anew then.
pub(crate) struct ErasureKey {
    bytes: Zeroizing<[u8; 32]>,
    hmac: hmac::Key,
}

/// What is kept of something that a person was known by.
pub(crate) type PersonHash = [u8; 32];

/// Where the key belongs; it opens as nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErasureContext<'a> {
    /// The database's own id.
    pub(crate) db_id: &'a str,
    pub(crate) organization_id: i64,
    /// The version of the data key it is sealed under.
    pub(crate) dek_version: i64,
}

impl ErasureContext<'_> {
    fn associated_data(&self) -> AssociatedData {
        AssociatedData::new(ERASURE_DOMAIN).text(self.db_id).number(self.organization_id).number(self.dek_version)
    }
}

impl ErasureKey {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &*bytes);
        ErasureKey { bytes, hmac }
    }

    /// Returns a new key.
    pub(crate) fn generate() -> Result<Self> {
        Ok(ErasureKey::new(random_bytes(&SystemRandom::new())?))
    }

    /// Returns the key encrypted, bound to where it belongs.
    pub(crate) fn seal(&self, key: &DataKey, context: &ErasureContext<'_>) -> Result<Sealed> {
        sealed::encrypt(key.bytes(), &context.associated_data(), &*self.bytes)
    }

    /// Returns a key that was sealed; nothing if it was changed or moved, or is sealed under another data key.
    pub(crate) fn open(key: &DataKey, context: &ErasureContext<'_>, sealed: &Sealed) -> Option<Self> {
        let bytes = sealed::decrypt(key.bytes(), &context.associated_data(), sealed)?;
        Some(ErasureKey::new(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// Returns the hash of a key at a provider.
    pub(crate) fn of_key(&self, provider: &str, key: &str) -> PersonHash {
        self.hash(["key", provider, key])
    }

    /// Returns the hash of a ULN, which is the same at all providers.
    pub(crate) fn of_uln(&self, uln: &str) -> PersonHash {
        self.hash(["uln", "", uln])
    }

    fn hash(&self, parts: [&str; 3]) -> PersonHash {
        let mut context = hmac::Context::with_key(&self.hmac);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> ErasureContext<'static> {
        ErasureContext { db_id: "6f1d0c2a", organization_id: 1, dek_version: 1 }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_person_under_the_same_key_only() {
        let key = ErasureKey::generate().unwrap();
        assert_eq!(key.of_key("aptem", "7"), key.of_key("aptem", "7"));
        let all = [key.of_key("aptem", "7"), key.of_key("aptem", "8"), key.of_key("bud", "7"), key.of_uln("7")];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_ne!(key.of_uln("7"), ErasureKey::generate().unwrap().of_uln("7"));
    }

    #[test]
    fn a_key_opens_where_it_belongs_and_keeps_its_hashes() {
        let data_key = DataKey::generate(&SystemRandom::new()).unwrap();
        let key = ErasureKey::generate().unwrap();
        let sealed = key.seal(&data_key, &context()).unwrap();
        let opened = ErasureKey::open(&data_key, &context(), &sealed).unwrap();
        assert_eq!(opened.of_uln("1234567890"), key.of_uln("1234567890"));
        let elsewhere = [
            ErasureContext { db_id: "another", ..context() },
            ErasureContext { organization_id: 2, ..context() },
            ErasureContext { dek_version: 2, ..context() },
        ];
        assert!(elsewhere.iter().all(|place| ErasureKey::open(&data_key, place, &sealed).is_none()));
        let other = DataKey::generate(&SystemRandom::new()).unwrap();
        assert!(ErasureKey::open(&other, &context(), &sealed).is_none());
    }
}
