//! `init` through the binary.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::World;

#[test]
fn init_makes_a_private_database_and_key_and_running_it_again_changes_nothing() {
    let world = World::empty();
    let first = world.run("init --json").succeeds().json();
    assert_eq!((&first["database_created"], &first["key_created"]), (&true.into(), &true.into()));
    for file in [world.db(), world.key()] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let before = world.database();
    let again = world.run("init --json").succeeds().json();
    assert_eq!((&again["database_created"], &again["key_created"]), (&false.into(), &false.into()));
    assert_eq!(again["providers_loaded"], serde_json::json!([]));
    assert_eq!(world.database(), before);
}

#[test]
fn nothing_runs_without_a_database_and_the_error_says_what_to_do() {
    let world = World::empty();
    let ended = world.run("org list --json");
    assert_ne!(ended.exit, 0);
    assert!(ended.error()["hint"].as_str().unwrap().contains("skillsctl init"), "{ended}");
}
