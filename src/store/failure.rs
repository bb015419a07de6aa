//! What a database error means to a person.

use rusqlite::{ErrorCode, ffi};

use crate::error::{Exit, UserError};

/// Returns an error with what a person can do about it on top, where its cause is a database error.
pub(crate) fn explained(error: anyhow::Error) -> anyhow::Error {
    match user_error(&error) {
        Some(explanation) if !error.chain().any(|cause| cause.is::<UserError>()) => error.context(explanation),
        _ => error,
    }
}

/// Returns the error a person can act on, if a database error is somewhere in the chain.
pub(crate) fn user_error(error: &anyhow::Error) -> Option<UserError> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>())?;
    let database = |code, message: &str, hint: &str| UserError::new(Exit::Database, code, message).hint(hint);
    let corrupt = database(
        "database_corrupt",
        "the file is damaged or not a database of skillsctl",
        "bring a backup back with `skillsctl db restore FILE`, or check the path given by --db",
    );
    let damaged = database(
        "database_damaged",
        "a value in the database cannot be read",
        "`skillsctl db check` shows what is damaged; `skillsctl db restore FILE` brings a backup back",
    );
    let failure = match cause {
        rusqlite::Error::SqliteFailure(failure, _) => failure,
        rusqlite::Error::SqlInputError { error, .. } if error.code == ErrorCode::AuthorizationForStatementDenied => {
            return Some(beyond());
        }
        // The schema is ours and so are the values: a column or a value that is not what was written was damaged since.
        rusqlite::Error::SqlInputError { .. } => return Some(corrupt),
        rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => {
            return Some(damaged);
        }
        _ => return None,
    };
    let full = database(
        "disk_full",
        "the disk is full; the last change was not kept",
        "free some space and run the command again",
    );
    Some(match failure.code {
        ErrorCode::AuthorizationForStatementDenied => beyond(),
        ErrorCode::DiskFull => full,
        // The index of the write-ahead log could not grow, and a disk has no other reason to refuse that.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => database(
            "database_read_only",
            "the database cannot be written",
            "check the owner and mode of the file and its folder",
        ),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => corrupt,
        // Nothing of ours fails a check, unless what is checked, or the check itself, is no longer what was written.
        ErrorCode::ConstraintViolation if failure.extended_code == ffi::SQLITE_CONSTRAINT_CHECK => damaged,
        ErrorCode::SystemIoFailure => database(
            "database_io",
            "reading or writing the database failed",
            "check the disk, the limit on the size of files (`ulimit -f`) and the system log",
        ),
        ErrorCode::CannotOpen => database(
            "database_unreadable",
            "the database cannot be opened",
            "check the path given by --db and the rights on it",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => UserError::new(
            Exit::Locked,
            "database_locked",
            "another process has been writing to the database for too long",
        )
        .hint("wait for it to finish; `skillsctl status` shows what is running"),
        _ => return None,
    })
}

/// Returns the error of a statement that a tenant's connection does not take.
fn beyond() -> UserError {
    let message = "the command asked the database for more than this role may see";
    UserError::new(Exit::Refused, "not_allowed", message)
        .hint("nothing was shown; please report it: it is a fault of ours")
}
