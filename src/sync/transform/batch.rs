//! The rows of a page, made on one thread to be written on another: all their text lies in one place.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::ops::Range;

use super::instant;
use super::kinds::{self, Kinds};
use super::{Made, Mapped, Transform, listed};
use crate::connector::{Page, Sent};
use crate::domain::number;
use crate::store::records::{Cell, Record};
use crate::sync::filter::Filters;
use crate::sync::remarks::Remarks;

/// The mapped records of a page.
pub(in crate::sync) struct Batch {
    page: Page,
    rows: Vec<Kept>,
    /// The columns of all rows, one row after the other.
    columns: Vec<Column>,
    /// The keys, columns and own fields of all rows.
    text: String,
    /// Which types the values of each slot have.
    pub(in crate::sync) seen: Vec<Kinds>,
    pub(in crate::sync) remarks: Remarks,
    /// The keys of records that were merged into one of these.
    pub(in crate::sync) merged: Vec<String>,
}

/// What became of a record.
pub(in crate::sync) enum Row<'b> {
    Record {
        record: Record<'b>,
        in_scope: bool,
    },
    /// The provider says that the record of this key is deleted.
    Deleted(&'b str),
    /// The record cannot be stored.
    Bad {
        key: &'b str,
        reasons: &'b [String],
    },
}

struct Kept {
    key: Range<usize>,
    what: What,
}

enum What {
    Record { columns: Range<usize>, custom: Option<Range<usize>>, hash: [u8; 16], in_scope: bool },
    Deleted,
    Bad(Vec<String>),
}

#[derive(Clone)]
enum Column {
    Null,
    Text(Range<usize>),
    Decimal(Range<usize>),
}

impl Transform {
    /// Maps all records of a page, and says of each whether it passes the filters.
    pub(in crate::sync) fn batch(&self, filters: &Filters, page: Page) -> Batch {
        let mut batch = Batch {
            rows: Vec::with_capacity(page.records().len()),
            columns: Vec::with_capacity(page.records().len() * self.entity.columns().len()),
            text: String::with_capacity(page.records().len() * 256),
            seen: vec![0; self.projection.slots()],
            remarks: Remarks { twice: page.twice, ..Remarks::default() },
            merged: Vec::new(),
            page: Page::empty(),
        };
        let (mut made, mut bytes) = (Made::default(), Vec::new());
        let mut keys = HashSet::with_capacity(page.records().len());
        for sent in page.records() {
            for (slot, seen) in batch.seen.iter_mut().enumerate() {
                *seen |= kinds::of(sent.value(slot));
            }
            let what = match self.apply(sent, &mut made) {
                Mapped::Row => {
                    let custom = (!made.custom_json.is_empty()).then_some(made.custom_json.as_str());
                    What::Record {
                        in_scope: filters.pass(&made.columns, &made.custom),
                        hash: content_hash(&made.columns, custom, &mut bytes),
                        columns: batch.push_columns(&made.columns),
                        custom: custom.map(|custom| batch.push(custom)),
                    }
                }
                Mapped::Deleted => What::Deleted,
                Mapped::Bad(reasons) => What::Bad(reasons),
            };
            if let Some(json) = self.merged.and_then(|slot| sent.value(slot)).filter(|_| !matches!(what, What::Deleted))
            {
                batch.merged.extend(listed(json).into_iter().filter(|key| **key != *made.key));
            }
            let digest = self.same_key.hash_one(&made.key);
            batch.remarks.shared_key += u64::from(!keys.insert(digest));
            let key = batch.push(&made.key);
            batch.rows.push(Kept { key, what });
        }
        batch.remarks += made.remarks;
        drop(made);
        batch.page = page;
        batch
    }
}

impl Batch {
    /// Returns the page that the rows were made of.
    pub(in crate::sync) fn page(&self) -> &Page {
        &self.page
    }

    /// Hands each row, and the record it was made of, to `take`.
    pub(in crate::sync) fn each<E>(&self, mut take: impl FnMut(Row<'_>, Sent<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut columns = Vec::new();
        for (kept, sent) in self.rows.iter().zip(self.page.records()) {
            let key = &self.text[kept.key.clone()];
            let row = match &kept.what {
                What::Deleted => Row::Deleted(key),
                What::Bad(reasons) => Row::Bad { key, reasons },
                What::Record { columns: range, custom, hash, in_scope } => {
                    columns.clear();
                    columns.extend(self.columns[range.clone()].iter().map(|column| match column {
                        Column::Null => Cell::Null,
                        Column::Text(range) => Cell::Text(self.text[range.clone()].into()),
                        Column::Decimal(range) => Cell::Decimal(self.text[range.clone()].into()),
                    }));
                    let custom = custom.clone().map(|custom| &self.text[custom]);
                    let record = Record { key, columns: &columns, custom, hash: *hash };
                    Row::Record { record, in_scope: *in_scope }
                }
            };
            take(row, sent)?;
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let from = self.text.len();
        self.text.push_str(text);
        from..self.text.len()
    }

    fn push_columns(&mut self, cells: &[Cell<'_>]) -> Range<usize> {
        let from = self.columns.len();
        for cell in cells {
            let column = match cell {
                Cell::Null => Column::Null,
                Cell::Text(text) => Column::Text(self.push(text)),
                Cell::Decimal(digits) => Column::Decimal(self.push(digits)),
            };
            self.columns.push(column);
        }
        from..self.columns.len()
    }
}

/// Adds a number, the same whichever way it is spelled. One that a float holds in full goes by the bytes of the float, as in rows
/// that were stored when all did, so that these are not taken for changed.
fn push_number(bytes: &mut Vec<u8>, digits: &str) {
    let canonical = number::canonical(digits).unwrap_or_else(|| digits.to_owned());
    match digits.parse::<f64>() {
        Ok(float) if number::canonical(&float.to_string()).as_ref() == Some(&canonical) => {
            bytes.push(2);
            // A zero has no sign.
            bytes.extend_from_slice(&(float + 0.0).to_le_bytes());
        }
        _ => {
            bytes.push(4);
            bytes.extend_from_slice(&(canonical.len() as u64).to_le_bytes());
            bytes.extend_from_slice(canonical.as_bytes());
        }
    }
}

/// Returns a digest of what is stored of a record, each part with its length, so that no two rows look
/// alike. `bytes` is scratch space.
fn content_hash(columns: &[Cell<'_>], custom: Option<&str>, bytes: &mut Vec<u8>) -> [u8; 16] {
    bytes.clear();
    for cell in columns {
        match cell {
            Cell::Null => bytes.push(0),
            Cell::Text(text) => {
                let (text, zone) = instant::spelled(text);
                bytes.push(1);
                bytes.extend_from_slice(&((text.len() + zone.len()) as u64).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
                bytes.extend_from_slice(zone.as_bytes());
            }
            Cell::Decimal(digits) => push_number(bytes, digits),
        }
    }
    bytes.push(3);
    instant::push_spelled(bytes, custom.unwrap_or_default());
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest.as_ref()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digits: &str) -> [u8; 16] {
        content_hash(&[Cell::Decimal(digits.into())], None, &mut Vec::new())
    }

    #[test]
    fn a_number_is_one_however_it_is_spelled() {
        for same in [
            ["1.10", "1.1"],
            ["50", "50.0"],
            ["-0", "0"],
            ["1e2", "100"],
            ["18446744073709551617.0", "18446744073709551617"],
        ] {
            assert_eq!(hash(same[0]), hash(same[1]), "{same:?}");
        }
        for other in
            [["9007199254740993", "9007199254740992"], ["1234567890.123456789", "1234567890.1234567"], ["1", "-1"]]
        {
            assert_ne!(hash(other[0]), hash(other[1]), "{other:?}");
        }
    }
}
