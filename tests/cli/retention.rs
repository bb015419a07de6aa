//! `retention` through the binary.

use serde_json::json;

use crate::seed::Ran;
use crate::support::{World, world};

const OLD: Ran = Ran {
    started: "2025-06-01T08:00:00.000Z",
    finished: Some("2025-06-01T08:01:00.000Z"),
    outcome: "ok",
    tally: "{}",
    warnings: "[]",
    error: None,
};

/// One organization with old and new runs, records in quarantine, and rows that are deleted.
fn machine() -> World {
    let mut world = world();
    world.set("SKILLSCTL_NO_INPUT", "1");
    world.seed_organization("acme", "aptem");
    let first = world.ran("acme", "aptem", &OLD);
    world.ran("acme", "aptem", &OLD);
    let newest = world.ran("acme", "aptem", &Ran::default());
    world.set_aside("acme", "aptem", first, "Q-old", "{}");
    world.set_aside("acme", "aptem", newest, "Q-new", "{}");
    world
        .sql()
        .execute("UPDATE quarantine SET created_at = '2026-06-01T00:00:00.000Z' WHERE record_key = 'Q-old'", [])
        .unwrap();
    world.learner("acme", "aptem", "live", "Adeyemi", None);
    world.learner("acme", "aptem", "D-old", "Brown", Some("2026-08-01T00:00:00.000Z"));
    world.learner("acme", "aptem", "D-new", "Clark", Some("2026-11-20T00:00:00.000Z"));
    world
}

fn text(world: &World, sql: &str) -> String {
    world.sql().query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
}

fn kept(world: &World) -> [String; 3] {
    [
        text(world, "SELECT group_concat(id) FROM (SELECT * FROM integration_sync_logs ORDER BY id)"),
        text(world, "SELECT group_concat(record_key) FROM (SELECT * FROM quarantine ORDER BY id)"),
        text(world, "SELECT group_concat(external_key) FROM (SELECT * FROM learners ORDER BY id)"),
    ]
}

fn audited(world: &World) -> String {
    text(world, "SELECT group_concat(action || ': ' || subject, '; ') FROM audit_log WHERE action LIKE 'retention%'")
}

#[test]
fn what_is_older_than_it_is_kept_is_removed_and_counted() {
    let world = machine();
    let before = kept(&world);
    let tried = world.json("retention apply --dry-run");
    assert_eq!((&tried["quarantined"], &tried["learners"], &tried["employers"]), (&json!(1), &json!(1), &json!(0)));
    world.refused("retention apply", 2).says(&["--yes"]);
    assert_eq!(kept(&world), before);
    let applied = world.json("retention apply --yes");
    // The run that held a record in quarantine goes with it.
    assert_eq!((&applied["runs"], &applied["quarantined"], &applied["learners"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(kept(&world), ["3", "Q-new", "live,D-new"]);
    assert_eq!(audited(&world), "retention apply: logs 400d, quarantine 90d, deleted 90d");
    world.run("retention apply --yes").succeeds().prints(&["unchanged"]);
    assert_eq!(audited(&world), "retention apply: logs 400d, quarantine 90d, deleted 90d");
}

#[test]
fn a_sync_of_everything_applies_it_once_a_day_and_says_what_went() {
    let mut world = machine();
    world.run("org suspend acme").succeeds();
    world.run("sync --all --dry-run").succeeds();
    assert_eq!(kept(&world)[1], "Q-old,Q-new");
    world.run("sync --all").succeeds().says(&["removed", "2 runs, 1 records in quarantine, 1 deleted learners"]);
    assert_eq!(kept(&world), ["3", "Q-new", "live,D-new"]);
    world.at("2027-06-01T09:00:00Z");
    world.run("sync --all").succeeds().says(&["1 records in quarantine"]);
    assert_eq!(kept(&world)[1], "");
    // No more today.
    let run = world.ran("acme", "aptem", &OLD);
    world.set_aside("acme", "aptem", run, "Q-late", "{}");
    let ended = world.run("sync --all").succeeds();
    assert!(!ended.stderr.contains("removed"), "{ended}");
    world.at("2027-06-02T09:00:00Z");
    world.run("sync --all").succeeds().says(&["removed"]);
    assert_eq!(world.json("retention show")["applied_at"], "2027-06-02T09:00:00.000Z");
    // Also a day on which nothing is too old.
    world.at("2027-06-03T09:00:00Z");
    let ended = world.run("sync --all").succeeds();
    assert!(!ended.stderr.contains("warning"), "{ended}");
    assert_eq!(world.json("retention show")["applied_at"], "2027-06-03T09:00:00.000Z");
}

#[test]
fn lengths_are_set_for_all_and_never_keeps_for_ever() {
    let world = machine();
    let shown = world.json("retention show");
    assert_eq!(
        (&shown["logs"], &shown["quarantine"], &shown["deleted"]),
        (&json!("400d"), &json!("90d"), &json!("90d"))
    );
    world.run("retention set --logs never --quarantine 365d --dry-run").succeeds().prints(&["400d -> never"]);
    assert_eq!(world.json("retention show")["logs"], "400d");
    world.run("retention set --logs never --quarantine 365d").succeeds();
    world.run("retention set --deleted 0").succeeds();
    let shown = world.json("retention show");
    assert_eq!(
        (&shown["logs"], &shown["quarantine"], &shown["deleted"]),
        (&json!("never"), &json!("365d"), &json!("never"))
    );
    world.run("retention apply --yes").succeeds().prints(&["unchanged"]);
    world.run("retention set --logs never").succeeds().prints(&["unchanged"]);
    world.refused("retention set", 2);
    world.refused("retention set --logs soon", 2);
    world.run("db check").succeeds();
}

#[test]
fn organizations_whose_time_in_the_trash_is_over_are_named_and_left() {
    let mut world = machine();
    world.run("org delete acme --yes").succeeds();
    assert_eq!(world.json("retention show")["purgeable"], json!([]));
    world.at("2026-12-30T10:00:00Z");
    assert_eq!(world.json("retention show")["purgeable"], json!(["acme"]));
    world.run("retention show").succeeds().prints(&["acme"]).says(&["skillsctl org purge acme"]);
    world.run("sync --all").succeeds().says(&["1 deleted organizations may be purged"]);
}

/// Nobody who writes meanwhile waits for more than one batch.
#[test]
fn much_is_removed_a_little_at_a_time() {
    let world = machine();
    let (organization, provider) = world.pair("acme", "aptem");
    world
        .sql()
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO integration_sync_logs (organization_id, provider_id, trigger, started_at, outcome, tally, warnings)
             SELECT ?1, ?2, 'schedule', '2025-06-01T08:00:00.000Z', 'failed', '{}', '[]' FROM n",
            [organization, provider],
        )
        .unwrap();
    world.ran("acme", "aptem", &Ran::default());
    let mut child = world.command("retention apply --yes").stdout(std::process::Stdio::null()).spawn().unwrap();
    let sql = world.sql();
    sql.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let mut longest = std::time::Duration::ZERO;
    while child.try_wait().unwrap().is_none() {
        let began = std::time::Instant::now();
        sql.execute_batch("BEGIN IMMEDIATE; COMMIT").unwrap();
        longest = longest.max(began.elapsed());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(text(&world, "SELECT count(*) || '' FROM integration_sync_logs"), "2");
    assert!(longest < std::time::Duration::from_secs(2), "a writer waited for {longest:?}");
}
