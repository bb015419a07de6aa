use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::UNSET;
use super::fault::with_hint;
use crate::{
    error::{Exit, UserError},
    yaml::parse,
};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Preset {
    name: String,
    #[serde(default)]
    providers: BTreeMap<String, Provider>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Provider {
    enabled: bool,
    sync_frequency: Option<String>,
    page_size: u8,
    rate: f64,
    slug: Option<Slug>,
    auth: Option<Auth>,
    on: Option<On>,
    fields: Vec<String>,
    pair: Option<(u8, String)>,
    age: Option<Override>,
    wait: Option<Wait>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
struct Slug(String);

impl TryFrom<String> for Slug {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(' ') {
            return Err(with_hint(format!("`{text}` is no slug"), "write it like `acme`"));
        }
        Ok(Slug(text))
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Auth {
    None,
    Bearer(String),
    Basic { user: String, pass: String },
    Range(u8, u8),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum On {
    Create,
    Delete,
}

#[derive(Debug, PartialEq)]
enum Override {
    Unset,
    Years(u8),
}

impl<'de> Deserialize<'de> for Override {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Override;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an age in years or `!unset`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Override, E> {
                if text == UNSET {
                    Ok(Override::Unset)
                } else {
                    Err(E::invalid_type(serde::de::Unexpected::Str(text), &self))
                }
            }
            fn visit_i64<E: serde::de::Error>(self, years: i64) -> Result<Override, E> {
                u8::try_from(years).map(Override::Years).map_err(|_| E::custom("nobody is that old"))
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged, expecting = "expected a number of seconds or a map with `minutes`")]
enum Wait {
    Seconds(u32),
    Long { minutes: u32 },
}

fn preset(text: &str) -> Result<Preset, UserError> {
    parse("f.yaml", text).unwrap().read()
}

fn provider(text: &str) -> Provider {
    parse("f.yaml", text).unwrap().read().unwrap()
}

/// Returns the error of a provider as `line:column code: message / hint`.
fn wrong(text: &str) -> String {
    shown(parse("f.yaml", text).unwrap().read::<Provider>().unwrap_err())
}

fn shown(error: UserError) -> String {
    let place = error.place.unwrap();
    let at = format!("{}:{}", place.line, place.column);
    let message = error.message.lines().next().unwrap().strip_prefix(&format!("f.yaml:{at}: ")).unwrap().to_owned();
    let hint = error.hint.map(|hint| format!(" / {hint}")).unwrap_or_default();
    format!("{at} {}: {message}{hint}", error.code)
}

#[test]
fn plain_scalars_read_into_text_as_they_are_spelled() {
    let spellings = ["0123", "1.10", "NO", "1e5", "12345678901234567890123", "true", "2026-01-01", "-0", ".inf"];
    let text: String = spellings.map(|text| format!("- {text}\n")).concat();
    assert_eq!(parse("f", &text).unwrap().read::<Vec<String>>().unwrap(), spellings);
}

#[test]
fn plain_scalars_read_into_the_type_asked_for() {
    let read = provider("enabled: true\npage_size: 3\nrate: 2\nsync_frequency: 3\nslug: 007\n");
    assert_eq!(
        read,
        Provider {
            enabled: true,
            page_size: 3,
            rate: 2.0,
            sync_frequency: Some("3".into()),
            slug: Some(Slug("007".into())),
            ..Provider::default()
        }
    );
    assert_eq!(parse("f", "18446744073709551615").unwrap().read::<u64>().unwrap(), u64::MAX);
    assert_eq!(parse("f", "[a, é]").unwrap().read::<(char, char)>().unwrap(), ('a', 'é'));
}

#[test]
fn nothing_is_an_absent_option() {
    assert_eq!(provider("sync_frequency:\nslug: ~\nauth: null\n"), Provider::default());
}

#[test]
fn any_json_reads_untyped() {
    let node = parse("f", "a: [1, 0123, NO, 1.5, null, true]\n").unwrap();
    assert_eq!(node.read::<serde_json::Value>().unwrap(), json!({"a": [1, "0123", "NO", 1.5, null, true]}));
}

#[test]
fn keys_may_be_numbers() {
    let node = parse("f", "404: a\n-1: b\n").unwrap();
    assert_eq!(node.read::<BTreeMap<i32, String>>().unwrap(), BTreeMap::from([(404, "a".into()), (-1, "b".into())]));
    let error = parse("f.yaml", "404: a\nx: b\n").unwrap().read::<BTreeMap<u16, String>>().unwrap_err();
    assert_eq!(shown(error), "2:1 yaml_type: expected a whole number, found text `x`");
}

#[test]
fn enums_read_from_a_text_or_a_map_of_one_key() {
    let auth = |text: &str| provider(&format!("auth: {text}\n")).auth.unwrap();
    assert_eq!(auth("none"), Auth::None);
    assert_eq!(auth("{none: }"), Auth::None);
    assert_eq!(auth("{bearer: 0123}"), Auth::Bearer("0123".into()));
    assert_eq!(auth("{basic: {user: a, pass: b}}"), Auth::Basic { user: "a".into(), pass: "b".into() });
    assert_eq!(auth("{range: [1, 2]}"), Auth::Range(1, 2));
    assert_eq!(provider("on: delete").on, Some(On::Delete));
}

#[test]
fn enum_errors_point_at_what_is_wrong() {
    assert_eq!(
        wrong("auth: {beerer: x}"),
        "1:8 yaml_unknown_key: unknown key `beerer` in `auth` / did you mean `bearer`?"
    );
    assert_eq!(wrong("on: craete"), "1:5 yaml_value: unknown value `craete` in `on` / did you mean `create`?");
    assert_eq!(wrong("on: x"), "1:5 yaml_value: unknown value `x` in `on` / known values: `create`, `delete`");
    assert_eq!(wrong("auth: bearer"), "1:7 yaml_type: `bearer` needs a value in `auth` / write `bearer: ...`");
    assert_eq!(wrong("auth: {none: 1}"), "1:14 yaml_type: expected no value, found the number `1` in `auth.none`");
    assert_eq!(wrong("auth: {bearer: [x]}"), "1:16 yaml_type: expected text, found a list in `auth.bearer`");
    assert_eq!(wrong("auth: {basic: {user: a}}"), "1:15 yaml_missing_key: missing key `pass` in `auth.basic`");
    assert_eq!(
        wrong("auth: {range: [1, 2, 3]}"),
        "1:15 yaml_type: expected a list of 2, found a list of 3 in `auth.range`"
    );
    assert_eq!(
        wrong("auth: {none: , bearer: x}"),
        "1:16 yaml_type: expected a single key, found `none` and `bearer` in `auth` / choose one of `none`, `bearer`, `basic`, `range`"
    );
    assert_eq!(wrong("on: {}"), "1:5 yaml_type: expected one of `create`, `delete`, found an empty map in `on`");
    assert_eq!(wrong("on: []"), "1:5 yaml_type: expected one of `create`, `delete`, found a list in `on`");
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    let error = preset("name: x\nproviders:\n  aptem:\n    enabled: true\n    sync_freqency: hourly\n").unwrap_err();
    assert_eq!(
        error.message,
        "f.yaml:5:5: unknown key `sync_freqency` in `providers.aptem`\n  |\n5 |     sync_freqency: hourly\n  |     ^"
    );
    assert_eq!(error.hint.as_deref(), Some("did you mean `sync_frequency`?"));
    assert_eq!((error.exit, error.code), (Exit::Invalid, "yaml_unknown_key"));
}

#[test]
fn an_unknown_key_like_no_other_lists_the_known_ones() {
    let error = preset("name: x\nwhatever: 1\n").unwrap_err();
    assert_eq!(shown(error), "2:1 yaml_unknown_key: unknown key `whatever` / known keys: `name`, `providers`");
}

#[test]
fn a_missing_key_points_at_the_map() {
    assert_eq!(shown(preset("\nproviders: {}\n").unwrap_err()), "2:1 yaml_missing_key: missing key `name`");
}

#[test]
fn a_wrong_type_points_at_the_value() {
    assert_eq!(wrong("page_size: abc"), "1:12 yaml_type: expected a whole number, found text `abc` in `page_size`");
    assert_eq!(
        wrong("page_size: 1.5"),
        "1:12 yaml_type: expected a whole number, found the number `1.5` in `page_size`"
    );
    assert_eq!(wrong("page_size: '3'"), "1:12 yaml_type: expected a whole number, found text `3` in `page_size`");
    assert_eq!(wrong("rate: fast"), "1:7 yaml_type: expected a number, found text `fast` in `rate`");
    assert_eq!(wrong("enabled: yes"), "1:10 yaml_type: expected `true` or `false`, found text `yes` in `enabled`");
    assert_eq!(wrong("enabled:"), "1:8 yaml_type: expected `true` or `false`, found nothing in `enabled`");
    assert_eq!(wrong("fields: a"), "1:9 yaml_type: expected a list, found text `a` in `fields`");
    assert_eq!(wrong("fields: [a, {b: c}]"), "1:13 yaml_type: expected text, found a map in `fields[1]`");
    assert_eq!(wrong("fields: [a, ~]"), "1:13 yaml_type: expected text, found nothing in `fields[1]`");
    assert_eq!(wrong("sync_frequency: !unset"), "1:17 yaml_type: expected text, found `!unset` in `sync_frequency`");
    assert_eq!(wrong("pair: [1, a, b]"), "1:7 yaml_type: expected a list of 2, found a list of 3 in `pair`");
    assert_eq!(wrong("- x"), "1:1 yaml_type: expected a map, found a list");
    assert_eq!(wrong(""), "1:1 yaml_type: expected a map, found nothing");
}

#[test]
fn a_number_out_of_range_names_the_range() {
    assert_eq!(
        wrong("page_size: 300"),
        "1:12 yaml_type: expected a whole number from 0 to 255, found the number `300` in `page_size`"
    );
    let huge = "1:12 yaml_type: expected a whole number from 0 to 255, found the number `12345678901234567890123` in `page_size`";
    assert_eq!(wrong("page_size: 12345678901234567890123"), huge);
}

#[test]
fn an_error_of_our_own_keeps_its_words_and_its_hint() {
    assert_eq!(wrong("enabled: true\nslug: 'a b'\n"), "2:7 yaml_value: `a b` is no slug / write it like `acme`");
    assert_eq!(wrong("age: 1000"), "1:6 yaml_value: nobody is that old");
}

#[test]
fn a_value_cannot_write_to_the_terminal_through_a_hint() {
    let hint = parse("f", r#"slug: "a \x1f\e[2J""#).unwrap().read::<Provider>().unwrap_err().hint.unwrap();
    assert!(hint.starts_with("\\u{1b}[2J` is no slug"), "{hint}");
}

#[test]
fn unset_is_seen_by_types_that_ask_for_it() {
    assert_eq!(provider("age: !unset").age, Some(Override::Unset));
    assert_eq!(provider("age: 3").age, Some(Override::Years(3)));
    assert_eq!(wrong("age: x"), "1:6 yaml_type: expected an age in years or `!unset`, found text `x` in `age`");
}

#[test]
fn untagged_types_are_read_and_their_errors_placed() {
    assert_eq!(provider("wait: 3").wait, Some(Wait::Seconds(3)));
    assert_eq!(provider("wait: {minutes: 2}").wait, Some(Wait::Long { minutes: 2 }));
    assert_eq!(wrong("wait: [x]"), "1:7 yaml_value: expected a number of seconds or a map with `minutes`");
}

#[test]
fn unknown_keys_of_tagged_and_flattened_types_are_found_again() {
    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    enum Setting {
        Int { min: u8 },
    }
    let read = |text| shown(parse("f.yaml", text).unwrap().read::<Vec<Setting>>().unwrap_err());
    assert_eq!(
        read("- type: int\n  mni: 1\n"),
        "2:3 yaml_unknown_key: unknown key `mni` in `[0]` / did you mean `min`?"
    );

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        b: u8,
    }
    let error = parse("f.yaml", "a: 1\nb: 2\nc: 3\n").unwrap().read::<Outer>().unwrap_err();
    assert_eq!(shown(error), "3:1 yaml_unknown_key: unknown key `c`");
}

#[test]
fn a_hostile_value_is_shown_harmless_and_short() {
    let error = wrong(&format!("page_size: \"\\e[2J{}\"", "x".repeat(500)));
    assert!(error.contains("text `\\u{1b}[2Jxxx") && error.contains("x…` in `page_size`"), "{error}");
}
