//! `key` through the binary: rotation without a gap, wrong keys that write nothing, and sealed values that do not move.

mod strangers;
mod swaps;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{World, world};

const SENTINEL: &str = "sentinel-4kQ-under-key";

/// The lines that set the six credentials of [`two_tenants`], in the order of their rows.
const PLACES: [(&str, &str, &str); 6] = [
    ("acme", "aptem", "api_key"),
    ("acme", "hubspot", "api_key"),
    ("acme", "hubspot", "client_secret"),
    ("umbra", "aptem", "api_key"),
    ("umbra", "hubspot", "api_key"),
    ("umbra", "hubspot", "client_secret"),
];

/// Returns a machine with six credentials of two organizations at two providers each; one is of a second version.
fn two_tenants() -> World {
    let world = world();
    for slug in ["acme", "umbra"] {
        world.create(slug, "aptem_hubspot");
    }
    set(&world, PLACES[0], "the-version-before");
    for (number, place) in PLACES.into_iter().enumerate() {
        set(&world, place, &value(number));
    }
    world
}

fn value(number: usize) -> String {
    format!("{SENTINEL}-{number}")
}

/// Sets a credential and returns what came of it: `unchanged` proves that what is stored opens to the same value.
fn set(world: &World, (organization, provider, field): (&str, &str, &str), value: &str) -> String {
    let line = format!("credential set {organization} {provider} {field} --from-stdin --json");
    world.run_with_input(&line, value).succeeds().json()["outcome"].as_str().unwrap().to_owned()
}

/// Fails unless each of the six credentials opens to what it was.
fn all_are_as_they_were(world: &World) {
    for (number, place) in PLACES.into_iter().enumerate() {
        assert_eq!(set(world, place, &value(number)), "unchanged", "{place:?}");
    }
}

/// Copies the key at hand to a file, and returns a path at which there is none.
fn keep_old(world: &World) -> (PathBuf, PathBuf) {
    let [old, new] = ["old.key", "new.key"].map(|name| world.home().join(name));
    std::fs::copy(world.key(), &old).unwrap();
    (old, new)
}

fn id(world: &World, key: &std::path::Path) -> String {
    let status = world.json(&format!("key status --key-file '{}'", key.display()));
    status["sources"][0]["key_id"].as_str().unwrap().to_owned()
}

fn audited(world: &World, action: &str) -> Vec<String> {
    let sql = world.sql();
    let mut statement = sql.prepare("SELECT subject FROM audit_log WHERE action = ?1 ORDER BY id").unwrap();
    let rows = statement.query_map([action], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_rotation_wraps_everything_by_the_new_key_and_changes_no_credential() {
    let world = two_tenants();
    let (old, new) = keep_old(&world);
    let before = world.json("credential list acme");
    let old_id = id(&world, &old);
    let tried = world.json("key rotate --generate new.key --dry-run");
    assert!(tried["key_id"].is_null() && tried["dry_run"] == true && !new.exists(), "{tried}");
    world.run("key check").succeeds();

    let done = world.run("key rotate --generate new.key").succeeds();
    done.says(&["next: point the key source", &format!("next: skillsctl key retire {old_id}")]);
    let new_id = id(&world, &new);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&new).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(audited(&world, "key rotate"), [new_id.as_str()]);

    // The old key is refused by name until the source is pointed to the new one.
    let ended = world.refused("credential set acme aptem api_key --from-stdin --json", 8);
    assert_eq!(ended.error()["code"], "key_replaced");
    assert!(ended.error()["message"].as_str().unwrap().contains(&new_id), "{ended}");
    std::fs::copy(&new, world.key()).unwrap();
    let checked = world.json("key check");
    assert_eq!((&checked["keys"], &checked["credentials"]), (&3.into(), &6.into()));
    all_are_as_they_were(&world);
    assert_eq!(world.json("credential list acme"), before);
    world.run("db check --deep").succeeds();

    // Again is as good as not at all.
    assert_eq!(world.json("key rotate --new-key-file new.key")["outcome"], "unchanged");
    assert_eq!(audited(&world, "key rotate").len(), 1);
}

#[test]
fn nothing_that_the_old_key_opens_is_left_in_the_files_after_a_rotation() {
    let world = two_tenants();
    let (_, new) = keep_old(&world);
    let wrapped = |world: &World| -> Vec<Vec<u8>> {
        let sql = world.sql();
        let mut statement =
            sql.prepare("SELECT wrapped FROM data_keys UNION ALL SELECT sealed FROM organization_credentials").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let holds = |world: &World, needle: &[u8]| {
        world.database().iter().any(|file| file.windows(needle.len()).any(|window| window == needle))
    };
    let before = wrapped(&world);
    assert!(before.iter().all(|value| holds(&world, value)));
    world.run("key rotate --generate new.key").succeeds();
    assert!(!before[..2].iter().any(|value| holds(&world, value)), "an old wrapped key is still there");
    std::fs::copy(&new, world.key()).unwrap();
    let before = wrapped(&world);
    world.run("key rotate --rekey").succeeds().says(&["the new sealing key"]);
    assert!(!before.iter().any(|value| holds(&world, value)), "an old sealed value is still there");
}

#[test]
fn machines_that_get_the_new_key_before_or_after_the_rotation_have_no_gap() {
    let mut world = two_tenants();
    let (old, new) = keep_old(&world);
    world.run(&format!("init --db other.db --key-file '{}'", new.display())).succeeds();
    // One machine has the new key already, the other has it beside the old one.
    let sources: [(&str, &std::path::Path); 2] = [("SKILLSCTL_KEY_FILE", &new), ("SKILLSCTL_KEY_FILE_PREVIOUS", &old)];
    sources.iter().for_each(|(name, path)| world.set(name, path.to_str().unwrap()));
    let swapped = format!("--key-file '{}'", old.display());
    let write = |world: &World, flags: &str, version: u32| {
        let line = format!("credential set acme aptem api_key --from-stdin --json {flags}");
        let ended = world.run_with_input(&line, &format!("another-value-{version}")).succeeds();
        assert_eq!(ended.json()["version"], version);
    };
    write(&world, "", 3);
    assert_eq!(world.json("key status")["ready"], true);
    world.run(&format!("key rotate --new-key-file '{}'", new.display())).succeeds();
    write(&world, "", 4);
    world.set("SKILLSCTL_KEY_FILE_PREVIOUS", new.to_str().unwrap());
    write(&world, &swapped, 5);
    let status = world.json(&format!("key status {swapped}"));
    let states: Vec<&Value> = status["sources"].as_array().unwrap().iter().map(|source| &source["state"]).collect();
    assert_eq!(states, ["replaced", "in_force"]);
    assert_eq!(status["keys"][0]["wraps"], 0);
    assert_eq!(status["keys"][1]["wraps"], 3);
}

#[test]
fn a_previous_key_is_named_by_variable_command_text_or_the_service_manager_and_read_only_where_it_is_needed() {
    let world = two_tenants();
    let (old, new) = keep_old(&world);
    world.run("init --db other.db --key-file new.key").succeeds();
    let text = std::fs::read_to_string(&old).unwrap();
    std::fs::create_dir(world.home().join("credentials")).unwrap();
    std::fs::copy(&old, world.home().join("credentials/skillsctl-previous.key")).unwrap();
    let credentials = world.home().join("credentials").display().to_string();
    for (name, value) in [
        ("SKILLSCTL_KEY_FILE_PREVIOUS", old.display().to_string()),
        ("CREDENTIALS_DIRECTORY", credentials),
        ("SKILLSCTL_KEY_COMMAND_PREVIOUS", format!("cat '{}'", old.display())),
        ("SKILLSCTL_KEY_PREVIOUS", text),
    ] {
        let check = |key: &std::path::Path, name: &str, value: &str| {
            let mut command = world.command("key check --json");
            command.env("SKILLSCTL_KEY_FILE", key).env(name, value).output().unwrap().status.code()
        };
        assert_eq!(check(&new, name, &value), Some(0), "{name}");
        assert_eq!(check(&new, "NOTHING", ""), Some(8), "{name}");
        // The current one is enough: a previous source that is gone does no harm.
        assert_eq!(check(&old, "SKILLSCTL_KEY_FILE_PREVIOUS", "/nowhere"), Some(0));
    }
}

#[test]
fn new_data_keys_seal_every_credential_again_and_leave_no_old_one() {
    let world = two_tenants();
    let versions = |world: &World| -> String {
        let sql =
            "SELECT group_concat(organization_id || '.' || version, ' ') FROM (SELECT * FROM data_keys ORDER BY 1, 2)";
        world.sql().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    // A stage that no command shows is sealed like the others.
    let (organization, provider) = world.pair("acme", "aptem");
    world
        .sql()
        .execute(
            "INSERT INTO organization_credentials
                 (organization_id, provider_id, field, version, stage, data_key_version, sealed, fingerprint, created_by, created_at)
             SELECT organization_id, provider_id, field, 9, 'previous', data_key_version, sealed, fingerprint, created_by, created_at
             FROM organization_credentials WHERE organization_id = ?1 AND provider_id = ?2",
            [organization, provider],
        )
        .unwrap();
    let refused = world.refused("key rotate --rekey --json", 8);
    assert!(refused.error()["message"].as_str().unwrap().contains("`api_key` of `acme` for `aptem`"), "{refused}");
    assert_eq!(
        world.run("key check --json").fails(8).json()["closed"][0]["place"],
        "organization_credentials acme/aptem/api_key"
    );
    world.sql().execute("DELETE FROM organization_credentials WHERE stage = 'previous'", []).unwrap();

    let done = world.json("key rotate --rekey --org acme");
    assert_eq!((&done["outcome"], &done["keys"], &done["credentials"]), (&"rekeyed".into(), &1.into(), &3.into()));
    assert_eq!(versions(&world), "1.2 2.1");
    all_are_as_they_were(&world);
    assert_eq!(world.json("key rotate --rekey --dry-run")["credentials"], 6);
    assert_eq!(versions(&world), "1.2 2.1");
    assert_eq!(world.json("key rotate --rekey")["credentials"], 6);
    assert_eq!(versions(&world), "1.3 2.2");
    all_are_as_they_were(&world);
    assert_eq!(audited(&world, "key rekey"), ["acme", "acme", "umbra"]);
    world.run("key rotate --rekey --org nobody").fails(5);
    world.run("db check --deep").succeeds();
}

#[test]
fn a_key_is_retired_once_nothing_needs_it_and_is_then_unknown() {
    let world = two_tenants();
    let (old, new) = keep_old(&world);
    let old_id = id(&world, &old);
    world.refused(&format!("key retire {old_id} --json"), 6).says(&["key_in_use", "is in force"]);
    world.run("db backup monday.db").succeeds().says(&[&old_id]);
    world.run("key rotate --generate new.key").succeeds();
    let new_id = id(&world, &new);
    world.refused(&format!("key retire {new_id}"), 6);
    world.refused("key retire 0000000000000000 --json", 5).says(&["key_not_found"]);
    world.refused("key retire 12", 2);
    // What still depends on it keeps it, however that came to be.
    world.sql().execute("UPDATE data_keys SET key_id = ?1 WHERE organization_id = 2", [&old_id]).unwrap();
    world.refused(&format!("key retire {old_id} --json"), 6).says(&["still wraps 1 keys"]);
    let backup = world.json("db backup tuesday.db");
    assert_eq!(backup["key_ids"], serde_json::json!([new_id, old_id]));
    world.sql().execute("UPDATE data_keys SET key_id = ?1 WHERE organization_id = 2", [&new_id]).unwrap();

    world.run(&format!("key retire {old_id} --dry-run")).succeeds();
    world.run(&format!("key retire {old_id}")).succeeds().says(&["tuesday.db"]);
    world.refused(&format!("key retire {old_id}"), 5);
    let status = world.json("key status");
    assert_eq!((&status["ready"], &status["sources"][0]["state"]), (&false.into(), &"unknown".into()));
    assert_eq!(status["retired"][0]["key_id"], old_id.as_str());
    assert_eq!(status["keys"].as_array().unwrap().len(), 1);
    world.refused("credential set acme aptem api_key --from-stdin --json", 8).says(&["wrong_key", &new_id]);
    // The backup opens with the key it was made under, and with no other.
    world.run("key check --db monday.db").succeeds();
    world.run("key check --db monday.db --key-file new.key").fails(8).says(&[&old_id]);
}

#[test]
fn the_status_needs_no_key_and_says_what_is_wrong_with_one() {
    let mut world = two_tenants();
    let ok = world.run("key status").succeeds().prints(&["(SKILLSCTL_KEY_FILE)", "in force", "wraps 3 keys"]);
    assert!(!ok.stdout.contains("\\u{"), "{ok}");
    std::fs::set_permissions(world.key(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    world.run("key status").succeeds().prints(&["may be read or changed by others"]);
    std::fs::remove_file(world.key()).unwrap();
    let status = world.json("key status");
    assert_eq!((&status["ready"], &status["keys"][0]["wraps"]), (&false.into(), &3.into()));
    assert!(status["sources"][0]["problem"].as_str().unwrap().contains("cannot be read"));
    world.set("SKILLSCTL_KEY_FILE", "");
    assert!(world.json("key status")["sources"][0]["source"].is_null());
    for line in ["status", "org list", "log list", "credential list acme", "config show acme aptem"] {
        world.run(line).succeeds();
    }
}

#[test]
fn a_rotation_is_noted_as_the_last_change_that_was_seen() {
    let world = two_tenants();
    for line in ["key rotate --rekey", "key rotate --generate new.key"] {
        world.run(line).succeeds();
        let last: i64 = world.sql().query_row("SELECT max(id) FROM audit_log", [], |row| row.get(0)).unwrap();
        let folder = std::fs::read_dir(world.home().join(".local/state/skillsctl")).unwrap();
        let anchor = folder.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "anchor");
        let noted = std::fs::read_to_string(anchor.unwrap()).unwrap();
        assert!(noted.contains(&format!("\"id\":{last}")), "{line}: {last} in {noted}");
    }
}

#[test]
fn a_wrong_key_ends_every_command_that_seals_or_opens_before_anything_is_written() {
    let world = two_tenants();
    world.run("init --db other.db --key-file other.key").succeeds();
    let lines = [
        "credential set acme aptem api_key --from-stdin",
        "credential test acme",
        "sync acme",
        "sync --all",
        "key rotate --generate new.key",
        "key rotate --rekey",
        "key check",
        "db check --deep",
        "init",
    ];
    for line in lines {
        let before = world.database();
        let ended = world.run_with_input(&format!("{line} --key-file other.key --json"), "a-new-value").fails(8);
        assert_eq!(ended.error()["code"], "wrong_key", "{line}");
        assert!(world.database() == before, "{line} wrote");
    }
    assert!(!world.home().join("new.key").exists());
}

#[test]
fn a_rotation_is_refused_while_the_database_is_in_use_and_has_it_alone() {
    let world = two_tenants();
    // Waits for its input, and holds the database meanwhile as a sync does.
    let mut user = world.command("credential set acme aptem api_key --from-stdin");
    user.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut user = user.spawn().unwrap();
    let locks = world.home().join("skills.db.locks/maintenance");
    let held = || std::fs::File::open(&locks).is_ok_and(|file| file.try_lock().is_err());
    while !held() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for line in ["key rotate --generate new.key --json", "key rotate --rekey --json"] {
        let ended = world.refused(line, 11);
        assert_eq!(ended.error()["code"], "database_in_use");
    }
    assert!(!world.home().join("new.key").exists());
    std::io::Write::write_all(&mut user.stdin.take().unwrap(), b"typed-meanwhile-0").unwrap();
    assert!(user.wait().unwrap().success());
    world.run("key rotate --generate new.key").succeeds();
}

#[test]
fn a_generated_key_overwrites_nothing_and_an_interrupted_rotation_goes_on_with_it() {
    let world = two_tenants();
    world.file("new.key", "mine");
    let ended = world.refused("key rotate --generate new.key --json", 6);
    assert_eq!(ended.error()["code"], "key_file_exists");
    assert!(ended.error()["hint"].as_str().unwrap().contains("--new-key-file new.key"));
    assert_eq!(std::fs::read_to_string(world.home().join("new.key")).unwrap(), "mine");
    for line in [
        "key rotate",
        "key rotate --rekey --generate x",
        "key rotate --org acme",
        "key rotate --generate a --new-key-file b",
    ] {
        world.refused(line, 2);
    }
    world.refused("key rotate --new-key-file nowhere", 8);
    world.refused("key rotate --new-key-command 'echo no key'", 8);
    std::fs::remove_file(world.home().join("new.key")).unwrap();
    world.run("init --db other.db --key-file new.key").succeeds();
    let by_command = format!("key rotate --new-key-command \"cat '{}/new.key'\" --json", world.home().display());
    assert_eq!(world.run(&by_command).succeeds().json()["outcome"], "rotated");
}

#[test]
fn a_data_key_that_no_longer_opens_is_replaced_as_its_credentials_are_set_again() {
    let world = two_tenants();
    world.sql().execute("UPDATE data_keys SET wrapped = zeroblob(61) WHERE organization_id = 1", []).unwrap();
    world.refused("key rotate --generate new.key", 8).says(&["data_keys acme version 1"]);
    assert!(!world.home().join("new.key").exists());
    for (number, place) in PLACES.into_iter().enumerate().take(3) {
        assert_eq!(set(&world, place, &value(number)), "set");
    }
    world.run("key check").succeeds();
    all_are_as_they_were(&world);
    world.run("key rotate --generate new.key").succeeds();
}

#[test]
fn a_key_on_the_command_line_is_refused_with_the_reason_and_not_repeated() {
    let world = world();
    for line in [
        format!("--key {SENTINEL} status --json"),
        format!("key status --key={SENTINEL} --json"),
        "status --key --json".to_owned(),
    ] {
        let ended = world.refused(&line, 2);
        assert_eq!(ended.error()["code"], "key_on_command_line", "{line}");
        assert!(!ended.to_string().contains(SENTINEL));
    }
    let help = world.run("status --help").succeeds();
    assert!(!help.stdout.contains("--key <"), "{help}");
}
