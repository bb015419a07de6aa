//! A crowd of organizations at one provider, which answers each as its account's name says: well, or in one of many bad ways.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{World, world};

/// Learners of a page.
pub(super) const PAGE: u32 = 10;

/// A request that was answered in full: the account, and what was asked for.
pub(super) type Served = (String, String);

/// A machine with a crowd of organizations.
pub(super) struct Crowd {
    pub(super) world: World,
    served: Arc<Mutex<Vec<Served>>>,
}

/// What the provider does with an account, by the start of its name; all others are answered well.
fn play(stream: &mut TcpStream, account: &str, target: &str, served: &Mutex<Vec<Served>>) {
    let mut answer = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {length}\r\n{headers}\r\n{body}").ok();
    };
    match account.split('-').next().unwrap_or_default() {
        "hole" => {
            // Until the other side has had enough.
            stream.read_to_end(&mut Vec::new()).ok();
        }
        "loris" => {
            for byte in "HTTP/1.1 200 OK\r\nx-slow: ".bytes().chain(std::iter::repeat(b'x')) {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        "broken" => answer("500", "", "{}"),
        "limited" => answer("429", "retry-after: 3600\r\n", "{}"),
        "refused" => answer("401", "", "{}"),
        kind => {
            if kind == "slow" {
                std::thread::sleep(Duration::from_millis(150));
            }
            let after: u32 = target.rsplit("after=").next().and_then(|after| after.parse().ok()).unwrap_or(0);
            let last = if kind == "slow" { 20 * PAGE } else { 2 * PAGE };
            let changed = target.contains("/changes");
            let numbers = (after + 1..=last).take(PAGE as usize).filter(|_| !changed);
            let records: Vec<String> =
                numbers.map(|number| format!(r#"{{"id":{number},"name":"{account} {number}"}}"#)).collect();
            served.lock().unwrap().push((account.to_owned(), target.to_owned()));
            answer("200", "", &format!("[{}]", records.join(",")));
        }
    }
}

fn serve(mut stream: TcpStream, served: &Mutex<Vec<Served>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    lines.read_line(&mut first).ok()?;
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let target = first.split(' ').nth(1)?.to_owned();
    let account = target.split('/').nth(1)?.to_owned();
    play(&mut stream, &account, &target, served);
    Some(())
}

/// Returns a machine with one organization for each of these accounts, named like it.
pub(super) fn crowd(accounts: &[String]) -> Crowd {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&served);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let notes = Arc::clone(&notes);
            std::thread::spawn(move || serve(stream, &notes));
        }
    });
    let world = world();
    let manifest = format!(
        "provider: crowd
revision: 1
kind: lms
title: Crowd
settings: {{account: {{required: true, example: acme}}}}
http: {{base: '{url}/{{settings.account}}', timeout: 2s}}
streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {{get: '/all?after={{page}}', page: {{keyset: id, first: '0'}}}}
    cursor: {{overlap: 10m}}
    changes: {{get: '/changes?from={{window.from}}&to={{window.to}}&after={{page}}', page: {{keyset: id, first: '0'}}}}
    deletes: {{sweep: weekly, max: 0.5}}
    fields: {{learner_id: id, last_name: name}}
"
    );
    world.file("crowd.yaml", &manifest);
    world.run("provider add -f crowd.yaml --yes").succeeds();
    world.file(
        "preset.yaml",
        "preset: crowd
name: Crowd
providers:
  crowd:
    sync_frequency: hourly
    allow_insecure_http: true
    field_mappings: {learner.external_id: learner_id, learner.last_name: last_name}
",
    );
    world.run("preset apply -f preset.yaml").succeeds();
    // By hand, as a thousand commands take their time.
    let mut database = Connection::open(world.db()).unwrap();
    let tx = database.transaction().unwrap();
    for account in accounts {
        tx.execute(
            "INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
             SELECT ?1, ?1, id, 1, 'Europe/London', 'active', '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z'
             FROM integration_presets WHERE slug = 'crowd'",
            [account],
        )
        .unwrap();
        tx.execute(
            "INSERT INTO organization_integration_overrides (organization_id, provider_id, document, changes, revision)
             SELECT o.id, p.id, json_object('account', o.slug), '{}', 1
             FROM organizations o, integration_providers p WHERE o.slug = ?1 AND p.slug = 'crowd'",
            [account],
        )
        .unwrap();
    }
    tx.commit().unwrap();
    Crowd { world, served }
}

/// Returns accounts of this kind.
pub(super) fn accounts(kind: &str, number: usize) -> Vec<String> {
    (1..=number).map(|place| format!("{kind}-{place:04}")).collect()
}

impl Crowd {
    /// Lets the provider take so long to answer, as its manifest says.
    pub(super) fn patience(&self, length: &str) {
        let path = self.world.home().join("crowd.yaml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, manifest.replace("timeout: 2s", &format!("timeout: {length}"))).unwrap();
        self.world.run("provider add -f crowd.yaml --yes").succeeds();
    }

    /// Returns all that was served in full so far, in its order.
    pub(super) fn served(&self) -> Vec<Served> {
        self.served.lock().unwrap().clone()
    }

    /// Returns the first column of all rows.
    pub(super) fn texts(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.world.db()).unwrap();
        let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.map(|text| text.unwrap().unwrap_or_default()).collect()
    }

    /// Returns the outcomes of all runs by organization, in their order.
    pub(super) fn outcomes(&self) -> BTreeMap<String, Vec<String>> {
        let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let sql = "SELECT o.slug || ' ' || r.outcome FROM integration_sync_logs r
                   JOIN organizations o ON o.id = r.organization_id ORDER BY r.id";
        for text in self.texts(sql) {
            let (slug, outcome) = text.split_once(' ').unwrap();
            outcomes.entry(slug.to_owned()).or_default().push(outcome.to_owned());
        }
        outcomes
    }

    /// Returns each organization's rows, with all that a second run must not change.
    pub(super) fn rows(&self, slug: &str) -> Vec<String> {
        self.texts(&format!(
            "SELECT l.external_key || ' ' || l.last_name || ' ' || hex(l.content_hash) || ' ' || l.in_scope
             FROM learners l JOIN organizations o ON o.id = l.organization_id
             WHERE o.slug = '{slug}' AND l.deleted_at IS NULL ORDER BY CAST(l.external_key AS INTEGER)"
        ))
    }

    /// Moves the clock to so many minutes after it stood at first.
    pub(super) fn later(&mut self, minutes: i64) {
        let start: chrono::DateTime<chrono::Utc> = crate::support::NOW.parse().unwrap();
        self.world.at(&(start + chrono::TimeDelta::minutes(minutes)).to_rfc3339());
    }

    /// Waits until something holds of the database, and fails the test where it never does.
    pub(super) fn until(&self, what: &str, holds: impl Fn(&Crowd) -> bool) {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(std::time::Instant::now() < until, "never {what}: {:?}", self.outcomes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
