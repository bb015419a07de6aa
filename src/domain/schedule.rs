//! When a sync is due: frequencies such as `hourly`, `15m`, `daily` or a cron expression, read in a time zone.
//!
//! Intervals are cut into slots that lie on a fixed grid, moved by an offset of each (organization, provider)'s own, so
//! that starts spread, a late start does not push the next one, and two calls in one slot run once.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cron::Cron;
use super::duration::Length;
use crate::error::nearest;

/// The shortest interval that may be set.
const SHORTEST: u32 = 60;
/// Daily and weekly syncs start in this part of the night, local time: from 01:00, within four hours.
const NIGHT_START_SECONDS: i64 = 3_600;
const NIGHT_SECONDS: u64 = 4 * 3_600;
/// A failed run is tried again after this long, then twice as long each time, but never later than its schedule.
const FIRST_RETRY: TimeDelta = TimeDelta::minutes(5);

/// How often a provider of an organization is synced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frequency {
    Every(Length),
    Hourly,
    Daily,
    Weekly,
    Manual,
    Cron(Box<Cron>),
}

const WORDS: [(&str, Frequency); 4] = [
    ("hourly", Frequency::Hourly),
    ("daily", Frequency::Daily),
    ("weekly", Frequency::Weekly),
    ("manual", Frequency::Manual),
];

impl FromStr for Frequency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, frequency)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(frequency.clone());
        }
        let fields = text.split_whitespace().count();
        if fields == 5 {
            return Ok(Frequency::Cron(Box::new(text.parse()?)));
        }
        match text.parse::<Length>() {
            Ok(length) if length.0 < SHORTEST => Err(format!("`{text}` is too often: the shortest frequency is 1m")),
            Ok(length) if length.0 > 31 * 86_400 => {
                Err(format!("`{text}` is too seldom: the longest frequency is 31d"))
            }
            Ok(length) => Ok(Frequency::Every(length)),
            Err(_) => {
                let meant = nearest(text, WORDS.map(|(word, _)| word))
                    .map_or(String::new(), |word| format!("; did you mean `{word}`?"));
                Err(format!(
                    "`{}` is not a sync frequency: use hourly, daily, weekly, manual, a length like 15m or 2h, or five cron fields{meant}",
                    text.escape_debug()
                ))
            }
        }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frequency::Every(length) => length.fmt(f),
            Frequency::Cron(cron) => f.pad(cron.as_str()),
            word => f.pad(WORDS.iter().find(|(_, known)| known == word).map_or("", |(name, _)| name)),
        }
    }
}

impl Serialize for Frequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Frequency {
    /// Returns the frequency as a sentence says it: `hourly`, `every 15 minutes`, `at 30 6 * * *`.
    pub(crate) fn words(&self) -> String {
        match self {
            Frequency::Every(Length(seconds)) => {
                let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
                let (size, unit) = units.into_iter().find(|(size, _)| seconds % size == 0).unwrap_or((1, "second"));
                match seconds / size {
                    1 => format!("every {unit}"),
                    count => format!("every {count} {unit}s"),
                }
            }
            Frequency::Cron(cron) => format!("at {}", cron.as_str()),
            Frequency::Manual => "by hand".to_owned(),
            word => word.to_string(),
        }
    }
}

/// What is known of the runs so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastRuns {
    /// When the newest run started.
    pub(crate) started: Option<DateTime<Utc>>,
    /// How many runs in a row have failed since the last one that did not.
    pub(crate) failures: u32,
    /// Whether the newest run was cut off because its time was over: it goes on as soon as it can.
    pub(crate) cut_off: bool,
    /// The number of the newest run.
    pub(crate) newest: Option<i64>,
    /// When the provider lets the newest run go on, if it deferred it and told.
    pub(crate) not_before: Option<DateTime<Utc>>,
}

impl Frequency {
    /// Returns when the next run is due, `None` for `manual`. An instant that is not in the future is due now.
    ///
    /// `seed` tells (organization, provider) pairs apart and stays the same, so that each keeps its place in the slot.
    pub(crate) fn next(&self, last: LastRuns, zone: Tz, seed: u64) -> Option<DateTime<Utc>> {
        if *self == Frequency::Manual {
            return None;
        }
        let Some(started) = last.started else { return Some(DateTime::UNIX_EPOCH) };
        if last.cut_off {
            return Some(started);
        }
        let scheduled = match self {
            Frequency::Every(length) => next_slot(started, i64::from(length.0), seed),
            Frequency::Hourly => next_slot(started, 3_600, seed),
            Frequency::Daily => next_night(started, zone, seed, |_| true),
            Frequency::Weekly => next_night(started, zone, seed, |date| date.weekday() == chrono::Weekday::Mon),
            Frequency::Cron(cron) => cron.next(started, zone)?,
            Frequency::Manual => return None,
        };
        if let Some(not_before) = last.not_before {
            // Neither the schedule nor the usual retries know better than the provider.
            return Some(not_before);
        }
        if last.failures == 0 {
            return Some(scheduled);
        }
        let wait = FIRST_RETRY * 2_i32.pow(last.failures.saturating_sub(1).min(8));
        Some(scheduled.min(started + wait))
    }
}

fn next_slot(started: DateTime<Utc>, interval: i64, seed: u64) -> DateTime<Utc> {
    let offset = i64::try_from(seed % u64::try_from(interval).unwrap_or(1)).unwrap_or(0);
    let slot = (started.timestamp() - offset).div_euclid(interval);
    let next = DateTime::from_timestamp((slot + 1) * interval + offset, 0).unwrap_or(started);
    // A run that was forced just before the edge of a slot is not run again right behind it. Many may have been forced at
    // once, and are not to come back at once.
    let half = interval / 2;
    let soonest = started + TimeDelta::seconds(half);
    if next < soonest { soonest + TimeDelta::seconds(offset % half) } else { next }
}

fn next_night(started: DateTime<Utc>, zone: Tz, seed: u64, wanted: impl Fn(NaiveDate) -> bool) -> DateTime<Utc> {
    let offset = TimeDelta::seconds(NIGHT_START_SECONDS + i64::try_from(seed % NIGHT_SECONDS).unwrap_or(0));
    let mut date = started.with_timezone(&zone).date_naive();
    loop {
        let at = date.and_time(NaiveTime::MIN) + offset;
        // An hour that the summer time change skips has no instant: the next one that exists stands for it.
        let instant = zone
            .from_local_datetime(&at)
            .earliest()
            .or_else(|| zone.from_local_datetime(&(at + TimeDelta::hours(1))).earliest())
            .map_or_else(|| at.and_utc(), |local| local.to_utc());
        if wanted(date) && instant > started {
            return instant;
        }
        let Some(next) = date.checked_add_days(Days::new(1)) else { return DateTime::<Utc>::MAX_UTC };
        date = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn next(frequency: &str, started: &str, seed: u64) -> DateTime<Utc> {
        let last = LastRuns { started: Some(at(started)), ..LastRuns::default() };
        frequency.parse::<Frequency>().unwrap().next(last, chrono_tz::Europe::London, seed).unwrap()
    }

    #[test]
    fn frequencies_are_read_and_written_alike() {
        for text in ["hourly", "daily", "weekly", "manual", "15m", "2h", "*/10 8-18 * * 1-5"] {
            assert_eq!(text.parse::<Frequency>().unwrap().to_string(), text);
        }
        assert!("huorly".parse::<Frequency>().unwrap_err().contains("did you mean `hourly`"));
        for bad in ["", "10s", "40d", "* * * *", "61 * * * *", "* * * * * *", "every day"] {
            assert!(bad.parse::<Frequency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn frequencies_are_said_in_words() {
        let words = |text: &str| text.parse::<Frequency>().unwrap().words();
        assert_eq!(
            ["15m", "2h", "1h", "1d", "90s", "daily", "manual", "30 6 * * *"].map(words),
            [
                "every 15 minutes",
                "every 2 hours",
                "every hour",
                "every day",
                "every 90 seconds",
                "daily",
                "by hand",
                "at 30 6 * * *"
            ]
        );
    }

    #[test]
    fn never_run_is_due_and_manual_never_is() {
        let zone = chrono_tz::Europe::London;
        assert_eq!(Frequency::Hourly.next(LastRuns::default(), zone, 3), Some(DateTime::UNIX_EPOCH));
        assert_eq!(Frequency::Manual.next(LastRuns::default(), zone, 3), None);
    }

    #[test]
    fn a_late_start_does_not_push_the_next_slot() {
        assert_eq!(next("15m", "2026-11-22T09:00:07Z", 0), at("2026-11-22T09:15:00Z"));
        assert_eq!(next("15m", "2026-11-22T09:06:59Z", 0), at("2026-11-22T09:15:00Z"));
        assert_eq!(next("hourly", "2026-11-22T09:00:07Z", 600), at("2026-11-22T09:40:07Z"));
        assert_eq!(next("hourly", "2026-11-22T09:10:07Z", 600), at("2026-11-22T10:10:00Z"));
    }

    #[test]
    fn a_run_just_before_the_edge_of_a_slot_is_not_repeated_behind_it() {
        assert_eq!(next("hourly", "2026-11-22T09:59:59Z", 0), at("2026-11-22T10:29:59Z"));
    }

    #[test]
    fn daily_is_a_night_hour_of_the_organization_in_summer_and_winter() {
        assert_eq!(next("daily", "2026-07-01T12:00:00Z", 0), at("2026-07-02T00:00:00Z"));
        assert_eq!(next("daily", "2026-12-01T12:00:00Z", 0), at("2026-12-02T01:00:00Z"));
        // 2026-03-29: 01:00 to 02:00 local does not exist in London.
        assert_eq!(next("daily", "2026-03-28T12:00:00Z", 0), at("2026-03-29T01:00:00Z"));
        assert_eq!(next("weekly", "2026-11-22T12:00:00Z", 0), at("2026-11-23T01:00:00Z"));
        assert_eq!(next("weekly", "2026-11-23T12:00:00Z", 0), at("2026-11-30T01:00:00Z"));
    }

    #[test]
    fn cron_is_read_in_the_zone_of_the_organization() {
        assert_eq!(next("30 6 * * *", "2026-07-01T12:00:00Z", 9), at("2026-07-02T05:30:00Z"));
        assert_eq!(next("30 6 * * *", "2026-12-01T12:00:00Z", 9), at("2026-12-02T06:30:00Z"));
    }

    #[test]
    fn a_failed_run_is_tried_again_soon_but_never_later_than_planned() {
        let zone = chrono_tz::Europe::London;
        let started = at("2026-11-22T12:00:00Z");
        let due = |failures| {
            let last = LastRuns { started: Some(started), failures, ..LastRuns::default() };
            Frequency::Daily.next(last, zone, 0).unwrap()
        };
        assert_eq!(due(1), at("2026-11-22T12:05:00Z"));
        assert_eq!(due(3), at("2026-11-22T12:20:00Z"));
        assert_eq!(due(30), at("2026-11-23T01:00:00Z"));
    }

    #[test]
    fn a_run_that_was_cut_off_goes_on_at_once() {
        let started = at("2026-11-22T12:00:00Z");
        let last = LastRuns { started: Some(started), cut_off: true, ..LastRuns::default() };
        assert_eq!(Frequency::Weekly.next(last, chrono_tz::Europe::London, 0), Some(started));
        assert_eq!(Frequency::Manual.next(last, chrono_tz::Europe::London, 0), None);
    }

    #[test]
    fn a_deferred_run_goes_on_when_the_provider_said_not_before_and_not_later() {
        let due = |frequency: Frequency, not_before| {
            let not_before = Some(at(not_before));
            let last =
                LastRuns { started: Some(at("2026-11-22T12:00:00Z")), failures: 1, not_before, ..LastRuns::default() };
            frequency.next(last, chrono_tz::Europe::London, 0)
        };
        assert_eq!(due(Frequency::Daily, "2026-11-22T12:40:00Z"), Some(at("2026-11-22T12:40:00Z")));
        assert_eq!(due(Frequency::Every(Length(900)), "2026-11-22T20:00:00Z"), Some(at("2026-11-22T20:00:00Z")));
        assert_eq!(due(Frequency::Manual, "2026-11-22T20:00:00Z"), None);
    }
}
