//! Who is the same person in the rows of several providers, and where a text names one.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Name;
use super::traits::{self, Traits};
use super::uln::{self, Uln};

/// What a stored learner is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The row.
    pub(crate) id: i64,
    pub(crate) provider: Name,
    /// The key at the provider.
    pub(crate) key: String,
    pub(crate) external_id: Option<String>,
    pub(crate) uln: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    /// The row that a person linked it to.
    pub(crate) linked_to: Option<i64>,
    /// Whether a person said that it is of nobody else.
    pub(crate) apart: bool,
}

/// By what a row was found to be of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Key,
    Link,
    Uln,
    Email,
}

impl By {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            By::Key => "key",
            By::Link => "link",
            By::Uln => "ULN",
            By::Email => "e-mail address",
        }
    }
}

impl Known {
    /// Returns the ULN, if it identifies anybody.
    pub(crate) fn valid_uln(&self) -> Option<&str> {
        self.uln.as_deref().filter(|uln| uln::check(uln) == Uln::Valid)
    }

    /// Returns the e-mail address as it is compared.
    pub(crate) fn address(&self) -> Option<String> {
        self.email.as_deref().and_then(traits::address)
    }

    fn traits(&self) -> Traits {
        Traits::new((self.uln.as_deref(), None), (self.first_name.as_deref(), self.last_name.as_deref()), None)
    }

    /// Returns the texts that name the person wherever they stand; short names are words like others.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        let long = |least: usize, text: &Option<String>| text.clone().filter(|text| text.chars().count() >= least);
        let whole = [self.external_id.clone(), self.uln.clone(), self.email.clone(), long(6, &self.phone)];
        let names = [long(3, &self.first_name), long(3, &self.last_name)];
        let all = [Some(self.key.clone())].into_iter().chain(whole).chain(names).flatten();
        all.filter(|word| !word.trim().is_empty()).collect::<Vec<_>>().into_iter()
    }
}

/// Returns the e-mail addresses among these that several people have: two rows of one provider, or two valid ULNs.
pub(crate) fn shared(all: &[Known]) -> BTreeSet<String> {
    let mut rows: BTreeMap<String, Vec<&Known>> = BTreeMap::new();
    for known in all {
        rows.entry(known.address().unwrap_or_default()).or_default().push(known);
    }
    let several = |rows: &Vec<&Known>| {
        let providers: BTreeSet<&Name> = rows.iter().map(|known| &known.provider).collect();
        let ulns: BTreeSet<&str> = rows.iter().filter_map(|known| known.valid_uln()).collect();
        providers.len() < rows.len() || ulns.len() > 1
    };
    rows.into_iter()
        .filter(|(address, rows)| !address.is_empty() && several(rows))
        .map(|(address, _)| address)
        .collect()
}

/// Returns the rows that are of the same person as the row at `seed`, each by its place and by what it was found: a link that a
/// person made, a valid ULN, or an e-mail address that nobody else has, if nothing says that they are two. A row that a person set
/// apart is of nobody else.
pub(crate) fn same_person(seed: usize, all: &[Known]) -> BTreeMap<usize, By> {
    let shared = shared(all);
    let mut found = BTreeMap::from([(seed, By::Key)]);
    let mut open = vec![seed];
    while let Some(one) = open.pop().and_then(|place| all.get(place)) {
        for (place, other) in all.iter().enumerate().filter(|(place, _)| !found.contains_key(place)).collect::<Vec<_>>()
        {
            let by_uln = one.valid_uln().is_some() && one.valid_uln() == other.valid_uln();
            let address = one.address().filter(|address| !shared.contains(address));
            let by_email = address.is_some() && address == other.address();
            let linked = one.linked_to == Some(other.id)
                || other.linked_to == Some(one.id)
                || (one.linked_to.is_some() && one.linked_to == other.linked_to);
            // A ULN may be mistyped: names without a common word are of two people.
            let two = one.apart || other.apart || !one.traits().goes_with(&other.traits(), |_| true);
            let by = match (by_uln, by_email) {
                _ if linked => By::Link,
                _ if two => continue,
                (true, _) => By::Uln,
                (_, true) => By::Email,
                _ => continue,
            };
            found.insert(place, by);
            open.push(place);
        }
    }
    found
}

/// What stands where a person was named.
const ERASED: &str = "[erased]";

/// Returns the text without these words, in whatever case, or nothing if none stands in it as a word of its own.
pub(crate) fn without(text: &str, words: &[String]) -> Option<String> {
    let mut left = text.to_owned();
    for word in words {
        let mut from = 0;
        while let Some(at) = find_word(&left, word, from) {
            left.replace_range(at..at + word.len(), ERASED);
            from = at + ERASED.len();
        }
    }
    (left != text).then_some(left)
}

/// Returns whether one of these words stands in a text.
pub(crate) fn names(text: &str, words: &[String]) -> bool {
    words.iter().any(|word| find_word(text, word, 0).is_some())
}

fn find_word(text: &str, word: &str, mut from: usize) -> Option<usize> {
    let (lower, wanted) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    if wanted.is_empty() {
        return None;
    }
    let joined = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    loop {
        let at = from + lower.get(from..)?.find(&wanted)?;
        let (before, after) = (text[..at].chars().next_back(), text[at + wanted.len()..].chars().next());
        if !joined(before) && !joined(after) {
            return Some(at);
        }
        from = at + text[at..].chars().next().map_or(1, char::len_utf8);
    }
}

/// Returns a text in which each word that `is_erased` knows is taken out. A word is what an identifier may be made of.
pub(crate) fn without_words(text: &str, is_erased: impl Fn(&str) -> bool) -> String {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(inner) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !inner(c)).unwrap_or(word.len()));
        let bare = word.trim_end_matches(['.', '-']);
        made.push_str(before);
        made.push_str(if is_erased(bare) { ERASED } else { bare });
        made.push_str(&word[bare.len()..]);
        rest = after;
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULN: &str = "1000000035";

    fn known(id: i64, provider: &str, key: &str, uln: &str, email: &str) -> Known {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Known {
            id,
            provider: provider.parse().unwrap(),
            key: key.to_owned(),
            external_id: None,
            uln: text(uln),
            email: text(email),
            phone: None,
            first_name: None,
            last_name: None,
            linked_to: None,
            apart: false,
        }
    }

    fn found(all: &[Known]) -> Vec<(i64, By)> {
        same_person(0, all).into_iter().map(|(place, by)| (all[place].id, by)).collect()
    }

    #[test]
    fn a_uln_or_an_address_that_one_person_has_tells_who_is_the_same() {
        let all = [
            known(1, "bud", "B1", ULN, "ann@example.org"),
            known(2, "aptem", "7", ULN, ""),
            known(3, "hubspot", "5", "", "Ann@Example.org"),
            known(4, "aptem", "8", "", "bob@example.org"),
            known(5, "onefile", "9", "9999999999", ""),
        ];
        assert_eq!(found(&all), [(1, By::Key), (2, By::Uln), (3, By::Email)]);
    }

    #[test]
    fn an_address_that_several_have_tells_nobody() {
        let two_rows = [
            known(1, "aptem", "7", "", "office@firm.example"),
            known(2, "aptem", "8", "", "office@firm.example"),
            known(3, "bud", "9", "", "office@firm.example"),
        ];
        assert_eq!(found(&two_rows), [(1, By::Key)]);
        let two_ulns = [known(1, "aptem", "7", ULN, "a@b.example"), known(2, "bud", "8", "1000000043", "a@b.example")];
        assert_eq!([ULN, "1000000043"].map(uln::check), [Uln::Valid, Uln::Valid]);
        assert_eq!(found(&two_ulns), [(1, By::Key)]);
        // The placeholder is nobody's.
        let placeholders = [known(1, "aptem", "7", "9999999999", ""), known(2, "bud", "8", "9999999999", "")];
        assert_eq!(found(&placeholders), [(1, By::Key)]);
    }

    #[test]
    fn what_a_person_said_of_two_rows_counts_before_all_else() {
        let mut all =
            [known(1, "aptem", "7", ULN, ""), known(2, "bud", "8", "", ""), known(3, "onefile", "9", ULN, "")];
        (all[1].linked_to, all[2].apart) = (Some(1), true);
        assert_eq!(found(&all), [(1, By::Key), (2, By::Link)]);
        all.swap(0, 2);
        assert_eq!(found(&all), [(3, By::Key)]);
    }

    #[test]
    fn a_mistyped_uln_gives_nobody_away() {
        let mut all = [known(1, "aptem", "7", ULN, ""), known(2, "bud", "8", ULN, "")];
        for (row, (first, last)) in all.iter_mut().zip([("Ann", "Lee"), ("Tom", "Ray")]) {
            (row.first_name, row.last_name) = (Some(first.to_owned()), Some(last.to_owned()));
        }
        assert_eq!(found(&all), [(1, By::Key)]);
        all[1].first_name = Some("Ann".to_owned());
        assert_eq!(found(&all), [(1, By::Key), (2, By::Uln)]);
    }

    #[test]
    fn an_address_is_one_in_either_case_and_composition() {
        let decomposed = known(2, "bud", "8", "", " ZOE\u{301}@Firm.example ");
        assert_eq!(found(&[known(1, "aptem", "7", "", "zo\u{e9}@firm.example"), decomposed]).len(), 2);
    }

    #[test]
    fn only_whole_words_are_taken_out_of_a_text() {
        let words = ["L7".to_owned(), "ann@example.org".to_owned()];
        assert_eq!(without("GET /learners/L7: 404", &words).as_deref(), Some("GET /learners/[erased]: 404"));
        assert_eq!(without("`ANN@example.org` twice: l7, L7", &words).unwrap(), "`[erased]` twice: [erased], [erased]");
        assert_eq!(without("L77, XL7, joann@example.org", &words), None);
        assert!(names("{\"Id\":\"L7\"}", &words) && !names("éL7", &words) && !names("", &words));
    }

    #[test]
    fn words_are_told_apart_as_identifiers_are_written() {
        let erased = |word: &str| matches!(word, "L-7" | "a.b@c.example");
        assert_eq!(without_words("L-7.", erased), "[erased].");
        assert_eq!(without_words("é /x/L-7?m=a.b@c.example, L-71", erased), "é /x/[erased]?m=[erased], L-71");
        assert_eq!(without_words("", erased), "");
    }
}
