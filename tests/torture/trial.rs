//! A trial: a sync that is disturbed once or more, let go on until it is through, and checked at every step.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chance::Chance;
use crate::check::{self, Violations};
use crate::world::{Template, World, fresh, synced};

/// Pages that may be fetched ahead of the one being written, and are lost with the process.
const AHEAD: usize = 4;
/// Longer than any command takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is being read when the trouble comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// The first read of all.
    First,
    /// What has changed since.
    Changes,
    /// Everything once more, and the sweep behind it.
    Full,
}

impl Story {
    pub const ALL: [Story; 3] = [Story::First, Story::Changes, Story::Full];

    fn template(self) -> &'static Template {
        if self == Story::First { fresh() } else { synced() }
    }

    pub fn line(self) -> &'static str {
        if self == Story::Full { "sync acme --full" } else { "sync acme" }
    }

    /// Returns a machine at the moment the story begins.
    pub fn world(self, seed: u64) -> World {
        let world = World::new(self.template());
        let mut state = world.account.state();
        state.chance = Chance::new(seed ^ 0xACC0_0117);
        state.delay = 2_000;
        state.refused = 5;
        if self != Story::First {
            state.live(600_000, 25);
        }
        drop(state);
        world
    }
}

/// What is done to a run.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Killed so long after it was started.
    KillAfterStart(Duration),
    /// Killed so long after so many requests.
    KillAfterRequest(u64, Duration),
    /// Killed at a point, the so-manieth time.
    KillAt(String, usize),
    /// Killed so long after it has reached a point so many times.
    KillAfter(&'static str, usize, Duration),
    /// Another process syncs the same while this one waits for a page; then it is killed.
    Rival(u64),
    /// Another process holds the write lock for so long when a page comes.
    Writer(u64, Duration),
}

/// What a trial showed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub wrong: Violations,
    /// The phases of the kills that landed: proved by the signal the process died of.
    pub kills: Vec<Phase>,
    /// How many kills came too late.
    pub missed: usize,
    /// The most pages that were served to a process that was killed before it stored them.
    pub wasted: usize,
}

/// What a process was doing when it was killed, by the last point it had reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Starting,
    Asking,
    Writing,
    Ending,
}

impl Phase {
    pub const ALL: [Phase; 4] = [Phase::Starting, Phase::Asking, Phase::Writing, Phase::Ending];

    fn of(reached: &[String]) -> Phase {
        match reached.last().map(String::as_str) {
            Some("page asked for") => Phase::Asking,
            Some("page received" | "page written" | "page committed") => Phase::Writing,
            Some("read ended" | "feed page committed" | "swept" | "run finished") => Phase::Ending,
            Some(name) if name.starts_with("watermark") => Phase::Ending,
            _ => Phase::Starting,
        }
    }
}

/// Runs a story with these troubles, one a run, and then to its end.
pub fn trial(story: Story, seed: u64, troubles: &[Trouble], mutant: Option<&str>) -> Outcome {
    let mut world = story.world(seed);
    world.mutant = mutant.map(str::to_owned);
    let mut outcome = Outcome::default();
    let neighbour = check::contents(&check::copy(&world).connection, "other");
    let mut chance = Chance::new(seed);
    for trouble in troubles {
        let before = check::progress(&check::copy(&world).connection);
        let (kills, pages) = (outcome.kills.len(), world.account.state().ledger.len());
        trouble.make(story, &world, &mut outcome);
        let killed = outcome.kills.len() > kills;
        let copy = check::copy(&world).connection;
        check::sound(&copy, &mut outcome.wrong);
        check::progress_is_true(&copy, &before, &world.account.state(), &mut outcome.wrong);
        check::audited(&world, &copy, &mut outcome.wrong);
        check::no_residue(&world, !killed, &mut outcome.wrong);
        let wasted = check::wasted(&copy, &before, &world.account.state(), pages);
        if wasted > if killed { AHEAD } else { 0 } {
            outcome.wrong.push(format!("I11: {wasted} pages have to be read again"));
        }
        outcome.wasted = outcome.wasted.max(wasted);
        if chance.percent(12) {
            shown_as_over(&world, &mut outcome.wrong);
        }
        let changes = chance.below(4);
        world.account.state().live(1_000 + chance.below(60_000) as i64, changes);
    }
    world.account.state().delay = 0;
    finish(&world, &mut outcome.wrong);
    let copy = check::copy(&world).connection;
    check::sound(&copy, &mut outcome.wrong);
    check::equal(&copy, &world.account.state(), &mut outcome.wrong);
    check::runs_are_over(&copy, &mut outcome.wrong);
    check::audited(&world, &copy, &mut outcome.wrong);
    check::no_residue(&world, true, &mut outcome.wrong);
    if check::contents(&copy, "other") != neighbour {
        outcome.wrong.push("I9: rows of another organization have changed".into());
    }
    again(&world, &check::contents(&copy, "acme"), &mut outcome.wrong);
    outcome
}

/// Checks that any other command knows that the killed run is over (I4).
fn shown_as_over(world: &World, wrong: &mut Violations) {
    let output = world.run("log list --json");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.contains("\"running\"") {
        wrong.push(format!("I4: `log list` says that a killed run is running: {text}"));
    }
}

/// Lets the syncs go on until all that happened is read.
pub fn finish(world: &World, wrong: &mut Violations) {
    for _ in 0..2 {
        let output = world.run("sync acme");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!("I8: a sync that nobody disturbs ends with {}: {said}", output.status));
        }
        world.account.state().live(60_000, 0);
    }
}

/// Checks that reading everything once more changes nothing (I2).
pub fn again(world: &World, contents: &str, wrong: &mut Violations) {
    let output = world.run("sync acme --full --json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let total = &report["total"];
    let changed: u64 =
        ["inserted", "updated", "deleted", "quarantined"].iter().map(|count| total[count].as_u64().unwrap_or(99)).sum();
    if changed != 0 || check::contents(&check::copy(world).connection, "acme") != contents {
        wrong.push(format!("I2: a full read finds {changed} differences: {total}"));
    }
}

/// Waits for a child to end, and kills one that never does.
pub fn ended(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

impl Trouble {
    fn make(&self, story: Story, world: &World, outcome: &mut Outcome) {
        let kill = match self {
            Trouble::KillAt(point, time) => Some((point.as_str(), *time)),
            _ => None,
        };
        let requests = world.account.state().requests;
        if let Trouble::Rival(after) | Trouble::Writer(after, _) = self {
            world.account.state().hold = Some(requests + after);
        }
        let mut child = world.start(story.line(), kill);
        match self {
            Trouble::KillAt(..) => {}
            Trouble::KillAfterStart(wait) => {
                std::thread::sleep(*wait);
                child.kill().ok();
            }
            Trouble::KillAfterRequest(after, wait) => {
                world.account.wait(|state| state.requests >= requests + after, || child.try_wait().unwrap().is_some());
                std::thread::sleep(*wait);
                child.kill().ok();
            }
            Trouble::KillAfter(point, times, wait) => {
                let reached = || world.reached().iter().filter(|reached| reached == point).count() >= *times;
                while !reached() && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_micros(100));
                }
                std::thread::sleep(*wait);
                child.kill().ok();
            }
            Trouble::Rival(_) => {
                if world.account.wait(|state| state.held, || child.try_wait().unwrap().is_some()) {
                    stands_back(world, &mut outcome.wrong);
                    child.kill().ok();
                }
                world.account.release();
            }
            Trouble::Writer(_, wait) => {
                if world.account.wait(|state| state.held, || child.try_wait().unwrap().is_some()) {
                    let writer = world.open();
                    writer.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET value = value").unwrap();
                    world.account.release();
                    std::thread::sleep(*wait);
                    writer.execute_batch("COMMIT").unwrap();
                }
            }
        }
        let status = ended(&mut child);
        world.account.release();
        if status.signal() == Some(9) {
            outcome.kills.push(Phase::of(&world.reached()));
        } else {
            outcome.missed += usize::from(!matches!(self, Trouble::Writer(..)));
            if !status.success() {
                let mut said = String::new();
                std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).ok();
                outcome.wrong.push(format!("I8: a sync that was not killed ends with {status}: {said}"));
            }
        }
    }
}

/// Checks that a second sync of what is being synced does nothing.
fn stands_back(world: &World, wrong: &mut Violations) {
    let requests = world.account.state().requests;
    let output = world.run("sync acme --json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if report["already_running"] != 1 || world.account.state().requests != requests {
        wrong.push(format!("I4: a second run of the same pair did not stand back: {report}"));
    }
}

/// Returns a story and one to three troubles by chance.
pub fn random(seed: u64) -> (Story, Vec<Trouble>) {
    let mut chance = Chance::new(seed ^ 0x0D15_EA5E);
    let story = *chance.pick(&Story::ALL).unwrap();
    let last = if story == Story::Changes { 6 } else { 11 };
    let troubles = (0..=chance.below(3))
        .map(|_| {
            let after = 1 + chance.below(last);
            match chance.below(20) {
                0 => Trouble::Rival(after),
                1 => Trouble::Writer(after, Duration::from_millis(20 + chance.below(100))),
                4..=6 => {
                    let wait = Duration::from_micros(chance.below(3_000));
                    Trouble::KillAfter("read ended", 1 + chance.below(2) as usize, wait)
                }
                2 | 3 => Trouble::KillAfterStart(Duration::from_micros(chance.below(60_000))),
                _ => Trouble::KillAfterRequest(after, Duration::from_micros(chance.below(8_000))),
            }
        })
        .collect();
    (story, troubles)
}
