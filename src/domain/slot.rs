//! Slots put a value in: `"{settings.api_url}/users"`, `"{window.from|millis}"`, `"{page?}"`.
//!
//! A text may hold any number of slots; `{{` and `}}` are literal braces. `?` makes a slot optional: an entry of a
//! query, form, header list or JSON object whose only content is an optional slot without a value is left out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::error::nearest;

/// Where a slot's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The provider settings of the organization.
    Settings,
    /// Its credential fields. Only in `http` blocks that are sent.
    Secret,
    /// The stream's own `vars`.
    Vars,
    /// `window.from` and `window.to`: what an incremental read covers.
    Window,
    /// The position of the page: token, number, offset or last key.
    Page,
    /// The source fields that the mappings need.
    Fields,
    /// A field of the record that a `detail` read is for.
    Record,
    /// The value an `each` loop stands at.
    Each,
    /// The id of the job that a read is made by.
    Job,
    /// A field of the token answer, such as `token.instance_url`; `token` alone is the token itself.
    Token,
    /// The present instant.
    Now,
}

impl Scope {
    const ALL: [(&'static str, Scope); 11] = [
        ("settings", Scope::Settings),
        ("secret", Scope::Secret),
        ("vars", Scope::Vars),
        ("window", Scope::Window),
        ("page", Scope::Page),
        ("fields", Scope::Fields),
        ("record", Scope::Record),
        ("each", Scope::Each),
        ("job", Scope::Job),
        ("token", Scope::Token),
        ("now", Scope::Now),
    ];

    /// Returns whether slots of this scope name a member (`settings.x`), may, or must not.
    fn member(self) -> Member {
        match self {
            Scope::Settings | Scope::Secret | Scope::Vars | Scope::Window | Scope::Record => Member::Needed,
            Scope::Token => Member::Possible,
            Scope::Page | Scope::Fields | Scope::Each | Scope::Job | Scope::Now => Member::None,
        }
    }
}

#[derive(PartialEq)]
enum Member {
    Needed,
    Possible,
    None,
}

/// How a slot's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    /// An instant as epoch milliseconds.
    Millis,
    /// An instant as epoch seconds.
    Seconds,
    /// An instant as `2025-06-01T00:00:00Z`.
    Rfc3339,
    /// An instant as `2025-06-01T00:00:00.000Z`.
    Rfc3339Millis,
    /// An instant's date in UTC.
    Date,
    /// A list joined by commas.
    Csv,
    /// A whole number: settings keep the ids of a list as text, and some services want them as numbers.
    Int,
    /// Percent-encoded, for a value inside a path.
    Url,
}

impl Filter {
    const ALL: [(&'static str, Filter); 8] = [
        ("millis", Filter::Millis),
        ("seconds", Filter::Seconds),
        ("rfc3339", Filter::Rfc3339),
        ("rfc3339_millis", Filter::Rfc3339Millis),
        ("date", Filter::Date),
        ("csv", Filter::Csv),
        ("int", Filter::Int),
        ("url", Filter::Url),
    ];
}

/// One slot of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) scope: Scope,
    pub(crate) member: String,
    pub(crate) filter: Option<Filter>,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Text(String),
    Slot(Slot),
}

/// A text with slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
    text: String,
}

impl Template {
    /// Returns the one slot that is the whole template, if it is one.
    pub(crate) fn only_slot(&self) -> Option<&Slot> {
        match self.parts.as_slice() {
            [Part::Slot(slot)] => Some(slot),
            _ => None,
        }
    }

    /// Returns all slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.parts.iter().filter_map(|part| match part {
            Part::Slot(slot) => Some(slot),
            Part::Text(_) => None,
        })
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.char_indices();
        while let Some((start, c)) = chars.next() {
            let doubled = text[start + c.len_utf8()..].starts_with(c);
            match c {
                '{' | '}' if doubled => {
                    chars.next();
                    literal.push(c);
                }
                '}' => {
                    return Err(format!("`}}` without `{{` in `{}`; a literal brace is doubled", text.escape_debug()));
                }
                '{' => {
                    let inner = &text[start + 1..];
                    let end = inner.find('}').ok_or_else(|| {
                        format!("`{{` is never closed in `{}`; a literal brace is doubled", text.escape_debug())
                    })?;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Slot(inner[..end].parse()?));
                    while chars.next().is_some_and(|(_, c)| c != '}') {}
                }
                _ => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template { parts, text: text.to_owned() })
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, filter) = match text.split_once('|') {
            Some((source, filter)) => (source, Some(named(filter, &Filter::ALL, text, "filter")?)),
            None => (text, None),
        };
        let (source, optional) = match source.strip_suffix('?') {
            Some(source) => (source, true),
            None => (source, false),
        };
        let (scope, member) = source.split_once('.').unwrap_or((source, ""));
        let scope = named(scope, &Scope::ALL, text, "scope")?;
        match scope.member() {
            Member::Needed if member.is_empty() => {
                Err(format!("slot `{{{text}}}` needs a name behind the scope, like `{source}.NAME`"))
            }
            Member::None if !member.is_empty() => Err(format!("slot `{{{text}}}`: nothing follows this scope")),
            _ if scope == Scope::Window && member != "from" && member != "to" => {
                Err(format!("slot `{{{text}}}`: a window has `from` and `to`"))
            }
            _ => Ok(Slot { scope, member: member.to_owned(), filter, optional }),
        }
    }
}

fn named<T: Copy>(word: &str, known: &[(&'static str, T)], slot: &str, what: &str) -> Result<T, String> {
    let names = || known.iter().map(|(name, _)| *name);
    known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
        let meant = nearest(word, names()).map_or_else(
            || format!("known: {}", names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        format!("unknown {what} `{}` in slot `{{{}}}`: {meant}", word.escape_debug(), slot.escape_debug())
    })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A JSON body with slots in its texts. A text that is one slot keeps the type of the value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JsonTemplate {
    Fixed(serde_json::Value),
    Text(Template),
    List(Vec<JsonTemplate>),
    Map(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// Returns all slots, however deep.
    pub(crate) fn slots(&self) -> Vec<&Slot> {
        match self {
            JsonTemplate::Fixed(_) => Vec::new(),
            JsonTemplate::Text(template) => template.slots().collect(),
            JsonTemplate::List(items) => items.iter().flat_map(JsonTemplate::slots).collect(),
            JsonTemplate::Map(entries) => entries.iter().flat_map(|(_, value)| value.slots()).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for JsonTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn convert(value: serde_json::Value) -> Result<JsonTemplate, String> {
            Ok(match value {
                serde_json::Value::String(text) => JsonTemplate::Text(text.parse()?),
                serde_json::Value::Array(items) => {
                    JsonTemplate::List(items.into_iter().map(convert).collect::<Result<_, _>>()?)
                }
                serde_json::Value::Object(entries) => JsonTemplate::Map(
                    entries
                        .into_iter()
                        .map(|(key, value)| Ok((key, convert(value)?)))
                        .collect::<Result<_, String>>()?,
                ),
                fixed => JsonTemplate::Fixed(fixed),
            })
        }
        convert(serde_json::Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_slots() {
        let template: Template = "a ge {window.from|rfc3339} {{x}} {page?}".parse().unwrap();
        assert_eq!(template.parts.len(), 4);
        assert_eq!(template.parts[2], Part::Text(" {x} ".into()));
        let slots: Vec<_> = template.slots().collect();
        assert_eq!(
            (slots[0].scope, slots[0].member.as_str(), slots[0].filter),
            (Scope::Window, "from", Some(Filter::Rfc3339))
        );
        assert!(slots[1].optional && slots[1].scope == Scope::Page);
        assert!("{each}".parse::<Template>().unwrap().only_slot().is_some());
    }

    #[test]
    fn wrong_slots_name_the_nearest_known_word() {
        let error = |text: &str| text.parse::<Template>().unwrap_err();
        assert!(error("{setings.x}").contains("did you mean `settings`"));
        assert!(error("{window.from|milis}").contains("did you mean `millis`"));
        assert!(error("{settings}").contains("needs a name"));
        assert!(error("{window.begin}").contains("`from` and `to`"));
        assert!(error("{page").contains("never closed"));
        assert!(error("page}").contains("without"));
    }
}
