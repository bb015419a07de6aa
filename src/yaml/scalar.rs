//! What a scalar may mean, by the core rules of YAML 1.2: `true` is a boolean, `yes`, `no`, `on` and `off` are texts.

/// A scalar as it was written; what it means is decided by whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// The text without quotes and escapes.
    pub(crate) text: String,
    /// Not quoted and not a block: only these can be anything but text.
    pub(crate) plain: bool,
}

/// What a scalar is where no type is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Untyped<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// Returns whether this is nothing: `~`, `null` or no text at all.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Returns the boolean this spells, if it does.
    pub(super) fn bool(&self) -> Option<bool> {
        match self.text.as_str() {
            _ if !self.plain => None,
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// Returns the whole number this spells, if it does: decimal, `0o17` or `0x1f`.
    pub(super) fn int(&self) -> Option<i128> {
        let text = self.plain.then_some(self.text.as_str())?;
        let (digits, radix) = match (text.strip_prefix("0o"), text.strip_prefix("0x")) {
            (Some(digits), _) => (digits, 8),
            (_, Some(digits)) => (digits, 16),
            _ => return text.parse().ok(),
        };
        digits.chars().all(|c| c.is_digit(radix)).then(|| i128::from_str_radix(digits, radix).ok())?
    }

    /// Returns the number this spells, if it does and is finite.
    pub(super) fn float(&self) -> Option<f64> {
        let decimal =
            self.plain && self.text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        let number: f64 = if decimal { self.text.parse().ok()? } else { self.int()? as f64 };
        number.is_finite().then_some(number)
    }

    /// Returns the meaning where no type is asked for: a number only if it is written back as it was spelled, so
    /// `0123`, `1.10`, `+44` and numbers too large to hold stay texts.
    pub(super) fn untyped(&self) -> Untyped<'_> {
        if self.is_null() {
            return Untyped::Null;
        }
        if let Some(bool) = self.bool() {
            return Untyped::Bool(bool);
        }
        if let Some(int) = self.int().and_then(|int| i64::try_from(int).ok()).filter(|int| int.to_string() == self.text)
        {
            return Untyped::Int(int);
        }
        match self.float() {
            Some(float) if short(&self.text) == short(&serde_json::Value::from(float).to_string()) => {
                Untyped::Float(float)
            }
            _ => Untyped::Text(&self.text),
        }
    }
}

/// Returns the spelling of a float without what writers differ in: `1.0e+30` and `1e30` are the same.
fn short(float: &str) -> String {
    float.replace("e+", "e").replace(".0e", "e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.into(), plain: true }
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        for text in ["yes", "no", "NO", "on", "off", "y", "n", "tRUE", "1"] {
            assert_eq!(plain(text).bool(), None, "{text}");
        }
        assert_eq!(["true", "True", "TRUE"].map(|text| plain(text).bool()), [Some(true); 3]);
        assert_eq!(["false", "False", "FALSE"].map(|text| plain(text).bool()), [Some(false); 3]);
    }

    #[test]
    fn nothing_is_spelled_in_five_ways() {
        assert!(["", "~", "null", "Null", "NULL"].iter().all(|text| plain(text).is_null()));
        assert!(!["nil", "none", "nULL", " "].iter().any(|text| plain(text).is_null()));
    }

    #[test]
    fn whole_numbers_follow_the_core_rules() {
        let cases = [("3", 3), ("-3", -3), ("+3", 3), ("0123", 123), ("0o17", 15), ("0x1F", 31)];
        for (text, number) in cases {
            assert_eq!(plain(text).int(), Some(number), "{text}");
        }
        for text in ["", "-", "1_000", "0x", "0o8", "0x-1", "-0x1", "1.0", "1e5", "12:30", "٣"] {
            assert_eq!(plain(text).int(), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(plain("1e5").float(), Some(100_000.0));
        assert_eq!(plain("-.5").float(), Some(-0.5));
        assert_eq!(plain("3").float(), Some(3.0));
        assert_eq!(plain("0x10").float(), Some(16.0));
        for text in [".inf", ".nan", "inf", "nan", "infinity", "1e999", ".", "e", "1e", "--1"] {
            assert_eq!(plain(text).float(), None, "{text}");
        }
    }

    #[test]
    fn untyped_numbers_that_lose_their_spelling_stay_texts() {
        for text in ["0123", "1.10", "+44", "1e5", "0x1F", "12345678901234567890123", "00", "-0", "1.", ".5"] {
            assert_eq!(plain(text).untyped(), Untyped::Text(text));
        }
        assert_eq!(plain("3").untyped(), Untyped::Int(3));
        assert_eq!(plain("1.5").untyped(), Untyped::Float(1.5));
        assert_eq!(plain("1.0e+300").untyped(), Untyped::Float(1e300));
    }

    #[test]
    fn what_is_quoted_is_text() {
        for text in ["", "~", "true", "3", "1.5"] {
            assert_eq!(Scalar { text: text.into(), plain: false }.untyped(), Untyped::Text(text));
        }
    }
}
