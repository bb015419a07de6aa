//! `db check`: what is damaged is found and named.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{Seeded, machine, names, text};
use crate::support::{Ended, World};

/// The tables that hold settings and sealed values.
const TABLES: [&str; 10] = [
    "meta",
    "master_keys",
    "integration_providers",
    "provider_manifests",
    "integration_presets",
    "integration_preset_defaults",
    "organizations",
    "organization_integration_overrides",
    "data_keys",
    "organization_credentials",
];

#[test]
fn a_sound_database_is_sound_and_a_wrong_key_is_told() {
    let world = machine(10);
    world.run("db check").succeeds().prints(&["sound"]);
    let deep = world.json("db check --deep");
    assert_eq!(
        (&deep["sound"], &deep["credentials_opened"], &deep["findings"]),
        (&true.into(), &2.into(), &serde_json::json!([]))
    );
    let other = crate::support::world();
    world.refused(&format!("db check --deep --key-file {}", other.key().display()), 8);
    world.refused("db check --deep --key-file nowhere.key", 8);
}

#[test]
fn edits_by_another_program_are_no_damage() {
    let world = machine(1);
    world.sql().execute("UPDATE organizations SET name = 'By hand' WHERE slug = 'acme'", []).unwrap();
    world.run("db check").succeeds();
    world.run("org suspend umbra").succeeds();
    world.run("db check").succeeds();
}

#[test]
fn a_moved_sealed_value_and_documents_that_do_not_fit_are_found() {
    let world = machine(1);
    world
        .sql()
        .execute_batch(
            "UPDATE organization_credentials SET sealed = (SELECT sealed FROM organization_credentials WHERE id = 2) WHERE id = 1;
             UPDATE organization_integration_overrides SET document = '{\"sync_frequency\":\"sometimes\"}';
             UPDATE provider_manifests SET manifest = manifest || ' ' WHERE provider = 'bud';",
        )
        .unwrap();
    let checked = world.run("db check --deep --json").fails(12).json();
    let found: Vec<(&str, &str)> = checked["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["check"].as_str().unwrap(), finding["place"].as_str().unwrap()))
        .collect();
    assert!(found.contains(&("documents", "organization_integration_overrides acme/aptem")), "{found:?}");
    assert!(found.contains(&("sealed", "organization_credentials acme/aptem/api_key")), "{found:?}");
    assert!(
        found.iter().any(|(check, place)| *check == "documents" && place.starts_with("provider_manifests")),
        "{found:?}"
    );
    assert_eq!((found.len(), &checked["credentials_opened"]), (3, &1.into()));
    assert!(!checked.to_string().contains(super::SENTINEL));
}

#[test]
fn a_schema_that_was_changed_is_found() {
    let world = machine(1);
    world
        .sql()
        .execute_batch("DROP TRIGGER integration_preset_defaults_immutable; DROP INDEX integration_sync_logs_latest")
        .unwrap();
    world
        .run("db check")
        .fails(12)
        .prints(&["trigger integration_preset_defaults_immutable", "index integration_sync_logs_latest"]);
}

/// Returns what stands in the tables of settings and sealed values, or nothing where they cannot be read.
fn settings(world: &World) -> Option<Vec<String>> {
    let uri = format!("file:{}?immutable=1", world.db().display());
    let connection =
        Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI).ok()?;
    let mut all = Vec::new();
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT rowid, * FROM {table} ORDER BY rowid")).ok()?;
        let columns = statement.column_count();
        let mut rows = statement.query([]).ok()?;
        while let Some(row) = rows.next().ok()? {
            let values: Option<Vec<String>> =
                (0..columns).map(|column| Some(format!("{:?}", row.get_ref(column).ok()?))).collect();
            all.push(format!("{table} {:?}", values?));
        }
    }
    Some(all)
}

/// Returns where in the file the values of settings and sealed values lie.
fn places(world: &World, bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut places = Vec::new();
    let connection = world.sql();
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let (ValueRef::Text(value) | ValueRef::Blob(value)) = row.get_ref(column).unwrap() else { continue };
                // A long value goes on in pages of its own.
                let head = &value[..value.len().min(400)];
                if head.len() >= 4 {
                    let found = bytes.windows(head.len()).enumerate().filter(|(_, window)| window == &head);
                    places.extend(found.map(|(at, _)| at..at + head.len()));
                }
            }
        }
    }
    places
}

/// Runs a check that may find anything or nothing, but must not fail itself.
fn checked(world: &World) -> Ended {
    let ended = world.run("db check --json");
    assert!(matches!(ended.exit, 0 | 12), "{ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    ended
}

/// Flips bits one at a time and returns in how many cases a setting was no longer what it was, and of these the ones
/// that went unnoticed.
fn flips(world: &World, count: usize, mut place: impl FnMut(&mut Seeded) -> usize) -> (usize, Vec<usize>) {
    let sound = std::fs::read(world.db()).unwrap();
    let before = settings(world).unwrap();
    let mut seeded = Seeded(20_261_130);
    let (mut harmed, mut unnoticed) = (0, Vec::new());
    for _ in 0..count {
        let (at, bit) = (place(&mut seeded), seeded.below(8));
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << bit;
        std::fs::write(world.db(), &bytes).unwrap();
        let exit = checked(world).exit;
        if settings(world).as_ref() != Some(&before) {
            harmed += 1;
            if exit == 0 {
                unnoticed.push(at * 8 + bit);
            }
        }
    }
    std::fs::write(world.db(), &sound).unwrap();
    (harmed, unnoticed)
}

#[test]
fn a_flipped_bit_in_a_setting_or_a_sealed_value_is_found() {
    let world = machine(0);
    let bytes = std::fs::read(world.db()).unwrap();
    let places = places(&world, &bytes);
    assert!(places.len() > 100);
    let (harmed, unnoticed) = flips(&world, 120, |seeded| {
        let place = &places[seeded.below(places.len())];
        place.start + seeded.below(place.len())
    });
    assert!(harmed > 50 && unnoticed.is_empty(), "of {harmed} unnoticed: bits {unnoticed:?}");
    world.run("db check --deep").succeeds();
}

#[test]
fn a_flipped_bit_anywhere_never_ends_in_a_panic_and_harms_no_setting_unseen() {
    let world = machine(0);
    let length = std::fs::read(world.db()).unwrap().len();
    let (harmed, unnoticed) = flips(&world, 100, |seeded| seeded.below(length));
    assert!(harmed > 5 && unnoticed.is_empty(), "of {harmed} unnoticed: bits {unnoticed:?}");
}

#[test]
fn a_file_cut_short_or_with_a_foreign_log_is_no_panic() {
    let world = machine(0);
    let sound = std::fs::read(world.db()).unwrap();
    for part in [0, 1, 100, 4_096, sound.len() / 2, sound.len() - 4_096, sound.len() - 1] {
        std::fs::write(world.db(), &sound[..part]).unwrap();
        let ended = world.run("db check --json");
        assert_eq!(ended.exit, 12, "{part} bytes: {ended}");
    }
    let zeroed = [&[0; 100][..], &sound[100..]].concat();
    std::fs::write(world.db(), zeroed).unwrap();
    world.run("db check --json").fails(12);
    std::fs::write(world.db(), &sound).unwrap();
    world.file("skills.db-wal", &"garbage that is no log".repeat(1_000));
    world.run("db check --json").succeeds();
    assert!(std::fs::read(world.db()).unwrap() == sound, "a check plays nothing into the file");
}

#[test]
fn a_copy_is_checked_where_it_lies() {
    let world = machine(1);
    world.run("db backup copy.db").succeeds();
    world.run("db check --db copy.db").succeeds();
    assert_eq!(names(world.home(), "copy.db"), ["copy.db"]);
    assert_eq!(text(&super::open(&world.home().join("copy.db")), "PRAGMA quick_check"), "ok");
}
