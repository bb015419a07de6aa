//! `help`, `version` and `completion` through the binary.

use std::process::Command;

use crate::support::World;

#[test]
fn topics_and_commands_are_listed_and_shown() {
    let world = World::empty();
    let overview = world.json("help");
    let names = |of: &str| -> Vec<String> {
        overview[of].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names("topics"),
        ["exit-codes", "environment", "settings", "mappings", "syncing", "network", "roles", "security", "privacy"]
    );
    assert!(names("commands").contains(&"credential".to_owned()));
    for topic in names("topics") {
        let ended = world.run(&format!("help {topic}")).succeeds();
        assert!(ended.stdout.lines().count() > 5, "{ended}");
        assert!(ended.stdout.lines().all(|line| line.chars().count() <= 120), "{ended}");
        assert_eq!(world.json(&format!("help {topic}"))["topic"], topic);
    }
    world.run("help credential set").succeeds().prints(&["Usage: skillsctl credential set", "Examples:"]);
    world.run("help credentail").fails(2).says(&["did you mean `skillsctl help credential`?"]);
    world.run("help credential sett").fails(2).says(&["did you mean `skillsctl help credential set`?"]);
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let codes = World::empty().json("help exit-codes")["codes"].clone();
    let codes: Vec<u64> = codes.as_array().unwrap().iter().map(|code| code["exit"].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130, 143]);
}

#[test]
fn help_and_version_need_no_home() {
    for line in [&["help"][..], &["version"], &["completion", "bash"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_skillsctl")).args(line).env_clear().current_dir("/").output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line:?}");
    }
}

#[test]
fn version_names_what_it_is_built_on() {
    let version = World::empty().json("version");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["schema"].as_i64().unwrap() >= 1 && version["sqlite"].as_str().unwrap().starts_with("3."));
    assert_eq!((&version["profile"], version["platform"].as_str().unwrap().contains('-')), (&"debug".into(), true));
    for name in ["ring", "rustls", "ureq", "rusqlite", "clap"] {
        assert!(version["crates"][name].is_string(), "{name}");
    }
}

#[test]
fn completion_knows_the_commands() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish"] {
        world.run(&format!("completion {shell}")).succeeds().prints(&["skillsctl", "credential", "from-stdin"]);
    }
    assert_eq!(world.json("completion bash")["shell"], "bash");
    world.run("completion tcsh --json").fails(2);
}
