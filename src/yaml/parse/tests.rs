use std::{fmt::Write, time::Instant};

use serde_json::json;

use super::*;
use crate::yaml::to_yaml;

fn json(text: &str) -> serde_json::Value {
    parse("f.yaml", text).unwrap().to_json()
}

/// Returns the code, the place and the first line of what is wrong, without the place.
fn wrong(text: &str) -> (&'static str, String, String) {
    let error = parse("f.yaml", text).unwrap_err();
    let place = error.place.clone().unwrap();
    let at = format!("{}:{}", place.line, place.column);
    let message = error.message.lines().next().unwrap().strip_prefix(&format!("f.yaml:{at}: ")).unwrap();
    (error.code, at, message.to_owned())
}

fn assert_wrong(text: &str, code: &str, at: &str, message: &str) {
    assert_eq!(wrong(text), (code, at.to_owned(), message.to_owned()), "{text}");
}

#[test]
fn texts_that_look_like_something_else_keep_their_spelling() {
    assert_eq!(
        json("country: NO\nid: 0123\nversion: 1.10\nanswer: yes\nswitch: off\ntime: 12:30:45\n"),
        json!({"country": "NO", "id": "0123", "version": "1.10", "answer": "yes", "switch": "off", "time": "12:30:45"})
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let node = parse("f.yaml", "\u{feff}a: 1\r\nb:\r\n  - x\r\nc: |\r\n  1\r\n  2\r\n").unwrap();
    assert_eq!(node.to_json(), json!({"a": 1, "b": ["x"], "c": "1\n2\n"}));
    assert_eq!(format!("{:?} {:?}", node.mark, node.get("b").unwrap().mark), "f.yaml:1:1 f.yaml:3:3");
}

#[test]
fn every_key_and_value_knows_its_place() {
    let node = parse("f.yaml", "é: ü\nb: {c: [1, 'x']}\nd:\ne: |\n  text\n").unwrap();
    let marks: Vec<String> =
        node.entries().iter().map(|(key, node)| format!("{:?} {:?}", key.mark, node.mark)).collect();
    assert_eq!(
        marks,
        ["f.yaml:1:1 f.yaml:1:4", "f.yaml:2:1 f.yaml:2:4", "f.yaml:3:1 f.yaml:3:2", "f.yaml:4:1 f.yaml:5:3"]
    );
    let Value::List(items) = &node.get("b").unwrap().get("c").unwrap().value else { panic!() };
    assert_eq!(format!("{:?} {:?}", items[0].mark, items[1].mark), "f.yaml:2:9 f.yaml:2:12");
}

#[test]
fn an_empty_file_is_a_null() {
    for text in ["", "\n", "# only a comment\n", "---\n", "~"] {
        assert_eq!(json(text), json!(null), "{text:?}");
    }
}

#[test]
fn nothing_after_a_key_is_a_null() {
    assert_eq!(json("a:\nb: ~\nc: ''\nd: [1, ]\n"), json!({"a": null, "b": null, "c": "", "d": [1]}));
}

#[test]
fn a_key_set_twice_is_an_error_at_the_second() {
    assert_wrong("a: 1\nb: 2\na: 3\n", "yaml_duplicate_key", "3:1", "the key `a` is there already, on line 1");
    assert_wrong("x: {\"a\": 1, a: 2}", "yaml_duplicate_key", "1:13", "the key `a` is there already, on line 1");
    assert_wrong("1: x\n'1': y\n", "yaml_duplicate_key", "2:1", "the key `1` is there already, on line 1");
}

#[test]
fn keys_are_text_as_written() {
    assert_eq!(
        json("404: a\ntrue: b\n0x1: c\nnull: d\n'': e\n"),
        json!({"404": "a", "true": "b", "0x1": "c", "null": "d", "": "e"})
    );
    assert_wrong("? [a]\n: b\n", "yaml_key", "1:3", "a key has to be text");
    assert_wrong("a: b\n: c\n", "yaml_key", "2:1", "the key before `:` is missing");
    assert_wrong("!unset : c\n", "yaml_key", "1:1", "a key cannot be `!unset`");
}

#[test]
fn a_slot_without_quotes_is_explained() {
    assert_wrong("url: {{name}}\n", "yaml_key", "1:7", "a key has to be text");
    assert!(parse("f", "url: {{name}}\n").unwrap_err().hint.unwrap().contains("quoted"));
}

#[test]
fn merge_keys_are_refused() {
    assert_wrong("a: &a {x: 1}\nb:\n  <<: *a\n", "yaml_key", "3:3", "merge keys are not read: write the keys out here");
    assert_eq!(json("'<<': 1"), json!({"<<": 1}));
}

#[test]
fn aliases_stand_for_their_anchor() {
    assert_eq!(
        json("a: &a [1, &b x]\nb: *a\nc: *b\n*b : key\n"),
        json!({"a": [1, "x"], "b": [1, "x"], "c": "x", "x": "key"})
    );
    assert_wrong("a: *b\n", "yaml_syntax", "1:4", "no anchor of this name stands above");
    assert_wrong("a: &a\n  - *a\n", "yaml_syntax", "2:5", "this alias stands for something that contains it");
}

#[test]
fn tags_of_the_core_are_kept_to() {
    assert_eq!(
        json("a: !!str 3\nb: ! true\nc: !!int \"3\"\nd: !!seq [x]\ne: !!map {}\nf: !!null\ng: !!str\n"),
        json!({"a": "3", "b": "true", "c": 3, "d": ["x"], "e": {}, "f": null, "g": ""})
    );
    assert_wrong("a: !!int x", "yaml_tag", "1:4", "the value is no `!!int`");
    assert_wrong("a: !!map x", "yaml_tag", "1:4", "the value is no `!!map`");
    assert_wrong("a: !!seq {}", "yaml_tag", "1:4", "unknown tag `!!seq`");
}

#[test]
fn other_tags_are_refused() {
    assert_wrong("a: !foo\n  b: 1\n", "yaml_tag", "1:4", "unknown tag `!foo`");
    assert_wrong("- !important text", "yaml_tag", "1:3", "unknown tag `!important`");
    assert_wrong("- !!python/object x", "yaml_tag", "1:3", "unknown tag `!!python/object`");
    assert_wrong("- !<tag:example.org,2000:x> []", "yaml_tag", "1:3", "unknown tag `!<tag:example.org,2000:x>`");
}

#[test]
fn unset_is_a_value_of_its_own() {
    let node = parse("f.yaml", "a: !unset\nb: !unset ~\nc: [!unset , x]\n").unwrap();
    assert!(matches!(node.get("a").unwrap().value, Value::Unset));
    assert!(matches!(node.get("b").unwrap().value, Value::Unset));
    assert_eq!(node.to_json(), json!({"a": "!unset", "b": "!unset", "c": ["!unset", "x"]}));
    assert_wrong("a: !unset x", "yaml_tag", "1:4", "`!unset` takes no value");
    assert_wrong("a: !unset [x]", "yaml_tag", "1:4", "`!unset` takes no value");
}

#[test]
fn a_file_holds_one_document() {
    assert_eq!(json("---\na: 1\n...\n"), json!({"a": 1}));
    assert_wrong("a: 1\n---\nb: 2\n", "yaml_syntax", "2:1", "a second document starts here, a file holds one");
}

#[test]
fn syntax_errors_are_placed_and_explained() {
    assert_wrong("a:\n\tb: 1", "yaml_syntax", "2:2", "a tab is used as indentation");
    assert_wrong("a: @x", "yaml_syntax", "1:4", "a text cannot start with `@`");
    assert_wrong("a: b: c", "yaml_syntax", "1:5", "`:` is not expected here");
    assert_wrong("a: 1\n  b: 2", "yaml_syntax", "2:4", "`:` is not expected here");
    assert_wrong("  a: 1\n b: 2", "yaml_syntax", "2:2", "this does not belong to what stands above it");
    assert_wrong("a: 'x", "yaml_syntax", "1:4", "this quote is never closed");
    assert_wrong("a: [1, 2", "yaml_syntax", "1:4", "this `[` is never closed");
    assert_wrong("a: 1]\nb: ]", "yaml_syntax", "2:4", "nothing was opened that this closes");
    assert_wrong("a: \"x\" y", "yaml_syntax", "1:8", "the text goes on after its closing quote");
    assert_wrong("a: \"\\d\"", "yaml_syntax", "1:4", "this text in double quotes holds an unknown escape");
    assert_wrong("a: - b", "yaml_syntax", "1:4", "a list cannot start here");
}

#[test]
fn control_characters_are_refused_where_they_stand() {
    assert_wrong("a: 1\r\nb:\rx: '\u{1b}[0m'\n", "yaml_syntax", "3:5", "the control character U+001B is not allowed");
    assert_wrong("a: 1\0\nb: 2", "yaml_syntax", "1:5", "the control character U+0000 is not allowed");
    assert_eq!(json("a: \"\\e[0m\""), json!({"a": "\u{1b}[0m"}));
}

#[test]
fn a_file_larger_than_a_mebibyte_is_refused() {
    let text = format!("a: '{}'", "x".repeat(FILE_BYTES));
    assert_wrong(&text, "yaml_limit", "1:1", "the file has 1048581 bytes, at most 1048576 are read");
    assert_eq!(json(&text[..FILE_BYTES - 1].replace("a: '", "a: x")).as_object().unwrap().len(), 1);
}

#[test]
fn nodes_are_counted() {
    let list = |items: usize| "- x\n".repeat(items);
    assert!(parse("f", &list(NODES - 1)).is_ok());
    assert_wrong(&list(NODES), "yaml_limit", "20000:3", "more than 20000 keys and values");
}

#[test]
fn nesting_is_counted() {
    let nested = |depth: usize| (0..depth).fold(String::new(), |text, at| text + &" ".repeat(at) + "a:\n");
    assert!(parse("f", &nested(DEPTH)).is_ok());
    assert_eq!(wrong(&nested(DEPTH + 1)).0, "yaml_limit");
    assert!(parse("f", &("[".repeat(DEPTH) + &"]".repeat(DEPTH))).is_ok());
    assert_eq!(wrong(&"[".repeat(DEPTH + 1)).0, "yaml_limit");
    let mixed = nested(20).trim_end().to_owned() + " " + &"[".repeat(13) + &"]".repeat(13);
    assert_eq!(wrong(&mixed).0, "yaml_limit");
}

#[test]
fn nesting_through_aliases_is_counted() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for at in 1..40 {
        writeln!(text, "a{at}: &a{at} [*a{}]", at - 1).unwrap();
    }
    assert_eq!(wrong(&text).2, "more than 32 lists and maps inside each other");
}

#[test]
fn aliases_are_counted() {
    let aliases = |count: usize| format!("- &a x\n{}", "- *a\n".repeat(count));
    assert!(parse("f", &aliases(ALIASES)).is_ok());
    assert_wrong(&aliases(ALIASES + 1), "yaml_limit", "66:3", "more than 64 aliases");
}

#[test]
fn aliases_of_long_texts_are_counted() {
    let text = format!("- &a {}\n{}", "x".repeat(FILE_BYTES / 2), "- *a\n".repeat(4));
    assert_eq!(wrong(&text).0, "yaml_limit");
}

#[test]
fn what_is_too_much_is_refused_quickly() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..7 {
        let below = at - 1;
        writeln!(bomb, "a{at}: &a{at} [{}]", vec![format!("*a{below}"); 9].join(", ")).unwrap();
    }
    let cases = [
        ("bomb", bomb),
        ("many aliases", format!("- &a {}\n{}", "x".repeat(100_000), "- *a\n".repeat(20_000))),
        ("open brackets", "[".repeat(100_000)),
        ("open braces", "{a: ".repeat(100_000)),
        ("nested maps", (0..1400).map(|at| " ".repeat(at) + "a:\n").collect()),
        ("nested lists", "- ".repeat(100_000)),
        ("explicit keys", "? ".repeat(100_000)),
        ("many nodes", "[],".repeat(349_000)),
        ("many items", format!("[{}", "[],".repeat(349_000))),
        ("many keys", (0..80_000).fold(String::new(), |text, at| text + &format!("k{at}: 1\n"))),
        ("open quote", format!("a: \"{}", "x\n ".repeat(300_000))),
        ("anchors", "&a ".repeat(300_000)),
        ("tags", format!("!{} x", "a".repeat(1_000_000))),
    ];
    for (name, text) in cases {
        let start = Instant::now();
        let error = parse("f", &text).unwrap_err();
        let took = start.elapsed();
        // The promise is 50 ms for the program as released; the tests run unoptimized.
        let most = if cfg!(debug_assertions) { 1000 } else { 50 };
        assert!(took.as_millis() < most, "{name}: {took:?} for {error}");
        assert!(error.message.len() < 1000, "{name}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let value = json!({"a": {"b": [1, 2.5, null, true, "no"], "c": {}}, "d": [], "e": ["x\ny\n"]});
    assert_eq!(json(&to_yaml(&value)), value);
}
