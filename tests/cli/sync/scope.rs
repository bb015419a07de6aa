//! A credential that sees less than the one before: what it does not show is not gone.

use serde_json::{Value, json};

use super::lab::{counts, lab};
use crate::sandbox::Fault;

const GROUPS: &str = "/odata/1.0/Groups";

fn warnings(report: &Value) -> String {
    report["runs"][0]["warnings"].to_string()
}

#[test]
fn a_token_that_sees_half_of_the_learners_deletes_none_and_says_so() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.credential("acme", "aptem", "api_key", "sandbox-aptemgroup-acme");
    let said = "learners: the credential has changed since the last full read, so nothing that is missing was marked as deleted";
    lab.run("sync acme --full").succeeds().says(&["warning: acme/aptem: ", said]);
    assert_eq!(lab.live("acme", "learners"), 20);
    // The next one may, within the brake.
    let error = lab.sync("acme --full", 6)["runs"][0]["error"].clone();
    assert_eq!(error["code"], "mass_delete");
    let report = lab.sync("acme --full --allow-mass-delete --confirm acme", 0);
    let deleted = report["total"]["deleted"].as_u64().unwrap();
    assert!(deleted > 0 && lab.live("acme", "learners") == 20 - usize::try_from(deleted).unwrap());
    // Back with the first token, they are live again.
    lab.credential("acme", "aptem", "api_key", "sandbox-aptem-acme");
    let report = lab.sync("acme --full", 0);
    assert_eq!((&report["total"]["updated"], lab.live("acme", "learners")), (&json!(deleted), 20));
}

#[test]
fn a_token_whose_groups_have_changed_deletes_none_once() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let gone = lab.sandbox.remove("aptem", "acme", 2);
    assert_eq!(gone.len(), 2);
    let fewer = Fault::status(200).body(r#"{"value":[{"Id":1}]}"#).on_path(GROUPS).times(2);
    lab.sandbox.fail("aptem", fewer);
    let report = lab.sync("acme --full", 0);
    assert!(warnings(&report).contains("what the credential sees has changed since the last full read"), "{report}");
    assert_eq!(report["total"]["deleted"], 0);
    // The fault is over, which is another change; after that all is as it was.
    assert_eq!(lab.sync("acme --full", 0)["total"]["deleted"], 0);
    assert_eq!(lab.sync("acme --full", 0)["total"]["deleted"], 2);
    assert_eq!(counts(&lab.sync("acme", 0))["deleted"], Value::Null);
}

#[test]
fn the_same_key_set_again_is_no_other_credential() {
    let lab = lab(3, 10);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.credential("acme", "aptem", "api_key", "sandbox-aptem-acme");
    let report = lab.sync("acme --full", 0);
    assert_eq!(warnings(&report), "[]");
}

#[test]
fn settings_that_change_are_told_in_the_summary() {
    let lab = lab(10, 3);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.run("override set acme aptem field_mappings.learner.phone=manager_phone").succeeds();
    let ended = lab.run("sync acme").succeeds();
    ended.says(&["; learners read in full, as settings, mappings or filters have changed"]);
    lab.run("override set acme aptem powerbi_filters.employer.name=X").succeeds();
    assert_eq!(lab.sync("acme", 0)["runs"][0]["reread"], json!(["organizations"]));
    let settings = |run: u8| lab.run(&format!("log show {run} --json")).succeeds().json()["settings"].clone();
    assert!(settings(1).is_string() && settings(1) != settings(2) && settings(2) != settings(3));
    let shown = lab.run("log show 3").succeeds();
    shown.prints(&["settings", settings(3).as_str().unwrap()]);
    lab.run("override unset acme aptem field_mappings.learner.phone").succeeds();
    lab.run("sync --all --force").succeeds().says(&["; 1 read in full as settings changed; "]);
    let ended = lab.run("sync acme").succeeds();
    assert!(!ended.stderr.contains("in full"), "{ended}");
}
