//! Lengths of time as people write them: `30s`, `15m`, `2h`, `1d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A whole number of seconds, written with one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Length(pub(crate) u32);

impl Length {
    /// Returns the same length for calculating with instants.
    pub(crate) fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(i64::from(self.0))
    }

    /// Returns the same length for waiting.
    pub(crate) fn std(self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.0))
    }
}

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{}` is not a length of time: write a number and s, m, h or d, like `15m`", text.escape_debug())
        };
        let unit =
            text.chars().last().and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last)).ok_or_else(wrong)?;
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit.1)).map(Length).ok_or_else(wrong)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) = UNITS
            .iter()
            .find(|(_, seconds)| self.0.is_multiple_of(*seconds) && self.0 >= *seconds)
            .unwrap_or(&UNITS[3]);
        f.pad(&format!("{}{unit}", self.0 / seconds))
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written_alike() {
        for (text, seconds) in [("45s", 45), ("15m", 900), ("2h", 7200), ("1d", 86400), ("0s", 0)] {
            let length: Length = text.parse().unwrap();
            assert_eq!((length.0, length.to_string().as_str()), (seconds, text));
        }
        assert_eq!("90m".parse::<Length>().unwrap().to_string(), "90m");
        for bad in ["", "m", "1", "1w", "-1m", "1.5h", "99999999999h", "1 m"] {
            assert!(bad.parse::<Length>().is_err(), "{bad}");
        }
    }
}
