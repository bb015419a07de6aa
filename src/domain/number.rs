//! Numbers as people and spreadsheets write them, made plain. Digits are never changed, and what may mean two numbers is none.

use std::cmp::Ordering;

/// More zeros than this are not written out.
const MOST_ZEROS: i64 = 40;

/// Returns a number without currency, unit and thousands separators, in plain decimal notation; nothing where it cannot be told
/// for certain which number is meant. Brackets are a minus, as in accounts.
pub(crate) fn cleaned(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (true, inner.trim()),
        None => (false, text),
    };
    let text = without_currency(text)?;
    let (signed, text) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, without_currency(rest)?),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // Two signs are no sign that anybody means.
    if negative && signed {
        return None;
    }
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let whole = grouped(whole)?;
    let fraction = fraction.unwrap_or_default();
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let number = shifted(&whole, fraction, exponent)?;
    let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    Some(if (negative || signed) && !is_zero { format!("-{number}") } else { number })
}

/// Words that make another number of the one they stand by.
const MULTIPLES: [&str; 8] = ["hundred", "thousand", "thou", "mil", "million", "billion", "dozen", "pence"];

/// Returns a text without the currency or unit at its ends; nothing where a word there may mean something else.
fn without_currency(text: &str) -> Option<&str> {
    let is_sign = |c: char| c.is_whitespace() || matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}' | '%');
    let text = text.trim_matches(is_sign);
    let behind = text.trim_start_matches(char::is_alphabetic);
    let text = if behind.len() < text.len() && is_unit(&text[..text.len() - behind.len()])? { behind } else { text };
    let before = text.trim_end_matches(char::is_alphabetic);
    let text = if before.len() < text.len() && is_unit(&text[before.len()..])? { before } else { text };
    Some(text.trim_matches(is_sign))
}

/// Returns that a word names a currency or a unit: a code of three letters, or a word; a single letter may be a thousand.
fn is_unit(word: &str) -> Option<bool> {
    let is_code = word.len() == 3 && word.chars().all(|c| c.is_ascii_uppercase());
    let lower = word.to_lowercase();
    let is_word = lower.chars().count() >= 3 && !MULTIPLES.contains(&lower.as_str());
    (is_code || is_word).then_some(true)
}

/// Returns the digits before the point without separators, which stand before each three of them. A single comma before three
/// digits, without a point, is taken for a separator: this is how the services are written whose fields these are.
fn grouped(whole: &str) -> Option<String> {
    if whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(whole.to_owned());
    }
    let separator = whole.chars().find(|c| !c.is_ascii_digit())?;
    if !matches!(separator, ',' | ' ' | '\'' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{2019}') {
        return None;
    }
    let groups: Vec<&str> = whole.split(separator).collect();
    let (first, rest) = groups.split_first()?;
    let digits = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let fine =
        (1..=3).contains(&first.len()) && digits(first) && rest.iter().all(|group| group.len() == 3 && digits(group));
    fine.then(|| groups.concat())
}

/// Returns a number with its point moved by the exponent.
fn shifted(whole: &str, fraction: &str, exponent: i64) -> Option<String> {
    if exponent == 0 {
        let whole = if whole.is_empty() { "0" } else { whole };
        return Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") });
    }
    if exponent.abs() > MOST_ZEROS {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let length = i64::try_from(digits.len()).ok()?;
    let (whole, fraction) = if point <= 0 {
        ("0".to_owned(), format!("{}{digits}", "0".repeat(usize::try_from(-point).ok()?)))
    } else if point >= length {
        (format!("{digits}{}", "0".repeat(usize::try_from(point - length).ok()?)), String::new())
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).ok()?);
        (whole.to_owned(), fraction.to_owned())
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// A number taken apart so that each number has one form: its digits without zeros at either end, and by how many places the first
/// of them stands before the point.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    negative: bool,
    digits: String,
    places: i64,
}

/// Takes a number in plain or scientific notation apart.
fn parts(text: &str) -> Option<Parts> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = all.trim_start_matches('0');
    let zeros = i64::try_from(all.len() - digits.len()).ok()?;
    let places = i64::try_from(whole.len()).ok()? + i64::from(exponent) - zeros;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(Parts { negative: false, digits: String::new(), places: 0 });
    }
    Some(Parts { negative, digits: digits.to_owned(), places })
}

/// Compares two numbers digit by digit, however each is written; nothing where one is no number.
pub(crate) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parts(one)?, parts(other)?);
    let size = |parts: &Parts| if parts.digits.is_empty() { i64::MIN } else { parts.places };
    let sizes = || size(&one).cmp(&size(&other)).then_with(|| one.digits.cmp(&other.digits));
    Some(match (one.negative, other.negative) {
        (false, false) => sizes(),
        (true, true) => sizes().reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

/// Returns the one spelling of a number that has many: `1.10`, `01.1` and `11e-1` are the same.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let Parts { negative, digits, places } = parts(text)?;
    Some(format!("{}0.{digits}e{places}", if negative { "-" } else { "" }))
}

/// Returns a number with its digits as they are, as JSON would write it: `.5` becomes `0.5`, `007` becomes `7`.
pub(crate) fn for_json(text: &str) -> Option<String> {
    parts(text)?;
    if is_json(text) {
        return Some(text.to_owned());
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (number, exponent) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// Returns a whole number of any length without zeros before it.
pub(crate) fn whole(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let sign = if text.starts_with('-') && !digits.is_empty() { "-" } else { "" };
    Some(format!("{sign}{}", if digits.is_empty() { "0" } else { digits }))
}

/// Returns whether a text is a number as JSON writes it.
pub(crate) fn is_json(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_their_meaning() {
        for (text, number) in [
            ("1.25E7", "12500000"),
            ("1.5e-3", "0.0015"),
            ("(500)", "-500"),
            ("(\u{a3}1,234.50)", "-1234.50"),
            ("1,234.50 GBP", "1234.50"),
            ("\u{a3}1 234", "1234"),
            ("1\u{a0}234\u{a0}567", "1234567"),
            ("-\u{a3}20", "-20"),
            ("\u{20ac} -20.10", "-20.10"),
            ("\u{2212}7", "-7"),
            ("+7", "7"),
            ("50%", "50"),
            ("50 %", "50"),
            ("20 hours", "20"),
            (".5", "0.5"),
            ("5.", "5"),
            ("007", "007"),
            ("12345678901234567890.10", "12345678901234567890.10"),
            ("0.00", "0.00"),
            ("-0", "0"),
        ] {
            assert_eq!(cleaned(text).as_deref(), Some(number), "{text}");
        }
    }

    #[test]
    fn what_may_be_two_numbers_is_none() {
        for text in [
            "1.234,50",
            "1,5",
            "12-3",
            "-",
            "--5",
            "(-5)",
            "1e400",
            "1.2.3",
            "12 5",
            "1,23,456",
            "2024-01-02",
            "\u{ff11}\u{ff12}",
            "1O0",
            "12:30",
            "1/2",
            "e5",
            "n/a",
            "",
            "( )",
            "1,2345",
            "5-",
            "0x10",
            "12k",
            "3 million",
            "50p",
            "A5",
            "5B",
            "1_000",
        ] {
            assert_eq!(cleaned(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_compare_by_all_their_digits() {
        let ascending = [
            "-1e30",
            "-18446744073709551617",
            "-18446744073709551616",
            "-1.10",
            "-0.001",
            "0",
            "1e-400",
            "0.5",
            "1.1",
            "1.1000000000000000000001",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "1e400",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                assert_eq!(compare(one, other), Some(place.cmp(&other_place)), "{one} {other}");
            }
        }
        for same in [["1.10", "1.1"], ["-0", "0.00"], ["1e2", "100"], ["007", "7"], [".5", "5e-1"]] {
            assert_eq!(compare(same[0], same[1]), Some(Ordering::Equal));
            assert_eq!(canonical(same[0]), canonical(same[1]));
        }
        for none in ["", "-", ".", "e5", "inf", "NaN", "1_0", "0x1", "1.2.3", "1e"] {
            assert_eq!((compare(none, "1"), canonical(none), for_json(none)), (None, None, None), "{none}");
        }
    }

    #[test]
    fn a_number_for_json_keeps_its_digits() {
        for (text, json) in [
            ("1.10", "1.10"),
            (".50", "0.50"),
            ("007", "7"),
            ("+5.0", "5.0"),
            ("5.", "5"),
            ("-00.10E5", "-0.10E5"),
            ("18446744073709551616", "18446744073709551616"),
        ] {
            assert_eq!(for_json(text).as_deref(), Some(json));
            assert!(is_json(json) && serde_json::from_str::<f64>(json).is_ok(), "{json}");
        }
        assert_eq!(whole("+0018446744073709551616").as_deref(), Some("18446744073709551616"));
        assert_eq!((whole("-0").as_deref(), whole("1.0"), whole("")), (Some("0"), None, None));
    }

    proptest! {
        #[test]
        fn what_is_json_is_told_as_serde_tells_it(text in "-?[0-9.eE+-]{0,8}") {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
        }

        #[test]
        fn a_plain_number_is_left_as_it_is(number in "-?[1-9][0-9]{0,20}(\\.[0-9]{1,10})?") {
            prop_assert_eq!(cleaned(&number), Some(number));
        }

        #[test]
        fn an_exponent_moves_the_point_and_nothing_else(whole in 1_u32..10_000, fraction in 0_u32..1_000, exponent in -8_i32..8) {
            let text = format!("{whole}.{fraction:03}E{exponent}");
            let (found, meant) = (cleaned(&text).unwrap().parse::<f64>().unwrap(), text.parse::<f64>().unwrap());
            prop_assert!((found - meant).abs() <= meant.abs() * 1e-12, "{} {}", text, found);
        }
    }
}
