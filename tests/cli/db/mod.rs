//! `db` through the binary: copies that can be relied on, damage that is found, and kills that leave nothing half-done.

mod backup;
mod check;
mod faults;
mod migrate;
mod restore;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::support::{World, world};

/// A credential that must be seen nowhere.
const SENTINEL: &str = "sentinel-9d41-never-to-be-seen";

/// Returns a machine with two organizations, overrides, a credential and so many learners.
fn machine(learners: u32) -> World {
    let world = world();
    world.create("acme", "aptem");
    world.create("umbra", "aptem_hubspot");
    world.run("override set acme aptem sync_frequency=15m 'division_code -> learner.division'").succeeds();
    world.run_with_input("credential set acme aptem api_key --from-stdin", SENTINEL).succeeds();
    world.run_with_input("credential set umbra hubspot api_key --from-stdin", "another-secret-value").succeeds();
    world
        .sql()
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO learners (organization_id, provider_id, external_key, last_name, custom, content_hash, first_seen_at,
                                   changed_at, generation, in_scope)
             SELECT 1, 1, 'L' || i, hex(randomblob(40)), '{}', randomblob(32), '', '', 1, 1 FROM n",
            [learners],
        )
        .unwrap();
    world
}

/// Opens a file that nothing may be created beside.
fn open(path: &Path) -> Connection {
    let uri = format!("file:{}?immutable=1", path.display());
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI).unwrap()
}

/// Returns the first column of the first row.
fn text(connection: &Connection, sql: &str) -> String {
    let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
    match connection.query_row(sql, [], read).unwrap_or_else(|error| panic!("{sql}: {error}")) {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Returns the names in a folder that begin like this.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// Kills a command again and again: in one half of the trials at moments spread over the time it takes, in the other when
/// a file that begins like this has just appeared. Returns how many were killed before they ended by themselves. What a
/// kill may leave is for the caller to say, after each.
fn killed(
    world: &World,
    trials: u32,
    appears: &str,
    line: impl Fn(u32) -> String,
    mut afterwards: impl FnMut(u32),
) -> u32 {
    let start = |trial: u32| -> Child {
        let mut command: Command = world.command(&line(trial));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let began = Instant::now();
    assert!(start(0).wait().unwrap().success(), "undisturbed, it ends well");
    let whole = began.elapsed();
    afterwards(0);
    let mut killed = 0;
    for trial in 1..=trials {
        let there = names(world.home(), appears).len();
        let mut child = start(trial);
        if trial <= trials / 2 {
            std::thread::sleep(whole.mul_f64(2.0 * f64::from(trial) / f64::from(trials)));
        } else {
            while names(world.home(), appears).len() <= there && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(u64::from(trial % 4) * 300));
        }
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        afterwards(trial);
    }
    killed
}

/// A generator of numbers that are the same each time.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

#[test]
fn status_says_where_the_database_is_and_what_is_in_it() {
    let world = machine(10);
    let status = world.json("db status");
    assert_eq!(status["rows"]["learners"], 10);
    assert_eq!(status["rows"]["organization_credentials"], 2);
    assert_eq!((&status["schema"], &status["newest_schema"]), (&status["newest_schema"], &status["schema"]));
    assert_eq!((status["journal_mode"].as_str(), status["read_only"].as_bool()), (Some("wal"), Some(false)));
    assert_eq!(status["path"].as_str().map(|path| path.ends_with("skills.db")), Some(true));
    assert!(status["bytes"].as_u64().unwrap() > 50_000 && status["free_bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["last_backup_at"], serde_json::Value::Null);
    world.run("db backup copy.db").succeeds();
    let status = world.json("db status");
    assert_eq!(status["last_backup_at"], "2026-11-30T09:00:00.000Z");
    assert!(status["last_backup"].as_str().unwrap().ends_with("copy.db"));
    world.run("db status").succeeds().prints(&["organizations   2", "learners        10", "copy.db"]);
}

#[test]
fn looking_writes_nothing() {
    let world = machine(10);
    let before = (world.database(), names(world.home(), ""));
    world.all(&["db status", "db check", "db check --deep", "db migrate", "db migrate --dry-run"]);
    assert!((world.database(), names(world.home(), "")) == before);
}
