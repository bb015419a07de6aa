//! Finds the next page, knows the last one, and stops what would never end.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::Failure;
use crate::domain::completeness::Doubt;
use crate::domain::manifest::{Page, PageKind, Stop};
use crate::error::{Exit, UserError};
use crate::mutants;

/// What a page showed.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// How many records it held, before any mapping or filter.
    pub(super) records: u64,
    /// The token or link to the next page, or what says that there is one.
    pub(super) next: Option<String>,
    /// Whether it says in so many words that there is none.
    pub(super) is_end: bool,
    /// The key of its last record.
    pub(super) last_key: Option<String>,
    /// How many records were asked for, if the manifest says.
    pub(super) size: Option<u64>,
    /// How many were asked for, as far as it can be told.
    pub(super) asked: Option<u64>,
    /// Where the page stood.
    pub(super) position: Option<&'a str>,
    /// The keys of its first and last record, or those records themselves.
    pub(super) edges: Option<(&'a str, &'a str)>,
}

/// So many pages in a row may be empty though there is said to be more.
const EMPTIES: u32 = 10;
/// So many pages in a row with the same records are a circle, whatever leads from one to the next.
const SAME: u32 = 3;

/// Follows the pages of one read.
#[derive(Debug, Default)]
pub(super) struct Paginator {
    pages: u64,
    /// A position from before, moved on at every power of two: a circle of any length meets it (Brent's method).
    milestone: Option<String>,
    next_milestone: u64,
    /// How many empty pages came last.
    empties: u32,
    /// A digest of the last page, and how many in a row had it.
    same: (u64, u32),
    /// How many records the first page had and how many were asked for, where that looks like a limit of the service.
    capped: Option<(u64, u64)>,
    /// The most records of a page so far.
    largest: u64,
    /// Whether the read goes on behind pages of an earlier run, so that its first page was promised by another.
    resumed: bool,
    /// Whether the last page that had records was a full one, so that another was to be expected.
    was_full: bool,
    /// Whether an empty page behind a full one was asked for once more.
    asked_again: bool,
}

impl Paginator {
    /// Returns the position of the first page.
    pub(super) fn first(page: &Page) -> Option<String> {
        match &page.kind {
            PageKind::Number(first) => Some(first.to_string()),
            PageKind::Offset => Some("0".to_owned()),
            _ => page.first.clone(),
        }
    }

    /// Returns the position of the next page, `None` at the end.
    pub(super) fn next(&mut self, page: &Page, seen: &Seen<'_>) -> Result<Option<String>, Failure> {
        self.pages += 1;
        let distrust = |error: UserError| Err(Failure::Distrust(error));
        if self.pages == 1 {
            self.resumed = seen.position.is_some() && seen.position != Self::first(page).as_deref();
            self.was_full = self.resumed;
            let asked =
                seen.size.filter(|size| seen.records > 0 && seen.records < *size && seen.records.is_multiple_of(10));
            self.capped = asked.map(|asked| (seen.records, asked));
        }
        let next = following(page, seen).map_err(Failure::Stream)?.or_else(|| self.once_more(page, seen));
        if seen.records > 0 {
            self.was_full = self.is_full(seen);
            self.largest = self.largest.max(seen.records);
            self.asked_again = false;
        }
        let Some(position) = &next else { return Ok(None) };
        self.empties = if seen.records == 0 { self.empties + 1 } else { 0 };
        if self.empties > EMPTIES {
            let message = format!("{} pages in a row are empty, and still there is said to be more", self.empties);
            return distrust(
                UserError::new(Exit::Unavailable, "empty_pages", message)
                    .hint("what was read is kept; ask the provider, or try again later"),
            );
        }
        if self.pages >= page.max {
            let message = format!("there are more than {} pages", page.max);
            return distrust(
                UserError::new(Exit::Unavailable, "limit_reached", message)
                    .hint("raise `page.max` in the manifest if this is right"),
            );
        }
        if let Some(edges) = seen.edges {
            let mut digest = DefaultHasher::new();
            (seen.records, edges).hash(&mut digest);
            let digest = digest.finish();
            self.same = (digest, if self.same.0 == digest { self.same.1 + 1 } else { 1 });
        }
        // An empty page that promises more is asked for again where only records lead on.
        let again = seen.records == 0 && by_records(page);
        let circle = !again && (seen.position == Some(position) || self.milestone.as_ref() == Some(position));
        if circle || self.same.1 >= SAME {
            let message = "the provider leads back to a page that was read before";
            return distrust(
                UserError::new(Exit::Unavailable, "pagination_loop", message)
                    .hint("what was read is kept; ask the provider, or try again later"),
            );
        }
        if self.pages > self.next_milestone {
            self.milestone = Some(position.clone());
            self.next_milestone = self.pages * 2;
        }
        Ok(next)
    }

    /// Returns whether a page is as full as one is that has another behind it.
    fn is_full(&self, seen: &Seen<'_>) -> bool {
        let by_others = self.pages > 1 && seen.records >= self.largest;
        seen.records > 0 && (by_others || seen.asked.is_some_and(|asked| seen.records >= asked))
    }

    /// Returns the position of an empty page that ends a list behind a full one: it is asked for once more, as a service in
    /// trouble answers so, too.
    fn once_more(&mut self, page: &Page, seen: &Seen<'_>) -> Option<String> {
        let is_odd = seen.records == 0 && by_records(page) && self.was_full && !self.asked_again;
        let position = seen.position.filter(|_| is_odd && !mutants::on("empty-believed"))?;
        self.asked_again = true;
        Some(position.to_owned())
    }

    /// Returns what speaks against the page that was seen last, which names no other, being the last one.
    pub(super) fn end(&self, page: &Page, seen: &Seen<'_>) -> Option<Doubt> {
        if by_records(page) || seen.is_end {
            return None;
        }
        if seen.records == 0 {
            return (self.pages > 1 || self.resumed).then_some(Doubt::BrokenPromise);
        }
        seen.asked.is_some_and(|asked| seen.records >= asked).then_some(Doubt::UnprovedEnd)
    }

    /// Returns, once, what looks like a service that gives fewer records a page than it is asked for: a first page of a
    /// round number, and either more behind it or a manifest that takes a short page for the last one.
    pub(super) fn capped(&mut self, page: &Page, seen: &Seen<'_>) -> Option<String> {
        let by_short = page.stop.contains(&Stop::ShortPage);
        let (had, asked) = self.capped.filter(|_| by_short || (self.pages > 1 && seen.records > 0))?;
        self.capped = None;
        let so = if by_short {
            "if the service allows no more, the rest was not read"
        } else {
            "the service may allow no more"
        };
        Some(format!("pages of {asked} records were asked for, and the first had {had}: {so}"))
    }
}

/// Returns whether only the records of a page lead on to the next one.
fn by_records(page: &Page) -> bool {
    matches!(page.kind, PageKind::Number(_) | PageKind::Offset | PageKind::Keyset(_))
}

fn following(page: &Page, seen: &Seen<'_>) -> Result<Option<String>, UserError> {
    let ended = page.stop.iter().any(|stop| match stop {
        Stop::Empty => seen.records == 0 && seen.next.is_none(),
        Stop::ShortPage => seen.size.is_some_and(|size| seen.records < size),
    });
    if ended {
        return Ok(None);
    }
    let counted = |by: u64| {
        let position: u64 = seen.position.and_then(|position| position.parse().ok()).unwrap_or(0);
        Some((position + by).to_string())
    };
    Ok(match &page.kind {
        PageKind::None => None,
        PageKind::Token(_) | PageKind::Header(_) | PageKind::Next(_) | PageKind::Link => seen.next.clone(),
        PageKind::Number(_) => counted(1),
        // By what came, not by what was asked for: a server may cap the size of a page.
        PageKind::Offset => counted(seen.records),
        PageKind::Keyset(_) if seen.records == 0 => seen.next.as_ref().and(seen.position).map(str::to_owned),
        PageKind::Keyset(key) => {
            let missing = || {
                UserError::new(
                    Exit::Unavailable,
                    "key_missing_in_page",
                    format!("the last record of a page has no `{key}`, so the next page cannot be asked for"),
                )
            };
            Some(seen.last_key.clone().ok_or_else(missing)?)
        }
    })
}

/// Returns the link of a `Link` header with `rel="next"` (RFC 8288).
pub(super) fn link_header(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
            name.eq_ignore_ascii_case("rel")
                && value.trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(records: u64, next: Option<&str>, position: Option<&'static str>) -> Seen<'static> {
        let next = next.map(str::to_owned);
        Seen { records, next, is_end: false, last_key: None, size: Some(50), asked: Some(50), position, edges: None }
    }

    fn code(failure: &Failure) -> &'static str {
        match failure {
            Failure::Distrust(error) => error.code,
            _ => "",
        }
    }

    fn page(kind: PageKind, stop: &[Stop]) -> Page {
        Page { kind, stop: stop.to_vec(), max: 100, ..Page::default() }
    }

    #[test]
    fn a_token_page_ends_with_its_token_and_not_with_its_records() {
        let page = page(PageKind::Token("next".parse().unwrap()), &[]);
        let mut paginator = Paginator::default();
        assert_eq!(paginator.next(&page, &seen(0, Some("a"), None)).unwrap().as_deref(), Some("a"));
        assert_eq!(paginator.next(&page, &seen(100, None, Some("a"))).unwrap(), None);
    }

    #[test]
    fn a_numbered_page_goes_on_after_a_short_one_unless_told() {
        let mut paginator = Paginator::default();
        let by_empty = page(PageKind::Number(1), &[Stop::Empty]);
        assert_eq!(paginator.next(&by_empty, &seen(10, None, Some("1"))).unwrap().as_deref(), Some("2"));
        assert_eq!(paginator.next(&by_empty, &seen(0, None, Some("2"))).unwrap(), None);
        let by_short = page(PageKind::Number(1), &[Stop::Empty, Stop::ShortPage]);
        assert_eq!(Paginator::default().next(&by_short, &seen(10, None, Some("1"))).unwrap(), None);
    }

    /// Returns the position that follows these pages of so many records each, and whether the last of them proves the end.
    fn after(page: &Page, pages: &[(u64, Option<&str>)], asked: Option<u64>) -> (Option<String>, bool) {
        let mut paginator = Paginator::default();
        let mut last = (None, false);
        for (index, (records, next)) in pages.iter().enumerate() {
            let empty = pages[..index].iter().rposition(|(records, _)| *records > 0).map_or(0, |last| last + 1);
            let at = ["10", "20", "30", "40"][if *records == 0 { empty } else { index }];
            let last_key = Some(format!("{at}0"));
            let first = Paginator::first(page);
            let position = if index == 0 { first.as_deref() } else { Some(at) };
            let seen = Seen { asked, size: None, last_key, position, ..seen(*records, *next, None) };
            let next = paginator.next(page, &seen).unwrap();
            last = (next, paginator.end(page, &seen).is_none());
        }
        last
    }

    #[test]
    fn a_full_page_that_names_no_other_proves_nothing() {
        for kind in
            [PageKind::Token("a".parse().unwrap()), PageKind::Link, PageKind::Header("x".into()), PageKind::None]
        {
            let page = page(kind, &[]);
            assert!(!after(&page, &[(50, None)], Some(50)).1, "{page:?}");
            assert!(after(&page, &[(49, None)], Some(50)).1, "{page:?}");
        }
        let page = page(PageKind::Token("a".parse().unwrap()), &[]);
        assert!(after(&page, &[(20, Some("b")), (20, None)], None).1, "nobody knows how many were asked for");
        assert!(!after(&page, &[(20, Some("b")), (0, None)], None).1, "what was promised is not there");
        assert!(after(&page, &[(0, None)], Some(50)).1, "a list without records");
    }

    #[test]
    fn an_empty_page_behind_a_full_one_is_asked_for_again() {
        for kind in [PageKind::Number(1), PageKind::Offset, PageKind::Keyset("id".parse().unwrap())] {
            let page = page(kind, &[Stop::Empty]);
            assert_eq!(after(&page, &[(50, None), (0, None)], Some(50)).0.as_deref(), Some("20"), "{page:?}");
            assert_eq!(after(&page, &[(50, None), (0, None), (0, None)], Some(50)), (None, true), "{page:?}");
            assert_eq!(after(&page, &[(49, None), (0, None)], Some(50)), (None, true), "{page:?}");
            assert!(after(&page, &[(50, None), (0, None), (50, None)], Some(50)).0.is_some(), "{page:?}");
        }
    }

    #[test]
    fn a_page_promised_to_an_earlier_run_is_not_believed_empty() {
        let by_token = page(PageKind::Token("next".parse().unwrap()), &[]);
        let mut paginator = Paginator::default();
        let empty = seen(0, None, Some("30"));
        assert_eq!(paginator.next(&by_token, &empty).unwrap(), None);
        assert_eq!(paginator.end(&by_token, &empty), Some(Doubt::BrokenPromise));
        for kind in [PageKind::Number(1), PageKind::Offset, PageKind::Keyset("id".parse().unwrap())] {
            let page = page(kind, &[Stop::Empty]);
            let mut paginator = Paginator::default();
            assert_eq!(paginator.next(&page, &empty).unwrap().as_deref(), Some("30"), "{page:?}");
            assert_eq!(paginator.next(&page, &empty).unwrap(), None, "{page:?}");
        }
    }

    #[test]
    fn an_offset_moves_by_what_came() {
        let page = page(PageKind::Offset, &[Stop::Empty]);
        assert_eq!(Paginator::default().next(&page, &seen(30, None, Some("100"))).unwrap().as_deref(), Some("130"));
    }

    #[test]
    fn circles_of_any_length_are_stopped() {
        for length in [1_u64, 2, 3, 7, 20] {
            let page = Page { max: 1_000_000, ..page(PageKind::Token("next".parse().unwrap()), &[]) };
            let mut paginator = Paginator::default();
            let ended = (0..1_000_u64).find_map(|turn| {
                let token = format!("t{}", turn % length);
                paginator.next(&page, &seen(1, Some(&token), None)).err()
            });
            assert_eq!(code(&ended.unwrap()), "pagination_loop", "{length}");
        }
    }

    #[test]
    fn too_many_pages_are_an_error_not_an_end() {
        let page = Page { max: 3, ..page(PageKind::Number(1), &[Stop::Empty]) };
        let mut paginator = Paginator::default();
        let results: Vec<_> =
            ["1", "2", "3"].into_iter().map(|at| paginator.next(&page, &seen(50, None, Some(at)))).collect();
        assert_eq!(code(results[2].as_ref().unwrap_err()), "limit_reached");
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let header = r#"<https://x/1>; rel="prev", <https://x/3?a=1>; title=b; rel="next""#;
        assert_eq!(link_header(header).as_deref(), Some("https://x/3?a=1"));
        assert_eq!(link_header("<https://x/1>; rel=last"), None);
    }
}
