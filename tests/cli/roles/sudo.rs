//! Callers for whom sudo runs the program: sudo's own variables are set as sudo sets them.

use std::os::unix::fs::PermissionsExt as _;

use super::{FOREIGN, two_organizations};
use crate::support::{Ended, World};

/// Runs a line as sudo does for somebody.
fn through(world: &mut World, user: &str, line: &str) -> Ended {
    let before = world.variables();
    world.set("SUDO_USER", user);
    world.set("SUDO_UID", "1077");
    let ended = world.run(line);
    world.set_back(before);
    ended
}

/// Returns a machine on which some have roles.
fn machine() -> World {
    let world = two_organizations("globex");
    world.all(&[
        "role grant ann super",
        "role grant op operator",
        "role grant ci provisioner",
        "role grant bob tenant acme",
    ]);
    world
}

#[test]
fn who_has_no_role_may_do_nothing_through_sudo() {
    let mut world = machine();
    for line in ["status", "org list", "init", "sync --all", "role show", "role grant eve super", "status --role super"]
    {
        let ended = through(&mut world, "eve", &format!("{line} --json")).fails(4);
        assert_eq!(ended.error()["code"], "not_allowed", "{line}");
    }
    through(&mut world, "eve", "version").succeeds();
    world.run("role grant eve operator").succeeds();
    through(&mut world, "eve", "status").succeeds();
    world.run("role revoke eve").succeeds();
    through(&mut world, "eve", "status").fails(4).says(&["`eve` has no role here", "skillsctl role grant eve ROLE"]);
}

#[test]
fn a_caller_through_sudo_has_the_role_that_was_granted() {
    let mut world = machine();
    through(&mut world, "ann", "org list").succeeds().prints(&["globex"]);
    through(&mut world, "op", "org list").succeeds();
    through(&mut world, "op", "org suspend acme --yes").fails(4);
    through(&mut world, "ci", "org create --name New --subdomain new --preset aptem").succeeds();
    through(&mut world, "ci", "log list").fails(4);
    let told = through(&mut world, "bob", "status").succeeds().to_string();
    assert!(told.contains("acme") && !told.contains(FOREIGN), "{told}");
    through(&mut world, "bob", "status globex").fails(5);
    for wider in ["super", "operator", "tenant:globex"] {
        through(&mut world, "bob", &format!("status --role {wider}")).fails(4).says(&["cannot be made"]);
    }
    through(&mut world, "bob", "status --role tenant:acme").succeeds();
    through(&mut world, "bob", "sync request acme").succeeds();
    let by: String = world.sql().query_row("SELECT requested_by FROM sync_requests", [], |row| row.get(0)).unwrap();
    assert!(by.contains("bob"), "{by}");
}

#[test]
fn nothing_is_run_or_read_for_somebody_with_the_rights_of_the_service() {
    let mut world = machine();
    let proof = world.home().join("proof");
    let touch = format!("touch {}", proof.display());
    world.file("value", "made-up-value");
    world.file("overrides.yaml", "aptem: {page_size: 5}\n");
    let before = world.database();
    for (user, line) in [
        ("bob", format!("status --key-command '{touch}'")),
        ("bob", "status --key-file value".to_owned()),
        ("bob", format!("--db {} status", world.db().display())),
        ("op", format!("sync --all --key-command '{touch}'")),
        ("op", format!("db backup {}", proof.display())),
        ("op", "provider lint value".to_owned()),
        ("op", "preset validate -f value".to_owned()),
        ("ci", format!("credential set acme aptem api_key --from-command '{touch}'")),
        ("ci", "credential set acme aptem api_key --from-file value".to_owned()),
        ("ci", "credential set acme aptem api_key --from-env HOME".to_owned()),
        ("ci", "override apply acme -f overrides.yaml".to_owned()),
        ("ci", "override edit acme".to_owned()),
    ] {
        let ended = through(&mut world, user, &format!("{line} --json")).fails(4);
        assert_eq!(ended.error()["code"], "not_allowed", "{line}");
    }
    assert!(!proof.exists() && world.database() == before);
    // As variables, where sudo was told to let them through: they are not heeded.
    let own = world.variables();
    let commands =
        ["SKILLSCTL_KEY_COMMAND", "SKILLSCTL_KEY_COMMAND_PREVIOUS", "SKILLSCTL_EDITOR", "VISUAL", "EDITOR", "PAGER"];
    for name in commands {
        world.set(name, &touch);
    }
    through(&mut world, "bob", "status").succeeds();
    through(&mut world, "bob", "help status").succeeds();
    // The key is that of the program's own user, which is not where the variable says.
    through(&mut world, "op", "key check").fails(8).says(&["no master key"]);
    let own_key = world.home().join(".config/skillsctl/skillsctl.key");
    std::fs::create_dir_all(own_key.parent().unwrap()).unwrap();
    std::fs::copy(world.key(), &own_key).unwrap();
    through(&mut world, "op", "key check").succeeds();
    assert!(!proof.exists());
    world.set_back(own);
    through(&mut world, "ci", "override apply acme -f -").succeeds();
}

#[test]
fn the_audit_is_verified_through_sudo_by_the_last_change_that_the_service_has_seen() {
    let mut world = machine();
    world.set("SKILLSCTL_ANCHORS", world.home().join("anchors").to_str().unwrap().to_owned().as_str());
    world.create("new", "aptem");
    for user in ["op", "ann"] {
        let anchor = through(&mut world, user, "audit verify --json").succeeds().json()["anchor"].clone();
        assert_eq!(anchor["state"], "holds", "{user}");
        assert!(anchor["file"].as_str().unwrap().starts_with("[HOME]/anchors/"), "{user}: {anchor}");
    }
}

#[test]
fn a_database_that_is_not_the_services_own_gives_nobody_a_role() {
    let mut world = machine();
    let evil = two_organizations("globex");
    evil.run("role grant bob super").succeeds();
    through(&mut world, "bob", &format!("org list --db {}", evil.db().display())).fails(4);
    // In a folder that others can write, it may have been put there.
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o777)).unwrap();
    through(&mut world, "ann", "org list").fails(4).says(&["no role of `ann` can be looked up"]);
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    through(&mut world, "ann", "org list").succeeds();
    // Where sudo was told to let it through, a database of somebody else's is none to look roles up in.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(evil.db(), Some(1077), None).unwrap();
        let own = world.variables();
        world.set("SKILLSCTL_DB", evil.db().to_str().unwrap());
        through(&mut world, "bob", "org list").fails(4).says(&["no role of `bob` can be looked up"]);
        world.set_back(own);
    }
}

#[test]
fn granting_and_revoking_are_listed_and_audited() {
    let world = machine();
    world.run("role grant bob tenant acme").succeeds().prints(&["bob: unchanged"]);
    world.run("role grant bob operator --dry-run").succeeds().prints(&["bob: changed"]);
    world.run("role grant bob operator").succeeds().prints(&["bob: changed"]);
    world.run("role revoke ci").succeeds().prints(&["ci: deleted"]);
    world.run("role revoke ci").succeeds().prints(&["ci: unchanged"]);
    world.refused("role grant eve tenant", 2).says(&["a tenant is of an organization"]);
    world.refused("role grant eve super acme", 2).says(&["super is of no organization"]);
    world.refused("role grant eve tenant nowhere", 5);
    world.refused("role grant 'e ve' super", 2);
    let users = world.json("role list")["items"].as_array().unwrap().clone();
    let users: Vec<&str> = users.iter().map(|item| item["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "bob", "op"]);
    let sql = world.sql();
    let count = |action: &str| -> i64 {
        sql.query_row("SELECT count(*) FROM audit_log WHERE action = ?1", [action], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("role grant"), count("role revoke")), (5, 1));
    world.run("db check").succeeds();
}
