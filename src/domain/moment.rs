//! Moments as people write them: a date, a time in RFC 3339, or how long ago: `2026-11-01`, `30d`.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};

use super::duration::Length;

/// A moment, which may be told from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(DateTime<Utc>),
    Ago(Length),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Moment::At(date.and_time(NaiveTime::MIN).and_utc()));
        }
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment::At(at.to_utc()));
        }
        text.parse().map(Moment::Ago).map_err(|_| {
            format!(
                "`{}` is no moment: write a date like `2026-11-01`, a time like `2026-11-01T09:00:00Z`, or how long ago, like `30d`",
                text.escape_debug()
            )
        })
    }
}

impl Moment {
    /// Returns the instant that is meant.
    pub(crate) fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Moment::At(at) => at,
            Moment::Ago(length) => now - length.delta(),
        }
    }
}

/// A stretch of time that is over, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

impl Range {
    /// Returns the time between two moments, the second being now where none is given; or says what is wrong with them.
    pub(crate) fn new(from: Moment, to: Option<Moment>, now: DateTime<Utc>) -> Result<Self, String> {
        let range = Range { from: from.at(now), to: to.map_or(now, |to| to.at(now)) };
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        if range.to > now {
            return Err(format!("{} is in the future, so nothing can have changed until then", shown(range.to)));
        }
        if range.from >= range.to {
            return Err(format!("{} does not lie before {}", shown(range.from), shown(range.to)));
        }
        Ok(range)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(f, "{} to {}", shown(self.from), shown(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn range(from: &str, to: Option<&str>) -> Result<String, String> {
        let now = at("2026-11-30T09:00:00Z");
        Range::new(from.parse()?, to.map(str::parse).transpose()?, now).map(|range| range.to_string())
    }

    #[test]
    fn a_date_is_its_first_moment_and_a_length_is_counted_back_from_now() {
        assert_eq!("2026-11-01".parse(), Ok(Moment::At(at("2026-11-01T00:00:00Z"))));
        assert_eq!("2026-11-01T10:00:00+01:00".parse(), Ok(Moment::At(at("2026-11-01T09:00:00Z"))));
        assert_eq!(range("30d", Some("2h")).unwrap(), "2026-10-31T09:00:00Z to 2026-11-30T07:00:00Z");
        assert_eq!(range("2026-11-01", None).unwrap(), "2026-11-01T00:00:00Z to 2026-11-30T09:00:00Z");
        for bad in ["", "yesterday", "2026-13-01", "30", "2026-11-01 09:00"] {
            assert!(bad.parse::<Moment>().unwrap_err().contains("`30d`"), "{bad}");
        }
    }

    #[test]
    fn a_range_is_over_and_not_empty() {
        assert!(range("2026-11-01", Some("2026-12-01")).unwrap_err().contains("in the future"));
        assert!(range("2026-12-01", None).unwrap_err().contains("does not lie before"));
        assert!(range("2026-11-02", Some("2026-11-01")).unwrap_err().contains("does not lie before"));
        assert!(range("2026-11-01", Some("2026-11-01")).is_err());
    }
}
