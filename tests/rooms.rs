//! The rooms of `src/` name each other as CONTRIBUTING.md says, and in no other way.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Returns the arrows of the list in CONTRIBUTING.md.
fn written() -> Arrows {
    let (_, list) = include_str!("../CONTRIBUTING.md").split_once("<!-- arrows -->\n```text\n").unwrap();
    let lines = list.lines().take_while(|line| *line != "```");
    let arrow = |line: &str| {
        let (from, to) = line.split_once(" -> ").unwrap();
        (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect())
    };
    lines.map(arrow).collect()
}

/// Adds what the program below a folder names; tests are left out.
fn read(folder: &Path, room: Option<&str>, arrows: &mut Arrows) {
    let named = Regex::new(r"crate::(?:\{([^;]*?)\};|([a-z0-9_]+))").unwrap();
    let tests = Regex::new(r"(?m)^#\[cfg\(test\)\]\n(?:#.*\n)*mod \w+ \{").unwrap();
    let word = Regex::new(r"(?:^|[,{]\s*)([a-z0-9_]+)::").unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let room = room.unwrap_or(&stem);
        if path.is_dir() && stem != "tests" {
            read(&path, Some(room), arrows);
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let text = std::fs::read_to_string(&path).unwrap();
            // A file ends with its tests.
            let program = tests.split(&text).next().unwrap();
            for found in named.captures_iter(program) {
                let names: Vec<&str> = match found.get(1) {
                    Some(group) => word
                        .captures_iter(group.as_str())
                        .filter_map(|name| name.get(1))
                        .map(|name| name.as_str())
                        .collect(),
                    None => vec![&found[2]],
                };
                let others = names.into_iter().filter(|name| *name != room).map(str::to_owned);
                arrows.entry(room.to_owned()).or_default().extend(others);
            }
        }
    }
}

#[test]
fn rooms_name_each_other_as_the_map_says() {
    let mut arrows = Arrows::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut arrows);
    for room in ["main", "lib"] {
        arrows.remove(room);
    }
    arrows.retain(|_, to| !to.is_empty());
    let shown = |arrows: &Arrows| {
        let lines = arrows.iter().map(|(from, to)| {
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            format!("{from} -> {}", to.join(" "))
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (found, written) = (shown(&arrows), shown(&written()));
    assert!(found == written, "CONTRIBUTING.md says\n{written}\n\nand the code\n{found}");
}
