//! `preset` through the binary.

use serde_json::json;

use crate::support::world;

#[test]
fn the_shipped_presets_are_listed_with_the_recommended_one_starred() {
    let world = world();
    let list = world.run("preset list").succeeds();
    assert_eq!(list.stdout.lines().count(), 6);
    assert_eq!(list.stdout.matches('★').count(), 1);
    list.prints(&["aptem_hubspot\tAptem + HubSpot ★ recommended\taptem, hubspot\t1\t0\t"]);
    let items = world.json("preset list");
    let recommended: Vec<&str> = items["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|preset| preset["recommended"] == true)
        .filter_map(|preset| preset["slug"].as_str())
        .collect();
    assert_eq!(recommended, ["aptem_hubspot"]);
}

#[test]
fn a_preset_is_shown_as_it_was_applied_and_parsed_for_programs() {
    let world = world();
    world
        .run("preset show aptem_hubspot")
        .succeeds()
        .prints(&["preset: aptem_hubspot\n", "# in the order they are called"]);
    let shown = world.json("preset show aptem_hubspot");
    assert_eq!(
        (&shown["kind"], &shown["revision"], &shown["message"]),
        (&json!("Preset"), &json!(1), &json!("as shipped"))
    );
    assert_eq!(shown["providers"][0]["settings"]["sync_frequency"], "hourly");
    world.run("preset export bud").succeeds().prints(&["# yaml-language-server: $schema="]);
    world.refused("preset show aptme", 5).says(&["did you mean `aptem`"]);
    world.refused("preset show aptem --revision 9", 5).says(&["no defaults revision 9"]);
}

#[test]
fn revisions_are_applied_compared_and_rolled_back_and_never_changed() {
    let world = world();
    let document = world.changed_preset("aptem", "sync_frequency: hourly", "sync_frequency: 2h");
    world.file("aptem.yaml", &document);
    world
        .run("preset validate -f aptem.yaml")
        .succeeds()
        .prints(&["aptem: valid", "~ aptem.sync_frequency: hourly -> 2h"]);
    world.run("preset apply -f aptem.yaml --dry-run").succeeds().prints(&["aptem: applied (defaults 2)"]);
    assert_eq!(world.json("preset history aptem")["items"].as_array().unwrap().len(), 1);
    world.run("preset apply -f aptem.yaml -m 'less often'").succeeds();
    world.run("preset apply -f aptem.yaml").succeeds().prints(&["aptem: unchanged (defaults 2)"]);
    // Another way to write the same is the same.
    world.file("same.yaml", &format!("{document}\n# a remark\n"));
    world.run("preset apply -f same.yaml").succeeds().prints(&["aptem: unchanged (defaults 2)"]);

    world.run("preset diff aptem").succeeds().prints(&["~ aptem.sync_frequency: hourly -> 2h"]);
    world.run("preset diff aptem 2 1").succeeds().prints(&["~ aptem.sync_frequency: 2h -> hourly"]);
    world.run("preset diff aptem --exit-code").fails(10);
    world.run("preset diff aptem 1 1 --exit-code").succeeds().says(&["mean the same"]);
    world.refused("preset diff bud", 5).says(&["only one revision"]);

    world.run("preset rollback aptem --to 1").succeeds().prints(&["aptem: applied (defaults 3)"]);
    world.run("preset diff aptem 1 3 --exit-code").succeeds();
    world.run("preset rollback aptem --to 1").succeeds().prints(&["aptem: unchanged (defaults 3)"]);
    insta::assert_snapshot!(world.run("preset history aptem"), @r"
    3	rollback to revision 1	admin	2026-11-30T09:00:00.000Z	0
    2	less often	admin	2026-11-30T09:00:00.000Z	0
    1	as shipped	admin	2026-11-30T09:00:00.000Z	0
    ");
}

#[test]
fn a_document_can_come_from_standard_input() {
    let world = world();
    let document = world.changed_preset("bud", "sync_frequency: hourly", "sync_frequency: 2h");
    world.run_with_input("preset apply -f -", &document).succeeds().prints(&["bud: applied (defaults 2)"]);
    world.refused("preset apply -f missing.yaml", 5).says(&["there is no file `missing.yaml`"]);
}

#[test]
fn a_new_preset_is_made_by_applying_it() {
    let world = world();
    let document = world.changed_preset("aptem_hubspot", "preset: aptem_hubspot", "preset: aptem_hubspott").replacen(
        "recommended: true",
        "recommended: false",
        1,
    );
    let document = document.replacen("name: Aptem + HubSpot", "name: Aptem and HubSpot", 1);
    world.file("new.yaml", &document);
    world
        .run("preset apply -f new.yaml")
        .succeeds()
        .prints(&["created (defaults 1)"])
        .says(&["did you mean `aptem_hubspot`"]);
    assert_eq!(world.json("preset list")["items"].as_array().unwrap().len(), 7);
}

#[test]
fn wrong_documents_are_refused_at_their_line_and_nothing_is_applied() {
    let world = world();
    let wrong = |old: &str, new: &str, place: &str, parts: &[&str]| {
        world.file("wrong.yaml", &world.changed_preset("aptem", old, new));
        for line in ["preset apply -f wrong.yaml", "preset validate -f wrong.yaml"] {
            world.refused(line, 7).says(parts).says(&[place]);
        }
        let error = world.refused("preset apply -f wrong.yaml --json", 7).error();
        assert!(error["message"].as_str().unwrap().contains(place), "{error}");
    };
    let frequency = "    sync_frequency: hourly";
    let at = |needle: &str| {
        let document = world.changed_preset("aptem", frequency, frequency);
        let line = document.lines().position(|line| line.contains(needle)).unwrap() + 1;
        format!("wrong.yaml:{line}:")
    };
    wrong(frequency, "    sync_freqency: hourly", &at(frequency), &["did you mean `sync_frequency`", "^"]);
    wrong(frequency, "    sync_frequency: huorly", &at(frequency), &["did you mean `hourly`"]);
    wrong(frequency, "    sync_frequency: hourly\n    sync_frequency: daily", "wrong.yaml:", &["sync_frequency"]);
    wrong(frequency, "    sync_frequency: [", "wrong.yaml:", &["wrong.yaml:"]);
    wrong(frequency, "    sync_frequency: hourly\n    api_url: http://evil.example", "wrong.yaml:", &[]);
    wrong(
        "learner.programme: ",
        "learner.programe: ",
        &at("learner.programme: "),
        &["did you mean `learner.programme`"],
    );
    wrong("  aptem:", "  aptme:", &at("  aptem:"), &["unknown provider `aptme`: did you mean `aptem`"]);
    wrong("name: Aptem", "nmae: Aptem", &at("name: Aptem"), &["`name`"]);
}
