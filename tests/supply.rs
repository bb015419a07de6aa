//! What crates come in is what `deny.toml` allows: licences, one version of each, no source but crates.io.
//!
//! `cargo deny` says the same and more; this needs nothing installed, and so runs with every test.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

const DENY: &str = include_str!("../deny.toml");
const LOCKS: [(&str, &str); 2] =
    [("Cargo.lock", include_str!("../Cargo.lock")), ("fuzz/Cargo.lock", include_str!("../fuzz/Cargo.lock"))];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Returns what a pattern finds in a text, each as its groups.
fn found<'t>(text: &'t str, pattern: &str) -> Vec<Vec<&'t str>> {
    let groups = |found: regex::Captures<'t>| found.iter().skip(1).flatten().map(|group| group.as_str()).collect();
    Regex::new(pattern).unwrap().captures_iter(text).map(groups).collect()
}

/// Returns the quoted words behind the first `key = [` of `deny.toml`.
fn list(key: &str) -> BTreeSet<String> {
    let inside = found(DENY, &format!(r"(?m)^{key} = \[([^\]]*)\]"))[0][0];
    found(inside, "\"([^\"]*)\"").concat().into_iter().map(str::to_owned).collect()
}

/// Returns the packages of a lock file: name, version, source, checksum.
fn locked(lock: &'static str) -> Vec<(&'static str, &'static str, Option<&'static str>, bool)> {
    let field = |entry: &'static str, name: &str| -> Option<&'static str> {
        found(entry, &format!("(?m)^{name} = \"([^\"]*)\"")).first().map(|groups| groups[0])
    };
    let entries = lock.split("[[package]]").skip(1);
    entries
        .map(|entry| {
            let (name, version) = (field(entry, "name").unwrap(), field(entry, "version").unwrap());
            (name, version, field(entry, "source"), field(entry, "checksum").is_some())
        })
        .collect()
}

/// Returns whether the licences allowed satisfy an SPDX expression. `AND` binds closer than `OR`; a slash is an old `OR`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let innermost = Regex::new(r"\(([^()]*)\)").unwrap();
    let mut expression = expression.replace('/', " OR ");
    let plain = |text: &str| {
        text.split(" OR ").any(|all| all.split(" AND ").all(|one| one.trim() == "yes" || allowed.contains(one.trim())))
    };
    while let Some(inner) = innermost.captures(&expression) {
        let verdict = if plain(&inner[1]) { "yes" } else { "no" };
        expression = expression.replacen(&inner[0], verdict, 1);
    }
    plain(&expression)
}

#[test]
fn every_crate_comes_from_crates_io_with_its_checksum() {
    for (file, lock) in LOCKS {
        let foreign: Vec<_> = locked(lock)
            .into_iter()
            .filter(|(name, _, source, checked)| {
                !(name.starts_with("skillsctl") || (*source == Some(CRATES_IO) && *checked))
            })
            .collect();
        assert!(foreign.is_empty(), "{file}: {foreign:?}");
    }
}

/// Of platforms that `deny.toml` does not name some crates are there twice; they are in no program of ours.
#[test]
fn no_crate_is_there_in_two_versions_without_a_reason() {
    let skipped: BTreeSet<&str> =
        found(DENY, r#"crate = "([a-z0-9_-]+)@[^"]*", reason"#).concat().into_iter().collect();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata() {
        let text = |name: &str| package[name].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let twice: Vec<_> =
        versions.iter().filter(|(name, versions)| versions.len() > 1 && !skipped.contains(name.as_str())).collect();
    assert!(twice.is_empty(), "{twice:?}: find out who wants the older one, or give a reason in deny.toml");
    for name in skipped {
        assert!(versions[name].len() > 1, "`{name}` is there once: its line in deny.toml can go");
    }
    for banned in found(DENY, r#"crate = "([a-z0-9_-]+)", reason"#).concat() {
        assert!(!versions.contains_key(banned), "{banned} is banned");
    }
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let allowed = list("allow");
    let excepted: BTreeMap<&str, &str> = found(DENY, r#"name = "([^"]+)", allow = \["([^"]+)"\]"#)
        .into_iter()
        .map(|groups| (groups[0], groups[1]))
        .collect();
    for package in metadata() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        let mut allowed = allowed.clone();
        allowed.extend(excepted.get(name).map(|licence| (*licence).to_owned()));
        assert!(satisfied(licence, &allowed), "{name} is under {licence}");
    }
}

#[test]
fn expressions_of_licences_are_read() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]);
    for fine in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND Zlib", "Zlib AND MIT"] {
        assert!(satisfied(fine, &allowed), "{fine}");
    }
    for not in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "none", ""] {
        assert!(!satisfied(not, &allowed), "{not}");
    }
}

/// Returns all packages that are built for this platform.
fn metadata() -> Vec<Value> {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments =
        ["metadata", "--format-version", "1", "--locked", "--offline", "--all-features", "--filter-platform", host];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 50, "{} packages", packages.len());
    packages
}
