//! Many organizations at once: fair to each other, bounded, ended in time, and gone on with.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::crowd::{Crowd, PAGE, accounts, crowd};

/// Returns the report of a sync that ends with this code.
fn sync(crowd: &Crowd, arguments: &str, exit: i32) -> Value {
    crowd.world.run(&format!("sync {arguments} --json")).fails(exit).json()
}

#[test]
fn five_broken_providers_cost_thirty_five_good_ones_nothing() {
    let bad = ["hole-a", "loris-a", "broken-a", "limited-a", "refused-a"];
    // They come first: with two jobs, and a job kept by each until it has failed, nobody else would have a turn.
    let mut all: Vec<String> = bad.iter().map(|name| (*name).to_owned()).collect();
    all.extend(accounts("well", 35));
    let crowd = crowd(&all);
    let mut command = crowd.world.command("sync --all --jobs 2");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let well = |crowd: &Crowd| {
        let ended = crowd.outcomes();
        ended.iter().filter(|(slug, outcomes)| slug.starts_with("well") && outcomes[..] == ["ok"]).count()
    };
    crowd.until("35 ok", |crowd| well(crowd) == 35);
    let outcomes = crowd.outcomes();
    assert_eq!(["hole-a", "loris-a"].map(|slug| outcomes[slug][0].as_str()), ["running"; 2], "the good did not wait");

    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains(" 40 due: 35 ok, 4 failed, 1 deferred; "), "{said}");
    for name in bad {
        assert!(said.contains(&format!("{name}/crowd: ")), "{name}: {said}");
    }
    let outcomes = crowd.outcomes();
    assert!(outcomes.values().all(|outcomes| outcomes.len() == 1), "one row for each run: {outcomes:?}");

    let undisturbed = self::crowd(&accounts("well", 35));
    sync(&undisturbed, "--all", 0);
    for slug in accounts("well", 35) {
        assert_eq!(crowd.rows(&slug).len(), 2 * PAGE as usize);
        assert_eq!(crowd.rows(&slug), undisturbed.rows(&slug), "{slug}");
    }
}

#[test]
fn time_that_is_over_keeps_every_position_and_the_rest_comes_first_next_time() {
    let mut all = vec!["slow-0001".to_owned()];
    all.extend(accounts("well", 3));
    let mut crowd = crowd(&all);
    // The slow one has waited longest: the others have been synced before.
    crowd.world.run("org suspend slow-0001").succeeds();
    sync(&crowd, "--all", 0);
    crowd.world.run("org resume slow-0001").succeeds();
    crowd.later(120);
    let report = sync(&crowd, "--all --jobs 1 --max-runtime 1s", 3);
    let told = ["ok", "deferred", "not_begun", "failed"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(told, [0, 1, 3, 0], "{report}");
    assert_eq!(report["runs"][0]["error"]["code"], "out_of_time");
    let kept = crowd.rows("slow-0001").len();
    assert!(
        kept >= PAGE as usize && kept < 20 * PAGE as usize && kept.is_multiple_of(PAGE as usize),
        "whole pages: {kept}"
    );

    // Again at once: it is due, but the others began longer ago.
    let before = crowd.served().len();
    crowd.later(121);
    let ended = crowd.world.run("sync --all --jobs 1 --max-runtime 2s").fails(3);
    ended.says(&["4 due: 3 ok, 1 deferred; ", "deferred slow-0001/crowd: the time given by --max-runtime was over"]);
    let served = &crowd.served()[before..];
    let position = served.iter().position(|(account, _)| account == "slow-0001").unwrap();
    assert!(served[position..].iter().all(|(account, _)| account == "slow-0001"), "{served:?}");
    assert!(served[position].1.ends_with(&format!("after={kept}")), "goes on where it was: {:?}", served[position]);

    crowd.later(122);
    assert_eq!(sync(&crowd, "--all", 0)["ok"], 1);
    assert_eq!(crowd.rows("slow-0001").len(), 20 * PAGE as usize);
    assert_eq!(crowd.outcomes()["slow-0001"], ["deferred", "deferred", "ok"]);
}

#[test]
fn a_provider_that_does_not_answer_does_not_hold_up_the_end() {
    let crowd = crowd(&["hole-0001".to_owned()]);
    crowd.patience("10m");
    let began = Instant::now();
    let report = sync(&crowd, "--all --max-runtime 1s", 3);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(report["runs"][0]["error"]["code"], "out_of_time", "{report}");
}

#[test]
fn no_time_at_all_begins_nothing_and_says_how_much_is_left() {
    let crowd = crowd(&accounts("well", 3));
    let report = sync(&crowd, "--all --max-runtime 0s", 3);
    assert_eq!((&report["not_begun"], &report["runs"]), (&json!(3), &json!([])));
    crowd.world.run("sync --all --max-runtime 0s").fails(3).says(&["3 due: 3 not begun; "]);
    assert_eq!(crowd.served(), []);
    assert_eq!(sync(&crowd, "--all", 0)["ok"], 3);
}

#[test]
fn what_has_waited_longest_begins_first() {
    let mut crowd = crowd(&accounts("well", 4));
    for (minutes, place) in [(0, 3), (5, 1), (10, 4)] {
        crowd.later(minutes);
        sync(&crowd, &format!("well-000{place}"), 0);
    }
    crowd.later(240);
    let report = sync(&crowd, "--all --jobs 1", 0);
    let order: Vec<&str> =
        report["runs"].as_array().unwrap().iter().map(|run| run["organization"].as_str().unwrap()).collect();
    assert_eq!(order, ["well-0002", "well-0003", "well-0001", "well-0004"]);
}

#[test]
fn three_hundred_organizations_need_few_files_and_few_threads() {
    let crowd = crowd(&accounts("well", 300));
    let mut shell = crowd.world.program("/bin/sh");
    let line = format!("ulimit -n 64; exec {} sync --all --jobs 4", env!("CARGO_BIN_EXE_skillsctl"));
    let mut child = shell.args(["-c", &line]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut threads, mut samples) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let word = text.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap_or_default();
        threads = threads.max(word.trim().parse().unwrap_or(0));
        samples += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.contains(" 300 due: 300 ok; "), "{said}");
    // Four runs for each job have begun at most, each with a thread that fetches and one that writes.
    assert!(samples > 10 && (5..=40).contains(&threads), "{threads} threads in {samples} samples");
}

#[test]
fn cron_with_nothing_in_its_environment_and_the_root_for_its_folder() {
    let crowd = crowd(&accounts("well", 2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_skillsctl"));
    command.env_clear().current_dir("/").stdin(Stdio::null());
    command.arg("--db").arg(crowd.world.db()).arg("--key-file").arg(crowd.world.key()).args(["sync", "--all"]);
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(0), &b""[..]), "{said}");
    assert!(said.contains(" 2 due: 2 ok; 40 new; ") && said.lines().count() == 1, "{said}");
}
