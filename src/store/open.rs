//! Opens and creates the database file, and says what is wrong with one that is not ours.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
#[cfg(test)]
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
#[cfg(test)]
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::maintenance::{self, Hold, Make};
use super::migrate::{self, Upgraded};
use super::{Store, backup, meta};
use crate::error::{Exit, UserError};

/// How long a writer waits for another one.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// How often it looks whether the other has ended. SQLite's own waiting looks ten times a second in the end, which misses
/// for seconds the short pauses that several busy writers leave.
const LOOK: Duration = Duration::from_millis(2);

/// Waits a little for another writer. Returns whether to try again.
fn wait_for_writer(tries: i32) -> bool {
    thread_local! {
        static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if tries == 0 {
        SINCE.set(Some(Instant::now()));
    }
    std::thread::sleep(LOOK);
    SINCE.get().is_some_and(|since| since.elapsed() < BUSY)
}

/// Opens an existing database and brings its schema up to date, in the name of the actor; a newer one is refused untouched.
pub(crate) fn open(path: &Path, actor: &str, now: DateTime<Utc>) -> Result<Store> {
    regular_file(path)?;
    let mut hold = maintenance::share(path, Make::Yes)?;
    let mut connection = connect(path)?;
    let mut upgraded = None;
    if migrate::is_older(&connection, path)? {
        migrate::writable(&connection, path)?;
        // Nobody may use it meanwhile, this process neither.
        drop(connection);
        drop(hold);
        let alone = maintenance::exclude(path)?;
        connection = connect(path)?;
        upgraded = migrate::upgrade(&mut connection, path, actor, now)?;
        hold = alone.shared()?;
    }
    if connection.is_readonly("main")? {
        return prepare(connection, path, hold, upgraded);
    }
    use_write_ahead_log(&connection)?;
    prepare(connection, path, hold, upgraded)
}

/// Opens a database whose schema is up to date so that nobody else uses it; fails if somebody does not leave in time.
pub(crate) fn alone(path: &Path) -> Result<Store> {
    regular_file(path)?;
    let hold = maintenance::exclude(path)?;
    let connection = connect(path)?;
    ensure!(!migrate::is_older(&connection, path)?, "another schema was put there just now: run the command again");
    prepare(connection, path, hold, None)
}

/// Opens a database as it is, to look at it: an older schema stays, and nothing is written, whatever it waits for.
pub(crate) fn look(path: &Path) -> Result<Store> {
    regular_file(path)?;
    let hold = maintenance::share(path, Make::No)?;
    let waits = has_log(path);
    let connection = connect(path)?;
    // Else the last one to close it would write what is in the log into a file that may be damaged.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, waits)?;
    migrate::is_older(&connection, path)?;
    if migrate::schema_version(&connection, path)? == 0 {
        return Err(UserError::new(Exit::Database, "database_empty", format!("`{}` is empty", path.display()))
            .hint("`skillsctl init` makes a database of it, `skillsctl db restore` brings one back")
            .into());
    }
    connection.pragma_update(None, "query_only", "ON")?;
    prepare(connection, path, hold, None)
}

/// Returns a copy in memory, brought up to date, of a database that was looked at and is older: what reads settings and sealed
/// values knows the newest schema alone. `None` for one that has it.
pub(crate) fn brought_up_to_date(looked_at: &Store) -> Result<Option<Store>> {
    let Store { connection, path, .. } = looked_at;
    if !migrate::is_older(connection, path)? {
        return Ok(None);
    }
    let mut copy = Connection::open_in_memory()?;
    backup::pages(connection, &mut copy)?;
    migrate::run(&mut copy, path, DateTime::UNIX_EPOCH)?;
    copy.pragma_update(None, "query_only", "ON")?;
    Ok(Some(prepare(copy, path, Hold::default(), None)?))
}

/// Opens a database as it is for one who may not bring its schema up to date; an older one is refused.
fn as_it_is(path: &Path) -> Result<Store> {
    regular_file(path)?;
    let hold = maintenance::share(path, Make::No)?;
    let connection = connect_to(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if migrate::is_older(&connection, path)? {
        let message = "the schema of the database is older than this program";
        return Err(UserError::new(Exit::Database, "schema_too_old", message)
            .hint("a super admin brings it up to date with `skillsctl db migrate`")
            .into());
    }
    prepare(connection, path, hold, None)
}

/// Returns a connection with a database attached as it is, and the name it is attached under, which nobody can know.
pub(super) fn attached(path: &Path, writes: bool) -> Result<(Store, String)> {
    let Store { _hold: hold, .. } = as_it_is(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(":memory:", flags)?;
    connection.busy_handler(Some(wait_for_writer))?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let name: String = connection.query_row("SELECT 'own_' || lower(hex(randomblob(16)))", [], |row| row.get(0))?;
    let uri = uri(path, if writes { "mode=rw" } else { "mode=ro" });
    connection
        .execute(&format!("ATTACH ?1 AS {name}"), [uri])
        .with_context(|| format!("opening `{}`", path.display()))?;
    Ok((prepare(connection, path, hold, None)?, name))
}

/// Opens the database to look up who may do what, and for nothing else.
pub(crate) fn open_for_roles(path: &Path) -> Result<Store> {
    as_it_is(path)
}

/// Returns whether a database is this user's own, in a folder that nobody else can put another file into.
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(file), Ok(folder)) = (path.symlink_metadata(), folder.metadata()) else { return false };
    file.is_file() && file.uid() == user && [0, user].contains(&folder.uid()) && folder.mode() & 0o022 == 0
}

/// Returns a connection to a database file, for reading only where it cannot be written.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    connect_to(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn connect_to(path: &Path, access: OpenFlags) -> Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = if is_closed(path) {
        immutable(path)
    } else {
        match Connection::open_with_flags(path, flags).and_then(read_once) {
            // To be read even, a write-ahead log wants to write beside the database; without one there is no need.
            Err(error) if is_forbidden(&error) && !beside(path, "-wal").exists() => immutable(path),
            opened => opened,
        }
    };
    let mut connection = opened.with_context(|| format!("opening `{}`", path.display()))?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(connection)
}

/// Reads the first page, which tells whether the file can be read at all. Of one that cannot, the log is left as it is.
fn read_once(mut connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_handler(Some(wait_for_writer))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Returns whether a database that nobody has open cannot be written by this user. Where its folder can be, SQLite would leave a
/// log of this user's there, which the owner of the database could not write.
fn is_closed(path: &Path) -> bool {
    let closed = rustix::fs::accessat(rustix::fs::CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
    matches!(closed, Err(Errno::ACCESS | Errno::ROFS)) && !beside(path, "-wal").exists()
}

fn is_forbidden(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
}

/// Returns a path as a URI with this query, as SQLite reads it.
fn uri(path: &Path, query: &str) -> String {
    let mut uri = String::from("file:");
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?" + query
}

/// Returns a connection to a file that is taken to stay as it is, so that nothing is created beside it.
pub(super) fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    read_once(Connection::open_with_flags(uri(path, "immutable=1"), flags)?)
}

/// Returns a companion of a database file, like its `-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns whether changes wait in the write-ahead log of a database.
pub(super) fn has_log(path: &Path) -> bool {
    beside(path, "-wal").symlink_metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// Fails for a folder in which anybody may put another file, or a link, in the place of the database.
fn guarded_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(mode) = std::fs::metadata(folder).map(|metadata| metadata.mode()) else { return Ok(()) };
    let (writable_by_all, sticky) = (mode & 0o002 != 0, mode & 0o1000 != 0);
    if !writable_by_all || sticky {
        return Ok(());
    }
    let message = format!("the database `{}` lies in a folder that everybody may write to", path.display());
    Err(UserError::new(Exit::Database, "database_folder_unsafe", message)
        .hint(format!("run: chmod o-w {}", folder.display()))
        .into())
}

/// Fails unless there is a regular file, which a link is not, in a folder that is not open to all, and what lies beside it
/// for SQLite is such, too.
pub(super) fn regular_file(path: &Path) -> Result<()> {
    guarded_folder(path)?;
    for companion in ["-wal", "-shm", "-journal"].map(|suffix| beside(path, suffix)) {
        if companion.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let message = format!("`{}` is not a regular file", companion.display());
            return Err(UserError::new(Exit::Database, "database_not_a_file", message)
                .hint("it belongs to the database, and links are not followed: find out who put it there")
                .into());
        }
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(UserError::new(
            Exit::Database,
            "database_not_a_file",
            format!("`{}` is not a regular file", path.display()),
        )
        .hint("give the path of the database with --db; links are not followed")
        .into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(UserError::new(
            Exit::Database,
            "database_missing",
            format!("there is no database at `{}`", path.display()),
        )
        .hint("create it with `skillsctl init`, or give its path with --db or SKILLSCTL_DB")
        .into()),
        Err(error) => Err(error).with_context(|| format!("looking for the database at `{}`", path.display())),
    }
}

/// Lets readers and a writer work side by side, as in every database made here; one copied from a backup is not so yet.
fn use_write_ahead_log(connection: &Connection) -> Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
        // Somebody else is at it: their change, or the next one to come.
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy)) => Ok(()),
        changed => Ok(changed?),
    }
}

/// Makes the folder of a file where there is none, for the owner only.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("creating the folder `{}`", folder.display()))
}

/// Creates the database file with mode 0600 in a folder of mode 0700. Returns false if it was there already.
pub(crate) fn create(path: &Path) -> Result<bool> {
    make_folder(path)?;
    guarded_folder(path)?;
    // SQLite would create it with the process's umask and follow a link planted there.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(UserError::new(
            Exit::Database,
            "database_not_created",
            format!("the database `{}` cannot be created: {}", path.display(), std::io::Error::from(error)),
        )
        .hint("check the rights on its folder, or give another path with --db")
        .into()),
    }
}

/// Returns a database in memory, for tests: a copy of one that was made once, as migrations take their time.
#[cfg(test)]
pub(super) fn memory() -> Result<Store> {
    static MADE: Mutex<Option<Connection>> = Mutex::new(None);
    let path = Path::new(":memory:");
    let mut connection = Connection::open_in_memory()?;
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.is_none() {
        let mut first = Connection::open_in_memory()?;
        migrate::upgrade(&mut first, path, "test", DateTime::UNIX_EPOCH)?;
        *made = Some(first);
    }
    if let Some(made) = &*made {
        Backup::new(made, &mut connection)?.step(-1)?;
    }
    Ok(Store { audited: false, ..prepare(connection, path, Hold::default(), None)? })
}

/// Gives a connection the settings that all else rests on.
fn prepare(connection: Connection, path: &Path, hold: Hold, upgraded: Option<Upgraded>) -> Result<Store> {
    let settings = [
        // Configuration and credentials must survive a power loss; a sync relaxes this for its pages.
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        // Deleted credentials are overwritten, not just unlinked.
        ("secure_delete", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        ("cache_size", "-16384"),
    ];
    for (name, value) in settings {
        connection.pragma_update(None, name, value)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // A plan is made once for a statement, not anew for each value that is bound to it: that cost most of a look-up.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    let database_id = meta(&connection, "database_id")?.context("the database has no id")?;
    let path = path.to_owned();
    Ok(Store { connection, path, database_id, upgraded, anchor: None, audited: true, _hold: hold })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn code(error: &anyhow::Error) -> &'static str {
        super::super::user_error(error)
            .or_else(|| error.downcast_ref::<UserError>().cloned())
            .map_or("none", |error| error.code)
    }

    #[test]
    fn the_file_and_its_companions_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/skills.db");
        assert!(create(&path).unwrap());
        let mut store = open(&path, "ann", NOW).unwrap();
        store
            .change(super::super::Keep::Yes, |tx| tx.execute_batch("DELETE FROM quarantine").map_err(Into::into))
            .unwrap();
        for name in ["skills.db", "skills.db-wal", "skills.db-shm"] {
            let mode = std::fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!create(&path).unwrap());
    }

    #[test]
    fn a_newer_database_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skills.db");
        create(&path).unwrap();
        let store = open(&path, "ann", NOW).unwrap();
        store
            .read()
            .execute("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (999, 'later', '', '1')", [])
            .unwrap();
        store.checkpoint().unwrap();
        drop(store);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(code(&open(&path, "ann", NOW).err().unwrap()), "schema_too_new");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_not_our_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        assert_eq!(code(&open(&path, "ann", NOW).err().unwrap()), "database_missing");
        std::fs::write(&path, "this is no database, it is a text that is long enough").unwrap();
        assert_eq!(code(&open(&path, "ann", NOW).err().unwrap()), "database_corrupt");
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert_eq!(code(&open(&foreign, "ann", NOW).err().unwrap()), "database_foreign");
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        assert_eq!(code(&open(&link, "ann", NOW).err().unwrap()), "database_not_a_file");
    }
}
