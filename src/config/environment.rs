//! What the process is given from outside: its variables and the clock. Nothing else reads either.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::error::{Exit, UserError};

/// The variables of the process, or made-up ones in a test. An empty variable is as one that is not set.
pub(crate) struct Environment {
    lookup: Box<Lookup>,
}

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Environment {
    /// Returns the variables of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads variables")]
    pub(crate) fn of_process() -> Self {
        Environment { lookup: Box::new(|name| std::env::var_os(name)) }
    }

    /// Returns what is heeded of somebody for whom sudo runs the program: nothing that names a file, a command or a key, but
    /// where the database, the last changes seen and the home are, which sudo sets itself unless it is told not to.
    #[must_use]
    pub(crate) fn of_somebody_else(self) -> Self {
        const HEEDED: [&str; 14] = [
            "SKILLSCTL_DB",
            "SKILLSCTL_ANCHORS",
            "HOME",
            "USER",
            "LOGNAME",
            "SUDO_USER",
            "SUDO_UID",
            "SKILLSCTL_ROLE",
            "TERM",
            "NO_COLOR",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
        ];
        Environment { lookup: Box::new(move |name| HEEDED.contains(&name).then(|| (self.lookup)(name)).flatten()) }
    }

    /// Returns just these variables.
    #[cfg(test)]
    pub(crate) fn of_map(variables: &[(&str, &str)]) -> Self {
        let map: std::collections::HashMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Environment { lookup: Box::new(move |name| map.get(name).cloned()) }
    }

    /// Returns a variable as it is.
    pub(crate) fn raw(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Returns a variable that must be text; an error names the variable and never shows its value.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, UserError> {
        self.raw(name).map(OsString::into_string).transpose().map_err(|_| {
            UserError::new(Exit::Usage, "variable_not_text", format!("the value of {name} is not UTF-8 text"))
        })
    }

    /// Returns a variable that is a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    /// Returns a variable that is an absolute path: the XDG specification wants relative ones ignored.
    pub(crate) fn absolute_path(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    /// Returns this program's folder for data.
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        self.folder("XDG_DATA_HOME", ".local/share")
    }

    /// Returns this program's folder for configuration.
    pub(crate) fn config_folder(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME", ".config")
    }

    /// Returns the folder that holds the last change seen of each database: not beside them, so that it does not go back with
    /// one that is brought back.
    pub(crate) fn anchor_folder(&self) -> Option<PathBuf> {
        self.path("SKILLSCTL_ANCHORS").or_else(|| self.folder("XDG_STATE_HOME", ".local/state"))
    }

    fn folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let parent = self.absolute_path(variable).or_else(|| Some(self.absolute_path("HOME")?.join(below_home)))?;
        Some(parent.join("skillsctl"))
    }
}

/// Returns the time. In debug builds `SKILLSCTL_TEST_NOW` (RFC 3339) sets it, so that tests can move it.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub(crate) fn now() -> DateTime<Utc> {
    #[cfg(test)]
    if let Some(played) = super::played::now() {
        return played;
    }
    if cfg!(debug_assertions)
        && let Some(set) = Environment::of_process().raw("SKILLSCTL_TEST_NOW")
    {
        return parse_test_now(&set.to_string_lossy());
    }
    Utc::now()
}

/// Returns the time for measuring waits by, the same for all processes. Where a test sets the clock, it begins there and
/// goes on: a clock that stands would be waited for without end.
pub(crate) fn running_now() -> DateTime<Utc> {
    if cfg!(debug_assertions) {
        static BEGAN: OnceLock<(Instant, DateTime<Utc>)> = OnceLock::new();
        if Environment::of_process().raw("SKILLSCTL_TEST_NOW").is_some() {
            let (began, set) = BEGAN.get_or_init(|| (Instant::now(), now()));
            return *set + began.elapsed();
        }
    }
    now()
}

/// A test that sets a time and gets another one would be worse than one that stops here.
fn parse_test_now(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("SKILLSCTL_TEST_NOW is a time in RFC 3339").to_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let environment = Environment::of_map(&[("EMPTY", ""), ("FULL", "x")]);
        assert_eq!(environment.raw("EMPTY"), None);
        assert_eq!(environment.text("FULL").unwrap().as_deref(), Some("x"));
        assert_eq!(environment.text("ABSENT").unwrap(), None);
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused_by_name() {
        use std::os::unix::ffi::OsStringExt;
        let environment = Environment { lookup: Box::new(|_| Some(OsString::from_vec(b"hunter2\xff".to_vec()))) };
        let error = environment.text("SKILLSCTL_KEY").unwrap_err();
        assert!(error.message.contains("SKILLSCTL_KEY") && !format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_test_can_set_the_time() {
        assert_eq!(parse_test_now("2026-11-30T10:00:07+01:00").to_rfc3339(), "2026-11-30T09:00:07+00:00");
    }
}
