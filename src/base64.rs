//! Base64 as in RFC 4648: the standard alphabet with padding, the URL alphabet without.

/// Which 64 characters, and whether `=` fills the last group up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `+`, `/`, and padding.
    Standard,
    /// `-`, `_`, and no padding: for URLs and JSON Web Tokens.
    Url,
}

impl Alphabet {
    fn symbols(self) -> &'static [u8; 64] {
        match self {
            Alphabet::Standard => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            Alphabet::Url => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        }
    }

    fn value(self, symbol: u8) -> Option<u32> {
        let [plus, slash] = if self == Alphabet::Standard { *b"+/" } else { *b"-_" };
        match symbol {
            b'A'..=b'Z' => Some(u32::from(symbol - b'A')),
            b'a'..=b'z' => Some(u32::from(symbol - b'a') + 26),
            b'0'..=b'9' => Some(u32::from(symbol - b'0') + 52),
            _ if symbol == plus => Some(62),
            _ if symbol == slash => Some(63),
            _ => None,
        }
    }
}

/// Returns the bytes as text of the alphabet.
pub(crate) fn encode(alphabet: Alphabet, bytes: &[u8]) -> String {
    let symbols = alphabet.symbols();
    // The full length at once: a growing buffer would leave copies of a secret behind.
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(symbols[(bits >> (18 - 6 * place) & 63) as usize]));
        }
        if alphabet == Alphabet::Standard {
            text.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
    }
    text
}

/// Returns the bytes that the text stands for, or nothing where it is not in the alphabet's one canonical form.
///
/// Padding is wanted with the standard alphabet and optional with the other. There is no leave for white space.
pub(crate) fn decode(alphabet: Alphabet, text: &str) -> Option<Vec<u8>> {
    let symbols = text.trim_end_matches('=');
    let padding = text.len() - symbols.len();
    let wanted = (4 - symbols.len() % 4) % 4;
    if padding != wanted && (alphabet == Alphabet::Standard || padding != 0) {
        return None;
    }
    let mut bytes = Vec::with_capacity(symbols.len() * 3 / 4);
    for group in symbols.as_bytes().chunks(4) {
        let mut bits = 0;
        for symbol in group {
            bits = bits << 6 | alphabet.value(*symbol)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, whole @ ..] = bits.to_be_bytes();
        // One symbol alone is less than a byte; and bits past the last byte are zero.
        if group.len() == 1 || whole[group.len() - 1..].iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(&whole[..group.len() - 1]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Alphabet::{Standard, Url};

    const RFC_4648: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn the_vectors_of_rfc_4648_hold_both_ways() {
        for (plain, text) in RFC_4648 {
            assert_eq!(encode(Standard, plain.as_bytes()), text);
            assert_eq!(encode(Url, plain.as_bytes()), text.trim_end_matches('='));
            assert_eq!(decode(Standard, text).as_deref(), Some(plain.as_bytes()));
            assert_eq!(decode(Url, text).as_deref(), Some(plain.as_bytes()));
            assert_eq!(decode(Url, text.trim_end_matches('=')).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn the_alphabets_differ_in_the_last_two_symbols() {
        let bytes = [0xfb, 0xff, 0xbf];
        assert_eq!(encode(Standard, &bytes), "+/+/");
        assert_eq!(encode(Url, &bytes), "-_-_");
        assert_eq!(decode(Standard, "-_-_"), None);
        assert_eq!(decode(Url, "+/+/"), None);
    }

    #[test]
    fn text_that_is_not_canonical_is_refused() {
        // "Zh==" has bits past the last byte.
        for text in ["Z", "Zg", "Zg=", "Zg===", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9v", "Zm9v\n", "====", "é==="]
        {
            assert_eq!(decode(Standard, text), None, "{text:?}");
        }
        for text in ["Z", "Zg=", "Zh", "Zm9"] {
            assert_eq!(decode(Url, text), None, "{text:?}");
        }
    }

    #[test]
    fn every_byte_survives_at_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..4 {
            for alphabet in [Standard, Url] {
                let text = encode(alphabet, &bytes[start..]);
                assert_eq!(decode(alphabet, &text).as_deref(), Some(&bytes[start..]));
            }
        }
    }
}
