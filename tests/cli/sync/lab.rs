//! A machine beside a sandbox: organizations made with the commands a person would type, and what then stands in the database.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::sandbox::{Config, Entry, Sandbox, onefile_organisations, portal_id};
use crate::support::{Ended, World, world};

/// A machine on which `init` has run, and the services it can call.
pub(super) struct Lab {
    pub(super) world: World,
    pub(super) sandbox: Arc<Sandbox>,
}

/// A stored row, as far as two runs can be compared by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) hash: String,
    pub(super) in_scope: bool,
    pub(super) dormant: bool,
    pub(super) deleted: bool,
}

impl Row {
    pub(super) fn live(&self) -> bool {
        self.in_scope && !self.dormant && !self.deleted
    }
}

/// Returns a lab with so many learners and employers in each account, and no waiting for the services' limits.
pub(super) fn lab(learners: usize, employers: usize) -> Lab {
    unhurried(Config { learners, employers, ..Config::default() })
}

/// Returns a lab in which the providers are called as fast as they answer.
pub(super) fn unhurried(config: Config) -> Lab {
    Lab { world: machine(), sandbox: Arc::new(Sandbox::start(config).unwrap()) }
}

/// Returns a lab in which the providers are called as slowly as they are in truth.
pub(super) fn shipped(config: Config) -> Lab {
    Lab { world: on_time(world()), sandbox: Arc::new(Sandbox::start(config).unwrap()) }
}

/// Returns a machine whose manifests set no limits on how fast a provider is called.
fn machine() -> World {
    static FIRST: OnceLock<World> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let world = world();
        for name in ["aptem", "bud", "hubspot"] {
            let path = format!("{}/presets/providers/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            let manifest = std::fs::read_to_string(path).unwrap();
            let unhurried =
                ["2/1s", "5/1s", "\"{settings.searches_per_second}/1s\"", "\"{settings.calls_per_10s}/10s\""]
                    .iter()
                    .fold(manifest.clone(), |text, rate| text.replace(&format!("rate: {rate}"), "rate: 500/1s"));
            assert_ne!(manifest, unhurried);
            world.file("provider.yaml", &unhurried);
            world.run("provider add -f provider.yaml --yes").succeeds();
        }
        world
    });
    on_time(first.copy())
}

/// Lets a machine's clock show the time: the sandbox stamps what changes with it.
fn on_time(mut world: World) -> World {
    world.at(&chrono::Utc::now().to_rfc3339());
    world
}

impl Lab {
    /// Returns another machine beside the same services.
    pub(super) fn neighbour(&self) -> Lab {
        Lab { world: machine(), sandbox: Arc::clone(&self.sandbox) }
    }

    pub(super) fn run(&self, line: &str) -> Ended {
        self.world.run(line)
    }

    /// Moves the clock to so many minutes from now.
    pub(super) fn later(&mut self, minutes: i64) {
        // What has just happened at a service lies before the millisecond that requests name.
        std::thread::sleep(std::time::Duration::from_millis(5));
        self.world.at(&(chrono::Utc::now() + chrono::TimeDelta::minutes(minutes)).to_rfc3339());
    }

    /// Creates an organization, with the address and the credentials of each provider of its preset. Its accounts have
    /// its slug for a name.
    pub(super) fn organization(&self, slug: &str, preset: &str) {
        self.run(&format!("org create --name '{slug} Ltd' --subdomain {slug} --preset {preset}")).succeeds();
        for provider in preset.split('_') {
            self.connect(slug, provider);
        }
    }

    /// Sets what an organization needs to call a provider.
    pub(super) fn connect(&self, slug: &str, provider: &str) {
        let url = |service: &str| self.sandbox.url(service);
        let (settings, secrets) = match provider {
            "aptem" => (format!("api_url={}", url("aptem")), vec![("api_key", format!("sandbox-aptem-{slug}"))]),
            "bud" => (
                format!("api_url={} token_url={}/connect/token", url("bud"), url("bud_auth")),
                vec![
                    ("client_id", format!("sandbox-bud-{slug}")),
                    ("client_secret", format!("sandbox-budsecret-{slug}")),
                    ("subscription_key", format!("sandbox-budkey-{slug}")),
                ],
            ),
            "onefile" => (
                format!("api_url={} organisation_ids={:?}", url("onefile"), onefile_organisations(slug))
                    .replace(", ", ","),
                vec![("customer_token", format!("sandbox-onefile-{slug}"))],
            ),
            "hubspot" => (
                format!("api_url={} portal_id={}", url("hubspot"), portal_id(slug)),
                vec![("api_key", format!("sandbox-hubspot-{slug}"))],
            ),
            "salesforce" => (
                format!("login_url={}", url("salesforce")),
                vec![
                    ("client_id", format!("sandbox-salesforce-{slug}")),
                    ("client_secret", format!("sandbox-sfsecret-{slug}")),
                ],
            ),
            other => panic!("no provider {other}"),
        };
        self.run(&format!("override set {slug} {provider} allow_insecure_http=true {settings}")).succeeds();
        for (field, value) in secrets {
            self.credential(slug, provider, field, &value);
        }
    }

    pub(super) fn credential(&self, slug: &str, provider: &str, field: &str, value: &str) {
        let line = format!("credential set {slug} {provider} {field} --from-stdin");
        self.world.run_with_input(&line, value).succeeds();
    }

    /// Returns the report of a sync that ends with this code.
    pub(super) fn sync(&self, arguments: &str, exit: i32) -> Value {
        let ended = self.run(&format!("sync {arguments} --json")).fails(exit);
        ended.json()
    }

    /// Returns the database, to be read only.
    pub(super) fn open(&self) -> Connection {
        Connection::open_with_flags(self.world.db(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Returns the first column of the first row.
    pub(super) fn number(&self, sql: &str) -> i64 {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Returns the first column of all rows.
    pub(super) fn texts(&self, sql: &str) -> Vec<String> {
        let connection = self.open();
        let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.map(|text| text.unwrap().unwrap_or_default()).collect()
    }

    /// Returns a stored row with all its columns; `custom` is the map it holds.
    pub(super) fn stored(&self, slug: &str, table: &str, key: &str) -> Value {
        let connection = self.open();
        let sql = format!(
            "SELECT t.* FROM {table} t JOIN organizations o ON o.id = t.organization_id
             WHERE o.slug = ?1 AND t.external_key = ?2"
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let row = statement.query_row([slug, key], |row| {
            let value = |position| -> rusqlite::Result<Value> {
                Ok(match row.get_ref(position)? {
                    ValueRef::Text(text) => Value::from(String::from_utf8_lossy(text)),
                    ValueRef::Integer(number) => Value::from(number),
                    ValueRef::Real(number) => Value::from(number),
                    ValueRef::Null | ValueRef::Blob(_) => Value::Null,
                })
            };
            let fields = names.iter().enumerate().map(|(position, name)| Ok((name.clone(), value(position)?)));
            fields.collect::<rusqlite::Result<serde_json::Map<_, _>>>()
        });
        let mut row = Value::Object(row.unwrap_or_else(|error| panic!("{slug} {table} {key}: {error}")));
        if let Some(custom) = row["custom"].as_str() {
            row["custom"] = serde_json::from_str(custom).unwrap();
        }
        row
    }

    /// Returns an organization's rows of a table by provider and key.
    pub(super) fn rows(&self, slug: &str, table: &str) -> BTreeMap<(String, String), Row> {
        let connection = self.open();
        let mut statement = connection
            .prepare(&format!(
                "SELECT p.slug, t.external_key, hex(t.content_hash), t.in_scope, t.dormant, t.deleted_at IS NOT NULL
                 FROM {table} t JOIN organizations o ON o.id = t.organization_id
                 JOIN integration_providers p ON p.id = t.provider_id WHERE o.slug = ?1"
            ))
            .unwrap();
        let rows = statement.query_map([slug], |row| {
            let (in_scope, dormant, deleted) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok(((row.get(0)?, row.get(1)?), Row { hash: row.get(2)?, in_scope, dormant, deleted }))
        });
        rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// Returns how many learners of an organization are in force.
    pub(super) fn live(&self, slug: &str, table: &str) -> usize {
        self.rows(slug, table).values().filter(|row| row.live()).count()
    }

    /// Returns how far a stream has been read, and whether a read of it is open.
    pub(super) fn progress(&self, slug: &str, stream: &str) -> (Option<String>, bool) {
        let sql = "SELECT s.watermark, s.open_read IS NOT NULL FROM sync_state s
                   JOIN organizations o ON o.id = s.organization_id WHERE o.slug = ?1 AND s.stream = ?2";
        self.open().query_row(sql, [slug, stream], |row| Ok((row.get(0)?, row.get(1)?))).unwrap_or((None, false))
    }

    /// Returns how the runs of an organization ended, oldest first.
    pub(super) fn outcomes(&self, slug: &str) -> Vec<String> {
        self.texts(&format!(
            "SELECT r.outcome FROM integration_sync_logs r JOIN organizations o ON o.id = r.organization_id
             WHERE o.slug = '{slug}' ORDER BY r.id"
        ))
    }

    /// Returns what a service was asked for an account.
    pub(super) fn asked(&self, service: &str, account: &str) -> Vec<Entry> {
        let mut entries = self.sandbox.ledger(service);
        entries.retain(|entry| entry.account.as_deref() == Some(account));
        entries
    }
}

/// Returns the counts of the only run of a report that are not zero, without those of traffic.
pub(super) fn counts(report: &Value) -> Value {
    let mut counts = report["total"].as_object().unwrap().clone();
    counts.retain(|name, count| {
        !matches!(name.as_str(), "pages" | "requests" | "retries" | "waited_ms" | "bytes") && *count != json!(0)
    });
    Value::Object(counts)
}

/// Returns the ids that requests served, in their order, without those of the call that tells what a token sees.
pub(super) fn served(entries: &[Entry]) -> Vec<String> {
    entries.iter().filter(|entry| !entry.path.contains("/Groups?")).flat_map(|entry| entry.ids.clone()).collect()
}

/// Returns what a service answers to a GET.
pub(super) fn fetch(url: &str, headers: &[(&str, &str)]) -> Value {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A request as a server of a test's own sees it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a server of a test's own answers: status, further headers, body.
pub(super) type Answer = (u16, Vec<(String, String)>, String);

/// A server of a test's own on loopback. It stays until the tests end.
pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &notes);
            }
        });
        Server { url, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request and ends the connection.
fn serve(mut stream: TcpStream, answer: &impl Fn(&Asked) -> Answer, notes: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap_or(0);
        line.trim_end().to_owned()
    };
    let first = line();
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let headers: Vec<(String, String)> = std::iter::from_fn(|| {
        let line = line();
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    })
    .collect();
    let mut asked = Asked { method, target, headers, body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    lines.take(length).read_to_string(&mut asked.body).unwrap();
    let (status, headers, body) = answer(&asked);
    notes.lock().unwrap().push(asked);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}").ok();
}
