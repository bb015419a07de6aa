//! `doctor`: what it says of an installation that is well, and of each thing that is not.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{World, chmod, world};

/// Returns what a check says: its worst verdict with all its messages and hints.
fn verdict(examined: &Value, check: &str) -> (String, String) {
    let own: Vec<&Value> =
        examined["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect();
    let has = |verdict: &str| own.iter().any(|finding| finding["verdict"] == verdict);
    let worst = ["fail", "warn", "ok"].into_iter().find(|verdict| has(verdict)).unwrap_or("nothing");
    (worst.to_owned(), own.iter().map(|finding| format!("{finding}\n")).collect())
}

/// Fails the test unless a check says this, and in these words.
fn says(world: &World, check: &str, wanted: &str, words: &[&str]) {
    let ended = world.run("doctor --json");
    let (found, text) = verdict(&ended.json(), check);
    assert_eq!(found, wanted, "{check}: {text}");
    for word in words {
        assert!(text.contains(word), "{check} says nothing of `{word}`: {text}");
    }
    assert_eq!(ended.exit != 0, ended.json()["failures"] != 0, "{ended}");
}

/// Returns a machine whose key lies apart, as it should.
fn sound() -> World {
    let mut world = world();
    let apart = world.home().join("config");
    std::fs::create_dir(&apart).unwrap();
    let data = world.home().join("data");
    std::fs::create_dir(&data).unwrap();
    [&apart, &data].into_iter().for_each(|folder| chmod(folder, 0o700));
    std::fs::rename(world.key(), apart.join("skillsctl.key")).unwrap();
    std::fs::rename(world.db(), data.join("skills.db")).unwrap();
    std::fs::rename(world.home().join("skills.db.locks"), data.join("skills.db.locks")).unwrap();
    world.set("SKILLSCTL_KEY_FILE", apart.join("skillsctl.key").to_str().unwrap());
    world.set("SKILLSCTL_DB", data.join("skills.db").to_str().unwrap());
    world
}

#[test]
fn a_sound_installation_has_no_failure_and_every_check_is_told() {
    let world = sound();
    let examined = world.json("doctor");
    assert_eq!((&examined["ok"], &examined["failures"]), (&Value::from(true), &Value::from(0)));
    for check in [
        "key",
        "key_place",
        "database",
        "soundness",
        "sqlite",
        "log",
        "database_file",
        "folder",
        "locks",
        "copies",
        "clock",
        "credential_age",
        "network",
        "anchor",
    ] {
        let (found, text) = verdict(&examined, check);
        assert_eq!(found, "ok", "{check}: {text}");
    }
    for finding in examined["findings"].as_array().unwrap() {
        assert!(finding["verdict"] == "ok" || finding["hint"].is_string(), "{finding} gives no advice");
    }
    world.run("doctor").succeeds().prints(&["ok     key ", "What to do"]);
    // A debug build is a warning, which only `--strict` minds.
    world.run("doctor --strict").fails(3);
}

#[test]
fn it_works_without_a_key_and_without_a_database_and_writes_nothing() {
    let mut world = sound();
    world.set("SKILLSCTL_KEY_FILE", "");
    let before = std::fs::read(world.home().join("data/skills.db")).unwrap();
    says(&world, "key", "warn", &["no master key"]);
    assert!(std::fs::read(world.home().join("data/skills.db")).unwrap() == before);
    let mut empty = World::empty();
    empty.set("SKILLSCTL_KEY_FILE", "");
    says(&empty, "database", "fail", &["there is no database", "skillsctl init"]);
    assert_eq!(empty.run("doctor").exit, 12);
    assert_eq!(std::fs::read_dir(empty.home()).unwrap().count(), 0, "nothing was created");
}

#[test]
fn a_key_from_the_environment_is_weak_and_one_beside_the_database_is_told() {
    let mut world = world();
    says(&world, "key_place", "warn", &["beside the database"]);
    let text = std::fs::read_to_string(world.key()).unwrap();
    world.set("SKILLSCTL_KEY_FILE", "");
    world.set("SKILLSCTL_KEY", &text);
    says(&world, "key", "warn", &["weak", "SKILLSCTL_KEY"]);
    let ended = world.run("doctor --json -vvv");
    assert!(!ended.stdout.contains(&text[20..60]), "the key is shown");
    world.set("SKILLSCTL_KEY", "");
    world.set("SKILLSCTL_KEY_COMMAND", "false");
    says(&world, "key", "ok", &["was not asked"]);
}

#[test]
fn a_key_that_others_may_read_and_a_wrong_one_fail() {
    let world = sound();
    let key = world.home().join("config/skillsctl.key");
    chmod(&key, 0o640);
    says(&world, "key", "fail", &["may be read or changed by others", "chmod 600"]);
    assert_eq!(world.run("doctor").exit, 8);
    chmod(&key, 0o600);
    std::fs::write(&key, format!("{}\n", "0f".repeat(32))).unwrap();
    says(&world, "key", "fail", &["this database needs the master key"]);
}

#[test]
fn modes_that_let_others_in_are_told() {
    let world = sound();
    let data = world.home().join("data");
    let database = data.join("skills.db");
    for (mode, wanted) in [(0o640, "warn"), (0o604, "warn"), (0o602, "fail"), (0o600, "ok")] {
        chmod(&database, mode);
        says(&world, "database_file", wanted, &[]);
    }
    for (mode, wanted) in [(0o777, "fail"), (0o1777, "warn"), (0o770, "warn"), (0o755, "ok"), (0o700, "ok")] {
        chmod(&data, mode);
        says(&world, "folder", wanted, &[]);
    }
    chmod(world.home(), 0o777);
    says(&world, "ancestors", "fail", &["everybody may exchange", "chmod o-w"]);
    chmod(world.home(), 0o700);
    chmod(&data.join("skills.db.locks"), 0o777);
    says(&world, "locks", "fail", &["everybody may change"]);
}

#[test]
fn a_copy_of_a_database_in_use_is_told_and_a_backup_is_not() {
    let world = sound();
    let data = world.home().join("data");
    world.run("db backup data/good.db").succeeds();
    says(&world, "copies", "ok", &[]);
    std::fs::copy(data.join("skills.db"), data.join("skills.db.bak")).unwrap();
    says(&world, "copies", "warn", &["skills.db.bak", "skillsctl db backup"]);
    std::fs::remove_file(data.join("skills.db.bak")).unwrap();
    // Another name of the database itself is not opened: that would drop the locks of whoever uses it.
    std::fs::hard_link(data.join("skills.db"), data.join("same.db")).unwrap();
    says(&world, "copies", "ok", &[]);
}

/// Closing one of the database's own files in a process would drop the locks SQLite has taken in it.
#[test]
fn a_writer_stays_alone_while_doctor_looks() {
    let world = sound();
    world.create("acme", "aptem");
    let path = world.home().join("data/skills.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE organizations SET name = 'One'").unwrap();
    assert_eq!(world.run("doctor").exit, 0);
    let second = Connection::open(&path).unwrap();
    second.busy_timeout(Duration::from_millis(50)).unwrap();
    assert!(second.execute("UPDATE organizations SET name = 'Two'", []).is_err(), "a second writer got in");
    writer.execute_batch("COMMIT").unwrap();
    says(&world, "soundness", "ok", &[]);
}

#[test]
fn damage_is_found_and_told() {
    let world = sound();
    world.create("acme", "aptem");
    world.run("override set acme aptem sync_frequency=15m").succeeds();
    let path = world.home().join("data/skills.db");
    let database = Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).rposition(|window| window == b"\"15m\"").unwrap();
    bytes[at + 1] = b'2';
    std::fs::write(&path, bytes).unwrap();
    says(&world, "soundness", "fail", &["organization_integration_overrides", "db check"]);
    assert_eq!(world.run("doctor").exit, 12);
}

#[test]
fn the_work_is_looked_at_backups_clock_runs_and_addresses() {
    let mut world = sound();
    says(&world, "backup", "ok", &["nothing to back up"]);
    world.create("acme", "aptem");
    says(&world, "backup", "warn", &["no backup"]);
    says(&world, "standing", "warn", &["skillsctl status"]);
    world.run("db backup copy.db").succeeds();
    says(&world, "backup", "ok", &["copy.db"]);
    world.run("override set acme aptem allow_insecure_http=true api_url=http://127.0.0.1:9").succeeds();
    says(&world, "network", "warn", &["acme aptem", "without TLS"]);
    world.run_with_input("credential set acme aptem api_key --from-stdin", "a-secret-of-twenty-letters").succeeds();
    world.run("sync acme").fails(9);
    world.at("2026-12-03T09:00:00Z");
    says(&world, "backup", "warn", &["3 days old"]);
    says(&world, "schedule", "warn", &["skillsctl-sync.timer"]);
    world.at("2026-11-29T09:00:00Z");
    says(&world, "clock", "fail", &["yet to come", "set the clock"]);
}
