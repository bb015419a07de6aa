//! How a stream is read: requests, pages, the incremental cursor, detail calls, loops, and deletes.

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::duration::Length;
use super::super::names::Name;
use super::super::path::Path;
use super::super::slot::{JsonTemplate, Slot, Template};
use super::{Ordered, Statuses};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// A request that answers with pages of records.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) get: Option<Template>,
    pub(crate) post: Option<Template>,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    pub(crate) json: Option<JsonTemplate>,
    #[serde(default)]
    pub(crate) form: Ordered<Template>,
    /// Whether a POST may be sent again after a failure: a search may, creating something may not.
    #[serde(default)]
    pub(crate) idempotent: bool,
    #[serde(default)]
    pub(crate) page: Page,
    /// What the pages are written in. Said, it is believed whatever type the answers claim to be of, but HTML.
    pub(crate) decode: Option<Decode>,
    /// Where this read's records are, if not where the stream says.
    pub(crate) records: Option<Path>,
    /// The most records the service gives for one query; a keyset starts a new query with each page.
    pub(crate) cap: Option<u64>,
}

impl Read {
    pub(crate) fn method(&self) -> Method {
        if self.post.is_some() { Method::Post } else { Method::Get }
    }

    /// Returns what the pages are written in.
    pub(crate) fn decode(&self) -> Decode {
        self.decode.unwrap_or_default()
    }

    /// Returns the path of the request, below the base.
    pub(crate) fn path(&self) -> Option<&Template> {
        self.post.as_ref().or(self.get.as_ref())
    }

    /// Returns all slots, wherever they stand.
    pub(crate) fn slots(&self) -> Vec<&Slot> {
        let pairs = [&self.query, &self.headers, &self.form];
        let mut slots: Vec<&Slot> = self.path().into_iter().flat_map(Template::slots).collect();
        slots.extend(pairs.into_iter().flat_map(|pairs| pairs.iter().flat_map(|(_, template)| template.slots())));
        slots.extend(self.json.iter().flat_map(JsonTemplate::slots));
        slots
    }
}

/// What a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decode {
    #[default]
    Json,
    /// A first line of names, then a line for each record. A name with dots, like `Owner.Name`, is a path into the
    /// record, and an empty cell is null.
    Csv,
}

/// How the next page is found, and when there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) kind: PageKind,
    /// The first page's position, where the service wants one.
    pub(crate) first: Option<String>,
    /// How many records a page is asked for; needed to know a short page and to move an offset.
    pub(crate) size: Option<Template>,
    pub(crate) stop: Vec<Stop>,
    /// Where an answer says that there is more: an empty page that says so is no end.
    pub(crate) more: Option<Path>,
    /// More pages than this are an error, not an end.
    pub(crate) max: u64,
    /// Where an answer says how many records the list has altogether: checked at its end, too few as well as too many.
    pub(crate) total: Option<Path>,
    /// What a `header` says when there is no next page.
    pub(crate) end: Option<String>,
    /// The header that says how many records the page has: with another number the answer was cut off.
    pub(crate) rows: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum PageKind {
    /// One page is all there is.
    #[default]
    None,
    /// A token in the answer, sent with the next request.
    Token(Path),
    /// A token in this header of the answer, sent with the next request.
    Header(String),
    /// A link in the answer, absolute or relative, on the same origin.
    Next(Path),
    /// A link in the `Link` header with `rel="next"` (RFC 8288).
    Link,
    /// Pages counted from a number.
    Number(u64),
    /// Records counted from zero.
    Offset,
    /// The key of the last record, sent with the next request: records come in its order.
    Keyset(Path),
}

/// What ends a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stop {
    /// A page without records.
    Empty,
    /// A page with fewer records than were asked for. Services may answer short pages in the middle, so it is never assumed.
    ShortPage,
}

/// More pages than this are no list but one that makes itself up: at a hundred records a page it would be two million, more than
/// any training provider or employer base has. A manifest may say otherwise.
const MOST_PAGES: u64 = 20_000;

/// A `page` as written: exactly one way to the next page.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPage {
    token: Option<Path>,
    header: Option<String>,
    next: Option<Path>,
    link: Option<String>,
    number: Option<u64>,
    offset: Option<u64>,
    keyset: Option<Path>,
    first: Option<String>,
    size: Option<Template>,
    stop: Option<Vec<Stop>>,
    more: Option<Path>,
    max: Option<u64>,
    total: Option<Path>,
    end: Option<String>,
    rows: Option<String>,
}

impl<'de> Deserialize<'de> for Page {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenPage::deserialize(deserializer)?;
        let link = match written.link.as_deref() {
            None => None,
            Some("header") => Some(PageKind::Link),
            Some(_) => return Err(serde::de::Error::custom("`link` is `header`")),
        };
        if written.offset.is_some_and(|offset| offset != 0) {
            return Err(serde::de::Error::custom("`offset` counts records from 0"));
        }
        let mut kinds = [
            written.token.map(PageKind::Token),
            written.header.map(|name| PageKind::Header(name.to_lowercase())),
            written.next.map(PageKind::Next),
            link,
            written.number.map(PageKind::Number),
            written.offset.map(|_| PageKind::Offset),
            written.keyset.map(PageKind::Keyset),
        ]
        .into_iter()
        .flatten();
        let (kind, more) = (kinds.next(), kinds.next());
        let (Some(kind), None) = (kind, more) else {
            return Err(serde::de::Error::custom(
                "a `page` has exactly one of `token`, `header`, `next`, `link`, `number`, `offset`, `keyset`; leave it out for a single page",
            ));
        };
        let stop = written.stop.unwrap_or_else(|| match kind {
            PageKind::Number(_) | PageKind::Offset | PageKind::Keyset(_) => vec![Stop::Empty],
            _ => Vec::new(),
        });
        if written.more.is_some() && !matches!(kind, PageKind::Number(_) | PageKind::Offset | PageKind::Keyset(_)) {
            return Err(serde::de::Error::custom(
                "`more` goes with `number`, `offset` or `keyset`: a token or a link is what promises more itself",
            ));
        }
        Ok(Page {
            kind,
            first: written.first,
            size: written.size,
            stop,
            more: written.more,
            max: written.max.unwrap_or(MOST_PAGES),
            total: written.total,
            end: written.end,
            rows: written.rows.map(|name| name.to_lowercase()),
        })
    }
}

/// What makes a stream incremental: `changes` reads a window of time that ends when the run began.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// Where a record says when it changed, if it does; asked for with the other fields.
    pub(crate) field: Option<Path>,
    /// How far a window reaches back over the one before it, for records that became visible late.
    #[serde(default = "default_overlap")]
    pub(crate) overlap: Length,
    /// How long before the present a window ends, for indexes that lag.
    #[serde(default = "default_settle")]
    pub(crate) settle: Length,
    /// The longest window: a longer gap is read as several, each of which counts once it is read.
    pub(crate) step: Option<Length>,
    /// How long the service keeps changes and deletes: after a longer gap everything is read once.
    pub(crate) retention: Option<Length>,
}

fn default_overlap() -> Length {
    Length(300)
}

fn default_settle() -> Length {
    Length(0)
}

/// A call for each record whose answer is the record in full.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detail {
    pub(crate) get: Template,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// How many calls may be in the air at once.
    #[serde(default = "one")]
    pub(crate) concurrent: usize,
    /// The statuses that say that the record has gone since the page was read: one, a list, or `true` for 404.
    #[serde(default)]
    pub(crate) missing_ok: Missing,
}

/// Statuses of what is no longer there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Missing(pub(crate) Statuses);

impl<'de> Deserialize<'de> for Missing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WhetherOrWhich;
        impl<'de> Visitor<'de> for WhetherOrWhich {
            type Value = Missing;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true`, a status code or a list of them")
            }

            fn visit_bool<E: Error>(self, is_404: bool) -> Result<Missing, E> {
                Ok(Missing(Statuses(if is_404 { vec![404] } else { Vec::new() })))
            }

            fn visit_u64<E: Error>(self, status: u64) -> Result<Missing, E> {
                Statuses::deserialize(status.into_deserializer()).map(Missing)
            }

            fn visit_i64<E: Error>(self, status: i64) -> Result<Missing, E> {
                Statuses::deserialize(status.into_deserializer()).map(Missing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Missing, A::Error> {
                Statuses::deserialize(SeqAccessDeserializer::new(seq)).map(Missing)
            }
        }
        deserializer.deserialize_any(WhetherOrWhich)
    }
}

fn one() -> usize {
    1
}

/// A loop: the stream is read once for each value of a list setting.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Each {
    pub(crate) settings: Name,
}

/// How a deleted record is noticed. Rows are marked, never removed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deletes {
    /// The record itself says so.
    pub(crate) flag: Option<Flag>,
    /// A list of deleted records, read after each complete read of the stream.
    pub(crate) feed: Option<Read>,
    /// Where a record tells the keys of those that were merged into it: a list, or a text that `;` parts. They are gone, unless the
    /// same read shows them.
    pub(crate) merged: Option<Path>,
    /// How often a full read looks for records that are no longer there.
    pub(crate) sweep: Sweep,
    /// How many complete full reads in a row must miss a record before it counts as deleted.
    pub(crate) after: u32,
    /// The share of an organization's rows that may vanish at once before a run stops and asks.
    pub(crate) max: f64,
}

impl Default for Deletes {
    fn default() -> Self {
        Deletes { flag: None, feed: None, merged: None, sweep: Sweep::Never, after: 1, max: 0.2 }
    }
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flag {
    pub(crate) field: Path,
    pub(crate) is: Value,
}

/// How often a stream that can be read by changes is read in full all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sweep {
    Always,
    Daily,
    Weekly,
    #[default]
    Never,
}

impl Sweep {
    /// Returns how long after a full read the next one is due, `None` for never.
    pub(crate) fn every(self) -> Option<Length> {
        match self {
            Sweep::Always => Some(Length(0)),
            Sweep::Daily => Some(Length(86_400)),
            Sweep::Weekly => Some(Length(7 * 86_400)),
            Sweep::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_promises_more_stands_where_only_records_lead_on() {
        let read =
            |page: serde_json::Value| Page::deserialize(page).map(|page| page.more).map_err(|error| error.to_string());
        assert!(read(serde_json::json!({"keyset": "id", "more": "paging.next"})).unwrap().is_some());
        for page in [serde_json::json!({"token": "a", "more": "b"}), serde_json::json!({"link": "header", "more": "b"})]
        {
            assert!(read(page).unwrap_err().contains("`more` goes with"));
        }
    }
}
