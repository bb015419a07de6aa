//! How a value looks to a person: times, numbers, states.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::show::{Ink, show};

/// One value of a row, before it is known where it will be shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Nothing there: `-` on a terminal, empty in a pipe.
    Empty,
    /// Any text; it is made safe when it is shown, so it has no styles of its own.
    Text(String),
    /// A moment: "2 minutes ago" on a terminal, RFC 3339 in a pipe.
    Time(DateTime<Utc>),
    /// A whole number: on the right and in thousands on a terminal.
    Number(i64),
    /// A state with its word; the word alone must tell the whole meaning.
    State(State, String),
}

impl Cell {
    /// Returns a text cell.
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// Returns a text cell, or an empty one where there is no text.
    pub(crate) fn text_or_empty(text: Option<impl Into<String>>) -> Cell {
        text.map_or(Cell::Empty, Cell::text)
    }

    /// Returns a time cell, or an empty one for what has not happened.
    pub(crate) fn time(time: impl Into<Option<DateTime<Utc>>>) -> Cell {
        time.into().map_or(Cell::Empty, Cell::Time)
    }

    /// Returns a number cell; what does not fit an `i64` is shown as text.
    pub(crate) fn number(number: impl TryInto<i64> + ToString + Copy) -> Cell {
        number.try_into().map_or_else(|_| Cell::Text(number.to_string()), Cell::Number)
    }

    /// Returns a state cell.
    pub(crate) fn state(state: State, word: impl Into<String>) -> Cell {
        Cell::State(state, word.into())
    }

    /// Returns the cell as safe text.
    pub(super) fn render(&self, look: &Look) -> String {
        match self {
            Cell::Empty if look.terminal => look.dim("-"),
            Cell::Empty => String::new(),
            Cell::Text(text) => show(text).into_owned(),
            Cell::Time(time) => look.time(*time),
            Cell::Number(number) => look.number(*number),
            Cell::State(state, word) => look.state(*state, word),
        }
    }
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be: `✓`.
    Ok,
    /// Not as it should be: `✗`.
    Failed,
    /// Works, but wants looking at: `!`.
    Doubtful,
    /// Under way: `…`.
    Running,
    /// Neither good nor bad: no symbol.
    Neutral,
}

/// Where and when something is shown. Its styles are marks that become colours, or nothing, when printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    terminal: bool,
    now: DateTime<Utc>,
}

impl Look {
    /// Returns the look of a terminal or of a pipe at a moment.
    pub(crate) fn new(terminal: bool, now: DateTime<Utc>) -> Self {
        Look { terminal, now }
    }

    /// Returns "2 minutes ago" or "in 13 minutes" on a terminal, RFC 3339 UTC with milliseconds in a pipe.
    pub(crate) fn time(&self, time: DateTime<Utc>) -> String {
        if self.terminal { relative(time, self.now) } else { time.to_rfc3339_opts(SecondsFormat::Millis, true) }
    }

    /// Returns a duration in its two largest units: `850 ms`, `41 s`, `4 min 5 s`, `2 days 3 h`.
    pub(crate) fn duration_ms(&self, ms: u64) -> String {
        let s = ms / 1000;
        let (large, unit, small, unit_of_small) = match s {
            0 => return format!("{ms} ms"),
            1..60 => return format!("{s} s"),
            60..3600 => (s / 60, "min", s % 60, "s"),
            3600..86_400 => (s / 3600, "h", s % 3600 / 60, "min"),
            _ => (s / 86_400, if s / 86_400 == 1 { "day" } else { "days" }, s % 86_400 / 3600, "h"),
        };
        match small {
            0 => format!("{large} {unit}"),
            _ => format!("{large} {unit} {small} {unit_of_small}"),
        }
    }

    /// Returns a number, in thousands on a terminal: `18,204`.
    pub(crate) fn number(&self, number: i64) -> String {
        if self.terminal { thousands(number) } else { number.to_string() }
    }

    /// Returns a state as its word with symbol and colour on a terminal, as its word in a pipe.
    pub(crate) fn state(&self, state: State, word: &str) -> String {
        if !self.terminal {
            return show(word).into_owned();
        }
        match state {
            State::Ok => self.ok(&format!("{word} ✓")),
            State::Failed => self.bad(&format!("{word} ✗")),
            State::Doubtful => self.warn(&format!("{word} !")),
            State::Running => Ink::Cyan.on(&format!("{word} …")),
            State::Neutral => show(word).into_owned(),
        }
    }

    /// Returns the text made safe, in bold.
    pub(crate) fn bold(&self, text: &str) -> String {
        Ink::Bold.on(text)
    }

    /// Returns the text made safe, dim.
    pub(crate) fn dim(&self, text: &str) -> String {
        Ink::Dim.on(text)
    }

    /// Returns the text made safe, in the colour of what is well; the words must say so too.
    pub(crate) fn ok(&self, text: &str) -> String {
        Ink::Green.on(text)
    }

    /// Returns the text made safe, in the colour of what is wrong; the words must say so too.
    pub(crate) fn bad(&self, text: &str) -> String {
        Ink::Red.on(text)
    }

    /// Returns the text made safe, in the colour of what wants looking at; the words must say so too.
    pub(crate) fn warn(&self, text: &str) -> String {
        Ink::Yellow.on(text)
    }
}

/// Returns a number with its thousands apart: `18,204`.
pub(crate) fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns how far a moment is from now, in the largest unit; beyond 60 days its date.
fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let away = time - now;
    let s = away.num_seconds().unsigned_abs();
    let (count, unit) = match s {
        0 => return "now".to_string(),
        1..60 => (s, "second"),
        60..3600 => (s / 60, "minute"),
        3600..86_400 => (s / 3600, "hour"),
        86_400..5_184_000 => (s / 86_400, "day"),
        _ => return time.format("%Y-%m-%d").to_string(),
    };
    let plural = if count == 1 { "" } else { "s" };
    if away < TimeDelta::zero() { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn terminal() -> Look {
        Look::new(true, at("2026-11-30T09:00:00Z"))
    }

    #[test]
    fn a_time_is_relative_on_a_terminal_and_exact_in_a_pipe() {
        let look = terminal();
        assert_eq!(look.time(at("2026-11-30T08:58:00Z")), "2 minutes ago");
        assert_eq!(look.time(at("2026-11-30T09:13:20Z")), "in 13 minutes");
        assert_eq!(look.time(at("2026-11-30T08:00:00Z")), "1 hour ago");
        assert_eq!(look.time(at("2026-11-27T08:00:00Z")), "3 days ago");
        assert_eq!(look.time(at("2026-11-30T09:00:00.4Z")), "now");
        assert_eq!(look.time(at("2026-01-02T09:00:00Z")), "2026-01-02");
        let pipe = Look::new(false, look.now);
        assert_eq!(pipe.time(at("2026-11-30T08:58:00Z")), "2026-11-30T08:58:00.000Z");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        let look = terminal();
        let shown: Vec<String> = [850, 41_000, 245_000, 7_200_000, 183_600_000].map(|ms| look.duration_ms(ms)).to_vec();
        assert_eq!(shown, ["850 ms", "41 s", "4 min 5 s", "2 h", "2 days 3 h"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 18_204, -1_234_567].map(thousands), ["0", "999", "18,204", "-1,234,567"]);
        assert_eq!(thousands(i64::MIN), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn a_state_says_its_word_and_a_symbol_beside_the_colour() {
        let look = terminal();
        assert!(look.state(State::Ok, "connected").contains("connected ✓"));
        assert!(look.state(State::Failed, "failed").contains("failed ✗"));
        assert_eq!(Look::new(false, look.now).state(State::Ok, "connected"), "connected");
    }

    #[test]
    fn a_number_too_large_to_group_is_still_shown() {
        assert_eq!(Cell::number(u64::MAX), Cell::Text("18446744073709551615".into()));
        assert_eq!(Cell::number(7_u64), Cell::Number(7));
    }
}
