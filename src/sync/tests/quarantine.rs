//! What cannot be stored is set aside and nothing else is, and comes back as soon as it can.

use super::*;
use crate::store::quarantine::{self, Kept, Quarantined, Wanted};
use crate::store::runs;
use crate::sync::replay::{self, Replayed};

/// A mapping that an empty name does not pass.
const REQUIRED: &str = "    field_mappings: {learner.last_name: {from: name, require: true}}\n";

/// A list of thin records, each with details of its own.
const DETAILED: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: /all}
    cursor: {overlap: 10m}
    changes: {get: '/changes?from={window.from}'}
    detail: {get: '/one/{record.id}', concurrent: 2, missing_ok: true}
    deletes: {sweep: weekly, max: 0.5}
";

impl World {
    fn aside(&self) -> Vec<Quarantined> {
        let store = self.engine.store();
        let ids = quarantine::ids(store.read(), self.organization.id, &Wanted::default(), 1000).unwrap();
        let rows = quarantine::outlines(store.read(), self.organization.id, &ids).unwrap();
        let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        let row = |id: &i64| quarantine::by_id(store.read(), self.organization.id, *id).unwrap().unwrap();
        ids.iter().map(row).collect()
    }

    /// Returns the keys of what is in quarantine.
    fn aside_keys(&self) -> Vec<String> {
        self.aside().into_iter().map(|row| row.key).collect()
    }

    fn replay(&self, keep: Keep) -> Replayed {
        let mut store = self.engine.store();
        let numbers = quarantine::numbers(store.read(), self.organization.id, &Wanted::default()).unwrap();
        let ids: Vec<i64> = numbers.into_iter().map(|(id, _)| id).collect();
        let stop = AtomicBool::new(false);
        let options = replay::Options { keep, stop: &stop, vault: None, actor: "test", now: crate::config::now() };
        replay::replay(&mut store, (&self.organization, &"x".parse().unwrap()), &ids, &options).unwrap()
    }

    fn partial(&self) -> Tally {
        let ended = self.run();
        assert_eq!((ended.outcome, ended.error.map(|error| error.message)), (Outcome::Partial, None));
        ended.tally
    }
}

fn page(records: &[&str]) -> String {
    format!("[{}]", records.join(","))
}

/// Answers every request with this page.
fn always(records: &[&str]) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    let page = page(records);
    move |_| json(page.clone())
}

#[test]
fn one_bad_record_in_a_page_of_a_hundred_is_set_aside_alone() {
    for bad in [r#"{"id":57}"#, r#"{"id":57,"name":null}"#, r#"{"id":57,"title":"Mx"}"#, r#"{"name":"No key"}"#, "7"] {
        let world = World::new(ONE_PAGE, REQUIRED);
        let mut records: Vec<String> = (1..=100).map(|id| format!(r#"{{"id":{id},"name":"N{id}"}}"#)).collect();
        records[56] = bad.to_owned();
        world.server.play(always(&records.iter().map(String::as_str).collect::<Vec<_>>()));
        let tally = world.partial();
        assert_eq!((tally.read, tally.inserted, tally.quarantined), (100, 99, 1), "{bad}");
        let [aside] = world.aside().try_into().unwrap();
        assert_eq!((aside.record.as_str(), aside.kept, aside.times), (bad, Kept::Whole, 1));
        assert!(!aside.reasons.is_empty() && aside.shape.is_some());
    }
}

#[test]
fn a_field_whose_type_has_changed_sets_its_records_aside() {
    let typed = "    field_mappings: {learner.progress: {from: progress, type: decimal}}\n";
    let world = World::new(ONE_PAGE, typed);
    world.server.play(always(&[r#"{"id":1,"progress":50}"#, r#"{"id":2,"progress":{"percent":50}}"#]));
    assert_eq!(world.partial().inserted, 1);
    assert_eq!(world.aside_keys(), ["2"]);
}

#[test]
fn a_record_without_a_key_is_the_same_one_when_the_same_bytes_come_again() {
    let world = World::new(ONE_PAGE, NAMES);
    for times in 1..=3 {
        world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"name":"nobody"}"#]));
        world.partial();
        let [aside] = world.aside().try_into().unwrap();
        assert_eq!((aside.times, aside.key.starts_with("sha256:")), (times, true));
    }
}

#[test]
fn a_mended_mapping_replays_without_calling_the_provider() {
    let mut world = World::new(ONE_PAGE, REQUIRED);
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":2}"#, r#"{"id":3,"other":"N3"}"#]));
    world.partial();
    let unchanged = world.replay(Keep::Yes);
    assert_eq!((unchanged.tally.read, unchanged.tally.quarantined), (2, 2));
    let before: Vec<_> = world.aside().iter().map(|row| (row.id, row.times, row.run_id, row.at)).collect();

    world.resettle("    field_mappings: {learner.last_name: {from: other, require: true}}\n");
    world.server.play(|_| (500, String::new(), String::new()));
    let tried = world.replay(Keep::DryRun);
    assert_eq!((tried.run, tried.tally.inserted, tried.tally.quarantined), (None, 1, 1));
    assert_eq!((world.live(), world.aside_keys()), (vec!["1".to_owned()], vec!["2".to_owned(), "3".to_owned()]));
    let done = world.replay(Keep::Yes);
    assert_eq!((done.tally.read, done.tally.inserted, done.tally.quarantined), (2, 1, 1));
    assert_eq!(world.server.seen(), [""; 0]);
    assert_eq!((world.live(), world.aside_keys()), (vec!["1".to_owned(), "3".to_owned()], vec!["2".to_owned()]));
    // What is left keeps its number and when it came, and has the reasons of now.
    let [left] = world.aside().try_into().unwrap();
    assert_eq!((left.id, left.times, left.run_id, left.at), before[0]);
    assert_eq!(left.reasons, ["learner.last_name: it is required, but empty"]);

    let run = runs::by_id(world.engine.store().read(), done.run.unwrap()).unwrap();
    assert_eq!((run.outcome, run.kind), (Outcome::Partial, runs::Kind::Replay));
    assert_eq!(world.column("SELECT action FROM audit_log WHERE action = 'quarantine replay'").len(), 2);
    // No schedule takes it for a sync.
    let store = world.engine.store();
    assert!(runs::latest(store.read(), 1, 1).unwrap().unwrap().id < run.id);
    let last = runs::all_last_runs(store.read()).unwrap()[&(1, 1)];
    assert_eq!(last.failures, 0);
}

#[test]
fn a_replay_overwrites_nothing_that_came_later() {
    let world = World::new(ONE_PAGE, REQUIRED);
    world.server.play(always(&[r#"{"id":1}"#, r#"{"id":2,"name":"N2"}"#]));
    world.partial();
    world.server.play(always(&[r#"{"id":1,"name":"newer"}"#, r#"{"id":2,"name":"N2"}"#]));
    world.run_well();
    assert!(world.aside().is_empty());
    assert_eq!(world.replay(Keep::Yes).tally.read, 0);

    // One that had no key when it came, and has one under another manifest: what is stored may be newer.
    let keyless = r#"{"number":1,"name":"older"}"#;
    let numbered = ONE_PAGE.replace("key: id", "key: number");
    let world = World::new(ONE_PAGE, NAMES);
    world.server.play(always(&[r#"{"id":1,"name":"newer"}"#, keyless]));
    world.partial();
    let url = world.server.url.clone();
    world
        .engine
        .store()
        .change(Keep::Yes, |tx| {
            put_manifest(tx, &url, &numbered);
            Ok(())
        })
        .unwrap();
    assert_eq!(world.replay(Keep::Yes).tally.quarantined, 1);
    assert_eq!(world.column("SELECT last_name FROM learners"), ["newer"]);
    assert!(world.aside()[0].reasons[0].contains("may be newer"));
}

#[test]
fn what_is_deleted_at_the_provider_leaves_quarantine_and_no_replay_brings_it_back() {
    let flag = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: /all}
    deletes: {flag: {field: gone, is: true}, feed: {get: /gone}}
";
    let mut world = World::new(flag, REQUIRED);
    let some = [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#];
    world.server.play(move |asked| json(if asked == "GET /all" { page(&some) } else { "[]".into() }));
    assert_eq!(world.partial().quarantined, 3);
    let later = [r#"{"id":1,"gone":true}"#, r#"{"id":3}"#];
    world.server.play(move |asked| json(if asked == "GET /all" { page(&later) } else { r#"[{"id":2}]"#.into() }));
    world.partial();
    assert_eq!(world.aside_keys(), ["3"]);
    world.resettle(NAMES);
    assert_eq!(world.replay(Keep::Yes).tally.inserted, 1);
    assert_eq!(world.live(), ["3"]);
}

#[test]
fn what_a_complete_full_read_no_longer_finds_leaves_quarantine() {
    let world = World::new(ONE_PAGE, REQUIRED);
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":2}"#, r#"{"id":3}"#]));
    world.partial();
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":3}"#]));
    world.partial();
    assert_eq!(world.aside_keys(), ["3"]);
    // A read that shows nothing at all proves nothing.
    world.server.play(always(&[]));
    assert_eq!(world.run().error.map(|error| error.code), Some("mass_delete"));
    assert_eq!(world.aside_keys(), ["3"]);
    let world = World::new(ONE_PAGE, REQUIRED);
    world.server.play(always(&[r#"{"id":3}"#]));
    world.partial();
    world.server.play(always(&[]));
    world.run_well();
    assert_eq!(world.aside_keys(), ["3"]);
}

#[test]
fn a_record_in_quarantine_or_out_of_scope_is_not_swept() {
    let filter = "    field_mappings: {learner.last_name: {from: name, require: true}, learner.status: status}
    powerbi_filters: {learner.status: Active}\n";
    let world = World::new(&ONE_PAGE.replace("max: 0.5", "max: 1"), filter);
    world.server.play(always(&[
        r#"{"id":1,"name":"N1","status":"Active"}"#,
        r#"{"id":2,"name":"N2","status":"Active"}"#,
        r#"{"id":3,"name":"N3","status":"Active"}"#,
    ]));
    world.run_well();
    world.server.play(always(&[r#"{"id":1,"status":"Active"}"#, r#"{"id":2,"name":"N2","status":"Left"}"#]));
    let tally = world.partial();
    assert_eq!((tally.quarantined, tally.filtered, tally.deleted), (1, 1, 1));
    assert_eq!(world.live(), ["1", "2"]);
    assert_eq!(world.column("SELECT external_key FROM learners WHERE in_scope = 0"), ["2"]);
}

#[test]
fn a_replay_keeps_to_limit_and_filters() {
    let mut world = World::new(ONE_PAGE, REQUIRED);
    world.server.play(always(&[
        r#"{"id":1,"name":"N1"}"#,
        r#"{"id":2,"status":"Active"}"#,
        r#"{"id":3,"status":"Active"}"#,
        r#"{"id":4,"status":"Left"}"#,
    ]));
    world.partial();
    world.organization.max_learners = Some(2);
    world.resettle("    field_mappings: {learner.status: status}\n    powerbi_filters: {learner.status: Active}\n");
    let done = world.replay(Keep::Yes);
    assert_eq!((done.tally.inserted, done.tally.filtered, done.tally.quarantined), (1, 1, 1));
    assert_eq!(world.live().len(), 2);
    assert_eq!(world.aside()[0].reasons, ["the organization has as many learners as it may"]);
}

#[test]
fn a_good_record_over_the_limit_takes_its_older_state_out_of_quarantine() {
    let mut world = World::new(&ONE_PAGE.replace("sweep: always", "sweep: never"), REQUIRED);
    world.organization.max_learners = Some(1);
    world.resettle(REQUIRED);
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":2}"#]));
    world.partial();
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":2,"name":"newer"}"#]));
    assert_eq!(world.partial().over_cap, 1);
    assert!(world.aside().is_empty());
}

/// Answers lists with these numbers, and details as `one` says.
fn detailed(
    numbers: &'static [u32],
    mut one: impl FnMut(u32) -> (u16, String, String) + Send + 'static,
) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    move |asked| match asked.strip_prefix("GET /one/") {
        Some(id) => one(id.parse().unwrap()),
        None => {
            json(format!("[{}]", numbers.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect::<Vec<_>>().join(",")))
        }
    }
}

fn whole(id: u32) -> (u16, String, String) {
    json(format!(r#"{{"id":{id},"name":"N{id}"}}"#))
}

const BROKEN: (u16, String, String) = (400, String::new(), String::new());

#[test]
fn a_record_whose_details_fail_is_set_aside_and_asked_for_again_by_the_next_run() {
    let world = World::new(DETAILED, NAMES);
    world.server.play(detailed(&[1, 2, 3], |id| if id == 2 { (500, String::new(), "{}".into()) } else { whole(id) }));
    let tally = world.partial();
    assert_eq!((tally.read, tally.inserted, tally.quarantined, tally.retries), (3, 2, 1, 4));
    let [aside] = world.aside().try_into().unwrap();
    assert_eq!((aside.key.as_str(), aside.record.as_str(), aside.kept), ("2", r#"{"id":2}"#, Kept::Thin));
    assert!(aside.reasons[0].contains("answered 500"), "{:?}", aside.reasons);

    // No replay can mend that.
    let replayed = world.replay(Keep::Yes);
    assert_eq!((replayed.tally.quarantined, replayed.need_provider), (1, 1));
    // The next run reads changes, among which it is not, and asks for it all the same: in vain, then with success.
    world.server.play(detailed(&[], |_| BROKEN));
    assert_eq!(world.partial().quarantined, 1);
    assert_eq!(world.aside()[0].times, 1, "it has not come again");
    world.server.play(detailed(&[], whole));
    let tally = world.run_well();
    assert_eq!((tally.read, tally.inserted), (1, 1));
    assert_eq!(world.server.seen().last().unwrap(), "GET /one/2");
    assert!(world.aside().is_empty());
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn a_row_whose_details_fail_is_not_swept_and_one_that_has_gone_is() {
    let mut world = World::new(DETAILED, NAMES);
    world.server.play(detailed(&[1, 2, 3, 4], whole));
    world.run_well();
    world.engine.options.full = true;
    world.server.play(detailed(&[1, 2, 3], |id| if id == 2 { BROKEN } else { whole(id) }));
    let tally = world.partial();
    assert_eq!((tally.unchanged, tally.quarantined, tally.deleted), (2, 1, 1));
    assert_eq!(world.live(), ["1", "2", "3"]);
    // Once it is no longer listed, that its details still fail keeps it from nothing, and nobody asks for them.
    world.server.play(detailed(&[1, 3], |id| if id == 2 { BROKEN } else { whole(id) }));
    assert_eq!(world.run_well().deleted, 1);
    assert_eq!((world.live(), world.aside().len()), (vec!["1".to_owned(), "3".to_owned()], 0));
}

#[test]
fn details_that_are_of_no_record_or_of_another_one_are_no_details() {
    for wrong in [r#"{"error":"later"}"#, r#"{"id":9,"name":"N9"}"#, r#"{"id":2,"name":"N"#, "<html>", "[]"] {
        let mut world = World::new(DETAILED, NAMES);
        world.server.play(detailed(&[1, 2, 3], whole));
        world.run_well();
        world.engine.options.full = true;
        world.server.play(detailed(&[1, 2, 3], move |id| if id == 2 { json(wrong) } else { whole(id) }));
        let tally = world.partial();
        assert_eq!((tally.unchanged, tally.quarantined, tally.deleted), (2, 1, 0), "{wrong}");
        assert_eq!(world.aside_keys(), ["2"], "{wrong}");
    }
}

#[test]
fn details_that_fail_for_many_are_the_services_trouble() {
    let world = World::new(DETAILED, NAMES);
    let (first, rest): (&[u32], &[u32]) = (&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7, 8]);
    world.server.play(detailed(rest, |id| if id > 2 { BROKEN } else { whole(id) }));
    assert_eq!(world.run().error.map(|error| error.code), Some("provider_rejected"));
    assert_eq!((world.live().len(), world.aside().len()), (0, 0));
    // A few may be broken records, though they are all there are; they are asked for again by the next run.
    world.server.play(detailed(first, |_| BROKEN));
    assert_eq!(world.partial().quarantined, 5);
    world.server.play(detailed(first, whole));
    world.run_well();
    assert_eq!((world.live().len(), world.aside().len()), (5, 0));
}

#[test]
fn details_that_fail_on_one_small_page_after_the_other_are_the_services_trouble() {
    let pages = LEARNERS.replace("    deletes", "    detail: {get: '/one/{record.id}'}\n    deletes");
    let world = World::new(&pages, NAMES);
    let mut lists = learners(&[1, 2, 3, 4, 5, 6, 7, 8]);
    world.server.play(move |asked| if asked.starts_with("GET /one/") { BROKEN } else { lists(asked) });
    assert_eq!(world.run().error.map(|error| error.code), Some("provider_rejected"));
    assert_eq!(world.aside().len(), 4);
}

#[test]
fn details_that_have_gone_leave_quarantine() {
    let world = World::new(DETAILED, NAMES);
    world.server.play(detailed(&[1, 2], |id| if id == 2 { BROKEN } else { whole(id) }));
    world.partial();
    world.server.play(detailed(&[], |_| (404, String::new(), "{}".into())));
    world.run_well();
    assert!(world.aside().is_empty());
}

#[test]
fn details_that_come_and_do_not_fit_are_kept_in_whole() {
    let mut world = World::new(DETAILED, REQUIRED);
    world.server.play(detailed(&[1, 2], |id| if id == 2 { BROKEN } else { whole(id) }));
    world.partial();
    world.server.play(detailed(&[], |id| json(format!(r#"{{"id":{id}}}"#))));
    world.partial();
    assert_eq!((world.aside()[0].kept, world.aside().len()), (Kept::Whole, 1));
    world.resettle(NAMES);
    assert_eq!(world.replay(Keep::Yes).tally.inserted, 1);
}

#[test]
fn a_record_too_large_to_keep_is_told_by_its_size_and_its_row_stays() {
    let world = World::new(ONE_PAGE, NAMES);
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, r#"{"id":2,"name":"N2"}"#]));
    world.run_well();
    let huge = format!(r#"{{"id":2,"name":"N2","notes":"{}"}}"#, "x".repeat(9 << 20));
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, &huge]));
    let tally = world.partial();
    assert_eq!((tally.unchanged, tally.quarantined, tally.deleted), (1, 1, 0));
    let [aside] = world.aside().try_into().unwrap();
    assert_eq!((aside.key.as_str(), aside.kept), ("2", Kept::Digest));
    assert!(aside.record.len() < 200 && aside.record.contains("\"bytes\":9437"), "{}", aside.record);
    assert_eq!(world.replay(Keep::Yes).need_provider, 1);
}

#[test]
fn a_value_nested_beyond_all_reason_is_a_reason_and_not_nothing() {
    let counted = "    field_mappings: {learner.last_name: {expr: \"name or 'none'\"}}\n";
    let world = World::new(ONE_PAGE, counted);
    let deep = format!(r#"{{"id":2,"name":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    world.server.play(always(&[r#"{"id":1,"name":"N1"}"#, &deep]));
    assert_eq!(world.partial().inserted, 1);
    assert!(world.aside()[0].reasons[0].contains("nested"));
}

#[test]
fn details_that_are_refused_for_one_record_keep_no_other_from_being_read() {
    let world = World::new(DETAILED, NAMES);
    world.server.play(detailed(&[1, 2, 3], |id| if id == 2 { BROKEN } else { whole(id) }));
    world.partial();
    // It has gone where the credential does not see it.
    world.server.play(detailed(&[1, 3, 4], |id| if id == 2 { (403, String::new(), "{}".into()) } else { whole(id) }));
    assert_eq!(world.partial().inserted, 1);
    assert_eq!(
        (world.live(), world.aside_keys()),
        (vec!["1".to_owned(), "3".into(), "4".into()], vec!["2".to_owned()])
    );
}
