//! Signing with an RSA key from a PEM text, for the JSON Web Tokens that some providers want.

use anyhow::{Context, Result};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use zeroize::Zeroizing;

use super::Secret;
use crate::base64::{self, Alphabet};
use crate::error::{Exit, UserError};

/// Returns the RS256 signature (RSA, PKCS #1 v1.5, SHA-256) of the input under a private key in PEM, of either form.
pub(crate) fn sign_rs256(pem: &Secret, signing_input: &[u8]) -> Result<Vec<u8>> {
    let key = key_pair(pem)?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signing_input, &mut signature)
        .ok()
        .context("the private key does not sign")?;
    Ok(signature)
}

fn key_pair(pem: &Secret) -> Result<KeyPair, UserError> {
    let (label, der) = decode_pem(pem.expose()).ok_or_else(|| {
        unreadable("is not in PEM form")
            .hint("it begins with a line `-----BEGIN PRIVATE KEY-----` and ends with its END")
    })?;
    match label {
        "PRIVATE KEY" => KeyPair::from_pkcs8(&der),
        "RSA PRIVATE KEY" => KeyPair::from_der(&der),
        _ => return Err(unreadable("is not an RSA key in the clear").hint(hint_to_convert())),
    }
    // ring's own word for it, like `TooSmall` or `InvalidEncoding`, tells nothing of the key.
    .map_err(|error| unreadable(&format!("is not an RSA key of 2048 to 4096 bits ({error})")).hint(hint_to_convert()))
}

fn unreadable(why: &str) -> UserError {
    UserError::new(Exit::Invalid, "private_key_unreadable", format!("the private key {why}"))
}

fn hint_to_convert() -> &'static str {
    "`openssl pkcs8 -topk8 -nocrypt -in key.pem` prints it as it is wanted; then set the credential again"
}

/// Returns the label and the bytes of the first PEM block. A key that came through a form or a JSON file may have lost
/// its line ends, or have them as `\n`: both are read.
fn decode_pem(text: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, end) = rest.split_once("-----END ")?;
    end.strip_prefix(label)?.strip_prefix("-----")?;
    if body.contains("ENCRYPTED") {
        return Some(("ENCRYPTED", Zeroizing::default()));
    }
    let mut symbols = Zeroizing::new(String::with_capacity(body.len()));
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            _ if character.is_whitespace() => {}
            _ => symbols.push(character),
        }
    }
    base64::decode(Alphabet::Standard, &symbols).map(|der| (label, Zeroizing::new(der)))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    const PKCS8: &str = include_str!("test_rsa.pem");
    /// What `openssl dgst -sha256 -sign` gives for `header.claims`; RS256 has no chance in it.
    const SIGNATURE: &str = "mhAnMZoNgBx1WiNLMSuuAPyaESvMxuVS1O9cSzo4cAW+A4mCctUMjKFHBUyBcFhvFiLMXUA02md1z0oq0oR4cJmTw8r35LJL21evJ\
        +fyhR/9Bt7pmOW13Z4UaJBx/7R6SjMciWEbi2EzdiypmI07pUTxKrhFK9iVrNxmqK5raFLhCjSPQK+2YFGKtsZfgCAVlCTjRpoGv0sjaYO7baeUUMzhkCsmCCLH7SC6\
        +qFLDhluPfry1DP1+QKK0h5qKVksGHFeM6A+rnoumsrYQ+abgkrq4IKCcwmvkCdR1k0ZLK63gep2dxP1DT8SSofbN9SgUa/+QqHLyD1UAI2vK6IYZg==";

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    /// The same key in the older form, which a PKCS #8 key holds after 26 bytes.
    fn pkcs1() -> String {
        let (_, der) = decode_pem(PKCS8).unwrap();
        let body = base64::encode(Alphabet::Standard, &der[26..]);
        format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
    }

    #[test]
    fn a_signature_is_the_one_that_openssl_makes() {
        let expected = base64::decode(Alphabet::Standard, SIGNATURE).unwrap();
        assert_eq!(sign_rs256(&secret(PKCS8), b"header.claims").unwrap(), expected);
        assert_eq!(sign_rs256(&secret(&pkcs1()), b"header.claims").unwrap(), expected);
        let public = key_pair(&secret(PKCS8)).unwrap().public().as_ref().to_vec();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(b"header.claims", &expected).unwrap();
    }

    #[test]
    fn a_key_that_lost_its_line_ends_is_still_read() {
        for line_end in ["\r\n", "", " ", "\\n", "\\r\\n"] {
            let key = secret(&PKCS8.replace('\n', line_end));
            assert!(sign_rs256(&key, b"header.claims").is_ok(), "{line_end:?}");
        }
    }

    #[test]
    fn a_key_that_is_no_key_says_why_and_never_what_it_holds() {
        let encrypted = PKCS8.replace(" PRIVATE", " ENCRYPTED PRIVATE");
        let encrypted_pkcs1 = pkcs1().replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\n\nM");
        let mislabelled = PKCS8.replace(" PRIVATE", " RSA PRIVATE");
        let cut = PKCS8.replace("-----END PRIVATE KEY-----", "");
        let public = "-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----";
        for (text, why) in [
            ("", "is not in PEM form"),
            ("hunter2-sentinel", "is not in PEM form"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2?\n-----END PRIVATE KEY-----", "is not in PEM form"),
            (&cut, "is not in PEM form"),
            (&encrypted, "is not an RSA key in the clear"),
            (&encrypted_pkcs1, "is not an RSA key in the clear"),
            (public, "is not an RSA key in the clear"),
            (&mislabelled, "(InvalidEncoding)"),
        ] {
            let error = sign_rs256(&secret(text), b"header.claims").unwrap_err();
            let error = error.downcast_ref::<UserError>().unwrap();
            assert_eq!((error.exit, error.code), (Exit::Invalid, "private_key_unreadable"));
            assert!(error.message.contains(why), "{}", error.message);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
