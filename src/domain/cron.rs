//! A cron expression, read in a time zone: each matching wall-clock time runs once, also where summer time (DST) begins or ends.
//!
//! - A time that the clocks skip runs at the first instant after the gap.
//! - A time that comes twice runs the first time, if the expression names hours. One that runs in every hour goes on running
//!   through the repeated hour, so that no gap is longer than its period.
//! - Days follow vixie cron: where the day of the month or the weekday begins with `*`, both must match, otherwise one of them.

use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// Five fields: minute, hour, day of the month, month, weekday.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cron {
    times: croner::Cron,
    /// Whether it runs in each of the 24 hours.
    every_hour: bool,
}

/// Longer than any two instants are apart that a change of offset sets to the same wall-clock time.
const CHANGE: TimeDelta = TimeDelta::hours(26);

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let starred = |field: usize| fields.get(field).is_some_and(|field| field.starts_with('*'));
        let times = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(starred(2) || starred(4))
            .build()
            .parse(text)
            .map_err(|error| format!("`{}` is not a cron expression: {error}", text.escape_debug()))?;
        let every_hour = (0..24).all(|hour| times.pattern.hour_match(hour).unwrap_or(false));
        let cron = Cron { times, every_hour };
        match cron.next_wall(DateTime::UNIX_EPOCH.naive_utc(), true) {
            Some(_) => Ok(cron),
            None => Err(format!("`{}` names a day that never comes", text.escape_debug())),
        }
    }
}

impl Cron {
    pub(crate) fn as_str(&self) -> &str {
        self.times.pattern.as_str()
    }

    /// Returns the first instant after `started` at which it is to run. None in the years that calendars reach is `None`.
    pub(crate) fn next(&self, started: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if self.every_hour { self.next_instant(started, zone) } else { self.next_once(started, zone) }
    }

    /// Returns the next matching wall-clock time, as a calendar without any zone has it.
    fn next_wall(&self, from: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        self.times.find_next_occurrence(&from.and_utc(), inclusive).ok().map(|next| next.naive_utc())
    }

    /// Returns the next instant of a wall-clock time that has not run yet.
    fn next_once(&self, started: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut wall = started.with_timezone(&zone).naive_local();
        loop {
            wall = self.next_wall(wall, false)?;
            let first = match zone.from_local_datetime(&wall).earliest() {
                Some(instant) => instant.to_utc(),
                None => first_change(wall.and_utc() - CHANGE, wall.and_utc() + CHANGE, |at| local(at, zone) > wall),
            };
            if first > started {
                return Some(first);
            }
        }
    }

    /// Returns the next instant whose wall-clock time matches; where one offset gives way to another, by either of them.
    fn next_instant(&self, started: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let before = offset(started, zone);
        let next = self.next_wall(local(started, zone), false)?.and_utc() - before;
        if offset(next, zone) == before {
            return Some(next);
        }
        let change = first_change(started, next, |at| offset(at, zone) != before);
        let (old, new) = (change.naive_utc() + before, local(change, zone));
        if new > old {
            // What is skipped runs at once.
            let skipped = self.next_wall(old, true).is_some_and(|wall| wall < new);
            return if skipped { Some(change) } else { self.next_at(new, change, zone) };
        }
        // Where the clocks are set back by less than an hour, the hour is full at the change and again later.
        if next == change { Some(change) } else { self.next_at(new, change, zone) }
    }

    /// Returns the next instant behind a change of offset, at which the clocks say `wall`.
    fn next_at(&self, wall: NaiveDateTime, change: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        Some(self.next_wall(wall, true)?.and_utc() - offset(change, zone))
    }
}

fn offset(at: DateTime<Utc>, zone: Tz) -> TimeDelta {
    TimeDelta::seconds(i64::from(at.with_timezone(&zone).offset().fix().local_minus_utc()))
}

fn local(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// Returns the first second after `from` at which something holds, given that it holds at `to` and from then on.
fn first_change(from: DateTime<Utc>, to: DateTime<Utc>, holds: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    let (mut low, mut high) = (from.timestamp(), to.timestamp());
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or(to);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if holds(at(middle)) { high = middle } else { low = middle }
    }
    at(high)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, Timelike as _};
    use proptest::prelude::*;

    use super::*;

    const ZONES: [Tz; 3] = [chrono_tz::Europe::London, chrono_tz::America::Santiago, chrono_tz::Australia::Lord_Howe];

    fn next(text: &str, started: &str, zone: Tz) -> String {
        let next = text.parse::<Cron>().unwrap().next(started.parse().unwrap(), zone).unwrap();
        next.format("%F %RZ").to_string()
    }

    #[test]
    fn a_fixed_time_runs_once_in_the_hour_that_comes_twice() {
        let zone = chrono_tz::Europe::London;
        // 2026-10-25: 01:00 to 02:00 local comes at 00:00Z and again at 01:00Z.
        assert_eq!(next("30 1 * * *", "2026-10-24T12:00:00Z", zone), "2026-10-25 00:30Z");
        assert_eq!(next("30 1 * * *", "2026-10-25T00:30:00Z", zone), "2026-10-26 01:30Z");
        for started in ["2026-10-25T01:05:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"] {
            assert_eq!(next("30 1 * * *", started, zone), "2026-10-26 01:30Z", "{started}");
        }
        assert_eq!(next("*/20 1 * * *", "2026-10-25T00:40:00Z", zone), "2026-10-26 01:00Z");
    }

    #[test]
    fn what_runs_in_every_hour_runs_through_the_repeated_one() {
        let zone = chrono_tz::Europe::London;
        assert_eq!(next("*/15 * * * *", "2026-10-25T00:45:00Z", zone), "2026-10-25 01:00Z");
        assert_eq!(next("*/15 * * * *", "2026-10-25T01:00:00Z", zone), "2026-10-25 01:15Z");
        assert_eq!(next("0 * * * *", "2026-10-25T00:00:00Z", zone), "2026-10-25 01:00Z");
        assert_eq!(next("0 * * * *", "2026-10-25T01:00:00Z", zone), "2026-10-25 02:00Z");
    }

    #[test]
    fn a_skipped_time_runs_behind_the_gap() {
        let zone = chrono_tz::Europe::London;
        assert_eq!(next("30 1 * * *", "2026-03-28T12:00:00Z", zone), "2026-03-29 01:00Z");
        assert_eq!(next("30 1 * * *", "2026-03-29T01:00:00Z", zone), "2026-03-30 00:30Z");
        assert_eq!(next("30 * * * *", "2026-03-29T00:30:00Z", zone), "2026-03-29 01:00Z");
        assert_eq!(next("30 * * * *", "2026-03-29T01:00:00Z", zone), "2026-03-29 01:30Z");
    }

    #[test]
    fn a_day_that_never_comes_is_refused() {
        for text in ["0 0 30 2 *", "0 9 31 4 *", "0 0 31 2,4,6,9,11 *", "0 0 31 4 */2", "0 0 30,31 FEB *"] {
            assert!(text.parse::<Cron>().unwrap_err().contains("never comes"), "{text}");
        }
        for text in ["0 0 29 2 *", "0 0 31 * *", "0 0 30 2 1", "0 0 29 2 */7"] {
            assert!(text.parse::<Cron>().is_ok(), "{text}");
        }
    }

    #[test]
    fn days_that_begin_with_a_star_must_both_match() {
        let zone = chrono_tz::Europe::London;
        // Mondays of uneven days; then the 13th, or a Friday.
        assert_eq!(next("0 9 */2 * 1", "2026-06-01T12:00:00Z", zone), "2026-06-15 08:00Z");
        assert_eq!(next("0 9 13 * 5", "2026-06-06T12:00:00Z", zone), "2026-06-12 08:00Z");
        assert_eq!(next("0 9 13 * 5", "2026-06-12T12:00:00Z", zone), "2026-06-13 08:00Z");
    }

    /// A field of a random expression: what is written, and what it means, read without the parser under test.
    #[derive(Debug, Clone)]
    struct Field(String, Vec<u32>);

    fn field(from: u32, to: u32) -> impl Strategy<Value = Field> {
        let all = move |step: u32| (from..=to).step_by(step as usize).collect::<Vec<_>>();
        prop_oneof![
            3 => Just(Field("*".into(), all(1))),
            1 => (2..9_u32).prop_map(move |step| Field(format!("*/{step}"), all(step))),
            2 => (from..=to).prop_map(|at| Field(at.to_string(), vec![at])),
            1 => (from..=to, from..=to).prop_map(|(a, b)| Field(format!("{a},{b}"), vec![a, b])),
        ]
    }

    /// Says what runs, by going through the minutes one by one: slow, and nothing but the rules at the top of this file.
    fn slow(fields: &[Field; 5], from: DateTime<Utc>, minutes: i64, zone: Tz) -> Vec<DateTime<Utc>> {
        let [minute, hour, day, month, weekday] = fields;
        let both = day.0.starts_with('*') || weekday.0.starts_with('*');
        let matches = |wall: NaiveDateTime| {
            let (by_day, by_weekday) =
                (day.1.contains(&wall.day()), weekday.1.contains(&wall.weekday().num_days_from_sunday()));
            minute.1.contains(&wall.minute())
                && hour.1.contains(&wall.hour())
                && month.1.contains(&wall.month())
                && if both { by_day && by_weekday } else { by_day || by_weekday }
        };
        let every_hour = (0..24).all(|each| hour.1.contains(&each));
        let mut runs = Vec::new();
        // The latest wall-clock time that has been so far.
        let mut seen = local(from, zone) - TimeDelta::minutes(1);
        for step in 0..minutes {
            let at = from + TimeDelta::minutes(step);
            let wall = local(at, zone);
            let last = local(at - TimeDelta::minutes(1), zone) + TimeDelta::minutes(1);
            let mut is_due = matches(wall) && (every_hour || wall > seen);
            let mut skipped = last;
            while skipped < wall {
                is_due |= matches(skipped) && (every_hour || skipped > seen);
                skipped += TimeDelta::minutes(1);
            }
            is_due |= wall < last && every_hour && matches(last);
            if is_due {
                runs.push(at);
            }
            seen = seen.max(wall);
        }
        runs
    }

    /// The instants of ten years at which a zone changes its offset.
    fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
        let start: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
        let hours = (0..10 * 366 * 24).map(|hour| start + TimeDelta::hours(hour));
        let days = hours.filter(|at| offset(*at, zone) != offset(*at + TimeDelta::hours(1), zone));
        days.map(|at| first_change(at, at + TimeDelta::hours(1), |later| offset(later, zone) != offset(at, zone)))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

        /// Every change of ten years of three zones, each with two days before and behind it, minute by minute.
        #[test]
        fn runs_are_those_of_a_reference_that_steps_by_minutes(
            (minute, hour, day, month, weekday) in (field(0, 59), field(0, 23), field(1, 31), Just(Field("*".into(), (1..=12).collect())), field(0, 6)),
            zone in 0..3_usize,
            pick in any::<prop::sample::Index>(),
            manual in 0..2_880_i64,
        ) {
            let (zone, fields) = (ZONES[zone], [minute, hour, day, month, weekday]);
            let text = fields.iter().map(|field| field.0.as_str()).collect::<Vec<_>>().join(" ");
            let Ok(cron) = text.parse::<Cron>() else { return Ok(()) };
            let changes = changes_of(zone);
            let from = changes[pick.index(changes.len())] - TimeDelta::days(2);
            let expected = slow(&fields, from, 4 * 1_440, zone);
            let end = from + TimeDelta::days(4);
            let mut found = Vec::new();
            let mut at = from - TimeDelta::seconds(1);
            while let Some(next) = cron.next(at, zone).filter(|next| *next < end) {
                prop_assert!(next > at, "{text} {zone}: after its last start");
                found.push(next);
                at = next;
            }
            prop_assert_eq!(&found, &expected, "{} {}", text, zone);
            // A start by hand at any moment changes nothing of what follows it.
            let by_hand = from + TimeDelta::minutes(manual) + TimeDelta::seconds(7);
            let next = cron.next(by_hand, zone).filter(|next| *next < end);
            prop_assert_eq!(next, expected.iter().copied().find(|due| *due > by_hand), "{} {} {}", text, zone, by_hand);
        }
    }

    fn changes_of(zone: Tz) -> &'static [DateTime<Utc>] {
        static CHANGES: std::sync::OnceLock<Vec<Vec<DateTime<Utc>>>> = std::sync::OnceLock::new();
        let all = CHANGES.get_or_init(|| ZONES.iter().map(|zone| changes(*zone)).collect());
        &all[ZONES.iter().position(|known| *known == zone).unwrap()]
    }

    /// More by `PROPTEST_CASES`.
    fn cases() -> u32 {
        ProptestConfig::default().cases.max(256)
    }
}
