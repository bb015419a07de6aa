//! The master key, its id and its text; and the data keys that it wraps.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use ring::digest::{self, SHA256};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::hex::{self, NotHex};
use super::sealed::{self, AssociatedData};
use super::{Sealed, Secret};
use crate::error::{Exit, UserError};

const KEY_ID_DOMAIN: &[u8] = b"skillsctl/kek-id/v1";
const CHECKSUM_DOMAIN: &[u8] = b"skillsctl/key-checksum/v1";
const CHECK_DOMAIN: &str = "skillsctl/check/v1";
const CHECK_VALUE: &[u8] = b"skillsctl key check";
const DEK_DOMAIN: &str = "skillsctl/dek/v1";
const NAMES_DOMAIN: &[u8] = b"skillsctl/names/v1";
const TEXT_LABEL: &str = "skillsctl-key-1";

/// Which master key: the first 8 bytes of a hash of it, as 16 hexadecimal digits. No secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

impl FromStr for KeyId {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        hex::decode(text).map(|bytes| KeyId(*bytes)).map_err(|_| {
            UserError::new(Exit::Invalid, "key_id_invalid", format!("`{text}` is not the id of a key: 16 hex digits"))
        })
    }
}

impl TryFrom<String> for KeyId {
    type Error = UserError;

    fn try_from(text: String) -> Result<Self, UserError> {
        text.parse()
    }
}

/// Why text is not a master key; tells a typing error, which a wrong key is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyTextError {
    /// There is nothing, or white space alone.
    Empty,
    /// It looks like nothing that this program writes.
    Form,
    /// It is of a later form than this program knows.
    Version,
    /// The key has a character that is no digit, at this place from 1.
    Digit { place: usize },
    /// The key has this many digits, not 64.
    Length { found: usize },
    /// The key does not fit its own checksum.
    Checksum,
}

impl fmt::Display for KeyTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyTextError::Empty => write!(f, "it is empty"),
            KeyTextError::Form => write!(f, "it is not one line of `{TEXT_LABEL} KEY CHECKSUM`, nor 64 hex digits"),
            KeyTextError::Version => write!(f, "it is of a form newer than `{TEXT_LABEL}`, which this version reads"),
            KeyTextError::Digit { place } => write!(f, "character {place} of the key is not a hex digit"),
            KeyTextError::Length { found } => write!(f, "the key has {found} hex digits and should have 64"),
            KeyTextError::Checksum => write!(f, "its checksum does not fit: a character was changed"),
        }
    }
}

impl std::error::Error for KeyTextError {}

impl From<NotHex> for KeyTextError {
    fn from(error: NotHex) -> Self {
        match error {
            NotHex::Digit { place } => KeyTextError::Digit { place },
            NotHex::Length { found } => KeyTextError::Length { found },
        }
    }
}

/// The master key. Never in the database; wraps the data keys.
pub(crate) struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Returns a new key.
    pub(crate) fn generate(random: &SystemRandom) -> Result<Self> {
        random_bytes(random).map(MasterKey)
    }

    /// Returns the key that a line of [`MasterKey::to_text`], or 64 hexadecimal digits, stands for.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyTextError> {
        let mut words = text.split_whitespace();
        let (digits, checksum) = match (words.next(), words.next(), words.next(), words.next()) {
            (None, ..) => return Err(KeyTextError::Empty),
            (Some(TEXT_LABEL), Some(digits), checksum, None) => (digits, checksum),
            (Some(label), ..) if label.starts_with("skillsctl-key-") && label != TEXT_LABEL => {
                return Err(KeyTextError::Version);
            }
            (Some(digits), None, ..) if digits != TEXT_LABEL => return Ok(MasterKey(hex::decode(digits)?)),
            _ => return Err(KeyTextError::Form),
        };
        let key = MasterKey(hex::decode(digits)?);
        let checksum = checksum.and_then(|checksum| hex::decode::<4>(checksum).ok());
        if checksum.is_none_or(|checksum| *checksum != key.checksum()) {
            return Err(KeyTextError::Checksum);
        }
        Ok(key)
    }

    /// Returns the key as the one line of a key file: a label, 64 hexadecimal digits, a checksum.
    pub(crate) fn to_text(&self) -> Secret {
        let digits = Zeroizing::new(hex::encode(&*self.0));
        Secret::from(format!("{TEXT_LABEL} {} {}", *digits, hex::encode(&self.checksum())))
    }

    /// Returns which key this is.
    pub(crate) fn id(&self) -> KeyId {
        KeyId(self.hash(KEY_ID_DOMAIN))
    }

    fn checksum(&self) -> [u8; 4] {
        self.hash(CHECKSUM_DOMAIN)
    }

    fn hash<const N: usize>(&self, domain: &[u8]) -> [u8; N] {
        let mut context = digest::Context::new(&SHA256);
        context.update(domain);
        context.update(&*self.0);
        let mut bytes = [0; N];
        bytes.copy_from_slice(&context.finish().as_ref()[..N]);
        bytes
    }

    /// Returns a key encrypted, whatever it is for, bound to where it belongs.
    pub(crate) fn close(&self, key: &[u8], data: &AssociatedData) -> Result<Sealed> {
        sealed::encrypt(&self.0, data, key)
    }

    /// Returns a key that [`MasterKey::close`] encrypted; nothing where it was changed or moved, or under another key.
    pub(crate) fn open(&self, sealed: &Sealed, data: &AssociatedData) -> Option<Zeroizing<Vec<u8>>> {
        sealed::decrypt(&self.0, data, sealed)
    }

    /// Returns the data key encrypted, bound to where it belongs.
    pub(crate) fn wrap(&self, key: &DataKey, context: &DekContext<'_>) -> Result<Sealed> {
        self.close(&*key.0, &context.associated_data())
    }

    /// Returns the data key of an organization; `slug` is its name for the error message.
    pub(crate) fn unwrap(&self, sealed: &Sealed, context: &DekContext<'_>, slug: &str) -> Result<DataKey, UserError> {
        let bytes = self.open(sealed, &context.associated_data());
        match bytes.as_deref().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()) {
            Some(key) => Ok(DataKey(Zeroizing::new(key))),
            None => Err(UserError::new(
                Exit::Key,
                "data_key_unreadable",
                format!("the data key of `{slug}` does not open under the master key `{}`", self.id()),
            )
            .hint("it was changed or moved in the database: restore a backup, or set the credentials again")),
        }
    }

    /// Returns a value by which the database later knows this key.
    pub(crate) fn check_value(&self, db_id: &str) -> Result<Sealed> {
        sealed::encrypt(&self.0, &check_data(db_id), CHECK_VALUE)
    }

    /// Checks that this is the key that the value was made with, before anything is written under it.
    pub(crate) fn verify_check(&self, db_id: &str, check: &Sealed) -> Result<(), UserError> {
        if sealed::decrypt(&self.0, &check_data(db_id), check).is_none_or(|value| *value != CHECK_VALUE) {
            let message = format!("the check value of the master key `{}` does not open with that very key", self.id());
            return Err(UserError::new(Exit::Key, "key_check_unreadable", message)
                .hint("it was changed or comes from another database: restore a backup with `skillsctl db restore`"));
        }
        Ok(())
    }
}

impl MasterKey {
    /// Returns what makes names out of secrets.
    pub(crate) fn names(&self) -> Names {
        let pseudorandom = Salt::new(HKDF_SHA256, NAMES_DOMAIN).extract(&*self.0);
        let derived = pseudorandom.expand(&[b"hmac"], hmac::HMAC_SHA256).expect("the length is one that HKDF can give");
        Names(hmac::Key::from(derived))
    }
}

/// Makes names out of secrets: the same for the same ones, and of no use to who reads them without the master key.
#[derive(Clone)]
pub(crate) struct Names(hmac::Key);

impl Names {
    /// Returns 32 hexadecimal digits for these parts in this order.
    pub(crate) fn of<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::encode(&context.sign().as_ref()[..16])
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

fn check_data(db_id: &str) -> AssociatedData {
    AssociatedData::new(CHECK_DOMAIN).text(db_id)
}

/// Where a data key belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DekContext<'a> {
    /// The database's own id.
    pub(crate) db_id: &'a str,
    /// The organization's row.
    pub(crate) organization_id: i64,
    /// The data key's version: 1, then 2 after a rekey.
    pub(crate) version: i64,
}

impl DekContext<'_> {
    pub(crate) fn associated_data(&self) -> AssociatedData {
        AssociatedData::new(DEK_DOMAIN).text(self.db_id).number(self.organization_id).number(self.version)
    }
}

/// The key that one organization's credentials are sealed under.
pub(crate) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// Returns a new key.
    pub(crate) fn generate(random: &SystemRandom) -> Result<Self> {
        random_bytes(random).map(DataKey)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Returns 32 bytes of chance: a new key.
pub(super) fn random_bytes(random: &SystemRandom) -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(&mut *bytes).ok().context("the system gives no random numbers")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: &str = "6f1d0c2a";

    #[test]
    fn names_are_the_same_for_the_same_parts_under_the_same_key_only() {
        let key = master();
        let name = key.names().of(["ab", "c"]);
        assert_eq!((name.len(), &name), (32, &key.names().of(["ab", "c"])));
        assert_ne!(name, key.names().of(["a", "bc"]));
        assert_ne!(name, master().names().of(["ab", "c"]));
    }

    fn master() -> MasterKey {
        MasterKey::generate(&SystemRandom::new()).unwrap()
    }

    fn dek() -> DataKey {
        DataKey::generate(&SystemRandom::new()).unwrap()
    }

    fn context() -> DekContext<'static> {
        DekContext { db_id: DB, organization_id: 1, version: 1 }
    }

    /// A key without chance, so that its text stays the same for ever.
    fn fixed() -> MasterKey {
        MasterKey(Zeroizing::new(std::array::from_fn(|at| at as u8)))
    }

    #[test]
    fn the_id_and_the_text_of_a_key_never_change() {
        assert_eq!(fixed().id().to_string(), "e8df5dacb1d85cb6");
        assert_eq!(
            fixed().to_text().expose(),
            "skillsctl-key-1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 90d80220"
        );
    }

    #[test]
    fn the_id_survives_text_and_json() {
        let id = master().id();
        assert_eq!(id.to_string().len(), 16);
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<KeyId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<KeyId>("\"12\"").is_err());
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = master();
        let text = key.to_text();
        assert_eq!(*MasterKey::parse(text.expose()).unwrap().0, *key.0);
        assert_eq!(
            *MasterKey::parse(&format!(
                "  {}\r\n",
                text.expose().to_uppercase().replacen("SKILLSCTL-KEY", "skillsctl-key", 1)
            ))
            .unwrap()
            .0,
            *key.0
        );
        let digits = text.expose().split(' ').nth(1).unwrap();
        assert_eq!(*MasterKey::parse(digits).unwrap().0, *key.0);
    }

    #[test]
    fn every_wrong_digit_in_the_text_of_a_key_is_told_as_a_typing_error() {
        let text = fixed().to_text();
        for at in TEXT_LABEL.len() + 1..text.expose().len() {
            let mut bytes = text.expose().as_bytes().to_vec();
            if bytes[at] != b' ' {
                bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
                let error = MasterKey::parse(std::str::from_utf8(&bytes).unwrap()).unwrap_err();
                assert_eq!(error, KeyTextError::Checksum, "character {at}");
            }
        }
    }

    #[test]
    fn text_that_is_no_key_says_why() {
        let zeros = "0".repeat(64);
        for (text, expected) in [
            (String::new(), KeyTextError::Empty),
            (" \n".to_owned(), KeyTextError::Empty),
            ("skillsctl-key-1".to_owned(), KeyTextError::Form),
            ("a b c d".to_owned(), KeyTextError::Form),
            (format!("skillsctl-key-1 {zeros} 00000000 more"), KeyTextError::Form),
            (format!("skillsctl-key-2 {zeros} 00000000"), KeyTextError::Version),
            ("skillsctl-key-2".to_owned(), KeyTextError::Version),
            (format!("skillsctl-key-1 {zeros}"), KeyTextError::Checksum),
            (format!("skillsctl-key-1 {}o 00000000", &zeros[1..]), KeyTextError::Digit { place: 64 }),
            (zeros[1..].to_owned(), KeyTextError::Length { found: 63 }),
            (format!("{zeros}0"), KeyTextError::Length { found: 65 }),
        ] {
            assert_eq!(MasterKey::parse(&text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_data_key_opens_only_where_it_was_wrapped_and_under_its_own_master_key() {
        let (master, dek) = (master(), dek());
        let sealed = master.wrap(&dek, &context()).unwrap();
        assert_eq!(*master.unwrap(&sealed, &context(), "acme").unwrap().0, *dek.0);

        for elsewhere in [
            DekContext { db_id: "another", ..context() },
            DekContext { organization_id: 2, ..context() },
            DekContext { version: 2, ..context() },
        ] {
            let error = master.unwrap(&sealed, &elsewhere, "acme").unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::Key, "data_key_unreadable"));
            assert!(error.message.contains("`acme`"));
        }
        assert!(self::master().unwrap(&sealed, &context(), "acme").is_err());
        // A value sealed by the same key for another end is no data key.
        assert!(master.unwrap(&master.check_value(DB).unwrap(), &context(), "acme").is_err());
    }

    #[test]
    fn the_check_value_knows_its_key_and_its_database() {
        let (right, wrong) = (master(), master());
        let check = right.check_value(DB).unwrap();
        right.verify_check(DB, &check).unwrap();

        // Another key of the same id there is not: the value was damaged, forged, or comes from elsewhere.
        let moved = right.verify_check("another", &check).unwrap_err();
        assert_eq!((moved.exit, moved.code), (Exit::Key, "key_check_unreadable"));
        assert!(moved.hint.is_some() && wrong.verify_check(DB, &check).is_err());
        assert!(right.verify_check(DB, &Sealed::from_bytes(Vec::new())).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let key = fixed();
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
        assert_eq!(format!("{:?}", dek()), "DataKey(..)");
    }
}
