//! Answers that are wrong, late or missing: what is said, what is kept, and that nothing is taken for an end or a delete.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::{Lab, Server, counts, lab};
use crate::sandbox::{Failure, Fault, Kind};

const USERS: &str = "/odata/1.0/Users";
const ORGANIZATIONS: &str = "/odata/1.0/Organizations";

/// Returns a lab with one organization that has Aptem, not synced yet.
fn aptem(learners: usize) -> Lab {
    let lab = lab(learners, 5);
    lab.organization("acme", "aptem");
    lab
}

/// Returns the error of the only run of a report.
fn error(report: &Value) -> &Value {
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
    &report["runs"][0]["error"]
}

#[test]
fn a_refused_key_ends_the_run_and_says_what_to_do() {
    let lab = aptem(20);
    lab.sandbox.fail("aptem", Fault::status(401));
    let ended = lab.run("sync acme --json").fails(4);
    let report = ended.json();
    assert_eq!((&error(&report)["code"], &error(&report)["exit"]), (&json!("credential_refused"), &json!(4)));
    let hint = error(&report)["hint"].as_str().unwrap();
    assert!(hint.contains("api_key"), "{hint}");
    lab.sandbox.fail("aptem", Fault::status(401));
    lab.run("sync acme").fails(4).says(&["failed acme/aptem", "401", "api_key", "skillsctl log show 2"]);
    assert_eq!((lab.rows("acme", "learners").len(), lab.outcomes("acme")), (0, vec!["failed".into(), "failed".into()]));
}

#[test]
fn a_stream_that_may_not_be_read_is_left_out_and_the_rest_goes_on() {
    let lab = aptem(20);
    lab.sandbox.withhold("aptem", "acme", "Organizations");
    let report = lab.sync("acme", 3);
    assert_eq!((&report["partial"], &report["total"]["inserted"]), (&json!(1), &json!(20)));
    assert_eq!(error(&report)["code"], "stream_not_readable");
    let warnings = report["runs"][0]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().starts_with("organizations: left out")));
    assert_eq!((lab.live("acme", "learners"), lab.live("acme", "employers")), (20, 0));
    // The other way round: learners are read first, and employers come all the same.
    lab.organization("ash", "aptem");
    lab.sandbox.withhold("aptem", "ash", "Users");
    lab.sync("ash", 3);
    assert_eq!((lab.live("ash", "learners"), lab.live("ash", "employers")), (0, 5));
    assert_eq!(lab.outcomes("ash"), ["partial"]);
}

#[test]
fn an_address_where_nothing_is_says_to_check_the_address() {
    let lab = aptem(5);
    lab.run(&format!("override set acme aptem api_url={}/old", lab.sandbox.url("aptem"))).succeeds();
    let report = lab.sync("acme", 9);
    assert!(error(&report)["message"].as_str().unwrap().contains("404"));
    assert!(error(&report)["hint"].as_str().unwrap().contains("api_url"));
    lab.run("override set acme aptem api_url=http://127.0.0.1:1").succeeds();
    let began = Instant::now();
    assert_eq!(error(&lab.sync("acme --stream learners", 9))["code"], "provider_unreachable");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// Proves that a failed full read of learners stores nothing wrong: no row is gone, the watermark stands.
fn keeps_all(lab: &mut Lab, fault: Fault, code: &str) {
    let (rows, progress) = (lab.rows("acme", "learners"), lab.progress("acme", "learners"));
    lab.later(0);
    lab.sandbox.fail("aptem", fault.on_path(USERS));
    let report = lab.sync("acme --full", 9);
    assert_eq!((&error(&report)["code"], &report["failed"]), (&json!(code), &json!(1)), "{report}");
    assert_eq!(report["total"]["deleted"], 0);
    assert_eq!(lab.rows("acme", "learners"), rows);
    assert_eq!(lab.progress("acme", "learners").0, progress.0);
    let outcomes = lab.outcomes("acme");
    assert_eq!(outcomes.last().unwrap(), "failed");
}

#[test]
fn a_page_that_proves_nothing_is_never_the_last_one() {
    let mut lab = aptem(40);
    lab.run("override set acme aptem page_size=10").succeeds();
    lab.sync("acme", 0);
    // On the third of five pages, then each time one page on from where the last run stood.
    keeps_all(&mut lab, Fault::new(Failure::LoginPage).after(2), "not_json");
    keeps_all(&mut lab, Fault::new(Failure::Empty).after(1), "empty_answer");
    let foreign = Fault::status(200).body(r#"{"error":{"message":"no"}}"#);
    keeps_all(&mut lab, foreign, "records_missing");
    let report = lab.sync("acme", 0);
    assert_eq!((lab.live("acme", "learners"), &report["total"]["deleted"]), (40, &json!(0)));
    assert!(!lab.progress("acme", "learners").1);
}

#[test]
fn a_body_cut_off_is_asked_for_again_and_never_believed() {
    let mut lab = aptem(40);
    lab.sandbox.fail("aptem", Fault::new(Failure::Truncated).on_path(USERS));
    let report = lab.sync("acme", 0);
    assert_eq!((lab.live("acme", "learners"), &report["total"]["retries"]), (40, &json!(1)));
    keeps_all(&mut lab, Fault::new(Failure::Truncated).times(5), "bad_response");
}

#[test]
fn a_provider_that_fails_for_a_while_is_asked_again() {
    let lab = aptem(20);
    lab.sandbox.fail("aptem", Fault::status(503).on_path(USERS).times(1));
    lab.sandbox.fail("aptem", Fault::new(Failure::Reset).on_path(ORGANIZATIONS).times(1));
    let report = lab.sync("acme", 0);
    assert_eq!((&report["total"]["retries"], lab.live("acme", "learners")), (&json!(2), 20));
}

#[test]
fn too_many_requests_wait_as_long_as_they_are_told_to() {
    let mut lab = aptem(20);
    lab.sandbox.fail("aptem", Fault::status(429).header("Retry-After", "2").on_path(USERS));
    let began = Instant::now();
    let report = lab.sync("acme", 0);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(report["total"]["waited_ms"].as_u64().unwrap() >= 2000);
    assert_eq!(lab.live("acme", "learners"), 20);

    // An hour is not slept through: the run stops, keeps its place, and goes on later.
    lab.run("override set acme aptem page_size=5").succeeds();
    lab.sandbox.fail("aptem", Fault::status(429).header("Retry-After", "3600").on_path(USERS).after(2));
    let began = Instant::now();
    let report = lab.sync("acme --full --stream learners", 9);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((&report["deferred"], &error(&report)["code"]), (&json!(1), &json!("rate_limited")));
    assert!(lab.progress("acme", "learners").1);
    lab.sandbox.clear_ledger();
    lab.later(61);
    lab.sync("acme --stream learners", 0);
    assert_eq!(super::lab::served(&lab.asked("aptem", "acme")).len(), 10, "the first ten are not read again");
}

#[test]
fn a_redirect_is_not_followed_and_the_key_goes_nowhere() {
    let lab = aptem(5);
    let thief = Server::start(|_| (200, Vec::new(), r#"{"value":[]}"#.into()));
    lab.sandbox.fail("aptem", Fault::new(Failure::Redirect(format!("{}/odata/1.0/Users", thief.url))).times(9));
    let report = lab.sync("acme", 9);
    assert!(error(&report)["message"].as_str().unwrap().contains("302"));
    assert!(thief.asked().is_empty());
    assert_eq!(lab.rows("acme", "learners").len(), 0);
}

#[test]
fn a_link_to_another_host_is_not_followed() {
    let lab = lab(5, 5);
    lab.organization("acme", "bud_salesforce");
    lab.run("override disable acme bud").succeeds();
    let thief = Server::start(|_| (200, Vec::new(), "{}".into()));
    let page = json!({"done": false, "totalSize": 9, "records": [], "nextRecordsUrl": format!("{}/more", thief.url)});
    // A count comes first.
    let fault = Fault::status(200).body(&page.to_string()).on_path("/services/data/v61.0/query").after(1);
    lab.sandbox.fail("salesforce", fault);
    let report = lab.sync("acme", 9);
    assert_eq!(error(&report)["code"], "foreign_link");
    assert!(thief.asked().is_empty());
}

#[test]
fn another_portals_token_stores_nothing() {
    let lab = lab(5, 8);
    lab.organization("acme", "aptem_hubspot");
    lab.run("override disable acme aptem").succeeds();
    lab.credential("acme", "hubspot", "api_key", "sandbox-hubspot-rival");
    let report = lab.sync("acme", 4);
    assert_eq!(error(&report)["code"], "wrong_account");
    assert_eq!((lab.rows("acme", "employers").len(), lab.progress("acme", "contacts")), (0, (None, false)));
    assert!(lab.asked("hubspot", "rival").iter().all(|entry| entry.ids.is_empty()));
    lab.credential("acme", "hubspot", "api_key", "sandbox-hubspot-acme");
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 8, "inserted": 8}));
}

#[test]
fn one_failing_organization_stops_no_other() {
    let lab = lab(10, 3);
    for slug in ["ash", "birch", "cedar"] {
        lab.organization(slug, "aptem_hubspot");
    }
    lab.credential("birch", "aptem", "api_key", "not-a-key-of-anybody");
    let ended = lab.run("sync --all --jobs 1").fails(3);
    let ended = ended.says(&["6 due: 5 ok, 1 failed", "failed birch/aptem", "skillsctl log show"]);
    assert!(!ended.stderr.contains("not-a-key-of-anybody"));
    for (slug, learners) in [("ash", 10), ("birch", 0), ("cedar", 10)] {
        assert_eq!((lab.live(slug, "learners"), lab.live(slug, "employers")), (learners, 3), "{slug}");
    }
    let report = lab.sync("birch", 3);
    assert_eq!((&report["ok"], &report["failed"]), (&json!(1), &json!(1)));
}

#[test]
fn an_expired_session_is_renewed_once_in_the_middle_of_a_read() {
    let lab = lab(60, 5);
    lab.organization("acme", "bud");
    lab.run("override set acme bud page_size=10").succeeds();
    // The second page meets a token that is worth nothing any more.
    lab.sandbox.fail("bud", Fault::status(401).after(1));
    let report = lab.sync("acme", 0);
    assert_eq!((lab.live("acme", "learners"), &report["total"]["inserted"]), (60, &json!(65)));
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 2);
}

#[test]
fn a_session_token_in_quotes_is_taken_out_of_them() {
    let lab = super::lab::shipped(crate::sandbox::Config {
        learners: 6,
        employers: 2,
        onefile_token_wrapped: true,
        ..crate::sandbox::Config::default()
    });
    lab.organization("acme", "onefile");
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 8);
}

#[test]
fn a_rotated_refresh_token_is_stored_before_it_is_needed() {
    let lab = lab(5, 8);
    lab.organization("acme", "bud_salesforce");
    lab.run("override disable acme bud").succeeds();
    lab.run("override set acme salesforce auth_method=refresh_token").succeeds();
    lab.credential("acme", "salesforce", "refresh_token", "sandbox-sfrefresh-acme");
    lab.sync("acme", 0);
    // Each refresh token is good once. A dry run uses one up as well, and so does a run that fails right after.
    lab.sync("acme --dry-run", 0);
    lab.sandbox.fail("salesforce", Fault::status(403).on_path("/services/data"));
    lab.sync("acme", 9);
    lab.sandbox.change_kind("salesforce", "acme", Kind::Employer, 2);
    assert_eq!(lab.sync("acme --full", 0)["total"]["updated"], 2);
}

#[test]
fn a_key_appears_in_no_output_and_in_no_file() {
    let lab = aptem(10);
    let sentinel = "sandbox-aptem-sentinel5f1e";
    lab.credential("acme", "aptem", "api_key", sentinel);
    let echo = format!(r#"{{"error":{{"message":"no such key: {sentinel}"}}}}"#);
    let mut said = String::new();
    // A refused key ends a run at once; other answers end each of its two streams.
    for (fault, times, exit) in [
        (Fault::status(401).body(&echo), 2, 4),
        (Fault::status(400).body(&echo), 2, 9),
        (Fault::status(200).body(&format!("<html>{sentinel}</html>")), 2, 9),
    ] {
        lab.sandbox.fail("aptem", fault.times(times).on_path(USERS));
        for format in ["", " --json"] {
            let ended = lab.run(&format!("sync acme -v -v{format}")).fails(exit);
            said += &format!("{}{}", ended.stdout, ended.stderr);
        }
    }
    lab.sync("acme", 0);
    for line in
        ["log list --json", "log show 1", "status acme", "config show acme aptem --origin", "record list acme learners"]
    {
        let ended = lab.run(line).succeeds();
        said += &format!("{}{}", ended.stdout, ended.stderr);
    }
    assert!(!said.contains("sentinel5f1e"), "{said}");
    assert_eq!(lab.world.holding(b"sentinel5f1e"), Vec::<PathBuf>::new());
}
