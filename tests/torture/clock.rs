//! A clock that is set wrong: no change is lost, no run is skipped for ever or started twice, and nothing takes less than no time.

use serde_json::Value;

use crate::check::{self, Violations};
use crate::trial::Story;
use crate::world::{START, World, synced};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Returns how far apart 1970 and the story are.
fn to_1970() -> i64 {
    1_000_000 - START
}

/// Returns a machine on which nothing but `acme` is ever due.
fn alone() -> World {
    let world = World::new(synced());
    world.open().execute_batch("UPDATE organizations SET status = 'suspended' WHERE slug = 'other'").unwrap();
    world
}

/// Runs what is due, and returns how many runs that were.
fn due(world: &World, wrong: &mut Violations) -> u64 {
    let output = world.run("sync --all --json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let runs = report["runs"].as_array().map_or(0, Vec::len);
    if !output.status.success() {
        wrong.push(format!("{}: {report}", output.status));
    }
    runs as u64
}

/// Checks that no run has taken less than no time, by the database and by what is shown.
fn durations(world: &World, wrong: &mut Violations) {
    let copy = check::copy(world).connection;
    let sql = "SELECT count(*) FROM integration_sync_logs WHERE finished_at < started_at";
    let backwards: i64 = copy.query_row(sql, [], |row| row.get(0)).unwrap();
    if backwards != 0 {
        wrong.push(format!("{backwards} runs ended before they began"));
    }
    let output = world.run("log list --json");
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() || runs.to_string().contains("\"duration_ms\":-") {
        wrong.push(format!("`log list` shows: {runs}"));
    }
}

#[test]
fn a_clock_that_is_wrong_loses_no_change() {
    let mut wrong = Violations::new();
    for (told, skew) in [("back an hour", -HOUR), ("forward a year", YEAR), ("1970", to_1970())] {
        let mut world = Story::Changes.world(3);
        world.skew = skew;
        let found = wrong.len();
        // Killed on the way too, so that an interrupted read is gone on with under either clock.
        for kill in [Some(("page committed", 2)), None] {
            let mut child = world.start("sync acme", kill);
            crate::trial::ended(&mut child);
            let copy = check::copy(&world).connection;
            let last = world.account.state().now;
            for (stream, progress) in check::progress(&copy) {
                if progress.watermark.is_some_and(|watermark| watermark > last) {
                    wrong.push(format!("I3: {stream} were read up to {:?}, and it is {last}", progress.watermark));
                }
            }
            world.account.state().live(60_000, 10);
        }
        // And set right again.
        for skew in [skew, 0] {
            world.skew = skew;
            let output = world.run("sync acme");
            if !output.status.success() {
                wrong.push(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
            }
            // A clock that is behind sees what has happened since only once it is right.
            if skew >= 0 {
                check::equal(&check::copy(&world).connection, &world.account.state(), &mut wrong);
            }
            world.account.state().live(60_000, 10);
        }
        crate::trial::finish(&world, &mut wrong);
        check::equal(&check::copy(&world).connection, &world.account.state(), &mut wrong);
        durations(&world, &mut wrong);
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{told}: {wrong}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_clock_that_jumps_skips_no_run_for_ever_and_starts_none_twice() {
    let mut wrong = Violations::new();
    for (told, jump) in [("back an hour", -HOUR), ("forward a year", YEAR), ("1970", to_1970())] {
        let found = wrong.len();
        let mut world = alone();
        world.account.state().now += 2 * HOUR;
        assert_eq!(due(&world, &mut wrong), 1, "{told}: an hourly sync is due after two hours");
        // A run that is killed under the wrong clock, and is declared over under the right one.
        world.skew = jump;
        crate::trial::ended(&mut world.start("sync acme", Some(("run row written", 1))));
        let again = [due(&world, &mut wrong), due(&world, &mut wrong)];
        if again.iter().sum::<u64>() > 1 {
            wrong.push(format!("started {again:?} times at one moment"));
        }
        world.skew = 0;
        let (mut runs, mut hours) = (Vec::new(), 0);
        while hours < 12 {
            runs.push(due(&world, &mut wrong) + due(&world, &mut wrong));
            world.account.state().now += HOUR;
            hours += 1;
        }
        if runs.iter().any(|runs| *runs > 1) {
            wrong.push(format!("started twice: {runs:?}"));
        }
        if runs[2..].contains(&0) {
            wrong.push(format!("skipped: {runs:?}"));
        }
        durations(&world, &mut wrong);
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{told}: {wrong}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_day_with_an_hour_more_or_less_has_its_runs_once() {
    let mut wrong = Violations::new();
    // The clocks of London go forward on 28 March 2027 at 01:00 UTC, and back on 31 October 2027 at 01:00 UTC.
    for (night, frequency) in [
        ("2027-03-28T00:00:00Z", "daily"),
        ("2027-03-28T00:00:00Z", "30 1 * * *"),
        ("2027-10-31T00:00:00Z", "daily"),
        ("2027-10-31T00:00:00Z", "30 1 * * *"),
    ] {
        let found = wrong.len();
        let world = alone();
        let night = chrono::DateTime::parse_from_rfc3339(night).unwrap().timestamp_millis();
        let mut command = world.command("override set acme harbour");
        let output = command.arg(format!("sync_frequency={frequency}")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        world.account.state().now = night - 12 * HOUR;
        due(&world, &mut wrong);
        // Each quarter of an hour from midnight to noon.
        let mut runs = 0;
        for quarter in 0..48 {
            world.account.state().now = night + quarter * HOUR / 4;
            runs += due(&world, &mut wrong);
        }
        if runs != 1 {
            wrong.push(format!("{runs} runs in that night"));
        }
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{night} {frequency}: {wrong}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
