//! Names that check themselves: organization slugs, and the names of providers, presets and streams. And display names,
//! which nobody may mistake for each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use crate::error::{Exit, UserError};

/// Returns whether a character acts on a terminal, turns text round, or cannot be seen: what names may not have, and what is
/// written out where text from elsewhere is shown.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Subdomains that belong to the platform itself or would mislead its users.
const RESERVED: [&str; 25] = [
    "www",
    "api",
    "admin",
    "app",
    "auth",
    "login",
    "mail",
    "smtp",
    "ftp",
    "ns",
    "ns1",
    "ns2",
    "cdn",
    "static",
    "assets",
    "status",
    "help",
    "support",
    "docs",
    "blog",
    "portal",
    "super-admin",
    "root",
    "localhost",
    // `sync request` is a command.
    "request",
];

/// An organization's slug, which is also its subdomain: `acme` is `acme.aivii.co.uk`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slug(String);

impl Slug {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns why a new organization may not take this slug, if it is one of the reserved words.
    pub(crate) fn reserved(&self) -> bool {
        RESERVED.contains(&self.0.as_str())
    }
}

impl FromStr for Slug {
    type Err = String;

    /// Accepts 1 to 63 of `a-z`, `0-9` and inner hyphens (RFC 1035 labels, so that it works as a subdomain).
    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty()
            || text.len() > 63
            || !text.chars().all(inner)
            || text.starts_with('-')
            || text.ends_with('-')
        {
            return Err(format!(
                "`{}` is not a slug: use 1 to 63 lower-case letters, digits and inner hyphens, like `acme-training`",
                text.escape_debug()
            ));
        }
        Ok(Slug(text.to_owned()))
    }
}

/// A name in the YAML files: of a provider, preset, stream or setting. `[a-z][a-z0-9_]*`, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.len() > 63 || !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(inner) {
            return Err(format!(
                "`{}` is not a name: use lower-case letters, digits and `_`, starting with a letter",
                text.escape_debug()
            ));
        }
        Ok(Name(text.to_owned()))
    }
}

/// Returns a text in the one way it is stored where Unicode has several (NFC).
pub(crate) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Fails where a display name looks like one of `others`, which come with the slug or name that they are known by.
pub(crate) fn distinct<'a>(name: &str, others: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), UserError> {
    let looks = Looks::of(name);
    match others.into_iter().find(|(_, other)| looks.like(&Looks::of(other))) {
        None => Ok(()),
        Some((slug, other)) => {
            let message = format!("the name `{}` looks like `{other}`, the name of `{slug}`", name.escape_debug());
            Err(UserError::new(Exit::Conflict, "name_confusable", message)
                .hint("choose a name that nobody can mistake for it"))
        }
    }
}

/// How a name looks: its skeleton (Unicode Technical Standard 39, section 4), whatever the case of its letters. Case is
/// left out before and after: `I` looks like `l`, though `i` does not.
#[derive(Debug)]
struct Looks([String; 2]);

impl Looks {
    fn of(name: &str) -> Self {
        let words = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let drawn = |text: &str| skeleton(text).collect::<String>().to_lowercase();
        Looks([drawn(&words), drawn(&words.to_lowercase())])
    }

    fn like(&self, other: &Self) -> bool {
        self.0[0] == other.0[0] || self.0[1] == other.0[1]
    }
}

/// Gives a checked text type its `Display`, its place in YAML and JSON, and its JSON Schema (a string).
macro_rules! text_type {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text_type!(Slug, Name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_labels_of_a_host_name() {
        for good in ["a", "acme", "acme-training", "3aaa", &"a".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Acme", "acme.co", "аcme", "a_b", "a b", &"a".repeat(64), "'; drop table--"] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
        assert!("www".parse::<Slug>().unwrap().reserved());
    }

    #[test]
    fn a_name_that_looks_like_another_is_refused() {
        let others = [("acme", "Acme Training Ltd"), ("ai", "AI Skills 10"), ("cafe", "Café Zoë")];
        for same in [
            "Acme Training Ltd",
            "ACME TRAINING LTD",
            "Acme  Training\u{a0}Ltd",
            "\u{410}cme Training Ltd",       // Cyrillic A
            "Acm\u{435} Tr\u{430}ining Ltd", // Cyrillic e and a
            "Acrne Training Ltd",            // r and n for m
            "\u{ff21}cme Training Ltd",      // fullwidth A
            "\u{1d400}cme Training Ltd",     // mathematical A
            "Al Skills 1O",                  // l for I, O for 0
            "Cafe\u{301} Zoe\u{308}",        // decomposed
        ] {
            let error = distinct(same, others).expect_err(same);
            assert_eq!((error.exit, error.code), (Exit::Conflict, "name_confusable"));
            assert!(error.message.contains("the name of `"), "{}", error.message);
        }
        for other in ["Acme Skills Ltd", "Acme Training", "Acme Training Ltd 2", "Cafe Zoe", "AI Skills 11", ""] {
            assert!(distinct(other, others).is_ok(), "{other}");
        }
    }

    #[test]
    fn a_name_is_stored_in_one_way() {
        assert_eq!(composed("Cafe\u{301}"), "Caf\u{e9}");
        assert_eq!(composed("Coleg Sir Gâr 株式会社 🚀"), "Coleg Sir Gâr 株式会社 🚀");
    }

    #[test]
    fn names_start_with_a_letter() {
        assert!("aptem_hubspot".parse::<Name>().is_ok());
        for bad in ["", "1a", "_a", "A", "a-b"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
