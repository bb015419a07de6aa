//! One file per noun: its arguments and one short function per verb. Commands hold no rules; those are in `domain`.

pub(crate) mod completion;
pub(crate) mod credential;
pub(crate) mod help;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod provider;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod version;

use anyhow::Result;

use crate::cli::Command;
use crate::error::Exit;
use crate::session::Session;

/// Runs one command. `Ok` carries the exit code of a command that ended well or in part.
pub(crate) fn run(command: Command, session: &Session) -> Result<Exit> {
    match command {
        Command::Init(args) => init::run(&args, session),
        Command::Provider(args) => provider::run(args, session),
        Command::Credential(args) => credential::run(args, session),
        Command::Log(args) => log::run(args, session),
        Command::Record(args) => record::run(args, session),
        Command::Status(args) => status::run(&args, session),
        Command::Completion(args) => completion::run(&args, session),
        Command::Version(args) => version::run(&args, session),
        Command::Help(args) => help::run(&args, session),
        Command::Sync(args) => sync::run(&args, session),
    }
}
