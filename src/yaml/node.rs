//! The tree a file becomes: every key and value with its place.

use std::collections::HashMap;

use super::{
    mark::Mark,
    scalar::{Scalar, Untyped},
};
use crate::error::UserError;

/// How the tag that removes a value is written, and the text a type sees for it.
pub(crate) const UNSET: &str = "!unset";

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// `!unset`: in an override, takes away what lies below.
    Unset,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map: always text.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// Which half of an entry an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

impl Node {
    /// Returns the value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Returns the entries in the order of the file; none if this is not a map.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns whether this takes away what lies below: `!unset`, also if it was quoted on the way.
    pub(crate) fn is_unset(&self) -> bool {
        match &self.value {
            Value::Unset => true,
            Value::Scalar(scalar) => scalar.text == UNSET,
            _ => false,
        }
    }

    /// Returns an error about the key or the value at a path, or about the nearest place above it that exists.
    /// An entry of a list is named by its index.
    pub(crate) fn error_at(
        &self,
        path: &[&str],
        part: Part,
        code: &'static str,
        message: impl std::fmt::Display,
    ) -> UserError {
        let mut node = self;
        let mut mark = &self.mark;
        for step in path {
            let next = match &node.value {
                Value::List(items) => {
                    step.parse().ok().and_then(|at: usize| items.get(at)).map(|item| (&item.mark, item))
                }
                _ => node.entry(step).map(|(key, node)| (&key.mark, node)),
            };
            let Some((key, value)) = next else { break };
            mark = if part == Part::Key { key } else { &value.mark };
            node = value;
        }
        mark.error(code, message)
    }

    /// Returns the value as JSON, untyped: numbers that would lose their spelling become texts.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Unset => UNSET.into(),
            Value::Scalar(scalar) => match scalar.untyped() {
                Untyped::Null => serde_json::Value::Null,
                Untyped::Bool(bool) => bool.into(),
                Untyped::Int(int) => int.into(),
                Untyped::Float(float) => float.into(),
                Untyped::Text(text) => text.into(),
            },
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.entries().iter().find(|(known, _)| known.text == key)
    }
}

/// Returns `base` with `over` laid on top: maps merge key by key, first the keys of `base` in their order; lists and
/// scalars replace whole; `!unset` takes the key away. Every node keeps its own place, a merged map that of `over`.
pub(crate) fn merge(base: &Node, over: &Node) -> Node {
    let Value::Map(above) = &over.value else { return over.clone() };
    let mut added: HashMap<&str, &Node> = above.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for (key, below) in base.entries() {
        match added.remove(key.text.as_str()) {
            None => entries.push((key.clone(), below.clone())),
            Some(node) if node.is_unset() => {}
            Some(node) => entries.push((key.clone(), merge(below, node))),
        }
    }
    // A new map has nothing to take away from, but is merged too: no `!unset` may stay in it.
    let nothing = Node { mark: over.mark.clone(), value: Value::Map(Vec::new()) };
    for (key, node) in above {
        if added.contains_key(key.text.as_str()) && !node.is_unset() {
            entries.push((key.clone(), merge(&nothing, node)));
        }
    }
    Node { mark: over.mark.clone(), value: Value::Map(entries) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml::parse;

    fn merged(base: &str, over: &str) -> Node {
        merge(&parse("base.yaml", base).unwrap(), &parse("over.yaml", over).unwrap())
    }

    #[test]
    fn maps_merge_and_everything_else_is_replaced() {
        let node = merged("a: {b: 1, c: [1, 2]}\nd: x\n", "d: {e: y}\na: {c: [3], f: z}\n");
        assert_eq!(node.to_json(), json!({"a": {"b": 1, "c": [3], "f": "z"}, "d": {"e": "y"}}));
    }

    #[test]
    fn keys_of_the_base_come_first_in_their_order() {
        let node = merged("z: 1\nb: 2\n", "y: 3\nb: 4\na: 5\n");
        let keys: Vec<&str> = node.entries().iter().map(|(key, _)| key.text.as_str()).collect();
        assert_eq!(keys, ["z", "b", "y", "a"]);
    }

    #[test]
    fn unset_takes_a_key_away() {
        let node =
            merged("a: 1\nb: {c: 2, d: 3}\n", "a: !unset\nb: {c: \"!unset\", e: !unset}\nf: {g: !unset}\nh: !unset\n");
        assert_eq!(node.to_json(), json!({"b": {"d": 3}, "f": {}}));
    }

    #[test]
    fn unset_below_a_value_that_was_no_map_is_taken_away_too() {
        assert_eq!(merged("a: 1\n", "a: {b: !unset, c: 2}\n").to_json(), json!({"a": {"c": 2}}));
    }

    #[test]
    fn a_merged_node_keeps_the_place_in_its_own_file() {
        let node = merged("a: 1\nb: 2\n", "\n\nb: 3\n");
        let place = |key| format!("{:?}", node.get(key).unwrap().mark);
        assert_eq!(place("a"), "base.yaml:1:4");
        assert_eq!(place("b"), "over.yaml:3:4");
        let error = node.read::<std::collections::BTreeMap<String, bool>>().unwrap_err();
        assert!(error.message.starts_with("base.yaml:1:4: "), "{error}");
    }

    #[test]
    fn a_path_leads_to_the_key_or_the_value() {
        let node = parse("f.yaml", "streams:\n  - key: id\n    fields: {a: b}\n").unwrap();
        let place = |path: &[&str], part| {
            let place = node.error_at(path, part, "yaml_value", "x").place.unwrap();
            (place.line, place.column)
        };
        assert_eq!(place(&["streams", "0", "fields", "a"], Part::Key), (3, 14));
        assert_eq!(place(&["streams", "0", "fields", "a"], Part::Value), (3, 17));
        assert_eq!(place(&["streams", "0"], Part::Key), (2, 5));
        assert_eq!(place(&["streams"], Part::Key), (1, 1));
    }

    #[test]
    fn a_path_that_does_not_exist_leads_to_its_nearest_ancestor() {
        let node = parse("f.yaml", "a:\n  b: 1\n").unwrap();
        let place = |path: &[&str]| node.error_at(path, Part::Key, "yaml_value", "x").place.unwrap();
        assert_eq!(place(&["a", "x", "y"]).line, 1);
        assert_eq!(place(&["a", "b", "y"]).line, 2);
        assert_eq!(place(&[]).line, 1);
    }

    #[test]
    fn untyped_json_keeps_what_was_written() {
        let node =
            parse("f.yaml", "{a: NO, b: 0123, c: 1.10, d: 12345678901234567890123, e: 3, f: 1.5, g: null, h: '3'}");
        assert_eq!(
            node.unwrap().to_json(),
            json!({"a": "NO", "b": "0123", "c": "1.10", "d": "12345678901234567890123", "e": 3, "f": 1.5, "g": null, "h": "3"})
        );
    }
}
