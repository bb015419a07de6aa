//! Windows, pages and loops that lose or double records in other tools: one test a trap. `docs/traps.md` is the index.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

/// One stream of learners, its pages led to by a token.
const BY_TOKEN: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {get: '/all', query: {at: '{page?}'}, page: {token: next, max: 30}}
";

/// One stream of learners in counted pages of two, which may be read by changes as well.
const BY_NUMBER: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all/{page}', page: {number: 1, size: '2'}}
    cursor: {overlap: 10m}
    changes: {get: '/changes/{page}?from={window.from}&to={window.to}', page: {number: 1, size: '2'}}
    deletes: {sweep: weekly, max: 1}
";

/// Returns records of these numbers.
pub(super) fn rows(numbers: impl IntoIterator<Item = u32>) -> String {
    let rows: Vec<String> = numbers.into_iter().map(|id| format!(r#"{{"id":{id},"name":"N{id}"}}"#)).collect();
    format!("[{}]", rows.join(","))
}

/// Returns a page of records behind a token.
fn page(numbers: impl IntoIterator<Item = u32>, next: Option<&str>) -> (u16, String, String) {
    json(
        serde_json::json!({"rows": serde_json::from_str::<serde_json::Value>(&rows(numbers)).unwrap(), "next": next})
            .to_string(),
    )
}

/// Returns what a request asks for, `at=` in its query.
fn at(asked: &str) -> &str {
    asked.split_once("at=").map_or("", |(_, at)| at)
}

fn code(ended: &Ended) -> Option<&'static str> {
    ended.error.as_ref().map(|error| error.code)
}

/// Returns the watermark as it stands.
pub(super) fn watermark(world: &World) -> Option<DateTime<Utc>> {
    world.column("SELECT watermark FROM sync_state").first()?.parse().ok()
}

// Equal cursor values, resumption, order, clocks.

/// What may happen between two answers of a service whose clock the test moves.
#[derive(Debug, Clone)]
enum Happening {
    /// A record changes now, and shows so many seconds later.
    Touch {
        id: u32,
        late: i64,
    },
    Pass {
        seconds: i64,
    },
    Run {
        size: usize,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..12_u32, 0..=5_i64).prop_map(|(id, late)| Happening::Touch { id, late }),
        2 => (0..3_i64).prop_map(|seconds| Happening::Pass { seconds }),
        2 => (1..5_usize).prop_map(|size| Happening::Run { size }),
    ]
}

/// A service whose records carry the second of their last change, so that many have the same one.
#[derive(Default)]
struct Remote {
    now: i64,
    size: usize,
    /// By id: all changes as (stamp, second it shows from, value).
    records: BTreeMap<u32, Vec<(i64, i64, usize)>>,
}

impl Remote {
    fn answer(&self, asked: &str) -> (u16, String, String) {
        let of =
            |name: &str| -> Option<i64> { asked.split_once(&format!("{name}="))?.1.split('&').next()?.parse().ok() };
        let (from, to, after) = (of("from").unwrap_or(0), of("to").unwrap_or(i64::MAX), of("after").unwrap());
        let shown = self.records.iter().filter_map(|(id, changes)| {
            let (stamp, _, value) = changes.iter().rfind(|(_, shows, _)| *shows <= self.now)?;
            let wanted = i64::from(*id) > after && (from..=to).contains(stamp);
            wanted.then(|| format!(r#"{{"id":{id},"name":"V{value}"}}"#))
        });
        let date = DateTime::from_timestamp(self.now, 0).unwrap().format("date: %a, %d %b %Y %H:%M:%S GMT\r\n");
        (200, date.to_string(), format!("[{}]", shown.take(self.size).collect::<Vec<_>>().join(",")))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_times_at_page_edges_and_across_runs_lose_and_double_nothing(
        happenings in proptest::collection::vec(happening(), 1..30),
    ) {
        let manifest = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?after={page}', page: {keyset: id, first: '0'}}
    cursor: {overlap: 5s}
    changes:
      get: '/changes?from={window.from|seconds}&to={window.to|seconds}&after={page}'
      page: {keyset: id, first: '0'}
";
        let world = World::new(manifest, NAMES);
        let began = (crate::config::now() - TimeDelta::days(30)).timestamp();
        let remote = Arc::new(Mutex::new(Remote { now: began, size: 2, ..Remote::default() }));
        let answering = Arc::clone(&remote);
        world.server.play(move |asked| answering.lock().unwrap().answer(asked));
        let end = [Happening::Pass { seconds: 6 }, Happening::Run { size: 2 }];
        for (number, happening) in happenings.into_iter().chain(end).enumerate() {
            match happening {
                Happening::Touch { id, late } => {
                    let mut remote = remote.lock().unwrap();
                    let now = remote.now;
                    remote.records.entry(id).or_default().push((now, now + late, number));
                }
                Happening::Pass { seconds } => remote.lock().unwrap().now += seconds,
                Happening::Run { size } => {
                    remote.lock().unwrap().size = size;
                    world.run_well();
                }
            }
        }
        // Of changes that show out of their order, the one that was made last is what stands.
        let remote = remote.lock().unwrap();
        let there = remote.records.iter().map(|(id, changes)| format!("{id} V{}", changes.last().unwrap().2));
        let there: std::collections::BTreeSet<String> = there.collect();
        let stored = world.column("SELECT external_key || ' ' || last_name FROM learners");
        prop_assert_eq!(stored.len(), there.len(), "a row twice");
        prop_assert_eq!(stored.into_iter().collect::<std::collections::BTreeSet<_>>(), there);
    }
}

#[test]
fn a_read_that_stops_among_equal_times_goes_on_there() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[]));
    world.run_well();
    // All have the same time of change: the key alone says where the read stands.
    let mut all = learners(&[1, 2, 3, 4, 5]);
    let mut changes = move |asked: &str| all(&asked.replace("/changes", "/all"));
    world.server.play(
        move |asked| {
            if asked.ends_with("after=4") { (500, String::new(), "{}".into()) } else { changes(asked) }
        },
    );
    assert_eq!(world.run().outcome, Outcome::Failed);
    let mut all = learners(&[1, 2, 3, 4, 5]);
    world.server.play(move |asked| all(&asked.replace("/changes", "/all")));
    assert_eq!(world.run_well().inserted, 1);
    assert_eq!(world.live(), ["1", "2", "3", "4", "5"]);
    assert!(world.server.seen()[0].ends_with("after=4"));
}

#[test]
fn ids_that_sort_as_text_are_all_read() {
    let world = World::new(LEARNERS, NAMES);
    let mut ids: Vec<String> = (1..=23).map(|id: u32| id.to_string()).collect();
    ids.sort();
    let every = ids.clone();
    world.server.play(move |asked| {
        let after = asked.rsplit("after=").next().unwrap();
        let page = every.iter().filter(|id| after == "0" || id.as_str() > after).take(3);
        json(format!("[{}]", page.map(|id| format!(r#"{{"id":"{id}","name":"N"}}"#)).collect::<Vec<_>>().join(",")))
    });
    assert_eq!(world.run_well().inserted, 23);
    assert_eq!(world.live(), ids);
}

#[test]
fn a_window_ends_before_what_an_index_may_not_show_yet() {
    let world = World::new(&LEARNERS.replace("overlap: 10m", "overlap: 10m, settle: 2m"), NAMES);
    world.server.play(learners(&[1]));
    world.run_well();
    let before = watermark(&world).unwrap();
    assert!(before <= crate::config::now() - TimeDelta::minutes(2));
    world.run_well();
    let asked = world.server.seen().into_iter().find(|asked| asked.starts_with("GET /changes")).unwrap();
    let from = asked.split_once("from=").unwrap().1.split('&').next().unwrap().replace("%3A", ":");
    assert!(from.parse::<DateTime<Utc>>().unwrap() <= before - TimeDelta::minutes(10) + TimeDelta::seconds(1));
}

#[test]
fn a_time_far_in_the_future_is_stored_and_moves_no_watermark() {
    let dated = LEARNERS.replace("cursor: {overlap", "cursor: {field: at, overlap");
    let world = World::new(&dated, "    field_mappings: {learner.last_name: name, learner.seen_at: at}\n");
    let one = r#"[{"id":1,"name":"a","at":"2099-01-01T00:00:00Z"},{"id":2,"name":"b","at":null}]"#;
    for _ in 0..2 {
        world.server.play(move |asked| json(if asked.ends_with("after=0") { one } else { "[]" }));
        world.run();
        assert!(watermark(&world).is_none_or(|watermark| watermark <= crate::config::now()));
    }
    assert_eq!(world.live(), ["1", "2"]);
    assert_eq!(
        world.column("SELECT custom ->> 'seen_at' FROM learners WHERE external_key = '1'"),
        ["2099-01-01T00:00:00Z"]
    );
}

#[test]
fn records_without_their_time_of_change_are_kept_and_counted_and_fail_changes_if_most_lack_it() {
    let dated = LEARNERS.replace("cursor: {overlap", "cursor: {field: at, overlap");
    let world = World::new(&dated, NAMES);
    let served = |with: u32, without: u32| {
        let row = |id: u32| {
            format!(r#"{{"id":{id},"name":"N"{}}}"#, if id <= with { r#","at":"2026-01-01T00:00:00Z""# } else { "" })
        };
        let page = format!("[{}]", (1..=with + without).map(row).collect::<Vec<_>>().join(","));
        move |asked: &str| json(if asked.ends_with("after=0") { page.clone() } else { "[]".into() })
    };
    world.server.play(served(2, 4));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted), (Outcome::Ok, 6), "a full read does not go by times");
    assert_eq!(ended.warnings, ["learners: records without `at`, which changes may never find: 4 of 6"]);
    world.server.play(served(3, 3));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.warnings.len()), (Outcome::Ok, 1));

    let before = watermark(&world);
    world.server.play(served(3, 5));
    for _ in 0..2 {
        let ended = world.run();
        assert_eq!((ended.outcome, code(&ended)), (Outcome::Failed, Some("cursor_missing")));
        assert_eq!((watermark(&world), world.live().len()), (before, 8), "kept, but nothing is concluded");
    }
    world.server.play(served(8, 0));
    world.run_well();
    assert!(watermark(&world) > before);
}

// Pages.

#[test]
fn a_post_that_is_not_marked_idempotent_is_tried_once() {
    let post = |marked: &str| {
        let world = World::new(&BY_TOKEN.replace("get: '/all'", &format!("post: '/all'{marked}")), NAMES);
        world.server.play(|_| (503, String::new(), String::new()));
        assert_eq!(code(&world.run()), Some("provider_failing"));
        world.server.seen().len()
    };
    assert_eq!((post(""), post(", idempotent: true")), (1, 5));
}

#[test]
fn an_error_in_an_answer_of_200_is_no_empty_page() {
    let world = World::new(BY_TOKEN, NAMES);
    world.server.play(|_| page([1, 2], None));
    world.run_well();
    let before = watermark(&world);
    for body in [r#"{"error":"busy"}"#, r#"{"rows":null}"#, r#"{"rows":{}}"#, r#""rows""#, "[]"] {
        world.server.play(move |_| json(body));
        assert_eq!(code(&world.run()), Some("records_missing"), "{body}");
    }
    assert_eq!((watermark(&world), world.live().len()), (before, 2));
    // A rule of the manifest may say what such an answer means.
    let rule = "  errors: [{when: \"body.error == 'busy'\", do: defer}]\n";
    let world = World::new(&format!("{rule}{BY_TOKEN}"), NAMES);
    world.server.play(|_| json(r#"{"error":"busy"}"#));
    assert_eq!(world.run().outcome, Outcome::Deferred);
}

#[test]
fn a_login_page_is_told_by_its_first_words_and_without_secrets() {
    let login = "  auth: {login: {post: /login, token: text, ttl: 1h, use: {header: {x-token: '{token}'}}}}\n";
    for kind in ["text/html", "application/json"] {
        let world = World::new(&format!("{login}{BY_TOKEN}"), NAMES);
        world.server.write(move |asked, stream| {
            let (kind, body) = match asked {
                "POST /login" => ("text/plain", "SENTINEL".to_owned()),
                _ => (kind, format!("<html><title>Sign in</title>SENTINEL {}</html>", "x".repeat(900))),
            };
            write!(
                stream,
                "HTTP/1.1 200 X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .ok();
        });
        let error = world.run().error.unwrap();
        assert_eq!(error.code, "not_json");
        assert!(error.message.contains("<html><title>Sign in</title>[redacted] xxx"), "{}", error.message);
        assert!(error.message.len() < 400 && !error.message.contains("SENTINEL"), "{}", error.message);
    }
}

#[test]
fn short_and_empty_pages_that_carry_a_token_are_no_end() {
    let world = World::new(BY_TOKEN, NAMES);
    world.server.play(|asked| match at(asked) {
        "" => page([1, 2, 3], Some("a")),
        "a" => page([], Some("b")),
        "b" => page([4], Some("c")),
        "c" => page([], Some("d")),
        _ => page([5], None),
    });
    assert_eq!(world.run_well().inserted, 5);
}

#[test]
fn empty_pages_are_gone_through_ten_times_in_a_row_and_no_more() {
    let world = World::new(BY_TOKEN, NAMES);
    let empties = |number: u32| {
        move |asked: &str| match at(asked).parse::<u32>() {
            Err(_) => page([1], Some("1")),
            Ok(turn) if turn <= number => page([], Some(&(turn + 1).to_string())),
            Ok(_) => page([2], None),
        }
    };
    world.server.play(empties(10));
    assert_eq!(world.run_well().read, 2);
    world.server.play(empties(11));
    let ended = world.run();
    assert_eq!((ended.outcome, code(&ended)), (Outcome::Failed, Some("empty_pages")));
}

#[test]
fn an_empty_page_of_a_search_that_promises_more_is_asked_for_again() {
    let searched = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {get: '/all', query: {after: '{page}'}, page: {keyset: id, first: '0', more: next}}
";
    let world = World::new(searched, NAMES);
    let mut turn = 0;
    world.server.play(move |_| {
        turn += 1;
        match turn {
            1 => page([1, 2], Some("2")),
            2 => page([], Some("2")),
            3 => page([3], None),
            _ => page([], None),
        }
    });
    assert_eq!(world.run_well().inserted, 3);
    world.server.play(|_| page([], Some("2")));
    assert_eq!(code(&world.run()), Some("empty_pages"));
}

#[test]
fn pages_without_an_end_marker_end_at_the_empty_one() {
    let world = World::new(BY_NUMBER, NAMES);
    world.server.play(|asked| match asked {
        "GET /all/1" => json(rows([1, 2])),
        "GET /all/2" => json(rows([3])),
        _ => json("[]"),
    });
    assert_eq!(world.run_well().inserted, 3);
    assert_eq!(world.server.seen(), ["GET /all/1", "GET /all/2", "GET /all/3"]);
}

#[test]
fn a_service_that_caps_its_pages_is_read_to_its_end_and_told_of() {
    let hundred = |asked: &str| {
        let number: u32 = asked.rsplit('/').next().unwrap().parse().unwrap();
        json(if number <= 3 { rows((number - 1) * 100 + 1..=number * 100) } else { "[]".into() })
    };
    let world = World::new(&BY_NUMBER.replace("size: '2'", "size: '500'"), NAMES);
    world.server.play(hundred);
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted), (Outcome::Ok, 300));
    assert_eq!(
        ended.warnings,
        ["learners: pages of 500 records were asked for, and the first had 100: the service may allow no more"]
    );

    // Where the manifest says that a short page is the last one, this is how most of a stream is lost.
    let short = BY_NUMBER.replace("size: '2'", "size: '500', stop: [short_page]");
    let world = World::new(&short, NAMES);
    world.server.play(hundred);
    let ended = world.run();
    assert_eq!((ended.tally.inserted, ended.warnings.len()), (100, 1), "{:?}", ended.warnings);
    // A last page of any other size is as it should be.
    let world = World::new(&short, NAMES);
    world.server.play(|_| json(rows(1..=73)));
    assert!(world.run().warnings.is_empty());
}

#[test]
fn a_token_that_leads_back_is_stopped_and_its_page_kept() {
    let world = World::new(BY_TOKEN, NAMES);
    world.server.play(|asked| match at(asked) {
        "" => page([1], Some("a")),
        _ => page([2], Some("a")),
    });
    let ended = world.run();
    assert_eq!((ended.outcome, code(&ended)), (Outcome::Failed, Some("pagination_loop")));
    assert_eq!((world.live(), watermark(&world)), (vec!["1".to_owned(), "2".to_owned()], None));
    assert_eq!(world.server.seen().len(), 2);
    // The service has been mended: the read begins anew.
    world.server.play(|asked| match at(asked) {
        "" => page([1, 4], Some("b")),
        _ => page([3], None),
    });
    world.run_well();
    assert_eq!(world.live(), ["1", "2", "3", "4"]);
    assert_eq!(world.server.seen().iter().map(|asked| at(asked)).collect::<Vec<_>>(), ["", "b"]);
}

#[test]
fn new_tokens_with_the_same_records_are_a_loop() {
    let world = World::new(BY_TOKEN, NAMES);
    let mut turn = 0;
    world.server.play(move |_| {
        turn += 1;
        page([1, 2], Some(&format!("t{turn}")))
    });
    let ended = world.run();
    assert_eq!((code(&ended), world.server.seen().len()), (Some("pagination_loop"), 3));
    assert_eq!(watermark(&world), None);
    // A last page that is given for every number beyond it is the same.
    let world = World::new(BY_NUMBER, NAMES);
    world.server.play(|asked| json(if asked.ends_with("/1") { rows([1, 2]) } else { rows([3, 4]) }));
    assert_eq!(code(&world.run()), Some("pagination_loop"));
}

#[test]
fn pages_that_never_end_reach_the_limit() {
    let world = World::new(&BY_TOKEN.replace("max: 30", "max: 5"), NAMES);
    world.server.play(|asked| {
        let turn: u32 = at(asked).parse().unwrap_or(0);
        page([turn], (turn < 7).then(|| (turn + 1).to_string()).as_deref())
    });
    let ended = world.run();
    assert_eq!((ended.outcome, code(&ended)), (Outcome::Failed, Some("limit_reached")));
    assert_eq!((world.live().len(), watermark(&world)), (5, None), "all five pages are kept");
    world.server.play(|asked| page([9], at(asked).is_empty().then_some("a")));
    world.run();
    assert_eq!(at(&world.server.seen()[0]), "", "what was read proves nothing, so it is read again");
}

#[test]
fn a_page_served_twice_doubles_nobody() {
    let world = World::new(BY_TOKEN, NAMES);
    world.server.play(|asked| match at(asked) {
        "" => page([1, 2], Some("a")),
        "a" => page([1, 2], Some("b")),
        _ => page([3], None),
    });
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted, ended.tally.unchanged), (Outcome::Partial, 3, 2));
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn rows_that_come_and_go_between_keyed_pages_move_no_other_past_the_read() {
    let world = World::new(LEARNERS, NAMES);
    let mut there = vec![1, 2, 3, 4, 5, 6];
    world.server.play(move |asked| {
        let after: u32 = asked.rsplit("after=").next().unwrap().parse().unwrap();
        let page: Vec<u32> = there.iter().copied().filter(|id| *id > after).take(2).collect();
        // What was read goes, and others come before and after where the read stands.
        there.retain(|id| !page.contains(id));
        if after == 2 {
            there.extend([0, 7]);
        }
        json(rows(page))
    });
    assert_eq!(world.run_well().inserted, 7);
    assert_eq!(world.live(), ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn rows_seen_twice_in_counted_pages_delete_nobody_and_make_the_next_read_full() {
    let world = World::new(BY_NUMBER, NAMES);
    let pages = |numbers: &'static [u32]| {
        move |asked: &str| {
            let number: usize = asked.split('?').next().unwrap().rsplit('/').next().unwrap().parse().unwrap();
            if asked.starts_with("GET /changes") {
                return json("[]");
            }
            json(rows(numbers.chunks(2).nth(number - 1).unwrap_or_default().iter().copied()))
        }
    };
    world.server.play(pages(&[1, 2, 3, 4, 5]));
    assert!(world.run().warnings.is_empty());
    // A row came in at the front while the second page was read, and another went: 5 was passed over.
    let mut world = world;
    world.engine.options.full = true;
    world.server.play(pages(&[1, 2, 2, 3, 4]));
    let ended = world.run();
    world.engine.options.full = false;
    assert_eq!((ended.outcome, ended.tally.deleted), (Outcome::Partial, 0));
    let warning = format!("learners: records that came twice, as pages shifted while they were read: 1{SO}");
    assert_eq!(ended.warnings, [warning]);
    assert_eq!(world.live().len(), 5);
    world.server.play(pages(&[1, 2, 3, 4]));
    let ended = world.run();
    let reason = "learners: read in full, as the read before was not proved complete";
    assert_eq!((ended.tally.deleted, ended.warnings), (1, vec![reason.to_owned()]));
    assert!(world.server.seen()[0].starts_with("GET /all"));
    world.run_well();
    assert!(world.server.seen().last().unwrap().starts_with("GET /changes"));
}

#[test]
fn a_first_read_notices_rows_that_come_twice_too() {
    let world = World::new(&BY_NUMBER.replace("sweep: weekly", "sweep: never"), NAMES);
    world.server.play(|asked| {
        json(match asked {
            "GET /all/1" => rows([1, 2]),
            "GET /all/2" => rows([2, 3]),
            _ => "[]".into(),
        })
    });
    assert_eq!(world.run().warnings.len(), 1);
    world.server.play(|asked| json(if asked == "GET /all/1" { rows([1, 2]) } else { "[]".into() }));
    assert!(world.run().warnings.is_empty());
    assert!(world.server.seen()[0].starts_with("GET /all"));
}

// Loops and detail calls.

const CENTRES: &str = "settings: {centres: {type: list, required: true}}\n";

fn by_centre() -> String {
    let looped = LEARNERS.replace("/all?", "/all?centre={each}&").replace("/changes?", "/changes?centre={each}&");
    format!("{CENTRES}{looped}    each: {{settings: centres}}\n")
}

/// Answers for each centre with one learner of its number; those refused with 400.
fn centres(refused: &'static [&'static str]) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    move |asked| {
        let centre = asked.split_once("centre=").unwrap().1.split('&').next().unwrap();
        match centre {
            _ if refused.contains(&centre) => (400, String::new(), "{}".into()),
            _ if asked.ends_with("after=0") && asked.starts_with("GET /all") => json(rows([centre.parse().unwrap()])),
            _ => json("[]"),
        }
    }
}

#[test]
fn a_loop_value_that_fails_stops_no_other_and_the_read_is_not_over() {
    let world = World::new(&by_centre(), &format!("    centres: [1, 2, 3]\n{NAMES}"));
    world.server.play(centres(&["2"]));
    for _ in 0..2 {
        let ended = world.run();
        assert_eq!((ended.outcome, code(&ended)), (Outcome::Failed, Some("provider_rejected")));
        assert_eq!((world.live(), watermark(&world)), (vec!["1".to_owned(), "3".to_owned()], None));
    }
    world.server.play(centres(&[]));
    assert_eq!(world.run_well().deleted, 0);
    assert_eq!(world.live(), ["1", "2", "3"]);
    assert!(watermark(&world).is_some());
}

#[test]
fn a_failure_of_one_loop_value_is_remembered_when_the_run_is_cut_off_in_a_later_one() {
    let world = World::new(&by_centre(), &format!("    centres: [1, 2, 3]\n{NAMES}"));
    let mut some = centres(&["1"]);
    world.server.play(move |asked| {
        if asked.contains("centre=3") { (429, "retry-after: 900\r\n".into(), "{}".into()) } else { some(asked) }
    });
    assert_eq!(world.run().outcome, Outcome::Deferred);
    world.server.play(centres(&[]));
    world.run();
    world.run_well();
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn a_new_loop_value_is_read_from_its_beginning() {
    let mut world = World::new(&by_centre(), &format!("    centres: [1]\n{NAMES}"));
    world.server.play(centres(&[]));
    world.run_well();
    world.resettle(&format!("    centres: [1, 2]\n{NAMES}"));
    world.run_well();
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_detail_that_is_not_there_sets_its_record_aside_unless_it_may_be_missing() {
    let world = World::new(&format!("{LEARNERS}    detail: {{get: '/one/{{record.id}}'}}\n"), NAMES);
    let mut all = learners(&[1, 2]);
    world.server.play(move |asked| match asked {
        "GET /one/1" => json(r#"{"id":1,"name":"One"}"#),
        "GET /one/2" => (404, String::new(), "{}".into()),
        _ => all(asked),
    });
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted, ended.tally.quarantined), (Outcome::Partial, 1, 1));
}
