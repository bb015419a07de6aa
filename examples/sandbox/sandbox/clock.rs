//! Time as the sandbox keeps it, and as each service writes it.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate, Utc};

/// Units of 100 ns since 1970 in UTC: the finest that any of the services shows.
pub(crate) type Ticks = i64;

pub(crate) const SECOND: Ticks = 10_000_000;
pub(crate) const MILLI: Ticks = SECOND / 1000;
pub(crate) const DAY: Ticks = 86_400 * SECOND;
pub(crate) const YEAR: Ticks = 365 * DAY;

/// Returns the time now.
pub(crate) fn now() -> Ticks {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() / 100);
    Ticks::try_from(since).unwrap_or(Ticks::MAX)
}

/// Returns the midnight that began the day of `at`.
pub(crate) fn midnight(at: Ticks) -> Ticks {
    at - at.rem_euclid(DAY)
}

/// Reads an RFC 3339 date-time, or a bare date as its midnight.
pub(crate) fn parse(text: &str) -> Option<Ticks> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp() * SECOND + Ticks::from(time.timestamp_subsec_nanos()) / 100);
    }
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp() * SECOND)
}

/// Returns `2025-06-11`.
pub(crate) fn date(at: Ticks) -> String {
    calendar(at).format("%Y-%m-%d").to_string()
}

/// Returns `2025-06-11T14:22:05Z`, as Bud writes it.
pub(crate) fn seconds(at: Ticks) -> String {
    calendar(at).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns `2025-06-11T14:22:05.137Z`, as HubSpot and OneFile write it.
pub(crate) fn millis(at: Ticks) -> String {
    calendar(at).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Returns `2025-06-11T14:22:05.000+0000`, as Salesforce writes it.
pub(crate) fn salesforce(at: Ticks) -> String {
    calendar(at).format("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// Returns `2025-06-11T14:22:05.68801Z`, as Aptem writes it: up to seven digits, trailing zeros trimmed.
pub(crate) fn aptem(at: Ticks) -> String {
    let whole = calendar(at).format("%Y-%m-%dT%H:%M:%S");
    let fraction = format!("{:07}", at.rem_euclid(SECOND));
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}Z"),
        digits => format!("{whole}.{digits}Z"),
    }
}

/// Returns the IMF-fixdate of a `Date` header.
pub(crate) fn http_date(at: Ticks) -> String {
    calendar(at).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn calendar(at: Ticks) -> DateTime<Utc> {
    let nanos = u32::try_from(at.rem_euclid(SECOND) * 100).unwrap_or(0);
    DateTime::from_timestamp(at.div_euclid(SECOND), nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aptem_trims_zeros_of_seven_digits() {
        let written = ["2025-11-25T10:57:52.6880167Z", "2025-11-25T10:57:52.68Z", "2025-11-25T10:57:52Z"];
        for text in written {
            assert_eq!(aptem(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn every_service_writes_the_same_moment_its_own_way() {
        let at = parse("2025-06-11T15:22:05.137+01:00").unwrap();
        assert_eq!(millis(at), "2025-06-11T14:22:05.137Z");
        assert_eq!(salesforce(at), "2025-06-11T14:22:05.000+0000");
        assert_eq!(seconds(at), "2025-06-11T14:22:05Z");
        assert_eq!(http_date(at), "Wed, 11 Jun 2025 14:22:05 GMT");
        assert_eq!(parse("2025-06-11"), Some(midnight(at)));
    }
}
