//! `db restore`.

use rusqlite::Connection;
use serde_json::json;

use super::{killed, machine, names, open, text};
use crate::support::World;

/// Returns a machine with a backup of one learner, and a database that has ten since.
fn moved_on() -> World {
    let world = machine(1);
    world.run("db backup monday.db").succeeds();
    world.run("org create --name Later --subdomain later --preset bud").succeeds();
    world.run("override set acme aptem sync_frequency=daily").succeeds();
    world
}

fn slugs(path: &std::path::Path) -> String {
    text(
        &Connection::open(path).unwrap(),
        "SELECT group_concat(slug) FROM (SELECT slug FROM organizations ORDER BY slug)",
    )
}

#[test]
fn a_backup_takes_the_place_of_the_database_which_is_kept() {
    let world = moved_on();
    let before = std::fs::read(world.home().join("monday.db")).unwrap();
    let ended = world.run("db restore monday.db --confirm skills.db").succeeds();
    ended.prints(&["restored", "2 organizations"]).says(&[
        "is kept in",
        "skills.db.replaced-20261130T090000Z",
        "roles that were revoked, persons who were erased",
    ]);
    assert_eq!(slugs(&world.db()), "acme,umbra");
    assert_eq!(names(world.home(), "skills.db.replaced"), ["skills.db.replaced-20261130T090000Z"]);
    let kept = world.home().join("skills.db.replaced-20261130T090000Z");
    assert_eq!(text(&open(&kept), "SELECT count(*) FROM organizations"), "3", "nothing waits in a log elsewhere");
    assert!(std::fs::read(world.home().join("monday.db")).unwrap() == before, "the backup stays as it is");
    assert_eq!(names(world.home(), ".skills"), [""; 0]);
    world.run("db check --deep").succeeds();
    world.run("config show acme aptem").succeeds().prints(&["15m"]);
    assert_eq!(world.json("db status")["journal_mode"], "wal");
    let noted = text(&world.sql(), "SELECT subject FROM audit_log WHERE action = 'db restore'");
    assert!(noted.ends_with("monday.db"));
    // And back again: what was kept is a database like any other.
    let restored = world.json("db restore skills.db.replaced-20261130T090000Z --confirm skills.db");
    assert_eq!((&restored["organizations"], &restored["was_another"]), (&json!(3), &json!(false)));
    assert!(restored["kept"].as_str().unwrap().ends_with("skills.db.replaced-20261130T090000Z-2"));
    assert_eq!(slugs(&world.db()), "acme,later,umbra");
}

#[test]
fn it_wants_the_name_of_the_database_and_yes_is_not_enough() {
    let world = moved_on();
    world.refused("db restore monday.db", 2).says(&["--confirm skills.db"]);
    world.refused("db restore monday.db --yes", 2);
    world.refused("db restore monday.db --confirm other.db", 2).says(&["other.db"]);
    let shown = world.run("db restore monday.db --dry-run").succeeds();
    shown.prints(&["would be restored", "2 organizations"]).says(&["dry run"]);
    assert_eq!(slugs(&world.db()), "acme,later,umbra");
    assert_eq!(names(world.home(), "skills.db.replaced"), [""; 0]);
    assert_eq!(names(world.home(), ".skills"), [""; 0]);
}

#[test]
fn where_no_database_is_there_is_nothing_to_consent_to() {
    let world = moved_on();
    let fresh = World::empty();
    std::fs::copy(world.home().join("monday.db"), fresh.home().join("monday.db")).unwrap();
    std::fs::copy(world.key(), fresh.key()).unwrap();
    fresh.run("db restore monday.db --db new/place/skills.db").succeeds();
    fresh.run("db check --deep --db new/place/skills.db").succeeds();
    assert_eq!(slugs(&fresh.home().join("new/place/skills.db")), "acme,umbra");
}

#[test]
fn a_wrong_master_key_is_told_before_anything_is_touched() {
    let world = moved_on();
    let other = crate::support::world();
    let key = other.key().display().to_string();
    world.refused(&format!("db restore monday.db --confirm skills.db --key-file {key}"), 8);
    let restored = world.json("db restore monday.db --dry-run");
    assert_eq!(restored["key_fits"], true);
    std::fs::remove_file(world.key()).unwrap();
    world.refused("db restore monday.db --confirm skills.db", 8);
}

#[test]
fn what_is_no_backup_is_refused() {
    let world = moved_on();
    world.refused("db restore nothing.db --confirm skills.db", 5).says(&["no backup"]);
    world.file("text.db", &"this is no database at all, but long enough to be looked at. ".repeat(100));
    world.refused("db restore text.db --confirm skills.db", 12);
    world.file("empty.db", "");
    world.refused("db restore empty.db --confirm skills.db", 12).says(&["is empty"]);
    Connection::open(world.home().join("foreign.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    world.refused("db restore foreign.db --confirm skills.db", 12).says(&["not one of skillsctl"]);
    std::os::unix::fs::symlink("monday.db", world.home().join("link.db")).unwrap();
    world.refused("db restore link.db --confirm skills.db", 12).says(&["links are not followed"]);
    world.refused("db restore skills.db --confirm skills.db", 2).says(&["the database itself"]);
    let newer = world.home().join("newer.db");
    std::fs::copy(world.home().join("monday.db"), &newer).unwrap();
    Connection::open(&newer)
        .unwrap()
        .execute("INSERT INTO refinery_schema_history VALUES (999, 'later', '', '1')", [])
        .unwrap();
    world.refused("db restore newer.db --confirm skills.db --json", 12).says(&["schema_too_new"]);
    assert_eq!(names(world.home(), ".skills"), [""; 0]);
}

#[test]
fn a_damaged_backup_is_refused() {
    let world = moved_on();
    let path = world.home().join("monday.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes
        .windows(11)
        .position(|window| window == b"umbra Ltd\0\0")
        .or_else(|| bytes.windows(9).position(|window| window == b"Org umbra"));
    bytes[place.unwrap() + 2] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    world.refused("db restore monday.db --confirm skills.db", 12).says(&["1 rows of the backup are damaged", "umbra"]);
    let restored = world.json("db restore monday.db --confirm skills.db --allow-damaged");
    assert!(restored["warnings"].to_string().contains("1 rows are damaged"), "{restored}");
    world.run("db check").fails(12).prints(&["organizations umbra"]);
    // Cut in the middle it does not hold together at all.
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    world.refused("db restore monday.db --confirm skills.db --allow-damaged", 12);
}

#[test]
fn a_database_damaged_beyond_reading_is_kept_with_what_waits_in_its_log() {
    let world = moved_on();
    std::fs::write(world.db(), "no database any more").unwrap();
    std::fs::write(world.home().join("skills.db-wal"), "a log").unwrap();
    world.run("db restore monday.db --confirm skills.db").succeeds();
    assert_eq!(slugs(&world.db()), "acme,umbra");
    world.run("db check --deep").succeeds();
    let kept = world.home().join("skills.db.replaced-20261130T090000Z");
    assert_eq!(std::fs::read(&kept).unwrap(), b"no database any more");
    assert_eq!(std::fs::read(kept.with_file_name("skills.db.replaced-20261130T090000Z-wal")).unwrap(), b"a log");
}

#[test]
fn a_database_that_another_program_has_open_is_left_alone() {
    let world = moved_on();
    let shell = Connection::open(world.db()).unwrap();
    shell.query_row("SELECT count(*) FROM organizations", [], |_| Ok(())).unwrap();
    world.run("db restore monday.db --confirm skills.db").fails(11).says(&["another program", "sqlite3"]);
    assert_eq!(text(&shell, "SELECT count(*) FROM organizations"), "3");
    drop(shell);
    world.run("db restore monday.db --confirm skills.db").succeeds();
}

#[test]
fn a_killed_restore_leaves_the_one_database_or_the_other() {
    let world = machine(8_000);
    world.run("db backup old.db").succeeds();
    world.run("org create --name Later --subdomain later --preset bud").succeeds();
    world.run("db backup new.db").succeeds();
    let (mut moved, mut stayed, mut last) = (0, 0, "acme,later,umbra".to_owned());
    let from = |trial: u32| if trial.is_multiple_of(2) { "old.db" } else { "new.db" };
    let killed = killed(
        &world,
        40,
        "skills.db.replaced",
        |trial| format!("db restore {} --confirm skills.db", from(trial)),
        |trial| {
            let now = slugs(&world.db());
            let wanted = if trial.is_multiple_of(2) { "acme,umbra" } else { "acme,later,umbra" };
            assert!(now == wanted || now == last, "trial {trial}: {last} became {now}");
            if now == wanted && last != wanted {
                moved += 1
            } else if last != wanted {
                stayed += 1
            }
            last = now;
            let database = Connection::open(world.db()).unwrap();
            assert_eq!(text(&database, "PRAGMA integrity_check"), "ok", "trial {trial}");
            assert_eq!(text(&database, "SELECT count(*) FROM learners"), "8000", "trial {trial}");
        },
    );
    assert!(killed >= 20 && moved + stayed >= 10, "{killed} killed, {moved} moved, {stayed} stayed");
    // Nothing of it stays, and what was kept are whole databases.
    world.run("db restore old.db --confirm skills.db").succeeds();
    assert_eq!(names(world.home(), ".skills"), [""; 0]);
    for kept in names(world.home(), "skills.db.replaced") {
        assert_eq!(text(&open(&world.home().join(kept)), "PRAGMA integrity_check"), "ok");
    }
    world.run("db check --deep").succeeds();
}
