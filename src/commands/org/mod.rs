//! `org`: the tenants, from the first name to the trash.

mod create;
mod edit;
mod life;
mod moving;
mod purge;
mod show;
mod wizard;

use anyhow::Result;
use clap::Subcommand;
pub(super) use edit::Document;
pub(super) use show::base_domain;

use crate::error::Exit;
use crate::session::Session;

/// Manage organizations
#[derive(Debug, Subcommand)]
pub(crate) enum OrgCommand {
    Create(create::CreateArgs),
    List(show::ListArgs),
    Show(show::ShowArgs),
    Edit(edit::EditArgs),
    SetPreset(moving::SetPresetArgs),
    Upgrade(moving::UpgradeArgs),
    Suspend(life::SuspendArgs),
    Resume(life::ResumeArgs),
    Delete(life::DeleteArgs),
    Restore(life::RestoreArgs),
    Purge(purge::PurgeArgs),
}

pub(crate) fn run(command: OrgCommand, session: &Session) -> Result<Exit> {
    match command {
        OrgCommand::Create(args) => create::run(args, session),
        OrgCommand::List(args) => show::list(&args, session),
        OrgCommand::Show(args) => show::show(&args, session),
        OrgCommand::Edit(args) => edit::run(&args, session),
        OrgCommand::SetPreset(args) => moving::set_preset(&args, session),
        OrgCommand::Upgrade(args) => moving::upgrade(&args, session),
        OrgCommand::Suspend(args) => life::suspend(&args, session),
        OrgCommand::Resume(args) => life::resume(&args, session),
        OrgCommand::Delete(args) => life::delete(&args, session),
        OrgCommand::Restore(args) => life::restore(&args, session),
        OrgCommand::Purge(args) => purge::run(&args, session),
    }
}
