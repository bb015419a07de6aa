//! A page: the answer as it came, and where in it the wanted values of each record stand.

use std::sync::OnceLock;

use super::decode;
use super::detail::Undetailed;
use super::spool::Spool;
use crate::domain::completeness::Doubt;
use crate::domain::path::{Path, Projection, Span};

/// One page of records.
pub(crate) struct Page {
    body: String,
    /// The wanted values of all records, one record after the other.
    values: Vec<Span>,
    /// How many values each record has.
    slots: usize,
    count: usize,
    /// Where the records are in the body.
    list: Path,
    /// Where each record stands: found only once somebody asks for a whole one, which costs a pass of its own.
    whole: OnceLock<Vec<Span>>,
    /// The records of a page too large to be held.
    spool: Option<Spool>,
    /// Why the records are not taken in.
    refused: Option<String>,
    /// The position of the page after it; `None` if this is the last.
    pub(crate) next: Option<String>,
    /// Whether what leads to the next page says that there is none.
    pub(super) is_end: bool,
    /// What speaks against this being the last page, though it leads to no other.
    pub(crate) end: Option<Doubt>,
    /// How many records the provider says there are.
    pub(crate) total: Option<u64>,
    /// How many of the wanted values stood twice in their record.
    pub(crate) twice: u64,
    /// How many of its records had gone by the time their details were asked for.
    pub(crate) gone: u64,
    /// The records whose details could not be read; they are not among the others.
    pub(crate) undetailed: Vec<Undetailed>,
}

/// A record of a page, as the provider sent it.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'p> {
    page: &'p Page,
    index: usize,
}

impl Page {
    /// Returns a page of no records.
    pub(crate) fn empty() -> Self {
        let nothing = decode::Outline::default();
        Page::of(String::new(), Path::default(), 0, nothing)
    }

    /// Returns the page that was found in an answer; `slots` is how many values each record has.
    pub(super) fn of(body: String, list: Path, slots: usize, found: decode::Outline) -> Self {
        let decode::Outline { values, count, twice, next, total, is_end, .. } = found;
        Page {
            body,
            values,
            slots,
            count,
            list,
            whole: OnceLock::new(),
            spool: None,
            refused: None,
            next,
            is_end,
            end: None,
            total,
            twice,
            gone: 0,
            undetailed: Vec::new(),
        }
    }

    /// Returns a page whose records stay in a file.
    pub(super) fn spooled(spool: Spool, found: decode::Outline) -> Self {
        Page { spool: Some(spool), ..Page::of(String::new(), Path::default(), 0, found) }
    }

    /// Returns a page of one record that is not taken in, with a note in its place.
    pub(super) fn refused(note: String, values: Vec<Span>, reason: String) -> Self {
        let whole = vec![Span::new(0, note.len())].into();
        Page { body: note, slots: values.len(), values, count: 1, whole, refused: Some(reason), ..Page::empty() }
    }

    /// Returns a page of records that stand at places of a text. One that is not JSON has no values.
    pub(super) fn of_places(body: String, whole: Vec<Span>, wanted: &Projection) -> Self {
        let mut values = Vec::with_capacity(whole.len() * wanted.slots());
        let twice = whole.iter().map(|record| wanted.take_at(*record, &body, &mut values)).sum();
        Page { body, slots: wanted.slots(), values, count: whole.len(), whole: whole.into(), twice, ..Page::empty() }
    }

    /// Returns a page made of records that were got one by one. One that is not JSON has no values.
    pub(crate) fn of_records<R: AsRef<str>>(records: &[R], wanted: &Projection) -> Self {
        let (mut body, mut whole) = (String::new(), Vec::with_capacity(records.len()));
        for record in records {
            let from = body.len();
            body.push_str(record.as_ref());
            whole.push(Span::new(from, body.len()));
        }
        Page::of_places(body, whole, wanted)
    }

    /// Returns how many records there are, those in a file included.
    pub(crate) fn len(&self) -> usize {
        self.count + self.spool.as_ref().map_or(0, |spool| spool.records.len())
    }

    /// Returns what is too large to be held, in pages that can be.
    pub(crate) fn parts(&self) -> impl Iterator<Item = std::io::Result<Page>> {
        self.spool.iter().flat_map(Spool::parts)
    }

    /// Returns the records that are held, in the order they were sent.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = Sent<'_>> + DoubleEndedIterator {
        (0..self.count).map(|index| self.record(index))
    }

    /// Returns the record at a position.
    pub(crate) fn record(&self, index: usize) -> Sent<'_> {
        Sent { page: self, index }
    }

    fn whole(&self) -> &[Span] {
        self.whole.get_or_init(|| decode::whole(&self.body, &self.list))
    }
}

impl<'p> Sent<'p> {
    /// Returns a wanted value, as JSON.
    pub(crate) fn value(self, slot: usize) -> Option<&'p str> {
        self.values().get(slot).and_then(|value| value.of(&self.page.body))
    }

    /// Returns where the wanted values stand.
    pub(crate) fn values(self) -> &'p [Span] {
        let from = self.index * self.page.slots;
        self.page.values.get(from..from + self.page.slots).unwrap_or_default()
    }

    /// Returns why the record is not taken in.
    pub(crate) fn refused(self) -> Option<&'p str> {
        self.page.refused.as_deref()
    }

    /// Returns the whole record.
    pub(crate) fn text(self) -> &'p str {
        self.page.whole().get(self.index).and_then(|whole| whole.of(&self.page.body)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_can_be_had_in_whole() {
        let body = r#"{"a": [{"id":1} , {"id": "]"},3]}"#;
        let (list, wanted): (Path, _) = ("a[]".parse().unwrap(), Projection::default());
        let found =
            decode::outline(body, &decode::Places { records: &list, next: None, total: None }, &wanted, "x").unwrap();
        let page = Page::of(body.to_owned(), list, 0, found);
        let texts: Vec<&str> = page.records().map(Sent::text).collect();
        assert_eq!(texts, [r#"{"id":1}"#, r#"{"id": "]"}"#, "3"]);
    }

    #[test]
    fn records_got_one_by_one_make_a_page() {
        let mut wanted = Projection::default();
        let id = wanted.add(&"id".parse().unwrap());
        let page = Page::of_records(&[r#"{"id":1}"#, r#"{"id":2"#, r#" {"id":3} "#], &wanted);
        assert_eq!(page.records().map(|sent| sent.value(id)).collect::<Vec<_>>(), [Some("1"), None, Some("3")]);
        assert_eq!(page.record(1).text(), r#"{"id":2"#);
    }
}
