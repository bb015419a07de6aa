//! Finds what looks like a credential where settings belong: presets, overrides, manifests and names are not encrypted,
//! and are exported, shown and logged.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::error::{Exit, UserError};
use crate::yaml::{Node, Value};

/// What to do instead.
const HINT: &str = "credentials are kept encrypted: `skillsctl credential set ORG PROVIDER FIELD`";

/// Forms that credentials of well-known services have, and nothing else.
static FORMS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let form = |what, pattern: &str| Some((what, Regex::new(pattern).ok()?));
    [
        form("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----(\s|\\[nr])*[A-Za-z0-9+/=]{16}"),
        form("a signed token (JWT)", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."),
        form("a key of Stripe", r"\b[srp]k_(live|test)_[A-Za-z0-9]{10,}"),
        form("a token of HubSpot", r"\bpat-[a-z]{2}[0-9]-[0-9a-fA-F]{8}-"),
        form("a session of Salesforce", r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{20,}"),
        form("a token of GitHub", r"\b(gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
        form("a token of GitLab", r"\bglpat-[A-Za-z0-9_-]{16,}"),
        form("a token of Slack", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        form("a key of Amazon", r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
        form("a key of Google", r"\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}"),
        form("a key of SendGrid", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
        form("an authorization header", r"(?i)^\s*(bearer|basic)\s+[A-Za-z0-9._~+/=-]{16,}\s*$"),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// The last word of a key that a credential is kept under.
const WORDS: [&str; 9] =
    ["token", "password", "passwd", "passphrase", "secret", "key", "apikey", "credential", "credentials"];
/// The shortest text that is taken for one by the name of its key alone, and the least bits its characters hold each.
const SHORTEST: usize = 16;
const BITS: f64 = 3.2;

/// Fails where a text under this key looks like a credential. The text is not repeated.
pub(crate) fn refuse(key: &str, text: &str) -> Result<(), UserError> {
    found(key, text).map_or(Ok(()), |what| Err(error(key, &what)))
}

/// Fails where any value of a document looks like a credential, with its place.
pub(crate) fn refuse_in(root: &Node) -> Result<(), UserError> {
    walk("", root)
}

fn walk(key: &str, node: &Node) -> Result<(), UserError> {
    match &node.value {
        Value::Unset => Ok(()),
        Value::Scalar(scalar) => found(key, &scalar.text).map_or(Ok(()), |what| {
            let UserError { code, message, .. } = error(key, &what);
            Err(node.mark.error_unshown(code, message).hint(HINT))
        }),
        Value::List(items) => items.iter().try_for_each(|item| walk(key, item)),
        Value::Map(entries) => entries.iter().try_for_each(|(key, value)| {
            refuse("", &key.text)?;
            walk(&key.text, value)
        }),
    }
}

fn error(key: &str, what: &str) -> UserError {
    let place = if key.is_empty() { String::new() } else { format!("`{}`: ", key.escape_debug()) };
    UserError::new(Exit::Invalid, "secret_in_settings", format!("{place}this looks like {what}")).hint(HINT)
}

/// Returns what a text looks like, if that is a credential.
fn found(key: &str, text: &str) -> Option<String> {
    let form = FORMS.iter().find(|(_, form)| form.is_match(text)).map(|(what, _)| (*what).to_owned());
    form.or_else(|| (is_named(key) && is_random(text)).then(|| format!("the value of a `{}`", key.escape_debug())))
}

fn is_named(key: &str) -> bool {
    let last = key.rsplit(['_', '-', '.', ' ']).next().unwrap_or_default();
    WORDS.contains(&last.to_ascii_lowercase().as_str())
}

/// Returns whether a text is one that nobody thought of: of one word, with letters and digits, hardly a character twice.
fn is_random(text: &str) -> bool {
    let one_word = !text.contains(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | '(' | ')' | '$'));
    let mixed = text.contains(|c: char| c.is_ascii_digit()) && text.contains(|c: char| c.is_ascii_alphabetic());
    text.len() >= SHORTEST && one_word && mixed && !text.contains("://") && bits(text) >= BITS
}

/// Returns the entropy of a text's characters by how often each is in it, in bits (Shannon).
fn bits(text: &str) -> f64 {
    let mut counts: HashMap<char, u32> = HashMap::new();
    text.chars().for_each(|c| *counts.entry(c).or_default() += 1);
    let all = f64::from(counts.values().sum::<u32>());
    counts.values().map(|count| f64::from(*count) / all).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    /// Put together here, so that no scanner takes them for lost ones.
    fn secrets() -> Vec<String> {
        let key = "aB3dE5fG7hJ9kL1mN2pQ4rS6";
        vec![
            format!("sk_{}_{key}", "live"),
            format!("pat-{}1-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "eu"),
            format!("-----BEGIN RSA {} KEY-----\nMIIEpAIBAAKCAQEA7bq1\n", "PRIVATE"),
            format!("{}hbGciOiJIUzI1NiJ9.{}zdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl", "eyJ", "eyJ"),
            format!("Bearer {key}"),
            format!("ghp_{key}"),
            format!("{}A1B2C3D4E5F6G7H8", "AKIA"),
            format!("00D000000000001!{key}"),
            format!("xoxb-{key}"),
        ]
    }

    #[test]
    fn credentials_are_known_by_their_form_wherever_they_stand() {
        for secret in secrets() {
            for (key, text) in [("note", secret.clone()), ("page_size", format!("see {secret} there"))] {
                if secret.starts_with("Bearer") && key == "page_size" {
                    continue;
                }
                let error = refuse(key, &text).expect_err(&text);
                assert_eq!((error.exit, error.code), (Exit::Invalid, "secret_in_settings"));
                assert!(!error.message.contains(&secret[4..]), "a secret was repeated: {}", error.message);
            }
        }
    }

    #[test]
    fn a_random_word_is_taken_for_one_under_the_name_of_one() {
        let random = "q8Zr2LmX0vTb7KcW";
        for key in ["token", "api_key", "client-secret", "Password", "x.key"] {
            assert!(refuse(key, random).is_err(), "{key}");
        }
        for (key, text) in [
            ("division", random),
            ("api_key", "API key of the account"),
            ("token", "paging.next.after"),
            ("key", "learner_id"),
            ("token_url", "https://login.example/oauth2/v2.0/token"),
            ("x-api-key", "{secret.subscription_key_2}"),
            ("key", "aaaaaaaaaaaaaaaa1"),
            ("password", "short1"),
        ] {
            assert!(refuse(key, text).is_ok(), "{key}: {text}");
        }
    }

    #[test]
    fn a_document_is_refused_at_the_place() {
        let text = format!(
            "providers:\n  aptem:\n    page_size: 10\n    field_mappings:\n      learner.note: {}\n",
            secrets()[0]
        );
        let error = refuse_in(&yaml::parse("p.yaml", &text).unwrap()).unwrap_err();
        assert_eq!(error.place.map(|place| (place.line, place.column)), Some((5, 21)));
        assert!(error.hint.is_some_and(|hint| hint.contains("credential set")));
        assert!(refuse_in(&yaml::parse("p.yaml", &format!("a: [1, {}]", secrets()[1])).unwrap()).is_err());
        assert!(refuse_in(&yaml::parse("p.yaml", &format!("{}: 1", secrets()[1])).unwrap()).is_err());
    }
}
