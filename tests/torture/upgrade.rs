//! Killed while it makes or upgrades its schema: the database is as before or after, and the next command goes on.

use std::os::unix::process::ExitStatusExt as _;

use rusqlite::Connection;

use crate::check::{self, Violations};
use crate::harbour::{Harbour, State};
use crate::world::{START, World, folder};

/// Returns a machine with nothing on it.
fn empty() -> World {
    let state = State::new(START, 1, 1, crate::chance::Chance::new(1));
    let world = World::of(folder(), Harbour::open().account(state), &[], b"");
    std::fs::remove_file(world.key()).unwrap();
    world
}

/// Kills a line at a point, if it comes by there; then it must end well.
fn kill(world: &World, line: &str, point: &str) -> bool {
    let status = crate::trial::ended(&mut world.start(line, Some((point, 1))));
    let mut wrong = Violations::new();
    check::sound_schema(&check::copy(world).connection, &mut wrong);
    let output = world.run(line);
    assert!(output.status.success(), "after `{point}`: {}", String::from_utf8_lossy(&output.stderr));
    check::sound(&check::copy(world).connection, &mut wrong);
    assert!(wrong.is_empty(), "`{point}`: {wrong:#?}");
    status.signal() == Some(9)
}

#[test]
fn a_database_whose_making_is_killed_is_made_by_the_next_init() {
    for point in ["before migrations", "migrated"] {
        let world = empty();
        assert!(kill(&world, "init", point), "`{point}` is not reached");
        for line in ["init", "org list", "preset list"] {
            assert!(world.run(line).status.success(), "{point}: {line}");
        }
    }
}

#[test]
fn an_upgrade_that_is_killed_is_before_or_after() {
    for point in ["before migrations", "migrated"] {
        let world = empty();
        let connection = Connection::open(world.database()).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(include_str!("../fixtures/schema_1.sql")).unwrap();
        drop(connection);
        // It is killed only where there is something to upgrade.
        kill(&world, "org list", point);
    }
}
