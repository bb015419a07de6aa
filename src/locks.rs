//! Small files in a folder beside the database: locks, which the kernel frees, and the counts of rate budgets.
//!
//! The database's own files are never opened for this: closing them would drop SQLite's locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Returns the folder of a database.
pub(crate) fn folder(database: &Path) -> PathBuf {
    let mut folder = database.as_os_str().to_owned();
    folder.push(".locks");
    PathBuf::from(folder)
}

/// Opens a file of the folder for reading and writing. Makes both, for their owner alone, where they are missing.
pub(crate) fn open(folder: &Path, name: &str) -> io::Result<File> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // What waits for somebody to write, such as a pipe, would be waited for in vain.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(folder.join(name))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("this is not a regular file")) }
}

/// A held lock; dropping it frees it, and the end of the process does too, however it ends.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

/// Takes the lock of this name, or returns `None` if another process holds it.
pub(crate) fn try_hold(folder: &Path, name: &str) -> io::Result<Option<Held>> {
    let file = open(folder, name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_lock_is_held_once_and_freed_by_dropping() {
        let home = tempfile::tempdir().unwrap();
        let held = try_hold(home.path(), "a").unwrap();
        assert!(held.is_some() && try_hold(home.path(), "a").unwrap().is_none());
        assert!(try_hold(home.path(), "b").unwrap().is_some());
        drop(held);
        assert!(try_hold(home.path(), "a").unwrap().is_some());
    }

    #[test]
    fn files_are_for_their_owner_alone_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder(&home.path().join("skills.db"));
        assert_eq!(folder, home.path().join("skills.db.locks"));
        let file = open(&folder, "a").unwrap();
        let mode = |metadata: std::fs::Metadata| metadata.permissions().mode() & 0o777;
        assert_eq!(mode(file.metadata().unwrap()), 0o600);
        assert_eq!(mode(std::fs::metadata(&folder).unwrap()), 0o700);
        std::os::unix::fs::symlink(home.path().join("elsewhere"), folder.join("link")).unwrap();
        assert!(open(&folder, "link").is_err());
        std::fs::create_dir(folder.join("folder")).unwrap();
        assert!(open(&folder, "folder").is_err());
    }
}
