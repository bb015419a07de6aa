//! Whole-process benchmark: a first load and an unchanged re-sync, side by side with the least any client can do.
//!
//! `cargo bench --bench first_load -- [--records N] [--runs N] [--serve]`. `--serve` only serves, for a profiler. A server thread of this process answers pages made
//! beforehand; the floor and the program run in turn as processes of their own, so that ratios hold on a noisy machine.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE: usize = 100;
const PROGRAM: &str = env!("CARGO_BIN_EXE_skillsctl");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, url, database] = arguments.as_slice()
        && word == "floor"
    {
        return floor(url, database);
    }
    let number = |flag: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (records, runs) = (number("--records", 200_000), number("--runs", 5));
    let url = serve(pages(records));
    if arguments.iter().any(|argument| argument == "--serve") {
        let folder = std::env::temp_dir().join("skillsctl-bench");
        std::fs::create_dir_all(&folder).expect("a folder");
        World::new(&folder, &url);
        println!("serving {url}; a database that reads from it is in {}; ends with Ctrl-C", folder.display());
        loop {
            std::thread::park();
        }
    }
    let mut table = Table::default();
    for _ in 0..runs {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let floor_db = folder.path().join("floor.db");
        let floor = || {
            measure(Command::new(std::env::current_exe().expect("this program")).arg("floor").arg(&url).arg(&floor_db))
        };
        let world = World::new(folder.path(), &url);
        table.add("first load, floor", floor());
        table.add("first load", measure(&mut world.command(&["sync", "bench", "--full"])));
        assert_eq!(world.rows(), records, "every record is stored");
        table.add("unchanged, floor", floor());
        table.add("unchanged", measure(&mut world.command(&["sync", "bench", "--full"])));
    }
    let folder = tempfile::tempdir().expect("a folder of its own");
    let world = World::new(folder.path(), &url);
    world.add_organizations(1_000);
    for _ in 0..runs.max(5) * 4 {
        table.add("--help", measure(Command::new(PROGRAM).arg("--help")));
        table.add("org list, 1,001 organizations", measure(&mut world.command(&["org", "list"])));
        table.add("sync --all, nothing due", measure(&mut world.command(&["sync", "--all"])));
    }
    table.print(records, runs);
}

/// Returns the answers of all pages, ready to be sent.
fn pages(records: usize) -> Vec<Vec<u8>> {
    let first = ["Amelia", "Oliver", "Isla", "Zoë", "Siân", "Mohammed", "Chloë", "Łukasz", "Aoife", "Noah"];
    let last = ["Smith", "O'Neill", "Patel", "Nguyễn", "Jones-Évans", "Khan", "Taylor", "Brown", "García", "Evans"];
    (0..records.div_ceil(PAGE))
        .map(|page| {
            let mut body = String::from("{\"results\":[");
            for i in page * PAGE..((page + 1) * PAGE).min(records) {
                let id = 1_000_000 + i;
                let comma = if i % PAGE > 0 { "," } else { "" };
                let changed = format!("2026-{:02}-{:02}T{:02}:{:02}:00.{:03}Z", 1 + i % 11, 1 + i % 28, i % 24, i % 60, i % 1000);
                write!(
                    body,
                    "{comma}{{\"id\":\"{id}\",\"properties\":{{\"hs_object_id\":\"{id}\",\"firstname\":\"{}\",\"lastname\":\"{}\",\
                     \"email\":\"learner{i}@example{}.co.uk\",\"phone\":\"+44 7{:09}\",\"company\":\"Acme Training {} Ltd\",\
                     \"associatedcompanyid\":\"{}\",\"jobtitle\":\"Team Leader\",\"city\":\"Leeds\",\"lifecyclestage\":\"lead\",\
                     \"account_manager\":\"am{}@aivii.co.uk\",\"division_code\":\"DIV-{:03}\",\
                     \"createdate\":\"2024-03-{:02}T09:{:02}:00.000Z\",\"lastmodifieddate\":\"{changed}\",\"notes\":null}},\
                     \"createdAt\":\"2024-03-01T09:00:00.000Z\",\"updatedAt\":\"{changed}\",\"archived\":false}}",
                    first[i % 10],
                    last[i / 10 % 10],
                    i % 97,
                    i * 7919 % 1_000_000_000,
                    i % 5000,
                    500_000 + i % 5000,
                    i % 40,
                    i % 30,
                    1 + i % 28,
                    i % 60,
                )
                .expect("writing to a text");
            }
            body.push(']');
            if (page + 1) * PAGE < records {
                write!(body, ",\"paging\":{{\"next\":{{\"after\":\"{}\"}}}}", page + 1).expect("writing to a text");
            }
            body.push('}');
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body.as_bytes()].concat()
        })
        .collect()
}

/// Serves the pages and returns the address.
fn serve(pages: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let pages = Arc::new(pages);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = Arc::clone(&pages);
            std::thread::spawn(move || answer(stream, &pages));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, pages: &[Vec<u8>]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).ok()? > 2 {
            header.clear();
        }
        let after =
            request.split("after=").nth(1).and_then(|rest| rest.split([' ', '&']).next()?.parse().ok()).unwrap_or(0);
        stream.write_all(pages.get(after)?).ok()?;
    }
}

/// A database with one organization that reads from the server.
struct World<'f> {
    folder: &'f Path,
}

impl<'f> World<'f> {
    fn new(folder: &'f Path, url: &str) -> Self {
        let world = World { folder };
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let file = |name: &str| here.join(name).display().to_string();
        world.run(&["init"]);
        world.run(&["provider", "add", "-f", &file("provider.yaml")]);
        world.run(&["preset", "apply", "-f", &file("preset.yaml")]);
        let create = ["org", "create", "--name", "Bench", "--slug", "bench", "--preset", "bench", "--yes"];
        world.run(&[create.as_slice(), &["--billing-name", "B", "--billing-email", "b@example.org"]].concat());
        world.run(&["override", "set", "bench", "bench", &format!("api_url={url}")]);
        std::fs::write(folder.join("token"), "bench-token").expect("writing a file");
        let token = folder.join("token").display().to_string();
        world.run(&["credential", "set", "bench", "bench", "token", "--from-file", &token]);
        world
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("HOME", self.folder).args(words).arg("--db").arg(self.folder.join("skills.db"));
        command
    }

    fn run(&self, words: &[&str]) {
        let output = self.command(words).stdin(Stdio::null()).output().expect("starting the program");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("skills.db")).expect("opening the database")
    }

    fn rows(&self) -> usize {
        let count: u32 =
            self.database().query_row("SELECT count(*) FROM employers", [], |row| row.get(0)).expect("counting");
        count as usize
    }

    /// Copies the organization, straight into the table: making each by a command would measure something else.
    fn add_organizations(&self, number: u32) {
        let mut database = self.database();
        let transaction = database.transaction().expect("a transaction");
        for i in 0..number {
            transaction
                .execute(
                    "INSERT INTO organizations (slug, name, preset_id, defaults_revision, time_zone, status, created_at, updated_at)
                     SELECT 'org-' || ?1, 'Organization ' || ?1, preset_id, defaults_revision, time_zone, status, created_at, updated_at
                     FROM organizations WHERE slug = 'bench'",
                    [i],
                )
                .expect("inserting");
        }
        transaction.commit().expect("committing");
    }
}

/// What one process took.
#[derive(Clone, Copy)]
struct Figures {
    wall: Duration,
    /// The largest resident set seen, in kilobytes.
    peak: u64,
}

/// Runs a process and watches its time and memory.
fn measure(command: &mut Command) -> Figures {
    let began = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting a process");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(ended) = child.try_wait().expect("waiting") {
            assert!(ended.success(), "{command:?}: {ended}");
            return Figures { wall: began.elapsed(), peak };
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(high.unwrap_or(0));
        std::thread::sleep(if began.elapsed() < Duration::from_millis(50) {
            Duration::from_micros(200)
        } else {
            Duration::from_millis(5)
        });
    }
}

/// All figures by what was measured, in the order of first measurement.
#[derive(Default)]
struct Table(Vec<(&'static str, Vec<Figures>)>);

impl Table {
    fn add(&mut self, what: &'static str, figures: Figures) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, all)) => all.push(figures),
            None => self.0.push((what, vec![figures])),
        }
    }

    fn print(&self, records: usize, runs: usize) {
        println!("{records} records in pages of {PAGE}, {runs} runs in turn; medians");
        let median = |all: &[Figures]| {
            let mut walls: Vec<f64> = all.iter().map(|figures| figures.wall.as_secs_f64() * 1000.0).collect();
            walls.sort_by(f64::total_cmp);
            (walls[0], walls[walls.len() / 2], walls[walls.len() - 1])
        };
        let mut floor = 0.0;
        for (what, all) in &self.0 {
            let (least, middle, most) = median(all);
            let peak = all.iter().map(|figures| figures.peak).max().unwrap_or(0) as f64 / 1024.0;
            let ratio = if floor > 0.0 { format!("   {:.2}x of the floor", middle / floor) } else { String::new() };
            println!("{what:32} {middle:9.1} ms  ({least:.1} to {most:.1})  peak {peak:5.1} MB{ratio}");
            floor = if what.ends_with("floor") { middle } else { 0.0 };
        }
    }
}

/// The floor: one thread fetches, one parses borrowed fields and upserts a page a transaction. No mapping, no checks, no log.
fn floor(url: &str, database: &str) {
    type Text<'a> = Option<Cow<'a, str>>;
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        results: Vec<Contact<'a>>,
        paging: Option<serde_json::Value>,
    }
    #[derive(serde::Deserialize)]
    struct Contact<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        properties: Properties<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Properties<'a> {
        #[serde(borrow)]
        firstname: Text<'a>,
        #[serde(borrow)]
        lastname: Text<'a>,
        #[serde(borrow)]
        email: Text<'a>,
        #[serde(borrow)]
        company: Text<'a>,
        #[serde(borrow)]
        associatedcompanyid: Text<'a>,
        #[serde(borrow)]
        account_manager: Text<'a>,
        #[serde(borrow)]
        division_code: Text<'a>,
        #[serde(borrow)]
        lastmodifieddate: Text<'a>,
    }
    let (sender, receiver) = std::sync::mpsc::sync_channel::<String>(8);
    let url = url.to_owned();
    let fetching = std::thread::spawn(move || {
        let agent = ureq::agent();
        let mut after = String::from("0");
        loop {
            let address = format!("{url}/crm/v3/objects/contacts?limit=100&after={after}");
            let mut answer = agent.get(address).header("authorization", "Bearer x").call().expect("an answer");
            let body = answer.body_mut().read_to_string().expect("a body");
            // The token is found without parsing the page: the floor, not a way to write a client.
            let tail = body.get(body.len().saturating_sub(60)..).unwrap_or_default();
            let next = tail.find("\"after\":\"").and_then(|at| tail[at + 9..].split('"').next()).map(str::to_owned);
            sender.send(body).expect("a reader");
            match next {
                Some(next) => after = next,
                None => return,
            }
        }
    });
    let mut connection = rusqlite::Connection::open(database).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS employers (org INTEGER NOT NULL, crm_id TEXT NOT NULL, firstname TEXT, lastname TEXT, email TEXT,
                company TEXT, companyid TEXT, account_manager TEXT, division TEXT, modified TEXT, PRIMARY KEY (org, crm_id)) STRICT, WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS state (k INTEGER PRIMARY KEY, v TEXT)",
        )
        .expect("a schema");
    for body in receiver {
        let page: Page<'_> = serde_json::from_str(&body).expect("a page");
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut upsert = transaction
                .prepare_cached(
                    "INSERT INTO employers VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (org, crm_id) DO UPDATE SET
                        firstname = excluded.firstname, lastname = excluded.lastname, email = excluded.email, company = excluded.company,
                        companyid = excluded.companyid, account_manager = excluded.account_manager, division = excluded.division,
                        modified = excluded.modified WHERE excluded.modified IS NOT modified",
                )
                .expect("a statement");
            for contact in &page.results {
                let p = &contact.properties;
                upsert
                    .execute(rusqlite::params![
                        contact.id,
                        p.firstname,
                        p.lastname,
                        p.email,
                        p.company,
                        p.associatedcompanyid,
                        p.account_manager,
                        p.division_code,
                        p.lastmodifieddate
                    ])
                    .expect("a row");
            }
            let next = page.paging.map(|paging| paging.to_string());
            transaction
                .prepare_cached("INSERT INTO state VALUES (1, ?1) ON CONFLICT (k) DO UPDATE SET v = excluded.v")
                .expect("a statement")
                .execute([next])
                .expect("a row");
        }
        transaction.commit().expect("a commit");
    }
    fetching.join().expect("the fetching thread");
}
