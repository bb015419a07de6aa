//! What is stored: learners and employers, their typed columns, and the targets that mappings fill.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::nearest;

/// A kind of stored record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entity {
    Learner,
    Employer,
}

/// How a column's text is read and kept. Dates are `YYYY-MM-DD`, instants RFC 3339 in UTC, decimals exact text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FieldType {
    Text,
    Int,
    Decimal,
    Bool,
    Date,
    Datetime,
    Email,
    Uln,
    Json,
}

/// A typed column of an entity's table: its name, and the type a mapping to it has unless it says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) field_type: FieldType,
}

const fn column(name: &'static str, field_type: FieldType) -> Column {
    Column { name, field_type }
}

const LEARNER: [Column; 14] = [
    column("external_id", FieldType::Text),
    column("uln", FieldType::Uln),
    column("first_name", FieldType::Text),
    column("last_name", FieldType::Text),
    column("email", FieldType::Email),
    column("phone", FieldType::Text),
    column("date_of_birth", FieldType::Date),
    column("programme", FieldType::Text),
    column("status", FieldType::Text),
    column("start", FieldType::Date),
    column("planned_end", FieldType::Date),
    column("completion", FieldType::Date),
    column("progress", FieldType::Decimal),
    column("employer_id", FieldType::Text),
];

const EMPLOYER: [Column; 8] = [
    column("crm_id", FieldType::Text),
    column("name", FieldType::Text),
    column("domain", FieldType::Text),
    column("phone", FieldType::Text),
    column("address", FieldType::Text),
    column("contact_name", FieldType::Text),
    column("contact_email", FieldType::Email),
    column("account_manager", FieldType::Text),
];

impl Entity {
    pub(crate) const ALL: [Entity; 2] = [Entity::Learner, Entity::Employer];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Entity::Learner => "learner",
            Entity::Employer => "employer",
        }
    }

    /// Returns the name of its table, which is also its table in Power BI.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Entity::Learner => "learners",
            Entity::Employer => "employers",
        }
    }

    /// Returns its typed columns; whatever else is mapped lands in `custom`.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Entity::Learner => &LEARNER,
            Entity::Employer => &EMPLOYER,
        }
    }

    /// Returns the position of a typed column.
    pub(crate) fn column(self, name: &str) -> Option<usize> {
        self.columns().iter().position(|column| column.name == name)
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a mapping writes: `learner.programme`, or a field of the tenant's own such as `learner.division`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    pub(crate) entity: Entity,
    pub(crate) field: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Entity::ALL.map(Entity::as_str);
        let Some((entity, field)) = text.split_once('.') else {
            return Err(format!(
                "`{}` is not a target: write `learner.FIELD` or `employer.FIELD`",
                text.escape_debug()
            ));
        };
        let Some(entity) = Entity::ALL.into_iter().find(|known| known.as_str() == entity) else {
            let meant =
                nearest(entity, names).map_or(String::new(), |word| format!("; did you mean `{word}.{field}`?"));
            return Err(format!(
                "unknown target `{}`: it starts with `learner` or `employer`{meant}",
                text.escape_debug()
            ));
        };
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !field.starts_with(|c: char| c.is_ascii_lowercase()) || field.len() > 63 || !field.chars().all(inner) {
            return Err(format!(
                "`{}` is not a target: the field takes lower-case letters, digits and `_`, starting with a letter",
                text.escape_debug()
            ));
        }
        if let Some(word) = nearest(field, entity.columns().iter().map(|column| column.name))
            && word != field
            && strsim::damerau_levenshtein(word, field) == 1
            && field.len() > 4
        {
            return Err(format!(
                "unknown target `{text}`: did you mean `{entity}.{word}`? (a field of your own needs a name less like it)"
            ));
        }
        Ok(Target { entity, field: field.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.entity, self.field))
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_entity_and_a_field() {
        let target: Target = "learner.division".parse().unwrap();
        assert_eq!((target.entity, target.field.as_str()), (Entity::Learner, "division"));
        assert_eq!(target.to_string(), "learner.division");
        for bad in ["learner", "tutor.name", "learner.", "learner.A", "learner.a.b", "learner.9x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_one_letter_off_a_column_is_taken_for_a_typing_error() {
        assert!("learner.programe".parse::<Target>().unwrap_err().contains("learner.programme"));
        assert!("learnr.email".parse::<Target>().unwrap_err().contains("learner.email"));
    }
}
