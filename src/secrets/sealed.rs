//! Sealed values as stored, and the one place that encrypts and decrypts them.

use std::fmt;

use anyhow::{Context, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::deposit;

/// The algorithm's mark in the first byte, so that another can follow one day.
const AES_256_GCM_ID: u8 = 1;
const HEADER_LEN: usize = 1 + NONCE_LEN;
const TAG_LEN: usize = 16;

/// An encrypted value as the database holds it: algorithm, 12 bytes of nonce, ciphertext and tag; of a deposit, what
/// `deposit.rs` says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes bytes as stored; whether they are sound shows when they are opened.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Sealed(bytes)
    }

    /// Returns whether these can be a sealed value at all: of a known algorithm, and long enough.
    pub(crate) fn is_well_formed(&self) -> bool {
        let least = match self.0.first() {
            Some(&AES_256_GCM_ID) => HEADER_LEN + TAG_LEN,
            Some(&deposit::HPKE_ID) => deposit::SHORTEST,
            _ => return false,
        };
        self.0.len() >= least
    }

    /// Returns the bytes to store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The associated data: each part after its length, so that no part can reach into the next.
pub(crate) struct AssociatedData(Vec<u8>);

impl AssociatedData {
    pub(super) fn new(domain: &str) -> Self {
        AssociatedData(Vec::new()).text(domain)
    }

    pub(super) fn text(self, part: &str) -> Self {
        self.part(part.as_bytes())
    }

    pub(super) fn number(self, part: i64) -> Self {
        self.part(&part.to_be_bytes())
    }

    /// Returns all parts as they are authenticated.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn part(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }
}

/// Returns the plaintext encrypted under the key and bound to the associated data.
pub(super) fn encrypt(key: &[u8; 32], data: &AssociatedData, plaintext: &[u8]) -> Result<Sealed> {
    // The full length at once: a growing buffer would leave copies of the plaintext behind.
    let mut bytes = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok().context("the system gives no random numbers")?;
    bytes.push(AES_256_GCM_ID);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(plaintext);
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&data.0), &mut bytes[HEADER_LEN..])
        .ok()
        .context("the value is too long to be sealed")?;
    bytes.extend_from_slice(tag.as_ref());
    Ok(Sealed(bytes))
}

/// Returns the plaintext, or nothing: on purpose there is no telling a wrong key from wrong or damaged data.
pub(super) fn decrypt(key: &[u8; 32], data: &AssociatedData, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
    let (header, rest) = sealed.0.split_at_checked(HEADER_LEN)?;
    let (algorithm, nonce) = header.split_first()?;
    if *algorithm != AES_256_GCM_ID {
        return None;
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = Zeroizing::new(rest.to_vec());
    // A rest shorter than the tag, so also an empty one, is refused in here.
    let length = cipher(key).open_in_place(nonce, Aad::from(&data.0), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of the algorithm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> AssociatedData {
        AssociatedData::new("test").text("here")
    }

    #[test]
    fn a_value_is_stored_as_algorithm_nonce_ciphertext_and_tag() {
        let sealed = encrypt(&[7; 32], &data(), b"hello").unwrap();
        assert_eq!(sealed.as_bytes().len(), 1 + 12 + 5 + 16);
        assert_eq!(sealed.as_bytes()[0], 1);
        assert_eq!(**decrypt(&[7; 32], &data(), &sealed).unwrap(), *b"hello");
        assert_eq!(format!("{sealed:?}"), "Sealed(34 bytes)");
    }

    #[test]
    fn the_same_value_is_never_sealed_alike() {
        let [one, two] = [0, 0].map(|_| encrypt(&[7; 32], &data(), b"hello").unwrap());
        assert_ne!(one.as_bytes()[1..13], two.as_bytes()[1..13]);
        assert_ne!(one.as_bytes()[13..], two.as_bytes()[13..]);
    }

    #[test]
    fn parts_of_the_associated_data_do_not_run_into_each_other() {
        let bytes = |parts: &[&str]| parts.iter().fold(AssociatedData::new("test"), |data, part| data.text(part)).0;
        assert_ne!(bytes(&["ab", "c"]), bytes(&["a", "bc"]));
        assert_ne!(bytes(&["abc", ""]), bytes(&["", "abc"]));
        assert_ne!(bytes(&["abc"]), bytes(&["abc", ""]));
        assert_eq!(
            AssociatedData::new("v1").number(-2).0,
            [&[0, 0, 0, 0, 0, 0, 0, 2][..], b"v1", &[0, 0, 0, 0, 0, 0, 0, 8], &[0xff; 7], &[0xfe]].concat()
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = encrypt(&[7; 32], &data(), b"hello").unwrap();
        for bit in 0..sealed.as_bytes().len() * 8 {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decrypt(&[7; 32], &data(), &Sealed(bytes)).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_a_longer_value_are_noticed() {
        for plaintext in [&b""[..], b"hello"] {
            let sealed = encrypt(&[7; 32], &data(), plaintext).unwrap();
            for length in 0..sealed.as_bytes().len() {
                let cut = Sealed(sealed.as_bytes()[..length].to_vec());
                assert_eq!(cut.is_well_formed(), length >= HEADER_LEN + TAG_LEN);
                assert!(decrypt(&[7; 32], &data(), &cut).is_none(), "{length} bytes");
            }
            let longer = Sealed([sealed.as_bytes(), &[0]].concat());
            assert!(decrypt(&[7; 32], &data(), &longer).is_none());
        }
    }
}
