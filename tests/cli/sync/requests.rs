//! Syncs that somebody asked for: performed by the next `sync --all`, once, and lost by none that is killed.

use super::lab::{Lab, lab};

fn waiting(lab: &Lab) -> i64 {
    lab.world.sql().query_row("SELECT count(*) FROM sync_requests", [], |row| row.get(0)).unwrap()
}

/// Returns an organization that was synced just now, so that nothing is due.
fn synced() -> Lab {
    let mut lab = lab(5, 3);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.later(1);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    lab
}

#[test]
fn what_is_asked_for_is_performed_by_the_next_sync_of_all_and_once() {
    let lab = synced();
    lab.run("sync request acme --role tenant:acme").succeeds().prints(&["acme: requested"]);
    lab.run("sync request acme --role tenant:acme").succeeds().prints(&["acme: unchanged"]);
    assert_eq!(waiting(&lab), 1);
    let status = lab.world.json("status acme");
    assert_eq!(
        status["providers"][0]["requested_at"],
        lab.world.json("status acme --role tenant:acme")["providers"][0]["requested_at"]
    );
    assert!(status["providers"][0]["due"].as_bool().unwrap());
    lab.run("status acme").succeeds().prints(&["due now, on request"]);
    // Tried out, it stays.
    lab.run("sync --all --dry-run").succeeds();
    assert_eq!(waiting(&lab), 1);
    lab.run("sync --all").succeeds().says(&["1 due: 1 ok"]);
    assert_eq!(waiting(&lab), 0);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
}

#[test]
fn a_run_that_was_killed_has_not_performed_what_was_asked_for() {
    let lab = synced();
    lab.run("sync request acme").succeeds();
    // As a run leaves it that was killed after it began.
    lab.world
        .sql()
        .execute("UPDATE sync_requests SET run_id = (SELECT max(id) FROM integration_sync_logs)", [])
        .unwrap();
    // Who asks while a run is at it asks for another one.
    lab.run("sync request acme").succeeds().prints(&["acme: requested"]);
    assert_eq!(waiting(&lab), 2);
    lab.run("sync --all").succeeds().says(&["1 due: 1 ok"]);
    assert_eq!(waiting(&lab), 0);
}

#[test]
fn what_cannot_be_synced_cannot_be_asked_for() {
    let lab = synced();
    lab.run("override disable acme aptem").succeeds();
    lab.world.refused("sync request acme --provider aptem", 6).says(&["is disabled"]);
    lab.world.refused("sync request acme", 6).says(&["all providers of `acme` are disabled"]);
    lab.run("override enable acme aptem").succeeds();
    lab.run("sync request acme").succeeds();
    lab.run("org suspend acme --yes").succeeds();
    lab.world.refused("sync request acme", 6).says(&["suspended"]);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    lab.run("org resume acme").succeeds();
    lab.run("sync --all").succeeds().says(&["1 due: 1 ok"]);
    // A name that is also a command can still be synced, and is no longer given.
    lab.run("org create --name X --subdomain request --preset aptem").fails(2).says(&["reserved"]);
    lab.run("sync -- request").fails(5);
    lab.run("sync acme request").fails(5);
}
