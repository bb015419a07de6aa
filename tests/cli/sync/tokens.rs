//! Tokens: shared by the runs that follow, renewed once and by one process at a time, never lost, never in the clear.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::demo::{CLIENT, REFRESH, demo, organization, page, page_of, status, token};
use super::lab::{Asked, Lab, Server, lab};
use crate::sandbox::{Failure, Fault};
use crate::support::below;

const BASE: &str = "{settings.api_url}";

/// Returns how many logins a server has seen.
fn logins(server: &Server) -> usize {
    server.asked().iter().filter(|asked| asked.target == "/token").count()
}

fn bearer(asked: &Asked) -> &str {
    asked.header("authorization").unwrap_or_default().trim_start_matches("Bearer ")
}

/// Starts a command by the true clock, so that processes can be told apart by when they began.
fn start(lab: &Lab, line: &str) -> Child {
    let mut command = lab.world.command(line);
    command.env_remove("SKILLSCTL_TEST_NOW");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ends_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn runs_that_follow_each_other_log_in_once() {
    let mut lab = lab(5, 3);
    lab.organization("acme", "bud");
    lab.sync("acme", 0);
    lab.sync("acme --full", 0);
    lab.sync("acme --dry-run", 0);
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 1);
    // Near its end it is renewed by the clock, before anybody refuses it.
    lab.later(55);
    lab.sync("acme --full", 0);
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 2);
    assert!(lab.sandbox.ledger("bud").iter().all(|entry| entry.status == 200));
    // Another credential, or another setting, makes it worthless.
    lab.credential("acme", "bud", "client_secret", "sandbox-budsecret-acme ");
    assert_eq!(lab.number("SELECT count(*) FROM access_tokens"), 0);
    lab.sync("acme", 4);
    lab.credential("acme", "bud", "client_secret", "sandbox-budsecret-acme");
    lab.sync("acme", 0);
    lab.run("override set acme bud page_size=7").succeeds();
    lab.sync("acme", 0);
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 5);
}

#[test]
fn a_token_that_ends_before_any_page_is_renewed_once_and_no_page_is_stored_twice() {
    const LAST: usize = 20;
    let ends_at = Arc::new(AtomicUsize::new(0));
    let given = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let (ends_at, given) = (Arc::clone(&ends_at), Arc::clone(&given));
        move |asked| match page_of(asked) {
            None if asked.target == "/token" => {
                token(&format!("t{}", given.fetch_add(1, Ordering::SeqCst) + 1), &json!({}))
            }
            None => (200, Vec::new(), r#"{"items":[]}"#.into()),
            Some(number) => {
                if ends_at.compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    return status(401);
                }
                let current = format!("t{}", given.load(Ordering::SeqCst));
                if bearer(asked) == current { page(number, LAST) } else { status(401) }
            }
        }
    });
    let lab = demo(&server, CLIENT, "{}", BASE);
    lab.credential("acme", "aptem", "client_secret", "a secret");
    lab.sync("acme", 0);
    for number in 1..=LAST {
        let before = server.asked().len();
        ends_at.store(number, Ordering::SeqCst);
        let report = lab.sync("acme --full --stream learners", 0);
        assert_eq!((&report["total"]["read"], &report["total"]["unchanged"]), (&json!(LAST), &json!(LAST)), "{number}");
        let asked = server.asked().split_off(before);
        assert_eq!(asked.iter().filter(|asked| asked.target == "/token").count(), 1, "{number}");
        let pages: Vec<usize> = asked.iter().filter_map(page_of).collect();
        let mut expected: Vec<usize> = (1..=LAST).collect();
        expected.insert(number, number);
        assert_eq!(pages, expected);
    }
}

#[test]
fn a_new_token_that_is_refused_too_is_the_credentials_fault() {
    let server = Server::start(|asked| match page_of(asked) {
        None if asked.target == "/token" => token("never-good", &json!({})),
        Some(1) => page(1, 3),
        _ => status(401),
    });
    let lab = demo(&server, CLIENT, "{}", BASE);
    lab.credential("acme", "aptem", "client_secret", "a secret");
    let report = lab.sync("acme --stream learners", 4);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_refused");
    let pages: Vec<usize> = server.asked().iter().filter_map(page_of).collect();
    assert_eq!((logins(&server), pages, lab.live("acme", "learners")), (2, vec![1, 2, 2], 1));
    assert_eq!(lab.number("SELECT count(*) FROM access_tokens"), 0);
}

#[test]
fn processes_that_need_a_token_at_once_make_one_login() {
    let lab = lab(5, 3);
    lab.organization("acme", "bud");
    let slow = || Fault::new(Failure::Delay(Duration::from_secs(3)));
    lab.sandbox.fail("bud_auth", slow());
    let tests: Vec<Child> = (0..3).map(|_| start(&lab, "credential test acme bud")).collect();
    tests.into_iter().for_each(ends_well);
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 1);
    // A test that begins now proves anew what is stored now, and a sync that waited for it takes what it got.
    lab.sandbox.expire_sessions("bud", "acme");
    lab.sandbox.fail("bud_auth", slow());
    let test = start(&lab, "credential test acme bud");
    std::thread::sleep(Duration::from_millis(1500));
    let sync = start(&lab, "sync acme");
    [test, sync].into_iter().for_each(ends_well);
    assert_eq!((lab.sandbox.ledger("bud_auth").len(), lab.live("acme", "learners")), (2, 5));
}

/// Returns a lab whose organization reads Salesforce with a refresh token that is good once.
fn rotating() -> Lab {
    let lab = lab(5, 8);
    lab.organization("acme", "bud_salesforce");
    lab.run("override disable acme bud").succeeds();
    lab.run("override set acme salesforce auth_method=refresh_token").succeeds();
    lab.credential("acme", "salesforce", "refresh_token", "sandbox-sfrefresh-acme");
    lab
}

fn posts(lab: &Lab) -> Vec<u16> {
    let ledger = lab.sandbox.ledger("salesforce");
    ledger.iter().filter(|entry| entry.path == "/services/oauth2/token").map(|entry| entry.status).collect()
}

#[test]
fn a_refresh_token_that_is_good_once_is_spent_by_one_process_at_a_time() {
    let lab = rotating();
    // Each test wants a proof of its own, and each sync whatever there is.
    for _ in 0..3 {
        lab.sandbox.expire_sessions("salesforce", "acme");
        let lines = ["credential test acme salesforce", "sync acme --full", "credential test acme salesforce"];
        lines.map(|line| start(&lab, line)).into_iter().for_each(ends_well);
    }
    assert!(posts(&lab).iter().all(|status| *status == 200), "{:?}", posts(&lab));
    let told = "SELECT count(*) FROM audit_log WHERE action = 'credential rotate' AND subject = 'acme/salesforce/refresh_token'";
    assert_eq!(lab.number(told), i64::try_from(posts(&lab).len()).unwrap(), "each that was replaced is told");
    assert_eq!(lab.live("acme", "employers"), 8);
    // The one that is stored is the one that is good.
    lab.run("credential test acme salesforce").succeeds();
    let list = lab.run("credential list acme --json").succeeds();
    assert!(!list.stdout.contains("sfrotated"));
}

/// A service whose refresh token is good once, and which can kill the process that asks it.
struct Rotating {
    server: Server,
    lab: OnceLock<Lab>,
    victim: Arc<AtomicU32>,
}

/// Says when the process is killed: as the new tokens are on their way to it, or when it uses them first.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Answer,
    FirstUse,
}

fn kill(victim: &AtomicU32) {
    let pid = victim.swap(0, Ordering::SeqCst);
    if pid != 0 {
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
}

fn killing(moment: Moment) -> Rotating {
    let victim = Arc::new(AtomicU32::new(0));
    let good = Mutex::new((1, "r1".to_owned()));
    let server = Server::start({
        let victim = Arc::clone(&victim);
        move |asked| {
            if asked.target == "/token" {
                let mut good = good.lock().unwrap();
                if !asked.body.ends_with(&format!("refresh_token={}", good.1)) {
                    return (400, Vec::new(), r#"{"error":"invalid_grant"}"#.into());
                }
                let number = good.0 + 1;
                *good = (number, format!("r{number}"));
                if moment == Moment::Answer {
                    kill(&victim);
                }
                return token(&format!("a{number}"), &json!({"refresh_token": good.1}));
            }
            if moment == Moment::FirstUse {
                kill(&victim);
            }
            match page_of(asked) {
                Some(number) => page(number, 2),
                None => (200, Vec::new(), r#"{"items":[]}"#.into()),
            }
        }
    });
    let lab = demo(&server, REFRESH, "{}", BASE);
    lab.credential("acme", "aptem", "refresh_token", "r1");
    let rotating = Rotating { server, lab: OnceLock::new(), victim };
    assert!(rotating.lab.set(lab).is_ok());
    rotating
}

impl Rotating {
    fn lab(&self) -> &Lab {
        self.lab.get().unwrap()
    }

    /// Runs a sync that is killed.
    fn killed(&self) {
        let mut command = self.lab().world.command("sync acme");
        // The server may be asked before the number of the process is known here.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawn_known(&mut command, &self.victim);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), self.victim.load(Ordering::SeqCst)), (None, 0), "the kill landed");
    }
}

fn spawn_known(command: &mut Command, victim: &AtomicU32) -> Child {
    let child = command.spawn().unwrap();
    victim.store(child.id(), Ordering::SeqCst);
    child
}

#[test]
fn a_kill_before_a_rotated_token_is_stored_is_told_as_a_credential_to_set_again() {
    let rotating = killing(Moment::Answer);
    rotating.killed();
    let lab = rotating.lab();
    for posts in [2, 3] {
        let report = lab.sync("acme", 4);
        let error = &report["runs"][0]["error"];
        assert_eq!((&error["code"], logins(&rotating.server)), (&json!("reauth_required"), posts), "{report}");
        assert!(error["hint"].as_str().unwrap().contains("credential set acme aptem refresh_token"), "{error}");
    }
    lab.run("credential test acme aptem --json").fails(4).says(&["reauth_required"]);
    lab.credential("acme", "aptem", "refresh_token", "r2");
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 2);
}

#[test]
fn a_kill_after_a_rotated_token_is_stored_costs_nothing() {
    let rotating = killing(Moment::FirstUse);
    rotating.killed();
    let lab = rotating.lab();
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 2);
    assert_eq!(logins(&rotating.server), 1);
}

#[test]
fn a_new_token_for_another_address_takes_the_request_there() {
    let second = Server::start(|asked| match page_of(asked) {
        Some(number) if bearer(asked) == "new" => page(number, 4),
        Some(_) => status(401),
        None => (200, Vec::new(), r#"{"items":[]}"#.into()),
    });
    let to = second.url.clone();
    let given = AtomicUsize::new(0);
    let first = Server::start(move |asked| match page_of(asked) {
        None if asked.target == "/token" && given.fetch_add(1, Ordering::SeqCst) == 0 => {
            token("old", &json!({"instance_url": format!("http://{}", asked.header("host").unwrap())}))
        }
        None if asked.target == "/token" => token("new", &json!({"instance_url": to})),
        Some(number) if number < 3 => page(number, 4),
        _ => status(401),
    });
    let lab = demo(&first, CLIENT, "{}", "{token.instance_url}");
    lab.credential("acme", "aptem", "client_secret", "a secret");
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 4);
    let pages = |server: &Server| server.asked().iter().filter_map(page_of).collect::<Vec<_>>();
    assert_eq!((pages(&first), pages(&second), logins(&first)), (vec![1, 2, 3], vec![3, 4], 2));
}

#[test]
fn a_credential_replaced_in_the_middle_of_a_run_is_never_mixed_in() {
    let lab_of = Arc::new(OnceLock::<Arc<Lab>>::new());
    let replaced = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let (lab_of, replaced) = (Arc::clone(&lab_of), Arc::clone(&replaced));
        move |asked| match page_of(asked) {
            None if asked.target == "/token" => {
                let account = if asked.body.contains("another") { "another" } else { "first" };
                token(account, &json!({}))
            }
            None => (200, Vec::new(), r#"{"items":[]}"#.into()),
            Some(3) if replaced.fetch_add(1, Ordering::SeqCst) == 0 => {
                lab_of.get().unwrap().credential("acme", "aptem", "client_secret", "another");
                status(401)
            }
            Some(number) => page(number, 5),
        }
    });
    let lab = Arc::new(demo(&server, CLIENT, "{}", BASE));
    lab.credential("acme", "aptem", "client_secret", "first");
    assert!(lab_of.set(Arc::clone(&lab)).is_ok());
    let report = lab.sync("acme --stream learners", 6);
    assert_eq!(report["runs"][0]["error"]["code"], "credential_replaced");
    assert!(server.asked().iter().filter(|asked| page_of(asked).is_some()).all(|asked| bearer(asked) == "first"));
    // The next run reads from the start: a place in one account's pages means nothing in another's.
    let before = server.asked().len();
    lab.sync("acme --stream learners", 0);
    let pages: Vec<usize> = server.asked().split_off(before).iter().filter_map(page_of).collect();
    assert_eq!(pages, [1, 2, 3, 4, 5]);
}

#[test]
fn tokens_are_sealed_where_they_belong_and_go_with_what_they_belong_to() {
    let server = Server::start(|asked| match page_of(asked) {
        None if asked.target == "/token" => token("sentinel-token-77ab", &json!({"id_token": "sentinel-id-77ab"})),
        None => (200, Vec::new(), r#"{"items":[]}"#.into()),
        Some(number) => page(number, 1),
    });
    let lab = demo(&server, CLIENT, "{}", BASE);
    organization(&lab, "birch", &server);
    for slug in ["acme", "birch"] {
        lab.credential(slug, "aptem", "client_secret", "sentinel-secret-77ab");
        lab.sync(slug, 0);
    }
    assert_eq!(logins(&server), 2);
    assert!(lab.world.holding(b"sentinel-").is_empty());
    assert!(below(lab.world.home()).iter().all(|path| !path.to_string_lossy().contains("sentinel")));
    // One organization's token in the place of another's opens nothing: there is another login, and no error.
    let database = rusqlite::Connection::open(lab.world.db()).unwrap();
    let swapped = "UPDATE access_tokens SET sealed = (SELECT sealed FROM access_tokens o WHERE o.organization_id <> access_tokens.organization_id)
                   WHERE organization_id = (SELECT id FROM organizations WHERE slug = 'acme')";
    assert_eq!(database.execute(swapped, []).unwrap(), 1);
    drop(database);
    lab.sync("acme", 0);
    assert_eq!(logins(&server), 3);
    let left = || {
        let sql = "SELECT o.slug FROM access_tokens t JOIN organizations o ON o.id = t.organization_id ORDER BY 1";
        lab.texts(sql).join(" ")
    };
    assert_eq!(left(), "acme birch");
    lab.run("org delete acme --yes").succeeds();
    assert_eq!(left(), "birch");
    lab.run("credential delete birch aptem client_secret --yes").succeeds();
    assert_eq!(left(), "");
}

#[test]
fn a_token_that_is_moved_is_found_and_got_anew_and_new_data_keys_forget_all() {
    let lab = lab(6, 2);
    for slug in ["acme", "umbra"] {
        lab.organization(slug, "bud");
        lab.sync(slug, 0);
    }
    assert_eq!(lab.world.json("key check")["tokens"], 2);
    let sql = lab.world.sql();
    sql.execute_batch(
        "CREATE TEMP TABLE kept AS SELECT organization_id, sealed FROM access_tokens;
         UPDATE access_tokens SET sealed = (SELECT sealed FROM kept WHERE kept.organization_id <> access_tokens.organization_id)",
    )
    .unwrap();
    drop(sql);
    let closed = lab.run("key check --json").fails(8).json()["closed"].clone();
    let places: Vec<&str> = closed.as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["access_tokens acme/bud", "access_tokens umbra/bud"]);
    lab.run("db check --deep").fails(12).says(&["damaged"]);
    for slug in ["acme", "umbra"] {
        lab.sync(slug, 0);
    }
    assert_eq!(lab.world.json("key check")["tokens"], 2);
    assert_eq!(lab.world.json("key rotate --rekey")["tokens"], 2);
    assert_eq!(lab.world.json("key check")["tokens"], 0);
    lab.sync("acme", 0);
}
