//! Who else might see the key: programs that are started, processes of the same user, and users who may read its file.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::SENTINEL;
use crate::support::{NOBODY, World, world};

/// A machine that belongs to an ordinary user, who runs the program on it.
struct Ordinary {
    world: World,
    user: u32,
    program: PathBuf,
}

impl Ordinary {
    fn new() -> Ordinary {
        let world = World::empty();
        let me = std::fs::metadata(world.home()).unwrap().uid();
        // Where it was built, others may not look.
        let program = world.home().join("skillsctl");
        std::fs::copy(env!("CARGO_BIN_EXE_skillsctl"), &program).unwrap();
        let ordinary = Ordinary { world, user: if me == 0 { NOBODY } else { me }, program };
        ordinary.give(ordinary.world.home());
        assert!(ordinary.run("init").status.success());
        ordinary
    }

    fn give(&self, path: &Path) {
        chown(path, Some(self.user), Some(self.user)).unwrap();
    }

    /// Gives a command the user and the environment of this machine.
    fn command(&self, program: &Path, line: &str) -> Command {
        let mut command = self.world.program(program);
        command.args(shlex::split(line).unwrap());
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(self.user).gid(self.user);
        }
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(&self.program, line).stdin(Stdio::null()).output().unwrap()
    }
}

#[test]
fn a_key_in_the_environment_is_closed_to_processes_of_the_same_user_and_never_on_the_command_line() {
    let ordinary = Ordinary::new();
    let key = std::fs::read_to_string(ordinary.world.key()).unwrap();
    let read = |pid: u32, name: &str| -> Option<String> {
        let output = ordinary.command(Path::new("/bin/cat"), &format!("/proc/{pid}/{name}")).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Any other program shows it: the test would notice.
    let mut other = ordinary.command(Path::new("/bin/sleep"), "60").env("SKILLSCTL_KEY", key.trim()).spawn().unwrap();
    let shown = || read(other.id(), "environ").is_some_and(|environment| environment.contains(key.trim()));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !shown() {
        assert!(std::time::Instant::now() < until, "the environment of an ordinary process can be read here");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    other.kill().unwrap();
    other.wait().unwrap();

    // Waits for its input, with the key in its environment.
    assert!(ordinary.run("org create --name Acme --subdomain acme --preset aptem").status.success());
    let mut command = ordinary.command(&ordinary.program, "credential set acme aptem api_key --from-stdin");
    command
        .env("SKILLSCTL_KEY_FILE", "")
        .env("SKILLSCTL_KEY", key.trim())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let locks = ordinary.world.home().join("skills.db.locks/maintenance");
    while !std::fs::File::open(&locks).is_ok_and(|file| file.try_lock().is_err()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(read(child.id(), "environ"), None, "the environment can be read");
    let line = read(child.id(), "cmdline").expect("the command line can be read by all");
    assert!(line.contains("credential") && !line.contains(key.trim()), "{line}");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a-real-looking-value").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_key_file_that_others_may_have_a_hand_in_is_refused_to_an_ordinary_user() {
    let ordinary = Ordinary::new();
    let (home, key) = (ordinary.world.home(), ordinary.world.key());
    let text = std::fs::read(&key).unwrap();
    let check = |path: &Path| {
        let output = ordinary.run(&format!("key check --json --key-file '{}'", path.display()));
        let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
        (output.status.code().unwrap(), said["code"].as_str().unwrap_or_default().to_owned())
    };
    let place = |name: &str, mode: u32, folder: u32, owner: Option<u32>| -> PathBuf {
        let folder_path = home.join(format!("folder-of-{name}"));
        std::fs::create_dir(&folder_path).unwrap();
        let path = folder_path.join("skillsctl.key");
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        std::fs::set_permissions(&folder_path, Permissions::from_mode(folder)).unwrap();
        for path in [&path, &folder_path] {
            chown(path, owner.or(Some(ordinary.user)), Some(ordinary.user)).unwrap();
        }
        path
    };
    for (name, mode, folder, fits) in [
        ("private", 0o600, 0o700, true),
        ("read-only", 0o400, 0o755, true),
        ("group", 0o640, 0o700, false),
        ("all", 0o644, 0o700, false),
        ("written", 0o602, 0o700, false),
        ("open-folder", 0o600, 0o777, false),
        ("group-folder", 0o600, 0o775, false),
        ("sticky-folder", 0o600, 0o1777, true),
    ] {
        let expected = if fits { (0, String::new()) } else { (8, "key_file_unsafe".to_owned()) };
        assert_eq!(check(&place(name, mode, folder, None)), expected, "{name}");
    }
    if ordinary.user == NOBODY {
        // It can be read, and is another's all the same.
        let another = place("root", 0o644, 0o755, Some(0));
        let said = ordinary.run(&format!("key check --key-file '{}'", another.display()));
        assert!(String::from_utf8_lossy(&said.stderr).contains("belongs to user 0"), "{said:?}");
        assert_eq!(check(&place("closed", 0o600, 0o755, Some(0))), (8, "key_file_unreadable".to_owned()));
    }
    symlink(&key, home.join("link.key")).unwrap();
    assert!(Command::new("mkfifo").arg(home.join("fifo.key")).status().unwrap().success());
    ordinary.give(&home.join("fifo.key"));
    for name in ["link.key", "fifo.key", "folder-of-private"] {
        assert_eq!(check(&home.join(name)), (8, "key_file_unsafe".to_owned()), "{name}");
    }
}

#[test]
fn no_program_that_is_started_sees_what_tells_of_a_key() {
    let mut world = world();
    world.create("acme", "aptem");
    let key = std::fs::read_to_string(world.key()).unwrap();
    let variables = [
        "SKILLSCTL_KEY",
        "SKILLSCTL_KEY_PREVIOUS",
        "SKILLSCTL_KEY_FILE",
        "SKILLSCTL_KEY_FILE_PREVIOUS",
        "SKILLSCTL_KEY_COMMAND",
        "SKILLSCTL_KEY_COMMAND_PREVIOUS",
    ];
    variables.iter().for_each(|name| world.set(name, SENTINEL));
    let program = |name: &str, script: &str| {
        let path = world.file(name, &format!("#!/bin/sh\nenv > '{}/{name}.seen'\n{script}\n", world.home().display()));
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    };
    let [editor, printer, credential] =
        [("editor", ""), ("printer", &format!("echo '{}'", key.trim())), ("credential", "echo a-real-looking-value")]
            .map(|(name, script)| program(name, script));
    let mut edit = world.command("preset edit aptem");
    assert!(edit.env("SKILLSCTL_EDITOR", &editor).output().unwrap().status.success());
    world
        .run(&format!("credential set acme aptem api_key --key-command '{printer}' --from-command '{credential}'"))
        .succeeds();
    for name in ["editor", "printer", "credential"] {
        let seen = std::fs::read_to_string(world.home().join(format!("{name}.seen"))).unwrap();
        assert!(
            seen.contains("PATH=") && !seen.contains("SKILLSCTL_KEY") && !seen.contains(SENTINEL),
            "{name}: {seen}"
        );
    }
}
