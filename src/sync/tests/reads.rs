//! How much is read at once: jobs, windows, what a provider has forgotten, and totals against what came.

use chrono::TimeDelta;

use super::*;

type Answer = (u16, String, String);

fn refused(status: u16) -> Answer {
    (status, String::new(), "{}".into())
}

/// One stream that is always read by a job; `poll` is what else its `poll` says.
fn by_job(poll: &str) -> String {
    format!(
        "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {{get: /all}}
    job:
      create: {{post: /jobs, json: {{}}, id: id, errors: [{{status: 422, do: skip_job}}]}}
      poll: {{get: '/jobs/{{job}}', until: \"body.state == 'done'\", fail_when: \"body.state == 'failed'\"{poll}}}
      download: {{get: '/jobs/{{job}}/rows'}}
      errors: [{{status: 404, do: restart_window}}]
"
    )
}

/// Plays jobs that are numbered from 1 and stand as told.
fn jobs(state: &'static str) -> impl FnMut(&str) -> Answer + Send + 'static {
    let mut made = 0;
    move |asked| match asked {
        "POST /jobs" => {
            made += 1;
            json(format!(r#"{{"id":"j{made}"}}"#))
        }
        rows if rows.ends_with("/rows") => json(r#"[{"id":1,"name":"N1"},{"id":2,"name":"N2"}]"#),
        "GET /all" => json(r#"[{"id":1,"name":"N1"}]"#),
        _ => json(format!(r#"{{"state":"{state}"}}"#)),
    }
}

#[test]
fn a_job_that_takes_longer_than_a_run_waits_is_gone_on_with_by_the_next() {
    let world = World::new(&by_job(", park: 0s"), NAMES);
    world.server.play(jobs("working"));
    for _ in 0..2 {
        let ended = world.run();
        assert_eq!((ended.outcome, ended.error.unwrap().code), (Outcome::Deferred, "job_pending"));
    }
    assert_eq!(world.server.seen(), ["POST /jobs", "GET /jobs/j1", "GET /jobs/j1"]);
    world.server.play(jobs("done"));
    world.run_well();
    assert_eq!(world.server.seen(), ["GET /jobs/j1", "GET /jobs/j1/rows"]);
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_job_that_never_ends_is_given_up_and_another_one_made() {
    let world = World::new(&by_job(", timeout: 0s"), NAMES);
    world.server.play(jobs("working"));
    let ended = world.run();
    assert!(ended.warnings[0].contains("read without a job: the job of"), "{:?}", ended.warnings);
    world.server.play(jobs("done"));
    world.run();
    assert_eq!(world.server.seen()[0], "POST /jobs");
}

#[test]
fn a_job_that_is_forgotten_while_it_is_waited_for_is_made_again() {
    let world = World::new(&by_job(", park: 0s"), NAMES);
    world.server.play(jobs("working"));
    world.run();
    let (mut done, mut forgotten) = (jobs("done"), false);
    world.server.play(move |asked| {
        let forget = !std::mem::replace(&mut forgotten, true);
        if forget { refused(404) } else { done(asked) }
    });
    world.run_well();
    assert_eq!(world.server.seen(), ["GET /jobs/j1", "POST /jobs", "GET /jobs/j1", "GET /jobs/j1/rows"]);
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_dry_run_may_use_a_job_and_keeps_nothing_of_it() {
    let mut world = World::new(&by_job(""), NAMES);
    world.engine.options.keep = Keep::DryRun;
    world.server.play(jobs("done"));
    assert_eq!(world.run_well().inserted, 2);
    assert_eq!((world.live().len(), world.column("SELECT stream FROM sync_state").len()), (0, 0));
}

/// Returns the windows asked for, as pairs of instants.
fn windows(world: &World) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let seen = world.server.seen();
    let asked = seen.iter().filter_map(|asked| asked.strip_prefix("GET /changes?from="));
    asked.filter(|asked| asked.ends_with("after=0")).map(window).collect()
}

fn window(asked: &str) -> (DateTime<Utc>, DateTime<Utc>) {
    let (from, rest) = asked.split_once("&to=").unwrap();
    let instant = |text: &str| text.replace("%3A", ":").parse().unwrap();
    (instant(from), instant(rest.split_once('&').unwrap().0))
}

/// A stream of learners that was read so many days ago.
fn read_days_ago(days: i64, cursor: &str) -> World {
    let rules = "    errors: [{status: 413, do: halve_window, hint: ask for less}]\n";
    let world = World::new(&format!("{}{rules}", LEARNERS.replace("overlap: 10m", cursor)), NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    set_back(&world, days);
    world
}

fn set_back(world: &World, days: i64) {
    let then = crate::store::stamp(crate::config::now() - TimeDelta::days(days));
    world.engine.store().read().execute("UPDATE sync_state SET watermark = ?1", [then]).unwrap();
}

fn watermark(world: &World) -> DateTime<Utc> {
    world.column("SELECT watermark FROM sync_state")[0].parse().unwrap()
}

#[test]
fn a_long_gap_is_read_in_windows_that_meet_and_each_counts_once_it_is_read() {
    let world = read_days_ago(3, "overlap: 10m, step: 1d");
    let mut asked_for = 0;
    world.server.play(move |_| {
        asked_for += 1;
        if asked_for == 3 { refused(400) } else { json("[]") }
    });
    assert_eq!(world.run().outcome, Outcome::Failed);
    let first = windows(&world);
    assert_eq!(first.len(), 3);
    assert_eq!(watermark(&world), first[1].1, "two windows are read");
    world.server.play(|_| json("[]"));
    world.run_well();
    let mut rest = windows(&world);
    let last = rest.pop().unwrap();
    assert_eq!((rest.len(), rest[0]), (2, first[2]));
    assert_eq!(
        (last.0, last.1),
        (rest[1].1 - TimeDelta::minutes(10), watermark(&world)),
        "up to now, not to the first run"
    );
    let all: Vec<_> = first[..2].iter().chain(&rest).collect();
    assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0), "{all:?}");
    assert!(all[..3].iter().all(|(from, to)| *to - *from == TimeDelta::days(1)), "{all:?}");
    assert!(crate::config::now() - watermark(&world) < TimeDelta::minutes(1));
}

#[test]
fn a_dry_run_over_several_windows_ends() {
    let mut world = read_days_ago(3, "overlap: 10m, step: 1d");
    let before = watermark(&world);
    world.engine.options.keep = Keep::DryRun;
    world.server.play(|_| json("[]"));
    world.run_well();
    assert_eq!((windows(&world).len(), watermark(&world)), (4, before));
}

/// Answers windows up to an hour.
fn at_most_an_hour(asked: &str) -> Answer {
    let (from, to) = window(asked.strip_prefix("GET /changes?from=").unwrap());
    if to - from > TimeDelta::hours(1) { refused(413) } else { json("[]") }
}

#[test]
fn a_window_that_holds_too_much_is_halved_and_the_next_run_keeps_to_that() {
    let world = read_days_ago(1, "overlap: 10m");
    let mut good = 0;
    world.server.play(move |asked| match at_most_an_hour(asked) {
        (200, ..) if good == 4 => refused(400),
        answer => {
            good += i32::from(answer.0 == 200);
            answer
        }
    });
    let ended = world.run();
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(ended.warnings.iter().filter(|warning| warning.contains("shorter windows")).count(), 1);
    let stood = watermark(&world);
    world.server.play(at_most_an_hour);
    world.run_well();
    let mut asked = windows(&world);
    assert_eq!(asked[0].0, stood);
    asked.pop().unwrap();
    assert!(asked.iter().all(|(from, to)| *to - *from <= TimeDelta::hours(1)), "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[0].1 == pair[1].0) && (20..60).contains(&asked.len()), "{asked:?}");
    assert!(crate::config::now() - watermark(&world) < TimeDelta::minutes(1));
}

#[test]
fn a_window_of_a_minute_that_holds_too_much_fails_the_stream() {
    let mut world = read_days_ago(1, "overlap: 10m");
    let before = watermark(&world);
    for keep in [Keep::DryRun, Keep::Yes] {
        world.engine.options.keep = keep;
        world.server.play(|_| refused(413));
        let error = world.run().error.unwrap();
        assert_eq!((error.code, error.hint.as_deref()), ("window_too_large", Some("ask for less")));
        let (from, to) = *windows(&world).last().unwrap();
        assert_eq!((to - from, watermark(&world)), (TimeDelta::minutes(1), before));
    }
}

#[test]
fn what_the_provider_no_longer_keeps_is_made_good_by_a_full_read() {
    let world = read_days_ago(13, "overlap: 10m, retention: 14d");
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    assert!(world.server.seen()[0].starts_with("GET /changes"));
    // Neither is a read gone on with that was begun in time and interrupted.
    set_back(&world, 13);
    world.server.play(|_| refused(400));
    world.run();
    set_back(&world, 15);
    world.server.play(learners(&[1, 2]));
    let ended = world.run();
    assert!(ended.warnings[0].contains("longer ago than the 14d"), "{:?}", ended.warnings);
    assert!(world.server.seen().iter().all(|asked| asked.starts_with("GET /all")));
    assert_eq!(world.live(), ["1", "2"]);
}

/// Learners on numbered pages of two, with their total.
const NUMBERED: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    full: {get: '/all?page={page}', page: {number: 1, total: total}}
    deletes: {sweep: always, max: 1}
";

/// Answers a numbered page of these learners, and `hidden` more that are told and never come.
fn numbered(asked: &str, present: &[u32], hidden: usize) -> Answer {
    let page: usize = asked.rsplit('=').next().unwrap().parse().unwrap();
    let rows: Vec<String> =
        present.iter().skip((page - 1) * 2).take(2).map(|id| format!(r#"{{"id":{id},"name":"N"}}"#)).collect();
    json(format!(r#"{{"rows":[{}],"total":{}}}"#, rows.join(","), present.len() + hidden))
}

#[test]
fn records_that_move_to_a_page_read_before_are_met_by_reading_again() {
    let world = World::new(NUMBERED, NAMES);
    let mut asked_for = 0;
    world.server.play(move |asked| {
        asked_for += 1;
        // The first record goes after the first page: the third moves onto that page.
        numbered(asked, if asked_for == 1 { &[1, 2, 3, 4] } else { &[2, 3, 4] }, 0)
    });
    let ended = world.run();
    assert_eq!(ended.outcome, Outcome::Ok);
    let said = "begun again: 3 records came, while the provider said at first that there are 4 and in the end 3";
    assert!(ended.warnings[0].contains(said), "{:?}", ended.warnings);
    assert_eq!(world.live(), ["2", "3", "4"], "the second pass is complete, and has missed the first record");
    world.run_well();
    assert_eq!(world.server.seen().iter().filter(|asked| asked.ends_with("=1")).count(), 3);
}

#[test]
fn records_that_are_told_and_never_come_are_said_and_nothing_is_taken_for_deleted() {
    let world = World::new(NUMBERED, NAMES);
    world.server.play(|asked| numbered(asked, &[1, 2, 3], 0));
    world.run_well();
    world.server.play(|asked| numbered(asked, &[1, 2], 1));
    let ended = world.run();
    assert_eq!(ended.outcome, Outcome::Partial);
    assert!(ended.warnings[1].contains("1 fewer came than the provider said"), "{:?}", ended.warnings);
    assert_eq!((world.server.seen().len(), world.live()), (4, vec!["1".into(), "2".into(), "3".to_owned()]));
    world.server.play(|asked| numbered(asked, &[1, 2], 0));
    world.run_well();
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_flag_of_a_deleted_record_may_be_a_text() {
    let flagged = LEARNERS.replace("sweep: weekly", "flag: {field: gone, is: true}");
    let world = World::new(&flagged, NAMES);
    world.server.play(|asked| match asked {
        "GET /all?after=0" => json(r#"[{"id":1,"gone":"false"},{"id":2,"gone":false},{"id":3,"gone":"x"}]"#),
        _ => json("[]"),
    });
    world.run_well();
    world.server.play(|asked| match asked.rsplit('=').next() {
        Some("0") => json(r#"[{"id":1,"gone":"true"},{"id":2,"gone":true},{"id":3,"gone":"True"}]"#),
        _ => json("[]"),
    });
    assert_eq!(world.run_well().deleted, 2);
    assert_eq!(world.live(), ["3"]);
}

#[test]
fn a_detail_may_be_missing_with_other_statuses_than_404() {
    let detail = "    detail: {get: '/one/{record.id}', missing_ok: [404, 410]}\n";
    let world = World::new(&format!("{LEARNERS}{detail}"), NAMES);
    let play = |status: u16| {
        let mut all = learners(&[1, 2, 3]);
        world.server.play(move |asked| match asked {
            "GET /one/2" => refused(status),
            one if one.starts_with("GET /one/") => json(format!(r#"{{"id":{}}}"#, &one[9..])),
            _ => all(asked),
        });
    };
    play(403);
    assert_eq!(
        (world.run().outcome, world.column("SELECT record_key FROM quarantine")),
        (Outcome::Partial, vec!["2".to_owned()])
    );
    play(410);
    assert_eq!((world.run().outcome, world.column("SELECT record_key FROM quarantine").len()), (Outcome::Ok, 0));
    assert_eq!(world.live(), ["1", "3"]);
}

#[test]
fn a_total_that_only_some_pages_tell_is_no_shortfall() {
    let rule = "    errors: [{status: 204, do: empty_page}]\n";
    let world = World::new(&format!("{NUMBERED}{rule}"), NAMES);
    world.server.play(|asked| match asked {
        "GET /all?page=1" => json(r#"{"rows":[{"id":1,"name":"N"},{"id":2,"name":"N"}],"total":3}"#),
        "GET /all?page=2" => json(r#"{"rows":[{"id":3,"name":"N"}]}"#),
        _ => (204, String::new(), String::new()),
    });
    let ended = world.run();
    assert_eq!((ended.warnings, world.live().len()), (Vec::new(), 3));
}

#[test]
fn a_source_that_no_record_has_is_told_once_for_all_windows() {
    let world = read_days_ago(3, "overlap: 10m, step: 1d");
    world.server.play(|asked| json(if asked.ends_with("after=0") { r#"[{"id":1}]"# } else { "[]" }));
    let ended = world.run();
    assert_eq!(ended.warnings, ["learners: none of the 4 records has `name`"]);
}

#[test]
fn a_stream_that_was_read_of_late_rests_unless_it_is_asked_for() {
    let mut world = World::new(&format!("{LEARNERS}    every: 6h\n"), NAMES);
    world.server.play(learners(&[1, 2, 3]));
    assert_eq!(world.run_well().read, 3);
    let asked = |world: &World| {
        world.server.play(learners(&[1, 2, 3]));
        world.run_well();
        !world.server.seen().is_empty()
    };
    assert!(!asked(&world));
    world.engine.options.stream = Some("learners".into());
    assert!(asked(&world));
    (world.engine.options.stream, world.engine.options.full) = (None, true);
    assert!(asked(&world));
    world.engine.options.full = false;
    assert!(!asked(&world));
    set_back(&world, 1);
    assert!(asked(&world) && !asked(&world));
    world.resettle("    field_mappings: {learner.last_name: name, learner.status: name}\n");
    assert!(asked(&world), "other settings are another read");
}

/// Learners on counted pages with a total, read by changes after the first time.
const COUNTED_CHANGES: &str = "streams:
  learners:
    entity: learner
    key: id
    records: 'rows[]'
    cursor: {field: at, overlap: 1m}
    full: {get: '/all?page={page}', page: {number: 1, total: total}}
    changes: {get: '/changed?from={window.from}&page={page}', page: {number: 1, total: total}}
";

#[test]
fn changes_that_fall_short_of_their_total_are_followed_by_a_full_read() {
    let world = World::new(COUNTED_CHANGES, NAMES);
    let whole = r#"{"rows":[{"id":1,"at":"2026-01-01T00:00:00Z"}],"total":1}"#;
    let none = r#"{"rows":[],"total":1}"#;
    world.server.play(move |asked| json(if asked.ends_with("page=1") { whole } else { none }));
    world.run_well();
    world.server.play(move |asked| {
        json(if asked.ends_with("page=1") {
            whole.replace("total\":1", "total\":2")
        } else {
            none.replace("total\":1", "total\":2")
        })
    });
    let ended = world.run();
    assert!(ended.warnings.iter().any(|warning| warning.contains("some may be missing")), "{:?}", ended.warnings);
    world.server.play(move |asked| json(if asked.ends_with("page=1") { whole } else { none }));
    world.run_well();
    assert!(world.server.seen()[0].starts_with("GET /all"), "{:?}", world.server.seen());
}
