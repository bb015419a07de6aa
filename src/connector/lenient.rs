//! Reads what is nearly JSON: half characters, numbers that are none, and numbers too large for any type. One record with
//! such a thing must not sink its page.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::json;

/// Returns JSON with the escape of each lone surrogate, half a character, replaced by that of U+FFFD, and how many there
/// were. A strict parser would refuse the whole record, or page, for one.
pub(super) fn without_halves(text: String) -> (String, u64) {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return (text, 0);
    }
    let mut json = text.into_bytes();
    let unit = |json: &[u8], at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut at, mut replaced) = (0, 0);
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match (unit(&json, at), unit(&json, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                json[at + 2..at + 6].copy_from_slice(b"fffd");
                replaced += 1;
                6
            }
            _ => 2,
        };
        at = at.min(json.len());
    }
    // Only digits of escapes were exchanged.
    (String::from_utf8(json).unwrap_or_default(), replaced)
}

/// Returns JSON in which the numbers that some services write though JSON has none (`NaN`, `Infinity`) are texts of the same
/// length; `None` if there are none of them.
pub(super) fn masked(json: &str) -> Option<String> {
    let mut bytes = json.as_bytes().to_vec();
    let (mut at, mut found, mut in_text) = (0, false, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_text = !in_text,
            b'\\' if in_text => at += 1,
            _ if in_text => {}
            b'N' | b'I' | b'-' => {
                let number =
                    [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| bytes[at..].starts_with(word));
                if let Some(number) = number {
                    let end = at + number.len();
                    (bytes[at], bytes[end - 1], found) = (b'"', b'"', true);
                    bytes[at + 1..end - 1].fill(b'-');
                    at = end - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if found { String::from_utf8(bytes).ok() } else { None }
}

/// Returns a record as a document; values that cannot be read, such as a number too large for any type, are null in it.
pub(super) fn document(record: &str) -> Option<Value> {
    json::document(record).ok().or_else(|| {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(record).ok()?;
        let members = members.into_iter().map(|(name, raw)| (name, json::document(raw.get()).unwrap_or_default()));
        Some(Value::Object(members.collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_half_characters_are_replaced() {
        let read = |text: &str| without_halves(text.to_owned());
        for whole in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9 \uD83D\uDE00""#, r#""\n\"""#, r#""\ud"#, "\\"] {
            assert_eq!(read(whole), (whole.to_owned(), 0));
        }
        assert_eq!(read(r#""\ud83d""#), (r#""\ufffd""#.to_owned(), 1));
        assert_eq!(read(r#""\ud83d\ud83d\ude00\uDE00""#), (r#""\ufffd\ud83d\ude00\ufffd""#.to_owned(), 2));
        assert_eq!(read(r#""\\\ud83dé""#), (r#""\\\ufffdé""#.to_owned(), 1));
    }

    #[test]
    fn numbers_that_are_none_are_masked_outside_of_texts() {
        let masked = |text: &str| masked(text).map(|masked| (masked.len() == text.len(), masked));
        assert_eq!(
            masked(r#"{"a":NaN,"b":"NaN \" -Infinity"}"#),
            Some((true, r#"{"a":"-","b":"NaN \" -Infinity"}"#.into()))
        );
        assert_eq!(masked("[-Infinity,Infinity,-1]"), Some((true, r#"["-------","------",-1]"#.into())));
        assert_eq!(masked(r#"{"a":-1,"b":"I"}"#), None);
    }

    #[test]
    fn a_document_has_null_for_what_no_type_holds() {
        assert_eq!(document(r#"{"id":1,"v":1e400}"#), Some(serde_json::json!({"id": 1, "v": null})));
        assert_eq!(document(r#"{"id":NaN}"#), None);
    }
}
