//! `credential` through the binary: values go in by every way there is and come out by none.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use rexpect::session::spawn_command;
use serde_json::Value;

use crate::forms::forms;
use crate::support::{Ended, World, world, world as world_of_its_own};

const SENTINEL: &str = "sentinel-7Qz-credential";

fn acme() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world
}

fn field(world: &World, provider: &str, field: &str) -> Value {
    let list = world.json("credential list acme");
    let items = list["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["provider"] == provider && item["field"] == field);
    found.unwrap_or_else(|| panic!("no {provider}/{field} in {list}")).clone()
}

/// Fails if the sentinel stands anywhere: in the output, or in a file of the world, plain or in disguise.
fn is_nowhere(world: &World, ended: &[&Ended]) {
    stands_nowhere(SENTINEL, world, ended);
}

/// Fails if a secret stands anywhere.
pub(super) fn stands_nowhere(secret: &str, world: &World, ended: &[&Ended]) {
    for (form, bytes) in forms(secret) {
        for ended in ended {
            let said = [&ended.stdout, &ended.stderr];
            let holds = |text: &&String| text.as_bytes().windows(bytes.len()).any(|window| window == bytes);
            assert!(!said.iter().any(holds), "{form}: {ended}");
        }
        assert_eq!(world.holding(&bytes), Vec::<PathBuf>::new(), "they hold it as {form}");
    }
}

#[test]
fn a_value_from_stdin_is_sealed_and_stands_nowhere() {
    let world = acme();
    let line = "credential set acme aptem api_key --from-stdin";
    let set =
        world.run_with_input(line, &format!("{SENTINEL}\n")).succeeds().says(&["one newline at the end was dropped"]);
    assert!(set.stdout.starts_with("set, version 1, fingerprint "), "{set}");
    let json = world.run_with_input(&format!("{line} --json"), SENTINEL).succeeds();
    assert_eq!((&json.json()["outcome"], &json.json()["version"]), (&"unchanged".into(), &1.into()));
    let list = world.run("credential list acme -o yaml").succeeds();
    let wrong = world.run_with_input(
        "credential set acme hubspot api_key --from-stdin -vv --json",
        &format!("{SENTINEL} has spaces"),
    );
    let wrong = wrong.fails(7);
    assert_eq!(wrong.error()["code"], "secret_malformed");
    let status = world.run("status acme").succeeds().prints(&["API key ••••••••", "missing: "]);
    is_nowhere(&world, &[&set, &json, &list, &wrong, &status]);
}

#[test]
fn a_value_is_taken_from_a_file_a_variable_or_a_command() {
    let mut world = acme();
    let file = world.file("key", "value-from-a-file\n");
    let set = |world: &World, how: &str| {
        let ended = world.run(&format!("credential set acme aptem api_key {how} --json")).succeeds();
        ended.json()["version"].as_i64().unwrap()
    };
    assert_eq!(set(&world, "--from-file key"), 1);
    std::fs::remove_file(file).unwrap();
    world.set("APTEM", SENTINEL);
    assert_eq!(set(&world, "--from-env APTEM"), 2);
    assert_eq!(set(&world, "--from-command 'echo value-from-a-command'"), 3);
    // Neither a shell nor our environment.
    assert_eq!(set(&world, "--from-command 'echo $APTEM-as-it-is'"), 4);
    let ended = world.run("credential set acme aptem api_key --from-command env --json").fails(7);
    assert_eq!(ended.error()["code"], "secret_malformed");
    is_nowhere(&world, &[&ended]);
    world.run("credential set acme aptem api_key --from-file nowhere").fails(5).says(&["`nowhere` does not exist"]);
    world.run("credential set acme aptem api_key --from-env NOWHERE").fails(2).says(&["NOWHERE"]);
    world.run("credential set acme aptem api_key --from-command 'sh -c \"exit 3\"' --json").fails(7);
    world.run("credential set acme aptem api_key --from-env A --from-file B").fails(2);
}

#[test]
fn a_value_is_typed_unseen_on_a_terminal() {
    let world = acme();
    let mut terminal = spawn_command(world.command("credential set acme aptem api_key"), Some(10_000)).unwrap();
    terminal.exp_string("API key").unwrap();
    terminal.exp_string("goes back): ").unwrap();
    terminal.send_line(SENTINEL).unwrap();
    let shown = terminal.exp_eof().unwrap();
    assert!(shown.contains("set, version 1, fingerprint ") && !shown.contains(SENTINEL), "{shown}");
    is_nowhere(&world, &[]);
    assert_eq!(field(&world, "aptem", "api_key")["state"], "set");
}

#[test]
fn a_value_on_the_command_line_is_refused_and_not_repeated() {
    let world = acme();
    let before = world.database();
    for line in [
        format!("credential set acme aptem api_key {SENTINEL} --json"),
        format!("credential set acme aptem api_key --json -- -{SENTINEL}"),
        format!("credential set acme aptem api_key --json --{SENTINEL}=x"),
        format!("credential set acme aptem api_key --json {SENTINEL} and more"),
    ] {
        let ended = world.run(&line).fails(2);
        assert_eq!(ended.error()["code"], "secret_on_command_line");
        is_nowhere(&world, &[&ended]);
    }
    // In the place of the field.
    let ended = world.run(&format!("credential set acme aptem {SENTINEL}")).fails(5);
    is_nowhere(&world, &[&ended]);
    assert_eq!(world.database(), before);
}

#[test]
fn without_a_terminal_the_flag_is_named() {
    acme().run("credential set acme aptem api_key --json").fails(2).says(&["--from-stdin"]);
}

#[test]
fn a_wrong_key_is_refused_before_anything_is_written() {
    let world = acme();
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).succeeds();
    let before = world.database();
    // The key of another machine.
    let other = world_of_its_own();
    std::fs::copy(other.key(), world.key()).unwrap();
    let ended = world.run_with_input("credential set acme aptem api_key --from-stdin --json", "another-value").fails(8);
    assert_eq!(ended.error()["exit"], 8);
    world.run("credential test acme --json").fails(8);
    assert_eq!(world.database(), before);
    std::fs::remove_file(world.key()).unwrap();
    world.run_with_input("credential set acme aptem api_key --from-stdin", "another-value").fails(8);
    assert_eq!(field(&world, "aptem", "api_key")["version"], 1, "the list needs no key");
    world.run("status").succeeds();
}

#[test]
fn unknown_names_get_the_nearest() {
    let world = acme();
    world.run("credential set acme aptem api_kye --from-stdin").fails(5).says(&["did you mean `api_key`?"]);
    world.run("credential set acme aptme api_key --from-stdin --json").fails(5);
    world.run("credential set acme onefile customer_token --from-stdin").fails(5).says(&["has no provider `onefile`"]);
    world.run("credential set acmee aptem api_key --from-stdin").fails(5).says(&["did you mean `acme`?"]);
    world.run("credential list acmee --json").fails(5);
}

#[test]
fn an_empty_value_changes_nothing() {
    let world = acme();
    let before = world.database();
    for input in ["", "\n", "  \r\n"] {
        let ended = world.run_with_input("credential set acme aptem api_key --from-stdin --json", input).fails(7);
        assert_eq!(ended.error()["code"], "secret_empty");
    }
    assert_eq!(world.database(), before);
}

#[test]
fn the_list_tells_what_is_needed_for_the_way_that_is_chosen() {
    let world = acme();
    assert_eq!(field(&world, "hubspot", "api_key")["state"], "missing");
    assert_eq!(field(&world, "hubspot", "refresh_token")["state"], "unused");
    world.run_with_input("credential set acme hubspot api_key --from-stdin", SENTINEL).succeeds();
    let set = field(&world, "hubspot", "api_key");
    assert_eq!((&set["state"], &set["version"], &set["set_by"]), (&"set".into(), &1.into(), &"admin".into()));
    assert_eq!(set["set_at"], "2026-11-30T09:00:00.000Z");
    world.overridden("acme", "hubspot", r#"{"auth_method": "refresh_token"}"#);
    assert_eq!(field(&world, "hubspot", "api_key")["state"], "dormant");
    assert_eq!(field(&world, "hubspot", "refresh_token")["state"], "missing");
    // Another preset without the provider: kept, of no use.
    world
        .sql()
        .execute("UPDATE organizations SET preset_id = (SELECT id FROM integration_presets WHERE slug = 'aptem')", [])
        .unwrap();
    assert_eq!(field(&world, "hubspot", "api_key")["state"], "dormant");
}

#[test]
fn a_dry_run_sets_nothing() {
    let world = acme();
    world
        .run_with_input("credential set acme aptem api_key --from-stdin --dry-run", SENTINEL)
        .succeeds()
        .says(&["dry run"]);
    assert_eq!(field(&world, "aptem", "api_key")["state"], "missing");
}

#[test]
fn deleting_asks_and_leaves_nothing_behind() {
    let world = acme();
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).succeeds();
    let sealed: Vec<u8> =
        world.sql().query_row("SELECT sealed FROM organization_credentials", [], |row| row.get(0)).unwrap();
    world.run("credential delete acme aptem api_key").fails(2).says(&["--yes"]);
    assert_eq!(world.json("credential delete acme aptem api_key --yes")["outcome"], "deleted");
    assert_eq!(world.holding(&sealed), Vec::<PathBuf>::new(), "they still hold the sealed value");
    world.run("credential delete acme aptem api_key --yes --json").fails(5);
    assert_eq!(world.json("credential delete acme aptem api_key --if-exists")["outcome"], "unchanged");
}

#[test]
fn changes_are_audited_without_the_value() {
    let world = acme();
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).succeeds();
    world.run("credential delete acme aptem api_key --yes").succeeds();
    let sql = world.sql();
    let mut statement =
        sql.prepare("SELECT action || ' ' || subject FROM audit_log WHERE action LIKE 'credential%'").unwrap();
    let entries: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries, ["credential set acme/aptem/api_key", "credential delete acme/aptem/api_key"]);
}

/// Answers every request with this status and JSON, and returns its address.
pub(super) fn service(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8192];
            let read = stream.read(&mut request).unwrap_or(0);
            assert!(read > 0);
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .ok();
        }
    });
    address
}

#[test]
fn credentials_are_tested_against_the_provider() {
    let world = acme();
    let missing = world.run("credential test acme aptem --json").fails(4);
    assert_eq!(missing.error()["code"], "credentials_missing");
    for provider in ["aptem", "hubspot"] {
        world.run_with_input(&format!("credential set acme {provider} api_key --from-stdin"), SENTINEL).succeeds();
    }
    let good = service("200 OK", r#"{"portalId": 77, "value": []}"#);
    world.overridden("acme", "aptem", &format!(r#"{{"allow_insecure_http": true, "api_url": "{good}"}}"#));
    world.overridden(
        "acme",
        "hubspot",
        &format!(r#"{{"allow_insecure_http": true, "api_url": "{good}", "portal_id": "77"}}"#),
    );
    let ended = world.run("credential test acme --json").succeeds();
    assert_eq!(ended.json()["items"][1]["account"][0]["value"], "77");
    world.run("provider check acme hubspot").succeeds().prints(&["hubspot\tok\tportalId 77"]);

    let change =
        "UPDATE organization_integration_overrides SET document = json_set(document, ?1, ?2) WHERE provider_id = ?3";
    let hubspot = world.pair("acme", "hubspot").1;
    world.sql().execute(change, rusqlite::params!["$.portal_id", "78", hubspot]).unwrap();
    let other = world.run("credential test acme hubspot --json").fails(4);
    assert_eq!(other.error()["code"], "wrong_account");
    let partly = world.run("credential test acme --json").fails(3);
    assert_eq!(partly.json()["items"][0]["ok"], true);

    let refusing = service("401 Unauthorized", r#"{"message": "no"}"#);
    world.sql().execute(change, rusqlite::params!["$.api_url", refusing, hubspot]).unwrap();
    let refused = world.run("credential test acme hubspot -vv --json").fails(4);
    is_nowhere(&world, &[&ended, &other, &partly, &refused]);
}
