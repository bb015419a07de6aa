//! A page too large to be held: it stays in its file, and is handed on in parts once it has proved itself whole.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt as _;

use super::page::Page;
use crate::domain::path::{Projection, Span};
use crate::secrets::hex;

/// About as much as is read of it at once.
const PART: usize = 1 << 20;
/// The largest record that is taken in.
pub(super) const LARGEST: usize = 8 << 20;
/// Where the key of a larger one is looked for.
const HEAD: usize = 64 << 10;

/// The records of a large page.
pub(super) struct Spool {
    pub(super) file: File,
    /// Where each record stands in the file.
    pub(super) records: Vec<Span>,
    pub(super) wanted: Projection,
    /// The slot of the key, where it is one value.
    pub(super) key: Option<usize>,
}

impl Spool {
    /// Returns the page in parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = Result<Page>> {
        let mut left = self.records.as_slice();
        std::iter::from_fn(move || {
            let first = left.first()?;
            let fits = |record: &&Span| record.to() - first.from() <= PART;
            let count = left.iter().take_while(fits).count().max(1);
            let (part, rest) = left.split_at(count);
            left = rest;
            Some(self.part(part))
        })
    }

    fn part(&self, records: &[Span]) -> Result<Page> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Page::empty()) };
        if last.to() - first.from() > LARGEST {
            return self.too_large(*first);
        }
        let body = self.text(first.from(), last.to())?;
        let whole = records.iter().map(|record| record.in_part(first.from(), &body)).collect();
        Ok(Page::of_places(body, whole, &self.wanted))
    }

    /// Returns a page with a note in place of a record that is too large: its key if it comes early, length and digest.
    fn too_large(&self, record: Span) -> Result<Page> {
        let bytes = record.to() - record.from();
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut chunk = vec![0; HEAD];
        let mut key = None;
        for at in (record.from()..record.to()).step_by(HEAD) {
            let chunk = &mut chunk[..HEAD.min(record.to() - at)];
            self.file.read_exact_at(chunk, at as u64)?;
            digest.update(chunk);
            if at == record.from() {
                key = self.key_in(chunk);
            }
        }
        let key = key.unwrap_or_else(|| "null".into());
        let note =
            format!("{{\"key\":{key},\"bytes\":{bytes},\"sha256\":\"{}\"}}", hex::encode(digest.finish().as_ref()));
        let mut at = vec![Span::ABSENT; self.wanted.slots()];
        if let Some(slot) = self.key {
            at[slot] = Span::new("{\"key\":".len(), "{\"key\":".len() + key.len());
        }
        Ok(Page::refused(
            note,
            at,
            format!("it has {bytes} bytes, more than {LARGEST}: only its key, length and digest are kept"),
        ))
    }

    fn key_in(&self, head: &[u8]) -> Option<String> {
        let end = std::str::from_utf8(head).map_or_else(|error| error.valid_up_to(), str::len);
        let head = std::str::from_utf8(&head[..end]).ok()?;
        let mut values = Vec::new();
        // It ends in the middle, which is no matter: what stands before is found.
        self.wanted.take(head, &mut values).err()?;
        let key = values.get(self.key?).filter(|key| key.to() < head.len())?;
        key.of(head).map(str::to_owned)
    }

    fn text(&self, from: usize, to: usize) -> Result<String> {
        let mut bytes = vec![0; to - from];
        self.file.read_exact_at(&mut bytes, from as u64)?;
        String::from_utf8(bytes).map_err(|_| Error::from(ErrorKind::InvalidData))
    }
}
