//! A database made by an earlier release: opened, it has the newest schema and everything that was in it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::World;

/// Returns a machine with the database and the key of the first release.
pub fn first_release() -> World {
    let world = World::empty();
    let connection = Connection::open(world.db()).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(include_str!("../fixtures/schema_1.sql")).unwrap();
    drop(connection);
    std::fs::write(world.key(), include_str!("../fixtures/schema_1.key")).unwrap();
    for path in [world.db(), world.key()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    world
}

/// What a table holds: its columns, and a row each.
type Table = (Vec<String>, Vec<Vec<Value>>);

/// Returns the contents of all tables but the history of the schema.
fn contents(world: &World) -> BTreeMap<String, Table> {
    let connection = Connection::open(world.db()).unwrap();
    let mut names = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'refinery_schema_history'")
        .unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let table = |name: &String| {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\" ORDER BY 1, 2")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        // A float of the first release is kept as its digits since.
        let value = |value: Value| match value {
            Value::Real(number) => Value::Text(number.to_string()),
            other => other,
        };
        let rows = statement.query_map([], |row| (0..columns.len()).map(|column| row.get(column).map(value)).collect());
        let rows = rows.unwrap().collect::<rusqlite::Result<_>>().unwrap();
        (columns, rows)
    };
    names.iter().map(|name| (name.clone(), table(name))).collect()
}

/// Fails the test unless every column and row that was there is there with the same value; there may be more of both.
fn all_is_kept(before: &BTreeMap<String, Table>, after: &BTreeMap<String, Table>) {
    for (name, (columns, rows)) in before {
        let Some((new_columns, new_rows)) = after.get(name) else { panic!("the table {name} is gone") };
        let places: Vec<usize> = columns
            .iter()
            .map(|column| {
                new_columns.iter().position(|new| new == column).unwrap_or_else(|| panic!("{name}.{column} is gone"))
            })
            .collect();
        let kept: Vec<Vec<Value>> =
            new_rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect();
        for row in rows {
            assert!(kept.contains(row), "a row of {name} is gone or changed: {row:?}");
        }
        assert!(!rows.is_empty() || kept.is_empty(), "{name} has rows out of nowhere");
    }
}

fn schema(world: &World) -> i64 {
    let connection = Connection::open(world.db()).unwrap();
    connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0)).unwrap()
}

/// Returns the number of the newest migration in the repository.
fn newest() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let number = |name: String| name.strip_prefix('V')?.split("__").next()?.parse().ok();
    let numbers = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    numbers.filter_map(number).max().unwrap()
}

#[test]
fn a_database_of_the_first_release_is_upgraded_with_all_that_is_in_it() {
    let world = first_release();
    let before = contents(&world);
    assert_eq!(schema(&world), 1);
    assert!(before["learners"].1.len() > 1 && before["organization_credentials"].1.len() > 1);

    let organizations = world.json("org list");
    assert_eq!((&organizations["items"][0]["slug"], schema(&world)), (&"acme".into(), newest()));
    all_is_kept(&before, &contents(&world));
    let connection = Connection::open(world.db()).unwrap();
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    assert!(!connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap());
    drop(connection);

    // What was sealed then opens now: a sync gets as far as calling the service, which is not there.
    let listed = world.json("credential list acme");
    let set = listed["items"].as_array().unwrap().iter().filter(|item| item["fingerprint"].is_string());
    assert_eq!(set.count(), before["organization_credentials"].1.len(), "{listed}");
    // Since then a setting has to say that it may be called without TLS.
    world.run("override set acme aptem allow_insecure_http=true").succeeds();
    let error = world.run("credential test acme aptem --json").fails(9).error();
    assert_eq!(error["code"], "provider_unreachable", "{error}");
    assert_eq!(world.json("record list acme learners --limit 1")["items"].as_array().unwrap().len(), 1);
    assert!(world.json("log list")["items"].as_array().unwrap().len() >= 2);
    world.run("status").succeeds();
}

#[test]
fn floats_become_the_shortest_digits_and_reports_numbers() {
    let world = first_release();
    let floats = [
        0.1,
        1.1,
        55.0,
        -3.25,
        0.1 + 0.2,
        1_234_567_890.123_456_7,
        1e-7,
        9_007_199_254_740_993.0,
        1e22,
        f64::MIN_POSITIVE,
    ];
    let connection = Connection::open(world.db()).unwrap();
    for (place, float) in floats.iter().enumerate() {
        let sql = "INSERT INTO learners (organization_id, provider_id, external_key, progress, content_hash, first_seen_at, changed_at,
                                         generation, in_scope)
                   SELECT organization_id, provider_id, 'float-' || ?1, ?2, x'00', first_seen_at, changed_at, 1, 1 FROM learners LIMIT 1";
        connection.execute(sql, (i64::try_from(place).unwrap(), float)).unwrap();
    }
    drop(connection);
    world.run("org list").succeeds();
    let connection = Connection::open(world.db()).unwrap();
    let read = |sql: &str| -> Vec<Value> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let of_floats = "external_key LIKE 'float-%' ORDER BY id";
    for (value, float) in read(&format!("SELECT progress FROM learners WHERE {of_floats}")).into_iter().zip(floats) {
        let Value::Text(text) = value else { panic!("{value:?} for {float}") };
        assert_eq!(text.parse::<f64>().unwrap(), float, "{text}");
        assert!(text.len() <= format!("{float:e}").len() + 5 || text == float.to_string(), "{text} for {float}");
    }
    let numbers = read("SELECT DISTINCT typeof(progress) FROM learner_report WHERE progress IS NOT NULL");
    assert_eq!(numbers, [Value::Text("real".into())]);
}

#[test]
fn a_database_of_the_first_release_does_not_open_with_another_key() {
    let world = first_release();
    let other = crate::support::world();
    std::fs::copy(other.key(), world.key()).unwrap();
    world.run("credential test acme aptem").fails(8);
}

#[test]
fn an_upgrade_that_is_killed_is_before_or_after_a_migration_and_goes_on() {
    for milliseconds in [0, 2, 4, 6, 8, 10, 12, 15, 20, 30] {
        let world = first_release();
        let before = contents(&world);
        let mut child = world.command("org list").stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((1..=newest()).contains(&schema(&world)));
        all_is_kept(&before, &contents(&world));
        world.run("org list").succeeds();
        assert_eq!(schema(&world), newest());
        all_is_kept(&before, &contents(&world));
    }
}
