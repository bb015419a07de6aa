//! Reads a manifest: merges `defaults` and the mixins a stream uses into it, then reads the types, strictly.

use super::super::network;
use super::{Manifest, lint};
use crate::error::UserError;
use crate::yaml::{self, Node, Part, Value};

/// Reads, resolves and lints a manifest, and adds the settings that every provider has. Every error names file, line and column.
pub(crate) fn load(name: &str, text: &str) -> Result<Manifest, UserError> {
    let root = yaml::parse(name, text)?;
    let resolved = resolve(&root)?;
    let mut manifest: Manifest = resolved.read()?;
    match lint(&manifest).into_iter().next() {
        Some(finding) => {
            Err(resolved.error_at(&finding.path_refs(), Part::Value, "manifest_invalid", &finding.message))
        }
        None => {
            manifest.settings.extend(network::settings());
            Ok(manifest)
        }
    }
}

/// Returns everything that is wrong with a manifest, each with file, line and column; nothing, for one that [`load`] takes.
///
/// What is no YAML, or not of the right types, hides all that comes after it.
pub(crate) fn check(name: &str, text: &str) -> Vec<UserError> {
    let read = || {
        let resolved = resolve(&yaml::parse(name, text)?)?;
        let manifest: Manifest = resolved.read()?;
        Ok((resolved, manifest))
    };
    let (resolved, manifest) = match read() {
        Ok(read) => read,
        Err(error) => return vec![error],
    };
    let findings = lint(&manifest).into_iter();
    findings
        .map(|finding| resolved.error_at(&finding.path_refs(), Part::Value, "manifest_invalid", &finding.message))
        .collect()
}

/// Returns the document with each stream complete, and without what was only there to be shared.
fn resolve(root: &Node) -> Result<Node, UserError> {
    let Some(streams) = root.get("streams") else { return Ok(root.clone()) };
    let mut resolved = Vec::new();
    for (key, stream) in streams.entries() {
        resolved.push((key.clone(), resolve_stream(root, &key.text, stream)?));
    }
    let streams = Node { mark: streams.mark.clone(), value: Value::Map(resolved) };
    let entries = root
        .entries()
        .iter()
        .filter(|(key, _)| !matches!(key.text.as_str(), "defaults" | "mixins"))
        .map(|(key, node)| (key.clone(), if key.text == "streams" { streams.clone() } else { node.clone() }))
        .collect();
    Ok(Node { mark: root.mark.clone(), value: Value::Map(entries) })
}

/// Returns one stream with `defaults` and its mixins beneath it.
fn resolve_stream(root: &Node, name: &str, stream: &Node) -> Result<Node, UserError> {
    let own = stream.entries().iter().filter(|(key, _)| key.text != "use").cloned().collect();
    let own = Node { mark: stream.mark.clone(), value: Value::Map(own) };
    let layers = layers(root, name)?;
    let base = layers.into_iter().map(|(_, node)| node.clone()).reduce(|base, over| yaml::merge(&base, &over));
    Ok(base.map_or_else(|| own.clone(), |base| yaml::merge(&base, &own)))
}

/// Returns what lies beneath a stream, lowest first, each with its name for people.
pub(super) fn layers<'n>(root: &'n Node, stream: &str) -> Result<Vec<(String, &'n Node)>, UserError> {
    let mut layers: Vec<(String, &Node)> =
        root.get("defaults").map(|node| ("defaults".to_owned(), node)).into_iter().collect();
    let used = root.get("streams").and_then(|streams| streams.get(stream)).and_then(|stream| stream.get("use"));
    let used: Vec<String> = used.map(Node::read).transpose()?.unwrap_or_default();
    for (position, mixin) in used.iter().enumerate() {
        let Some(node) = root.get("mixins").and_then(|mixins| mixins.get(mixin)) else {
            let path = ["streams", stream, "use", &position.to_string()];
            return Err(root.error_at(&path, Part::Value, "manifest_invalid", format!("there is no mixin `{mixin}`")));
        };
        layers.push((format!("mixin {mixin}"), node));
    }
    Ok(layers)
}
