//! The files and folders of the database: who may read and change them, and what they lie on.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Ground, Said, fail, ok, warn};
use crate::error::Exit;
use crate::locks;

/// Below this nothing can be relied on to be written.
const NO_ROOM: u64 = 16 << 20;
/// Below this, or twice the database, a backup or a large sync may not find room.
const LITTLE_ROOM: u64 = 256 << 20;

/// File systems on which SQLite's locks and its shared memory are not what they should be, by the numbers of `statfs(2)`.
const NETWORKS: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
];
/// File systems in memory.
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The first bytes of a file of SQLite, and where it says how it is written: 2 is with a write-ahead log.
const MAGIC: &[u8] = b"SQLite format 3\0";
const WRITTEN: usize = 18;

/// Who may read and change the database and what lies beside it.
pub(super) fn database(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    for suffix in ["", "-wal", "-shm"] {
        let path = beside(ground.path, suffix);
        said.extend(private(&path, 0o600));
    }
    if said.is_empty() && ground.path.exists() {
        said.push(ok("only its owner may read or change it"));
    }
    Ok(said)
}

/// Who may read and change the folder of the database.
pub(super) fn folder(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let folder = folder_of(ground.path);
    let Ok(metadata) = std::fs::metadata(&folder) else { return Ok(Vec::new()) };
    let (mode, shown) = (metadata.mode(), folder.display());
    let change = format!("give the database a folder of its own, of mode 0700: `chmod 700 {shown}`");
    Ok(vec![if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        fail(
            Exit::Database,
            format!("everybody may put files into `{shown}`, also in the place of the database"),
            change,
        )
    } else if mode & 0o022 != 0 {
        warn(format!("others may put files into `{shown}` (mode {:04o})", mode & 0o7777), change)
    } else {
        ok(format!("only its owner may put files into `{shown}`"))
    }])
}

/// Whether somebody may exchange a folder above the database.
pub(super) fn ancestors(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let folder = folder_of(ground.path);
    let mut said = Vec::new();
    for above in folder.ancestors().skip(1) {
        let Ok(metadata) = std::fs::metadata(above) else { continue };
        if metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0 {
            let message = format!("everybody may exchange what lies in `{}`, and so the database", above.display());
            said.push(fail(Exit::Database, message, format!("`chmod o-w {}`", above.display())));
        }
    }
    if said.is_empty() {
        said.push(ok("nobody else may exchange a folder above the database"));
    }
    Ok(said)
}

/// Who may read and change the locks.
pub(super) fn locks(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let folder = locks::folder(ground.path);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut said: Vec<Said> = private(&folder, 0o700).into_iter().collect();
    for entry in entries {
        said.extend(private(&entry?.path(), 0o600));
    }
    if said.is_empty() {
        said.push(ok("only their owner may take them"));
    }
    Ok(said)
}

/// Says what others may do to a file or folder, or that it is somebody else's; nothing, if it is as it should be.
fn private(path: &Path, wanted: u32) -> Option<Said> {
    let metadata = path.symlink_metadata().ok()?;
    let (mode, shown) = (metadata.mode() & 0o777, path.display());
    let change = format!("run: chmod {wanted:o} {shown}");
    let may = |message: &str| format!("{message} `{shown}` (mode {mode:04o})");
    if mode & 0o002 != 0 {
        return Some(fail(Exit::Database, may("everybody may change"), change));
    }
    if mode & 0o004 != 0 {
        return Some(warn(may("everybody may read all but the credentials in"), change));
    }
    if mode & 0o070 != 0 {
        return Some(warn(may("its group may read or change"), change));
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        let hint = format!("run as the user it belongs to, or: chown {user} {shown}");
        return Some(warn(format!("`{shown}` belongs to user {owner}, and this runs as user {user}"), hint));
    }
    None
}

/// What the database lies on.
pub(super) fn file_system(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(found) = rustix::fs::statfs(folder_of(ground.path).as_path()) else { return Ok(Vec::new()) };
    // The numbers are of 32 bits, whatever the type of the field is on this machine.
    let number = found.f_type as u64 & 0xffff_ffff;
    if let Some((_, name)) = NETWORKS.iter().find(|(known, _)| *known == number) {
        let message = format!("the database lies on {name}, where locks do not keep two writers apart");
        return Ok(vec![fail(Exit::Database, message, "move it to a disk of this machine; backups may lie there")]);
    }
    if MEMORY.contains(&number) {
        let message = "the database lies in memory, and is gone when the machine is";
        return Ok(vec![warn(message, "move it to a disk")]);
    }
    Ok(vec![ok("the database lies on a disk of this machine")])
}

/// Whether there is room to go on.
pub(super) fn space(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(room) = rustix::fs::statvfs(folder_of(ground.path).as_path()) else { return Ok(Vec::new()) };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let own = ground.path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    let message = format!("{} MiB are free where the database lies", free >> 20);
    let hint = "free some space: a full disk fails syncs and backups, and harms nothing else";
    Ok(vec![if free < NO_ROOM {
        fail(Exit::Database, message, hint)
    } else if free < LITTLE_ROOM.max(own.saturating_mul(2)) {
        warn(message, hint)
    } else {
        ok(message)
    }])
}

/// Whether there are copies beside the database that were made by copying the file.
///
/// What was written last is in the write-ahead log, which such a copy lacks; and it looks sound. One that `db backup` made
/// says in its head that it needs no log.
pub(super) fn copies(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(entries) = std::fs::read_dir(folder_of(ground.path)) else { return Ok(Vec::new()) };
    let own = ground.path.metadata().map(|own| (own.dev(), own.ino())).ok();
    let mut said = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        // Never the database itself, by whatever name: closing it would drop SQLite's locks.
        if !metadata.is_file() || own == Some((metadata.dev(), metadata.ino())) {
            continue;
        }
        let in_use = ["-wal", ".locks"].iter().any(|suffix| beside(&path, suffix).exists());
        let kept = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".replaced-"));
        if !in_use && !kept && wants_log(&path) {
            let message =
                format!("`{}` was copied from a database in use, and may lack what was written last", path.display());
            said.push(warn(message, "make copies with `skillsctl db backup FILE`; then delete this one"));
        }
    }
    if said.is_empty() {
        said.push(ok("there are no copies beside the database that were made while it was in use"));
    }
    Ok(said)
}

fn wants_log(path: &Path) -> bool {
    let mut head = [0; WRITTEN + 1];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(MAGIC) && head[WRITTEN] == 2
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
