//! JSON from outside as a tree.
//!
//! `serde_json` hands raw texts and long numbers through serde as maps with a member of a private name. Read straight into its
//! own tree, an object from outside with a member of that name would be taken for one of those, and swallowed or refused.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A tree in which every member is an ordinary one.
struct Tree(Value);

/// Reads a text. The last of two members of one name counts.
pub(crate) fn document(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).map(|Tree(value)| value)
}

/// Reads bytes; a byte order mark may stand before them.
pub(crate) fn document_of(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_json::from_slice(bytes).map(|Tree(value)| value)
}

/// Reads the first value of bytes, whatever stands behind it; a byte order mark may stand before it.
pub(crate) fn first_of(bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let Tree(value) = serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok()?;
    Some(value)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Tree(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, Tree(value))) = map.next_entry::<String, Tree>()? {
                    members.insert(name, value);
                }
                Ok(members.into())
            }
        }
        deserializer.deserialize_any(Any).map(Tree)
    }
}

/// What is nested deeper is shown as text: readers of JSON give up at 128, with what stands around it.
const DEEPEST: usize = 124;

/// Returns JSON with every digit as it was written, without the space between its parts; nothing where it is none, or nested too
/// deep.
pub(crate) fn exact(text: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let (mut depth, mut in_text, mut escaped, mut has_space) = (0_usize, false, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => has_space |= byte.is_ascii_whitespace(),
        }
        if depth > DEEPEST {
            return None;
        }
    }
    Some(if has_space { Cow::Owned(without_space(text)) } else { Cow::Borrowed(text) })
}

/// Returns sound JSON without the space between its parts.
fn without_space(text: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    text.chars()
        .filter(|c| {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = !in_text,
                _ => {}
            }
            in_text || !c.is_ascii_whitespace()
        })
        .collect()
}

/// Returns what came from outside as a part of a document: JSON with every digit, or text where it is none.
pub(crate) fn part(text: &str) -> Box<RawValue> {
    let exact = exact(text).and_then(|text| RawValue::from_string(text.into_owned()).ok());
    let quoted = || RawValue::from_string(Value::from(text).to_string()).ok();
    exact.or_else(quoted).unwrap_or_else(|| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_private_token_is_an_ordinary_member() {
        for token in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            for value in [r#""[1]""#, r#""no json""#, "7", "{}", r#"{"x":1}"#] {
                let text = format!(r#"{{"a":[{{"{token}":{value},"b":2}}]}}"#);
                let read = document(&text).unwrap();
                assert_eq!(read["a"][0]["b"], 2, "{text}");
                assert_eq!(read["a"][0][token], document(value).unwrap(), "{text}");
                assert_eq!(document_of(text.as_bytes()).unwrap(), read);
            }
        }
    }

    #[test]
    fn a_part_keeps_its_digits_and_loses_its_space() {
        let text = "{ \"a b\" : [1.10,\n 18446744073709551616, \"x\\\" y\"] }";
        assert_eq!(part(text).get(), "{\"a b\":[1.10,18446744073709551616,\"x\\\" y\"]}");
        assert_eq!(part("{\"a\": 1").get(), "\"{\\\"a\\\": 1\"");
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(part(&deep).get().starts_with('"') && exact(&deep).is_none());
    }

    #[test]
    fn the_first_value_is_read_whatever_stands_around_it() {
        for text in ["\u{feff}{\"a\":1}", "{\"a\":1} trailing", "{\"a\":1}{", " {\"a\":1}\r\n"] {
            assert_eq!(first_of(text.as_bytes()).unwrap()["a"], 1, "{text}");
        }
        assert!(first_of(b"{\"a\":1").is_none() && first_of(b"").is_none());
    }

    proptest! {
        #[test]
        fn anything_else_is_read_as_before(text in "[\\[\\]{}:,0-9a-e\"\\\\. +-]{0,40}") {
            prop_assert_eq!(document(&text).ok(), serde_json::from_str::<Value>(&text).ok());
        }
    }
}
