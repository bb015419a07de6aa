//! Secrets are found nowhere: whole scenarios with unique ones, after which every byte that was printed, stored, or handed to
//! another program is searched, also for the forms that encodings give them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::demo::organization;
use super::lab::{Answer, Asked, Lab, Server, unhurried};
use crate::forms::forms;
use crate::sandbox::Config;

/// A provider of the test's own. `AUTH` is filled in; every record but the first fails its checks.
const MANIFEST: &str = r#"
provider: aptem
revision: 99
kind: lms
title: Aptem
settings:
  api_url: {type: url, required: true}
secrets:
  api_key: {title: Key, optional: true}
  client_secret: {title: Client secret, optional: true}
  refresh_token: {title: Refresh token, optional: true}
  private_key: {title: Private key, optional: true}
http:
  base: "{settings.api_url}"
  auth: AUTH
  error_message: [error, message]
check: {get: /check}
streams:
  learners:
    entity: learner
    key: learner_id
    records: "items[]"
    full: {get: /learners, page: {next: next}}
  organizations: {entity: employer, key: learner_id, records: "items[]", full: {get: /organizations}}
"#;

/// Ways to log in: the manifest's words, the field that holds the secret, and what the server calls it.
const WAYS: [(&str, &str, &str); 6] = [
    ("header", r#"{header: {X-Api-Key: "{secret.api_key}"}}"#, "api_key"),
    ("query", r#"{query: {api_key: "{secret.api_key}"}}"#, "api_key"),
    ("basic", r#"{basic: {user: skills, pass: "{secret.api_key}"}}"#, "api_key"),
    (
        "client",
        r#"{oauth: {grant: client_credentials, token_url: "{settings.api_url}/token", client_id: demo, client_secret: "{secret.client_secret}"}}"#,
        "client_secret",
    ),
    (
        "refresh",
        r#"{oauth: {grant: refresh_token, token_url: "{settings.api_url}/token", refresh_token: refresh_token}}"#,
        "refresh_token",
    ),
    (
        "jwt",
        r#"{oauth: {grant: jwt_bearer, token_url: "{settings.api_url}/token", jwt: {issuer: demo, subject: demo, audience: demo, key: private_key}}}"#,
        "private_key",
    ),
];

/// How the server behaves.
const WELL: usize = 0;
/// Refuses, and says back all that was sent.
const ECHO: usize = 1;
/// Leads elsewhere, with all that was sent in the address.
const REDIRECT: usize = 2;
/// Answers with a page of HTML that says back all that was sent.
const HTML: usize = 3;
/// Ends the connection in the middle of what was sent back.
const CUT: usize = 4;
/// Takes its time.
const SLOW: usize = 5;

/// What every secret has in it, and nothing else: with characters that each encoding changes, and as a header may have it.
const CORE: &str = "Sntl~9d41k/+=?&\"%é7Rbw";
const HEADER_CORE: &str = "Sntl.9d41kTqx/+==7Rbw";

/// What is searched for, and where.
#[derive(Default)]
struct Sweep {
    /// Each secret in all its forms, under a name that can be told.
    needles: Vec<(String, Vec<u8>)>,
    /// The files that were searched as they are: length and time of change.
    known: BTreeMap<PathBuf, (u64, SystemTime)>,
    hits: Vec<String>,
    searched: usize,
}

impl Sweep {
    fn plant(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 20, "a short one would be found by chance");
        self.needles.extend(forms(secret).into_iter().map(|(form, bytes)| (format!("{name} as {form}"), bytes)));
    }

    fn search(&mut self, place: &str, bytes: &[u8]) {
        self.searched += bytes.len();
        let mut begins = [false; 256];
        self.needles.iter().for_each(|(_, needle)| begins[usize::from(needle[0])] = true);
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| begins[usize::from(**byte)]) {
            for (name, needle) in self.needles.iter().filter(|(_, needle)| bytes[at..].starts_with(needle)) {
                let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + needle.len() + 20)];
                self.hits.push(format!("{name} in {place}: ...{}...", String::from_utf8_lossy(around).escape_debug()));
            }
        }
    }

    /// Searches every file below a folder that has changed, and its name.
    fn files(&mut self, step: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            self.search(&format!("a name, after {step}"), path.to_string_lossy().as_bytes());
            let stands = (metadata.len(), metadata.modified().unwrap());
            if metadata.is_dir() {
                self.files(step, &path);
            } else if metadata.is_file() && self.known.insert(path.clone(), stands) != Some(stands) {
                self.search(&format!("{}, after {step}", path.display()), &std::fs::read(&path).unwrap());
            }
        }
    }
}

/// A machine, a provider that says back what it is sent, and the search.
struct Scene {
    lab: Lab,
    mode: Arc<AtomicUsize>,
    server: Server,
    sweep: Sweep,
    field: &'static str,
    /// What lies outside of what is searched: the key, and secrets to be set.
    vault: tempfile::TempDir,
}

/// Returns a secret that tells what it is.
fn secret(what: &str) -> String {
    format!("{what}:{CORE}:{what}")
}

/// Returns the same for what travels in a header.
fn token(what: &str) -> String {
    format!("{what}.{HEADER_CORE}.{what}")
}

/// Returns what a server answers that is as careless as can be.
fn careless(asked: &Asked, mode: usize, tokens: &Mutex<(u32, Vec<String>)>) -> Answer {
    let echo = format!("{} {} {:?} {}", asked.method, asked.target, asked.headers, asked.body);
    let well =
        |body: serde_json::Value| (200, vec![("content-type".into(), "application/json".into())], body.to_string());
    if asked.target.starts_with("/token") && mode != HTML {
        let mut tokens = tokens.lock().unwrap();
        tokens.0 += 1;
        let number = tokens.0;
        let [access, refresh] = ["access", "refresh"].map(|what| token(&format!("{what}{number}")));
        tokens.1.extend([access.clone(), refresh.clone()]);
        if mode == ECHO && number.is_multiple_of(2) {
            let said = json!({"error": {"message": echo}, "error_description": echo, "access_token": access});
            return (401, Vec::new(), said.to_string());
        }
        return well(json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600, "echo": echo}));
    }
    match mode {
        ECHO => (401, Vec::new(), json!({"error": {"message": echo}}).to_string()),
        REDIRECT => (302, vec![("location".into(), format!("/elsewhere?{}", asked.target))], echo),
        HTML => (200, vec![("content-type".into(), "text/html".into())], format!("<html>{echo}</html>")),
        CUT => (200, Vec::new(), format!("{{\"items\": [{{\"learner_id\": \"L1\", \"echo\": {:?}", echo)),
        SLOW => {
            std::thread::sleep(Duration::from_secs(3));
            well(json!({"items": []}))
        }
        _ if asked.target.contains("after=2") => well(json!({"items": [{"learner_id": "L3"}]})),
        _ => {
            // A link that has all parameters of the request, and a record that says back what it was asked with.
            let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
            let bad = json!({"learner_id": "L2", "programme_name": "x", "start_date": echo, "echo": asked.headers});
            let items = json!([{"learner_id": "L1", "start_date": "2026-01-01"}, bad]);
            well(json!({"items": items, "next": format!("{path}?{query}&after=2")}))
        }
    }
}

impl Scene {
    fn new(auth: &str, field: &'static str) -> Scene {
        let (mode, tokens) = (Arc::new(AtomicUsize::new(WELL)), Arc::new(Mutex::new((0, Vec::new()))));
        let server = Server::start({
            let mode = Arc::clone(&mode);
            move |asked| careless(asked, mode.load(Ordering::SeqCst), &tokens)
        });
        let mut lab = unhurried(Config { learners: 1, employers: 1, ..Config::default() });
        lab.world.file("provider.yaml", &MANIFEST.replace("AUTH", auth));
        lab.run("provider add -f provider.yaml --yes").succeeds();
        let mut sweep = Sweep::default();
        sweep.plant("secret", CORE);
        sweep.plant("token", HEADER_CORE);
        // The key is a secret too: it comes from a command, which notes what it was given.
        let vault = tempfile::tempdir().unwrap();
        let key = vault.path().join("skillsctl.key");
        std::fs::rename(lab.world.key(), &key).unwrap();
        let text = std::fs::read_to_string(&key).unwrap();
        sweep.plant("master key", text.split_whitespace().nth(1).unwrap());
        let seen = lab.world.home().join("seen-by-children");
        let note = format!("{{ env; cat /proc/[0-9]*/cmdline; }} >> '{}' 2>/dev/null", seen.display());
        script(&vault.path().join("key.sh"), &format!("{note}\ncat '{}'", key.display()));
        script(
            &vault.path().join("editor.sh"),
            &format!("{note}\ncp \"$1\" '{}'", lab.world.home().join("edited").display()),
        );
        lab.world.set("SKILLSCTL_KEY_FILE", "");
        lab.world.set("SKILLSCTL_KEY_COMMAND", vault.path().join("key.sh").to_str().unwrap());
        lab.world.set("SKILLSCTL_EDITOR", vault.path().join("editor.sh").to_str().unwrap());
        organization(&lab, "acme", &server);
        Scene { lab, mode, server, sweep, field, vault }
    }

    /// Runs a line, whatever it ends with, and searches what it printed and what is then in the files.
    fn run(&mut self, line: &str) -> i32 {
        self.run_with(line, "", |_| ())
    }

    fn run_with(&mut self, line: &str, input: &str, prepare: impl FnOnce(&mut Command)) -> i32 {
        let mut command = self.lab.world.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).ok();
        let ended = child.wait_with_output().unwrap();
        self.sweep.search(&format!("stdout of `{line}`"), &ended.stdout);
        self.sweep.search(&format!("stderr of `{line}`"), &ended.stderr);
        self.sweep.files(line, self.lab.world.home());
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("unexpected argument"), "{line}");
        ended.status.code().unwrap_or(-1)
    }

    /// Sets the credential from standard input, and a second one from a file, which is as the first.
    fn set(&mut self, secret: &str) {
        let field = self.field;
        let file = self.vault.path().join("secret");
        std::fs::write(&file, secret).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(self.run_with(&format!("credential set acme aptem {field} --from-stdin -vvv"), secret, |_| ()), 0);
        let from_file = format!("credential set acme aptem {field} --from-file '{}' --json", file.display());
        assert_eq!(self.run(&from_file), 0);
        let from_variable = format!("credential set acme aptem {field} --from-env GIVEN");
        let exit = self.run_with(&from_variable, "", |command| {
            command.env("GIVEN", secret);
        });
        assert_eq!(exit, 0);
    }

    fn mode(&self, mode: usize) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// Everything a person does in the life of a credential, and everything that goes wrong.
fn scenario(scene: &mut Scene) {
    for line in ["credential test acme", "sync acme -vvv", "sync acme --full --json -vvv", "sync acme --dry-run -vv"] {
        let exit = scene.run(line);
        assert!([0, 3].contains(&exit), "{line}: {exit}");
    }
    let asked = scene.server.asked().len();
    assert!(asked > 6, "the provider was called {asked} times");
    for mode in [ECHO, REDIRECT, HTML, CUT] {
        scene.mode(mode);
        for line in
            ["credential test acme -vvv", "credential test acme --json", "sync acme -vvv", "sync acme --full --json"]
        {
            let exit = scene.run(line);
            assert!(exit != 0 && exit != 101, "{line} in mode {mode}: {exit}");
        }
    }
    scene.mode(WELL);
    for line in [
        "sync acme --full",
        "credential list acme --json",
        "credential list",
        "log list --json",
        "log show acme --json",
        "log show acme -vvv",
        "record list acme learners --json",
        "record show acme learners L1 --json",
        "record quarantine acme --json",
        "record quarantine acme L2 --json",
        "record quarantine acme L2",
        "preset export aptem",
        "config show acme aptem --origin --json",
        "provider show aptem --json",
        "override edit acme",
        "status --json",
        "status acme",
        "doctor --json",
        "db status --json",
        "db check --deep --json",
        "db backup copy.db --json",
        "help credential set",
    ] {
        scene.run(line);
    }
    interrupted(scene);
    scene.run("db backup after.db");
    scene.run(&format!("credential delete acme aptem {} --yes", scene.field));
}

/// A sync that is ended by Ctrl-C while a request is under way; meanwhile its command line is looked at.
fn interrupted(scene: &mut Scene) {
    scene.mode(SLOW);
    let mut command = scene.lab.world.command("sync acme --full -vvv");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let process = rustix::process::Pid::from_child(&child);
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    scene.sweep.search("the command line of a sync", &line);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    scene.sweep.search("what an interrupted sync prints", &[ended.stdout, ended.stderr].concat());
    scene.sweep.files("an interrupted sync", scene.lab.world.home());
    scene.mode(WELL);
}

fn swept(way: &str) {
    let (_, auth, field) = WAYS.iter().find(|(name, ..)| *name == way).unwrap();
    let mut scene = Scene::new(auth, field);
    match *field {
        "private_key" => {
            let pem = include_str!("../../../examples/sandbox/sandbox/jwt_test_key.pem");
            let lines: Vec<&str> = pem.lines().filter(|line| line.len() > 60).collect();
            [lines[1], lines[lines.len() - 2]].into_iter().for_each(|line| scene.sweep.plant("the key", line));
            scene.set(pem);
        }
        "refresh_token" | "client_secret" => scene.set(&secret(way)),
        _ if way == "header" => scene.set(&token(way)),
        _ => scene.set(&secret(way)),
    }
    scenario(&mut scene);
    let seen = std::fs::read_to_string(scene.lab.world.home().join("seen-by-children")).unwrap();
    assert!(seen.contains("PATH="), "children were looked at");
    assert!(scene.sweep.searched > 2 << 20, "only {} bytes were searched", scene.sweep.searched);
    scene.sweep.hits.sort();
    scene.sweep.hits.dedup();
    let shown: Vec<&String> = scene.sweep.hits.iter().take(30).collect();
    assert!(shown.is_empty(), "{} hits, among them {shown:#?}", scene.sweep.hits.len());
}

#[test]
fn a_key_in_a_header_is_found_nowhere() {
    swept("header");
}

#[test]
fn a_key_in_the_address_is_found_nowhere() {
    swept("query");
}

#[test]
fn a_password_is_found_nowhere() {
    swept("basic");
}

#[test]
fn a_client_secret_and_its_tokens_are_found_nowhere() {
    swept("client");
}

#[test]
fn refresh_tokens_that_replace_each_other_are_found_nowhere() {
    swept("refresh");
}

#[test]
fn a_private_key_is_found_nowhere() {
    swept("jwt");
}

/// A panic with the secret in its message tells where it was, in which run, and nothing else; the run is over and told.
#[cfg(feature = "mutants")]
#[test]
fn a_panic_tells_its_place_and_its_run_and_no_secret() {
    let (_, auth, field) = WAYS[0];
    let mut scene = Scene::new(auth, field);
    scene.set(&token("panic"));
    scene.lab.world.set("SKILLSCTL_TEST_MUTANT", "panic-with-secret");
    for line in ["credential test acme", "sync acme -vvv", "sync acme --json"] {
        assert_eq!(scene.run(line), 1, "{line}");
    }
    assert!(scene.sweep.hits.is_empty(), "{:#?}", scene.sweep.hits);
    let ended = scene.lab.run("sync acme --json").fails(1).says(&["fault at src/connector/auth.rs:", ", in run "]);
    assert_eq!(ended.error()["code"], "fault");
    scene.lab.world.set("SKILLSCTL_TEST_MUTANT", "");
    assert_eq!(scene.run("sync acme"), 3);
    let outcomes = scene.lab.outcomes("acme");
    assert!(outcomes.iter().rev().skip(1).all(|outcome| outcome == "interrupted"), "{outcomes:?}");
}

/// The search finds what it is there for.
#[cfg(feature = "mutants")]
#[test]
fn a_header_that_is_told_in_an_error_is_found() {
    let (_, auth, field) = WAYS[0];
    let mut scene = Scene::new(auth, field);
    scene.set(&token("header-told"));
    scene.lab.world.set("SKILLSCTL_TEST_MUTANT", "header-told");
    scene.mode(ECHO);
    scene.run("sync acme");
    for place in ["stderr", "skills.db"] {
        assert!(scene.sweep.hits.iter().any(|hit| hit.contains(place)), "nothing in {place}: {:#?}", scene.sweep.hits);
    }
}

#[test]
fn a_secret_that_lies_about_is_found_in_every_form() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("below")).unwrap();
    let mut sweep = Sweep::default();
    sweep.plant("it", CORE);
    for (form, bytes) in forms(CORE) {
        let before = sweep.hits.len();
        std::fs::write(home.path().join("below/file"), [b"\0before", bytes.as_slice(), b"behind\xff"].concat())
            .unwrap();
        sweep.files("a test", home.path());
        assert!(sweep.hits.len() > before, "{form} is not found");
    }
}
