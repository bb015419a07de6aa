//! Large first loads of Salesforce by a job of its Bulk API: created once, polled, and downloaded as pages of CSV.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::{Lab, counts, lab, served};
use crate::sandbox::{Entry, Failure, Fault};

const JOBS: &str = "/services/data/v61.0/jobs/query";

/// Returns an organization of 40 accounts, of which none is too few for a job, in pages of seven.
fn bulky() -> Lab {
    let lab = plain();
    lab.run("override set acme salesforce bulk_from=1 bulk_page_size=7").succeeds();
    lab
}

/// Returns the same without jobs. Its fields are such that CSV could tell them wrong.
fn plain() -> Lab {
    let lab = lab(3, 40);
    lab.organization("acme", "aptem_salesforce");
    lab.run("override disable acme aptem").succeeds();
    let fields = "employer.account_manager=owner_name field_mappings.employer.deleted=IsDeleted";
    lab.run(&format!("override set acme salesforce field_mappings.{fields}")).succeeds();
    lab
}

fn warnings(report: &Value) -> String {
    report["runs"][0]["warnings"].to_string()
}

fn error(report: &Value) -> &Value {
    &report["runs"][0]["error"]
}

/// Returns the requests that were about jobs.
fn about_jobs(lab: &Lab) -> Vec<Entry> {
    let mut entries = lab.asked("salesforce", "acme");
    entries.retain(|entry| entry.path.starts_with(JOBS));
    entries
}

/// Returns how many requests of a method were about jobs.
fn number(lab: &Lab, method: &str) -> usize {
    about_jobs(lab).iter().filter(|entry| entry.method == method).count()
}

fn pages(lab: &Lab) -> Vec<Entry> {
    about_jobs(lab).into_iter().filter(|entry| entry.path.contains("/results")).collect()
}

#[test]
fn a_large_first_load_goes_by_a_job_and_stores_what_plain_pages_would() {
    let (mut lab, plain) = (bulky(), plain());
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 40, "inserted": 40}));
    assert_eq!(report["runs"][0]["warnings"], json!([]));
    assert_eq!((number(&lab, "POST"), pages(&lab).len(), number(&lab, "DELETE")), (1, 6, 1));
    let asked = lab.asked("salesforce", "acme");
    let queries = asked.iter().filter(|entry| entry.path.starts_with("/services/data/v61.0/query")).count();
    assert_eq!(queries, 1, "only the count is a query");
    plain.sync("acme", 0);
    assert!(about_jobs(&plain).is_empty());
    assert_eq!(lab.rows("acme", "employers"), plain.rows("acme", "employers"));
    assert_eq!(plain.texts("SELECT typeof(custom ->> 'deleted') FROM employers LIMIT 1"), ["integer"]);

    // A job's rows are the same to the changes that follow, and to a full read without a job.
    lab.sandbox.change("salesforce", "acme", 2);
    lab.sandbox.remove("salesforce", "acme", 3);
    lab.later(0);
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 5, "updated": 2, "deleted": 3}));
    lab.sandbox.clear_ledger();
    assert_eq!(counts(&lab.sync("acme --full", 0)), json!({"read": 37, "unchanged": 37}));
    assert_eq!(number(&lab, "POST"), 1);
    // Other settings are another read.
    lab.run("override set acme salesforce bulk_from=38").succeeds();
    lab.sandbox.clear_ledger();
    assert_eq!(counts(&lab.sync("acme --full", 0)), json!({"read": 37, "unchanged": 37}));
    assert_eq!(number(&lab, "POST"), 0, "37 are fewer than 38");
}

#[test]
fn a_load_killed_between_two_pages_goes_on_with_the_same_job() {
    let lab = bulky();
    let slow = Fault::new(Failure::Delay(Duration::from_secs(2)));
    // Creation and two looks come first; the third page of results is held up.
    lab.sandbox.fail("salesforce", slow.on_path(JOBS).after(5));
    let mut command = lab.world.command("sync acme");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while lab.rows("acme", "employers").len() < 14 {
        assert!(Instant::now() < until, "the sync stores nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.rows("acme", "employers").len(), 14);
    lab.sandbox.clear_ledger();
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 26, "inserted": 26}));
    assert_eq!((number(&lab, "POST"), served(&pages(&lab)).len(), number(&lab, "DELETE")), (0, 26, 1));
    let plain = plain();
    plain.sync("acme", 0);
    assert_eq!(lab.rows("acme", "employers"), plain.rows("acme", "employers"));
}

#[test]
fn a_job_that_fails_or_is_ended_is_deleted_and_plain_pages_read() {
    for state in ["Failed", "Aborted"] {
        let lab = bulky();
        let body = json!({"id": "750", "state": state}).to_string();
        lab.sandbox.fail("salesforce", Fault::status(200).body(&body).on_path(&format!("{JOBS}/")));
        let report = lab.sync("acme", 0);
        assert!(warnings(&report).contains("read without a job: the job of"), "{report}");
        assert_eq!(counts(&report), json!({"read": 40, "inserted": 40}));
        assert_eq!((number(&lab, "POST"), number(&lab, "DELETE")), (1, 1), "it is not left at the provider");
    }
}

#[test]
fn a_job_that_is_gone_is_made_again_and_nothing_counts_as_deleted() {
    let lab = bulky();
    // The third page cannot be read, so that the run ends there.
    lab.sandbox.fail("salesforce", Fault::status(200).body("").on_path(JOBS).after(5));
    lab.sync("acme", 9);
    assert_eq!(lab.rows("acme", "employers").len(), 14);
    lab.sandbox.fail("salesforce", Fault::status(404).on_path(JOBS));
    let report = lab.sync("acme", 0);
    assert!(warnings(&report).contains("begun again"), "{report}");
    assert_eq!((number(&lab, "POST"), lab.live("acme", "employers")), (2, 40));
    assert_eq!(counts(&report), json!({"read": 40, "inserted": 26, "unchanged": 14}));
}

#[test]
fn what_no_job_is_made_of_is_read_by_plain_pages() {
    let lab = bulky();
    let body = json!([{"errorCode": "INVALIDENTITY", "message": "Entity 'Account' is not supported by the Bulk API."}]);
    lab.sandbox.fail("salesforce", Fault::status(400).body(&body.to_string()).on_path(JOBS));
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 40, "inserted": 40}));
    assert!(
        warnings(&report).contains("read without a job") && warnings(&report).contains("not supported"),
        "{report}"
    );
    assert_eq!(about_jobs(&lab).len(), 1);
}

#[test]
fn a_job_is_not_created_again_where_its_creation_is_unclear() {
    let lab = bulky();
    lab.sandbox.fail("salesforce", Fault::status(503).on_path(JOBS));
    let report = lab.sync("acme", 9);
    assert_eq!((&error(&report)["code"], about_jobs(&lab).len()), (&json!("provider_failing"), 1));
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 40, "inserted": 40}));
}

#[test]
fn a_page_with_fewer_lines_than_it_says_is_not_believed() {
    let lab = bulky();
    let cut = Fault::status(200).body("\"Id\",\"Name\"\n\"001\",\"Acme\"\n");
    let cut =
        cut.header("Content-Type", "text/csv").header("Sforce-NumberOfRecords", "7").header("Sforce-Locator", "null");
    lab.sandbox.fail("salesforce", cut.on_path(JOBS).after(3));
    let report = lab.sync("acme", 9);
    let message = error(&report)["message"].as_str().unwrap();
    assert!(message.contains("1 of 7 records"), "{report}");
    assert_eq!(lab.rows("acme", "employers").len(), 0);
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 40, "inserted": 40}));
}

#[test]
fn a_query_that_takes_too_long_is_asked_in_halves() {
    let mut lab = plain();
    lab.sync("acme", 0);
    let changed = lab.sandbox.change("salesforce", "acme", 9);
    lab.later(0);
    let body = json!([{"errorCode": "QUERY_TIMEOUT", "message": "Your query request was running for too long."}]);
    let slow = Fault::status(400).body(&body.to_string()).on_path("/services/data/v61.0/queryAll");
    lab.sandbox.fail("salesforce", slow.clone().times(2));
    lab.sandbox.clear_ledger();
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 9, "updated": 9}));
    assert!(warnings(&report).contains("read in shorter windows"), "{report}");
    let mut entries = lab.asked("salesforce", "acme");
    entries.retain(|entry| entry.path.contains("/queryAll"));
    assert_eq!(entries.iter().map(|entry| entry.status).collect::<Vec<_>>(), [400, 400, 200, 200, 200, 200]);
    assert_eq!(served(&entries).len(), changed.len());

    lab.sandbox.fail("salesforce", slow.times(99));
    let report = lab.sync("acme", 9);
    assert_eq!(error(&report)["code"], "window_too_large");
    assert!(error(&report)["hint"].as_str().unwrap().contains("bulk_from"), "{report}");
}
