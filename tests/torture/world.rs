//! One machine: a database and a key copied from a prepared one, and the binary that runs on them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, SecondsFormat};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::harbour::{Account, Harbour, State};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_skillsctl");
/// When every story begins: 2026-11-30T09:00:00.123Z.
pub const START: i64 = 1_796_029_200_123;

/// A database to begin with, and what its account held by then.
pub struct Template {
    pub database: Vec<u8>,
    pub key: Vec<u8>,
    pub state: State,
}

/// Returns a database whose organization `acme` has never been synced; `other` has.
pub fn fresh() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| template(60, 12, false))
}

/// Returns a database that has read all there was.
pub fn synced() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| template(60, 12, true))
}

/// Makes a template by the commands a person would type.
pub fn template(learners: u64, employers: u64, read: bool) -> Template {
    let harbour = Harbour::open();
    let state = State::new(START, learners, employers, Chance::new(7));
    let world = World { home: folder(), account: harbour.account(state.clone()), mutant: None, skew: 0 };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let file = |name: &str| here.join(name).display().to_string();
    let done = |line: &str, input: &str| {
        let mut command = world.command(line);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    done("init", "");
    done(&format!("provider add -f {} --yes", file("provider.yaml")), "");
    done(&format!("preset apply -f {} --yes", file("preset.yaml")), "");
    // Every command reads all of these: without them trials take half the time.
    let database = Connection::open(world.database()).unwrap();
    database
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             DELETE FROM integration_preset_defaults
              WHERE preset_id NOT IN (SELECT id FROM integration_presets WHERE slug = 'harbour');
             DELETE FROM integration_presets WHERE slug <> 'harbour';
             DELETE FROM integration_providers WHERE slug <> 'harbour';
             DELETE FROM provider_manifests WHERE provider <> 'harbour'",
        )
        .unwrap();
    drop(database);
    let other = harbour.account(state);
    for (slug, account) in [("other", &other), ("acme", &world.account)] {
        done(
            &format!(
                "org create --name {slug} --slug {slug} --preset harbour --billing-name B --billing-email b@example.org --yes"
            ),
            "",
        );
        done(&format!("override set {slug} harbour allow_insecure_http=true api_url={}", account.url()), "");
        for (field, value) in
            [("client_id", "client"), ("client_secret", "not-so-secret"), ("refresh_token", "refresh-0")]
        {
            // One of them is still to be taken in when the story begins.
            let how = if field == "client_secret" { " --sealed" } else { "" };
            done(&format!("credential set {slug} harbour {field} --from-stdin{how}"), value);
        }
    }
    done("sync other", "");
    if read {
        done("sync acme", "");
    }
    let state = State { ledger: Vec::new(), requests: 0, ..world.account.state().clone() };
    assert!(!world.beside("-wal").exists(), "a clean exit leaves the database in one file");
    Template { database: std::fs::read(world.database()).unwrap(), key: std::fs::read(world.key()).unwrap(), state }
}

/// Returns a new folder, in memory where that is to be had: what a kill leaves does not depend on the disk.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A machine, and its organization's account at the service.
pub struct World {
    home: TempDir,
    pub account: Arc<Account>,
    /// The fault that all its commands have put in.
    pub mutant: Option<String>,
    /// How far its clock is ahead of the service's, in milliseconds.
    pub skew: i64,
}

impl World {
    /// Returns a machine with a copy of what was prepared and an account of its own.
    pub fn new(template: &Template) -> World {
        let account = Harbour::open().account(template.state.clone());
        let world = World::of(folder(), account, &[("", &template.database)], &template.key);
        let connection = Connection::open(world.database()).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection
            .execute(
                "UPDATE organization_integration_overrides SET document = json_set(document, '$.api_url', ?1)
                 WHERE organization_id = (SELECT id FROM organizations WHERE slug = 'acme')",
                [world.account.url()],
            )
            .unwrap();
        world
    }

    /// Returns a machine with these files: those of the database by their suffix, and the key.
    pub fn of(home: TempDir, account: Arc<Account>, files: &[(&str, &[u8])], key: &[u8]) -> World {
        let world = World { home, account, mutant: None, skew: 0 };
        let files = files.iter().map(|(suffix, bytes)| (world.beside(suffix), *bytes));
        for (path, bytes) in files.chain([(world.key(), key)]) {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        world
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn database(&self) -> PathBuf {
        self.home().join("skills.db")
    }

    pub fn key(&self) -> PathBuf {
        self.home().join("skillsctl.key")
    }

    /// Returns the path of a companion of the database.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.home().join(format!("skills.db{suffix}"))
    }

    pub fn trace(&self) -> PathBuf {
        self.home().join("trace")
    }

    /// Returns the binary, about to run at the service's time with nothing else in its environment.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        self.dress(&mut command);
        command.args(line.split(' '));
        command
    }

    /// Gives a command this machine's environment.
    pub fn dress(&self, command: &mut Command) {
        let now = DateTime::from_timestamp_millis(self.account.state().now + self.skew).unwrap();
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .env("TMPDIR", self.home())
            .env("SKILLSCTL_TEST_USER", "admin")
            .env("SKILLSCTL_DB", self.database())
            .env("SKILLSCTL_KEY_FILE", self.key())
            .env("SKILLSCTL_TEST_NOW", now.to_rfc3339_opts(SecondsFormat::Millis, true))
            .envs(self.mutant.iter().map(|mutant| ("SKILLSCTL_TEST_MUTANT", mutant)))
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs a line to its end.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Starts a line whose points are traced, and which dies at one of them if told so.
    pub fn start(&self, line: &str, kill: Option<(&str, usize)>) -> Child {
        std::fs::remove_file(self.trace()).ok();
        let mut command = self.command(line);
        command.env("SKILLSCTL_TEST_TRACE", self.trace()).stdout(Stdio::null());
        if let Some((point, time)) = kill {
            command.env("SKILLSCTL_TEST_KILL", format!("{point}:{time}"));
        }
        command.spawn().unwrap()
    }

    /// Returns the points that the last started line reached.
    pub fn reached(&self) -> Vec<String> {
        std::fs::read_to_string(self.trace()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Opens the database, to be looked at only.
    pub fn open(&self) -> Connection {
        let connection = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A request that is held would hold the account.
        self.account.release();
    }
}
