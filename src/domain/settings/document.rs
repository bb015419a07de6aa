//! How settings are written in documents: nested, each leaf found with its path, and back again.

use serde_json::{Map, Value};

use super::check::{check, check_unset, feeding_stream, known_key};
use super::{Block, Change, Overrides, SettingKey, UNSET, merge};
use crate::domain::entity::{Entity, Target};
use crate::domain::manifest::Manifest;

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
