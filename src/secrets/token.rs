//! Access tokens sealed under an organization's data key, each bound to its pair and to what it was got with.

use anyhow::Result;

use super::sealed::{self, AssociatedData};
use super::{DataKey, Sealed, Secret};

const TOKEN_DOMAIN: &str = "skillsctl/token/v1";

/// Where a token belongs and how long it is believed; it opens as nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenContext<'a> {
    /// The database's own id.
    pub(crate) db_id: &'a str,
    pub(crate) organization_id: i64,
    /// The provider's slug.
    pub(crate) provider: &'a str,
    /// A hash of the credentials and settings it was got with.
    pub(crate) basis: &'a str,
    /// When it was got and when it is to be renewed, as stored.
    pub(crate) got_at: &'a str,
    pub(crate) expires_at: &'a str,
    /// The version of the data key it is sealed under.
    pub(crate) dek_version: i64,
}

#[cfg(any(test, fuzzing))]
impl TokenContext<'static> {
    /// Some place.
    pub(crate) const EXAMPLE: Self = TokenContext {
        db_id: "6f1d0c2a",
        organization_id: 1,
        provider: "aptem",
        basis: "ab12",
        got_at: "2026-11-22T12:00:00.000Z",
        expires_at: "2026-11-22T13:00:00.000Z",
        dek_version: 1,
    };
}

impl TokenContext<'_> {
    fn associated_data(&self) -> AssociatedData {
        AssociatedData::new(TOKEN_DOMAIN)
            .text(self.db_id)
            .number(self.organization_id)
            .text(self.provider)
            .text(self.basis)
            .text(self.got_at)
            .text(self.expires_at)
            .number(self.dek_version)
    }
}

/// Returns the token encrypted, bound to where it belongs.
pub(crate) fn seal_token(key: &DataKey, context: &TokenContext<'_>, token: &Secret) -> Result<Sealed> {
    sealed::encrypt(key.bytes(), &context.associated_data(), token.expose().as_bytes())
}

/// Returns a token; nothing for one that was changed or moved, or sealed under another key: another can be got.
pub(crate) fn open_token(key: &DataKey, context: &TokenContext<'_>, sealed: &Sealed) -> Option<Secret> {
    let mut bytes = sealed::decrypt(key.bytes(), &context.associated_data(), sealed)?;
    Secret::try_from(std::mem::take(&mut *bytes)).ok()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::super::{CredentialContext, open, seal};
    use super::*;

    const PLACE: TokenContext<'static> = TokenContext::EXAMPLE;

    #[test]
    fn a_token_opens_where_it_belongs_and_nowhere_else() {
        let places = [
            PLACE,
            TokenContext { db_id: "another", ..PLACE },
            TokenContext { organization_id: 2, ..PLACE },
            TokenContext { provider: "hubspot", ..PLACE },
            TokenContext { basis: "ab13", ..PLACE },
            TokenContext { got_at: "2026-11-22T11:00:00.000Z", ..PLACE },
            TokenContext { expires_at: "2027-11-22T13:00:00.000Z", ..PLACE },
            TokenContext { dek_version: 2, ..PLACE },
        ];
        let key = DataKey::generate(&SystemRandom::new()).unwrap();
        let token = Secret::from("hunter2-sentinel".to_owned());
        let sealed = places.map(|place| seal_token(&key, &place, &token).unwrap());
        for (from, value) in sealed.iter().enumerate() {
            for (to, place) in places.iter().enumerate() {
                assert_eq!(open_token(&key, place, value).is_some(), from == to, "from {from} to {to}");
            }
        }
        let other = DataKey::generate(&SystemRandom::new()).unwrap();
        assert!(open_token(&other, &PLACE, &sealed[0]).is_none());
    }

    #[test]
    fn a_token_never_opens_as_a_credential_nor_a_credential_as_a_token() {
        let key = DataKey::generate(&SystemRandom::new()).unwrap();
        let secret = Secret::from("hunter2-sentinel".to_owned());
        let credential = CredentialContext::EXAMPLE;
        assert!(open(&key, &credential, &seal_token(&key, &PLACE, &secret).unwrap(), "acme").is_err());
        assert!(open_token(&key, &PLACE, &seal(&key, &credential, &secret).unwrap()).is_none());
    }
}
