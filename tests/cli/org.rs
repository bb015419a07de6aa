//! `org` through the binary.

use serde_json::json;

use crate::support::{World, world};

const ACME: &str = "org create --name 'Acme Training Ltd' --subdomain acme --preset aptem_hubspot";

#[test]
fn an_organization_is_created_by_flags_and_says_what_it_needs_next() {
    let world = world();
    insta::assert_snapshot!(world.run(ACME), @r"
    acme: created (defaults 1)
    + name: Acme Training Ltd
    + subdomain: acme.aivii.co.uk
    + preset: Aptem + HubSpot (aptem_hubspot)
    + time_zone: Europe/London
    --- stderr
    next: skillsctl credential set acme aptem api_key
    next: skillsctl override set acme hubspot portal_id=PORTAL_ID
    next: skillsctl credential set acme hubspot api_key
    next: skillsctl sync acme
    ");
    insta::assert_snapshot!(world.run("org list"), @"acme	Acme Training Ltd	Aptem + HubSpot	1	active	2026-11-30T09:00:00.000Z");
    insta::assert_snapshot!(world.run("org show acme --json"), @r#"{"kind":"Org","v":1,"slug":"acme","name":"Acme Training Ltd","domain":"acme.aivii.co.uk","preset":"aptem_hubspot","preset_name":"Aptem + HubSpot","defaults_revision":1,"newest_revision":1,"providers":["aptem","hubspot"],"max_learners":null,"billing_name":null,"billing_email":null,"time_zone":"Europe/London","status":"active","created_at":"2026-11-30T09:00:00.000Z","updated_at":"2026-11-30T09:00:00.000Z","deleted_at":null,"purged_at":null}"#);
}

#[test]
fn everything_can_be_given_when_it_is_created() {
    let world = world();
    let line = "--max-learners 500 --billing-name 'Ann Lee' --billing-email ann@acme.example --time-zone Europe/Dublin";
    world.run(&format!("{ACME} {line}")).succeeds();
    let shown = world.json("org show acme");
    assert_eq!(shown["max_learners"], 500);
    assert_eq!(shown["billing_name"], "Ann Lee");
    assert_eq!(shown["billing_email"], "ann@acme.example");
    assert_eq!(shown["time_zone"], "Europe/Dublin");
}

#[test]
fn without_a_terminal_a_missing_answer_is_a_usage_error_that_names_the_flags() {
    let world = world();
    world.refused("org create", 2).says(&["`--name`, `--subdomain`, `--preset` is needed"]);
    let error = world.refused("org create --name Acme --subdomain acme --json", 2).error();
    assert_eq!(error["code"], "input_needed");
    assert!(error["message"].as_str().unwrap().contains("--preset"), "{error}");
}

#[test]
fn wrong_answers_are_refused_with_their_reason_and_nothing_is_written() {
    let world = world();
    world.run(ACME).succeeds();
    let create = |flags: &str| format!("org create --name Other --preset aptem {flags}");
    world.refused(&create("--subdomain www"), 2).says(&["`www` is reserved"]);
    world.refused(&create("--subdomain Acme"), 2).says(&["lower-case letters"]);
    world.refused(&create("--subdomain acme"), 6).says(&["`acme` is taken by Acme Training Ltd", "org show acme"]);
    world.refused(&create("--subdomain o --max-learners 0"), 2).says(&["at least 1"]);
    world.refused(&create("--subdomain o --billing-email nobody"), 2).says(&["not an e-mail address"]);
    world.refused(&create("--subdomain o --time-zone Europe/Lodnon"), 2).says(&["did you mean `Europe/London`"]);
    world.refused("org create --name ' ' --subdomain o --preset aptem", 2).says(&["a name cannot be empty"]);
    world.refused("org create --name O --subdomain o --preset aptme", 5).says(&["did you mean `aptem`"]);
    world.refused("org show acmee", 5).says(&["no organization named `acmee`", "did you mean `acme`"]);
    world.refused("org list --preset bd", 5).says(&["did you mean `bud`"]);
    let error = world.refused("org show acmee --json", 5).error();
    assert_eq!((&error["code"], &error["exit"]), (&json!("org_not_found"), &json!(5)));
}

#[test]
fn a_script_can_run_it_twice() {
    let world = world();
    let line = format!("{ACME} --if-not-exists");
    world.run(&line).succeeds();
    world.run(&line).succeeds().prints(&["acme: unchanged"]);
    world.run("org delete acme --if-exists --yes").succeeds();
    world.run("org delete acme --if-exists --yes").succeeds().prints(&["acme: unchanged"]);
    world.run("org delete globex --if-exists --yes").succeeds().prints(&["globex: unchanged"]);
    world.refused("org delete globex --yes", 5);
    world.refused(&line, 6).says(&["in the trash", "org restore acme"]);
}

#[test]
fn a_dry_run_shows_what_would_be_created_and_keeps_nothing() {
    let world = world();
    world.refused("org show acme", 5);
    world
        .run(&format!("{ACME} --dry-run"))
        .succeeds()
        .prints(&["acme: created"])
        .says(&["dry run: nothing was changed"]);
    world.refused("org show acme", 5);
    assert_eq!(world.json(&format!("{ACME} --dry-run"))["dry_run"], true);
}

#[test]
fn suspended_resumed_deleted_and_restored() {
    let world = world();
    world.run(ACME).succeeds();
    let status = |world: &World| world.json("org list --all")["items"][0]["status"].clone();
    world.run("org suspend acme").succeeds().prints(&["~ status: active -> suspended"]);
    assert_eq!(status(&world), "suspended");
    world.run("org suspend acme").succeeds().prints(&["acme: unchanged"]);
    world.run("org resume acme").succeeds();
    world.refused("org delete acme", 2).says(&["`--yes` is needed"]);
    world.run("org delete acme --yes").succeeds().says(&["go to the trash", "org restore acme"]);
    assert_eq!(status(&world), "deleted");
    assert_eq!(world.json("org list")["items"], json!([]));
    assert_eq!(world.json("org list --status deleted")["items"][0]["deleted_at"], "2026-11-30T09:00:00.000Z");
    world.refused("org show acme", 5).says(&["`acme` is deleted", "org restore acme"]);
    world.run("org restore acme").succeeds();
    assert_eq!(status(&world), "active");
    world.run("org restore acme").succeeds().prints(&["acme: unchanged"]);
}

#[test]
fn an_organization_is_edited_by_flags() {
    let world = world();
    world.run(ACME).succeeds();
    insta::assert_snapshot!(world.run("org edit acme --name 'Acme Skills' --max-learners 800 --billing-email a@b.example"), @r"
    acme: changed
    ~ name: Acme Training Ltd -> Acme Skills
    + max_learners: 800
    + billing_email: a@b.example
    ");
    world.run("org edit acme --max-learners none --billing-email ''").succeeds().prints(&["- max_learners: 800"]);
    world.run("org edit acme --name 'Acme Skills'").succeeds().prints(&["acme: unchanged"]);
    world.refused("org edit acme --time-zone Mars", 2).says(&["`--time-zone`"]);
    world.refused("org edit acme", 2).says(&["no terminal to open an editor on", "`--name`"]);
}

#[test]
fn the_preset_is_changed_after_saying_what_stops_starts_and_is_needed() {
    let world = world();
    world.create("acme", "bud");
    world.run("override set acme bud sync_frequency=2h").succeeds();
    let ended = world.run("org set-preset acme aptem --dry-run").succeeds();
    let ended = ended.prints(&["~ preset: bud -> aptem", "- bud: synced 2h", "1 overrides", "+ aptem: synced hourly"]);
    let ended = ended.says(&["credential set acme aptem api_key", "dry run"]);
    assert!(!ended.stdout.contains("credential set acme bud"));
    assert_eq!(world.json("org show acme")["preset"], "bud");

    world.refused("org set-preset acme aptem", 2).says(&["`--yes` is needed"]);
    world.run("org set-preset acme aptem --yes").succeeds();
    assert_eq!(world.json("org show acme")["providers"], json!(["aptem"]));
    let dormant = world.json("override show acme");
    assert_eq!((&dormant["items"][0]["provider"], &dormant["items"][0]["dormant"]), (&json!("bud"), &json!(true)));
    world.refused("override set acme bud sync_frequency=1h", 5).says(&["has no provider `bud`"]);
    world.run("org set-preset acme aptem --yes").succeeds().prints(&["acme: unchanged"]);

    // On the way back what was dormant is in force again.
    world.run("org set-preset acme bud --yes").succeeds().prints(&["1 overrides of before are in force again"]);
    assert_eq!(world.json("config explain acme bud.sync_frequency")["value"], "2h");
}

#[test]
fn a_thousand_organizations_are_listed_at_once() {
    let world = world();
    world.create("acme", "aptem");
    let connection = rusqlite::Connection::open(world.db()).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
             SELECT 'org-' || i, 'Org ' || i, preset_id, defaults_revision, time_zone, status, created_at, updated_at
             FROM organizations, n WHERE slug = 'acme'",
        )
        .unwrap();
    let started = std::time::Instant::now();
    assert_eq!(world.run("org list").succeeds().stdout.lines().count(), 1001);
    // The target is 20 ms for the program as shipped; this one is not optimized, and the machine may be busy.
    assert!(started.elapsed().as_millis() < 1500, "{:?}", started.elapsed());
}

#[test]
fn every_change_is_in_the_audit_and_a_dry_run_is_not() {
    let mut world = world();
    world.all(&[
        ACME,
        "override set acme aptem sync_frequency=15m",
        "override unset acme aptem field_mappings.learner.tutor",
    ]);
    world.file("bud.yaml", &world.changed_preset("bud", "hourly", "2h"));
    world.at("2026-11-30T10:00:00Z");
    world.all(&[
        "org edit acme --name 'Acme Two' --dry-run",
        "org edit acme --name 'Acme Two'",
        "preset apply -f bud.yaml",
        "org set-preset acme bud --yes",
        "org upgrade acme --to 1 --yes",
        "org suspend acme",
        "org resume acme",
        "org delete acme --yes",
        "org restore acme",
    ]);
    let connection = rusqlite::Connection::open(world.db()).unwrap();
    let sql = "SELECT action || ' ' || subject || ' by ' || actor FROM audit_log WHERE action NOT IN ('provider add', 'sealing-key create') ORDER BY id";
    let mut statement = connection.prepare(sql).unwrap();
    let entries: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        entries[7..],
        [
            "org create acme by admin",
            "override set acme/aptem by admin",
            "override unset acme/aptem by admin",
            "org edit acme by admin",
            "preset apply bud by admin",
            "org set-preset acme by admin",
            "org upgrade acme by admin",
            "org suspend acme by admin",
            "org resume acme by admin",
            "org delete acme by admin",
            "org restore acme by admin",
        ]
    );
}
