//! `record` through the binary.

use crate::support::{World, world};

fn acme() -> World {
    let world = world();
    world.seed_organization("acme", "aptem_hubspot");
    world.learner("acme", "aptem", "L1", "Adeyemi", None);
    world.learner("acme", "aptem", "L2", "Brown", Some("2026-11-20T00:00:00.000Z"));
    world.seed_organization("globex", "aptem");
    world.learner("globex", "aptem", "L1", "Clark", None);
    world
}

#[test]
fn only_the_current_records_of_the_organization_are_listed() {
    let world = acme();
    let keys = |line: &str| -> Vec<String> {
        let list = world.json(line);
        list["items"].as_array().unwrap().iter().map(|row| row["last_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("record list acme learners"), ["Adeyemi"]);
    assert_eq!(keys("record list acme learners --all"), ["Adeyemi", "Brown"]);
    assert_eq!(keys("record list globex learner"), ["Clark"]);
    assert_eq!(world.json("record list acme employers")["items"], serde_json::json!([]));
    world.run("record list acme learners --all --limit 1").succeeds().says(&["more than 1"]);
    world.run("record list acme tutors --json").fails(2);
    world.run("record list acmee learners --json").fails(5);
}

#[test]
fn a_record_is_shown_with_its_own_fields() {
    let world = acme();
    world.run("record show acme learner L1").succeeds().prints(&[
        "Adeyemi",
        "Team Leader",
        "division",
        "North",
        "current",
    ]);
    let shown = world.json("record show acme learner L2");
    assert_eq!((&shown["kind"], &shown["custom"]["division"]), (&"Learner".into(), &"North".into()));
    assert_eq!(shown["deleted_at"], "2026-11-20T00:00:00.000Z");
}

#[test]
fn messages_do_without_personal_data() {
    let world = acme();
    let ended = world.run("record show acme learner jane@example.org").fails(5);
    assert!(!ended.stderr.contains("jane"), "{ended}");
    world.learner("acme", "hubspot", "L1", "Doe", None);
    world.run("record show acme learner L1 --json").fails(2).says(&["--provider"]);
    assert_eq!(world.json("record show acme learner L1 --provider hubspot")["last_name"], "Doe");
}
