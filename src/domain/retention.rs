//! How long things are kept that are of no more use.

use std::fmt;
use std::str::FromStr;

use super::duration::Length;

/// How long one kind of thing is kept; without a length for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeping(pub(crate) Option<Length>);

impl FromStr for Keeping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" | "0" => Ok(Keeping(None)),
            text => Ok(Keeping(Some(text.parse::<Length>().map_err(|error| error.to_string())?))),
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.pad("never"),
            Some(length) => f.pad(&length.to_string()),
        }
    }
}

impl serde::Serialize for Keeping {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is removed when it is older than this. The age is that of the last time anything happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Policy {
    /// Runs, but for those that standings and quarantine still need.
    pub(crate) logs: Keeping,
    /// Records that could not be stored, since they came last.
    pub(crate) quarantine: Keeping,
    /// Learners and employers that are gone at the provider, since that was noticed.
    pub(crate) deleted: Keeping,
}

const DAY: u32 = 86_400;

impl Default for Policy {
    fn default() -> Self {
        let days = |days: u32| Keeping(Some(Length(days * DAY)));
        Policy { logs: days(400), quarantine: days(90), deleted: days(90) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeping_is_a_length_or_never() {
        for (text, shown) in [("90d", "90d"), ("never", "never"), ("0", "never"), ("48h", "2d")] {
            assert_eq!(text.parse::<Keeping>().map(|keeping| keeping.to_string()), Ok(shown.to_owned()));
        }
        assert!("soon".parse::<Keeping>().is_err());
    }
}
