//! What may stand in a record: digits, texts, times, and what is not JSON at all. `docs/traps.md` is the index.

use super::traps::{rows, watermark};
use super::*;
use crate::store::runs::Outcome;

/// One stream of learners on one page.
const ONE_PAGE: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all'}
    deletes: {sweep: always, max: 0.9}
";

/// Returns a world that was read once, and how that ended.
fn read(mappings: &str, body: impl Into<Vec<u8>>) -> (World, Ended) {
    let world = World::new(ONE_PAGE, &format!("    field_mappings: {{{mappings}}}\n"));
    serve(&world, body);
    let ended = world.run();
    (world, ended)
}

/// Answers with these bytes.
fn serve(world: &World, body: impl Into<Vec<u8>>) {
    let body = body.into();
    world.server.write(move |_, stream| {
        let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n", body.len()).ok();
        stream.write_all(&body).ok();
    });
}

fn names(world: &World) -> Vec<String> {
    world.column("SELECT last_name FROM learners ORDER BY external_key")
}

fn reasons(world: &World) -> String {
    world.column("SELECT reasons FROM quarantine").join("; ")
}

#[test]
fn digits_are_kept_as_they_were_sent() {
    let body = r#"[{"id":12345678901234567890123,"v":1.10,"n":"007"},{"id":9007199254740993,"v":1e400,"n":"1e5"},
                   {"id":"007","v":0.1234567890123456789012345,"n":"NO"}]"#;
    let (world, ended) = read("learner.last_name: n, learner.amount: v", body);
    assert_eq!(ended.outcome, Outcome::Ok);
    assert_eq!(world.live(), ["007", "12345678901234567890123", "9007199254740993"]);
    assert_eq!(names(&world), ["NO", "007", "1e5"]);
    let kept = world.column("SELECT custom FROM learners ORDER BY external_key");
    assert_eq!(kept, [r#"{"amount":0.1234567890123456789012345}"#, r#"{"amount":1.10}"#, r#"{"amount":1e400}"#]);
}

#[test]
fn a_field_that_is_to_be_text_is_text() {
    let body = r#"[{"id":1,"n":18446744073709551616,"b":true,"p":"1.10","l":[1.10,18446744073709551616, "x"]}]"#;
    let mappings = "learner.n: {from: n, type: text}, learner.b: {from: b, type: text}, learner.raw: n, learner.i: {from: n, type: int},
                    learner.progress: p, learner.d: {from: p, type: decimal}, learner.l: {from: l, do: [{join: '; '}]}";
    let (world, ended) = read(mappings, body);
    assert_eq!(ended.outcome, Outcome::Ok, "{}", reasons(&world));
    let custom: serde_json::Value = serde_json::from_str(&world.column("SELECT custom FROM learners")[0]).unwrap();
    assert_eq!((&custom["n"], &custom["b"]), (&"18446744073709551616".into(), &"true".into()));
    assert_eq!(custom["l"], "1.10; 18446744073709551616; x");
    let text = &world.column("SELECT custom FROM learners")[0];
    assert!(text.contains(r#""raw":18446744073709551616"#) && text.contains(r#""i":18446744073709551616"#), "{text}");
    assert!(text.contains(r#""d":1.10"#), "{text}");
    assert_eq!(world.column("SELECT progress || typeof(progress) FROM learners"), ["1.10text"]);
}

#[test]
fn a_number_that_is_none_is_quarantined_alone() {
    let body = r#"[{"id":1,"n":"NaN, -Infinity","p":1e400},{"id":2,"p":NaN},{"id":3,"p":-Infinity},{"id":4,"p":12.5}]"#;
    let (world, ended) = read("learner.last_name: n, learner.progress: p", body);
    assert_eq!((ended.outcome, ended.tally.quarantined), (Outcome::Partial, 3));
    assert_eq!(world.live(), ["4"]);
    assert_eq!(world.column("SELECT record FROM quarantine WHERE record LIKE '%:NaN%'").len(), 1, "as it was sent");
}

#[test]
fn any_text_is_kept_and_only_half_a_character_replaced_and_told_of() {
    let body = "\u{feff}".to_owned()
        + r#"[{"id":"e\u0301","n":"\ud83d\ude00 😀"},{"id":"\u00e9","n":"a\u0000b"},{"id":"x","n":"bad \ud83d here","\ud800":1},
              {"id":"y","n":"no escape: \\ud83d"}]"#;
    let (world, ended) = read("learner.last_name: n", body);
    assert_eq!((ended.outcome, ended.tally.inserted), (Outcome::Partial, 4));
    assert_eq!(world.live().len(), 4, "two ways to write é are two keys");
    let stored = world.column("SELECT last_name FROM learners ORDER BY id");
    assert_eq!(stored, ["😀 😀", "a\0b", "bad \u{fffd} here", "no escape: \\ud83d"]);
    assert_eq!(ended.warnings, [format!("learners: characters that cannot be read, replaced by U+FFFD: 2{SO}")]);
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_a_key_of_them_is_not_believed() {
    let mut body = br#"[{"id":1,"n":"caf?"},{"id":"k?","n":"b"},{"id":3,"n":"c"}]"#.to_vec();
    body.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xe9);
    let (world, ended) = read("learner.last_name: n", body);
    assert_eq!((ended.outcome, ended.tally.quarantined), (Outcome::Partial, 1));
    assert_eq!(names(&world), ["caf\u{fffd}", "c"]);
    assert!(reasons(&world).contains("key"), "{}", reasons(&world));
}

#[test]
fn an_object_in_a_scalar_column_is_set_aside() {
    for value in [r#"{"first":"Ann"}"#, r#"["Ann"]"#, "[]", "{}"] {
        let (world, ended) = read("learner.last_name: n", format!(r#"[{{"id":1,"n":{value}}},{{"id":2,"n":"Bo"}}]"#));
        assert_eq!((ended.outcome, ended.tally.quarantined), (Outcome::Partial, 1), "{value}");
        assert!(reasons(&world).contains("an object or a list, where one value is needed"), "{}", reasons(&world));
        assert_eq!(names(&world), ["Bo"]);
    }
    let (world, ended) = read("learner.own: {from: n, type: json}", r#"[{"id":1,"n":{"first":"Ann"}}]"#);
    assert_eq!((ended.outcome, world.live().len()), (Outcome::Ok, 1));
}

#[test]
fn a_field_that_changes_its_type_is_told_once() {
    let world = World::new(ONE_PAGE, NAMES);
    let run = |value: &'static str| {
        world.server.play(move |_| json(format!(r#"[{{"id":1,"name":{value}}}]"#)));
        world.run().told.doubts
    };
    assert!(run(r#""Ann""#).is_empty());
    assert!(run("null").is_empty());
    assert_eq!(run("false"), ["learners: `name` is true or false now, and was text before"]);
    assert!(run("false").is_empty() && run(r#""Ann""#).is_empty(), "it is known by now");
    assert_eq!(run("0"), ["learners: `name` is number now, and was text and true or false before"]);
    assert_eq!(run(r#"{"a":1}"#).len(), 1);
}

#[test]
fn dates_that_fill_a_field_are_told_of() {
    for (date, odd) in [
        ("0001-01-01", true),
        ("0022-03-01", true),
        ("1900-01-01", true),
        ("9999-12-31", true),
        ("1901-01-01", false),
        ("2031-08-31", false),
    ] {
        for time in ["", "T00:00:00Z"] {
            let (_, ended) = read("learner.date_of_birth: d", format!(r#"[{{"id":1,"d":"{date}{time}"}}]"#));
            let told = ended.warnings.iter().any(|warning| warning.contains("which may stand for none: 1"));
            assert_eq!((told, ended.tally.inserted), (odd, 1), "{date}{time}: {:?}", ended.warnings);
        }
    }
    let ranged = "learner.date_of_birth: {from: d, type: date, range: [1930-01-01, 2012-01-01]}";
    let (world, ended) =
        read(ranged, r#"[{"id":1,"d":"1929-12-31"},{"id":2,"d":"1930-01-01"},{"id":3,"d":"2012-01-02"}]"#);
    assert_eq!((ended.tally.quarantined, world.live()), (2, vec!["2".to_owned()]));
}

#[test]
fn one_instant_in_two_spellings_is_no_change() {
    let mapping = "    field_mappings: {learner.last_name: name, learner.own: at}\n";
    let world = World::new(ONE_PAGE, mapping);
    let run = |at: &'static str| {
        world.server.play(move |_| json(format!(r#"[{{"id":1,"name":"{at}","at":"{at}"}}]"#)));
        let tally = world.run_well();
        (tally.updated, tally.unchanged)
    };
    run("2026-01-01T00:00:00.000+0000");
    assert_eq!(run("2026-01-01T00:00:00.000Z"), (0, 1));
    assert_eq!(run("2026-01-01T00:00:00.000+00:00"), (0, 1));
    assert_eq!(run("2026-01-01T00:00:01.000Z"), (1, 0));
    assert_eq!(run("2026-01-01T00:00:01.000+0100"), (1, 0), "another instant");
    assert_eq!(run("call 2026T+0000"), (1, 0));
    assert_eq!(run("call 2026TZ"), (1, 0), "no instant");
}

#[test]
fn what_is_made_of_nothing_is_nothing() {
    let mappings = [
        "learner.last_name: {from: n, do: [{split: ';'}, {join: ' '}]}",
        "learner.last_name: {from: n, do: [digits]}",
        "learner.last_name: {from: n, do: [trim]}",
        "learner.last_name: {expr: \"(n or '') ~ (m or '')\"}",
    ];
    for mapping in mappings {
        for value in [r#""""#, "null", r#"" ""#] {
            let (world, _) = read(mapping, format!(r#"[{{"id":1,"n":{value},"m":null}}]"#));
            if !(mapping.contains("expr") && value.contains(' ')) {
                assert_eq!(
                    world.column("SELECT format('%d', last_name IS NULL) FROM learners"),
                    ["1"],
                    "{mapping} {value}"
                );
            }
        }
    }
    let (world, _) = read("learner.own: {from: n, do: [{split: ';'}]}", r#"[{"id":1,"n":""}]"#);
    assert_eq!(world.column("SELECT custom FROM learners"), [r#"{"own":[]}"#]);
}

#[test]
fn of_a_name_that_stands_twice_the_last_one_counts_and_is_told() {
    let (world, ended) = read("learner.last_name: n", r#"[{"id":1,"n":"a","n":"b"},{"id":2,"n":"c"}]"#);
    assert_eq!(ended.outcome, Outcome::Ok);
    assert_eq!(names(&world), ["b", "c"]);
    assert_eq!(ended.warnings, ["learners: values that stand twice in their record, of which the last was taken: 1"]);
}

#[test]
fn a_value_nested_too_deeply_is_quarantined_alone() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let body = format!(
        r#"[{{"id":1,"v":{}}},{{"id":2,"v":{}}},{{"id":3,"v":3,"w":{}}}]"#,
        deep(129),
        deep(127),
        deep(100_000)
    );
    for mapping in ["learner.tree: v", "learner.tree: {expr: v}"] {
        let (world, ended) = read(mapping, body.clone());
        // What nobody maps is not looked into.
        assert_eq!((ended.outcome, ended.tally.quarantined), (Outcome::Partial, 1), "{mapping}");
        assert_eq!(world.live(), ["2", "3"]);
        assert!(reasons(&world).contains("127 deep"), "{}", reasons(&world));
    }
}

#[test]
fn what_an_expression_cannot_read_is_no_empty_value() {
    let (world, ended) = read("learner.last_name: {expr: \"n|string\"}", r#"[{"id":1,"n":1e400},{"id":2,"n":7}]"#);
    assert_eq!((ended.outcome, world.live()), (Outcome::Partial, vec!["2".to_owned()]));
}

#[test]
fn a_field_that_is_absent_becomes_empty_as_one_that_is_null() {
    let (world, _) =
        read("learner.last_name: n, learner.status: s", r#"[{"id":1,"n":"a","s":"x"},{"id":2,"n":"b","s":"y"}]"#);
    serve(&world, r#"[{"id":1,"n":null,"s":"x"},{"id":2,"s":"y"}]"#);
    assert_eq!(world.run().tally.updated, 2);
    assert_eq!(names(&world), ["", ""]);
    assert_eq!(world.column("SELECT last_name FROM learners WHERE last_name IS NULL").len(), 2);
    // One that no record has any more is a change of the service, and is told.
    serve(&world, r#"[{"id":1,"s":"x"},{"id":2,"s":"y"}]"#);
    assert_eq!(world.run().warnings, ["learners: none of the 2 records has `n`"]);
}

#[test]
fn a_field_that_nobody_maps_changes_nothing() {
    let (world, _) = read("learner.last_name: n", r#"[{"id":1,"n":"a","fetchedAt":"10:00"}]"#);
    serve(&world, r#"[{"fetchedAt":"10:05","n":"a","id":1}]"#);
    assert_eq!(
        (
            world.run().tally.unchanged,
            world.column("SELECT changed_at FROM learners WHERE changed_at > first_seen_at").len()
        ),
        (1, 0)
    );
}

#[test]
fn one_instant_written_in_several_ways_is_one_value() {
    let mapping = "learner.seen_at: {from: at, type: datetime}";
    let (world, _) = read(mapping, r#"[{"id":1,"at":"2025-10-26T00:30:05.68Z"}]"#);
    for same in [
        "2025-10-26T00:30:05.6800000Z",
        "2025-10-26T01:30:05.680+01:00",
        "2025-10-26T00:30:05.680+0000",
        "2025-10-26T00:30:05.68",
    ] {
        serve(&world, format!(r#"[{{"id":1,"at":"{same}"}}]"#));
        assert_eq!(world.run().tally.unchanged, 1, "{same}");
    }
    serve(&world, r#"[{"id":1,"at":"2025-10-26T00:30:05.6880167Z"}]"#);
    assert_eq!(world.run().tally.updated, 1, "seven digits are seven digits");
    // In the night when the clocks go back, an hour without an offset is twice there: it is read as UTC, never guessed.
    serve(&world, r#"[{"id":1,"at":"2025-10-26T01:30:00"}]"#);
    world.run();
    assert_eq!(world.column("SELECT custom ->> 'seen_at' FROM learners"), ["2025-10-26T01:30:00Z"]);
}

#[test]
fn one_bad_record_of_a_hundred_is_the_only_one_left_out() {
    let bad = rows(1..=100).replace(r#"{"id":57,"name":"N57"}"#, r#"{"id":57,"name":"N57","p":"soon"}"#);
    let (world, ended) = read("learner.last_name: name, learner.progress: p", bad);
    assert_eq!((ended.outcome, ended.tally.inserted, ended.tally.quarantined), (Outcome::Partial, 99, 1));
    assert_eq!(world.column("SELECT record_key FROM quarantine"), ["57"]);
    assert!(watermark(&world).is_some());
}

#[test]
fn records_that_lose_their_key_are_quarantined_and_their_rows_not_taken_for_deleted() {
    let (world, _) = read("learner.last_name: name", rows(1..=10));
    for drifted in [r#"{"uid":10,"name":"N10"}"#, r#"{"id":{"v":10},"name":"N10"}"#, r#"{"id":null,"name":"N10"}"#, "7"]
    {
        serve(&world, rows(1..=10).replace(r#"{"id":10,"name":"N10"}"#, drifted));
        let ended = world.run();
        assert_eq!(
            (ended.outcome, ended.tally.quarantined, ended.tally.deleted),
            (Outcome::Partial, 1, 0),
            "{drifted}"
        );
        assert_eq!(ended.warnings, [format!("learners: records without a key that can be read: 1{SO}")]);
        assert_eq!(world.live().len(), 10);
    }
    serve(&world, rows(1..=9));
    assert_eq!(world.run().tally.deleted, 1);
}

#[test]
fn a_type_that_changes_quarantines_its_records_and_keeps_their_rows() {
    let (world, _) =
        read("learner.last_name: n, learner.progress: p", r#"[{"id":1,"n":"a","p":50},{"id":2,"n":"b","p":60}]"#);
    serve(&world, r#"[{"id":1,"n":"a","p":{"value":50}},{"id":2,"n":"c","p":61}]"#);
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.quarantined, ended.tally.updated), (Outcome::Partial, 1, 1));
    assert_eq!(world.column("SELECT format('%g', progress) FROM learners ORDER BY id"), ["50", "61"]);
    assert!(reasons(&world).contains("learner.progress"));
}

#[test]
fn a_thin_row_that_cannot_be_read_whole_is_completed_all_the_same() {
    let world = World::new(&format!("{ONE_PAGE}    detail: {{get: '/one/{{record.id}}'}}\n"), NAMES);
    world.server.play(|asked| match asked {
        "GET /all" => json(r#"[{"id":1,"v":1e400},{"id":2,"v":"\ud800"},{"id":3,"v":NaN}]"#),
        _ => json(format!(r#"{{"id":{},"name":"full"}}"#, asked.rsplit('/').next().unwrap())),
    });
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.quarantined), (Outcome::Partial, 1));
    assert_eq!(world.column("SELECT external_key || last_name FROM learners ORDER BY 1"), ["1full", "2full"]);
}
