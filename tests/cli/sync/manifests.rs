//! A shipped provider that has changed since a database was made.

use serde_json::json;

use super::lab::{counts, lab};

#[test]
fn a_newer_manifest_comes_with_init_and_has_everything_read_once() {
    let mut lab = lab(3, 12);
    lab.organization("acme", "aptem_salesforce");
    lab.run("override disable acme aptem").succeeds();
    // The database has what an older program shipped.
    let database = rusqlite::Connection::open(lab.world.db()).unwrap();
    database
        .execute_batch(
            "INSERT INTO provider_manifests (hash, provider, manifest, added_at)
                 SELECT 'older', provider, replace(m.manifest, 'bulk_from', 'job_from'), added_at FROM provider_manifests m
                 JOIN integration_providers p ON p.manifest_hash = m.hash WHERE p.slug = 'salesforce';
             UPDATE integration_providers SET manifest_hash = 'older' WHERE slug = 'salesforce';",
        )
        .unwrap();
    drop(database);
    lab.sync("acme", 0);
    lab.run("override set acme salesforce bulk_from=1").fails(7);

    assert_eq!(lab.world.json("init")["providers_loaded"], json!(["salesforce"]));
    assert_eq!(lab.world.json("init")["providers_loaded"], json!([]));
    lab.sandbox.change("salesforce", "acme", 2);
    lab.later(0);
    let report = lab.sync("acme", 0);
    assert_eq!(counts(&report), json!({"read": 12, "updated": 2, "unchanged": 10}));
    let warnings = report["runs"][0]["warnings"].to_string();
    assert!(warnings.contains("the manifest, settings, mappings or filters changed"), "{report}");
    lab.sandbox.change("salesforce", "acme", 1);
    lab.later(0);
    let report = lab.sync("acme", 0);
    assert_eq!(report["runs"][0]["warnings"], json!([]));
    assert!(report["total"]["read"].as_u64().unwrap() < 12, "{report}");
    lab.run("override set acme salesforce bulk_from=1").succeeds();
}
