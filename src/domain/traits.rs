//! What a learner's row says of the person it is of, and whether two rows may be of the same one.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::uln::{self, Uln};

/// What tells a person from others, made comparable. Every comparison here is symmetric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    /// A valid one: the placeholder and mistyped digits are nobody's.
    pub(crate) uln: Option<String>,
    pub(crate) address: Option<String>,
    first: BTreeSet<String>,
    last: BTreeSet<String>,
    born: Option<String>,
}

/// How the names in two rows stand to each other. One that is not known differs from none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// First and last names have a word in common each, or all words are the same in another order.
    Same,
    /// Only the last name is another one.
    OtherLast,
    /// Only the first name is another one.
    OtherFirst,
    /// No word is common.
    Other,
}

/// Returns an e-mail address as it is compared: without the space around it, in NFC and in lower case.
pub(crate) fn address(email: &str) -> Option<String> {
    let composed: String = email.trim().nfc().collect();
    // Some characters are in several parts once they are in lower case.
    let lower: String = composed.to_lowercase().nfc().collect();
    Some(lower).filter(|lower| !lower.is_empty())
}

/// Returns the words of a name without case and accents.
fn words(name: Option<&str>) -> BTreeSet<String> {
    let bare: String = name.unwrap_or_default().nfkd().filter(|c| !is_combining_mark(*c)).collect();
    let bare = bare.to_lowercase();
    bare.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn agree(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    one.is_empty() || other.is_empty() || !one.is_disjoint(other)
}

fn equal<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && one == other
}

fn unequal<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

impl Traits {
    pub(crate) fn new(
        (uln, email): (Option<&str>, Option<&str>),
        (first, last): (Option<&str>, Option<&str>),
        born: Option<&str>,
    ) -> Self {
        Traits {
            uln: uln.map(str::trim).filter(|uln| uln::check(uln) == Uln::Valid).map(str::to_owned),
            address: email.and_then(address),
            first: words(first),
            last: words(last),
            born: born.map(str::trim).filter(|born| !born.is_empty()).map(str::to_owned),
        }
    }

    /// Returns the words of the whole name and the date of birth, where both are known.
    pub(crate) fn name_and_birth(&self) -> Option<(Vec<String>, String)> {
        let born = self.born.clone()?;
        let known = !self.first.is_empty() && !self.last.is_empty();
        known.then(|| (self.first.union(&self.last).cloned().collect(), born))
    }

    fn names(&self, other: &Traits) -> Names {
        let all = |of: &Traits| -> BTreeSet<String> { of.first.union(&of.last).cloned().collect() };
        let (one, another) = (all(self), all(other));
        match (agree(&self.first, &other.first), agree(&self.last, &other.last)) {
            (true, true) => Names::Same,
            _ if one == another => Names::Same,
            _ if !agree(&one, &another) => Names::Other,
            (true, false) => Names::OtherLast,
            _ => Names::OtherFirst,
        }
    }

    /// Returns whether something says that these are two people: dates of birth, or names without a common word.
    fn are_two(&self, other: &Traits) -> bool {
        unequal(self.born.as_ref(), other.born.as_ref()) || self.names(other) == Names::Other
    }

    /// Returns whether two rows of one provider that share a value are certainly of one person, who has two plans there. Rows
    /// that share no more than an address are, if they have the whole name in common.
    pub(crate) fn is_one_with(&self, other: &Traits) -> bool {
        if self.are_two(other) || unequal(self.uln.as_ref(), other.uln.as_ref()) {
            return false;
        }
        let names = self.names(other);
        let named = |of: &Traits| !of.first.is_empty() && !of.last.is_empty();
        match equal(self.uln.as_ref(), other.uln.as_ref()) {
            true => matches!(names, Names::Same | Names::OtherLast),
            false => names == Names::Same && named(self) && named(other),
        }
    }

    /// Returns whether two rows are of one person beyond doubt, given the values that identify somebody: a ULN and the first
    /// name, an address and the whole name, or both and a part of the name. Another ULN or date of birth speaks against it, and so
    /// does a name without a common word.
    pub(crate) fn is_same(&self, other: &Traits, identifies: impl Fn(&str) -> bool) -> bool {
        let known = |value: &Option<String>| value.clone().filter(|value| identifies(value));
        if !self.goes_with(other, &identifies) {
            return false;
        }
        let by_uln = equal(known(&self.uln).as_ref(), known(&other.uln).as_ref());
        let by_address = equal(known(&self.address).as_ref(), known(&other.address).as_ref());
        match self.names(other) {
            Names::Same => by_uln || by_address,
            Names::OtherLast => by_uln,
            Names::OtherFirst => by_uln && by_address,
            Names::Other => false,
        }
    }

    /// Returns whether nothing says that two rows are of two people, given the values that identify somebody.
    pub(crate) fn goes_with(&self, other: &Traits, identifies: impl Fn(&str) -> bool) -> bool {
        let known = |value: &Option<String>| value.clone().filter(|value| identifies(value));
        !self.are_two(other) && !unequal(known(&self.uln).as_ref(), known(&other.uln).as_ref())
    }

    /// Returns whether two rows may be of one person: they share a valid ULN; or an address, or the whole name and the date of
    /// birth, and nothing says that they are two.
    pub(crate) fn may_be_same(&self, other: &Traits) -> bool {
        if equal(self.uln.as_ref(), other.uln.as_ref()) {
            return true;
        }
        let shared = equal(self.address.as_ref(), other.address.as_ref())
            || equal(self.name_and_birth().as_ref(), other.name_and_birth().as_ref());
        shared && !self.are_two(other) && !unequal(self.uln.as_ref(), other.uln.as_ref())
    }

    /// Returns what two rows have in common.
    pub(crate) fn common(&self, other: &Traits) -> Vec<&'static str> {
        let common = [
            (equal(self.uln.as_ref(), other.uln.as_ref()), "uln"),
            (equal(self.address.as_ref(), other.address.as_ref()), "email"),
            (equal(self.name_and_birth().as_ref(), other.name_and_birth().as_ref()), "name_and_birth"),
        ];
        common.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULN: &str = "1000000035";
    const OTHER: &str = "1000000043";

    /// ULN, address, first name, last name, date of birth; an empty one is unknown.
    fn traits(row: [&str; 5]) -> Traits {
        let [uln, email, first, last, born] = row.map(|text| Some(text).filter(|text| !text.is_empty()));
        Traits::new((uln, email), (first, last), born)
    }

    #[test]
    fn who_is_the_same_and_who_may_be() {
        // Two rows; whether they are certainly of one person; whether they may be.
        let table = [
            ([ULN, "", "Ann", "Lee", ""], [ULN, "", "Ann", "Lee", ""], true, true),
            ([ULN, "", "", "", ""], [ULN, "", "", "", ""], true, true),
            // Married meanwhile, and written otherwise.
            ([ULN, "", "Ann", "Lee", ""], [ULN, "", "ANN MARIE", "Ray", ""], true, true),
            (["", "jo@a.example", "José", "Núñez", ""], ["", "JO@a.example ", "Jose", "Nunez", ""], true, true),
            (["", "jo@a.example", "Lee", "Ann", ""], ["", "jo@a.example", "Ann", "Lee", ""], true, true),
            ([ULN, "", "Ann", "Lee", ""], ["", "", "Ann", "Lee", ""], false, false),
            ([ULN, "a@a.example", "Bob", "Ray", ""], [ULN, "a@a.example", "Robert", "Ray", ""], true, true),
            // One ULN mistyped, one address in a family or a firm.
            ([ULN, "", "Ann", "Lee", ""], [ULN, "", "Tom", "Ray", ""], false, true),
            ([ULN, "", "Ann", "Lee", ""], [ULN, "", "Tom", "Lee", ""], false, true),
            ([ULN, "", "Ann", "Lee", "2001-01-02"], [ULN, "", "Ann", "Lee", "2001-02-01"], false, true),
            (["", "a@a.example", "Ann", "Lee", ""], ["", "a@a.example", "Tom", "Lee", ""], false, true),
            (["", "a@a.example", "Ann", "Lee", ""], ["", "a@a.example", "Ann", "Ray", ""], false, true),
            (["", "a@a.example", "Ann", "Lee", ""], ["", "a@a.example", "Tom", "Ray", ""], false, false),
            ([ULN, "a@a.example", "Ann", "Lee", ""], [OTHER, "a@a.example", "Ann", "Lee", ""], false, false),
            (
                ["", "a@a.example", "Ann", "Lee", "2001-01-02"],
                ["", "b@a.example", "Lee", "Ann", "2001-01-02"],
                false,
                true,
            ),
            // Neither the placeholder nor nothing identifies.
            (["9999999999", "", "Ann", "Lee", ""], ["9999999999", "", "Ann", "Lee", ""], false, false),
            (["9999999999", "", "", "", ""], ["9999999999", "", "", "", ""], false, false),
            (["1000000063", "", "", "", ""], ["1000000063", "", "", "", ""], false, false),
            (["", " ", "", "", ""], ["", " ", "", "", ""], false, false),
            (["", "", "", "", ""], ["", "", "", "", ""], false, false),
        ];
        for (one, other, same, may) in table {
            let (a, b) = (traits(one), traits(other));
            for (a, b) in [(&a, &b), (&b, &a)] {
                assert_eq!(a.is_same(b, |_| true), same, "{one:?} {other:?}");
                assert_eq!(a.may_be_same(b), may, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn addresses_are_equal_after_nfc_and_lower_case() {
        let same = ["zo\u{e9}@firm.example", "ZOE\u{301}@firm.EXAMPLE", "\tZO\u{c9}@Firm.example "];
        for email in same {
            assert_eq!(address(email).as_deref(), Some("zo\u{e9}@firm.example"), "{email:?}");
        }
        assert_eq!(address("\u{130}@x.example"), address("I\u{307}@x.example"));
        assert_eq!((address(""), address(" \u{a0}")), (None, None));
    }
}
