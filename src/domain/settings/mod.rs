//! The settings of a provider, and the merge law: built-in values, then the pinned defaults, then the overrides.
//!
//! Settings are kept flat: each leaf has a [`SettingKey`]. A field mapping or a filter condition is one leaf, keyed by
//! its target or column, so that an override replaces it as a whole and two sources for one target cannot arise.

mod check;
mod document;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;

pub(crate) use check::{check, check_setting, check_unset, feeding_stream, known_key};
pub(crate) use document::{
    Problem, check_overrides, nested, nested_overrides, read_arrow, read_block, read_overrides, stored_overrides,
};

use super::entity::{Entity, Target};
use super::filter::{Condition, FilterColumn};
use super::manifest::Manifest;
use super::mapping::Mapping;
use super::names::Name;
use super::network;
use super::schedule::Frequency;
use crate::error::nearest;
pub(crate) use crate::yaml::UNSET;

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

    /// Returns the mapping or filter that this program cannot read, if there is one: stored by another version, say.
    pub(crate) fn unreadable(&self) -> Option<&SettingKey> {
        let readable = |key: &SettingKey, value: &Value| match key {
            SettingKey::FieldMapping(_) => serde_json::from_value::<Mapping>(value.clone()).is_ok(),
            SettingKey::PowerbiFilter(_) => Condition::read(value).is_ok(),
            _ => true,
        };
        self.values.iter().find(|(key, resolved)| !readable(key, &resolved.value)).map(|(key, _)| key)
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

    /// Returns the leaves as one text that changes whenever what is read and stored of an entity would: all but whether, when
    /// and how safely, and what is of another entity alone.
    pub(crate) fn shape(&self, entity: Entity) -> String {
        let shapes = |key: &SettingKey| match key {
            SettingKey::Enabled | SettingKey::SyncFrequency => false,
            SettingKey::Declared(name) if network::is_setting(name.as_str()) => false,
            SettingKey::FieldMapping(target) | SettingKey::PowerbiFilter(FilterColumn::Field(target)) => {
                target.entity == entity
            }
            SettingKey::PowerbiFilter(_) | SettingKey::Declared(_) => true,
        };
        let shaping = self.values.iter().filter(|(key, _)| shapes(key));
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
                items.iter().map(|item| check::plain(item).unwrap_or_default()).collect::<Vec<_>>().join(", ")
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
}
