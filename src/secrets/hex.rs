//! Bytes as pairs of hexadecimal digits.

use std::fmt::Write;

use zeroize::Zeroizing;

/// Why text is not so many bytes in hexadecimal; tells nothing of the text but its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotHex {
    /// The character at this place, from 1, is not a digit.
    Digit { place: usize },
    /// This many digits were found.
    Length { found: usize },
}

/// Returns the bytes in lower case.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
    }
    text
}

/// Returns exactly `N` bytes from text in either case.
pub(crate) fn decode<const N: usize>(text: &str) -> Result<Zeroizing<[u8; N]>, NotHex> {
    if let Some(at) = text.chars().position(|digit| !digit.is_ascii_hexdigit()) {
        return Err(NotHex::Digit { place: at + 1 });
    }
    if text.len() != N * 2 {
        return Err(NotHex::Length { found: text.len() });
    }
    let mut bytes = Zeroizing::new([0; N]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = pair.iter().fold(0, |value, digit| value << 4 | char::from(*digit).to_digit(16).unwrap_or(0) as u8);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_in_both_cases() {
        assert_eq!(encode(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert_eq!(*decode::<4>("000fA0fF").unwrap(), [0x00, 0x0f, 0xa0, 0xff]);
    }

    #[test]
    fn a_wrong_digit_and_a_wrong_length_are_told_apart() {
        assert_eq!(decode::<2>("00g0"), Err(NotHex::Digit { place: 3 }));
        assert_eq!(decode::<2>("+000"), Err(NotHex::Digit { place: 1 }));
        assert_eq!(decode::<2>("000"), Err(NotHex::Length { found: 3 }));
        assert_eq!(decode::<2>("é0"), Err(NotHex::Digit { place: 1 }));
    }
}
