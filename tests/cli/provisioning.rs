//! Provisioning without the master key: what is deposited by who could not read it, and taken in by who can.

#![expect(clippy::disallowed_methods, reason = "the sandbox stamps its records with the true time")]

use ring::digest::{SHA256, digest};
use rusqlite::params;
use serde_json::Value;

use crate::credential::{service, stands_nowhere};
use crate::sandbox::{Config, Sandbox, portal_id};
use crate::support::{Ended, World, world};

const SENTINEL: &str = "sentinel-4Kd-deposit";

/// Returns a machine with these organizations, on which nothing gives the master key any more.
fn provisioner(organizations: &[&str]) -> World {
    let mut world = world();
    organizations.iter().for_each(|slug| world.seed_organization(slug, "aptem_hubspot"));
    lose_key(&mut world);
    world
}

/// Takes the key out of the home and of the environment.
fn lose_key(world: &mut World) {
    world.set("SKILLSCTL_KEY_FILE", "");
    std::fs::rename(world.key(), world.home().join("elsewhere.key")).unwrap();
}

/// Brings the key back.
fn find_key(world: &mut World) {
    std::fs::rename(world.home().join("elsewhere.key"), world.key()).unwrap();
    let key = world.key();
    world.set("SKILLSCTL_KEY_FILE", key.to_str().unwrap());
}

fn deposit(world: &World, place: &str, value: &str) -> Ended {
    world.run_with_input(&format!("credential set {place} --from-stdin --sealed"), value).succeeds()
}

fn field(world: &World, organization: &str, place: &str) -> Value {
    let list = world.json(&format!("credential list {organization}"));
    let named =
        |item: &&Value| format!("{}/{}", item["provider"].as_str().unwrap(), item["field"].as_str().unwrap()) == place;
    list["items"].as_array().unwrap().iter().find(named).unwrap_or_else(|| panic!("no {place} in {list}")).clone()
}

fn number(world: &World, sql: &str) -> i64 {
    world.sql().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn audited(world: &World) -> Vec<String> {
    let sql = world.sql();
    let mut statement = sql
        .prepare("SELECT actor || ': ' || action || ' ' || subject FROM audit_log WHERE action LIKE 'credential%'")
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Answers as a provider that takes every credential.
fn kind_provider(world: &World, organization: &str) {
    let url = service("200 OK", r#"{"value": []}"#);
    let settings = format!(r#"{{"allow_insecure_http": true, "api_url": "{url}"}}"#);
    world.overridden(organization, "aptem", &settings);
}

#[test]
fn a_ci_job_without_a_key_provisions_an_organization_and_the_next_sync_takes_its_credentials_in() {
    let mut world = world();
    world.at(&chrono::Utc::now().to_rfc3339());
    // What may be called is for a super admin to say, and the job needs not.
    for frequency in ["sync_frequency: hourly", "sync_frequency: daily"] {
        let defaults = format!("allow_insecure_http: true\n    {frequency}");
        world.file("defaults.yaml", &world.changed_preset("aptem_hubspot", frequency, &defaults));
        world.run("preset apply -f defaults.yaml --yes").succeeds();
    }
    let sealing_key = world.json("credential sealing-key show")["id"].as_str().unwrap().to_owned();
    lose_key(&mut world);
    let sandbox = Sandbox::start(Config { learners: 5, employers: 3, ..Config::default() }).unwrap();
    let portal = portal_id("acme").to_string();
    for (name, value) in [
        ("SKILLSCTL_TEST_USER", "ci"),
        ("SKILLSCTL_SEALING_KEY", &*sealing_key),
        ("ORG", "acme"),
        ("ORG_NAME", "Acme Training Ltd"),
        ("APTEM_URL", &sandbox.url("aptem")),
        ("APTEM_KEY", "sandbox-aptem-acme"),
        ("HUBSPOT_URL", &sandbox.url("hubspot")),
        ("HUBSPOT_PORTAL", &portal),
        ("HUBSPOT_TOKEN", "sandbox-hubspot-acme"),
    ] {
        world.set(name, value);
    }
    let job = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/provision.sh");
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_skillsctl")).parent().unwrap();
    // Twice: a job that is run again changes nothing.
    for _ in 0..2 {
        let mut command = world.program("bash");
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display())).arg(job);
        let output = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{stdout}{stderr}");
        assert!(stdout.contains("deposited: the next sync, or anyone with the master key, takes it in"), "{stdout}");
        assert!(stdout.contains("credentials deposited") && stdout.contains("API key deposited"), "{stdout}");
    }
    for secret in ["sandbox-aptem-acme", "sandbox-hubspot-acme"] {
        stands_nowhere(secret, &world, &[]);
    }
    let listed = field(&world, "acme", "aptem/api_key");
    assert_eq!((&listed["state"], &listed["version"]), (&"deposited".into(), &Value::Null));
    assert_eq!(listed["deposit"]["deposited_by"], "ci");
    assert_eq!(listed["deposit"]["sealing_key"], *sealing_key);
    let status = world.json("status acme");
    for provider in status["providers"].as_array().unwrap() {
        assert_eq!((&provider["state"], &provider["due"]), (&"credentials_deposited".into(), &true.into()));
        assert_eq!(provider["missing_credentials"], serde_json::json!([]));
        assert_eq!(provider["credentials"][0]["deposited"], true);
    }
    let refused = world.run("sync acme --json").fails(8);
    assert_eq!(refused.error()["code"], "key_missing");
    world.run("db check --deep").fails(8);
    world.run("db check").succeeds();

    let sealed: Vec<u8> =
        world.sql().query_row("SELECT sealed FROM credential_deposits LIMIT 1", [], |row| row.get(0)).unwrap();
    find_key(&mut world);
    world.set("USER", "admin");
    assert_eq!(world.run("db check --deep").succeeds().stdout.matches("sound").count(), 1);
    world.set("SKILLSCTL_TEST_USER", "admin");
    let synced = world.json("sync acme");
    assert_eq!(synced["ok"], 2, "{synced}");
    assert_eq!(world.json("record list acme learners")["items"].as_array().unwrap().len(), 5);
    let set = field(&world, "acme", "aptem/api_key");
    assert_eq!((&set["state"], &set["version"], &set["set_by"]), (&"set".into(), &1.into(), &"ci".into()));
    assert_eq!(set["deposit"], Value::Null);
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 0);
    assert!(world.holding(&sealed).is_empty(), "the deposit is still in a file");
    let audit = audited(&world);
    assert!(audit.contains(&"ci: credential deposit acme/aptem/api_key".to_owned()), "{audit:?}");
    assert!(audit.contains(&"admin: credential take-in acme/aptem/api_key, deposited by ci".to_owned()), "{audit:?}");
    for secret in ["sandbox-aptem-acme", "sandbox-hubspot-acme"] {
        stands_nowhere(secret, &world, &[]);
    }
}

#[test]
fn without_a_key_a_value_is_deposited_and_that_is_said() {
    let world = provisioner(&["acme"]);
    let line = "credential set acme aptem api_key --from-stdin --json -q";
    let ended = world.run_with_input(line, SENTINEL).succeeds().says(&["no master key is given", "--sealed"]);
    assert_eq!((&ended.json()["kind"], &ended.json()["outcome"]), (&"CredentialDeposited".into(), &"deposited".into()));
    let meant = deposit(&world, "acme aptem api_key", SENTINEL);
    assert!(!meant.stderr.contains("warning"), "{meant}");
    stands_nowhere(SENTINEL, &world, &[&ended, &meant]);
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 1);
    // What is wrong with a value is told to who has it.
    world.run_with_input("credential set acme aptem api_key --from-stdin", "too few").fails(7);
    world.run_with_input("credential set acme aptem api_kye --from-stdin", SENTINEL).fails(5);
    let before = world.database();
    world.run_with_input(&format!("{line} --dry-run"), SENTINEL).succeeds();
    world.run("credential delete acme aptem api_key").fails(2);
    assert_eq!(world.database(), before);
    world.run("credential delete acme aptem api_key --yes").succeeds();
    assert_eq!(field(&world, "acme", "aptem/api_key")["state"], "missing");
}

#[test]
fn a_source_of_the_key_that_gives_none_is_no_wish_to_deposit() {
    let mut world = provisioner(&["acme"]);
    let before = world.database();
    for (name, value) in [
        ("SKILLSCTL_KEY_FILE", "mistyped.key"),
        ("SKILLSCTL_KEY_COMMAND", "false"),
        ("SKILLSCTL_KEY_COMMAND", "no-such-program"),
        ("SKILLSCTL_KEY", "0123"),
        // Of the right form, and another database's.
        ("SKILLSCTL_KEY", &"5".repeat(64)),
    ] {
        world.set(name, value);
        world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).fails(8);
        world.set(name, "");
    }
    assert_eq!(world.database(), before);
}

#[test]
fn who_asks_for_it_deposits_without_the_key_being_read() {
    let mut world = provisioner(&["acme"]);
    // A source that fails as soon as it is looked at.
    world.set("SKILLSCTL_KEY_COMMAND", "false");
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).fails(8);
    deposit(&world, "acme aptem api_key", SENTINEL);
    assert_eq!(field(&world, "acme", "aptem/api_key")["state"], "deposited");
}

#[test]
fn a_database_without_a_sealing_key_says_who_can_make_one() {
    let mut world = provisioner(&["acme"]);
    world.sql().execute("DELETE FROM sealing_keys", []).unwrap();
    let line = "credential set acme aptem api_key --from-stdin --json";
    let ended = world.run_with_input(line, SENTINEL).fails(8);
    assert_eq!(ended.error()["code"], "sealing_key_missing");
    assert!(ended.error()["hint"].as_str().unwrap().contains("sealing-key create"));
    world.run("credential sealing-key create").fails(8);
    find_key(&mut world);
    assert_eq!(world.json("credential sealing-key create")["outcome"], "created");
    assert_eq!(world.json("credential sealing-key create")["outcome"], "unchanged");
    assert_eq!(world.json("credential sealing-key show")["proved"], true);
    lose_key(&mut world);
    assert_eq!(world.json("credential sealing-key show")["proved"], Value::Null);
    world.run_with_input(line, SENTINEL).succeeds();
}

#[test]
fn deposits_moved_between_organizations_providers_or_fields_do_not_open() {
    let mut world = provisioner(&["acme", "globex"]);
    let places: Vec<String> = ["acme", "globex"]
        .iter()
        .flat_map(|slug| {
            ["aptem api_key", "hubspot api_key", "hubspot client_secret"].map(|place| format!("{slug} {place}"))
        })
        .collect();
    places.iter().for_each(|place| drop(deposit(&world, place, SENTINEL)));
    find_key(&mut world);
    let unopened = |world: &World| -> Vec<String> {
        let checked = world.run("db check --deep --json");
        let findings = checked.json()["findings"].as_array().unwrap().clone();
        findings.iter().map(|finding| finding["place"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(unopened(&world), Vec::<String>::new());
    let ids = 1..=i64::try_from(places.len()).unwrap();
    for (from, to) in ids.clone().flat_map(|from| ids.clone().map(move |to| (from, to))).filter(|(one, two)| one != two)
    {
        let copy = world.copy();
        let columns = "(sealed, created_by, created_at, replaces, sealing_key_id)";
        let sql = format!(
            "UPDATE credential_deposits SET {columns} =
             (SELECT sealed, created_by, created_at, replaces, sealing_key_id FROM credential_deposits WHERE id = ?1) WHERE id = ?2"
        );
        copy.sql().execute(&sql, [from, to]).unwrap();
        let place = format!("credential_deposits {}", places[usize::try_from(to).unwrap() - 1].replace(' ', "/"));
        assert_eq!(unopened(&copy), [place], "from {from} to {to}");
    }
    // With its number, too; and one whose writer was changed.
    for sql in [
        "DELETE FROM credential_deposits WHERE id <> 1; UPDATE credential_deposits SET organization_id = 2",
        "DELETE FROM credential_deposits WHERE id <> 1; UPDATE credential_deposits SET created_by = 'eve'",
        "DELETE FROM credential_deposits WHERE id <> 1; UPDATE credential_deposits SET replaces = 1",
        "DELETE FROM credential_deposits WHERE id <> 1; UPDATE meta SET value = 'another' WHERE key = 'database_id'",
    ] {
        let copy = world.copy();
        copy.sql().execute_batch(sql).unwrap();
        let deep = copy.run("db check --deep --json");
        assert!([8, 12].contains(&deep.exit), "{sql}\n{deep}");
    }
}

#[test]
fn a_deposit_with_any_byte_changed_is_refused_and_stays() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    deposit(&world, "acme aptem api_key", SENTINEL);
    find_key(&mut world);
    let sealed: Vec<u8> =
        world.sql().query_row("SELECT sealed FROM credential_deposits", [], |row| row.get(0)).unwrap();
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1 << (place % 8);
        world.sql().execute("UPDATE credential_deposits SET sealed = ?1", [&changed]).unwrap();
        let refused = world.run("credential test acme aptem --json").fails(8);
        assert_eq!(refused.error()["code"], "deposit_unreadable", "byte {place}");
    }
    let listed = field(&world, "acme", "aptem/api_key");
    assert_eq!(
        (&listed["state"], &listed["deposit"]["refused"]),
        (&"deposit_refused".into(), &"deposit_unreadable".into())
    );
    let status = world.json("status acme");
    assert_eq!(status["providers"][0]["state"], "credentials_missing");
    let failed = world.run("sync acme --provider aptem --json").fails(8);
    assert_eq!(failed.json()["runs"][0]["error"]["code"], "deposit_unreadable");
    let run = failed.json()["runs"][0]["run"].as_str().unwrap().to_owned();
    assert_eq!(world.json(&format!("log show {run}"))["error_code"], "deposit_unreadable");
    stands_nowhere(SENTINEL, &world, &[&failed]);
    // As it was, it opens.
    world.sql().execute("UPDATE credential_deposits SET sealed = ?1", [&sealed]).unwrap();
    world.run("credential test acme aptem").succeeds();
    assert_eq!(field(&world, "acme", "aptem/api_key")["state"], "set");
}

#[test]
fn a_refused_deposit_leaves_the_credential_in_force_and_says_so() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    find_key(&mut world);
    world.run_with_input("credential set acme aptem api_key --from-stdin", "the-working-one").succeeds();
    let working = field(&world, "acme", "aptem/api_key")["fingerprint"].clone();
    deposit(&world, "acme aptem api_key", SENTINEL);
    world.sql().execute("UPDATE credential_deposits SET sealed = substr(sealed, 1, 60)", []).unwrap();
    for line in ["credential test acme aptem", "sync acme --provider aptem", "sync --all --provider aptem --force"] {
        world
            .run(line)
            .succeeds()
            .says(&["the deposited `api_key` of `acme` for `aptem` does not open; the deposit was not taken in"]);
    }
    let listed = field(&world, "acme", "aptem/api_key");
    assert_eq!((&listed["state"], &listed["fingerprint"]), (&"set".into(), &working));
    assert_eq!(listed["deposit"]["refused"], "deposit_unreadable");
    world.run("db check --deep").fails(12).prints(&["credential_deposits acme/aptem/api_key"]);
}

#[test]
fn a_deposit_of_another_form_than_the_field_wants_by_now_is_refused() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    deposit(&world, "acme aptem api_key", SENTINEL);
    find_key(&mut world);
    let manifest = include_str!("../../presets/providers/aptem.yaml")
        .replace(r#"pattern: "[!-~]{8,}""#, "pattern: \"key-[0-9]+\"");
    world.file("aptem.yaml", &manifest);
    world.run("provider add -f aptem.yaml --yes").succeeds();
    let refused = world.run("credential test acme aptem --json").fails(7);
    assert_eq!(refused.error()["code"], "deposit_malformed");
    assert_eq!(field(&world, "acme", "aptem/api_key")["state"], "deposit_refused");
    world.run("sync acme --provider aptem").fails(7);
    stands_nowhere(SENTINEL, &world, &[&refused]);
}

#[test]
fn of_two_deposits_the_last_is_taken_in_and_what_is_in_force_already_stays() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    deposit(&world, "acme aptem api_key", "the-first-value");
    let first: Vec<u8> = world.sql().query_row("SELECT sealed FROM credential_deposits", [], |row| row.get(0)).unwrap();
    deposit(&world, "acme aptem api_key", "the-second-value");
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 1);
    assert!(world.holding(&first).is_empty(), "the first deposit is still in a file");
    find_key(&mut world);
    world.run("credential test acme aptem").succeeds();
    let set = field(&world, "acme", "aptem/api_key");
    let line = "credential set acme aptem api_key --from-stdin --json";
    let again = world.run_with_input(line, "the-second-value").succeeds().json();
    assert_eq!((&again["outcome"], &again["fingerprint"]), (&"unchanged".into(), &set["fingerprint"]));
    // The same value once more is the same credential; another one replaces it.
    deposit(&world, "acme aptem api_key", "the-second-value");
    assert_eq!(field(&world, "acme", "aptem/api_key")["state"], "set");
    world.run("credential test acme aptem").succeeds();
    assert_eq!(field(&world, "acme", "aptem/api_key")["version"], 1);
    deposit(&world, "acme aptem api_key", "the-third-value");
    world.run("credential test acme aptem").succeeds();
    assert_eq!(field(&world, "acme", "aptem/api_key")["version"], 2);
    assert_eq!(world.run_with_input(line, "the-third-value").succeeds().json()["outcome"], "unchanged");
}

#[test]
fn a_credential_that_was_set_after_a_deposit_is_not_replaced_by_it() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    deposit(&world, "acme aptem api_key", "deposited-value");
    world.sql().execute_batch("CREATE TABLE old AS SELECT * FROM credential_deposits").unwrap();
    find_key(&mut world);
    let line = "credential set acme aptem api_key --from-stdin";
    world.run_with_input(line, "the-newer-value").succeeds().says(&["was dropped: this one is newer"]);
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 0);
    // Nor by one that somebody brings back.
    world.sql().execute_batch("INSERT INTO credential_deposits SELECT * FROM old").unwrap();
    world.run("credential test acme aptem").succeeds().says(&["was dropped: the one in force was set later"]);
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 0);
    assert_eq!(
        world.run_with_input(&format!("{line} --json"), "the-newer-value").succeeds().json()["outcome"],
        "unchanged"
    );
    let audit = audited(&world);
    assert!(
        audit.contains(&"admin: credential drop-deposit acme/aptem/api_key, deposited by admin".to_owned()),
        "{audit:?}"
    );
}

#[test]
fn a_rekey_keeps_what_was_deposited_before_openable_and_then_forgets_the_old_key() {
    let mut world = provisioner(&["acme"]);
    kind_provider(&world, "acme");
    deposit(&world, "acme aptem api_key", "deposited-before");
    let old = world.json("credential sealing-key show")["id"].clone();
    find_key(&mut world);
    assert_eq!(world.json("credential sealing-key create --rekey")["outcome"], "replaced");
    assert_eq!(number(&world, "SELECT count(*) FROM audit_log WHERE action = 'sealing-key create'"), 2);
    deposit(&world, "acme hubspot client_secret", "deposited-after");
    let shown = world.json("credential sealing-key show");
    assert_ne!(shown["id"], old);
    assert_eq!((&shown["deposits"], &shown["replaced"]), (&2.into(), &serde_json::json!([old])));
    world.run("db check --deep").succeeds();
    let wrapped: Vec<u8> = world
        .sql()
        .query_row("SELECT wrapped FROM sealing_keys WHERE id = ?1", [old.as_str()], |row| row.get(0))
        .unwrap();
    world.run("credential test acme aptem").succeeds();
    assert_eq!(world.json("credential sealing-key show")["replaced"], serde_json::json!([]));
    assert!(world.holding(&wrapped).is_empty(), "the private half of the old key is still in a file");
    // With nothing deposited to it, the one before goes at once.
    world.run("credential delete acme hubspot client_secret --yes").succeeds();
    world.run("credential sealing-key create --rekey").succeeds();
    assert_eq!(number(&world, "SELECT count(*) FROM sealing_keys"), 1);
}

/// Returns the id that a public key has.
fn id_of(key: &[u8]) -> String {
    let hash = digest(&SHA256, &[b"skillsctl/sealing-key-id/v1", key].concat());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_public_key_that_somebody_else_has_put_there_is_found_by_the_master_key_and_refused_by_a_pin() {
    let mut world = provisioner(&["acme"]);
    let ours = world.json("credential sealing-key show")["id"].as_str().unwrap().to_owned();
    let theirs = [9_u8; 32];
    let id = id_of(&theirs);
    let sql = world.sql();
    sql.execute("UPDATE sealing_keys SET id = ?1, public_key = ?2", params![id, theirs]).unwrap();
    // A provisioner with a pin refuses, before it asks for anything.
    let pinned = world.run_with_input(
        &format!("credential set acme aptem api_key --sealed --sealing-key {ours} --from-file nowhere --json"),
        "",
    );
    assert_eq!(pinned.fails(8).error()["code"], "sealing_key_differs");
    world.set("SKILLSCTL_SEALING_KEY", &ours);
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).fails(8);
    world.set("SKILLSCTL_SEALING_KEY", "");
    assert_eq!(number(&world, "SELECT count(*) FROM credential_deposits"), 0);
    // One without a pin cannot know: this is what a pin is for.
    deposit(&world, "acme aptem api_key", SENTINEL);
    find_key(&mut world);
    let shown = world.run("credential sealing-key show --json").fails(8);
    assert_eq!(shown.error()["code"], "sealing_key_forged");
    kind_provider(&world, "acme");
    let said = "was not made with the master key of this database";
    world.run("sync acme --provider aptem").fails(8).says(&[said, "--rekey"]);
    world.run("credential sealing-key create --json").fails(8);
    world.run("key rotate --generate new.key --json").fails(8).says(&["sealing-key create --rekey"]);
    assert_eq!(world.json("credential sealing-key create --rekey")["outcome"], "replaced");
    deposit(&world, "acme aptem api_key", SENTINEL);
    world.run("credential sealing-key show").succeeds();
    world.run("sync acme --provider aptem").succeeds();

    // A public key of another id than its own is no key at all.
    world.sql().execute("UPDATE sealing_keys SET public_key = ?1", params![[7_u8; 32]]).unwrap();
    world.run_with_input("credential set acme aptem api_key --from-stdin --sealed", SENTINEL).fails(8);
}

#[test]
fn a_value_of_few_possibilities_cannot_be_guessed_from_the_database() {
    let world = provisioner(&["acme", "globex"]);
    for slug in ["acme", "globex"] {
        deposit(&world, &format!("{slug} hubspot client_id"), "1234");
    }
    let sealed = |slug: &str| -> Vec<u8> {
        let sql = "SELECT sealed FROM credential_deposits WHERE organization_id = (SELECT id FROM organizations WHERE slug = ?1)";
        world.sql().query_row(sql, [slug], |row| row.get(0)).unwrap()
    };
    assert!(sealed("acme").windows(8).all(|window| !sealed("globex").windows(8).any(|other| other == window)));
    let hash = digest(&SHA256, b"1234");
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for form in [hash.as_ref(), &hash.as_ref()[..8], hex.as_bytes(), &hex.as_bytes()[..8]] {
        assert!(world.holding(form).is_empty());
    }
}

#[cfg(feature = "mutants")]
#[test]
fn killed_at_any_point_a_deposit_is_waiting_or_taken_in_and_never_lost_nor_doubled() {
    let mut prepared = provisioner(&["acme"]);
    kind_provider(&prepared, "acme");
    deposit(&prepared, "acme aptem api_key", SENTINEL);
    find_key(&mut prepared);
    for (point, waiting) in [
        ("lock taken", 1),
        ("deposit deleted", 1),
        ("before checkpoint", 0),
        ("checkpointed", 0),
        ("run row written", 0),
    ] {
        let mut world = prepared.copy();
        let key = world.key();
        world.set("SKILLSCTL_KEY_FILE", key.to_str().unwrap());
        let mut command = world.command("sync acme --provider aptem");
        command.env("SKILLSCTL_TEST_KILL", format!("{point}:1"));
        let status = command.output().unwrap().status;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point}");
        let count = |table: &str| number(&world, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(
            (count("credential_deposits"), count("organization_credentials")),
            (waiting, 1 - waiting),
            "{point}"
        );
        world.run("db check --deep").succeeds();
        world.run("sync acme --provider aptem").succeeds();
        assert_eq!((count("credential_deposits"), count("organization_credentials")), (0, 1), "{point}");
        let line = "credential set acme aptem api_key --from-stdin --json";
        assert_eq!(world.run_with_input(line, SENTINEL).succeeds().json()["outcome"], "unchanged", "{point}");
    }
}
