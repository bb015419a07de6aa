//! Who may run which command: declared here for each of them, and asked before anything else happens.
//!
//! A command that is not in the list is for super admins alone, and a test fails until it is put there.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::config::{Caller, Environment, Paths};
use crate::domain::role::{Role, RoleName};
use crate::error::{Exit, UserError};
use crate::session::{Admitted, Globals};
use crate::store::{self, grants};

use RoleName::{Operator, Provisioner, Tenant};

/// Who may run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, with no role at all: it tells of the program only, and opens nothing.
    Anyone,
    /// Super admins and these.
    Roles(&'static [RoleName]),
}

impl Who {
    pub(super) fn includes(self, role: RoleName) -> bool {
        match self {
            Who::Anyone => true,
            Who::Roles(roles) => role == RoleName::Super || roles.contains(&role),
        }
    }
}

const SUPER: Who = Who::Roles(&[]);
const PROVISION: Who = Who::Roles(&[Provisioner]);
const OPERATE: Who = Who::Roles(&[Operator]);
const LOOK: Who = Who::Roles(&[Operator, Provisioner]);
/// What a tenant does is confined to its organization by its connection, whatever the command is given.
const OWN: Who = Who::Roles(&[Operator, Tenant]);
const ALL: Who = Who::Roles(&[Operator, Provisioner, Tenant]);

/// Every command.
pub(super) const COMMANDS: &[(&str, Who)] = &[
    ("init", SUPER),
    ("org create", PROVISION),
    ("org list", LOOK),
    ("org show", LOOK),
    ("org edit", SUPER),
    ("org set-preset", SUPER),
    ("org upgrade", SUPER),
    ("org suspend", SUPER),
    ("org resume", SUPER),
    ("org delete", SUPER),
    ("org restore", SUPER),
    ("org purge", SUPER),
    ("preset list", LOOK),
    ("preset show", LOOK),
    ("preset validate", LOOK),
    ("preset apply", SUPER),
    ("preset edit", SUPER),
    ("preset diff", LOOK),
    ("preset history", LOOK),
    ("preset rollback", SUPER),
    ("preset export", LOOK),
    ("provider list", LOOK),
    ("provider show", LOOK),
    ("provider explain", LOOK),
    ("provider lint", LOOK),
    ("provider add", SUPER),
    ("provider check", OPERATE),
    ("override show", LOOK),
    ("override set", PROVISION),
    ("override unset", SUPER),
    ("override reset", SUPER),
    ("override enable", PROVISION),
    ("override disable", PROVISION),
    ("override edit", SUPER),
    ("override apply", PROVISION),
    ("config show", ALL),
    ("config explain", ALL),
    ("credential list", LOOK),
    ("credential set", PROVISION),
    ("credential test", OPERATE),
    ("credential rotate", SUPER),
    ("credential rollback", SUPER),
    ("credential delete", SUPER),
    ("credential sealing-key show", LOOK),
    ("credential sealing-key create", SUPER),
    ("key status", OPERATE),
    ("key check", OPERATE),
    ("key rotate", SUPER),
    ("key retire", SUPER),
    ("sync", OPERATE),
    ("sync request", OWN),
    ("status", OWN),
    ("log list", OWN),
    ("log show", OWN),
    ("log prune", SUPER),
    ("record list", SUPER),
    ("record show", SUPER),
    ("record erase", SUPER),
    ("record erasures", SUPER),
    ("record export-person", SUPER),
    ("record link", SUPER),
    ("record unlink", SUPER),
    ("record quarantine list", SUPER),
    ("record quarantine show", SUPER),
    ("record quarantine replay", SUPER),
    ("record quarantine drop", SUPER),
    ("retention show", OPERATE),
    ("retention set", SUPER),
    ("retention apply", SUPER),
    ("audit list", SUPER),
    ("audit show", SUPER),
    ("audit verify", OPERATE),
    ("audit export", SUPER),
    ("role list", SUPER),
    ("role grant", SUPER),
    ("role revoke", SUPER),
    ("role show", ALL),
    ("db status", OPERATE),
    ("db check", OPERATE),
    ("db backup", OPERATE),
    ("db restore", SUPER),
    ("db migrate", SUPER),
    ("doctor", OPERATE),
    ("powerbi filters", LOOK),
    ("powerbi roles", LOOK),
    ("schema", LOOK),
    ("completion", Who::Anyone),
    ("version", Who::Anyone),
    ("help", Who::Anyone),
];

/// Arguments that are a super admin's also where the command is not.
const SUPER_ARGUMENTS: [&str; 2] = ["allow_mass_delete", "accept"];

/// Arguments that name no file and no command: all that is heeded of somebody for whom sudo runs the program. Another one would
/// be done with the rights of the program's own user.
const HARMLESS: &[&str] = &[
    // Of all commands.
    "role",
    "output",
    "json",
    "fields",
    "quiet",
    "verbose",
    "color",
    "no_input",
    "yes",
    "dry_run",
    "csv_raw",
    // What is meant.
    "org",
    "organizations",
    "provider",
    "stream",
    "preset",
    "revision",
    "field",
    "key",
    "path",
    "run",
    "outcome",
    "limit",
    "settings",
    "slug",
    "name",
    "noun",
    "kind",
    "shell",
    "words",
    "older_than",
    "stage",
    "strict",
    "sealed",
    "sealing_key",
    "origin",
    // Of `org`, `sync`, `credential set`.
    "subdomain",
    "max_learners",
    "billing_name",
    "billing_email",
    "time_zone",
    "if_not_exists",
    "status",
    "all",
    "force",
    "full",
    "from",
    "to",
    "max_runtime",
    "jobs",
    "from_stdin",
    "refused",
    "exit_code",
    "deep",
    "assignments",
    "confirm",
];

/// Finds out who calls, and whether they may run this command with these arguments.
pub(crate) fn admit(matches: &ArgMatches, globals: &Globals) -> Result<Admitted> {
    let (command, given) = leaf(matches);
    let who = declared(&command);
    let environment = Environment::of_process();
    if who == Who::Anyone {
        return Ok(Admitted { role: None, environment: environment.of_somebody_else() });
    }
    let (most, environment) = match Caller::of_process(&environment)? {
        Caller::Owner => (Role::Super, environment),
        Caller::Through(user) => {
            let heeded = environment.of_somebody_else();
            // Never the database of --db: in one of their own, anybody could be anything.
            let role = granted(&Paths::resolve(None, &heeded)?.db, &user)?;
            let environment = if role == Role::Super { Environment::of_process() } else { heeded };
            (role, environment)
        }
    };
    let role = narrowed(&most, globals, &environment)?;
    if !who.includes(role.name()) {
        return Err(not_allowed(&format!("`{command}`"), &role, who).into());
    }
    let supers = SUPER_ARGUMENTS.into_iter().find(|argument| is_given(given, argument));
    if let Some(argument) = supers.filter(|_| role != Role::Super) {
        return Err(not_allowed(&format!("`--{}`", argument.replace('_', "-")), &role, SUPER).into());
    }
    if most != Role::Super {
        check_arguments(given)?;
    }
    Ok(Admitted { role: Some(role), environment })
}

/// Returns the words of the command that is to be run, and what it is given.
fn leaf(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut words, mut given) = (Vec::new(), matches);
    while let Some((word, below)) = given.subcommand() {
        words.push(word);
        given = below;
    }
    (words.join(" "), given)
}

fn declared(command: &str) -> Who {
    COMMANDS.iter().find(|(words, _)| *words == command).map_or(SUPER, |(_, who)| *who)
}

/// Returns the role that a super admin gave a user, in the database of the program's own user.
fn granted(database: &Path, user: &str) -> Result<Role> {
    if !store::is_private(database) {
        let message = format!("no role of `{user}` can be looked up at `{}`", database.display());
        let hint =
            "the database has to belong to the user the program runs as, in a folder that only that user can write";
        return Err(UserError::new(Exit::Refused, "not_allowed", message).hint(hint).into());
    }
    let grant = grants::of(store::open_for_roles(database)?.read(), user)?;
    grant.map(|grant| grant.role).ok_or_else(|| {
        UserError::new(Exit::Refused, "not_allowed", format!("`{user}` has no role here"))
            .hint(format!(
                "a super admin can give one: `skillsctl role grant {user} ROLE`; in a shell of the program's own user that sudo \
                 opened, `unset SUDO_UID SUDO_USER` first"
            ))
            .into()
    })
}

/// Returns the role that `--role` or its variable asks for, which can be less than the caller may and never more.
fn narrowed(most: &Role, globals: &Globals, environment: &Environment) -> Result<Role, UserError> {
    let wanted = match &globals.role {
        Some(role) => Some(role.clone()),
        None => environment.text("SKILLSCTL_ROLE")?.map(|text| text.parse()).transpose().map_err(|error: String| {
            UserError::new(Exit::Usage, "invalid_role", format!("SKILLSCTL_ROLE: {error}"))
                .hint("it is `super`, `operator`, `provisioner` or `tenant:ORG`")
        })?,
    };
    match wanted {
        None => Ok(most.clone()),
        Some(wanted) if most.covers(&wanted) => Ok(wanted),
        Some(wanted) => {
            let message = format!("the role {most} cannot be made {wanted}");
            Err(UserError::new(Exit::Refused, "not_allowed", message).hint("`--role` gives up rights, it gives none"))
        }
    }
}

fn not_allowed(what: &str, role: &Role, who: Who) -> UserError {
    let roles: Vec<&str> = RoleName::ALL.into_iter().filter(|name| who.includes(*name)).map(RoleName::as_str).collect();
    UserError::new(Exit::Refused, "not_allowed", format!("{what} is not for the role {role}"))
        .hint(format!("it is for {}; `skillsctl help roles` lists who may do what", roles.join(", ")))
}

/// Fails where somebody for whom sudo runs the program would have it read, write or run what they name.
fn check_arguments(given: &ArgMatches) -> Result<(), UserError> {
    // Groups of arguments are named like types, arguments are not.
    let arguments = given.ids().map(|id| id.as_str()).filter(|id| !id.starts_with(char::is_uppercase));
    for argument in arguments.filter(|argument| is_given(given, argument)) {
        let is_path = given.try_get_one::<PathBuf>(argument).is_ok();
        let from_stdin =
            argument == "file" && given.get_raw(argument).is_some_and(|mut values| values.all(|value| value == "-"));
        if from_stdin || (HARMLESS.contains(&argument) && !is_path) {
            continue;
        }
        let shown = argument.replace('_', "-");
        let message = format!("`{shown}` is not heeded of somebody for whom sudo runs the program");
        return Err(UserError::new(Exit::Refused, "not_allowed", message).hint(
            "files and commands would be those of the program's own user; give documents and values on standard input",
        ));
    }
    Ok(())
}

fn is_given(given: &ArgMatches, argument: &str) -> bool {
    let known = given.ids().any(|id| id.as_str() == argument);
    known && matches!(given.value_source(argument), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// Returns every command that can be run, with its words.
    fn all() -> Vec<(String, clap::Command)> {
        fn below(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
            for command in command.get_subcommands() {
                let words = format!("{words} {}", command.get_name()).trim_start().to_owned();
                if !command.is_subcommand_required_set() {
                    found.push((words.clone(), command.clone()));
                }
                below(command, &words, found);
            }
        }
        let mut found = Vec::new();
        below(&Cli::command(), "", &mut found);
        found
    }

    #[test]
    fn every_command_says_who_may_run_it() {
        let there: BTreeSet<String> = all().into_iter().map(|(words, _)| words).collect();
        let declared: BTreeSet<String> = COMMANDS.iter().map(|(words, _)| (*words).to_owned()).collect();
        let undeclared: Vec<_> = there.difference(&declared).collect();
        assert!(undeclared.is_empty(), "give each a line in COMMANDS: {undeclared:?}");
        assert_eq!(declared.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "these are gone");
        assert_eq!(COMMANDS.len(), declared.len(), "one is there twice");
    }

    #[test]
    fn every_argument_of_a_command_that_is_not_for_super_admins_alone_is_harmless_or_refused_through_sudo() {
        // Each was looked at: it names a file or a command, runs one, or is for super admins.
        let refused = [
            "db",
            "key_file",
            "key_command",
            "refused_key",
            "file",
            "files",
            "from_file",
            "from_env",
            "from_command",
            "force",
            "anchor",
            "against",
        ];
        for (words, command) in all().iter().filter(|(words, _)| declared(words) != SUPER) {
            for argument in command.get_arguments().map(|argument| argument.get_id().as_str()) {
                let known =
                    HARMLESS.contains(&argument) || refused.contains(&argument) || SUPER_ARGUMENTS.contains(&argument);
                assert!(known || argument == "help", "`{argument}` of `{words}` is neither in HARMLESS nor looked at");
            }
        }
    }

    /// Returns whether these arguments are heeded through sudo.
    fn heeded(line: &str) -> bool {
        let matches = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
        check_arguments(leaf(&matches).1).is_ok()
    }

    #[test]
    fn what_names_a_file_or_a_command_is_not_heeded_through_sudo() {
        for line in [
            "x status",
            "x status acme --json --quiet --role tenant:acme",
            "x credential set acme aptem api_key --from-stdin",
            "x override apply acme -f -",
            "x sync --all --jobs 2",
        ] {
            assert!(heeded(line), "{line}");
        }
        for line in [
            "x status --db elsewhere.db",
            "x --db=elsewhere.db status",
            "x status --key-file k",
            "x status --key-command id",
            "x credential set acme aptem api_key --from-command id",
            "x credential set acme aptem api_key --from-file k",
            "x credential set acme aptem api_key --from-env HOME",
            "x override apply acme -f /etc/shadow",
            "x override apply acme -f ./-",
            "x preset validate -f /etc/shadow",
            "x provider lint - /etc/shadow",
            "x db backup elsewhere.db",
        ] {
            assert!(!heeded(line), "{line}");
        }
    }
}
