//! Several syncs at once, and a database that another process writes to.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::crowd::{Crowd, PAGE, accounts, crowd};

fn start(crowd: &Crowd, line: &str) -> Child {
    let mut command = crowd.world.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Returns a crowd and a sync that is in the middle of its one slow organization.
fn under_way() -> (Crowd, Child) {
    let crowd = crowd(&["slow-0001".to_owned()]);
    let child = start(&crowd, "sync slow-0001");
    crowd.until("under way", |crowd| crowd.rows("slow-0001").len() >= PAGE as usize);
    (crowd, child)
}

#[test]
fn many_syncs_at_once_run_each_pair_once_in_a_slot() {
    let mut crowd = crowd(&accounts("well", 12));
    for (slot, processes) in [2, 8, 32].into_iter().enumerate() {
        crowd.later(120 * i64::try_from(slot).unwrap());
        let children: Vec<Child> = (0..processes).map(|_| start(&crowd, "sync --all --json")).collect();
        for child in children {
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!((ended.status.code(), said.as_str()), (Some(0), ""));
        }
        let outcomes = crowd.outcomes();
        assert_eq!(outcomes.len(), 12);
        for (slug, outcomes) in outcomes {
            assert_eq!(outcomes, vec!["ok"; slot + 1], "{slug}, {processes} processes");
        }
    }
    for slug in accounts("well", 12) {
        assert_eq!(crowd.rows(&slug).len(), 2 * PAGE as usize);
    }
    assert_eq!(crowd.texts("PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn a_named_sync_that_meets_a_running_one_says_who_is_at_it() {
    let (crowd, child) = under_way();
    let pid = child.id();
    let ended = crowd.world.run("sync slow-0001").fails(11);
    ended.says(&["already running slow-0001/crowd: process ", &format!(" {pid} on "), " since 2026-11-30T09:00:00Z"]);
    let report = crowd.world.run("sync slow-0001 --json").fails(11).json();
    assert_eq!(
        (&report["already_running"], &report["runs"][0]["error"]["code"]),
        (&1.into(), &"already_running".into())
    );
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(crowd.outcomes()["slow-0001"], ["ok"]);
}

#[test]
fn a_run_longer_than_its_interval_is_passed_over_and_not_piled_up() {
    let (mut crowd, child) = under_way();
    for minutes in [120, 240] {
        crowd.later(minutes);
        let status = crowd.world.json("status slow-0001");
        assert!(status.to_string().contains("\"running\""), "{status}");
        crowd.world.run("sync --all").succeeds().says(&["1 due: 1 already running; "]);
    }
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(crowd.outcomes()["slow-0001"], ["ok"]);
    crowd.world.run("sync --all").succeeds().says(&["1 due: 1 ok; "]);
}

#[test]
fn a_writer_that_holds_the_database_for_a_while_is_waited_for() {
    for seconds in [1, 4] {
        let (crowd, child) = under_way();
        let mut other = Connection::open(crowd.world.db()).unwrap();
        let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        std::thread::sleep(Duration::from_secs(seconds));
        drop(tx);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(crowd.rows("slow-0001").len(), 20 * PAGE as usize);
    }
}

#[test]
fn a_database_that_stays_locked_ends_the_sync_once_and_loses_nothing() {
    let mut all = accounts("slow", 4);
    all.extend(accounts("well", 4));
    let crowd = crowd(&all);
    let child = start(&crowd, "sync --all --jobs 4 --json");
    crowd.until("under way", |crowd| crowd.rows("slow-0004").len() >= PAGE as usize);
    let mut other = Connection::open(crowd.world.db()).unwrap();
    let tx = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let began = Instant::now();
    let ended = child.wait_with_output().unwrap();
    // Once for all runs, not once for each of them and once more for its log.
    assert!((4..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(11), "{said}");
    assert!(said.contains(r#""code":"database_locked""#), "{said}");
    drop(tx);

    let status = crowd.world.json("status");
    assert!(!status.to_string().contains("\"running\""), "{status}");
    crowd.world.run("sync --all --force").succeeds();
    for slug in &all {
        let pages = if slug.starts_with("slow") { 20 } else { 2 };
        assert_eq!(crowd.rows(slug).len(), pages * PAGE as usize);
    }
    for pages in ["slow-0001", "slow-0004"] {
        let asked = crowd.served().into_iter().filter(|(account, target)| account == pages && target.contains("/all"));
        let count = asked.count();
        assert!(count <= 26, "what was stored is not read again: {count} pages");
    }
}

#[test]
fn a_sync_whose_terminal_is_gone_leaves_no_run_that_seems_to_run() {
    let (crowd, mut child) = under_way();
    let sent = std::process::Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert!(!child.wait().unwrap().success());
    let status = crowd.world.json("status slow-0001");
    assert!(status.to_string().contains("\"interrupted\""), "{status}");
    crowd.world.run("log list").succeeds().prints(&["interrupted"]);
    crowd.world.run("sync slow-0001").succeeds();
    assert_eq!(crowd.outcomes()["slow-0001"], ["interrupted", "ok"]);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let crowd = crowd(&["hole-0001".to_owned()]);
    let mut child = start(&crowd, "sync hole-0001");
    crowd.until("under way", |crowd| !crowd.outcomes().is_empty());
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    for _ in 0..2 {
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(crowd.world.json("status hole-0001").to_string().contains("\"interrupted\""));
}

#[test]
fn output_that_nobody_reads_ends_no_sync_early() {
    let crowd = crowd(&accounts("well", 3));
    let binary = env!("CARGO_BIN_EXE_skillsctl");
    for (number, line) in
        ["--json | true", ">&- 2>&- <&-", "2>&1 | true", "--json | head -c 5 >/dev/null"].iter().enumerate()
    {
        let mut shell = crowd.world.program("/bin/sh");
        let ended = shell.args(["-c", &format!("{binary} sync --all --force {line}")]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!said.contains("panicked"), "{line}: {said}");
        crowd.until("synced", |crowd| {
            let outcomes = crowd.outcomes();
            outcomes.len() == 3 && outcomes.values().all(|outcomes| outcomes[..] == vec!["ok"; number + 1])
        });
    }
}
