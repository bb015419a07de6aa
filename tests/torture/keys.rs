//! Keys that are changed and killed meanwhile: everything opens with exactly one of two keys, to what it was, and the same
//! command run again ends well.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chance::Chance;
use crate::check::{self, Violations};
use crate::kills::{named, ordered};
use crate::trial::ended;
use crate::world::{World, fresh};

/// Faults of rotations; `mutants.rs` has those of syncs.
pub const MUTANTS: [&str; 2] = ["rewrap-one-by-one", "key-file-late"];
/// What a template seals, of what is never replaced by the provider.
const SEALED: [(&str, &str, &str); 3] = [
    ("acme", "client_id", "client"),
    ("acme", "refresh_token", "refresh-0"),
    ("other", "client_secret", "not-so-secret"),
];

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// To a key that is there.
    Rotate,
    /// To a key that is made on the way.
    Generate,
    Rekey,
    /// Of the key that was replaced.
    Retire,
}

impl Act {
    const ALL: [Act; 4] = [Act::Rotate, Act::Generate, Act::Rekey, Act::Retire];
}

/// How a command was doing when it was killed, by the last point it had reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Before,
    Within,
    After,
}

impl Phase {
    fn of(reached: &[String]) -> Phase {
        match reached.last().map(String::as_str) {
            None => Phase::Before,
            Some("key rotated" | "keys renewed" | "key retired" | "before checkpoint" | "checkpointed") => Phase::After,
            Some(_) => Phase::Within,
        }
    }
}

/// Returns the id of the template's key, and another key.
fn keys() -> &'static (String, Vec<u8>) {
    static KEYS: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let world = World::new(fresh());
        let status = report(&world, "key status --json", &world.key(), None).1;
        assert!(world.run("init --db other.db --key-file new.key").status.success());
        let key = std::fs::read(world.home().join("new.key")).unwrap();
        (status["keys"][0]["key_id"].as_str().unwrap().to_owned(), key)
    })
}

/// A machine with two keys.
struct Ring {
    world: World,
    act: Act,
    old: PathBuf,
    new: PathBuf,
    /// The id of the old key.
    id: String,
}

impl Ring {
    fn new(act: Act, mutant: Option<&str>) -> Ring {
        let mut world = World::new(fresh());
        let (old, new) = (world.key(), world.home().join("new.key"));
        let (id, key) = keys();
        if act != Act::Generate {
            std::fs::write(&new, key).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        if act == Act::Retire {
            assert!(world.run(&format!("key rotate --new-key-file {}", new.display())).status.success());
        }
        world.mutant = mutant.map(str::to_owned);
        Ring { world, act, old, new, id: id.clone() }
    }

    fn line(&self, again: bool) -> String {
        match self.act {
            Act::Generate if !again || !self.new.exists() => format!("key rotate --generate {}", self.new.display()),
            Act::Rotate | Act::Generate => format!("key rotate --new-key-file {}", self.new.display()),
            Act::Rekey => "key rotate --rekey".to_owned(),
            Act::Retire => format!("key retire {}", self.id),
        }
    }

    /// Returns which of the two keys opens everything.
    fn opens(&self, wrong: &mut Violations) -> Vec<&Path> {
        let keys = [self.old.as_path(), self.new.as_path()].into_iter().filter(|key| key.exists());
        let opening: Vec<&Path> = keys
            .filter(|key| {
                let (exit, report) = report(&self.world, "key check --json", key, None);
                let count = |of: &str| report[of].as_i64().unwrap_or(0);
                // Of six values one is a deposit until a sync takes it in; new keys leave it the one that opens it.
                exit == 0 && count("credentials") + count("deposits") == 6 && (3..=4).contains(&count("keys"))
            })
            .collect();
        if opening.len() != 1 {
            wrong.push(format!("I6: everything opens with {} of the two keys", opening.len()));
        }
        opening
    }

    /// Checks what must hold at any time, then that the command can be run again, and what holds after that.
    fn judge(&self, wrong: &mut Violations) {
        check::sound(&check::copy(&self.world).connection, wrong);
        let now = self.opens(wrong);
        if !wrong.is_empty() {
            return;
        }
        let changes = matches!(self.act, Act::Rotate | Act::Generate);
        let last = if self.act == Act::Rekey { &self.old } else { &self.new };
        let previous = if now[0] == self.old { &self.new } else { &self.old };
        let (exit, told) = report(&self.world, &format!("{} --json", self.line(true)), now[0], Some(previous));
        let done_before = self.act == Act::Retire && exit == 5;
        if exit != 0 && !done_before {
            wrong.push(format!("I8: run again, it ends with {exit}: {told}"));
        }
        if self.opens(wrong) != [last.as_path()] {
            wrong.push("I6: after it was run again, another key than expected opens everything".into());
        }
        for (slug, field, value) in SEALED {
            if !is_still(&self.world, last, (slug, field), value) {
                wrong.push(format!("I6: `{field}` of `{slug}` is not what it was"));
            }
        }
        let copy = check::copy(&self.world).connection;
        let count = |sql: &str| -> i64 { copy.query_row(sql, [], |row| row.get(0)).unwrap() };
        if changes && count("SELECT count(*) FROM audit_log WHERE action = 'key rotate'") != 1 {
            wrong.push("I7: one rotation is not one line of the audit".into());
        }
        let sealed =
            "SELECT (SELECT count(*) FROM organization_credentials) + (SELECT count(*) FROM credential_deposits)";
        if count(sealed) != 6 || count("SELECT count(*) FROM data_keys") != 2 {
            wrong.push("I6: credentials or data keys have become more or fewer".into());
        }
        let retired = count(
            "SELECT count(*) FROM data_keys WHERE key_id NOT IN (SELECT key_id FROM master_keys WHERE replaced_at IS NULL)",
        );
        if retired != 0 {
            wrong.push("I6: something is under a key that is not in force".into());
        }
    }
}

/// Runs a line with a key, and another as the previous one, and returns its exit code and what it printed.
fn report(world: &World, line: &str, key: &Path, previous: Option<&PathBuf>) -> (i32, Value) {
    let mut command = world.command(line);
    command.env("SKILLSCTL_KEY_FILE", key).env_remove("SKILLSCTL_TEST_MUTANT");
    if let Some(previous) = previous.filter(|path| path.exists()) {
        command.env("SKILLSCTL_KEY_FILE_PREVIOUS", previous);
    }
    let output = command.output().unwrap();
    let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&printed).unwrap_or_default())
}

/// Returns whether setting a credential to a value changes nothing, which proves that it opens to that value.
fn is_still(world: &World, key: &Path, (slug, field): (&str, &str), value: &str) -> bool {
    let mut command = world.command(&format!("credential set {slug} harbour {field} --from-stdin --json --dry-run"));
    command.env("SKILLSCTL_KEY_FILE", key).env_remove("SKILLSCTL_TEST_MUTANT").stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|told| told["outcome"] == "unchanged")
}

/// Returns the points that an act comes by, in order.
fn points(act: Act) -> Vec<String> {
    let ring = Ring::new(act, None);
    assert!(ended(&mut ring.world.start(&ring.line(false), None)).success(), "{act:?} ends well if nobody disturbs it");
    ring.world.reached()
}

/// Kills an act at a point, the so-manieth time, and returns what is wrong then.
fn killed_at(act: Act, (point, time): (&str, usize), mutant: Option<&str>) -> Violations {
    let ring = Ring::new(act, mutant);
    let status = ended(&mut ring.world.start(&ring.line(false), Some((point, time))));
    let mut wrong = Violations::new();
    if status.signal() != Some(9) {
        wrong.push(format!("{act:?} was not killed at `{point}`, time {time}"));
    }
    ring.judge(&mut wrong);
    wrong
}

/// Returns each point of each act, and the how-manieth time it is.
fn moments() -> Vec<(Act, String, usize)> {
    let mut moments = Vec::new();
    for act in Act::ALL {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for point in points(act) {
            let time = times.entry(point.clone()).or_default();
            *time += 1;
            moments.push((act, point, *time));
        }
    }
    moments
}

#[test]
fn keys_that_are_changed_and_killed_at_every_point_open_everything_with_one_of_two() {
    let moments = moments();
    let reached: BTreeSet<&str> = moments.iter().map(|(_, point, _)| point.as_str()).collect();
    let known = named("point");
    let missed: Vec<&String> =
        known.iter().filter(|point| point.starts_with("key") && !reached.contains(point.as_str())).collect();
    assert!(missed.is_empty(), "no act comes by {missed:?}");
    let wrong: Vec<String> = moments
        .iter()
        .flat_map(|(act, point, time)| {
            let told = format!("{act:?} at `{point}`, time {time}");
            killed_at(*act, (point, *time), None).into_iter().map(move |wrong| format!("{told}: {wrong}"))
        })
        .collect();
    println!("{} kills of {} acts at {} points", moments.len(), Act::ALL.len(), reached.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Kills acts at random moments until so many kills have landed.
fn kill_at_random(kills: usize) {
    let first = ordered("TORTURE_SEED").unwrap_or(1);
    println!("the first seed is {first}; set TORTURE_SEED for another");
    let began = Instant::now();
    let (next, figures) = (AtomicU64::new(first), Mutex::new((BTreeMap::<Phase, usize>::new(), 0, Violations::new())));
    let whole: BTreeMap<Act, Duration> = Act::ALL.into_iter().map(|act| (act, length(act))).collect();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while figures.lock().unwrap().0.values().sum::<usize>() < kills {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut chance = Chance::new(seed);
                    let act = Act::ALL[chance.below(4) as usize];
                    let ring = Ring::new(act, None);
                    let mut child = ring.world.start(&ring.line(false), None);
                    // Starting takes most of the time, so most kills wait for the transaction, or for its end.
                    match chance.below(3) {
                        0 => std::thread::sleep(whole[&act].mul_f64(chance.below(1_000) as f64 / 1_000.0)),
                        kind => {
                            let phase = if kind == 1 { Phase::Within } else { Phase::After };
                            while Phase::of(&ring.world.reached()) < phase && child.try_wait().unwrap().is_none() {
                                std::thread::sleep(Duration::from_micros(50));
                            }
                            std::thread::sleep(Duration::from_micros(chance.below(if kind == 1 {
                                4_000
                            } else {
                                800
                            })));
                        }
                    }
                    child.kill().ok();
                    let landed = ended(&mut child).signal() == Some(9);
                    let phase = Phase::of(&ring.world.reached());
                    let mut wrong = Violations::new();
                    ring.judge(&mut wrong);
                    let mut figures = figures.lock().unwrap();
                    if landed {
                        *figures.0.entry(phase).or_default() += 1;
                    } else {
                        figures.1 += 1;
                    }
                    figures.2.extend(wrong.into_iter().map(|wrong| format!("seed {seed}, {act:?} {phase:?}: {wrong}")));
                }
            });
        }
    });
    let (phases, missed, wrong) = figures.into_inner().unwrap();
    let landed: usize = phases.values().sum();
    println!(
        "{landed} kills {phases:?}, {missed} too late, {} violations in {:.0?}: with 95 % confidence fewer than {:.2} % do harm",
        wrong.len(),
        began.elapsed(),
        300.0 / landed as f64
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    for phase in [Phase::Before, Phase::Within, Phase::After] {
        let share = phases.get(&phase).copied().unwrap_or(0) * 20;
        assert!(share >= landed, "fewer than 5 % of the kills landed {phase:?}: the run proves nothing");
    }
}

/// Returns how long an act takes undisturbed.
fn length(act: Act) -> Duration {
    let ring = Ring::new(act, None);
    let began = Instant::now();
    assert!(ended(&mut ring.world.start(&ring.line(false), None)).success());
    began.elapsed()
}

#[test]
fn keys_that_are_changed_and_killed_at_random_open_everything_with_one_of_two() {
    kill_at_random(30);
}

#[test]
#[ignore = "takes some minutes: cargo test --features mutants --test torture -- --ignored --nocapture"]
fn keys_that_are_changed_and_killed_hundreds_of_times_open_everything_with_one_of_two() {
    kill_at_random(ordered("TORTURE_KEY_KILLS").unwrap_or(400) as usize);
}

#[test]
fn faults_of_a_rotation_are_caught_by_a_kill_at_some_point() {
    let moments = moments();
    for mutant in MUTANTS {
        let caught = moments.iter().find_map(|(act, point, time)| {
            let wrong = killed_at(*act, (point, *time), Some(mutant));
            wrong
                .into_iter()
                .find(|wrong| wrong.starts_with("I6"))
                .map(|wrong| format!("{act:?} at `{point}`: {wrong}"))
        });
        println!("{mutant} is caught: {}", caught.unwrap_or_else(|| panic!("`{mutant}` is not caught")));
    }
}

#[test]
fn a_running_sync_keeps_keys_from_being_changed_and_ends_well() {
    let ring = Ring::new(Act::Rotate, None);
    let requests = ring.world.account.state().requests;
    ring.world.account.state().hold = Some(requests + 1);
    let mut sync = ring.world.start("sync acme", None);
    assert!(ring.world.account.wait(|state| state.held, || sync.try_wait().unwrap().is_some()));
    for line in [ring.line(false), "key rotate --rekey".to_owned()] {
        let (exit, told) = report(&ring.world, &format!("{line} --json"), &ring.old, None);
        assert_eq!((exit, &told["code"]), (11, &"database_in_use".into()), "{told}");
    }
    ring.world.account.release();
    assert!(ended(&mut sync).success());
    assert_eq!(ring.opens(&mut Violations::new()), [ring.old.as_path()]);
}

/// Every new data key forgets the token, so that every sync spends a refresh token and seals the next one: one that is
/// lost would end the syncs for good.
#[test]
fn syncs_beside_rotations_lose_no_refresh_token_and_meet_no_wrong_key() {
    const ROUNDS: usize = 6;
    let ring = Ring::new(Act::Rotate, None);
    let busy_or_done = |(exit, told): (i32, Value), line: &str| {
        assert!(exit == 0 || exit == 11, "{line} ends with {exit}: {told}");
        usize::from(exit == 0)
    };
    let (synced, changed) = std::thread::scope(|scope| {
        let (world, old, new) = (&ring.world, &ring.old, &ring.new);
        let syncs = scope.spawn(move || -> usize {
            (0..2 * ROUNDS)
                .map(|_| {
                    world.account.state().live(60_000, 2);
                    busy_or_done(report(world, "sync acme --json", old, Some(new)), "sync")
                })
                .sum()
        });
        let lines = [
            format!("key rotate --new-key-file {} --json", new.display()),
            "key rotate --rekey --json".to_owned(),
            format!("key rotate --new-key-file {} --json", old.display()),
            "key rotate --rekey --json".to_owned(),
        ];
        let lines = lines.iter().cycle().take(2 * ROUNDS);
        let changed: usize = lines.map(|line| busy_or_done(report(world, line, new, Some(old)), line)).sum();
        (syncs.join().unwrap(), changed)
    });
    println!("{synced} of {} syncs and {changed} of {} rotations had their turn", 2 * ROUNDS, 2 * ROUNDS);
    assert!(synced > 0 && changed > 0, "they never met");
    assert_eq!(ring.opens(&mut Violations::new()).len(), 1);
    let (exit, told) = report(&ring.world, "sync acme --full --json", &ring.old, Some(&ring.new));
    assert_eq!(exit, 0, "{told}");
    assert!(ring.world.account.state().token.0 > 0, "no refresh token was spent");
}
