//! Stored rows for people and exports: read in pieces by key, so that memory does not grow with them, and no read is open while
//! somebody looks at them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::OnceLock;

use anyhow::Result;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::entity::{Entity, FieldType};
use crate::domain::{json, number};
use crate::error::{Exit, UserError};

/// How many rows are read at once at most, and at how many bytes of them a piece ends.
const ROWS: usize = 1_000;
const BYTES: usize = 1 << 20;

/// A stored row: every typed column by name and the organization's own fields under `custom`, in the order of their names.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) external_key: String,
    pub(crate) provider: String,
    pub(crate) fields: Vec<(&'static str, Field)>,
    pub(crate) in_scope: bool,
    pub(crate) dormant: bool,
    /// Whether it is history of a learner who has another row now.
    pub(crate) linked: bool,
    pub(crate) first_seen_at: String,
    pub(crate) changed_at: String,
    pub(crate) deleted_at: Option<String>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Null,
    Text(String),
    /// JSON as it is stored: numbers with all their digits.
    Json(String),
}

impl Row {
    /// Returns the value of a field.
    pub(crate) fn field(&self, name: &str) -> &Field {
        self.fields.iter().find(|(known, _)| *known == name).map_or(&Field::Null, |(_, field)| field)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("external_key", &self.external_key)?;
        map.serialize_entry("provider", &self.provider)?;
        for (name, field) in &self.fields {
            map.serialize_entry(name, field)?;
        }
        map.serialize_entry("in_scope", &self.in_scope)?;
        map.serialize_entry("dormant", &self.dormant)?;
        map.serialize_entry("linked", &self.linked)?;
        map.serialize_entry("first_seen_at", &self.first_seen_at)?;
        map.serialize_entry("changed_at", &self.changed_at)?;
        map.serialize_entry("deleted_at", &self.deleted_at)?;
        map.end()
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Null => serializer.serialize_none(),
            Field::Text(text) => serializer.serialize_str(text),
            Field::Json(text) => match serde_json::from_str::<&RawValue>(text) {
                Ok(raw) => raw.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
        }
    }
}

/// Which rows to list, and from where on.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Rows that are deleted or out of scope too.
    pub(crate) with_gone: bool,
    /// Of this provider only.
    pub(crate) provider: Option<&'a str>,
    /// Only what stands behind this key, which may be written `PROVIDER/KEY`.
    pub(crate) after: Option<&'a str>,
}

/// Rows being read, by provider and key.
pub(crate) struct Listing {
    organization_id: i64,
    entity: Entity,
    with_gone: bool,
    /// The providers that are still to be read, with their numbers.
    providers: VecDeque<(i64, String)>,
    /// The last key that was read of the first of them.
    after: Option<String>,
}

impl Listing {
    /// Begins to read, without reading anything yet. A place that cannot be told is an error.
    pub(crate) fn begin(
        connection: &Connection,
        organization_id: i64,
        entity: Entity,
        wanted: &Wanted<'_>,
    ) -> Result<Self> {
        let mut providers = providers(connection, organization_id, entity)?;
        providers.retain(|(_, slug)| wanted.provider.is_none_or(|provider| provider == slug));
        let mut listing =
            Listing { organization_id, entity, with_gone: wanted.with_gone, providers: providers.into(), after: None };
        if let Some(after) = wanted.after {
            listing.go_behind(connection, after)?;
        }
        Ok(listing)
    }

    /// Leaves out everything up to a key.
    fn go_behind(&mut self, connection: &Connection, after: &str) -> Result<()> {
        let mut having = Vec::new();
        for (place, (provider, _)) in self.providers.iter().enumerate() {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE organization_id = ?1 AND provider_id = ?2 AND external_key = ?3)",
                self.entity.table()
            );
            if connection.prepare_cached(&sql)?.query_row((self.organization_id, provider, after), |row| row.get(0))? {
                having.push(place);
            }
        }
        let named = || {
            let (slug, key) = after.split_once('/')?;
            Some((self.providers.iter().position(|(_, known)| known == slug)?, key))
        };
        let (place, key) = match (having.as_slice(), named()) {
            ([place], _) => (*place, after),
            ([], Some(named)) => named,
            // The row may be gone since: its place is known all the same.
            ([], None) if self.providers.len() < 2 => (0, after),
            ([], None) => {
                let message = "no provider has a record with the key of `--after`";
                let hint = "say which provider's it is: `--after PROVIDER/KEY`";
                return Err(UserError::new(Exit::NotFound, "record_not_found", message).hint(hint).into());
            }
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|place| self.providers[*place].1.as_str()).collect();
                let message =
                    format!("several providers have a record with the key of `--after`: {}", names.join(", "));
                let hint = "say which is meant: `--after PROVIDER/KEY`";
                return Err(UserError::new(Exit::Usage, "record_ambiguous", message).hint(hint).into());
            }
        };
        self.after = Some(key.to_owned());
        self.providers.drain(..place);
        Ok(())
    }

    /// Reads on: at most so many rows, none at the end. Nothing stays open behind it.
    pub(crate) fn next(&mut self, connection: &Connection, most: usize) -> Result<Vec<Row>> {
        let most = most.min(ROWS);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some((provider, slug)) = self.providers.front() {
            let behind =
                if self.after.is_some() { "external_key > :key" } else { "external_key >= coalesce(:key, '')" };
            let current = format!("AND deleted_at IS NULL AND in_scope = 1 AND NOT {}", linked(self.entity));
            let current = if self.with_gone { "" } else { &current };
            let sql = select(self.entity, &format!("{behind} {current} ORDER BY external_key LIMIT :limit"));
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = most - rows.len();
            let mut found = statement.query(named_params! {
                ":organization": self.organization_id, ":provider": provider, ":key": self.after, ":limit": i64::try_from(limit)?,
            })?;
            let mut count = 0;
            while let Some(row) = found.next()? {
                count += 1;
                rows.push(read(row, self.entity, slug, &mut bytes)?);
                if bytes > BYTES {
                    break;
                }
            }
            if count == limit || bytes > BYTES {
                self.after = rows.last().map(|row| row.external_key.clone());
                break;
            }
            self.after = None;
            self.providers.pop_front();
        }
        Ok(rows)
    }
}

/// Returns the rows of one key: at most one of each provider.
pub(crate) fn of_key(connection: &Connection, organization_id: i64, entity: Entity, key: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (provider, slug) in providers(connection, organization_id, entity)? {
        let mut statement = connection.prepare_cached(&select(entity, "external_key = :key"))?;
        let parameters = named_params! { ":organization": organization_id, ":provider": provider, ":key": key };
        let mut found = statement.query(parameters)?;
        while let Some(row) = found.next()? {
            rows.push(read(row, entity, &slug, &mut 0)?);
        }
    }
    Ok(rows)
}

/// Returns the providers that an organization has rows of, by name. Each is found by a look at the index.
fn providers(connection: &Connection, organization_id: i64, entity: Entity) -> Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT p.id, p.slug FROM integration_providers p
         WHERE EXISTS (SELECT 1 FROM {} t WHERE t.organization_id = ?1 AND t.provider_id = p.id) ORDER BY p.slug",
        entity.table()
    ))?;
    let rows = statement.query_map([organization_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the names and types of the fields of an entity, sorted.
fn fields(entity: Entity) -> &'static [(&'static str, FieldType)] {
    static FIELDS: OnceLock<[Vec<(&'static str, FieldType)>; 2]> = OnceLock::new();
    let all = FIELDS.get_or_init(|| {
        Entity::ALL.map(|entity| {
            let mut fields: Vec<_> = entity.columns().iter().map(|column| (column.name, column.field_type)).collect();
            fields.push(("custom", FieldType::Json));
            fields.sort_by_key(|(name, _)| *name);
            fields
        })
    });
    match entity {
        Entity::Learner => &all[0],
        Entity::Employer => &all[1],
    }
}

/// Returns the condition of a row that is history of another one.
fn linked(entity: Entity) -> &'static str {
    match entity {
        Entity::Learner => "(linked_to IS NOT NULL)",
        Entity::Employer => "0",
    }
}

fn select(entity: Entity, condition: &str) -> String {
    let linked = linked(entity);
    let mut sql = format!("SELECT external_key, in_scope, dormant, first_seen_at, changed_at, deleted_at, {linked}");
    for (name, _) in fields(entity) {
        write!(sql, ", {name}").expect("writing to a String cannot fail");
    }
    let table = entity.table();
    sql + &format!(" FROM {table} WHERE organization_id = :organization AND provider_id = :provider AND {condition}")
}

/// Reads a row, and adds its size.
fn read(row: &rusqlite::Row<'_>, entity: Entity, provider: &str, bytes: &mut usize) -> Result<Row> {
    let mut values = Vec::with_capacity(entity.columns().len() + 1);
    for (position, (name, field_type)) in fields(entity).iter().enumerate() {
        let value = match row.get_ref(position + 7)? {
            ValueRef::Null => Field::Null,
            ValueRef::Integer(number) => Field::Json(number.to_string()),
            ValueRef::Real(number) => Field::Json(number.to_string()),
            other => field(other.as_str()?, *field_type),
        };
        if let Field::Text(text) | Field::Json(text) = &value {
            *bytes += text.len();
        }
        values.push((*name, value));
    }
    Ok(Row {
        external_key: row.get(0)?,
        provider: provider.to_owned(),
        fields: values,
        in_scope: row.get(1)?,
        dormant: row.get(2)?,
        linked: row.get(6)?,
        first_seen_at: row.get(3)?,
        changed_at: row.get(4)?,
        deleted_at: row.get(5)?,
    })
}

fn field(text: &str, field_type: FieldType) -> Field {
    match field_type {
        FieldType::Json => match json::exact(text) {
            Some(exact) => Field::Json(exact.into_owned()),
            None => Field::Text(text.to_owned()),
        },
        FieldType::Decimal | FieldType::Int if number::is_json(text) => Field::Json(text.to_owned()),
        _ => Field::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_looks_go_by_the_index() {
        let store = crate::store::tests::memory();
        let connection = store.read();
        for entity in Entity::ALL {
            let conditions = ["external_key > :key ORDER BY external_key LIMIT :limit", "external_key = :key"];
            for condition in conditions {
                let mut statement =
                    connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select(entity, condition))).unwrap();
                let mut plan = statement.raw_query();
                let mut steps = Vec::new();
                while let Some(row) = plan.next().unwrap() {
                    steps.push(row.get::<_, String>(3).unwrap());
                }
                assert!(
                    steps.len() == 1 && steps[0].contains("organization_id=? AND provider_id=? AND external_key"),
                    "{steps:?}"
                );
            }
        }
    }
}
