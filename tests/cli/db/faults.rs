//! No rights, no room, and files that are not what they seem.

use std::os::unix::fs::{lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use super::{machine, names, open, text};
use crate::support::{NOBODY, World, chmod, skipped};

#[test]
fn a_database_that_cannot_be_written_can_be_read() {
    let world = machine(3);
    chmod(world.home(), 0o755);
    chmod(&world.db(), 0o644);
    let before = (std::fs::read(world.db()).unwrap(), names(world.home(), "skills.db"));
    for line in ["org list", "status", "db status", "db check", "config show acme aptem", "record list acme learners"] {
        let Some((exit, stdout, stderr)) = world.as_nobody(line) else { return };
        assert_eq!(exit, 0, "{line}: {stderr}");
        assert!(stdout.contains("acme") || stdout.contains("sound") || !stdout.is_empty(), "{line}: {stdout}");
    }
    let (exit, _, stderr) = world.as_nobody("org suspend acme --json").unwrap();
    assert!(exit == 12 && stderr.contains("database_read_only"), "{exit} {stderr}");
    let (exit, _, stderr) = world.as_nobody("db restore skills.db --confirm skills.db").unwrap();
    assert_ne!(exit, 0, "{stderr}");
    assert!((std::fs::read(world.db()).unwrap(), names(world.home(), "skills.db")) == before, "nothing was created");
    // A backup goes where there are rights.
    let place = world.home().join("place");
    std::fs::create_dir(&place).unwrap();
    chmod(&place, 0o777);
    let (exit, _, stderr) = world.as_nobody("db backup place/copy.db").unwrap();
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(text(&open(&place.join("copy.db")), "SELECT count(*) FROM learners"), "3");
    let (exit, _, stderr) = world.as_nobody("db backup here.db").unwrap();
    assert!(exit == 12 && stderr.contains("cannot be written"), "{exit} {stderr}");
}

#[test]
fn a_database_that_cannot_be_read_is_told_and_left() {
    let world = machine(1);
    chmod(world.home(), 0o755);
    let Some((exit, _, stderr)) = world.as_nobody("org list --json") else { return };
    assert!(exit == 12 && stderr.contains("database_unreadable"), "{exit} {stderr}");
    chmod(world.home(), 0o700);
}

#[test]
fn changes_that_wait_in_a_log_are_not_left_out_by_those_who_cannot_read_it() {
    let world = machine(1);
    chmod(world.home(), 0o755);
    let writer = world.sql();
    writer.execute("UPDATE organizations SET name = 'Only in the log' WHERE slug = 'acme'", []).unwrap();
    // The log keeps the rights it was made with.
    chmod(&world.db(), 0o644);
    let Some((exit, stdout, stderr)) = world.as_nobody("org list --json") else { return };
    assert!(exit == 12 && stdout.is_empty(), "an older state is no answer: {exit} {stdout} {stderr}");
}

#[test]
fn an_older_schema_that_cannot_be_migrated_is_told() {
    let world = World::empty();
    let database = Connection::open(world.db()).unwrap();
    database.execute_batch(include_str!("../../fixtures/schema_1.sql")).unwrap();
    drop(database);
    chmod(world.home(), 0o755);
    chmod(&world.db(), 0o644);
    let Some((exit, _, stderr)) = world.as_nobody("org list --json") else { return };
    assert!(exit == 12 && stderr.contains("database_read_only") && stderr.contains("db migrate"), "{exit} {stderr}");
    let (exit, stdout, stderr) = world.as_nobody("db status --json").unwrap();
    assert!(exit == 0 && stdout.contains("\"read_only\":true"), "{exit} {stdout} {stderr}");
}

/// Runs a line with no file allowed to grow beyond so many KiB.
fn with_room(world: &World, kib: usize, line: &str) -> (i32, String) {
    let own = world.command(line);
    let mut command = world.program("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
    command.arg("-c").arg(script).arg(own.get_program()).args(own.get_args());
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn no_room_for_a_backup_or_a_restore_leaves_all_as_it_was() {
    let world = machine(2_000);
    world.run("db backup good.db").succeeds();
    let size = usize::try_from(world.home().join("good.db").metadata().unwrap().len()).unwrap() / 1024;
    let before = world.database();
    for part in [0, 1, 3, 6, 9] {
        let room = size * part / 10;
        for line in ["db backup copy.db --json", "db restore good.db --confirm skills.db --json"] {
            let (exit, stderr) = with_room(&world, room, line);
            assert_eq!(exit, 12, "{line} with {room} KiB: {stderr}");
        }
        assert!(world.database() == before, "with {room} KiB");
        assert_eq!(names(world.home(), "copy"), [""; 0]);
        assert_eq!(names(world.home(), ".skills"), [""; 0], "with {room} KiB");
        assert_eq!(names(world.home(), "skills.db.replaced"), [""; 0]);
    }
    world.run("db backup copy.db").succeeds();
}

/// A file system of its own with so much room, unmounted when dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(folder: &Path, size: &str) -> Option<Small> {
        std::fs::create_dir(folder).unwrap();
        let option = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(folder).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            skipped("no file system can be mounted here");
            return None;
        }
        Some(Small(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_is_told_and_after_it_all_goes_on() {
    let world = machine(2_000);
    let Some(small) = Small::mount(&world.home().join("small"), "400k") else { return };
    world.run("db backup small/copy.db --json").fails(12).says(&["disk_full"]);
    assert_eq!(names(&small.0, ""), [""; 0]);
    // The database itself on a full disk: refused, unharmed, and well again when there is room.
    let tiny = machine(0);
    tiny.run("db backup tiny.db").succeeds();
    std::fs::copy(tiny.home().join("tiny.db"), small.0.join("skills.db")).unwrap();
    let line = "org suspend acme --db small/skills.db --json";
    world.run("org list --db small/skills.db").succeeds();
    std::fs::write(small.0.join("filler"), vec![0_u8; 2_000_000]).unwrap_err();
    world.run(line).fails(12).says(&["disk_full"]);
    std::fs::remove_file(small.0.join("filler")).unwrap();
    world.run("org suspend umbra --db small/skills.db").succeeds();
    world.run("db check --db small/skills.db").succeeds();
}

#[test]
fn a_read_only_file_system_can_be_read_and_refuses_changes() {
    let world = machine(2);
    let Some(small) = Small::mount(&world.home().join("small"), "4m") else { return };
    world.run("db backup small/skills.db").succeeds();
    // As a database in use is: with a write-ahead log, which is empty.
    world.run("org list --db small/skills.db").succeeds();
    let remount = |mode: &str| {
        let option = format!("remount,{mode}");
        assert!(Command::new("mount").args(["-o", &option]).arg(&small.0).status().unwrap().success());
    };
    remount("ro");
    for line in ["org list", "status acme", "db status", "db check --deep"] {
        world.run(&format!("{line} --db small/skills.db")).succeeds();
    }
    world.run("db backup out.db --db small/skills.db").succeeds();
    for line in ["org suspend acme", "db restore out.db --confirm skills.db"] {
        world.run(&format!("{line} --db small/skills.db")).fails(12);
    }
    world.run("db backup small/more.db").fails(12);
    remount("rw");
    world.run("org suspend acme --db small/skills.db").succeeds();
}

#[test]
fn a_link_in_the_place_of_a_lock_is_not_followed() {
    let world = machine(1);
    std::fs::remove_dir_all(world.home().join("skills.db.locks")).unwrap();
    let victim = world.home().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::os::unix::fs::symlink(&victim, world.home().join("skills.db.locks")).unwrap();
    world.refused("org list --json", 12).says(&["locks_not_a_folder"]);
    assert_eq!(names(&victim, ""), [""; 0]);
}

#[test]
fn a_link_in_the_place_of_a_log_is_not_followed() {
    let world = machine(1);
    for suffix in ["-wal", "-shm", "-journal"] {
        let victim = world.file("victim", "precious, and longer than the head of a log would be");
        let link = world.home().join(format!("skills.db{suffix}"));
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        for line in ["org list --json", "org suspend acme --json", "db check --json", "db backup x.db --json"] {
            world.run(line).fails(12).says(&["database_not_a_file"]);
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious, and longer than the head of a log would be");
        std::fs::remove_file(link).unwrap();
    }
    world.run("db check").succeeds();
}

#[test]
fn a_folder_that_everybody_may_write_to_holds_no_database() {
    let world = machine(1);
    let open = world.home().join("open");
    std::fs::create_dir(&open).unwrap();
    chmod(&open, 0o777);
    std::fs::copy(world.db(), open.join("skills.db")).unwrap();
    for line in [
        "org list --db open/skills.db",
        "init --db open/new.db --key-file open/new.key",
        "org suspend acme --db open/skills.db",
    ] {
        world.run(&format!("{line} --json")).fails(12).says(&["database_folder_unsafe", "chmod o-w"]);
    }
    assert!(!open.join("new.db").exists());
    // As in /tmp, where nobody can take away what is another's.
    chmod(&open, 0o1777);
    world.run("org list --db open/skills.db").succeeds();
}

#[test]
fn what_another_user_plants_is_not_followed() {
    let world = machine(1);
    let open = world.home().join("shared");
    std::fs::create_dir(&open).unwrap();
    chmod(world.home(), 0o755);
    chmod(&open, 0o1777);
    let victim = world.file("victim", "precious");
    let at = |name: &str| open.join(name).display().to_string();
    let plant = |name: &str| {
        symlink(&victim, open.join(name)).unwrap();
        lchown(open.join(name), Some(NOBODY), Some(NOBODY)).is_ok()
    };
    if !plant("new.db") {
        skipped("nothing can be planted by another user here");
        return;
    }
    for name in ["key", "copy.db", "skills.db", "skills.db-wal", "skills.db.locks", "other.db-wal", "other.db.locks"] {
        assert!(plant(name), "{name}");
    }
    let refused = |line: &str| {
        let ended = world.run(line);
        assert!(ended.exit == 12 || ended.exit == 6 || ended.exit == 8 || ended.exit == 7, "{line}: {ended}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{line}");
    };
    refused(&format!("init --db {} --key-file {}", at("new.db"), at("fresh.key")));
    refused(&format!("init --db {} --key-file {}", at("fresh.db"), at("key")));
    refused(&format!("db backup {}", at("copy.db")));
    refused(&format!("db backup {} --force", at("copy.db")));
    refused(&format!("org list --db {}", at("skills.db")));
    std::fs::copy(world.db(), open.join("other.db")).unwrap();
    refused(&format!("org suspend acme --db {}", at("other.db")));
    refused(&format!("org list --key-file {}", at("key")).replace("org list", "credential test acme"));
    assert_eq!(std::fs::metadata(&victim).unwrap().len(), 8);
}
