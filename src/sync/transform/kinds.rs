//! Which JSON types the values of a source have: a field that changes its type has changed its meaning, most often.

/// Types as bits, so that a page costs nothing: 0 where no record has the source at all.
pub(in crate::sync) type Kinds = u8;

const THERE: Kinds = 1;
const TYPES: [(Kinds, &str); 5] = [(2, "text"), (4, "number"), (8, "true or false"), (16, "object"), (32, "list")];

/// Returns the type of a value, as it was sent. Null is there, and of no type.
pub(super) fn of(json: Option<&str>) -> Kinds {
    let [text, number, bool, object, list] = TYPES.map(|(bit, _)| bit);
    match json.and_then(|json| json.as_bytes().first()) {
        None => 0,
        Some(b'n') => THERE,
        Some(b'"') => THERE | text,
        Some(b't' | b'f') => THERE | bool,
        Some(b'{') => THERE | object,
        Some(b'[') => THERE | list,
        Some(_) => THERE | number,
    }
}

/// Adds what another page has shown.
pub(in crate::sync) fn add(known: &mut Vec<Kinds>, others: &[Kinds]) {
    known.resize(known.len().max(others.len()), 0);
    known.iter_mut().zip(others).for_each(|(known, other)| *known |= other);
}

/// Returns what has changed, in words, where values had types before and have others now.
pub(in crate::sync) fn change(before: Kinds, now: Kinds) -> Option<String> {
    let words = |kinds: Kinds| {
        let named = TYPES.iter().filter(|(bit, _)| kinds & bit != 0).map(|(_, word)| *word);
        named.collect::<Vec<_>>().join(" and ")
    };
    let (had, new) = (words(before), words(now & !before & !THERE));
    (!had.is_empty() && !new.is_empty()).then(|| format!("is {new} now, and was {had} before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_type_is_a_change_and_null_is_none() {
        let [text, number, object, list, null] = [r#""a""#, "1", "{}", "[]", "null"].map(|json| of(Some(json)));
        assert_eq!(change(text, object).as_deref(), Some("is object now, and was text before"));
        assert_eq!(change(text | number, list | text).as_deref(), Some("is list now, and was text and number before"));
        assert_eq!(
            change(of(Some("false")), of(Some("0"))).as_deref(),
            Some("is number now, and was true or false before")
        );
        for (before, now) in [(text, text), (text, null), (null, text), (0, text), (text, 0), (of(Some("1.5")), number)]
        {
            assert_eq!(change(before, now), None);
        }
    }
}
