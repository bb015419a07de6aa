//! Key files: made so that nobody else may read them, refused if somebody else may.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::{Exit, UserError};
use crate::secrets::{MasterKey, Secret};

/// More than any key text; a larger file is something else.
pub(super) const LONGEST: usize = 4096;

/// Who vouches that nobody else may read a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// We do, by its owner and mode.
    Mode,
    /// The service manager: it keeps credentials by access control lists that look like group bits.
    ServiceManager,
}

/// Returns the text of a key file, refusing one that others may read.
pub(super) fn read_key_file(path: &Path, guard: Guard) -> Result<Secret, UserError> {
    // Without NONBLOCK a FIFO would wait here for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|error| match error {
        Errno::LOOP => key_file_unsafe(path, "is a symbolic link").hint("name the file that it points to"),
        error => unreadable(path, &error.into()),
    })?;
    let facts = Facts::of(&file).map_err(|error| unreadable(path, &error))?;
    let user = rustix::process::geteuid().as_raw();
    facts.check(path, guard, user)?;
    if guard == Guard::Mode {
        check_folder(path, user)?;
    }

    // The full length at once: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > LONGEST {
        let message = format!("the key file `{}` is larger than any key", path.display());
        return Err(UserError::new(Exit::Key, "key_malformed", message).hint("name the file that holds the key alone"));
    }
    Secret::try_from(std::mem::take(&mut *bytes)).map_err(|_| {
        let message = format!("the key file `{}` is not text", path.display());
        UserError::new(Exit::Key, "key_malformed", message).hint("name the file that `skillsctl init` made")
    })
}

/// Writes a new key file that only its owner may read, and makes its folders.
pub(crate) fn create_key_file(path: &Path, key: &MasterKey) -> Result<(), UserError> {
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unwritable(path, &error))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
        Errno::EXIST => {
            let message = format!("the key file `{}` exists already", path.display());
            UserError::new(Exit::Conflict, "key_file_exists", message)
                .hint("a key is never overwritten, as what it sealed would be lost; name another file")
        }
        error => unwritable(path, &error.into()),
    })?;
    write_key(File::from(file), key, folder).map_err(|error| {
        // Half a key would be in the way of the next attempt; if it cannot go either, the error at hand says enough.
        std::fs::remove_file(path).ok();
        unwritable(path, &error)
    })
}

fn write_key(mut file: File, key: &MasterKey, folder: &Path) -> io::Result<()> {
    let text = key.to_text();
    file.write_all(text.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// What the file system says of a key file.
#[derive(Debug, Clone, Copy)]
struct Facts {
    regular: bool,
    owner: u32,
    mode: u32,
}

impl Facts {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Facts { regular: metadata.is_file(), owner: metadata.uid(), mode: metadata.mode() & 0o7777 })
    }

    fn check(self, path: &Path, guard: Guard, user: u32) -> Result<(), UserError> {
        if !self.regular {
            return Err(key_file_unsafe(path, "is not a regular file")
                .hint("name a file, or have a command print the key: `--key-command`"));
        }
        if guard == Guard::ServiceManager {
            return Ok(());
        }
        if self.owner != user {
            let why = format!("belongs to user {}, and this runs as user {user}", self.owner);
            return Err(key_file_unsafe(path, &why)
                .hint(format!("run as the user it belongs to, or: chown {user} {}", quoted(path))));
        }
        if self.mode & 0o077 != 0 {
            return Err(key_file_unsafe(path, &format!("may be read or changed by others (mode {:04o})", self.mode))
                .hint(format!("run: chmod 600 {}", quoted(path))));
        }
        Ok(())
    }
}

/// Refuses a folder in which others may put another file in the key's place.
fn check_folder(path: &Path, user: u32) -> Result<(), UserError> {
    let folder = folder_of(path);
    let metadata = std::fs::metadata(folder).map_err(|error| unreadable(path, &error))?;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != user && owner != 0 {
        let why = format!("lies in a folder of user {owner}, and this runs as user {user}");
        return Err(key_file_unsafe(path, &why).hint("move it to a folder of its own user, or of root"));
    }
    let sticky = mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky {
        return Err(key_file_unsafe(path, "lies in a folder that others may write to")
            .hint(format!("run: chmod go-w {}", quoted(folder))));
    }
    Ok(())
}

fn key_file_unsafe(path: &Path, why: &str) -> UserError {
    UserError::new(Exit::Key, "key_file_unsafe", format!("the key file `{}` {why}", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> UserError {
    let message = format!("the key file `{}` cannot be read: {error}", path.display());
    let code = if error.kind() == io::ErrorKind::NotFound { "key_missing" } else { "key_file_unreadable" };
    UserError::new(Exit::Key, code, message).hint("name another with `--key-file PATH`, or make one: `skillsctl init`")
}

fn unwritable(path: &Path, error: &io::Error) -> UserError {
    let message = format!("the key file `{}` cannot be written: {error}", path.display());
    UserError::new(Exit::Key, "key_file_unwritable", message).hint("name another place: `--key-file PATH`")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    shlex::try_quote(&path).map(|quoted| quoted.into_owned()).unwrap_or_else(|_| path.into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use ring::rand::SystemRandom;

    use super::*;

    fn key() -> MasterKey {
        MasterKey::generate(&SystemRandom::new()).unwrap()
    }

    fn refused(path: &Path) -> UserError {
        read_key_file(path, Guard::Mode).unwrap_err()
    }

    #[test]
    fn a_key_survives_its_file_which_is_private_and_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config/skillsctl.key");
        let key = key();
        create_key_file(&path, &key).unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!((mode(&folder.path().join("new")), mode(&folder.path().join("new/config"))), (0o700, 0o700));
        let text = read_key_file(&path, Guard::Mode).unwrap();
        assert_eq!(text.expose().lines().count(), 1);
        assert_eq!(MasterKey::parse(text.expose()).unwrap().id(), key.id());
    }

    #[test]
    fn a_key_file_is_never_overwritten_nor_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        create_key_file(&path, &key()).unwrap();
        let before = fs::read(&path).unwrap();
        let (link, target) = (folder.path().join("link.key"), folder.path().join("target.key"));
        symlink(&target, &link).unwrap();
        for path in [&path, &link] {
            let error = create_key_file(path, &key()).unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::Conflict, "key_file_exists"));
        }
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(!target.exists());
    }

    #[test]
    fn a_key_file_that_cannot_be_made_says_where() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = create_key_file(&folder.path().join("file/skillsctl.key"), &key()).unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Key, "key_file_unwritable"));
        assert!(error.message.contains("file/skillsctl.key"));
    }

    #[test]
    fn a_file_with_any_bit_for_others_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my key");
        create_key_file(&path, &key()).unwrap();
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o660, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = refused(&path);
            assert_eq!((error.exit, error.code), (Exit::Key, "key_file_unsafe"), "{mode:o}");
            assert_eq!(error.hint, Some(format!("run: chmod 600 '{}'", path.display())));
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(read_key_file(&path, Guard::Mode).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_file_of_another_owner_is_refused_even_to_root() {
        let facts = Facts { regular: true, owner: 1000, mode: 0o600 };
        assert!(facts.check(Path::new("k"), Guard::Mode, 1000).is_ok());
        for user in [0, 1001] {
            let error = facts.check(Path::new("k"), Guard::Mode, user).unwrap_err();
            assert_eq!(error.code, "key_file_unsafe");
            assert!(error.message.contains("belongs to user 1000"));
        }
    }

    #[test]
    fn links_fifos_and_folders_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        create_key_file(&path, &key()).unwrap();
        let [link, fifo] = ["link", "fifo"].map(|name| folder.path().join(name));
        symlink(&path, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [&link, &fifo, &folder.path().to_path_buf()] {
            for guard in [Guard::Mode, Guard::ServiceManager] {
                assert_eq!(read_key_file(path, guard).unwrap_err().code, "key_file_unsafe", "{}", path.display());
            }
        }
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused_unless_sticky() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        create_key_file(&path, &key()).unwrap();
        for mode in [0o777, 0o770, 0o702, 0o720] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let error = refused(&path);
            assert_eq!(error.code, "key_file_unsafe", "{mode:o}");
            assert!(error.hint.unwrap().starts_with("run: chmod go-w "));
        }
        for mode in [0o1777, 0o755, 0o500] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert!(read_key_file(&path, Guard::Mode).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused_and_one_of_root_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        let path = folder.path().join("skillsctl.key");
        assert!(check_folder(&path, owner).is_ok());
        assert_eq!(check_folder(&path, owner + 1).is_ok(), owner == 0);
        if owner == 0 {
            std::os::unix::fs::chown(folder.path(), Some(1000), None).unwrap();
            for user in [0, 1001] {
                assert!(check_folder(&path, user).unwrap_err().message.contains("a folder of user 1000"), "{user}");
            }
        }
    }

    #[test]
    fn what_the_service_manager_guards_may_have_group_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        create_key_file(&path, &key()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
        assert!(read_key_file(&path, Guard::ServiceManager).is_ok());
    }

    #[test]
    fn a_file_that_is_absent_too_large_or_not_text_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        assert_eq!(refused(&path).code, "key_missing");
        create_key_file(&path, &key()).unwrap();
        fs::write(&path, vec![b'0'; LONGEST + 1]).unwrap();
        assert!(refused(&path).message.ends_with("is larger than any key"));
        fs::write(&path, b"hunter2\xff").unwrap();
        let error = refused(&path);
        assert!(error.message.ends_with("is not text") && !format!("{error:?}").contains("hunter2"));
    }
}
