//! A command that prints a secret, like `pass show skillsctl` or `vault kv get -field=key secret/skillsctl`.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::Environment;
use super::key_file::LONGEST;
use crate::error::{Exit, UserError};
use crate::secrets::Secret;

/// How long a command may take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);
const TOO_SLOW: &str = "did not end in time and was stopped";
/// A credential may be a private key in PEM, or a long token; more than this is something else.
const LONGEST_CREDENTIAL: usize = 64 << 10;

/// What the command is to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    MasterKey,
    Credential,
}

impl Printed {
    fn longest(self) -> usize {
        match self {
            Printed::MasterKey => LONGEST,
            Printed::Credential => LONGEST_CREDENTIAL,
        }
    }

    fn invalid(self, why: &str) -> UserError {
        let (command, example) = match self {
            Printed::MasterKey => ("key command", "--key-command 'pass show skillsctl'"),
            Printed::Credential => ("command", "--from-command 'pass show aptem'"),
        };
        UserError::new(Exit::Usage, "key_command_invalid", format!("the {command} {why}"))
            .hint(format!("give it like a shell command: {example}"))
    }

    fn failed(self, program: &str, why: &str) -> UserError {
        let (exit, code, command, flag) = match self {
            Printed::MasterKey => (Exit::Key, "key_command_failed", "key command", "--key-command"),
            Printed::Credential => (Exit::Invalid, "secret_command_failed", "command", "--from-command"),
        };
        UserError::new(exit, code, format!("the {command} `{program}` {why}")).hint(format!(
            "it runs without a shell and sees only PATH, HOME and LANG of the environment; others go before it: \
             {flag} 'env NAME=value program'"
        ))
    }
}

/// All that the command sees of our environment, in which there may be secrets.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Returns the words of a command line, with the quoting of a shell and nothing else of it.
pub(crate) fn split(printed: Printed, command: &str) -> Result<Vec<String>, UserError> {
    shlex::split(command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| printed.invalid("is empty or has an open quote"))
}

/// Runs the command without a shell and returns what it prints, within the time.
pub(crate) fn run(
    printed: Printed,
    words: &[String],
    environment: &Environment,
    time_limit: Duration,
) -> Result<Secret, UserError> {
    let [program, arguments @ ..] = words else { return Err(printed.invalid("is empty")) };
    let failed = |program: &str, why: &str| printed.failed(program, why);
    let deadline = Instant::now() + time_limit;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, environment.raw(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what the command started can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(program, &format!("cannot be started: {error}")))?;
    let output = read_in_background(child.stdout.take(), printed.longest());
    let complaint = read_in_background(child.stderr.take(), LONGEST);
    let stopped = |mut child: Child, why: &str| {
        end(&mut child);
        failed(program, why)
    };

    let left = deadline.saturating_duration_since(Instant::now());
    let mut output = match output.recv_timeout(left) {
        Ok(Ok(output)) if output.len() <= printed.longest() => output,
        Ok(Ok(_)) => return Err(stopped(child, "printed more than any secret has")),
        Ok(Err(error)) => return Err(stopped(child, &format!("cannot be read: {error}"))),
        Err(_) => return Err(stopped(child, TOO_SLOW)),
    };
    let Some(status) = await_exit(&mut child, deadline) else { return Err(stopped(child, TOO_SLOW)) };
    if !status.success() {
        // What it left running may hold stderr open for long.
        let complaint = complaint.recv_timeout(Duration::from_millis(200)).ok().and_then(Result::ok);
        let line = complaint.as_deref().and_then(|complaint| first_line(complaint)).map(|line| format!(": {line}"));
        return Err(failed(program, &format!("failed ({status}){}", line.unwrap_or_default())));
    }
    Secret::try_from(std::mem::take(&mut *output)).map_err(|_| failed(program, "printed what is not text"))
}

/// Sends the first `longest` bytes and one more, then reads on without keeping any, so that the writer is not held up.
fn read_in_background(
    pipe: Option<impl Read + Send + 'static>,
    longest: usize,
) -> Receiver<io::Result<Zeroizing<Vec<u8>>>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Zeroizing::new(Vec::with_capacity(longest + 1));
        let result = pipe.by_ref().take(longest as u64 + 1).read_to_end(&mut bytes);
        // Nobody listens any more once the time is over, and then nothing is left to do.
        if sender.send(result.map(|_| bytes)).is_ok() {
            io::copy(&mut pipe, &mut io::sink()).ok();
        }
    });
    receiver
}

/// Returns how the command ended, or nothing where it does not in time (or can no longer be asked).
fn await_exit(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// Ends the command and all that it started. It must not have been waited for: only then its group's id is its own.
fn end(child: &mut Child) {
    // Where all have ended already there is nobody left to tell, which is as good.
    kill_process_group(Pid::from_child(child), Signal::KILL).ok();
    child.wait().ok();
}

/// Returns the first line that says something, safe for a terminal and not too long.
fn first_line(complaint: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(complaint);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(200).map(shown).collect())
}

fn shown(character: char) -> String {
    let turns_text_round =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || turns_text_round {
        character.escape_unicode().to_string()
    } else {
        character.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<Secret, UserError> {
        let environment = Environment::of_map(&[
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/home/ann"),
            ("LANG", "C"),
            ("SKILLSCTL_KEY", "sentinel"),
            ("VAULT_TOKEN", "sentinel"),
        ]);
        run(Printed::MasterKey, &["sh", "-c", script].map(str::to_owned), &environment, Duration::from_secs(5))
    }

    #[test]
    fn a_command_is_split_like_a_shell_would_and_run_without_one() {
        assert_eq!(split(Printed::MasterKey, "pass show 'my key'").unwrap(), ["pass", "show", "my key"]);
        assert_eq!(split(Printed::MasterKey, "echo $HOME | cat").unwrap(), ["echo", "$HOME", "|", "cat"]);
        for command in ["", "  ", "pass 'open"] {
            let error = split(Printed::MasterKey, command).unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::Usage, "key_command_invalid"));
        }
    }

    #[test]
    fn what_the_command_prints_is_the_key_text() {
        assert_eq!(sh("echo key; echo noise >&2").unwrap().expose(), "key\n");
    }

    #[test]
    fn the_command_sees_only_path_home_and_language() {
        let seen = run(
            Printed::MasterKey,
            &["env".to_owned()],
            &Environment::of_map(&[
                ("PATH", "/usr/bin:/bin"),
                ("HOME", "/home/ann"),
                ("LANG", "C"),
                ("SKILLSCTL_KEY", "sentinel"),
            ]),
            Duration::from_secs(5),
        )
        .unwrap();
        let mut seen: Vec<_> = seen.expose().lines().collect();
        seen.sort_unstable();
        assert_eq!(seen, ["HOME=/home/ann", "LANG=C", "PATH=/usr/bin:/bin"]);
    }

    #[test]
    fn a_failing_command_is_told_with_its_first_line_made_safe() {
        let error =
            sh(r"echo out-sentinel; printf '\n\033[2Jno such \342\200\256entry\nsecond\n' >&2; exit 3").unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Key, "key_command_failed"));
        assert_eq!(error.message, r"the key command `sh` failed (exit status: 3): \u{1b}[2Jno such \u{202e}entry");
        let error =
            run(Printed::MasterKey, &["/nowhere/pass".to_owned()], &Environment::of_map(&[]), TIME_LIMIT).unwrap_err();
        assert!(error.message.starts_with("the key command `/nowhere/pass` cannot be started: No such file"));
    }

    #[test]
    fn a_slow_command_is_stopped_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        // The grandchild holds the pipe, and would leave a mark if it lived on: its parent is there still, then gone.
        for parent in ["& sleep 60", "& exit 0"] {
            let script = format!("(sleep 1; touch {}) {parent}", mark.display());
            let words = ["sh", "-c", &script].map(str::to_owned);
            let start = Instant::now();
            let path = Environment::of_map(&[("PATH", "/usr/bin:/bin")]);
            let error = run(Printed::MasterKey, &words, &path, Duration::from_millis(300)).unwrap_err();
            assert!(error.message.ends_with(TOO_SLOW));
            assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        }
        thread::sleep(Duration::from_millis(1200));
        assert!(!mark.exists());
    }

    #[test]
    fn a_command_that_closes_its_output_and_stays_is_stopped_too() {
        let words = ["sh", "-c", "exec >&- 2>&-; sleep 60"].map(str::to_owned);
        let path = Environment::of_map(&[("PATH", "/usr/bin:/bin")]);
        let error = run(Printed::MasterKey, &words, &path, Duration::from_millis(200)).unwrap_err();
        assert!(error.message.ends_with(TOO_SLOW));
    }

    #[test]
    fn too_much_output_and_binary_output_are_refused() {
        assert_eq!(sh("head -c 4096 /dev/zero | tr '\\0' x").unwrap().expose().len(), 4096);
        let error = sh("yes sentinel").unwrap_err();
        assert!(
            error.message.ends_with("printed more than any secret has") && !format!("{error:?}").contains("sentinel")
        );
        assert!(sh(r"printf '\377'").unwrap_err().message.ends_with("printed what is not text"));
    }

    #[test]
    fn a_credential_may_be_longer_and_its_command_is_not_called_a_key_command() {
        let environment = Environment::of_map(&[("PATH", "/usr/bin:/bin")]);
        let printed = |script: &str| {
            run(Printed::Credential, &["sh", "-c", script].map(str::to_owned), &environment, Duration::from_secs(5))
        };
        assert_eq!(printed("head -c 65536 /dev/zero | tr '\\0' x").unwrap().expose().len(), 65_536);
        let error = printed("exit 3").unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Invalid, "secret_command_failed"));
        assert_eq!(error.message, "the command `sh` failed (exit status: 3)");
        assert!(error.hint.unwrap().contains("--from-command"));
    }

    #[test]
    fn much_noise_on_stderr_does_not_hold_the_command_up() {
        assert_eq!(sh("head -c 1000000 /dev/zero >&2; echo key").unwrap().expose(), "key\n");
    }
}
