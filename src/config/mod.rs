//! Where the database and the master key come from: a flag, the environment, or the default place.

mod actor;
mod caller;
mod environment;
mod key_file;
mod key_source;
#[cfg(test)]
pub(crate) mod played;
mod process;
pub(crate) mod secret_command;

use std::path::PathBuf;

pub(crate) use actor::actor;
pub(crate) use caller::Caller;
pub(crate) use environment::{Environment, now, running_now};
pub(crate) use key_file::create_key_file;
pub(crate) use key_source::{KEY_VARIABLES, KeyFlags, KeySource, default_key_file};
pub(crate) use process::harden_process;

use crate::error::{Exit, UserError};

/// The files of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The database.
    pub(crate) db: PathBuf,
}

impl Paths {
    /// Returns the flag's path, else that of `SKILLSCTL_DB`, else the one in the user's data folder.
    pub(crate) fn resolve(db_flag: Option<PathBuf>, environment: &Environment) -> Result<Self, UserError> {
        let db = db_flag
            .or_else(|| environment.path("SKILLSCTL_DB"))
            .or_else(|| Some(environment.data_folder()?.join("skillsctl.db")))
            .ok_or_else(|| {
                UserError::new(Exit::Usage, "db_path_unknown", "no folder for the database is known: HOME is not set")
                    .hint("name the database with `--db PATH` or SKILLSCTL_DB")
            })?;
        Ok(Paths { db })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db(flag: Option<&str>, environment: &[(&str, &str)]) -> Result<PathBuf, UserError> {
        Paths::resolve(flag.map(PathBuf::from), &Environment::of_map(environment)).map(|paths| paths.db)
    }

    #[test]
    fn a_flag_beats_the_variable_beats_the_data_folder_beats_home() {
        let all = [("SKILLSCTL_DB", "/env.db"), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/ann")];
        assert_eq!(db(Some("flag.db"), &all).unwrap(), PathBuf::from("flag.db"));
        assert_eq!(db(None, &all).unwrap(), PathBuf::from("/env.db"));
        assert_eq!(db(None, &all[1..]).unwrap(), PathBuf::from("/data/skillsctl/skillsctl.db"));
        assert_eq!(db(None, &all[2..]).unwrap(), PathBuf::from("/home/ann/.local/share/skillsctl/skillsctl.db"));
    }

    #[test]
    fn relative_and_empty_folders_are_as_if_not_set() {
        let home = ("HOME", "/home/ann");
        let expected = PathBuf::from("/home/ann/.local/share/skillsctl/skillsctl.db");
        assert_eq!(db(None, &[("XDG_DATA_HOME", "data"), home]).unwrap(), expected);
        assert_eq!(db(None, &[("XDG_DATA_HOME", ""), ("SKILLSCTL_DB", ""), home]).unwrap(), expected);
    }

    #[test]
    fn an_empty_environment_needs_the_flag_and_says_so() {
        assert_eq!(db(Some("/srv/skills.db"), &[]).unwrap(), PathBuf::from("/srv/skills.db"));
        let error = db(None, &[("HOME", "")]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.hint.unwrap().contains("--db"));
    }
}
