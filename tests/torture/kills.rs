//! Kills at random moments and at every point.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::trial::{Phase, Story, random, trial};

#[test]
fn a_sync_that_nobody_disturbs_breaks_no_rule() {
    for story in Story::ALL {
        let began = Instant::now();
        let outcome = trial(story, 1, &[], None);
        assert!(outcome.wrong.is_empty(), "{story:?}: {:#?}", outcome.wrong);
        println!("{story:?}: {:?}", began.elapsed());
    }
}

#[test]
fn x_random() {
    let began = Instant::now();
    let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
    for seed in 0..60 {
        let (story, troubles) = random(seed);
        let outcome = trial(story, seed, &troubles, None);
        assert!(outcome.wrong.is_empty(), "seed {seed}: {story:?} {troubles:?}: {:#?}", outcome.wrong);
        for phase in outcome.kills {
            *phases.entry(phase).or_default() += 1;
        }
        println!("{seed} missed {} wasted {}", outcome.missed, outcome.wasted);
    }
    println!("{phases:?}: {:?}", began.elapsed());
}
