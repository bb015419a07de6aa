//! Reads a stream page by page: request, answer, records, detail calls, next position.

use std::ops::Range;

use serde_json::value::RawValue;

use super::decode;
use super::detail::{Detailed, FEW, Undetailed};
use super::paginate::{Paginator, Seen, link_header};
use super::values::{Values, Window};
use super::{Connector, Failure};
use crate::domain::manifest::{Detail, PageKind, Read, Stream};
use crate::domain::path::Projection;
use crate::error::{Exit, UserError};

/// One page of records.
pub(crate) struct Page {
    /// The text that the records are ranges of.
    body: String,
    records: Vec<Range<usize>>,
    /// The position of the page after it; `None` if this is the last.
    pub(crate) next: Option<String>,
    /// How many of its records had gone by the time their details were asked for.
    pub(crate) gone: u64,
    /// The records whose details could not be read; they are not among the others.
    pub(crate) undetailed: Vec<Undetailed>,
}

impl Page {
    /// Returns a page of one record that did not just come from the provider.
    pub(crate) fn of(record: &str) -> Self {
        let records = std::iter::once(0..record.len()).collect();
        Page { body: record.to_owned(), records, next: None, gone: 0, undetailed: Vec::new() }
    }

    /// Returns the records as the provider sent them.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = &str> {
        self.records.iter().map(|range| &self.body[range.clone()])
    }
}

/// Where a read begins or goes on.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    pub(crate) window: Window,
    /// `None` for the first page.
    pub(crate) position: Option<String>,
    pub(crate) each: Option<&'a str>,
    /// Whether thin records are completed by their detail calls; a list of deleted ones is not.
    pub(crate) details: bool,
}

/// A read under way: an iterator of pages that ends after the last one or the first failure.
pub(crate) struct PageRead<'c> {
    connector: &'c Connector<'c>,
    stream: &'c Stream,
    read: &'c Read,
    fields: &'c [String],
    start: Start<'c>,
    paginator: Paginator,
    /// How many detail calls have failed since one went well.
    failing: usize,
    ended: bool,
}

impl<'c> Connector<'c> {
    /// Begins a read. `fields` are the source paths that mappings need, for the `{fields}` slot.
    pub(crate) fn pages(
        &'c self,
        stream: &'c Stream,
        read: &'c Read,
        fields: &'c [String],
        start: Start<'c>,
    ) -> PageRead<'c> {
        let mut start = start;
        if start.position.is_none() {
            start.position = Paginator::first(&read.page);
        }
        PageRead {
            connector: self,
            stream,
            read,
            fields,
            start,
            paginator: Paginator::default(),
            failing: 0,
            ended: false,
        }
    }
}

impl Iterator for PageRead<'_> {
    type Item = Result<Page, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let page = self.page();
        match &page {
            Ok(Page { next: Some(position), .. }) => self.start.position = Some(position.clone()),
            _ => self.ended = true,
        }
        Some(page)
    }
}

impl PageRead<'_> {
    fn page(&mut self) -> Result<Page, Failure> {
        let connector = self.connector;
        if connector.stopped() {
            return Err(Failure::Stopped);
        }
        let position = self.start.position.clone();
        connector.ensure_token()?;
        let values = Values {
            window: Some(self.start.window),
            page: position.as_deref(),
            fields: self.fields,
            each: self.start.each,
            ..connector.values(Some(self.stream))
        };
        let by_link = matches!(self.read.page.kind, PageKind::Next(_) | PageKind::Link);
        let request = match &position {
            Some(link) if by_link => connector.request_link(link, self.read, &values)?,
            _ => connector.request_read(self.read, &values)?,
        };
        let what = request.shown();
        let response = connector.call(&self.stream.errors, &values, request, self.read.idempotent)?;
        let by_header = match &self.read.page.kind {
            PageKind::Link => response.header("link").and_then(link_header),
            _ => None,
        };
        let (body, outline) = if response.status == 204 && response.body.is_empty() {
            ("[]".to_owned(), decode::Outline { records: Vec::new(), next: None })
        } else {
            let body = decode::text(response, &what)?;
            let next = match &self.read.page.kind {
                PageKind::Token(path) | PageKind::Next(path) => Some(path),
                _ => None,
            };
            let records = self.read.records.as_ref().unwrap_or(&self.stream.records);
            let outline = decode::outline(&body, records, next, &what)?;
            (body, outline)
        };
        let next = by_header.or(outline.next);
        let size = match &self.read.page.size {
            Some(size) => values.text(size)?.and_then(|size| size.parse().ok()),
            None => None,
        };
        let last_key = match &self.read.page.kind {
            PageKind::Keyset(_) => self.last_key(outline.records.iter().map(|range| &body[range.clone()]), &what)?,
            _ => None,
        };
        let seen = Seen { records: outline.records.len() as u64, next, last_key, size, position: position.as_deref() };
        let next = self.paginator.next(&self.read.page, &seen).map_err(Failure::Stream)?;
        let page = Page { body, records: outline.records, next, gone: 0, undetailed: Vec::new() };
        match &self.stream.detail {
            Some(detail) if self.start.details => {
                let (page, failing) = self.detailed(detail, &page, &values)?;
                self.failing = failing;
                Ok(page)
            }
            _ => Ok(page),
        }
    }

    /// Returns the key of the last record. The order is checked, not trusted: what comes out of it would be passed over by
    /// the next request, for good. Some services put the digits of ids in the order of texts, which leads on as well.
    fn last_key<'r>(&self, records: impl Iterator<Item = &'r str>, what: &str) -> Result<Option<String>, Failure> {
        let mut projection = Projection::default();
        let slot = projection.add(&self.stream.key);
        let (mut by_number, mut by_text) = (true, true);
        let mut last: Option<String> = None;
        for record in records {
            let mut values: Vec<Option<&RawValue>> = Vec::new();
            let key = projection.take(record, &mut values).ok().and_then(|()| values[slot]).and_then(decode::scalar);
            if let (Some(before), Some(key)) = (&last, &key) {
                let numbers = before.parse::<u128>().ok().zip(key.parse::<u128>().ok());
                by_number &= numbers.is_some_and(|(before, key)| before <= key);
                by_text &= before <= key;
            }
            last = key.or(last);
        }
        if by_number || by_text {
            return Ok(last);
        }
        let message = format!("{what} answered with records that are not in the order of `{}`", self.stream.key);
        Err(Failure::Stream(
            UserError::new(Exit::Unavailable, "order_wrong", message)
                .hint("pages that follow each other by key need that order; correct the manifest, or ask the provider"),
        ))
    }

    /// Returns the page with each thin record replaced by the answer of its detail call, and how many calls have failed
    /// since one went well.
    fn detailed(&self, detail: &Detail, page: &Page, values: &Values<'_>) -> Result<(Page, usize), Failure> {
        let each = self.start.each;
        let thin: Vec<(&str, Option<&str>)> = page.records().map(|record| (record, each)).collect();
        let answers = self.connector.detailed((self.stream, detail), &thin, values, FEW.max(thin.len() / 5))?;
        let records = Vec::with_capacity(thin.len());
        let mut full = Page { body: String::new(), records, next: page.next.clone(), gone: 0, undetailed: Vec::new() };
        let (mut first, mut untried) = (None, false);
        for ((record, _), answer) in thin.iter().zip(answers) {
            match answer {
                Detailed::Full(text) => {
                    let from = full.body.len();
                    full.body.push_str(&text);
                    full.records.push(from..full.body.len());
                }
                Detailed::Gone => full.gone += 1,
                Detailed::Failed(error) => {
                    full.undetailed.push(Undetailed::new(record, &error, each));
                    first.get_or_insert(error);
                }
                Detailed::Untried => untried = true,
            }
        }
        let well = !full.records.is_empty() || full.gone > 0;
        let failing = if well { 0 } else { self.failing + full.undetailed.len() };
        match first {
            // One record may be broken, but not this many: it is the service.
            Some(error) if untried || failing > FEW || full.undetailed.len() > FEW.max(thin.len() / 5) => {
                return Err(Failure::Stream(error));
            }
            _ if untried => return Err(Failure::Stopped),
            _ => {}
        }
        if full.records.is_empty() && full.undetailed.is_empty() && full.gone > 1 {
            let message = format!("none of the {} records of a page has details", full.gone);
            let error = UserError::new(Exit::Unavailable, "details_missing", message)
                .hint("one record may go while it is read, but not all; check `detail` in the manifest and `api_url`");
            return Err(Failure::Stream(error));
        }
        Ok((full, failing))
    }
}
