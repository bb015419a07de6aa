//! The service that is read: its records, its clock, its tokens, and its own ledger of what it served.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};

use crate::chance::Chance;

/// How far a window reaches back over the one before; the manifest says the same.
pub const OVERLAP: i64 = 5 * 60_000;

/// A record as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts its changes, and shows in its name.
    pub version: u64,
    /// The stamp of its last change, in epoch milliseconds.
    pub updated: i64,
    /// When that change could first be seen: a late one carries an earlier stamp.
    pub appeared: i64,
    pub deleted: bool,
}

impl Record {
    /// Returns the name it is served under.
    pub fn name(&self, id: u64) -> String {
        format!("N{id}v{}", self.version)
    }
}

/// A page that was served.
#[derive(Debug, Clone)]
pub struct Served {
    pub stream: &'static str,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub after: u64,
    /// When it was served.
    pub at: i64,
    /// Whether no page comes after it.
    pub last: bool,
    /// Ids and versions.
    pub records: Vec<(u64, u64)>,
}

/// What an account holds and has done.
#[derive(Debug, Clone)]
pub struct State {
    pub now: i64,
    pub learners: BTreeMap<u64, Record>,
    pub employers: BTreeMap<u64, Record>,
    pub ledger: Vec<Served>,
    /// Requests for pages, refused ones too.
    pub requests: u64,
    /// The newest refresh token, the one it was given for, and whether the access token beside it was used: until then
    /// the older one is still good, as an answer may be lost.
    pub token: (u64, u64, bool),
    /// Requests for a token with a credential that was never given.
    pub strangers: u64,
    pub chance: Chance,
    /// How many requests in a hundred are refused with a 429.
    pub refused: u64,
    /// The longest an answer takes, in microseconds.
    pub delay: u64,
    /// The request that is held back until it is let go.
    pub hold: Option<u64>,
    pub held: bool,
}

impl State {
    /// Returns an account with so many records of each kind.
    pub fn new(now: i64, learners: u64, employers: u64, chance: Chance) -> Self {
        let records = |number: u64, stamp: i64| {
            let record = Record { version: 1, updated: stamp, appeared: stamp, deleted: false };
            (1..=number).map(|id| (id * 10, record.clone())).collect()
        };
        State {
            now,
            learners: records(learners, now - 3_600_000),
            employers: records(employers, now - 3_600_000),
            ledger: Vec::new(),
            requests: 0,
            token: (0, 0, true),
            strangers: 0,
            chance,
            refused: 0,
            delay: 0,
            hold: None,
            held: false,
        }
    }

    /// Lets time pass, and things happen in it: new, changed, deleted and revived records, with stamps of now, of the
    /// very end of the last window, and late ones from before it.
    pub fn live(&mut self, milliseconds: i64, changes: u64) {
        self.now += milliseconds;
        let last = self.ledger.iter().map(|served| served.to.unwrap_or(served.at)).max().unwrap_or(self.now);
        for _ in 0..changes {
            let earliest = last - OVERLAP;
            let stamp = match self.chance.below(4) {
                0 => last,
                1 => earliest + self.chance.below((self.now - earliest).unsigned_abs()) as i64,
                _ => self.now,
            };
            let (chance, appeared) = (&mut self.chance, self.now);
            let learners = chance.percent(75);
            let records = if learners { &mut self.learners } else { &mut self.employers };
            // Less than a fifth may vanish at once.
            let brake = records.len() as u64 / 10;
            let gone = records.values().filter(|record| record.deleted).count() as u64;
            let ids: Vec<u64> = records.keys().copied().collect();
            let id = *chance.pick(&ids).unwrap();
            match chance.below(10) {
                0 | 1 => {
                    let id = id + 1 + chance.below(9);
                    records.entry(id).or_insert(Record { version: 1, updated: stamp, appeared, deleted: false });
                }
                2 if gone < brake => {
                    let record = records.get_mut(&id).unwrap();
                    *record = Record { version: record.version + 1, updated: stamp, appeared, deleted: true };
                }
                3 => {
                    let record = records.get_mut(&id).unwrap();
                    *record = Record { version: record.version + 1, updated: stamp, appeared, deleted: false };
                }
                _ => {
                    let record = records.get_mut(&id).unwrap();
                    *record = Record { version: record.version + 1, updated: stamp, appeared, ..*record };
                }
            }
        }
    }
}

/// One account at the service.
pub struct Account {
    state: Mutex<State>,
    changed: Condvar,
    url: String,
}

impl Account {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a condition holds. Returns false if `given_up` says so first.
    pub fn wait(&self, holds: impl Fn(&State) -> bool, mut given_up: impl FnMut() -> bool) -> bool {
        let mut state = self.state();
        loop {
            if holds(&state) {
                return true;
            }
            state = self.changed.wait_timeout(state, Duration::from_millis(2)).unwrap().0;
            if !holds(&state) && given_up() {
                return false;
            }
        }
    }

    /// Lets a held request go.
    pub fn release(&self) {
        let mut state = self.state();
        (state.hold, state.held) = (None, false);
        self.changed.notify_all();
    }

    fn answer(&self, method: &str, target: &str, token: &str, body: &str) -> (u16, Value) {
        let url: url::Url = format!("http://x{target}").parse().unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<i64>().ok());
        let mut state = self.state();
        if method == "POST" {
            let known = body.contains("client_id=client&") && body.contains("client_secret=not-so-secret");
            let given =
                body.split("refresh_token=refresh-").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok());
            let (true, Some(given)) = (known, given) else {
                state.strangers += 1;
                return (400, json!({"error": "invalid_client"}));
            };
            let (newest, before, used) = state.token;
            if given != newest && (given != before || used) {
                return (400, json!({"error": "invalid_grant"}));
            }
            state.token = (newest + 1, given, false);
            return (
                200,
                json!({"access_token": format!("access-{}", newest + 1), "refresh_token": format!("refresh-{}", newest + 1)}),
            );
        }
        if token != format!("Bearer access-{}", state.token.0) {
            return (401, json!({}));
        }
        state.token.2 = true;
        state.requests += 1;
        self.changed.notify_all();
        if state.hold == Some(state.requests) {
            state.held = true;
            self.changed.notify_all();
            while state.held {
                state = self.changed.wait(state).unwrap();
            }
        }
        let refused = state.refused;
        if state.chance.percent(refused) {
            return (429, json!({}));
        }
        let (from, to) = (number("from"), number("to"));
        let after = number("after").unwrap_or(0).unsigned_abs();
        let (Some(limit @ 1..), true) = (number("limit"), from.is_some() == to.is_some()) else {
            return (400, json!({"error": "this is no request for a page"}));
        };
        let limit = limit as usize;
        let in_window = |record: &Record| match from {
            Some(from) => (from..=to.unwrap_or(from)).contains(&record.updated),
            None => !record.deleted,
        };
        let (stream, records) = match url.path() {
            "/learners" => ("learners", &state.learners),
            "/employers" => ("employers", &state.employers),
            _ => ("gone", &state.employers),
        };
        let wanted = |record: &Record| if stream == "gone" { record.deleted } else { in_window(record) };
        let page: Vec<(u64, Record)> = records
            .range(after + 1..)
            .filter(|(_, record)| wanted(record))
            .take(limit)
            .map(|(id, record)| (*id, record.clone()))
            .collect();
        let next = (stream != "learners" && page.len() == limit).then(|| page[limit - 1].0.to_string());
        let items: Vec<Value> = page
            .iter()
            .map(|(id, record)| {
                let state = if record.deleted { "deleted" } else { "active" };
                json!({"id": id.to_string(), "name": record.name(*id), "state": state, "updated": record.updated})
            })
            .collect();
        let records = page.iter().map(|(id, record)| (*id, record.version)).collect();
        let last = if stream == "learners" { page.is_empty() } else { next.is_none() };
        let at = state.now;
        state.ledger.push(Served { stream, from, to, after, at, last, records });
        (200, json!({"items": items, "next": next}))
    }
}

/// The server, with an account for each trial.
pub struct Harbour {
    url: String,
    /// An account is closed once nobody holds it.
    accounts: Mutex<HashMap<String, Weak<Account>>>,
}

impl Harbour {
    /// Returns the one server of this process.
    pub fn open() -> &'static Harbour {
        static HARBOUR: OnceLock<&'static Harbour> = OnceLock::new();
        HARBOUR.get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let harbour: &Harbour = Box::leak(Box::new(Harbour { url, accounts: Mutex::default() }));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || harbour.serve(stream));
                }
            });
            harbour
        })
    }

    /// Opens an account.
    pub fn account(&self, state: State) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap();
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let name = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let url = format!("{}/{name}", self.url);
        let account = Arc::new(Account { state: Mutex::new(state), changed: Condvar::new(), url });
        accounts.retain(|_, account| account.strong_count() > 0);
        accounts.insert(name, Arc::downgrade(&account));
        account
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let mut words = line.split(' ');
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            let (mut token, mut length) = (String::new(), 0);
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                match name.to_ascii_lowercase().as_str() {
                    "authorization" => value.clone_into(&mut token),
                    "content-length" => length = value.parse().ok()?,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let (name, path) = target.strip_prefix('/')?.split_once('/')?;
            let account = self.accounts.lock().unwrap().get(name)?.upgrade()?;
            let (status, answer) =
                account.answer(&method, &format!("/{path}"), &token, &String::from_utf8_lossy(&body));
            let (now, delay) = {
                let mut state = account.state();
                let longest = state.delay;
                (state.now, state.chance.below(longest + 1))
            };
            std::thread::sleep(Duration::from_micros(delay));
            let date = chrono::DateTime::from_timestamp_millis(now)?.format("%a, %d %b %Y %H:%M:%S GMT");
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).ok()?;
        }
    }
}
