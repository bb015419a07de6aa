//! `override` through the binary.

use serde_json::json;

use crate::support::{World, world};

fn acme() -> World {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world
}

#[test]
fn several_settings_are_one_change_that_leaves_other_organizations_alone() {
    let world = acme();
    world.create("globex", "aptem_hubspot");
    let before = world.run("config show globex --json").succeeds().stdout;
    let line = "override set acme aptem sync_frequency=15m field_mappings.learner.division=custom_field_123 \
                'aptem.account_code -> learner.account' 'powerbi_filters.learner.status=[Active, OnBreak]'";
    insta::assert_snapshot!(world.run(line), @r#"
    acme: changed
    ~ aptem.sync_frequency: hourly -> 15m   (default: hourly)
    + aptem.field_mappings.learner.account: aptem.account_code
    + aptem.field_mappings.learner.division: aptem.custom_field_123
    + aptem.powerbi_filters.learner.status: in ("Active", "OnBreak")
    "#);
    world.run(line).succeeds().prints(&["acme: unchanged"]);
    assert_eq!(world.run("config show globex --json").succeeds().stdout, before);
    insta::assert_snapshot!(world.run("override show acme"), @r#"
    aptem	sync_frequency	15m	hourly	admin	2026-11-30T09:00:00.000Z	in force
    aptem	field_mappings.learner.account	aptem.account_code		admin	2026-11-30T09:00:00.000Z	in force
    aptem	field_mappings.learner.division	aptem.custom_field_123		admin	2026-11-30T09:00:00.000Z	in force
    aptem	powerbi_filters.learner.status	in ("Active", "OnBreak")		admin	2026-11-30T09:00:00.000Z	in force
    "#);
}

#[test]
fn unset_takes_a_default_away_and_reset_gives_it_back() {
    let world = acme();
    let value =
        |world: &World| world.json("config explain acme aptem.field_mappings.learner.programme")["value"].clone();
    assert_eq!(value(&world), "programme_name");
    world
        .run("override unset acme aptem field_mappings.learner.programme")
        .succeeds()
        .prints(&["- aptem.field_mappings"]);
    assert_eq!(value(&world), json!(null));
    assert_eq!(world.json("override show acme")["items"][0]["change"], "unset");
    world.run("override unset acme aptem field_mappings.learner.programme").succeeds().prints(&["acme: unchanged"]);
    world.run("override reset acme aptem field_mappings.learner.programme").succeeds();
    assert_eq!(value(&world), "programme_name");
    assert_eq!(world.json("override show acme")["items"], json!([]));
    world.refused("override unset acme aptem sync_frequency", 7).says(&["needs a sync frequency", "override reset"]);
    world.refused("override unset acme hubspot portal_id", 7).says(&["required"]);
    // What only an override gives is simply gone.
    world.run("override set acme aptem field_mappings.learner.division=a").succeeds();
    world.run("override unset acme aptem field_mappings.learner.division").succeeds();
    assert_eq!(world.json("override show acme")["items"], json!([]));
}

#[test]
fn an_override_equal_to_the_default_is_kept_and_said() {
    let world = acme();
    let changed = world.run("override set acme aptem sync_frequency=hourly").succeeds();
    changed.prints(&["the same as the default"]);
    assert_eq!(world.json("override show acme")["items"][0]["value"], "hourly");
    world.run("override reset acme aptem --all").succeeds();
    assert_eq!(world.json("override show acme")["items"], json!([]));
}

#[test]
fn a_provider_is_disabled_and_enabled() {
    let world = acme();
    world.run("override disable acme hubspot").succeeds().prints(&["~ hubspot.enabled: true -> false"]);
    assert_eq!(world.json("config show acme")["providers"][1]["enabled"], false);
    // One for the organization, one of the provider that is left.
    assert_eq!(world.json("powerbi filters acme")["filters"].as_array().unwrap().len(), 2);
    world.run("override disable acme hubspot").succeeds().prints(&["acme: unchanged"]);
    world.run("override enable acme hubspot").succeeds();
    assert_eq!(world.json("override show acme")["items"], json!([]));
}

#[test]
fn wrong_overrides_are_refused_and_nothing_is_written() {
    let world = acme();
    let refused = |assignment: &str, exit: i32, parts: &[&str]| {
        world.refused(&format!("override set acme aptem {assignment}"), exit).says(parts);
    };
    refused("api_url=http://evil.example", 7, &["unencrypted", "https://"]);
    refused("sync_freqency=15m", 7, &["did you mean `sync_frequency`"]);
    refused("sync_frequency=15x", 7, &["is not a sync frequency"]);
    refused("sync_frequency=10s", 7, &["too often"]);
    refused("sync_frequency=", 7, &["!unset"]);
    refused("sync_frequency", 2, &["KEY=VALUE"]);
    refused("enabled=maybe", 7, &["true or false"]);
    refused("field_mappings.learner.programe=x", 7, &["did you mean `learner.programme`"]);
    refused("learner.division=x", 7, &["did you mean `field_mappings.learner.division`"]);
    refused("field_mappings=x", 7, &["name one of it"]);
    refused("'x -> tutor.name'", 7, &["starts with `learner` or `employer`"]);
    refused("powerbi_filters.LMS_Provder=x", 7, &["did you mean `LMS_Provider`"]);
    refused("powerbi_filters.CRM_Provider=x", 7, &["does not exist for Aptem"]);
    refused("'powerbi_filters.learner.status={Contans: x}'", 7, &["did you mean `Contains`"]);
    refused("'powerbi_filters.learner.status=[a'", 7, &["VALUE:1:"]);
    // One that is right does not save the one that is wrong.
    refused("sync_frequency=15m page_size=many", 7, &["page_size"]);
    refused("sync_frequency=15m sync_frequency=16m", 2, &["given twice"]);
    world.refused("override set acme aptme sync_frequency=15m", 5).says(&["did you mean `aptem`"]);
    world.refused("override set acme bud sync_frequency=15m", 5).says(&["has no provider `bud`", "set-preset"]);
    world.refused("override set acme hubspot portal_id=abc", 7).says(&["portal_id"]);
    assert_eq!(world.json("override show acme")["items"], json!([]));
}

#[test]
fn an_id_keeps_its_digits() {
    let world = acme();
    world.run("override set acme hubspot portal_id=00123").succeeds();
    assert_eq!(world.json("config explain acme hubspot.portal_id")["value"], "00123");
    world.run("override set acme hubspot portal_id=12345678").succeeds();
    assert_eq!(world.json("config explain acme hubspot portal_id")["value"], "12345678");
}

#[test]
fn a_file_replaces_the_overrides_of_the_providers_it_names() {
    let world = acme();
    world.run("override set acme aptem sync_frequency=15m").succeeds();
    world.run("override set acme hubspot portal_id=1").succeeds();
    world.file(
        "acme.yaml",
        "aptem:\n  field_mappings:\n    learner.division: custom_field_123\n    learner.completion: !unset\n",
    );
    let changed = world.run("override apply acme -f acme.yaml").succeeds();
    changed.prints(&["~ aptem.sync_frequency: 15m -> hourly", "+ aptem.field_mappings.learner.division"]);
    let keys: Vec<String> = world.json("override show acme")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{}.{} {}", item["provider"], item["key"], item["change"]).replace('"', ""))
        .collect();
    assert_eq!(
        keys,
        [
            "aptem.field_mappings.learner.completion unset",
            "aptem.field_mappings.learner.division set",
            "hubspot.portal_id set"
        ]
    );
    world.run("override apply acme -f acme.yaml").succeeds().prints(&["acme: unchanged"]);
    world.file("acme.yaml", "aptem:\n  sync_frequency: 15m\n  sync_freqency: 15m\n");
    world.refused("override apply acme -f acme.yaml", 7).says(&["acme.yaml:3:3", "did you mean `sync_frequency`"]);
    world.file("acme.yaml", "aptem:\n  sync_frequency:\n");
    world.refused("override apply acme -f acme.yaml", 7).says(&["acme.yaml:2:", "!unset"]);
    world.file("acme.yaml", "bud: {}\n");
    world.refused("override apply acme -f acme.yaml", 7).says(&["acme.yaml:1:1", "has no provider `bud`"]);
}

#[test]
fn one_entity_is_read_from_one_stream() {
    let world = world();
    world.create("acme", "aptem");
    let streams = world.refused("override set acme aptem field_mappings.learner.division=organizations.region", 7);
    streams.says(&["read from two streams", "config show acme aptem --origin"]);
}

#[test]
fn a_dry_run_shows_and_keeps_nothing() {
    let world = acme();
    world.run("override set acme aptem sync_frequency=15m --dry-run").succeeds().prints(&["hourly -> 15m"]);
    assert_eq!(world.json("override show acme")["items"], json!([]));
}
