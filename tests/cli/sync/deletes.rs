//! Records that are no longer at the provider: marked as deleted, never by mistake, and back when they come back.

use std::collections::BTreeSet;

use serde_json::json;

use super::lab::{Lab, counts, lab};
use crate::sandbox::Fault;

const USERS: &str = "/odata/1.0/Users";

/// Returns the keys of the rows marked as deleted.
fn gone(lab: &Lab, slug: &str, table: &str) -> BTreeSet<String> {
    let rows = lab.rows(slug, table).into_iter().filter(|(_, row)| row.deleted);
    rows.map(|((_, key), _)| key).collect()
}

fn set(ids: Vec<String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

#[test]
fn archived_contacts_are_found_in_hubspots_list_of_them() {
    let mut lab = lab(3, 20);
    lab.organization("acme", "aptem_hubspot");
    lab.sync("acme", 0);
    let archived = set(lab.sandbox.remove("hubspot", "acme", 6));
    lab.later(0);
    let report = lab.sync("acme --provider hubspot", 0);
    assert_eq!(counts(&report), json!({"deleted": 6}), "a list of deletes needs no brake");
    assert_eq!(gone(&lab, "acme", "employers"), archived);
    assert_eq!(counts(&lab.sync("acme --provider hubspot", 0)), json!({}), "and counts them once");
}

#[test]
fn hubspot_contacts_merged_into_others_are_gone_with_the_next_sync() {
    let mut lab = lab(3, 20);
    lab.organization("acme", "aptem_hubspot");
    lab.sync("acme", 0);
    let pairs = lab.sandbox.merge("hubspot", "acme", 3);
    let merged = set(pairs.iter().skip(1).step_by(2).cloned().collect());
    lab.later(0);
    let report = lab.sync("acme --provider hubspot", 0);
    assert_eq!(report["total"]["deleted"], 3, "{report}");
    assert_eq!(gone(&lab, "acme", "employers"), merged);
    assert_eq!(lab.live("acme", "employers"), 17);
    let shown = lab.run("provider show hubspot").succeeds();
    assert!(shown.stdout.contains("merged") && shown.stdout.contains("within 7d"), "{shown}");
}

#[test]
fn deleted_accounts_are_told_by_salesforces_flag() {
    let mut lab = lab(3, 20);
    lab.organization("acme", "aptem_salesforce");
    lab.sync("acme", 0);
    let deleted = set(lab.sandbox.remove("salesforce", "acme", 6));
    lab.sandbox.change("salesforce", "acme", 2);
    lab.later(0);
    let report = lab.sync("acme --provider salesforce", 0);
    assert_eq!(counts(&report), json!({"read": 8, "deleted": 6, "updated": 2}));
    assert_eq!(gone(&lab, "acme", "employers"), deleted);
    assert_eq!(counts(&lab.sync("acme --provider salesforce --full", 0)), json!({"read": 14, "unchanged": 14}));
}

#[test]
fn learners_missing_from_a_full_read_are_deleted_but_not_many_at_once() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let deleted = set(lab.sandbox.remove("aptem", "acme", 5));
    lab.later(0);
    assert_eq!(lab.sync("acme", 0)["total"]["deleted"], 0, "changes alone prove nothing");

    let report = lab.sync("acme --full", 6);
    let error = &report["runs"][0]["error"];
    assert_eq!((&error["code"], &report["total"]["deleted"]), (&json!("mass_delete"), &json!(0)));
    assert!(error["message"].as_str().unwrap().starts_with("5 of 20 learners"));
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.ends_with("skillsctl sync acme --full --allow-mass-delete --confirm acme"), "{hint}");
    assert_eq!((gone(&lab, "acme", "learners").len(), lab.live("acme", "employers")), (0, 5));
    for (consent, exit) in [("", 2), (" --yes", 2), (" --confirm globex", 2), (" --confirm acme --all", 2)] {
        lab.run(&format!("sync acme --full --allow-mass-delete{consent}")).fails(exit);
    }
    assert_eq!(lab.sync("acme --full --allow-mass-delete --dry-run", 0)["total"]["deleted"], 5);
    assert_eq!(gone(&lab, "acme", "learners").len(), 0);
    let leave = "SELECT count(*) FROM audit_log WHERE action = 'sync mass-delete'";
    assert_eq!(lab.number(leave), 0);
    assert_eq!(lab.sync("acme --full --allow-mass-delete --confirm acme", 0)["total"]["deleted"], 5);
    assert_eq!(gone(&lab, "acme", "learners"), deleted);
    let of = "acme/aptem/learners: 5 of 20";
    assert_eq!((lab.number(leave), lab.number(&format!("{leave} AND subject = '{of}'"))), (1, 1));
    assert_eq!(lab.sync("acme --full --allow-mass-delete --confirm acme", 0)["total"]["deleted"], 0);
    assert_eq!(lab.number(leave), 1, "leave that was not needed is none");

    // Few at once need no leave, and the daily full read finds them by itself.
    let more = set(lab.sandbox.remove("aptem", "acme", 2));
    lab.later(25 * 60);
    assert_eq!(lab.sync("--all", 0)["total"]["deleted"], 2);
    assert_eq!(gone(&lab, "acme", "learners"), &deleted | &more);
}

#[test]
fn a_service_that_suddenly_shows_nobody_deletes_nobody() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.sandbox.fail("aptem", Fault::status(200).body(r#"{"value":[]}"#).on_path(USERS));
    let ended = lab.run("sync acme --full").fails(6);
    ended.says(&["learners: Aptem showed no record at all, where some were before"]);
    assert_eq!(lab.live("acme", "learners"), 20);
}

#[test]
fn a_learner_that_comes_back_is_the_same_row_in_force_again() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let (rows, ids) = (lab.rows("acme", "learners"), lab.texts("SELECT CAST(id AS TEXT) FROM learners ORDER BY id"));
    let mut keys: Vec<String> = rows.keys().map(|(_, key)| key.clone()).collect();
    keys.sort();
    // A full read that shows all but the last two.
    let some: Vec<_> = keys[..18].iter().map(|key| json!({"Id": key.parse::<u64>().unwrap()})).collect();
    let page = json!({ "value": some }).to_string();
    lab.sandbox.fail("aptem", Fault::status(200).body(&page).on_path(USERS));
    lab.sandbox.fail("aptem", Fault::status(200).body(r#"{"value":[]}"#).on_path(USERS));
    lab.sync("acme --full", 0);
    assert_eq!(gone(&lab, "acme", "learners"), set(keys[18..].to_vec()));

    let report = lab.sync("acme --full", 0);
    assert_eq!((&report["total"]["updated"], &report["total"]["inserted"]), (&json!(20), &json!(0)));
    assert_eq!(lab.rows("acme", "learners"), rows);
    assert_eq!(lab.texts("SELECT CAST(id AS TEXT) FROM learners ORDER BY id"), ids);
}

#[test]
fn bud_must_miss_a_learner_twice_before_it_counts_as_deleted() {
    let lab = lab(20, 5);
    lab.organization("acme", "bud");
    lab.sync("acme", 0);
    let removed = set(lab.sandbox.remove("bud", "acme", 2));
    assert_eq!(lab.sync("acme", 0)["total"]["deleted"], 0);
    assert_eq!(lab.sync("acme", 0)["total"]["deleted"], 2);
    assert_eq!(gone(&lab, "acme", "learners"), removed);
}

#[test]
fn onefile_must_miss_a_learner_in_two_full_reads_and_aptem_in_one() {
    let lab = lab(12, 4);
    lab.organization("acme", "onefile");
    lab.organization("globex", "aptem");
    lab.sync("acme globex", 0);
    let removed = set(lab.sandbox.remove("onefile", "acme", 2));
    let from_aptem = set(lab.sandbox.remove("aptem", "globex", 2));
    assert_eq!(lab.sync("acme globex --full", 0)["total"]["deleted"], 2);
    assert_eq!((gone(&lab, "acme", "learners").len(), gone(&lab, "globex", "learners")), (0, from_aptem));
    assert_eq!(lab.sync("acme --full", 0)["total"]["deleted"], 2);
    assert_eq!(gone(&lab, "acme", "learners"), removed);
}
