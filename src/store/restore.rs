//! Puts a backup in the place of the database, in one step; the database that was there is kept under another name.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode};

use super::check::{self, Finding};
use super::contents::Contents;
use super::maintenance::{self, Hold};
use super::open::{beside, connect, has_log, immutable, look, make_folder, regular_file};
use super::unfinished::{Replace, Unfinished, sync_folder};
use super::{Store, audit, backup, digests, migrate};
use crate::error::{Exit, UserError};

/// A copy of a backup, checked and brought up to date, beside the database it is to replace.
pub(crate) struct Candidate {
    file: Unfinished,
    /// What is in the backup.
    pub(crate) contents: Contents,
    /// Rows that are damaged in it.
    pub(crate) damaged: Vec<Finding>,
    database: PathBuf,
}

/// Copies a backup beside the database and checks it. Neither is changed.
pub(crate) fn prepare(from: &Path, database: &Path) -> Result<Candidate> {
    let connection = read(from, database)?;
    if migrate::schema_version(&connection, from)? == 0 {
        let message = format!("`{}` is empty", from.display());
        return Err(UserError::new(Exit::Database, "backup_empty", message).hint("give the path of a backup").into());
    }
    migrate::is_older(&connection, from)?;
    make_folder(database)?;
    let file = Unfinished::new(database)?;
    let contents = backup::copy(&connection, file.path())?;
    let damaged = backup::verify(file.path(), &contents)?;
    Ok(Candidate { file, contents, damaged, database: database.to_owned() })
}

/// Opens a backup for reading: nothing is created beside it unless changes wait in a log there.
fn read(from: &Path, database: &Path) -> Result<Connection> {
    match from.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => {
            if database.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (metadata.dev(), metadata.ino())) {
                let message = format!("`{}` is the database itself", from.display());
                return Err(UserError::new(Exit::Usage, "backup_is_database", message)
                    .hint("give the path of a backup; `skillsctl db backup FILE` makes one")
                    .into());
            }
        }
        Ok(_) => regular_file(from)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("there is no backup at `{}`", from.display());
            return Err(UserError::new(Exit::NotFound, "backup_not_found", message)
                .hint("give the path of a file that `skillsctl db backup` made")
                .into());
        }
        Err(error) => return Err(error).with_context(|| format!("looking for the backup at `{}`", from.display())),
    }
    let folder = from.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // SQLite refuses links in the whole of a path; the file itself is none.
    let from = folder.canonicalize()?.join(from.file_name().context("a backup has a file name")?);
    if has_log(&from) || beside(&from, "-journal").exists() {
        return connect(&from);
    }
    immutable(&from).with_context(|| format!("opening `{}`", from.display()))
}

impl Candidate {
    /// Opens the copy, to look at it.
    pub(crate) fn look(&self) -> Result<Store> {
        look(self.file.path())
    }

    /// Brings the copy up to date and notes in it where it comes from. Returns that note, the newest of its audit.
    pub(crate) fn bring_up_to_date(
        &mut self,
        now: DateTime<Utc>,
        entry: &audit::Entry<'_>,
    ) -> Result<Option<audit::Head>> {
        let path = self.file.path();
        let mut connection = connect(path)?;
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        migrate::run(&mut connection, path, now)?;
        let tx = connection.transaction()?;
        audit::insert(&tx, now, entry)?;
        digests::renew(&tx)?;
        let head = audit::head(&tx)?;
        tx.commit()?;
        if let Some(finding) = check::unsound(&connection).first() {
            let message =
                format!("brought up to date, the backup does not hold together: {} {}", finding.place, finding.problem);
            return Err(UserError::new(Exit::Database, "backup_damaged", message)
                .hint("restore another backup; nothing was changed")
                .into());
        }
        // As every database is in use; exclusive, so that no `-shm` comes to be.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(head)
    }

    /// Puts the copy in the place of the database, which nobody else may use meanwhile. Returns where the old one is kept.
    pub(crate) fn put(self, alone: &Alone, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
        let database = &self.database;
        debug_assert_eq!(alone.database, *database, "it is this database that is held");
        remove_second_names(database);
        if database.symlink_metadata().is_err() {
            remove_logs(database)?;
            self.file.finish(Replace::No)?;
            return Ok(None);
        }
        regular_file(database)?;
        let kept = backup::free_name(database, "replaced", now);
        let settled = settle(database)?;
        keep(database, &kept)?;
        if settled == Settled::Unreadable {
            // What waits in its log belongs to the old one alone.
            for suffix in ["-wal", "-journal"] {
                if beside(database, suffix).exists() {
                    keep(&beside(database, suffix), &beside(&kept, suffix))?;
                }
            }
            sync_folder(database)?;
            remove_logs(database)?;
        }
        sync_folder(database)?;
        self.file.finish(Replace::Yes)?;
        Ok(Some(kept))
    }
}

/// The database, held so that nobody else uses it.
pub(crate) struct Alone {
    database: PathBuf,
    _hold: Hold,
}

/// Keeps all others from a database, or fails if somebody uses it.
pub(crate) fn alone(database: &Path) -> Result<Alone> {
    make_folder(database)?;
    Ok(Alone { database: database.to_owned(), _hold: maintenance::exclude(database)? })
}

/// What the database that is to be replaced is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// One file that holds everything.
    Whole,
    /// Damaged so much that what waits in its log cannot be brought into it.
    Unreadable,
}

/// Brings all of a database into its one file, which works only if no other program has it open.
fn settle(database: &Path) -> Result<Settled> {
    let moved = connect(database).and_then(|connection| {
        let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(mode)
    });
    match moved {
        Ok(mode) if mode == "delete" => Ok(Settled::Whole),
        Ok(_) => Err(in_use(database).into()),
        Err(error) => {
            match error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()) {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(Settled::Unreadable),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Err(in_use(database).into()),
                _ => Err(error),
            }
        }
    }
}

fn in_use(database: &Path) -> UserError {
    let message = format!("another program has the database `{}` open", database.display());
    UserError::new(Exit::Locked, "database_in_use", message)
        .hint("end it, be it a shell of sqlite3 or a report; nothing was changed")
}

/// Gives a file a second name, which is left when the first one goes to another; where that cannot be, it is copied.
fn keep(file: &Path, kept: &Path) -> Result<()> {
    if std::fs::hard_link(file, kept).is_ok() {
        return Ok(());
    }
    let copy = Unfinished::new(kept)?;
    std::fs::copy(file, copy.path()).with_context(|| format!("keeping `{}`", file.display()))?;
    copy.finish(Replace::No)
}

/// Removes the companions of a database that is gone or kept elsewhere: SQLite would play them into the next one.
fn remove_logs(database: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(database, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing `{}{suffix}`", database.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the second name that a restore gave the database and was killed before the first one went to the backup.
fn remove_second_names(database: &Path) {
    let Ok(own) = database.symlink_metadata() else { return };
    let (Some(folder), Some(name)) = (database.parent(), database.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut prefix = name.to_owned();
    prefix.push(".replaced-");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_second = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes())
            && entry.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()));
        if is_second {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}
