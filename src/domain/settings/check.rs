//! Whether a setting may have a value, and the normal form of one that may.

use serde_json::Value;

use super::SettingKey;
use crate::domain::entity::{Entity, Target};
use crate::domain::expression;
use crate::domain::filter::Condition;
use crate::domain::manifest::{Manifest, SettingSpec, SettingType};
use crate::domain::mapping::Mapping;
use crate::domain::names::Name;
use crate::domain::network::is_this_machine;
use crate::domain::schedule::Frequency;
use crate::error::nearest;

/// Returns the key of a top-level word, if the program or the manifest knows it.
pub(crate) fn known_key(word: &str, manifest: &Manifest) -> Result<SettingKey, String> {
    let key: SettingKey = word.parse()?;
    let SettingKey::Declared(name) = &key else { return Ok(key) };
    if manifest.settings.contains_key(name) {
        return Ok(key);
    }
    let words = ["enabled", "sync_frequency", "field_mappings", "powerbi_filters"];
    let known = || words.into_iter().chain(manifest.settings.keys().map(Name::as_str));
    let meant = nearest(word, known()).map_or_else(
        || format!("known: {}", known().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(format!("unknown setting `{word}` of {}: {meant}", manifest.provider))
}

/// Checks a value and returns it in its normal form.
pub(crate) fn check(key: &SettingKey, value: &Value, manifest: &Manifest) -> Result<Value, String> {
    if value.is_null() {
        return Err(format!("`{key}` has no value; to remove an inherited value write `!unset`"));
    }
    if holds_unset(value) {
        return Err(format!("`!unset` takes a whole setting away; within `{key}` it stands for nothing"));
    }
    match key {
        SettingKey::Enabled => match value {
            Value::Bool(_) => Ok(value.clone()),
            other => Err(format!("`enabled` is true or false, not {other}")),
        },
        SettingKey::SyncFrequency => {
            let text = plain(value).ok_or("a sync frequency is a text like `hourly` or `15m`")?;
            text.parse::<Frequency>().map(|frequency| Value::from(frequency.to_string()))
        }
        SettingKey::Declared(name) => match manifest.settings.get(name) {
            Some(spec) => check_setting(spec, value).map_err(|message| format!("`{name}`: {message}")),
            None => known_key(name.as_str(), manifest).map(|_| value.clone()),
        },
        SettingKey::FieldMapping(target) => check_mapping(target, value, manifest),
        SettingKey::PowerbiFilter(column) => {
            if !column.fits(manifest.kind) {
                return Err(format!(
                    "`{column}` does not exist for {}, which is a {}",
                    manifest.title,
                    manifest.kind.as_str()
                ));
            }
            Condition::read(value).map(|_| column.typed(value))
        }
    }
}

/// Returns whether the marker stands anywhere within a value.
fn holds_unset(value: &Value) -> bool {
    match value {
        Value::String(text) => text == super::UNSET,
        Value::Array(items) => items.iter().any(holds_unset),
        Value::Object(entries) => entries.iter().any(|(key, value)| key == super::UNSET || holds_unset(value)),
        _ => false,
    }
}

fn check_mapping(target: &Target, value: &Value, manifest: &Manifest) -> Result<Value, String> {
    let value = match plain(value) {
        Some(text) => {
            let text = text.strip_prefix(&format!("{}.", manifest.provider)).unwrap_or(&text).to_owned();
            Value::from(text)
        }
        None => value.clone(),
    };
    let mapping: Mapping = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if let Some(expr) = &mapping.0.expr {
        expression::check(expr)?;
    }
    if source_stream(target.entity, &mapping, manifest).is_none() {
        let streams = manifest.streams.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "{} has no stream that feeds `{}` by itself; name one: `STREAM.FIELD` with one of {streams}",
            manifest.title, target.entity
        ));
    }
    serde_json::to_value(&mapping).map_err(|error| error.to_string())
}

/// Returns the stream a mapping reads: the one it names, else the one that feeds the entity.
pub(crate) fn source_stream<'m>(entity: Entity, mapping: &Mapping, manifest: &'m Manifest) -> Option<&'m str> {
    let named = mapping.0.from.as_deref().and_then(|from| from.split_once('.')).and_then(|(stream, _)| {
        manifest.streams.iter().find(|(name, _)| name == stream).map(|(name, _)| name.as_str())
    });
    named.or_else(|| manifest.stream_for(entity))
}

/// Returns the one stream that feeds an entity under these mappings, or why there is not one.
pub(crate) fn feeding_stream<'m>(
    entity: Entity,
    mappings: &[(Target, Mapping)],
    manifest: &'m Manifest,
) -> Result<Option<&'m str>, String> {
    let own = |mapping: &Mapping| mapping.0.expr.is_none();
    let mut streams: Vec<&str> = mappings
        .iter()
        .filter(|(_, mapping)| own(mapping))
        .filter_map(|(_, mapping)| source_stream(entity, mapping, manifest))
        .collect();
    streams.sort_unstable();
    streams.dedup();
    match streams.as_slice() {
        [] if mappings.is_empty() => Ok(None),
        [] => Ok(manifest.stream_for(entity)),
        [one] => match manifest.stream(one).and_then(|stream| stream.entity) {
            Some(fed) if fed != entity => {
                Err(format!("the stream `{one}` feeds `{fed}`, and cannot feed `{entity}` too"))
            }
            _ => Ok(Some(one)),
        },
        [one, two, ..] => {
            Err(format!("the mappings of `{entity}` read from two streams, `{one}` and `{two}`: an entity has one"))
        }
    }
}

/// Whether an override may remove this value.
pub(crate) fn check_unset(key: &SettingKey, manifest: &Manifest) -> Result<(), String> {
    match key {
        SettingKey::Enabled => Err("`enabled` is true or false; it cannot be unset".into()),
        SettingKey::SyncFrequency => Err("a provider needs a sync frequency; `manual` syncs only by hand".into()),
        SettingKey::Declared(name) if manifest.settings.get(name).is_some_and(|spec| spec.required) => {
            Err(format!("`{name}` is required and cannot be unset"))
        }
        _ => Ok(()),
    }
}

/// Checks a declared setting and returns it in its normal form.
pub(crate) fn check_setting(spec: &SettingSpec, value: &Value) -> Result<Value, String> {
    let wrong = |what: &str| format!("expected {what}, found {value}");
    let bounded = |number: f64, value: Value| match (spec.min, spec.max) {
        (Some(min), _) if number < min => Err(format!("{number} is below the smallest value allowed, {min}")),
        (_, Some(max)) if number > max => Err(format!("{number} is above the largest value allowed, {max}")),
        _ => Ok(value),
    };
    match spec.setting_type {
        SettingType::Int => {
            let number =
                value.as_i64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| wrong("a whole number"))?;
            #[expect(clippy::cast_precision_loss, reason = "bounds in manifests are far below 2^53")]
            bounded(number as f64, Value::from(number))
        }
        SettingType::Decimal => {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| wrong("a number"))?;
            bounded(number, Value::from(number))
        }
        SettingType::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) if text == "true" || text == "false" => Ok(Value::Bool(text == "true")),
            _ => Err(wrong("true or false")),
        },
        SettingType::List => match value {
            Value::Array(items) => items
                .iter()
                .map(|item| plain(item).map(Value::from).ok_or_else(|| wrong("a list of texts or numbers")))
                .collect(),
            _ => plain(value).map(|text| Value::from(vec![text])).ok_or_else(|| wrong("a list")),
        },
        SettingType::Text => checked_text(spec, value).map(Value::from),
        SettingType::Enum => {
            let text = plain(value).ok_or_else(|| wrong("a text"))?;
            if spec.values.contains(&text) {
                return Ok(Value::from(text));
            }
            let meant = nearest(&text, spec.values.iter().map(String::as_str))
                .map_or(String::new(), |word| format!("; did you mean `{word}`?"));
            Err(format!("`{}` is not one of {}{meant}", text.escape_debug(), spec.values.join(", ")))
        }
        SettingType::Date => {
            let text = checked_text(spec, value)?;
            chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").map_err(|_| wrong("a date like 2025-06-01"))?;
            Ok(Value::from(text))
        }
        SettingType::Hostname => {
            let text = checked_text(spec, value)?;
            let label = |label: &str| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            if text.split('.').all(label) { Ok(Value::from(text)) } else { Err(wrong("a host name")) }
        }
        SettingType::Url => check_url(&checked_text(spec, value)?).map(Value::from),
    }
}

fn checked_text(spec: &SettingSpec, value: &Value) -> Result<String, String> {
    let text = plain(value).ok_or_else(|| format!("expected a text, found {value}"))?;
    match &spec.pattern {
        Some(pattern)
            if !regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(&text)) =>
        {
            let example = spec.example.as_ref().map_or(String::new(), |example| format!("; an example is {example}"));
            Err(format!("`{}` does not have the form `{pattern}`{example}", text.escape_debug()))
        }
        _ => Ok(text),
    }
}

/// Accepts `https://` anywhere and `http://` on this machine only; credentials travel to this address. Whether the other
/// settings allow it too, `network::check` tells.
fn check_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{}` is not a URL: {error}", text.escape_debug()))?;
    if url.host().is_none() {
        return Err(format!("`{}` names no host", text.escape_debug()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a URL must not hold a user or a password; credentials are set with `skillsctl credential set`".into()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{}` has a query or fragment; give the base address alone", text.escape_debug()));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        "http" => {
            return Err(format!(
                "`{}` would send credentials unencrypted: use https:// (http:// is for this machine only)",
                text.escape_debug()
            ));
        }
        scheme => return Err(format!("`{scheme}://` is not spoken here: use https://")),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Returns a scalar as text, so that an id written without quotes is the id as written.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let (name, text) = crate::builtin::PROVIDERS[0];
        crate::domain::manifest::load(name, text).unwrap()
    }

    fn checked(key: &str, value: serde_json::Value) -> Result<Value, String> {
        check(&key.parse().unwrap(), &value, &manifest())
    }

    #[test]
    fn a_filter_takes_its_values_in_the_type_of_its_column() {
        use serde_json::json;
        let cases = [
            ("learner.programme", json!(1_010_276), json!("1010276")),
            ("learner.programme", json!([1, "b", true]), json!(["1", "b", "true"])),
            ("learner.status", json!({"In": [1, 2]}), json!({"In": ["1", "2"]})),
            ("learner.uln", json!({"StartsWith": 99}), json!({"StartsWith": "99"})),
            ("learner.status", json!({"IsNotBlank": true}), json!({"IsNotBlank": true})),
            ("learner.programme", json!({"GreaterThan": 3}), json!({"GreaterThan": 3})),
            ("LMS_Provider", json!(7), json!("7")),
            ("learner.progress", json!("50"), json!(50)),
            ("learner.progress", json!("full"), json!("full")),
            ("learner.own_field", json!(7), json!(7)),
        ];
        for (column, given, kept) in cases {
            assert_eq!(checked(&format!("powerbi_filters.{column}"), given.clone()), Ok(kept), "{column}: {given}");
        }
    }

    #[test]
    fn the_marker_stands_for_a_whole_setting_only() {
        use serde_json::json;
        for value in [json!({"from": "a", "map": {"x": "!unset"}}), json!({"from": "a", "one_of": ["!unset"]})] {
            assert!(
                checked("field_mappings.learner.status", value).unwrap_err().contains("takes a whole setting away")
            );
        }
        assert!(checked("powerbi_filters.learner.status", json!(["a", "!unset"])).is_err());
    }

    #[test]
    fn urls_are_https_or_of_this_machine() {
        for good in ["https://api.aptem.co.uk", "http://127.0.0.1:8090", "http://localhost/x", "http://[::1]:1"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.aptem.co.uk",
            "ftp://x",
            "https://u:p@x.example",
            "https://x.example/?a=1",
            "x.example",
            "http://127.0.0.1.evil.example",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        assert_eq!(check_url("https://x.example/").unwrap(), "https://x.example");
    }
}
