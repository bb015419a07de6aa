//! `record link` and `record unlink` through the binary: a person says who is one.

use rusqlite::params;
use serde_json::{Value, json};

use crate::support::{World, world};

/// Adds a learner: key, ULN, first and last name, whether dormant.
fn add(world: &World, provider: &str, (key, uln, first, last, dormant): (&str, &str, &str, &str, bool)) {
    let (organization, provider) = world.pair("acme", provider);
    let first_seen = if dormant { "2025-03-01T00:00:00.000Z" } else { "2026-11-01T00:00:00.000Z" };
    world
        .sql()
        .execute(
            "INSERT INTO learners (organization_id, provider_id, external_key, external_id, uln, first_name, last_name, content_hash,
                                   first_seen_at, changed_at, generation, in_scope, dormant)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, x'00', ?7, ?7, 1, 1, ?8)",
            params![organization, provider, key, uln, first, last, first_seen, dormant],
        )
        .unwrap();
}

const ULN: &str = "1000000035";

/// An organization that has moved from Bud to Aptem: of two learners nobody can say whether they are one.
fn moved() -> World {
    let mut world = world();
    world.set("SKILLSCTL_NO_INPUT", "1");
    world.seed_organization("acme", "aptem");
    add(&world, "bud", ("B-900", ULN, "Bob", "Ray", true));
    add(&world, "aptem", ("7001", ULN, "Robert", "Ray", false));
    add(&world, "aptem", ("7002", "", "Ann", "Lee", false));
    world
}

/// Returns what reports have: key and since when, by key.
fn reported(world: &World) -> Vec<(String, String)> {
    let sql = world.sql();
    let mut statement =
        sql.prepare("SELECT external_id, substr(first_seen_at, 1, 10) FROM learner_report ORDER BY 1").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn report(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(key, at)| ((*key).to_owned(), (*at).to_owned())).collect()
}

fn audited(world: &World) -> Vec<(String, String)> {
    let sql = world.sql();
    let mut statement =
        sql.prepare("SELECT action, subject FROM audit_log WHERE action LIKE 'record %' ORDER BY id").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn undecided(world: &World) -> Vec<Value> {
    world.json("record link acme")["items"].as_array().unwrap().clone()
}

#[test]
fn two_rows_that_are_linked_are_one_and_parted_are_two() {
    let world = moved();
    let both = report(&[("7001", "2026-11-01"), ("7002", "2026-11-01"), ("B-900", "2025-03-01")]);
    let linked = report(&[("7001", "2025-03-01"), ("7002", "2026-11-01")]);
    assert_eq!(reported(&world), both);
    let item =
        json!({"former_provider": "bud", "former_key": "B-900", "provider": "aptem", "key": "7001", "common": ["uln"]});
    assert_eq!(undecided(&world), [item]);

    world.run("record link acme B-900 7001 --dry-run").succeeds();
    assert_eq!((reported(&world), audited(&world).len()), (both.clone(), 0));
    let told = world.json("record link acme 7001 B-900");
    assert_eq!((&told["kind"], &told["outcome"]), (&json!("RecordLinked"), &json!("linked")));
    assert_eq!((reported(&world), undecided(&world).len()), (linked.clone(), 0));
    assert_eq!(world.json("record link acme B-900 7001")["outcome"], "unchanged");
    assert_eq!(world.json("record list acme learners")["items"].as_array().unwrap().len(), 2);
    world.run("record show acme learner B-900").succeeds().prints(&["linked"]);

    world.run("record unlink acme B-900 --dry-run").succeeds();
    assert_eq!(reported(&world), linked);
    assert_eq!(world.json("record unlink acme 7001")["outcome"], "unlinked");
    assert_eq!((reported(&world), undecided(&world).len()), (both, 0));
    world.run("record unlink acme 7001 --json").fails(6);
    world.run("record link acme B-900 7001").succeeds();
    assert_eq!(world.json("record unlink acme B-900")["outcome"], "unlinked");
    let actions = ["record link", "record unlink", "record link", "record unlink"];
    let audited = audited(&world);
    assert_eq!(audited.iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), actions);
    assert!(audited.iter().all(|(_, subject)| !subject.contains("B-900") && !subject.contains("7001")), "{audited:?}");
}

#[test]
fn a_row_that_is_said_to_be_nobody_elses_is_asked_about_no_more() {
    let world = moved();
    assert_eq!(world.json("record unlink acme B-900")["outcome"], "kept_apart");
    assert_eq!((undecided(&world).len(), reported(&world).len()), (0, 3));
    assert_eq!(world.json("record unlink acme B-900")["outcome"], "unchanged");
    // It is another person when one of them is erased, too.
    world.run("record erase acme --learner 7001 --confirm 7001").succeeds().says(&["left alone", "bud"]);
    assert_eq!(reported(&world), report(&[("7002", "2026-11-01"), ("B-900", "2025-03-01")]));
}

#[test]
fn what_cannot_be_linked_is_told_without_keys() {
    let world = moved();
    for (line, exit) in [
        ("record link acme B-900", 2),
        ("record link acme B-900 7009", 5),
        ("record link acme 7001 7002", 2),
        ("record link acme B-900 B-900", 2),
        ("record link acmee B-900 7001", 5),
        ("record unlink acme 7009", 5),
        ("record unlink acme 7002", 6),
    ] {
        let ended = world.run(&format!("{line} --json")).fails(exit);
        assert!(exit == 2 || !ended.stderr.contains("700"), "{ended}");
    }
    // One key at three providers: which former one is meant has to be said.
    add(&world, "bud", ("7002", "", "Ann", "Lee", true));
    add(&world, "onefile", ("7002", "", "Ann", "Lee", true));
    assert_eq!(world.run("record link acme 7002 7002 --json").fails(2).error()["code"], "record_ambiguous");
    world.run("record unlink acme 7002 --json").fails(2).says(&["--provider"]);
    world.run("record link acme 7002 7002 --provider bud").succeeds();
    assert_eq!(world.json("record unlink acme 7002")["outcome"], "unlinked");
}

#[test]
fn a_linked_person_is_erased_with_all_rows_and_stays_out() {
    let world = moved();
    // Nothing but the link says that they are one.
    add(&world, "bud", ("B-901", "", "Anna", "Lind", true));
    world.run("record link acme B-901 7002").succeeds();
    let export = world.run("record export-person acme --learner B-901").succeeds().stdout;
    assert!(export.contains("7002") && export.contains("\"link\""), "{export}");
    world.run("record erase acme --learner 7002 --confirm 7002").succeeds().prints(&["2 rows", "bud (by its link)"]);
    assert_eq!(reported(&world), report(&[("7001", "2026-11-01"), ("B-900", "2025-03-01")]));
    assert_eq!(world.json("record erasures acme")["items"][0]["hashes"], 2);
}

#[test]
fn back_at_the_former_provider_its_row_stands_for_the_person() {
    let world = moved();
    world.run("record link acme B-900 7001").succeeds();
    world.run("org set-preset acme bud --yes").succeeds();
    assert!(reported(&world).contains(&("B-900".into(), "2025-03-01".into())), "{:?}", reported(&world));
    assert!(!reported(&world).iter().any(|(key, _)| key == "7001"));
    world.run("org set-preset acme aptem --yes").succeeds();
    assert_eq!(reported(&world), report(&[("7001", "2025-03-01"), ("7002", "2026-11-01")]));
}
