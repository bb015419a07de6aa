//! `version`: what this program is made of.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::error::Exit;
use crate::output::{Cell, pairs};
use crate::session::Session;
use crate::store;

/// Show the version of the program and of what it is built on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl version\n  skillsctl version --json")]
pub(crate) struct VersionArgs {}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    /// The commit it was built from, where whoever built it said so.
    commit: Option<&'static str>,
    /// `release`, or `debug` with what tests need.
    profile: &'static str,
    /// The kind of machine it runs on, like `x86_64-linux`.
    platform: String,
    sqlite: &'static str,
    /// The newest schema this program knows.
    schema: i64,
    /// The crates that encrypt, speak TLS and HTTP, store, and read files from outside.
    crates: BTreeMap<&'static str, &'static str>,
}

const LOCK: &str = include_str!("../../Cargo.lock");
const CRATES: [&str; 13] = [
    "ring",
    "rustls",
    "rustls-webpki",
    "webpki-roots",
    "ureq",
    "rusqlite",
    "granit-parser",
    "serde_json",
    "csv",
    "minijinja",
    "regex",
    "clap",
    "zeroize",
];

pub(crate) fn run(_args: &VersionArgs, session: &Session) -> Result<Exit> {
    let crates = CRATES.into_iter().filter_map(|name| Some((name, locked(name)?))).collect();
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("SKILLSCTL_COMMIT"),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        sqlite: store::sqlite_version(),
        schema: store::newest_schema(),
        crates,
    };
    session.output.one("Version", &version, |look| {
        let schema = version.schema.to_string();
        let built = format!("{}, {}", version.profile, version.commit.unwrap_or("from an unnamed commit"));
        let own = [
            ("skillsctl", version.version),
            ("built", &built),
            ("platform", &version.platform),
            ("sqlite", version.sqlite),
            ("schema", &schema),
        ];
        let rows = own.into_iter().chain(version.crates.iter().map(|(name, version)| (*name, *version)));
        pairs(&rows.map(|(name, version)| (name, Cell::text(version))).collect::<Vec<_>>(), look)
    })?;
    Ok(Exit::Done)
}

/// Returns the version of a crate that this program was built with.
fn locked(name: &str) -> Option<&'static str> {
    let entry =
        LOCK.split("[[package]]").find(|entry| entry.trim_start().starts_with(&format!("name = \"{name}\"\n")))?;
    entry.split("version = \"").nth(1)?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_listed_is_one_this_program_is_built_with() {
        for name in CRATES {
            assert!(locked(name).is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())), "{name}");
        }
    }
}
