//! A page: the answer as it came, and where in it the wanted values of each record stand.

use std::sync::OnceLock;

use super::decode;
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
    /// The position of the page after it; `None` if this is the last.
    pub(crate) next: Option<String>,
    /// How many of its records had gone by the time their details were asked for.
    pub(crate) gone: u64,
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
        Page::of(String::new(), Path::default(), 0, decode::Outline { values: Vec::new(), count: 0, next: None })
    }

    /// Returns the page that was found in an answer; `slots` is how many values each record has.
    pub(super) fn of(body: String, list: Path, slots: usize, found: decode::Outline) -> Self {
        let decode::Outline { values, count, next } = found;
        Page { body, values, slots, count, list, whole: OnceLock::new(), next, gone: 0 }
    }

    /// Returns a page made of records that were got one by one. One that is not JSON has no values.
    pub(crate) fn of_records<R: AsRef<str>>(records: &[R], wanted: &Projection) -> Self {
        let mut page = Page { slots: wanted.slots(), count: records.len(), ..Page::empty() };
        let mut whole = Vec::with_capacity(records.len());
        for record in records {
            let from = page.body.len();
            page.body.push_str(record.as_ref());
            let record = Span::new(from, page.body.len());
            wanted.take_at(record, &page.body, &mut page.values);
            whole.push(record);
        }
        page.whole = whole.into();
        page
    }

    /// Returns how many records there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the records in the order they were sent.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = Sent<'_>> {
        (0..self.count).map(|index| self.record(index))
    }

    /// Returns the record at a position.
    pub(crate) fn record(&self, index: usize) -> Sent<'_> {
        Sent { page: self, index }
    }

    fn whole(&self) -> &[Span] {
        self.whole.get_or_init(|| {
            let mut whole = Projection::default();
            whole.add(&Path::default());
            // It was read before, so it can be read again.
            decode::outline(&self.body, (&self.list, None), &whole, "")
                .map_or_else(|_| Vec::new(), |found| found.values)
        })
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
        let found = decode::outline(body, (&list, None), &wanted, "x").unwrap();
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
