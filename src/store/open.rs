//! Opens and creates the database file, and brings its schema up to date.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{Mode, OFlags};

use super::{Store, meta, set_meta};
use crate::error::{Exit, UserError};
use crate::mutants;
use crate::secrets::hex;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(5);
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

/// Opens an existing database; a newer one is refused untouched.
pub(crate) fn open(path: &Path) -> Result<Store> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            return Err(UserError::new(
                Exit::Database,
                "database_not_a_file",
                format!("`{}` is not a regular file", path.display()),
            )
            .hint("give the path of the database with --db; links are not followed")
            .into());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(UserError::new(
                Exit::Database,
                "database_missing",
                format!("there is no database at `{}`", path.display()),
            )
            .hint("create it with `skillsctl init`, or give its path with --db or SKILLSCTL_DB")
            .into());
        }
        Err(error) => return Err(error).with_context(|| format!("looking for the database at `{}`", path.display())),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening `{}`", path.display()))?;
    prepare(connection, path)
}

/// Creates the database file with mode 0600 in a folder of mode 0700. Returns false if it was there already.
pub(crate) fn create(path: &Path) -> Result<bool> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("creating the folder `{}`", folder.display()))?;
    }
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

/// Returns a database in memory, for tests.
#[cfg(test)]
pub(super) fn memory() -> Result<Store> {
    prepare(Connection::open_in_memory()?, Path::new(":memory:"))
}

fn prepare(mut connection: Connection, path: &Path) -> Result<Store> {
    connection.busy_handler(Some(wait_for_writer))?;
    migrate(&mut connection, path)?;
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
    let database_id = database_id(&mut connection)?;
    Ok(Store { connection, path: path.to_owned(), database_id })
}

/// Brings the schema up to date, each migration in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let runner = embedded::migrations::runner();
    let newest = newest_schema();
    let present = schema_version(connection)?;
    if present == newest {
        return Ok(());
    }
    if present > newest {
        return Err(UserError::new(
            Exit::Database,
            "schema_too_new",
            format!("the database `{}` has schema {present}, this program knows up to {newest}", path.display()),
        )
        .hint("use the newer version of skillsctl that wrote it; nothing was changed")
        .into());
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    mutants::point("before migrations");
    runner
        .set_grouped(false)
        .set_abort_divergent(true)
        .set_abort_missing(true)
        .run(connection)
        .with_context(|| format!("bringing the schema of `{}` from {present} to {newest}", path.display()))?;
    mutants::point("migrated");
    Ok(())
}

/// Returns the id of the database. It gets one here unless something may be sealed for the one it had: the process that
/// made the schema may have ended before it did so.
fn database_id(connection: &mut Connection) -> Result<String> {
    if let Some(id) = meta(connection, "database_id")? {
        return Ok(id);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = match meta(&transaction, "database_id")? {
        Some(id) => id,
        None => {
            let sealed: bool =
                transaction.query_row("SELECT EXISTS (SELECT 1 FROM master_keys)", [], |row| row.get(0))?;
            anyhow::ensure!(!sealed, "the database has lost its id, which its sealed values are bound to");
            let mut id = [0_u8; 16];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id)
                .map_err(|_| anyhow::anyhow!("no randomness"))?;
            let id = hex::encode(&id);
            set_meta(&transaction, "database_id", &id)?;
            id
        }
    };
    transaction.commit()?;
    Ok(id)
}

/// Returns the number of the newest migration there is.
pub(crate) fn newest_schema() -> i64 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

/// Returns the number of the newest migration applied, 0 for an empty file.
fn schema_version(connection: &Connection) -> Result<i64> {
    let has_history: bool = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'",
        [],
        |row| row.get(0),
    )?;
    if !has_history {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 {
            return Err(UserError::new(
                Exit::Database,
                "database_foreign",
                "the file is a database, but not one of skillsctl",
            )
            .hint("give the path of the right one with --db; nothing was changed")
            .into());
        }
        return Ok(0);
    }
    Ok(connection.query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
        let mut store = open(&path).unwrap();
        store.change(super::super::Keep::Yes, |tx| set_meta(tx, "x", "y")).unwrap();
        for name in ["skills.db", "skills.db-wal", "skills.db-shm"] {
            let mode = std::fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!create(&path).unwrap());
    }

    #[test]
    fn a_database_of_the_first_schema_is_brought_up_to_date_with_all_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skills.db");
        create(&path).unwrap();
        let first = include_str!("../../tests/fixtures/schema_1.sql");
        Connection::open(&path).unwrap().execute_batch(first).unwrap();
        let store = open(&path).unwrap();
        assert_eq!(schema_version(store.read()).unwrap(), newest_schema());
        let credentials = super::super::credentials::all(store.read(), 1).unwrap();
        assert!(credentials.len() == 2 && credentials.iter().all(|credential| credential.given == credential.id));
        let runs = super::super::runs::all_last_runs(store.read()).unwrap();
        assert!(!runs.is_empty() && runs.values().all(|last| last.not_before.is_none()));
        let broken: i64 =
            store.read().query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0);
    }

    #[test]
    fn a_newer_database_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skills.db");
        create(&path).unwrap();
        let store = open(&path).unwrap();
        store
            .read()
            .execute("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (999, 'later', '', '1')", [])
            .unwrap();
        store.checkpoint().unwrap();
        drop(store);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(code(&open(&path).err().unwrap()), "schema_too_new");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_not_our_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        assert_eq!(code(&open(&path).err().unwrap()), "database_missing");
        std::fs::write(&path, "this is no database, it is a text that is long enough").unwrap();
        assert_eq!(code(&open(&path).err().unwrap()), "database_corrupt");
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert_eq!(code(&open(&foreign).err().unwrap()), "database_foreign");
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        assert_eq!(code(&open(&link).err().unwrap()), "database_not_a_file");
    }
}
