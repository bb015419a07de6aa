//! Text from outside made safe to show: secrets that a provider echoed are taken out, however they were encoded.

use std::ops::Range;

use zeroize::Zeroizing;

use super::Secret;
use crate::base64::{self, Alphabet};

const REPLACEMENT: &[u8] = b"[redacted]";
/// Shorter secrets would take ordinary words out of every message.
const SHORTEST: usize = 4;
/// As [`SHORTEST`], for a part of a longer secret.
const SHORTEST_PART: usize = 12;
/// As [`SHORTEST`], for a secret somewhere inside a longer base64 text.
const SHORTEST_INSIDE: usize = 8;

/// Returns the text with every secret of at least 4 bytes replaced by `[redacted]`: as it is, in JSON, in base64 (also
/// inside a longer base64 text, like that of basic authentication), and any of these percent-encoded, escaped for HTML or
/// broken over lines; and what is left of a long one that was cut short.
pub(crate) fn redact(text: &str, secrets: &[&Secret]) -> String {
    let mut found = Vec::new();
    let views = [
        View::plain(text),
        View::percent_decoded(text, false),
        View::percent_decoded(text, true),
        View::unescaped_html(text),
        View::unescaped_json(text),
        View::on_one_line(text),
    ];
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= SHORTEST) {
        for needle in needles(secret) {
            for view in &views {
                view.find(&needle, &mut found);
            }
        }
        for view in &views {
            view.find_part(secret.expose().as_bytes(), &mut found);
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
            || least_part(secret.expose().as_bytes()).is_some_and(|least| {
                // Many share an end, such as that of a mail address.
                is_in(&secret.expose().as_bytes()[..least])
            })
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

/// What a piece of a text is read as.
enum Shown {
    Nothing,
    Byte(u8),
    Char(char),
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

    /// Goes through a text piece by piece: `piece` says what is shown for what stands at a place, and how long that is.
    fn read_by(text: &str, piece: impl Fn(usize, u8) -> (Shown, usize)) -> Self {
        let mut view =
            View { bytes: Zeroizing::new(Vec::with_capacity(text.len())), from: Vec::with_capacity(text.len()) };
        let mut at = 0;
        while let Some(first) = text.as_bytes().get(at) {
            let (shown, length) = piece(at, *first);
            let mut utf8 = [0; 4];
            let bytes = match &shown {
                Shown::Nothing => &[],
                Shown::Byte(byte) => std::slice::from_ref(byte),
                Shown::Char(c) => c.encode_utf8(&mut utf8).as_bytes(),
            };
            view.bytes.extend_from_slice(bytes);
            view.from.extend(std::iter::repeat_n(at..at + length, bytes.len()));
            at += length;
        }
        view
    }

    fn percent_decoded(text: &str, plus_is_space: bool) -> Self {
        let digit = |at: usize| text.as_bytes().get(at).and_then(|digit| char::from(*digit).to_digit(16));
        View::read_by(text, |at, first| match (first, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => (Shown::Byte((high << 4 | low) as u8), 3),
            (b'+', ..) if plus_is_space => (Shown::Byte(b' '), 1),
            (byte, ..) => (Shown::Byte(byte), 1),
        })
    }

    /// As an HTML page shows it.
    fn unescaped_html(text: &str) -> Self {
        View::read_by(text, |at, first| {
            let entity = if first == b'&' { entity(&text[at..]) } else { None };
            entity.map_or((Shown::Byte(first), 1), |(c, length)| (Shown::Char(c), length))
        })
    }

    /// As a JSON reader sees it: any character may be escaped, and a slash often is.
    fn unescaped_json(text: &str) -> Self {
        View::read_by(text, |at, first| {
            let rest = &text.as_bytes()[at..];
            let unit = text.get(at + 2..at + 6).filter(|_| rest.starts_with(b"\\u"));
            let unit = unit.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
            match (first, rest.get(1), unit) {
                (_, _, Some(c)) => (Shown::Char(c), 6),
                (b'\\', Some(next @ (b'/' | b'\\' | b'"')), _) => (Shown::Byte(*next), 2),
                (byte, ..) => (Shown::Byte(byte), 1),
            }
        })
    }

    /// Without white space, also where JSON escapes it: a long value may be broken over lines.
    fn on_one_line(text: &str) -> Self {
        View::read_by(text, |at, first| match (first, text.as_bytes().get(at + 1)) {
            (b'\\', Some(b'n' | b'r' | b't')) => (Shown::Nothing, 2),
            (byte, _) if byte.is_ascii_whitespace() => (Shown::Nothing, 1),
            (byte, _) => (Shown::Byte(byte), 1),
        })
    }

    /// Finds what is left of a long secret that was cut short at either end.
    fn find_part(&self, secret: &[u8], found: &mut Vec<Range<usize>>) {
        let Some(least) = least_part(secret) else { return };
        let (head, tail) = (&secret[..least], &secret[secret.len() - least..]);
        for at in 0..(self.bytes.len() + 1).saturating_sub(least) {
            let window = &self.bytes[at..at + least];
            if window == head {
                let longer = self.bytes[at..].iter().zip(secret).take_while(|(byte, own)| byte == own).count();
                found.push(self.from[at].start..self.from[at + longer - 1].end);
            }
            if window == tail {
                let end = at + least;
                let before = self.bytes[..end].iter().rev().zip(secret.iter().rev());
                let longer = before.take_while(|(byte, own)| byte == own).count();
                found.push(self.from[end - longer].start..self.from[end - 1].end);
            }
        }
    }

    fn find(&self, needle: &[u8], found: &mut Vec<Range<usize>>) {
        for (at, window) in self.bytes.windows(needle.len()).enumerate() {
            if window == needle {
                found.push(self.from[at].start..self.from[at + needle.len() - 1].end);
            }
        }
    }
}

/// Returns how much of a secret gives it away: half of it, unless that is no more than a word.
fn least_part(secret: &[u8]) -> Option<usize> {
    let least = (secret.len() / 2).max(SHORTEST_PART);
    (least < secret.len()).then_some(least)
}

/// Returns the character that a text begins with as HTML writes it (`&#47;`, `&#x2F;`, `&amp;`), and how long that is.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    });
    let named = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("sol", '/'), ("plus", '+')];
    let known = named.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
    number.and_then(char::from_u32).or(known).map(|c| (c, end + 1))
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
    fn a_secret_that_was_changed_on_its_way_is_taken_out() {
        let secret = "k9/Qz+7Lm2Xw8Rv4/Tb6Yn3Hs1+Jd5Fg";
        assert_eq!(secret.len(), 32);
        let html: String = secret
            .chars()
            .map(|c| match c {
                '/' => "&#47;".to_owned(),
                '+' => "&#x2B;".to_owned(),
                c => c.to_string(),
            })
            .collect();
        let broken = |by: &str| format!("{}{by}{}{by}{}", &secret[..10], &secret[10..20], &secret[20..]);
        let cases = [
            html.as_str(),
            &secret[..28],
            &secret[4..],
            &secret[..16],
            &secret[16..],
            &broken("\n"),
            &broken("\r\n  "),
            &broken("\\n"),
            &broken(" "),
            &secret.replace('/', "\\/"),
            &secret.replace('/', "\\u002F"),
        ];
        for changed in cases.map(str::to_owned) {
            let shown = redacted(&format!("key <{changed}> is bad"), &[secret]);
            assert_eq!(shown, "key <[redacted]> is bad", "{changed}");
        }
        assert_eq!(redacted(&secret[..15], &[secret]), &secret[..15], "less than half tells little");
        assert!(holds(&secret[..28], &[&Secret::from(secret.to_owned())]));
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
