//! The chain of the audit: each row's hash covers the row and the hash before it, so that a row that was edited, taken
//! out, put in or moved no longer fits.
//!
//! No key is part of it, as those who make changes need none: whoever can write the database can write the whole chain
//! anew. That is found by what is kept elsewhere, the anchor ([`super::anchor`]) and exports.

use ring::digest::{Context, SHA256};
use serde::Serialize;

use crate::secrets::hex;

/// A row of `audit_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Counts from 1 without gaps.
    pub(crate) id: i64,
    /// As stored: RFC 3339 in UTC with milliseconds.
    pub(crate) at: String,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    /// SHA-256 of what was there before, in hex, as is `after`.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// Empty in a row that another program put there.
    pub(crate) hash: String,
}

impl Row {
    /// Returns the hash that the row has behind a row with this one: SHA-256 in hex over each part after its length.
    pub(crate) fn hash_behind(&self, previous: &str) -> String {
        let mut parts = Parts::new("skillsctl/audit/v1");
        parts.add(previous.as_bytes());
        parts.add(&self.id.to_be_bytes());
        for text in [&self.at, &self.actor, &self.action, &self.subject] {
            parts.add(text.as_bytes());
        }
        for hash in [&self.before, &self.after] {
            // An empty text is not the same as none.
            parts.add(if hash.is_some() { b"some" } else { b"none" });
            parts.add(hash.as_deref().unwrap_or_default().as_bytes());
        }
        parts.finish()
    }
}

/// Returns what stands for the hash before the first row: each database begins a chain of its own.
pub(crate) fn beginning(database_id: &str) -> String {
    let mut parts = Parts::new("skillsctl/audit/v1/beginning");
    parts.add(database_id.as_bytes());
    parts.finish()
}

struct Parts(Context);

impl Parts {
    fn new(domain: &str) -> Self {
        let mut parts = Parts(Context::new(&SHA256));
        parts.add(domain.as_bytes());
        parts
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> String {
        hex::encode(self.0.finish().as_ref())
    }
}

/// Something that is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The first row concerned.
    #[serde(serialize_with = "as_text")]
    pub(crate) row: i64,
    pub(crate) fault: Fault,
    pub(crate) problem: String,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// It is not there.
    Missing,
    /// It does not fit its hash and the row before it: edited, or not in its place.
    Altered,
    /// It was not written by this program.
    Foreign,
    /// It is another one than was kept elsewhere.
    Replaced,
}

impl Finding {
    /// Returns the finding that rows are not there, of the first and the last of them.
    pub(crate) fn missing(first: i64, last: i64, why: &str) -> Self {
        let rows = if first == last { format!("row {first} is") } else { format!("rows {first} to {last} are") };
        Finding { row: first, fault: Fault::Missing, problem: format!("{rows} missing{why}") }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn as_text<S: serde::Serializer>(row: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(row)
}

/// Goes along a chain, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    /// The last row taken in: its id, and its hash as stored.
    last: (i64, String),
}

impl Walk {
    /// Returns a walk that begins behind this row; behind row 0, the hash is that of [`beginning`].
    pub(crate) fn behind(id: i64, hash: String) -> Self {
        Walk { last: (id, hash) }
    }

    /// Returns the last row taken in: its id and its hash.
    pub(crate) fn last(&self) -> (i64, &str) {
        (self.last.0, &self.last.1)
    }

    /// Takes in the next row. Returns what is wrong with it, or in front of it.
    pub(crate) fn take(&mut self, row: &Row) -> Option<Finding> {
        let (last, previous) = std::mem::replace(&mut self.last, (row.id, row.hash.clone()));
        let found = |fault, problem| Some(Finding { row: row.id, fault, problem });
        match row.id {
            id if id <= last => found(Fault::Altered, format!("row {id} stands behind row {last}")),
            // Whether the row itself is as it was written is not to be told without the one before it.
            id if id > last + 1 => Some(Finding::missing(last + 1, id - 1, "")),
            id if row.hash.is_empty() => found(Fault::Foreign, format!("row {id} was put there by another program")),
            id if row.hash_behind(&previous) != row.hash => {
                found(Fault::Altered, format!("row {id} is not as it was written, or not in its place"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: i64) -> Vec<Row> {
        let mut previous = beginning("db");
        let rows = (1..=length).map(|id| {
            let mut row = Row {
                id,
                at: format!("2026-11-30T09:00:0{id}.000Z"),
                actor: "ann".into(),
                action: "org edit".into(),
                subject: format!("org-{id}"),
                before: (id > 1).then(|| format!("b{id}")),
                after: Some(format!("a{id}")),
                hash: String::new(),
            };
            row.hash = row.hash_behind(&previous);
            previous.clone_from(&row.hash);
            row
        });
        rows.collect()
    }

    fn found(rows: &[Row]) -> Vec<(i64, Fault)> {
        let mut walk = Walk::behind(0, beginning("db"));
        rows.iter().filter_map(|row| walk.take(row)).map(|finding| (finding.row, finding.fault)).collect()
    }

    #[test]
    fn a_chain_as_written_holds_and_one_of_another_database_does_not() {
        assert_eq!(found(&chain(9)), []);
        let mut walk = Walk::behind(0, beginning("other"));
        assert_eq!(walk.take(&chain(1)[0]).unwrap().row, 1);
    }

    #[test]
    fn every_column_of_a_row_is_covered() {
        let edits: [fn(&mut Row); 9] = [
            |row| row.at.push('0'),
            |row| row.actor = "bob".into(),
            |row| row.action = "org delete".into(),
            |row| row.subject = "org-9".into(),
            |row| row.before = None,
            |row| row.before = Some(String::new()),
            |row| row.after = None,
            |row| row.hash.replace_range(..1, "x"),
            // What one column loses the next one gains.
            |row| (row.action, row.subject) = ("org editorg".into(), "-5".into()),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            let mut rows = chain(9);
            edit(&mut rows[4]);
            assert_eq!(found(&rows)[0], (5, Fault::Altered), "edit {number}");
        }
    }

    #[test]
    fn rows_taken_out_put_in_or_moved_are_named() {
        let mut without = chain(9);
        without.remove(4);
        assert_eq!(found(&without), [(5, Fault::Missing)]);
        let mut moved_up = without.clone();
        moved_up[4..].iter_mut().for_each(|row| row.id -= 1);
        assert_eq!(found(&moved_up)[0], (5, Fault::Altered));
        let mut swapped = chain(9);
        (swapped[4].id, swapped[5].id) = (6, 5);
        swapped.sort_by_key(|row| row.id);
        assert_eq!(found(&swapped)[0], (5, Fault::Altered));
        let mut out_of_order = chain(9);
        out_of_order.swap(4, 5);
        assert_eq!(found(&out_of_order)[0], (5, Fault::Missing));
        let mut inserted = chain(9);
        inserted.push(Row { id: 10, hash: String::new(), ..inserted[8].clone() });
        assert_eq!(found(&inserted), [(10, Fault::Foreign)]);
        inserted[9].hash = inserted[8].hash.clone();
        assert_eq!(found(&inserted), [(10, Fault::Altered)]);
    }
}
