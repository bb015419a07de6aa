//! `provider` through the binary.

use crate::support::{World, world};

fn larkfield() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/providers/larkfield.yaml")).unwrap()
}

/// A manifest with three mistakes that types alone do not show.
const WRONG: &str = r#"provider: wrong
revision: 1
kind: lms
title: Wrong
http: {base: "{settings.nope}", auth: {bearer: "{secret.nope}"}}
streams:
  people:
    key: id
    records: "[]"
    full: {get: "/{page}"}
"#;

#[test]
fn the_built_in_providers_are_listed_and_shown_with_what_is_unverified() {
    let world = world();
    let list = world.json("provider list");
    let slugs: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs, ["aptem", "bud", "onefile", "hubspot", "salesforce"]);
    let bud = world.json("provider show bud");
    assert!(!bud["unverified"].as_array().unwrap().is_empty());
    world.run("provider show bud").succeeds().prints(&[
        "UNVERIFIED",
        "client_secret",
        "api_url",
        "Stream learners",
        "presets",
    ]);
    world.run("provider show bdu --json").fails(5).says(&["did you mean `bud`?"]);
}

#[test]
fn a_stream_is_explained_line_by_line() {
    let world = world();
    let lines = world.json("provider explain hubspot contacts");
    let origins: Vec<&str> =
        lines["items"].as_array().unwrap().iter().map(|item| item["origin"].as_str().unwrap()).collect();
    assert!(origins.contains(&"defaults") && origins.contains(&"stream"));
    world.run("provider explain hubspot contatcs").fails(5).says(&["did you mean `contacts`?"]);
}

#[test]
fn lint_finds_everything_with_line_and_column() {
    let world = World::empty();
    world.file("wrong.yaml", WRONG);
    world.file("typo.yaml", &WRONG.replace("revision: 1", "revison: 1"));
    world.file("right.yaml", &larkfield());
    world.run("provider lint right.yaml").succeeds().prints(&["right.yaml: no findings"]);
    let ended = world.run("provider lint wrong.yaml right.yaml typo.yaml --json").fails(7);
    assert_eq!(ended.error()["code"], "manifest_invalid");
    let files = ended.json()["files"].clone();
    let places: Vec<(u64, u64)> = files[0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(5, 14), (5, 39), (10, 11)]);
    assert_eq!(files[1]["findings"], serde_json::json!([]));
    assert_eq!(files[2]["findings"][0]["line"], 2);
    world.run("provider lint wrong.yaml").fails(7).prints(&["wrong.yaml:5:14: ", "5 | http: {base:"]);
    world.run("provider lint nowhere.yaml --json").fails(5).says(&["nowhere.yaml"]);
}

#[test]
fn a_sixth_provider_is_added_by_its_file_alone() {
    let world = world();
    world.file("larkfield.yaml", &larkfield());
    world.run("provider add -f larkfield.yaml --dry-run").succeeds().says(&["dry run"]);
    world.run("provider show larkfield").fails(5);
    assert_eq!(world.json("provider add -f larkfield.yaml")["outcome"], "added");
    let before = world.database();
    assert_eq!(world.json("provider add -f larkfield.yaml")["outcome"], "unchanged");
    assert_eq!(world.database(), before);
    let changed = larkfield().replace("title: Larkfield Records", "title: Larkfield");
    let ended = world.run_with_input("provider add -f - --json", &changed).succeeds();
    assert_eq!(ended.json()["outcome"], "changed");
    assert_eq!(world.json("provider show larkfield")["title"], "Larkfield");
    assert_eq!(world.json("provider list")["items"][5]["built_in"], false);
}

#[test]
fn a_wrong_manifest_is_not_added() {
    let world = world();
    world.file("wrong.yaml", WRONG);
    let before = world.database();
    world.run("provider add -f wrong.yaml").fails(7).says(&["wrong.yaml:5:14", "provider lint wrong.yaml"]);
    assert_eq!(world.database(), before);
}

#[test]
fn replacing_a_built_in_manifest_asks_and_never_breaks_what_uses_it() {
    let world = world();
    let shipped = include_str!("../../presets/providers/hubspot.yaml");
    let other = shipped.replace("title: HubSpot\n", "title: HubSpot EU\n");
    world.run_with_input("provider add -f -", &other).fails(2).says(&["--yes"]);
    world.run_with_input("provider add -f - --yes", &other).succeeds().prints(&["hubspot changed"]);
    assert_eq!(world.json("provider show hubspot")["built_in"], false);
    // What is shipped is the built-in one again.
    world.run_with_input("provider add -f -", shipped).succeeds();
    assert_eq!(world.json("provider show hubspot")["built_in"], true);

    world.seed_organization("acme", "aptem_hubspot");
    world.overridden("acme", "hubspot", r#"{"page_size": 50}"#);
    let narrower = shipped.replace(
        "page_size: {type: int, default: 100, min: 1, max: 100",
        "page_size: {type: int, default: 100, min: 60, max: 100",
    );
    assert_ne!(narrower, shipped);
    let before = world.database();
    let ended = world.run_with_input("provider add -f - --yes --json", &narrower).fails(6);
    assert_eq!(ended.error()["code"], "manifest_in_use");
    assert!(ended.error()["message"].as_str().unwrap().contains("organization `acme`"), "{ended}");
    let renamed = shipped.replace("  portal_id:", "  account_id:").replace("settings.portal_id", "settings.account_id");
    world
        .run_with_input("provider add -f - --yes", &renamed.replace("page_size", "page_rows"))
        .fails(6)
        .says(&["would no longer be valid"]);
    assert_eq!(world.database(), before);
}
