//! `config` through the binary.

use serde_json::json;

use crate::support::world;

#[test]
fn every_leaf_tells_its_value_its_origin_and_who_overrode_it() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("override set acme aptem sync_frequency=15m").succeeds();
    world.run("override unset acme aptem field_mappings.learner.tutor").succeeds();
    let shown = world.run("config show acme aptem --origin").succeeds();
    let line = |start: &str| {
        let line = shown.stdout.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("sync_frequency"),
        "sync_frequency 15m override by admin, 2026-11-30T09:00:00.000Z (default: hourly)"
    );
    assert_eq!(line("api_url"), "api_url https://api.aptem.co.uk default@1");
    assert_eq!(line("page_size"), "page_size 1000 built-in");
    assert_eq!(line("learner.external_id"), "learner.external_id aptem.learner_id default@1");
    assert_eq!(line("LMS_Provider"), "LMS_Provider = \"Aptem\" default@1");
    assert!(line("learner.tutor").contains("!unset override by admin"), "{}", line("learner.tutor"));

    let config = world.json("config show acme");
    let leaf = &config["providers"][0]["settings"][1];
    assert_eq!(
        *leaf,
        json!({"key": "sync_frequency", "value": "15m", "origin": "override", "inherited": "hourly",
               "changed_by": "admin", "changed_at": "2026-11-30T09:00:00.000Z"})
    );
    assert_eq!(config["providers"][1]["missing"], json!(["portal_id"]));
    world.run("config show acme").succeeds().prints(&[
        "Aptem (aptem)\n",
        "HubSpot (hubspot)\n",
        "missing, and required",
    ]);
    world.refused("config show acme bud", 5).says(&["has no provider `bud`"]);
}

#[test]
fn a_setting_is_explained_layer_by_layer() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("override set acme aptem sync_frequency=15m").succeeds();
    insta::assert_snapshot!(world.run("config explain acme aptem.sync_frequency"), @r"
    aptem.sync_frequency: 15m
      built-in    -
      default@1   hourly              by admin, 2026-11-30T09:00:00.000Z: as shipped
      override    15m      in force   by admin, 2026-11-30T09:00:00.000Z
    ");
    let both = ["config explain acme aptem.sync_frequency", "config explain acme aptem sync_frequency"];
    assert_eq!(world.json(both[0]), world.json(both[1]));
    world.run("config explain acme hubspot.portal_id").succeeds().prints(&["no value, and it is required", "Hub ID"]);
    world.refused("config explain acme aptem.sync_freqency", 5).says(&["did you mean `sync_frequency`"]);
    world.refused("config explain acme aptem", 2).says(&["PROVIDER.KEY"]);
    let unknown = world.refused("config explain acme aptem.powerbi_filters.learner.status", 5);
    unknown.says(&["has no value"]);
}
