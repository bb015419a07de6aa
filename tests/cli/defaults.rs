//! The promise of versioned defaults: what is applied later changes no organization that exists.

use crate::support::{World, world};

/// Applies another frequency and another mapping to Aptem + HubSpot.
fn apply_new_defaults(world: &World) {
    let document = world.changed_preset("aptem_hubspot", "sync_frequency: hourly", "sync_frequency: 30m");
    let document = document.replacen("learner.phone: phone", "learner.phone: mobile", 1);
    world.file("new.yaml", &document);
    let applied = world.run("preset apply -f new.yaml -m 'every half hour'").succeeds();
    applied
        .prints(&["aptem_hubspot: applied (defaults 2)", "~ aptem.sync_frequency: hourly -> 30m"])
        .says(&["1 organization stays on its revision"]);
}

#[test]
fn new_defaults_leave_existing_organizations_byte_equal_and_reach_new_ones() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("override set acme aptem 'custom_field_123 -> learner.division'").succeeds();
    let look = |line: &str| world.run(line).succeeds().stdout;
    let lines = ["config show acme --json", "config show acme --origin", "powerbi filters acme", "powerbi roles acme"];
    let before: Vec<String> = lines.into_iter().map(look).collect();
    apply_new_defaults(&world);
    let after: Vec<String> = lines.into_iter().map(look).collect();
    assert_eq!(before, after);

    world.create("globex", "aptem_hubspot");
    assert_eq!(world.json("config explain globex aptem.sync_frequency")["value"], "30m");
    let origin = &world.json("config explain globex aptem.sync_frequency")["layers"][1];
    assert_eq!((origin["origin"].as_str(), origin["message"].as_str()), (Some("default@2"), Some("every half hour")));
    assert_eq!(world.json("config explain acme aptem.sync_frequency")["value"], "hourly");
    world.run("org list").succeeds().prints(&["1 (newest 2)"]);
}

#[test]
fn an_upgrade_shows_each_setting_that_would_change_and_moves_only_when_told() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("override set acme aptem sync_frequency=15m").succeeds();
    apply_new_defaults(&world);
    let before = world.run("config show acme --json").succeeds().stdout;
    // The frequency is overridden, so for this organization only the mapping changes.
    insta::assert_snapshot!(world.run("org upgrade acme --dry-run"), @r"
    acme: upgraded (defaults 2)
    ~ defaults: 1 -> 2
    ~ aptem.field_mappings.learner.phone: aptem.phone -> aptem.mobile
    --- stderr
    next: skillsctl credential set acme aptem api_key
    next: skillsctl override set acme hubspot portal_id=PORTAL_ID
    next: skillsctl credential set acme hubspot api_key
    next: skillsctl sync acme
    dry run: nothing was changed
    ");
    world.refused("org upgrade acme", 2).says(&["`--yes` is needed"]);
    assert_eq!(world.run("config show acme --json").succeeds().stdout, before);

    world.run("org upgrade acme --yes").succeeds();
    assert_eq!(world.json("config explain acme aptem.field_mappings.learner.phone")["value"], "mobile");
    assert_eq!(world.json("config explain acme aptem.sync_frequency")["value"], "15m");
    world.run("org upgrade acme --yes").succeeds().prints(&["acme: unchanged (defaults 2)"]);
    world.refused("org upgrade acme --to 7", 5).says(&["no defaults revision 7"]);
    world.run("org upgrade acme --to 1 --yes").succeeds();
    assert_eq!(world.run("config show acme --json").succeeds().stdout, before);
}
