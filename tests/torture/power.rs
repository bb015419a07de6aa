//! The power goes: what had not reached the disk is cut off the write-ahead log or lost in its middle.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use crate::check::{self, Violations};
use crate::trial::{again, ended, finish};
use crate::world::{World, folder, template};

/// The header of a write-ahead log, and a frame of it: a page with a header of its own.
const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

/// Returns a write-ahead log without what came after this byte.
fn cut(wal: &[u8], at: usize) -> Vec<u8> {
    wal[..at].to_vec()
}

/// Returns a write-ahead log of which one block was never written, though later ones were.
fn hole(wal: &[u8], at: usize) -> Vec<u8> {
    let mut wal = wal.to_vec();
    let end = (at + 4096).min(wal.len());
    wal[at..end].fill(0);
    wal
}

/// Cuts the log of a killed run of so many pages in every way. `whole` says of how many cuts one is also synced to its end.
fn lose_power(pages: usize, whole: usize) {
    let prepared = template(pages as u64 * 10, 12, false);
    let world = World::new(&prepared);
    let status = ended(&mut world.start("sync acme", Some(("run finished", 1))));
    assert_eq!(status.signal(), Some(9), "the run was not killed");
    let read = |suffix| std::fs::read(world.beside(suffix)).unwrap();
    let (database, wal, key) = (read(""), read("-wal"), std::fs::read(world.key()).unwrap());
    let state = world.account.state().clone();
    assert!(state.ledger.len() > pages && wal.len() > pages * FRAME);
    let blocks = (0..wal.len()).step_by(4096);
    let frames = (0..(wal.len() - HEADER) / FRAME).map(|frame| HEADER + frame * FRAME);
    let lost = blocks.clone().chain(frames).map(|at| (format!("cut at {at}"), cut(&wal, at)));
    let lost = lost.chain(blocks.map(|at| (format!("a hole at {at}"), hole(&wal, at))));

    let (mut wrong, mut states, mut number, mut synced) = (Violations::new(), BTreeMap::new(), 0_usize, 0);
    for (told, wal) in lost {
        let found = wrong.len();
        let files: &[(&str, &[u8])] = &[("", &database), ("-wal", &wal)];
        let after = World::of(folder(), Arc::clone(&world.account), files, &key);
        {
            let copy = check::copy(&after).connection;
            check::sound(&copy, &mut wrong);
            check::progress_is_true(&copy, &BTreeMap::new(), &state, &mut wrong);
            let progress = check::progress(&copy).remove("learners").unwrap_or_default();
            let stored = check::rows(&copy, "learners");
            let read_to = progress.open.map_or(0, |open| open.position);
            if progress.watermark.is_none() && stored.keys().any(|id| *id > read_to) {
                wrong.push(format!("I3: learners beyond {read_to} are stored, so this is no prefix of the commits"));
            }
            *states.entry(stored.len()).or_insert(0) += 1;
        }
        number += 1;
        if number.is_multiple_of(whole) {
            *world.account.state() = state.clone();
            world.account.state().live(60_000, 5);
            finish(&after, &mut wrong);
            let copy = check::copy(&after).connection;
            check::equal(&copy, &world.account.state(), &mut wrong);
            check::runs_are_over(&copy, &mut wrong);
            again(&after, &check::contents(&copy, "acme"), &mut wrong);
            check::no_residue(&after, true, &mut wrong);
            synced += 1;
        }
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{told}: {wrong}"));
    }
    println!(
        "{number} logs cut, {} different states, {synced} synced to the end, {} violations",
        states.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(states.len() > pages, "each page is a state of its own: {states:?}");
}

#[test]
fn a_log_cut_anywhere_leaves_a_prefix_of_the_commits() {
    lose_power(20, 40);
}

#[test]
#[ignore = "takes some minutes: cargo test --features mutants --test torture -- --ignored --nocapture"]
fn a_log_cut_anywhere_is_synced_to_the_end() {
    lose_power(50, 1);
}
