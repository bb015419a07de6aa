//! `preset`: combinations of providers and the versioned defaults of each.

mod apply;
mod show;

use anyhow::Result;
use clap::Subcommand;

use crate::error::Exit;
use crate::session::Session;

/// Manage presets and the revisions of their defaults
#[derive(Debug, Subcommand)]
pub(crate) enum PresetCommand {
    List(show::ListArgs),
    Show(show::ShowArgs),
    Validate(apply::ValidateArgs),
    Apply(apply::ApplyArgs),
    Edit(apply::EditArgs),
    Diff(show::DiffArgs),
    History(show::HistoryArgs),
    Rollback(apply::RollbackArgs),
    Export(show::ExportArgs),
}

pub(crate) fn run(command: PresetCommand, session: &Session) -> Result<Exit> {
    match command {
        PresetCommand::List(args) => show::list(&args, session),
        PresetCommand::Show(args) => show::show(&args, session),
        PresetCommand::Validate(args) => apply::validate(&args, session),
        PresetCommand::Apply(args) => apply::apply(&args, session),
        PresetCommand::Edit(args) => apply::edit(&args, session),
        PresetCommand::Diff(args) => show::diff(&args, session),
        PresetCommand::History(args) => show::history(&args, session),
        PresetCommand::Rollback(args) => apply::rollback(&args, session),
        PresetCommand::Export(args) => show::export(&args, session),
    }
}
