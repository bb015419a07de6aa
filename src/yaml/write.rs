//! Values written as YAML in block style, so that they read back as the same.

use serde::Serialize;

/// Returns a value as YAML. Texts that would read back as something else are quoted.
///
/// # Panics
/// If the value cannot be written at all, as with a map whose keys are lists: no type of ours is like that.
pub(crate) fn to_yaml(value: &impl Serialize) -> String {
    let options = serde_yaml::ser_options! { compact_list_indent: false };
    serde_yaml::to_string_with_options(value, options).expect("keys that are texts")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::yaml::parse;

    fn text() -> impl Strategy<Value = String> {
        let odd = [
            "",
            "no",
            "NO",
            "yes",
            "y",
            "on",
            "true",
            "True",
            "null",
            "~",
            "0123",
            "1.10",
            "1e5",
            "1.0e+300",
            "0x1F",
            "0o17",
            "+1",
            "-",
            "--- a",
            "...",
            "? a",
            ": a",
            "a:",
            "a: b",
            "a #b",
            "#a",
            "*a",
            "&a",
            "!a",
            "!unset",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "{a}",
            "[a",
            "]",
            "a, b",
            "'a'",
            "\"a\"",
            " a",
            "a ",
            "a\n",
            "\na",
            "a\n\n",
            " a\nb",
            "a\n b",
            "a \nb",
            "\t",
            "\ta\n",
            "a\tb",
            "a\r\nb",
            "\r",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{feff}a",
            "\u{0}",
            "\u{1b}[0m",
            "\u{7f}",
            "\\",
            "\\n",
            "<<",
            "=",
            "2026-01-01",
            "12:30:45",
            "1_000",
            ".inf",
            ".nan",
            "漢字",
            "😀",
            "12345678901234567890123",
            "a\n#b\n",
            "a\n---\nb",
        ];
        prop_oneof![
            3 => proptest::sample::select(odd.to_vec()).prop_map(String::from),
            3 => "[ a-c:#\n\t'\"\\-{}\\[\\],&*!|>%@0-9.]{0,12}",
            2 => any::<String>(),
            1 => "([a-z]{1,9}[ \n]{1,2}){10,40}",
        ]
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            2 => any::<i64>().prop_map(Value::from),
            2 => any::<f64>().prop_filter("JSON has no infinity", |float| float.is_finite()).prop_map(Value::from),
            2 => (-1e6..1e6).prop_map(Value::from),
            1 => proptest::sample::select(vec![-0.0, 1.0, 1e16, 1e21, 1e300, 1e-7, 5e-324]).prop_map(Value::from),
            6 => text().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(text(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_written_reads_back_the_same(value in tree()) {
            let written = to_yaml(&value);
            let read = parse("f.yaml", &written).map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?;
            prop_assert_eq!(read.to_json(), value, "{}", written);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[ a-c:#\n\r\t'\"\\\\{}\\[\\],&*!|>%@0-9.<?~-]{0,60}") {
            if let Ok(node) = parse("f.yaml", &text) {
                let written = to_yaml(&node.to_json());
                prop_assert_eq!(parse("f.yaml", &written).unwrap().to_json(), node.to_json());
            }
        }
    }
}
