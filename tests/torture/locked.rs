//! Another process writes: a sync waits for it, and gives up with a word about it if that takes too long.

use std::time::Duration;

use crate::check::{self, Violations};
use crate::trial::{Story, finish};

#[test]
fn a_writer_of_one_second_is_waited_for_and_one_that_stays_is_told() {
    for (seconds, exit) in [(1, 0), (8, 11)] {
        let world = Story::Changes.world(4);
        let writer = world.open();
        let requests = world.account.state().requests;
        world.account.state().hold = Some(requests + 1);
        let mut child = world.start("sync acme --json", None);
        assert!(world.account.wait(|state| state.held, || child.try_wait().unwrap().is_some()));
        writer.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET value = value").unwrap();
        world.account.release();
        let waited = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            writer.execute_batch("COMMIT").unwrap();
        });
        let output = child.wait_with_output().unwrap();
        waited.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{said}");
        assert!(exit == 0 || said.contains("\"database_locked\"") && said.contains("\"hint\""), "{said}");
        let mut wrong = Violations::new();
        world.account.state().live(60_000, 5);
        finish(&world, &mut wrong);
        let copy = check::copy(&world).connection;
        check::equal(&copy, &world.account.state(), &mut wrong);
        check::runs_are_over(&copy, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
