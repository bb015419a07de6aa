//! `db migrate`, and the upgrade that any command makes by itself.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use serde_json::json;

use super::{killed, names, open, text};
use crate::support::World;

/// Returns a machine with a database of the first schema.
fn old() -> World {
    let world = World::empty();
    rewind(&world);
    std::fs::write(world.key(), include_str!("../../fixtures/schema_1.key")).unwrap();
    std::fs::set_permissions(world.key(), std::fs::Permissions::from_mode(0o600)).unwrap();
    world
}

/// Puts the database of the first schema back.
fn rewind(world: &World) {
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(world.home().join(format!("skills.db{suffix}"))).ok();
    }
    let database = Connection::open(world.db()).unwrap();
    database.execute_batch(include_str!("../../fixtures/schema_1.sql")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
}

fn schema(world: &World) -> String {
    text(&world.sql(), "SELECT max(version) FROM refinery_schema_history")
}

#[test]
fn a_dry_run_lists_the_steps_and_takes_none() {
    let world = old();
    let before = std::fs::read(world.db()).unwrap();
    let listed = world.json("db migrate --dry-run");
    assert_eq!(
        (&listed["from"], &listed["outcome"], &listed["dry_run"]),
        (&json!(1), &json!("migrated"), &json!(true))
    );
    let steps = listed["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["name"] == "row_digests"), "{listed}");
    assert!(std::fs::read(world.db()).unwrap() == before);
    assert_eq!(names(world.home(), "skills.db.schema"), [""; 0]);
    world.run("db status").succeeds().prints(&["schema", "db migrate"]);
}

#[test]
fn migrating_keeps_a_checked_backup_of_what_was_there() {
    let world = old();
    let learners = text(&world.sql(), "SELECT count(*) FROM learners");
    let migrated = world.json("db migrate");
    let kept = world.home().join("skills.db.schema1-20261130T090000Z");
    assert_eq!(migrated["backup"], "[HOME]/skills.db.schema1-20261130T090000Z");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(text(&open(&kept), "SELECT max(version) FROM refinery_schema_history"), "1");
    assert_eq!(text(&open(&kept), "SELECT count(*) FROM learners"), learners);
    assert_eq!(text(&world.sql(), "SELECT count(*) FROM learners"), learners);
    world.run("db check --deep").succeeds();
    world.run("db migrate").succeeds().prints(&["unchanged"]);
    assert_eq!(names(world.home(), "skills.db.schema").len(), 1);
    // The backup is of an older schema: restored, it is brought up to date on the way.
    let restored = world.json("db restore skills.db.schema1-20261130T090000Z --confirm skills.db");
    assert_eq!((&restored["schema_of_backup"], &restored["schema"]), (&json!(1), &migrated["to"]));
    world.run("db check --deep").succeeds();
    assert_eq!(text(&open(&kept), "SELECT max(version) FROM refinery_schema_history"), "1");
}

#[test]
fn any_command_migrates_and_says_so() {
    let world = old();
    world.run("org list").succeeds().says(&["brought from 1 to", "skills.db.schema1-20261130T090000Z"]);
    assert_ne!(schema(&world), "1");
    world.run("org list").succeeds();
    assert_eq!(names(world.home(), "skills.db.schema").len(), 1);
}

#[test]
fn a_database_of_another_history_is_not_migrated() {
    let world = old();
    world.sql().execute("UPDATE refinery_schema_history SET checksum = '1'", []).unwrap();
    world.run("org list --json").fails(12).says(&["schema_diverged"]);
    assert_eq!(schema(&world), "1");
}

#[test]
fn damage_is_not_hidden_by_a_migration() {
    let world = old();
    world.sql().execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM integration_presets WHERE id = 1").unwrap();
    world.run("db migrate").fails(12).says(&["does not hold together"]);
    assert_eq!(schema(&world), "1");
    assert_eq!(names(world.home(), "skills.db.schema"), [""; 0]);
}

#[test]
fn a_killed_migration_is_done_or_not_begun() {
    let world = old();
    let (mut done, mut not) = (0, 0);
    let killed = killed(
        &world,
        40,
        "skills.db.schema",
        |_| "db migrate".into(),
        |trial| {
            let migrated = schema(&world) != "1";
            let tables = text(&world.sql(), "SELECT count(*) FROM sqlite_schema WHERE name = 'changed_rows'");
            assert_eq!(tables, if migrated { "1" } else { "0" }, "trial {trial}");
            assert_eq!(text(&world.sql(), "PRAGMA integrity_check"), "ok");
            if migrated {
                done += 1;
                world.run("db check --deep").succeeds();
            } else {
                not += 1;
            }
            for kept in names(world.home(), "skills.db.schema") {
                let path = world.home().join(kept);
                assert_eq!(text(&open(&path), "PRAGMA integrity_check"), "ok", "a backup that has its name is whole");
                std::fs::remove_file(path).unwrap();
            }
            rewind(&world);
        },
    );
    assert!(killed >= 20 && done >= 1 && not >= 5, "{killed} killed, {done} done, {not} not begun");
    world.run("db migrate").succeeds();
    assert_eq!(names(world.home(), ".skills"), [""; 0]);
}

#[test]
fn a_database_of_an_older_schema_is_looked_at_as_it_is_and_found_sound() {
    let world = old();
    let before = std::fs::read(world.db()).unwrap();
    world.run("db check --deep").succeeds().prints(&["sound, all 2 credentials open"]);
    world.run("key check").succeeds().prints(&["1 keys, 2 credentials, 0 tokens and 0 deposits open"]);
    let examined = world.json("doctor");
    assert_eq!(examined["failures"], 0, "{examined}");
    assert_eq!((schema(&world).as_str(), std::fs::read(world.db()).unwrap() == before), ("1", true));
    // What is wrong with one is found all the same.
    world.sql().execute("UPDATE organization_credentials SET sealed = zeroblob(length(sealed))", []).unwrap();
    world.run("key check").fails(8).prints(&["acme/aptem/api_key"]);
    world.run("db check --json").fails(12).prints(&["not of the form of a sealed value"]);
}
