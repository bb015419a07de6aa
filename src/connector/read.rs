//! Reads a stream page by page: request, answer, records, detail calls, next position.

use std::borrow::Cow;

use super::decode::{self, Outline, Places};
use super::detail::{Detailed, FEW, Undetailed};
use super::job::Kinds;
use super::page::{Page, Sent};
use super::paginate::{Paginator, Seen, link_header};
use super::spool::Spool;
use super::values::{Values, Window};
use super::{Connector, Failure, csv};
use crate::domain::manifest::key::joined;
use crate::domain::manifest::{Decode, Detail, ErrorRule, PageKind, Read, Stream};
use crate::domain::path::{Path, Projection};
use crate::error::{Exit, UserError};
use crate::http::Response;
use crate::mutants;

/// How services call the parameter that says how many records a page is asked for, without what is no letter.
const PAGE_SIZES: [&str; 11] = [
    "limit",
    "top",
    "size",
    "pagesize",
    "perpage",
    "count",
    "maxrecords",
    "maxresults",
    "pagelimit",
    "batchsize",
    "rows",
];

/// The most bytes of a page of CSV, which is held whole.
const LARGEST_CSV: usize = 64 << 20;

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
    /// What is taken out of each record: all that is wanted, and its key.
    values: Projection,
    /// The slots of its key.
    keys: Vec<usize>,
    start: Start<'c>,
    paginator: Paginator,
    /// Why the read ends after the page that was handed on last.
    failure: Option<Failure>,
    /// The types of the columns of a download, once they are known.
    kinds: Option<Kinds>,
    /// How many detail calls have failed since one went well.
    failing: usize,
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
        let keys: Vec<usize> = stream.key.paths().map(|path| values.add(path)).collect();
        PageRead {
            connector: self,
            stream,
            read,
            fields: wanted.fields,
            values,
            keys,
            start,
            paginator: Paginator::default(),
            failure: None,
            kinds: None,
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
        let header = match &self.read.page.kind {
            PageKind::Link => response.header("link"),
            PageKind::Header(name) => response.header(name).filter(|token| !token.is_empty()),
            _ => None,
        };
        let by_header = match &self.read.page.kind {
            PageKind::Link => header.and_then(link_header),
            _ => header.filter(|token| Some(*token) != self.read.page.end.as_deref()).map(str::to_owned),
        };
        // A header that is there and names no next page says so.
        let is_end = header.is_some() && by_header.is_none();
        let counted = self.read.page.rows.as_ref().and_then(|name| response.header(name)?.trim().parse::<usize>().ok());
        let mut page = if response.status == 204 && response.body.is_empty() {
            Page::empty()
        } else {
            let mut kinds = self.kinds.take();
            let page = self.decoded(response, &values, &mut kinds, &what);
            self.kinds = kinds;
            page?
        };
        if let Some(counted) = counted.filter(|counted| *counted != page.len()) {
            let message = format!("{what} answered with {} of {counted} records", page.len());
            return Err(Failure::Stream(
                UserError::new(Exit::Unavailable, "bad_response", message)
                    .hint("the answer was cut off; try again later"),
            ));
        }
        let next = by_header.or(page.next.take());
        let next = if by_link { next.map(|link| connector.without_credentials(&link)) } else { next };
        let size = match &self.read.page.size {
            Some(size) => values.text(size)?.and_then(|size| size.parse().ok()),
            None => None,
        };
        let asked = size.or(self.asked(&values)?);
        let last_key = match &self.read.page.kind {
            PageKind::Keyset(_) => self.last_key(&page, &what)?,
            _ => None,
        };
        let edges = self.edges(&page);
        let edges = edges.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        let records = page.len() as u64;
        let is_end = is_end || page.is_end;
        let seen = Seen { records, next, is_end, last_key, size, asked, position: position.as_deref(), edges };
        page.next = match (self.paginator.next(&self.read.page, &seen), &position) {
            (Ok(next), _) => next,
            // What this page has is kept.
            (Err(failure), Some(position)) => {
                self.failure = Some(failure);
                Some(position.clone())
            }
            (Err(failure), None) => return Err(failure),
        };
        page.end = self.paginator.end(&self.read.page, &seen).filter(|_| page.next.is_none());
        if let Some(notice) = self.paginator.capped(&self.read.page, &seen) {
            connector.notice(notice);
        }
        match &self.stream.detail {
            Some(detail) if self.start.details => {
                let (page, failing) = self.detailed(detail, &page, &values)?;
                self.failing = failing;
                Ok(page)
            }
            _ => Ok(page),
        }
    }

    /// Returns the page that an answer holds.
    fn decoded(
        &self,
        response: Response,
        values: &Values<'_>,
        kinds: &mut Option<Kinds>,
        what: &str,
    ) -> Result<Page, Failure> {
        let (connector, read) = (self.connector, self.read);
        let next = match &read.page.kind {
            PageKind::Token(path) | PageKind::Next(path) => Some(path),
            _ => read.page.more.as_ref(),
        };
        let lines = Path { steps: Vec::new(), array: true };
        let records = match read.decode() {
            Decode::Json => read.records.as_ref().unwrap_or(&self.stream.records),
            Decode::Csv => &lines,
        };
        let places = Places { records, next, total: read.page.total.as_ref() };
        let mut response = response;
        let status = response.status;
        if read.decode == Some(Decode::Json)
            && !response.header("content-type").is_some_and(|kind| kind.contains("html"))
        {
            response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        if read.decode() == Decode::Json && response.spooled.is_some() {
            decode::proved_json(&response, what, |begin| connector.harmless(begin))?;
        }
        let body = match (read.decode(), response.spooled.take()) {
            (Decode::Json, None) => connector.text(response, what)?,
            (Decode::Json, Some(spooled)) => {
                let found = decode::outline_spooled(&response, &spooled, &places, what)?;
                let (wanted, key) = (self.values.clone(), self.single_key());
                let (records, found) = (found.values, Outline { values: Vec::new(), count: 0, ..found });
                self.heed(found.complaint.as_deref(), status, what)?;
                let spool = Spool { file: spooled.file, records, wanted, key };
                return Ok(Page::spooled(spool, found));
            }
            (Decode::Csv, spooled) => {
                if let Some(spooled) = spooled {
                    response.body = decode::read_back(&spooled, LARGEST_CSV)?;
                }
                let known = match kinds.take() {
                    Some(known) => known,
                    None => connector.column_kinds(self.stream, values)?,
                };
                csv::json(response, kinds.insert(known), &self.stream.key, what)?
            }
        };
        let found = decode::outline(&body, &places, &self.values, what)?;
        self.heed(found.complaint.as_deref(), status, what)?;
        Ok(Page::of(body, records.clone(), self.values.slots(), found))
    }

    /// Refuses a page that has a list of records and says itself that something went wrong.
    fn heed(&self, complaint: Option<&str>, status: u16, what: &str) -> Result<(), Failure> {
        let Some(complaint) = complaint else { return Ok(()) };
        let said = self.connector.harmless(complaint);
        let message = format!("{what} answered {status} with an error: {said}");
        Err(Failure::Stream(
            UserError::new(Exit::Unavailable, "error_in_answer", message)
                .hint("nothing of this page was taken; try again later, or ask the provider"),
        ))
    }

    /// Returns how many records a page is asked for, by the parameter that says so in most services, where the manifest
    /// does not.
    fn asked(&self, values: &Values<'_>) -> Result<Option<u64>, Failure> {
        for (name, template) in self.read.query.iter() {
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            if PAGE_SIZES.contains(&plain.to_ascii_lowercase().as_str()) {
                return Ok(values.text(template)?.and_then(|size| size.parse().ok()));
            }
        }
        Ok(None)
    }

    /// Returns the slot of a key that is one value.
    fn single_key(&self) -> Option<usize> {
        match self.keys.as_slice() {
            [key] => Some(*key),
            _ => None,
        }
    }

    /// Returns the key of a record.
    fn key_of(&self, record: Sent<'_>) -> Option<String> {
        let parts = self.keys.iter().map(|slot| record.value(*slot).and_then(decode::scalar).map(Cow::Owned));
        joined(parts).map(Cow::into_owned)
    }

    /// Returns what tells the first and the last record of a page from others: their keys, else where they have none the
    /// records themselves.
    fn edges(&self, page: &Page) -> Option<(String, String)> {
        let edge = |record: Sent<'_>| self.key_of(record).unwrap_or_else(|| record.text().to_owned());
        let mut records = page.records();
        let first = edge(records.next()?);
        Some((first.clone(), records.next_back().map_or(first, edge)))
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
    fn last_key(&self, page: &Page, what: &str) -> Result<Option<String>, Failure> {
        let (mut by_number, mut by_text) = (true, true);
        let mut last: Option<String> = None;
        let mut follow = |page: &Page| {
            for record in page.records() {
                let key = self.key_of(record);
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
        Err(Failure::Distrust(
            UserError::new(Exit::Unavailable, "order_wrong", message)
                .hint("pages that follow each other by key need that order; correct the manifest, or ask the provider"),
        ))
    }

    /// Returns the page with each thin record replaced by the answer of its detail call, and how many calls have failed
    /// since one went well.
    fn detailed(&self, detail: &Detail, page: &Page, values: &Values<'_>) -> Result<(Page, usize), Failure> {
        let each = self.start.each;
        let mut records: Vec<String> = page.records().map(|sent| sent.text().to_owned()).collect();
        for part in page.parts() {
            let part = part.map_err(|error| decode::unreadable(&error))?;
            records.extend(part.records().map(|sent| sent.text().to_owned()));
        }
        let thin: Vec<(&str, Option<&str>)> = records.iter().map(|record| (record.as_str(), each)).collect();
        let answers = self.connector.detailed((self.stream, detail), &thin, values, FEW.max(thin.len() / 5))?;
        let (mut full, mut gone, mut undetailed) = (Vec::with_capacity(thin.len()), 0, Vec::new());
        let (mut first, mut untried) = (None, false);
        let let_in = answers.iter().any(|answer| matches!(answer, Detailed::Full(_) | Detailed::Gone));
        for ((record, _), answer) in thin.iter().zip(answers) {
            match answer {
                Detailed::Full(text) => full.push(text),
                Detailed::Gone => gone += 1,
                // Let in for none, it is the credential that is refused, and not a record.
                Detailed::Refused(error) if !let_in && thin.len() > 1 => return Err(Failure::Refused(error)),
                Detailed::Failed(error) | Detailed::Refused(error) => {
                    undetailed.push(Undetailed::new(record, &error, each));
                    first.get_or_insert(error);
                }
                Detailed::Untried => untried = true,
            }
        }
        let well = !full.is_empty() || gone > 0;
        let failing = if well { 0 } else { self.failing + undetailed.len() };
        match first {
            // One record may be broken, but not this many: it is the service.
            Some(error) if untried || failing > FEW || undetailed.len() > FEW.max(thin.len() / 5) => {
                return Err(Failure::Stream(error));
            }
            _ if untried => return Err(Failure::Stopped),
            _ => {}
        }
        if full.is_empty() && undetailed.is_empty() && gone > 1 {
            let message = format!("none of the {gone} records of a page has details");
            let error = UserError::new(Exit::Unavailable, "details_missing", message)
                .hint("one record may go while it is read, but not all; check `detail` in the manifest and `api_url`");
            return Err(Failure::Stream(error));
        }
        let mut full = Page::of_records(&full, &self.values);
        (full.next, full.total, full.end) = (page.next.clone(), page.total, page.end);
        (full.gone, full.undetailed) = (gone, undetailed);
        Ok((full, failing))
    }
}
