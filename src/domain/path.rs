//! Paths take a value out of a JSON document: `paging.next.after`, `results[]`, `custom["a.b"]`, `[0].message`.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::counted::Counted;

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
                if rest[..end].contains([']', '"']) {
                    return Err(wrong("a key with `]` or `\"` in it is written `[\"KEY\"]`"));
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

/// Where a value stands in the text of its document. Values stay that text: digits keep their exact form, and nothing is
/// copied for what is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    from: usize,
    to: usize,
}

impl Span {
    /// A value that is not there.
    pub(crate) const ABSENT: Span = Span { from: 0, to: 0 };

    pub(crate) fn new(from: usize, to: usize) -> Self {
        Span { from, to }
    }

    /// Returns the place of the value in a text that has the document at `by`.
    fn moved(self, by: usize) -> Self {
        if self.is_there() { Span { from: self.from + by, to: self.to + by } } else { self }
    }

    /// Returns whether there is a value. No value of JSON is empty.
    pub(crate) fn is_there(self) -> bool {
        self.to > self.from
    }

    pub(crate) fn from(self) -> usize {
        self.from
    }

    pub(crate) fn to(self) -> usize {
        self.to
    }

    /// Returns the place of the value in a part of the document that begins at `start`, without what a stream has read on
    /// either side of it.
    pub(crate) fn in_part(self, start: usize, part: &str) -> Self {
        let place = Span { from: self.from.saturating_sub(start), to: self.to.saturating_sub(start) };
        let text = place.of(part).unwrap_or_default();
        let value = text.trim_start_matches(|c: char| c == ':' || c.is_ascii_whitespace());
        let from = place.from + text.len() - value.len();
        // A number ends where something else begins, and that has been read too.
        let number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let to = match value.find(|c| !number(c)) {
            Some(end) if end > 0 => from + end,
            _ => place.to,
        };
        Span { from, to }
    }

    /// Returns the value as JSON, out of the document it was found in.
    pub(crate) fn of(self, document: &str) -> Option<&str> {
        self.is_there().then(|| &document[self.from..self.to])
    }
}

/// Many paths as one tree, so that one pass over a document takes all of their values out of it.
///
/// Of a key that stands twice the last one wins, as in `serde_json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection {
    root: Branch,
    paths: usize,
}

#[derive(Debug, Clone, Default)]
struct Branch {
    slots: Vec<usize>,
    /// Whether the list here is the one whose items are wanted one by one.
    is_list: bool,
    keys: Vec<(String, Branch)>,
    indexes: Vec<(usize, Branch)>,
}

/// What one pass over a document takes out of each item of its list.
#[derive(Debug)]
pub(crate) struct Items<'p> {
    of: &'p Projection,
    /// The values of all items one after the other, as many for each as there are slots. Items are counted apart, as there
    /// may be no slots.
    pub(crate) values: Vec<Span>,
    pub(crate) count: usize,
    /// How many of the values stood twice in their item.
    pub(crate) twice: u64,
    found: bool,
}

impl<'p> Items<'p> {
    pub(crate) fn new(of: &'p Projection) -> Self {
        Items { of, values: Vec::new(), count: 0, twice: 0, found: false }
    }

    /// Takes the values out of items that were found in whole, each by itself. One that cannot be read has none.
    pub(crate) fn taken_apart<'w>(&self, json: &str, wanted: &'w Projection) -> Items<'w> {
        let mut items = Items { count: self.count, found: self.found, ..Items::new(wanted) };
        for whole in &self.values {
            items.twice += wanted.take_at(*whole, json, &mut items.values);
        }
        items
    }
}

impl Projection {
    /// Returns the projection whose one value is the document itself.
    pub(crate) fn whole() -> Self {
        let mut whole = Projection::default();
        whole.add(&Path::default());
        whole
    }

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

    /// Returns how many values there are for each document.
    pub(crate) fn slots(&self) -> usize {
        self.paths
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

    /// Takes the values out of a document, and those of each item of the list at `list`, in one pass over it. Returns false
    /// if there is no list at that place.
    pub(crate) fn take_with_items(
        &mut self,
        list: &Path,
        json: &str,
        values: &mut Vec<Span>,
        items: &mut Items<'_>,
    ) -> Result<bool, serde_json::Error> {
        self.branch(list).is_list = true;
        self.pass(json, values, Some(items))?;
        Ok(items.found)
    }

    /// Does the same with a document that is read from a stream, of which `place` bytes were read before. Spans are places in
    /// the stream, and may hold a byte too many on either side: `Span::in_part` drops them.
    pub(crate) fn take_from(
        &mut self,
        list: &Path,
        (stream, place): (impl Read, usize),
        values: &mut Vec<Span>,
        items: &mut Items<'_>,
    ) -> Result<bool, serde_json::Error> {
        self.branch(list).is_list = true;
        values.clear();
        values.resize(self.paths, Span::ABSENT);
        let place = Cell::new(place);
        let mut deserializer = serde_json::Deserializer::from_reader(Counted::new(stream, &place));
        let mut taken = Taken { at: At::Stream(&place), values, items: Some(&mut *items), twice: 0 };
        BranchSeed { branch: &self.root, taken: &mut taken }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(items.found)
    }

    /// Takes the values out of a document. `values` is cleared first and can be reused. Returns how many of the values stood
    /// twice.
    pub(crate) fn take(&self, json: &str, values: &mut Vec<Span>) -> Result<u64, serde_json::Error> {
        self.pass(json, values, None)
    }

    /// Takes the values out of a document inside of another text and puts them, by their place in that text, behind those
    /// that are there. One that cannot be read has none. Returns how many of the values stood twice.
    pub(crate) fn take_at(&self, document: Span, text: &str, values: &mut Vec<Span>) -> u64 {
        let mut own = Vec::with_capacity(self.paths);
        let twice = self.take(document.of(text).unwrap_or_default(), &mut own).unwrap_or_else(|_| {
            own.fill(Span::ABSENT);
            0
        });
        values.extend(own.iter().map(|value| value.moved(document.from)));
        twice
    }

    fn pass(
        &self,
        json: &str,
        values: &mut Vec<Span>,
        items: Option<&mut Items<'_>>,
    ) -> Result<u64, serde_json::Error> {
        values.clear();
        values.resize(self.paths, Span::ABSENT);
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let mut taken = Taken { at: At::Memory(json.as_ptr() as usize), values, items, twice: 0 };
        BranchSeed { branch: &self.root, taken: &mut taken }.deserialize(&mut deserializer)?;
        let twice = taken.twice;
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

/// Where a pass stands.
#[derive(Clone, Copy)]
enum At<'c> {
    /// The address of the document.
    Memory(usize),
    /// How many bytes of the stream have been read.
    Stream(&'c Cell<usize>),
}

impl At<'_> {
    /// Reads over a value and returns where it stands, and its text if that is at hand.
    fn pass<'a, D: Deserializer<'a>>(self, deserializer: D) -> Result<(Span, Option<&'a str>), D::Error> {
        match self {
            At::Memory(start) => {
                let json = <&'a RawValue>::deserialize(deserializer)?.get();
                let from = json.as_ptr() as usize - start;
                Ok((Span { from, to: from + json.len() }, Some(json)))
            }
            At::Stream(place) => {
                // Of an item of a list the first byte has been looked at.
                let from = place.get().saturating_sub(1);
                IgnoredAny::deserialize(deserializer)?;
                Ok((Span { from, to: place.get() }, None))
            }
        }
    }
}

/// What a pass has found so far.
struct Taken<'v, 'p> {
    at: At<'v>,
    values: &'v mut [Span],
    items: Option<&'v mut Items<'p>>,
    /// How many of the values were found a second time.
    twice: u64,
}

impl Taken<'_, '_> {
    /// Forgets what was found below a branch: its key stands there again.
    fn forget(&mut self, branch: &Branch) {
        for slot in &branch.slots {
            self.twice += u64::from(self.values[*slot].is_there());
            self.values[*slot] = Span::ABSENT;
        }
        if branch.is_list
            && let Some(items) = &mut self.items
        {
            items.values.clear();
            (items.count, items.found) = (0, false);
        }
        let below = branch.keys.iter().map(|(_, below)| below).chain(branch.indexes.iter().map(|(_, below)| below));
        below.for_each(|below| self.forget(below));
    }
}

struct BranchSeed<'p, 't, 'v, 'i> {
    branch: &'p Branch,
    taken: &'t mut Taken<'v, 'i>,
}

impl<'a> DeserializeSeed<'a> for BranchSeed<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let BranchSeed { branch, taken } = self;
        let goes_on = branch.is_list || !branch.keys.is_empty() || !branch.indexes.is_empty();
        // What has gone by in a stream cannot be read twice: there the way to the records goes first.
        if branch.slots.is_empty() || (goes_on && matches!(taken.at, At::Stream(_))) {
            return deserializer.deserialize_any(BranchVisitor { branch, taken });
        }
        let (span, text) = taken.at.pass(deserializer)?;
        for slot in &branch.slots {
            taken.values[*slot] = span;
        }
        let Some(text) = text.filter(|_| goes_on) else { return Ok(()) };
        // A path that ends here and others that go on: the value is read twice, which only odd mappings ask for.
        let mut inner = serde_json::Deserializer::from_str(text);
        serde::Deserializer::deserialize_any(&mut inner, BranchVisitor { branch, taken }).map_err(D::Error::custom)
    }
}

struct BranchVisitor<'p, 't, 'v, 'i> {
    branch: &'p Branch,
    taken: &'t mut Taken<'v, 'i>,
}

impl<'a> Visitor<'a> for BranchVisitor<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let BranchVisitor { branch, taken } = self;
        // Bits of the keys that were met; those beyond 64 are forgotten each time, which costs little.
        let mut met = 0_u64;
        while let Some(key) = map.next_key_seed(KeySeed(&branch.keys))? {
            let Some(position) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let below = &branch.keys[position].1;
            let bit = u32::try_from(position).ok().and_then(|position| 1_u64.checked_shl(position));
            if bit.is_none_or(|bit| met & bit != 0) {
                taken.forget(below);
            }
            met |= bit.unwrap_or(0);
            map.next_value_seed(BranchSeed { branch: below, taken: &mut *taken })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let BranchVisitor { branch, taken } = self;
        if branch.is_list
            && let Some(items) = taken.items.as_deref_mut()
        {
            return items.take(seq, taken.at);
        }
        let mut index = 0;
        loop {
            let more = match branch.indexes.iter().find(|(known, _)| *known == index) {
                Some((_, below)) => seq.next_element_seed(BranchSeed { branch: below, taken: &mut *taken })?.is_some(),
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

impl Items<'_> {
    /// Takes the values of each item out of the list.
    fn take<'a, A: SeqAccess<'a>>(&mut self, mut seq: A, at: At<'_>) -> Result<(), A::Error> {
        self.found = true;
        loop {
            let from = self.values.len();
            self.values.resize(from + self.of.paths, Span::ABSENT);
            let mut taken = Taken { at, values: &mut self.values[from..], items: None, twice: 0 };
            if seq.next_element_seed(BranchSeed { branch: &self.of.root, taken: &mut taken })?.is_none() {
                self.values.truncate(from);
                return Ok(());
            }
            self.twice += taken.twice;
            self.count += 1;
        }
    }
}

/// Compares a key with the wanted ones without making it a string of its own.
struct KeySeed<'p>(&'p [(String, Branch)]);

impl<'a> DeserializeSeed<'a> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // As bytes, which half of a surrogate pair cannot spoil.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|(known, _)| known.as_bytes() == key))
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
        for text in ["", "a", "a.b", "results[]", "[]", "a[\"x.y\"].b", "[0].message", "a[2]", "[\"a]\"\"]"] {
            assert_eq!(path(text).to_string(), text);
        }
        for bad in ["a..b", ".a", "a.", "a[", "a[\"b", "a[x]", "a[].b", "x\"]y", "a]"] {
            assert!(bad.parse::<Path>().is_err(), "{bad}");
        }
    }

    /// Returns the values of a document by slot, as JSON.
    fn taken<'j>(projection: &Projection, json: &'j str) -> Vec<Option<&'j str>> {
        let mut values = Vec::new();
        projection.take(json, &mut values).unwrap();
        values.into_iter().map(|value| value.of(json)).collect()
    }

    #[test]
    fn one_pass_takes_all_values_with_their_digits() {
        let mut projection = Projection::default();
        let id = projection.add(&path("id"));
        let name = projection.add(&path("properties.name"));
        let second = projection.add(&path("tags[1]"));
        let missing = projection.add(&path("properties.none.deeper"));
        assert_eq!(projection.add(&path("id")), id);
        let json =
            r#"{"id":12345678901234567890123,"x":[{}],"properties":{"name":"Zo\u00eb","n":1.10},"tags":["a",0.10]}"#;
        let values = taken(&projection, json);
        assert_eq!(values[id], Some("12345678901234567890123"));
        assert_eq!(values[name], Some(r#""Zo\u00eb""#));
        assert_eq!(values[second], Some("0.10"));
        assert_eq!(values[missing], None);
    }

    #[test]
    fn a_value_and_what_is_below_it_can_both_be_taken() {
        let mut projection = Projection::default();
        let whole = projection.add(&path("a"));
        let part = projection.add(&path("a.b"));
        let values = taken(&projection, r#"{"a":{"b":7}}"#);
        assert_eq!((values[whole], values[part]), (Some(r#"{"b":7}"#), Some("7")));
        let values = taken(&projection, r#"{"a":3}"#);
        assert_eq!((values[whole], values[part]), (Some("3"), None));
    }

    type Values<'j> = Vec<Option<&'j str>>;

    /// Returns the values of the records, and the next position, that one pass over a page finds.
    fn page<'j>(
        list: &str,
        json: &'j str,
        next: Option<&str>,
        of: &Projection,
    ) -> Option<(Vec<Values<'j>>, Option<&'j str>)> {
        let mut projection = Projection::default();
        let next = next.map(|next| projection.add(&path(next)));
        let (mut values, mut items) = (Vec::new(), Items::new(of));
        let found = projection.take_with_items(&path(list), json, &mut values, &mut items).unwrap();
        let each = items.values.chunks(of.slots().max(1));
        let each: Vec<Values<'_>> = each.map(|item| item.iter().map(|value| value.of(json)).collect()).collect();
        assert!(of.slots() == 0 || each.len() == items.count);
        found.then(|| (each, next.and_then(|next| values[next].of(json))))
    }

    #[test]
    fn the_items_of_a_list_are_read_in_the_same_pass() {
        let mut of = Projection::default();
        of.add(&path("id"));
        of.add(&path("p.q"));
        let json = r#"{"results":[{"id":1,"p":{"q":"x"}}, "x", {"p":[{"q":1}]}],"paging":{"next":"n"}}"#;
        let (items, next) = page("results[]", json, Some("paging.next"), &of).unwrap();
        assert_eq!(items, [vec![Some("1"), Some(r#""x""#)], vec![None, None], vec![None, None]]);
        assert_eq!(next, Some(r#""n""#));
        for other in [r#"{"results":{}}"#, r#"{"error":1}"#, "[]"] {
            assert!(page("results[]", other, None, &of).is_none(), "{other}");
        }
        assert_eq!(page("[]", "[1]", None, &Projection::default()).unwrap().0.len(), 0);
        let again = r#"{"results":[{"id":1}],"results":[{"id":2}]}"#;
        assert_eq!(page("results[]", again, None, &of).unwrap().0, [[Some("2"), None]]);
        assert!(page("results[]", r#"{"results":[{"id":1}],"results":{}}"#, None, &of).is_none());
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_and_broken_json_is_an_error() {
        let mut projection = Projection::default();
        let a = projection.add(&path("a"));
        assert_eq!(taken(&projection, r#"{"a":1,"a":2}"#)[a], Some("2"));
        assert_eq!(taken(&projection, r#"{"a":1,"\u0061":2,"\ud800":3}"#)[a], Some("2"));
        assert!(projection.take(r#"{"a":1"#, &mut Vec::new()).is_err());
        assert!(projection.take(r#"{"a":1} x"#, &mut Vec::new()).is_err());
        let mut projection = Projection::default();
        let b = projection.add(&path("a.b"));
        assert_eq!(taken(&projection, r#"{"a":{"b":1},"a":{"c":2}}"#)[b], None);
    }

    proptest::proptest! {
        #[test]
        fn one_pass_over_a_page_finds_what_a_pass_over_each_record_does(
            records in proptest::collection::vec(odd(), 0..6),
            before in odd(),
        ) {
            let paths = ["id", "a", "a.b", "a[1]", "b.a.c", "c[0].a", "\u{e9}\"k", "b"];
            let mut of = Projection::default();
            for each in paths {
                of.add(&each.parse().unwrap_or_else(|_| Path { steps: vec![Step::Key(each.into())], array: false }));
            }
            let json = format!("{{\"x\":{before}, \"results\" : [{}], \"next\":7}}", records.join(" ,"));
            let (items, next) = page("results[]", &json, Some("next"), &of).unwrap();
            proptest::prop_assert_eq!(next, Some("7"));
            let each: Vec<Values<'_>> = records.iter().map(|record| taken(&of, record)).collect();
            proptest::prop_assert_eq!(&items, &each);
            for (record, values) in records.iter().zip(&each) {
                let whole: serde_json::Value = serde_json::from_str(record).unwrap();
                for (text, value) in paths.iter().zip(values) {
                    let Ok(path) = text.parse::<Path>() else { continue };
                    let value = value.map(|value| serde_json::from_str::<serde_json::Value>(value).unwrap());
                    proptest::prop_assert_eq!(path.find(&whole), value.as_ref(), "{} of {}", text, record);
                }
            }
            let (whole, mut values) = (Projection::whole(), Vec::new());
            let mut apart = Items::new(&whole);
            let mut streamed = Projection::default();
            let next = streamed.add(&path("next"));
            let stream = (json.as_bytes(), 0);
            proptest::prop_assert!(streamed.take_from(&path("results[]"), stream, &mut values, &mut apart).unwrap());
            let of_part = |span: &Span| span.in_part(0, &json).of(&json).unwrap();
            proptest::prop_assert_eq!(of_part(&values[next]), "7");
            let streamed: Vec<&str> = apart.values.iter().map(of_part).collect();
            proptest::prop_assert_eq!(streamed, records.iter().map(|record| record.trim()).collect::<Vec<_>>());
            for end in 0..json.len() {
                let (mut values, mut items) = (Vec::new(), Items::new(&of));
                if let Some(cut) = json.get(..end) {
                    let cut = Projection::default().take_with_items(&path("results[]"), cut, &mut values, &mut items);
                    proptest::prop_assert!(cut.is_err());
                }
            }
        }
    }

    /// Makes JSON with spaces, escapes, and keys that stand twice.
    fn odd() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just(" true ".to_owned()),
            Just("-0.10e+3".to_owned()),
            Just("12345678901234567890123".to_owned()),
            Just("\"\"".to_owned()),
            Just(r#""a\"],}\\\u00e9""#.to_owned()),
            "[a-z\u{e9}\u{1f600}]{0,4}".prop_map(|text| format!("\"{text}\"")),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof!["id", "a", "b", "c", r"\\u0061", "\u{e9}\\\\\"k", "x"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,\t"))),
                proptest::collection::vec((key, inner), 0..5).prop_map(|entries| {
                    let entries: Vec<String> =
                        entries.iter().map(|(key, value)| format!("\"{key}\" :\n{value}")).collect();
                    format!("{{{}}}", entries.join(", "))
                }),
            ]
        })
    }
}
