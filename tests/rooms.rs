//! The rooms of `src/` name each other as CONTRIBUTING.md says, and in no other way; and no statement is made of a value.

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

/// What may stand in a statement that is put together, beside constants: where, and why it is no value from outside.
const IDENTIFIERS: [(&str, &str, &str); 27] = [
    ("check.rs", "pragma", "one of two names written there"),
    ("contents.rs", "", "a table that the schema has, quoted"),
    ("digests.rs", "", "tables and columns that the schema has, quoted"),
    ("former.rs", "columns", "columns written in that file"),
    ("listing.rs", "", "`Entity::table`"),
    ("listing.rs", "behind", "one of two conditions written there"),
    ("listing.rs", "condition", "a condition written in that file"),
    ("listing.rs", "current", "a condition written there"),
    ("listing.rs", "linked", "a condition written in that file"),
    ("listing.rs", "table", "`Entity::table`"),
    ("organizations.rs", "open", "a part of a statement written there"),
    ("open.rs", "name", "a name that the file is attached under, of random digits"),
    ("organizations.rs", "table", "one of two names written there"),
    ("presets.rs", "condition", "a condition written in that file"),
    ("records.rs", "", "`Entity::table`, `Entity::columns`, and `?1`, `?2`, ... for their values"),
    ("records.rs", "rows", "a part of a statement that is put together just before"),
    ("purge.rs", "table", "a table that the schema has, quoted"),
    ("records.rs", "table", "`Entity::table`"),
    ("retention.rs", "table", "`Entity::table`"),
    ("tenant.rs", "columns", "columns that the schema has, quoted"),
    ("tenant.rs", "file", "a name that the file is attached under, of random digits"),
    ("tenant.rs", "of_own", "a condition written in that file, with the number of a row"),
    ("tenant.rs", "own", "the number of a row"),
    ("tenant.rs", "part", "a condition written in that file"),
    ("tenant.rs", "pinned", "a condition written in that file, with numbers"),
    ("tenant.rs", "providers", "a condition written in that file"),
    ("tenant.rs", "table", "a table that the schema has, quoted"),
];

/// Returns the texts that are put together in a program, each with the names of what is put in; `{}` for what has none.
fn composed(program: &str) -> Vec<(String, Vec<String>)> {
    let text = Regex::new(r#"(?s)\b(?:format|write|writeln)!\(\s*(?:\w+,\s*)?"((?:[^"\\]|\\.)*)""#).unwrap();
    let slot = Regex::new(r"\{([a-zA-Z_0-9]*)(?::[^}]*)?\}").unwrap();
    let texts = text.captures_iter(program).map(|found| found[1].replace("{{", "").replace("}}", ""));
    texts.map(|text| (text.clone(), slot.captures_iter(&text).map(|found| found[1].to_owned()).collect())).collect()
}

#[test]
fn no_statement_is_made_of_a_value() {
    let tests = Regex::new(r"(?m)^#\[cfg\(test\)\]\n(?:#.*\n)*(?:pub\(\w+\) )?mod \w+ \{").unwrap();
    let statement = Regex::new(
        r"\b(SELECT|INSERT|UPDATE \S+ SET|DELETE FROM|PRAGMA|WHERE|ORDER BY|VACUUM|ATTACH|DETACH|CREATE|DROP|ALTER)\b|^\{SELECT\}",
    )
    .unwrap();
    let constant = Regex::new(r"^[A-Z][A-Z_0-9]*$").unwrap();
    let mut unknown = Vec::new();
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || name == "tests.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let program = tests.split(&text).next().unwrap();
        for (text, slots) in composed(program).into_iter().filter(|(text, _)| statement.is_match(text)) {
            for slot in slots.iter().filter(|slot| !constant.is_match(slot)) {
                let row = IDENTIFIERS.iter().position(|(file, known, _)| *file == name && known == slot);
                match row {
                    Some(row) => drop(used.insert(row)),
                    None => unknown.push(format!("{name}: `{{{slot}}}` in: {text}")),
                }
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "bind values with `?`; what is an identifier of an enum wants a row here:\n{}",
        unknown.join("\n")
    );
    let unused: Vec<_> = (0..IDENTIFIERS.len()).filter(|row| !used.contains(row)).map(|row| IDENTIFIERS[row]).collect();
    assert!(unused.is_empty(), "these rows are of no use any more: {unused:?}");
}
