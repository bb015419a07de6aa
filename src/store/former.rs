//! Learners of providers that an organization has left: taken over where they are the same people at the provider of now, and
//! linked where a person says so.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::domain::pairing::{Candidate, Clues};
use crate::domain::traits::Traits;

/// The rows to be paired.
pub(crate) struct Sides {
    /// Rows of providers that were left.
    pub(crate) stored: Vec<Candidate>,
    /// Rows of a provider in force, as far as they share anything with those.
    pub(crate) incoming: Vec<Candidate>,
}

/// Returns whether an organization has rows of a provider it no longer uses of which it is not settled whose they are.
pub(crate) fn any_open(connection: &Connection, organization_id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM learners WHERE organization_id = ?1 AND dormant = 1 AND settled = 0)";
    Ok(connection.query_row(sql, [organization_id], |row| row.get(0))?)
}

/// Returns what is to be paired at a provider, or at any; `came` are rows that a dry run would have.
pub(crate) fn sides(
    connection: &Connection,
    (organization_id, provider_id): (i64, Option<i64>),
    came: &mut dyn Iterator<Item = Candidate>,
) -> Result<Sides> {
    let columns =
        "id, external_key, uln, email, first_name, last_name, date_of_birth, deleted_at IS NULL AS live, start,
                   first_seen_at, changed_at, settled";
    let mut statement =
        connection.prepare(&format!("SELECT {columns} FROM learners WHERE organization_id = ?1 AND dormant = 1"))?;
    let stored = statement.query_map([organization_id], candidate)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let clues = Clues::of(&stored);
    let mut statement = connection.prepare(&format!(
        "SELECT {columns} FROM learners WHERE organization_id = :organization AND dormant = 0 AND deleted_at IS NULL
         AND in_scope = 1 AND (:provider IS NULL OR provider_id = :provider)"
    ))?;
    let parameters = named_params! { ":organization": organization_id, ":provider": provider_id };
    let mut incoming: Vec<Candidate> = Vec::new();
    for row in statement.query_map(parameters, candidate)? {
        incoming.extend(Some(row?).filter(|row| clues.lead_to(&row.traits)));
    }
    incoming.extend(came.filter(|row| clues.lead_to(&row.traits)));
    Ok(Sides { stored, incoming })
}

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let text = |column: &str| row.get_ref(column).and_then(|value| Ok(value.as_str_or_null()?));
    let traits =
        Traits::new((text("uln")?, text("email")?), (text("first_name")?, text("last_name")?), text("date_of_birth")?);
    Ok(Candidate {
        id: row.get("id")?,
        key: row.get("external_key")?,
        traits,
        newness: (row.get("live")?, row.get("start")?, row.get("first_seen_at")?, row.get("changed_at")?),
        settled: row.get("settled")?,
    })
}

/// Gives the row of a learner the place of the older row of the same person: its number, and since when it is known.
pub(crate) fn take_over(tx: &Connection, (old, new): (i64, i64), now: &str) -> Result<()> {
    let first_seen: String =
        tx.prepare_cached("SELECT first_seen_at FROM learners WHERE id = ?1")?.query_row([old], |row| row.get(0))?;
    // What was linked to the older row is history of the same person.
    tx.prepare_cached("UPDATE learners SET linked_to = ?2 WHERE linked_to = ?1")?.execute((old, new))?;
    tx.prepare_cached("DELETE FROM learners WHERE id = ?1")?.execute([old])?;
    tx.prepare_cached(
        "UPDATE learners SET id = :old, first_seen_at = min(first_seen_at, :first_seen), changed_at = :now, settled = 1
         WHERE id = :new",
    )?
    .execute(named_params! { ":old": old, ":new": new, ":first_seen": first_seen, ":now": now })?;
    Ok(())
}

/// Returns how many of these rows were not there before an instant.
pub(crate) fn count_since(tx: &Connection, ids: &[i64], since: &str) -> Result<u64> {
    let sql = "SELECT count(*) FROM learners WHERE id IN (SELECT value FROM json_each(?1)) AND first_seen_at >= ?2";
    let count: i64 = tx.query_row(sql, (serde_json::to_string(ids)?, since), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// A learner's row, as far as it can be linked.
#[derive(Debug, Clone)]
pub(crate) struct Linkable {
    pub(crate) id: i64,
    pub(crate) provider: String,
    pub(crate) dormant: bool,
    pub(crate) deleted: bool,
    pub(crate) settled: bool,
    /// The row that it is linked to.
    pub(crate) linked_to: Option<i64>,
    /// How many rows are linked to it.
    pub(crate) links: i64,
}

const LINKABLE: &str = "SELECT l.id, p.slug, l.dormant, l.deleted_at IS NOT NULL, l.settled, l.linked_to,
            (SELECT count(*) FROM learners f WHERE f.linked_to = l.id)
     FROM learners l JOIN integration_providers p ON p.id = l.provider_id";

fn linkable(row: &Row<'_>) -> rusqlite::Result<Linkable> {
    Ok(Linkable {
        id: row.get(0)?,
        provider: row.get(1)?,
        dormant: row.get(2)?,
        deleted: row.get(3)?,
        settled: row.get(4)?,
        linked_to: row.get(5)?,
        links: row.get(6)?,
    })
}

/// Returns the rows of an organization that have a key, by number.
pub(crate) fn of_key(connection: &Connection, organization_id: i64, key: &str) -> Result<Vec<Linkable>> {
    let sql = format!("{LINKABLE} WHERE l.organization_id = ?1 AND l.external_key = ?2 ORDER BY l.id");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map((organization_id, key), linkable)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns a row by its number.
pub(crate) fn by_id(connection: &Connection, id: i64) -> Result<Option<Linkable>> {
    Ok(connection.query_row(&format!("{LINKABLE} WHERE l.id = ?1"), [id], linkable).optional()?)
}

/// Links a row of a former provider to the one that is its person now; what is linked to it goes along.
pub(crate) fn link(tx: &Connection, old: i64, new: i64) -> Result<()> {
    tx.execute("UPDATE learners SET linked_to = ?2, settled = 1 WHERE id = ?1 OR linked_to = ?1", (old, new))?;
    tx.execute("UPDATE learners SET settled = 1 WHERE id = ?1", [new])?;
    Ok(())
}

/// Lets a row stand for itself, whatever syncs find.
pub(crate) fn unlink(tx: &Connection, id: i64) -> Result<()> {
    tx.execute("UPDATE learners SET linked_to = NULL, settled = 1 WHERE id = ?1", [id])?;
    Ok(())
}

/// Lets all rows that are linked to one stand for themselves.
pub(crate) fn unlink_all(tx: &Connection, id: i64) -> Result<()> {
    tx.execute("UPDATE learners SET linked_to = NULL WHERE linked_to = ?1", [id])?;
    Ok(())
}

/// Turns the links around by which a row in force hangs on a dormant one: the row in force stands for the person.
pub(super) fn turn_links(tx: &Connection, organization_id: i64) -> Result<()> {
    let mut statement = tx.prepare(
        "SELECT l.id, l.linked_to FROM learners l JOIN learners f ON f.id = l.linked_to
         WHERE l.organization_id = ?1 AND l.dormant = 0 AND f.dormant = 1 ORDER BY l.id",
    )?;
    let links: Vec<(i64, i64)> = statement
        .query_map([organization_id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (own, other) in links {
        tx.execute("UPDATE learners SET linked_to = NULL WHERE id = ?1", [own])?;
        // The first of several takes the others that still lie dormant.
        tx.execute(
            "UPDATE learners SET linked_to = ?1, settled = 1
             WHERE (id = ?2 AND linked_to IS NULL) OR (linked_to = ?2 AND dormant = 1)",
            (own, other),
        )?;
        tx.execute("UPDATE learners SET settled = 1 WHERE id = ?1", [own])?;
    }
    Ok(())
}
