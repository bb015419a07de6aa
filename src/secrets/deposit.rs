//! Deposits: credentials sealed to a database's public key by a process that could not open them again.
//!
//! HPKE (RFC 9180) in base mode, with X25519, HKDF-SHA256 and ChaCha20-Poly1305. What a deposit is bound to is HPKE's
//! `info`. Base mode does not tell who sealed: whoever can write the database can make a deposit.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use ring::digest::{self, SHA256};
use zeroize::Zeroizing;

use super::sealed::AssociatedData;
use super::{MasterKey, Sealed, Secret, hex};
use crate::error::{Exit, UserError};

const OPENING_KEY_DOMAIN: &str = "skillsctl/opening-key/v1";
const DEPOSIT_DOMAIN: &str = "skillsctl/deposit/v1";
const ID_DOMAIN: &[u8] = b"skillsctl/sealing-key-id/v1";

/// The mark of a deposit in the first byte of a sealed value; 32 bytes of encapsulated key, ciphertext and tag follow.
pub(super) const HPKE_ID: u8 = 2;
const ENCAPSULATED_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// The length of a deposit of nothing.
pub(super) const SHORTEST: usize = 1 + ENCAPSULATED_LEN + TAG_LEN;

type Kem = X25519HkdfSha256;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// The public half of a pair: seals, and opens nothing. No secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealingKey(PublicKey);

impl SealingKey {
    /// Takes the 32 bytes as stored; nothing where there are more or fewer.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        PublicKey::from_bytes(bytes).ok().map(SealingKey)
    }

    /// Returns the bytes to store.
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// Returns which key this is: 32 hexadecimal digits of a hash of it, too many for anybody to make another key of
    /// the same id.
    pub(crate) fn id(&self) -> String {
        let mut context = digest::Context::new(&SHA256);
        context.update(ID_DOMAIN);
        context.update(&self.to_bytes());
        hex::encode(&context.finish().as_ref()[..16])
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

/// The private half: opens what was sealed to the public one. In the database only wrapped by the master key; its
/// memory is wiped by its own type.
pub(crate) struct OpeningKey(PrivateKey);

impl OpeningKey {
    /// Returns a new key.
    pub(crate) fn generate() -> Self {
        OpeningKey(Kem::gen_keypair().0)
    }

    /// Returns the public half.
    pub(crate) fn sealing_key(&self) -> SealingKey {
        SealingKey(Kem::sk_to_pk(&self.0))
    }

    /// Returns what an opening key is bound to where it is wrapped; `id` is that of its public half.
    pub(crate) fn associated_data(db_id: &str, id: &str) -> AssociatedData {
        AssociatedData::new(OPENING_KEY_DOMAIN).text(db_id).text(id)
    }

    /// Returns the key encrypted.
    pub(crate) fn wrap(&self, master: &MasterKey, db_id: &str) -> Result<Sealed> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.0.write_exact(&mut *bytes);
        master.close(&*bytes, &Self::associated_data(db_id, &self.sealing_key().id()))
    }

    /// Returns the key of a public half. Nothing where it does not open, or opens and is not the other half: nobody
    /// without the master key can put a public key of their own in the place of one that was made with it.
    pub(crate) fn unwrap(master: &MasterKey, wrapped: &Sealed, db_id: &str, of: &SealingKey) -> Option<Self> {
        let bytes = master.open(wrapped, &Self::associated_data(db_id, &of.id()))?;
        let key = OpeningKey(PrivateKey::from_bytes(&bytes).ok()?);
        (key.sealing_key() == *of).then_some(key)
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningKey(..)")
    }
}

/// Where a deposit belongs and whose it is; it opens as nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepositContext<'a> {
    /// The database's own id.
    pub(crate) db_id: &'a str,
    /// The organization's row.
    pub(crate) organization_id: i64,
    /// The provider's slug.
    pub(crate) provider: &'a str,
    /// The name of the field, like `api_key`.
    pub(crate) field: &'a str,
    /// The deposit's row.
    pub(crate) deposit_id: i64,
    /// The credential that a person had set there by then, 0 for none.
    pub(crate) replaces: i64,
    pub(crate) created_by: &'a str,
    /// As stored.
    pub(crate) created_at: &'a str,
}

impl DepositContext<'_> {
    fn info(&self) -> AssociatedData {
        AssociatedData::new(DEPOSIT_DOMAIN)
            .text(self.db_id)
            .number(self.organization_id)
            .text(self.provider)
            .text(self.field)
            .number(self.deposit_id)
            .number(self.replaces)
            .text(self.created_by)
            .text(self.created_at)
    }
}

/// Returns the secret sealed to a public key, bound to where it belongs.
pub(crate) fn seal_deposit(key: &SealingKey, context: &DepositContext<'_>, secret: &Secret) -> Result<Sealed> {
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &key.0,
        context.info().bytes(),
        secret.expose().as_bytes(),
        &[],
    )
    .map_err(|error| anyhow!("{error}"))
    .context("sealing to the public key of the database")?;
    let mut bytes = Vec::with_capacity(1 + ENCAPSULATED_LEN + ciphertext.len());
    bytes.push(HPKE_ID);
    bytes.extend_from_slice(&encapsulated.to_bytes());
    bytes.extend_from_slice(&ciphertext);
    Ok(Sealed::from_bytes(bytes))
}

/// Returns the secret of a deposit; `slug` is its organization's name for the error message.
pub(crate) fn open_deposit(
    key: &OpeningKey,
    context: &DepositContext<'_>,
    sealed: &Sealed,
    slug: &str,
) -> Result<Secret, UserError> {
    let rest = sealed.as_bytes().strip_prefix(&[HPKE_ID]);
    rest.and_then(|rest| rest.split_at_checked(ENCAPSULATED_LEN))
        .and_then(|(encapsulated, ciphertext)| decrypt(key, (context.info().bytes(), &[]), encapsulated, ciphertext))
        .and_then(|bytes| Secret::try_from(bytes).ok())
        .ok_or_else(|| unreadable(context.provider, context.field, slug))
}

/// Returns the plaintext, or nothing: on purpose there is no telling a wrong key from wrong or damaged data.
fn decrypt(key: &OpeningKey, (info, aad): (&[u8], &[u8]), encapsulated: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &key.0,
        &encapsulated,
        info,
        ciphertext,
        aad,
    )
    .ok()
}

/// Returns why a deposit is refused that does not open.
pub(crate) fn unreadable(provider: &str, field: &str, slug: &str) -> UserError {
    let message = format!("the deposited `{field}` of `{slug}` for `{provider}` does not open");
    UserError::new(Exit::Key, "deposit_unreadable", message).hint(format!(
        "it was changed or moved in the database, or sealed to a key that is not the database's: set it again by \
         `skillsctl credential set {slug} {provider} {field}`, and see `skillsctl credential sealing-key show`"
    ))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::super::{CredentialContext, DataKey, open, seal};
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    fn context() -> DepositContext<'static> {
        DepositContext {
            db_id: "6f1d0c2a",
            organization_id: 1,
            provider: "aptem",
            field: "api_key",
            deposit_id: 1,
            replaces: 0,
            created_by: "ci",
            created_at: "2026-11-22T12:00:00.000Z",
        }
    }

    fn bytes(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_vector_of_rfc_9180_a_2_1_opens() {
        let private = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let public = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
        let key = OpeningKey(PrivateKey::from_bytes(&private).unwrap());
        assert_eq!(hex::encode(&key.sealing_key().to_bytes()), public);
        let seed = bytes("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
        assert_eq!(hex::encode(&Kem::derive_keypair(&seed).1.to_bytes()), public);
        let (info, aad) = (bytes("4f6465206f6e2061204772656369616e2055726e"), bytes("436f756e742d30"));
        let encapsulated = bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let ciphertext =
            bytes("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28");
        let opened = decrypt(&key, (&info, &aad), &encapsulated, &ciphertext).unwrap();
        assert_eq!(opened, b"Beauty is truth, truth beauty");
        assert!(decrypt(&key, (&aad, &info), &encapsulated, &ciphertext).is_none());
    }

    #[test]
    fn a_deposit_opens_with_the_other_half_and_with_no_other_key() {
        let key = OpeningKey::generate();
        for text in ["", "s", "hunter2-sentinel", &"long ✓ ".repeat(1000)] {
            let sealed = seal_deposit(&key.sealing_key(), &context(), &secret(text)).unwrap();
            assert!(sealed.is_well_formed());
            assert_eq!(sealed.as_bytes().len(), SHORTEST + text.len());
            assert_eq!(open_deposit(&key, &context(), &sealed, "acme").unwrap().expose(), text);
            let error = open_deposit(&OpeningKey::generate(), &context(), &sealed, "acme").unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::Key, "deposit_unreadable"));
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_deposit_moved_to_any_other_place_does_not_open() {
        let places = [
            context(),
            DepositContext { db_id: "another", ..context() },
            DepositContext { organization_id: 2, ..context() },
            DepositContext { provider: "hubspot", ..context() },
            DepositContext { field: "api_secret", ..context() },
            DepositContext { deposit_id: 2, ..context() },
            DepositContext { replaces: 2, ..context() },
            DepositContext { created_by: "eve", ..context() },
            DepositContext { created_at: "2026-11-23T12:00:00.000Z", ..context() },
            DepositContext { provider: "aptema", field: "pi_key", ..context() },
        ];
        let key = OpeningKey::generate();
        let sealed = places.map(|place| seal_deposit(&key.sealing_key(), &place, &secret("hunter2")).unwrap());
        for (from, value) in sealed.iter().enumerate() {
            for (to, place) in places.iter().enumerate() {
                assert_eq!(open_deposit(&key, place, value, "acme").is_ok(), from == to, "from {from} to {to}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let key = OpeningKey::generate();
        let sealed = seal_deposit(&key.sealing_key(), &context(), &secret("hello")).unwrap();
        let opens = |bytes: Vec<u8>| open_deposit(&key, &context(), &Sealed::from_bytes(bytes), "acme").is_ok();
        for bit in 0..sealed.as_bytes().len() * 8 {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(bytes), "bit {bit}");
        }
        for length in 0..sealed.as_bytes().len() {
            let cut = sealed.as_bytes()[..length].to_vec();
            assert_eq!(Sealed::from_bytes(cut.clone()).is_well_formed(), length >= SHORTEST);
            assert!(!opens(cut), "{length} bytes");
        }
        assert!(!opens([sealed.as_bytes(), &[0]].concat()));
    }

    #[test]
    fn a_deposit_never_opens_as_a_credential_nor_a_credential_as_a_deposit() {
        let (opening, data_key) = (OpeningKey::generate(), DataKey::generate(&SystemRandom::new()).unwrap());
        let place = CredentialContext::EXAMPLE;
        let deposit = seal_deposit(&opening.sealing_key(), &context(), &secret("hunter2")).unwrap();
        let credential = seal(&data_key, &place, &secret("hunter2")).unwrap();
        assert!(open(&data_key, &place, &deposit, "acme").is_err());
        assert!(open_deposit(&opening, &context(), &credential, "acme").is_err());
    }

    #[test]
    fn the_wrapped_half_opens_for_its_own_public_half_database_and_master_key_alone() {
        let master = || MasterKey::generate(&SystemRandom::new()).unwrap();
        let (right, wrong) = (master(), master());
        let (key, other) = (OpeningKey::generate(), OpeningKey::generate());
        let wrapped = key.wrap(&right, "db").unwrap();
        let public = key.sealing_key();
        assert_eq!(OpeningKey::unwrap(&right, &wrapped, "db", &public).unwrap().sealing_key(), public);
        assert!(OpeningKey::unwrap(&wrong, &wrapped, "db", &public).is_none());
        assert!(OpeningKey::unwrap(&right, &wrapped, "another", &public).is_none());
        assert!(OpeningKey::unwrap(&right, &wrapped, "db", &other.sealing_key()).is_none());
        assert_eq!(public.id().len(), 32);
        assert_ne!(public.id(), other.sealing_key().id());
        assert_eq!(format!("{key:?} {public:?}"), format!("OpeningKey(..) SealingKey({})", public.id()));
    }

    #[test]
    fn a_public_key_by_which_anybody_could_open_is_refused() {
        // The point of order 1: whatever is agreed with it is known to all (RFC 7748 section 6.1).
        let weak = SealingKey::from_bytes(&[0; 32]).unwrap();
        assert!(seal_deposit(&weak, &context(), &secret("hunter2")).is_err());
        assert!(SealingKey::from_bytes(&[1; 31]).is_none());
    }
}
