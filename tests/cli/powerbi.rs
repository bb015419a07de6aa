//! `powerbi` through the binary.

use serde_json::json;

use crate::support::world;

#[test]
fn filters_are_power_bi_objects_basic_and_advanced() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("override set acme aptem 'powerbi_filters.learner.progress={GreaterThanOrEqual: 50}'").succeeds();
    let printed = world.run("powerbi filters acme").succeeds().json();
    assert_eq!(
        printed["filters"],
        json!([
            {"$schema": "http://powerbi.com/product/schema#basic", "target": {"table": "learners", "column": "organization_slug"},
             "filterType": 1, "operator": "In", "values": ["acme"], "requireSingleSelection": false},
            {"$schema": "http://powerbi.com/product/schema#basic", "target": {"table": "employers", "column": "organization_slug"},
             "filterType": 1, "operator": "In", "values": ["acme"], "requireSingleSelection": false},
            {"$schema": "http://powerbi.com/product/schema#basic", "target": {"table": "learners", "column": "LMS_Provider"},
             "filterType": 1, "operator": "In", "values": ["Aptem"], "requireSingleSelection": false},
            {"$schema": "http://powerbi.com/product/schema#advanced", "target": {"table": "learners", "column": "progress"},
             "filterType": 0, "logicalOperator": "And", "conditions": [{"operator": "GreaterThanOrEqual", "value": 50}]},
            {"$schema": "http://powerbi.com/product/schema#basic", "target": {"table": "employers", "column": "CRM_Provider"},
             "filterType": 1, "operator": "In", "values": ["HubSpot"], "requireSingleSelection": false},
        ])
    );
    assert_eq!(world.json("powerbi filters acme hubspot")["filters"].as_array().unwrap().len(), 2);
    world.refused("powerbi filters acmee", 5);
}

#[test]
fn roles_see_the_reports_of_the_pinned_defaults() {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world.run("powerbi roles acme").succeeds().prints(&["tutor\tlearner-progress\n"]);
    let roles = world.json("powerbi roles acme");
    assert_eq!((&roles["kind"], &roles["items"][1]["role"]), (&json!("PowerbiRoleList"), &json!("tutor")));
}
