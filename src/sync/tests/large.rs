//! Pages too large to be held in memory.

use super::{World, json};
use crate::store::runs::Outcome;

/// One stream, read by a token; its records have a field that fills a page up.
const MANIFEST: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'd.results[]'
    full: {get: '/all?at={page?}', page: {token: d.next}}
";

const MAPPINGS: &str =
    "    field_mappings: {learner.last_name: name, learner.note: note, learner.programme: {from: p.q, bad: warn}}\n";

/// Returns a page of records from one number on; each has a kilobyte that is mapped and three that are not.
fn page(from: u32, count: u32, next: &str) -> String {
    let records: Vec<String> = (from..from + count)
        .map(|number| {
            let note = format!("é\\n\\\"]{number}").repeat(100);
            let rest = "x [{\\\"".repeat(400);
            format!(
                r#" {{"id":{number},"x":"{rest}","name":"N\u00e9{number}","note":"{note}", "p" : {{"q":{number}.10}}}}"#
            )
        })
        .collect();
    format!(r#"{{"d":{{"results":[{}],"next":{next}}}}}"#, records.join(","))
}

const ROWS: &str = "SELECT json_array(external_key, last_name, custom, programme, hex(content_hash)) FROM learners ORDER BY external_key";

#[test]
fn a_page_too_large_to_be_held_gives_the_rows_that_small_ones_do() {
    let small = World::new(MANIFEST, MAPPINGS);
    small.server.play(|asked| match asked {
        "GET /all?at=" => json(page(1, 500, "\"b\"")),
        "GET /all?at=b" => json(page(501, 400, "\"c\"")),
        "GET /all?at=c" => json(page(901, 300, "null")),
        asked => panic!("{asked}"),
    });
    let first = small.run_well();
    let large = World::new(MANIFEST, MAPPINGS);
    large.server.play(|asked| match asked {
        "GET /all?at=" => json(format!("\u{feff}{}", page(1, 900, "  \"c\"  "))),
        "GET /all?at=c" => json(page(901, 300, "null")),
        asked => panic!("{asked}"),
    });
    let second = large.run_well();
    assert_eq!((first.inserted, first.pages), (1_200, 3));
    assert_eq!((second.inserted, second.read, second.pages), (1_200, 1_200, 2));
    assert!(second.bytes > 2 << 20);
    assert_eq!(small.column(ROWS), large.column(ROWS));
}

#[test]
fn a_large_page_with_a_broken_end_changes_nothing() {
    let world = World::new(MANIFEST, MAPPINGS);
    for end in ["", "]", "]}} x", "],\"next\":\"\u{1}\"}}"] {
        let whole = page(1, 900, "null");
        let body = format!("{}{end}", whole.strip_suffix("],\"next\":null}}").unwrap());
        world.server.play(move |_| json(body.clone()));
        let ended = world.run();
        assert_eq!((ended.outcome, ended.tally.pages), (Outcome::Failed, 0), "{end}");
        assert_eq!(ended.error.unwrap().code, "bad_response");
        assert_eq!(world.live(), [""; 0]);
    }
}

#[test]
fn a_record_that_is_too_large_is_quarantined_by_reference() {
    let world = World::new(MANIFEST, MAPPINGS);
    let huge = format!(r#"{{"id":7,"name":"{}"}}"#, "y".repeat(9 << 20));
    let bytes = huge.len();
    let unnamed = format!(r#"{{"name":"{}","id":8}}"#, "z".repeat(9 << 20));
    let body = format!(r#"{{"d":{{"results":[{{"id":1}},{huge},{{"id":2}},{unnamed},{{"id":3}}],"next":null}}}}"#);
    world.server.play(move |_| json(body.clone()));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted, ended.tally.quarantined), (Outcome::Partial, 3, 2));
    assert_eq!(world.live(), ["1", "2", "3"]);
    let keys = world.column("SELECT record_key FROM quarantine ORDER BY id");
    assert_eq!(keys[0], "7");
    assert!(keys[1].starts_with("sha256:"), "{keys:?}");
    let records = world.column("SELECT record FROM quarantine ORDER BY id");
    assert!(records[0].starts_with(&format!(r#"{{"key":7,"bytes":{},"sha256":""#, bytes)), "{records:?}");
    assert!(world.column("SELECT reasons FROM quarantine")[0].contains("more than 8388608"));
}
