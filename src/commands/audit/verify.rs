//! `audit verify`: whether the audit is as it was written, and what is missing or other than it was.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::export::{Exported, Reader};
use crate::commands::change::declined;
use crate::error::{Exit, UserError};
use crate::output::{Cell, block};
use crate::session::Session;
use crate::store::anchor::{self, Anchor, Seen};
use crate::store::audit::{self, Head};
use crate::store::chain::{self, Fault, Finding, Row, Walk};
use crate::store::{self, Keep, Store};

const NOT_KEPT: &str = "no last change is kept on this host: name a folder for it in SKILLSCTL_ANCHORS, or set HOME";
/// How many findings are told.
const MOST: usize = 100;

/// Verify that no change was edited, taken out, put in or moved; nothing is written
///
/// Every row carries a hash of itself and the one before it; the first that does not fit is named. Whoever can write the
/// database could write all hashes anew: that is found by what is kept elsewhere. The last change seen on this host is
/// looked at always, an export where one is given. Ends with exit code 12 where anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl audit verify\n  skillsctl audit verify --against audit.jsonl --json\n  skillsctl audit verify --file audit.jsonl\n  skillsctl audit verify --db /var/backups/skillsctl/monday.db --anchor skillsctl.anchor\n  skillsctl audit verify --accept"
)]
pub(crate) struct VerifyArgs {
    /// Compare with this anchor instead of the one of this host and user
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Compare with an export that was kept elsewhere
    #[arg(long, value_name = "EXPORT")]
    against: Option<PathBuf>,
    /// Verify an export by itself, without a database
    #[arg(long, value_name = "EXPORT", conflicts_with_all = ["anchor", "against", "accept"])]
    file: Option<PathBuf>,
    /// Take the newest change there is for the last one seen on this host, as after another user restored a backup
    #[arg(long, conflicts_with = "anchor")]
    accept: bool,
}

#[derive(Debug, Serialize)]
struct Verified {
    /// The database or the export.
    path: String,
    /// `sound` or `broken`.
    outcome: &'static str,
    rows: u64,
    /// The newest change, and the hash that all of them come to; null where there is none.
    head_id: Option<String>,
    head_hash: Option<String>,
    /// Null for an export.
    anchor: Option<Compared>,
    /// How many rows were compared with an export; null where none was given.
    compared: Option<u64>,
    findings: Vec<Finding>,
    warnings: Vec<String>,
}

/// How the database stands to the last change seen of it.
#[derive(Debug, Serialize)]
struct Compared {
    /// Null where no folder for it is known.
    file: Option<String>,
    /// `holds`, `older`, `other`, `unreadable`, or `not_kept` where none was noted.
    state: &'static str,
    id: Option<String>,
}

pub(super) fn run(args: &VerifyArgs, session: &Session) -> Result<Exit> {
    let verified = match &args.file {
        Some(file) => of_file(file)?,
        None => of_database(args, session)?,
    };
    tell(session, &verified)
}

/// Verifies an export by itself. One that does not begin at the first change is believed where it begins.
fn of_file(file: &Path) -> Result<Verified> {
    let mut reader = Reader::open(file)?;
    let mut found = Found::default();
    let mut walk: Option<(String, Walk)> = None;
    let mut rows = 0;
    while let Some(Exported { database_id, row, previous }) = reader.next()? {
        let (of, walk) = walk.get_or_insert_with(|| {
            let previous = if row.id == 1 { chain::beginning(&database_id) } else { previous };
            (database_id.clone(), Walk::behind(row.id - 1, previous))
        });
        if *of != database_id {
            return Err(another_database(file).into());
        }
        rows += 1;
        found.extend(walk.take(&row));
    }
    let head = walk.map(|(_, walk)| Head { id: walk.last().0, hash: walk.last().1.to_owned() });
    Ok(Verified::new(file, rows, head, found))
}

fn of_database(args: &VerifyArgs, session: &Session) -> Result<Verified> {
    let store = session.look()?;
    if store.schema()? != store::newest_schema() {
        let message = "the schema of the database is an older one, whose audit may not be chained yet";
        return Err(UserError::new(Exit::Database, "schema_too_old", message).hint("skillsctl db migrate").into());
    }
    let mut against = args.against.as_deref().map(|file| Against::new(file, store.database_id())).transpose()?;
    let mut found = Found::default();
    let (rows, head) = audit::verify(store.read(), |row, finding| {
        found.extend(finding);
        match (&mut against, row) {
            (Some(against), Some(row)) => against.meet(row, &mut found),
            _ => Ok(()),
        }
    })?;
    let last = head.as_ref().map_or(0, |head| head.id);
    let compared = against.map(|against| against.end(&mut found)).transpose()?;
    let (anchor, warning) = anchored(args, session, &store, (last, head.as_ref()), &mut found)?;
    let mut verified = Verified::new(store.path(), rows, head, found);
    (verified.anchor, verified.compared) = (Some(anchor), compared);
    verified.warnings.extend(warning);
    Ok(verified)
}

/// Compares with the last change seen, and takes the newest one for it where that is wanted.
fn anchored(
    args: &VerifyArgs,
    session: &Session,
    store: &Store,
    (last, head): (i64, Option<&Head>),
    found: &mut Found,
) -> Result<(Compared, Option<String>)> {
    let kept = session.environment.anchor_folder().map(|folder| Anchor::of(&folder, store.database_id()));
    let (file, seen) = match (&args.anchor, &kept) {
        (Some(file), _) if file.symlink_metadata().is_err() => {
            let message = format!("there is no anchor at `{}`", file.display());
            let hint =
                "give the path of a copy of an anchor; `skillsctl audit verify` tells where that of this host is";
            return Err(UserError::new(Exit::NotFound, "file_not_found", message).hint(hint).into());
        }
        (Some(file), _) => (file.clone(), anchor::compare_with(store.read(), file, store.database_id())?),
        (None, Some(anchor)) => (anchor.path(), anchor.compare(store.read())?),
        (None, None) => {
            return Ok((Compared { file: None, state: "not_kept", id: None }, Some(NOT_KEPT.to_owned())));
        }
    };
    let mut warning = None;
    let (state, noted) = match seen {
        Seen::Nothing => {
            warning = Some(NOT_KEPT.to_owned());
            ("not_kept", None)
        }
        Seen::Holds(noted) => ("holds", Some(noted)),
        Seen::Older(noted) => {
            found.extend(Some(Finding::missing(last + 1, noted.id, ": the last of them was seen on this host")));
            ("older", Some(noted))
        }
        Seen::Other(noted) => {
            let problem = format!("row {} is another one than was seen on this host", noted.id);
            found.extend(Some(Finding { row: noted.id, fault: Fault::Replaced, problem }));
            ("other", Some(noted))
        }
        Seen::Unreadable(why) if args.anchor.is_some() => {
            let message = format!("`{}` is no anchor of this database: {why}", file.display());
            let hint = "give a copy of the anchor that `skillsctl audit verify` names";
            return Err(UserError::new(Exit::Invalid, "anchor_malformed", message).hint(hint).into());
        }
        Seen::Unreadable(why) => {
            warning = Some(format!("what was last seen on this host is not known: {why}"));
            ("unreadable", None)
        }
    };
    let compared =
        Compared { file: Some(file.display().to_string()), state, id: noted.map(|noted| noted.id.to_string()) };
    if let (true, Some(head), Some(anchor)) = (args.accept, head, kept)
        && state != "holds"
    {
        accept(session, &anchor, head, state)?;
    }
    Ok((compared, warning))
}

/// Takes the newest change for the last one seen, with consent where another one was.
fn accept(session: &Session, anchor: &Anchor, head: &Head, state: &str) -> Result<()> {
    if session.keep == Keep::DryRun {
        return Ok(());
    }
    let what = "Take the database as it is for the one last seen here?";
    if state != "not_kept" && !session.output.confirm_harm(what)? {
        return Err(declined().into());
    }
    anchor.set(head)
}

/// An export that the rows of a database are compared with, in step.
struct Against<'a> {
    file: &'a Path,
    database_id: &'a str,
    reader: Reader,
    next: Option<Row>,
    compared: u64,
}

impl<'a> Against<'a> {
    fn new(file: &'a Path, database_id: &'a str) -> Result<Self, UserError> {
        let mut against = Against { file, database_id, reader: Reader::open(file)?, next: None, compared: 0 };
        against.step()?;
        Ok(against)
    }

    /// Returns the row at hand and reads the one behind it.
    fn step(&mut self) -> Result<Option<Row>, UserError> {
        let next = self.reader.next()?;
        if next.as_ref().is_some_and(|next| next.database_id != self.database_id) {
            return Err(another_database(self.file));
        }
        Ok(std::mem::replace(&mut self.next, next.map(|next| next.row)))
    }

    /// Compares with a row of the database, the next one in order.
    fn meet(&mut self, row: &Row, found: &mut Found) -> Result<()> {
        while let Some(exported) = &self.next
            && exported.id <= row.id
        {
            self.compared += 1;
            if exported.id < row.id {
                found.extend(Some(Finding::missing(exported.id, exported.id, ", which was exported")));
            } else if exported != row {
                let problem = format!("row {} is another one than was exported: {}", row.id, differing(exported, row));
                found.extend(Some(Finding { row: row.id, fault: Fault::Replaced, problem }));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Tells what is left of the export behind the last row of the database. Returns how many rows were compared.
    fn end(mut self, found: &mut Found) -> Result<u64> {
        let first = self.next.as_ref().map(|row| row.id);
        let mut last = first;
        while let Some(row) = self.step()? {
            self.compared += 1;
            last = Some(row.id);
        }
        if let (Some(first), Some(last)) = (first, last) {
            found.extend(Some(Finding::missing(first, last, ", which were exported")));
        }
        Ok(self.compared)
    }
}

/// Returns which parts of a row are not as they were exported.
fn differing(exported: &Row, row: &Row) -> String {
    let parts = [
        ("time", exported.at != row.at),
        ("actor", exported.actor != row.actor),
        ("action", exported.action != row.action),
        ("subject", exported.subject != row.subject),
        ("hash of before", exported.before != row.before),
        ("hash of after", exported.after != row.after),
        ("hash", exported.hash != row.hash),
    ];
    parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect::<Vec<_>>().join(", ")
}

fn another_database(file: &Path) -> UserError {
    let message = format!("`{}` has changes of another database", file.display());
    UserError::new(Exit::Invalid, "export_of_another", message).hint("give an export of one database, and of this one")
}

/// What was found, the first rows first.
#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn extend(&mut self, finding: Option<Finding>) {
        // Where so much is wrong the rest tells nothing more.
        if self.0.len() < MOST {
            self.0.extend(finding);
        }
    }
}

impl Verified {
    fn new(path: &Path, rows: u64, head: Option<Head>, found: Found) -> Self {
        let mut findings = found.0;
        findings.sort_by_key(|finding| finding.row);
        Verified {
            path: path.display().to_string(),
            outcome: if findings.is_empty() { "sound" } else { "broken" },
            rows,
            head_id: head.as_ref().map(|head| head.id.to_string()),
            head_hash: head.map(|head| head.hash),
            anchor: None,
            compared: None,
            findings,
            warnings: Vec::new(),
        }
    }
}

fn tell(session: &Session, verified: &Verified) -> Result<Exit> {
    session.output.one("AuditVerified", verified, |look| {
        let head = verified.head_hash.as_deref().map(|hash| format!(", up to {hash}")).unwrap_or_default();
        let rows = if verified.rows == 1 { "1 change".to_owned() } else { format!("{} changes", verified.rows) };
        let mut text = format!("{}: {}, {rows}{head}", verified.path, verified.outcome);
        if let Some(Compared { file: Some(file), state, id }) = &verified.anchor {
            text += &match (*state, id) {
                ("holds", Some(id)) => format!("\nthe last change seen on this host, {id}, is in it ({file})"),
                ("not_kept", _) => String::new(),
                _ => format!("\nit is not what was last seen on this host ({file})"),
            };
        }
        text.extend(verified.compared.map(|compared| format!("\ncompared with {compared} that were exported")));
        let findings = verified.findings.iter().map(|finding| vec![Cell::text(&finding.problem)]);
        format!("{text}\n{}", block(&findings.collect::<Vec<_>>(), 2, look))
    })?;
    if !session.output.is_json() {
        verified.warnings.iter().for_each(|warning| session.output.warn(warning));
    }
    Ok(if verified.findings.is_empty() { Exit::Done } else { Exit::Database })
}
