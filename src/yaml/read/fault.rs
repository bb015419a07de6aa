//! What serde finds wrong, before and after it is known where.

use std::fmt;

use serde::de::{self, Unexpected};

use super::{Key, Mark, Node, Path, escaped, quoted};
use crate::error::{UserError, nearest};

/// Parts a message from its hint.
const HINT: char = '\u{1f}';

/// Returns the text of an error that carries its own hint through serde: give it to `D::Error::custom`.
pub(crate) fn with_hint(message: impl fmt::Display, hint: impl fmt::Display) -> String {
    format!("{message}{HINT}{hint}")
}

#[derive(Debug)]
pub(super) enum Fault {
    /// A key that is none of those known.
    UnknownKey(String, &'static [&'static str]),
    /// A variant of an enum that is none of those known: a key or a value, as it was written.
    UnknownVariant(String, &'static [&'static str]),
    Missing(&'static str),
    /// What is wrong with a value, before it is said in what; may carry a hint.
    Type(String),
    /// A message that says everything; may carry a hint.
    Value(String),
    /// Boxed, as every result carries the room for it.
    Placed(Box<UserError>),
}

impl Fault {
    pub(super) fn wrong(expected: &str, found: &str) -> Self {
        Fault::Type(format!("expected {expected}, found {found}"))
    }

    pub(super) fn value_missing(name: &str) -> Self {
        Fault::Type(with_hint(format!("{} needs a value", quoted(name)), format!("write `{name}: ...`")))
    }

    /// A map that has to choose one of several keys chose two.
    pub(super) fn second_choice(first: &Key, second: &Key, known: &'static [&'static str]) -> Self {
        let message = format!("expected a single key, found {} and {}", quoted(&first.text), quoted(&second.text));
        Fault::Type(with_hint(message, format!("choose {}", one_of(known))))
    }

    /// Gives the fault the place of a key of the map at `path`, unless it has a place already.
    pub(super) fn at_key(self, mark: &Mark, path: &Path<'_>) -> Self {
        match self {
            Fault::UnknownVariant(name, known) => Fault::UnknownKey(name, known).at(mark, path),
            other => other.at(mark, path),
        }
    }

    /// Gives the fault the place of a value, unless it has a place already.
    pub(super) fn at_value(self, node: &Node, path: &Path<'_>) -> Self {
        Fault::Placed(Box::new(self.into_error(node, path)))
    }

    pub(super) fn at(self, mark: &Mark, path: &Path<'_>) -> Self {
        Fault::Placed(Box::new(self.into_error_at(mark, path)))
    }

    pub(super) fn into_error(self, node: &Node, path: &Path<'_>) -> UserError {
        let mark = match &self {
            // Types that were read untyped find this out late, but the key is still there.
            Fault::UnknownKey(name, _) => node.entry(name).map_or(&node.mark, |(key, _)| &key.mark),
            _ => &node.mark,
        };
        self.into_error_at(mark, path)
    }

    fn into_error_at(self, mark: &Mark, path: &Path<'_>) -> UserError {
        let inside = path.inside();
        let unknown = |code, what, name: &str, known| {
            let message = format!("unknown {what} {}{inside}", quoted(name));
            mark.error(code, message).hint_if(suggestion(name, known, what))
        };
        match self {
            Fault::Placed(error) => *error,
            Fault::UnknownKey(name, known) => unknown("yaml_unknown_key", "key", &name, known),
            Fault::UnknownVariant(name, known) => unknown("yaml_value", "value", &name, known),
            Fault::Missing(name) => mark.error("yaml_missing_key", format!("missing key `{name}`{inside}")),
            Fault::Type(text) => {
                let (message, hint) = parted(&text);
                mark.error("yaml_type", format!("{message}{inside}")).hint_if(hint)
            }
            Fault::Value(text) => {
                let (message, hint) = parted(&text);
                mark.error("yaml_value", message).hint_if(hint)
            }
        }
    }
}

/// Returns the message and the hint of a text made by [`with_hint`]. Either may quote what stands in the file.
fn parted(text: &str) -> (&str, Option<String>) {
    match text.split_once(HINT) {
        Some((message, hint)) => (message, Some(escaped(hint))),
        None => (text, None),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::UnknownKey(name, _) | Fault::UnknownVariant(name, _) => write!(f, "unknown {}", quoted(name)),
            Fault::Missing(name) => write!(f, "missing key `{name}`"),
            Fault::Type(message) | Fault::Value(message) => f.write_str(message),
            Fault::Placed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        // How serde reports an unknown key where fields are flattened.
        match message.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(name) => Fault::UnknownKey(name.into(), &[]),
            None => Fault::Value(message),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault::UnknownKey(field.into(), expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Fault::UnknownVariant(variant.into(), expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Fault::Value(format!("the key `{field}` is there twice, by two of its names"))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Fault::wrong(&wanted(expected), &described(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Fault::wrong(&(wanted(expected) + range(expected)), &described(found))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Fault::wrong(&wanted(expected), &format!("{length} of them"))
    }
}

/// Returns "one of `a`, `b`".
pub(super) fn one_of(known: &[&str]) -> String {
    format!("one of {}", listed(known))
}

fn listed(known: &[&str]) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn suggestion(name: &str, known: &[&str], what: &str) -> Option<String> {
    match nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => (!known.is_empty()).then(|| format!("known {what}s: {}", listed(known))),
    }
}

/// Returns what a type expects, in the words of YAML instead of those of Rust.
fn wanted(expected: &dyn de::Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "a boolean" => "`true` or `false`".into(),
        "a string" | "a borrowed string" => "text".into(),
        "a sequence" => "a list".into(),
        "unit" => "nothing".into(),
        "f32" | "f64" => "a number".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".into(),
        _ if words.starts_with("struct ") => "a map".into(),
        _ => words,
    }
}

fn range(expected: &dyn de::Expected) -> &'static str {
    match expected.to_string().as_str() {
        "i8" => " from -128 to 127",
        "i16" => " from -32768 to 32767",
        "i32" => " from -2147483648 to 2147483647",
        "u8" => " from 0 to 255",
        "u16" => " from 0 to 65535",
        "u32" => " from 0 to 4294967295",
        "u64" | "usize" => " from 0 to 18446744073709551615",
        "i64" | "isize" => " from -9223372036854775808 to 9223372036854775807",
        _ => "",
    }
}

fn described(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(bool) => format!("`{bool}`"),
        Unexpected::Unsigned(number) => format!("the number `{number}`"),
        Unexpected::Signed(number) => format!("the number `{number}`"),
        Unexpected::Float(number) => format!("the number `{number}`"),
        Unexpected::Char(c) => format!("text `{c}`"),
        Unexpected::Str(text) => format!("text {}", quoted(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}
