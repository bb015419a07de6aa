//! The index of traps in `docs/traps.md` names tests that exist, leaves out no trap, and puts none off.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

const INDEX: &str = include_str!("../docs/traps.md");

/// Returns the cells of each line of the tables.
fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = INDEX.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| --- "));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// Adds the names of all tests below a folder.
fn tests(folder: &Path, names: &mut BTreeSet<String>) {
    let test = Regex::new(r"#\[test\]\s+(?:#.*\s+)*fn (\w+)\(").unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            names.extend(test.captures_iter(&text).map(|found| found[1].to_owned()));
        }
    }
}

#[test]
fn every_test_that_the_index_names_exists() {
    let mut known = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut known);
    }
    let name = Regex::new(r"`(\w+)`").unwrap();
    for cells in lines() {
        let last = cells.last().unwrap();
        let named: Vec<&str> = name.captures_iter(last).map(|found| found.get(1).unwrap().as_str()).collect();
        assert!(*last == "tests" || !named.is_empty(), "no test: {cells:?}");
        for name in named {
            assert!(known.contains(name), "docs/traps.md names `{name}`, which is no test");
        }
    }
}

#[test]
fn the_index_puts_nothing_off() {
    assert!(!INDEX.contains("(pending)"), "a trap is in docs/traps.md once its test is there");
}

#[test]
fn the_index_leaves_out_no_trap() {
    let listed: Vec<u32> = lines().filter_map(|cells| cells.first()?.parse().ok()).collect();
    assert_eq!(listed, (1..=36).collect::<Vec<u32>>());
}

#[test]
fn every_place_that_the_index_names_exists() {
    let place = Regex::new(r"`([\w/]+\.rs)`").unwrap();
    for found in place.captures_iter(INDEX) {
        let roots = ["src", ""].map(|root| Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join(&found[1]));
        assert!(roots.iter().any(|path| path.exists()), "docs/traps.md names `{}`, which is no file", &found[1]);
    }
}
