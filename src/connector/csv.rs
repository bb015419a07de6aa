//! Turns a page of CSV into the JSON that the same records would be, so that all paths find what they find there.

use super::Failure;
use super::decode::MARK;
use super::job::{Kind, Kinds};
use crate::domain::manifest::Key;
use crate::error::{Exit, UserError};
use crate::http::Response;

/// How deep columns may nest: no service has more than a few, and each level is one of the stack.
const DEEPEST: usize = 32;

/// The columns as they nest: `Owner.Name` and `Owner.Email` stand in one `Owner`. Names are JSON texts.
enum Column {
    Cell(usize, Kind),
    Nested(Vec<(String, Column)>),
}

/// Returns a page of CSV as a JSON list of its records. An empty cell is null; numbers and booleans are such where
/// `kinds` says so, all else is text. `key` is what each record must have a column for.
pub(super) fn json(response: Response, kinds: &Kinds, key: &Key, what: &str) -> Result<String, Failure> {
    let bad =
        |code, message: String, hint| Failure::Stream(UserError::new(Exit::Unavailable, code, message).hint(hint));
    let place = "check `api_url`: a login page, a proxy or another service may answer there";
    let form = response.header("content-type").unwrap_or_default().to_lowercase();
    if !form.is_empty() && !form.contains("csv") {
        let form = form.escape_debug();
        return Err(bad("not_csv", format!("{what} answered {} with `{form}` instead of CSV", response.status), place));
    }
    let body = response.body.strip_prefix(MARK).unwrap_or(&response.body);
    let garbled = |why: String| {
        bad(
            "bad_response",
            format!("{what} answered with broken CSV: {why}"),
            "the answer was cut off or garbled; try again later",
        )
    };
    let mut lines = ::csv::ReaderBuilder::new().has_headers(true).from_reader(body);
    let names = lines.headers().map_err(|error| garbled(reason(&error)))?.clone();
    // Without its line of names a page would lose its first record, and give the others wrong names.
    if let Some(missing) = key.paths().map(ToString::to_string).find(|path| !names.iter().any(|name| name == path)) {
        return Err(bad("records_missing", format!("{what} answered with CSV that has no column `{missing}`"), place));
    }
    let mut columns = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let parts: Vec<String> = name.split('.').map(quoted).collect();
        if parts.len() > DEEPEST {
            return Err(garbled(format!("the name of column {} has more than {DEEPEST} parts", position + 1)));
        }
        nest(&mut columns, &parts, Column::Cell(position, kinds.of(name)));
    }
    let mut text = String::with_capacity(body.len() * 2);
    let mut record = ::csv::StringRecord::new();
    while lines.read_record(&mut record).map_err(|error| garbled(reason(&error)))? {
        text.push(if text.is_empty() { '[' } else { ',' });
        write(&mut text, &columns, &record);
    }
    text.push_str(if text.is_empty() { "[]" } else { "]" });
    Ok(text)
}

fn nest(columns: &mut Vec<(String, Column)>, name: &[String], cell: Column) {
    let Some((first, rest)) = name.split_first() else { return };
    if rest.is_empty() {
        columns.push((first.clone(), cell));
        return;
    }
    let known = columns.iter_mut().find_map(|(known, column)| match column {
        Column::Nested(inner) if known == first => Some(inner),
        _ => None,
    });
    match known {
        Some(inner) => nest(inner, rest, cell),
        None => {
            let mut inner = Vec::new();
            nest(&mut inner, rest, cell);
            columns.push((first.clone(), Column::Nested(inner)));
        }
    }
}

/// Writes one record, or one of its nested parts; a part of which all is empty is null.
fn write(text: &mut String, columns: &[(String, Column)], record: &::csv::StringRecord) {
    text.push('{');
    for (position, (name, column)) in columns.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        match column {
            Column::Cell(at, kind) => match (record.get(*at).unwrap_or_default(), kind) {
                ("", _) => text.push_str("null"),
                (cell @ ("true" | "false"), Kind::Boolean) => text.push_str(cell),
                (cell, Kind::Number) if serde_json::from_str::<serde_json::Number>(cell).is_ok() => text.push_str(cell),
                (cell, _) => text.push_str(&quoted(cell)),
            },
            Column::Nested(inner) if is_empty(inner, record) => text.push_str("null"),
            Column::Nested(inner) => write(text, inner, record),
        }
    }
    text.push('}');
}

fn is_empty(columns: &[(String, Column)], record: &::csv::StringRecord) -> bool {
    columns.iter().all(|(_, column)| match column {
        Column::Cell(at, _) => record.get(*at).is_none_or(str::is_empty),
        Column::Nested(inner) => is_empty(inner, record),
    })
}

/// Returns a text as JSON has it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn reason(error: &::csv::Error) -> String {
    let line = |position: &Option<::csv::Position>| position.as_ref().map_or(0, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!("line {} has {len} cells instead of {expected_len}", line(pos))
        }
        ::csv::ErrorKind::Utf8 { pos, .. } => format!("line {} is not UTF-8", line(pos)),
        _ => "it is not well-formed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str) -> Result<String, &'static str> {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let response = Response { status: 200, headers, body: body.as_bytes().to_vec(), spooled: None };
        let kinds = Kinds::from([("Size".to_owned(), Kind::Number), ("IsDeleted".to_owned(), Kind::Boolean)]);
        json(response, &kinds, &Key { first: "Id".parse().unwrap(), others: Vec::new() }, "GET x").map_err(|failure| {
            match failure {
                Failure::Stream(error) => error.code,
                _ => "none",
            }
        })
    }

    #[test]
    fn a_line_is_the_record_that_json_would_have() {
        let csv = "\u{feff}\"Id\",\"Name\",\"Owner.Name\",\"Owner.Manager.Id\",\"Size\",\"IsDeleted\"\n\
                   \"001\",\"O\"\"Neill,\nLtd\0\",\"Zoë\",\"\",\"1.10\",\"false\"\n002,,,,007,true\n";
        assert_eq!(
            read("text/csv; charset=UTF-8", csv).unwrap(),
            r#"[{"Id":"001","Name":"O\"Neill,\nLtd\u0000","Owner":{"Name":"Zoë","Manager":null},"Size":1.10,"IsDeleted":false},"#
                .to_owned()
                + r#"{"Id":"002","Name":null,"Owner":null,"Size":"007","IsDeleted":true}]"#
        );
        assert_eq!(read("text/csv", "Id,Name\n").unwrap(), "[]");
    }

    #[test]
    fn a_page_of_csv_is_believed_only_if_it_proves_itself() {
        assert_eq!(read("text/html", "<html>"), Err("not_csv"));
        assert_eq!(read("text/csv", ""), Err("records_missing"));
        assert_eq!(read("text/csv", "\"001\",\"Acme\"\n"), Err("records_missing"));
        assert_eq!(read("text/csv", "Id,Name\n001\n"), Err("bad_response"));
        // As deep as that, laying the columns out would use up the stack.
        assert_eq!(read("text/csv", &format!("Id,a{}\n1,2\n", ".a".repeat(200_000))), Err("bad_response"));
    }
}
