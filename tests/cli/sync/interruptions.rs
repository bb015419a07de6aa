//! Runs that end before their end: killed, stopped, met by another one, or unable to write.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::lab::{Lab, lab, served};
use crate::sandbox::{Failure, Fault};

const USERS: &str = "/odata/1.0/Users";

/// Starts a sync and returns it once a run of it has stored so many learners and asked for more.
fn started(lab: &Lab, learners: usize) -> Child {
    lab.sandbox.clear_ledger();
    let mut command = lab.world.command("sync acme --json");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let running = |lab: &Lab| lab.outcomes("acme").last().is_some_and(|outcome| outcome == "running");
    while !running(lab) || lab.rows("acme", "learners").len() < learners {
        assert!(Instant::now() < until, "the sync stores nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(150));
    child
}

/// Returns a fault that holds the page after so many ones up.
fn slow(pages: usize, milliseconds: u64) -> Fault {
    Fault::new(Failure::Delay(Duration::from_millis(milliseconds))).on_path(USERS).after(pages)
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Returns an organization of 60 learners in pages of five.
fn paged() -> Lab {
    let lab = lab(60, 5);
    lab.organization("acme", "aptem");
    lab.run("override set acme aptem page_size=5").succeeds();
    lab
}

#[test]
fn a_killed_run_goes_on_at_its_page_and_ends_as_if_undisturbed() {
    let lab = paged();
    let mut read = vec![0];
    // Killed while it waits for a page, each time a little further on.
    for pages in [0, 1, 3, 3] {
        lab.sandbox.fail("aptem", slow(pages, 600));
        let before = read.last().unwrap();
        let mut child = started(&lab, before + 5 * pages);
        child.kill().unwrap();
        child.wait().unwrap();
        read.push(lab.rows("acme", "learners").len());
        // The request that was under way is answered into the void.
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(read.iter().all(|rows| rows % 5 == 0) && read.is_sorted(), "whole pages are kept: {read:?}");
    let kept = *read.last().unwrap();
    assert!((35..60).contains(&kept), "{read:?}");
    lab.sandbox.clear_ledger();
    let report = lab.sync("acme", 0);
    let mut entries = lab.asked("aptem", "acme");
    entries.retain(|entry| entry.path.starts_with(USERS));
    let left = (60 - kept, &json!(60 - kept + 5));
    assert_eq!((served(&entries).len(), &report["total"]["inserted"]), left, "what was read is not read again");
    assert_eq!(lab.outcomes("acme"), ["interrupted", "interrupted", "interrupted", "interrupted", "ok"]);

    let undisturbed = lab.neighbour();
    undisturbed.organization("acme", "aptem");
    undisturbed.sync("acme", 0);
    for table in ["learners", "employers"] {
        assert_eq!(lab.rows("acme", table), undisturbed.rows("acme", table));
    }
    // Nobody was taken for deleted, and the next full read finds nothing to do.
    let report = lab.sync("acme --full", 0);
    assert_eq!((&report["total"]["unchanged"], &report["total"]["deleted"]), (&json!(65), &json!(0)));
}

#[test]
fn a_kill_at_any_moment_of_a_second_read_loses_no_change() {
    let mut lab = paged();
    lab.sync("acme", 0);
    lab.sandbox.change("aptem", "acme", 40);
    lab.sandbox.remove("aptem", "acme", 4);
    lab.later(0);
    for moment in [40, 55, 70, 85, 100, 120, 140] {
        let mut command = lab.world.command("sync acme --full");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let damaged = lab.texts("PRAGMA integrity_check");
        assert_eq!(damaged, ["ok"]);
    }
    lab.sync("acme --full", 0);
    let undisturbed = lab.neighbour();
    undisturbed.organization("acme", "aptem");
    undisturbed.sync("acme", 0);
    let mut rows = lab.rows("acme", "learners");
    rows.retain(|_, row| row.live());
    assert_eq!(rows, undisturbed.rows("acme", "learners"));
}

#[test]
fn ctrl_c_keeps_what_was_read_and_says_interrupted() {
    for (name, exit) in [("-INT", 130), ("-TERM", 143)] {
        let lab = paged();
        lab.sandbox.fail("aptem", slow(3, 600));
        let child = started(&lab, 15);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(exit));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["interrupted"], lab.outcomes("acme")), (&json!(1), vec!["interrupted".to_owned()]));
        let stored = lab.live("acme", "learners");
        assert!((15..=20).contains(&stored), "{stored}");
        lab.sandbox.clear_ledger();
        lab.sync("acme", 0);
        let mut entries = lab.asked("aptem", "acme");
        entries.retain(|entry| entry.path.starts_with(USERS));
        assert_eq!((served(&entries).len(), lab.live("acme", "learners")), (60 - stored, 60));
    }
}

#[test]
fn a_second_run_of_the_same_pair_stands_back() {
    let lab = paged();
    lab.sandbox.fail("aptem", slow(2, 3000));
    let first = started(&lab, 10);
    let asked = lab.sandbox.ledger("aptem").len();
    let report = lab.sync("acme", 11);
    assert_eq!((&report["already_running"], &report["runs"][0]["run"]), (&json!(1), &json!(null)));
    assert!(lab.sandbox.ledger("aptem").len() <= asked + 1);
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!((lab.live("acme", "learners"), lab.outcomes("acme")), (60, vec!["ok".to_owned()]));
}

#[test]
fn a_page_that_cannot_be_written_moves_no_progress() {
    let lab = paged();
    let victim = lab.sandbox.ids("aptem", "acme", crate::sandbox::Kind::Learner)[22].clone();
    let database = rusqlite::Connection::open(lab.world.db()).unwrap();
    database
        .execute_batch(&format!(
            "CREATE TRIGGER full_disk BEFORE INSERT ON learners WHEN NEW.external_key = '{victim}'
             BEGIN SELECT RAISE(ABORT, 'no room'); END"
        ))
        .unwrap();
    let ended = lab.run("sync acme");
    assert!(matches!(ended.exit, 1 | 12), "{ended}");
    assert_eq!((lab.live("acme", "learners"), lab.outcomes("acme")), (20, vec!["failed".to_owned()]));
    database.execute_batch("DROP TRIGGER full_disk").unwrap();
    lab.sandbox.clear_ledger();
    lab.sync("acme", 0);
    assert_eq!(lab.live("acme", "learners"), 60);
    assert_eq!(served(&lab.asked("aptem", "acme")).len(), 40 + 5);
}
