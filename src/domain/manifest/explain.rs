//! Prints a stream with everything resolved, each line with the place it comes from.

use serde_json::Value;

use super::load::layers;
use crate::error::{Exit, UserError};
use crate::yaml::{self, Node};

/// One leaf of a resolved stream.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Line {
    /// Dotted, from the stream's name.
    pub(crate) path: String,
    pub(crate) value: Value,
    /// `defaults`, `mixin NAME` or `stream`.
    pub(crate) origin: String,
}

/// Returns every leaf of a stream of a manifest's text, with its origin.
pub(crate) fn explain(name: &str, text: &str, stream: &str) -> Result<Vec<Line>, UserError> {
    let root = yaml::parse(name, text)?;
    let own = root.get("streams").and_then(|streams| streams.get(stream)).ok_or_else(|| {
        let known = root.get("streams").map(Node::entries).unwrap_or_default();
        let names = known.iter().map(|(key, _)| key.text.as_str()).collect::<Vec<_>>();
        UserError::new(Exit::NotFound, "stream_not_found", format!("there is no stream `{stream}`"))
            .hint(format!("streams: {}", names.join(", ")))
    })?;
    let mut lines = Vec::new();
    let mut layers = layers(&root, stream)?;
    layers.push(("stream".to_owned(), own));
    for (origin, layer) in &layers {
        collect(stream, &layer.to_json(), origin, &mut lines);
    }
    lines.retain(|line: &Line| line.path != format!("{stream}.use"));
    Ok(lines)
}

/// Adds the leaves of a value; a leaf that a lower layer had is replaced.
fn collect(path: &str, value: &Value, origin: &str, lines: &mut Vec<Line>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                collect(&format!("{path}.{key}"), value, origin, lines);
            }
        }
        leaf => {
            lines.retain(|line| line.path != path && !line.path.starts_with(&format!("{path}.")));
            lines.push(Line { path: path.to_owned(), value: leaf.clone(), origin: origin.to_owned() });
        }
    }
}
