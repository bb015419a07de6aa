//! Which rows of former providers are of the same people as the rows of the provider of now. What is decided depends on who is
//! there on both sides, and not on the order in which they came.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::traits::Traits;

/// So many plans nobody has: what more rows than these share says nothing of anybody.
const FEW: usize = 20;

/// A row to be paired.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) traits: Traits,
    /// Greater for the newer one of a person's rows: whether it is live, when the plan starts, when it was seen first and changed.
    pub(crate) newness: (bool, Option<String>, String, String),
    /// It is settled whose row this is: it tells what others share, and is paired with none.
    pub(crate) settled: bool,
}

/// What came out, as places among the stored and the incoming rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairing {
    /// Rows of one person.
    pub(crate) pairs: Vec<(usize, usize)>,
    /// Rows that may be of one person, where nobody can say.
    pub(crate) undecided: Vec<(usize, usize)>,
}

impl Pairing {
    /// Returns how many incoming rows are undecided.
    pub(crate) fn undecided_rows(&self) -> usize {
        self.undecided.iter().map(|(_, incoming)| incoming).collect::<BTreeSet<_>>().len()
    }
}

/// What two rows are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Clue {
    Text(String),
    NameAndBirth((Vec<String>, String)),
}

fn clues(traits: &Traits) -> impl Iterator<Item = Clue> {
    let texts = [traits.uln.clone(), traits.address.clone()].into_iter().flatten().map(Clue::Text);
    texts.chain(traits.name_and_birth().map(Clue::NameAndBirth))
}

/// What stored rows can be found by, so that of many incoming rows only those that matter are held.
#[derive(Debug, Default)]
pub(crate) struct Clues(HashSet<Clue>);

impl Clues {
    pub(crate) fn of(stored: &[Candidate]) -> Self {
        Clues(stored.iter().flat_map(|row| clues(&row.traits)).collect())
    }

    pub(crate) fn lead_to(&self, traits: &Traits) -> bool {
        clues(traits).any(|clue| self.0.contains(&clue))
    }
}

/// Returns the ULNs and addresses that several people of one side have: they identify nobody.
fn shared(side: &[Candidate]) -> HashSet<String> {
    let mut rows: HashMap<&str, Vec<&Traits>> = HashMap::new();
    for row in side {
        for value in [&row.traits.uln, &row.traits.address].into_iter().flatten() {
            rows.entry(value).or_default().push(&row.traits);
        }
    }
    let several = |rows: &[&Traits]| {
        rows.len() > FEW
            || rows.iter().enumerate().any(|(at, one)| rows[at + 1..].iter().any(|other| !one.is_one_with(other)))
    };
    rows.into_iter().filter(|(_, rows)| several(rows)).map(|(value, _)| value.to_owned()).collect()
}

/// Returns the pairs of rows to be looked at: those with something in common that few others have.
fn near(stored: &[Candidate], incoming: &[Candidate]) -> BTreeSet<(usize, usize)> {
    let by_clue_stored = by_clue(stored);
    let few = |(clue, news): (Clue, Vec<usize>)| {
        let olds = by_clue_stored.get(&clue)?;
        (olds.len() <= FEW && news.len() <= FEW).then_some((olds, news))
    };
    let mut near = BTreeSet::new();
    for (olds, news) in by_clue(incoming).into_iter().filter_map(few) {
        let open = |side: &[Candidate], places: &[usize]| -> Vec<usize> {
            places.iter().copied().filter(|place| !side[*place].settled).collect()
        };
        let (olds, news) = (open(stored, olds), open(incoming, &news));
        near.extend(olds.iter().flat_map(|old| news.iter().map(|new| (*old, *new))));
    }
    near
}

/// Returns the places of rows by each of their clues.
fn by_clue(side: &[Candidate]) -> HashMap<Clue, Vec<usize>> {
    let mut places: HashMap<Clue, Vec<usize>> = HashMap::new();
    for (place, row) in side.iter().enumerate() {
        clues(&row.traits).for_each(|clue| places.entry(clue).or_default().push(place));
    }
    places
}

/// Pairs stored rows with incoming ones. Of a person with several rows on a side the newest ones are paired.
pub(crate) fn pair(stored: &[Candidate], incoming: &[Candidate]) -> Pairing {
    let nobodys: HashSet<String> = shared(stored).into_iter().chain(shared(incoming)).collect();
    let identifies = |value: &str| !nobodys.contains(value);
    let near = near(stored, incoming);
    let same = |(old, new): &(usize, usize)| stored[*old].traits.is_same(&incoming[*new].traits, identifies);
    let edges: Vec<(usize, usize)> = near.iter().copied().filter(same).collect();
    let mut pairing = Pairing::default();
    for person in persons(&edges) {
        if is_one(&person, (stored, incoming), identifies) {
            pairing.pairs.extend(newest_first(person, stored, incoming));
        }
    }
    pairing.pairs.sort_unstable();
    let taken: HashSet<usize> = pairing.pairs.iter().map(|(old, _)| *old).collect();
    let placed: HashSet<usize> = pairing.pairs.iter().map(|(_, new)| *new).collect();
    let open = near.into_iter().filter(|(old, new)| !taken.contains(old) && !placed.contains(new));
    pairing.undecided = open.filter(|(old, new)| stored[*old].traits.may_be_same(&incoming[*new].traits)).collect();
    pairing
}

/// Returns the pairs that hang together, group by group.
fn persons(edges: &[(usize, usize)]) -> Vec<Vec<(usize, usize)>> {
    let (mut of_old, mut of_new) = (BTreeMap::<usize, Vec<usize>>::new(), BTreeMap::<usize, Vec<usize>>::new());
    for (at, (old, new)) in edges.iter().enumerate() {
        of_old.entry(*old).or_default().push(at);
        of_new.entry(*new).or_default().push(at);
    }
    let mut seen = vec![false; edges.len()];
    let mut groups = Vec::new();
    for start in 0..edges.len() {
        let (mut group, mut open) = (Vec::new(), vec![start]);
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let (old, new) = edges[at];
            group.push((old, new));
            open.extend(of_old[&old].iter().chain(&of_new[&new]).filter(|at| !seen[**at]));
        }
        if !group.is_empty() {
            groups.push(group);
        }
    }
    groups
}

/// Returns whether rows that hang together are of one person: each stored one of the same as each incoming one, or at least no two
/// of them of two.
fn is_one(
    group: &[(usize, usize)],
    (stored, incoming): (&[Candidate], &[Candidate]),
    identifies: impl Fn(&str) -> bool,
) -> bool {
    let olds: BTreeSet<usize> = group.iter().map(|(old, _)| *old).collect();
    let news: BTreeSet<usize> = group.iter().map(|(_, new)| *new).collect();
    let all: Vec<&Traits> =
        olds.iter().map(|at| &stored[*at].traits).chain(news.iter().map(|at| &incoming[*at].traits)).collect();
    all.iter().enumerate().all(|(at, one)| all[at + 1..].iter().all(|other| one.goes_with(other, &identifies)))
}

/// Returns which rows of one person are paired: the newest with the newest; of equally new ones those with one address.
fn newest_first(group: Vec<(usize, usize)>, stored: &[Candidate], incoming: &[Candidate]) -> Vec<(usize, usize)> {
    // A longer key is a later number.
    let key = |row: &Candidate| Reverse((row.key.chars().count(), row.key.clone()));
    let mut ranked: Vec<_> = group
        .into_iter()
        .map(|(old, new)| {
            let (one, other) = (&stored[old], &incoming[new]);
            let other_address = one.traits.address.is_none() || one.traits.address != other.traits.address;
            let newness = (Reverse(&one.newness), Reverse(&other.newness));
            ((newness, other_address, key(one), key(other)), (old, new))
        })
        .collect();
    ranked.sort();
    let (mut olds, mut news) = (BTreeSet::new(), BTreeSet::new());
    let free = |(old, new): &(usize, usize)| {
        let is_free = !olds.contains(old) && !news.contains(new);
        if is_free {
            olds.insert(*old);
            news.insert(*new);
        }
        is_free
    };
    ranked.into_iter().map(|(_, pair)| pair).filter(free).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ULNS: [&str; 4] = ["", "1000000035", "1000000043", "9999999999"];
    const EMAILS: [&str; 5] = ["", "a@x.example", "A@X.example", "office@x.example", "o\u{308}@x.example"];
    const FIRST: [&str; 4] = ["", "Ann", "Tom", "ANN"];
    const LAST: [&str; 3] = ["", "Lee", "Ray"];
    const BORN: [&str; 3] = ["", "2001-01-02", "2002-01-02"];

    fn row(key: &str, uln: &str, email: &str, (first, last, born): (&str, &str, &str)) -> Candidate {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let [uln, email, first, last, born] = [uln, email, first, last, born].map(known);
        let traits =
            Traits::new((uln.as_deref(), email.as_deref()), (first.as_deref(), last.as_deref()), born.as_deref());
        Candidate {
            id: 0,
            key: key.to_owned(),
            traits,
            newness: (true, None, String::new(), String::new()),
            settled: false,
        }
    }

    type Pairs = BTreeSet<(String, String)>;

    /// Returns the pairs and the undecided ones by their keys.
    fn keys(stored: &[Candidate], incoming: &[Candidate]) -> (Pairs, Pairs) {
        let pairing = pair(stored, incoming);
        let named = |pairs: &[(usize, usize)]| {
            pairs.iter().map(|(old, new)| (stored[*old].key.clone(), incoming[*new].key.clone())).collect()
        };
        (named(&pairing.pairs), named(&pairing.undecided))
    }

    fn told(stored: &[Candidate], incoming: &[Candidate]) -> (String, String) {
        let (pairs, undecided) = keys(stored, incoming);
        let text = |pairs: BTreeSet<(String, String)>| {
            pairs.iter().map(|(old, new)| format!("{old}={new}")).collect::<Vec<_>>().join(" ")
        };
        (text(pairs), text(undecided))
    }

    const X: &str = "1000000035";
    const Y: &str = "1000000043";
    const ANN: (&str, &str, &str) = ("Ann", "Lee", "");
    const TOM: (&str, &str, &str) = ("Tom", "Ray", "");

    #[test]
    fn of_two_plans_of_one_person_the_newest_is_taken_over() {
        let mut old = row("b1", X, "ann@x.example", ANN);
        let mut new = row("b2", X, "", ANN);
        (old.newness.1, new.newness.1) = (Some("2024-01-01".into()), Some("2025-01-01".into()));
        let incoming = [row("a1", X, "ann@x.example", ANN)];
        assert_eq!(told(&[old.clone(), new.clone()], &incoming), ("b2=a1".into(), String::new()));
        // Of equally new ones the address tells.
        new.newness.1.clone_from(&old.newness.1);
        assert_eq!(told(&[old.clone(), new.clone()], &incoming), ("b1=a1".into(), String::new()));
        // Two plans on both sides; and a deleted row is older than a live one.
        let mut second = row("a2", X, "", ANN);
        (second.newness.1, new.newness.0) = (Some("2025-01-01".into()), false);
        assert_eq!(told(&[new, old], &[incoming[0].clone(), second]), ("b1=a2 b2=a1".into(), String::new()));
    }

    #[test]
    fn a_uln_of_two_people_identifies_nobody_and_the_address_breaks_the_tie() {
        let stored = [row("b1", X, "ann@x.example", ANN), row("b2", X, "tom@x.example", TOM)];
        let incoming = [row("a1", X, "ann@x.example", ANN), row("a2", Y, "tom@x.example", TOM)];
        assert_eq!(told(&stored, &incoming).0, "b1=a1 b2=a2");
        assert_eq!(told(&incoming, &stored).0, "a1=b1 a2=b2");
        let without = [row("a1", X, "", ANN), row("a2", Y, "", TOM)];
        assert_eq!(told(&stored, &without), (String::new(), "b1=a1 b2=a1".into()));
        // Alone on both sides, and of another name: nobody can say.
        assert_eq!(told(&stored[..1], &[row("a1", X, "", TOM)]), (String::new(), "b1=a1".into()));
    }

    #[test]
    fn an_address_of_several_on_either_side_identifies_nobody() {
        let office = "office@x.example";
        let (one, two) = ([row("b1", "", office, ANN)], [row("a1", "", office, TOM), row("a2", "", office, ANN)]);
        assert_eq!(told(&one, &two), (String::new(), "b1=a2".into()));
        assert_eq!(told(&two, &one), (String::new(), "a2=b1".into()));
        let strangers = [row("a1", "", office, TOM), row("a2", "", office, ("Bo", "Day", ""))];
        assert_eq!(told(&one, &strangers), (String::new(), String::new()));
        // What is settled is one who has it, too.
        let mut settled = two.clone();
        settled[0].settled = true;
        assert_eq!(told(&one, &settled).0, "");
    }

    #[test]
    fn a_value_that_very_many_have_is_passed_over() {
        let many = |side: &str| -> Vec<Candidate> {
            (0..3000).map(|at| row(&format!("{side}{at}"), "", "none@x.example", ANN)).collect()
        };
        assert_eq!(told(&many("b"), &many("a")), (String::new(), String::new()));
    }

    fn rows(side: &'static str) -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0..ULNS.len(), 0..EMAILS.len(), 0..FIRST.len(), 0..LAST.len(), 0..BORN.len(), 0..3u8, any::<bool>());
        prop::collection::vec(one, 0..7).prop_map(move |rows| {
            rows.into_iter()
                .enumerate()
                .map(|(at, (uln, email, first, last, born, start, live))| {
                    let name = (FIRST[first], LAST[last], BORN[born]);
                    let mut row = row(&format!("{side}{at}"), ULNS[uln], EMAILS[email], name);
                    row.newness = (live, Some(start.to_string()), String::new(), String::new());
                    row
                })
                .collect()
        })
    }

    /// Two sides, and the same in another order.
    fn sides() -> impl Strategy<Value = [Vec<Candidate>; 4]> {
        (rows("b"), rows("a")).prop_flat_map(|(stored, incoming)| {
            let shuffled = (Just(stored.clone()).prop_shuffle(), Just(incoming.clone()).prop_shuffle());
            (Just(stored), Just(incoming), shuffled).prop_map(|(a, b, (c, d))| [a, b, c, d])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pairing_is_independent_of_order_and_gives_nobody_anothers_row([stored, incoming, others, later] in sides()) {
            let (pairs, undecided) = keys(&stored, &incoming);
            prop_assert_eq!(&keys(&others, &later), &(pairs.clone(), undecided.clone()));
            let turned = |pairs: &BTreeSet<(String, String)>| -> BTreeSet<(String, String)> {
                pairs.iter().map(|(old, new)| (new.clone(), old.clone())).collect()
            };
            let (back, open) = keys(&incoming, &stored);
            prop_assert_eq!(turned(&open).len(), undecided.len());
            prop_assert_eq!(back.len(), pairs.len());
            let of = |side: &[Candidate], key: &str| side.iter().find(|row| row.key == key).unwrap().clone();
            for (old, new) in &pairs {
                let (old, new) = (of(&stored, old), of(&incoming, new));
                // No value that somebody else has, too, on either side has paired them alone.
                let alone = |value: &Option<String>, side: &[Candidate], own: &Candidate| {
                    value.is_some() && side.iter().all(|row| {
                        (row.traits.uln != *value && row.traits.address != *value) || row.traits.is_one_with(&own.traits) || row.key == own.key
                    })
                };
                let by = |a: &Option<String>, b: &Option<String>| a == b && alone(a, &stored, &old) && alone(b, &incoming, &new);
                prop_assert!(by(&old.traits.uln, &new.traits.uln) || by(&old.traits.address, &new.traits.address));
                prop_assert!(old.traits.may_be_same(&new.traits) || old.traits.uln != new.traits.uln);
            }
            let each_once = |keys: Vec<&String>| keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
            prop_assert!(each_once(pairs.iter().map(|(old, _)| old).collect()));
            prop_assert!(each_once(pairs.iter().map(|(_, new)| new).collect()));
        }
    }
}
