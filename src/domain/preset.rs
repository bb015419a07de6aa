//! A preset: a combination of providers with the platform-wide defaults of each, read strictly from YAML.

use std::collections::BTreeMap;

use super::manifest::Manifest;
use super::names::Name;
use super::settings::{self, Block, Overrides, Problem};
use crate::error::{UserError, nearest};
use crate::yaml::{self, Node, Part};

/// The manifests that documents may name.
pub(crate) type Catalog = BTreeMap<Name, Manifest>;

/// One revision of a preset's defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preset {
    pub(crate) slug: Name,
    pub(crate) name: String,
    pub(crate) recommended: bool,
    /// In the order in which they are called.
    pub(crate) providers: Vec<(Name, Block)>,
    /// Which role sees which reports, in the order of the file.
    pub(crate) role_reports: Vec<(String, Vec<String>)>,
}

impl Preset {
    /// Returns the defaults of one provider.
    pub(crate) fn block(&self, provider: &Name) -> Option<&Block> {
        self.providers.iter().find(|(name, _)| name == provider).map(|(_, block)| block)
    }

    /// Returns whether the preset calls this provider.
    pub(crate) fn has(&self, provider: &Name) -> bool {
        self.block(provider).is_some()
    }
}

/// Reads a preset root. Every error names file, line and column, and nothing of a wrong document is used.
pub(crate) fn read_preset(name: &str, text: &str, catalog: &Catalog) -> Result<Preset, UserError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        preset: Name,
        name: String,
        #[serde(default)]
        recommended: bool,
        #[expect(
            dead_code,
            reason = "declares the key and what it must be; it is read from the tree, which knows the places"
        )]
        providers: serde_json::Map<String, serde_json::Value>,
        #[serde(default)]
        role_reports: super::manifest::Ordered<Vec<String>>,
    }
    let root = yaml::parse(name, text)?;
    let written: Written = root.read()?;
    if written.name.trim().is_empty() || written.name.chars().count() > 100 {
        return Err(root.error_at(&["name"], Part::Value, "invalid_name", "a preset's name has 1 to 100 characters"));
    }
    let listed = root.get("providers").map(Node::entries).unwrap_or_default();
    let mut providers = Vec::new();
    for (key, node) in listed {
        let manifest = provider(&root, &["providers"], &key.text, catalog)?;
        let block = block_json(&root, &["providers", &key.text], node)?;
        let block = settings::read_block(&block, manifest)
            .map_err(|problem| located(&root, &["providers", &key.text], &problem))?;
        for entity in super::entity::Entity::ALL {
            let mappings = settings::merge(&Block::new(), &block, 0, &Overrides::new()).mappings(entity);
            settings::feeding_stream(entity, &mappings, manifest).map_err(|message| {
                root.error_at(&["providers", &key.text, "field_mappings"], Part::Key, "two_streams", &message)
            })?;
        }
        providers.push((manifest.provider.clone(), block));
    }
    if providers.is_empty() {
        return Err(root.error_at(&["providers"], Part::Key, "no_providers", "a preset has at least one provider"));
    }
    Ok(Preset {
        slug: written.preset,
        name: written.name,
        recommended: written.recommended,
        providers,
        role_reports: written.role_reports.0,
    })
}

/// Reads an organization's override document: a map of providers. Providers outside its preset are refused.
pub(crate) fn read_overrides(
    name: &str,
    text: &str,
    allowed: &[Name],
    catalog: &Catalog,
) -> Result<BTreeMap<Name, Overrides>, UserError> {
    let root = yaml::parse(name, text)?;
    let mut overrides = BTreeMap::new();
    if root.entries().is_empty() {
        if root.to_json().as_object().is_some_and(serde_json::Map::is_empty) || root.to_json().is_null() {
            return Ok(overrides);
        }
        return Err(root.error_at(&[], Part::Value, "yaml_type", "overrides are a map of providers"));
    }
    for (key, node) in root.entries() {
        let manifest = provider(&root, &[], &key.text, catalog)?;
        if !allowed.contains(&manifest.provider) {
            let names = allowed.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("the organization's preset has no provider `{}`; it has {names}", key.text);
            return Err(root.error_at(&[&key.text], Part::Key, "provider_not_in_preset", &message));
        }
        let block = block_json(&root, &[&key.text], node)?;
        let read =
            settings::read_overrides(&block, manifest).map_err(|problem| located(&root, &[&key.text], &problem))?;
        overrides.insert(manifest.provider.clone(), read);
    }
    Ok(overrides)
}

/// Returns the manifest a document names, or an error at that key.
fn provider<'c>(root: &Node, path: &[&str], name: &str, catalog: &'c Catalog) -> Result<&'c Manifest, UserError> {
    catalog.get(name).ok_or_else(|| {
        let meant = nearest(name, catalog.keys().map(Name::as_str)).map_or_else(
            || format!("known: {}", catalog.keys().map(Name::as_str).collect::<Vec<_>>().join(", ")),
            |word| format!("did you mean `{word}`?"),
        );
        let path: Vec<&str> = path.iter().copied().chain([name]).collect();
        root.error_at(&path, Part::Key, "unknown_provider", format!("unknown provider `{name}`: {meant}"))
    })
}

fn block_json(
    root: &Node,
    path: &[&str],
    node: &Node,
) -> Result<serde_json::Map<String, serde_json::Value>, UserError> {
    match node.to_json() {
        serde_json::Value::Object(entries) => Ok(entries),
        serde_json::Value::Null => Ok(serde_json::Map::new()),
        _ => Err(root.error_at(path, Part::Value, "yaml_type", "a provider's settings are a map")),
    }
}

fn located(root: &Node, path: &[&str], problem: &Problem) -> UserError {
    let path: Vec<&str> = path.iter().copied().chain(problem.path.iter().map(String::as_str)).collect();
    root.error_at(&path, if problem.at_key { Part::Key } else { Part::Value }, "invalid_setting", &problem.message)
}
