//! A model of the world: a provider of the test's own that keeps a ledger of what it showed, people who come, go, change and
//! move, faults of each kind, kills, and syncs in between, all by chance.
//!
//! After each sync: nobody is marked as deleted whom not as many clean full reads as the manifest says have missed; a run
//! that is `ok` without a warning has stored what there was when it began; `--full` begins at the beginning. After the
//! faults end, two syncs have stored all that a client can know, and some weeks later everything.
//!
//! `plan` is what may be, `shape` its manifest, `people` the state of the server, `ledger` what it showed, `serve` and
//! `faults` its answers, which go over a `line`; `trial` plays a world and judges it.

mod faults;
mod ledger;
mod line;
mod people;
mod plan;
mod serve;
mod shape;
mod trial;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Script, Server, World};
use crate::config::Environment;
use line::Line;
use plan::{Fault, Plan, Sweep};
use serve::ENDLESS;
use trial::{Figures, Wrong};

/// How many worlds are played beside all other tests.
const SHORT: u64 = 100;
/// How many are played when that is all that is done.
const LONG: u64 = 10_000;
/// Among how many a fault put into the program is to be noticed.
const MUTANT: u64 = 400;
/// Returns the world of a seed, if it may show a fault.
type Chosen = fn(u64) -> Option<Plan>;
/// The faults that are to be noticed, and by which worlds, if that of a seed may show it.
const MUTANTS: [(&str, Chosen); 4] = [
    ("shared-count", |seed| {
        such(seed, |plan| plan.shapes.iter().any(|shape| shape.after > 1 && shape.sweep == Sweep::Always))
    }),
    ("loop-unchecked", |seed| {
        such(seed, |plan| plan.values > 1 && plan.has(|fault| matches!(fault, Fault::RepeatRow | Fault::RepeatPage)))
    }),
    ("empty-believed", |seed| {
        such(seed, |plan| plan.has(|fault| matches!(fault, Fault::EmptyEnd | Fault::EmptyNext | Fault::NoNext)))
    }),
    ("position-kept", |seed| Some(plan::of_one_disordered_read(seed))),
];

/// Returns the world of a seed if it is such.
fn such(seed: u64, is_such: fn(&Plan) -> bool) -> Option<Plan> {
    Some(world_of(seed).current()).filter(is_such)
}
/// How often a world that fails is made simpler, at most.
const SIMPLER: u32 = 3_000;

/// Returns the world of a seed, and what makes it simpler.
fn world_of(seed: u64) -> impl proptest::strategy::ValueTree<Value = Plan> {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    plan::plans().new_tree(&mut runner).unwrap()
}

/// Plays worlds on one line.
struct Player {
    line: Line,
    mutant: Option<&'static str>,
}

impl Player {
    fn new(mutant: Option<&'static str>) -> Self {
        Player { line: Line::new(), mutant }
    }

    fn play(&self, plan: &Plan) -> Result<Figures, Wrong> {
        trial::play(plan, &self.line, self.mutant)
    }

    /// Returns the simplest world found that breaks the same rule as the one of this seed.
    fn simplest(&self, seed: u64) -> (Plan, Wrong) {
        let mut tree = world_of(seed);
        let mut simplest: Option<(Plan, Wrong)> = None;
        for _ in 0..SIMPLER {
            let plan = tree.current();
            let goes_on = match self.play(&plan) {
                Err(wrong) if simplest.as_ref().is_none_or(|(_, known)| known.rule == wrong.rule) => {
                    simplest = Some((plan, wrong));
                    tree.simplify()
                }
                _ => tree.complicate(),
            };
            if !goes_on {
                break;
            }
        }
        simplest.unwrap_or_else(|| panic!("the world of seed {seed} fails once and not again"))
    }

    /// Plays the world of a seed; one that fails is told in its simplest form.
    fn proves(&self, seed: u64) -> Figures {
        self.play(&world_of(seed).current()).unwrap_or_else(|_| {
            let (plan, wrong) = self.simplest(seed);
            panic!("{}", told(seed, &plan, &wrong));
        })
    }
}

/// Returns a world that failed, for people.
fn told(seed: u64, plan: &Plan, wrong: &Wrong) -> String {
    let (manifest, journal) = (plan.manifest(), wrong.journal.join("\n"));
    let what = format!("world {seed} breaks {:?}: {}", wrong.rule, wrong.why);
    format!("{what}\n\n{plan:#?}\n\n{manifest}\n{journal}\n\n{what}")
}

/// Plays the worlds of many seeds, several at a time.
fn prove(seeds: std::ops::Range<u64>, at_once: usize) -> Figures {
    let some = |first: usize| {
        let player = Player::new(None);
        let mut figures = Figures::default();
        seeds.clone().skip(first).step_by(at_once).for_each(|seed| figures += player.proves(seed));
        figures
    };
    std::thread::scope(|scope| {
        let some = &some;
        let players: Vec<_> = (0..at_once).map(|first| scope.spawn(move || some(first))).collect();
        players.into_iter().fold(Figures::default(), |mut all, player| {
            all += player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all
        })
    })
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = Environment::of_process().text(variable).unwrap();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn seeds(otherwise: u64) -> std::ops::Range<u64> {
    let first = number("MODEL_SEED", 0);
    first..first + number("MODEL_WORLDS", otherwise)
}

#[test]
fn worlds_by_chance_are_stored_as_they_are() {
    prove(seeds(SHORT), 2);
}

#[test]
#[ignore = "the long tier: an hour or so"]
fn ten_thousand_worlds_are_stored_as_they_are() {
    let began = std::time::Instant::now();
    let figures = prove(seeds(LONG), number("MODEL_JOBS", 2) as usize);
    print(&format!("{figures:#?} in {:?}", began.elapsed()));
}

/// Finds a world that fails with a fault put into the program and not without it. Returns its seed, and how many were played.
fn caught(mutant: &'static str, world: Chosen) -> (u64, usize) {
    let (well, ill) = (Player::new(None), Player::new(Some(mutant)));
    let plans = (0..MUTANT).filter_map(|seed| Some((seed, world(seed)?)));
    let caught = plans.enumerate().find(|(_, (_, plan))| ill.play(plan).is_err() && well.play(plan).is_ok());
    let (before, (seed, _)) = caught.unwrap_or_else(|| panic!("`{mutant}` is not noticed"));
    (seed, before + 1)
}

#[test]
fn worlds_notice_faults_put_into_the_program() {
    std::thread::scope(|scope| {
        for (mutant, world) in MUTANTS {
            scope.spawn(move || {
                let (seed, played) = caught(mutant, world);
                print(&format!("`{mutant}`: noticed by world {seed}, the {played}. that may show it"));
            });
        }
    });
}

#[test]
#[ignore = "a survey of what fails, for people"]
fn survey() {
    let player = Player::new(None);
    let began = std::time::Instant::now();
    let (mut failed, mut figures, seeds) = (0, Figures::default(), seeds(SHORT));
    for seed in seeds.clone() {
        let played = player.play(&world_of(seed).current()).map(|played| figures += played);
        if let Err(wrong) = played {
            failed += 1;
            print(&format!("{seed}: {:?}: {}", wrong.rule, wrong.why));
            if number("MODEL_SIMPLEST", 0) > 0 {
                let (plan, wrong) = player.simplest(seed);
                let (manifest, journal) = (plan.manifest(), wrong.journal.join("\n"));
                print(&format!("{manifest}\n{journal}\n{:?}: {}\n", wrong.rule, wrong.why));
            }
        }
    }
    print(&format!("{figures:#?}\n{failed} of {} fail, {:?}", seeds.end - seeds.start, began.elapsed()));
}

#[expect(clippy::print_stdout, reason = "figures are for whoever runs the long tier")]
fn print(what: &str) {
    println!("{what}");
}
