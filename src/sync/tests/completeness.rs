//! What speaks against a read: nothing is deleted by it, nothing is final, and the next sync reads everything.

use chrono::TimeDelta;

use super::*;

type Answer = (u16, String, String);

/// A way to lead from page to page: its name, what a manifest says of it, and how a list is served.
struct Kind {
    page: &'static str,
    by_header: bool,
}

const KINDS: [Kind; 6] = [
    Kind { page: "{token: next}", by_header: false },
    Kind { page: "{next: next}", by_header: false },
    Kind { page: "{link: header}", by_header: true },
    Kind { page: "{header: X-Next}", by_header: true },
    Kind { page: "{number: 1, size: '2'}", by_header: false },
    Kind { page: "{offset: 0, size: '2'}", by_header: false },
];

impl Kind {
    fn manifest(&self, deletes: &str) -> String {
        let page = self.page;
        let by_link = matches!(page, "{next: next}" | "{link: header}");
        let at = if by_link { "" } else { " query: {at: '{page?}'}," };
        format!(
            "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {{get: /all,{at} page: {page}}}
    cursor: {{overlap: 10m}}
    changes: {{get: '/changes?from={{window.from}}'}}
    deletes: {{{deletes}}}
"
        )
    }

    /// Serves two of a list a page.
    fn serve(&self, list: &[u32], asked: &str) -> Answer {
        if asked.starts_with("GET /changes") {
            return json(rows(&[], ""));
        }
        let at = at(asked);
        let from = match self.page {
            "{number: 1, size: '2'}" => at.map_or(0, |at| (at - 1) * 2),
            _ => at.unwrap_or(0),
        };
        let next = (from + 2 < list.len()).then_some(from + 2);
        let page = rows(list.iter().skip(from).take(2).copied().collect::<Vec<_>>().as_slice(), "");
        match (self.page, next) {
            ("{link: header}", Some(next)) => (200, format!("link: </all?at={next}>; rel=\"next\"\r\n"), page),
            ("{header: X-Next}", Some(next)) => (200, format!("x-next: {next}\r\n"), page),
            ("{token: next}", Some(next)) => json(page.replace("]", &format!("],\"next\":\"{next}\""))),
            ("{next: next}", Some(next)) => json(page.replace("]", &format!("],\"next\":\"/all?at={next}\""))),
            ("{token: next}" | "{next: next}", None) => json(page.replace("]", "],\"next\":null")),
            _ if self.by_header => (200, "link: <x>; rel=prev\r\nx-next: end\r\n".into(), page),
            _ => json(page),
        }
    }

    /// Serves a list whose order changes behind its first page, so that the second page shows a row of it again and passes
    /// over another.
    fn serve_shifting(&self, asked: &str) -> Answer {
        let is_first = at(asked).is_none_or(|at| at == usize::from(self.page == "{number: 1, size: '2'}"));
        self.serve(if is_first { &[1, 2, 3, 4, 5, 6, 7] } else { &[3, 1, 2, 4, 5, 6, 7] }, asked)
    }
}

/// Returns the place a request asks for.
fn at(asked: &str) -> Option<usize> {
    asked.split_once("at=")?.1.parse().ok()
}

/// Returns a page of records, with more members behind the list.
fn rows(ids: &[u32], more: &str) -> String {
    let rows: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id},"name":"N{id}"}}"#)).collect();
    format!(r#"{{"rows":[{}]{more}}}"#, rows.join(","))
}

/// Returns whether a run of its own reads the whole list, and how it ends.
fn run_again(world: &World) -> (bool, Ended) {
    world.server.seen.lock().unwrap().clear();
    let ended = world.run();
    (world.server.seen().iter().any(|asked| asked.starts_with("GET /all")), ended)
}

fn page_manifest(kind: &Kind, deletes: &str) -> String {
    let header_end = "page: {header: X-Next, end: end}";
    kind.manifest(deletes).replace("page: {header: X-Next}", header_end)
}

#[test]
fn repeats_prove_nothing_whatever_leads_to_the_next_page() {
    for kind in &KINDS {
        let mut world = World::new(&page_manifest(kind, "sweep: weekly, max: 1"), NAMES);
        world.server.play(|asked| kind.serve(&[1, 2, 3, 4, 5, 6, 7], asked));
        world.run_well();
        assert!(!run_again(&world).0, "{}", kind.page);
        world.server.play(|asked| kind.serve_shifting(asked));
        world.engine.options.full = true;
        let ended = world.run();
        world.engine.options.full = false;
        assert_eq!((ended.outcome, ended.tally.deleted), (Outcome::Partial, 0), "{}", kind.page);
        assert!(ended.told.doubts[0].contains("came twice"), "{}: {:?}", kind.page, ended.told.doubts);
        assert_eq!(world.live().len(), 7, "{}", kind.page);
        world.server.play(|asked| kind.serve(&[1, 2, 3, 4, 5, 6], asked));
        let (in_full, ended) = run_again(&world);
        assert_eq!((ended.outcome, in_full), (Outcome::Ok, true), "{}", kind.page);
        assert_eq!(world.live().len(), 6, "a clean read deletes: {}", kind.page);
        world.run_well();
        assert!(world.column("SELECT doubts FROM sync_state").concat().is_empty(), "{}", kind.page);
    }
}

#[test]
fn a_first_load_that_shifted_is_read_again_in_full() {
    for kind in &KINDS {
        for sweep in ["never", "weekly"] {
            let world = World::new(&page_manifest(kind, &format!("sweep: {sweep}")), NAMES);
            world.server.play(|asked| kind.serve_shifting(asked));
            for _ in 0..2 {
                let (in_full, ended) = run_again(&world);
                assert_eq!((ended.outcome, world.live().len(), in_full), (Outcome::Partial, 6, true), "{}", kind.page);
            }
            world.server.play(|asked| kind.serve(&[1, 2, 3, 4, 5, 6, 7], asked));
            assert_eq!((world.run().outcome, world.live().len()), (Outcome::Ok, 7), "{}", kind.page);
        }
    }
}

#[test]
fn repeats_are_counted_for_each_value_of_a_loop() {
    let loops = KINDS[4]
        .manifest("sweep: weekly, max: 1")
        .replace("    key: id\n", "    key: id\n    each: {settings: centres}\n");
    let loops = loops.replace("get: /all,", "get: '/all/{each}',").replace("get: '/changes?", "get: '/changes/{each}?");
    let manifest = format!("settings: {{centres: {{type: list, required: true}}}}\n{loops}");
    let world = World::new(&manifest, &format!("    centres: [a, b]\n{NAMES}"));
    // A learner of two centres comes twice, and rightly so.
    world.server.play(|asked| KINDS[4].serve(if asked.contains("/all/a") { &[1, 2, 3] } else { &[3, 4, 5] }, asked));
    world.run_well();
    assert_eq!(world.live().len(), 5);
    let mut world = world;
    world.engine.options.full = true;
    world.server.play(|asked| match asked.contains("/all/b") {
        true => KINDS[4].serve_shifting(asked),
        false => KINDS[4].serve(&[1, 2, 3], asked),
    });
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.deleted), (Outcome::Partial, 0));
    assert!(ended.told.doubts[0].contains("came twice"), "{:?}", ended.told.doubts);
}

const TWO_STREAMS: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {get: /learners}
    deletes: {sweep: always, max: 1, after: 2}
  firms:
    entity: employer
    key: id
    records: 'rows[]'
    full: {get: /firms}
    deletes: {sweep: always, max: 1, after: 2}
";

#[test]
fn misses_are_counted_by_full_reads_of_their_own_stream() {
    let both = "    field_mappings: {learner.last_name: name, employer.name: name}\n";
    let mut world = World::new(TWO_STREAMS, both);
    world.server.play(|_| json(rows(&[1, 2, 3], "")));
    world.run_well();
    let mut run = |stream: &str, ids: &'static [u32]| {
        world.engine.options.stream = Some(stream.into());
        world.server.play(move |_| json(rows(ids, "")));
        world.run_well();
        world.live()
    };
    for _ in 0..4 {
        run("firms", &[1, 2, 3]);
    }
    assert_eq!(run("learners", &[1, 3]).len(), 3, "one miss, however often the other stream was read");
    run("firms", &[1, 2, 3]);
    assert_eq!(run("learners", &[1, 2, 3]).len(), 3);
    assert_eq!(run("learners", &[1, 2]).len(), 3, "it was seen in between");
    assert_eq!(run("learners", &[1, 2]), ["1", "2"], "two misses in a row");
}

#[test]
fn a_doubted_full_read_is_no_miss() {
    let world = World::new(TWO_STREAMS, "    field_mappings: {learner.last_name: name}\n");
    world.server.play(|_| json(rows(&[1, 2, 3], "")));
    world.run_well();
    for _ in 0..3 {
        world.server.play(|_| json(rows(&[1, 2, 2], "")));
        assert_eq!(world.run().outcome, Outcome::Partial);
    }
    world.server.play(|_| json(rows(&[1, 2], "")));
    world.run_well();
    assert_eq!(world.live().len(), 3, "the first proved read that missed it");
    world.run_well();
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_loop_throws_the_open_read_away() {
    for kind in &KINDS[..4] {
        let mut world = World::new(&page_manifest(kind, "sweep: weekly, max: 1"), NAMES);
        world.server.play(|asked| kind.serve(&[1, 2, 3, 4, 5, 6, 7], asked));
        world.run_well();
        world.engine.options.full = true;
        world.server.play(|asked| match at(asked) {
            Some(4) => {
                let (status, headers, body) = kind.serve(&[1, 2, 3, 4, 5, 6, 7], "GET /all?at=2");
                (status, headers, body)
            }
            _ => kind.serve(&[1, 2, 3, 4, 5, 6, 7], asked),
        });
        let ended = world.run();
        assert_eq!(ended.error.map(|error| error.code), Some("pagination_loop"), "{}", kind.page);
        world.engine.options.full = false;
        world.server.play(|asked| kind.serve(&[1, 2, 3, 4, 5, 6, 7], asked));
        world.run_well();
        assert_eq!(world.live().len(), 7, "{}", kind.page);
        assert_eq!(world.server.seen()[0], "GET /all", "{}", kind.page);
    }
}

const BY_TOKEN: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {get: /all, query: {limit: '3', at: '{page?}'}, page: {token: next}}
    cursor: {overlap: 10m}
    changes: {get: '/changes?from={window.from}'}
    deletes: {sweep: weekly, max: 1}
";

/// Returns what a list of three pages says of its second, given how that is answered, once all seven were read before.
fn with_second_page(answer: &'static str) -> (World, Ended) {
    let mut world = World::new(BY_TOKEN, NAMES);
    let good = |asked: &str| match at(asked) {
        _ if asked.starts_with("GET /changes") => json(rows(&[], "")),
        None => json(rows(&[1, 2, 3], r#","next":"2""#)),
        Some(2) => json(rows(&[4, 5, 6], r#","next":"3""#)),
        _ => json(rows(&[7], "")),
    };
    world.server.play(good);
    world.run_well();
    world.engine.options.full = true;
    world.server.play(move |asked| if at(asked) == Some(2) { json(answer) } else { good(asked) });
    let ended = world.run();
    world.engine.options.full = false;
    (world, ended)
}

#[test]
fn an_end_is_not_believed_without_proof() {
    for (answer, outcome) in [
        (r#"{"rows":[]}"#, Outcome::Partial),
        (r#"{"rows":[],"next":""}"#, Outcome::Partial),
        (r#"{"rows":[{"id":4},{"id":5},{"id":6}]}"#, Outcome::Ok),
        (r#"{"rows":[{"id":4},{"id":5},{"id":6}],"next":""}"#, Outcome::Ok),
        (r#"{"rows":[{"id":4},{"id":5},{"id":6}],"following":"3"}"#, Outcome::Ok),
    ] {
        let (world, ended) = with_second_page(answer);
        assert_eq!((ended.outcome, ended.tally.deleted, world.live().len()), (outcome, 0, 7), "{answer}");
        assert!(ended.told.doubts[0].contains("lists that ended with"), "{answer}: {:?}", ended.told.doubts);
        world.server.play(|_| json(rows(&[1, 2], "")));
        assert!(run_again(&world).0, "{answer}");
    }
}

#[test]
fn an_error_beside_a_list_is_an_error() {
    for said in [
        r#""status":"error""#,
        r#""error":"x""#,
        r#""error":{"code":7}"#,
        r#""errors":[{"message":"x"}]"#,
        r#""success":false"#,
        r#""ok":false"#,
        r#""status":"FAILED""#,
    ] {
        for records in ["", r#"{"id":4,"name":"N4"}"#] {
            let answer: &'static str = Box::leak(format!(r#"{{"rows":[{records}],{said}}}"#).into_boxed_str());
            let (world, ended) = with_second_page(answer);
            let code = ended.error.map(|error| error.code);
            assert_eq!((code, world.live().len()), (Some("error_in_answer"), 7), "{answer}");
        }
    }
    for said in [r#""error":null"#, r#""errors":[]"#, r#""error":false"#, r#""status":"ok""#, r#""success":true"#] {
        let answer: &'static str = Box::leak(format!(r#"{{"rows":[{{"id":4}}],{said}}}"#).into_boxed_str());
        assert_eq!(with_second_page(answer).1.outcome, Outcome::Ok, "{answer}");
    }
}

#[test]
fn a_total_proves_a_full_last_page_and_catches_what_is_missing() {
    let manifest = BY_TOKEN.replace("page: {token: next}", "page: {token: next, total: total}");
    for (total, outcome) in [(3, Outcome::Ok), (4, Outcome::Partial), (2, Outcome::Partial)] {
        let world = World::new(&manifest, NAMES);
        world.server.play(move |_| json(rows(&[1, 2, 3], &format!(r#","total":{total}"#))));
        assert_eq!(world.run().outcome, outcome, "{total}");
    }
}

#[test]
fn a_list_far_longer_than_its_total_is_given_up() {
    let manifest = BY_TOKEN.replace("page: {token: next}", "page: {token: next, total: total}");
    let world = World::new(&manifest, NAMES);
    world.server.play(|asked| {
        let at = u32::try_from(at(asked).unwrap_or(0)).unwrap();
        let ids: Vec<u32> = (at * 5_000..(at + 1) * 5_000).collect();
        json(rows(&ids, &format!(r#","total":460,"next":"{}""#, at + 1)))
    });
    assert_eq!(world.run().error.map(|error| error.code), Some("list_endless"));
    assert!(world.server.seen().len() < 10);
}

#[test]
fn an_empty_page_behind_a_full_one_is_asked_for_once_more() {
    for kind in &KINDS[4..] {
        let world = World::new(&page_manifest(kind, "sweep: weekly, max: 1"), NAMES);
        let mut hiccup = 0;
        world.server.play(move |asked| {
            let is_second = at(asked) == Some(2);
            hiccup += i32::from(is_second);
            if is_second && hiccup == 1 { json(rows(&[], "")) } else { kind.serve(&[1, 2, 3, 4, 5], asked) }
        });
        world.run_well();
        assert_eq!(world.live().len(), 5, "{}", kind.page);
    }
}

#[test]
fn a_promise_of_an_earlier_run_is_kept_in_mind() {
    for kind in &KINDS {
        let mut world = World::new(&page_manifest(kind, "sweep: weekly, max: 1"), NAMES);
        let all = [1, 2, 3, 4, 5, 6, 7];
        world.server.play(move |asked| kind.serve(&all, asked));
        world.run_well();
        world.engine.options.full = true;
        let cut = move |asked: &str| if at(asked) == Some(2) { json(r#"{"rows":["#) } else { kind.serve(&all, asked) };
        world.server.play(cut);
        assert_eq!(world.run().error.map(|error| error.code), Some("bad_response"), "{}", kind.page);
        world.engine.options.full = false;
        let mut hiccup = true;
        world.server.play(move |asked| match at(asked) == Some(2) && std::mem::take(&mut hiccup) {
            true => json(rows(&[], "")),
            false => kind.serve(&all, asked),
        });
        let ended = world.run();
        assert_eq!((ended.tally.deleted, world.live().len()), (0, 7), "{}", kind.page);
    }
}

#[test]
fn every_doubt_makes_the_next_read_full() {
    let detail = "    detail: {get: '/one/{record.id}', missing_ok: true}\n";
    let cases = [
        ("", r#"{"rows":[{"id":1,"name":"a"},{"name":"b"}]}"#, "without a key"),
        ("", r#"{"rows":[{"id":1,"name":"a\ud83d"},{"id":2,"name":"b"}]}"#, "cannot be read"),
        ("", r#"{"rows":[{"id":1,"name":"a"},{"id":1,"name":"b"}]}"#, "same key"),
        (detail, r#"{"rows":[{"id":1,"name":"a"},{"id":404,"name":"b"}]}"#, "no details"),
        (detail, r#"{"rows":[{"id":1,"name":"a"},{"id":204,"name":"b"}]}"#, "no details"),
        (detail, r#"{"rows":[{"id":1,"name":"a"},{"id":null}]}"#, "without a key"),
        (detail, r#"{"rows":[{"id":1,"name":"a"},{"id":400},{"id":400}]}"#, "came twice"),
        ("", r#"{"rows":[{"id":1,"name":"a"},{"id":3,"name":{}},{"id":3,"name":{}}]}"#, "came twice"),
    ];
    for (more, answer, doubt) in cases {
        let manifest = format!("{}{more}    errors: [{{status: 204, do: empty_page}}]\n", BY_TOKEN);
        let world = World::new(&manifest, NAMES);
        let answer = answer.to_owned();
        let one = move |asked: &str| match asked {
            "GET /one/" | "GET /one/400" => (400, String::new(), "{}".into()),
            "GET /one/404" => (404, String::new(), "{}".into()),
            "GET /one/204" => (204, String::new(), String::new()),
            _ => json(r#"{"id":1,"name":"a"}"#),
        };
        world.server.play(move |asked| if asked.starts_with("GET /one") { one(asked) } else { json(answer.as_str()) });
        for _ in 0..2 {
            let (in_full, ended) = run_again(&world);
            assert_eq!((ended.outcome, ended.tally.deleted, in_full), (Outcome::Partial, 0, true), "{doubt}");
            assert!(ended.told.doubts.iter().any(|told| told.contains(doubt)), "{doubt}: {:?}", ended.told.doubts);
            let stored = world.column("SELECT doubts FROM sync_state").concat();
            assert!(!stored.is_empty(), "status tells it: {doubt}");
        }
    }
}

#[test]
fn a_credential_or_a_scope_that_sees_more_makes_the_next_read_full() {
    let check = "secrets: {key: {title: Key}}\ncheck: {get: /me, scope: {get: /groups, items: '[]'}}\n";
    let world = World::new(&format!("{check}{LEARNERS}"), NAMES);
    let play = |world: &World, groups: &'static str, ids: &'static [u32]| {
        let mut all = learners(ids);
        world.server.play(move |asked| if asked == "GET /groups" { json(groups) } else { all(asked) });
    };
    world.set("key", "narrow");
    play(&world, "[1]", &[1, 2]);
    world.run_well();
    assert!(!run_again(&world).0);
    world.set("key", "wide");
    // The new rows have old times of change: no window shows them.
    play(&world, "[1]", &[1, 2, 3]);
    world.run();
    assert_eq!(world.live().len(), 3);
    world.run_well();
    world.run_well();
    play(&world, "[1,2]", &[1, 2, 3, 4]);
    world.run();
    assert_eq!(world.live().len(), 4, "another group is seen");
    play(&world, "[1]", &[1, 2, 3]);
    let ended = world.run();
    assert_eq!((ended.tally.deleted, world.live().len()), (0, 4), "what is no longer seen is not gone");
}

/// A `Date` of the provider's clock, so far ahead of ours.
fn dated(ahead: TimeDelta, body: &str) -> Answer {
    let date = (crate::config::now() + ahead).format("%a, %d %b %Y %H:%M:%S GMT");
    (200, format!("date: {date}\r\n"), body.to_owned())
}

#[test]
fn a_clock_that_is_wrong_once_hides_no_change() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(|_| dated(TimeDelta::hours(1), "[]"));
    let ended = world.run();
    assert!(ended.told.doubts[0].contains("60 min ahead"), "{:?}", ended.told.doubts);
    let watermark = || world.column("SELECT watermark FROM sync_state")[0].parse::<DateTime<Utc>>().unwrap();
    assert!(watermark() <= crate::config::now());
    world.server.play(|_| dated(TimeDelta::hours(1), "[]"));
    world.run();
    assert!(watermark() <= crate::config::now(), "by a window of changes neither");
}

#[test]
fn windows_end_by_the_providers_clock() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(|_| dated(TimeDelta::minutes(30), "[]"));
    world.run();
    world.server.play(|_| dated(TimeDelta::minutes(30), "[]"));
    world.run();
    let seen = world.server.seen();
    let to = seen.last().unwrap().split_once("to=").unwrap().1.split('&').next().unwrap().to_owned();
    let to: DateTime<Utc> = to.replace("%3A", ":").parse().unwrap();
    assert!(to > crate::config::now() + TimeDelta::minutes(29), "{seen:?}");
}

#[test]
fn a_full_read_of_an_earlier_run_is_brought_up_to_now() {
    let manifest = KINDS[4].manifest("sweep: always, max: 1");
    let manifest = manifest.lines().filter(|line| !line.contains("changes:") && !line.contains("cursor:"));
    let world = World::new(&format!("{}\n", manifest.collect::<Vec<_>>().join("\n")), NAMES);
    world.server.play(|asked| match at(asked) {
        Some(1) => KINDS[4].serve(&[1, 2, 3], asked),
        _ => (500, String::new(), "{}".into()),
    });
    assert_eq!(world.run().outcome, Outcome::Failed);
    // The first page has changed since: to end the read of before is not to be up to date.
    world.server.play(|asked| KINDS[4].serve(&[9, 2, 3], asked));
    world.run_well();
    assert_eq!(world.live(), ["2", "3", "9"]);
}

#[test]
fn a_refused_position_is_given_up() {
    for status in [400, 404, 410, 422] {
        let world = World::new(BY_TOKEN, NAMES);
        world.server.play(|asked| match at(asked) {
            None => json(rows(&[1, 2, 3], r#","next":"2""#)),
            _ => (500, String::new(), "{}".into()),
        });
        assert_eq!(world.run().outcome, Outcome::Failed);
        world.server.play(move |asked| match at(asked) {
            Some(2) => (status, String::new(), "{}".into()),
            None => json(rows(&[1, 2, 3], r#","next":"5""#)),
            _ => json(rows(&[4], "")),
        });
        let ended = world.run();
        assert_eq!((ended.outcome, world.live().len()), (Outcome::Ok, 4), "{status}: {:?}", ended.error);
        assert!(ended.warnings[0].contains("its position was refused"), "{status}: {:?}", ended.warnings);
    }
}

#[test]
fn a_link_to_another_host_is_given_up_by_the_next_run() {
    let world = World::new(&KINDS[1].manifest("sweep: weekly, max: 1"), NAMES);
    world.server.play(|_| json(rows(&[1, 2], r#","next":"http://elsewhere.example/2""#)));
    for _ in 0..2 {
        assert_eq!(world.run().error.map(|error| error.code), Some("foreign_link"));
        assert_eq!(world.server.seen().pop().as_deref(), Some("GET /all"), "the answer is fresh each time");
    }
    world.server.play(|asked| KINDS[1].serve(&[1, 2, 3], asked));
    world.run_well();
    assert_eq!(world.live().len(), 3);
}

#[test]
fn a_position_without_a_page_in_three_runs_is_given_up() {
    let world = World::new(BY_TOKEN, NAMES);
    world.server.play(|asked| match at(asked) {
        None => json(rows(&[1, 2, 3], r#","next":"2""#)),
        _ => (500, String::new(), "{}".into()),
    });
    for _ in 0..3 {
        assert_eq!(world.run().outcome, Outcome::Failed);
    }
    assert_eq!(world.server.seen().iter().filter(|asked| at(asked).is_none()).count(), 1, "trouble may pass");
    world.run();
    assert_eq!(world.server.seen().iter().filter(|asked| at(asked).is_none()).count(), 2);
}

#[test]
fn full_begins_at_the_beginning() {
    let mut world = World::new(BY_TOKEN, NAMES);
    world.server.play(|asked| match at(asked) {
        None => json(rows(&[1, 2, 3], r#","next":"2""#)),
        _ => (500, String::new(), "{}".into()),
    });
    world.run();
    world.engine.options.full = true;
    world
        .server
        .play(|asked| json(if at(asked).is_none() { rows(&[1, 2, 3], r#","next":"7""#) } else { rows(&[4], "") }));
    world.run_well();
    assert_eq!(world.server.seen(), ["GET /all?limit=3", "GET /all?limit=3&at=7"]);
}

#[test]
fn several_paths_are_one_key() {
    let by = |key: &str| {
        let feed = ", feed: {get: /gone}";
        BY_TOKEN.replace("key: id", &format!("key: {key}")).replace("max: 1}", &format!("max: 1{feed}}}"))
    };
    let enrolled = |pairs: &[(u32, u32)]| {
        let rows: Vec<String> =
            pairs.iter().map(|(user, course)| format!(r#"{{"user":{user},"course":{course}}}"#)).collect();
        format!(r#"{{"rows":[{}]}}"#, rows.join(","))
    };
    let all = enrolled(&[(1, 7), (1, 8)]);
    let folded = World::new(&by("user"), "    field_mappings: {learner.last_name: course}\n");
    let page = all.clone();
    folded.server.play(move |asked| json(if asked == "GET /gone" { rows(&[], "") } else { page.clone() }));
    let ended = folded.run();
    assert_eq!((ended.outcome, folded.live().len()), (Outcome::Partial, 1));
    assert!(
        ended.told.doubts.iter().any(|doubt| doubt.contains("`key` does not tell them apart")),
        "it says what it is"
    );

    let world = World::new(&by("[user, course]"), "    field_mappings: {learner.last_name: course}\n");
    let page = all.clone();
    world.server.play(move |asked| json(if asked == "GET /gone" { rows(&[], "") } else { page.clone() }));
    world.run_well();
    assert_eq!(world.live(), ["1/7", "1/8"]);
    let gone = enrolled(&[(1, 8)]);
    world.server.play(move |asked| json(if asked == "GET /gone" { gone.clone() } else { rows(&[], "") }));
    assert_eq!(world.run_well().deleted, 1);
    assert_eq!(world.live(), ["1/7"]);
}
