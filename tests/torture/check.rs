//! What must hold after a kill and at the end, judged by the database as another process sees it and by the service's ledger.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::DateTime;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::harbour::{Record, Served, State};
use crate::world::World;

/// What was found wrong; each begins with the invariant it breaks.
pub type Violations = Vec<String>;

/// A copy of a database as it stands on the disk: looking at the one itself would mend it.
pub struct Copy {
    _folder: TempDir,
    pub connection: Connection,
}

/// Copies a database with its write-ahead log and opens the copy.
pub fn copy(world: &World) -> Copy {
    let folder = crate::world::folder();
    for suffix in ["", "-wal"] {
        if let Ok(bytes) = std::fs::read(world.beside(suffix)) {
            std::fs::write(folder.path().join(format!("copy.db{suffix}")), bytes).unwrap();
        }
    }
    open(folder)
}

/// Opens `copy.db` in a folder.
pub fn open(folder: TempDir) -> Copy {
    let connection = Connection::open(folder.path().join("copy.db")).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    Copy { _folder: folder, connection }
}

/// How far a stream of `acme` has been read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    pub watermark: Option<i64>,
    pub open: Option<Open>,
}

/// A read under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    pub from: Option<i64>,
    pub to: i64,
    /// The id that the next page comes after; the largest there is once all pages are read.
    pub position: u64,
}

impl Open {
    /// Returns whether a page was served for this read.
    fn has(&self, page: &Served) -> bool {
        // A full read names no window, and begins at its end.
        page.from == self.from && if self.from.is_some() { page.to == Some(self.to) } else { page.at >= self.to }
    }
}

fn millis(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

/// Returns how far the streams of `acme` have been read.
pub fn progress(connection: &Connection) -> BTreeMap<String, Progress> {
    let mut statement = connection
        .prepare(
            "SELECT stream, watermark, open_read FROM sync_state
             WHERE organization_id = (SELECT id FROM organizations WHERE slug = 'acme')",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let (watermark, open): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
        let open = open.map(|text| {
            let open: Value = serde_json::from_str(&text).unwrap();
            Open {
                from: open["from"].as_str().map(millis),
                to: millis(open["to"].as_str().unwrap()),
                position: match open["position"].as_str() {
                    Some(position) => position.parse().unwrap(),
                    None if open["each"] == 0 => 0,
                    None => u64::MAX,
                },
            }
        });
        Ok((row.get(0)?, Progress { watermark: watermark.as_deref().map(millis), open }))
    });
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// A stored row: the version its name tells, and whether it is live.
type Rows = BTreeMap<u64, (u64, bool)>;

/// Returns the rows of `acme`.
pub fn rows(connection: &Connection, stream: &str) -> Rows {
    let (table, name) = if stream == "learners" { ("learners", "last_name") } else { ("employers", "name") };
    let sql = format!(
        "SELECT external_key, {name}, deleted_at IS NULL AND in_scope = 1 AND dormant = 0 FROM {table}
         WHERE organization_id = (SELECT id FROM organizations WHERE slug = 'acme')"
    );
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| {
        let (key, name, live): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let version = name.split('v').nth(1).unwrap().parse().unwrap();
        Ok((key.parse().unwrap(), (version, live)))
    });
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Returns a digest of what is stored for an organization: contents and standing, not when they were written.
pub fn contents(connection: &Connection, slug: &str) -> String {
    let mut all = String::new();
    for table in ["learners", "employers"] {
        let sql = format!(
            "SELECT coalesce(group_concat(external_key || hex(content_hash) || in_scope || dormant || (deleted_at IS NULL), ';'), '')
             FROM (SELECT * FROM {table} WHERE organization_id = (SELECT id FROM organizations WHERE slug = ?1) ORDER BY external_key)"
        );
        all += &connection.query_row(&sql, [slug], |row| row.get::<_, String>(0)).unwrap();
    }
    all
}

/// Checks that the database is sound (I5), and that nothing is stored twice (I2).
pub fn sound(connection: &Connection, wrong: &mut Violations) {
    sound_schema(connection, wrong);
    nothing_twice(connection, wrong);
}

/// Checks that the database itself is sound (I5), with tables or without.
pub fn sound_schema(connection: &Connection, wrong: &mut Violations) {
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if integrity != "ok" {
        wrong.push(format!("I5: {integrity}"));
    }
    if connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap() {
        wrong.push("I5: a foreign key points nowhere".into());
    }
}

fn nothing_twice(connection: &Connection, wrong: &mut Violations) {
    for table in ["learners", "employers"] {
        let sql = format!(
            "SELECT count(*) - count(DISTINCT organization_id || '/' || provider_id || '/' || external_key) FROM {table}"
        );
        let twice: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        if twice != 0 {
            wrong.push(format!("I2: {twice} of {table} are stored twice"));
        }
    }
}

/// Checks after a kill that the progress speaks of nothing that is not stored (I1, I3). `before` is the progress before
/// the run that was killed; the service has not changed since it started.
pub fn progress_is_true(
    connection: &Connection,
    before: &BTreeMap<String, Progress>,
    state: &State,
    wrong: &mut Violations,
) {
    for (stream, progress) in progress(connection) {
        let stored = rows(connection, &stream);
        let records = if stream == "learners" { &state.learners } else { &state.employers };
        let watermark = progress.watermark;
        if watermark != before.get(&stream).and_then(|before| before.watermark) {
            // What appeared after the read had begun, with a stamp from before it, is the next read's business.
            let due = |record: &Record| Some(record.updated.max(record.appeared)) <= watermark;
            for (id, record) in records.iter().filter(|(_, record)| due(record)) {
                if let Some(why) = differs(&stored, *id, record) {
                    wrong.push(format!("I3: {stream} were read up to {watermark:?}, but {why}"));
                }
            }
        }
        let Some(open) = progress.open else { continue };
        covered(&stream, &open, state, &stored, wrong);
    }
}

/// Checks that the pages of an open read were served, one after the other, up to its position, and are stored.
fn covered(stream: &str, open: &Open, state: &State, stored: &Rows, wrong: &mut Violations) {
    let pages: Vec<&Served> = state.ledger.iter().filter(|page| page.stream == stream && open.has(page)).collect();
    // A page that was lost with its process was served again, perhaps with newer versions: the oldest is what is sure.
    let mut least: BTreeMap<u64, u64> = BTreeMap::new();
    for (id, version) in pages.iter().flat_map(|page| &page.records) {
        least.entry(*id).and_modify(|least| *least = *version.min(least)).or_insert(*version);
    }
    let mut at = 0;
    while at < open.position {
        let Some(page) = pages.iter().rev().find(|page| page.after == at) else {
            wrong.push(format!("I3: {stream} go on at {}, but what comes after {at} was never served", open.position));
            return;
        };
        for id in page.records.iter().map(|(id, _)| id).filter(|id| **id <= open.position) {
            let records = if stream == "learners" { &state.learners } else { &state.employers };
            let kept = match stored.get(id) {
                Some((version, live)) => *version >= least[id] || !live,
                // One that was never stored is not stored as deleted either.
                None => records[id].deleted,
            };
            if !kept {
                wrong.push(format!("I1: {stream} go on at {}, but {id} is not stored as it was served", open.position));
            }
        }
        if page.last {
            return;
        }
        at = page.records.last().unwrap().0;
    }
}

/// Returns how many of the pages that a process was served, those since `first` in the ledger, died with it.
pub fn wasted(connection: &Connection, before: &BTreeMap<String, Progress>, state: &State, first: usize) -> usize {
    let after = progress(connection);
    let lost = |page: &&Served| {
        let Some(progress) = after.get(page.stream) else { return page.stream != "gone" };
        match &progress.open {
            Some(open) if open.has(page) => page.after >= open.position,
            // A run reads on: what it read before is done where the watermark has moved behind it.
            _ => before.get(page.stream).is_some_and(|before| before.watermark == progress.watermark),
        }
    };
    state.ledger[first..].iter().filter(lost).count()
}

/// Returns how a stored row differs from its record.
fn differs(stored: &Rows, id: u64, record: &Record) -> Option<String> {
    match stored.get(&id) {
        None if record.deleted => None,
        None => Some(format!("{id} is missing")),
        Some((_, live)) if record.deleted => live.then(|| format!("{id} is live, and was deleted")),
        Some((_, false)) => Some(format!("{id} is marked as deleted, and is there")),
        Some((version, true)) => (*version != record.version)
            .then(|| format!("{id} has version {version}, and stands at {}", record.version)),
    }
}

/// Checks that what is stored is what the service holds (I1, I2).
pub fn equal(connection: &Connection, state: &State, wrong: &mut Violations) {
    for (stream, records) in [("learners", &state.learners), ("employers", &state.employers)] {
        let stored = rows(connection, stream);
        let different = records.iter().filter_map(|(id, record)| differs(&stored, *id, record));
        wrong.extend(different.map(|why| format!("I1: of {stream}, {why}")));
        let strange = stored.iter().filter(|(id, (_, live))| *live && !records.contains_key(id));
        wrong.extend(strange.map(|(id, _)| format!("I2: {stream} has {id}, which never was")));
    }
}

/// Checks that each change is told in the audit, that its rows are a chain, and that the anchor is part of it (I7). Computed
/// here once more, from what is written in `src/store/chain.rs`.
pub fn audited(world: &World, connection: &Connection, wrong: &mut Violations) {
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap();
    let database = text("SELECT value FROM meta WHERE key = 'database_id'").unwrap();
    let mut hashes = vec![hashed(&[b"skillsctl/audit/v1/beginning", database.as_bytes()])];
    let mut statement = connection.prepare("SELECT * FROM audit_log ORDER BY id").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let id: i64 = row.get("id").unwrap();
        let column = |name: &str| row.get::<_, Option<String>>(name).unwrap();
        let texts = ["at", "actor", "action", "subject", "before_hash", "after_hash"].map(column);
        let number = id.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![b"skillsctl/audit/v1", hashes.last().unwrap().as_bytes(), &number];
        for (place, text) in texts.iter().enumerate() {
            if place > 3 {
                parts.push(if text.is_some() { b"some" } else { b"none" });
            }
            parts.push(text.as_deref().unwrap_or_default().as_bytes());
        }
        let hash = hashed(&parts);
        if id != i64::try_from(hashes.len()).unwrap() || column("hash").as_ref() != Some(&hash) {
            wrong.push(format!("I7: row {id} of the audit does not fit the one before it"));
            return;
        }
        hashes.push(hash);
    }
    // A credential that was set once has one more version for each time it was replaced.
    let replaced = "SELECT coalesce(sum(newest - 1), 0) || ''
                    FROM (SELECT max(version) AS newest FROM organization_credentials GROUP BY organization_id, provider_id, field)";
    let told = "SELECT count(*) || '' FROM audit_log WHERE action = 'credential rotate'";
    let (replaced, told) = (text(replaced).unwrap(), text(told).unwrap());
    if replaced != told {
        wrong.push(format!("I7: credentials were replaced {replaced} times, and the audit tells of {told}"));
    }
    let anchor = world.home().join(format!(".local/state/skillsctl/{database}.anchor"));
    if let Ok(anchor) = std::fs::read(&anchor) {
        let anchor: Value = serde_json::from_slice(&anchor).unwrap();
        let id = usize::try_from(anchor["id"].as_i64().unwrap()).unwrap();
        if hashes.get(id).map(String::as_str) != anchor["hash"].as_str() {
            wrong.push(format!("I7: the anchor tells of row {id}, which is not among the {}", hashes.len() - 1));
        }
    }
}

/// Returns the SHA-256 of parts, each behind its length in eight bytes, in hex.
fn hashed(parts: &[&[u8]]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that no run says that it is running (I4).
pub fn runs_are_over(connection: &Connection, wrong: &mut Violations) {
    let sql = "SELECT count(*) FROM integration_sync_logs WHERE outcome = 'running'";
    let running: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    if running != 0 {
        wrong.push(format!("I4: {running} runs say that they are running"));
    }
}

/// Checks that nothing is left behind, and that nobody else may read what there is (I10).
pub fn no_residue(world: &World, clean: bool, wrong: &mut Violations) {
    let expected = ["skills.db", "skillsctl.key", "skills.db.locks", ".local", "trace"];
    let companions = ["skills.db-wal", "skills.db-shm"];
    let mut look = |folder: &Path, deep: bool| {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            // Where two processes end at once, none of them is the last that would remove the log; it stays small all the same.
            let small = entry.metadata().unwrap().len() <= 4 << 20;
            let known = expected.contains(&name.as_str())
                || (!clean || small) && companions.contains(&name.as_str())
                || deep && ["maintenance", "run-", "token-", "rate-"].iter().any(|kind| name.starts_with(kind));
            if !known {
                wrong.push(format!("I10: `{name}` is left behind"));
            }
            let metadata = entry.metadata().unwrap();
            let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
            let mode = metadata.permissions().mode() & 0o777;
            if mode != wanted {
                wrong.push(format!("I10: `{name}` has mode {mode:o}"));
            }
        }
    };
    look(world.home(), false);
    let locks = world.beside(".locks");
    if locks.exists() {
        look(&locks, true);
    }
}
