//! Rotation: a new value proves itself before it is in force, nothing is lost on the way, and a sync that is refused goes back.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use super::demo::{CLIENT, KEY, REFRESH, demo, page, page_of, status, token};
use super::lab::{Answer, Asked, Lab, Server};
use crate::support::Ended;

const BASE: &str = "{settings.api_url}";
const EMPTY: &str = r#"{"items":[]}"#;
const PAIR: &str = r#"{header: {X-Key: "{secret.api_key}", X-Secret: "{secret.client_secret}"}}"#;
const ROTATE: &str = "credential rotate acme aptem api_key --from-stdin --json";

fn bearer(asked: &Asked) -> &str {
    asked.header("authorization").unwrap_or_default().trim_start_matches("Bearer ")
}

/// A provider that takes the keys it is told to, and an organization that has `key-1`.
struct Keyed {
    lab: Lab,
    server: Server,
    good: Arc<Mutex<BTreeSet<String>>>,
    /// Which process dies at its next call of a path, if any.
    victim: Arc<Mutex<Option<(u32, &'static str)>>>,
}

fn keyed(last_page: usize) -> Keyed {
    let good = Arc::new(Mutex::new(BTreeSet::from(["key-1".to_owned()])));
    let victim = Arc::new(Mutex::new(None));
    let server = Server::start({
        let (good, victim) = (Arc::clone(&good), Arc::clone(&victim));
        move |asked| {
            let mut good = good.lock().unwrap();
            if !good.contains(bearer(asked)) {
                return status(401);
            }
            let mut answer = match page_of(asked) {
                Some(number) => page(number, last_page),
                None => (200, Vec::new(), EMPTY.into()),
            };
            if asked.target == "/rotate" {
                let new = format!("key-{}", good.len() + 1);
                answer = (200, Vec::new(), json!({"key": {"secret": new}}).to_string());
                good.insert(new);
            }
            kill(&victim, &asked.target);
            answer
        }
    });
    let lab = demo(&server, KEY, "{}", BASE);
    lab.credential("acme", "aptem", "api_key", "key-1");
    Keyed { lab, server, good, victim }
}

fn kill(victim: &Mutex<Option<(u32, &'static str)>>, path: &str) {
    if let Some((pid, _)) = victim.lock().unwrap().take_if(|(_, at)| *at == path) {
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
}

impl Keyed {
    fn takes(&self, keys: &[&str]) {
        *self.good.lock().unwrap() = keys.iter().map(|key| (*key).to_owned()).collect();
    }

    fn rotate(&self, value: &str) -> Ended {
        self.lab.world.run_with_input(ROTATE, value)
    }

    /// Puts another key in force, as the provider takes it.
    fn rotated(&self, value: &str) {
        self.good.lock().unwrap().insert(value.to_owned());
        let rotated = self.rotate(value).succeeds().json();
        assert_eq!((&rotated["outcome"], &rotated["tested"]), (&json!("rotated"), &json!(true)), "{rotated}");
    }

    /// Returns the keys that requests since the first so many carried, each once, in their order.
    fn keys_used(&self, since: usize) -> Vec<String> {
        let mut used: Vec<String> = self.server.asked()[since..].iter().map(|asked| bearer(asked).to_owned()).collect();
        used.dedup();
        used
    }

    /// Runs a line with a new key on stdin; it is killed as the provider answers a call of this path.
    fn killed(&self, line: &str, path: &'static str) {
        let mut command = self.lab.world.command(line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        *self.victim.lock().unwrap() = Some((child.id(), path));
        child.stdin.take().unwrap().write_all(b"key-2").ok();
        let ended = child.wait().unwrap();
        assert_eq!((ended.code(), *self.victim.lock().unwrap()), (None, None), "the kill landed");
    }
}

/// Returns the stored stages of a field, each with its version.
fn stages(lab: &Lab, field: &str) -> String {
    let list = lab.world.json("credential list acme");
    let mut stages: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["field"] == field && item["stage"] != Value::Null)
        .map(|item| format!("{} {}", item["stage"].as_str().unwrap(), item["version"]))
        .collect();
    stages.sort();
    stages.join(", ")
}

fn audited(lab: &Lab) -> Vec<String> {
    lab.texts("SELECT action FROM audit_log WHERE action LIKE 'credential%' ORDER BY id")
}

#[test]
fn a_new_value_that_the_provider_takes_is_in_force_and_the_one_it_replaces_is_kept() {
    let keyed = keyed(1);
    keyed.good.lock().unwrap().insert("key-2".into());
    let before = keyed.server.asked().len();
    let rotated = keyed.rotate("key-2").succeeds().json();
    assert_eq!(keyed.keys_used(before), ["key-2"]);
    assert_eq!((&rotated["kind"], &rotated["outcome"]), (&json!("CredentialRotated"), &json!("rotated")));
    assert!(rotated["fields"][0]["previous_fingerprint"].is_string() && rotated["falls_back_until"].is_string());
    assert_eq!(stages(&keyed.lab, "api_key"), "current 2, previous 1");
    keyed.takes(&["key-2"]);
    keyed.lab.sync("acme", 0);
    // The one before the last is gone, and the same value again is no news.
    keyed.rotated("key-3");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 3, previous 2");
    assert_eq!(keyed.rotate("key-3").succeeds().json()["outcome"], "unchanged");
    assert_eq!(
        audited(&keyed.lab),
        ["credential set", "credential pending", "credential rotate", "credential pending", "credential rotate"]
    );
    assert_eq!(keyed.lab.texts("PRAGMA integrity_check"), ["ok"]);
    keyed.lab.run("db check --deep").succeeds();
}

#[test]
fn a_new_value_that_is_refused_stays_pending_and_changes_nothing_else() {
    let keyed = keyed(1);
    let refused = keyed.rotate("key-2").fails(4);
    let error = refused.error();
    assert_eq!(error["code"], "credential_refused");
    assert!(error["hint"].as_str().unwrap().contains("--abort"), "{error}");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1, pending 2");
    let before = keyed.server.asked().len();
    keyed.lab.sync("acme", 0);
    assert_eq!(keyed.keys_used(before), ["key-1"], "no sync uses what is pending");
    keyed.lab.run("credential rotate acme aptem --json").fails(4);
    // Once the provider knows it, the same value need not be typed again.
    keyed.good.lock().unwrap().insert("key-2".into());
    keyed.lab.run("credential rotate acme aptem").succeeds().prints(&["rotated: api_key version 2"]);
    assert_eq!(stages(&keyed.lab, "api_key"), "current 2, previous 1");
    let nothing = keyed.lab.run("credential rotate acme aptem --json").fails(5);
    assert_eq!(nothing.error()["code"], "nothing_pending");
}

#[test]
fn what_is_pending_can_be_dropped_and_leaves_nothing_behind() {
    let keyed = keyed(1);
    keyed
        .lab
        .world
        .run_with_input("credential rotate acme aptem api_key --from-stdin --pending-only", "key-2")
        .succeeds();
    assert!(keyed.server.asked().is_empty(), "nobody is called");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1, pending 2");
    let sealed: Vec<u8> = keyed
        .lab
        .open()
        .query_row("SELECT sealed FROM organization_credentials WHERE stage = 'pending'", [], |row| row.get(0))
        .unwrap();
    let lies_about = || {
        std::fs::read_dir(keyed.lab.world.home()).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            path.is_file() && std::fs::read(path).unwrap().windows(sealed.len()).any(|window| window == sealed)
        })
    };
    assert!(lies_about());
    keyed.lab.run("credential rotate acme aptem --abort").fails(2).says(&["--yes"]);
    let aborted = keyed.lab.world.json("credential rotate acme aptem --abort --yes");
    assert_eq!(aborted["outcome"], "aborted");
    assert!(!lies_about(), "also not in the write-ahead log");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1");
}

#[test]
fn a_dry_run_of_a_rotation_calls_nobody_and_keeps_nothing() {
    let keyed = keyed(1);
    for line in [format!("{ROTATE} --dry-run"), "credential rotate acme aptem api_key --at-provider --dry-run".into()] {
        keyed.lab.world.run_with_input(&line, "key-2").succeeds().says(&["dry run"]);
    }
    assert!(keyed.server.asked().is_empty());
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1");
}

#[test]
fn several_fields_are_rotated_together() {
    let server = Server::start(|asked| {
        let of = |name| asked.header(name).unwrap_or_default().rsplit('-').next().unwrap().to_owned();
        if of("x-key") == of("x-secret") { (200, Vec::new(), EMPTY.into()) } else { status(401) }
    });
    let lab = demo(&server, PAIR, "{}", BASE);
    lab.credential("acme", "aptem", "api_key", "key-1");
    lab.credential("acme", "aptem", "client_secret", "secret-1");
    let line = "credential rotate acme aptem api_key client_secret --from-stdin --json";
    for wrong in [r#"{"api_key": "key-2"}"#, r#"{"api_key": "key-2", "client_secret": "secret-2", "x": "y"}"#, "key-2"]
    {
        let ended = lab.world.run_with_input(line, wrong).fails(7);
        assert!(!ended.stderr.contains("key-2"), "{ended}");
    }
    let both = r#"{"api_key": "key-2", "client_secret": "secret-2"}"#;
    assert_eq!(lab.world.run_with_input(line, both).succeeds().json()["fields"].as_array().unwrap().len(), 2);
    // One by one, and then both at once: alone, neither of them would be taken.
    for (field, value) in [("api_key", "key-3"), ("client_secret", "secret-3")] {
        let line = format!("credential rotate acme aptem {field} --from-stdin --pending-only");
        lab.world.run_with_input(&line, value).succeeds();
    }
    lab.run("credential rotate acme aptem").succeeds();
    assert_eq!(
        (stages(&lab, "api_key"), stages(&lab, "client_secret")),
        ("current 3, previous 2".into(), "current 3, previous 2".into())
    );
    lab.sync("acme", 0);
    // Back again, both; and a single one where it is named.
    lab.run("credential rollback acme aptem").fails(2).says(&["--yes"]);
    assert_eq!(lab.world.json("credential rollback acme aptem --yes")["fields"].as_array().unwrap().len(), 2);
    assert_eq!(
        (stages(&lab, "api_key"), stages(&lab, "client_secret")),
        ("current 2, previous 3".into(), "current 2, previous 3".into())
    );
    lab.sync("acme", 0);
    lab.run("credential rollback acme aptem client_secret --yes").succeeds();
    lab.sync("acme", 4);
    lab.run("credential rollback acme aptem refresh_token --yes --json").fails(5).says(&["nothing_previous"]);
    assert_eq!(lab.number("SELECT count(*) FROM audit_log WHERE action = 'credential rollback'"), 3);
    lab.run("db check --deep").succeeds();
}

#[test]
fn a_rotation_killed_before_it_is_in_force_stays_pending_and_goes_on() {
    let keyed = keyed(1);
    keyed.good.lock().unwrap().insert("key-2".into());
    keyed.killed("credential rotate acme aptem api_key --from-stdin", "/check");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1, pending 2");
    let before = keyed.server.asked().len();
    keyed.lab.sync("acme", 0);
    assert_eq!(keyed.keys_used(before), ["key-1"]);
    keyed.lab.run("credential rotate acme aptem").succeeds();
    assert_eq!(stages(&keyed.lab, "api_key"), "current 2, previous 1");
}

#[test]
fn a_sync_that_is_refused_goes_back_to_what_was_replaced_once_a_run_and_says_so() {
    let mut keyed = keyed(3);
    keyed.lab.sync("acme", 0);
    keyed.rotated("key-2");
    keyed.takes(&["key-1"]);
    for _ in 0..2 {
        let before = keyed.server.asked().len();
        let ended = keyed.lab.run("sync acme --full").succeeds().says(&["the credentials in force were refused"]);
        assert!(ended.stderr.contains("skillsctl credential rollback acme aptem"), "{ended}");
        let asked = &keyed.server.asked()[before..];
        assert_eq!(asked.iter().filter(|asked| bearer(asked) == "key-2").count(), 1);
        assert_eq!(keyed.keys_used(before), ["key-2", "key-1"]);
    }
    let status = keyed.lab.world.json("status acme");
    assert_eq!(status["providers"][0]["last_run"]["fell_back"], true);
    keyed.lab.run("status acme").succeeds().prints(&["refused", "skillsctl credential test acme aptem"]);
    let run = status["providers"][0]["last_run"]["run"].as_str().unwrap().to_owned();
    assert_eq!(keyed.lab.world.json(&format!("log show {run}"))["fell_back"], true);
    // Well again, nothing is said any more.
    keyed.takes(&["key-2"]);
    assert_eq!(keyed.lab.sync("acme --full", 0)["runs"][0]["fell_back"], false);
    assert_eq!(keyed.lab.world.json("status acme")["providers"][0]["last_run"]["fell_back"], false);
    // A day later it is as refused as ever.
    keyed.takes(&["key-1"]);
    keyed.lab.later(24 * 60 + 1);
    let before = keyed.server.asked().len();
    let report = keyed.lab.sync("acme --full", 4);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_refused");
    assert_eq!(keyed.keys_used(before), ["key-2"]);
}

#[test]
fn where_both_are_refused_the_first_refusal_stands() {
    let keyed = keyed(1);
    keyed.rotated("key-2");
    keyed.takes(&[]);
    let report = keyed.lab.sync("acme", 4);
    let run = &report["runs"][0];
    assert_eq!((&run["error"]["code"], &run["fell_back"]), (&json!("credential_refused"), &json!(false)), "{report}");
    assert!(run["warnings"][0].as_str().unwrap().contains("and those they replaced too"), "{report}");
}

#[test]
fn a_run_that_has_stored_a_page_never_goes_back_to_other_credentials() {
    let refuse = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let refuse = Arc::clone(&refuse);
        move |asked| match (page_of(asked), bearer(asked)) {
            (_, "key-1") | (Some(1), "key-2") if refuse.load(Ordering::SeqCst) => page(page_of(asked).unwrap_or(9), 3),
            (_, "key-2") if refuse.load(Ordering::SeqCst) => status(401),
            (Some(number), _) => page(number, 3),
            (None, _) => (200, Vec::new(), EMPTY.into()),
        }
    });
    let lab = demo(&server, KEY, "{}", BASE);
    lab.credential("acme", "aptem", "api_key", "key-1");
    lab.world.run_with_input(ROTATE, "key-2").succeeds();
    refuse.store(true, Ordering::SeqCst);
    let before = server.asked().len();
    let report = lab.sync("acme --stream learners", 4);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_refused");
    assert!(server.asked()[before..].iter().all(|asked| bearer(asked) == "key-2"), "one run, one account");
}

#[test]
fn nothing_goes_back_to_what_a_rollback_has_put_aside() {
    let keyed = keyed(1);
    keyed.rotated("key-2");
    keyed.lab.run("credential rollback acme aptem --yes").succeeds();
    keyed.takes(&["key-2"]);
    let before = keyed.server.asked().len();
    keyed.lab.sync("acme", 4);
    assert_eq!(keyed.keys_used(before), ["key-1"]);
}

#[test]
fn a_value_that_is_set_leaves_nothing_to_go_back_to_and_what_is_pending_alone() {
    let keyed = keyed(1);
    keyed.rotated("key-2");
    let pending = "credential rotate acme aptem api_key --from-stdin --pending-only";
    keyed.lab.world.run_with_input(pending, "key-3").succeeds();
    let set = keyed.lab.world.run_with_input("credential set acme aptem api_key --from-stdin", "key-4");
    set.succeeds().says(&["another value of `api_key` is pending"]);
    assert_eq!(stages(&keyed.lab, "api_key"), "current 4, pending 3");
    keyed.takes(&["key-1", "key-2"]);
    keyed.lab.sync("acme", 4);
    keyed.lab.run("credential delete acme aptem api_key --yes").succeeds();
    assert_eq!(stages(&keyed.lab, "api_key"), "");
}

#[test]
fn a_rotation_while_a_sync_is_under_way_ends_it_and_forgets_the_token() {
    let lab_of = Arc::new(OnceLock::<Arc<Lab>>::new());
    let rotated = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let (lab_of, rotated) = (Arc::clone(&lab_of), Arc::clone(&rotated));
        move |asked| match page_of(asked) {
            None if asked.target == "/token" => token("t", &json!({})),
            None => (200, Vec::new(), EMPTY.into()),
            Some(2) if !rotated.swap(true, Ordering::SeqCst) => {
                let lab = lab_of.get().unwrap();
                let line = "credential rotate acme aptem client_secret --from-stdin --no-test";
                lab.world.run_with_input(line, "another").succeeds();
                assert_eq!(lab.number("SELECT count(*) FROM access_tokens"), 0);
                status(401)
            }
            Some(number) => page(number, 3),
        }
    });
    let lab = Arc::new(demo(&server, CLIENT, "{}", BASE));
    lab.credential("acme", "aptem", "client_secret", "first");
    assert!(lab_of.set(Arc::clone(&lab)).is_ok());
    let report = lab.sync("acme --stream learners", 6);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_replaced");
    lab.sync("acme --stream learners", 0);
    assert_eq!(lab.number("SELECT count(*) FROM access_tokens"), 1);
    lab.run("credential rollback acme aptem --yes").succeeds();
    assert_eq!(lab.number("SELECT count(*) FROM access_tokens"), 0);
}

#[test]
fn a_test_of_what_is_pending_leaves_the_token_in_use_alone() {
    let server = Server::start(|asked| match (asked.target.as_str(), asked.body.contains("second")) {
        ("/token", true) => status(401),
        ("/token", false) => token("t", &json!({})),
        _ => (200, Vec::new(), EMPTY.into()),
    });
    let lab = demo(&server, CLIENT, "{}", BASE);
    lab.credential("acme", "aptem", "client_secret", "first");
    lab.sync("acme", 0);
    let line = "credential rotate acme aptem client_secret --from-stdin";
    lab.world.run_with_input(line, "second").fails(4);
    let logins = || server.asked().iter().filter(|asked| asked.target == "/token").count();
    let before = logins();
    lab.sync("acme --full", 0);
    assert_eq!(logins(), before);
}

/// A service whose refresh tokens are good once each: `a1` of one family is followed by `a2`.
fn families() -> (Lab, Server) {
    let good = Mutex::new(BTreeSet::from(["a1".to_owned(), "b1".to_owned()]));
    let server = Server::start(move |asked| {
        if asked.target != "/token" {
            return (200, Vec::new(), EMPTY.into());
        }
        let used = asked.body.rsplit("refresh_token=").next().unwrap().to_owned();
        let mut good = good.lock().unwrap();
        if !good.remove(&used) {
            return (400, Vec::new(), r#"{"error":"invalid_grant"}"#.into());
        }
        let next = format!("{}{}", &used[..1], used[1..].parse::<u32>().unwrap() + 1);
        good.insert(next.clone());
        token("t", &json!({"refresh_token": next}))
    });
    let lab = demo(&server, REFRESH, "{}", BASE);
    lab.credential("acme", "aptem", "refresh_token", "a1");
    (lab, server)
}

#[test]
fn a_refresh_token_that_is_spent_by_its_test_is_replaced_where_it_is_pending() {
    let (mut lab, server) = families();
    lab.sync("acme", 0);
    let line = "credential rotate acme aptem refresh_token --from-stdin";
    lab.world.run_with_input(line, "b1").succeeds();
    // In force is what followed it, and what followed the other one is kept.
    lab.later(120);
    lab.sync("acme --full", 0);
    let spent = |server: &Server| {
        let logins: Vec<String> =
            server.asked().iter().filter(|asked| asked.target == "/token").map(|asked| asked.body.clone()).collect();
        logins.iter().map(|body| body.rsplit('=').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(spent(&server), ["a1", "b1", "b2"]);
    lab.run("credential rollback acme aptem --yes").succeeds();
    lab.sync("acme --full", 0);
    assert_eq!(spent(&server), ["a1", "b1", "b2", "a2"]);
}

#[test]
fn a_refresh_token_that_was_replaced_is_gone_back_to_as_often_as_it_may_be() {
    let (mut lab, server) = families();
    lab.sync("acme", 0);
    lab.world.run_with_input("credential rotate acme aptem refresh_token --from-stdin", "b1").succeeds();
    spend(&server, "b2");
    // The provider replaces it each time; it stays the one that the other has replaced.
    for hour in [2, 4, 6] {
        lab.later(60 * hour);
        let report = lab.sync("acme --full", 0);
        assert_eq!(report["runs"][0]["fell_back"], true, "hour {hour}: {report}");
    }
    // Put aside by a person it is not gone back to.
    lab.run("credential rollback acme aptem --yes").succeeds();
    spend(&server, "a5");
    lab.later(60 * 8);
    assert_eq!(lab.sync("acme --full", 4)["runs"][0]["fell_back"], false);
}

/// Uses a refresh token up, as somebody else would.
fn spend(server: &Server, refresh_token: &str) {
    let body = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    let mut stream = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.contains("access_token"), "{answer}");
}

#[test]
fn a_provider_that_rotates_gives_a_value_that_is_stored_tested_and_put_in_force() {
    let keyed = keyed(1);
    let rotated = keyed.lab.world.json("credential rotate acme aptem api_key --at-provider");
    assert_eq!((&rotated["outcome"], &rotated["tested"]), (&json!("rotated"), &json!(true)));
    assert_eq!(keyed.keys_used(0), ["key-1", "key-2"]);
    let asked = keyed.server.asked();
    assert_eq!((asked[0].target.as_str(), asked[0].body.as_str()), ("/rotate", r#"{"old":"key-1"}"#));
    assert_eq!(stages(&keyed.lab, "api_key"), "current 2, previous 1");
    assert_eq!(audited(&keyed.lab)[1..], ["credential request", "credential pending", "credential rotate"]);
    let ended = keyed.lab.run("credential rotate acme aptem client_secret --at-provider --json").fails(2);
    assert_eq!(ended.error()["code"], "not_rotated_there");
    keyed.lab.run("credential rotate acme aptem --at-provider --json").fails(2);
    keyed.lab.run("provider show aptem").succeeds().prints(&["rotates at the provider", "30d at most"]);
}

#[test]
fn a_value_that_the_provider_has_given_survives_a_kill_before_its_test() {
    let keyed = keyed(1);
    keyed.killed("credential rotate acme aptem api_key --at-provider", "/check");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1, pending 2");
    keyed.takes(&["key-2"]);
    keyed.lab.run("credential rotate acme aptem").succeeds();
    keyed.lab.sync("acme", 0);
}

#[test]
fn a_value_that_is_lost_on_its_way_is_told_and_not_asked_for_again() {
    let keyed = keyed(1);
    keyed.killed("credential rotate acme aptem api_key --at-provider", "/rotate");
    assert_eq!(stages(&keyed.lab, "api_key"), "current 1");
    assert_eq!(audited(&keyed.lab)[1..], ["credential request"], "that one was asked for is known");
    // Where the provider has ended the old one with it, the next sync says what there is to do.
    keyed.takes(&["key-2"]);
    let report = keyed.lab.sync("acme", 4);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_refused");
    assert_eq!(keyed.server.asked().iter().filter(|asked| asked.target == "/rotate").count(), 1);
}

#[test]
fn an_answer_without_a_new_value_is_an_error_that_shows_nothing_of_it() {
    let answers: [Answer; 3] = [
        (200, Vec::new(), r#"{"key": {"sekret": "sentinel-77"}}"#.into()),
        (200, Vec::new(), "sentinel-77".into()),
        (503, Vec::new(), r#"{"key": {"secret": "sentinel-77"}}"#.into()),
    ];
    for answer in answers {
        let server = Server::start(move |_| answer.clone());
        let lab = demo(&server, KEY, "{}", BASE);
        lab.credential("acme", "aptem", "api_key", "key-1");
        let ended = lab.run("credential rotate acme aptem api_key --at-provider -vv --json").fails(9);
        assert!(!ended.stderr.contains("sentinel"), "{ended}");
        assert!(ended.error()["hint"].as_str().unwrap().contains("may have been made"), "{ended}");
        assert_eq!(server.asked().len(), 1, "each call may make another one");
        assert_eq!(stages(&lab, "api_key"), "current 1");
    }
}

#[test]
fn old_credentials_are_told_by_status_and_listed_for_all_organizations() {
    let mut keyed = keyed(1);
    super::demo::organization(&keyed.lab, "birch", &keyed.server);
    let old = |lab: &Lab| lab.world.json("status acme")["providers"][0]["old_credentials"].clone();
    assert_eq!(old(&keyed.lab), json!([]));
    keyed.lab.later(31 * 24 * 60);
    keyed.lab.credential("birch", "aptem", "api_key", "key-1");
    keyed.lab.credential("birch", "aptem", "client_secret", "a secret");
    assert_eq!(old(&keyed.lab), json!(["api_key"]));
    keyed.lab.run("status acme").succeeds().prints(&["31 days old", "skillsctl credential rotate acme aptem api_key"]);
    let older = |age: &str| {
        let list = keyed.lab.world.json(&format!("credential list --older-than {age}"));
        let items = list["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| format!("{} {}", item["organization"].as_str().unwrap(), item["age_days"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(older("30d"), ["acme 31"]);
    assert!(older("32d").is_empty());
    keyed.lab.run("credential list --older-than soon").fails(2);
    keyed.lab.run("credential list").succeeds().prints(&["acme\taptem\tapi_key\told", "birch\taptem\tapi_key\tset"]);
    let found = keyed.lab.run("credential list birch --older-than 1d -o name").succeeds();
    assert_eq!(found.stdout, "");
    let named = keyed.lab.run("credential list --stage current -o name").succeeds();
    assert_eq!(named.stdout.lines().next(), Some("acme/aptem/api_key"));
    // A new one is young again.
    keyed.rotated("key-2");
    assert_eq!(old(&keyed.lab), json!([]));
}

#[test]
fn a_value_opens_in_its_own_row_alone_whatever_its_stage() {
    let keyed = keyed(1);
    keyed.rotated("key-2");
    let pending = "credential rotate acme aptem api_key --from-stdin --pending-only";
    keyed.lab.world.run_with_input(pending, "key-3").succeeds();
    let sealed = |database: &rusqlite::Connection, stage: &str| -> Vec<u8> {
        let sql = "SELECT sealed FROM organization_credentials WHERE stage = ?1";
        database.query_row(sql, [stage], |row| row.get(0)).unwrap()
    };
    let put = "UPDATE organization_credentials SET sealed = ?1 WHERE stage = ?2";
    for (from, to) in [("previous", "current"), ("pending", "current"), ("current", "previous"), ("current", "pending")]
    {
        let database = rusqlite::Connection::open(keyed.lab.world.db()).unwrap();
        let (moved, there) = (sealed(&database, from), sealed(&database, to));
        database.execute(put, (&moved, to)).unwrap();
        keyed.lab.run("db check --deep").fails(12);
        if to == "current" {
            keyed.lab.sync("acme", 8);
        }
        database.execute(put, (&there, to)).unwrap();
    }
    keyed.lab.run("db check --deep").succeeds();
    // Whoever can write the database can put another stage's row in force: only the audit shows that no command did.
    let database = rusqlite::Connection::open(keyed.lab.world.db()).unwrap();
    database.execute("DELETE FROM organization_credentials WHERE stage = 'pending'", []).unwrap();
    for (from, to) in [("current", "pending"), ("previous", "current")] {
        database.execute("UPDATE organization_credentials SET stage = ?2 WHERE stage = ?1", [from, to]).unwrap();
    }
    drop(database);
    let before = keyed.server.asked().len();
    keyed.lab.sync("acme", 0);
    assert_eq!(keyed.keys_used(before), ["key-1"]);
}
