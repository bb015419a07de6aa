//! `record erase`, `record erasures` and `record export-person` through the binary.

use rusqlite::params;
use serde_json::{Value, json};

use crate::seed::Ran;
use crate::support::{World, world};

/// What names the person who is erased here, wherever it stands.
const TRACES: [&str; 7] =
    ["L-7001", "B-900", "5511234", "1000000035", "zelda.quill@example.org", "Zelda", "Quillfeather"];

const ROW: &str = "INSERT INTO learners (organization_id, provider_id, external_key, external_id, uln, first_name, last_name, email, custom,
                          content_hash, first_seen_at, changed_at, generation, in_scope, dormant, deleted_at)
     VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, '{\"division\":\"North\"}', x'00', '2026-11-01T00:00:00.000Z',
             '2026-11-02T00:00:00.000Z', 1, 1, ?8, ?9)";

/// Adds a learner: key, ULN, first and last name, e-mail address, whether dormant, whether deleted.
fn add(world: &World, slug: &str, provider: &str, row: (&str, Option<&str>, &str, &str, Option<&str>, bool, bool)) {
    let (organization, provider) = world.pair(slug, provider);
    let (key, uln, first, last, email, dormant, deleted) = row;
    let deleted = deleted.then_some("2026-11-20T00:00:00.000Z");
    world.sql().execute(ROW, params![organization, provider, key, uln, first, last, email, dormant, deleted]).unwrap();
}

/// One person at three providers, in quarantine and in logs, among others.
fn acme() -> World {
    let mut world = world();
    world.set("SKILLSCTL_NO_INPUT", "1");
    world.seed_organization("acme", "aptem_hubspot");
    world.seed_organization("globex", "aptem");
    let mail = Some("zelda.quill@example.org");
    add(&world, "acme", "aptem", ("L-7001", Some("1000000035"), "Zelda", "Quillfeather", mail, false, false));
    add(&world, "acme", "bud", ("B-900", Some("1000000035"), "Zelda", "Quillfeather", None, true, false));
    add(
        &world,
        "acme",
        "hubspot",
        ("5511234", None, "Zelda", "Quillfeather", Some("Zelda.Quill@example.org"), false, true),
    );
    add(
        &world,
        "acme",
        "aptem",
        ("L-70010", Some("1000000043"), "Ann", "Other", Some("ann@example.org"), false, false),
    );
    add(&world, "globex", "aptem", ("X1", None, "Bo", "Third", None, false, false));
    let warnings =
        r#"["learners: GET /learners/L-7001 answered 500","learners: 3 of 12 records have no e-mail address"]"#;
    let error = Some(("provider_rejected", "zelda.quill@EXAMPLE.org is locked", "ask about Quillfeather"));
    let run = world.ran("acme", "aptem", &Ran { outcome: "failed", warnings, error, ..Ran::default() });
    world.set_aside("acme", "aptem", run, "L-7001", "not json: Zelda");
    world.set_aside("acme", "aptem", run, "sha256:77", r#"{"Contact": {"Uln": 1000000035, "Name": "Quillfeather"}}"#);
    world.set_aside("acme", "aptem", run, "L8", r#"{"Id": "L8"}"#);
    let (organization, provider) = world.pair("acme", "aptem");
    world
        .sql()
        .execute(
            "INSERT INTO sync_state (organization_id, provider_id, stream, generation, open_read) VALUES (?1, ?2, 'learners', 1,
                 '{\"mode\":\"full\",\"from\":null,\"to\":\"2026-11-30T08:00:00Z\",\"each\":0,\"position\":\"L-7001\",\"shape\":\"x\"}')",
            [organization, provider],
        )
        .unwrap();
    world
}

/// Returns which of these texts stand in the files of the database.
fn found<'t>(world: &World, texts: &[&'t str]) -> Vec<&'t str> {
    let files = ["skills.db", "skills.db-wal", "skills.db-shm"].map(|name| std::fs::read(world.home().join(name)));
    let holds = |text: &str| {
        let lower: Vec<Vec<u8>> = files.iter().flatten().map(|bytes| bytes.to_ascii_lowercase()).collect();
        let wanted = text.to_ascii_lowercase();
        lower.iter().any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
    };
    texts.iter().copied().filter(|text| holds(text)).collect()
}

fn text(world: &World, sql: &str) -> String {
    world.sql().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_person_is_erased_everywhere_and_no_file_names_it() {
    let world = acme();
    assert_eq!(found(&world, &TRACES), TRACES);
    let erased = world.json("record erase acme --learner L-7001 --confirm L-7001");
    let by: Vec<String> =
        erased["rows"].as_array().unwrap().iter().map(|row| format!("{} {}", row["provider"], row["by"])).collect();
    assert_eq!(by, ["\"aptem\" \"key\"", "\"bud\" \"uln\"", "\"hubspot\" \"email\""]);
    assert_eq!((&erased["quarantined"], &erased["log_lines"]), (&json!(2), &json!(3)));
    assert_eq!(
        (&erased["kind"], &erased["outcome"], &erased["files_rewritten"]),
        (&json!("PersonErased"), &json!("erased"), &json!(true))
    );
    // The other learner's key begins like that of the one who is gone.
    let left = found(&world, &TRACES);
    let keys = text(&world, "SELECT group_concat(external_key) FROM learners");
    assert_eq!((left, keys.as_str()), (vec!["L-7001"], "L-70010,X1"));
    world.sql().execute("DELETE FROM learners WHERE external_key = 'L-70010'", []).unwrap();
    world.sql().execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!(found(&world, &TRACES), [""; 0]);
    world.run("record show acme learner L-7001 --json").fails(5);
    world.run("record show acme learner B-900 --json").fails(5);
    world.run("db check --deep").succeeds();
    // What the logs said of others stays, and so does what is in quarantine of them.
    let warnings =
        r#"["learners: GET /learners/[erased] answered 500","learners: 3 of 12 records have no e-mail address"]"#;
    assert_eq!(text(&world, "SELECT warnings FROM integration_sync_logs"), warnings);
    assert_eq!(text(&world, "SELECT error || hint FROM integration_sync_logs"), "[erased] is lockedask about [erased]");
    assert_eq!(text(&world, "SELECT group_concat(record_key) FROM quarantine"), "L8");
    assert!(text(&world, "SELECT open_read FROM sync_state").contains(r#""position":null"#));
}

#[test]
fn the_audit_and_the_list_of_erasures_say_that_somebody_was_erased_and_not_who() {
    let world = acme();
    let erased = world.json("record erase acme --learner B-900 --confirm B-900");
    let person = erased["person"].as_str().unwrap();
    assert_eq!(person.len(), 16);
    assert_eq!(
        text(&world, "SELECT action || ' ' || subject FROM audit_log ORDER BY id DESC LIMIT 1"),
        format!("record erase acme/{person}")
    );
    let list = world.json("record erasures acme");
    // Three keys and a ULN.
    assert_eq!((&list["items"][0]["person"], &list["items"][0]["hashes"]), (&json!(person), &json!(4)));
    assert_eq!(world.json("record erasures globex")["items"], json!([]));
    assert!(!erased.to_string().contains("B-900"));
}

#[test]
fn a_dry_run_shows_what_would_go_and_nothing_goes_without_consent_or_key() {
    let world = acme();
    let tried = world.json("record erase acme --learner L-7001 --dry-run");
    assert_eq!((&tried["dry_run"], tried["rows"].as_array().unwrap().len()), (&json!(true), 3));
    world
        .run("record erase acme --learner L-7001 --dry-run")
        .succeeds()
        .prints(&["aptem (by its key)", "2 in quarantine"]);
    assert_eq!(found(&world, &TRACES), TRACES);
    assert_eq!(world.json("record erasures acme")["items"], json!([]));
    world.refused("record erase acme --learner L-7001", 2).says(&["--confirm"]);
    world.refused("record erase acme --learner L-7001 --yes", 2).says(&["--confirm"]);
    let mistyped = world.refused("record erase acme --learner L-7001 --confirm L-7002", 2);
    assert!(!mistyped.stderr.contains("L-700"), "{mistyped}");
    let error = world.refused("record erase acme --learner nobody --confirm nobody --json", 5).error();
    assert_eq!(error["code"], "record_not_found");
    world.refused("record erase acme --learner L-7001 --provider aptme --confirm L-7001", 5);
    world.refused("record erase acmee --learner L-7001 --confirm L-7001", 5);
    std::fs::remove_file(world.key()).unwrap();
    world.refused("record erase acme --learner L-7001 --confirm L-7001", 8);
}

#[test]
fn a_key_that_several_people_have_wants_the_provider_and_shared_addresses_tell_nobody() {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    let office = Some("office@firm.example");
    add(&world, "acme", "aptem", ("7", Some("1000000035"), "Ann", "One", office, false, false));
    add(&world, "acme", "aptem", ("8", None, "Bo", "Two", office, false, false));
    add(&world, "acme", "hubspot", ("7", Some("1000000043"), "Cy", "Three", None, false, false));
    let error = world.refused("record erase acme --learner 7 --confirm 7 --json", 2).error();
    assert_eq!(error["code"], "person_ambiguous");
    let ended = world.run("record erase acme --learner 7 --provider aptem --confirm 7").succeeds();
    ended.says(&["left alone", "aptem, hubspot"]).prints(&["1 row: aptem"]);
    assert_eq!(text(&world, "SELECT group_concat(first_name) FROM learners"), "Bo,Cy");
}

#[test]
fn erasing_again_clears_what_came_since_and_a_person_may_be_let_back() {
    let world = acme();
    world.run("record erase acme --learner L-7001 --confirm L-7001").succeeds();
    // Said by a run that was under way.
    world.ran("acme", "aptem", &Ran { warnings: r#"["L-7001 was slow"]"#, ..Ran::default() });
    let again = world.json("record erase acme --learner L-7001 --confirm L-7001");
    assert_eq!((&again["outcome"], &again["log_lines"]), (&json!("unchanged"), &json!(1)));
    assert_eq!(
        text(&world, "SELECT group_concat(warnings) FROM integration_sync_logs WHERE id = 2"),
        "[\"[erased] was slow\"]"
    );
    assert_eq!(world.json("record erasures acme")["items"].as_array().unwrap().len(), 1);
    world.run("record erase acme --learner L-70010 --lift --json").fails(5);
    world.run("record erase acme --learner B-900 --lift --dry-run").succeeds();
    world.run("record erase acme --learner B-900 --lift").succeeds().prints(&["acme: lifted"]);
    assert_eq!(world.json("record erasures acme")["items"], json!([]));
    assert!(!text(&world, "SELECT group_concat(subject) FROM audit_log").contains("B-900"));
}

#[test]
fn copies_that_are_not_reached_are_listed() {
    let mut world = acme();
    world.all(&["db backup one.db", "db backup two.db"]);
    std::fs::remove_file(world.home().join("two.db")).unwrap();
    world.file("skills.db.schema1-20261101T000000Z", "");
    let erased = world.json("record erase acme --learner L-7001 --confirm L-7001");
    let copies: Vec<(String, bool)> = erased["copies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| {
            let path = std::path::Path::new(copy["path"].as_str().unwrap());
            (path.file_name().unwrap().to_str().unwrap().to_owned(), copy["is_there"].as_bool().unwrap())
        })
        .collect();
    let expected = [("two.db", false), ("one.db", true), ("skills.db.schema1-20261101T000000Z", true)];
    assert_eq!(copies, expected.map(|(name, is_there)| (name.to_owned(), is_there)));
    let ended = world.run("record erase acme --learner L-7001 --confirm L-7001").succeeds();
    ended.says(&["still hold the person", "one.db", "not there any more"]);
    world.at("2026-12-01T09:00:00Z");
    // One that is made now has nothing of it.
    world.run("db backup later.db").succeeds();
    assert!(
        !world.json("record erase acme --learner L-7001 --confirm L-7001")["copies"].to_string().contains("later.db")
    );
    // It is true: the backup has all of it.
    let bytes = std::fs::read(world.home().join("one.db")).unwrap();
    assert!(bytes.windows(12).any(|window| window == b"Quillfeather"));
}

#[test]
fn a_reader_that_keeps_traces_in_the_files_is_told_of_and_the_same_command_removes_them() {
    let world = acme();
    let reader = world.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM learners").unwrap();
    let ended = world.run("record erase acme --learner L-7001 --confirm L-7001 --json").fails(3);
    assert_eq!((&ended.json()["outcome"], &ended.json()["files_rewritten"]), (&json!("erased"), &json!(false)));
    assert!(!found(&world, &["Quillfeather"]).is_empty(), "nothing was left: the test proves nothing");
    drop(reader);
    let again = world.json("record erase acme --learner L-7001 --confirm L-7001");
    assert_eq!((&again["outcome"], &again["files_rewritten"]), (&json!("unchanged"), &json!(true)));
    assert_eq!(found(&world, &["Quillfeather"]), [""; 0]);
}

/// Returns a machine with thousands of learners in a file that has grown as files do: rows were moved between pages, and have
/// left copies behind that no overwriting of deleted rows reaches. With it the keys that stand in it most often.
fn grown() -> (World, Vec<String>) {
    let world = world();
    world.seed_organization("acme", "aptem");
    let (organization, provider) = world.pair("acme", "aptem");
    let mut sql = world.sql();
    sql.pragma_update(None, "secure_delete", "ON").unwrap();
    let keys: Vec<String> = (0..6_000_u64).map(|number| format!("K{:06}X", number * 7_919 % 1_000_003)).collect();
    for some in keys.chunks(100) {
        let tx = sql.transaction().unwrap();
        for key in some {
            let mail = format!("{key}@example.org");
            let row = params![organization, provider, key, None::<&str>, "A", "B", mail, false, None::<&str>];
            tx.execute(ROW, row).unwrap();
        }
        tx.commit().unwrap();
    }
    let update =
        "UPDATE learners SET custom = ?2 WHERE organization_id = ?3 AND provider_id = ?4 AND external_key = ?1";
    for some in keys.chunks(400) {
        let tx = sql.transaction().unwrap();
        for (place, key) in some.iter().enumerate().step_by(2) {
            tx.execute(update, params![key, "c".repeat(place * 3 % 300), organization, provider]).unwrap();
        }
        tx.commit().unwrap();
    }
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(sql);
    let bytes = std::fs::read(world.db()).unwrap();
    let mut counts = std::collections::HashMap::<&[u8], usize>::new();
    for window in bytes.windows(8).filter(|window| window[0] == b'K' && window[7] == b'X') {
        *counts.entry(window).or_default() += 1;
    }
    let mut most: Vec<(usize, &String)> = keys.iter().map(|key| (counts[key.as_bytes()], key)).collect();
    most.sort_unstable();
    assert!(most[most.len() - 1].0 > most[0].0, "no row has left a copy: the test proves nothing");
    (world, most.iter().rev().take(3).map(|(_, key)| (*key).clone()).collect())
}

#[test]
fn copies_that_growing_tables_left_in_the_file_go_too() {
    let (world, keys) = grown();
    for key in keys {
        world.run(&format!("record erase acme --learner {key} --confirm {key}")).succeeds();
        assert_eq!(found(&world, &[&key]), [""; 0]);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn an_erasure_that_only_overwrites_what_it_deletes_is_caught() {
    let (mut world, keys) = grown();
    world.set("SKILLSCTL_TEST_MUTANT", "no-rewrite");
    let left = keys.iter().filter(|key| {
        world.run(&format!("record erase acme --learner {key} --confirm {key}")).succeeds();
        !found(&world, &[key.as_str()]).is_empty()
    });
    assert!(left.count() > 0, "the fault does no harm, so the test above proves nothing");
}

#[test]
fn all_that_is_held_of_a_person_is_exported_as_one_document() {
    let world = acme();
    let export: Value =
        serde_json::from_str(&world.run("record export-person acme --learner L-7001").succeeds().stdout).unwrap();
    assert_eq!(export["rows"].as_array().unwrap().len(), 3);
    assert_eq!((&export["rows"][0]["custom"]["division"], &export["rows"][1]["by"]), (&json!("North"), &json!("uln")));
    assert_eq!(
        (&export["rows"][0]["first_seen_at"], &export["rows"][2]["deleted_at"]),
        (&json!("2026-11-01T00:00:00.000Z"), &json!("2026-11-20T00:00:00.000Z"))
    );
    assert_eq!(
        (&export["quarantine"][0]["record"], &export["quarantine"][1]["record"]["Contact"]["Name"]),
        (&json!("not json: Zelda"), &json!("Quillfeather"))
    );
    assert_eq!((export["log"].as_array().unwrap().len(), &export["log"][0]["run"]), (3, &json!("1")));
    assert_eq!((&export["erased_at"], &export["erasure_known"]), (&Value::Null, &json!(true)));
    for other in ["Ann", "ann@example.org", "L-70010"] {
        assert!(!export.to_string().contains(other), "{other}");
    }
    assert_eq!(world.json("record export-person acme --learner L-7001")["kind"], "PersonExport");
    world.run("record erase acme --learner L-7001 --confirm L-7001").succeeds();
    let after = world.json("record export-person acme --learner L-7001");
    assert_eq!(
        (&after["rows"], &after["quarantine"], &after["erased_at"]),
        (&json!([]), &json!([]), &json!("2026-11-30T09:00:00.000Z"))
    );
    world.run("record export-person acme --learner nobody --json").fails(5);
    // Rows are read without a key; whether somebody was erased is not.
    let without_key = |key: &str| {
        let line = format!("record export-person acme --learner {key} --json");
        world.command(&line).env_remove("SKILLSCTL_KEY_FILE").output().unwrap()
    };
    let export: Value = serde_json::from_slice(&without_key("L-70010").stdout).unwrap();
    assert_eq!((&export["erasure_known"], export["rows"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(without_key("L-7001").status.code(), Some(5));
}

#[cfg(feature = "mutants")]
#[test]
fn an_erasure_that_is_killed_is_before_or_after() {
    use std::os::unix::process::ExitStatusExt as _;
    let line = "record erase acme --learner L-7001 --confirm L-7001";
    for (point, rows) in [("erase written", 4), ("before rewrite", 1)] {
        let world = acme();
        let status = world.command(line).env("SKILLSCTL_TEST_KILL", format!("{point}:1")).output().unwrap().status;
        assert_eq!(status.signal(), Some(9), "`{point}` is not reached");
        let left = "SELECT count(*) || '' FROM learners l JOIN organizations o ON o.id = l.organization_id WHERE o.slug = 'acme'";
        assert_eq!(text(&world, left), rows.to_string(), "{point}");
        assert_eq!(text(&world, "SELECT count(*) || '' FROM erasures"), if rows == 1 { "4" } else { "0" });
        world.run(line).succeeds();
        world.run("db check --deep").succeeds();
        let without_prefix = &TRACES[1..];
        assert_eq!(found(&world, without_prefix), [""; 0], "{point}");
    }
}
