//! Which of the places a master key may come from is the one, told before it is read.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Environment;
use super::key_file::{self, Guard};
use super::secret_command::{self, Printed};
use crate::error::{Exit, UserError};
use crate::secrets::{MasterKey, Secret};

const FILE_NAME: &str = "skillsctl.key";

/// The variables that a key is named by, and what the service manager calls it.
struct Names {
    file: &'static str,
    command: &'static str,
    text: &'static str,
    credential: &'static str,
}

const CURRENT: Names = Names {
    file: "SKILLSCTL_KEY_FILE",
    command: "SKILLSCTL_KEY_COMMAND",
    text: "SKILLSCTL_KEY",
    credential: FILE_NAME,
};

const PREVIOUS: Names = Names {
    file: "SKILLSCTL_KEY_FILE_PREVIOUS",
    command: "SKILLSCTL_KEY_COMMAND_PREVIOUS",
    text: "SKILLSCTL_KEY_PREVIOUS",
    credential: "skillsctl-previous.key",
};

/// All variables that tell of a key, which no other program needs to see.
pub(crate) const KEY_VARIABLES: [&str; 6] =
    [CURRENT.file, CURRENT.command, CURRENT.text, PREVIOUS.file, PREVIOUS.command, PREVIOUS.text];

/// The global flags that name a source; a flag beats every variable.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFlags {
    /// `--key-file`.
    pub(crate) key_file: Option<PathBuf>,
    /// `--key-command`.
    pub(crate) key_command: Option<String>,
}

/// Who named the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrigin {
    /// A flag or a variable of this name.
    Named(&'static str),
    /// The service manager, in `$CREDENTIALS_DIRECTORY`.
    ServiceManager,
    /// Nobody: the file lies where `init` puts it.
    Default,
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyOrigin::Named(name) => name,
            KeyOrigin::ServiceManager => "CREDENTIALS_DIRECTORY",
            KeyOrigin::Default => "default",
        })
    }
}

/// Where the master key comes from. Displayed without any secret, for `key status` and `doctor`.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// A file.
    File { path: PathBuf, origin: KeyOrigin },
    /// A command that prints it, as words.
    Command { words: Vec<String>, origin: KeyOrigin },
    /// A variable that holds the key: weak, as other processes of the same user could see it before this one started.
    Variable { name: &'static str, text: Secret },
}

impl KeySource {
    /// Returns the first source that is there: flags, then the environment in the order of the documentation, then
    /// the default file.
    pub(crate) fn resolve(flags: &KeyFlags, environment: &Environment) -> Result<Self, UserError> {
        if let Some(path) = &flags.key_file {
            return Ok(KeySource::File { path: path.clone(), origin: KeyOrigin::Named("--key-file") });
        }
        if let Some(line) = &flags.key_command {
            return KeySource::command(line, "--key-command");
        }
        if let Some(source) = KeySource::in_environment(&CURRENT, environment)? {
            return Ok(source);
        }
        match default_key_file(environment) {
            Some(path) if is_there(&path) => Ok(KeySource::File { path, origin: KeyOrigin::Default }),
            _ => Err(UserError::new(Exit::Key, "key_missing", "no master key is given").hint(
                "give one by --key-file PATH, --key-command COMMAND, SKILLSCTL_KEY_FILE, SKILLSCTL_KEY_COMMAND or \
                 SKILLSCTL_KEY; `skillsctl init` makes the first one",
            )),
        }
    }

    /// Returns the source of a second key, for the time of a rotation: the one before, or the one to come.
    pub(crate) fn previous(environment: &Environment) -> Result<Option<Self>, UserError> {
        KeySource::in_environment(&PREVIOUS, environment)
    }

    /// Returns the source of the key that is to take the place of another: a flag of `key rotate`.
    pub(crate) fn replacement(flags: &KeyFlags) -> Result<Option<Self>, UserError> {
        match flags {
            KeyFlags { key_file: Some(path), .. } => {
                Ok(Some(KeySource::File { path: path.clone(), origin: KeyOrigin::Named("--new-key-file") }))
            }
            KeyFlags { key_command: Some(line), .. } => KeySource::command(line, "--new-key-command").map(Some),
            _ => Ok(None),
        }
    }

    fn in_environment(names: &Names, environment: &Environment) -> Result<Option<Self>, UserError> {
        if let Some(path) = environment.path(names.file) {
            return Ok(Some(KeySource::File { path, origin: KeyOrigin::Named(names.file) }));
        }
        if let Some(path) =
            environment.absolute_path("CREDENTIALS_DIRECTORY").map(|folder| folder.join(names.credential))
            && is_there(&path)
        {
            return Ok(Some(KeySource::File { path, origin: KeyOrigin::ServiceManager }));
        }
        if let Some(line) = environment.text(names.command)? {
            return KeySource::command(&line, names.command).map(Some);
        }
        let text = environment.text(names.text)?;
        Ok(text.map(|text| KeySource::Variable { name: names.text, text: Secret::from(text) }))
    }

    fn command(line: &str, named: &'static str) -> Result<Self, UserError> {
        let words = secret_command::split(Printed::MasterKey, line)?;
        Ok(KeySource::Command { words, origin: KeyOrigin::Named(named) })
    }

    /// Returns the key, read anew.
    pub(crate) fn load(&self, environment: &Environment) -> Result<MasterKey, UserError> {
        match self {
            KeySource::File { path, origin } => {
                let guard = if *origin == KeyOrigin::ServiceManager { Guard::ServiceManager } else { Guard::Mode };
                self.parse(&key_file::read_key_file(path, guard)?)
            }
            KeySource::Command { words, .. } => {
                self.parse(&secret_command::run(Printed::MasterKey, words, environment, secret_command::TIME_LIMIT)?)
            }
            KeySource::Variable { text, .. } => self.parse(text),
        }
    }

    fn parse(&self, text: &Secret) -> Result<MasterKey, UserError> {
        MasterKey::parse(text.expose()).map_err(|error| {
            UserError::new(Exit::Key, "key_malformed", format!("the master key from {self} is malformed: {error}"))
                .hint("a key is one line `skillsctl-key-1 KEY CHECKSUM`; compare it with the copy you saved")
        })
    }
}

impl fmt::Display for KeySource {
    /// Of a command only the program is shown: its arguments may name more than they should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File { path, origin } => write!(f, "file `{}` ({origin})", path.display()),
            KeySource::Command { words, origin } => {
                write!(f, "command `{}` ({origin})", words.first().map_or("", String::as_str))
            }
            KeySource::Variable { name, .. } => write!(f, "variable {name}"),
        }
    }
}

/// Returns where `init` puts the key file, and where it is looked for last.
pub(crate) fn default_key_file(environment: &Environment) -> Option<PathBuf> {
    Some(environment.config_folder()?.join(FILE_NAME))
}

/// Says whether a file is there; one that cannot be looked at counts, so that reading it tells why.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use crate::config::create_key_file;

    fn resolved(flags: &KeyFlags, environment: &[(&str, &str)]) -> Result<String, UserError> {
        KeySource::resolve(flags, &Environment::of_map(environment)).map(|source| source.to_string())
    }

    fn key() -> MasterKey {
        MasterKey::generate(&SystemRandom::new()).unwrap()
    }

    #[test]
    fn the_first_source_in_order_wins_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        create_key_file(&PathBuf::from(format!("{folder}/skillsctl.key")), &key()).unwrap();
        create_key_file(&PathBuf::from(format!("{folder}/skillsctl/skillsctl.key")), &key()).unwrap();
        let environment = [
            ("SKILLSCTL_KEY_FILE", "/by/variable.key"),
            ("CREDENTIALS_DIRECTORY", folder),
            ("SKILLSCTL_KEY_COMMAND", "pass show sentinel"),
            ("SKILLSCTL_KEY", "sentinel"),
            ("XDG_CONFIG_HOME", folder),
        ];
        let command = KeyFlags { key_file: None, key_command: Some("op read sentinel".to_owned()) };
        let file = KeyFlags { key_file: Some("flag.key".into()), ..command.clone() };
        assert_eq!(resolved(&file, &environment).unwrap(), "file `flag.key` (--key-file)");
        assert_eq!(resolved(&command, &environment).unwrap(), "command `op` (--key-command)");
        for (left_out, expected) in [
            "file `/by/variable.key` (SKILLSCTL_KEY_FILE)",
            &format!("file `{folder}/skillsctl.key` (CREDENTIALS_DIRECTORY)"),
            "command `pass` (SKILLSCTL_KEY_COMMAND)",
            "variable SKILLSCTL_KEY",
            &format!("file `{folder}/skillsctl/skillsctl.key` (default)"),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(resolved(&KeyFlags::default(), &environment[left_out..]).unwrap(), expected);
        }
    }

    #[test]
    fn a_second_key_is_named_beside_the_first_and_nowhere_by_default() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        create_key_file(&PathBuf::from(format!("{folder}/skillsctl-previous.key")), &key()).unwrap();
        let environment = [
            ("SKILLSCTL_KEY_FILE_PREVIOUS", "/by/variable.key"),
            ("CREDENTIALS_DIRECTORY", folder),
            ("SKILLSCTL_KEY_COMMAND_PREVIOUS", "pass show sentinel"),
            ("SKILLSCTL_KEY_PREVIOUS", "sentinel"),
            ("SKILLSCTL_KEY", "sentinel"),
        ];
        let previous = |environment: &[(&str, &str)]| {
            KeySource::previous(&Environment::of_map(environment)).unwrap().map(|source| source.to_string())
        };
        for (left_out, expected) in [
            "file `/by/variable.key` (SKILLSCTL_KEY_FILE_PREVIOUS)",
            &format!("file `{folder}/skillsctl-previous.key` (CREDENTIALS_DIRECTORY)"),
            "command `pass` (SKILLSCTL_KEY_COMMAND_PREVIOUS)",
            "variable SKILLSCTL_KEY_PREVIOUS",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(previous(&environment[left_out..]).as_deref(), Some(expected));
        }
        assert_eq!(previous(&environment[4..]), None);
    }

    #[test]
    fn without_a_source_the_ways_to_give_one_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let elsewhere = [("HOME", folder), ("CREDENTIALS_DIRECTORY", folder), ("SKILLSCTL_KEY", "")];
        for environment in [&[][..], &elsewhere] {
            let error = resolved(&KeyFlags::default(), environment).unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::Key, "key_missing"));
            let hint = error.hint.unwrap();
            for way in ["--key-file", "--key-command", "SKILLSCTL_KEY_FILE", "SKILLSCTL_KEY_COMMAND", "init"] {
                assert!(hint.contains(way), "{way}");
            }
        }
    }

    #[test]
    fn a_key_is_loaded_from_each_kind_of_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skillsctl.key");
        let key = key();
        create_key_file(&path, &key).unwrap();
        let path = path.to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for (name, value) in [
            ("SKILLSCTL_KEY_FILE", path),
            ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()),
            ("SKILLSCTL_KEY_COMMAND", &format!("cat '{path}'")),
            ("SKILLSCTL_KEY", &text),
        ] {
            let environment = Environment::of_map(&[("PATH", "/usr/bin:/bin"), (name, value)]);
            let source = KeySource::resolve(&KeyFlags::default(), &environment).unwrap();
            assert_eq!(source.load(&environment).unwrap().id(), key.id(), "{name}");
            assert!(!format!("{source:?}").contains(text.trim()));
        }
    }

    #[test]
    fn a_typing_error_is_told_from_a_wrong_key_without_showing_it() {
        let text = key().to_text();
        let (before, after) = text.expose().split_at(20);
        let (digit, after) = after.split_at(1);
        let typo = format!("{before}{}{after}", if digit == "0" { "1" } else { "0" });
        let environment = Environment::of_map(&[("SKILLSCTL_KEY", &typo)]);
        let source = KeySource::resolve(&KeyFlags::default(), &environment).unwrap();
        let error = source.load(&environment).unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Key, "key_malformed"));
        assert!(error.message.starts_with("the master key from variable SKILLSCTL_KEY is malformed: its checksum"));
        assert!(!format!("{error:?}").contains(&typo[30..60]));
    }
}
