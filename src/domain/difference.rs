//! What is different between two states of settings, path by path, in words for people.

use std::collections::BTreeSet;

use super::names::Name;
use super::preset::Preset;
use super::settings::{self, Block, Effective, SettingKey};

/// One path whose value is not the same on both sides; a side without it is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl Difference {
    /// Returns the difference, if there is one.
    pub(crate) fn of(path: impl Into<String>, before: Option<String>, after: Option<String>) -> Option<Self> {
        (before != after).then(|| Difference { path: path.into(), before, after })
    }
}

/// Returns what differs between two blocks of one provider.
pub(crate) fn blocks(provider: &Name, before: &Block, after: &Block) -> Vec<Difference> {
    let keys: BTreeSet<&SettingKey> = before.keys().chain(after.keys()).collect();
    let shown = |block: &Block, key: &SettingKey| block.get(key).map(|value| settings::show(key, value, provider));
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .filter_map(|key| Difference::of(format!("{provider}.{key}"), shown(before, key), shown(after, key)))
        .collect()
}

/// Returns what differs between two revisions of a preset.
pub(crate) fn presets(before: &Preset, after: &Preset) -> Vec<Difference> {
    let recommended = |preset: &Preset| Some(preset.recommended.to_string());
    let mut differences: Vec<Difference> = [
        Difference::of("name", Some(before.name.clone()), Some(after.name.clone())),
        Difference::of("recommended", recommended(before), recommended(after)),
        Difference::of("providers", Some(order(before)), Some(order(after))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let nothing = Block::new();
    for provider in both(before, after) {
        let block = |preset: &'_ Preset| preset.block(provider).unwrap_or(&nothing).clone();
        differences.extend(blocks(provider, &block(before), &block(after)));
    }
    differences.extend(role_reports(before, after));
    differences
}

/// Returns the providers of either side, those of `before` first.
pub(crate) fn both<'p>(before: &'p Preset, after: &'p Preset) -> Vec<&'p Name> {
    let mut names: Vec<&Name> = Vec::new();
    for (name, _) in before.providers.iter().chain(&after.providers) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn order(preset: &Preset) -> String {
    preset.providers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the roles that see other reports afterwards.
pub(crate) fn role_reports(before: &Preset, after: &Preset) -> Vec<Difference> {
    let reports = |preset: &Preset, role: &str| {
        preset.role_reports.iter().find(|(known, _)| known == role).map(|(_, reports)| reports.join(", "))
    };
    let roles: BTreeSet<&str> =
        before.role_reports.iter().chain(&after.role_reports).map(|(role, _)| role.as_str()).collect();
    roles
        .into_iter()
        .filter_map(|role| Difference::of(format!("role_reports.{role}"), reports(before, role), reports(after, role)))
        .collect()
}

/// Returns the settings whose effective value differs.
pub(crate) fn effective(provider: &Name, before: &Effective, after: &Effective) -> Vec<Difference> {
    let values = |effective: &Effective| -> Block {
        effective.values.iter().map(|(key, resolved)| (key.clone(), resolved.value.clone())).collect()
    };
    blocks(provider, &values(before), &values(after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn preset(frequency: &str, reports: &[&str]) -> Preset {
        let block = [("sync_frequency".parse().unwrap(), json!(frequency))].into_iter().collect();
        Preset {
            slug: "aptem".parse().unwrap(),
            name: "Aptem".into(),
            recommended: false,
            providers: vec![("aptem".parse().unwrap(), block)],
            role_reports: vec![("tutor".into(), reports.iter().map(ToString::to_string).collect())],
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(presets(&preset("hourly", &["a"]), &preset("hourly", &["a"])), []);
        let differences = presets(&preset("hourly", &["a"]), &preset("daily", &["a", "b"]));
        let paths: Vec<&str> = differences.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, ["aptem.sync_frequency", "role_reports.tutor"]);
        assert_eq!(
            (differences[0].before.as_deref(), differences[0].after.as_deref()),
            (Some("hourly"), Some("daily"))
        );
    }

    #[test]
    fn a_provider_that_goes_takes_its_settings_along() {
        let mut after = preset("hourly", &["a"]);
        after.providers = vec![("hubspot".parse().unwrap(), Block::new())];
        let differences = presets(&preset("hourly", &["a"]), &after);
        assert_eq!(differences[0].path, "providers");
        assert_eq!((differences[1].path.as_str(), &differences[1].after), ("aptem.sync_frequency", &None));
    }
}
