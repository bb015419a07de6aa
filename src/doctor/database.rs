//! The database: whether it opens, holds together, and is set up to keep what it is given.

use anyhow::Result;

use super::{Ground, Said, fail, failed, ok, warn};
use crate::error::{Exit, UserError};
use crate::store::{self, check};

/// A write-ahead log beyond this has not been written back for long.
const LARGE_LOG: u64 = 64 << 20;

/// Whether it can be opened, and has the schema of this program.
pub(super) fn opens(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let store = match ground.store {
        Ok(store) => store,
        Err(error) => {
            let known = store::user_error(error).or_else(|| error.downcast_ref::<UserError>().cloned());
            let unknown = || fail(Exit::Database, format!("{error:#}"), "check the path given by --db");
            return Ok(vec![known.map_or_else(unknown, |error| failed(&error))]);
        }
    };
    let (schema, newest) = (store.schema()?, store::newest_schema());
    Ok(vec![if schema < newest {
        warn(
            format!("its schema is {schema}, and this program's {newest}: the next command brings it up to date"),
            "`skillsctl db migrate --dry-run` lists the steps",
        )
    } else if store.is_read_only()? {
        warn("it can be read and not written", "run as the user it belongs to, or check mode and file system")
    } else {
        ok(format!("`{}`, schema {schema}", ground.path.display()))
    }])
}

/// Whether its pages hang together and its rows are as they were written.
pub(super) fn soundness(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(store) = ground.store else { return Ok(Vec::new()) };
    let mut findings = check::loose_pages(store.read());
    findings.extend(check::damaged_rows(store.read()));
    Ok(match findings.as_slice() {
        [] => vec![ok("its pages hang together, and its rows of settings and sealed values are as they were written")],
        [first, rest @ ..] => {
            let others = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            let message = format!("{} {}{others}", first.place, first.problem);
            vec![fail(
                Exit::Database,
                message,
                "`skillsctl db check` tells all; `skillsctl db restore` brings a backup back",
            )]
        }
    })
}

/// Whether SQLite does what is relied on: secrets that are deleted are overwritten.
pub(super) fn engine(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let version = store::sqlite_version();
    let Ok(store) = ground.store else { return Ok(vec![ok(format!("SQLite {version}"))]) };
    if !store.overwrites_deleted()? {
        return Ok(vec![fail(Exit::Fault, "what is deleted is not overwritten", "please report it")]);
    }
    Ok(vec![ok(format!("SQLite {version}; what is deleted is overwritten"))])
}

/// Whether the write-ahead log is written back.
pub(super) fn log(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(store) = ground.store else { return Ok(Vec::new()) };
    // Looked at, not opened: closing one of the database's own files would drop SQLite's locks.
    let bytes = store::log_bytes(ground.path);
    if bytes > LARGE_LOG {
        let message = format!("the write-ahead log has {} MiB", bytes >> 20);
        return Ok(vec![warn(
            message,
            "somebody has been reading the database for long: end them, then run any command",
        )]);
    }
    let mode = store.journal_mode()?;
    if mode != "wal" && !store.is_read_only()? {
        // A copy, or a database that was just restored: the next command that writes changes it.
        return Ok(vec![ok(format!("the journal is `{mode}` until something is written"))]);
    }
    Ok(vec![ok(format!("{} KiB wait in the write-ahead log", bytes >> 10))])
}
