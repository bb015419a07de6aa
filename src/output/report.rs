//! What a failed run says, on stderr, and the exit code it ends with.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Error;
use clap::error::ErrorKind;
use serde::Serialize;

use super::ClosedOutput;
use super::show::{Ink, paint};
use crate::error::{Exit, UserError, run_at_hand};

/// An error as programs read it.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    kind: &'static str,
    v: u8,
    code: &'a str,
    exit: u8,
    message: &'a str,
    hint: Option<&'a str>,
}

/// Prints why a run failed as the last thing on stderr, and returns its exit code.
///
/// A [`UserError`] is found wherever it stands in the chain; anything else is a fault of the program. Whoever closed
/// stdout has seen enough: that ends quietly and well.
pub(crate) fn report(error: &Error, json: bool) -> ExitCode {
    if error.is::<ClosedOutput>() {
        return ExitCode::SUCCESS;
    }
    print(&rendered(error, json, console::colors_enabled_stderr()));
    ExitCode::from(verdict(error).1 as u8)
}

/// Says of a panic where it happened and in which run, and never what it was about: that may hold a secret.
pub(crate) fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or("an unknown place".to_owned(), ToString::to_string);
        let run = run_at_hand().map_or(String::new(), |run| format!(", in run {run}"));
        print(&format!("fault at {place}{run}\n"));
    }));
}

/// Returns the error of a program that panicked; the hook has said where.
pub(crate) fn fault() -> Error {
    UserError::new(Exit::Fault, "fault", "this is a fault of skillsctl, and not of what it was given")
        .hint("please report it with the place told above; what was under way was rolled back, and can be run again")
        .into()
}

/// Prints what clap has to say about the command line: help and version on stdout, a mistake on stderr.
pub(crate) fn report_usage(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        // Help that nobody reads to the end is no failure.
        let styled = error.render();
        let text = if console::colors_enabled() { styled.ansi().to_string() } else { styled.to_string() };
        std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()).ok();
        return ExitCode::SUCCESS;
    }
    let colors = console::colors_enabled_stderr();
    if json {
        let (message, hint) = usage(error);
        print(&document("usage", Exit::Usage, &message, hint.as_deref()));
    } else if std::env::args_os().any(|word| word.as_encoded_bytes().contains(&b'\n')) {
        // A line of a word that is repeated could pass for one of ours.
        let (message, hint) = usage(error);
        print(&paint(&words(&Error::msg(message), hint.as_deref()), colors));
    } else {
        let styled = error.render();
        print(&coloured(&if colors { styled.ansi().to_string() } else { styled.to_string() }));
    }
    ExitCode::from(Exit::Usage as u8)
}

/// Returns what clap has drawn with nothing but its colours left to act on a terminal: it repeats words as they were typed.
fn coloured(ansi: &str) -> String {
    let is_colour = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
    let mut parts = ansi.split("\x1b[");
    let mut text = paint(parts.next().unwrap_or_default(), false);
    for part in parts {
        match part.split_once('m') {
            Some((colour, rest)) if is_colour(colour) => text += &format!("\x1b[{colour}m{}", paint(rest, false)),
            _ => text += &paint(&format!("\x1b[{part}"), false),
        }
    }
    text
}

/// Returns the report: JSON is left as it is, the words for a person are made safe.
fn rendered(error: &Error, json: bool, colors: bool) -> String {
    let (code, exit, hint) = verdict(error);
    if json { document(code, exit, &chain(error), hint) } else { paint(&words(error, hint), colors) }
}

/// Returns the error a user can put right, wherever in the chain it stands.
pub(crate) fn user_error(error: &Error) -> Option<&UserError> {
    error.downcast_ref().or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
}

fn verdict(error: &Error) -> (&'static str, Exit, Option<&str>) {
    match user_error(error) {
        Some(user) => (user.code, user.exit, user.hint.as_deref()),
        None => ("internal", Exit::Fault, None),
    }
}

/// Returns the error and its causes, each that adds something to the one before it.
fn parts(error: &Error) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if !parts.iter().any(|part| part.contains(&cause)) {
            parts.push(cause);
        }
    }
    parts
}

/// Returns the whole chain as one message.
fn chain(error: &Error) -> String {
    parts(error).join(": ")
}

/// Returns the report for a person.
fn words(error: &Error, hint: Option<&str>) -> String {
    let mut text = String::new();
    for (index, part) in parts(error).iter().enumerate() {
        let label = if index == 0 { Ink::Red.on("error:") } else { "  because:".to_string() };
        text += &format!("{label} {}\n", continued(part));
    }
    if let Some(hint) = hint {
        text += &format!("  {} {}\n", Ink::Cyan.on("hint:"), continued(hint));
    }
    text
}

/// Returns a message whose further lines are set in, so that none of them can pass for a line of ours.
fn continued(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

fn document(code: &str, exit: Exit, message: &str, hint: Option<&str>) -> String {
    let document = ErrorDocument { kind: "Error", v: 1, code, exit: exit as u8, message, hint };
    serde_json::to_string(&document).expect("an object of texts and numbers is always JSON") + "\n"
}

/// Returns the first paragraph of clap's message on one line, and its tip.
fn usage(error: &clap::Error) -> (String, Option<String>) {
    let help = Some("`--help` tells how it is used".to_string());
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return ("the command is not complete".to_string(), help);
    }
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let message = first.join(" ");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: ")).map(str::to_string);
    (message.strip_prefix("error: ").unwrap_or(&message).to_string(), tip.or(help))
}

/// Prints finished text on stderr. There is nobody left to tell where that fails.
fn print(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::Command;

    use super::*;

    #[test]
    fn colours_are_all_that_is_left_of_what_clap_repeats() {
        assert_eq!(
            coloured("\x1b[1m\x1b[31merror:\x1b[0m no '\x1b[33m\x1b]52;c;eA==\x07\x1b[2Jx\u{9b}2J\x1b[0m'\n\n tip\n"),
            "\x1b[1m\x1b[31merror:\x1b[0m no '\x1b[33m\\u{1b}]52;c;eA==\\u{7}\\u{1b}[2Jx\\u{9b}2J\x1b[0m'\n\n tip\n"
        );
    }

    fn not_found() -> UserError {
        UserError::new(Exit::NotFound, "org_not_found", "no organization named `acmee`")
            .hint("`skillsctl org list` shows what there is")
    }

    fn text(error: &Error) -> String {
        rendered(error, false, false)
    }

    fn json(error: &Error) -> String {
        rendered(error, true, true)
    }

    #[test]
    fn an_error_says_what_failed_and_what_to_run_next() {
        assert_eq!(
            text(&not_found().into()),
            "error: no organization named `acmee`\n  hint: `skillsctl org list` shows what there is\n"
        );
    }

    #[test]
    fn causes_are_told_once_each() {
        let io = std::io::Error::other("disk full");
        let error = Error::from(io).context("cannot write page 7: disk full").context("syncing `acme`");
        assert_eq!(text(&error), "error: syncing `acme`\n  because: cannot write page 7: disk full\n");
    }

    #[test]
    fn a_user_error_is_found_under_and_over_other_errors() {
        let under = Error::from(not_found()).context("reading `orgs.yaml`");
        assert_eq!(verdict(&under).0, "org_not_found");
        assert_eq!(
            text(&under),
            "error: reading `orgs.yaml`\n  because: no organization named `acmee`\n  hint: `skillsctl org list` shows what there is\n"
        );
        let over = anyhow!("no rows").context(not_found()).context("reading `orgs.yaml`");
        assert_eq!(verdict(&over).1, Exit::NotFound);
    }

    #[test]
    fn json_is_one_line_with_every_field() {
        assert_eq!(
            json(&not_found().into()),
            "{\"kind\":\"Error\",\"v\":1,\"code\":\"org_not_found\",\"exit\":5,\"message\":\"no organization named \
             `acmee`\",\"hint\":\"`skillsctl org list` shows what there is\"}\n"
        );
        assert_eq!(
            json(&anyhow!("no\nrows").context("counting")),
            "{\"kind\":\"Error\",\"v\":1,\"code\":\"internal\",\"exit\":1,\"message\":\"counting: no\\nrows\",\"hint\":null}\n"
        );
    }

    #[test]
    fn a_message_from_elsewhere_can_neither_act_nor_pass_for_ours() {
        let error = anyhow!("remote said \x1b[2J\nerror: all is lost");
        assert_eq!(text(&error), "error: remote said \\u{1b}[2J\n    error: all is lost\n");
    }

    #[test]
    fn json_stays_json_whatever_the_message_holds() {
        let error = anyhow!("remote said \u{9b}2J\u{202e}\x1b[2J");
        let read: serde_json::Value = serde_json::from_str(&json(&error)).unwrap();
        assert_eq!(read["message"], "remote said \u{9b}2J\u{202e}\x1b[2J");
    }

    #[test]
    fn closed_output_is_quiet_success_and_a_broken_connection_is_not() {
        assert_eq!(report(&Error::from(ClosedOutput).context("listing"), false), ExitCode::SUCCESS);
        let network = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(verdict(&Error::from(network)).1, Exit::Fault);
    }

    #[test]
    fn a_usage_error_keeps_claps_words_and_its_tip() {
        let command = || Command::new("skillsctl").subcommand(Command::new("org").arg(clap::arg!(<SLUG>)));
        let typo = command().try_get_matches_from(["skillsctl", "orgg"]).unwrap_err();
        let (message, hint) = usage(&typo);
        assert_eq!(message, "unrecognized subcommand 'orgg'");
        assert_eq!(hint.as_deref(), Some("a similar subcommand exists: 'org'"));

        let missing = command().try_get_matches_from(["skillsctl", "org"]).unwrap_err();
        assert_eq!(usage(&missing).0, "the following required arguments were not provided: <SLUG>");
    }

    #[test]
    fn help_and_version_are_no_mistake() {
        let version = Command::new("skillsctl").version("0.1.0");
        let asked = version.try_get_matches_from(["skillsctl", "--version"]).unwrap_err();
        assert_eq!(report_usage(&asked, true), ExitCode::SUCCESS);
    }
}
