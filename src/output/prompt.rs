//! Questions to a person, on stderr. Whoever asks names the flag that answers instead, so a script never waits.
//!
//! Going back and leaving are answers too: Esc goes back from a choice, `<` from a text, Enter alone from a hidden
//! one; Ctrl-C leaves. Each prompt says its own way back.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, Result};
use console::Term;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Confirm, Input, Select};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Output;
use super::show::show;
use crate::error::{Exit, UserError};

/// The word that goes back from a text prompt.
const BACK: &str = "<";

/// The byte of Ctrl-C.
const CTRL_C: u8 = 3;

/// The longest line a terminal hands over whole, its end included; the rest of a longer one is lost without a word.
const LONGEST_LINE: usize = 4096;

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// The answer.
    Given(T),
    /// Back to the question before.
    Back,
    /// Leave it all.
    Cancel,
}

impl<T> Answer<T> {
    /// Returns the answer, `None` for going back, and for leaving the error that ends the run as interrupted.
    pub(crate) fn given(self) -> Result<Option<T>, UserError> {
        match self {
            Answer::Given(answer) => Ok(Some(answer)),
            Answer::Back => Ok(None),
            Answer::Cancel => Err(UserError::new(Exit::Interrupted, "interrupted", "interrupted at a question")),
        }
    }

    fn map<U>(self, into: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Given(answer) => Answer::Given(into(answer)),
            Answer::Back => Answer::Back,
            Answer::Cancel => Answer::Cancel,
        }
    }
}

/// Asks. Comes from `Output::ask`, which has made sure that somebody is there.
pub(crate) struct Prompter<'a> {
    pub(super) output: &'a Output,
}

impl Prompter<'_> {
    /// Asks for a line of text until it is valid; Enter alone takes the default.
    pub(crate) fn text<E: Display>(
        &self,
        label: &str,
        default: Option<&str>,
        validate: impl Fn(&str) -> Result<(), E>,
    ) -> Result<Answer<String>> {
        let check = |text: &str| match text.trim() {
            BACK => Ok(()),
            text => validate(text).map_err(|error| show(&error.to_string()).into_owned()),
        };
        #[cfg(test)]
        if let Some(script) = &self.output.script {
            let (answer, default) = (script.next(label), default.unwrap_or_default());
            let answer =
                if answer == Answer::Given(String::new()) { Answer::Given(default.to_string()) } else { answer };
            if let Answer::Given(text) = &answer {
                check(text).map_err(anyhow::Error::msg)?;
            }
            return Ok(answer);
        }
        let theme = ColorfulTheme::default();
        let mut input = Input::<String>::with_theme(&theme)
            .with_prompt(format!("{} ({BACK} goes back)", show(label)))
            .validate_with(|text: &String| check(text));
        // What could not be shown as it is cannot be offered.
        if let Some(default) = default.filter(|default| show(default) == *default) {
            input = input.default(default.to_string()).show_default(!default.is_empty());
        }
        let answer = answered(self.alone(|| input.interact_text_on(&terminal())).map(Some))?;
        Ok(match answer {
            Answer::Given(text) if text.trim() == BACK => Answer::Back,
            Answer::Given(text) => Answer::Given(text.trim().to_string()),
            other => other,
        })
    }

    /// Asks to choose one of several, and returns which; the default is where the cursor begins.
    pub(crate) fn select<S: AsRef<str>>(&self, label: &str, items: &[S], default: usize) -> Result<Answer<usize>> {
        #[cfg(test)]
        if let Some(script) = &self.output.script {
            return Ok(match script.next(label) {
                Answer::Given(text) if text.is_empty() => Answer::Given(default),
                Answer::Given(text) => Answer::Given(
                    items.iter().position(|item| item.as_ref() == text).context("no such item to choose")?,
                ),
                Answer::Back => Answer::Back,
                Answer::Cancel => Answer::Cancel,
            });
        }
        let terminal = terminal();
        let room = usize::from(terminal.size().1).saturating_sub(4);
        let items: Vec<String> =
            items.iter().map(|item| console::truncate_str(&show(item.as_ref()), room, "…").into_owned()).collect();
        let theme = ColorfulTheme::default();
        let select = Select::with_theme(&theme)
            .with_prompt(format!("{} (Esc goes back)", show(label)))
            .items(&items)
            .default(default.min(items.len().saturating_sub(1)))
            .report(true);
        answered(self.alone(|| select.interact_on_opt(&terminal)))
    }

    /// Asks yes or no. There is no default: Enter alone answers nothing.
    pub(crate) fn confirm(&self, label: &str) -> Result<Answer<bool>> {
        #[cfg(test)]
        if let Some(script) = &self.output.script {
            return Ok(script.next(label).map(|text| text == "y"));
        }
        let theme = ColorfulTheme::default();
        let confirm = Confirm::with_theme(&theme).with_prompt(show(label));
        answered(self.alone(|| confirm.interact_on_opt(&terminal())))
    }

    /// Asks to type a name in full, and returns whether it was this one.
    pub(crate) fn typed_confirm(&self, slug: &str) -> Result<Answer<bool>> {
        let typed = self.text(&format!("Type `{slug}` to confirm"), None, |_| Ok::<(), String>(()))?;
        Ok(typed.map(|text| text == slug))
    }

    /// Asks for a secret without showing what is typed.
    pub(crate) fn secret(&self, label: &str) -> Result<Answer<Zeroizing<String>>> {
        #[cfg(test)]
        if let Some(script) = &self.output.script {
            return Ok(script.next(label).map(Zeroizing::new));
        }
        self.alone(|| {
            write!(io::stderr(), "{} (hidden; Enter alone goes back): ", show(label))?;
            let answer = read_hidden();
            writeln!(io::stderr())?;
            answer
        })
    }

    /// Runs a question while no progress line is in its way.
    fn alone<R>(&self, question: impl FnOnce() -> R) -> R {
        self.output.progress.suspend(question)
    }
}

/// Returns what came of a prompt; a signal, and the end of the terminal, leave.
fn answered<T>(result: dialoguer::Result<Option<T>>) -> Result<Answer<T>> {
    match result {
        Ok(Some(answer)) => Ok(Answer::Given(answer)),
        Ok(None) => Ok(Answer::Back),
        Err(dialoguer::Error::IO(error))
            if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::UnexpectedEof) =>
        {
            writeln!(io::stderr())?;
            Ok(Answer::Cancel)
        }
        Err(dialoguer::Error::IO(error)) => Err(error).context("asking on the terminal"),
    }
}

/// Reads a line from the terminal without showing it. The terminal still edits it (backspace, Ctrl-U), but Ctrl-C
/// ends the line instead of the process, which would leave the terminal mute.
fn read_hidden() -> Result<Answer<Zeroizing<String>>> {
    let _mute = Mute::begin().context("hiding what is typed")?;
    let mut line = Zeroizing::new(vec![0; LONGEST_LINE]);
    let mut length = 0;
    loop {
        let read = match rustix::io::read(io::stdin(), &mut line[length..]) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Answer::Cancel),
            Ok(read) => read,
            Err(error) => return Err(error).context("reading from the terminal"),
        };
        length += read;
        match line[length - 1] {
            CTRL_C => return Ok(Answer::Cancel),
            b'\n' if length >= LONGEST_LINE => return Err(too_long().into()),
            b'\n' => break,
            _ if length >= LONGEST_LINE => return Err(too_long().into()),
            _ => {}
        }
    }
    let text = std::str::from_utf8(&line[..length - 1])
        .map_err(|_| UserError::new(Exit::Usage, "secret_not_text", "what was typed is not UTF-8 text"))?;
    Ok(if text.is_empty() { Answer::Back } else { Answer::Given(Zeroizing::new(text.to_string())) })
}

fn too_long() -> UserError {
    UserError::new(Exit::Usage, "secret_too_long", "a terminal takes no more than 4095 characters on a line")
        .hint("give it with `--from-file` or `--from-stdin`")
}

/// A terminal that shows nothing and sends no signals, until dropped.
struct Mute(Termios);

impl Mute {
    fn begin() -> rustix::io::Result<Mute> {
        let before = tcgetattr(io::stdin())?;
        let mut mute = before.clone();
        mute.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        mute.local_modes.insert(LocalModes::ICANON);
        mute.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(io::stdin(), OptionalActions::Flush, &mute)?;
        Ok(Mute(before))
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        // Flushed, so that further lines of a pasted secret do not end up in the next prompt or the shell.
        tcsetattr(io::stdin(), OptionalActions::Flush, &self.0).ok();
    }
}

/// Returns stderr as the terminal of a prompt.
fn terminal() -> Term {
    Term::read_write_pair(io::stdin(), CursorStays)
}

/// Stderr with the cursor always visible: a prompt ended by a signal could not show it again.
#[derive(Debug)]
struct CursorStays;

impl Write for CursorStays {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes == b"\x1b[?25l" { Ok(bytes.len()) } else { io::stderr().write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl AsRawFd for CursorStays {
    fn as_raw_fd(&self) -> RawFd {
        io::stderr().as_raw_fd()
    }
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "the tests that ask say what they were answered")]
mod tests {
    use std::process::Command;

    use rexpect::session::{PtySession, spawn_command};

    use super::super::{Output, OutputOptions};
    use super::*;

    /// Runs one of the `asks_` tests below on a terminal of its own.
    fn on_terminal(test: &str) -> PtySession {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", &format!("output::prompt::tests::{test}")]);
        command.env("NO_COLOR", "1").env("TERM", "xterm");
        spawn_command(command, Some(10_000)).unwrap()
    }

    fn output() -> Output {
        Output::new(OutputOptions::at("2026-11-30T09:00:00Z".parse().unwrap()))
    }

    fn valid(text: &str) -> Result<(), String> {
        if text.len() > 3 { Ok(()) } else { Err("too short".into()) }
    }

    #[test]
    #[ignore = "asks on the terminal that the tests below make for it"]
    fn asks_for_a_text() {
        let output = output();
        let Ok(ask) = output.ask("--name") else { return };
        let answer = ask.text("Name", None, valid).unwrap();
        eprintln!("<{answer:?}>");
    }

    #[test]
    #[ignore = "asks on the terminal that the tests below make for it"]
    fn asks_for_a_choice() {
        let output = output();
        let Ok(ask) = output.ask("--preset") else { return };
        let answer = ask.select("Preset", &["aptem", "hubspot"], 0).unwrap();
        eprintln!("<{answer:?}>");
    }

    #[test]
    #[ignore = "asks on the terminal that the tests below make for it"]
    fn asks_for_consent() {
        let output = output();
        let Ok(ask) = output.ask("--yes") else { return };
        let answer = ask.confirm("Delete `acme`?").unwrap();
        eprintln!("<{answer:?}>");
    }

    #[test]
    #[ignore = "asks on the terminal that the tests below make for it"]
    fn asks_for_a_secret() {
        let output = output();
        let Ok(ask) = output.ask("--from-stdin") else { return };
        // The terminal of a test begins without echo, which would hide a secret that is not hidden.
        let mut before = tcgetattr(io::stdin()).unwrap();
        before.local_modes.insert(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &before).unwrap();
        let answer = ask.secret("API key").unwrap();
        let after = tcgetattr(io::stdin()).unwrap();
        eprintln!("<{:?}> as before: {}", answer.map(|secret| secret.len()), before.local_modes == after.local_modes);
    }

    #[test]
    fn a_text_is_asked_for_until_it_is_valid() {
        let mut terminal = on_terminal("asks_for_a_text");
        terminal.exp_string("Name (< goes back)").unwrap();
        terminal.send_line("ac").unwrap();
        terminal.exp_string("too short").unwrap();
        terminal.send_line(" acme ").unwrap();
        terminal.exp_string("<Given(\"acme\")>").unwrap();
    }

    #[test]
    fn the_sign_alone_goes_back_from_a_text() {
        let mut terminal = on_terminal("asks_for_a_text");
        terminal.exp_string("Name").unwrap();
        terminal.send_line("<").unwrap();
        terminal.exp_string("<Back>").unwrap();
    }

    #[test]
    fn a_choice_is_made_with_arrows_and_left_with_escape() {
        let mut terminal = on_terminal("asks_for_a_choice");
        terminal.exp_string("hubspot").unwrap();
        terminal.send("\x1b[B").unwrap();
        terminal.flush().unwrap();
        terminal.exp_string("hubspot").unwrap();
        terminal.send_line("").unwrap();
        let between = terminal.exp_string("<Given(1)>").unwrap();
        assert!(!between.contains("\x1b[?25l"), "the cursor was hidden: {between:?}");

        let mut terminal = on_terminal("asks_for_a_choice");
        terminal.exp_string("hubspot").unwrap();
        terminal.send("\x1b").unwrap();
        terminal.flush().unwrap();
        terminal.exp_string("<Back>").unwrap();
    }

    #[test]
    fn enter_alone_is_no_consent() {
        let mut terminal = on_terminal("asks_for_consent");
        terminal.exp_string("Delete `acme`?").unwrap();
        terminal.send_line("").unwrap();
        terminal.send("n").unwrap();
        terminal.flush().unwrap();
        terminal.exp_string("<Given(false)>").unwrap();
    }

    #[test]
    fn a_secret_is_not_shown_and_the_terminal_speaks_again_after_it() {
        let mut terminal = on_terminal("asks_for_a_secret");
        terminal.exp_string("goes back): ").unwrap();
        terminal.send_line("s3cr3t-w0rd").unwrap();
        let between = terminal.exp_string("<Given(11)> as before: true").unwrap();
        assert!(!between.contains("s3cr3t"), "{between}");
    }

    #[test]
    fn leaving_a_hidden_prompt_leaves_the_terminal_as_it_was() {
        let mut terminal = on_terminal("asks_for_a_secret");
        terminal.exp_string("goes back): ").unwrap();
        terminal.send("half a sec\x03").unwrap();
        terminal.flush().unwrap();
        terminal.exp_string("<Cancel> as before: true").unwrap();

        let mut terminal = on_terminal("asks_for_a_secret");
        terminal.exp_string("goes back): ").unwrap();
        terminal.send_line("").unwrap();
        terminal.exp_string("<Back> as before: true").unwrap();
    }

    #[test]
    fn leaving_ends_the_run_as_interrupted() {
        let error = Answer::<()>::Cancel.given().unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Interrupted, "interrupted"));
        assert_eq!(Answer::Given(1).given().unwrap(), Some(1));
        assert_eq!(Answer::<u8>::Back.given().unwrap(), None);
    }
}
