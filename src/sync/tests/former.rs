//! Who is taken over from a provider that the organization has left, and who is not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const PAGES: &str = "streams:
  learners:
    entity: learner
    key: id
    records: '[]'
    full: {get: '/all?page={page}', page: {number: 1}}
    deletes: {sweep: always, max: 0.5}
";

const PERSON: &str = "    field_mappings:
      learner.uln: uln
      learner.email: email
      learner.first_name: first
      learner.last_name: last
      learner.date_of_birth: born
      learner.start: start
";

/// Key, ULN, e-mail address, first name, last name, start.
type Person = [&'static str; 6];

const X: &str = "1000000035";
const Y: &str = "1000000043";

fn world() -> World {
    let world = World::new(PAGES, PERSON);
    let put = |tx: &crate::store::Connection| {
        let text = "provider: old\nrevision: 1\nkind: lms\ntitle: Old\nhttp:\n  base: https://old.example\nstreams: {learners: \
                    {entity: learner, key: id, records: '[]', full: {get: /all}}}\n";
        let manifest = manifest::load("old.yaml", text).unwrap_or_else(|error| panic!("{error}"));
        providers::put(tx, &manifest, text, false, crate::config::now())
    };
    world.engine.store().change(Keep::Yes, put).unwrap();
    world
}

impl World {
    /// Stores rows of the provider that was left.
    fn left(&self, people: &[Person]) {
        let store = self.engine.store();
        for [key, uln, email, first, last, start] in people {
            store
                .read()
                .execute(
                    "INSERT INTO learners (organization_id, provider_id, external_key, uln, email, first_name, last_name, start,
                                           content_hash, first_seen_at, changed_at, generation, in_scope, dormant)
                     SELECT ?1, id, ?2, nullif(?3, ''), nullif(?4, ''), nullif(?5, ''), nullif(?6, ''), nullif(?7, ''), x'00',
                            '2025-01-01T00:00:00.000Z', '2025-01-01T00:00:00.000Z', 1, 1, 1
                     FROM integration_providers WHERE slug = 'old'",
                    (self.organization.id, key, uln, email, first, last, start),
                )
                .unwrap();
        }
    }

    /// Has the provider list these, so many a page.
    fn list(&self, people: &[Person], size: usize) {
        let page = |people: &[Person]| {
            let record = |[key, uln, email, first, last, start]: &Person| {
                serde_json::json!({"id": key, "uln": uln, "email": email, "first": first, "last": last, "born": null,
                                   "start": start})
                .to_string()
            };
            format!("[{}]", people.iter().map(record).collect::<Vec<_>>().join(","))
        };
        let pages: Vec<String> = people.chunks(size).map(page).collect();
        self.server.play(move |asked| {
            let number: usize = asked.rsplit('=').next().unwrap().parse().unwrap();
            json(pages.get(number - 1).map_or("[]", String::as_str))
        });
    }

    /// Returns the rows of the provider of now, each with the old row it has the place of, and those that lie dormant.
    fn places(&self, old: &[Person]) -> BTreeSet<String> {
        let rows = self.column(
            "SELECT external_key || ' ' || iif(dormant, 'dormant', iif(first_seen_at < '2025-02', id, 'new')) FROM learners
             WHERE deleted_at IS NULL",
        );
        let named = |row: String| {
            let (key, place) = row.split_once(' ').unwrap();
            match place.parse::<usize>() {
                Ok(id) => format!("{key}={}", old[id - 1][0]),
                Err(_) => format!("{key} {place}"),
            }
        };
        rows.into_iter().map(named).collect()
    }
}

fn moved(old: &[Person], new: &[Person]) -> (String, Tally, Vec<String>) {
    let mut all = BTreeSet::new();
    let mut last = None;
    for size in 1..=new.len() {
        let world = world();
        world.left(old);
        let reversed: Vec<Person> = new.iter().rev().copied().collect();
        world.list(if size % 2 == 0 { new } else { &reversed }, size);
        let ended = world.run();
        assert_eq!(ended.outcome, Outcome::Ok, "{:?}", ended.error);
        assert_eq!(ended.tally.quarantined, 0);
        let places = world.places(old);
        all.insert(places.iter().cloned().collect::<Vec<_>>().join(", "));
        // Once more: nothing moves.
        let again = world.run_well();
        assert_eq!((again.adopted, again.inserted, world.places(old)), (0, 0, places));
        last = Some((ended.tally, ended.told.doubts));
    }
    assert_eq!(all.len(), 1, "the order and the size of pages decide: {all:?}");
    let (tally, doubts) = last.unwrap();
    (all.into_iter().next().unwrap(), tally, doubts)
}

#[test]
fn two_old_plans_of_one_person_leave_nobody_out() {
    let old = [["b1", X, "", "Ann", "Lee", "2024-01-01"], ["b2", X, "", "Ann", "Lee", "2025-01-01"]];
    let (places, tally, doubts) = moved(&old, &[["a1", X, "", "Ann", "Lee", "2025-01-01"]]);
    assert_eq!((places.as_str(), tally.adopted, tally.inserted), ("a1=b2, b1 dormant", 1, 0));
    assert_eq!(doubts, [""; 0]);
}

#[test]
fn a_uln_mistyped_for_two_people_gives_neither_the_others_row() {
    let old = [["b1", X, "ann@x.example", "Ann", "Lee", ""], ["b2", X, "tom@x.example", "Tom", "Ray", ""]];
    let new = [["a1", X, "ann@x.example", "Ann", "Lee", ""], ["a2", Y, "tom@x.example", "Tom", "Ray", ""]];
    assert_eq!(moved(&old, &new).0, "a1=b1, a2=b2");
    let (places, tally, doubts) = moved(&old, &[["a1", X, "", "Ann", "Lee", ""], ["a2", Y, "", "Tom", "Ray", ""]]);
    assert_eq!((places.as_str(), tally.adopted), ("a1 new, a2 new, b1 dormant, b2 dormant", 0));
    assert!(doubts[0].contains("1 learners may be") && doubts[0].contains("record link acme"), "{doubts:?}");
}

#[test]
fn a_mailbox_that_two_share_gives_nobody_a_row() {
    let office = "office@firm.example";
    let old = [["b1", "", office, "Ann", "Lee", ""]];
    let new = [["a1", "", office, "Tom", "Ray", ""], ["a2", "", office, "Ann", "Lee", ""]];
    let (places, tally, doubts) = moved(&old, &new);
    assert_eq!((places.as_str(), tally.inserted), ("a1 new, a2 new, b1 dormant", 2));
    assert!(doubts[0].contains("1 learners may be"), "{doubts:?}");
    // Two had it before; and one who has it now is somebody else.
    let two = [old[0], ["b2", "", office, "Bo", "Day", ""]];
    assert_eq!(moved(&two, &new[..1]).0, "a1 new, b1 dormant, b2 dormant");
    assert_eq!(moved(&old, &new[..1]).0, "a1 new, b1 dormant");
}

#[test]
fn the_placeholder_for_a_uln_identifies_nobody() {
    let old = [["b1", "9999999999", "", "Ann", "Lee", ""]];
    let (places, _, doubts) = moved(&old, &[["a1", "9999999999", "", "Ann", "Lee", ""]]);
    assert_eq!((places.as_str(), doubts.len()), ("a1 new, b1 dormant", 0));
}

#[test]
fn addresses_are_one_in_either_case_and_composition() {
    let old = [["b1", "", "zo\u{e9}@Firm.example", "Zo\u{e9}", "Lee", ""]];
    assert_eq!(moved(&old, &[["a1", "", "ZOE\u{301}@firm.example", "ZOE\u{301}", "LEE", ""]]).0, "a1=b1");
}

#[test]
fn somebody_who_comes_later_is_taken_over_and_a_dry_run_counts_as_much() {
    let mut world = world();
    let old = [["b1", X, "", "Ann", "Lee", ""], ["b2", Y, "", "Tom", "Ray", ""]];
    world.left(&old);
    let new = [["a1", X, "", "Ann", "Lee", ""], ["a2", Y, "", "Tom", "Ray", ""]];
    world.list(&new[..1], 1);
    assert_eq!(world.run_well().adopted, 1);
    world.list(&new, 1);
    world.engine.options.keep = Keep::DryRun;
    let tried = world.run_well();
    world.engine.options.keep = Keep::Yes;
    let done = world.run_well();
    assert_eq!((tried.adopted, tried.inserted), (1, 0));
    assert_eq!((done.adopted, done.inserted, done.unchanged), (1, 0, 1));
    assert_eq!(world.places(&old).into_iter().collect::<Vec<_>>(), ["a1=b1", "a2=b2"]);
}

#[test]
fn a_person_counts_once_towards_the_limit_while_there_are_two_rows() {
    let mut world = world();
    world.organization.max_learners = Some(2);
    world.resettle(PERSON);
    let old = [["b1", X, "", "Ann", "Lee", ""], ["b2", Y, "", "Tom", "Ray", ""]];
    world.left(&old);
    world.list(&[["a1", X, "", "Ann", "Lee", ""], ["a2", Y, "", "Tom", "Ray", ""]], 1);
    let tally = world.run_well();
    assert_eq!((tally.adopted, tally.over_cap), (2, 0));
    let three = [["a1", X, "", "Ann", "Lee", ""], ["a2", Y, "", "Tom", "Ray", ""], ["a3", "", "", "Bo", "Day", ""]];
    world.list(&three, 1);
    assert_eq!(world.run().tally.over_cap, 1);
}

#[test]
fn a_read_that_is_not_proved_takes_nobody_over() {
    let world = world();
    let old = [["b1", X, "", "Ann", "Lee", ""]];
    world.left(&old);
    let new = [["a1", X, "", "Ann", "Lee", ""], ["a2", Y, "", "Tom", "Ray", ""]];
    // A record that comes twice speaks against the read.
    world.list(&[new[0], new[1], new[0]], 1);
    assert_eq!((world.run().tally.adopted, world.places(&old).contains("b1 dormant")), (0, true));
    world.list(&new, 1);
    assert_eq!((world.run_well().adopted, world.places(&old).contains("a1=b1")), (1, true));
}

const ULNS: [&str; 4] = ["", X, Y, "9999999999"];
const EMAILS: [&str; 4] = ["", "a@x.example", "A@X.example", "office@x.example"];
const NAMES: [(&str, &str); 4] = [("Ann", "Lee"), ("Tom", "Lee"), ("Tom", "Ray"), ("", "")];

fn people(keys: [&'static str; 5]) -> impl Strategy<Value = Vec<Person>> {
    let one = (0..ULNS.len(), 0..EMAILS.len(), 0..NAMES.len());
    proptest::collection::vec(one, 1..=keys.len()).prop_map(move |rows| {
        let person = |(at, (uln, email, name)): (usize, (usize, usize, usize))| {
            [keys[at], ULNS[uln], EMAILS[email], NAMES[name].0, NAMES[name].1, ""]
        };
        rows.into_iter().enumerate().map(person).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whose_row_is_whose_does_not_depend_on_pages(
        old in people(["b1", "b2", "b3", "b4", "b5"]), new in people(["a1", "a2", "a3", "a4", "a5"]),
    ) {
        let (places, tally, _) = moved(&old, &new);
        let kept = places.split(", ").count() as u64;
        prop_assert_eq!(kept, (old.len() + new.len()) as u64 - tally.adopted);
        prop_assert_eq!(tally.inserted + tally.adopted, new.len() as u64);
    }
}
