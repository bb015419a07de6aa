//! `db backup`.

use std::os::unix::fs::PermissionsExt as _;

use super::{SENTINEL, killed, machine, names, open, text};

#[test]
fn a_backup_is_one_private_file_that_holds_everything_but_the_key() {
    let world = machine(2_000);
    let ended = world.run("db backup copies.db").succeeds();
    ended
        .prints(&["copies.db", "2 organizations", "2000 learners", "2 sealed credentials"])
        .says(&["need the master key"]);
    let path = world.home().join("copies.db");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(world.home(), "copies.db"), ["copies.db"]);
    assert_eq!(names(world.home(), ".copies"), [""; 0]);
    let copy = open(&path);
    assert_eq!(text(&copy, "PRAGMA integrity_check"), "ok");
    assert_eq!(text(&copy, "PRAGMA journal_mode"), "delete");
    for sql in [
        "SELECT value FROM meta WHERE key = 'database_id'",
        "SELECT count(*) || sum(length(last_name)) FROM learners",
        "SELECT group_concat(hex(sealed)) FROM organization_credentials",
    ] {
        assert_eq!(text(&copy, sql), text(&world.sql(), sql), "{sql}");
    }
    let bytes = std::fs::read(&path).unwrap();
    let key = std::fs::read_to_string(world.key()).unwrap();
    for secret in [SENTINEL, key.split(' ').nth(1).unwrap()] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    world.run("db check --db copies.db --deep").succeeds().prints(&["sound", "all 2 credentials open"]);
}

#[test]
fn scripts_are_told_what_is_in_it() {
    let world = machine(3);
    std::fs::create_dir(world.home().join("daily")).unwrap();
    let made = world.json("db backup daily");
    assert!(made["path"].as_str().unwrap().ends_with("daily/skills-20261130T090000Z.db"));
    assert_eq!((&made["learners"], &made["credentials"]), (&3.into(), &2.into()));
    assert_eq!(made["key_id"].as_str().unwrap().len(), 16);
    assert_eq!(made["warnings"], serde_json::json!([]));
    let actions =
        text(&world.sql(), "SELECT group_concat(action || ' ' || actor) FROM audit_log WHERE action LIKE 'db%'");
    assert_eq!(actions, "db backup admin");
}

#[test]
fn nothing_is_overwritten_unless_asked_and_links_never() {
    let world = machine(1);
    let there = world.file("there.db", "precious");
    world.run("db backup there.db --json").fails(6).says(&["file_exists", "--force"]);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "precious");
    world.run("db backup there.db --force").succeeds();
    assert_eq!(text(&open(&there), "PRAGMA quick_check"), "ok");
    let victim = world.file("victim", "precious");
    std::os::unix::fs::symlink(&victim, world.home().join("link.db")).unwrap();
    std::os::unix::fs::symlink(world.home().join("nowhere"), world.home().join("dangling.db")).unwrap();
    for line in ["db backup link.db", "db backup link.db --force", "db backup dangling.db --force"] {
        world.refused(line, 12).says(&["links are not followed"]);
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert!(!world.home().join("nowhere").exists());
    for own in ["skills.db", "./skills.db", "skills.db-wal", "skills.db-shm"] {
        world.refused(&format!("db backup {own} --force"), 12).says(&["belongs to the database"]);
    }
    std::fs::hard_link(world.db(), world.home().join("other-name.db")).unwrap();
    world.refused("db backup other-name.db --force", 12).says(&["another name of the database"]);
    world.refused("db backup no/such/folder.db", 12).says(&["cannot be written"]);
    world.refused("db backup x.db --dry-run", 2);
}

#[test]
fn a_killed_backup_leaves_a_whole_one_or_none() {
    let world = machine(20_000);
    let learners = text(&world.sql(), "SELECT count(*) || sum(length(last_name)) FROM learners");
    let (mut whole, mut none) = (0, 0);
    let killed = killed(
        &world,
        40,
        ".copy",
        |trial| format!("db backup copy{trial}.db"),
        |trial| {
            let path = world.home().join(format!("copy{trial}.db"));
            if path.exists() {
                whole += 1;
                let copy = open(&path);
                assert_eq!(text(&copy, "PRAGMA integrity_check"), "ok");
                assert_eq!(text(&copy, "SELECT count(*) || sum(length(last_name)) FROM learners"), learners);
                drop(copy);
                std::fs::remove_file(path).unwrap();
            } else {
                none += 1;
            }
        },
    );
    assert!(killed >= 20 && none >= 10 && whole >= 1, "{killed} killed, {none} left none, {whole} a whole one");
    assert_eq!(text(&world.sql(), "PRAGMA integrity_check"), "ok");
}

#[test]
fn what_killed_backups_left_is_removed_by_the_next_one() {
    let world = machine(1);
    for left in [".copy.db.Xy12.unfinished", ".copy.db.Xy12.unfinished-wal", ".copy.db.Xy12.unfinished-journal"] {
        world.file(left, "half");
    }
    world.file(".other.db.Xy12.unfinished", "of another place");
    world.run("db backup copy.db").succeeds();
    assert_eq!(names(world.home(), ".copy"), [""; 0]);
    assert_eq!(names(world.home(), ".other").len(), 1);
}
