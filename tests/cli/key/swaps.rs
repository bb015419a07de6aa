//! Sealed values that are moved in the database: each is refused where it does not belong, by name.

use super::{PLACES, SENTINEL, two_tenants};
use crate::support::World;

/// Puts the value of one row in the place of another's.
fn swap(world: &World, table: &str, column: &str, from: usize, to: usize) {
    let row = |number: usize| format!("(SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {number})");
    let sql = format!(
        "UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE rowid = {}) WHERE rowid = {}",
        row(from),
        row(to)
    );
    assert_eq!(world.sql().execute(&sql, []).unwrap(), 1);
}

#[test]
fn thirty_swaps_of_six_credentials_are_all_refused_by_name_and_give_nothing_away() {
    let world = two_tenants();
    let original = std::fs::read(world.db()).unwrap();
    let mut refused = 0;
    for (to, (organization, provider, field)) in PLACES.into_iter().enumerate() {
        for from in (0..PLACES.len()).filter(|from| *from != to) {
            std::fs::write(world.db(), &original).unwrap();
            swap(&world, "organization_credentials", "sealed", from, to);
            let checked = world.run("key check --json").fails(8);
            let closed = &checked.json()["closed"];
            assert_eq!(closed.as_array().unwrap().len(), 1, "{from} to {to}: {closed}");
            assert_eq!(closed[0]["place"], format!("organization_credentials {organization}/{provider}/{field}"));
            // Where it would be used, it ends the use.
            let used = world.run(&format!("credential test {organization} {provider} --json")).fails(8);
            let error = used.error();
            assert_eq!(error["code"], "sealed_value_unreadable", "{from} to {to}: {error}");
            let message = error["message"].as_str().unwrap();
            for name in [organization, provider, field] {
                assert!(message.contains(&format!("`{name}`")), "{message}");
            }
            assert!(!checked.to_string().contains(SENTINEL) && !used.to_string().contains(SENTINEL));
            refused += 1;
        }
    }
    assert_eq!(refused, 30);
}

#[test]
fn swapped_data_keys_and_check_values_are_refused() {
    let world = two_tenants();
    let original = std::fs::read(world.db()).unwrap();
    for (from, to, slug) in [(0, 1, "umbra"), (1, 0, "acme")] {
        std::fs::write(world.db(), &original).unwrap();
        swap(&world, "data_keys", "wrapped", from, to);
        let checked = world.run("key check --json").fails(8);
        assert_eq!(checked.json()["closed"][0]["place"], format!("data_keys {slug} version 1"));
        let used = world.run(&format!("credential test {slug} aptem --json")).fails(8);
        assert_eq!(used.error()["code"], "data_key_unreadable");
        assert!(used.error()["message"].as_str().unwrap().contains(slug) && !used.to_string().contains(SENTINEL));
    }
    for value in [
        "(SELECT wrapped FROM data_keys LIMIT 1)",
        "(SELECT sealed FROM organization_credentials LIMIT 1)",
        "zeroblob(48)",
    ] {
        std::fs::write(world.db(), &original).unwrap();
        world.sql().execute(&format!("UPDATE master_keys SET check_value = {value}"), []).unwrap();
        for line in [
            "key check",
            "credential set acme aptem api_key --from-stdin",
            "sync acme",
            "key rotate --generate new.key",
        ] {
            let ended = world.refused(&format!("{line} --json"), 8);
            assert_eq!(ended.error()["code"], "key_check_unreadable", "{line}");
        }
    }
}
