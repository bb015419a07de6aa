//! One run at a time for a pair of organization and provider: a kernel lock on a file of its own beside the database.
//!
//! The kernel frees it when the process ends, however it ends, so nothing is ever left stuck. The database's own files
//! are never opened for this: closing them would drop SQLite's locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::mutants;

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

/// Takes the lock of a pair, or returns `None` if a run holds it.
pub(crate) fn take(database: &Path, organization: &str, provider: &str) -> Result<Option<RunLock>> {
    let path = path(database, organization, provider);
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("creating the folder `{}`", folder.display()))?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(&path)
        .with_context(|| format!("opening the lock `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if mutants::on("no-lock") => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking `{}`", path.display())),
    }
    // For people who look; nothing reads it.
    file.set_len(0)?;
    writeln!(file, "pid {}", std::process::id())?;
    Ok(Some(RunLock { _file: file }))
}

/// Returns whether a run holds the lock of a pair.
pub(crate) fn is_held(database: &Path, organization: &str, provider: &str) -> bool {
    let Ok(file) = File::open(path(database, organization, provider)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn path(database: &Path, organization: &str, provider: &str) -> PathBuf {
    let mut folder = database.as_os_str().to_owned();
    folder.push(".locks");
    PathBuf::from(folder).join(format!("run-{organization}-{provider}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_locked_once_and_freed_by_dropping() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        let held = take(&database, "acme", "aptem").unwrap();
        assert!(held.is_some() && is_held(&database, "acme", "aptem"));
        assert!(take(&database, "acme", "aptem").unwrap().is_none());
        assert!(take(&database, "acme", "hubspot").unwrap().is_some());
        drop(held);
        assert!(!is_held(&database, "acme", "aptem"));
        assert!(take(&database, "acme", "aptem").unwrap().is_some());
    }
}
