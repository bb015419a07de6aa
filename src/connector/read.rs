//! Reads a stream page by page: request, answer, records, detail calls, next position.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use serde_json::value::RawValue;

use super::csv;
use super::decode;
use super::job::Kinds;
use super::paginate::{Paginator, Seen, link_header};
use super::values::{Values, Window};
use super::{Connector, Failure, lenient};
use crate::domain::manifest::{Action, Decode, Detail, ErrorRule, PageKind, Read, Stream};
use crate::domain::path::{Path, Projection};
use crate::error::{Exit, UserError};
use crate::mutants;

/// What became of a detail call: the record, none where it has gone, or why there is no telling.
type Detailed = Result<Option<String>, Failure>;

/// One page of records.
pub(crate) struct Page {
    /// The text that the records are ranges of.
    body: String,
    records: Vec<Range<usize>>,
    /// The position of the page after it; `None` if this is the last.
    pub(crate) next: Option<String>,
    /// How many records the provider says there are.
    pub(crate) total: Option<u64>,
    /// How many of its records had gone by the time their details were asked for.
    pub(crate) gone: u64,
}

impl Page {
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
    /// The id of the job whose download this is.
    pub(crate) job: Option<String>,
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
    /// Why the read ends after the page that was handed on last.
    failure: Option<Failure>,
    /// The types of the columns of a download, once they are known.
    kinds: Option<Kinds>,
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
            failure: None,
            kinds: None,
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
        let page = match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.page(),
        };
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
            job: self.start.job.as_deref(),
            ..connector.values(Some(self.stream))
        };
        let by_link = matches!(self.read.page.kind, PageKind::Next(_) | PageKind::Link);
        let request = match &position {
            Some(link) if by_link => connector.request_link(link, self.read, &values)?,
            _ => connector.request_read(self.read, &values)?,
        };
        let what = request.shown();
        mutants::point("page asked for");
        let response = connector.call(&self.rules(), &values, request, self.read.idempotent)?;
        mutants::point("page received");
        let by_header = match &self.read.page.kind {
            PageKind::Link => response.header("link").and_then(link_header),
            PageKind::Header(name) => response
                .header(name)
                .filter(|token| !token.is_empty() && Some(*token) != self.read.page.end.as_deref())
                .map(str::to_owned),
            _ => None,
        };
        let counted = self.read.page.rows.as_ref().and_then(|name| response.header(name)?.trim().parse::<usize>().ok());
        let (body, outline) = if response.status == 204 && response.body.is_empty() {
            let total = matches!(self.read.page.kind, PageKind::Keyset(_)).then_some(0);
            ("[]".to_owned(), decode::Outline { records: Vec::new(), next: None, total })
        } else {
            let body = match self.read.decode {
                Decode::Json => connector.text(response, &what)?,
                Decode::Csv => {
                    let kinds = match self.kinds.take() {
                        Some(kinds) => kinds,
                        None => connector.column_kinds(self.stream, &values)?,
                    };
                    csv::json(response, self.kinds.insert(kinds), &self.stream.key, &what)?
                }
            };
            let next = match &self.read.page.kind {
                PageKind::Token(path) | PageKind::Next(path) => Some(path),
                _ => self.read.page.more.as_ref(),
            };
            let lines = Path { steps: Vec::new(), array: true };
            let records = match self.read.decode {
                Decode::Json => self.read.records.as_ref().unwrap_or(&self.stream.records),
                Decode::Csv => &lines,
            };
            let outline = decode::outline(&body, records, (next, self.read.page.total.as_ref()), &what)?;
            (body, outline)
        };
        if let Some(counted) = counted.filter(|counted| *counted != outline.records.len()) {
            let message = format!("{what} answered with {} of {counted} records", outline.records.len());
            return Err(Failure::Stream(
                UserError::new(Exit::Unavailable, "bad_response", message)
                    .hint("the answer was cut off; try again later"),
            ));
        }
        let next = by_header.or(outline.next);
        let size = match &self.read.page.size {
            Some(size) => values.text(size)?.and_then(|size| size.parse().ok()),
            None => None,
        };
        let last_key = match &self.read.page.kind {
            PageKind::Keyset(_) => self.last_key(outline.records.iter().map(|range| &body[range.clone()]), &what)?,
            _ => None,
        };
        let edge = |range: Option<&Range<usize>>| range.map(|range| self.edge(&body[range.clone()]));
        let edges = edge(outline.records.first()).zip(edge(outline.records.last()));
        let edges = edges.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        let records = outline.records.len() as u64;
        let seen = Seen { records, next, last_key, size, position: position.as_deref(), edges };
        let next = match (self.paginator.next(&self.read.page, &seen), &position) {
            (Ok(next), _) => next,
            // What this page has is kept, and the next run goes on with it.
            (Err(error), Some(position)) => {
                self.failure = Some(Failure::Stream(error));
                Some(position.clone())
            }
            (Err(error), None) => return Err(Failure::Stream(error)),
        };
        if let Some(notice) = self.paginator.capped(&self.read.page, &seen) {
            connector.notice(notice);
        }
        let page = Page { body, records: outline.records, next, total: outline.total, gone: 0 };
        match &self.stream.detail {
            Some(detail) if self.start.details => self.detailed(detail, &page, &values),
            _ => Ok(page),
        }
    }

    /// Returns what tells a record from others: its key, else the record itself.
    fn edge(&self, record: &str) -> String {
        let mut projection = Projection::default();
        let slot = projection.add(&self.stream.key);
        let mut values: Vec<Option<&RawValue>> = Vec::new();
        let key = projection.take(record, &mut values).ok().and_then(|_| values[slot]).and_then(decode::scalar);
        key.unwrap_or_else(|| record.to_owned())
    }

    /// Returns the rules for answers: those of the job come before those of the stream.
    fn rules(&self) -> Cow<'_, [ErrorRule]> {
        match self.stream.job.as_ref().filter(|_| self.start.job.is_some()) {
            Some(job) => job.errors.iter().chain(&self.stream.errors).cloned().collect(),
            None => Cow::Borrowed(&self.stream.errors),
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
            let key = projection.take(record, &mut values).ok().and_then(|_| values[slot]).and_then(decode::scalar);
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

    /// Returns the page with each thin record replaced by the answer of its detail call.
    fn detailed(&self, detail: &Detail, page: &Page, values: &Values<'_>) -> Result<Page, Failure> {
        let thin: Vec<&str> = page.records().collect();
        let rules = gone_or(detail, &self.stream.errors);
        let next = std::sync::atomic::AtomicUsize::new(0);
        let answers: Vec<Mutex<Option<Detailed>>> = thin.iter().map(|_| None.into()).collect();
        std::thread::scope(|scope| {
            for _ in 0..detail.concurrent.min(thin.len()) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(record) = thin.get(index) else { return };
                        let answer = self.detail(detail, &rules, record, values);
                        let failed = answer.is_err();
                        *answers[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
                        if failed {
                            next.store(thin.len(), std::sync::atomic::Ordering::Relaxed);
                            return;
                        }
                    }
                });
            }
        });
        let mut full = Page {
            body: String::new(),
            records: Vec::with_capacity(thin.len()),
            next: page.next.clone(),
            total: page.total,
            gone: 0,
        };
        let mut answers: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
            .collect();
        // The failure stands somewhere behind answers that came; whichever is found first stands for the page.
        if let Some(position) = answers.iter().position(|answer| matches!(answer, Some(Err(_)))) {
            return match answers.swap_remove(position) {
                Some(Err(failure)) => Err(failure),
                _ => Err(Failure::Stopped),
            };
        }
        for answer in answers {
            match answer {
                Some(Ok(Some(text))) => {
                    let from = full.body.len();
                    full.body.push_str(&text);
                    full.records.push(from..full.body.len());
                }
                Some(Ok(None)) => full.gone += 1,
                _ => return Err(Failure::Stopped),
            }
        }
        if full.records.is_empty() && full.gone > 1 {
            let message = format!("none of the {} records of a page has details", full.gone);
            let error = UserError::new(Exit::Unavailable, "details_missing", message)
                .hint("one record may go while it is read, but not all; check `detail` in the manifest and `api_url`");
            return Err(Failure::Stream(error));
        }
        Ok(full)
    }

    /// Returns the answer of one detail call, `None` if the record has gone meanwhile.
    fn detail(
        &self,
        detail: &Detail,
        rules: &[ErrorRule],
        record: &str,
        values: &Values<'_>,
    ) -> Result<Option<String>, Failure> {
        // What is no JSON has no details to be asked for; it is told apart further on.
        let Some(parsed) = lenient::document(record) else { return Ok(Some(record.to_owned())) };
        let values = Values { record: Some(&parsed), ..values.clone() };
        let request = self.connector.request_get(&detail.get, &detail.query, &values)?;
        let what = request.shown();
        match self.connector.call(rules, &values, request, true) {
            Ok(response) if response.status == 204 => Ok(None),
            Ok(response) => self.connector.text(response, &what).map(Some),
            Err(failure) => Err(failure),
        }
    }
}

/// Returns the rules for the answers of detail calls: what says that a record has gone comes first.
fn gone_or(detail: &Detail, rules: &[ErrorRule]) -> Vec<ErrorRule> {
    let status = detail.missing_ok.0.clone();
    let gone = ErrorRule { status, when: None, action: Action::EmptyPage, wait: None, hint: None };
    let gone = Some(gone).filter(|gone| !gone.status.0.is_empty());
    gone.into_iter().chain(rules.iter().cloned()).collect()
}
