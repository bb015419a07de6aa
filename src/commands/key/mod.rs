//! `key`: the master key and the keys under it: how they stand, whether everything opens, and others in their place.

mod check;
mod retire;
mod rotate;
mod status;

use anyhow::Result;
use clap::Subcommand;

use crate::error::Exit;
use crate::session::Session;
use crate::vault;

/// Look after the master key: status, check, rotate, retire
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    Rotate(rotate::RotateArgs),
    Retire(retire::RetireArgs),
}

pub(crate) fn run(command: KeyCommand, session: &Session) -> Result<Exit> {
    match command {
        KeyCommand::Status(args) => status::run(&args, session),
        KeyCommand::Check(args) => check::run(&args, session),
        KeyCommand::Rotate(args) => rotate::run(&args, session),
        KeyCommand::Retire(args) => retire::run(&args, session),
    }
}

/// Returns who changes keys and when.
fn change(session: &Session) -> vault::Change<'_> {
    vault::Change { keep: session.keep, actor: &session.actor, now: session.now }
}
