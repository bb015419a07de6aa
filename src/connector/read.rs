//! Reads a stream page by page: request, answer, records, detail calls, next position.

use std::sync::Mutex;

use serde_json::Value;

use super::decode;
use super::page::Page;
use super::paginate::{Paginator, Seen, link_header};
use super::spool::Spool;
use super::values::{Values, Window};
use super::{Connector, Failure};
use crate::domain::manifest::{Detail, PageKind, Read, Stream};
use crate::domain::path::{Path, Projection};
use crate::error::{Exit, UserError};
use crate::http::Response;

/// What became of a detail call: the record, none where it has gone, or why there is no telling.
type Detailed = Result<Option<String>, Failure>;

/// What is wanted of each record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The source paths that mappings need, for the `{fields}` slot.
    pub(crate) fields: &'a [String],
    /// The values to take out.
    pub(crate) values: &'a Projection,
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
    /// What is taken out of each record: all that is wanted, and its key.
    values: Projection,
    key: usize,
    start: Start<'c>,
    paginator: Paginator,
    ended: bool,
}

impl<'c> Connector<'c> {
    /// Begins a read.
    pub(crate) fn pages(
        &'c self,
        stream: &'c Stream,
        read: &'c Read,
        wanted: Wanted<'c>,
        start: Start<'c>,
    ) -> PageRead<'c> {
        let mut start = start;
        if start.position.is_none() {
            start.position = Paginator::first(&read.page);
        }
        let mut values = wanted.values.clone();
        let key = values.add(&stream.key);
        let (fields, paginator) = (wanted.fields, Paginator::default());
        PageRead { connector: self, stream, read, fields, values, key, start, paginator, ended: false }
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
        let mut page = if response.status == 204 && response.body.is_empty() {
            Page::empty()
        } else {
            let next = match &self.read.page.kind {
                PageKind::Token(path) | PageKind::Next(path) => Some(path),
                _ => None,
            };
            let records = self.read.records.as_ref().unwrap_or(&self.stream.records);
            self.decoded(response, (records, next), &what)?
        };
        let next = by_header.or(page.next.take());
        let size = match &self.read.page.size {
            Some(size) => values.text(size)?.and_then(|size| size.parse().ok()),
            None => None,
        };
        let last_key = match &self.read.page.kind {
            PageKind::Keyset(_) => self.last_key(&page, &what)?,
            _ => None,
        };
        let seen = Seen { records: page.len() as u64, next, last_key, size, position: position.as_deref() };
        page.next = self.paginator.next(&self.read.page, &seen).map_err(Failure::Stream)?;
        match &self.stream.detail {
            Some(detail) if self.start.details => self.detailed(detail, &page, &values),
            _ => Ok(page),
        }
    }

    /// Returns the page that an answer holds.
    fn decoded(&self, response: Response, places: (&Path, Option<&Path>), what: &str) -> Result<Page, Failure> {
        let mut response = response;
        let Some(spooled) = response.spooled.take() else {
            let body = decode::text(response, what)?;
            let found = decode::outline(&body, places, &self.values, what)?;
            return Ok(Page::of(body, places.0.clone(), self.values.slots(), found));
        };
        let found = decode::outline_spooled(&response, &spooled, places, what)?;
        let (wanted, key) = (self.values.clone(), self.key);
        Ok(Page::spooled(Spool { file: spooled.file, records: found.values, wanted, key }, found.next))
    }

    /// Returns the key of the last record. The order is checked, not trusted: what comes out of it would be passed over by
    /// the next request, for good. Some services put the digits of ids in the order of texts, which leads on as well.
    fn last_key(&self, page: &Page, what: &str) -> Result<Option<String>, Failure> {
        let (mut by_number, mut by_text) = (true, true);
        let mut last: Option<String> = None;
        let mut follow = |page: &Page| {
            for record in page.records() {
                let key = record.value(self.key).and_then(decode::scalar);
                if let (Some(before), Some(key)) = (&last, &key) {
                    let numbers = before.parse::<u128>().ok().zip(key.parse::<u128>().ok());
                    by_number &= numbers.is_some_and(|(before, key)| before <= key);
                    by_text &= before <= key;
                }
                last = key.or(last.take());
            }
        };
        follow(page);
        for part in page.parts() {
            follow(&part.map_err(|error| decode::unreadable(&error))?);
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
        let mut thin: Vec<String> = page.records().map(|sent| sent.text().to_owned()).collect();
        for part in page.parts() {
            let part = part.map_err(|error| decode::unreadable(&error))?;
            thin.extend(part.records().map(|sent| sent.text().to_owned()));
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let answers: Vec<Mutex<Option<Detailed>>> = thin.iter().map(|_| None.into()).collect();
        std::thread::scope(|scope| {
            for _ in 0..detail.concurrent.min(thin.len()) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(record) = thin.get(index) else { return };
                        let answer = self.detail(detail, record, values);
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
        let (mut full, mut gone) = (Vec::with_capacity(thin.len()), 0);
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
                Some(Ok(Some(text))) => full.push(text),
                Some(Ok(None)) => gone += 1,
                _ => return Err(Failure::Stopped),
            }
        }
        if full.is_empty() && gone > 1 {
            let message = format!("none of the {gone} records of a page has details");
            let error = UserError::new(Exit::Unavailable, "details_missing", message)
                .hint("one record may go while it is read, but not all; check `detail` in the manifest and `api_url`");
            return Err(Failure::Stream(error));
        }
        let mut full = Page::of_records(&full, &self.values);
        (full.next, full.gone) = (page.next.clone(), gone);
        Ok(full)
    }

    /// Returns the answer of one detail call, `None` if the record has gone meanwhile.
    fn detail(&self, detail: &Detail, record: &str, values: &Values<'_>) -> Result<Option<String>, Failure> {
        let record: Value = serde_json::from_str(record).unwrap_or_default();
        let values = Values { record: Some(&record), ..values.clone() };
        let request = self.connector.request_get(&detail.get, &detail.query, &values)?;
        let what = request.shown();
        match self.connector.call(&self.stream.errors, &values, request, true) {
            Ok(response) if response.status == 204 => Ok(None),
            Ok(response) => decode::text(response, &what).map(Some),
            Err(Failure::Stream(error)) if detail.missing_ok && error.code == "not_found_at_provider" => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
