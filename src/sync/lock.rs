//! One run at a time for a pair of organization and provider: kernel locks on a file of its own beside the database.
//!
//! The kernel frees them when the process ends, however it ends, so nothing is ever left stuck.
//!
//! `flock` keeps two runs apart. A record lock on the same file is for those who look: the kernel can be asked about one
//! without taking anything, so that no `status` turns a sync away that begins at the same moment.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::error::{Exit, UserError};
use crate::locks;
use crate::mutants;

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub(crate) enum Taken {
    Free(RunLock),
    /// A run holds it.
    Held(Holder),
}

/// Who holds a lock, as far as its file tells: what is empty is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: String,
    pub(crate) host: String,
    /// When it took the lock.
    pub(crate) since: String,
}

impl Holder {
    /// Returns this process.
    fn here(now: DateTime<Utc>) -> Self {
        Holder {
            pid: std::process::id().to_string(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: now.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }

    fn read(mut file: &File) -> Self {
        let mut text = String::new();
        // One that is just being written is as good as unknown.
        file.read_to_string(&mut text).ok();
        let word = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.unwrap_or_default().to_owned()
        };
        Holder { pid: word("pid"), host: word("host"), since: word("since") }
    }

    fn write(&self, mut file: &File) -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("pid {}\nhost {}\nsince {}\n", self.pid, self.host, self.since).as_bytes())
    }
}

/// As in `process 4711 on web1 since 2026-11-30T09:00:07Z`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid.is_empty() {
            return f.write_str("another process");
        }
        write!(f, "process {} on {} since {}", self.pid, self.host, self.since)
    }
}

/// Takes the lock of a pair, or says who holds it.
pub(crate) fn take(database: &Path, (organization, provider): (&str, &str), now: DateTime<Utc>) -> Result<Taken> {
    let path = path(database, organization, provider);
    let opened = locks::open(&locks::folder(database), &name(organization, provider));
    let file = opened.with_context(|| format!("opening the lock `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        // The mutant goes on without it.
        Err(TryLockError::WouldBlock) if mutants::on("no-lock") => return Ok(Taken::Free(RunLock { _file: file })),
        Err(TryLockError::WouldBlock) => return Ok(Taken::Held(Holder::read(&file))),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking `{}`", path.display())),
    }
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("locking `{}`", path.display()))?;
    Holder::here(now).write(&file).with_context(|| format!("writing the lock `{}`", path.display()))?;
    Ok(Taken::Free(RunLock { _file: file }))
}

/// Returns what is to be said of a lock that could not be used: to write who holds it wants room, too.
pub(super) fn unusable(error: &anyhow::Error) -> UserError {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
        return UserError::new(Exit::Database, "disk_full", format!("{error:#}"))
            .hint("free some space and run the command again");
    }
    UserError::new(Exit::Locked, "lock_unusable", format!("{error:#}"))
        .hint("check the owner and mode of the folder of locks beside the database")
}

/// Removes the file of a lock that the caller holds, of an organization that is gone for good.
pub(crate) fn remove(database: &Path, organization: &str, provider: &str, _held: RunLock) -> std::io::Result<()> {
    std::fs::remove_file(path(database, organization, provider))
}

/// Returns whether a run of another process holds the lock of a pair.
pub(crate) fn is_held(database: &Path, organization: &str, provider: &str) -> bool {
    let Ok(file) = File::open(path(database, organization, provider)) else { return false };
    // Asks who stands in the way of reading the whole file.
    matches!(fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)), Ok(Some(_)))
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

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn taken(database: &Path, provider: &str) -> Option<RunLock> {
        match take(database, ("acme", provider), NOW).unwrap() {
            Taken::Free(lock) => Some(lock),
            Taken::Held(_) => None,
        }
    }

    #[test]
    fn a_pair_is_locked_once_and_freed_by_dropping() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        let held = taken(&database, "aptem");
        assert!(held.is_some());
        assert!(taken(&database, "aptem").is_none());
        assert!(taken(&database, "hubspot").is_some());
        drop(held);
        assert!(taken(&database, "aptem").is_some());
    }

    #[test]
    fn who_comes_second_is_told_who_was_first_and_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        let _held = taken(&database, "aptem");
        let Taken::Held(holder) = take(&database, ("acme", "aptem"), NOW).unwrap() else { panic!("taken twice") };
        assert_eq!(holder, Holder::here(NOW));
        assert!(!holder.host.is_empty());
        let shown = holder.to_string();
        assert!(shown.starts_with(&format!("process {} on ", std::process::id())), "{shown}");
        assert!(shown.ends_with(" since 1970-01-01T00:00:00Z"), "{shown}");
        assert_eq!(Holder::default().to_string(), "another process");
    }

    #[test]
    fn looking_at_a_lock_never_stands_in_the_way_of_taking_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        drop(taken(&database, "aptem"));
        let looking = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while looking.load(std::sync::atomic::Ordering::Relaxed) {
                        // The record lock is this process's own, so that it is never seen from here; `status` sees it.
                        assert!(!is_held(&database, "acme", "aptem"));
                    }
                });
            }
            let refused = (0..2000).filter(|_| taken(&database, "aptem").is_none()).count();
            looking.store(false, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
    }
}
