//! `log` through the binary.

use crate::seed::Ran;
use crate::support::{World, world};

fn acme() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world
}

#[test]
fn runs_are_listed_newest_first_and_by_what_is_asked() {
    let world = acme();
    world.seed_organization("globex", "aptem");
    world.ran("acme", "aptem", &Ran::default());
    world.ran("acme", "hubspot", &Ran { outcome: "failed", ..Ran::default() });
    world.ran("globex", "aptem", &Ran { finished: Some("2026-11-30T08:58:41.000Z"), ..Ran::default() });
    let runs = |line: &str| -> Vec<String> {
        let list = world.json(line);
        list["items"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(runs("log list"), ["3", "2", "1"]);
    assert_eq!(runs("log list acme"), ["2", "1"]);
    assert_eq!(runs("log list --provider aptem"), ["3", "1"]);
    assert_eq!(runs("log list acme --outcome failed"), ["2"]);
    assert_eq!(runs("log list --limit 1"), ["3"]);
    let newest = world.json("log list --limit 1")["items"][0].clone();
    assert_eq!((&newest["duration_ms"], &newest["tally"]["inserted"]), (&41_000.into(), &7.into()));
    assert_eq!(newest["tally"]["deleted"], 0, "zero counters are there for programs");
    world.run("log list -o name").succeeds().prints(&["3\n2\n1\n"]);
    world.run("log list acmee --json").fails(5);
    world.run("log list --outcome fialed --json").fails(2).says(&["failed"]);
}

#[test]
fn a_run_is_shown_with_its_counters_error_and_what_to_do_next() {
    let world = acme();
    world.ran(
        "acme",
        "aptem",
        &Ran {
            outcome: "partial",
            finished: Some("2026-11-30T08:58:41.000Z"),
            tally: r#"{"read": 10, "inserted": 7, "quarantined": 2, "over_cap": 1, "requests": 3, "waited_ms": 1500}"#,
            warnings: r#"["learners: none of the 10 records has `division`"]"#,
            error: Some(("stream_not_readable", "GET https://x.example/a answered 403", "this token may not read it")),
            ..Ran::default()
        },
    );
    world.set_aside("acme", "aptem", 1, "L7", r#"{"Id": "L7", "Email": "nobody"}"#);
    world.set_aside("acme", "aptem", 1, "L8", "not json");
    insta::assert_snapshot!(world.run("log show 1").succeeds(), @r#"
    run            1
    organization   acme
    provider       aptem
    kind           sync
    trigger        schedule
    outcome        partial
    started        2026-11-30T08:58:00.000Z
    took           41 s

    Counted
      read          10
      inserted      7
      quarantined   2
      over cap      1
      requests      3
      waited        1 s

    Error
      stream_not_readable: GET https://x.example/a answered 403
      hint: this token may not read it

    Warnings
      learners: none of the 10 records has `division`

    Quarantine
      1   learners   L7   `learner.email`: not an e-mail address
      2   learners   L8   `learner.email`: not an e-mail address

    Next
      skillsctl credential test acme aptem
      skillsctl sync acme --provider aptem   once it is put right
      skillsctl record quarantine list acme --provider aptem   lists what is in quarantine
      skillsctl override set acme aptem field_mappings.TARGET=...   mends the mapping of what is in quarantine
      skillsctl record quarantine replay acme --all --provider aptem   stores it, once it is mended
      skillsctl org edit acme --max-learners N   raises the limit
    "#);
    let shown = world.json("log show 1");
    assert_eq!((&shown["in_quarantine"], &shown["quarantine"][0]["key"]), (&2.into(), &"L7".into()));
    assert!(!shown.to_string().contains("nobody"), "what a record holds is shown by `record quarantine show` alone");
    assert_eq!((&shown["run_kind"], &shown["settings"]), (&"sync".into(), &serde_json::Value::Null));
    assert_eq!(shown["tally"]["deleted"], 0);
    world.run("log show 99 --json").fails(5);
    world.run("log show x --json").fails(2);
}

#[test]
fn pruning_asks_and_keeps_what_is_still_of_use() {
    let world = acme();
    let old = |outcome| Ran { started: "2026-06-01T00:00:00.000Z", outcome, ..Ran::default() };
    let success = world.ran("acme", "aptem", &old("ok"));
    world.ran("acme", "aptem", &old("failed"));
    let aside = world.ran("acme", "aptem", &old("partial"));
    world.ran("acme", "aptem", &old("ok"));
    world.ran("acme", "aptem", &old("failed"));
    let newest = world.ran("acme", "aptem", &old("failed"));
    world.set_aside("acme", "aptem", aside, "7", "{}");
    let alone = world.ran("acme", "hubspot", &old("ok"));
    world.run("log prune --older-than 90d").fails(2).says(&["--yes"]);
    assert_eq!(world.json("log prune --older-than 90d --yes --dry-run")["deleted"], 3);
    assert_eq!(world.json("log prune --older-than 90d --yes")["deleted"], 3);
    let left: Vec<String> = world.json("log list")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, [alone, newest, aside + 1, aside].map(|run| run.to_string()));
    assert!(!left.contains(&success.to_string()));
    world.run("log prune --older-than 90d").succeeds().prints(&["unchanged"]);
    world.run("log prune --older-than soon --json").fails(2);
}
