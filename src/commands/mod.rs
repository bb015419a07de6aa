//! One file per noun: its arguments and one short function per verb. Commands hold no rules; those are in `domain`.

mod access;
pub(crate) mod audit;
mod change;
pub(crate) mod completion;
pub(crate) mod config;
mod copies;
pub(crate) mod credential;
pub(crate) mod db;
pub(crate) mod doctor;
mod editor;
pub(crate) mod help;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod org;
pub(crate) mod overrides;
pub(crate) mod powerbi;
pub(crate) mod preset;
pub(crate) mod provider;
pub(crate) mod record;
pub(crate) mod retention;
pub(crate) mod role;
pub(crate) mod schema;
mod source;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod version;

pub(crate) use access::admit;

use anyhow::Result;
use clap::Subcommand;

use crate::error::Exit;
use crate::session::Session;

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::InitArgs),
    #[command(subcommand)]
    Org(org::OrgCommand),
    #[command(subcommand)]
    Preset(preset::PresetCommand),
    Provider(provider::ProviderArgs),
    #[command(subcommand)]
    Override(overrides::OverrideCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Credential(credential::CredentialArgs),
    #[command(subcommand)]
    Key(key::KeyCommand),
    Sync(sync::SyncArgs),
    Status(status::StatusArgs),
    Log(log::LogArgs),
    Record(record::RecordArgs),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    #[command(subcommand)]
    Role(role::RoleCommand),
    #[command(subcommand)]
    Db(db::DbCommand),
    #[command(subcommand)]
    Powerbi(powerbi::PowerbiCommand),
    Doctor(doctor::DoctorArgs),
    Schema(schema::SchemaArgs),
    Completion(completion::CompletionArgs),
    Version(version::VersionArgs),
    Help(help::HelpArgs),
}

/// Runs one command. `Ok` carries the exit code of a command that ended well or in part.
pub(crate) fn run(command: Command, session: &Session) -> Result<Exit> {
    match command {
        Command::Init(args) => init::run(&args, session),
        Command::Org(command) => org::run(command, session),
        Command::Preset(command) => preset::run(command, session),
        Command::Override(command) => overrides::run(command, session),
        Command::Config(command) => config::run(command, session),
        Command::Db(command) => db::run(command, session),
        Command::Key(command) => key::run(command, session),
        Command::Powerbi(command) => powerbi::run(command, session),
        Command::Doctor(args) => doctor::run(&args, session),
        Command::Schema(args) => schema::run(&args, session),
        Command::Provider(args) => provider::run(args, session),
        Command::Credential(args) => credential::run(args, session),
        Command::Log(args) => log::run(args, session),
        Command::Audit(command) => audit::run(command, session),
        Command::Record(args) => record::run(args, session),
        Command::Role(command) => role::run(command, session),
        Command::Retention(command) => retention::run(&command, session),
        Command::Status(args) => status::run(&args, session),
        Command::Completion(args) => completion::run(&args, session),
        Command::Version(args) => version::run(&args, session),
        Command::Help(args) => help::run(&args, session),
        Command::Sync(args) => sync::run(&args, session),
    }
}
