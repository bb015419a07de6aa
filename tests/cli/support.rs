//! Runs the binary in a world of its own: an empty environment, a home that is a temporary folder, a clock that stands.
//!
//! ```ignore
//! let world = world();                                   // `init` has run
//! world.run("org show acme --json").fails(5);
//! let org = world.json("org show acme");                 // must end well
//! ```

#![allow(clippy::allow_attributes, dead_code, reason = "each file of tests uses some of it")]

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What the clock shows unless a test moves it.
pub const NOW: &str = "2026-11-30T09:00:00Z";

/// Somebody without rights. Root may do everything, so a test of rights drops to this user.
pub const NOBODY: u32 = 65_534;

/// One machine: its home, its database and its key.
pub struct World {
    home: TempDir,
    now: String,
    variables: Vec<(String, String)>,
}

/// Returns a machine on which `init` has run.
pub fn world() -> World {
    let world = World::empty();
    world.run("init").succeeds();
    world
}

impl World {
    /// Returns a machine on which nothing has run yet.
    pub fn empty() -> World {
        World { home: tempfile::tempdir().unwrap(), now: NOW.to_owned(), variables: Vec::new() }
    }

    /// Returns another machine that holds the same files.
    pub fn copy(&self) -> World {
        let copy = World { now: self.now.clone(), variables: self.variables.clone(), ..World::empty() };
        for entry in std::fs::read_dir(self.home()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, copy.home().join(path.file_name().unwrap())).unwrap();
            }
        }
        copy
    }

    /// Moves the clock.
    pub fn at(&mut self, now: &str) {
        self.now = now.to_owned();
    }

    /// Sets an environment variable for all that is run from here on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the variables that are set, to be put back with [`World::set_back`].
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    pub fn set_back(&mut self, variables: Vec<(String, String)>) {
        self.variables = variables;
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn db(&self) -> PathBuf {
        self.home().join("skills.db")
    }

    pub fn key(&self) -> PathBuf {
        self.home().join("skillsctl.key")
    }

    /// Writes a file below the home, where commands run, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Returns the binary, about to run with nothing in its environment but what this world sets.
    pub fn command(&self, line: &str) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_skillsctl"));
        command.args(shlex::split(line).expect("a line that a shell would take"));
        command
    }

    /// Returns another program, about to run where and with what the binary would.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .env("TMPDIR", self.home())
            .env("SKILLSCTL_TEST_USER", "admin")
            .env("SKILLSCTL_DB", self.db())
            .env("SKILLSCTL_KEY_FILE", self.key())
            .env("SKILLSCTL_TEST_NOW", &self.now)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home());
        command
    }

    /// Runs a line as somebody without rights, who must be able to enter the home, and returns exit code, stdout and stderr;
    /// or nothing where only root could do so.
    pub fn as_nobody(&self, line: &str) -> Option<(i32, String, String)> {
        if !rustix::process::geteuid().is_root() {
            skipped("only root can run programs as other users");
            return None;
        }
        // Where it was built, others may not look.
        let program = self.home().join("skillsctl-for-all");
        if !program.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_skillsctl"), &program).unwrap();
        }
        let mut command = self.program(&program);
        command.args(shlex::split(line).unwrap()).uid(NOBODY).gid(NOBODY).stdin(Stdio::null());
        let output = command.output().expect("the home can be entered by all");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
    }

    /// Runs a line, written as in a shell without `skillsctl`, with nothing on stdin.
    #[must_use]
    pub fn run(&self, line: &str) -> Ended {
        self.run_with_input(line, "")
    }

    /// Runs a line with this on stdin.
    #[must_use]
    pub fn run_with_input(&self, line: &str, input: &str) -> Ended {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read what it was given is no failure.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| {
            let home = self.home().canonicalize().unwrap();
            let text = String::from_utf8(bytes).expect("what is printed is UTF-8");
            text.replace(home.to_str().unwrap(), "[HOME]").replace(self.home().to_str().unwrap(), "[HOME]")
        };
        Ended {
            line: line.to_owned(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            exit: output.status.code().unwrap_or(-1),
        }
    }

    /// Runs a line that must end well with `--json` and returns the document it prints.
    pub fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).succeeds().json()
    }

    /// Runs lines that must end well, one after the other.
    pub fn all(&self, lines: &[&str]) {
        for line in lines {
            self.run(line).succeeds();
        }
    }

    /// Creates an organization named like its slug.
    pub fn create(&self, slug: &str, preset: &str) {
        self.run(&format!("org create --name 'Org {slug}' --subdomain {slug} --preset {preset}")).succeeds();
    }

    /// Returns the document of a preset's newest defaults with one text in it replaced.
    pub fn changed_preset(&self, preset: &str, old: &str, new: &str) -> String {
        let document = self.run(&format!("preset export {preset}")).succeeds().stdout;
        assert!(document.contains(old), "no `{old}` in\n{document}");
        document.replacen(old, new, 1)
    }

    /// Runs a line that must fail with this exit code and leave the database as it is.
    pub fn refused(&self, line: &str, exit: i32) -> Ended {
        let before = self.database();
        let ended = self.run(line).fails(exit);
        assert_eq!(ended.stdout, "", "skillsctl {line}: a failure has no data");
        assert!(self.database() == before, "skillsctl {line}: failed, but wrote");
        ended
    }

    /// Returns the files of the machine that hold these bytes.
    pub fn holding(&self, bytes: &[u8]) -> Vec<PathBuf> {
        let mut files = below(self.home());
        files.retain(|file| file.is_file() && std::fs::read(file).unwrap().windows(bytes.len()).any(|it| it == bytes));
        files
    }

    /// Returns what the database holds, as far as it can be told from outside: to prove that nothing was written.
    pub fn database(&self) -> Vec<Vec<u8>> {
        let beside = |suffix: &str| self.home().join(format!("skills.db{suffix}"));
        ["", "-wal"].iter().map(|suffix| std::fs::read(beside(suffix)).unwrap_or_default()).collect()
    }
}

/// Says that a test, or a part of it, cannot be made here: it must not look like one that has passed.
#[expect(clippy::print_stderr, reason = "there is nothing else to say it with")]
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Changes who may read, write and enter.
pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns every file and folder below one.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    for folder in found.clone().iter().filter(|path| path.is_dir()) {
        found.extend(below(folder));
    }
    found
}

/// How a command ended.
pub struct Ended {
    line: String,
    pub stdout: String,
    pub stderr: String,
    pub exit: i32,
}

impl Ended {
    /// Fails the test unless the command ended well.
    pub fn succeeds(self) -> Ended {
        self.fails(0)
    }

    /// Fails the test unless the command ended with this code.
    pub fn fails(self, exit: i32) -> Ended {
        assert_eq!(self.exit, exit, "skillsctl {}\n{self}", self.line);
        self
    }

    /// Fails the test unless stderr holds each of these.
    pub fn says(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.stderr.contains(part), "skillsctl {}: nothing said of `{part}`\n{self}", self.line);
        }
        self
    }

    /// Fails the test unless stdout holds each of these.
    pub fn prints(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.stdout.contains(part), "skillsctl {}: no `{part}` printed\n{self}", self.line);
        }
        self
    }

    /// Returns the document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("skillsctl {}: {error}\n{self}", self.line))
    }

    /// Returns the error document, the last line of stderr.
    pub fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("skillsctl {}: {error}\n{self}", self.line))
    }
}

/// All of it in one text, for an inline snapshot.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr\n{}", self.stderr)?;
        }
        if self.exit != 0 {
            write!(f, "[exit {}]", self.exit)?;
        }
        Ok(())
    }
}
