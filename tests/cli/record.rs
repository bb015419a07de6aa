//! `record` through the binary.

use crate::support::{World, world};

fn acme() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world.learner("acme", "aptem", "L1", "Adeyemi", None);
    world.learner("acme", "aptem", "L2", "Brown", Some("2026-11-20T00:00:00.000Z"));
    world.seed_organization("globex", "aptem");
    world.learner("globex", "aptem", "L1", "Clark", None);
    world
}

#[test]
fn only_the_current_records_of_the_organization_are_listed() {
    let world = acme();
    let keys = |line: &str| -> Vec<String> {
        let list = world.json(line);
        list["items"].as_array().unwrap().iter().map(|row| row["last_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("record list acme learners"), ["Adeyemi"]);
    assert_eq!(keys("record list acme learners --all"), ["Adeyemi", "Brown"]);
    assert_eq!(keys("record list globex learner"), ["Clark"]);
    assert_eq!(world.json("record list acme employers")["items"], serde_json::json!([]));
    world.run("record list acme learners --all --limit 1").succeeds().says(&["more than 1"]);
    world.run("record list acme tutors --json").fails(2);
    world.run("record list acmee learners --json").fails(5);
}

#[test]
fn a_record_is_shown_with_its_own_fields() {
    let world = acme();
    world.run("record show acme learner L1").succeeds().prints(&[
        "Adeyemi",
        "Team Leader",
        "division",
        "North",
        "current",
    ]);
    let shown = world.json("record show acme learner L2");
    assert_eq!((&shown["kind"], &shown["custom"]["division"]), (&"Learner".into(), &"North".into()));
    assert_eq!(shown["deleted_at"], "2026-11-20T00:00:00.000Z");
}

#[test]
fn messages_do_without_personal_data() {
    let world = acme();
    let ended = world.run("record show acme learner jane@example.org").fails(5);
    assert!(!ended.stderr.contains("jane"), "{ended}");
    world.learner("acme", "hubspot", "L1", "Doe", None);
    world.run("record show acme learner L1 --json").fails(2).says(&["--provider"]);
    assert_eq!(world.json("record show acme learner L1 --provider hubspot")["last_name"], "Doe");
}

/// Gives the learners of an organization a decimal and fields of its own.
fn given(world: &World, progress: &str, custom: &str) {
    world.sql().execute("UPDATE learners SET progress = ?1, custom = ?2", [progress, custom]).unwrap();
}

#[test]
fn every_digit_comes_out_in_every_format() {
    let world = acme();
    for digits in ["18446744073709551616", "1.10", "1234567890.123456789", "-0.10", "1E400", "100", "1e-7"] {
        given(&world, digits, &format!("{{\"fee\": {digits}, \"list\": [{{\"n\": {digits}}}]}}"));
        let out = |line: &str| world.run(line).succeeds().stdout;
        for command in ["record list acme learners", "record show acme learner L1"] {
            for format in ["json", "jsonl"] {
                let text = out(&format!("{command} -o {format}"));
                assert!(text.contains(&format!("\"progress\":{digits},")), "{text}");
                assert!(
                    text.contains(&format!("\"custom\":{{\"fee\":{digits},\"list\":[{{\"n\":{digits}}}]}}")),
                    "{text}"
                );
            }
            let text = out(&format!("{command} -o yaml"));
            assert!(
                text.contains(&format!("progress: {digits}\n")) && text.contains(&format!("fee: {digits}\n")),
                "{text}"
            );
            assert!(text.contains(&format!("- \"n\": {digits}\n")), "{text}");
            let text = out(&format!("{command} -o csv --fields progress,custom"));
            assert!(text.contains(&format!("\n{digits},\"{{\"\"fee\"\":{digits},")), "{text}");
            let text = out(&format!("{command} --fields progress,custom"));
            assert!(text.contains(&format!("{digits}\t{{\"fee\":{digits},")), "{text}");
        }
        assert!(out("record show acme learner L1").contains(&format!("{digits}\n")));
        let text = out("record export-person acme --learner L1");
        assert!(
            text.contains(&format!("\"progress\": {digits},")) && text.contains(&format!("\"fee\": {digits},")),
            "{text}"
        );
        let text = out("record export-person acme --learner L1 -o yaml");
        assert!(text.contains(&format!("progress: {digits}\n")), "{text}");
    }
}

#[test]
fn a_record_set_aside_is_shown_with_its_digits() {
    let world = acme();
    let run = world.ran("acme", "aptem", &crate::seed::Ran { outcome: "partial", ..Default::default() });
    world.set_aside("acme", "aptem", run, "L1", "{\n \"fee\": 1.10, \"big\": 18446744073709551616}");
    let shown = |format: &str| world.run(&format!("record quarantine show acme 1 {format}")).succeeds().stdout;
    assert!(shown("--json").contains("\"record\":{\"fee\":1.10,\"big\":18446744073709551616}"), "{}", shown("--json"));
    assert!(shown("-o yaml").contains("  fee: 1.10\n  big: 18446744073709551616\n"), "{}", shown("-o yaml"));
    assert!(shown("").contains("\"fee\": 1.10,"), "{}", shown(""));
    let exported = world.run("record export-person acme --learner L1").succeeds().stdout;
    assert!(exported.contains("\"big\": 18446744073709551616"), "{exported}");
}

#[test]
fn a_list_goes_on_behind_a_key() {
    let world = acme();
    for key in ["b/1", "a", "A", "é"] {
        world.learner("acme", "hubspot", key, key, None);
        world.learner("acme", "aptem", &format!("x{key}"), key, None);
    }
    let keys = |line: &str| -> Vec<String> {
        world.run(&format!("{line} -o name")).succeeds().stdout.lines().map(str::to_owned).collect()
    };
    let all = keys("record list acme learners");
    assert_eq!(all, ["L1", "xA", "xa", "xb/1", "xé", "A", "a", "b/1", "é"]);
    for (place, key) in all.iter().enumerate() {
        assert_eq!(
            keys(&format!("record list acme learners --limit 2 --after {key}")),
            all[place + 1..].iter().take(2).cloned().collect::<Vec<_>>()
        );
    }
    assert_eq!(keys("record list acme learners --after hubspot/b"), ["b/1", "é"]);
    assert_eq!(keys("record list acme learners --provider hubspot --limit 1"), ["A"]);
    // Several have the key, or nobody.
    world.learner("acme", "hubspot", "L1", "Twice", None);
    world.run("record list acme learners --after L1 --json").fails(2).says(&["aptem, hubspot", "--after PROVIDER/KEY"]);
    assert_eq!(keys("record list acme learners --after aptem/L1").len(), 9);
    let ended = world.run("record list acme learners --after jane@example.org --json").fails(5);
    assert!(!ended.stderr.contains("jane"), "{ended}");
    assert_eq!(keys("record list globex learners --after L0"), ["L1"]);
    world.run("record list acme learners --limit 9").succeeds().says(&["more than 9", "--after"]);
    assert_eq!(world.run("record list acme learners --limit 10").succeeds().stderr, "");
}

/// Adds learners straight to the table.
fn crowd(world: &World, number: u32) {
    let (organization, provider) = world.pair("acme", "aptem");
    let sql = "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
         INSERT INTO learners (organization_id, provider_id, external_key, last_name, progress, custom, content_hash, first_seen_at,
                               changed_at, generation, in_scope)
         SELECT ?2, ?3, printf('k%07d', i), 'Adeyemi', '12.50', '{\"note\":\"' || hex(zeroblob(200)) || '\"}', x'00',
                '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z', 1, 1 FROM n";
    world.sql().execute(sql, rusqlite::params![number, organization, provider]).unwrap();
}

/// Starts a list and reads its first byte, so that it is under way and cannot go on for long.
#[cfg(target_os = "linux")]
fn blocked(world: &World, format: &str) -> std::process::Child {
    use std::io::Read as _;
    let mut command = world.command(&format!("record list acme learners --limit 1000000 -o {format}"));
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[cfg(target_os = "linux")]
#[test]
fn a_list_begins_before_it_is_read_and_holds_no_read_open() {
    let world = acme();
    crowd(&world, 40_000);
    for format in ["table", "json", "jsonl", "yaml", "csv", "name"] {
        // All of it is 8 MB at least, but for the names, and a pipe holds 64 KB.
        let mut child = blocked(&world, format);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB").parse::<u64>().ok());
        assert!(peak.unwrap() < 60_000, "{format}: {peak:?} kB");
        assert!(child.try_wait().unwrap().is_none() || format == "name", "{format}");
        // A checkpoint that gets through says that nobody reads.
        let (busy, log, done): (i64, i64, i64) = world
            .sql()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!((busy, log), (0, done), "{format}");
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}: a closed pipe is no error");
    }
}

#[test]
fn nothing_unseen_leaves_in_csv_or_json() {
    let world = acme();
    let text = "a\u{1b}[2J\u{7}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}z";
    world.learner("acme", "aptem", "L0", text, None);
    given(&world, "1", &serde_json::json!({ "note": text }).to_string());
    for format in ["csv", "json", "jsonl", "yaml", "table", "name"] {
        let stdout = world.run(&format!("record list acme learners -o {format}")).succeeds().stdout;
        let unseen = |c: char| {
            (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{200b}'..='\u{206f}').contains(&c) || c == '\u{feff}'
        };
        assert!(!stdout.contains(unseen), "{format}: {stdout:?}");
    }
    let list = world.json("record list acme learners");
    assert_eq!((&list["items"][0]["last_name"], &list["items"][0]["custom"]["note"]), (&text.into(), &text.into()));
    let raw = world.run("record list acme learners -o csv --csv-raw --fields last_name").succeeds().stdout;
    assert!(raw.contains(text), "{raw:?}");
}
