//! Power BI filters: which records belong to an organization's current set, evaluated here and printed for embedding.
//!
//! The JSON shapes and operator names are those of Power BI's basic and advanced report filters (`powerbi-models`).

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::entity::{Entity, FieldType, Target};
use super::manifest::Kind;
use super::names::Slug;
use super::number;
use crate::error::nearest;

/// What a filter looks at: a column every row has by its origin, or a field of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FilterColumn {
    /// `LMS_Provider`: the title of the LMS a learner comes from.
    LmsProvider,
    /// `CRM_Provider`: the title of the CRM an employer comes from.
    CrmProvider,
    /// `Organization`: the name of the organization.
    Organization,
    Field(Target),
}

const DERIVED: [(&str, FilterColumn); 3] = [
    ("LMS_Provider", FilterColumn::LmsProvider),
    ("CRM_Provider", FilterColumn::CrmProvider),
    ("Organization", FilterColumn::Organization),
];

impl FilterColumn {
    /// Returns whether the column exists for records of a provider of this kind.
    pub(crate) fn fits(&self, kind: Kind) -> bool {
        match self {
            FilterColumn::LmsProvider => kind == Kind::Lms,
            FilterColumn::CrmProvider => kind == Kind::Crm,
            FilterColumn::Organization | FilterColumn::Field(_) => true,
        }
    }

    /// Returns the type of the column's values, where it is known: a field of the organization's own may hold anything.
    fn field_type(&self) -> Option<FieldType> {
        match self {
            FilterColumn::Field(Target { entity, field }) => {
                entity.column(field).map(|position| entity.columns()[position].field_type)
            }
            _ => Some(FieldType::Text),
        }
    }

    /// Returns a condition as written, each of its values in the type of the column and not in the one it looks like. What a
    /// text is compared with by size stays a number.
    pub(crate) fn typed(&self, condition: &Value) -> Value {
        let Some(field_type) = self.field_type() else { return condition.clone() };
        match condition {
            Value::Array(values) => values.iter().map(|value| self.typed(value)).collect(),
            Value::Object(entries) => {
                let is_kept = |name: &str| {
                    let operator = OPERATORS.iter().find(|(known, _)| known == &name).map(|(_, operator)| *operator);
                    operator.is_some_and(|operator| operator.unary() || operator.by_size())
                };
                let typed = |(name, value): (&String, &Value)| {
                    (name.clone(), if is_kept(name) { value.clone() } else { self.typed(value) })
                };
                entries.iter().map(typed).collect()
            }
            scalar => field_type_of(field_type, scalar),
        }
    }

    /// Returns the name of the column in Power BI.
    fn column(&self) -> &str {
        match self {
            FilterColumn::Field(target) => &target.field,
            derived => DERIVED.iter().find(|(_, known)| known == derived).map_or("", |(name, _)| name),
        }
    }

    /// Returns the entity whose records it looks at, for a provider of this kind.
    fn entity(&self, kind: Kind) -> Entity {
        match self {
            FilterColumn::Field(target) => target.entity,
            _ => kind.entity(),
        }
    }
}

impl FromStr for FilterColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, column)) = DERIVED.iter().find(|(name, _)| *name == text) {
            return Ok(column.clone());
        }
        if text.contains('.') {
            return text.parse().map(FilterColumn::Field);
        }
        let meant = nearest(text, DERIVED.map(|(name, _)| name)).map_or_else(
            || "known: LMS_Provider, CRM_Provider, Organization, or a field like `learner.status`".to_owned(),
            |word| format!("did you mean `{word}`?"),
        );
        Err(format!("unknown filter column `{}`: {meant}", text.escape_debug()))
    }
}

impl fmt::Display for FilterColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterColumn::Field(target) => target.fmt(f),
            derived => f.pad(derived.column()),
        }
    }
}

const OPERATORS: [(&str, Operator); 14] = [
    ("LessThan", Operator::LessThan),
    ("LessThanOrEqual", Operator::LessThanOrEqual),
    ("GreaterThan", Operator::GreaterThan),
    ("GreaterThanOrEqual", Operator::GreaterThanOrEqual),
    ("Contains", Operator::Contains),
    ("DoesNotContain", Operator::DoesNotContain),
    ("StartsWith", Operator::StartsWith),
    ("DoesNotStartWith", Operator::DoesNotStartWith),
    ("Is", Operator::Is),
    ("IsNot", Operator::IsNot),
    ("IsBlank", Operator::IsBlank),
    ("IsNotBlank", Operator::IsNotBlank),
    ("IsEmptyString", Operator::IsEmptyString),
    ("IsNotEmptyString", Operator::IsNotEmptyString),
];

/// An operator of Power BI's advanced filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    LessThan,
    LessThanOrEqual,
    GreaterThan,
    GreaterThanOrEqual,
    Contains,
    DoesNotContain,
    StartsWith,
    DoesNotStartWith,
    Is,
    IsNot,
    IsBlank,
    IsNotBlank,
    IsEmptyString,
    IsNotEmptyString,
}

impl Operator {
    fn unary(self) -> bool {
        matches!(self, Operator::IsBlank | Operator::IsNotBlank | Operator::IsEmptyString | Operator::IsNotEmptyString)
    }

    fn by_size(self) -> bool {
        matches!(
            self,
            Operator::LessThan | Operator::LessThanOrEqual | Operator::GreaterThan | Operator::GreaterThanOrEqual
        )
    }

    fn name(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

/// Returns the names of the columns that rows of such a provider have by their origin.
pub(crate) fn derived_columns(kind: Kind) -> Vec<&'static str> {
    DERIVED.iter().filter(|(_, column)| column.fits(kind)).map(|(name, _)| *name).collect()
}

/// Returns the operators that stand in a map, and whether each takes no value.
pub(crate) fn operator_names() -> impl Iterator<Item = (&'static str, bool)> {
    OPERATORS.iter().map(|(name, operator)| (*name, operator.unary()))
}

/// What a column's value must satisfy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    In(Vec<Value>),
    NotIn(Vec<Value>),
    /// One or two operators, all of which must hold.
    Advanced(Vec<(Operator, Option<Value>)>),
}

impl Condition {
    /// Reads a condition: a value (equals), a list (in), or a map of one or two operators.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(values) if values.is_empty() => {
                Err("an empty list lets nothing through; leave the filter out instead".into())
            }
            Value::Array(values) => scalars(values).map(Condition::In),
            Value::Object(entries) => Self::operators(entries),
            Value::Null => {
                Err("a filter needs a value, a list of values, or an operator like `{IsNotBlank: true}`".into())
            }
            scalar => Ok(Condition::In(vec![scalar.clone()])),
        }
    }

    fn operators(entries: &serde_json::Map<String, Value>) -> Result<Self, String> {
        if let Some(values) = entries.get("In").or_else(|| entries.get("NotIn")) {
            let Value::Array(values) = values else { return Err("`In` and `NotIn` take a list".into()) };
            if entries.len() > 1 {
                return Err("`In` and `NotIn` stand alone".into());
            }
            let values = scalars(values)?;
            return Ok(if entries.contains_key("In") { Condition::In(values) } else { Condition::NotIn(values) });
        }
        if entries.is_empty() || entries.len() > 2 {
            return Err("a filter takes one or two operators, as Power BI does".into());
        }
        let mut conditions = Vec::new();
        for (name, value) in entries {
            let Some((_, operator)) = OPERATORS.iter().find(|(known, _)| known == name) else {
                let names = OPERATORS.iter().map(|(known, _)| *known).chain(["In", "NotIn"]);
                let meant = nearest(name, names.clone()).map_or_else(
                    || format!("known: {}", names.collect::<Vec<_>>().join(", ")),
                    |word| format!("did you mean `{word}`?"),
                );
                return Err(format!("unknown operator `{}`: {meant}", name.escape_debug()));
            };
            match (operator.unary(), value) {
                (true, Value::Bool(true) | Value::Null) => conditions.push((*operator, None)),
                (true, _) => return Err(format!("`{name}` takes no value; write `{name}: true`")),
                (false, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {
                    conditions.push((*operator, Some(value.clone())))
                }
                (false, _) => return Err(format!("`{name}` takes one text, number, or true/false")),
            }
        }
        Ok(Condition::Advanced(conditions))
    }

    /// Returns whether a value passes; `None` is null. Texts are compared as Power BI does, without regard to case.
    pub(crate) fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Condition::In(values) => values.iter().any(|wanted| equal(value, wanted)),
            Condition::NotIn(values) => !values.iter().any(|wanted| equal(value, wanted)),
            Condition::Advanced(conditions) => {
                conditions.iter().all(|(operator, wanted)| applies(*operator, value, wanted.as_ref()))
            }
        }
    }

    /// Returns the condition as Power BI filter JSON for an embedded report.
    pub(crate) fn power_bi(&self, column: &FilterColumn, kind: Kind) -> Value {
        let target = json!({"table": column.entity(kind).table(), "column": column.column()});
        let basic = |operator: &str, values: &[Value]| {
            json!({
                "$schema": "http://powerbi.com/product/schema#basic",
                "target": target, "filterType": 1, "operator": operator, "values": values, "requireSingleSelection": false,
            })
        };
        match self {
            Condition::In(values) => basic("In", values),
            Condition::NotIn(values) => basic("NotIn", values),
            Condition::Advanced(conditions) => json!({
                "$schema": "http://powerbi.com/product/schema#advanced",
                "target": target, "filterType": 0, "logicalOperator": "And",
                "conditions": conditions.iter().map(|(operator, value)| match value {
                    Some(value) => json!({"operator": operator.name(), "value": value}),
                    None => json!({"operator": operator.name()}),
                }).collect::<Vec<_>>(),
            }),
        }
    }
}

/// Returns a scalar in the type of a column, as far as it can be one.
fn field_type_of(field_type: FieldType, scalar: &Value) -> Value {
    match (field_type, scalar) {
        (FieldType::Int | FieldType::Decimal, Value::String(text)) => {
            let number = serde_json::from_str(text).ok().filter(Value::is_number);
            number.unwrap_or_else(|| scalar.clone())
        }
        (FieldType::Int | FieldType::Decimal | FieldType::Bool | FieldType::Json, other) => other.clone(),
        (_, Value::Number(_) | Value::Bool(_)) => Value::from(text(scalar)),
        (_, other) => other.clone(),
    }
}

/// Returns the filter that keeps a report to one organization, by the column `organization_slug` of each table.
pub(crate) fn of_organization(entity: Entity, slug: &Slug) -> Value {
    json!({
        "$schema": "http://powerbi.com/product/schema#basic",
        "target": {"table": entity.table(), "column": "organization_slug"},
        "filterType": 1, "operator": "In", "values": [slug], "requireSingleSelection": false,
    })
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Condition::In(values) if values.len() == 1 => write!(f, "= {}", values[0]),
            Condition::In(values) => write!(f, "in ({})", list(values)),
            Condition::NotIn(values) => write!(f, "not in ({})", list(values)),
            Condition::Advanced(conditions) => {
                for (position, (operator, value)) in conditions.iter().enumerate() {
                    f.write_str(if position > 0 { " and " } else { "" })?;
                    f.write_str(operator.name())?;
                    if let Some(value) = value {
                        write!(f, " {value}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn scalars(values: &[Value]) -> Result<Vec<Value>, String> {
    match values.iter().find(|value| matches!(value, Value::Array(_) | Value::Object(_) | Value::Null)) {
        Some(_) => Err("a list of a filter holds texts, numbers, or true/false".into()),
        None => Ok(values.to_vec()),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn equal(value: Option<&str>, wanted: &Value) -> bool {
    let Some(value) = value else { return false };
    let compared = wanted.as_number().and_then(|number| number::compare(value, &number.to_string()));
    match compared {
        Some(ordering) => ordering.is_eq(),
        None => value.to_lowercase() == text(wanted).to_lowercase(),
    }
}

fn applies(operator: Operator, value: Option<&str>, wanted: Option<&Value>) -> bool {
    let blank = value.is_none_or(str::is_empty);
    let wanted_text = wanted.map(|wanted| text(wanted).to_lowercase()).unwrap_or_default();
    let lower = value.map(str::to_lowercase);
    let contains = |test: fn(&str, &str) -> bool| lower.as_deref().is_some_and(|value| test(value, &wanted_text));
    let ordering = || {
        let value = value?;
        match wanted {
            Some(Value::Number(number)) => number::compare(value, &number.to_string()),
            _ => Some(value.to_lowercase().cmp(&wanted_text)),
        }
    };
    match operator {
        Operator::IsBlank => blank,
        Operator::IsNotBlank => !blank,
        Operator::IsEmptyString => value == Some(""),
        Operator::IsNotEmptyString => value != Some(""),
        Operator::Is => wanted.is_some_and(|wanted| equal(value, wanted)),
        Operator::IsNot => !wanted.is_some_and(|wanted| equal(value, wanted)),
        Operator::Contains => contains(|value, part| value.contains(part)),
        Operator::DoesNotContain => !contains(|value, part| value.contains(part)),
        Operator::StartsWith => contains(|value, part| value.starts_with(part)),
        Operator::DoesNotStartWith => !contains(|value, part| value.starts_with(part)),
        Operator::LessThan => ordering().is_some_and(std::cmp::Ordering::is_lt),
        Operator::LessThanOrEqual => ordering().is_some_and(std::cmp::Ordering::is_le),
        Operator::GreaterThan => ordering().is_some_and(std::cmp::Ordering::is_gt),
        Operator::GreaterThanOrEqual => ordering().is_some_and(std::cmp::Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Condition {
        Condition::read(&value).unwrap()
    }

    #[test]
    fn values_lists_and_operators_are_conditions() {
        assert!(read(json!("Aptem")).holds(Some("aptem")));
        assert!(!read(json!("Aptem")).holds(None));
        assert!(read(json!(["Active", "OnBreak"])).holds(Some("OnBreak")));
        assert!(read(json!({"NotIn": ["Withdrawn"]})).holds(None));
        assert!(read(json!({"GreaterThan": 9})).holds(Some("10")));
        assert!(!read(json!({"GreaterThan": 9})).holds(Some("n/a")));
        assert!(read(json!({"GreaterThanOrEqual": "2025-01-01", "LessThan": "2026-01-01"})).holds(Some("2025-06-30")));
        assert!(
            read(json!({"IsNotBlank": true})).holds(Some("x")) && !read(json!({"IsNotBlank": true})).holds(Some(""))
        );
        assert!(read(json!({"DoesNotContain": "test"})).holds(None));
    }

    #[test]
    fn wrong_filters_are_refused() {
        let error = |value: Value| Condition::read(&value).unwrap_err();
        assert!(error(json!([])).contains("lets nothing through"));
        assert!(error(json!({"GreaterThn": 1})).contains("did you mean `GreaterThan`"));
        assert!(error(json!({"Is": 1, "IsNot": 2, "IsBlank": true})).contains("one or two"));
        assert!(error(json!({"In": "a"})).contains("take a list"));
        assert!("LMS_Provder".parse::<FilterColumn>().unwrap_err().contains("LMS_Provider"));
    }

    #[test]
    fn filters_print_as_power_bi_json() {
        let basic = read(json!("Aptem")).power_bi(&FilterColumn::LmsProvider, Kind::Lms);
        assert_eq!(basic["target"], json!({"table": "learners", "column": "LMS_Provider"}));
        assert_eq!(
            (&basic["operator"], &basic["values"], &basic["filterType"]),
            (&json!("In"), &json!(["Aptem"]), &json!(1))
        );
        let column = "learner.progress".parse().unwrap();
        let advanced = read(json!({"GreaterThan": 50})).power_bi(&column, Kind::Lms);
        assert_eq!(advanced["conditions"], json!([{"operator": "GreaterThan", "value": 50}]));
        assert_eq!(advanced["$schema"], json!("http://powerbi.com/product/schema#advanced"));
    }
}
