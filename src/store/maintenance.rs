//! Keeps migrating, restoring and rotating keys apart from everything else that uses the database: a kernel lock on a file of its own.
//!
//! Whoever uses the database shares the lock; those three hold it alone. The kernel frees it when a process
//! ends, however it ends. The database's own files are never opened for this: closing them would drop SQLite's locks.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;

use super::open::BUSY;
use crate::error::{Exit, UserError};
use crate::locks;

/// A held lock; dropping it frees it. Empty for a database that is in memory, or that only others may write.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    file: Option<File>,
}

/// Whether a lock that is not there yet is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Yes,
    /// For those who only look: nothing is created beside the database.
    No,
}

/// Shares the database with all others who use it; waits a while for one who holds it alone.
pub(super) fn share(database: &Path, make: Make) -> Result<Hold> {
    let Some(file) = lock_file(database, make)? else { return Ok(Hold::default()) };
    if !waited(|| file.try_lock_shared())? {
        return Err(in_use(database, &file, "is being migrated or restored, or given other keys,").into());
    }
    Ok(Hold { file: Some(file) })
}

/// Keeps all others from the database; fails if some do not leave within a while.
pub(super) fn exclude(database: &Path) -> Result<Hold> {
    let mut file = lock_file(database, Make::Yes)?.ok_or_else(|| {
        let message = format!("no lock can be made beside `{}`: its folder cannot be written", database.display());
        UserError::new(Exit::Database, "database_read_only", message).hint("check the owner and mode of the folder")
    })?;
    if !waited(|| file.try_lock())? {
        return Err(in_use(database, &file, "is in use").into());
    }
    // For people who look; nothing reads it.
    file.set_len(0)?;
    writeln!(file, "pid {}", std::process::id())?;
    Ok(Hold { file: Some(file) })
}

impl Hold {
    /// Lets the others in again without leaving.
    pub(super) fn shared(self) -> Result<Self> {
        if let Some(file) = &self.file {
            file.lock_shared()?;
        }
        Ok(self)
    }
}

/// Tries until the lock is had or the time is up.
pub(super) fn waited(mut attempt: impl FnMut() -> Result<(), TryLockError>) -> Result<bool> {
    let until = Instant::now() + BUSY;
    loop {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error).context("locking the database for maintenance"),
        }
    }
}

/// Opens the file that is locked; `None` where it is not there and cannot or may not be made.
fn lock_file(database: &Path, make: Make) -> Result<Option<File>> {
    let path = path(database);
    let folder = path.parent().unwrap_or(Path::new("."));
    match folder.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(UserError::new(
                Exit::Database,
                "locks_not_a_folder",
                format!("`{}` is not a folder", folder.display()),
            )
            .hint("the locks of the database lie there, and links are not followed: find out who put it there")
            .into());
        }
        Ok(_) => {}
        Err(_) if make == Make::No => return Ok(None),
        Err(_) => match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists && is_forbidden(&error) => return Ok(None),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating the folder `{}`", folder.display()));
            }
            _ => {}
        },
    }
    if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let message = format!("`{}` is not a regular file", path.display());
        return Err(UserError::new(Exit::Database, "lock_not_a_file", message)
            .hint("it is a lock of the database, and links are not followed: find out who put it there")
            .into());
    }
    let no_follow = i32::try_from(OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(no_follow).mode(0o600);
    if make == Make::Yes {
        options.write(true).create(true).truncate(false);
    }
    match options.open(&path) {
        // A lock may be shared by those who cannot write it.
        Err(error) if is_forbidden(&error) => {
            Ok(OpenOptions::new().read(true).custom_flags(no_follow).open(&path).ok())
        }
        Err(error) if make == Make::No && error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).with_context(|| format!("opening the lock `{}`", path.display())),
    }
}

fn is_forbidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn path(database: &Path) -> PathBuf {
    locks::folder(database).join("maintenance")
}

fn in_use(database: &Path, file: &File, what: &str) -> UserError {
    let holders: Vec<String> = holders(file).iter().map(ToString::to_string).collect();
    let by = if holders.is_empty() { String::new() } else { format!(" by process {}", holders.join(", ")) };
    UserError::new(Exit::Locked, "database_in_use", format!("the database `{}` {what}{by}", database.display()))
        .hint("wait for it to finish; `skillsctl status` shows what is running")
}

/// Returns the processes that hold a lock, as far as the kernel tells.
fn holders(file: &File) -> Vec<u32> {
    let (Ok(metadata), Ok(locks)) = (file.metadata(), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    // 1: FLOCK  ADVISORY  READ  4711 fe:00:12345 0 EOF
    let inode = format!(":{}", metadata.ino());
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(&inode));
        words.get(4).filter(|_| is_ours)?.parse().ok()
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_share_the_database_and_maintenance_has_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        let (one, other) = (share(&database, Make::Yes).unwrap(), share(&database, Make::No).unwrap());
        let file = lock_file(&database, Make::No).unwrap().unwrap();
        assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        drop((one, other));
        let alone = exclude(&database).unwrap();
        assert!(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        let shared = alone.shared().unwrap();
        assert!(share(&database, Make::No).is_ok());
        assert!(holders(&file).contains(&std::process::id()));
        drop(shared);
    }

    #[test]
    fn looking_creates_nothing_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("skills.db");
        assert!(share(&database, Make::No).unwrap().file.is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("skills.db.locks")).unwrap();
        assert!(share(&database, Make::Yes).is_err());
        std::fs::remove_file(folder.path().join("skills.db.locks")).unwrap();
        std::fs::create_dir(folder.path().join("skills.db.locks")).unwrap();
        std::os::unix::fs::symlink(victim.join("x"), folder.path().join("skills.db.locks/maintenance")).unwrap();
        assert!(share(&database, Make::Yes).is_err());
        assert!(exclude(&database).is_err());
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    }
}
