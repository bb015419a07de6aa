//! `record quarantine` through the binary.

use serde_json::{Value, json};

use crate::seed::Ran;
use crate::support::{World, world};

/// Three records of acme and one of globex that wait, and no key on the machine.
fn acme() -> World {
    let mut world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world.seed_organization("globex", "aptem");
    world.overridden("acme", "hubspot", r#"{"portal_id": 1}"#);
    let run = world.ran("acme", "aptem", &Ran { outcome: "partial", ..Ran::default() });
    world.set_aside(
        "acme",
        "aptem",
        run,
        "L7",
        r#"{"Id": 7, "FullName": "Sofia Seven", "Email": "sofia@example.org"}"#,
    );
    world.set_aside("acme", "aptem", run, "L8", "not json");
    let other = world.ran("acme", "hubspot", &Ran { outcome: "partial", ..Ran::default() });
    world.set_aside("acme", "hubspot", other, "5501", "{}");
    let run = world.ran("globex", "aptem", &Ran { outcome: "partial", ..Ran::default() });
    world.set_aside("globex", "aptem", run, "L7", "{}");
    // Nothing of this wants the master key.
    std::fs::remove_file(world.key()).unwrap();
    world.set("SKILLSCTL_NO_INPUT", "1");
    world
}

fn ids(world: &World, line: &str) -> Vec<String> {
    let list = world.json(line);
    assert_eq!(list["kind"], "QuarantineList");
    list["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_waits_is_listed_without_what_it_holds() {
    let world = acme();
    assert_eq!(ids(&world, "record quarantine list acme"), ["3", "2", "1"]);
    assert_eq!(ids(&world, "record quarantine list acme --provider aptem"), ["2", "1"]);
    assert_eq!(ids(&world, "record quarantine list acme --stream contacts"), [""; 0]);
    assert_eq!(ids(&world, "record quarantine list acme --reason 'NOT an E-mail'"), ["3", "2", "1"]);
    assert_eq!(ids(&world, "record quarantine list acme --reason 'no such'"), [""; 0]);
    let ended = world.run("record quarantine list acme --limit 1").succeeds().says(&["more than 1"]);
    assert_eq!(ended.stdout.lines().count(), 1);
    let row = world.json("record quarantine list acme --provider aptem")["items"][1].clone();
    assert_eq!(
        row,
        json!({"id": "1", "provider": "aptem", "stream": "learners", "key": "L7", "times": 1, "run": "1", "kept": "whole",
               "reason": "`learner.email`: not an e-mail address", "at": "2026-11-30T08:00:00.000Z"})
    );
    for line in ["record quarantine list acme", "record quarantine list acme --json", "log show 1", "log show 1 --json"]
    {
        assert!(!world.run(line).succeeds().stdout.contains("ofia"), "{line}");
    }
    world.run("record quarantine list acmee --json").fails(5);
    world.run("record quarantine list acme --provider aptme --json").fails(5);
}

#[test]
fn one_that_waits_is_shown_with_all_it_holds() {
    let world = acme();
    let shown = world.json("record quarantine show acme 1");
    assert_eq!((&shown["kind"], &shown["record"]["FullName"]), (&json!("QuarantinedRecord"), &json!("Sofia Seven")));
    assert_eq!(
        (&shown["reasons"][0], &shown["settings"]),
        (&json!("`learner.email`: not an e-mail address"), &Value::Null)
    );
    world.run("record quarantine show acme 1").succeeds().prints(&["\"FullName\": \"Sofia Seven\"", "L7", "e-mail"]);
    assert_eq!(world.json("record quarantine show acme 2")["record"], "not json");
    // Another organization's is not there.
    let error = world.run("record quarantine show acme 4 --json").fails(5).error();
    assert_eq!(error["code"], "quarantine_not_found");
    assert_eq!(error["hint"], "`skillsctl record quarantine list acme` shows what there is");
}

#[test]
fn dropping_asks_and_takes_only_what_is_named() {
    let world = acme();
    world.refused("record quarantine drop acme 1", 2).says(&["--yes"]);
    world.refused("record quarantine drop acme --yes", 2);
    world.refused("record quarantine drop acme 1 --all --yes", 2);
    world.refused("record quarantine drop acme 1 --provider aptem --yes", 2);
    world.refused("record quarantine drop acme 1 4 --yes", 5);
    let dropped = world.json("record quarantine drop acme --all --dry-run");
    assert_eq!((&dropped["dropped"], &dropped["dry_run"]), (&json!(3), &json!(true)));
    assert_eq!(world.json("record quarantine drop acme 1 --yes")["dropped"], 1);
    assert_eq!(ids(&world, "record quarantine list acme"), ["3", "2"]);
    world
        .run("record quarantine drop acme --all --provider aptem --yes")
        .succeeds()
        .prints(&["acme: dropped 1 record"]);
    assert_eq!(ids(&world, "record quarantine list acme"), ["3"]);
    assert_eq!(ids(&world, "record quarantine list globex"), ["4"]);
    world.run("record quarantine drop acme --all --stream none").succeeds().prints(&["unchanged"]);
    let audit: Vec<String> = {
        let sql = world.sql();
        let mut rows =
            sql.prepare("SELECT subject FROM audit_log WHERE action = 'quarantine drop' ORDER BY id").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(audit, ["acme: 1 record", "acme: 1 record"]);
}

#[test]
fn a_replay_without_a_key_stores_what_fits_and_says_what_does_not() {
    let world = acme();
    let tried = world.run("record quarantine replay acme --all --dry-run --json").fails(3).json();
    assert_eq!((&tried["stored"], &tried["runs"][0]["run"]), (&json!(1), &Value::Null));
    let ended = world.run("record quarantine replay acme --all --json").fails(3);
    let report = ended.json();
    assert_eq!(
        (&report["kind"], &report["replayed"], &report["stored"], &report["remaining"], &report["need_provider"]),
        (&json!("QuarantineReplay"), &json!(3), &json!(1), &json!(2), &json!(0))
    );
    assert_eq!(world.json("record show acme learner 7")["external_id"], "7");
    assert_eq!(ids(&world, "record quarantine list acme"), ["3", "2"]);
    world.run("record quarantine replay acme 2").fails(3).prints(&["acme: 1 still in quarantine"]);
    world.refused("record quarantine replay acme 1 --json", 5);
    world.refused("record quarantine replay acme --json", 2);
    world.run("record quarantine replay acme --all --stream none").succeeds().prints(&["unchanged"]);
    // It is told apart from a sync.
    let run = world.json("log list acme --limit 1")["items"][0].clone();
    assert_eq!((&run["run_kind"], &run["outcome"]), (&json!("replay"), &json!("partial")));
    assert!(run["settings"].is_string());
    assert_eq!(world.json("status acme")["providers"][0]["last_run"]["run"], "1");
}

#[test]
fn a_replay_keeps_out_of_the_way_of_a_sync() {
    let world = acme();
    let folder = world.home().join("skills.db.locks");
    std::fs::create_dir_all(&folder).unwrap();
    let held = std::fs::File::create(folder.join("run-acme-aptem")).unwrap();
    held.lock().unwrap();
    let ended = world.refused("record quarantine replay acme --all --json", 11);
    assert_eq!(ended.error()["code"], "already_running");
    drop(held);
    world.run("record quarantine replay acme 1").succeeds();
    world.run("org suspend acme --yes").succeeds();
    world.run("record quarantine replay acme 2 --json").fails(6);
}

#[test]
fn what_a_former_provider_left_stays_and_stops_nothing() {
    let world = acme();
    world.overridden("globex", "bud", r#"{"api_url": "https://bud.example"}"#);
    let moved = world.sql().execute(
        "UPDATE organizations SET preset_id = (SELECT id FROM integration_presets WHERE slug = 'bud') WHERE slug = 'globex'",
        [],
    );
    assert_eq!(moved.unwrap(), 1);
    let run = world.ran("globex", "bud", &Ran { outcome: "partial", ..Ran::default() });
    world.set_aside("globex", "bud", run, "b1", "{}");
    let ended = world.run("record quarantine replay globex --all").fails(3);
    ended.says(&["aptem is not in the preset of globex"]);
    world.run("record quarantine replay globex 4 --json").fails(5);
    world.run("record quarantine replay globex --all --provider aptem --json").fails(5);
}

#[test]
fn what_waits_in_a_database_of_the_first_schema_still_does() {
    let world = World::empty();
    world.sql().execute_batch(include_str!("../fixtures/schema_1.sql")).unwrap();
    assert_eq!(ids(&world, "record quarantine list acme"), ["1"]);
    let shown = world.json("record quarantine show acme 1");
    assert_eq!((&shown["key"], &shown["times"], &shown["kept"]), (&json!("9999"), &json!(1), &json!("whole")));
    assert_eq!((&shown["settings"], &shown["record"]), (&Value::Null, &json!({"Id": 9999})));
    assert_eq!(world.json("log list")["items"][0]["run_kind"], "sync");
    // Its number is not given again.
    world.run("record quarantine drop acme 1 --yes").succeeds();
    world.set_aside("acme", "aptem", 1, "L7", "{}");
    assert_eq!(ids(&world, "record quarantine list acme"), ["2"]);
}
