//! Takes records out of an answer: proves that it is the page it should be, and says where each record stands.

use std::ops::Range;

use serde_json::value::RawValue;

use super::{Failure, lenient};
use crate::domain::path::{Path, Projection};
use crate::error::{Exit, UserError};
use crate::http::Response;

/// How much of an answer that is no page is looked at for what it begins with.
const BEGIN: usize = 4096;

/// Returns the body as text, once the answer has shown that it is JSON, and how many of its characters could not be read.
/// `what` names the request in errors, `harmless` makes what came fit to be shown there.
pub(super) fn text(
    response: Response,
    what: &str,
    harmless: impl Fn(&str) -> String,
) -> Result<(String, u64), Failure> {
    let bad = |code, message: String| {
        Failure::Stream(
            UserError::new(Exit::Unavailable, code, message)
                .hint("check `api_url`: a login page, a proxy or another service may answer there"),
        )
    };
    let kind = response.header("content-type").unwrap_or_default().to_lowercase();
    let mut body = response.body;
    if body.starts_with(b"\xef\xbb\xbf") {
        body.drain(..3);
    }
    let nothing = body.iter().all(u8::is_ascii_whitespace);
    if (!kind.is_empty() && !kind.contains("json")) || body.trim_ascii_start().starts_with(b"<") {
        let begin = harmless(&String::from_utf8_lossy(&body[..body.len().min(BEGIN)]));
        let begins = if nothing { String::new() } else { format!(", which begins with: {begin}") };
        let message =
            format!("{what} answered {} with `{}` instead of JSON{begins}", response.status, kind.escape_debug());
        return Err(bad("not_json", message));
    }
    if nothing {
        return Err(bad("empty_answer", format!("{what} answered {} with nothing", response.status)));
    }
    let (text, wrong) = match String::from_utf8(body) {
        Ok(text) => (text, 0),
        // Another encoding would be garbled all over.
        Err(_) if kind.contains("charset=") && !kind.contains("utf-8") => {
            let message = format!("{what} answered with text that is not UTF-8: `{}`", kind.escape_debug());
            return Err(bad("bad_response", message));
        }
        Err(error) => {
            let text = error.as_bytes();
            let wrong = text.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64;
            (String::from_utf8_lossy(text).into_owned(), wrong)
        }
    };
    let (text, halves) = lenient::without_halves(text);
    Ok((text, wrong + halves))
}

/// What one pass over a page found.
pub(super) struct Outline {
    /// Where each record stands in the body.
    pub(super) records: Vec<Range<usize>>,
    /// The value that leads to the next page, if it is there and not null.
    pub(super) next: Option<String>,
    /// How many records the answer says there are.
    pub(super) total: Option<u64>,
}

/// Finds the records of a page, the next position, and the total. A page without the record array is an error, never an
/// empty one.
pub(super) fn outline(
    body: &str,
    records: &Path,
    (next, total): (Option<&Path>, Option<&Path>),
    what: &str,
) -> Result<Outline, Failure> {
    let mut projection = Projection::default();
    let next = next.map(|path| projection.add(path));
    let total = total.map(|path| projection.add(path));
    let mut values = Vec::new();
    // One record with a number that is none must not sink the page: the places are found without it, and the record itself
    // is told apart when it is mapped.
    let (mut text, masked_body);
    text = body;
    let mut items = projection.take_with_items(records, text, &mut values);
    if items.as_ref().is_err_and(serde_json::Error::is_syntax)
        && let Some(masked) = lenient::masked(body)
    {
        masked_body = masked;
        text = &masked_body;
        items = projection.take_with_items(records, text, &mut values);
    }
    let items = items.map_err(|error| {
        let message =
            format!("{what} answered with broken JSON: {} at byte {} of {}", kind(&error), error.column(), body.len());
        Failure::Stream(
            UserError::new(Exit::Unavailable, "bad_response", message)
                .hint("the answer was cut off or garbled; try again later"),
        )
    })?;
    let items = items.ok_or_else(|| {
        let place = if records.steps.is_empty() { "at the top".to_owned() } else { format!("at `{records}`") };
        Failure::Stream(
            UserError::new(Exit::Unavailable, "records_missing", format!("{what} answered without a list of records {place}"))
                .hint("the service may report an error with status 200, or have changed; `skillsctl provider explain` shows what is expected"),
        )
    })?;
    let start = text.as_ptr() as usize;
    let records = items
        .iter()
        .map(|item| {
            let from = item.get().as_ptr() as usize - start;
            from..from + item.get().len()
        })
        .collect();
    let next = next.and_then(|slot| values[slot]).and_then(scalar);
    let total = total.and_then(|slot| values[slot]).and_then(scalar).and_then(|total| total.parse().ok());
    Ok(Outline { records, next, total })
}

/// Returns a scalar as text; null, empty text and `"null"` are nothing.
pub(crate) fn scalar(raw: &RawValue) -> Option<String> {
    let text = if raw.get().starts_with('"') { serde_json::from_str(raw.get()).ok()? } else { raw.get().to_owned() };
    (!text.is_empty() && text != "null" && text != "false").then_some(text)
}

fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is not well-formed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: &str, body: &str) -> Response {
        Response { status: 200, headers: vec![("content-type".into(), kind.into())], body: body.as_bytes().to_vec() }
    }

    fn text(response: Response, what: &str) -> Result<String, Failure> {
        super::text(response, what, str::to_owned).map(|(text, _)| text)
    }

    fn code<T>(result: Result<T, Failure>) -> &'static str {
        match result {
            Err(Failure::Stream(error)) => error.code,
            _ => "none",
        }
    }

    #[test]
    fn a_page_is_believed_only_if_it_proves_itself() {
        assert_eq!(code(text(answer("text/html", "<html>"), "GET x")), "not_json");
        assert_eq!(code(text(answer("application/json", "  "), "GET x")), "empty_answer");
        assert_eq!(text(answer("application/json;odata.metadata=minimal", "\u{feff}[]"), "GET x").unwrap(), "[]");
        let records = "value[]".parse().unwrap();
        let find = |body: &str| outline(body, &records, (None, None), "GET x").map(|outline| outline.records.len());
        assert_eq!(find(r#"{"value":[]}"#).unwrap(), 0);
        assert_eq!(code(find(r#"{"error":"x"}"#)), "records_missing");
        assert_eq!(code(find(r#"{"value":{}}"#)), "records_missing");
        assert_eq!(code(find(r#"{"value":[{"a":1},"#)), "bad_response");
        assert_eq!(code(find(r#"{"value":[]} trailing"#)), "bad_response");
    }

    #[test]
    fn records_are_ranges_of_the_body() {
        let body = r#"{"results":[{"id":1}, {"id":"a,]"}],"paging":{"next":{"after":"NTI1"}},"total":12}"#;
        let (next, total) = ("paging.next.after".parse().unwrap(), "total".parse().unwrap());
        let found = outline(body, &"results[]".parse().unwrap(), (Some(&next), Some(&total)), "x").unwrap();
        let texts: Vec<&str> = found.records.iter().map(|range| &body[range.clone()]).collect();
        assert_eq!(texts, [r#"{"id":1}"#, r#"{"id":"a,]"}"#]);
        assert_eq!((found.next.as_deref(), found.total), (Some("NTI1"), Some(12)));
        let root = outline("[1,2]", &"[]".parse().unwrap(), (None, None), "x").unwrap();
        assert_eq!(root.records.len(), 2);
    }
}
