//! What is gone is marked, what is not gone is not, and what was gone comes back.

use super::*;
use crate::store::credentials;

/// One page of records, all there is, with these deletes.
fn one_page(deletes: &str) -> String {
    format!(
        "secrets: {{key: {{title: Key}}, again: {{title: Again}}}}
streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {{get: /all}}
    deletes: {{{deletes}}}
"
    )
}

/// Answers every request for all with the records of these numbers, and every other one with `other`.
fn all(numbers: &'static [u32], other: &'static str) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    move |asked| {
        let records: Vec<String> = numbers.iter().map(|id| format!(r#"{{"id":{id},"name":"N{id}"}}"#)).collect();
        json(if asked.starts_with("GET /all") { format!("[{}]", records.join(",")) } else { other.to_owned() })
    }
}

impl World {
    pub(super) fn set(&self, field: &str, value: &str) {
        let provider = providers::by_slug(self.engine.store().read(), "x").unwrap();
        let secret = crate::secrets::Secret::from(value.to_owned());
        let put = |tx: &crate::store::Connection| {
            let owner = (&self.organization, &provider);
            self.engine.vault.set(tx, owner, &field.parse().unwrap(), &secret, ("test", crate::config::now()))
        };
        self.engine.store().change(Keep::Yes, put).unwrap();
        assert!(!credentials::all(self.engine.store().read(), self.organization.id).unwrap().is_empty());
    }

    /// Runs well, and returns how many rows were deleted and what is doubted.
    fn doubts(&self) -> (u64, Vec<String>) {
        let ended = self.run();
        assert_eq!((ended.outcome, ended.error.map(|error| error.message)), (Outcome::Ok, None));
        assert!(ended.told.doubts.iter().all(|doubt| ended.warnings.contains(doubt)));
        (ended.tally.deleted, ended.told.doubts)
    }
}

#[test]
fn a_record_that_comes_back_is_live_again_however_it_was_deleted() {
    let ways = [
        ("flag: {field: gone, is: true}", r#"[{"id":1,"name":"N1"},{"id":2,"name":"N2","gone":true}]"#, "[]"),
        ("feed: {get: /gone}", r#"[{"id":1,"name":"N1"}]"#, r#"[{"id":2}]"#),
        ("sweep: always, max: 0.5", r#"[{"id":1,"name":"N1"}]"#, "[]"),
    ];
    for (deletes, list, feed) in ways {
        let world = World::new(&one_page(deletes), NAMES);
        world.server.play(all(&[1, 2], "[]"));
        world.run_well();
        let ids = world.column("SELECT CAST(id AS TEXT) FROM learners ORDER BY id");
        world.server.play(move |asked| json(if asked == "GET /all" { list } else { feed }));
        assert_eq!(world.run_well().deleted, 1, "{deletes}");
        assert_eq!(world.live(), ["1"], "{deletes}");
        world.server.play(all(&[1, 2], "[]"));
        let tally = world.run_well();
        assert_eq!((tally.updated, tally.inserted), (1, 0), "{deletes}");
        assert_eq!(world.live(), ["1", "2"], "{deletes}");
        assert_eq!(world.column("SELECT CAST(id AS TEXT) FROM learners ORDER BY id"), ids);
    }
}

#[test]
fn a_dry_run_counts_each_delete_once() {
    let deletes = "flag: {field: gone, is: true}, feed: {get: /gone}, sweep: always, max: 0.5";
    let mut world = World::new(&one_page(deletes), NAMES);
    world.server.play(all(&[1, 2, 3, 4, 5, 6], "[]"));
    world.run_well();
    // One by its flag, one by the feed, one by both, one by its absence alone.
    let list = r#"[{"id":1,"name":"N1"},{"id":2,"name":"N2"},{"id":3,"gone":true},{"id":4,"gone":true}]"#;
    world.server.play(move |asked| json(if asked == "GET /all" { list } else { r#"[{"id":4},{"id":5},{"id":5}]"# }));
    world.engine.options.keep = Keep::DryRun;
    assert_eq!(world.run_well().deleted, 4);
    assert_eq!(world.live().len(), 6);
    world.engine.options.keep = Keep::Yes;
    assert_eq!(world.run_well().deleted, 4);
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_dry_run_counts_a_record_that_two_pages_call_deleted_once() {
    let pages = one_page("flag: {field: gone, is: true}")
        .replace("{get: /all}", "{get: '/all?page={page}', page: {number: 1}}");
    let mut world = World::new(&pages, NAMES);
    let play = |world: &World, record: &'static str| {
        world.server.play(move |asked| json(if asked.ends_with("page=3") { "[]" } else { record }));
    };
    play(&world, r#"[{"id":1,"name":"N1"}]"#);
    world.run();
    play(&world, r#"[{"id":1,"gone":true}]"#);
    world.engine.options.keep = Keep::DryRun;
    assert_eq!(world.run().tally.deleted, 1);
}

#[test]
fn a_read_that_goes_on_deletes_nothing_of_what_its_first_half_read() {
    let mut world = World::new(&LEARNERS.replace("max: 0.5", "max: 1"), NAMES);
    world.server.play(learners(&[1, 2, 3, 4, 5]));
    world.run_well();
    world.engine.options.full = true;
    let mut first = learners(&[1, 2, 3, 5]);
    world.server.play(
        move |asked| {
            if asked.ends_with("after=0") { first(asked) } else { (500, String::new(), "{}".into()) }
        },
    );
    assert_eq!(world.run().outcome, Outcome::Failed);
    world.engine.options.full = false;
    world.server.play(learners(&[1, 2, 3, 5]));
    let tally = world.run_well();
    assert_eq!((tally.read, tally.deleted), (2, 1));
    assert_eq!(world.live(), ["1", "2", "3", "5"]);
}

#[test]
fn the_first_full_read_of_another_credential_deletes_nothing() {
    let world = World::new(&one_page("sweep: always, max: 0.5"), NAMES);
    world.set("key", "first");
    world.server.play(all(&[1, 2, 3], ""));
    assert_eq!(world.doubts(), (0, vec![]));
    world.set("key", "second");
    world.server.play(all(&[1, 2], ""));
    let (deleted, doubts) = world.doubts();
    assert_eq!((deleted, doubts.len(), world.live().len()), (0, 1, 3));
    assert!(doubts[0].contains("the credential has changed since the last full read"), "{doubts:?}");
    assert_eq!(world.doubts(), (1, vec![]), "the second one does");
    // One more field is another credential too.
    world.set("again", "third");
    world.server.play(all(&[1], ""));
    assert_eq!(world.doubts().0, 0);
    assert_eq!(world.doubts().0, 1);
}

#[test]
fn a_full_read_begun_with_one_credential_and_ended_with_another_deletes_nothing() {
    let secrets = format!("secrets: {{key: {{title: Key}}}}\n{}", LEARNERS.replace("max: 0.5", "max: 1"));
    let mut world = World::new(&secrets, NAMES);
    world.set("key", "wide");
    world.server.play(learners(&[1, 2, 3, 4]));
    world.run_well();
    world.engine.options.full = true;
    world.set("key", "narrow");
    let mut first = learners(&[1, 3, 4]);
    world.server.play(
        move |asked| {
            if asked.ends_with("after=0") { first(asked) } else { (400, String::new(), "{}".into()) }
        },
    );
    assert_eq!(world.run().outcome, Outcome::Failed);
    world.set("key", "wide");
    world.server.play(learners(&[1, 2, 3, 4]));
    assert_eq!(world.doubts().0, 0);
    assert_eq!(world.live().len(), 4);
    world.server.play(learners(&[1, 2, 3]));
    assert_eq!(world.doubts(), (1, vec![]));
}

#[test]
fn a_credential_that_sees_other_groups_than_before_deletes_nothing_once() {
    let check = "check: {get: /me, scope: {get: /groups, items: 'value[]', key: Id}}\n";
    let world = World::new(&format!("{check}{}", one_page("sweep: always, max: 0.5")), NAMES);
    world.server.play(all(&[1, 2, 3, 4], r#"{"value":[{"Id":1},{"Id":2}]}"#));
    assert_eq!(world.doubts(), (0, vec![]));
    // The same groups in another order are the same.
    world.server.play(all(&[1, 2, 3], r#"{"value":[{"Id":2},{"Id":1}]}"#));
    assert_eq!(world.doubts(), (1, vec![]));
    world.server.play(all(&[1, 2], r#"{"value":[{"Id":2}]}"#));
    let (deleted, doubts) = world.doubts();
    assert_eq!((deleted, world.live().len()), (0, 3));
    assert!(doubts[0].contains("what the credential sees has changed"), "{doubts:?}");
    assert_eq!(world.doubts(), (1, vec![]));
    // One that cannot be told is another one, and told.
    world.server.play(all(&[1], "{}"));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.deleted), (Outcome::Ok, 0));
    assert!(ended.warnings[0].contains("cannot be told"), "{:?}", ended.warnings);
}

#[test]
fn changes_ask_once_what_is_seen_and_a_full_read_twice() {
    let check = "check: {get: /me, scope: {get: /groups, items: 'value[]', key: Id}}\n";
    let world = World::new(&format!("{check}{LEARNERS}"), NAMES);
    let mut all = learners(&[1]);
    world.server.play(move |asked| if asked == "GET /groups" { json(r#"{"value":[]}"#) } else { all(asked) });
    world.run_well();
    let asked = |world: &World| world.server.seen().iter().filter(|asked| *asked == "GET /groups").count();
    assert_eq!(asked(&world), 2, "before and behind it");
    world.run_well();
    assert_eq!(asked(&world), 3);
}

#[test]
fn no_record_at_all_where_there_were_some_is_warned_of_even_where_nothing_is_swept() {
    let world = World::new(&one_page("sweep: never"), NAMES);
    world.server.play(all(&[], ""));
    assert_eq!(world.doubts(), (0, vec![]), "nothing was there");
    world.server.play(all(&[1, 2], ""));
    world.run_well();
    world.server.play(all(&[], ""));
    let (_, doubts) = world.doubts();
    assert_eq!(doubts, ["learners: X showed no record at all, where some were before"]);
    // Changes may well be none.
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1]));
    world.run_well();
    assert_eq!(world.doubts(), (0, vec![]));
}

#[test]
fn nothing_with_an_error_is_a_failure() {
    let world = World::new(&one_page("sweep: never"), NAMES);
    for answer in [(200, "{\"error\":\"x\"}"), (400, "[]"), (204, ""), (200, "")] {
        world.server.play(move |_| (answer.0, String::new(), answer.1.to_owned()));
        assert_eq!(world.run().outcome, Outcome::Failed, "{answer:?}");
    }
}

#[test]
fn a_changed_mapping_or_filter_reads_the_stream_it_is_of_in_full_once() {
    let companies = LEARNERS
        .replace("streams:\n", "")
        .replace("learners:", "companies:")
        .replace("entity: learner", "entity: employer")
        .replace("/all", "/firms")
        .replace("/changes", "/firm_changes");
    let mapped = |learner: &str, employer: &str, filters: &str| {
        format!("    field_mappings: {{learner.last_name: {learner}, employer.name: {employer}}}\n{filters}")
    };
    let mut world = World::new(&format!("{LEARNERS}{companies}"), &mapped("name", "name", ""));
    world.server.play(|_| json("[]"));
    world.run_well();
    let reread = |world: &World| {
        let ended = world.run();
        assert_eq!(ended.outcome, Outcome::Ok);
        ended.told.reread
    };
    let hash = |world: &World| world.column("SELECT shape FROM integration_sync_logs ORDER BY id DESC LIMIT 1");
    let first = hash(&world);
    assert_eq!((reread(&world), hash(&world)), (vec![], first.clone()));
    world.resettle(&mapped("other", "name", ""));
    assert_eq!(reread(&world), ["learners"]);
    assert_ne!(hash(&world), first);
    assert_eq!(reread(&world), [""; 0], "once");
    world.resettle(&mapped("other", "title", ""));
    assert_eq!(reread(&world), ["companies"]);
    world.resettle(&mapped("other", "title", "    powerbi_filters: {employer.name: A}\n"));
    assert_eq!(reread(&world), ["companies"]);
    world.resettle(&mapped("other", "title", "    powerbi_filters: {employer.name: A, LMS_Provider: X}\n"));
    assert_eq!(reread(&world), ["learners", "companies"], "a filter on the provider is of all");
    world.organization.max_learners = Some(9);
    world.resettle(&mapped("other", "title", "    powerbi_filters: {employer.name: A, LMS_Provider: X}\n"));
    assert_eq!(reread(&world), ["learners"]);
    world.resettle(&mapped("name", "name", ""));
    world.organization.max_learners = None;
    world.resettle(&mapped("name", "name", ""));
    assert_eq!(reread(&world), ["learners", "companies"]);
    assert_eq!(hash(&world), first);
}

/// Serves lists in full reads and in reads of changes, a page each.
fn serve_pages(world: &World, full: &'static [&'static str], changes: &'static str) {
    world.server.play(move |asked| {
        let number: usize = asked.rsplit("page=").next().unwrap().parse().unwrap();
        match asked.starts_with("GET /all") {
            true => json(*full.get(number - 1).unwrap_or(&"[]")),
            false => json(if number == 1 { changes } else { "[]" }),
        }
    });
}

#[test]
fn what_was_merged_into_a_record_is_gone_with_it() {
    let manifest = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?page={page}', page: {number: 1}}
    cursor: {overlap: 10m}
    changes: {get: '/changes?from={window.from}&to={window.to}&page={page}', page: {number: 1}}
    deletes: {merged: merged, sweep: weekly, max: 0.5}
";
    let all = &[r#"[{"id":1},{"id":2},{"id":3}]"#, r#"[{"id":4},{"id":5},{"id":6},{"id":"a;b"}]"#];
    for (told, gone) in [
        (r#"[{"id":1,"merged":"2; 4;"}]"#, vec!["2", "4"]),
        (r#"[{"id":1,"merged":[2,"4"]}]"#, vec!["2", "4"]),
        (r#"[{"id":1,"merged":4}]"#, vec!["4"]),
        (r#"[{"id":1,"merged":null}]"#, vec![]),
        (r#"[{"id":1,"merged":{"id":4}}]"#, vec![]),
        // Itself, one that nobody knows, and one that the same read shows, before or after.
        (r#"[{"id":3},{"id":1,"merged":"1;99;3;4"},{"id":4}]"#, vec![]),
        // One that cannot be stored tells it, too.
        (r#"[{"id":1,"name":{"a":1},"merged":"2"}]"#, vec!["2"]),
    ] {
        let mut world = World::new(manifest, "    field_mappings: {learner.last_name: name}\n");
        serve_pages(&world, all, "[]");
        world.run_well();
        serve_pages(&world, all, told);
        world.engine.options.keep = Keep::DryRun;
        let tried = world.run().tally;
        world.engine.options.keep = Keep::Yes;
        let tally = world.run().tally;
        assert_eq!(tried.deleted, tally.deleted, "{told}");
        let deleted = world.column("SELECT external_key FROM learners WHERE deleted_at IS NOT NULL ORDER BY 1");
        assert_eq!(deleted, gone, "{told}");
        assert_eq!(world.run().tally.deleted, 0, "counted once: {told}");
    }
}

#[test]
fn one_that_the_same_full_read_shows_stays_whatever_page_it_is_on() {
    let manifest = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?page={page}', page: {number: 1}}
    deletes: {merged: merged}
";
    let world = World::new(manifest, NAMES);
    let told = &[r#"[{"id":2},{"id":5}]"#, r#"[{"id":1,"merged":"2;3"}]"#, r#"[{"id":3}]"#];
    serve_pages(&world, told, "[]");
    world.run_well();
    assert_eq!((world.live(), world.run_well().deleted), (["1", "2", "3", "5"].map(str::to_owned).to_vec(), 1));
    assert_eq!(world.live(), ["1", "2", "3", "5"]);
    serve_pages(&world, &[r#"[{"id":5},{"id":1,"merged":"2;3"}]"#], "[]");
    assert_eq!((world.run_well().deleted, world.live()), (2, ["1", "5"].map(str::to_owned).to_vec()));
}
