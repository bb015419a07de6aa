//! `schema` through the binary.

use crate::support::{World, world};

#[test]
fn each_kind_of_file_has_a_schema_with_and_without_a_database() {
    for world in [World::empty(), world()] {
        for kind in ["preset", "override", "provider", "org"] {
            let schema = world.run(&format!("schema {kind}")).succeeds().json();
            assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{kind}");
            assert_eq!(schema["type"], "object", "{kind}");
        }
        let schema = world.run("schema preset").succeeds().json();
        let frequency = &schema["properties"]["providers"]["properties"]["hubspot"]["properties"]["sync_frequency"];
        assert_eq!(frequency["$ref"], "#/definitions/frequency");
    }
    World::empty().run("schema presets").fails(2).says(&["preset"]);
}
