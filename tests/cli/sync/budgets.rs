//! Rates of requests: shared by processes, corrected by what the provider says, and kept to whatever else happens.

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::demo::{KEY, demo, organization, page, page_of};
use super::lab::{Lab, Server, unhurried};
use crate::sandbox::{Config, Fault};

const BASE: &str = "{settings.api_url}";
/// How much later than another one a request may have come in than it was sent, on a machine that has much to do.
const JITTER: Duration = Duration::from_secs(1);

/// Starts a command by the true clock, which processes share.
fn start(lab: &Lab, line: &str) -> Child {
    let mut command = lab.world.command(line);
    command.env_remove("SKILLSCTL_TEST_NOW");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ends_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server that notes when it is asked for a page, and answers so many pages.
fn measured(pages: usize) -> (Server, Arc<Mutex<Vec<Instant>>>) {
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&arrivals);
    let server = Server::start(move |asked| {
        notes.lock().unwrap().push(Instant::now());
        page_of(asked).map_or((200, Vec::new(), r#"{"items":[]}"#.into()), |number| page(number, pages))
    });
    (server, arrivals)
}

/// Fails the test where more than so many requests came within so long.
fn proves(arrivals: &[Instant], most: usize, window: Duration) {
    for span in arrivals.windows(most + 1) {
        let took = span[most] - span[0];
        assert!(took + JITTER >= window, "{} requests in {took:?}", most + 1);
    }
}

#[test]
fn processes_with_one_credential_share_its_rate() {
    let (server, arrivals) = measured(10);
    let lab = demo(&server, KEY, "{all: {rate: 8/2s}}", BASE);
    let slugs = ["acme", "birch", "cedar", "dale"];
    slugs[1..].iter().for_each(|slug| organization(&lab, slug, &server));
    slugs.iter().for_each(|slug| lab.credential(slug, "aptem", "api_key", "one key for all"));
    let began = Instant::now();
    slugs.map(|slug| start(&lab, &format!("sync {slug}"))).into_iter().for_each(ends_well);
    let arrivals = arrivals.lock().unwrap();
    // Eleven requests each; alone, each process would need four seconds, and all of them at once a quarter of the rate.
    assert_eq!(arrivals.len(), 44);
    assert!(began.elapsed() >= Duration::from_secs(10), "44 requests at 8 in 2 s");
    proves(&arrivals, 8, Duration::from_secs(2));
}

#[test]
fn another_credential_has_a_rate_of_its_own() {
    let (server, _) = measured(6);
    let lab = demo(&server, KEY, "{all: {rate: 8/60s}}", BASE);
    organization(&lab, "birch", &server);
    lab.credential("acme", "aptem", "api_key", "one");
    lab.credential("birch", "aptem", "api_key", "another");
    let began = Instant::now();
    ["sync acme", "sync birch"].map(|line| start(&lab, line)).into_iter().for_each(ends_well);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_the_provider_has_left_is_heeded_before_it_refuses() {
    // It allows five, though the manifest says a thousand, and tells in each answer how many are left. Its window is shorter
    // than the manifest's, so that a request which takes long to come in is not held against the one who sent it.
    let calls = Mutex::new(Vec::<Instant>::new());
    let refused = Arc::new(Mutex::new(0));
    let server = Server::start({
        let refused = Arc::clone(&refused);
        move |asked| {
            let mut calls = calls.lock().unwrap();
            let now = Instant::now();
            calls.retain(|at| now - *at < Duration::from_secs(1));
            if calls.len() >= 5 {
                *refused.lock().unwrap() += 1;
                return (429, vec![("Retry-After".into(), "1".into())], "{}".into());
            }
            calls.push(now);
            let (status, _, body) = page_of(asked).map_or((200, vec![], r#"{"items":[]}"#.into()), |n| page(n, 12));
            (status, vec![("X-Left".into(), (5 - calls.len()).to_string())], body)
        }
    });
    let lab = demo(&server, KEY, "{all: {rate: 1000/3s, remaining: X-Left}}", BASE);
    lab.credential("acme", "aptem", "api_key", "key");
    let report = lab.sync("acme", 0);
    assert_eq!((&report["total"]["inserted"], *refused.lock().unwrap()), (&json!(12), 0));
    assert!(report["total"]["waited_ms"].as_u64().unwrap() > 1000, "{report}");
}

#[test]
fn a_refusal_halves_the_rate_for_a_while() {
    let calls = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let notes = Arc::clone(&calls);
    let server = Server::start(move |asked| {
        let mut calls = notes.lock().unwrap();
        calls.push(Instant::now());
        if calls.len() == 3 {
            return (429, vec![("retry-after-ms".into(), "200".into())], "{}".into());
        }
        page_of(asked).map_or((200, Vec::new(), r#"{"items":[]}"#.into()), |number| page(number, 30))
    });
    let lab = demo(&server, KEY, "{all: {rate: 20/3s}}", BASE);
    lab.credential("acme", "aptem", "api_key", "key");
    let report = lab.sync("acme --stream learners", 0);
    assert_eq!((&report["total"]["inserted"], &report["total"]["retries"]), (&json!(30), &json!(1)));
    let calls = calls.lock().unwrap();
    // Ten in the three seconds from the refusal on, where it would have been twenty; two more in each three seconds then.
    let within = calls.iter().filter(|at| **at > calls[2] && **at < calls[2] + Duration::from_secs(3) - JITTER).count();
    assert!(within <= 10, "{within}");
    proves(&calls[3..], 14, Duration::from_secs(3));
}

/// Returns a lab whose service refuses the second page with this header.
fn refusing(name: &str, value: &str) -> Lab {
    let (name, value) = (name.to_owned(), value.to_owned());
    let refused = Mutex::new(false);
    let server = Server::start(move |asked| {
        let mut refused = refused.lock().unwrap();
        if page_of(asked) == Some(2) && !*refused {
            *refused = true;
            return (429, vec![(name.clone(), value.clone())], "{}".into());
        }
        page_of(asked).map_or((200, Vec::new(), r#"{"items":[]}"#.into()), |number| page(number, 3))
    });
    let lab = demo(&server, KEY, "{all: {rate: 100/1s}}", BASE);
    lab.credential("acme", "aptem", "api_key", "key");
    lab
}

fn waited(report: &Value) -> u64 {
    report["total"]["waited_ms"].as_u64().unwrap()
}

#[test]
fn every_shape_of_retry_after_is_waited_for_and_none_that_makes_no_sense() {
    for (name, value, least, most) in [
        ("Retry-After", "1", 1000, 1900),
        ("retry-after-ms", "1200", 1200, 1900),
        // No advice: the usual pause, half a second at most.
        ("Retry-After", "0", 200, 900),
        ("Retry-After", "-5", 200, 900),
        ("Retry-After", "soon", 200, 900),
        ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT", 200, 900),
        ("Retry-After", "1445412480", 200, 900),
    ] {
        let report = refusing(name, value).sync("acme --stream learners", 0);
        let waited = waited(&report);
        assert!((least..=most).contains(&waited), "{name}: {value} waited {waited} ms");
        assert_eq!(report["total"]["inserted"], 3);
    }
}

#[test]
fn a_long_wait_parks_the_run_until_the_provider_said() {
    for (value, minutes) in [
        ("1200".to_owned(), 20),
        ((chrono::Utc::now() + chrono::TimeDelta::minutes(40)).timestamp().to_string(), 40),
        ((chrono::Utc::now() + chrono::TimeDelta::minutes(40)).timestamp_millis().to_string(), 40),
        ((chrono::Utc::now() + chrono::TimeDelta::minutes(40)).to_rfc2822(), 40),
        // Ten years are a day.
        ("315360000".to_owned(), 24 * 60),
    ] {
        let mut lab = refusing("Retry-After", &value);
        let began = Instant::now();
        let report = lab.sync("acme --stream learners", 9);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!((&report["deferred"], &report["runs"][0]["error"]["code"]), (&json!(1), &json!("rate_limited")));
        let due =
            lab.world.json("log show 1")["due_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let left = (due - chrono::Utc::now()).num_seconds();
        assert!((minutes * 60 - 60..=minutes * 60).contains(&left), "{value}: {left} s");
        // Neither the schedule nor a person calls before that.
        lab.later(minutes - 3);
        assert_eq!(lab.sync("--all", 0)["runs"], json!([]), "{value}");
        if minutes > 10 {
            lab.later(minutes - 10);
            let report = lab.sync("acme --stream learners", 9);
            assert_eq!((&report["total"]["requests"], &report["deferred"]), (&json!(0), &json!(1)), "{value}");
        }
        lab.later(minutes + 1);
        let report = lab.sync("--all", 0);
        assert_eq!(report["total"]["inserted"], 2, "{value}: it goes on with the second page");
    }
}

#[test]
fn another_organization_with_the_same_credential_is_held_back_too() {
    let mut lab = unhurried(Config { learners: 10, employers: 5, ..Config::default() });
    lab.organization("acme", "aptem");
    lab.organization("birch", "aptem");
    lab.credential("birch", "aptem", "api_key", "sandbox-aptem-acme");
    lab.sandbox.fail("aptem", Fault::status(429).header("Retry-After", "3600"));
    lab.sync("acme", 9);
    lab.later(2);
    let asked = lab.sandbox.ledger("aptem").len();
    let ended = lab.run("sync birch").fails(9).says(&["deferred birch/aptem", "used up for now", "goes on from"]);
    assert_eq!(lab.sandbox.ledger("aptem").len(), asked, "{ended}");
    lab.run("credential test birch aptem").fails(9);
    assert_eq!(lab.sandbox.ledger("aptem").len(), asked);
    lab.run("log show 2").succeeds().prints(&["due again"]);
    lab.later(61);
    lab.sync("birch", 0);
}

#[test]
fn a_run_leaves_the_last_part_of_a_shared_allowance_to_others() {
    let mut lab = unhurried(Config { learners: 5, employers: 5, salesforce_daily: 10, ..Config::default() });
    lab.organization("acme", "bud_salesforce");
    lab.run("override disable acme bud").succeeds();
    let mut outcomes = Vec::new();
    for _ in 0..12 {
        outcomes.push(lab.run("sync acme --full --json").json()["deferred"].as_u64().unwrap());
        lab.later(1);
    }
    let used = lab.sandbox.ledger("salesforce").iter().filter(|entry| !entry.path.ends_with("/token")).count();
    assert_eq!((used, outcomes.last()), (8, Some(&1)), "four fifths of ten, and then no more");
    // An hour later it asks once more, finds no more, and stands back again.
    lab.later(90);
    let _ = lab.run("sync acme");
    lab.later(95);
    lab.sync("acme", 9);
    let used = lab.sandbox.ledger("salesforce").iter().filter(|entry| !entry.path.ends_with("/token")).count();
    assert_eq!(used, 9);
}

#[test]
fn budgets_that_cannot_be_read_are_started_anew() {
    let (server, _) = measured(2);
    let lab = demo(&server, KEY, "{all: {rate: 50/1s}}", BASE);
    lab.credential("acme", "aptem", "api_key", "key");
    lab.sync("acme", 0);
    let folder = lab.world.home().join("skills.db.locks");
    let rates = || {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("rate-")).collect::<Vec<_>>()
    };
    assert_eq!(rates().len(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&rates()[0]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for bytes in [&b"hello"[..], &[0xFF; 4096], b""] {
        std::fs::write(&rates()[0], bytes).unwrap();
        lab.sync("acme --full", 0);
    }
    // Nor does it stop a sync that there can be none.
    let rate = rates().remove(0);
    std::fs::remove_file(&rate).unwrap();
    std::fs::create_dir(&rate).unwrap();
    lab.sync("acme --full", 0);
}
