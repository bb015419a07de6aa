//! The disk is full, or a limit on the size of files is met: it is told, nothing is half-done, and the next run goes on.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;

use crate::check::{self, Violations};
use crate::trial::{Story, again, finish};
use crate::world::{PROGRAM, World, folder};

/// Checks how a run without enough room has ended. Returns whether it failed.
fn told(output: &Output, wrong: &mut Violations) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("panicked") || output.status.code().is_none() {
        wrong.push(format!("I8: {}: {said}", output.status));
    }
    if output.status.success() {
        return false;
    }
    let error: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
    let code = error["code"].as_str().unwrap_or_default();
    let known = matches!(code, "disk_full" | "database_io" | "database_unreadable");
    if output.status.code() != Some(12) || !known || !error["hint"].is_string() {
        wrong.push(format!("I8: {}: {said}", output.status));
    }
    true
}

/// Checks what is stored after a run without enough room, and that one with enough goes on to the end.
fn goes_on(world: &World, wrong: &mut Violations) {
    let copy = check::copy(world).connection;
    check::sound(&copy, wrong);
    check::progress_is_true(&copy, &BTreeMap::new(), &world.account.state(), wrong);
    drop(copy);
    world.account.state().live(60_000, 3);
    finish(world, wrong);
    let copy = check::copy(world).connection;
    check::sound(&copy, wrong);
    check::equal(&copy, &world.account.state(), wrong);
    check::runs_are_over(&copy, wrong);
    again(world, &check::contents(&copy, "acme"), wrong);
    check::no_residue(world, true, wrong);
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_loses_nothing() {
    let (mut wrong, mut failed, mut went_well) = (Violations::new(), 0, 0);
    for size in (0..=30).map(|step| step * 16 * 1024).chain([4096 + 100, 33, 1]) {
        let world = Story::First.world(1);
        let mut command = Command::new("prlimit");
        world.dress(&mut command);
        let output = command.arg(format!("--fsize={size}")).args([PROGRAM, "sync", "acme", "--json"]).output().unwrap();
        let found = wrong.len();
        if told(&output, &mut wrong) {
            failed += 1;
        } else {
            went_well += 1;
        }
        goes_on(&world, &mut wrong);
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{size} bytes: {wrong}"));
    }
    println!("{failed} runs failed for want of room, {went_well} had enough");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(failed >= 10 && went_well >= 1, "the limits prove nothing: {failed}, {went_well}");
}

/// A small disk in memory; only root can have one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(bytes: u64) -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={bytes},mode=0700");
        let mut command = Command::new("mount");
        let output = command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        output.is_ok_and(|output| output.status.success()).then_some(Disk(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let (mut wrong, mut failed) = (Violations::new(), 0);
    for room in (0..=24).map(|step| step * 16 * 1024) {
        let first = Story::First.world(2);
        let files = [std::fs::read(first.database()).unwrap(), std::fs::read(first.key()).unwrap()];
        let used: usize = files.iter().map(|file| file.len().div_ceil(4096) * 4096).sum();
        let Some(disk) = Disk::mount((used + 4096 + room) as u64) else {
            println!("skipped: mounting a small disk takes root");
            return;
        };
        let home = tempfile::tempdir_in(disk.0.path()).unwrap();
        let world = World::of(home, Arc::clone(&first.account), &[("", &files[0])], &files[1]);
        let output = world.run("sync acme --json");
        let found = wrong.len();
        failed += usize::from(told(&output, &mut wrong));
        // There is room again: the same files on another disk.
        let files = ["", "-wal"].map(|suffix| (suffix, std::fs::read(world.beside(suffix)).unwrap_or_default()));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(suffix, bytes)| (*suffix, bytes.as_slice())).collect();
        let roomy = World::of(folder(), Arc::clone(&first.account), &files, &std::fs::read(world.key()).unwrap());
        drop(world);
        drop(disk);
        goes_on(&roomy, &mut wrong);
        wrong[found..].iter_mut().for_each(|wrong| *wrong = format!("{room} bytes free: {wrong}"));
    }
    println!("{failed} runs failed for want of room");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(failed >= 5, "the disks prove nothing: {failed}");
}
