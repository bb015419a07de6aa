//! How long a credential is to be used, and how long after that its predecessor may still be tried.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

use super::duration::Length;

/// How long a sync that is refused may go on with what was replaced: a provider may take a day until all of it knows of a new
/// credential.
pub(crate) const GRACE: TimeDelta = TimeDelta::hours(24);

/// How old a credential may become where its manifest does not say.
const MAX_AGE: Length = Length(180 * 86_400);

/// How old the values of a field may become before they are to be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxAge {
    Length(Length),
    /// It is no secret by itself, like the id of a client.
    Never,
}

impl Default for MaxAge {
    fn default() -> Self {
        MaxAge::Length(MAX_AGE)
    }
}

impl MaxAge {
    /// Returns the length; none where values may become as old as they like.
    pub(crate) fn length(self) -> Option<Length> {
        match self {
            MaxAge::Length(length) => Some(length),
            MaxAge::Never => None,
        }
    }

    /// Returns whether a value of this moment is too old.
    pub(crate) fn is_over(self, set_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.length().is_some_and(|length| now - set_at > length.delta())
    }
}

impl<'de> Deserialize<'de> for MaxAge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "never" => Ok(MaxAge::Never),
            length => length.parse().map(MaxAge::Length).map_err(serde::de::Error::custom),
        }
    }
}

/// Returns whether what was replaced at a moment may still be tried. One that lies far in the future is as one long ago: the
/// clock was wrong.
pub(crate) fn in_grace(replaced_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - replaced_at).abs() < GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    #[test]
    fn a_value_is_too_old_once_its_time_is_over_and_never_where_it_has_none() {
        let month = MaxAge::Length("30d".parse().unwrap());
        assert!(!month.is_over(day(0), day(30)));
        assert!(month.is_over(day(0), day(31)));
        assert!(!month.is_over(day(10), day(0)), "a clock that was set back makes nothing old");
        assert!(!MaxAge::default().is_over(day(0), day(180)) && MaxAge::default().is_over(day(0), day(181)));
        assert!(!MaxAge::Never.is_over(day(0), day(100_000)));
    }

    #[test]
    fn an_age_is_a_length_or_never() {
        let read = |text: &str| serde_json::from_value::<MaxAge>(text.into());
        assert_eq!(read("never").unwrap(), MaxAge::Never);
        assert_eq!(read("90d").unwrap(), MaxAge::Length(Length(90 * 86_400)));
        assert!(read("90").is_err() && read("Never").is_err());
    }

    #[test]
    fn what_was_replaced_may_be_tried_for_a_day_whatever_the_clock_did() {
        let hours = |hours: i64| day(100) + TimeDelta::hours(hours);
        assert!(in_grace(hours(0), hours(0)) && in_grace(hours(0), hours(23)) && !in_grace(hours(0), hours(24)));
        assert!(in_grace(hours(1), hours(0)) && !in_grace(day(40_000), hours(0)));
    }
}
