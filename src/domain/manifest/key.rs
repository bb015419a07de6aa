//! What tells the records of a stream apart: one path, or several that only together do.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::path::Path;

/// The paths of a key, in the order they are written; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) first: Path,
    pub(crate) others: Vec<Path>,
}

impl Key {
    /// Returns all paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Returns the path of a key that has but one.
    pub(crate) fn single(&self) -> Option<&Path> {
        self.others.is_empty().then_some(&self.first)
    }
}

/// Returns the one text of a key's values, in the order of its paths; nothing if one is missing. Of several each stands as it
/// is but for the separator, so that no two keys make the same text.
pub(crate) fn joined<'v>(mut values: impl Iterator<Item = Option<Cow<'v, str>>>) -> Option<Cow<'v, str>> {
    let first = values.next()??;
    let Some(second) = values.next() else { return Some(first) };
    let escaped = |value: &str| value.replace('%', "%25").replace('/', "%2F");
    let mut text = escaped(&first);
    for value in std::iter::once(second).chain(values) {
        text.push('/');
        text.push_str(&escaped(&value?));
    }
    Some(Cow::Owned(text))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(path) => path.fmt(f),
            None => write!(f, "[{}]", self.paths().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a list of paths that tell records apart together")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key { first: text.parse().map_err(E::custom)?, others: Vec::new() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Key, A::Error> {
                let first = seq.next_element()?.ok_or_else(|| A::Error::custom("a key needs a path"))?;
                let mut others = Vec::new();
                while let Some(path) = seq.next_element()? {
                    others.push(path);
                }
                Ok(Key { first, others })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl schemars::JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let path = generator.subschema_for::<Path>();
        schemars::json_schema!({"anyOf": [path, {"type": "array", "minItems": 1, "items": path}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &[Option<&'static str>]) -> Option<String> {
        joined(values.iter().map(|value| value.map(Cow::Borrowed))).map(Cow::into_owned)
    }

    #[test]
    fn no_two_keys_make_the_same_text() {
        assert_eq!(text(&[Some("7/8")]).as_deref(), Some("7/8"), "a single one is as it is");
        assert_eq!(text(&[Some("7"), Some("8")]).as_deref(), Some("7/8"));
        assert_ne!(text(&[Some("7/8"), Some("9")]), text(&[Some("7"), Some("8/9")]));
        assert_ne!(text(&[Some("7%2F8"), Some("9")]), text(&[Some("7/8"), Some("9")]));
        assert_eq!(text(&[Some("7"), None]), None);
        assert_eq!(text(&[]), None);
    }

    #[test]
    fn a_key_is_a_path_or_a_list_of_them() {
        let read = |json: serde_json::Value| serde_json::from_value::<Key>(json).map(|key| key.to_string());
        assert_eq!(read(serde_json::json!("user.id")).unwrap(), "user.id");
        assert_eq!(read(serde_json::json!(["user_id", "course_id"])).unwrap(), "[user_id, course_id]");
        assert!(read(serde_json::json!([])).is_err() && read(serde_json::json!(7)).is_err());
    }
}
