//! Fills slots: the values each scope has at the moment of a request.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{Connector, Failure};
use crate::domain::manifest::Stream;
use crate::domain::path::Path;
use crate::domain::slot::{Filter, JsonTemplate, Part, Scope, Slot, Template};
use crate::error::{Exit, UserError};

/// The time an incremental read covers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// `None` for a full read.
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: DateTime<Utc>,
}

/// What slots can be filled with.
#[derive(Clone)]
pub(super) struct Values<'a> {
    pub(super) connector: &'a Connector<'a>,
    pub(super) vars: Option<&'a BTreeMap<String, String>>,
    pub(super) window: Option<Window>,
    pub(super) page: Option<&'a str>,
    pub(super) fields: &'a [String],
    pub(super) record: Option<&'a Value>,
    pub(super) each: Option<&'a str>,
    pub(super) job: Option<&'a str>,
}

impl<'a> Connector<'a> {
    /// Returns the values outside any read.
    pub(super) fn values(&'a self, stream: Option<&'a Stream>) -> Values<'a> {
        Values {
            connector: self,
            vars: stream.map(|stream| &stream.vars),
            window: None,
            page: None,
            fields: &[],
            record: None,
            each: None,
            job: None,
        }
    }
}

impl Values<'_> {
    /// Returns a template filled; `None` where it is one optional slot without a value.
    pub(super) fn text(&self, template: &Template) -> Result<Option<String>, Failure> {
        self.filled(template, false)
    }

    /// Returns a template filled as the path of a URL: what comes from data is percent-encoded.
    pub(super) fn path(&self, template: &Template) -> Result<String, Failure> {
        Ok(self.filled(template, true)?.unwrap_or_default())
    }

    fn filled(&self, template: &Template, in_path: bool) -> Result<Option<String>, Failure> {
        if let Some(slot) = template.only_slot()
            && slot.optional
            && self.find(slot).is_none_or(|value| value.is_null() || value.as_str() == Some(""))
        {
            return Ok(None);
        }
        let mut text = String::new();
        for part in &template.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Slot(slot) => {
                    let value = self.needed(slot)?;
                    let from_data = matches!(slot.scope, Scope::Record | Scope::Page | Scope::Each | Scope::Job);
                    let value = filtered(&value, slot.filter);
                    text.push_str(&if in_path && from_data { encoded(&value) } else { value });
                }
            }
        }
        Ok(Some(text))
    }

    /// Returns a JSON template filled; a text that is one slot keeps the type of its value.
    pub(super) fn json(&self, template: &JsonTemplate) -> Result<Option<Value>, Failure> {
        Ok(Some(match template {
            JsonTemplate::Fixed(value) => value.clone(),
            JsonTemplate::Text(template) => match template.only_slot() {
                Some(slot) if matches!(slot.filter, None | Some(Filter::Int)) => {
                    let value = match self.find(slot) {
                        None if slot.optional => return Ok(None),
                        Some(value) => value,
                        None => self.needed(slot)?,
                    };
                    if slot.filter == Some(Filter::Int) { number(value) } else { value }
                }
                _ => match self.text(template)? {
                    Some(text) => Value::from(text),
                    None => return Ok(None),
                },
            },
            JsonTemplate::List(items) => {
                let filled: Result<Vec<Option<Value>>, Failure> = items.iter().map(|item| self.json(item)).collect();
                Value::Array(filled?.into_iter().flatten().collect())
            }
            JsonTemplate::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    if let Some(value) = self.json(value)? {
                        map.insert(key.clone(), value);
                    }
                }
                Value::Object(map)
            }
        }))
    }

    fn needed(&self, slot: &Slot) -> Result<Value, Failure> {
        if let Some(value) = self.find(slot) {
            return Ok(value);
        }
        if slot.optional {
            return Ok(Value::from(""));
        }
        let name = &slot.member;
        Err(Failure::Stream(match slot.scope {
            Scope::Settings => {
                UserError::new(Exit::Invalid, "setting_missing", format!("the setting `{name}` has no value")).hint(
                    format!(
                        "set it with `skillsctl override set ORG {} {name}=VALUE`",
                        self.connector.manifest.provider
                    ),
                )
            }
            Scope::Secret => {
                return Err(Failure::Refused(
                    UserError::new(Exit::Refused, "credential_missing", format!("the credential `{name}` is not set"))
                        .hint(format!(
                            "set it with `skillsctl credential set ORG {} {name}`",
                            self.connector.manifest.provider
                        )),
                ));
            }
            _ => UserError::new(
                Exit::Unavailable,
                "slot_empty",
                format!("the provider's answer or record has no `{name}`, which the next request needs"),
            ),
        }))
    }

    fn find(&self, slot: &Slot) -> Option<Value> {
        let instant = |at: DateTime<Utc>| Value::from(at.to_rfc3339_opts(SecondsFormat::Millis, true));
        match slot.scope {
            Scope::Settings => self.connector.settings.get(&slot.member).cloned(),
            Scope::Secret => self
                .connector
                .with_secrets(|secrets| secrets.get(slot.member.as_str()).map(|secret| Value::from(secret.expose()))),
            Scope::Vars => self.vars?.get(&slot.member).map(|text| Value::from(text.as_str())),
            Scope::Window if slot.member == "from" => self.window?.from.map(instant),
            Scope::Window => Some(instant(self.window?.to)),
            Scope::Page => self.page.map(Value::from),
            Scope::Fields => Some(Value::from(self.fields)),
            Scope::Record => slot.member.parse::<Path>().ok()?.find(self.record?).cloned(),
            Scope::Each => self.each.map(Value::from),
            Scope::Job => self.job.map(Value::from),
            Scope::Token => self.connector.token_value(&slot.member),
            Scope::Now => Some(instant(self.connector.provider_time(crate::config::now()))),
        }
    }
}

/// Returns a value as text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Returns a text that is a whole number as that number; anything else stays, for the provider to refuse.
fn number(value: Value) -> Value {
    plain(&value).parse::<i64>().map_or(value, Value::from)
}

fn filtered(value: &Value, filter: Option<Filter>) -> String {
    let text = plain(value);
    let instant = || text.parse::<DateTime<Utc>>().ok();
    match filter {
        None | Some(Filter::Csv | Filter::Int) => text,
        Some(Filter::Url) => encoded(&text),
        Some(Filter::Millis) => instant().map_or(text.clone(), |at| at.timestamp_millis().to_string()),
        Some(Filter::Seconds) => instant().map_or(text.clone(), |at| at.timestamp().to_string()),
        Some(Filter::Rfc3339) => instant().map_or(text.clone(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        Some(Filter::Rfc3339Millis) => {
            instant().map_or(text.clone(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        }
        Some(Filter::Date) => instant().map_or(text.clone(), |at| at.format("%Y-%m-%d").to_string()),
    }
}

/// Returns a text percent-encoded, safe in a path and in a query.
pub(super) fn encoded(text: &str) -> String {
    let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // A form writes a space as `+`, which a path does not know; a real plus is `%2B` already.
    form.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_kept_as_text_is_sent_as_a_number() {
        assert_eq!(number(Value::from("5740")), Value::from(5740));
        assert_eq!(number(Value::from(5740)), Value::from(5740));
        for other in ["", "12a", "123456789012345678901"] {
            assert_eq!(number(Value::from(other)), Value::from(other));
        }
    }
}
