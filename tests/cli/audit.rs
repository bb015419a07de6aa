//! `audit`: every change leaves a row, and a row that is edited, taken out, put in or moved is found and named.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::seed::Ran;
use crate::support::{World, world};

/// How a command stands to the audit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Audit {
    /// It changes nothing that is told by the audit.
    Nothing,
    /// Its change is played by [`CHANGES`].
    Change,
    /// Its change is played by this test, as it wants more than a line.
    Test(&'static str),
}
use Audit::{Change, Nothing, Test};

/// Every command there is.
const COMMANDS: &[(&str, Audit)] = &[
    ("init", Test("what_init_makes_is_told_thing_by_thing")),
    ("org create", Change),
    ("org list", Nothing),
    ("org show", Nothing),
    ("org edit", Change),
    ("org set-preset", Change),
    ("org upgrade", Change),
    ("org suspend", Change),
    ("org resume", Change),
    ("org delete", Change),
    ("org restore", Change),
    ("org purge", Change),
    ("preset list", Nothing),
    ("preset show", Nothing),
    ("preset edit", Change),
    ("preset diff", Nothing),
    ("preset apply", Change),
    ("preset history", Nothing),
    ("preset rollback", Change),
    ("preset validate", Nothing),
    ("preset export", Nothing),
    ("provider list", Nothing),
    ("provider show", Nothing),
    ("provider explain", Nothing),
    ("provider lint", Nothing),
    ("provider add", Change),
    // A refresh token that the provider replaced while it was tested is told as in a sync.
    ("provider check", Test("a_refresh_token_that_is_good_once_is_spent_by_one_process_at_a_time")),
    ("override show", Nothing),
    ("override set", Change),
    ("override unset", Change),
    ("override reset", Change),
    ("override enable", Change),
    ("override disable", Change),
    ("override edit", Change),
    ("override apply", Change),
    ("config show", Nothing),
    ("config explain", Nothing),
    ("credential list", Nothing),
    ("credential set", Change),
    ("credential test", Test("a_refresh_token_that_is_good_once_is_spent_by_one_process_at_a_time")),
    ("credential delete", Change),
    ("credential rotate", Test("a_new_value_that_the_provider_takes_is_in_force_and_the_one_it_replaces_is_kept")),
    ("credential rollback", Test("several_fields_are_rotated_together")),
    ("credential sealing-key show", Nothing),
    (
        "credential sealing-key create",
        Test("a_rekey_keeps_what_was_deposited_before_openable_and_then_forgets_the_old_key"),
    ),
    // What it reads is told by its runs; leave to delete a large part, and a token that was replaced, by the audit.
    ("sync", Test("learners_missing_from_a_full_read_are_deleted_but_not_many_at_once")),
    ("sync request", Change),
    ("status", Nothing),
    ("log list", Nothing),
    ("log show", Nothing),
    ("log prune", Change),
    ("record list", Nothing),
    ("record show", Nothing),
    ("record erase", Test("the_audit_and_the_list_of_erasures_say_that_somebody_was_erased_and_not_who")),
    ("record erasures", Nothing),
    ("record export-person", Nothing),
    ("record link", Test("two_rows_that_are_linked_are_one_and_parted_are_two")),
    ("record unlink", Test("two_rows_that_are_linked_are_one_and_parted_are_two")),
    ("record quarantine list", Nothing),
    ("record quarantine show", Nothing),
    ("record quarantine replay", Change),
    ("record quarantine drop", Change),
    ("audit list", Nothing),
    ("audit show", Nothing),
    ("audit verify", Nothing),
    ("audit export", Nothing),
    ("key status", Nothing),
    ("key check", Nothing),
    ("key rotate", Test("a_rotation_wraps_everything_by_the_new_key_and_changes_no_credential")),
    ("key retire", Test("a_key_is_retired_once_nothing_needs_it_and_is_then_unknown")),
    ("retention show", Nothing),
    ("retention set", Change),
    ("retention apply", Test("what_is_older_than_it_is_kept_is_removed_and_counted")),
    ("role list", Nothing),
    ("role show", Nothing),
    ("role grant", Change),
    ("role revoke", Change),
    ("doctor", Nothing),
    ("db status", Nothing),
    ("db check", Nothing),
    ("db backup", Change),
    ("db restore", Test("a_restored_database_is_told_and_taken_for_the_one_last_seen")),
    ("db migrate", Test("an_upgrade_is_told_and_chains_what_was_there")),
    ("powerbi filters", Nothing),
    ("powerbi roles", Nothing),
    ("schema", Nothing),
    ("completion", Nothing),
    ("version", Nothing),
    ("help", Nothing),
];

/// A change: the line, its input, and the action and subject of its row. Played one after the other on one machine.
const CHANGES: &[(&str, &str, (&str, &str))] = &[
    ("org create --name Acme --subdomain acme --preset aptem_hubspot", "", ("org create", "acme")),
    ("org edit acme --name 'Acme Ltd'", "", ("org edit", "acme")),
    ("org suspend acme", "", ("org suspend", "acme")),
    ("org resume acme", "", ("org resume", "acme")),
    ("override set acme aptem sync_frequency=daily", "", ("override set", "acme/aptem")),
    ("override unset acme aptem field_mappings.learner.completion", "", ("override unset", "acme/aptem")),
    ("override disable acme hubspot", "", ("override disable", "acme/hubspot")),
    ("override enable acme hubspot", "", ("override enable", "acme/hubspot")),
    ("override reset acme aptem --all", "", ("override reset", "acme/aptem")),
    ("override apply acme -f overrides.yaml", "", ("override apply", "acme/aptem")),
    ("override edit acme", "", ("override edit", "acme/aptem")),
    ("credential set acme aptem api_key --from-stdin", "sentinel-value", ("credential set", "acme/aptem/api_key")),
    ("credential delete acme aptem api_key --yes", "", ("credential delete", "acme/aptem/api_key")),
    ("preset apply -f preset.yaml", "", ("preset apply", "aptem_hubspot")),
    ("org upgrade acme --yes", "", ("org upgrade", "acme")),
    ("preset edit aptem_hubspot", "", ("preset edit", "aptem_hubspot")),
    ("preset rollback aptem_hubspot --to 1", "", ("preset rollback", "aptem_hubspot")),
    ("org set-preset acme aptem --yes", "", ("org set-preset", "acme")),
    ("provider add -f larkfield.yaml", "", ("provider add", "larkfield")),
    ("record quarantine replay acme 1", "", ("quarantine replay", "acme/aptem")),
    ("record quarantine drop acme 2 --yes", "", ("quarantine drop", "acme: 1 record")),
    ("sync request acme", "", ("sync request", "acme/aptem")),
    ("role grant bob tenant acme", "", ("role grant", "bob")),
    ("role revoke bob", "", ("role revoke", "bob")),
    ("retention set --logs 300d", "", ("retention set", "retention")),
    ("org create --name Umbra --subdomain umbra --preset bud", "", ("org create", "umbra")),
    ("org delete umbra --yes", "", ("org delete", "umbra")),
    ("org purge umbra --confirm umbra", "", ("org purge", "umbra")),
    ("log prune --older-than 90d --yes", "", ("log prune", "runs before 2026-09-01T09:00:00.000Z")),
    ("org delete acme --yes", "", ("org delete", "acme")),
    ("org restore acme", "", ("org restore", "acme")),
    ("db backup copy.db", "", ("db backup", "[HOME]/copy.db")),
];

/// Returns action and subject of the rows behind the first so many.
fn rows_behind(world: &World, count: usize) -> Vec<(String, String)> {
    let home = world.home().canonicalize().unwrap().display().to_string();
    let connection = world.sql();
    let mut statement =
        connection.prepare("SELECT action, subject FROM audit_log ORDER BY id LIMIT -1 OFFSET ?1").unwrap();
    let rows = statement
        .query_map([i64::try_from(count).unwrap()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .unwrap();
    rows.map(|row| row.map(|(action, subject)| (action, subject.replace(&home, "[HOME]"))).unwrap()).collect()
}

fn count(world: &World) -> usize {
    rows_behind(world, 0).len()
}

/// Returns the commands below some words, as help lists them; a command with none below it is one to be run.
fn commands(world: &World, words: &str, found: &mut BTreeSet<String>) {
    let help = world.run(&format!("{words} --help")).succeeds().stdout;
    // One may do something by itself and have others below it.
    if !help.lines().any(|line| line.starts_with("Usage:") && line.ends_with("<COMMAND>")) {
        found.insert(words.trim().to_owned());
    }
    let Some((_, list)) = help.split_once("Commands:\n") else { return };
    for line in list.lines().take_while(|line| !line.is_empty()) {
        // A description goes on further to the right.
        if let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            let name = name.split(' ').next().unwrap();
            commands(world, format!("{words} {name}").trim(), found);
        }
    }
}

#[test]
fn every_command_is_known_to_change_something_or_nothing() {
    let mut there = BTreeSet::new();
    commands(&World::empty(), "", &mut there);
    let known: BTreeSet<String> = COMMANDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, known, "add a new command here, and a line to `CHANGES` if it changes anything");
    let played = |name: &str| CHANGES.iter().any(|(line, ..)| *line == name || line.starts_with(&format!("{name} ")));
    let folders = ["", "sync"].map(|folder| format!("{}/tests/cli/{folder}", env!("CARGO_MANIFEST_DIR")));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let tests: String =
        files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (name, audit) in COMMANDS {
        match audit {
            Change => assert!(played(name), "`{name}` changes something, and no line of `CHANGES` plays it"),
            Test(test) => assert!(tests.contains(&format!("fn {test}(")), "{test}"),
            Nothing => {}
        }
    }
}

/// Returns a machine on which every line of [`CHANGES`] has something to do.
fn prepared() -> World {
    let mut world = world();
    let larkfield =
        std::fs::read_to_string(format!("{}/examples/providers/larkfield.yaml", env!("CARGO_MANIFEST_DIR")));
    world.file("larkfield.yaml", &larkfield.unwrap());
    world.file("overrides.yaml", "aptem:\n  sync_frequency: 15m\n");
    let preset = world.changed_preset("aptem_hubspot", "sync_frequency: hourly", "sync_frequency: 2h");
    world.file("preset.yaml", &preset);
    let script = "#!/bin/sh\nsed -i 's/sync_frequency: 15m/sync_frequency: 20m/; s/sync_frequency: 2h/sync_frequency: 3h/' \"$1\"\n";
    let editor = world.file("editor.sh", script);
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    world.set("SKILLSCTL_EDITOR", editor.to_str().unwrap());
    world
}

/// Adds runs to prune and records in quarantine, once there is an organization for them.
fn seed(world: &World) {
    for _ in 0..3 {
        world.ran("acme", "aptem", &Ran { started: "2026-06-01T00:00:00.000Z", ..Ran::default() });
    }
    let newest = world.ran("acme", "aptem", &Ran::default());
    let record = r#"{"Id": 7, "FullName": "Sofia Seven", "Email": "sofia@example.org"}"#;
    world.set_aside("acme", "aptem", newest, "L7", record);
    world.set_aside("acme", "aptem", newest, "L8", "not json");
}

#[test]
fn every_change_leaves_one_row_and_what_changes_nothing_none() {
    let world = prepared();
    for (line, input, row) in CHANGES {
        let before = count(&world);
        if !line.starts_with("db backup") {
            world.run_with_input(&format!("{line} --dry-run"), input).succeeds();
            assert_eq!(rows_behind(&world, before), [], "{line} --dry-run");
        }
        world.run_with_input(line, input).succeeds();
        let expected = (row.0.to_owned(), row.1.to_owned());
        assert_eq!(rows_behind(&world, before), [expected], "{line}");
        // Again it is unchanged, or there is nothing to be found or made any more.
        let again = world.run_with_input(line, input);
        assert!([0, 5, 6].contains(&again.exit), "{line}, again: {again}");
        assert_eq!(count(&world), before + 1, "{line}, again");
        if line.starts_with("org create --name Acme") {
            seed(&world);
        }
    }
    let verified = world.json("audit verify");
    assert_eq!((&verified["outcome"], &verified["rows"]), (&json!("sound"), &json!(count(&world))));
    assert!(!world.run("audit export").succeeds().stdout.contains("sentinel"));
    // One that fails leaves none, wherever it fails.
    let before = count(&world);
    for (line, exit) in [
        ("org create --name Other --subdomain acme --preset aptem", 6),
        ("override set acme aptem sync_frequency=often", 7),
        ("credential set acme aptem api_kye --from-stdin", 5),
        ("preset apply -f larkfield.yaml", 7),
        ("org delete acme", 2),
        ("db backup copy.db", 6),
        ("db restore copy.db", 2),
    ] {
        world.run(line).fails(exit);
        assert_eq!(count(&world), before, "{line}");
    }
}

#[test]
fn what_init_makes_is_told_thing_by_thing() {
    let world = world();
    let rows = rows_behind(&world, 0);
    let actions = rows.iter().fold(BTreeMap::<&str, usize>::new(), |mut counts, (action, _)| {
        *counts.entry(action).or_default() += 1;
        counts
    });
    assert_eq!(
        actions,
        BTreeMap::from([("key register", 1), ("provider add", 5), ("preset apply", 6), ("sealing-key create", 1)])
    );
    assert_eq!(rows[0].1, world.json("init")["key_id"].as_str().unwrap());
    assert_eq!(count(&world), rows.len(), "a second `init` changes nothing");
}

#[test]
fn changes_are_listed_newest_first_and_by_what_is_asked() {
    let mut world = world();
    world.at("2026-10-01T09:00:00Z");
    world.create("acme", "aptem");
    world.at("2026-11-30T09:00:00Z");
    world.set("SUDO_UID", "0");
    world.set("SUDO_USER", "ann");
    // Named like an organization, and none.
    world.create("aptem", "bud");
    world.run("override set acme aptem sync_frequency=daily").succeeds();
    let listed = |line: &str| -> Vec<String> {
        let list = world.json(line);
        assert_eq!(list["kind"], "AuditList");
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(|row| text(row, "action") + " " + &text(row, "subject")).collect()
    };
    assert_eq!(listed("audit list --limit 2"), ["override set acme/aptem", "org create aptem"]);
    assert_eq!(listed("audit list --org acme"), ["override set acme/aptem", "org create acme"]);
    assert_eq!(listed("audit list --org aptem"), ["org create aptem"]);
    assert_eq!(listed("audit list --action org"), ["org create aptem", "org create acme"]);
    assert_eq!(listed("audit list --action 'org create' --since 7d"), ["org create aptem"]);
    assert_eq!(listed("audit list --action or"), [""; 0]);
    assert_eq!(listed("audit list --actor 'sudo by ann'").len(), 2);
    assert_eq!(listed("audit list --since 2026-10-01").len(), 14 + 2);
    world.run("audit list --org acmee --json").fails(5);
    world.run("audit list --since soon --json").fails(2);

    world
        .run("audit list --limit 1")
        .succeeds()
        .prints(&["16\t2026-11-30T09:00:00.000Z\tadmin (sudo by ann)\toverride set\tacme/aptem\n"]);
    let shown = world.json("audit show 14");
    assert_eq!(
        (&shown["kind"], &shown["actor"], &shown["subject"], &shown["at"], &shown["before"]),
        (&json!("AuditRow"), &json!("admin"), &json!("acme"), &json!("2026-10-01T09:00:00.000Z"), &Value::Null)
    );
    world.run("audit show 14").succeeds().prints(&["org create", "admin", shown["hash"].as_str().unwrap()]);
    world.run("audit show 99 --json").fails(5);
    world.run("audit show x --json").fails(2);
}

#[test]
fn what_an_actor_claims_cannot_forge_a_row() {
    let mut world = world();
    world.set("SUDO_UID", "0");
    world.set("SUDO_USER", "x)\n99\t2026-11-30T09:00:00.000Z\troot\torg create\tforged\u{1b}[2J");
    world.create("acme", "aptem");
    let listed = world.run("audit list --limit 1").succeeds().stdout;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert_eq!(listed.split('\t').count(), 5, "{listed}");
    assert!(!listed.contains('\u{1b}'));
    assert_eq!(world.run("audit export --after 13").succeeds().stdout.lines().count(), 1);
}

/// Returns the file of the anchor that a machine keeps.
fn anchor(world: &World) -> PathBuf {
    let folder = world.home().join(".local/state/skillsctl");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "anchor")).unwrap()
}

/// Returns a machine with twenty changes.
fn twenty() -> World {
    let world = world();
    for slug in ["a1", "a2", "a3", "a4", "a5", "a6", "a7"] {
        world.create(slug, "aptem");
    }
    assert_eq!(count(&world), 20);
    world
}

/// Changes the audit behind the program's back.
fn tamper(world: &World, sql: &str) {
    let guards = "DROP TRIGGER IF EXISTS audit_log_kept; DROP TRIGGER IF EXISTS audit_log_immutable;";
    world.sql().execute_batch(&format!("{guards} {sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Returns the first finding of a verification that must find something: the row, and what is wrong with it.
fn found(world: &World, line: &str) -> (String, String) {
    let verified = world.run(&format!("{line} --json")).fails(12).json();
    assert_eq!((&verified["kind"], &verified["outcome"]), (&json!("AuditVerified"), &json!("broken")));
    let first = &verified["findings"][0];
    let row = first["row"].as_str().unwrap();
    assert!(first["problem"].as_str().unwrap().contains(row), "{first}");
    (row.to_owned(), first["fault"].as_str().unwrap().to_owned())
}

/// What can be done to the rows, and what is found: the row that is named, and its fault.
const TAMPERING: &[(&str, &str, &str)] = &[
    ("UPDATE audit_log SET at = '2026-11-30T09:00:00.001Z' WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET actor = 'bob' WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET action = 'org delete' WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET subject = 'a9' WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET before_hash = after_hash WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET after_hash = NULL WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET hash = (SELECT hash FROM audit_log WHERE id = 14) WHERE id = 15", "15", "altered"),
    ("UPDATE audit_log SET hash = NULL WHERE id = 15", "15", "foreign"),
    ("UPDATE audit_log SET actor = 'bob' WHERE id IN (1, 20)", "1", "altered"),
    ("DELETE FROM audit_log WHERE id = 15", "15", "missing"),
    ("DELETE FROM audit_log WHERE id = 1", "1", "missing"),
    ("DELETE FROM audit_log WHERE id BETWEEN 12 AND 17", "12", "missing"),
    ("DELETE FROM audit_log WHERE id = 15; UPDATE audit_log SET id = id - 1 WHERE id > 15", "15", "altered"),
    (
        "UPDATE audit_log SET id = -1 WHERE id = 15; UPDATE audit_log SET id = 15 WHERE id = 16; UPDATE audit_log SET id = 16 WHERE id = -1",
        "15",
        "altered",
    ),
    (
        "INSERT INTO audit_log (at, actor, action, subject) VALUES ('2026-11-30T09:00:00.000Z', 'bob', 'org create', 'b1')",
        "21",
        "foreign",
    ),
    (
        "INSERT INTO audit_log SELECT 21, at, actor, action, subject, before_hash, after_hash, hash FROM audit_log WHERE id = 20",
        "21",
        "altered",
    ),
    ("DELETE FROM audit_log WHERE id > 17", "18", "missing"),
    // So that nothing in the database tells of them.
    (
        "DELETE FROM audit_log WHERE id > 17; UPDATE sqlite_sequence SET seq = 17 WHERE name = 'audit_log'",
        "18",
        "missing",
    ),
    ("DELETE FROM audit_log; DELETE FROM sqlite_sequence WHERE name = 'audit_log'", "1", "missing"),
];

#[test]
fn a_row_that_is_edited_taken_out_put_in_or_moved_is_named() {
    let world = twenty();
    let stands = world.json("audit verify")["anchor"].clone();
    assert_eq!((&stands["state"], &stands["id"]), (&json!("holds"), &json!("20")));
    let anchor = anchor(&world).display().to_string();
    for (sql, row, fault) in TAMPERING {
        let copy = world.copy();
        tamper(&copy, sql);
        let expected = ((*row).to_owned(), (*fault).to_owned());
        assert_eq!(found(&copy, &format!("audit verify --anchor {anchor}")), expected, "{sql}");
        // What only the anchor tells is not told without it.
        if !sql.contains("sqlite_sequence") {
            assert_eq!(found(&copy, "audit verify"), expected, "{sql}");
        }
    }
    world.run("audit verify").succeeds().prints(&["sound, 20 changes"]);
}

#[test]
fn the_program_itself_cannot_change_or_delete_a_row() {
    let world = world();
    for sql in ["DELETE FROM audit_log WHERE id = 3", "UPDATE audit_log SET actor = 'bob' WHERE id = 3"] {
        let error = world.sql().execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("a row of the audit is never"), "{sql}: {error}");
    }
}

#[test]
fn rows_go_on_behind_a_tail_that_was_cut_off_and_tell_of_it() {
    let world = twenty();
    tamper(&world, "DELETE FROM audit_log WHERE id > 17");
    world.create("later", "aptem");
    assert_eq!(found(&world, "audit verify"), ("18".to_owned(), "missing".to_owned()));
}

/// Computes the whole chain anew, as somebody can who writes the database: nothing in it tells.
fn forge(world: &World, sql: &str) {
    tamper(world, sql);
    let connection = world.sql();
    let id: String =
        connection.query_row("SELECT value FROM meta WHERE key = 'database_id'", [], |row| row.get(0)).unwrap();
    let rows: Vec<(i64, Vec<Option<String>>)> = connection
        .prepare("SELECT id, at, actor, action, subject, before_hash, after_hash FROM audit_log ORDER BY id")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, (1..7).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut previous = hashed(&[b"skillsctl/audit/v1/beginning", id.as_bytes()]);
    for (id, columns) in rows {
        let number = id.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![b"skillsctl/audit/v1", previous.as_bytes(), &number];
        parts.extend(columns[..4].iter().map(|text| text.as_ref().unwrap().as_bytes()));
        for hash in &columns[4..] {
            parts.push(if hash.is_some() { b"some" } else { b"none" });
            parts.push(hash.as_deref().unwrap_or_default().as_bytes());
        }
        previous = hashed(&parts);
        connection.execute("UPDATE audit_log SET hash = ?2 WHERE id = ?1", (id, &previous)).unwrap();
    }
}

/// Returns the SHA-256 of parts, each behind its length in eight bytes, in hex.
fn hashed(parts: &[&[u8]]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_chain_made_anew_is_found_by_the_anchor_and_by_an_export() {
    let world = twenty();
    let export = world.run("audit export").succeeds().stdout;
    world.file("export.jsonl", &export);
    world.run("audit verify --against export.jsonl").succeeds().prints(&["compared with 20"]);
    forge(&world, "");
    assert_eq!(world.run("audit export").succeeds().stdout, export, "the chain is as this test understands it");

    forge(&world, "UPDATE audit_log SET subject = 'a9' WHERE id = 15");
    let elsewhere = world.copy();
    elsewhere.file("export.jsonl", &export);
    elsewhere.run("audit verify").succeeds();
    assert_eq!(found(&elsewhere, "audit verify --against export.jsonl"), ("15".into(), "replaced".into()));
    elsewhere
        .run("audit verify --against export.jsonl")
        .fails(12)
        .prints(&["another one than was exported: subject, hash"]);
    assert_eq!(found(&world, "audit verify"), ("20".into(), "replaced".into()));
    world.run("org list").succeeds().says(&["warning: the database is not the one last seen on this host", "row 20"]);

    forge(
        &elsewhere,
        "DELETE FROM audit_log WHERE id > 17; UPDATE sqlite_sequence SET seq = 17 WHERE name = 'audit_log'",
    );
    assert_eq!(found(&elsewhere, "audit verify --against export.jsonl").0, "15");
    elsewhere.file("tail.jsonl", &export.lines().skip(17).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(found(&elsewhere, "audit verify --against tail.jsonl"), ("18".into(), "missing".into()));
    let other = crate::support::world();
    other.file("export.jsonl", &export);
    other.run("audit verify --against export.jsonl --json").fails(7);
}

#[test]
fn an_export_is_verified_by_itself_and_goes_on_behind_what_it_has() {
    let world = twenty();
    let first = world.run("audit export").succeeds().stdout;
    world.create("later", "aptem");
    let rest = world.run("audit export --after 20").succeeds().stdout;
    assert_eq!(rest.lines().count(), 1);
    world.run("audit export --after 21").succeeds().prints(&[""]);
    let verify = "audit verify --file export.jsonl --db nowhere.db";
    world.file("export.jsonl", &(first.clone() + &rest));
    let verified = world.json(verify);
    assert_eq!(
        (&verified["rows"], &verified["head_id"], &verified["anchor"]),
        (&json!(21), &json!("21"), &Value::Null)
    );
    world.file("export.jsonl", &rest);
    assert_eq!(world.json(verify)["rows"], 1, "a part of it holds together too");

    let lines: Vec<&str> = first.lines().collect();
    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        edit(&mut lines);
        world.file("export.jsonl", &(lines.join("\n") + "\n"));
        found(&world, verify)
    };
    assert_eq!(edited(&|lines| lines[14] = lines[14].replace("\"a2\"", "\"a9\"")), ("15".into(), "altered".into()));
    assert_eq!(edited(&|lines| drop(lines.remove(14))), ("15".into(), "missing".into()));
    assert_eq!(edited(&|lines| lines.swap(14, 15)), ("15".into(), "missing".into()));
    assert_eq!(edited(&|lines| lines.insert(14, lines[3].clone())), ("4".into(), "altered".into()));
    world.file("export.jsonl", "{\"kind\":\"AuditRow\"}\n");
    world.run(verify).fails(7).says(&["export.jsonl:1"]);
    world.run("audit verify --file no.jsonl --json").fails(5);
}

#[test]
fn an_older_database_is_warned_of_once_a_command_until_it_is_accepted() {
    let world = twenty();
    let [older, _] = world.database().try_into().unwrap();
    assert!(!world.home().join("skills.db-wal").exists());
    world.create("later", "aptem");
    world.run("org list").succeeds();
    std::fs::write(world.db(), older).unwrap();
    let told = world.run("org list").succeeds();
    assert_eq!(
        told.stderr,
        "warning: the database is older than the last change seen on this host, row 21 of its audit; `skillsctl audit verify` tells more\n"
    );
    // `db backup` opens it more than once.
    let told = world.run("db backup copy.db").succeeds();
    assert_eq!(told.stderr.matches("older than the last change").count(), 1, "{told}");
    assert_eq!(found(&world, "audit verify"), ("21".into(), "replaced".into()), "the backup is row 21 now");
    // It grows beyond what was seen, and is another one still.
    world.create("others", "aptem");
    world.run("org list").succeeds().says(&["not the one last seen on this host: row 21"]);
    world.run("audit verify --accept").fails(2).says(&["--yes"]);
    world.run("audit verify --accept --yes --dry-run").fails(12);
    world.run("org list").succeeds().says(&["warning"]);
    world.run("audit verify --accept --yes").fails(12);
    assert_eq!(world.run("org list").succeeds().stderr, "");
    world.run("audit verify").succeeds().prints(&["the last change seen on this host, 22, is in it"]);
}

#[test]
fn a_restored_database_is_told_and_taken_for_the_one_last_seen() {
    let world = twenty();
    world.run("db backup monday.db").succeeds();
    world.create("later", "aptem");
    let before = count(&world);
    world.run("db restore monday.db --dry-run").succeeds();
    assert_eq!(count(&world), before);
    world.run("db restore monday.db --confirm skills.db").succeeds();
    assert_eq!(rows_behind(&world, 20), [("db restore".to_owned(), "[HOME]/monday.db".to_owned())]);
    assert_eq!(world.run("org list").succeeds().stderr, "");
    assert_eq!(world.json("audit verify")["anchor"]["id"], "21");
}

#[test]
fn an_upgrade_is_told_and_chains_what_was_there() {
    let world = crate::upgrade::first_release();
    let before = count(&world);
    world.run("db migrate --dry-run").succeeds();
    world.run("audit verify --json").fails(12).says(&["db migrate"]);
    assert_eq!(count(&world), before);
    world.run("db migrate").succeeds();
    let rows = rows_behind(&world, before);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].0 == "db migrate" && rows[0].1.starts_with("schema 1 to "), "{rows:?}");
    assert_eq!(world.json("audit verify")["rows"], before + 1);
    assert_eq!(world.json("db migrate")["outcome"], "unchanged");
    assert_eq!(count(&world), before + 1);
    tamper(&world, "UPDATE audit_log SET actor = 'bob' WHERE id = 2");
    assert_eq!(found(&world, "audit verify"), ("2".into(), "altered".into()));
}

#[test]
fn where_no_anchor_can_be_kept_nothing_fails_and_verifying_says_so() {
    let world = world();
    let ends = |name: &str, value: Option<&str>, line: &str| {
        let mut command = world.command(line);
        command.env_remove("HOME");
        if let Some(value) = value {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(ends("", None, "audit verify").contains("no last change is kept on this host"));
    assert!(ends("", None, "audit verify --json").contains("not_kept"));
    // A file in the place of the folder, as where it may not be written.
    let file = world.file("no-folder", "");
    let no_folder = file.to_str().unwrap();
    assert_eq!(
        ends("SKILLSCTL_ANCHORS", Some(no_folder), "org create --name A --subdomain a1 --preset aptem -q")
            .matches("warning")
            .count(),
        0
    );
    let folder = world.home().join("elsewhere");
    ends("SKILLSCTL_ANCHORS", folder.to_str(), "org create --name B --subdomain a2 --preset aptem");
    let files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|path| path.extension().is_some_and(|ending| ending == "anchor")));
    for path in files {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    // One that cannot be read is said, and is no proof of anything.
    std::fs::write(anchor(&world), "garbage").unwrap();
    world.run("org list").succeeds().says(&["not known: it is not as it was written"]);
    world.run("audit verify").succeeds().says(&["not known"]);
    world.run(&format!("audit verify --anchor {}", anchor(&world).display())).fails(7);
    world.run("audit verify --accept --yes").succeeds();
    assert_eq!(world.run("org list").succeeds().stderr, "");
}

#[test]
fn processes_that_change_at_once_make_one_chain_and_the_anchor_ends_at_its_end() {
    let world = world();
    std::thread::scope(|scope| {
        for first in 0..2 {
            let world = &world;
            scope.spawn(move || (0..5).for_each(|step| world.create(&format!("o{first}-{step}"), "aptem")));
        }
    });
    let verified = world.json("audit verify");
    assert_eq!((&verified["rows"], &verified["anchor"]["id"]), (&json!(23), &json!("23")));
}

#[test]
fn a_sealed_value_that_does_not_open_is_told_by_the_run_and_changes_nothing() {
    let world = world();
    for slug in ["acme", "globex"] {
        world.create(slug, "aptem");
        world.run_with_input(&format!("credential set {slug} aptem api_key --from-stdin"), "sentinel-value").succeeds();
    }
    let of = |slug: &str| format!("organization_id = (SELECT id FROM organizations WHERE slug = '{slug}')");
    let stolen = format!(
        "UPDATE organization_credentials SET sealed = (SELECT sealed FROM organization_credentials WHERE {}) WHERE {}",
        of("acme"),
        of("globex")
    );
    world.sql().execute(&stolen, []).unwrap();
    let before = count(&world);
    let ended = world.run("sync globex --json").fails(8);
    assert!(!(ended.stdout + &ended.stderr).contains("acme"));
    let run = world.json("log list globex")["items"][0].clone();
    assert_eq!((&run["outcome"], &run["error_code"]), (&json!("failed"), &json!("sealed_value_unreadable")));
    assert_eq!(count(&world), before, "what was only read is no change");
}
