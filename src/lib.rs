//! `skillsctl`: sets up and keeps running the integrations of a Skills Intelligence platform.

// Only the readers are called there, and what is not called need not be built and watched.
#![cfg_attr(fuzzing, expect(dead_code, unused_imports, reason = "without `main` most of the program is not called"))]

mod base64;
mod builtin;
mod cli;
mod commands;
mod config;
mod connector;
mod doctor;
mod domain;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod http;
mod inspection;
mod locks;
mod lookup;
mod mutants;
mod output;
mod overview;
mod secrets;
mod session;
mod stop;
mod store;
mod sync;
mod vault;
mod yaml;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

/// Parses the command line, runs the command and reports how it ended.
#[cfg(not(fuzzing))]
pub fn main() -> ExitCode {
    output::hide_panics();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Known before parsing, so that a usage error too is JSON where JSON was asked for.
    let json = asks_for_json(&arguments);
    if let Err(error) = config::harden_process() {
        return output::report(&error, json);
    }
    let parsed = cli::Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| cli::Cli::from_arg_matches(&matches).map(|cli| (matches, cli)));
    let (matches, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return output::report_usage(&error, json),
    };
    let json = json || matches!(cli.globals.format(), output::Format::Json | output::Format::Jsonl);
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        commands::admit(&matches, &cli.globals)
            .and_then(|admitted| session::Session::new(cli.globals, cli::Cli::command, admitted))
            .and_then(|session| commands::run(cli.command, &session))
    }));
    match ended.unwrap_or_else(|_| Err(output::fault())) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => output::report(&store::explained(error), json),
    }
}

/// Returns whether a command line, right or wrong, asks for JSON.
#[cfg(not(fuzzing))]
fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let mut asked = None;
    for (position, word) in words.iter().enumerate() {
        let format = match *word {
            "--json" => Some("json"),
            "-o" | "--output" => words.get(position + 1).copied(),
            word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
        };
        asked = asked.or(format.map(str::to_owned));
    }
    let asked = asked.or_else(|| config::Environment::of_process().text("SKILLSCTL_OUTPUT").ok().flatten());
    matches!(asked.as_deref(), Some("json" | "jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_every_spelling() {
        let asks = |line: &str| asks_for_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["x --json", "x -o json", "x -ojsonl", "x --output=json", "x --output jsonl y"] {
            assert!(asks(line), "{line}");
        }
        for line in ["x", "x -o table", "x --output yaml json"] {
            assert!(!asks(line), "{line}");
        }
    }
}
