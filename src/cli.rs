//! The command line: global flags and the tree of commands; no behaviour.

use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand};

use crate::commands;
use crate::output::Format;

/// Sets up and keeps running the integrations of a Skills Intelligence platform.
#[derive(Debug, Parser)]
#[command(
    name = "skillsctl",
    version,
    about,
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes, anywhere on the line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Path of the database [env: SKILLSCTL_DB]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) db: Option<PathBuf>,
    /// File that holds the master key [env: SKILLSCTL_KEY_FILE]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "key_command")]
    pub(crate) key_file: Option<PathBuf>,
    /// Command that prints the master key [env: SKILLSCTL_KEY_COMMAND]
    #[arg(long, global = true, value_name = "CMD")]
    pub(crate) key_command: Option<String>,
    /// Form of the data on stdout
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        env = "SKILLSCTL_OUTPUT"
    )]
    pub(crate) output: Format,
    /// Print JSON, errors too; short for `-o json`
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Fields to print, in this order
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',', env = "SKILLSCTL_FIELDS")]
    pub(crate) fields: Option<Vec<String>>,
    /// Say only what fails
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for requests
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto, env = "SKILLSCTL_COLOR")]
    pub(crate) color: ColorChoice,
    /// Never ask; a missing answer is an error
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Answer yes where a change that can be undone asks
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Show what a change would do, and do not keep it
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
}

impl Globals {
    /// Returns the form of the data.
    pub(crate) fn format(&self) -> Format {
        if self.json && self.output != Format::Jsonl { Format::Json } else { self.output }
    }
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(commands::init::InitArgs),
    Provider(commands::provider::ProviderArgs),
    Credential(commands::credential::CredentialArgs),
    Status(commands::status::StatusArgs),
    Log(commands::log::LogArgs),
    Record(commands::record::RecordArgs),
    Completion(commands::completion::CompletionArgs),
    Version(commands::version::VersionArgs),
    Help(commands::help::HelpArgs),
    Sync(commands::sync::SyncArgs),
}
