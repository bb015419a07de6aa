//! Takes records out of an answer: proves that it is the page it should be, and says where the values of each stand.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use super::spool::LARGEST;
use super::{Failure, lenient};
use crate::domain::path::{Items, Path, Projection, Span};
use crate::error::{Exit, UserError};
use crate::http::{Response, Spooled};

/// How much of an answer that is no page is looked at for what it begins with.
const BEGIN: usize = 4096;

/// A mark that some services put before their text.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the body as text, once the answer has shown that it is JSON, and how many of its characters could not be read.
/// `what` names the request in errors, `harmless` makes what came fit to be shown there.
pub(super) fn text(
    response: Response,
    what: &str,
    harmless: impl Fn(&str) -> String,
) -> Result<(String, u64), Failure> {
    let kind = proved_json(&response, what, harmless)?;
    let mut body = match &response.spooled {
        None => response.body,
        // Where one record is all it has.
        Some(spooled) => read_back(spooled, LARGEST)?,
    };
    if body.starts_with(MARK) {
        body.drain(..MARK.len());
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

fn bad(code: &'static str, message: String) -> Failure {
    Failure::Stream(
        UserError::new(Exit::Unavailable, code, message)
            .hint("check `api_url`: a login page, a proxy or another service may answer there"),
    )
}

/// Checks that an answer is JSON by what it says of itself and by how it begins. Returns the type it says.
pub(super) fn proved_json(
    response: &Response,
    what: &str,
    harmless: impl Fn(&str) -> String,
) -> Result<String, Failure> {
    let kind = response.header("content-type").unwrap_or_default().to_lowercase();
    let body = response.body.strip_prefix(MARK).unwrap_or(&response.body);
    let nothing = body.iter().all(u8::is_ascii_whitespace) && response.spooled.is_none();
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
    Ok(kind)
}

/// Returns a large answer after all, if it has no more than so many bytes.
pub(super) fn read_back(spooled: &Spooled, most: usize) -> Result<Vec<u8>, Failure> {
    if spooled.bytes > most as u64 {
        let message =
            format!("an answer has {} bytes, more than the {most} that are taken of one record", spooled.bytes);
        return Err(Failure::Stream(UserError::new(Exit::Unavailable, "response_too_large", message)));
    }
    let mut body = Vec::new();
    let mut file = &spooled.file;
    file.rewind().and_then(|()| file.read_to_end(&mut body)).map_err(|error| unreadable(&error))?;
    Ok(body)
}

pub(super) fn unreadable(error: &std::io::Error) -> Failure {
    Failure::Internal(anyhow::anyhow!("reading an answer back from the disk: {}", error.kind()))
}

/// What is looked for in an answer.
pub(super) struct Places<'p> {
    /// The list of records.
    pub(super) records: &'p Path,
    /// What leads to the next page.
    pub(super) next: Option<&'p Path>,
    /// How many records there are.
    pub(super) total: Option<&'p Path>,
}

/// What one pass over a page found.
#[derive(Default)]
pub(super) struct Outline {
    /// The wanted values of all records, one record after the other.
    pub(super) values: Vec<Span>,
    /// How many records there are.
    pub(super) count: usize,
    /// How many of the values stood twice in their record.
    pub(super) twice: u64,
    /// The value that leads to the next page, if it is there and not null.
    pub(super) next: Option<String>,
    /// Whether what leads to the next page says that there is none: it is there, and null.
    pub(super) is_end: bool,
    /// How many records the answer says there are.
    pub(super) total: Option<u64>,
    /// What the answer says is wrong, though it has a list of records.
    pub(super) complaint: Option<String>,
}

/// The members of an answer that say, beside its list of records, that something went wrong. They are none of any one
/// service: this is how errors in an answer of 200 look.
struct Complaints(Vec<usize>);

impl Complaints {
    const MEMBERS: [&str; 5] = ["error", "errors", "status", "success", "ok"];

    /// Has them looked for, where the answer is more than a list.
    fn wanted(records: &Path, projection: &mut Projection) -> Self {
        let paths = Self::MEMBERS.iter().filter_map(|member| member.parse().ok());
        let paths = paths.filter(|_| !records.steps.is_empty());
        Complaints(paths.map(|path: Path| projection.add(&path)).collect())
    }

    /// Returns what they say, given the JSON of each.
    fn found(&self, value: impl Fn(usize) -> Option<String>) -> Option<String> {
        self.0.iter().zip(Self::MEMBERS).find_map(|(slot, member)| {
            let said = value(*slot)?;
            let lower = said.trim_matches('"').to_lowercase();
            let is_wrong = match member {
                "status" => matches!(lower.as_str(), "error" | "fail" | "failed" | "failure"),
                "success" | "ok" => lower == "false",
                _ => !matches!(lower.as_str(), "" | "null" | "false" | "0" | "[]" | "{}" | "none" | "ok"),
            };
            is_wrong.then(|| format!("`{member}` is {said}"))
        })
    }
}

/// Finds the next position of a page, the total, and the values that are `wanted` of each of its records. A page without
/// the record array is an error, never an empty one.
pub(super) fn outline(body: &str, places: &Places<'_>, wanted: &Projection, what: &str) -> Result<Outline, Failure> {
    let mut projection = Projection::default();
    let [next, total] = [places.next, places.total].map(|path| path.map(|path| projection.add(path)));
    let complaints = Complaints::wanted(places.records, &mut projection);
    let (mut values, mut items) = (Vec::new(), Items::new(wanted));
    let mut pass = projection.take_with_items(places.records, body, &mut values, &mut items);
    let (masked, mut text) = (std::cell::OnceCell::new(), body);
    if let Err(error) = &pass {
        // A record may hold what cannot be read where something is wanted, or a number that is none: that is its own
        // trouble, and not the page's. The places are found without it, and the record is told apart when it is mapped.
        if error.is_syntax()
            && let Some(json) = lenient::masked(body)
        {
            text = masked.get_or_init(|| json);
        }
        let whole = Projection::whole();
        let mut apart = Items::new(&whole);
        pass = projection.take_with_items(places.records, text, &mut values, &mut apart);
        items = apart.taken_apart(body, wanted);
    }
    if !pass.map_err(|error| broken(&error, what, body.len() as u64))? {
        return Err(missing(places.records, what));
    }
    let complaint = complaints.found(|slot| values[slot].of(text).map(str::to_owned));
    let [next, total] = [next, total].map(|slot| slot.and_then(|slot| values[slot].of(text)));
    let (is_end, next) = (next == Some("null"), next.and_then(scalar));
    let total = total.and_then(scalar).and_then(|total| total.parse().ok());
    Ok(Outline { values: items.values, count: items.count, twice: items.twice, next, is_end, total, complaint })
}

/// Returns where each record of a page that was read before stands.
pub(super) fn whole(body: &str, records: &Path) -> Vec<Span> {
    let (whole, mut values) = (Projection::whole(), Vec::new());
    let mut items = Items::new(&whole);
    let mut projection = Projection::default();
    if projection.take_with_items(records, body, &mut values, &mut items).is_err() {
        items = Items::new(&whole);
        let masked = lenient::masked(body).unwrap_or_default();
        // It was read before, so it can be read again.
        projection.take_with_items(records, &masked, &mut values, &mut items).ok();
    }
    items.values
}

/// Finds the same in a page that is too large to be held: where each record stands in its file, the next position and the
/// total.
pub(super) fn outline_spooled(
    response: &Response,
    spooled: &Spooled,
    places: &Places<'_>,
    what: &str,
) -> Result<Outline, Failure> {
    let mark = if response.body.starts_with(MARK) { MARK.len() } else { 0 };
    let mut file = &spooled.file;
    file.seek(SeekFrom::Start(mark as u64)).map_err(|error| unreadable(&error))?;
    let mut projection = Projection::default();
    let [next, total] = [places.next, places.total].map(|path| path.map(|path| projection.add(path)));
    let complaints = Complaints::wanted(places.records, &mut projection);
    let whole = Projection::whole();
    let (mut values, mut items) = (Vec::new(), Items::new(&whole));
    let found = projection.take_from(places.records, (file, mark), &mut values, &mut items);
    if !found.map_err(|error| broken(&error, what, spooled.bytes))? {
        return Err(missing(places.records, what));
    }
    let json = |slot: Option<usize>| -> Result<Option<String>, Failure> {
        let Some(place) = slot.map(|slot| values[slot]).filter(|place| place.is_there()) else { return Ok(None) };
        let mut bytes = vec![0; (place.to() - place.from()).min(LARGEST)];
        file.read_exact_at(&mut bytes, place.from() as u64).map_err(|error| unreadable(&error))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Span::new(0, text.len()).in_part(0, &text).of(&text).map(str::to_owned))
    };
    let (next, total) = (json(next)?, json(total)?);
    let is_end = next.as_deref() == Some("null");
    let next = next.as_deref().and_then(scalar);
    let total = total.as_deref().and_then(scalar).and_then(|total| total.parse().ok());
    let complaint = complaints.found(|slot| json(Some(slot)).ok().flatten());
    Ok(Outline { values: items.values, count: items.count, twice: 0, next, is_end, total, complaint })
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

    fn text(response: Response, what: &str) -> Result<String, Failure> {
        super::text(response, what, str::to_owned).map(|(text, _)| text)
    }

    fn outline(
        body: &str,
        (records, next): (&Path, Option<&Path>),
        wanted: &Projection,
        what: &str,
    ) -> Result<Outline, Failure> {
        super::outline(body, &Places { records, next, total: Some(&"total".parse().unwrap()) }, wanted, what)
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
        let body = r#"{"results":[{"id":1}, {"id":"a,]"}],"paging":{"next":{"after":"NTI1"}},"total":12}"#;
        let next = "paging.next.after".parse().unwrap();
        let mut wanted = Projection::default();
        wanted.add(&"id".parse().unwrap());
        let found = outline(body, (&"results[]".parse().unwrap(), Some(&next)), &wanted, "x").unwrap();
        let ids: Vec<_> = found.values.iter().map(|value| value.of(body).unwrap()).collect();
        assert_eq!(ids, ["1", r#""a,]""#]);
        assert_eq!((found.count, found.next.as_deref(), found.total), (2, Some("NTI1"), Some(12)));
        let root = outline("[1,2]", (&"[]".parse().unwrap(), None), &Projection::default(), "x").unwrap();
        assert_eq!(root.count, 2);
    }
}
