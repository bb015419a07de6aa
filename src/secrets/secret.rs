//! Secret text in the clear, which shows itself to nobody who does not ask.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::error::{Exit, UserError};

/// Secret text. Wiped when dropped; has no `Display`, `Serialize`, `Deref` or `Clone` by which it could slip out.
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Returns the text itself, to be called where it is sent, sealed or signed with, and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }
}

impl TryFrom<Vec<u8>> for Secret {
    type Error = UserError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, UserError> {
        String::from_utf8(bytes).map(Secret::from).map_err(|error| {
            error.into_bytes().zeroize();
            UserError::new(Exit::Invalid, "secret_not_text", "a secret must be UTF-8 text, and this value is not")
                .hint("a binary value can be stored as base64, if the provider takes it so")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::from("hunter2-sentinel".to_owned());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(..) Some(\n    Secret(..),\n)");
        assert_eq!(secret.expose(), "hunter2-sentinel");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_without_being_shown() {
        assert_eq!(Secret::try_from(b"caf\xc3\xa9".to_vec()).unwrap().expose(), "café");
        let error = Secret::try_from(b"hunter2\xff".to_vec()).unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Invalid, "secret_not_text"));
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
