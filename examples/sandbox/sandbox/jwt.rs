//! The check of a JWT bearer assertion: RS256 under the sandbox's test key, then the claims.

use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::JWT_TEST_KEY;
use super::clock::{self, SECOND};
use super::encoding::base64_decoded;
use super::world::account_in;

const AUDIENCES: [&str; 2] = ["https://login.salesforce.com", "https://test.salesforce.com"];
/// An assertion lives three minutes; a few seconds more are for clocks that differ.
const LONGEST_LIFE: i64 = 180 + 5;

/// Returns the account an assertion opens at the host `own`, or else what is wrong with it.
pub(crate) fn verified(assertion: &str, own: &str) -> Result<String, &'static str> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("invalid assertion")?;
    let (header, claims) = signed.split_once('.').ok_or("invalid assertion")?;
    let part = |text: &str| -> Option<Value> { serde_json::from_slice(&base64_decoded(text)?).ok() };
    let (header, claims) = part(header).zip(part(claims)).ok_or("invalid assertion")?;
    let signature = base64_decoded(signature).ok_or("invalid assertion")?;
    if header["alg"] != "RS256" || !is_signed(signed.as_bytes(), &signature) {
        return Err("authentication failure");
    }
    let claim = |name: &str| claims[name].as_str().unwrap_or_default();
    let account = account_in(claim("iss"), "sandbox-salesforce-").ok_or("client identifier invalid")?;
    if claim("sub") != format!("sync@{account}.example.com") {
        return Err("user hasn't approved this consumer");
    }
    if !AUDIENCES.contains(&claim("aud")) && claim("aud") != own {
        return Err("audience is invalid");
    }
    let now = clock::now() / SECOND;
    match claims["exp"].as_i64() {
        Some(expires) if (now..=now + LONGEST_LIFE).contains(&expires) => Ok(account),
        _ => Err("expired authorization code"),
    }
}

/// Returns who an assertion says it is from, checked or not.
pub(crate) fn issuer(assertion: &str) -> Option<String> {
    let claims: Value = serde_json::from_slice(&base64_decoded(assertion.split('.').nth(1)?)?).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

fn is_signed(message: &[u8], signature: &[u8]) -> bool {
    let Some(key) = test_key() else { return false };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key()).verify(message, signature).is_ok()
}

fn test_key() -> Option<RsaKeyPair> {
    let lines = JWT_TEST_KEY.lines().filter(|line| !line.starts_with("-----"));
    RsaKeyPair::from_pkcs8(&base64_decoded(&lines.collect::<String>())?).ok()
}

/// Returns an assertion with these claims under the test key, for tests.
#[cfg(test)]
pub(crate) fn assertion(claims: &Value) -> String {
    use super::encoding::base64_url;
    let signed = format!("{}.{}", base64_url(br#"{"alg":"RS256"}"#), base64_url(claims.to_string().as_bytes()));
    let key = test_key().unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", base64_url(&signature))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_assertion_opens_only_with_every_claim_right() {
        let soon = clock::now() / SECOND + 120;
        let right = json!({
            "iss": "sandbox-salesforce-acme", "sub": "sync@acme.example.com", "aud": AUDIENCES[0], "exp": soon,
        });
        assert_eq!(verified(&assertion(&right), "http://own"), Ok("acme".into()));
        let with = |name: &str, value: Value| {
            let mut claims = right.clone();
            claims[name] = value;
            verified(&assertion(&claims), "http://own")
        };
        assert_eq!(with("aud", json!("http://own")), Ok("acme".into()));
        assert_eq!(with("aud", json!("http://other")), Err("audience is invalid"));
        assert_eq!(with("sub", json!("sync@other.example.com")), Err("user hasn't approved this consumer"));
        assert_eq!(with("iss", json!("someone")), Err("client identifier invalid"));
        assert_eq!(with("exp", json!(soon - 200)), Err("expired authorization code"));
        assert_eq!(with("exp", json!(soon * 1000)), Err("expired authorization code"));
        let unsigned = assertion(&right).replace("eyJhbGciOi", "eyJhbGciOj");
        assert!(verified(&unsigned, "http://own").is_err());
    }
}
