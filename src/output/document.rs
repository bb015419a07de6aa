//! Documents for programs: JSON, JSON lines, YAML and CSV, whole or by chosen fields.

use anyhow::{Context, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::names::is_hidden;
use crate::error::{Exit, UserError, nearest};

/// A list as one document.
#[derive(Serialize)]
pub(super) struct ListDocument<'a, I> {
    pub kind: &'a str,
    pub v: u8,
    pub items: &'a [I],
    pub warnings: &'a [String],
}

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
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// Returns the fields of anything that becomes a JSON object.
    pub(super) fn of(object: &impl Serialize) -> Result<Fields> {
        serde_json::from_str(&serde_json::to_string(object)?).context("taking a value apart into fields")
    }

    /// Returns a field as plain text: a string without quotes, `null` as nothing, the rest as JSON.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| plain(value))
    }

    /// Returns the chosen fields in the order they were asked for; `known` has been checked to hold them.
    fn chosen(&self, wanted: &[String]) -> Fields {
        let of = |name: &String| self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
        Fields(
            wanted.iter().map(|name| (name.clone(), of(name).unwrap_or_else(|| RawValue::NULL.to_owned()))).collect(),
        )
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Things taken apart into fields, with the names of the fields to show, in order.
pub(super) struct Selection {
    pub names: Vec<String>,
    pub rows: Vec<Fields>,
}

impl Selection {
    /// Returns the wanted fields of all items, or all their fields; an unknown name is an error.
    pub(super) fn of<T: Serialize>(kind: &str, items: &[T], wanted: Option<&[String]>) -> Result<Selection> {
        let rows: Vec<Fields> = items.iter().map(Fields::of).collect::<Result<_>>()?;
        let mut known: Vec<String> = Vec::new();
        for (name, _) in rows.iter().flat_map(|row| &row.0) {
            if !known.contains(name) {
                known.push(name.clone());
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
        self.rows.iter().map(|row| self.names.iter().map(|name| row.text(name).unwrap_or_default()).collect())
    }

    /// Returns the rows as CSV under a header; `safe` makes a cell safe for where it goes, told whether it
    /// is a text: a number stays one.
    pub(super) fn csv(&self, safe: impl Fn(String, bool) -> String) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if !self.names.is_empty() {
            writer.write_record(self.names.iter().map(|name| safe(name.clone(), true)))?;
        }
        for row in &self.rows {
            writer.write_record(self.names.iter().map(|name| {
                let value = row.0.iter().find(|(field, _)| field == name).map(|(_, value)| value);
                let text = value.map(|value| plain(value)).unwrap_or_default();
                // A JSON number is a number for a spreadsheet too; only text can pretend to be a formula.
                let is_text = value.is_some_and(|value| value.get().starts_with('"'));
                safe(text, is_text)
            }))?;
        }
        Ok(String::from_utf8(writer.into_inner().map_err(|error| error.into_error())?)?)
    }
}

/// Returns the text with a `'` before it where a spreadsheet would take it for a formula: by its first character, or the
/// first behind spaces and quotes, in whatever width it is written (as OWASP advises). A negative number is none.
pub(super) fn guarded(text: String) -> String {
    const SIGNS: [char; 11] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n'];
    let first = text.trim_start_matches([' ', '\u{a0}', '"', '\'']);
    if first.starts_with(SIGNS) && !is_negative(&text) { format!("'{text}") } else { text }
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
pub(super) fn tame(json: &str) -> String {
    let mut tame = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| tame += &format!("\\u{unit:04x}"));
        } else {
            tame.push(c);
        }
    }
    tame
}

/// Returns a document as JSON and a newline, spread out for a person or on one line for a program.
pub(super) fn json(document: &impl Serialize, spread: bool) -> Result<String> {
    let text = if spread { serde_json::to_string_pretty(document) } else { serde_json::to_string(document) };
    Ok(text.context("writing JSON")? + "\n")
}

/// Returns a document as YAML, its fields in the order of its JSON.
// The one place that writes YAML for `-o yaml`; a module of its own for YAML takes its place here.
pub(super) fn yaml(document: &impl Serialize) -> Result<String> {
    let text = RawValue::from_string(serde_json::to_string(document)?)?;
    let yaml = serde_yaml::to_string(&Tree::of(&text)?).context("writing YAML")?;
    Ok(if yaml.ends_with('\n') { yaml } else { yaml + "\n" })
}

/// JSON with the order of its fields kept; `serde_json::Value` sorts them.
enum Tree {
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    fn of(json: &RawValue) -> Result<Tree> {
        let text = json.get();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Fields(fields) = serde_json::from_str(text)?;
                Tree::Map(fields.into_iter().map(|(name, value)| Ok((name, Tree::of(&value)?))).collect::<Result<_>>()?)
            }
            Some(b'[') => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
                Tree::List(items.iter().map(|item| Tree::of(item)).collect::<Result<_>>()?)
            }
            _ => Tree::Scalar(serde_json::from_str(text)?),
        })
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Scalar(value) => value.serialize(serializer),
            Tree::List(items) => serializer.collect_seq(items),
            Tree::Map(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// Returns a JSON value as plain text: a string without quotes, `null` as nothing, the rest as it is.
fn plain(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => value.get().to_string(),
    }
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
    fn yaml_has_the_order_of_the_json() {
        let yaml = yaml(&OneDocument { kind: "Org", v: 1, object: &ACME }).unwrap();
        let fields: Vec<&str> = yaml.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(fields, ["kind", "v", "slug", "name", "records", "preset", "tags"]);
    }

    #[test]
    fn fields_select_and_order() {
        let selection = Selection::of("Org", &[ACME], Some(&wanted(&["records", "slug"]))).unwrap();
        assert_eq!(json(&selection.rows, false).unwrap(), "[{\"records\":-3,\"slug\":\"acme\"}]\n");
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_and_all_known() {
        let error = Selection::of("Org", &[ACME], Some(&wanted(&["recrods"]))).err().unwrap();
        let error = error.downcast_ref::<UserError>().unwrap();
        assert_eq!((error.code, error.exit), ("unknown_field", Exit::Usage));
        assert_eq!(error.message, "`Org` has no field `recrods`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `records`? There are: slug, name, records, preset, tags"));
    }

    #[test]
    fn csv_quotes_its_cells_and_leaves_numbers_alone() {
        let selection = Selection::of("Org", &[ACME], None).unwrap();
        assert_eq!(
            selection.csv(|text, _| text).unwrap(),
            "slug,name,records,preset,tags\nacme,\"Acme, \"\"the\"\" Ltd\",-3,,[]\n"
        );
    }

    #[test]
    fn a_cell_that_looks_like_a_formula_is_guarded() {
        let names =
            ["=1+1", "+44 20", "-2", "-2+3", "@SUM(A1)", "\tx", "\rx", "a=b", " =1", "\"=1", "-1.50", "\u{ff1d}1"];
        let orgs = names.map(|name| Org { name, ..ACME });
        let selection = Selection::of("Org", &orgs, Some(&wanted(&["name"]))).unwrap();
        assert_eq!(
            selection.csv(|text, is_text| if is_text { guarded(text) } else { text }).unwrap(),
            "name\n'=1+1\n'+44 20\n-2\n'-2+3\n'@SUM(A1)\n'\tx\n\"'\rx\"\na=b\n' =1\n\"'\"\"=1\"\n-1.50\n'\u{ff1d}1\n"
        );
    }

    #[test]
    fn tamed_json_is_the_same_document() {
        let name = "a\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{e0041}é🚀\nb";
        let text = json(&serde_json::json!({ "name": name }), true).unwrap();
        let tamed = tame(&text);
        assert_eq!(serde_json::from_str::<Value>(&tamed).unwrap()["name"], name);
        assert!(!tamed.chars().any(|c| c != '\n' && is_hidden(c)) && tamed.contains("é🚀"), "{tamed}");
    }

    #[test]
    fn digits_of_a_number_survive_being_selected() {
        let raw: Box<RawValue> = serde_json::from_str("{\"id\":12345678901234567890123,\"fee\":10.10}").unwrap();
        let selection = Selection::of("Record", &[raw], None).unwrap();
        assert_eq!(selection.csv(|text, _| text).unwrap(), "id,fee\n12345678901234567890123,10.10\n");
    }
}
