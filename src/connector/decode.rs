//! Takes records out of an answer: proves that it is the page it should be, and says where the values of each stand.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use super::Failure;
use super::spool::LARGEST;
use crate::domain::path::{Items, Path, Projection, Span};
use crate::error::{Exit, UserError};
use crate::http::{Response, Spooled};

/// Returns the body as text, once the answer has shown that it is JSON. `what` names the request in errors.
pub(super) fn text(response: Response, what: &str) -> Result<String, Failure> {
    proved_json(&response, what)?;
    let mut body = match &response.spooled {
        None => response.body,
        Some(spooled) => held(spooled).map_err(|error| unreadable(&error))?,
    };
    if body.starts_with(b"\xef\xbb\xbf") {
        body.drain(..3);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(bad("empty_answer", format!("{what} answered {} with nothing", response.status)));
    }
    String::from_utf8(body).map_err(|_| bad("bad_response", format!("{what} answered with text that is not UTF-8")))
}

fn bad(code: &'static str, message: String) -> Failure {
    Failure::Stream(
        UserError::new(Exit::Unavailable, code, message)
            .hint("check `api_url`: a login page, a proxy or another service may answer there"),
    )
}

/// Checks that an answer says it is JSON, or says nothing.
fn proved_json(response: &Response, what: &str) -> Result<(), Failure> {
    let kind = response.header("content-type").unwrap_or_default().to_lowercase();
    if !kind.is_empty() && !kind.contains("json") {
        return Err(bad(
            "not_json",
            format!("{what} answered {} with `{}` instead of JSON", response.status, kind.escape_debug()),
        ));
    }
    Ok(())
}

/// Returns a large answer after all, where one record is all it has.
fn held(spooled: &Spooled) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut file = &spooled.file;
    file.rewind()?;
    file.take(LARGEST as u64).read_to_end(&mut body)?;
    Ok(body)
}

pub(super) fn unreadable(error: &std::io::Error) -> Failure {
    Failure::Internal(anyhow::anyhow!("reading an answer back from the disk: {}", error.kind()))
}

/// What one pass over a page found.
pub(super) struct Outline {
    /// The wanted values of all records, one record after the other.
    pub(super) values: Vec<Span>,
    /// How many records there are.
    pub(super) count: usize,
    /// The value that leads to the next page, if it is there and not null.
    pub(super) next: Option<String>,
}

/// Finds the next position of a page and the values that are `wanted` of each of its records. A page without the record
/// array is an error, never an empty one.
pub(super) fn outline(
    body: &str,
    (records, next): (&Path, Option<&Path>),
    wanted: &Projection,
    what: &str,
) -> Result<Outline, Failure> {
    let mut projection = Projection::default();
    let next = next.map(|path| projection.add(path));
    let (mut values, mut items) = (Vec::new(), Items::new(wanted));
    let mut pass = projection.take_with_items(records, body, &mut values, &mut items);
    if pass.is_err() {
        // A record may hold what cannot be read where something is wanted: that is its own trouble, and not the page's.
        let whole = Projection::whole();
        let mut apart = Items::new(&whole);
        pass = projection.take_with_items(records, body, &mut values, &mut apart);
        items = apart.taken_apart(body, wanted);
    }
    if !pass.map_err(|error| broken(&error, what, body.len() as u64))? {
        return Err(missing(records, what));
    }
    let next = next.and_then(|slot| values[slot].of(body)).and_then(scalar);
    Ok(Outline { values: items.values, count: items.count, next })
}

/// Finds the same in a page that is too large to be held: where each record stands in its file, and the next position.
pub(super) fn outline_spooled(
    response: &Response,
    spooled: &Spooled,
    (records, next): (&Path, Option<&Path>),
    what: &str,
) -> Result<Outline, Failure> {
    proved_json(response, what)?;
    let mark = if response.body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut file = &spooled.file;
    file.seek(SeekFrom::Start(mark as u64)).map_err(|error| unreadable(&error))?;
    let mut projection = Projection::default();
    let next = next.map(|path| projection.add(path));
    let whole = Projection::whole();
    let (mut values, mut items) = (Vec::new(), Items::new(&whole));
    let found = projection.take_from(records, (file, mark), &mut values, &mut items);
    if !found.map_err(|error| broken(&error, what, spooled.bytes))? {
        return Err(missing(records, what));
    }
    let next = match next.map(|slot| values[slot]).filter(|next| next.is_there()) {
        Some(next) => {
            let mut bytes = vec![0; (next.to() - next.from()).min(LARGEST)];
            file.read_exact_at(&mut bytes, next.from() as u64).map_err(|error| unreadable(&error))?;
            let text = String::from_utf8_lossy(&bytes);
            Span::new(0, text.len()).in_part(0, &text).of(&text).and_then(scalar)
        }
        None => None,
    };
    Ok(Outline { values: items.values, count: items.count, next })
}

/// Returns a scalar as text; null, empty text and `"null"` are nothing.
pub(crate) fn scalar(json: &str) -> Option<String> {
    let text = if json.starts_with('"') { serde_json::from_str(json).ok()? } else { json.to_owned() };
    (!text.is_empty() && text != "null" && text != "false").then_some(text)
}

fn broken(error: &serde_json::Error, what: &str, bytes: u64) -> Failure {
    let message = format!("{what} answered with broken JSON: {} at byte {} of {bytes}", kind(error), error.column());
    Failure::Stream(
        UserError::new(Exit::Unavailable, "bad_response", message)
            .hint("the answer was cut off or garbled; try again later"),
    )
}

fn missing(records: &Path, what: &str) -> Failure {
    let place = if records.steps.is_empty() { "at the top".to_owned() } else { format!("at `{records}`") };
    Failure::Stream(
        UserError::new(Exit::Unavailable, "records_missing", format!("{what} answered without a list of records {place}"))
            .hint("the service may report an error with status 200, or have changed; `skillsctl provider explain` shows what is expected"),
    )
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
        Response {
            status: 200,
            headers: vec![("content-type".into(), kind.into())],
            body: body.as_bytes().to_vec(),
            spooled: None,
        }
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
        let find =
            |body: &str| outline(body, (&records, None), &Projection::default(), "GET x").map(|outline| outline.count);
        assert_eq!(find(r#"{"value":[]}"#).unwrap(), 0);
        assert_eq!(code(find(r#"{"error":"x"}"#)), "records_missing");
        assert_eq!(code(find(r#"{"value":{}}"#)), "records_missing");
        assert_eq!(code(find(r#"{"value":[{"a":1},"#)), "bad_response");
        assert_eq!(code(find(r#"{"value":[]} trailing"#)), "bad_response");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_no_trouble_of_the_page() {
        let mut wanted = Projection::default();
        wanted.add(&"id".parse().unwrap());
        wanted.add(&"p.q".parse().unwrap());
        let body = r#"[{"id":1,"p":{"q":2}},{"id":3,"p":"\ud800"},{"id":4,"p":1e999},{"id":5}]"#;
        let found = outline(body, (&"[]".parse().unwrap(), None), &wanted, "x").unwrap();
        let values: Vec<_> = found.values.iter().map(|value| value.of(body)).collect();
        assert_eq!(values, [Some("1"), Some("2"), None, None, None, None, Some("5"), None]);
        assert_eq!(found.count, 4);
    }

    #[test]
    fn the_values_of_records_are_found_in_the_body() {
        let body = r#"{"results":[{"id":1}, {"id":"a,]"}],"paging":{"next":{"after":"NTI1"}}}"#;
        let next = "paging.next.after".parse().unwrap();
        let mut wanted = Projection::default();
        wanted.add(&"id".parse().unwrap());
        let found = outline(body, (&"results[]".parse().unwrap(), Some(&next)), &wanted, "x").unwrap();
        let ids: Vec<_> = found.values.iter().map(|value| value.of(body).unwrap()).collect();
        assert_eq!(ids, ["1", r#""a,]""#]);
        assert_eq!((found.count, found.next.as_deref()), (2, Some("NTI1")));
        let root = outline("[1,2]", (&"[]".parse().unwrap(), None), &Projection::default(), "x").unwrap();
        assert_eq!(root.count, 2);
    }
}
