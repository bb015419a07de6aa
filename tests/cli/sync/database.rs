//! The database looked after while a sync writes to it.

use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;

use super::lab::{Lab, lab};
use crate::sandbox::{Failure, Fault};

/// Returns an organization of 60 learners in pages of five, each of which takes a while.
fn slow() -> Lab {
    let lab = lab(60, 5);
    lab.organization("acme", "aptem");
    lab.run("override set acme aptem page_size=5").succeeds();
    lab.sandbox
        .fail("aptem", Fault::new(Failure::Delay(Duration::from_millis(300))).on_path("/odata/1.0/Users").times(12));
    lab
}

#[test]
fn a_backup_beside_a_running_sync_holds_whole_pages_and_the_sync_goes_on() {
    let lab = slow();
    let mut command = lab.world.command("sync acme --json");
    let sync = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut counts = Vec::new();
    for number in 0..12 {
        let made = lab.world.json(&format!("db backup copy{number}.db"));
        let copy = Connection::open(lab.world.home().join(format!("copy{number}.db"))).unwrap();
        let count: i64 = copy.query_row("SELECT count(*) FROM learners", [], |row| row.get(0)).unwrap();
        assert_eq!((made["learners"].as_i64(), count % 5), (Some(count), 0));
        let sound: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        counts.push(count);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert!(sync.wait_with_output().unwrap().status.success());
    assert!(counts.is_sorted() && counts.iter().any(|count| (1..60).contains(count)), "{counts:?}");
    assert_eq!(lab.live("acme", "learners"), 60);
}

#[test]
fn a_restore_under_a_running_sync_is_refused() {
    let lab = slow();
    lab.run("db backup before.db").succeeds();
    let mut command = lab.world.command("sync acme --json");
    let mut sync = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lab.rows("acme", "learners").is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    // One that would take as long as the refusal waits is held for the while.
    lab.sandbox.fail("aptem", Fault::new(Failure::Delay(Duration::from_secs(8))).on_path("/odata/1.0/Users").times(1));
    let process = format!("by process {}", sync.id());
    lab.run("db restore before.db --confirm skills.db --json").fails(11).says(&["database_in_use", &process]);
    sync.kill().unwrap();
    sync.wait().unwrap();
    assert!(!lab.rows("acme", "learners").is_empty());
    lab.run("db restore before.db --confirm skills.db").succeeds();
    assert!(lab.rows("acme", "learners").is_empty());
}
