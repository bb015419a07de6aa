//! Text from outside made safe to show: secrets that a provider echoed are taken out, however they were encoded.

use std::ops::Range;

use zeroize::Zeroizing;

use super::Secret;
use crate::base64::{self, Alphabet};

const REPLACEMENT: &[u8] = b"[redacted]";
/// Shorter secrets would take ordinary words out of every message.
const SHORTEST: usize = 4;
/// As [`SHORTEST`], for a secret somewhere inside a longer base64 text.
const SHORTEST_INSIDE: usize = 8;

/// Returns the text with every secret of at least 4 bytes replaced by `[redacted]`: as it is, in JSON, in base64 (also
/// inside a longer base64 text, like that of basic authentication), and any of these percent-encoded.
pub(crate) fn redact(text: &str, secrets: &[&Secret]) -> String {
    let mut found = Vec::new();
    let views = [View::plain(text), View::percent_decoded(text, false), View::percent_decoded(text, true)];
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= SHORTEST) {
        for needle in needles(secret) {
            for view in &views {
                view.find(&needle, &mut found);
            }
        }
    }
    cut_out(text, found)
}

/// Returns whether a text has a secret as it is, in JSON, in base64, or percent-encoded in the usual way: fast, for texts that
/// are many or large.
pub(crate) fn holds(text: &str, secrets: &[&Secret]) -> bool {
    let is_in = |needle: &[u8]| std::str::from_utf8(needle).is_ok_and(|needle| text.contains(needle));
    secrets.iter().filter(|secret| secret.expose().len() >= SHORTEST).any(|secret| {
        let escaped =
            Zeroizing::new(url::form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect::<String>());
        let spaced = Zeroizing::new(escaped.replace('+', "%20"));
        needles(secret).iter().any(|needle| is_in(needle))
            || text.contains(escaped.as_str())
            || text.contains(spaced.as_str())
    })
}

/// Returns the forms to look for.
fn needles(secret: &Secret) -> Vec<Zeroizing<Vec<u8>>> {
    let plain = secret.expose();
    let mut needles = vec![Zeroizing::new(plain.as_bytes().to_vec())];
    // A string is always JSON; its quotes are not part of the secret.
    if let Ok(json) = serde_json::to_string(plain).map(Zeroizing::new) {
        needles.push(Zeroizing::new(json.as_bytes()[1..json.len() - 1].to_vec()));
    }
    for alphabet in [Alphabet::Standard, Alphabet::Url] {
        let encoded = Zeroizing::new(base64::encode(alphabet, plain.as_bytes()));
        needles.push(Zeroizing::new(encoded.trim_end_matches('=').as_bytes().to_vec()));
        needles.push(Zeroizing::new(encoded.as_bytes().to_vec()));
        needles.extend((0..3).filter_map(|shift| inside_base64(alphabet, plain.as_bytes(), shift)));
    }
    needles
}

/// Returns the symbols that stand for the secret alone, where `shift` bytes of something else share its first group.
fn inside_base64(alphabet: Alphabet, secret: &[u8], shift: usize) -> Option<Zeroizing<Vec<u8>>> {
    let shifted = Zeroizing::new([&[0; 2][..shift], secret].concat());
    let encoded = Zeroizing::new(base64::encode(alphabet, &shifted));
    let own = (shift * 8).div_ceil(6)..shifted.len() * 8 / 6;
    encoded.as_bytes().get(own).filter(|own| own.len() >= SHORTEST_INSIDE).map(|own| Zeroizing::new(own.to_vec()))
}

/// A text as a reader may see it, and where in the text each byte comes from.
struct View {
    bytes: Zeroizing<Vec<u8>>,
    from: Vec<Range<usize>>,
}

impl View {
    fn plain(text: &str) -> Self {
        View { bytes: Zeroizing::new(text.as_bytes().to_vec()), from: (0..text.len()).map(|at| at..at + 1).collect() }
    }

    fn percent_decoded(text: &str, plus_is_space: bool) -> Self {
        let text = text.as_bytes();
        let mut view =
            View { bytes: Zeroizing::new(Vec::with_capacity(text.len())), from: Vec::with_capacity(text.len()) };
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let digit = |place: usize| text.get(place).and_then(|digit| char::from(*digit).to_digit(16));
            let (byte, length) = match (*byte, digit(at + 1), digit(at + 2)) {
                (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, 3),
                (b'+', ..) if plus_is_space => (b' ', 1),
                (byte, ..) => (byte, 1),
            };
            view.bytes.push(byte);
            view.from.push(at..at + length);
            at += length;
        }
        view
    }

    fn find(&self, needle: &[u8], found: &mut Vec<Range<usize>>) {
        for (at, window) in self.bytes.windows(needle.len()).enumerate() {
            if window == needle {
                found.push(self.from[at].start..self.from[at + needle.len() - 1].end);
            }
        }
    }
}

/// Returns the text with the places replaced; those that touch or overlap are one.
fn cut_out(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_by_key(|place| (place.start, place.end));
    let mut kept = Vec::with_capacity(text.len());
    let mut end = 0;
    for place in places {
        if kept.is_empty() && end == 0 || place.start > end {
            kept.extend_from_slice(&text.as_bytes()[end..place.start]);
            kept.extend_from_slice(REPLACEMENT);
        }
        end = end.max(place.end);
    }
    kept.extend_from_slice(&text.as_bytes()[end..]);
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::from((*secret).to_owned())).collect();
        redact(text, &secrets.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        assert_eq!(redacted("key hunter2 is bad", &["hunter2"]), "key [redacted] is bad");
        assert_eq!(redacted("hunter2", &["hunter2"]), "[redacted]");
        assert_eq!(redacted("hunter2 and hunter2.", &["hunter2"]), "[redacted] and [redacted].");
        assert_eq!(redacted("nothing here", &["hunter2"]), "nothing here");
        assert_eq!(redacted("", &["hunter2"]), "");
        assert_eq!(redacted("naïve café ✓", &["café"]), "naïve [redacted] ✓");
    }

    #[test]
    fn a_text_that_holds_a_secret_is_told_from_one_that_does_not() {
        let secret = Secret::from("p@ss w\u{f6}rd/+?\"x".to_owned());
        for held in [
            "<p@ss w\u{f6}rd/+?\"x>",
            "{\"k\":\"p@ss w\u{f6}rd/+?\\\"x\"}",
            "k=p%40ss%20w%C3%B6rd%2F%2B%3F%22x&",
            "k=p%40ss+w%C3%B6rd%2F%2B%3F%22x&",
            "Basic dTpwQHNzIHfDtnJkLys/Ing=",
        ] {
            assert!(holds(held, &[&secret]), "{held}");
            assert!(redact(held, &[&secret]).contains("[redacted]"), "{held}");
        }
        assert!(!holds("nothing here", &[&secret]));
        assert!(!holds("", &[&Secret::from(String::new())]));
    }

    #[test]
    fn short_secrets_leave_the_text_alone() {
        assert_eq!(redacted("a cat sat", &["", "a", "cat"]), "a cat sat");
        assert_eq!(redacted("code 1234", &["1234"]), "code [redacted]");
    }

    #[test]
    fn encoded_forms_are_taken_out_too() {
        let secret = "p@ss wörd/+?\"x";
        for alphabet in [Alphabet::Standard, Alphabet::Url] {
            let encoded = base64::encode(alphabet, secret.as_bytes());
            assert_eq!(redacted(&format!("<{encoded}>"), &[secret]), "<[redacted]>");
        }
        for encoded in [
            "p%40ss%20w%C3%B6rd%2F%2B%3F%22x",
            "p%40ss+w%c3%b6rd%2f%2b%3f%22x",
            "p@ss%20w%C3%B6rd/%2B?%22x",
            "p@ss wörd/+?\\\"x",
            "cEBzcyB3w7ZyZC8rPyJ4",
        ] {
            assert_eq!(redacted(&format!("?k={encoded}&n=1"), &[secret]), "?k=[redacted]&n=1");
        }
        assert_eq!(redacted("Zm9vYmFyIQ%3D%3D", &["foobar!"]), "[redacted]");
    }

    #[test]
    fn a_secret_inside_basic_authentication_is_taken_out() {
        for user in ["u", "us", "use"] {
            let header = base64::encode(Alphabet::Standard, format!("{user}:correct horse").as_bytes());
            let shown = redacted(&format!("Basic {header}"), &["correct horse"]);
            assert!(shown.contains("[redacted]"), "{shown}");
            // At most one symbol on each side shares bits with the secret.
            assert!(shown.len() <= "Basic [redacted]".len() + 8, "{shown}");
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_either() {
        assert_eq!(redacted("xabcdefx", &["abcd", "cdef"]), "x[redacted]x");
        assert_eq!(redacted("aaaaaa", &["aaaa"]), "[redacted]");
        assert_eq!(redacted("say [redacted] abcd", &["redacted", "abcd"]), "say [[redacted]] [redacted]");
    }
}
