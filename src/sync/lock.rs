//! One run at a time for a pair of organization and provider: a kernel lock on a file of its own beside the database.
//!
//! The kernel frees it when the process ends, however it ends, so nothing is ever left stuck.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::locks;

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

/// Takes the lock of a pair, or returns `None` if a run holds it.
pub(crate) fn take(database: &Path, organization: &str, provider: &str) -> Result<Option<RunLock>> {
    let path = path(database, organization, provider);
    let opened = locks::open(&locks::folder(database), &name(organization, provider));
    let mut file = opened.with_context(|| format!("opening the lock `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
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
    locks::folder(database).join(name(organization, provider))
}

fn name(organization: &str, provider: &str) -> String {
    format!("run-{organization}-{provider}")
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
