//! `learners` and `employers`: the data, written record by record inside the transaction of a page.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, named_params};

use super::organizations::Organization;
use super::text::stamp;
use crate::domain::entity::Entity;
use crate::domain::pairing::Candidate;
use crate::domain::traits::Traits;
use crate::mutants;

/// The value of a typed column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A number by its digits, as they were sent.
    Decimal(Cow<'a, str>),
}

impl Cell<'_> {
    /// Returns the value as text, for filters.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Cell::Null => None,
            Cell::Text(text) | Cell::Decimal(text) => Some(Cow::Borrowed(text)),
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Text(text) | Cell::Decimal(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// A mapped record, ready to be stored.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Its key at the provider.
    pub(crate) key: &'a str,
    /// In the order of the entity's columns.
    pub(crate) columns: &'a [Cell<'a>],
    /// The organization's own fields as a JSON map.
    pub(crate) custom: Option<&'a str>,
    pub(crate) hash: [u8; 16],
}

impl Record<'_> {
    /// Returns the ULN of a learner, whether it is one or not.
    pub(crate) fn uln(&self) -> Option<&str> {
        self.learner("uln")
    }

    /// Returns a text of a learner.
    fn learner(&self, column: &str) -> Option<&str> {
        let position = Entity::Learner.column(column)?;
        match self.columns.get(position)? {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Decimal(_) => None,
        }
    }

    /// Returns what a learner is known by, as it would stand in a row seen for the first time.
    pub(crate) fn candidate(&self, now: &str) -> Candidate {
        let traits = Traits::new(
            (self.uln(), self.learner("email")),
            (self.learner("first_name"), self.learner("last_name")),
            self.learner("date_of_birth"),
        );
        let newness = (true, self.learner("start").map(str::to_owned), now.to_owned(), now.to_owned());
        Candidate { id: 0, key: self.key.to_owned(), traits, newness, settled: false }
    }
}

/// Whose records are written, and by which read.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) organization_id: i64,
    pub(crate) provider_id: i64,
    pub(crate) entity: Entity,
    /// The number of the read, by which the rows it sees are marked.
    pub(crate) generation: i64,
    /// Written into rows that are new or changed.
    pub(crate) now: String,
}

/// A row's state before a write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Present {
    pub(crate) id: i64,
    pub(crate) hash: [u8; 16],
    pub(crate) deleted: bool,
    pub(crate) in_scope: bool,
    pub(crate) generation: i64,
}

struct Statements {
    find: String,
    insert: String,
    update: String,
    see: String,
    delete: String,
}

/// Returns the statements of an entity, made once from its fixed columns.
fn statements(entity: Entity) -> &'static Statements {
    static STATEMENTS: OnceLock<[Statements; 2]> = OnceLock::new();
    let all = STATEMENTS.get_or_init(|| {
        Entity::ALL.map(|entity| {
            let table = entity.table();
            let names: Vec<&str> = entity.columns().iter().map(|column| column.name).collect();
            let slots: Vec<String> = (0..names.len()).map(|position| format!("?{}", position + 9)).collect();
            let sets: Vec<String> = names.iter().zip(&slots).map(|(name, slot)| format!("{name} = {slot}")).collect();
            Statements {
                find: format!(
                    "SELECT id, content_hash, deleted_at IS NOT NULL, in_scope, generation FROM {table}
                     WHERE organization_id = ?1 AND provider_id = ?2 AND external_key = ?3"
                ),
                insert: format!(
                    "INSERT INTO {table} (organization_id, provider_id, external_key, custom, content_hash, first_seen_at, changed_at,
                                          generation, in_scope, {}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, {})
                     ON CONFLICT (organization_id, provider_id, external_key) DO NOTHING",
                    names.join(", "),
                    slots.join(", ")
                ),
                update: format!(
                    "UPDATE {table} SET organization_id = ?1, provider_id = ?2, external_key = ?3, custom = ?4, content_hash = ?5,
                            changed_at = ?6, generation = ?7, in_scope = ?8, {}, deleted_at = NULL, dormant = 0 WHERE id = ?{}",
                    sets.join(", "),
                    names.len() + 9
                ),
                see: format!("UPDATE {table} SET generation = ?1 WHERE id BETWEEN ?2 AND ?3"),
                delete: format!(
                    "UPDATE {table} SET deleted_at = ?4, changed_at = ?4
                     WHERE organization_id = ?1 AND provider_id = ?2 AND external_key = ?3 AND deleted_at IS NULL RETURNING id"
                ),
            }
        })
    });
    match entity {
        Entity::Learner => &all[0],
        Entity::Employer => &all[1],
    }
}

/// The rows of a provider of an organization, with their statements at hand for the length of a transaction: to look one up
/// for each record would cost as much as to run it.
pub(crate) struct Rows<'t> {
    tx: &'t Connection,
    owner: &'t Owner,
    find: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    update: CachedStatement<'t>,
    /// Rows that the read under way has seen and not changed.
    seen: Vec<i64>,
}

impl<'t> Rows<'t> {
    pub(crate) fn new(tx: &'t Connection, owner: &'t Owner) -> Result<Self> {
        let sql = statements(owner.entity);
        let mut find = tx.prepare_cached(&sql.find)?;
        find.raw_bind_parameter(1, owner.organization_id)?;
        find.raw_bind_parameter(2, owner.provider_id)?;
        let (mut insert, mut update) = (tx.prepare_cached(&sql.insert)?, tx.prepare_cached(&sql.update)?);
        for statement in [&mut insert, &mut update] {
            statement.raw_bind_parameter(1, owner.organization_id)?;
            statement.raw_bind_parameter(2, owner.provider_id)?;
            statement.raw_bind_parameter(6, owner.now.as_str())?;
            statement.raw_bind_parameter(7, owner.generation)?;
        }
        Ok(Rows { tx, owner, find, insert, update, seen: Vec::new() })
    }

    /// Returns the row of a key, if there is one.
    pub(crate) fn find(&mut self, key: &str) -> Result<Option<Present>> {
        if mutants::on("insert-only") {
            return Ok(None);
        }
        self.find.raw_bind_parameter(3, key)?;
        let mut rows = self.find.raw_query();
        let Some(row) = rows.next()? else { return Ok(None) };
        // A hash of another length is none of ours: it equals nothing.
        let hash = row.get_ref(1)?.as_blob()?.try_into().unwrap_or_default();
        Ok(Some(Present {
            id: row.get(0)?,
            hash,
            deleted: row.get(2)?,
            in_scope: row.get(3)?,
            generation: row.get(4)?,
        }))
    }

    /// Stores a new row that is in scope. Returns false, with nothing done, if there is a row of its key.
    pub(crate) fn insert(&mut self, record: &Record<'_>) -> Result<bool> {
        bind(&mut self.insert, record, true)?;
        Ok(self.insert.raw_execute()? > 0)
    }

    /// Writes a record over the row of its key. A deleted row comes back.
    pub(crate) fn update(&mut self, id: i64, record: &Record<'_>, in_scope: bool) -> Result<()> {
        bind(&mut self.update, record, in_scope)?;
        self.update.raw_bind_parameter(record.columns.len() + 9, id)?;
        self.update.raw_execute()?;
        Ok(())
    }

    /// Notes that the read has seen a row that it did not change. It is stored by `finish`.
    pub(crate) fn see(&mut self, row: &Present) {
        if row.generation < self.owner.generation {
            self.seen.push(row.id);
        }
    }

    /// Stores which rows were seen: one statement for as many as lie side by side, which is most of a page.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.seen.sort_unstable();
        self.seen.dedup();
        for run in self.seen.chunk_by(|id, next| id + 1 == *next) {
            if let [first, .., last] | [first @ last] = run {
                self.tx.prepare_cached(&statements(self.owner.entity).see)?.execute((
                    self.owner.generation,
                    first,
                    last,
                ))?;
            }
        }
        Ok(())
    }

    /// Marks the row of a key as deleted. Returns its id, or nothing if there is no live row of it.
    pub(crate) fn delete(&self, key: &str) -> Result<Option<i64>> {
        let Owner { organization_id, provider_id, entity, now, .. } = self.owner;
        let mut statement = self.tx.prepare_cached(&statements(*entity).delete)?;
        Ok(statement.query_row((organization_id, provider_id, key, now), |row| row.get(0)).optional()?)
    }
}

/// Binds what differs from record to record.
fn bind(statement: &mut CachedStatement<'_>, record: &Record<'_>, in_scope: bool) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(3, record.key)?;
    statement.raw_bind_parameter(4, record.custom)?;
    statement.raw_bind_parameter(5, record.hash.as_slice())?;
    statement.raw_bind_parameter(8, in_scope)?;
    for (position, cell) in record.columns.iter().enumerate() {
        statement.raw_bind_parameter(position + 9, cell)?;
    }
    Ok(())
}

/// Returns the newest full read that any row of a provider of an organization was seen by.
pub(crate) fn newest_generation(connection: &Connection, owner: &Owner) -> Result<i64> {
    let sql = format!(
        "SELECT coalesce(max(generation), 0) FROM {} WHERE organization_id = ?1 AND provider_id = ?2",
        owner.entity.table()
    );
    Ok(connection.query_row(&sql, (owner.organization_id, owner.provider_id), |row| row.get(0))?)
}

/// What a dry run did to rows that were there: its transactions were rolled back, so the rows themselves do not tell.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Rows it has seen.
    pub(crate) found: HashSet<i64>,
    /// Rows it would have marked as deleted.
    pub(crate) gone: HashSet<i64>,
    /// Learners it would have inserted, by key.
    pub(crate) came: HashMap<String, Candidate>,
}

/// Returns how many live rows a provider of an organization has, and how many of them no full read since `oldest` saw,
/// with what a dry run `tried` taken into account.
pub(crate) fn unseen(connection: &Connection, owner: &Owner, oldest: i64, tried: Option<&Tried>) -> Result<(u64, u64)> {
    let table = owner.entity.table();
    let rows = format!(
        "FROM {table} WHERE organization_id = :organization AND provider_id = :provider AND deleted_at IS NULL"
    );
    let pair = named_params! { ":organization": owner.organization_id, ":provider": owner.provider_id };
    let live: i64 = connection.query_row(&format!("SELECT count(*) {rows}"), pair, |row| row.get(0))?;
    let mut statement = connection.prepare(&format!("SELECT id {rows} AND generation < :oldest"))?;
    let mut ids = statement.query(named_params! {
        ":organization": owner.organization_id, ":provider": owner.provider_id, ":oldest": oldest,
    })?;
    let mut unseen = 0;
    while let Some(row) = ids.next()? {
        let id = row.get(0)?;
        let told = |tried: &Tried| tried.found.contains(&id) || tried.gone.contains(&id);
        unseen += u64::from(!tried.is_some_and(told));
    }
    let gone = tried.map_or(0, |tried| tried.gone.len() as u64);
    Ok((u64::try_from(live).unwrap_or(0).saturating_sub(gone), unseen))
}

/// Returns whether a provider of an organization has any live row.
pub(crate) fn any_live(connection: &Connection, owner: &Owner) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} WHERE organization_id = ?1 AND provider_id = ?2 AND deleted_at IS NULL)",
        owner.entity.table()
    );
    Ok(connection.query_row(&sql, (owner.organization_id, owner.provider_id), |row| row.get(0))?)
}

/// Marks the rows that no full read since `oldest` saw as deleted. Returns how many.
pub(crate) fn sweep(tx: &Connection, owner: &Owner, oldest: i64) -> Result<u64> {
    let table = owner.entity.table();
    let sql = format!(
        "UPDATE {table} SET deleted_at = :now, changed_at = :now
         WHERE organization_id = :organization AND provider_id = :provider AND deleted_at IS NULL AND generation < :oldest"
    );
    let parameters = named_params! {
        ":organization": owner.organization_id, ":provider": owner.provider_id, ":oldest": oldest, ":now": owner.now,
    };
    Ok(u64::try_from(tx.execute(&sql, parameters)?).unwrap_or(0))
}

/// Returns how many more learners an organization may have; `None` where there is no limit.
pub(crate) fn room(connection: &Connection, organization: &Organization) -> Result<Option<u64>> {
    let Some(max) = organization.max_learners else { return Ok(None) };
    Ok(Some(u64::from(max).saturating_sub(live_learners(connection, organization.id)?)))
}

/// Returns how many learners of an organization count towards its limit: those of a provider it has left do not.
fn live_learners(connection: &Connection, organization_id: i64) -> Result<u64> {
    let sql = "SELECT count(*) FROM learners WHERE organization_id = ?1 AND deleted_at IS NULL AND in_scope = 1 AND dormant = 0";
    let count: i64 = connection.query_row(sql, [organization_id], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Returns how many rows of each provider an organization has: live, out of scope, deleted.
pub(crate) fn counts(connection: &Connection, organization_id: i64, entity: Entity) -> Result<HashMap<i64, [u64; 3]>> {
    let table = entity.table();
    let mut statement = connection.prepare(&format!(
        "SELECT provider_id, count(*) FILTER (WHERE deleted_at IS NULL AND in_scope = 1),
                count(*) FILTER (WHERE deleted_at IS NULL AND in_scope = 0), count(*) FILTER (WHERE deleted_at IS NOT NULL)
         FROM {table} WHERE organization_id = ?1 GROUP BY provider_id"
    ))?;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let rows = statement.query_map([organization_id], |row| {
        Ok((row.get(0)?, [number(row.get(1)?), number(row.get(2)?), number(row.get(3)?)]))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the moment of a write as rows keep it.
pub(crate) fn moment(now: DateTime<Utc>) -> String {
    stamp(now)
}
