//! `credential`: what logs in at providers. Values go in and never come out.

mod delete;
mod deposit;
mod list;
mod rollback;
mod rotate;
mod sealing_key;
mod set;
mod test;
mod value;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(super) use test::{TestArgs, run as test};

use crate::error::Exit;
use crate::session::Session;

/// Set, rotate, list, test and delete the credentials of an organization
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::ListArgs),
    Set(set::SetArgs),
    Test(test::TestArgs),
    Rotate(rotate::RotateArgs),
    Rollback(rollback::RollbackArgs),
    Delete(delete::DeleteArgs),
    #[command(subcommand)]
    SealingKey(sealing_key::Verb),
}

pub(crate) fn run(args: CredentialArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list::run(&args, session),
        Verb::Set(args) => set::run(&args, session),
        Verb::Test(args) => test::run(&args, session),
        Verb::Rotate(args) => rotate::run(&args, session),
        Verb::Rollback(args) => rollback::run(&args, session),
        Verb::Delete(args) => delete::run(&args, session),
        Verb::SealingKey(verb) => sealing_key::run(verb, session),
    }
}
