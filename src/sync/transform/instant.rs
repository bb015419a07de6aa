//! One spelling of an instant in UTC for the comparison of rows: a service may write `+0000` in one answer and `Z` in another.
//! What is stored keeps the spelling it came with.

const UTC: [&str; 2] = ["+0000", "+00:00"];

/// Returns a text in two parts that together are its one spelling.
pub(super) fn spelled(text: &str) -> (&str, &'static str) {
    let bare = UTC.iter().find_map(|zone| text.strip_suffix(zone)).filter(|bare| is_time(bare));
    bare.map_or((text, ""), |bare| (bare, "Z"))
}

/// Writes JSON behind what is there, with each text of it that is an instant in its one spelling.
pub(super) fn push_spelled(bytes: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find("+00") {
        let zone = UTC.iter().find(|zone| rest[at..].starts_with(*zone) && rest[at + zone.len()..].starts_with('"'));
        let begin = rest[..at].rfind('"').map_or(0, |quote| quote + 1);
        let (kept, taken) = match zone.filter(|_| is_time(&rest[begin..at])) {
            Some(zone) => (at, at + zone.len()),
            None => (at + 3, at + 3),
        };
        bytes.extend_from_slice(&rest.as_bytes()[..kept]);
        if kept < taken {
            bytes.push(b'Z');
        }
        rest = &rest[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
}

/// Returns whether a text is a date and a time, as ISO 8601 writes them, without a zone.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    bytes.len() >= shape.len()
        && bytes
            .iter()
            .zip(shape)
            .all(|(byte, meant)| if *meant == b'0' { byte.is_ascii_digit() } else { byte == meant })
        && bytes[shape.len()..]
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 0 { *byte == b'.' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instants_in_utc_are_spelled_anew() {
        let one = |text: &str| {
            let (bare, zone) = spelled(text);
            let mut json = Vec::new();
            push_spelled(&mut json, &format!(r#"{{"a":"{text}","b":["+0000","{text}"]}}"#));
            let spelled = format!("{bare}{zone}");
            assert_eq!(String::from_utf8(json).unwrap(), format!(r#"{{"a":"{spelled}","b":["+0000","{spelled}"]}}"#));
            spelled
        };
        assert_eq!(one("2026-01-01T00:00:00.000+0000"), "2026-01-01T00:00:00.000Z");
        assert_eq!(one("2026-01-01T00:00:00+00:00"), "2026-01-01T00:00:00Z");
        for same in
            ["2026-01-01T00:00:00+0100", "+0000", "2026-01-01+0000", "x2026-01-01T00:00:00+0000", "", "+00", "a+00:0"]
        {
            assert_eq!(one(same), same);
        }
    }
}
