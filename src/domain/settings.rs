//! The settings of a provider, and the merge law: built-in values, then the pinned defaults, then the overrides.
//!
//! Settings are kept flat: each leaf has a [`SettingKey`]. A field mapping or a filter condition is one leaf, keyed by
//! its target or column, so that an override replaces it as a whole and two sources for one target cannot arise.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::entity::{Entity, Target};
use super::filter::{Condition, FilterColumn};
use super::manifest::{Manifest, SettingSpec, SettingType};
use super::mapping::Mapping;
use super::names::Name;
use super::schedule::Frequency;
use crate::error::nearest;

/// How an override says that an inherited value is removed.
pub(crate) const UNSET: &str = "!unset";

/// The place of one setting of one provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SettingKey {
    /// Whether the provider is synced at all.
    Enabled,
    SyncFrequency,
    /// A setting that the manifest declares.
    Declared(Name),
    FieldMapping(Target),
    PowerbiFilter(FilterColumn),
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingKey::Enabled => f.pad("enabled"),
            SettingKey::SyncFrequency => f.pad("sync_frequency"),
            SettingKey::Declared(name) => name.fmt(f),
            SettingKey::FieldMapping(target) => f.pad(&format!("field_mappings.{target}")),
            SettingKey::PowerbiFilter(column) => f.pad(&format!("powerbi_filters.{column}")),
        }
    }
}

impl FromStr for SettingKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some(("field_mappings", target)) => target.parse().map(SettingKey::FieldMapping),
            Some(("powerbi_filters", column)) => column.parse().map(SettingKey::PowerbiFilter),
            Some((section, _)) => {
                let meant = nearest(section, ["field_mappings", "powerbi_filters"])
                    .map_or(String::new(), |word| format!("; did you mean `{word}`?"));
                Err(format!("unknown section `{}`{meant}", section.escape_debug()))
            }
            None if text == "enabled" => Ok(SettingKey::Enabled),
            None if text == "sync_frequency" => Ok(SettingKey::SyncFrequency),
            None => text.parse().map(SettingKey::Declared),
        }
    }
}

impl Serialize for SettingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A provider's settings as a document gives them; values are checked and in their normal form.
pub(crate) type Block = BTreeMap<SettingKey, Value>;

/// What an override does to one setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Set(Value),
    Unset,
}

/// An organization's overrides of one provider: only what is different.
pub(crate) type Overrides = BTreeMap<SettingKey, Change>;

/// Where an effective value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program or the manifest.
    BuiltIn,
    /// A revision of the preset's defaults.
    Default(u32),
    Override,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.pad("built-in"),
            Origin::Default(revision) => f.pad(&format!("default@{revision}")),
            Origin::Override => f.pad("override"),
        }
    }
}

/// One effective value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// What it would be without the override.
    pub(crate) inherited: Option<Value>,
}

/// The settings in force for one provider of one organization.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Effective {
    pub(crate) values: BTreeMap<SettingKey, Resolved>,
    /// Inherited values that an override removed.
    pub(crate) unset: BTreeMap<SettingKey, Value>,
}

/// The merge law. `defaults` lies over `built_in`, `overrides` over both; a leaf is replaced whole, never appended to.
pub(crate) fn merge(built_in: &Block, defaults: &Block, revision: u32, overrides: &Overrides) -> Effective {
    let base = built_in.iter().map(|(key, value)| (key, value, Origin::BuiltIn));
    let over = defaults.iter().map(|(key, value)| (key, value, Origin::Default(revision)));
    let mut effective = Effective {
        values: base
            .chain(over)
            .map(|(key, value, origin)| (key.clone(), Resolved { value: value.clone(), origin, inherited: None }))
            .collect(),
        unset: BTreeMap::new(),
    };
    for (key, change) in overrides {
        let inherited = effective.values.remove(key).map(|resolved| resolved.value);
        match change {
            Change::Set(value) => {
                let resolved = Resolved { value: value.clone(), origin: Origin::Override, inherited };
                effective.values.insert(key.clone(), resolved);
            }
            Change::Unset => {
                if let Some(value) = inherited {
                    effective.unset.insert(key.clone(), value);
                }
            }
        }
    }
    effective
}

impl Effective {
    fn value(&self, key: &SettingKey) -> Option<&Value> {
        self.values.get(key).map(|resolved| &resolved.value)
    }

    pub(crate) fn enabled(&self) -> bool {
        self.value(&SettingKey::Enabled) != Some(&Value::Bool(false))
    }

    /// Returns the sync frequency; a provider that no document gives one is synced by hand only.
    pub(crate) fn frequency(&self) -> Frequency {
        self.value(&SettingKey::SyncFrequency)
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .unwrap_or(Frequency::Manual)
    }

    /// Returns a declared setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&Value> {
        let name = name.parse().ok()?;
        self.value(&SettingKey::Declared(name))
    }

    /// Returns the declared settings as a map, for slots.
    pub(crate) fn declared(&self) -> BTreeMap<String, Value> {
        let declared = self.values.iter().filter_map(|(key, resolved)| match key {
            SettingKey::Declared(name) => Some((name.to_string(), resolved.value.clone())),
            _ => None,
        });
        declared.collect()
    }

    /// Returns the field mappings of an entity, in the order of their targets.
    pub(crate) fn mappings(&self, entity: Entity) -> Vec<(Target, Mapping)> {
        let mappings = self.values.iter().filter_map(|(key, resolved)| match key {
            SettingKey::FieldMapping(target) if target.entity == entity => {
                Some((target.clone(), serde_json::from_value(resolved.value.clone()).ok()?))
            }
            _ => None,
        });
        mappings.collect()
    }

    /// Returns the Power BI filters.
    pub(crate) fn filters(&self) -> Vec<(FilterColumn, Condition)> {
        let filters = self.values.iter().filter_map(|(key, resolved)| match key {
            SettingKey::PowerbiFilter(column) => Some((column.clone(), Condition::read(&resolved.value).ok()?)),
            _ => None,
        });
        filters.collect()
    }

    /// Returns the required settings that have no value.
    pub(crate) fn missing<'m>(&self, manifest: &'m Manifest) -> Vec<&'m Name> {
        let required = manifest.settings.iter().filter(|(_, spec)| spec.required).map(|(name, _)| name);
        let empty = |value: &Value| value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
        required.filter(|name| self.setting(name.as_str()).is_none_or(empty)).collect()
    }

    /// Returns the leaves as one text that changes whenever what is read and stored would: all but whether and when.
    pub(crate) fn shape(&self) -> String {
        let shaping =
            self.values.iter().filter(|(key, _)| !matches!(key, SettingKey::Enabled | SettingKey::SyncFrequency));
        shaping.map(|(key, resolved)| format!("{key}={}\n", resolved.value)).collect()
    }
}

/// Returns the values that hold where no document says anything.
pub(crate) fn built_in(manifest: &Manifest) -> Block {
    let declared = manifest
        .settings
        .iter()
        .filter_map(|(name, spec)| Some((SettingKey::Declared(name.clone()), spec.default.clone()?)));
    declared.chain([(SettingKey::Enabled, Value::Bool(true))]).collect()
}

/// Something wrong in a document, at a path of keys below the provider's block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: Vec<String>,
    /// Whether the key itself is wrong, not its value.
    pub(crate) at_key: bool,
    pub(crate) message: String,
}

impl Problem {
    fn key(path: &[&str], message: impl Into<String>) -> Self {
        Problem { path: path.iter().map(|part| (*part).to_owned()).collect(), at_key: true, message: message.into() }
    }

    fn value(path: &[&str], message: impl Into<String>) -> Self {
        Problem { at_key: false, ..Problem::key(path, message) }
    }
}

/// Reads a provider's block of a defaults document: nested, every key known, every value checked.
pub(crate) fn read_block(entries: &Map<String, Value>, manifest: &Manifest) -> Result<Block, Problem> {
    leaves(entries, manifest)?
        .into_iter()
        .map(|(path, key, value)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            if value.as_str() == Some(UNSET) {
                return Err(Problem::value(&path, "`!unset` is for overrides; defaults just leave a value out"));
            }
            let value = check(&key, &value, manifest).map_err(|message| Problem::value(&path, message))?;
            Ok((key, value))
        })
        .collect()
}

/// Reads a provider's block of an override document. `!unset` removes, null is refused.
pub(crate) fn read_overrides(entries: &Map<String, Value>, manifest: &Manifest) -> Result<Overrides, Problem> {
    leaves(entries, manifest)?
        .into_iter()
        .map(|(path, key, value)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let change = if value.as_str() == Some(UNSET) {
                check_unset(&key, manifest).map(|()| Change::Unset)
            } else {
                check(&key, &value, manifest).map(Change::Set)
            };
            Ok((key, change.map_err(|message| Problem::value(&path, message))?))
        })
        .collect()
}

/// Returns what is wrong with stored overrides under another manifest of their provider, alone and over its defaults.
pub(crate) fn check_overrides(defaults: &Block, overrides: &Overrides, manifest: &Manifest) -> Result<(), String> {
    let document = nested_overrides(overrides);
    let entries = document.as_object().cloned().unwrap_or_default();
    read_overrides(&entries, manifest).map_err(|problem| problem.message)?;
    let effective = merge(&Block::new(), defaults, 0, overrides);
    for entity in Entity::ALL {
        feeding_stream(entity, &effective.mappings(entity), manifest)?;
    }
    Ok(())
}

/// Returns every leaf of a nested block with its path and key.
fn leaves(entries: &Map<String, Value>, manifest: &Manifest) -> Result<Vec<(Vec<String>, SettingKey, Value)>, Problem> {
    let mut leaves = Vec::new();
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("field_mappings" | "powerbi_filters", Value::Object(inner)) => {
                for (name, value) in inner {
                    let parsed = format!("{key}.{name}").parse();
                    let parsed: SettingKey = parsed.map_err(|message: String| Problem::key(&[key, name], message))?;
                    leaves.push((vec![key.clone(), name.clone()], parsed, value.clone()));
                }
            }
            ("field_mappings", Value::Array(arrows)) => {
                for (position, arrow) in arrows.iter().enumerate() {
                    let position = position.to_string();
                    let text = arrow.as_str().unwrap_or_default();
                    let (key, value) = read_arrow(text, manifest)
                        .map_err(|message| Problem::value(&["field_mappings", &position], message))?;
                    if leaves.iter().any(|(_, known, _)| *known == key) {
                        return Err(Problem::value(&["field_mappings", &position], format!("`{key}` is given twice")));
                    }
                    leaves.push((vec!["field_mappings".into(), position], key, value));
                }
            }
            ("field_mappings" | "powerbi_filters", Value::String(text)) if text == UNSET => {
                return Err(Problem::value(&[key], "unset single entries, not the whole section"));
            }
            ("field_mappings" | "powerbi_filters", _) => {
                return Err(Problem::value(&[key], format!("`{key}` is a map")));
            }
            _ => {
                let parsed = known_key(key, manifest).map_err(|message| Problem::key(&[key], message))?;
                leaves.push((vec![key.clone()], parsed, value.clone()));
            }
        }
    }
    Ok(leaves)
}

/// Reads the arrow form: `aptem.programme_name -> learner.programme`.
pub(crate) fn read_arrow(text: &str, manifest: &Manifest) -> Result<(SettingKey, Value), String> {
    let (source, target) = text
        .split_once("->")
        .or_else(|| text.split_once('→'))
        .ok_or_else(|| format!("`{}` is not a mapping; write `source -> target`", text.escape_debug()))?;
    let target: Target = target.trim().parse()?;
    let source = source.trim();
    let source = source.strip_prefix(&format!("{}.", manifest.provider)).unwrap_or(source);
    if source.is_empty() {
        return Err("a mapping needs a source before the arrow".into());
    }
    Ok((SettingKey::FieldMapping(target), Value::from(source)))
}

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
            Condition::read(value).map(|_| value.clone())
        }
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
        super::expression::check(expr)?;
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

/// Accepts `https://` anywhere and `http://` on this machine only; credentials travel to this address.
fn check_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{}` is not a URL: {error}", text.escape_debug()))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("`{}` names no host", text.escape_debug())),
    };
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
        "http" if loopback => {}
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
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns a block as the nested document people write.
pub(crate) fn nested(entries: impl IntoIterator<Item = (SettingKey, Value)>) -> Value {
    let mut document = Map::new();
    for (key, value) in entries {
        let (section, name) = match &key {
            SettingKey::FieldMapping(target) => ("field_mappings", target.to_string()),
            SettingKey::PowerbiFilter(column) => ("powerbi_filters", column.to_string()),
            single => {
                document.insert(single.to_string(), value);
                continue;
            }
        };
        if let Value::Object(inner) = document.entry(section).or_insert_with(|| Value::Object(Map::new())) {
            inner.insert(name, value);
        }
    }
    Value::Object(document)
}

/// Returns overrides as the nested document people write.
pub(crate) fn nested_overrides(overrides: &Overrides) -> Value {
    nested(overrides.iter().map(|(key, change)| {
        let value = match change {
            Change::Set(value) => value.clone(),
            Change::Unset => Value::from(UNSET),
        };
        (key.clone(), value)
    }))
}

/// Returns overrides from the nested form they are stored in; what was stored was checked, so nothing is checked again.
pub(crate) fn stored_overrides(document: &Value) -> Overrides {
    let change = |value: &Value| if value.as_str() == Some(UNSET) { Change::Unset } else { Change::Set(value.clone()) };
    let mut overrides = Overrides::new();
    for (key, value) in document.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if key == "field_mappings" || key == "powerbi_filters" => {
                let parsed = inner
                    .iter()
                    .filter_map(|(name, value)| Some((format!("{key}.{name}").parse().ok()?, change(value))));
                overrides.extend(parsed);
            }
            _ => overrides.extend(key.parse().ok().map(|key| (key, change(value)))),
        }
    }
    overrides
}

/// Shows a value of a setting for people.
pub(crate) fn show(key: &SettingKey, value: &Value, provider: &Name) -> String {
    match key {
        SettingKey::FieldMapping(_) => match serde_json::from_value::<Mapping>(value.clone()) {
            Ok(mapping) if mapping.0.from.is_some() => format!("{provider}.{mapping}"),
            Ok(mapping) => mapping.to_string(),
            Err(_) => value.to_string(),
        },
        SettingKey::PowerbiFilter(_) => {
            Condition::read(value).map_or_else(|_| value.to_string(), |condition| condition.to_string())
        }
        _ => match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                items.iter().map(|item| plain(item).unwrap_or_default()).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn key(text: &str) -> SettingKey {
        text.parse().unwrap()
    }

    const KEYS: [&str; 6] = [
        "enabled",
        "sync_frequency",
        "api_url",
        "field_mappings.learner.programme",
        "field_mappings.learner.division",
        "powerbi_filters.LMS_Provider",
    ];

    prop_compose! {
        fn block()(entries in prop::collection::btree_map(prop::sample::select(&KEYS[..]), 0..4_u8, 0..6)) -> Block {
            entries.into_iter().map(|(name, value)| (key(name), json!(value))).collect()
        }
    }

    prop_compose! {
        fn overrides()(entries in prop::collection::btree_map(prop::sample::select(&KEYS[..]), prop::option::of(0..4_u8), 0..6)) -> Overrides {
            let change = |value: Option<u8>| value.map_or(Change::Unset, |value| Change::Set(json!(value)));
            entries.into_iter().map(|(name, value)| (key(name), change(value))).collect()
        }
    }

    fn values(effective: &Effective) -> Block {
        effective.values.iter().map(|(key, resolved)| (key.clone(), resolved.value.clone())).collect()
    }

    proptest! {
        #[test]
        fn nothing_overridden_is_the_defaults(defaults in block()) {
            let effective = merge(&Block::new(), &defaults, 3, &Overrides::new());
            prop_assert!(effective.values.values().all(|resolved| resolved.origin == Origin::Default(3)));
            prop_assert_eq!(values(&effective), defaults);
        }

        #[test]
        fn the_same_override_twice_is_as_once(defaults in block(), over in overrides()) {
            let once = merge(&Block::new(), &defaults, 1, &over);
            let again = merge(&Block::new(), &values(&once), 1, &over);
            prop_assert_eq!(values(&once), values(&again));
        }

        #[test]
        fn every_leaf_comes_from_the_topmost_layer_that_has_it(base in block(), defaults in block(), over in overrides()) {
            let effective = merge(&base, &defaults, 7, &over);
            for name in KEYS {
                let key = key(name);
                let expected = match over.get(&key) {
                    Some(Change::Set(value)) => Some((value, Origin::Override)),
                    Some(Change::Unset) => None,
                    None => defaults.get(&key).map(|value| (value, Origin::Default(7))).or_else(|| base.get(&key).map(|value| (value, Origin::BuiltIn))),
                };
                let found = effective.values.get(&key).map(|resolved| (&resolved.value, resolved.origin.clone()));
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn taking_an_override_away_gives_the_default_back(defaults in block(), over in overrides()) {
            let before = merge(&Block::new(), &defaults, 1, &Overrides::new());
            let mut over = over;
            over.clear();
            prop_assert_eq!(merge(&Block::new(), &defaults, 1, &over), before);
        }

        #[test]
        fn new_defaults_change_exactly_what_is_not_overridden(old in block(), new in block(), over in overrides()) {
            let (before, after) = (merge(&Block::new(), &old, 1, &over), merge(&Block::new(), &new, 2, &over));
            for name in KEYS {
                let key = key(name);
                let changed = before.values.get(&key).map(|resolved| &resolved.value) != after.values.get(&key).map(|resolved| &resolved.value);
                prop_assert_eq!(changed, !over.contains_key(&key) && old.get(&key) != new.get(&key));
            }
        }

        #[test]
        fn overrides_survive_being_stored(over in overrides()) {
            prop_assert_eq!(stored_overrides(&nested_overrides(&over)), over);
        }
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
