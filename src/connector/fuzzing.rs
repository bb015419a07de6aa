//! What fuzzing does with bytes as pages: the readers must agree with each other, and with `serde_json` where it reads them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, Write as _};

use serde_json::Value;

use super::decode::{self, Outline, Places};
use super::job::{Kind, Kinds};
use super::page::Page;
use super::spool::Spool;
use super::{csv as lines, lenient};
use crate::domain::json;
use crate::domain::manifest::Key;
use crate::domain::path::{Path, Projection};
use crate::http::{Response, Spooled};

/// Where the records of a page may be, and what leads to the next.
const LAYOUTS: [(&str, Option<&str>, Option<&str>); 4] = [
    ("[]", None, None),
    ("results[]", Some("paging.next.after"), Some("total")),
    ("data.items[]", Some("data.next"), Some("data.counts[0]")),
    ("[0].rows[]", Some("[1]"), None),
];
const WANTED: [&str; 6] = ["id", "a", "a.b", "a[1]", "properties.name", "b[0].id"];

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn answer(kind: &str, body: &[u8]) -> Response {
    let headers = vec![("content-type".to_owned(), kind.to_owned())];
    Response { status: 200, headers, body: body.to_vec(), spooled: None }
}

/// A page of JSON, held in memory and left in a file.
pub(crate) fn page(layout: usize, body: &[u8]) {
    let (list, next, total) = LAYOUTS[layout % LAYOUTS.len()];
    let (list, next, total) = (path(list), next.map(path), total.map(path));
    let places = Places { records: &list, next: next.as_ref(), total: total.as_ref() };
    let mut wanted = Projection::default();
    let slots: Vec<(usize, Path)> = WANTED.iter().map(|text| (wanted.add(&path(text)), path(text))).collect();

    let Ok((text, _)) = decode::text(answer("application/json", body), "GET x", str::to_owned) else { return };
    assert_eq!(lenient::without_halves(text.clone()), (text.clone(), 0), "a half is left");
    if let Some(masked) = lenient::masked(&text) {
        assert_eq!(masked.len(), text.len());
    }
    let found = decode::outline(&text, &places, &wanted, "GET x").ok();
    let strict = json::document(&text).ok();
    if let Some(document) = &strict {
        let records = list.find(document).and_then(Value::as_array);
        assert_eq!(found.as_ref().map(|found| found.count), records.map(Vec::len), "records of {text}");
        if let (Some(found), Some(records)) = (&found, records) {
            as_strict(found, records, &slots, &text);
            assert_eq!(found.next, position(next.as_ref(), document), "next of {text}");
            spooled_alike(&text, &places, &wanted, found, records);
        }
    }
    if let Some(found) = found {
        let page = Page::of(text, list, wanted.slots(), found);
        for record in page.records() {
            lenient::document(record.text());
        }
    }
}

fn as_strict(found: &Outline, records: &[Value], slots: &[(usize, Path)], text: &str) {
    let values = found.values.chunks(slots.len());
    assert_eq!(values.len(), records.len());
    for (values, record) in values.zip(records) {
        for (slot, path) in slots {
            let value = values[*slot].of(text).map(|json| json::document(json).expect("a value is JSON"));
            assert_eq!(value.as_ref(), path.find(record), "{path} of {record}");
        }
    }
}

fn position(next: Option<&Path>, document: &Value) -> Option<String> {
    match next?.find(document)? {
        Value::String(text) => decode::scalar(&Value::from(text.as_str()).to_string()),
        // A number keeps the digits it was written with, and so cannot be compared with what was read of it.
        _ => None,
    }
}

/// Reads the same page as if it were too large to be held.
fn spooled_alike(text: &str, places: &Places<'_>, wanted: &Projection, found: &Outline, records: &[Value]) {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    let mut file = FILE.with_borrow_mut(|file| {
        file.get_or_insert_with(|| tempfile::tempfile().expect("a file")).try_clone().expect("a file")
    });
    file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes())).expect("room");
    let spooled = Spooled { file, bytes: text.len() as u64 };
    let head = answer("application/json", &text.as_bytes()[..text.len().min(4096)]);
    let again = decode::outline_spooled(&head, &spooled, places, "GET x").expect("it is read from a file too");
    assert_eq!((again.count, &again.next, again.total), (found.count, &found.next, found.total), "spooled {text}");
    let spool = Spool { file: spooled.file, records: again.values, wanted: wanted.clone(), key: Some(0) };
    let mut texts = Vec::new();
    for part in spool.parts() {
        let part = part.expect("a file can be read");
        texts.extend(part.records().map(|record| record.text().to_owned()));
    }
    let read: Vec<Value> = texts.iter().map(|text| json::document(text).expect("a record is JSON")).collect();
    assert_eq!(read, records, "spooled {text}");
}

/// A page of CSV: what comes of it is a list with a record for each line.
pub(crate) fn csv(body: &[u8]) {
    let kinds = Kinds::from([("n".to_owned(), Kind::Number), ("b".to_owned(), Kind::Boolean)]);
    let Ok(json) =
        lines::json(answer("text/csv", body), &kinds, &Key { first: path("id"), others: Vec::new() }, "GET x")
    else {
        return;
    };
    let records = json::document(&json).expect("CSV becomes JSON");
    let records = records.as_array().expect("of lines");
    let body = body.strip_prefix(decode::MARK).unwrap_or(body);
    let mut reader = ::csv::Reader::from_reader(body);
    let names = reader.headers().expect("it was read before").clone();
    let id = names.iter().position(|name| name == "id").expect("it has the key");
    let plain = names.iter().filter(|name| *name == "id" || name.starts_with("id.")).count() == 1;
    let cells: Vec<::csv::StringRecord> = reader.records().map(|cells| cells.expect("it was read before")).collect();
    assert_eq!(records.len(), cells.len());
    for (record, cells) in records.iter().zip(&cells).filter(|_| plain) {
        let expected = cells.get(id).filter(|cell| !cell.is_empty());
        assert_eq!(record["id"].as_str(), expected, "{record}");
    }
}
