//! YAML in block style, made of JSON text: fields in their order, numbers with all their digits, and nothing that is not seen.

use anyhow::Result;

use super::document::{Tree, text_of};
use super::show::{MOST_MARKS, is_combining};
use crate::domain::names::is_hidden;

/// Returns a JSON object as a YAML document.
pub(super) fn document(json: &str) -> Result<String> {
    let mut yaml = String::with_capacity(json.len() * 2);
    block(&mut yaml, &Tree::of(json)?, 0);
    Ok(yaml)
}

/// Returns a JSON value as an item of a list that is set in by two.
pub(super) fn item(json: &str) -> Result<String> {
    let mut yaml = String::with_capacity(json.len() * 2);
    items(&mut yaml, &[Tree::of(json)?], 2);
    Ok(yaml)
}

fn block(yaml: &mut String, tree: &Tree<'_>, indent: usize) {
    match tree {
        Tree::Map(fields) if !fields.is_empty() => members(yaml, fields, indent, false),
        Tree::List(list) if !list.is_empty() => items(yaml, list, indent),
        other => {
            inline(yaml, other);
            yaml.push('\n');
        }
    }
}

/// Writes the fields of a map, each on a line of its own; the first goes on in the line there is, if so said.
fn members(yaml: &mut String, fields: &[(std::borrow::Cow<'_, str>, Tree<'_>)], indent: usize, mut in_line: bool) {
    for (name, value) in fields {
        if !std::mem::take(&mut in_line) {
            set_in(yaml, indent);
        }
        text(yaml, name);
        yaml.push(':');
        match value {
            Tree::Map(fields) if !fields.is_empty() => {
                yaml.push('\n');
                members(yaml, fields, indent + 2, false);
            }
            other => behind(yaml, other, indent),
        }
    }
}

/// Writes what stands behind a name or a dash: a scalar in its line, a list below it.
fn behind(yaml: &mut String, value: &Tree<'_>, indent: usize) {
    match value {
        Tree::List(list) if !list.is_empty() => {
            yaml.push('\n');
            items(yaml, list, indent + 2);
        }
        scalar => {
            yaml.push(' ');
            inline(yaml, scalar);
            yaml.push('\n');
        }
    }
}

fn items(yaml: &mut String, list: &[Tree<'_>], indent: usize) {
    for item in list {
        set_in(yaml, indent);
        yaml.push('-');
        match item {
            Tree::Map(fields) if !fields.is_empty() => {
                yaml.push(' ');
                members(yaml, fields, indent + 2, true);
            }
            other => behind(yaml, other, indent),
        }
    }
}

fn set_in(yaml: &mut String, indent: usize) {
    yaml.extend(std::iter::repeat_n(' ', indent));
}

fn inline(yaml: &mut String, value: &Tree<'_>) {
    match value {
        Tree::Map(_) => yaml.push_str("{}"),
        Tree::List(_) => yaml.push_str("[]"),
        Tree::Scalar(raw) if raw.get().starts_with('"') => text(yaml, &text_of(raw)),
        Tree::Scalar(raw) => yaml.push_str(raw.get()),
    }
}

/// Writes a text, in quotes where any reader of YAML might take it for something else.
fn text(yaml: &mut String, text: &str) {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_plain = text.starts_with(char::is_alphabetic)
        && !text.ends_with(' ')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '.' | '/' | '@' | '-' | '+'))
        && !text.chars().any(is_unprintable)
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_plain {
        yaml.push_str(text);
        return;
    }
    yaml.push('"');
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_combining(c) { marks + 1 } else { 0 };
        match c {
            // A tower of marks covers what stands above it.
            c if marks > MOST_MARKS && u32::from(c) <= 0xffff => yaml.push_str(&format!("\\u{:04x}", u32::from(c))),
            '"' => yaml.push_str("\\\""),
            '\\' => yaml.push_str("\\\\"),
            '\n' => yaml.push_str("\\n"),
            '\t' => yaml.push_str("\\t"),
            '\r' => yaml.push_str("\\r"),
            c if is_unprintable(c) && u32::from(c) <= 0xffff => yaml.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if is_unprintable(c) => yaml.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => yaml.push(c),
        }
    }
    yaml.push('"');
}

/// Returns whether a character is not seen, or may not stand in YAML as it is.
fn is_unprintable(c: char) -> bool {
    is_hidden(c) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn yaml_has_the_order_and_the_digits_of_the_json() {
        let json = "{\"kind\":\"Org\",\"v\":1,\"big\":18446744073709551616,\"fee\":1.10,\"none\":null,\"no\":\"no\",\
                    \"list\":[1.0,[],{},[2],{\"a\":\"x: y\",\"b\":{\"c\":\"\\u202e\"}}]}";
        assert_eq!(
            document(json).unwrap(),
            "kind: Org\nv: 1\nbig: 18446744073709551616\nfee: 1.10\nnone: null\n\"no\": \"no\"\nlist:\n  - 1.0\n  - []\n  \
             - {}\n  -\n    - 2\n  - a: \"x: y\"\n    b:\n      c: \"\\u202e\"\n"
        );
        assert_eq!(item("{\"a\":1,\"b\":[2]}").unwrap(), "  - a: 1\n    b:\n      - 2\n");
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ a-c:#\n\t\r'\"\\-{}\\[\\],&*!|>%@0-9.~]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,6}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_back_as_the_same(value in tree()) {
            let yaml = document(&serde_json::json!({ "x": value }).to_string()).unwrap();
            let read = crate::yaml::parse("-", &yaml).unwrap().to_json();
            prop_assert_eq!(&read["x"], &value, "{}", yaml);
        }
    }
}
