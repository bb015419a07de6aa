//! Persons who are erased while they are being synced, and after it.

use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::json;

use super::demo::{KEY, demo, page};
use super::lab::{Lab, Server, counts};
use crate::support::Ended;

/// A provider with three pages of a learner each. The second holds the first one's learner once more, as a page may that was
/// asked for before somebody was erased; it is answered once the erasure is through. Returns how the sync and the erasure
/// ended.
fn erased_between_pages(mutant: Option<&str>) -> (Lab, Ended) {
    let (asked, is_asked) = channel();
    let (go, may_go) = channel();
    let server = Server::start(move |request| match request.target.as_str() {
        "/learners" => page(1, 3),
        "/learners?after=2" => {
            asked.send(()).unwrap();
            may_go.recv_timeout(Duration::from_secs(60)).unwrap();
            (200, Vec::new(), json!({"items": [{"learner_id": "L1"}, {"learner_id": "L2"}], "next": "3"}).to_string())
        }
        "/learners?after=3" => page(3, 3),
        _ => (200, Vec::new(), json!({"items": []}).to_string()),
    });
    let lab = demo(&server, KEY, "{}", "{settings.api_url}");
    lab.credential("acme", "aptem", "api_key", "demo-key");
    let mut command = lab.world.command("sync acme --json");
    command.envs(mutant.map(|mutant| ("SKILLSCTL_TEST_MUTANT", mutant)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while lab.live("acme", "learners") < 1 {
        assert!(Instant::now() < until, "the first page is not stored");
        std::thread::sleep(Duration::from_millis(5));
    }
    let erased = lab.run("record erase acme --learner L1 --confirm L1").succeeds();
    go.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (lab, erased)
}

fn keys(lab: &Lab) -> Vec<String> {
    lab.texts("SELECT external_key FROM learners ORDER BY external_key")
}

#[test]
fn a_sync_under_way_brings_nobody_back_who_is_erased_meanwhile() {
    let (lab, erased) = erased_between_pages(None);
    erased.says(&["a sync of aptem is under way"]);
    assert_eq!(keys(&lab), ["L2", "L3"]);
    assert_eq!(lab.texts("SELECT (tally ->> 'erased') || '' FROM integration_sync_logs"), ["1"]);
    // What anybody sees of it: a count.
    lab.run("log show 1").succeeds().prints(&["erased persons"]);
}

#[cfg(feature = "mutants")]
#[test]
fn a_sync_that_looks_once_who_was_erased_is_caught() {
    let (lab, _) = erased_between_pages(Some("erasures-once"));
    assert_eq!(keys(&lab), ["L1", "L2", "L3"], "the fault does no harm, so the test above proves nothing");
}

#[test]
fn later_syncs_leave_an_erased_person_out_and_say_how_many() {
    let server = Server::start(move |request| match request.target.as_str() {
        "/learners" => {
            let items = [1, 2, 3].map(|number| json!({"learner_id": format!("L{number}")}));
            (200, Vec::new(), json!({"items": items}).to_string())
        }
        _ => (200, Vec::new(), json!({"items": []}).to_string()),
    });
    let lab = demo(&server, KEY, "{}", "{settings.api_url}");
    lab.credential("acme", "aptem", "api_key", "demo-key");
    lab.sync("acme", 0);
    lab.run("record erase acme --learner L2 --confirm L2").succeeds();
    for arguments in ["acme", "acme --full"] {
        let report = lab.sync(arguments, 0);
        assert_eq!(counts(&report), json!({"read": 3, "unchanged": 2, "erased": 1}), "{arguments}");
        assert_eq!(keys(&lab), ["L1", "L3"]);
    }
    lab.run("sync acme").succeeds().says(&["1 of erased persons left out"]);
    let dry = lab.sync("acme --full --dry-run", 0);
    assert_eq!(counts(&dry), json!({"read": 3, "unchanged": 2, "erased": 1}));
    // The key of the hashes outlives the organization's move to other credentials, and who may come back does.
    lab.credential("acme", "aptem", "api_key", "another-key");
    assert_eq!(lab.sync("acme", 0)["total"]["erased"], 1);
    lab.run("record erase acme --learner L2 --lift").succeeds();
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 3, "unchanged": 2, "inserted": 1}));
}
