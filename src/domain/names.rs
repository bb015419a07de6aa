//! Names that check themselves: organization slugs, and the names of providers, presets and streams.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    fn names_start_with_a_letter() {
        assert!("aptem_hubspot".parse::<Name>().is_ok());
        for bad in ["", "1a", "_a", "A", "a-b"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
