//! Documents for programs: JSON, JSON lines, YAML and CSV, whole or by chosen fields.

use std::borrow::Cow;

use anyhow::{Context, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::names::is_hidden;
use crate::error::{Exit, UserError, nearest};

/// A single thing as one document: its kind, then its own fields.
#[derive(Serialize)]
pub(super) struct OneDocument<'a, T> {
    pub kind: &'a str,
    pub v: u8,
    #[serde(flatten)]
    pub object: &'a T,
}

/// An object's fields in their order, each value as the JSON text it was written as, so that no digit is lost.
#[derive(Debug, Clone)]
pub(super) struct Fields<'j>(Vec<(Cow<'j, str>, &'j RawValue)>);

impl<'j> Fields<'j> {
    /// Returns the fields of an object.
    pub(super) fn of(json: &'j str) -> Result<Fields<'j>> {
        serde_json::from_str(json).context("taking a value apart into fields")
    }

    /// Returns a field as plain text: a string without quotes, `null` as nothing, the rest as JSON.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'j, str>> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| plain(value))
    }

    /// Returns the value of a field, which is most likely at this place.
    fn value(&self, place: usize, name: &str) -> Option<&'j RawValue> {
        let found = self.0.get(place).filter(|(field, _)| field == name);
        found.or_else(|| self.0.iter().find(|(field, _)| field == name)).map(|(_, value)| *value)
    }

    /// Returns the chosen fields in the order they were asked for; `known` has been checked to hold them.
    fn chosen(&self, wanted: &[String]) -> Fields<'j> {
        let of = |(place, name): (usize, &String)| {
            (Cow::Owned(name.clone()), self.value(place, name).unwrap_or(RawValue::NULL))
        };
        Fields(wanted.iter().enumerate().map(of).collect())
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The name of a field, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'j>(#[serde(borrow)] Cow<'j, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Things taken apart into fields, with the names of the fields to show, in order.
pub(super) struct Selection<'j> {
    pub names: Vec<String>,
    pub rows: Vec<Fields<'j>>,
}

impl<'j> Selection<'j> {
    /// Returns the wanted fields of all items, or all their fields; an unknown name is an error.
    pub(super) fn of(kind: &str, items: &'j [String], wanted: Option<&[String]>) -> Result<Selection<'j>> {
        let rows: Vec<Fields<'j>> = items.iter().map(|item| Fields::of(item)).collect::<Result<_>>()?;
        let mut known: Vec<String> = Vec::new();
        for row in &rows {
            for (place, (name, _)) in row.0.iter().enumerate() {
                if known.get(place).is_none_or(|known| known != name) && !known.iter().any(|known| known == name) {
                    known.push(name.clone().into_owned());
                }
            }
        }
        let Some(wanted) = wanted else { return Ok(Selection { names: known, rows }) };
        // Without an item nothing tells which fields there are.
        if !rows.is_empty() {
            check(kind, wanted, &known)?;
        }
        Ok(Selection { names: wanted.to_vec(), rows: rows.iter().map(|row| row.chosen(wanted)).collect() })
    }

    /// Returns the values row by row as plain text.
    pub(super) fn texts(&self) -> impl Iterator<Item = Vec<String>> {
        self.rows
            .iter()
            .map(|row| self.names.iter().map(|name| row.text(name).unwrap_or_default().into_owned()).collect())
    }

    /// Returns the rows as CSV, under a header if wanted; `safe` makes a cell safe for where it goes, told whether it is a text: a
    /// number stays one.
    pub(super) fn csv(&self, header: bool, safe: impl Fn(&str, bool) -> String) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if header && !self.names.is_empty() {
            writer.write_record(self.names.iter().map(|name| safe(name, true)))?;
        }
        for row in &self.rows {
            for (place, name) in self.names.iter().enumerate() {
                let value = row.value(place, name).unwrap_or(RawValue::NULL);
                // A JSON number is a number for a spreadsheet too; only text can pretend to be a formula.
                writer.write_field(safe(&plain(value), value.get().starts_with('"')))?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(String::from_utf8(writer.into_inner().map_err(|error| error.into_error())?)?)
    }
}

/// Returns the text of a cell of CSV that does nothing to a spreadsheet or to a terminal that it is shown on later. Lines and tabs
/// in it stay; JSON stays the same document.
pub(super) fn harmless(text: &str, is_text: bool) -> String {
    if !is_text {
        return tame(text).into_owned();
    }
    let text = guarded(text);
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_line = matches!(c, '\n' | '\t') || (c == '\r' && rest.peek() == Some(&'\n'));
        if is_hidden(c) && !is_line {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns the text with a `'` before it where a spreadsheet would take it for a formula: by its first character, or the
/// first behind spaces and quotes, in whatever width it is written (as OWASP advises). A negative number is none.
fn guarded(text: &str) -> Cow<'_, str> {
    const SIGNS: [char; 11] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n'];
    let is_passed_over =
        |c: char| matches!(c, '"' | '\'') || (c.is_whitespace() && !SIGNS.contains(&c)) || is_unseen(c);
    let first = text.trim_start_matches(is_passed_over);
    if first.starts_with(SIGNS) && !is_negative(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// Returns whether a character is hidden, and no sign that CSV itself or a spreadsheet heeds.
fn is_unseen(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\t' | '\r' | '\n')
}

/// Returns whether a text is a plain negative number.
fn is_negative(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('-').is_some_and(|number| match number.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(number),
    })
}

/// Returns JSON that reads the same and does nothing to a terminal: what [`is_hidden`] in it is written `\u202e`. JSON
/// itself leaves all but the first 32 characters as they are, and none of these stands outside of a text.
pub(super) fn tame(json: &str) -> Cow<'_, str> {
    // Most is plain, which is quickly seen.
    if json.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(json);
    }
    let mut tame = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| tame += &format!("\\u{unit:04x}"));
        } else {
            tame.push(c);
        }
    }
    Cow::Owned(tame)
}

/// Returns a document as JSON and a newline, spread out for a person or on one line for a program.
pub(super) fn json(document: &impl Serialize, spread: bool) -> Result<String> {
    let text = serde_json::to_string(document).context("writing JSON")?;
    Ok(if spread { pretty(&text)? } else { text } + "\n")
}

/// Returns JSON spread out, each digit as it is.
pub(super) fn pretty(json: &str) -> Result<String> {
    serde_json::to_string_pretty(&Tree::of(json)?).context("writing JSON")
}

/// JSON with the order of its fields and the digits of its numbers kept; `serde_json::Value` sorts the ones and rounds the others.
pub(super) enum Tree<'j> {
    Scalar(&'j RawValue),
    List(Vec<Tree<'j>>),
    Map(Vec<(Cow<'j, str>, Tree<'j>)>),
}

impl<'j> Tree<'j> {
    /// Reads a document. The last of two fields of one name counts.
    pub(super) fn of(json: &'j str) -> Result<Tree<'j>> {
        Tree::read(serde_json::from_str(json)?)
    }

    fn read(json: &'j RawValue) -> Result<Tree<'j>> {
        let text = json.get();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let mut members: Vec<(Cow<'j, str>, Tree<'j>)> = Vec::new();
                for (name, value) in Fields::of(text)?.0 {
                    let value = Tree::read(value)?;
                    match members.iter_mut().find(|(known, _)| *known == name) {
                        Some(member) => member.1 = value,
                        None => members.push((name, value)),
                    }
                }
                Tree::Map(members)
            }
            Some(b'[') => {
                let items: Vec<&'j RawValue> = serde_json::from_str(text)?;
                Tree::List(items.into_iter().map(Tree::read).collect::<Result<_>>()?)
            }
            _ => Tree::Scalar(json),
        })
    }
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Scalar(value) => value.serialize(serializer),
            Tree::List(items) => serializer.collect_seq(items),
            Tree::Map(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// Returns the text of a JSON string, whole or as far as it can be read; any other value as it is.
pub(crate) fn text_of(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}

/// Returns a JSON value as plain text: a string without quotes, `null` as nothing, the rest as it is.
fn plain(value: &RawValue) -> Cow<'_, str> {
    if value.get() == "null" { Cow::Borrowed("") } else { text_of(value) }
}

/// Fails at the first wanted field that there is not.
fn check(kind: &str, wanted: &[String], known: &[String]) -> Result<(), UserError> {
    let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) else { return Ok(()) };
    let list = known.join(", ");
    let hint = match nearest(unknown, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? There are: {list}"),
        None => format!("there are: {list}"),
    };
    Err(UserError::new(Exit::Usage, "unknown_field", format!("`{kind}` has no field `{unknown}`")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Org {
        slug: &'static str,
        name: &'static str,
        records: i64,
        preset: Option<&'static str>,
        tags: Vec<&'static str>,
    }

    const ACME: Org = Org { slug: "acme", name: "Acme, \"the\" Ltd", records: -3, preset: None, tags: vec![] };

    fn texts<T: Serialize>(items: &[T]) -> Vec<String> {
        items.iter().map(|item| serde_json::to_string(item).unwrap()).collect()
    }

    fn wanted(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn kind_and_version_stand_first_and_fields_keep_their_order() {
        let one = json(&OneDocument { kind: "Org", v: 1, object: &ACME }, false).unwrap();
        assert_eq!(
            one,
            "{\"kind\":\"Org\",\"v\":1,\"slug\":\"acme\",\"name\":\"Acme, \\\"the\\\" Ltd\",\"records\":-3,\
             \"preset\":null,\"tags\":[]}\n"
        );
    }

    #[test]
    fn fields_select_and_order() {
        let items = texts(&[ACME]);
        let selection = Selection::of("Org", &items, Some(&wanted(&["records", "slug"]))).unwrap();
        assert_eq!(json(&selection.rows, false).unwrap(), "[{\"records\":-3,\"slug\":\"acme\"}]\n");
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_and_all_known() {
        let items = texts(&[ACME]);
        let error = Selection::of("Org", &items, Some(&wanted(&["recrods"]))).err().unwrap();
        let error = error.downcast_ref::<UserError>().unwrap();
        assert_eq!((error.code, error.exit), ("unknown_field", Exit::Usage));
        assert_eq!(error.message, "`Org` has no field `recrods`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `records`? There are: slug, name, records, preset, tags"));
    }

    #[test]
    fn csv_quotes_its_cells_and_leaves_numbers_alone() {
        let items = texts(&[ACME]);
        let selection = Selection::of("Org", &items, None).unwrap();
        assert_eq!(
            selection.csv(true, |text, _| text.to_owned()).unwrap(),
            "slug,name,records,preset,tags\nacme,\"Acme, \"\"the\"\" Ltd\",-3,,[]\n"
        );
    }

    #[test]
    fn a_cell_that_looks_like_a_formula_is_guarded() {
        for formula in [
            "=1+1",
            "+44 20",
            "-2+3",
            "@SUM(A1)",
            " =1",
            "\u{3000}=1",
            "\"=1",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}1",
            "\tx",
        ] {
            assert_eq!(harmless(formula, true), format!("'{formula}"));
        }
        for plain in ["-2", "a=b", "-1.50", "two\nlines", "two\r\nlines", "a\tb"] {
            assert_eq!(harmless(plain, true), plain);
        }
        assert_eq!(harmless("\rx", true), "'\\u{d}x");
        assert_eq!(harmless("\u{feff}=1", true), "'\\u{feff}=1");
    }

    #[test]
    fn no_cell_has_a_sign_that_is_not_seen() {
        for c in ('\0'..=char::MAX).filter(|c| is_hidden(*c) && !matches!(c, '\n' | '\t')) {
            let text = format!("a{c}b");
            assert!(harmless(&text, true).is_ascii() && !harmless(&text, true).contains(c), "{c:?}");
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<String>(&harmless(&json, false)).unwrap(), text);
            assert!(!harmless(&json, false).contains(c), "{c:?}");
        }
    }

    #[test]
    fn tamed_json_is_the_same_document() {
        let name = "a\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{e0041}é🚀\nb";
        let text = json(&serde_json::json!({ "name": name }), true).unwrap();
        let tamed = tame(&text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&tamed).unwrap()["name"], name);
        assert!(!tamed.chars().any(|c| c != '\n' && is_hidden(c)) && tamed.contains("é🚀"), "{tamed}");
    }

    #[test]
    fn digits_of_a_number_survive_being_selected() {
        let raw: Box<RawValue> = serde_json::from_str("{\"id\":12345678901234567890123,\"fee\":10.10}").unwrap();
        let items = texts(&[raw]);
        let selection = Selection::of("Record", &items, None).unwrap();
        assert_eq!(selection.csv(true, |text, _| text.to_owned()).unwrap(), "id,fee\n12345678901234567890123,10.10\n");
        assert_eq!(pretty(&items[0]).unwrap(), "{\n  \"id\": 12345678901234567890123,\n  \"fee\": 10.10\n}");
    }
}
