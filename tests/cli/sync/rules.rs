//! What a sync heeds besides the provider: limits, filters, mappings, clocks, and the words it reports with.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::lab::{Lab, counts, lab, served};
use crate::sandbox::Fault;

const USERS: &str = "/odata/1.0/Users";

fn live_keys(lab: &Lab, slug: &str) -> BTreeSet<String> {
    lab.rows(slug, "learners").into_iter().filter(|(_, row)| row.live()).map(|((_, key), _)| key).collect()
}

fn warnings(report: &Value) -> String {
    report["runs"][0]["warnings"].to_string()
}

#[test]
fn new_learners_beyond_the_limit_are_counted_and_not_stored() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.run("org edit acme --max-learners 15 --yes").succeeds();
    let report = lab.sync("acme", 3);
    assert_eq!(counts(&report), json!({"read": 25, "inserted": 20, "over_cap": 5}));
    assert_eq!((&report["partial"], lab.live("acme", "learners"), lab.live("acme", "employers")), (&json!(1), 15, 5));
    lab.run("sync acme --full").fails(3).says(&["5 over the limit"]);
    // A higher limit lets others in at the next sync, though nothing has changed about them.
    lab.run("org edit acme --max-learners 18 --yes").succeeds();
    assert_eq!(lab.sync("acme", 3)["total"]["inserted"], 3);
    // Those who are stored still change.
    lab.sandbox.change("aptem", "acme", 20);
    lab.later(0);
    assert_eq!(counts(&lab.sync("acme", 3)), json!({"read": 20, "updated": 18, "over_cap": 2}));
    lab.run("org edit acme --max-learners 20 --yes").succeeds();
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 2);
}

#[test]
fn a_learner_that_leaves_the_filter_is_out_of_scope_until_it_is_back() {
    let mut lab = lab(25, 5);
    lab.organization("acme", "aptem");
    lab.run("override set acme aptem powerbi_filters.learner.status=Active").succeeds();
    let report = lab.sync("acme", 0);
    let active = live_keys(&lab, "acme");
    assert!(!active.is_empty() && active.len() < 25);
    assert_eq!(report["total"]["filtered"], 25 - active.len());
    assert_eq!(lab.rows("acme", "learners").len(), active.len(), "who never passed is not stored");
    let report_view = "SELECT external_id FROM learner_report";
    assert_eq!(lab.texts(report_view).into_iter().collect::<BTreeSet<_>>(), active);

    // Each change moves a learner on to the next of five standings.
    lab.sandbox.change("aptem", "acme", 25);
    lab.later(0);
    lab.sync("acme", 0);
    let rows = lab.rows("acme", "learners");
    for key in &active {
        let row = &rows[&("aptem".to_owned(), key.clone())];
        assert!(!row.in_scope && !row.deleted, "{key}");
    }
    assert!(live_keys(&lab, "acme").is_disjoint(&active));
    assert!(lab.texts(report_view).iter().all(|key| !active.contains(key)));
    for _ in 0..4 {
        lab.sandbox.change("aptem", "acme", 25);
    }
    lab.later(0);
    lab.sync("acme", 0);
    assert_eq!(live_keys(&lab, "acme"), active);

    // Wider filters apply to all learners at once, not only to those that change.
    lab.run("override unset acme aptem powerbi_filters.learner.status").succeeds();
    let report = lab.sync("acme", 0);
    assert!(warnings(&report).contains("settings, mappings or filters changed"), "{report}");
    assert_eq!(lab.live("acme", "learners"), 25);
}

#[test]
fn bad_records_wait_in_quarantine_until_the_mapping_is_right() {
    let mut lab = lab(30, 5);
    lab.organization("acme", "aptem");
    lab.run(r#"override set acme aptem 'field_mappings.learner.level={from: programme_name, match: ".*L3"}'"#)
        .succeeds();
    let report = lab.sync("acme", 3);
    let stored = lab.live("acme", "learners");
    assert!(stored > 0 && stored < 30, "{report}");
    assert_eq!((&report["partial"], &report["total"]["quarantined"]), (&json!(1), &json!(30 - stored)));
    let quarantined = "SELECT count(*) FROM quarantine";
    assert_eq!(lab.number(quarantined), 30 - i64::try_from(stored).unwrap());
    let reason = &lab.texts("SELECT reasons FROM quarantine")[0];
    assert!(reason.contains("learner.level") && reason.contains("match"), "{reason}");
    assert_eq!(lab.live("acme", "employers"), 5);

    // A stored row whose record has become bad stays as it is: it is not gone.
    let before = lab.rows("acme", "learners");
    lab.sandbox.change("aptem", "acme", 30);
    lab.later(0);
    let report = lab.sync("acme --full", 3);
    assert_eq!(report["total"]["deleted"], 0);
    assert!(before.keys().all(|key| !lab.rows("acme", "learners")[key].deleted));

    lab.run("override set acme aptem field_mappings.learner.level=programme_name").succeeds();
    lab.sandbox.clear_ledger();
    let report = lab.sync("acme", 0);
    assert!(
        warnings(&report).contains("settings, mappings or filters changed, so it was read in full once"),
        "{report}"
    );
    assert_eq!((lab.live("acme", "learners"), lab.number(quarantined)), (30, 0));
    lab.sandbox.clear_ledger();
    let report = lab.sync("acme --stream learners", 0);
    assert!(!warnings(&report).contains("in full"));
    let asked = lab.sandbox.ledger("aptem");
    let mut pages = asked.iter().filter(|entry| !entry.path.contains("/Groups"));
    assert!(pages.all(|entry| entry.path.contains("UpdatedDate%20ge")));
}

#[test]
fn required_and_typed_values_are_checked_and_bad_ones_dropped_where_the_mapping_says_so() {
    let lab = lab(30, 5);
    lab.organization("acme", "aptem");
    let completed = "SELECT count(*) FROM learners WHERE completion IS NOT NULL";
    lab.sync("acme", 0);
    let completed = lab.number(completed);
    assert!(completed > 0 && completed < 30);
    lab.run("override set acme aptem 'field_mappings.learner.done={from: completion_date, require: true}'").succeeds();
    let report = lab.sync("acme", 3);
    assert_eq!(report["total"]["quarantined"], 30 - completed);
    assert_eq!(lab.live("acme", "learners"), 30);
    lab.run("override set acme aptem 'field_mappings.learner.done={from: programme_name, type: decimal, bad: warn}'")
        .succeeds();
    let report = lab.sync("acme", 0);
    assert!(warnings(&report).contains("30 bad values were left empty"), "{report}");
    assert_eq!(lab.number("SELECT count(*) FROM quarantine"), 0);
}

#[test]
fn a_dry_run_shows_what_would_change_and_writes_nothing() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem_hubspot");
    let before = lab.world.database();
    assert_eq!(counts(&lab.sync("acme --dry-run", 0)), json!({"read": 25, "inserted": 25}));
    assert!(lab.world.database() == before);
    lab.sync("acme", 0);
    lab.sandbox.change("aptem", "acme", 3);
    lab.sandbox.remove("hubspot", "acme", 1);
    lab.later(0);
    let before = lab.world.database();
    let report = lab.sync("acme --dry-run", 0);
    assert_eq!(counts(&report), json!({"read": 3, "updated": 3, "deleted": 1}));
    assert_eq!((&report["dry_run"], &report["runs"][0]["run"]), (&json!(true), &Value::Null));
    lab.run("sync acme --dry-run").succeeds().says(&["3 changed", "1 deleted", "dry run: nothing was changed"]);
    assert!(lab.world.database() == before);
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 3, "updated": 3, "deleted": 1}));
}

#[test]
fn a_fast_clock_of_ours_passes_over_nothing() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem_salesforce");
    lab.later(120);
    lab.sync("acme", 0);
    lab.sandbox.change("aptem", "acme", 3);
    lab.sandbox.change("salesforce", "acme", 2);
    lab.later(121);
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 5, "updated": 5}));
}

#[test]
fn a_change_that_becomes_visible_late_is_read_by_the_overlap() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let changed = lab.sandbox.change("aptem", "acme", 1);
    // The provider's index does not have it yet.
    lab.sandbox.fail("aptem", Fault::status(200).body(r#"{"value":[]}"#).on_path(USERS));
    lab.later(0);
    assert_eq!(lab.sync("acme", 0)["total"]["updated"], 0);
    lab.sandbox.clear_ledger();
    lab.later(0);
    assert_eq!(lab.sync("acme", 0)["total"]["updated"], 1);
    let mut entries = lab.asked("aptem", "acme");
    entries.retain(|entry| entry.path.starts_with(USERS));
    assert_eq!(served(&entries), changed);
}

#[test]
fn a_failed_run_is_due_again_soon_and_a_suspended_organization_never() {
    let mut lab = lab(5, 2);
    lab.organization("acme", "aptem");
    lab.organization("ash", "aptem");
    lab.run("org suspend ash").succeeds();
    lab.sandbox.fail("aptem", Fault::status(404).times(2));
    lab.run("sync --all").fails(9).says(&["1 due: 1 failed"]);
    lab.later(3);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    lab.later(6);
    lab.run("sync --all").succeeds().says(&["1 due: 1 ok"]);
    lab.run("sync ash").fails(6).says(&["suspended", "skillsctl org resume ash"]);
    assert!(lab.asked("aptem", "ash").is_empty());
}

#[test]
fn what_cannot_be_synced_is_told_before_anything_is_asked() {
    let lab = lab(5, 2);
    lab.organization("acme", "aptem_hubspot");
    lab.run("sync").fails(2);
    lab.run("sync acmee").fails(5).says(&["acmee"]);
    lab.run("sync acme --provider bud").fails(5);
    lab.run("sync acme --stream learnerz").fails(5).says(&["did you mean `learners`?"]);
    lab.run("override disable acme hubspot").succeeds();
    lab.run("sync acme --provider hubspot").fails(6).says(&["disabled"]);
    lab.run("override disable acme aptem").succeeds();
    lab.run("sync acme").fails(6);
    lab.run("sync --all --force").succeeds().says(&["nothing due"]);
    assert!(lab.sandbox.ledger("aptem").is_empty() && lab.sandbox.ledger("hubspot").is_empty());
}

#[test]
fn the_report_for_scripts_has_these_fields() {
    let lab = lab(5, 2);
    lab.organization("acme", "aptem");
    let ended = lab.run("sync acme --json").succeeds();
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""));
    let report = ended.json();
    let keys = |value: &Value| value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&report),
        "already_run already_running deferred dry_run duration_ms failed interrupted kind not_begun ok partial runs started_at \
         total v"
    );
    let tally = "adopted bytes deleted erased filtered inserted over_cap pages quarantined read requests retries unchanged \
                 updated waited_ms";
    assert_eq!(keys(&report["total"]), tally);
    let own = "duration_ms error fell_back organization outcome provider reread run warnings";
    let both: BTreeSet<&str> = tally.split(' ').chain(own.split(' ')).collect();
    assert_eq!(keys(&report["runs"][0]), both.into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(
        (&report["kind"], &report["v"], &report["runs"][0]["run"]),
        (&json!("SyncReport"), &json!(1), &json!("1"))
    );
    assert_eq!(report["runs"][0]["error"], Value::Null);
    // For a person: one line for the run, on stderr.
    let ended = lab.run("sync acme").succeeds();
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.starts_with("acme/aptem  ok  nothing new in"), "{ended}");
}
