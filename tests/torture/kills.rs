//! Kills at random moments and at every point: what was killed goes on, and ends as if nobody had disturbed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regex::Regex;

use crate::chance::Chance;
use crate::trial::{Outcome, Phase, Story, Trouble, ended, random, trial};

/// Returns a number that is set for the tests in the environment.
#[expect(clippy::disallowed_methods, reason = "the tests themselves are told so how long to run")]
pub fn ordered(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What many trials showed.
#[derive(Debug, Default)]
struct Figures {
    trials: usize,
    kills: BTreeMap<Phase, usize>,
    missed: usize,
    wasted: usize,
    violations: Vec<String>,
}

impl Figures {
    fn add(&mut self, told: &str, outcome: Outcome) {
        self.trials += 1;
        self.missed += outcome.missed;
        self.wasted = self.wasted.max(outcome.wasted);
        for phase in outcome.kills {
            *self.kills.entry(phase).or_default() += 1;
        }
        self.violations.extend(outcome.wrong.into_iter().map(|wrong| format!("{told}: {wrong}")));
    }

    fn landed(&self) -> usize {
        self.kills.values().sum()
    }

    /// Prints the figures, and fails unless all is well and each phase had its share of the kills.
    fn judge(&self, took: Duration) {
        let landed = self.landed();
        println!(
            "{} trials, {landed} kills {:?}, {} too late, at most {} pages read again after one, {} violations in {:.0?}: \
             with 95 % confidence fewer than {:.2} % of kills do harm",
            self.trials,
            self.kills,
            self.missed,
            self.wasted,
            self.violations.len(),
            took,
            300.0 / landed as f64
        );
        assert!(self.violations.is_empty(), "{:#?}", self.violations);
        for phase in Phase::ALL {
            let share = self.kills.get(&phase).copied().unwrap_or(0) * 20;
            assert!(share >= landed, "fewer than 5 % of the kills landed while {phase:?}: the run proves nothing");
        }
    }
}

/// Runs random trials on all processors until so many kills have landed, or so many minutes are over.
fn kill_at_random(kills: usize, minutes: u64) {
    let first = ordered("TORTURE_SEED").unwrap_or(1);
    println!("the first seed is {first}; set TORTURE_SEED for another");
    let (began, next, figures) = (Instant::now(), AtomicU64::new(first), Mutex::new(Figures::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while figures.lock().unwrap().landed() < kills && began.elapsed() < Duration::from_secs(minutes * 60) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let (story, troubles) = random(seed);
                    let outcome = trial(story, seed, &troubles, None);
                    figures.lock().unwrap().add(&format!("seed {seed}, {story:?} {troubles:?}"), outcome);
                }
            });
        }
    });
    figures.into_inner().unwrap().judge(began.elapsed());
}

/// Returns the points that a story reaches with a seed if nobody disturbs it, each with how often.
pub fn points(story: Story, seed: u64) -> BTreeMap<String, usize> {
    let world = story.world(seed);
    assert!(ended(&mut world.start(story.line(), None)).success());
    let mut points = BTreeMap::new();
    for point in world.reached() {
        *points.entry(point).or_default() += 1;
    }
    points
}

/// Returns the names in the calls of a function of `mutants` that the program makes.
pub fn named(function: &str) -> BTreeSet<String> {
    let call = Regex::new(&format!(r#"mutants::{function}\("([^"]+)"\)"#)).unwrap();
    let mut names = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                names.extend(call.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    names
}

#[test]
fn a_sync_that_nobody_disturbs_breaks_no_rule() {
    for story in Story::ALL {
        let outcome = trial(story, 1, &[], None);
        assert!(outcome.wrong.is_empty(), "{story:?}: {:#?}", outcome.wrong);
    }
}

#[test]
fn killed_at_random_moments_it_loses_nothing_and_doubles_nothing() {
    kill_at_random(300, u64::from(u16::MAX));
}

#[test]
#[ignore = "takes a quarter of an hour: cargo test --features mutants --test torture -- --ignored --nocapture"]
fn killed_five_thousand_times_it_loses_nothing_and_doubles_nothing() {
    kill_at_random(
        ordered("TORTURE_KILLS").unwrap_or(5_000) as usize,
        ordered("TORTURE_MINUTES").unwrap_or(u64::from(u16::MAX)),
    );
}

/// Kills at points: `choose` picks from the times a point is reached by a story.
fn kill_at_points(choose: impl Fn(&mut Vec<(Story, usize)>)) {
    const SEED: u64 = 5;
    let mut all: BTreeMap<String, Vec<(Story, usize)>> = BTreeMap::new();
    for story in Story::ALL {
        for (point, times) in points(story, SEED) {
            all.entry(point).or_default().extend((1..=times).map(|time| (story, time)));
        }
    }
    let reached: BTreeSet<String> = all.keys().cloned().collect();
    // Those of an upgrade and of keys have tests of their own, and those of commands one beside the command's others, in `tests/cli/`.
    let apart = |point: &String| {
        point.starts_with("key") || ["migrat", "erase", "purge", "rewrite"].iter().any(|what| point.contains(what))
    };
    let known: BTreeSet<String> = named("point").into_iter().filter(|point| !apart(point)).collect();
    assert_eq!(known, reached, "every point of the program is reached by a story");
    let work: Vec<(String, Story, usize)> = all
        .into_iter()
        .flat_map(|(point, mut times)| {
            choose(&mut times);
            times.into_iter().map(move |(story, time)| (point.clone(), story, time))
        })
        .collect();
    let (next, figures) = (AtomicU64::new(0), Mutex::new(Figures::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((point, story, time)) = work.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let outcome = trial(*story, SEED, &[Trouble::KillAt(point.clone(), *time)], None);
                    assert_eq!(outcome.kills.len(), 1, "{story:?} was not killed at `{point}`, time {time}");
                    figures.lock().unwrap().add(&format!("{story:?}, `{point}`, time {time}"), outcome);
                }
            });
        }
    });
    let figures = figures.into_inner().unwrap();
    println!("{} points, {} kills, at most {} pages read again", reached.len(), figures.landed(), figures.wasted);
    assert!(figures.violations.is_empty(), "{:#?}", figures.violations);
}

#[test]
fn killed_at_every_point_it_loses_nothing_and_doubles_nothing() {
    kill_at_points(|times| {
        let chosen = times[Chance::new(times.len() as u64).below(times.len() as u64) as usize];
        *times = vec![times[0], chosen, times[times.len() - 1]];
    });
}

#[test]
#[ignore = "takes some minutes: cargo test --features mutants --test torture -- --ignored --nocapture"]
fn killed_at_every_point_each_time_it_is_reached_it_loses_nothing() {
    kill_at_points(|_| {});
}
