//! Each fault that the feature `mutants` can put in is noticed, and the program without any passes the same trials.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::chance::Chance;
use crate::kills::{named, points};
use crate::trial::{Story, Trouble, random, trial};

/// How many trials a fault may go unnoticed.
const TRIALS: u64 = 60;

/// Runs a fixed series of trials, and returns the first that breaks a rule with what it breaks.
fn hunt(mutant: Option<&str>) -> Option<(u64, Vec<String>)> {
    // Each point with the stories that come by it and how often they do.
    let mut known: BTreeMap<String, Vec<(Story, usize)>> = BTreeMap::new();
    for story in Story::ALL {
        points(story, 0).into_iter().for_each(|(point, times)| known.entry(point).or_default().push((story, times)));
    }
    let known: Vec<_> = known.into_iter().collect();
    (0..TRIALS).find_map(|number| {
        let mut chance = Chance::new(number);
        let (turn, after) = (number as usize / 2, 1 + chance.below(3));
        let (story, troubles) = match number % 6 {
            0 | 2 | 4 => {
                // All points in turn: the first time in the middle of a first read, where every page holds something new.
                let (point, stories) = &known[turn % known.len()];
                let (story, times) = stories[turn / known.len() % stories.len()];
                (story, vec![Trouble::KillAt(point.clone(), times.div_ceil(2))])
            }
            1 => (*chance.pick(&Story::ALL).unwrap(), vec![Trouble::Rival(after)]),
            3 => {
                let wait = Duration::from_millis(100);
                (*chance.pick(&Story::ALL).unwrap(), vec![Trouble::Writer(after, wait)])
            }
            _ => random(number),
        };
        let outcome = trial(story, number, &troubles, mutant);
        (!outcome.wrong.is_empty()).then_some((number + 1, outcome.wrong))
    })
}

/// Faults that no kill of a sync shows; a test in `tests/cli/` or the model in `src/sync/tests/model/` puts each in.
const APART: [&str; 8] = [
    "erasures-once",
    "no-rewrite",
    "header-told",
    "panic-with-secret",
    "shared-count",
    "loop-unchecked",
    "empty-believed",
    "position-kept",
];

fn is_caught(mutant: &str) {
    let (trials, wrong) = hunt(Some(mutant)).unwrap_or_else(|| panic!("`{mutant}` passed {TRIALS} trials"));
    println!("{mutant} is caught by trial {trials}: {}", wrong[0]);
}

#[test]
fn the_program_without_a_fault_passes_the_trials_that_faults_are_caught_by() {
    let wrong = hunt(None);
    assert!(wrong.is_none(), "{wrong:#?}");
}

macro_rules! caught {
    ($($test:ident: $mutant:literal,)*) => {
        $(#[test]
        fn $test() {
            is_caught($mutant);
        })*

        #[test]
        fn every_fault_of_the_program_has_a_test() {
            let here = [$($mutant),*].into_iter();
            let all = here.chain(APART).chain(crate::keys::MUTANTS).map(str::to_owned);
            assert_eq!(named("on"), all.collect::<BTreeSet<_>>());
        }
    };
}

caught! {
    progress_committed_before_its_rows_is_caught: "progress-first",
    rows_without_upsert_are_caught: "insert-only",
    a_window_that_begins_after_the_last_one_is_caught: "strict-start",
    a_refused_page_taken_for_an_empty_one_is_caught: "swallow-429",
    two_runs_at_once_are_caught: "no-lock",
    a_transaction_that_takes_its_lock_late_is_caught: "deferred-begin",
    a_watermark_before_the_end_of_its_read_is_caught: "watermark-first",
    a_sweep_of_what_an_interrupted_read_saw_is_caught: "generation-anew",
    a_refresh_token_used_before_it_is_stored_is_caught: "token-unsaved",
    a_change_without_a_row_in_the_audit_is_caught: "unaudited",
    a_change_noted_on_the_host_before_it_is_committed_is_caught: "anchor-first",
}
