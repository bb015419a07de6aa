//! `skillsctl`: sets up and keeps running the integrations of a Skills Intelligence platform.

mod base64;
mod builtin;
mod cli;
mod commands;
mod config;
mod connector;
mod domain;
mod error;
mod http;
mod lookup;
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
use std::process::ExitCode;

use clap::Parser as _;

/// Parses the command line, runs the command and reports how it ended.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Known before parsing, so that a usage error too is JSON where JSON was asked for.
    let json = arguments.iter().any(|argument| argument == "--json");
    if let Err(error) = config::harden_process() {
        return output::report(&error, json);
    }
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return output::report_usage(&error, json),
    };
    let json = json || matches!(cli.globals.format(), output::Format::Json | output::Format::Jsonl);
    let ended = session::Session::new(cli.globals).and_then(|session| commands::run(cli.command, &session));
    match ended {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => output::report(&store::explained(error), json),
    }
}
