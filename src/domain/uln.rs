//! The Unique Learner Number of UK education: ten digits with a check digit.

/// What a text is as a ULN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uln {
    /// Ten digits whose check digit is right: identifies one person.
    Valid,
    /// `9999999999`, the "no ULN yet" placeholder of the ILR: identifies nobody.
    Temporary,
    /// Anything else.
    Invalid,
}

/// Returns whether a text is a ULN. Rule of HESA field ULN (c17051): weights 10 to 2 over nine digits, sum mod 11
/// is `r`, the tenth digit is `10 - r`, and `r = 0` is never issued.
pub(crate) fn check(text: &str) -> Uln {
    let digits = text.as_bytes();
    if text == "9999999999" {
        return Uln::Temporary;
    }
    if digits.len() != 10 || !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Uln::Invalid;
    }
    let sum: u32 = digits[..9].iter().zip((2..=10).rev()).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    match sum % 11 {
        0 => Uln::Invalid,
        r if u32::from(digits[9] - b'0') == 10 - r => Uln::Valid,
        _ => Uln::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(check("1000000043"), Uln::Valid);
        assert_eq!(check("9276308686"), Uln::Valid);
        assert_eq!(check("1000000063"), Uln::Invalid);
        assert_eq!(check("100000004"), Uln::Invalid);
        assert_eq!(check("9999999999"), Uln::Temporary);
        assert_eq!(check("0000000043"), Uln::Invalid);
        assert_eq!(check(""), Uln::Invalid);
    }
}
