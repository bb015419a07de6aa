//! `org purge` through the binary.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::seed::Ran;
use crate::support::{World, world};

const SENTINEL: &str = "hunter2-purge-sentinel";

/// An organization with something in every table, beside one that stays.
fn machine() -> World {
    let mut world = world();
    world.set("SKILLSCTL_NO_INPUT", "1");
    for slug in ["acme", "acme-two"] {
        world.create(slug, "aptem_hubspot");
        world.run(&format!("override set {slug} aptem api_url=https://{slug}.aptem.example page_size=50")).succeeds();
        world.run_with_input(&format!("credential set {slug} aptem api_key --from-stdin"), SENTINEL).succeeds();
        world.learner(slug, "aptem", "L1", &format!("Quill-{slug}-end"), None);
        world.learner(slug, "aptem", "L2", "Brown", None);
        let run = world.ran(slug, "aptem", &Ran { outcome: "partial", ..Ran::default() });
        world.set_aside(slug, "aptem", run, "L7", &format!(r#"{{"Name": "Aside-{slug}-end"}}"#));
        world.run(&format!("record erase {slug} --learner L2 --confirm L2")).succeeds();
    }
    world.run("org edit acme --billing-email finance@acme.example --billing-name 'Pat Payer'").succeeds();
    world
}

fn text(world: &World, sql: &str) -> String {
    world.sql().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Returns how many rows each table with `organization_id` has of an organization.
fn rows(world: &World, slug: &str) -> Vec<(String, i64)> {
    let sql = world.sql();
    let mut tables = sql
        .prepare("SELECT s.name FROM sqlite_schema s JOIN pragma_table_info(s.name) c WHERE s.type = 'table' AND c.name = 'organization_id' ORDER BY 1")
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |table: String| {
        let count = format!(
            "SELECT count(*) FROM {table} t JOIN organizations o ON o.id = t.organization_id WHERE o.slug = ?1"
        );
        let count = sql.query_row(&count, [slug], |row| row.get(0)).unwrap();
        (table, count)
    };
    tables.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

fn in_files(world: &World, wanted: &[u8]) -> bool {
    let files = ["skills.db", "skills.db-wal", "skills.db-shm"].map(|name| std::fs::read(world.home().join(name)));
    files.iter().flatten().any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
}

fn blob(world: &World, sql: &str) -> Vec<u8> {
    world.sql().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_purge_leaves_nothing_of_an_organization_but_its_name() {
    let world = machine();
    let of = "organization_id = (SELECT id FROM organizations WHERE slug = 'acme')";
    let data_key = blob(&world, &format!("SELECT wrapped FROM data_keys WHERE {of}"));
    let sealed = blob(&world, &format!("SELECT sealed FROM organization_credentials WHERE {of}"));
    let erasures = blob(&world, &format!("SELECT digest FROM erasures WHERE {of}"));
    let other = rows(&world, "acme-two");
    assert!(rows(&world, "acme").len() >= 8, "{:?}", rows(&world, "acme"));
    world.run("org delete acme --yes").succeeds();
    let purged = world.json("org purge acme --confirm acme");
    assert_eq!(
        (&purged["kind"], &purged["outcome"], &purged["files_rewritten"]),
        (&json!("OrgPurged"), &json!("purged"), &json!(true))
    );
    assert_eq!((&purged["rows"]["learners"], &purged["rows"]["data_keys"]), (&json!(1), &json!(1)));
    assert_eq!((rows(&world, "acme"), rows(&world, "acme-two")), (vec![], other));
    for wanted in [&data_key, &sealed, &erasures] {
        assert!(!in_files(&world, wanted));
    }
    for wanted in ["Quill-acme-end", "Aside-acme-end", "finance@acme", "Pat Payer", "acme.aptem.example", "Org acme\0"]
    {
        assert!(!in_files(&world, wanted.as_bytes()), "{wanted}");
    }
    assert!(in_files(&world, b"Quill-acme-two-end"));
    world.run("db check --deep").succeeds();
    assert_eq!(
        text(&world, "SELECT action || ' ' || subject FROM audit_log ORDER BY id DESC LIMIT 1"),
        "org purge acme"
    );
    for lock in ["run-acme-aptem", "run-acme-hubspot"] {
        assert!(!world.home().join("skills.db.locks").join(lock).exists(), "{lock}");
    }
}

#[test]
fn what_was_purged_is_not_there_and_its_name_and_number_are_not_given_again() {
    let world = machine();
    let number = text(&world, "SELECT id || '' FROM organizations WHERE slug = 'acme'");
    world.all(&["org delete acme --yes", "org purge acme --confirm acme"]);
    for line in ["org show acme", "org restore acme", "record list acme learners", "sync acme", "credential list acme"]
    {
        let error = world.run(&format!("{line} --json")).fails(5).error();
        assert_eq!(error["code"], "org_purged", "{line}");
    }
    let error = world.run("org create --name New --subdomain acme --preset aptem --json").fails(6).error();
    assert!(error["hint"].as_str().unwrap().contains("not given again"), "{error}");
    let all = world.json("org list --all");
    assert_eq!(
        (&all["items"][0]["slug"], &all["items"][0]["name"], &all["items"][0]["purged_at"]),
        (&json!("acme"), &json!("acme"), &json!("2026-11-30T09:00:00.000Z"))
    );
    assert_eq!(world.json("org list")["items"].as_array().unwrap().len(), 1);
    world.create("later", "aptem");
    assert_ne!(text(&world, "SELECT id || '' FROM organizations WHERE slug = 'later'"), number);
    let again = world.json("org purge acme --confirm acme");
    assert_eq!((&again["outcome"], &again["rows"]), (&json!("unchanged"), &json!({})));
}

#[test]
fn only_what_is_deleted_is_purged_and_only_with_consent() {
    let world = machine();
    let error = world.refused("org purge acme --confirm acme --json", 6).error();
    assert_eq!(
        (&error["code"], &error["hint"]),
        (&json!("org_not_deleted"), &json!("delete it first, which can be undone: `skillsctl org delete acme`"))
    );
    world.refused("org purge acmee --confirm acmee", 5);
    world.run("org delete acme --yes").succeeds();
    world.refused("org purge acme", 2).says(&["--confirm acme"]);
    world.refused("org purge acme --yes", 2);
    world.refused("org purge acme --confirm acme-two", 2);
    let tried = world.json("org purge acme --dry-run");
    assert_eq!((&tried["dry_run"], &tried["rows"]["learners"]), (&json!(true), &json!(1)));
    assert!(!rows(&world, "acme").is_empty());
    world.run("org restore acme").succeeds();
    assert_eq!(world.json("record show acme learner L1")["last_name"], "Quill-acme-end");
}

#[test]
fn a_run_under_way_keeps_an_organization_from_being_purged() {
    let world = machine();
    world.run("org delete acme --yes").succeeds();
    let folder = world.home().join("skills.db.locks");
    let file = std::fs::File::create(folder.join("run-acme-hubspot")).unwrap();
    file.lock().unwrap();
    let error = world.refused("org purge acme --confirm acme --json", 11).error();
    assert_eq!(error["code"], "already_running");
    drop(file);
    world.run("org purge acme --confirm acme").succeeds();
}

/// What the documentation says of backups, both ways: with the key they were made under their credentials open, without it
/// nothing does.
#[test]
fn what_waits_for_its_value_seals_nothing_for_an_organization_that_was_purged_meanwhile() {
    for line in [
        "credential set acme aptem api_key --from-stdin --json",
        "credential set acme aptem api_key --from-stdin --sealed --json",
        "credential rotate acme aptem api_key --from-stdin --pending-only --json",
    ] {
        let world = machine();
        let mut waiting = world.command(line);
        waiting.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut waiting = waiting.spawn().unwrap();
        let locks = world.home().join("skills.db.locks/maintenance");
        while std::fs::File::open(&locks).is_ok_and(|file| file.try_lock().is_ok()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has read what it needs by then, and waits.
        std::thread::sleep(Duration::from_millis(500));
        world.run("org delete acme --yes").succeeds();
        world.run("org purge acme --confirm acme").succeeds();
        waiting.stdin.take().unwrap().write_all(b"typed-meanwhile-0").unwrap();
        let ended = waiting.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.contains("org_purged")), (Some(5), true), "{line}: {said}");
        assert_eq!(rows(&world, "acme"), [], "{line}");
    }
}

#[test]
fn a_backup_from_before_a_purge_opens_with_the_master_key_and_with_no_other() {
    let world = machine();
    world.all(&["db backup before.db", "org delete acme --yes"]);
    let ended = world.run("org purge acme --confirm acme").succeeds();
    let key = std::fs::read_to_string(world.key()).unwrap();
    let id = world.json("org purge acme --confirm acme")["key_id"].as_str().unwrap().to_owned();
    ended.says(&["before.db", "destroy these copies", &id]);
    world.run("db check --deep --db before.db").succeeds().prints(&["all 2 credentials open"]);
    world.run("db check --deep").succeeds().prints(&["all 1 credentials open"]);
    // The key is replaced, and the old one destroyed.
    let other = world.copy();
    std::fs::remove_file(other.db()).unwrap();
    std::fs::remove_file(other.key()).unwrap();
    other.run("init").succeeds();
    assert_ne!(std::fs::read_to_string(other.key()).unwrap(), key);
    let line = format!("db check --deep --db before.db --key-file {}", other.key().display());
    world.run(&line).fails(8);
}

#[cfg(feature = "mutants")]
#[test]
fn a_purge_that_is_killed_is_before_or_after() {
    use std::os::unix::process::ExitStatusExt as _;
    for (point, is_after) in [("purge written", false), ("before rewrite", true)] {
        let world = machine();
        world.run("org delete acme --yes").succeeds();
        let before = rows(&world, "acme");
        let mut command = world.command("org purge acme --confirm acme");
        let status = command.env("SKILLSCTL_TEST_KILL", format!("{point}:1")).output().unwrap().status;
        assert_eq!(status.signal(), Some(9), "`{point}` is not reached");
        assert_eq!(rows(&world, "acme"), if is_after { vec![] } else { before }, "{point}");
        world.run("db check --deep").succeeds();
        world.run("org purge acme --confirm acme").succeeds();
        assert_eq!(rows(&world, "acme"), []);
        assert!(!in_files(&world, b"Quill-acme-end"), "{point}");
    }
}
