//! The anchor of the audit: a small file elsewhere on this host that holds the last change seen of a database, so that an
//! older copy in its place is noticed.
//!
//! It lies outside the folder of the database, as what lies beside it is brought back with it. It is written after the
//! change is committed: a process that dies in between leaves it behind, which is fine, as all that is asked of the database
//! is that its chain holds what the anchor says. Where the anchor cannot be kept nothing fails.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::audit::{self, Head};
use super::{Connection, maintenance};
use crate::{locks, mutants};

/// Longer than any anchor.
const LONGEST: u64 = 4096;

/// Where the anchor of one database is.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    folder: PathBuf,
    database_id: String,
}

/// What an anchor file says.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    kind: String,
    v: u8,
    database_id: String,
    id: i64,
    hash: String,
}

/// How a database stands to its anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No change of this database has been seen, or none can be noted.
    Nothing,
    /// The last change seen is in it.
    Holds(Head),
    /// It ends before the last change seen.
    Older(Head),
    /// It has another row in the place of the last change seen.
    Other(Head),
    /// The anchor cannot be read, for this reason.
    Unreadable(String),
}

impl Anchor {
    /// Returns the anchor of a database in a folder, which need not be there yet.
    pub(crate) fn of(folder: &Path, database_id: &str) -> Self {
        Anchor { folder: folder.to_owned(), database_id: database_id.to_owned() }
    }

    /// Returns the file it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(self.name("anchor"))
    }

    fn name(&self, ending: &str) -> String {
        format!("{}.{ending}", self.database_id)
    }

    /// Compares a database with its anchor.
    pub(crate) fn compare(&self, connection: &Connection) -> Result<Seen> {
        // Before the database is looked at: what is seen here is committed there.
        compare(connection, read(&self.path(), &self.database_id))
    }

    /// Notes the newest change, unless a newer one is noted. Fails where the file cannot be written.
    pub(super) fn advance(&self, head: &Head) -> Result<()> {
        let _alone = self.lock()?;
        match read(&self.path(), &self.database_id)? {
            Some(noted) if noted.id >= head.id => Ok(()),
            _ => self.write(head),
        }
    }

    /// Notes a change as the newest, whatever was noted. Fails where the file cannot be written.
    pub(crate) fn set(&self, head: &Head) -> Result<()> {
        let _alone = self.lock()?;
        self.write(head)
    }

    /// Keeps other processes from writing it; freed when the file is closed.
    fn lock(&self) -> Result<File> {
        let file = locks::open(&self.folder, &self.name("lock"))?;
        anyhow::ensure!(maintenance::waited(|| file.try_lock())?, "another process holds the lock of the anchor");
        Ok(file)
    }

    /// Writes it beside its place and then puts it there, in one step. The caller holds the lock.
    fn write(&self, head: &Head) -> Result<()> {
        let document = Document {
            kind: "AuditAnchor".into(),
            v: 1,
            database_id: self.database_id.clone(),
            id: head.id,
            hash: head.hash.clone(),
        };
        let new = self.name("new");
        let mut file = locks::open(&self.folder, &new)?;
        // A process that was killed may have left some.
        file.set_len(0)?;
        file.write_all((serde_json::to_string(&document)? + "\n").as_bytes())?;
        file.sync_data()?;
        mutants::point("anchor written");
        std::fs::rename(self.folder.join(new), self.path())?;
        Ok(())
    }
}

/// Compares a database with an anchor file that was copied from anywhere.
pub(crate) fn compare_with(connection: &Connection, file: &Path, database_id: &str) -> Result<Seen> {
    compare(connection, read(file, database_id))
}

fn compare(connection: &Connection, noted: Result<Option<Head>>) -> Result<Seen> {
    let noted = match noted {
        Ok(Some(noted)) => noted,
        Ok(None) => return Ok(Seen::Nothing),
        Err(error) => return Ok(Seen::Unreadable(format!("{error:#}"))),
    };
    Ok(match audit::hash_of(connection, noted.id)? {
        Some(hash) if hash == noted.hash => Seen::Holds(noted),
        Some(_) => Seen::Other(noted),
        None => Seen::Older(noted),
    })
}

/// Reads an anchor file; `None` where there is none, or none can be kept.
fn read(path: &Path, database_id: &str) -> Result<Option<Head>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path);
    let file = match opened {
        // Somebody else's folder, or none: nothing can be kept there either.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied) =>
        {
            return Ok(None);
        }
        opened => opened.context("it cannot be opened")?,
    };
    anyhow::ensure!(file.metadata()?.is_file(), "it is not a regular file");
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).context("it cannot be read")?;
    let document: Document = serde_json::from_str(&text).context("it is not as it was written")?;
    anyhow::ensure!(document.kind == "AuditAnchor" && document.v == 1, "it is no anchor of this version");
    anyhow::ensure!(document.database_id == database_id, "it is of another database");
    Ok(Some(Head { id: document.id, hash: document.hash }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn head(id: i64) -> Head {
        Head { id, hash: format!("hash {id}") }
    }

    #[test]
    fn an_anchor_never_goes_back_unless_it_is_set() {
        let home = tempfile::tempdir().unwrap();
        let anchor = Anchor::of(&home.path().join("state/skillsctl"), "d1");
        let noted = || read(&anchor.path(), "d1").unwrap().map(|head| head.id);
        assert_eq!(noted(), None);
        for (id, expected) in [(3, 3), (2, 3), (7, 7), (6, 7)] {
            anchor.advance(&head(id)).unwrap();
            assert_eq!(noted(), Some(expected));
        }
        anchor.set(&head(1)).unwrap();
        assert_eq!(noted(), Some(1));
        assert!(read(&anchor.path(), "d2").is_err());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&anchor.path()), mode(anchor.path().parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn threads_that_advance_at_once_end_at_the_newest() {
        let home = tempfile::tempdir().unwrap();
        let anchor = Anchor::of(home.path(), "d1");
        std::thread::scope(|scope| {
            for first in 0..8 {
                let anchor = &anchor;
                scope.spawn(move || (0..20).for_each(|step| anchor.advance(&head(first + step * 8)).unwrap()));
            }
        });
        assert_eq!(read(&anchor.path(), "d1").unwrap(), Some(head(159)));
    }

    #[test]
    fn what_is_no_anchor_is_not_believed_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let anchor = Anchor::of(home.path(), "d1");
        for text in ["", "{", "{}", "null"] {
            std::fs::write(anchor.path(), text).unwrap();
            assert!(read(&anchor.path(), "d1").is_err(), "{text}");
        }
        anchor.set(&head(1)).unwrap();
        std::fs::rename(anchor.path(), home.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), anchor.path()).unwrap();
        assert!(read(&anchor.path(), "d1").is_err());
        anchor.set(&head(2)).unwrap();
        assert_eq!(read(&home.path().join("elsewhere"), "d1").unwrap(), Some(head(1)));
    }
}
