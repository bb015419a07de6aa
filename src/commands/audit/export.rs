//! `audit export`: the rows with their hashes as lines of JSON, to be appended to a file or sent to another machine; and
//! reading such lines again.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::audit;
use crate::store::chain::{self, Row};

/// How many rows are read at once.
const PIECE: u32 = 500;

/// Print all changes with their hashes, oldest first, a line of JSON each
///
/// Kept on another machine, they tell what was changed here since, even by someone who can write the whole database:
/// `skillsctl audit verify --against FILE`. A log that is only ever appended to goes on behind the last id it has.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl audit export > audit.jsonl\n  skillsctl audit export --after 42 >> audit.jsonl\n  skillsctl audit export --after 42 | logger --tag audit"
)]
pub(crate) struct ExportArgs {
    /// Only those behind the one of this number
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
}

/// A line of an export: a row and the hash before it, so that it can be verified without the database.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    kind: String,
    v: u8,
    database_id: String,
    id: String,
    at: String,
    actor: String,
    action: String,
    subject: String,
    before: Option<String>,
    after: Option<String>,
    previous: String,
    hash: String,
}

pub(super) fn run(args: &ExportArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let database_id = store.database_id();
    let mut previous = match args.after {
        0 => chain::beginning(database_id),
        id => audit::by_id(store.read(), id)?.map(|row| row.hash).unwrap_or_default(),
    };
    let mut after = args.after;
    loop {
        // In pieces, so that no read of the database is open while somebody takes their time to read the lines.
        let rows = audit::behind(store.read(), after, PIECE)?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let lines: Vec<Line> = rows.into_iter().map(|row| line(row, database_id, &mut previous)).collect();
        session.output.json_lines(&lines)?;
    }
    Ok(Exit::Done)
}

/// Returns the line of a row, and keeps its hash for the next one.
fn line(row: Row, database_id: &str, previous: &mut String) -> Line {
    let Row { id, at, actor, action, subject, before, after, hash } = row;
    let behind = std::mem::replace(previous, hash.clone());
    Line {
        kind: "AuditRow".into(),
        v: 1,
        database_id: database_id.to_owned(),
        id: id.to_string(),
        at,
        actor,
        action,
        subject,
        before,
        after,
        previous: behind,
        hash,
    }
}

/// A row that was exported.
pub(super) struct Exported {
    pub(super) database_id: String,
    pub(super) row: Row,
    /// The hash before it.
    pub(super) previous: String,
}

/// An export being read, line by line.
pub(super) struct Reader {
    name: String,
    lines: std::io::Lines<BufReader<File>>,
    line: u32,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, UserError> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                UserError::new(Exit::NotFound, "file_not_found", format!("`{shown}` does not exist"))
                    .hint("`skillsctl audit export > FILE` makes an export")
            }
            _ => UserError::new(Exit::Invalid, "file_unreadable", format!("`{shown}` cannot be read: {error}")),
        })?;
        Ok(Reader { name: shown.to_string(), lines: BufReader::new(file).lines(), line: 0 })
    }

    /// Returns the next row; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Exported>, UserError> {
        let Some(text) = self.lines.next() else { return Ok(None) };
        self.line += 1;
        let wrong = |why: String| {
            let message = format!("{}:{}: no line of an export of the audit: {why}", self.name, self.line);
            UserError::new(Exit::Invalid, "export_malformed", message)
                .hint("give what `skillsctl audit export` printed, and nothing else")
        };
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let line: Line = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let id = line.id.parse().map_err(|_| wrong("its `id` is not a number".into()))?;
        if line.kind != "AuditRow" || line.v != 1 {
            return Err(wrong(format!("it is `{}` {}", line.kind, line.v)));
        }
        let Line { at, actor, action, subject, before, after, hash, .. } = line;
        let row = Row { id, at, actor, action, subject, before, after, hash };
        Ok(Some(Exported { database_id: line.database_id, row, previous: line.previous }))
    }
}
