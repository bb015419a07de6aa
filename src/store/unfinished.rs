//! A database file in the making, beside the place it is for: it gets its name when it is whole, or it vanishes.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::error::{Exit, UserError};

/// A file for the owner only, named like `.NAME.abc123.unfinished`. A process that is killed leaves it behind; the next
/// one that makes a file for the same place removes it.
pub(super) struct Unfinished {
    file: NamedTempFile,
    target: PathBuf,
}

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    Yes,
    No,
}

const ENDING: &str = ".unfinished";

impl Unfinished {
    /// Makes an empty file for a place, and removes what killed processes left there.
    pub(super) fn new(target: &Path) -> Result<Self> {
        let name = target.file_name().with_context(|| format!("`{}` has no file name", target.display()))?;
        let parent = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // SQLite refuses links in the whole of a path.
        let folder = parent.canonicalize().map_err(|error| not_writable(parent, &error))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        remove_leftovers(&folder, &prefix);
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(ENDING)
            .tempfile_in(&folder)
            .map_err(|error| not_writable(parent, &error))?;
        // Held as long as it is worked on, so that nobody takes it for a leftover.
        file.as_file().try_lock().context("locking a new file")?;
        Ok(Unfinished { target: folder.join(name), file })
    }

    /// Returns where it is while it is in the making.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns where it will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives it its name, once it is safe on disk. Its database must be closed.
    pub(super) fn finish(self, replace: Replace) -> Result<()> {
        self.file.as_file().sync_all()?;
        let named = match replace {
            Replace::Yes => self.file.persist(&self.target),
            Replace::No => self.file.persist_noclobber(&self.target),
        };
        match named {
            Ok(_) => sync_folder(&self.target),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(&self.target).into()),
            Err(error) => Err(not_writable(&self.target, &error.error).into()),
        }
    }
}

/// Returns the error of a name that is taken.
pub(super) fn exists(target: &Path) -> UserError {
    UserError::new(Exit::Conflict, "file_exists", format!("`{}` is there already", target.display()))
        .hint("give another name; --force writes over a backup")
}

fn not_writable(place: &Path, error: &std::io::Error) -> UserError {
    let message = format!("`{}` cannot be written: {error}", place.display());
    UserError::new(Exit::Database, "file_not_written", message).hint("check the folder, its rights and its free space")
}

/// Makes what happened in a file's folder safe from a power loss.
pub(super) fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("syncing `{}`", folder.display()))
}

/// Removes files of killed processes: those that nobody holds.
fn remove_leftovers(folder: &Path, prefix: &OsString) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let (prefix, ending) = (prefix.as_encoded_bytes(), ENDING.as_bytes());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.as_encoded_bytes().strip_prefix(prefix) else { continue };
        // Its own name, or that of a log SQLite kept beside it.
        if rest.windows(ending.len()).any(|window| window == ending) && !is_held(&entry.path()) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Returns whether a process works on the file, or it is none of ours.
fn is_held(path: &Path) -> bool {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path);
    !opened.is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 1) && file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_when_it_is_finished_and_vanishes_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("copy.db");
        drop(Unfinished::new(&target).unwrap());
        assert!(names(folder.path()).is_empty());
        let file = Unfinished::new(&target).unwrap();
        assert_eq!(file.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!target.exists());
        file.finish(Replace::No).unwrap();
        assert_eq!(names(folder.path()), ["copy.db"]);
        let error = Unfinished::new(&target).unwrap().finish(Replace::No).unwrap_err();
        assert_eq!(error.downcast::<UserError>().unwrap().code, "file_exists");
        Unfinished::new(&target).unwrap().finish(Replace::Yes).unwrap();
        assert_eq!(names(folder.path()), ["copy.db"]);
    }

    #[test]
    fn leftovers_are_removed_but_not_what_somebody_works_on() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("copy.db");
        for name in [".copy.db.abc.unfinished", ".copy.db.abc.unfinished-wal", ".other.db.abc.unfinished", ".copy.db.x"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let other = Unfinished::new(&target).unwrap();
        let mine = Unfinished::new(&target).unwrap();
        assert!(other.path().exists() && mine.path().exists());
        drop((other, mine));
        assert_eq!(names(folder.path()), [".copy.db.x", ".other.db.abc.unfinished"]);
    }
}
