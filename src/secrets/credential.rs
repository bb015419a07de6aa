//! Credentials sealed under an organization's data key, each bound to the row it stands in.

use anyhow::Result;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;

use super::sealed::{self, AssociatedData};
use super::{DataKey, Sealed, Secret, hex};
use crate::error::{Exit, UserError};

const CREDENTIAL_DOMAIN: &str = "skillsctl/cred/v1";
const FINGERPRINT_DOMAIN: &[u8] = b"skillsctl/fingerprint/v1";

/// Where a credential belongs; its sealed value opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CredentialContext<'a> {
    /// The database's own id.
    pub(crate) db_id: &'a str,
    /// The organization's row.
    pub(crate) organization_id: i64,
    /// The provider's slug.
    pub(crate) provider: &'a str,
    /// The name of the field, like `api_key`.
    pub(crate) field: &'a str,
    /// The credential's row.
    pub(crate) credential_id: i64,
    /// The credential's version: one more each time it is set.
    pub(crate) version: i64,
    /// The version of the data key it is sealed under.
    pub(crate) dek_version: i64,
}

#[cfg(any(test, fuzzing))]
impl CredentialContext<'static> {
    /// Some place.
    pub(crate) const EXAMPLE: Self = CredentialContext {
        db_id: "6f1d0c2a",
        organization_id: 1,
        provider: "aptem",
        field: "api_key",
        credential_id: 1,
        version: 1,
        dek_version: 1,
    };
}

impl CredentialContext<'_> {
    fn associated_data(&self) -> AssociatedData {
        AssociatedData::new(CREDENTIAL_DOMAIN)
            .text(self.db_id)
            .number(self.organization_id)
            .text(self.provider)
            .text(self.field)
            .number(self.credential_id)
            .number(self.version)
            .number(self.dek_version)
    }
}

/// Returns the secret encrypted, bound to where it belongs. An empty one is encrypted like any other.
pub(crate) fn seal(key: &DataKey, context: &CredentialContext<'_>, secret: &Secret) -> Result<Sealed> {
    sealed::encrypt(key.bytes(), &context.associated_data(), secret.expose().as_bytes())
}

/// Returns the secret of a credential; `slug` is its organization's name for the error message.
pub(crate) fn open(
    key: &DataKey,
    context: &CredentialContext<'_>,
    sealed: &Sealed,
    slug: &str,
) -> Result<Secret, UserError> {
    sealed::decrypt(key.bytes(), &context.associated_data(), sealed)
        .and_then(|mut bytes| Secret::try_from(std::mem::take(&mut *bytes)).ok())
        .ok_or_else(|| {
            let CredentialContext { provider, field, .. } = context;
            let message = format!("the credential `{field}` of `{slug}` for `{provider}` does not open");
            UserError::new(Exit::Key, "sealed_value_unreadable", message).hint(format!(
                "it was changed or moved in the database; set it again: `skillsctl credential set {slug} {provider} \
                 {field}`"
            ))
        })
}

/// Returns 8 hexadecimal digits by which two values of one organization can be compared, and nothing be guessed.
pub(crate) fn fingerprint(key: &DataKey, secret: &Secret) -> String {
    let secret_key = Salt::new(HKDF_SHA256, FINGERPRINT_DOMAIN).extract(key.bytes());
    let derived = secret_key.expand(&[b"hmac"], hmac::HMAC_SHA256).expect("the length is one that HKDF can give");
    let tag = hmac::sign(&hmac::Key::from(derived), secret.expose().as_bytes());
    hex::encode(&tag.as_ref()[..4])
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    const PLACE: CredentialContext<'static> = CredentialContext::EXAMPLE;

    fn key() -> DataKey {
        DataKey::generate(&SystemRandom::new()).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn a_sealed_secret_opens_where_it_belongs() {
        let key = key();
        for text in ["", "s", "hunter2-sentinel", &"long ✓ ".repeat(1000)] {
            let sealed = seal(&key, &PLACE, &secret(text)).unwrap();
            assert_eq!(open(&key, &PLACE, &sealed, "acme").unwrap().expose(), text);
            assert!(text.len() < 8 || !String::from_utf8_lossy(sealed.as_bytes()).contains(text));
        }
    }

    #[test]
    fn a_value_moved_to_any_other_row_does_not_open() {
        let places = [
            PLACE,
            CredentialContext { db_id: "another", ..PLACE },
            CredentialContext { organization_id: 2, ..PLACE },
            CredentialContext { provider: "hubspot", ..PLACE },
            CredentialContext { field: "api_secret", ..PLACE },
            CredentialContext { credential_id: 2, ..PLACE },
            CredentialContext { version: 2, ..PLACE },
            CredentialContext { dek_version: 2, ..PLACE },
            // The same characters, cut elsewhere; the same numbers, in other places.
            CredentialContext { provider: "aptema", field: "pi_key", ..PLACE },
            CredentialContext { provider: "aptemapi_key", field: "", ..PLACE },
            CredentialContext { organization_id: 2, credential_id: 2, ..PLACE },
        ];
        let key = key();
        let sealed = places.map(|place| seal(&key, &place, &secret("hunter2-sentinel")).unwrap());
        for (from, value) in sealed.iter().enumerate() {
            for (to, place) in places.iter().enumerate() {
                assert_eq!(open(&key, place, value, "acme").is_ok(), from == to, "from {from} to {to}");
            }
        }
    }

    #[test]
    fn a_wrong_data_key_opens_nothing_and_the_error_names_the_row_alone() {
        let sealed = seal(&key(), &PLACE, &secret("hunter2-sentinel")).unwrap();
        let error = open(&key(), &PLACE, &sealed, "acme").unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Key, "sealed_value_unreadable"));
        assert_eq!(error.message, "the credential `api_key` of `acme` for `aptem` does not open");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn an_empty_or_cut_value_is_an_error_not_an_empty_secret() {
        let key = key();
        let sealed = seal(&key, &PLACE, &secret("")).unwrap();
        for length in 0..sealed.as_bytes().len() {
            let cut = Sealed::from_bytes(sealed.as_bytes()[..length].to_vec());
            assert!(open(&key, &PLACE, &cut, "acme").is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_fingerprint_is_stable_for_a_key_and_differs_between_keys_and_values() {
        let (one, two) = (key(), key());
        let print = fingerprint(&one, &secret("1234"));
        assert_eq!(print.len(), 8);
        assert_eq!(print, fingerprint(&one, &secret("1234")));
        assert_ne!(print, fingerprint(&one, &secret("1235")));
        assert_ne!(print, fingerprint(&two, &secret("1234")));
    }
}
