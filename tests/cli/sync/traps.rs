//! The traps that each of the five services sets, played by the sandbox. `docs/traps.md` is the index.

use serde_json::{Value, json};

use super::lab::{Lab, counts, fetch, lab, served, shipped, unhurried};
use crate::sandbox::{Config, Fault, Kind, onefile_organisations};

fn error(report: &Value) -> &Value {
    &report["runs"][0]["error"]
}

fn warnings(report: &Value) -> String {
    report["runs"][0]["warnings"].to_string()
}

/// Returns a lab with one organization that has Aptem and one provider more, which alone is enabled.
fn only(lab: Lab, preset: &str, other: &str) -> Lab {
    lab.organization("acme", preset);
    lab.run(&format!("override disable acme {other}")).succeeds();
    lab
}

// HubSpot.

#[test]
fn hubspot_short_and_empty_pages_that_carry_a_token_are_no_end() {
    let lab = only(lab(2, 30), "aptem_hubspot", "aptem");
    lab.run("override set acme hubspot page_size=10").succeeds();
    let list = "/crm/v3/objects/contacts";
    let url = format!("{}{list}?archived=false&limit=", lab.sandbox.url("hubspot"));
    // One record though ten were asked for, then none at all, each with a token that leads on.
    let short = (1..=3)
        .map(|limit| fetch(&format!("{url}{limit}"), &[("Authorization", "Bearer sandbox-hubspot-acme")]))
        .find(|page| page["paging"]["next"]["after"].as_str().unwrap().contains('%'))
        .unwrap();
    let again = short["paging"]["next"]["after"].as_str().unwrap().replace("%3D", "=");
    let empty = json!({"results": [], "paging": {"next": {"after": again}}});
    for page in [short, empty] {
        lab.sandbox.fail(
            "hubspot",
            Fault::status(200).body(&page.to_string()).on_path(&format!("{list}?limit=10&archived=false")),
        );
    }
    lab.sync("acme", 0);
    assert_eq!(lab.live("acme", "employers"), 30);
    let entries = lab.asked("hubspot", "acme");
    assert_eq!(entries.iter().filter(|entry| entry.path.contains("limit=10&archived=false")).count(), 2 + 3);
}

#[test]
fn hubspot_an_empty_page_of_a_search_that_promises_more_is_asked_for_again() {
    let mut lab = only(lab(2, 30), "aptem_hubspot", "aptem");
    lab.sync("acme", 0);
    lab.sandbox.change("hubspot", "acme", 12);
    lab.later(0);
    let empty = json!({"total": 12, "results": [], "paging": {"next": {"after": "200"}}}).to_string();
    let search = "/crm/v3/objects/contacts/search";
    lab.sandbox.fail("hubspot", Fault::status(200).body(&empty).on_path(search).times(3));
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 12, "updated": 12}));
}

#[test]
fn hubspot_changes_that_the_index_shows_late_are_found_by_the_overlap() {
    let mut lab = only(lab(2, 30), "aptem_hubspot", "aptem");
    lab.sync("acme", 0);
    let changed = lab.sandbox.change("hubspot", "acme", 4);
    lab.later(0);
    let behind = json!({"total": 0, "results": []}).to_string();
    lab.sandbox.fail("hubspot", Fault::status(200).body(&behind).on_path("/crm/v3/objects/contacts/search"));
    assert_eq!(counts(&lab.sync("acme", 0)), json!({}));
    lab.later(0);
    assert_eq!(lab.sync("acme", 0)["total"]["updated"], changed.len());
}

// Aptem.

#[test]
fn aptem_stamps_of_seven_digits_are_kept_and_are_no_change() {
    let mut lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.run("override set acme aptem 'field_mappings.learner.changed={from: updated_at, type: datetime}'").succeeds();
    lab.sync("acme", 0);
    lab.sandbox.change("aptem", "acme", 3);
    lab.later(0);
    lab.sync("acme", 0);
    let url = lab.sandbox.url("aptem") + "/odata/1.0/Users?$filter=UserProgram_Status%20ne%20null";
    let mut long = 0;
    for learner in fetch(&url, &[("X-API-Token", "sandbox-aptem-acme")])["value"].as_array().unwrap() {
        let stored = lab.stored("acme", "learners", &learner["Id"].to_string());
        let Some(sent) = learner["UpdatedDate"].as_str() else {
            assert_eq!(stored["custom"]["changed"], Value::Null);
            continue;
        };
        let instant = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert_eq!(instant(stored["custom"]["changed"].as_str().unwrap()), instant(sent));
        long += usize::from(sent.len() > "2025-11-25T10:57:52.688Z".len());
    }
    assert!(long > 0, "no stamp had more than milliseconds");
    assert_eq!(lab.sync("acme --full", 0)["total"]["updated"], 0);
}

#[test]
fn aptem_rows_without_a_date_are_stored_and_told_of() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    let report = lab.sync("acme", 0);
    assert_eq!(lab.live("acme", "learners"), 20);
    assert!(
        warnings(&report).contains("records without `UpdatedDate`, which changes may never find: 1 of 20"),
        "{report}"
    );
    let report = lab.sync("acme --full", 0);
    assert_eq!((&report["total"]["unchanged"], &report["total"]["deleted"]), (&json!(25), &json!(0)));
}

#[test]
fn aptem_a_ceiling_on_top_says_which_setting_to_lower() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    let message = "The value selected for '$top' exceeds the 250 record limit for this query.";
    let body = json!({"error": {"code": "", "message": message}}).to_string();
    lab.sandbox.fail("aptem", Fault::status(400).body(&body).on_path("/odata/1.0/Users").times(99));
    let report = lab.sync("acme --stream learners", 9);
    assert!(error(&report)["message"].as_str().unwrap().contains("250 record limit"), "{report}");
    assert!(error(&report)["hint"].as_str().unwrap().contains("page_size"), "{report}");
    assert_eq!((lab.live("acme", "learners"), lab.progress("acme", "learners").0), (0, None));
}

// OneFile.

#[test]
fn onefile_thin_rows_of_several_organisations_are_completed_by_their_details() {
    let lab = lab(40, 6);
    lab.organization("acme", "onefile");
    lab.sync("acme", 0);
    assert_eq!((lab.live("acme", "learners"), lab.live("acme", "employers")), (40, 6));
    let entries = lab.asked("onefile", "acme");
    let details = entries.iter().filter(|entry| entry.method == "GET" && entry.path.contains("/User/")).count();
    assert_eq!(details, 40);
    // Learners only, of every organisation, each list to its empty page: a 204.
    let organisations = onefile_organisations("acme");
    assert!(organisations.len() > 1);
    let searches: Vec<_> = entries.iter().filter(|entry| entry.path.contains("/User/Search/")).collect();
    assert!(searches.iter().all(|entry| entry.body.as_ref().unwrap()["Role"] == 1));
    for organisation in organisations {
        let own = searches.iter().filter(|entry| entry.body.as_ref().unwrap()["OrganisationID"] == organisation);
        assert_eq!(own.map(|entry| entry.status).max(), Some(204), "{organisation}");
    }
    // No search has them, and not everybody has one.
    assert!(lab.number("SELECT count(*) FROM learners WHERE email IS NOT NULL") > 30);
}

#[test]
fn onefile_is_never_called_more_often_than_its_manifest_allows() {
    let lab = lab(30, 5);
    let path = format!("{}/presets/providers/onefile.yaml", env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(path).unwrap();
    assert!(manifest.contains("rate: 240/60s"), "300 are allowed, and others use them too");
    lab.world.file("provider.yaml", &manifest.replace("240/60s", "20/1s"));
    lab.run("provider add -f provider.yaml --yes").succeeds();
    lab.organization("acme", "onefile");
    lab.sync("acme", 0);
    let times: Vec<i64> = lab.asked("onefile", "acme").iter().map(|entry| entry.at).collect();
    assert!(times.len() > 40);
    // Sent a second apart, they may arrive a little less than that.
    assert!(times.windows(21).all(|window| window[20] - window[0] > 9_000_000));
}

// Salesforce.

/// Returns a lab with one organization that has Salesforce only.
fn salesforce(config: Config) -> Lab {
    only(unhurried(config), "bud_salesforce", "bud")
}

const QUERY: &str = "/services/data/v61.0/query";

#[test]
fn salesforce_pages_follow_next_records_url_and_a_session_that_ends_is_renewed() {
    let lab = salesforce(Config { learners: 2, employers: 450, ..Config::default() });
    lab.run("override set acme salesforce page_size=200").succeeds();
    // The second page meets INVALID_SESSION_ID.
    lab.sandbox.fail("salesforce", Fault::status(401).on_path(QUERY).after(1));
    let report = lab.sync("acme", 0);
    assert_eq!((lab.live("acme", "employers"), &report["total"]["pages"]), (450, &json!(3)));
    let entries = lab.sandbox.ledger("salesforce");
    assert_eq!(entries.iter().filter(|entry| entry.path.ends_with("/oauth2/token")).count(), 2);
    assert_eq!(served(&entries).len(), 450, "no page was served twice");
    // Not one answer says how long its token lives: it is renewed by the manifest's own reckoning.
    assert!(entries.iter().any(|entry| entry.path.starts_with(&format!("{QUERY}/"))));
}

#[test]
fn salesforce_request_limit_exceeded_defers_the_run_which_then_goes_on() {
    let lab = salesforce(Config { learners: 2, employers: 450, ..Config::default() });
    lab.run("override set acme salesforce page_size=200").succeeds();
    lab.sandbox.fail("salesforce", Fault::status(403).on_path(&format!("{QUERY}/")));
    let report = lab.sync("acme", 9);
    assert_eq!((&report["deferred"], lab.live("acme", "employers")), (&json!(1), 200));
    assert!(error(&report)["hint"].as_str().unwrap().contains("24 hours"), "{report}");
    assert!(lab.progress("acme", "accounts").1);
    lab.sandbox.clear_ledger();
    lab.sync("acme", 0);
    assert_eq!(lab.live("acme", "employers"), 450);
    assert_eq!(served(&lab.sandbox.ledger("salesforce")).len(), 250, "what was read is not read again");
}

#[test]
fn salesforce_stamps_with_an_offset_of_four_digits_are_read() {
    let lab = salesforce(Config { learners: 2, employers: 6, ..Config::default() });
    lab.run("override set acme salesforce 'field_mappings.employer.changed={from: updated_at, type: datetime}'")
        .succeeds();
    assert_eq!(counts(&lab.sync("acme", 0)), json!({"read": 6, "inserted": 6}));
    for id in lab.sandbox.ids("salesforce", "acme", Kind::Employer) {
        let stored = lab.stored("acme", "employers", &id);
        let changed = stored["custom"]["changed"].as_str().unwrap();
        assert!(changed.ends_with('Z') && changed.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{changed}");
    }
}

// Bud.

#[test]
fn bud_tells_a_wrong_subscription_key_from_a_token_that_has_ended() {
    let lab = lab(10, 3);
    lab.organization("acme", "bud");
    lab.credential("acme", "bud", "subscription_key", "of-nobody");
    let report = lab.sync("acme", 4);
    assert!(error(&report)["hint"].as_str().unwrap().contains("subscription_key"), "{report}");
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 1, "another token would not help");

    lab.credential("acme", "bud", "subscription_key", "sandbox-budkey-acme");
    lab.sandbox.clear_ledger();
    lab.sandbox.fail("bud", Fault::status(401).times(2));
    let report = lab.sync("acme", 4);
    assert_eq!(error(&report)["code"], "credential_refused");
    assert!(!error(&report)["hint"].as_str().unwrap().contains("`subscription_key`"), "{report}");
    assert_eq!(lab.sandbox.ledger("bud_auth").len(), 2, "renewed once, and no more");
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 13);
}

#[test]
fn bud_waits_as_retry_after_says_and_stops_where_the_quota_is_used_up() {
    let lab = shipped(Config { learners: 10, employers: 3, ..Config::default() });
    lab.organization("acme", "bud");
    lab.sandbox.fail("bud", Fault::status(429).header("Retry-After", "1").on_path("/learners"));
    let report = lab.sync("acme", 0);
    let waited = report["total"]["waited_ms"].as_u64().unwrap();
    assert!((1000..9000).contains(&waited), "{waited}: not the ten seconds of the manifest");
    assert_eq!(report["total"]["inserted"], 13);

    let quota =
        json!({"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 01:12:09."});
    lab.sandbox.fail("bud", Fault::status(403).body(&quota.to_string()).on_path("/employers"));
    let report = lab.sync("acme", 9);
    assert_eq!((&report["deferred"], lab.live("acme", "employers")), (&json!(1), 3));
    assert!(error(&report)["hint"].as_str().unwrap().contains("quota"), "{report}");
    lab.sync("acme", 0);
}
