//! Copies of the database that can be relied on: made beside a running sync, checked before they get their name.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::check::{self, Finding};
use super::contents::Contents;
use super::open::{BUSY, beside, immutable};
use super::unfinished::{self, Replace, Unfinished};
use crate::error::{Exit, UserError};

/// A copy that was checked.
#[derive(Debug)]
pub(crate) struct Backup {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) contents: Contents,
    /// Rows that are damaged in the database, and so in the copy.
    pub(crate) damaged: Vec<Finding>,
}

/// Writes a backup of a database. It has its name when it is whole and checked, or there is none.
pub(crate) fn write(connection: &Connection, database: &Path, target: &Path, replace: Replace) -> Result<Backup> {
    refuse(database, target, replace)?;
    let file = Unfinished::new(target)?;
    let contents = copy(connection, file.path())?;
    let damaged = verify(file.path(), &contents)?;
    let path = file.target().to_owned();
    file.finish(replace)?;
    let bytes = std::fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
    Ok(Backup { path, bytes, contents, damaged })
}

/// Writes a backup beside the database, named by its schema and the time. Returns where it is.
pub(super) fn before_upgrade(connection: &Connection, path: &Path, schema: i64, now: DateTime<Utc>) -> Result<PathBuf> {
    let target = free_name(path, &format!("schema{schema}"), now);
    Ok(write(connection, path, &target, Replace::No)?.path)
}

/// Returns a name beside the database that is not taken, like `skillsctl.db.schema1-20261130T090000Z`.
pub(super) fn free_name(database: &Path, what: &str, now: DateTime<Utc>) -> PathBuf {
    let dated = beside(database, &format!(".{what}-{}", now.format("%Y%m%dT%H%M%SZ")));
    let is_taken = |path: &Path| path.symlink_metadata().is_ok();
    let numbered = (2..).map(|number| beside(&dated, &format!("-{number}")));
    std::iter::once(dated.clone()).chain(numbered).find(|path| !is_taken(path)).unwrap_or(dated)
}

/// A copy of the database that may still be somewhere.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Copy {
    pub(crate) path: String,
    /// When it was made, where that is recorded.
    pub(crate) at: Option<String>,
    /// Whether there is a file of this name, as far as this machine can tell.
    pub(crate) is_there: bool,
}

/// Returns the copies of a database that are known: backups that were recorded, newest first, and what upgrades and restores
/// have kept beside it.
pub(crate) fn copies(connection: &Connection, database: &Path) -> Result<Vec<Copy>> {
    let mut copies: Vec<Copy> = super::audit::subjects(connection, "db backup")?
        .into_iter()
        .map(|(at, path)| Copy { is_there: Path::new(&path).exists(), at: Some(super::stamp(at)), path })
        .collect();
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = database.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = |found: &str| [".schema", ".replaced-"].iter().any(|what| found.starts_with(&format!("{name}{what}")));
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(copies) };
    let mut beside: Vec<String> = entries
        .flatten()
        .filter(|entry| kept(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path().display().to_string())
        .collect();
    beside.sort();
    copies.extend(beside.into_iter().map(|path| Copy { path, at: None, is_there: true }));
    Ok(copies)
}

/// Fails for a target that is no place for a backup, before anything is written.
fn refuse(database: &Path, target: &Path, replace: Replace) -> Result<()> {
    let no_place = |what: &str| {
        let message = format!("`{}` {what}", target.display());
        UserError::new(Exit::Database, "backup_not_possible", message).hint("give the path of a new file")
    };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for own in ["", "-wal", "-shm", "-journal"].map(|suffix| beside(database, suffix)) {
        let own_folder = own.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_own = own.file_name() == target.file_name()
            && own_folder.canonicalize().is_ok_and(|own| folder.canonicalize().is_ok_and(|folder| own == folder));
        if is_own {
            return Err(no_place("belongs to the database itself").into());
        }
    }
    let Ok(metadata) = target.symlink_metadata() else { return Ok(()) };
    if !metadata.is_file() {
        return Err(no_place("is there and is not a regular file; links are not followed").into());
    }
    if std::fs::metadata(database).is_ok_and(|own| (own.dev(), own.ino()) == (metadata.dev(), metadata.ino())) {
        return Err(no_place("is another name of the database itself").into());
    }
    if replace == Replace::No {
        return Err(unfinished::exists(target).into());
    }
    Ok(())
}

/// Copies all pages of a database as they are at one moment, while others may go on writing. Returns what was copied.
pub(super) fn copy(from: &Connection, to: &Path) -> Result<Contents> {
    let moment = Transaction::new_unchecked(from, TransactionBehavior::Deferred)?;
    let contents = Contents::read(&moment)?;
    let mut copy = quick(to)?;
    copy.pragma_update(None, "journal_mode", "OFF")?;
    pages(&moment, &mut copy)?;
    drop(moment);
    copy.close().map_err(|(_, error)| error)?;
    // One file that needs nothing beside it, however it is read. Exclusive, so that no `-shm` comes to be.
    let copy = quick(to)?;
    copy.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(contents)
}

/// Copies all pages of a database to another one.
pub(super) fn pages(from: &Connection, to: &mut Connection) -> Result<()> {
    match Copying::new(from, to)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(UserError::new(Exit::Locked, "database_locked", "the database is locked by another process")
            .hint("wait for it to finish; `skillsctl status` shows what is running")
            .into()),
    }
}

/// Opens a file in the making: what is not safe on disk yet is nobody's loss.
fn quick(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Checks that a copy holds together and holds what it should. Returns the rows that are damaged in it.
pub(super) fn verify(copy: &Path, expected: &Contents) -> Result<Vec<Finding>> {
    let connection = immutable(copy).with_context(|| format!("reading back `{}`", copy.display()))?;
    if let Some(finding) = check::unsound(&connection).first() {
        let message = format!("the copy does not hold together: {} {}", finding.place, finding.problem);
        return Err(UserError::new(Exit::Database, "database_damaged", message)
            .hint("`skillsctl db check` shows what is damaged in the database; an older backup may be sound")
            .into());
    }
    let found = Contents::read(&connection)?;
    if found != *expected {
        let message =
            format!("the copy does not hold what the database does: {} tables differ", differing(&found, expected));
        return Err(UserError::new(Exit::Database, "backup_differs", message)
            .hint("check the disk it is written to")
            .into());
    }
    Ok(check::damaged_rows(&connection))
}

fn differing(one: &Contents, other: &Contents) -> usize {
    one.rows.iter().filter(|(table, count)| other.rows.get(*table) != Some(count)).count()
}
