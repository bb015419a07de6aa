//! What one invocation of the program was given: where things are, who calls, and how to print.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Once;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, ColorChoice};

use crate::config::{self, Environment, KeyFlags, KeySource, Paths};
use crate::domain::names::Slug;
use crate::domain::role::Role;
use crate::error::{Exit, UserError};
use crate::output::{Format, Output, OutputOptions};
use crate::store::anchor::Seen;
use crate::store::{self, Keep, May, Store};
use crate::vault::Vault;

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
    /// Refused: a key on the command line is seen by all who may list processes
    #[arg(long = "key", global = true, hide = true, value_name = "NOTHING", num_args = 0..=1, default_missing_value = "")]
    pub(crate) refused_key: Option<OsString>,
    /// Do no more than a role may, like `operator` or `tenant:acme` [env: SKILLSCTL_ROLE]
    #[arg(long, global = true, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
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
    /// Leave CSV as it is, also what a spreadsheet would take for a formula; only with `-o csv`
    #[arg(long, global = true)]
    pub(crate) csv_raw: bool,
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

/// Who was let in.
pub(crate) struct Admitted {
    /// `None` for a command that everybody may run, and that looks at nothing.
    pub(crate) role: Option<Role>,
    /// The variables that are heeded of this caller.
    pub(crate) environment: Environment,
}

/// One invocation.
pub(crate) struct Session {
    /// Returns the tree of all commands, for help and completion.
    pub(crate) command_line: fn() -> clap::Command,
    pub(crate) output: Output,
    pub(crate) environment: Environment,
    pub(crate) role: Option<Role>,
    db_flag: Option<PathBuf>,
    pub(crate) key_flags: KeyFlags,
    /// Whether changes are kept: not under `--dry-run`.
    pub(crate) keep: Keep,
    /// Who makes changes, for the audit.
    pub(crate) actor: String,
    /// When the invocation began.
    pub(crate) now: DateTime<Utc>,
    /// A database that is not what it was is told once.
    told: Once,
}

impl Session {
    /// Makes sense of the global flags and the environment.
    pub(crate) fn new(globals: Globals, command_line: fn() -> clap::Command, admitted: Admitted) -> Result<Self> {
        if globals.refused_key.is_some() {
            return Err(key_on_command_line().into());
        }
        if globals.csv_raw && globals.format() != Format::Csv {
            let message = "`--csv-raw` is for CSV alone";
            return Err(UserError::new(Exit::Usage, "no_csv", message).hint("add `-o csv`, or leave it out").into());
        }
        let Admitted { role, environment } = admitted;
        let now = config::now();
        let output = Output::new(OutputOptions {
            format: globals.format(),
            csv_raw: globals.csv_raw,
            fields: globals.fields,
            quiet: globals.quiet,
            verbose: globals.verbose,
            color: globals.color,
            no_input: globals.no_input,
            assume_yes: globals.yes,
            now,
        });
        Ok(Session {
            command_line,
            output,
            role,
            db_flag: globals.db,
            key_flags: KeyFlags { key_file: globals.key_file, key_command: globals.key_command },
            keep: if globals.dry_run { Keep::DryRun } else { Keep::Yes },
            actor: config::actor(&environment),
            environment,
            now,
            told: Once::new(),
        })
    }

    /// Returns where things are. Looked for only when needed: `help` and `version` work where no folder is known.
    pub(crate) fn paths(&self) -> Result<Paths> {
        Ok(Paths::resolve(self.db_flag.clone(), &self.environment)?)
    }

    /// Opens the database, and says so where that brought its schema up to date. A tenant gets one that holds nothing but its
    /// own organization.
    pub(crate) fn store(&self) -> Result<Store> {
        if let Some(own) = self.only_own()? {
            return store::open_for_tenant(&self.paths()?.db, own, May::Read);
        }
        let mut store = store::open(&self.paths()?.db, &self.actor, self.now)?;
        if let Some(upgraded) = store.upgraded() {
            self.output.note(format!(
                "the schema of the database was brought from {} to {}; as it was before, it is kept in `{}`",
                upgraded.from,
                upgraded.to,
                upgraded.backup.display()
            ));
        }
        if let Some(folder) = self.environment.anchor_folder() {
            let warning = suspicion(&store.anchored_in(&folder)?);
            self.told.call_once(|| warning.iter().for_each(|warning| self.output.warn(warning)));
        }
        Ok(store)
    }

    /// Opens the database to ask for a sync: all that a tenant may write.
    pub(crate) fn store_to_request(&self) -> Result<Store> {
        match self.only_own()? {
            Some(own) => store::open_for_tenant(&self.paths()?.db, own, May::Request),
            None => self.store(),
        }
    }

    /// Returns the one organization that may be seen, if the caller is a tenant. Nothing is opened for nobody.
    fn only_own(&self) -> Result<Option<&Slug>> {
        match &self.role {
            Some(Role::Tenant(own)) => Ok(Some(own)),
            Some(_) => Ok(None),
            None => {
                Err(UserError::new(Exit::Refused, "not_allowed", "this command has no role to open the database with")
                    .into())
            }
        }
    }

    /// Opens the database as it is, to look at it: nothing is written, and an older schema stays.
    pub(crate) fn look(&self) -> Result<Store> {
        if let Some(own) = self.only_own()? {
            return store::open_for_tenant(&self.paths()?.db, own, May::Read);
        }
        store::look(&self.paths()?.db)
    }

    /// Opens the database for what must have it alone; nobody else uses it until the store is dropped.
    pub(crate) fn store_alone(&self) -> Result<Store> {
        drop(self.store()?);
        let mut store = store::alone(&self.paths()?.db)?;
        // What is wrong with it has just been told.
        self.environment.anchor_folder().map(|folder| store.anchored_in(&folder)).transpose()?;
        Ok(store)
    }

    /// Reads the master key, or two at the time of a rotation, and proves it against the database.
    pub(crate) fn vault(&self, store: &Store) -> Result<Vault> {
        let source = KeySource::resolve(&self.key_flags, &self.environment)?;
        let current = std::iter::once_with(|| source.load(&self.environment));
        // Not read where the current one is all it takes.
        let previous = std::iter::once_with(|| match KeySource::previous(&self.environment) {
            Ok(source) => source.map(|source| source.load(&self.environment)),
            Err(error) => Some(Err(error)),
        });
        Vault::unlock(store, current.chain(previous.flatten()))
    }

    /// Reads the master key and proves it, where one is at hand.
    pub(crate) fn vault_if_any(&self, store: &Store) -> Result<Option<Vault>> {
        match KeySource::resolve(&self.key_flags, &self.environment) {
            Err(error) if error.code == "key_missing" => Ok(None),
            _ => self.vault(store).map(Some),
        }
    }

    /// Says what a dry run means, behind the change it showed.
    pub(crate) fn note_dry_run(&self) {
        if self.keep == Keep::DryRun {
            self.output.note("dry run: nothing was changed");
        }
    }
}

fn key_on_command_line() -> UserError {
    UserError::new(
        Exit::Usage,
        "key_on_command_line",
        "the master key is never taken as an argument: the shell keeps it in its history, and others on this machine can see it",
    )
    .hint(
        "give the file that holds it with --key-file, or a command that prints it with --key-command; if what was on the \
         line is a real key, replace it: `skillsctl key rotate`",
    )
}

/// Returns what is to be said of a database that is not what was last seen of it.
fn suspicion(seen: &Seen) -> Option<String> {
    let what = match seen {
        Seen::Nothing | Seen::Holds(_) => return None,
        Seen::Older(last) => {
            format!("the database is older than the last change seen on this host, row {} of its audit", last.id)
        }
        Seen::Other(last) => {
            format!("the database is not the one last seen on this host: row {} of its audit is another one", last.id)
        }
        Seen::Unreadable(why) => format!("whether the database is what was last seen on this host is not known: {why}"),
    };
    Some(format!("{what}; `skillsctl audit verify` tells more"))
}
