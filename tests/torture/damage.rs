//! A damaged database: bits flipped, ends cut off, a foreign log. It is refused or read right, and never opens another secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::chance::Chance;
use crate::check::Violations;
use crate::kills::ordered;
use crate::world::{World, folder, synced};

/// What a damaged database is: its own file, and a log beside it.
struct Damaged {
    told: String,
    database: Vec<u8>,
    wal: Vec<u8>,
}

/// Damages a database in one of the ways a disk does.
fn damaged(whole: &[u8], foreign: &[u8], chance: &mut Chance) -> Damaged {
    let (mut database, mut wal) = (whole.to_vec(), Vec::new());
    let at = chance.below(database.len() as u64) as usize;
    let told = match chance.below(10) {
        0 => {
            database.truncate(at);
            format!("cut off at {at}")
        }
        1 => {
            let at = at / 4096 * 4096;
            database[at..at + 4096].fill(0);
            format!("no page at {at}")
        }
        2 => {
            let end = 1 + chance.below(100) as usize;
            database[..end].fill(0);
            format!("no header up to {end}")
        }
        3 => {
            wal = foreign.to_vec();
            wal.truncate(32 + 4120 * (1 + chance.below(20) as usize));
            "the log of another database".to_owned()
        }
        _ => {
            let flips = 1 + chance.below(8);
            for _ in 0..flips {
                let at = chance.below(database.len() as u64) as usize;
                database[at] ^= 1 << chance.below(8);
            }
            format!("{flips} bits flipped")
        }
    };
    Damaged { told, database, wal }
}

/// Syncs a damaged database of a machine, and returns the exit code and the code of the error.
fn sync(whole: &World, damaged: &Damaged, wrong: &mut Violations) -> String {
    let files: &[(&str, &[u8])] = &[("", &damaged.database), ("-wal", &damaged.wal)];
    let files = if damaged.wal.is_empty() { &files[..1] } else { files };
    let world = World::of(folder(), Arc::clone(&whole.account), files, &synced().key);
    let output = world.run("sync acme --json");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let error: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
    let error = if report["runs"][0]["error"].is_object() { &report["runs"][0]["error"] } else { &error };
    let code = error["code"].as_str().unwrap_or("none").to_owned();
    let exit = output.status.code();
    if exit.is_none_or(|exit| matches!(exit, 1 | 101)) || said.contains("panicked") {
        wrong.push(format!("I8: {}: {}: {said}", damaged.told, output.status));
    }
    if matches!(exit, Some(8 | 12)) && !error["hint"].is_string() {
        wrong.push(format!("I8: {}: {code} has no hint", damaged.told));
    }
    if world.account.state().strangers != 0 {
        wrong.push(format!("I6: {}: another credential was sent", damaged.told));
    }
    format!("{} {code}", exit.unwrap_or(-1))
}

/// Returns the database of a machine.
fn database_of(world: &World) -> Vec<u8> {
    std::fs::read(world.database()).unwrap()
}

#[test]
fn a_damaged_database_is_refused_or_read_right() {
    let foreign = {
        let world = World::new(synced());
        let connection = world.open();
        connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        connection.execute_batch("CREATE TABLE other (a); INSERT INTO other SELECT value FROM json_each('[1,2,3]'); UPDATE learners SET phone = 'x'").unwrap();
        std::fs::read(world.beside("-wal")).unwrap()
    };
    let trials = ordered("TORTURE_DAMAGES").unwrap_or(200);
    let (mut wrong, mut ends) = (Violations::new(), BTreeMap::new());
    for seed in 0..trials {
        // Each has an account of its own, so that what is sent is sent by it.
        let world = World::new(synced());
        let mut damaged = damaged(&database_of(&world), &foreign, &mut Chance::new(seed));
        damaged.told = format!("seed {seed}, {}", damaged.told);
        *ends.entry(sync(&world, &damaged, &mut wrong)).or_insert(0) += 1;
    }
    println!("{trials} damaged databases: {ends:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let refused: usize = ends.iter().filter(|(end, _)| end.starts_with("12 ")).map(|(_, number)| number).sum();
    assert!(refused * 4 > trials as usize, "so few were refused that the damage proves nothing: {ends:?}");
}

#[test]
fn a_sealed_credential_of_which_any_bit_is_flipped_opens_nothing() {
    let world = World::new(synced());
    let sealed: Vec<u8> = world
        .open()
        .query_row(
            "SELECT sealed FROM organization_credentials WHERE field = 'refresh_token' AND stage = 'current'
             AND organization_id = (SELECT id FROM organizations WHERE slug = 'acme')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let database = database_of(&world);
    let at = database.windows(sealed.len()).position(|window| window == sealed).unwrap();
    let mut chance = Chance::new(11);
    let mut wrong = Violations::new();
    for byte in 0..sealed.len() {
        let mut database = database.clone();
        database[at + byte] ^= 1 << chance.below(8);
        let told = format!("byte {byte} of {}", sealed.len());
        let end = sync(&world, &Damaged { told: told.clone(), database, wal: Vec::new() }, &mut wrong);
        if !end.starts_with("8 ") {
            wrong.push(format!("I6: {told}: {end}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
