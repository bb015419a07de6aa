//! Who was erased does not come back, by whatever way, and is counted.

use std::sync::mpsc::channel;

use super::*;
use crate::store::erasures;
use crate::sync::replay;

const MAPPED: &str =
    "    field_mappings: {learner.last_name: {from: name, require: true}, learner.uln: {from: uln, type: uln}}\n";
const ULN: &str = "1000000035";

impl World {
    /// Erases whoever has this key, and this ULN.
    fn erase(&self, key: &str, uln: Option<&str>) {
        let (vault, organization, now) = (self.engine.vault, &self.organization, crate::config::now());
        let erase = |tx: &crate::store::Connection| {
            let own = vault.erasure_key_or_new(tx, organization, now)?;
            let hashes = [Some(own.of_key("x", key)), uln.map(|uln| own.of_uln(uln))];
            tx.execute("DELETE FROM learners WHERE external_key = ?1", [key])?;
            erasures::insert(tx, organization.id, &hashes.into_iter().flatten().collect::<Vec<_>>(), now)
        };
        self.engine.store().change(Keep::Yes, erase).unwrap();
    }

    fn anywhere(&self, text: &str) -> bool {
        let sql = "SELECT external_key || coalesce(uln, '') || coalesce(last_name, '') FROM learners
                   UNION ALL SELECT record_key || record || reasons FROM quarantine
                   UNION ALL SELECT warnings || coalesce(error, '') || coalesce(hint, '') FROM integration_sync_logs";
        self.column(sql).iter().any(|found| found.contains(text))
    }
}

fn always(records: &'static str) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    move |_| json(records)
}

#[test]
fn an_erased_person_is_left_out_by_key_and_counted() {
    let world = World::new(ONE_PAGE, MAPPED);
    world.server.play(always(r#"[{"id":1,"name":"N1"},{"id":2,"name":"Gone"}]"#));
    assert_eq!((world.run_well().inserted, world.live()), (2, vec!["1".into(), "2".into()]));
    world.erase("2", None);
    for _ in 0..2 {
        let tally = world.run_well();
        assert_eq!((tally.read, tally.erased, tally.unchanged, tally.inserted), (2, 1, 1, 0));
        assert_eq!((world.live(), world.anywhere("Gone")), (vec!["1".into()], false));
    }
    // Employers and other keys are nobody's business.
    assert_eq!(
        world.column("SELECT (tally ->> 'erased') || '' FROM integration_sync_logs ORDER BY id"),
        ["0", "1", "1"]
    );
}

#[test]
fn an_erased_person_is_known_by_its_uln_under_another_key() {
    let world = World::new(ONE_PAGE, MAPPED);
    world.erase("1", Some(ULN));
    world.server.play(always(r#"[{"id":7,"name":"Gone","uln":"1000000035"},{"id":8,"name":"N8","uln":"9999999999"}]"#));
    let tally = world.run_well();
    assert_eq!((tally.erased, tally.inserted, world.live()), (1, 1, vec!["8".into()]));
}

#[test]
fn what_cannot_be_mapped_of_an_erased_person_is_not_set_aside() {
    let world = World::new(ONE_PAGE, MAPPED);
    world.erase("2", Some(ULN));
    world.server.play(always(
        r#"[{"id":1,"name":"N1"},{"id":2,"x":"Gone"},{"x":"Gone","uln":1000000035},{"id":4,"x":"Kept"}]"#,
    ));
    let ended = world.run();
    let Tally { inserted, erased, quarantined, .. } = ended.tally;
    assert_eq!((inserted, erased, quarantined), (1, 2, 1));
    assert_eq!(world.column("SELECT record_key FROM quarantine"), ["4"]);
    assert!(!world.anywhere("Gone") && world.anywhere("Kept"));
}

#[test]
fn a_replay_leaves_an_erased_person_out_and_needs_the_key_for_it() {
    let mut world = World::new(ONE_PAGE, MAPPED);
    world.server.play(always(r#"[{"id":1,"name":"N1"},{"id":2,"x":"Gone"}]"#));
    world.run();
    world.erase("2", None);
    world.resettle("    field_mappings: {learner.last_name: name}\n");
    let (mut store, stop, now) = (world.engine.store(), AtomicBool::new(false), crate::config::now());
    let mut replay = |vault| {
        let options = replay::Options { keep: Keep::Yes, stop: &stop, vault, actor: "test", now };
        replay::replay(&mut store, (&world.organization, &"x".parse().unwrap()), &[1], &options)
    };
    assert!(replay(None).unwrap_err().to_string().contains("was erased"));
    let replayed = replay(Some(world.engine.vault)).unwrap();
    assert_eq!((replayed.tally.erased, replayed.tally.inserted), (1, 0));
    drop(store);
    assert!(!world.anywhere("Gone"));
}

#[test]
fn what_a_run_says_does_without_erased_persons() {
    let world = World::new(ONE_PAGE, MAPPED);
    world.erase("L-2", None);
    world.server.play(|_| (400, String::new(), r#"{"error":"L-2 and L-21 are locked"}"#.into()));
    let ended = world.run();
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(!world.anywhere("L-2 "), "{:?}", world.column("SELECT error FROM integration_sync_logs"));
}

#[test]
fn a_page_that_was_read_before_an_erasure_and_is_written_after_it_brings_nobody_back() {
    let world = World::new(LEARNERS, NAMES);
    let (asked, is_asked) = channel();
    let (erased, is_erased) = channel();
    world.server.play(move |request| match request {
        "GET /all?after=0" => json(r#"[{"id":1,"name":"Gone"},{"id":2,"name":"N2"}]"#),
        "GET /all?after=2" => {
            asked.send(()).unwrap();
            is_erased.recv().unwrap();
            json(r#"[{"id":1,"name":"Gone"},{"id":3,"name":"N3"}]"#)
        }
        _ => json("[]"),
    });
    let tally = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.run_well());
        is_asked.recv().unwrap();
        while world.live() != ["1", "2"] {
            std::thread::yield_now();
        }
        world.erase("1", None);
        erased.send(()).unwrap();
        run.join().unwrap()
    });
    assert_eq!((tally.inserted, tally.erased), (3, 1));
    assert_eq!((world.live(), world.anywhere("Gone")), (vec!["2".into(), "3".into()], false));
}

#[test]
fn a_person_who_is_let_back_is_stored_again() {
    let world = World::new(ONE_PAGE, MAPPED);
    world.erase("2", Some(ULN));
    world.server.play(always(r#"[{"id":2,"name":"Back"}]"#));
    assert_eq!(world.run_well().erased, 1);
    let id = world.organization.id;
    let person = erasures::list(world.engine.store().read(), id).unwrap()[0].person;
    world.engine.store().change(Keep::Yes, |tx| erasures::lift(tx, id, person)).unwrap();
    assert_eq!(world.run_well().inserted, 1);
    assert!(erasures::list(world.engine.store().read(), id).unwrap().is_empty());
}
