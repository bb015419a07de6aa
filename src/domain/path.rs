//! Paths take a value out of a JSON document: `paging.next.after`, `results[]`, `custom["a.b"]`, `[0].message`.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A parsed path. A trailing `[]` says that the value is an array of records; the empty path is the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Path {
    pub(crate) steps: Vec<Step>,
    pub(crate) array: bool,
}

impl Path {
    /// Returns the path below `self`.
    pub(crate) fn join(&self, below: &Path) -> Self {
        Path { steps: self.steps.iter().chain(&below.steps).cloned().collect(), array: below.array }
    }

    /// Returns what is left of the path below `root`, if it is below it.
    pub(crate) fn below(&self, root: &Path) -> Option<Path> {
        let steps = self.steps.strip_prefix(root.steps.as_slice())?;
        (!steps.is_empty()).then(|| Path { steps: steps.to_vec(), array: self.array })
    }

    /// Takes the value out of a parsed document.
    pub(crate) fn find<'v>(&self, document: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.steps.iter().try_fold(document, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` is not a path: {why}", text.escape_debug());
        let mut path = Path::default();
        let mut rest = text;
        while !rest.is_empty() {
            if path.array {
                return Err(wrong("`[]` stands at its end only"));
            }
            if let Some(inner) = rest.strip_prefix("[\"") {
                let end = inner.find("\"]").ok_or_else(|| wrong("`[\"` is never closed"))?;
                path.steps.push(Step::Key(inner[..end].to_owned()));
                rest = &inner[end + 2..];
            } else if let Some(inner) = rest.strip_prefix('[') {
                let end = inner.find(']').ok_or_else(|| wrong("`[` is never closed"))?;
                match &inner[..end] {
                    "" => path.array = true,
                    digits => {
                        path.steps.push(Step::Index(digits.parse().map_err(|_| wrong("an index is a whole number"))?))
                    }
                }
                rest = &inner[end + 1..];
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end == 0 {
                    return Err(wrong("a key is missing between two dots"));
                }
                path.steps.push(Step::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            if let Some(inner) = rest.strip_prefix('.') {
                if inner.is_empty() {
                    return Err(wrong("it ends with a dot"));
                }
                rest = inner;
            }
        }
        Ok(path)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '"']) => write!(f, "[\"{key}\"]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if self.array { f.write_str("[]") } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Many paths as one tree, so that one pass over a document takes all of their values out of it.
///
/// Values stay text of the document (`RawValue`): digits keep their exact form and nothing is allocated for what is
/// not asked for. Of a key that stands twice the last one wins, as in `serde_json`.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    root: Branch,
    paths: usize,
}

#[derive(Debug, Default)]
struct Branch {
    slots: Vec<usize>,
    /// Whether the items of the list here are wanted one by one.
    is_list: bool,
    keys: Vec<(String, Branch)>,
    indexes: Vec<(usize, Branch)>,
}

impl Projection {
    /// Adds a path and returns the slot its value will be in.
    pub(crate) fn add(&mut self, path: &Path) -> usize {
        let next = self.paths;
        let branch = self.branch(path);
        if let Some(slot) = branch.slots.first() {
            return *slot;
        }
        branch.slots.push(next);
        self.paths += 1;
        next
    }

    fn branch(&mut self, path: &Path) -> &mut Branch {
        let mut branch = &mut self.root;
        for step in &path.steps {
            branch = match step {
                Step::Key(key) => child(&mut branch.keys, key),
                Step::Index(index) => child(&mut branch.indexes, index),
            };
        }
        branch
    }

    /// Takes the values out of a document, and the items of the list at `list`, in one pass over it. `None` for the items
    /// says that there is no list at that place.
    pub(crate) fn take_with_items<'a>(
        &mut self,
        list: &Path,
        json: &'a str,
        values: &mut Vec<Option<&'a RawValue>>,
    ) -> Result<Option<Vec<&'a RawValue>>, serde_json::Error> {
        self.branch(list).is_list = true;
        values.clear();
        values.resize(self.paths, None);
        let mut items = None;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        BranchSeed { branch: &self.root, values, items: &mut items, twice: &mut 0 }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(items)
    }

    /// Takes the values out of a document; absent ones are `None`. `values` is cleared first and can be reused. Returns how
    /// many of the values stood twice.
    pub(crate) fn take<'a>(
        &self,
        json: &'a str,
        values: &mut Vec<Option<&'a RawValue>>,
    ) -> Result<u64, serde_json::Error> {
        values.clear();
        values.resize(self.paths, None);
        let mut twice = 0;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        BranchSeed { branch: &self.root, values, items: &mut None, twice: &mut twice }
            .deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(twice)
    }
}

fn child<'b, K: PartialEq + Clone>(children: &'b mut Vec<(K, Branch)>, key: &K) -> &'b mut Branch {
    let position = children.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
        children.push((key.clone(), Branch::default()));
        children.len() - 1
    });
    &mut children[position].1
}

struct BranchSeed<'p, 'v, 'a> {
    branch: &'p Branch,
    values: &'v mut Vec<Option<&'a RawValue>>,
    items: &'v mut Option<Vec<&'a RawValue>>,
    twice: &'v mut u64,
}

impl<'a> DeserializeSeed<'a> for BranchSeed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let BranchSeed { branch, values, items, twice } = self;
        if branch.slots.is_empty() {
            return deserializer.deserialize_any(BranchVisitor { branch, values, items, twice });
        }
        let raw = <&'a RawValue>::deserialize(deserializer)?;
        for slot in &branch.slots {
            *twice += u64::from(values[*slot].replace(raw).is_some());
        }
        if branch.keys.is_empty() && branch.indexes.is_empty() {
            return Ok(());
        }
        // A path that ends here and others that go on: the value is read twice, which only odd mappings ask for.
        let mut inner = serde_json::Deserializer::from_str(raw.get());
        serde::Deserializer::deserialize_any(&mut inner, BranchVisitor { branch, values, items, twice })
            .map_err(D::Error::custom)
    }
}

struct BranchVisitor<'p, 'v, 'a> {
    branch: &'p Branch,
    values: &'v mut Vec<Option<&'a RawValue>>,
    items: &'v mut Option<Vec<&'a RawValue>>,
    twice: &'v mut u64,
}

impl<'a> Visitor<'a> for BranchVisitor<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let BranchVisitor { branch, values, items, twice } = self;
        while let Some(key) = map.next_key_seed(KeySeed(&branch.keys))? {
            match key {
                Some(position) => map.next_value_seed(BranchSeed {
                    branch: &branch.keys[position].1,
                    values: &mut *values,
                    items: &mut *items,
                    twice: &mut *twice,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let BranchVisitor { branch, values, items, twice } = self;
        if branch.is_list {
            let mut all = Vec::new();
            while let Some(item) = seq.next_element()? {
                all.push(item);
            }
            *items = Some(all);
            return Ok(());
        }
        let mut index = 0;
        loop {
            let more = match branch.indexes.iter().find(|(known, _)| *known == index) {
                Some((_, below)) => seq
                    .next_element_seed(BranchSeed {
                        branch: below,
                        values: &mut *values,
                        items: &mut *items,
                        twice: &mut *twice,
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Compares a key with the wanted ones without making it a string of its own.
struct KeySeed<'p>(&'p [(String, Branch)]);

impl<'a> DeserializeSeed<'a> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|(known, _)| known == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn paths_print_as_they_were_written() {
        for text in ["", "a", "a.b", "results[]", "[]", "a[\"x.y\"].b", "[0].message", "a[2]"] {
            assert_eq!(path(text).to_string(), text);
        }
        for bad in ["a..b", ".a", "a.", "a[", "a[\"b", "a[x]", "a[].b"] {
            assert!(bad.parse::<Path>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_pass_takes_all_values_with_their_digits() {
        let mut projection = Projection::default();
        let id = projection.add(&path("id"));
        let name = projection.add(&path("properties.name"));
        let second = projection.add(&path("tags[1]"));
        let missing = projection.add(&path("properties.none.deeper"));
        assert_eq!(projection.add(&path("id")), id);
        let mut values = Vec::new();
        let json =
            r#"{"id":12345678901234567890123,"x":[{}],"properties":{"name":"Zo\u00eb","n":1.10},"tags":["a",0.10]}"#;
        projection.take(json, &mut values).unwrap();
        let text = |slot: usize| values[slot].map(RawValue::get);
        assert_eq!(text(id), Some("12345678901234567890123"));
        assert_eq!(text(name), Some(r#""Zo\u00eb""#));
        assert_eq!(text(second), Some("0.10"));
        assert_eq!(text(missing), None);
    }

    #[test]
    fn a_value_and_what_is_below_it_can_both_be_taken() {
        let mut projection = Projection::default();
        let whole = projection.add(&path("a"));
        let part = projection.add(&path("a.b"));
        let mut values = Vec::new();
        projection.take(r#"{"a":{"b":7}}"#, &mut values).unwrap();
        assert_eq!(values[whole].unwrap().get(), r#"{"b":7}"#);
        assert_eq!(values[part].unwrap().get(), "7");
        projection.take(r#"{"a":3}"#, &mut values).unwrap();
        assert_eq!((values[whole].unwrap().get(), values[part].is_none()), ("3", true));
    }

    #[test]
    fn items_of_a_list_come_out_in_the_same_pass() {
        let mut projection = Projection::default();
        let next = projection.add(&path("paging.next"));
        let mut values = Vec::new();
        let json = r#"{"results":[{"id":1}, "x"],"paging":{"next":"n"}}"#;
        let items = projection.take_with_items(&path("results[]"), json, &mut values).unwrap().unwrap();
        assert_eq!(items.iter().map(|item| item.get()).collect::<Vec<_>>(), [r#"{"id":1}"#, r#""x""#]);
        assert_eq!(values[next].unwrap().get(), r#""n""#);
        for other in [r#"{"results":{}}"#, r#"{"error":1}"#, "[]"] {
            assert!(projection.take_with_items(&path("results[]"), other, &mut values).unwrap().is_none(), "{other}");
        }
        assert_eq!(Projection::default().take_with_items(&path("[]"), "[1]", &mut values).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_and_broken_json_is_an_error() {
        let mut projection = Projection::default();
        let a = projection.add(&path("a"));
        let mut values = Vec::new();
        assert_eq!(projection.take(r#"{"a":1,"a":2}"#, &mut values).unwrap(), 1);
        assert_eq!(values[a].unwrap().get(), "2");
        assert!(projection.take(r#"{"a":1"#, &mut values).is_err());
        assert!(projection.take(r#"{"a":1} x"#, &mut values).is_err());
    }
}
