//! `status` through the binary.

use rexpect::session::spawn_command;
use serde_json::Value;

use crate::seed::Ran;
use crate::support::{World, world};

fn acme() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world.overridden("acme", "aptem", r#"{"sync_frequency": "15m"}"#);
    world.overridden("acme", "hubspot", r#"{"portal_id": "77"}"#);
    for provider in ["aptem", "hubspot"] {
        world
            .run_with_input(&format!("credential set acme {provider} api_key --from-stdin"), "made-up-value")
            .succeeds();
    }
    world
}

fn row(world: &World, provider: &str) -> Value {
    let status = world.json("status acme");
    status["providers"].as_array().unwrap().iter().find(|row| row["provider"] == provider).unwrap().clone()
}

fn state(world: &World, provider: &str) -> String {
    row(world, provider)["state"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_connected_is_drawn_with_last_and_next_sync() {
    let world = acme();
    world.ran("acme", "aptem", &Ran::default());
    world.ran(
        "acme",
        "hubspot",
        &Ran { started: "2026-11-30T06:00:00.000Z", finished: Some("2026-11-30T06:00:00.000Z"), ..Ran::default() },
    );
    insta::assert_snapshot!(world.run("status acme").succeeds(), @r#"
    acme Training Ltd   acme.aivii.co.uk   preset Aptem + HubSpot (defaults 1)

      Aptem     LMS   connected   last sync 2026-11-30T08:58:00.000Z   next 2026-11-30T09:06:35.000Z   every 15 minutes (custom)   API key ••••••••
      HubSpot   CRM   connected   last sync 2026-11-30T06:00:00.000Z   next 2026-12-01T04:44:55.000Z   daily (default)             API key ••••••••
    "#);
    let mut terminal = spawn_command(world.command("status acme --color never"), Some(10_000)).unwrap();
    // What comes from the terminal is given as one character a byte.
    let bytes = terminal.exp_eof().unwrap().chars().map(|byte| u8::try_from(byte).unwrap()).collect();
    let drawn = String::from_utf8(bytes).unwrap();
    for part in [
        "connected ✓   last sync 2 minutes ago   next in 6 minutes",
        "connected ✓   last sync 3 hours ago     next in 19 hours",
    ] {
        assert!(drawn.contains(part), "{drawn}");
    }
    let aptem = row(&world, "aptem");
    assert_eq!(aptem["last_success_at"], "2026-11-30T08:58:00.000Z");
    assert_eq!((&aptem["frequency"], &aptem["frequency_custom"]), (&"15m".into(), &true.into()));
}

#[test]
fn every_state_has_its_word() {
    let world = acme();
    assert_eq!(state(&world, "aptem"), "never_synced");
    assert_eq!(row(&world, "aptem")["due"], true);
    assert_eq!(row(&world, "aptem")["next_at"], Value::Null);
    let run = world.ran("acme", "aptem", &Ran { outcome: "running", finished: None, ..Ran::default() });
    assert_eq!(state(&world, "aptem"), "interrupted");
    let lock = world.home().join("skills.db.locks/run-acme-aptem");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create(&lock).unwrap();
    rustix::fs::fcntl_lock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(state(&world, "aptem"), "running");
    assert_eq!(world.json(&format!("log show {run}"))["outcome"], "running");
    assert_eq!(world.json("log list --outcome interrupted")["items"], serde_json::json!([]));
    drop(held);
    assert_eq!(world.json("log list --outcome interrupted")["items"][0]["run"], run.to_string());
    for (outcome, word) in
        [("failed", "failing"), ("partial", "partial"), ("deferred", "deferred"), ("ok", "connected")]
    {
        world.ran("acme", "aptem", &Ran { outcome, ..Ran::default() });
        assert_eq!(state(&world, "aptem"), word);
    }
    world.sql().execute("UPDATE organization_integration_overrides SET document = '{\"enabled\": false}'", []).unwrap();
    assert_eq!(state(&world, "aptem"), "disabled");
    assert_eq!(row(&world, "aptem")["next_at"], Value::Null);
    world.sql().execute("UPDATE organizations SET status = 'suspended'", []).unwrap();
    assert_eq!(state(&world, "aptem"), "suspended");
}

#[test]
fn what_is_missing_or_failing_is_told_with_the_command_to_run() {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world.run("status acme").succeeds().prints(&[
        "settings missing",
        "missing: api_key",
        "skillsctl override set acme hubspot portal_id=VALUE",
        "skillsctl credential set acme aptem api_key",
    ]);
    world.run_with_input("credential set acme aptem api_key --from-stdin", "made-up-value").succeeds();
    let run = world.ran(
        "acme",
        "aptem",
        &Ran {
            outcome: "failed",
            error: Some(("credential_refused", "Aptem answered 401", "make a new key")),
            ..Ran::default()
        },
    );
    world.run("status acme").succeeds().prints(&[
        "failing",
        "Aptem answered 401",
        &format!("skillsctl log show {run}"),
    ]);
}

#[test]
fn records_in_quarantine_are_counted() {
    let world = acme();
    let run = world.ran("acme", "aptem", &Ran { outcome: "partial", ..Ran::default() });
    world.set_aside("acme", "aptem", run, "7", "{}");
    assert_eq!(row(&world, "aptem")["quarantined"], 1);
    let command = "skillsctl record quarantine list acme --provider aptem";
    world.run("status acme").succeeds().prints(&[&format!("aptem: 1 record in quarantine   {command}")]);
    // What fails besides is told too, and not in its place.
    world.ran("acme", "aptem", &Ran { outcome: "failed", error: Some(("x", "it failed", "")), ..Ran::default() });
    world.run("status acme").succeeds().prints(&["it failed", command]);
}

#[test]
fn all_organizations_are_listed_what_fails_first_then_what_is_due() {
    let world = acme();
    world.seed_organization("umbra", "aptem");
    world.seed_organization("globex", "aptem");
    world.run_with_input("credential set globex aptem api_key --from-stdin", "made-up-value").succeeds();
    world.ran("acme", "aptem", &Ran::default());
    world.ran("acme", "hubspot", &Ran::default());
    world.ran("globex", "aptem", &Ran { started: "2026-11-30T05:00:00.000Z", ..Ran::default() });
    let list = world.json("status");
    let order: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!(
                "{}/{} {}",
                row["organization"].as_str().unwrap(),
                row["provider"].as_str().unwrap(),
                row["state"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        order,
        ["umbra/aptem credentials_missing", "globex/aptem connected", "acme/aptem connected", "acme/hubspot connected"]
    );
    world.run("status").succeeds().prints(&["globex\taptem\tconnected\t2026-11-30T08:58:00.000Z\tdue now"]);
    world.run("status nobody --json").fails(5);
}

#[test]
fn a_thousand_organizations_are_told_quickly() {
    let world = world();
    let sql = world.sql();
    sql.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
         SELECT 'org-' || i, 'Org', p.id, 1, 'Europe/London', 'active', '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z'
         FROM n, integration_presets p WHERE p.slug = 'aptem_hubspot';
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO integration_sync_logs (organization_id, provider_id, trigger, started_at, finished_at, outcome, tally, warnings)
         SELECT o.id, 1, 'schedule', '2026-11-30T08:00:00.000Z', '2026-11-30T08:00:01.000Z', 'failed', '{}', '[]' FROM n, organizations o;",
    )
    .unwrap();
    let began = std::time::Instant::now();
    assert_eq!(world.json("status")["items"].as_array().unwrap().len(), 2000);
    // A debug build on a busy machine; a release build takes a tenth of it.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
