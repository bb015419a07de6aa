//! Stage 3: records become rows, as the field mappings say. Compiled once a run, applied to each record.

mod batch;
mod instant;
pub(super) mod kinds;
mod memo;
mod value;

use std::borrow::Cow;
use std::hash::RandomState;

pub(super) use batch::{Batch, Row};
use kinds::Kinds;
use memo::Memo;
use value::{TOO_DEEP, Value, as_text, cell, push_json, stepped, text_of, too_deep, typed, value};

use super::remarks::Remarks;
use crate::connector::Sent;
use crate::domain::entity::{Entity, FieldType, Target};
use crate::domain::expression::Expression;
use crate::domain::json;
use crate::domain::manifest::Stream;
use crate::domain::manifest::key::joined;
use crate::domain::mapping::{Mapping, OnBad, Spec};
use crate::domain::path::{Path, Projection};
use crate::store::records::Cell;

/// The mappings of one entity, compiled.
pub(super) struct Transform {
    entity: Entity,
    /// The values that are taken out of each record.
    pub(super) projection: Projection,
    /// The slots of the key.
    keys: Vec<usize>,
    /// Where a record says when it changed.
    cursor: Option<usize>,
    /// Where a record says that it is deleted, and what it says then.
    deleted: Option<(usize, serde_json::Value)>,
    /// Where the keys of records stand that were merged into this one.
    merged: Option<usize>,
    fields: Vec<Field>,
    /// The paths below `fields_at`, for the `{fields}` slot.
    pub(super) wanted: Vec<String>,
    /// In a hundred years.
    latest_date: String,
    /// Tells keys of one page apart.
    same_key: RandomState,
    /// The sources by slot, for telling which of them no record has.
    sources: Vec<(usize, String)>,
}

/// One target.
struct Field {
    target: Target,
    /// The position of its typed column; `None` for a field of the organization's own.
    column: Option<usize>,
    source: Source,
    spec: Spec,
    field_type: Option<FieldType>,
    pattern: Option<regex::Regex>,
    /// Whether the value is taken as it comes: the common case.
    plain: bool,
}

enum Source {
    Slot(usize),
    /// An expression over named slots.
    Expression(Box<Computed>),
}

struct Computed {
    expression: Expression,
    slots: Vec<usize>,
    memo: Memo<Result<Value<'static>, String>>,
}

/// What a record turned out to be.
#[derive(Debug, PartialEq)]
enum Mapped {
    Row,
    /// The provider says that the record is deleted.
    Deleted,
    /// The record cannot be stored.
    Bad(Vec<String>),
}

/// A record as mapped: space that is used again for each record of a page.
#[derive(Default)]
struct Made<'a> {
    key: Cow<'a, str>,
    /// In the order of the entity's columns.
    columns: Vec<Cell<'a>>,
    /// The organization's own fields by name, for filters.
    custom: Vec<(&'a str, Cell<'a>)>,
    /// The same as a JSON map; empty if none has a value.
    custom_json: String,
    remarks: Remarks,
}

impl Transform {
    /// Compiles mappings. The error says which one cannot be.
    pub(super) fn new(
        name: &str,
        stream: &Stream,
        entity: Entity,
        mappings: &[(Target, Mapping)],
    ) -> Result<Self, String> {
        let mut transform = Transform {
            entity,
            projection: Projection::default(),
            keys: Vec::new(),
            cursor: None,
            deleted: None,
            merged: None,
            fields: Vec::new(),
            wanted: Vec::new(),
            latest_date: (crate::config::now() + chrono::TimeDelta::days(36_525)).format("%F").to_string(),
            same_key: RandomState::new(),
            sources: Vec::new(),
        };
        transform.keys = stream.key.paths().map(|path| transform.slot(path, stream)).collect();
        if let Some(cursor) = stream.cursor.as_ref().and_then(|cursor| cursor.field.as_ref()) {
            let slot = transform.slot(cursor, stream);
            transform.cursor = stream.changes.is_some().then_some(slot);
        }
        if let Some(flag) = &stream.deletes.flag {
            transform.deleted = Some((transform.slot(&flag.field, stream), flag.is.clone()));
        }
        transform.merged = stream.deletes.merged.as_ref().map(|path| transform.slot(path, stream));
        for (target, mapping) in mappings {
            let spec = mapping.0.clone();
            let source = match (&spec.from, &spec.expr) {
                (Some(from), _) => Source::Slot(transform.source(from, name, stream)?),
                (None, Some(expr)) => {
                    let expression = Expression::new(expr)?;
                    let slots: Result<_, String> =
                        expression.names.iter().map(|source| transform.source(source, name, stream)).collect();
                    Source::Expression(Box::new(Computed { expression, slots: slots?, memo: Memo::new() }))
                }
                (None, None) => return Err(format!("the mapping of `{target}` has no source")),
            };
            let column = entity.column(&target.field);
            let field_type = spec.field_type.or_else(|| column.map(|column| entity.columns()[column].field_type));
            let pattern = spec.pattern.as_ref().map(|pattern| regex::Regex::new(&format!("^(?:{pattern})$")));
            let plain = spec.steps.is_empty()
                && spec.map.is_empty()
                && spec.otherwise.is_none()
                && !spec.require
                && spec.pattern.is_none()
                && spec.range.is_none()
                && spec.one_of.is_empty()
                && matches!(field_type, None | Some(FieldType::Text));
            let pattern = pattern.transpose().map_err(|error| error.to_string())?;
            transform.fields.push(Field { target: target.clone(), column, source, spec, field_type, pattern, plain });
        }
        Ok(transform)
    }

    /// Returns the slot of a mapping's source: a named field, else a path where unnamed ones are looked for.
    fn source(&mut self, source: &str, name: &str, stream: &Stream) -> Result<usize, String> {
        let own = source.strip_prefix(&format!("{name}.")).unwrap_or(source);
        let path = match stream.fields.get(own) {
            Some(path) => path.clone(),
            None => stream.fields_at.join(&own.parse::<Path>()?),
        };
        let slot = self.slot(&path, stream);
        if !self.sources.iter().any(|(known, _)| *known == slot) {
            self.sources.push((slot, source.to_owned()));
        }
        Ok(slot)
    }

    fn slot(&mut self, path: &Path, stream: &Stream) -> usize {
        self.want(path, stream);
        self.projection.add(path)
    }

    /// Notes that the provider is to send this path.
    fn want(&mut self, path: &Path, stream: &Stream) {
        let below = if stream.fields_at.steps.is_empty() { Some(path.clone()) } else { path.below(&stream.fields_at) };
        if let Some(below) = below.map(|path| path.to_string())
            && !self.wanted.contains(&below)
        {
            self.wanted.push(below);
        }
    }

    /// Returns the sources that no record had, given the types that each slot was filled with.
    pub(super) fn never_seen<'t>(&'t self, seen: &'t [Kinds]) -> impl Iterator<Item = &'t str> {
        self.kinds(seen).filter(|(_, kinds)| *kinds == 0).map(|(source, _)| source)
    }

    /// Returns each source with the types that its values had.
    pub(super) fn kinds<'t>(&'t self, seen: &'t [Kinds]) -> impl Iterator<Item = (&'t str, Kinds)> {
        self.sources.iter().map(|(slot, source)| (source.as_str(), seen.get(*slot).copied().unwrap_or(0)))
    }

    /// Returns the key of a record, or a digest of the record where it has none.
    pub(super) fn key_of(&self, record: &str) -> String {
        self.known_key(record).unwrap_or_else(|| anonymous(record))
    }

    /// Returns the key of a record, if it has one that can be read.
    pub(super) fn known_key(&self, record: &str) -> Option<String> {
        let mut values = Vec::new();
        let taken = self.projection.take(record, &mut values).ok();
        let parts = self.keys.iter().map(|slot| key(values.get(*slot).and_then(|value| value.of(record))));
        taken.and_then(|_| joined(parts)).map(Cow::into_owned)
    }

    /// Maps one record.
    fn apply<'a>(&'a self, sent: Sent<'a>, made: &mut Made<'a>) -> Mapped {
        let key = joined(self.keys.iter().map(|slot| key(sent.value(*slot))));
        let known = key.is_some();
        made.key = key.unwrap_or_else(|| anonymous(sent.text()).into());
        if let Some(reason) = sent.refused() {
            made.remarks.keyless += u64::from(!known);
            return Mapped::Bad(vec![reason.to_owned()]);
        }
        if !known {
            made.remarks.keyless += 1;
            let broken = self.projection.take(sent.text(), &mut Vec::new()).err();
            let reason = broken.map_or("the record has no key that can be read".into(), |error| {
                format!("the record is not well-formed: {error}")
            });
            return Mapped::Bad(vec![reason]);
        }
        if let Some(slot) = self.cursor {
            made.remarks.undated += u64::from(sent.value(slot).is_none_or(|json| matches!(json, "null" | "\"\"")));
        }
        if let Some((slot, is)) = &self.deleted
            && sent.value(*slot).is_some_and(|text| json::document(text).is_ok_and(|value| says(&value, is)))
        {
            return Mapped::Deleted;
        }
        made.columns.clear();
        made.columns.resize(self.entity.columns().len(), Cell::Null);
        made.custom.clear();
        made.custom_json.clear();
        let mut reasons = Vec::new();
        for field in &self.fields {
            let value = match (field.made(sent, self.entity), field.spec.bad) {
                (Ok(value), _) => value,
                (Err(reason), OnBad::Quarantine) => {
                    reasons.push(format!("{}: {reason}", field.target));
                    continue;
                }
                (Err(_), OnBad::Warn) => {
                    made.remarks.bad_values += 1;
                    Value::Null
                }
                (Err(_), OnBad::Null) => Value::Null,
            };
            made.remarks.odd_dates += u64::from(field.is_date() && self.is_odd_date(&value));
            match field.column {
                Some(position) => made.columns[position] = cell(value, self.entity.columns()[position].field_type),
                None => {
                    if !matches!(value, Value::Null) {
                        made.custom_json.push(if made.custom_json.is_empty() { '{' } else { ',' });
                        // A target's name has nothing that JSON would escape.
                        made.custom_json.push('"');
                        made.custom_json.push_str(&field.target.field);
                        made.custom_json.push_str("\":");
                        push_json(&mut made.custom_json, &value);
                    }
                    made.custom.push((field.target.field.as_str(), cell(value, FieldType::Text)));
                }
            }
        }
        if !reasons.is_empty() {
            return Mapped::Bad(reasons);
        }
        if !made.custom_json.is_empty() {
            made.custom_json.push('}');
        }
        Mapped::Row
    }
}

impl Transform {
    /// Returns whether a date is so far away that it fills a field more likely than it says when.
    fn is_odd_date(&self, date: &Value<'_>) -> bool {
        let Value::Text(date) = date else { return false };
        let day = date.get(..10).unwrap_or(date);
        day <= "1900-01-01" || day > self.latest_date.as_str() || !date.starts_with(|c: char| c.is_ascii_digit())
    }
}

/// Returns the key that stands in a value. A character that could not be read makes two keys look the same.
fn key(json: Option<&str>) -> Option<Cow<'_, str>> {
    match json.map(value)? {
        Value::Text(text) if !text.is_empty() && !text.contains('\u{fffd}') => Some(text),
        Value::Number(digits) => Some(digits),
        _ => None,
    }
}

/// Returns the keys that stand in a value: a list of them, or a text that `;` parts.
fn listed(json: &str) -> Vec<String> {
    let texts = match serde_json::from_str(json) {
        Ok(serde_json::Value::Array(list)) => list.iter().map(text).collect(),
        Ok(one) => vec![text(&one)],
        Err(_) => Vec::new(),
    };
    let keys = texts.iter().flat_map(|text| text.split(';')).map(str::trim);
    keys.filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Returns what a record without a key goes by: the same bytes are the same record.
fn anonymous(record: &str) -> String {
    format!("sha256:{}", &crate::store::hash(record)[..32])
}

impl Field {
    fn is_date(&self) -> bool {
        matches!(self.field_type, Some(FieldType::Date | FieldType::Datetime))
    }

    /// Returns the value of the target, or why it is bad.
    fn made<'a>(&self, sent: Sent<'a>, entity: Entity) -> Result<Value<'a>, String> {
        let mut made = match &self.source {
            Source::Slot(slot) => match sent.value(*slot).map_or(Value::Null, value) {
                Value::Json(text) if too_deep(&text) => return Err(TOO_DEEP.into()),
                value => value,
            },
            Source::Expression(computed) => {
                let Computed { expression, slots, memo } = computed.as_ref();
                let values = slots.iter().map(|slot| sent.value(*slot).unwrap_or("null"));
                memo.answer(values.clone(), || evaluate(expression, values))?
            }
        };
        if self.column.is_some() && matches!(made, Value::Json(_)) && self.takes_scalars() {
            return Err(value::NO_SCALAR.into());
        }
        if self.plain {
            // A column holds texts anyway; a field of the organization's own keeps numbers, unless it is to be text.
            let is_own_text = self.column.is_none() && self.field_type == Some(FieldType::Text);
            return Ok(if is_own_text { as_text(made) } else { made });
        }
        for step in &self.spec.steps {
            made = stepped(made, step)?;
        }
        if !self.spec.steps.is_empty() && text_of(&made).is_some_and(|text| text.is_empty()) {
            made = Value::Null;
        }
        if !self.spec.map.is_empty() || self.spec.otherwise.is_some() {
            made = self.mapped(made);
        }
        let column_type = self.column.map(|position| entity.columns()[position].field_type);
        let made = typed(made, self.field_type, self.spec.format.as_deref())?;
        // A column keeps its own type whatever a mapping calls the value on the way.
        let made = if column_type == Some(FieldType::Decimal) { typed(made, column_type, None)? } else { made };
        self.check(&made)?;
        Ok(made)
    }

    /// Returns whether an object or a list can be no value of the target: steps may take one apart, and JSON is one.
    fn takes_scalars(&self) -> bool {
        self.spec.steps.is_empty() && self.field_type != Some(FieldType::Json)
    }

    fn mapped<'a>(&self, made: Value<'a>) -> Value<'a> {
        let Some(text) = text_of(&made) else {
            return made;
        };
        match (self.spec.map.get(text.as_ref()), &self.spec.otherwise) {
            (Some(known), _) => Value::Text(Cow::Owned(known.clone())),
            (None, Some(otherwise)) => Value::Text(Cow::Owned(otherwise.clone())),
            (None, None) => made,
        }
    }

    fn check(&self, made: &Value<'_>) -> Result<(), String> {
        let text = text_of(made);
        let text = text.as_deref().filter(|text| !text.is_empty());
        let Some(text) = text else {
            return if self.spec.require { Err("it is required, but empty".into()) } else { Ok(()) };
        };
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            return Err("it does not have the form that `match` wants".into());
        }
        if !self.spec.one_of.is_empty() && !self.spec.one_of.iter().any(|allowed| allowed == text) {
            return Err("it is not one of the values allowed".into());
        }
        if let Some(range) = &self.spec.range
            && !range.holds(text)
        {
            return Err(format!("it is not {range}"));
        }
        Ok(())
    }
}

/// Returns whether a value is the one that is meant. Where all values are text, as in CSV, `"true"` is `true`.
fn says(value: &serde_json::Value, meant: &serde_json::Value) -> bool {
    let reads = |text| json::document(text).is_ok_and(|read| read == *meant);
    value == meant || value.as_str().is_some_and(reads)
}

/// Returns what an expression makes of values that are given as JSON.
fn evaluate<'v>(expression: &Expression, values: impl Iterator<Item = &'v str>) -> Result<Value<'static>, String> {
    let found = values.map(|text| {
        Ok(match value(text) {
            Value::Null => minijinja::Value::from(()),
            Value::Bool(bool) => minijinja::Value::from(bool),
            Value::Text(said) => minijinja::Value::from(said.as_ref()),
            _ if too_deep(text) => return Err(TOO_DEEP.to_owned()),
            // Left empty, it would be an answer of the expression's that the record does not give.
            _ => {
                let read = json::document(text);
                let read = read.map_err(|_| "a value that its expression takes cannot be read".to_owned())?;
                minijinja::Value::from(minijinja::value::Serde(read))
            }
        })
    });
    let found = found.collect::<Result<Vec<minijinja::Value>, String>>()?;
    let made = expression.evaluate_with(found.into_iter())?;
    Ok(match made.kind() {
        minijinja::value::ValueKind::None | minijinja::value::ValueKind::Undefined => Value::Null,
        minijinja::value::ValueKind::Bool => Value::Bool(made.is_true()),
        minijinja::value::ValueKind::Number => Value::Number(Cow::Owned(made.to_string())),
        // Made of nothing, it is nothing.
        minijinja::value::ValueKind::String if made.as_str() == Some("") => Value::Null,
        minijinja::value::ValueKind::String => Value::Text(Cow::Owned(made.to_string())),
        _ => Value::Json(Cow::Owned(serde_json::to_string(&made).map_err(|error| error.to_string())?)),
    })
}
