//! Runs against a provider of the test's own on loopback, with a database in memory.
//!
//! `completeness` has what speaks against a read, `traps` what windows, pages and loops are known to lose or double, `reads`
//! how much is read at once, `large` pages too large for memory, `records` what stands in a record, `quarantine` what cannot be
//! stored, `deletes` what is gone, `erasures` who must not come back, `former` who is taken over from another provider, `network` what
//! goes wrong on the way.
//! `docs/traps.md` is the index.

mod completeness;
mod deletes;
mod erasures;
mod former;
mod large;
mod model;
mod network;
mod quarantine;
mod reads;
mod records;
mod traps;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use ring::rand::SystemRandom;

use super::run::Ended;
use super::*;
use crate::domain::manifest;
use crate::domain::preset::{Catalog, read_preset};
use crate::error::UserError;
use crate::secrets::MasterKey;
use crate::store::organizations::{self, NewOrganization, Organization};
use crate::store::presets::NewRevision;
use crate::store::runs::Outcome;
use crate::store::{presets, providers};
use crate::vault;

/// One page of records, all there is.
const ONE_PAGE: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: /all}
    deletes: {sweep: always, max: 0.5}
";

/// Answers a request, told by method and path with query, with a status, further headers, and a body.
type Script = Box<dyn FnMut(&str) -> (u16, String, String) + Send>;

/// Answers a request by what it writes to the connection, HTTP or not.
type Wire = Arc<dyn Fn(&str, &mut TcpStream) + Send + Sync>;

/// A provider that plays a script.
struct Server {
    url: String,
    script: Arc<Mutex<Script>>,
    wire: Arc<Mutex<Option<Wire>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let nothing: Script = Box::new(|_| (500, String::new(), String::new()));
        let server = Server { url, script: Arc::new(Mutex::new(nothing)), wire: Arc::default(), seen: Arc::default() };
        let (script, wire, seen) = (Arc::clone(&server.script), Arc::clone(&server.wire), Arc::clone(&server.seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, wire, seen) = (Arc::clone(&script), Arc::clone(&wire), Arc::clone(&seen));
                std::thread::spawn(move || answer(stream, &script, &wire, &seen));
            }
        });
        server
    }

    /// Plays this from now on.
    fn play(&self, script: impl FnMut(&str) -> (u16, String, String) + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
        *self.wire.lock().unwrap() = None;
        self.seen.lock().unwrap().clear();
    }

    /// Writes this to each connection from now on.
    fn write(&self, wire: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) {
        *self.wire.lock().unwrap() = Some(Arc::new(wire));
        self.seen.lock().unwrap().clear();
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, script: &Mutex<Script>, wire: &Mutex<Option<Wire>>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut line, mut token) = (0, String::new(), String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        let (name, value) = line.split_once(':').unwrap();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "x-token" => token = format!(" {}", value.trim()),
            _ => {}
        }
        line.clear();
    }
    let asked = format!("{}{token}", first.trim_end().trim_end_matches(" HTTP/1.1"));
    seen.lock().unwrap().push(asked.clone());
    let wire = wire.lock().unwrap().clone();
    if let Some(wire) = wire {
        return wire(&asked, &mut stream);
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let (status, headers, body) = (script.lock().unwrap())(&asked);
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let kind = "content-type: application/json\r\nconnection: close\r\n";
    write!(stream, "HTTP/1.1 {status} X\r\n{kind}{length}{headers}\r\n{body}").ok();
}

/// What follows from every doubt about a read.
const SO: &str = ", so nothing that is missing was marked as deleted, and the next sync reads everything again";

/// An answer of status 200.
fn json(body: impl Into<String>) -> (u16, String, String) {
    (200, String::new(), body.into())
}

/// A server, and an organization `acme` whose one provider `x` is read from it.
struct World {
    server: Server,
    engine: Engine<'static>,
    organization: Organization,
    /// Where locks and budgets are.
    _folder: tempfile::TempDir,
}

impl World {
    /// `manifest` is what follows `http.base` in a manifest, `mappings` are those of the preset.
    fn new(manifest: &str, settings: &str) -> Self {
        World::beside(Server::new(), manifest, settings)
    }

    fn beside(server: Server, manifest: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = crate::store::tests::memory_at(&folder.path().join("skills.db"));
        let key = MasterKey::generate(&SystemRandom::new()).unwrap();
        let id = store.database_id().to_owned();
        let now = crate::config::now();
        let organization = store
            .change(Keep::Yes, |tx| {
                vault::register(tx, &id, &key, now)?;
                let slug = "acme".parse().map_err(anyhow::Error::msg)?;
                put_manifest(tx, &server.url, manifest);
                let preset_id = put_preset(tx, settings).0;
                let new = NewOrganization {
                    slug,
                    name: "Acme".into(),
                    preset_id,
                    defaults_revision: 1,
                    max_learners: None,
                    billing_name: None,
                    billing_email: None,
                    time_zone: chrono_tz::Europe::London,
                };
                organizations::insert(tx, &new, now)?;
                organizations::by_slug(tx, "acme")
            })
            .unwrap();
        let vault = Box::leak(Box::new(Vault::unlock(&store, [anyhow::Ok(key)]).unwrap()));
        let stop = Box::leak(Box::new(AtomicBool::new(false)));
        let options = Options {
            trigger: Trigger::Manual,
            stream: None,
            full: false,
            keep: Keep::Yes,
            backfill: None,
            jobs: 1,
            until: None,
            allow_mass_delete: false,
            actor: "test".into(),
        };
        let engine = Engine::new(store, vault, stop, options, &|_| ()).unwrap();
        World { server, engine, organization, _folder: folder }
    }

    /// Puts other defaults in force for the organization.
    fn resettle(&mut self, settings: &str) {
        let now = crate::config::now();
        let change = |tx: &crate::store::Connection| {
            let edited = Organization { defaults_revision: put_preset(tx, settings).1, ..self.organization.clone() };
            organizations::update(tx, &edited, now)?;
            organizations::by_slug(tx, "acme")
        };
        let organization = self.engine.store().change(Keep::Yes, change).unwrap();
        self.organization = organization;
    }

    fn run(&self) -> Ended {
        let plan = resolve::plan(&self.engine, &self.organization, &"x".parse().unwrap()).unwrap();
        let opened = self.engine.vault.open(self.engine.store().read(), &self.organization, &plan.provider).unwrap();
        run::run(&self.engine, &turn::Turns::new(1).take(), &plan, opened).unwrap()
    }

    /// Runs, and proves that all went well.
    fn run_well(&self) -> Tally {
        let ended = self.run();
        assert_eq!((ended.outcome, ended.error.map(|error| error.message)), (Outcome::Ok, None));
        ended.tally
    }

    /// Returns the values of the first column of what a query finds, as text.
    fn column(&self, sql: &str) -> Vec<String> {
        let store = self.engine.store();
        let mut statement = store.read().prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.map(|row| row.unwrap().unwrap_or_default()).collect()
    }

    fn live(&self) -> Vec<String> {
        self.column("SELECT external_key FROM learners WHERE deleted_at IS NULL ORDER BY external_key")
    }
}

fn put_manifest(tx: &crate::store::Connection, url: &str, rest: &str) {
    let text = format!("provider: x\nrevision: 1\nkind: lms\ntitle: X\nhttp:\n  base: {url}\n{rest}");
    let manifest = manifest::load("x.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
    providers::put(tx, &manifest, &text, false, crate::config::now()).unwrap();
}

/// Returns the preset's id and the new revision.
fn put_preset(tx: &crate::store::Connection, settings: &str) -> (i64, u32) {
    let document = format!(
        "preset: only_x\nname: Only X\nproviders:\n  x:\n    sync_frequency: hourly\n    allow_insecure_http: true\n{settings}"
    );
    let catalog: Catalog = crate::lookup::catalog(tx).unwrap();
    let preset = read_preset("p.yaml", &document, &catalog).unwrap_or_else(|error| panic!("{error}"));
    let new = NewRevision { preset: &preset, document: &document, message: "", created_by: "test" };
    let revision = presets::append(tx, &new, crate::config::now()).unwrap();
    (presets::by_slug(tx, "only_x").unwrap().id, revision)
}

const NAMES: &str = "    field_mappings: {learner.last_name: name}\n";

/// One stream of learners, read by key.
const LEARNERS: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?after={page}', page: {keyset: id, first: '0'}}
    cursor: {overlap: 10m}
    changes: {get: '/changes?from={window.from}&to={window.to}&after={page}', page: {keyset: id, first: '0'}}
    deletes: {sweep: weekly, max: 0.5}
";

/// Answers a full read with the learners of these numbers, two a page. Nothing ever changes.
fn learners(numbers: &'static [u32]) -> impl FnMut(&str) -> (u16, String, String) + Send + 'static {
    move |asked| {
        let after: u32 = asked.rsplit("after=").next().unwrap().parse().unwrap();
        let page: Vec<String> = numbers
            .iter()
            .filter(|number| **number > after && asked.starts_with("GET /all"))
            .take(2)
            .map(|number| format!(r#"{{"id":{number},"name":"N{number}"}}"#))
            .collect();
        json(format!("[{}]", page.join(",")))
    }
}

#[test]
fn a_full_read_stores_and_a_second_one_reads_changes() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2, 3]));
    assert_eq!(world.run_well().inserted, 3);
    assert_eq!(world.run_well().read, 0);
    assert!(world.server.seen().iter().any(|asked| asked.starts_with("GET /changes?from=")));
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn settings_taken_back_after_an_interrupted_read_leave_no_row_of_theirs() {
    let mut world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    world.resettle("    field_mappings: {learner.last_name: name, learner.status: name}\n");
    let mut first = learners(&[1, 2, 3]);
    world
        .server
        .play(move |asked| if asked.ends_with("=0") { first(asked) } else { (400, String::new(), "{}".into()) });
    assert_eq!(world.run().outcome, Outcome::Failed);
    assert_eq!(world.column("SELECT status FROM learners"), ["N1", "N2", ""]);
    world.resettle(NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    assert_eq!(world.column("SELECT status FROM learners"), ["", "", ""]);
}

#[test]
fn a_read_does_not_go_on_at_its_next_page_under_other_settings() {
    let size = "settings: {size: {type: int, default: 1}}\n";
    let stream = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?page={page}&size={settings.size}', page: {number: 1}}
";
    let mut world = World::new(&format!("{size}{stream}"), NAMES);
    world.server.play(|asked| match asked {
        "GET /all?page=1&size=1" => json(r#"[{"id":1}]"#),
        _ => (400, String::new(), "{}".into()),
    });
    assert_eq!(world.run().outcome, Outcome::Failed);
    world.server.play(|asked| match asked {
        "GET /all?page=1&size=2" => json(r#"[{"id":1},{"id":2}]"#),
        "GET /all?page=2&size=2" => json(r#"[{"id":3}]"#),
        _ => json("[]"),
    });
    world.resettle(&format!("    size: 2\n{NAMES}"));
    world.run_well();
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn no_content_is_an_empty_page_only_where_the_manifest_says_so() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    let before = world.column("SELECT watermark FROM sync_state");
    world.server.play(|_| (204, String::new(), String::new()));
    let ended = world.run();
    assert_eq!(ended.error.map(|error| error.code), Some("empty_answer"));
    assert_eq!(world.column("SELECT watermark FROM sync_state"), before);
}

#[test]
fn calls_at_once_share_one_new_session() {
    let login = "  auth: {login: {post: /login, token: text, ttl: 1h, use: {header: {x-token: '{token}'}}}}\n";
    let detail = "    detail: {get: '/one/{record.id}', concurrent: 4}\n";
    let pages = LEARNERS.replace("after={page}'", "after={page}&'").replace("&'", "'");
    let world = World::new(&format!("{login}{pages}{detail}"), NAMES);
    let mut sessions = 0;
    let ids: Vec<String> = (1..=8).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    world.server.play(move |asked| {
        if asked == "POST /login" {
            sessions += 1;
            return (200, String::new(), format!("session{sessions}"));
        }
        // The first session ends as soon as the details are asked for; a new one ends the one before.
        if asked.starts_with("GET /one/") {
            let wanted = format!("session{}", sessions.max(2));
            std::thread::sleep(std::time::Duration::from_millis(10));
            let (path, token) = asked["GET ".len()..].split_once(' ').unwrap();
            let id = path.rsplit('/').next().unwrap();
            return if token == wanted { json(format!(r#"{{"id":{id}}}"#)) } else { (401, String::new(), "{}".into()) };
        }
        json(if asked.contains("after=0") { format!("[{}]", ids.join(",")) } else { "[]".into() })
    });
    assert_eq!(world.run_well().inserted, 8);
    assert_eq!(world.server.seen().iter().filter(|asked| *asked == "POST /login").count(), 2);
}

#[test]
fn a_dry_run_of_a_full_read_compares_and_keeps_nothing() {
    let mut world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    let before = world.column("SELECT concat_ws(' ', generation, watermark, open_read) FROM sync_state");
    (world.engine.options.full, world.engine.options.keep) = (true, Keep::DryRun);
    world.server.play(learners(&[1, 2, 4, 5]));
    let tally = world.run_well();
    assert_eq!((tally.unchanged, tally.inserted, tally.deleted), (2, 2, 1));
    assert_eq!(world.column("SELECT concat_ws(' ', generation, watermark, open_read) FROM sync_state"), before);
    assert_eq!(world.live(), ["1", "2", "3"]);
    world.server.play(learners(&[4]));
    assert_eq!(world.run().error.map(|error| error.code), Some("mass_delete"));
}

#[test]
fn rows_of_the_stream_that_was_read_before_do_not_stay_beside_those_of_the_new_one() {
    let other = LEARNERS.replace("streams:\n", "").replace("learners:", "others:").replace("max: 0.5", "max: 1");
    let mut world = World::new(&format!("{}{other}", LEARNERS.replace("max: 0.5", "max: 1")), NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    world.engine.options.full = true;
    world.run_well();
    world.engine.options.full = false;
    world.resettle("    field_mappings: {learner.last_name: others.name}\n");
    world.server.play(learners(&[7, 8]));
    world.run_well();
    assert_eq!(world.live(), ["7", "8"]);
    world.resettle(NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn a_read_whose_pages_are_all_stored_is_finished_and_not_begun_again() {
    let feed = LEARNERS.replace("max: 0.5", "max: 0.5, feed: {get: /gone}");
    let world = World::new(&feed, NAMES);
    let mut all = learners(&[1, 2, 3]);
    world.server.play(move |asked| if asked == "GET /gone" { (400, String::new(), "{}".into()) } else { all(asked) });
    assert_eq!(world.run().outcome, Outcome::Failed);
    world.server.play(|asked| json(if asked == "GET /gone" { r#"[{"id":2}]"# } else { "[]" }));
    assert_eq!(world.run_well().deleted, 1);
    let seen = world.server.seen();
    assert_eq!(seen[0], "GET /gone");
    assert!(seen[1].starts_with("GET /changes"), "it reads on to now: {seen:?}");
    assert_eq!(world.live(), ["1", "3"]);
    assert_eq!(
        world.column("SELECT format('%d', count(*)) FROM sync_state WHERE watermark IS NOT NULL AND open_read IS NULL"),
        ["1"]
    );
}

#[test]
fn the_watermark_is_in_the_time_of_the_provider_from_the_first_answer_on() {
    let world = World::new(LEARNERS, NAMES);
    let theirs = crate::config::now() - chrono::TimeDelta::hours(1);
    let mut all = learners(&[1, 2, 3]);
    world.server.play(move |asked| {
        let (status, _, body) = all(asked);
        (status, format!("date: {}\r\n", theirs.format("%a, %d %b %Y %H:%M:%S GMT")), body)
    });
    world.run_well();
    let watermark: DateTime<Utc> = world.column("SELECT watermark FROM sync_state")[0].parse().unwrap();
    assert!(watermark <= theirs + chrono::TimeDelta::minutes(1), "{watermark} is after {theirs}");
}

#[test]
fn a_watermark_from_a_wrong_clock_is_not_believed() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2]));
    world.run_well();
    world.engine.store().read().execute("UPDATE sync_state SET watermark = '2099-01-01T00:00:00.000Z'", []).unwrap();
    world.server.play(learners(&[1, 2, 3]));
    assert_eq!(world.run_well().inserted, 1);
    assert!(!world.column("SELECT watermark FROM sync_state")[0].starts_with("2099"));
}

#[test]
fn a_full_read_that_was_given_up_does_not_count_towards_a_delete() {
    let mut world = World::new(&LEARNERS.replace("max: 0.5", "max: 1, after: 2"), NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    let mut first = learners(&[1, 2]);
    world
        .server
        .play(move |asked| if asked.ends_with("=0") { first(asked) } else { (400, String::new(), "{}".into()) });
    world.resettle("    field_mappings: {learner.first_name: name}\n");
    assert_eq!(world.run().outcome, Outcome::Failed);
    world.resettle("    field_mappings: {learner.status: name}\n");
    world.server.play(learners(&[1, 2]));
    world.run_well();
    assert_eq!(world.live(), ["1", "2", "3"]);
    world.engine.options.full = true;
    world.run_well();
    assert_eq!(world.live(), ["1", "2"]);
}

#[test]
fn a_detail_that_has_gone_is_no_delete_until_a_row_is_marked() {
    let detail = "    detail: {get: '/one/{record.id}', missing_ok: true}\n";
    let world = World::new(&format!("{LEARNERS}{detail}"), NAMES);
    let mut all = learners(&[1, 2]);
    world.server.play(move |asked| match asked {
        "GET /one/1" => json(r#"{"id":1,"name":"One"}"#),
        "GET /one/2" => (404, String::new(), "{}".into()),
        _ => all(asked),
    });
    let ended = world.run();
    let Tally { read, inserted, deleted, .. } = ended.tally;
    assert_eq!((ended.outcome, read, inserted, deleted), (Outcome::Partial, 2, 1, 0));
    assert!(ended.told.doubts[0].contains("listed and have no details: 1"), "{:?}", ended.told.doubts);
}

#[test]
fn a_deleted_record_that_cannot_be_read_stops_nothing() {
    let world = World::new(&LEARNERS.replace("max: 0.5", "max: 0.5, feed: {get: /gone}"), NAMES);
    let mut all = learners(&[1, 2]);
    world.server.play(move |asked| if asked == "GET /gone" { json(r#"[{"\ud800":0},{"id":2}]"#) } else { all(asked) });
    assert_eq!(world.run_well().deleted, 1);
}

#[test]
fn an_organization_is_synced_as_it_is_when_its_turn_comes() {
    let mut world = World::new(LEARNERS, NAMES);
    let stale = world.organization.clone();
    world.resettle("    field_mappings: {learner.status: name}\n");
    world.organization = stale;
    world.server.play(learners(&[1]));
    world.run_well();
    assert_eq!(world.column("SELECT status FROM learners"), ["N1"]);
    world.engine.store().read().execute("UPDATE organizations SET status = 'suspended'", []).unwrap();
    let refused = resolve::plan(&world.engine, &world.organization, &"x".parse().unwrap()).err().unwrap();
    assert_eq!(refused.downcast_ref::<UserError>().map(|error| error.code), Some("org_suspended"));
}

#[test]
fn learners_over_the_limit_come_in_once_it_is_raised() {
    let mut world = World::new(LEARNERS, NAMES);
    world.organization.max_learners = Some(2);
    world.resettle(NAMES);
    world.server.play(learners(&[1, 2, 3]));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.tally.inserted, ended.tally.over_cap), (Outcome::Partial, 2, 1));
    world.organization.max_learners = Some(5);
    world.resettle(NAMES);
    assert_eq!(world.run_well().inserted, 1);
}

#[test]
fn a_provider_that_returns_is_read_anew() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1, 2, 3]));
    world.run_well();
    let dormant = |active: &[i64]| {
        let id = world.organization.id;
        let move_on = |tx: &crate::store::Connection| {
            organizations::mark_dormant(tx, id, active)?;
            crate::store::state::forget_others(tx, id, active)
        };
        world.engine.store().change(Keep::Yes, move_on).unwrap();
    };
    dormant(&[]);
    // Meanwhile another provider has taken one of them over.
    world.engine.store().read().execute("DELETE FROM learners WHERE external_key = '2'", []).unwrap();
    dormant(&[1]);
    assert_eq!(world.run_well().inserted, 1);
    assert_eq!(world.live(), ["1", "2", "3"]);
}

#[test]
fn a_run_that_a_wrong_clock_started_does_not_put_off_all_others() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(learners(&[1]));
    world.run_well();
    let due = || due::due(world.engine.store().read(), crate::config::now(), false).unwrap().len();
    assert_eq!(due(), 0);
    let later = "UPDATE integration_sync_logs SET started_at = '2099-01-01T00:00:00.000Z'";
    world.engine.store().read().execute(later, []).unwrap();
    assert_eq!(due(), 1);
}

#[test]
fn a_run_that_may_read_no_stream_at_all_has_failed() {
    let rule = "    errors: [{status: 403, do: skip_stream}]\n";
    let world = World::new(&format!("{LEARNERS}{rule}"), NAMES);
    world.server.play(|_| (403, String::new(), "{}".into()));
    let ended = world.run();
    assert_eq!((ended.outcome, ended.error.map(|error| error.code)), (Outcome::Failed, Some("stream_not_readable")));
}

#[test]
fn a_session_that_the_provider_echoes_is_not_shown() {
    let login = "  auth: {login: {post: /login, token: text, ttl: 1h, use: {header: {x-token: '{token}'}}}}\n";
    let world = World::new(&format!("{login}  error_message: [message]\n{LEARNERS}"), NAMES);
    world.server.play(|asked| match asked {
        "POST /login" => (200, String::new(), "SENTINEL".into()),
        _ => (400, String::new(), r#"{"message":"no rights for SENTINEL here"}"#.into()),
    });
    let said = world.run().error.unwrap().message;
    assert!(said.ends_with("no rights for [redacted] here"), "{said}");
}

#[test]
fn a_loop_over_nothing_is_a_missing_setting_and_no_complete_read() {
    let loops =
        format!("settings: {{centres: {{type: list, required: true}}}}\n{LEARNERS}    each: {{settings: centres}}\n");
    let world = World::new(&loops, &format!("    centres: []\n{NAMES}"));
    let refused = resolve::plan(&world.engine, &world.organization, &"x".parse().unwrap()).err().unwrap();
    assert_eq!(refused.downcast_ref::<UserError>().map(|error| error.code), Some("setting_missing"));
}

#[test]
fn what_a_rule_advises_is_told_when_trying_again_did_not_help() {
    let rule = "  errors: [{status: 400, do: retry, wait: 0s, hint: lower the size}]\n";
    let world = World::new(&format!("{rule}{LEARNERS}"), NAMES);
    world.server.play(|_| (400, String::new(), "{}".into()));
    assert_eq!(world.run().error.unwrap().hint.as_deref(), Some("lower the size"));
    assert_eq!(world.server.seen().len(), 5);
}

#[test]
fn one_stream_feeds_one_entity() {
    let world = World::new(LEARNERS, NAMES);
    let provider = providers::by_slug(world.engine.store().read(), "x").unwrap();
    let manifest = &crate::lookup::manifest_of(&provider).unwrap();
    let mapping = [("employer.name".parse().unwrap(), crate::domain::mapping::Mapping::source("learners.employer"))];
    let employer = crate::domain::entity::Entity::Employer;
    let refused = crate::domain::settings::feeding_stream(employer, &mapping, manifest);
    assert_eq!(refused, Err("the stream `learners` feeds `learner`, and cannot feed `employer` too".into()));
}

#[test]
fn a_page_out_of_the_order_of_its_key_stops_the_read() {
    let world = World::new(LEARNERS, NAMES);
    world.server.play(|_| json(r#"[{"id":3,"name":"N3"},{"id":1,"name":"N1"},{"id":20,"name":"N20"}]"#));
    assert_eq!(world.run().error.map(|error| error.code), Some("order_wrong"));
    // In the order of texts, 20 stands before 3: pages follow each other all the same.
    let mut served = false;
    world.server.play(move |_| {
        let page =
            if served { "[]" } else { r#"[{"id":"1","name":"a"},{"id":"20","name":"b"},{"id":"3","name":"c"}]"# };
        served = true;
        json(page)
    });
    assert_eq!(world.run_well().inserted, 3);
}

#[test]
fn a_page_whose_details_are_all_gone_is_not_believed() {
    let detail = "    detail: {get: '/one/{record.id}', missing_ok: true}\n";
    let world = World::new(&format!("{LEARNERS}{detail}"), NAMES);
    let mut all = learners(&[1, 2]);
    world.server.play(
        move |asked| {
            if asked.starts_with("GET /one") { (404, String::new(), "{}".into()) } else { all(asked) }
        },
    );
    let ended = world.run();
    assert_eq!((ended.outcome, ended.error.map(|error| error.code)), (Outcome::Failed, Some("details_missing")));
}

#[test]
fn counted_pages_are_not_gone_on_with_after_a_long_pause() {
    let numbered = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/page/{page}', page: {number: 1}}
";
    let world = World::new(numbered, NAMES);
    let page = |number: u32| json(format!(r#"[{{"id":{number},"name":"N"}}]"#));
    world.server.play(move |asked| if asked == "GET /page/1" { page(1) } else { (500, String::new(), "{}".into()) });
    assert_eq!(world.run().outcome, Outcome::Failed);
    let store = world.engine.store();
    let back = "UPDATE sync_state SET open_read = json_set(open_read, '$.to', '2026-01-01T00:00:00Z')";
    assert_eq!(store.read().execute(back, []).unwrap(), 1);
    drop(store);
    world.server.play(move |asked| if asked == "GET /page/1" { page(1) } else { (500, String::new(), "{}".into()) });
    assert_eq!(world.run().outcome, Outcome::Failed);
    assert_eq!(world.server.seen()[..2], ["GET /page/1", "GET /page/2"]);
    // Begun again just now, it is gone on with, and then brought up to now.
    world.server.play(|_| json("[]"));
    world.run_well();
    let twice = "an empty page that another one has promised is asked for once more";
    assert_eq!(world.server.seen(), ["GET /page/2", "GET /page/2", "GET /page/1"], "{twice}");
}

#[test]
fn a_mapping_that_cannot_be_read_fails_the_run_instead_of_emptying_the_column() {
    let world = World::new(LEARNERS, NAMES);
    let now = crate::config::now();
    let changed = crate::store::overrides::Changed { by: "test".into(), at: now };
    let key = "field_mappings.learner.status".parse().unwrap();
    let unknown = crate::domain::settings::Change::Set(serde_json::json!({"from": "status", "later": true}));
    let overrides = std::collections::BTreeMap::from([(key, unknown)]);
    let pair = (world.organization.id, 1);
    let put = |tx: &crate::store::Connection| crate::store::overrides::put(tx, pair, &overrides, 0, &changed);
    assert!(world.engine.store().change(Keep::Yes, put).unwrap());
    let error = resolve::plan(&world.engine, &world.organization, &"x".parse().unwrap()).err().unwrap();
    assert_eq!(error.downcast_ref::<UserError>().unwrap().code, "invalid_setting");
}
