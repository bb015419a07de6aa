//! A field mapping: where a target's value is read, what is done to it, and what it must satisfy.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entity::FieldType;
use super::number;

/// A mapping as written: a source alone, or a map with at least `from` or `expr`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Spec {
    /// A field the manifest names, `stream.field`, or a path in the raw record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// An expression over the fields of the record instead of one source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expr: Option<String>,
    /// Steps applied in order.
    #[serde(rename = "do", skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
    /// The type of the value; by default that of the target's column, or the value as it came.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) field_type: Option<FieldType>,
    /// How a `date` or `datetime` is written in the source, in strftime notation; by default ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// Replaces known values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) map: BTreeMap<String, String>,
    /// What a value that `map` does not know becomes; by default it stays.
    #[serde(rename = "else", skip_serializing_if = "Option::is_none")]
    pub(crate) otherwise: Option<String>,
    /// Whether a missing or empty value is bad.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) require: bool,
    /// A regular expression that the whole value must match.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    /// The smallest and largest number, or the first and last date, allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<Range>,
    /// The values allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) one_of: Vec<String>,
    /// What happens to a value that is of the wrong type or fails a check.
    #[serde(skip_serializing_if = "OnBad::is_default")]
    pub(crate) bad: OnBad,
}

/// The values that a mapping allows, both ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum Range {
    Numbers(f64, f64),
    /// Days, like `2020-01-31`; of a time its day in UTC counts.
    Dates(Day, Day),
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub(crate) struct Day(#[schemars(with = "String")] chrono::NaiveDate);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("`{}` is not a date like `2020-01-31`", text.escape_debug()));
        text.parse().map(Day).map_err(|_| wrong())
    }
}

impl Range {
    /// Returns whether a value, as it is stored, lies within.
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            Range::Numbers(low, high) => {
                let against = |end: &f64| number::compare(text, &end.to_string());
                against(low).is_some_and(Ordering::is_ge) && against(high).is_some_and(Ordering::is_le)
            }
            Range::Dates(first, last) => {
                let day = text.get(..10).and_then(|day| day.parse().ok()).map(Day);
                day.is_some_and(|day| (*first..=*last).contains(&day))
            }
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Numbers(low, high) => write!(f, "a number from {low} to {high}"),
            Range::Dates(Day(first), Day(last)) => write!(f, "a date from {first} to {last}"),
        }
    }
}

/// What happens when a value is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnBad {
    /// The record goes to quarantine with the reason.
    #[default]
    Quarantine,
    /// The value becomes null and the run counts a warning.
    Warn,
    /// The value becomes null, silently: for fields known to hold rubbish.
    Null,
}

impl OnBad {
    fn is_default(&self) -> bool {
        *self == OnBad::default()
    }
}

/// One step of `do`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Trim,
    Lower,
    Upper,
    /// Upper case for the first letter of each word.
    Title,
    /// Keeps digits only.
    Digits,
    /// The first item of a list.
    First,
    /// The last item of a list.
    Last,
    /// Drops currency, unit and thousands separators, so that `1,234.50 GBP` is a number. `(500)` is -500 and `1.25E7` is
    /// 12500000; what could be read in two ways is bad.
    Number,
    /// `yes`, `y`, `1`, `true` and their opposites become true and false.
    Bool,
    /// The first ten characters of an ISO instant, without moving it between zones.
    Date,
    /// The date of an ISO instant in a time zone: for a service that stores a local date as an instant in UTC.
    DateIn(String),
    /// A UK postcode in upper case with its one space.
    Postcode,
    /// SHA-256 of the text in hex.
    Hash,
    /// Cuts a text into a list.
    Split(String),
    /// Joins a list to a text.
    Join(String),
    /// Replaces the first text by the second wherever it stands.
    Replace((String, String)),
    /// Characters from the first position (0 is the first) up to the second, which is left out.
    Slice((usize, usize)),
}

/// A mapping with its short form: `programme_name` is `{from: programme_name}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mapping(pub(crate) Spec);

impl Mapping {
    /// Returns the mapping that reads one source as it is.
    pub(crate) fn source(source: impl Into<String>) -> Self {
        Mapping(Spec { from: Some(source.into()), ..Spec::default() })
    }

    /// Checks what types alone cannot say. Returns what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let spec = &self.0;
        match (&spec.from, &spec.expr) {
            (None, None) => return Err("a mapping needs `from` (a source) or `expr` (an expression)".into()),
            (Some(_), Some(_)) => return Err("a mapping has `from` or `expr`, not both".into()),
            (Some(from), None) if from.trim().is_empty() => return Err("`from` is empty".into()),
            _ => {}
        }
        if let Some(pattern) = &spec.pattern {
            regex::Regex::new(pattern).map_err(|error| format!("`match` is not a regular expression: {error}"))?;
        }
        if spec.format.is_some() && !matches!(spec.field_type, None | Some(FieldType::Date | FieldType::Datetime)) {
            return Err("`format` belongs to `type: date` or `type: datetime`".into());
        }
        if let Some(format) = &spec.format
            && chrono::format::StrftimeItems::new(format).any(|item| item == chrono::format::Item::Error)
        {
            return Err(format!("`{format}` is not a date format; write it like `%d/%m/%Y`"));
        }
        for step in &spec.steps {
            if let Step::DateIn(zone) = step
                && zone.parse::<chrono_tz::Tz>().is_err()
            {
                return Err(format!("`{}` is not a time zone; write it like `Europe/London`", zone.escape_debug()));
            }
        }
        match &spec.range {
            Some(Range::Numbers(low, high)) if low > high => return Err("`range` is [smallest, largest]".into()),
            Some(Range::Dates(first, last)) if first > last => return Err("`range` is [first, last]".into()),
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Mapping {
    /// Shows the source, and in brackets whatever else is said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.0;
        match (&spec.from, &spec.expr) {
            (Some(from), _) => f.write_str(from)?,
            (None, Some(expr)) => write!(f, "({expr})")?,
            (None, None) => {}
        }
        let rest = Spec { from: None, expr: None, ..spec.clone() };
        match serde_json::to_value(&rest) {
            Ok(serde_json::Value::Object(entries)) if !entries.is_empty() => {
                let shown = entries.iter().map(|(key, value)| match value {
                    serde_json::Value::String(text) => format!("{key}: {text}"),
                    other => format!("{key}: {other}"),
                });
                write!(f, " ({})", shown.collect::<Vec<_>>().join(", "))
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Spec { from: Some(from), .. } if *self == Mapping::source(from.as_str()) => serializer.serialize_str(from),
            spec => spec.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Mapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source, or a map with `from` or `expr`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Mapping, E> {
                Ok(Mapping::source(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mapping, A::Error> {
                Spec::deserialize(MapAccessDeserializer::new(map)).map(Mapping)
            }
        }
        let mapping = deserializer.deserialize_any(Either)?;
        mapping.check().map_err(serde::de::Error::custom)?;
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Mapping, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_short_form_is_a_source() {
        let mapping = read(serde_json::json!("programme_name")).unwrap();
        assert_eq!(mapping, Mapping::source("programme_name"));
        assert_eq!(serde_json::to_value(&mapping).unwrap(), serde_json::json!("programme_name"));
        assert_eq!(mapping.to_string(), "programme_name");
    }

    #[test]
    fn the_long_form_says_what_is_done() {
        let json =
            serde_json::json!({"from": "done", "do": ["trim", {"split": ","}, "first"], "type": "date", "bad": "null"});
        let mapping = read(json.clone()).unwrap();
        assert_eq!(mapping.0.steps, [Step::Trim, Step::Split(",".into()), Step::First]);
        assert_eq!(serde_json::to_value(&mapping).unwrap(), json);
        assert_eq!(mapping.to_string(), r#"done (bad: null, do: ["trim",{"split":","},"first"], type: date)"#);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let error = |json| read(json).unwrap_err();
        assert!(error(serde_json::json!({})).contains("`from`"));
        assert!(error(serde_json::json!({"from": "a", "expr": "b"})).contains("not both"));
        assert!(error(serde_json::json!({"from": "a", "match": "("})).contains("regular expression"));
        assert!(error(serde_json::json!({"from": "a", "form": "b"})).contains("unknown field `form`"));
        assert!(error(serde_json::json!({"from": "a", "type": "date", "format": "%Q"})).contains("date format"));
        assert!(error(serde_json::json!({"from": "a", "do": [{"date_in": "London"}]})).contains("time zone"));
        assert!(read(serde_json::json!({"from": "a", "do": [{"date_in": "Europe/London"}]})).is_ok());
    }
}
