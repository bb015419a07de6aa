//! Other users of the machine: what the kernel keeps from who is not the service's user, whatever they say they are.

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{FOREIGN, two_organizations};
use crate::support::{World, below, chmod, skipped};

/// Users that no machine has.
const SERVICE: u32 = 64_990;
const TENANT: u32 = 64_991;

/// A machine whose database belongs to the service's user, and a copy of the program that all may run.
struct Machine {
    world: World,
    binary: PathBuf,
    _programs: tempfile::TempDir,
}

impl Machine {
    /// Returns nothing where users cannot be changed.
    fn new() -> Option<Machine> {
        if !rustix::process::geteuid().is_root() {
            skipped("only root can run programs as other users");
            return None;
        }
        let world = two_organizations("globex");
        world.all(&["role grant bob tenant acme", "db backup backup.db"]);
        chmod(world.home(), 0o700);
        let programs = tempfile::tempdir().unwrap();
        chmod(programs.path(), 0o755);
        let binary = programs.path().join("skillsctl");
        std::fs::copy(env!("CARGO_BIN_EXE_skillsctl"), &binary).unwrap();
        chmod(&binary, 0o755);
        let machine = Machine { world, binary, _programs: programs };
        let mut files = below(machine.world.home());
        files.push(machine.world.home().to_owned());
        files.iter().for_each(|file| chown(file, Some(SERVICE), Some(SERVICE)).unwrap());
        Some(machine)
    }

    /// Runs the program as a user; `more` is set besides.
    fn run(&self, user: u32, line: &str, more: &[(&str, &str)]) -> Output {
        let mut command = self.world.program(&self.binary);
        command.args(shlex::split(line).unwrap()).envs(more.iter().copied());
        command.uid(user).gid(user).current_dir("/").stdin(Stdio::null()).output().unwrap()
    }

    /// Returns whether a line of a shell ends well for a user.
    fn shell(&self, user: u32, line: &str, file: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line, "sh"]).arg(file).uid(user).gid(user).current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = below(self.world.home());
        files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap_or_default())).collect()
    }
}

#[test]
fn who_is_not_the_services_user_reads_and_changes_none_of_its_files() {
    let Some(machine) = Machine::new() else { return };
    // Held open, so that the files beside the database are there as well.
    let open = machine.world.sql();
    open.execute("UPDATE meta SET value = value", []).unwrap();
    let mut files = below(machine.world.home());
    files.push(machine.world.home().to_owned());
    for name in ["skills.db", "skills.db-wal", "skills.db-shm", "skillsctl.key", "backup.db", "skills.db.locks"] {
        assert!(files.iter().any(|file| file.ends_with(name)), "{name} is not there: {files:?}");
    }
    for file in &files {
        chown(file, Some(SERVICE), Some(SERVICE)).unwrap();
    }
    let before = machine.contents();
    for file in &files {
        for line in [
            r#"cat "$1" || ls "$1""#,
            r#": >> "$1""#,
            r#"rm -rf "$1""#,
            r#"mv "$1" "$1.moved""#,
            r#"chmod 777 "$1""#,
            r#"ln "$1" "$1.linked""#,
        ] {
            // A forced removal of what cannot even be seen ends well.
            let ended = machine.shell(TENANT, line, file);
            assert!(!ended || line.starts_with("rm"), "{}: {line}", file.display());
        }
    }
    assert!(machine.contents() == before, "a file has changed");
    assert!(
        machine.shell(SERVICE, r#"cat "$1""#, &machine.world.db()),
        "the service's user can read it, so that this proves something"
    );
}

#[test]
fn who_says_to_be_root_or_somebody_else_is_still_who_they_are() {
    let Some(machine) = Machine::new() else { return };
    let before = machine.contents();
    for more in [
        &[][..],
        &[("SUDO_UID", "0"), ("SUDO_USER", "root")],
        &[("SUDO_UID", "64990"), ("SUDO_USER", "skillsctl")],
        &[("SUDO_UID", "64991"), ("SUDO_USER", "bob")],
        &[("SKILLSCTL_ROLE", "super")],
    ] {
        for line in [
            "org list",
            "status acme",
            "org suspend acme --yes",
            "role grant bob super",
            "db backup x.db",
            "sync request acme",
        ] {
            let output = machine.run(TENANT, line, more);
            assert!(!output.status.success() && output.stdout.is_empty(), "{line} {more:?}: {output:?}");
        }
    }
    assert!(machine.contents() == before, "a file has changed");
}

#[test]
fn sudo_lets_a_tenant_see_its_own_and_no_more() {
    let Some(machine) = Machine::new() else { return };
    let sudo = [("SUDO_UID", "64991"), ("SUDO_USER", "bob")];
    let output = machine.run(SERVICE, "status", &sudo);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("acme") && !told.contains(FOREIGN), "{output:?}");
    assert_eq!(machine.run(SERVICE, "status globex", &sudo).status.code(), Some(5));
    assert_eq!(machine.run(SERVICE, "org list", &sudo).status.code(), Some(4));
    assert_eq!(machine.run(SERVICE, "sync request acme", &sudo).status.code(), Some(0));
    assert_eq!(machine.run(SERVICE, "org list", &[]).status.code(), Some(0), "the service's own user may do anything");
}
