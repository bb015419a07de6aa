//! `credential set`: takes a secret in by one of five ways, none of them an argument, and seals it.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::deposit::{self, DepositArgs};
use crate::config::secret_command::{self, Printed};
use crate::domain::manifest::SecretSpec;
use crate::domain::names::Name;
use crate::error::{Exit, UserError, nearest};
use crate::lookup;
use crate::secrets::Secret;
use crate::session::Session;
use crate::store::{Keep, audit, credentials, organizations, stamp};

/// Set a credential of an organization; its value is asked for, hidden, or read from elsewhere
///
/// The value is never an argument: it would stay in the history of the shell and be seen by others on the machine.
///
/// Where no master key is at hand, the value is deposited: sealed so that whoever has the master key can take it in, as
/// the next sync does, and nobody else can read it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential set acme aptem api_key\n  skillsctl credential set acme aptem api_key --from-command 'pass show acme/aptem'\n  skillsctl credential set acme salesforce private_key --from-file key.pem\n  skillsctl credential set acme hubspot api_key --from-stdin < token\n  skillsctl credential set acme hubspot api_key --from-env HUBSPOT_TOKEN --sealed"
)]
pub(super) struct SetArgs {
    /// Slug of the organization
    org: String,
    /// Slug of a provider that the organization's preset has
    provider: String,
    /// Name of the field, as `skillsctl credential list ORG` shows it
    field: String,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    deposit: DepositArgs,
    /// Takes whatever else is given, so that it can be refused without being shown.
    #[arg(hide = true, allow_hyphen_values = true, value_name = "NOTHING")]
    refused: Vec<OsString>,
}

/// Where the value comes from; asked for on the terminal where none is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Source {
    /// Read the value from standard input
    #[arg(long)]
    from_stdin: bool,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Read the value from an environment variable
    #[arg(long, value_name = "NAME")]
    from_env: Option<String>,
    /// Read the value from what a command prints; it runs without a shell
    #[arg(long, value_name = "CMD")]
    from_command: Option<String>,
}

#[derive(Debug, Serialize)]
struct Set {
    organization: String,
    provider: String,
    field: String,
    /// `set` or `unchanged`.
    outcome: &'static str,
    version: i64,
    fingerprint: String,
    set_at: String,
    set_by: String,
}

/// More than any credential, a private key in PEM included.
const LONGEST: u64 = 64 << 10;

pub(super) fn run(args: &SetArgs, session: &Session) -> Result<Exit> {
    if !args.refused.is_empty() {
        return Err(on_command_line().into());
    }
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let integration = lookup::one_integration(store.read(), &organization, &args.provider)?;
    let provider = &integration.provider;
    let (field, spec) = declared(args, &provider.name, &integration.manifest.secrets)?;
    // Before anybody types a secret in vain, and before anything is written.
    let vault = args.deposit.vault(session, &store)?;
    let label = format!("{} of {} for {}", spec.title, provider.name, organization.name);
    let value = checked(read(&args.source, &label, session)?, field, spec, session)?;
    let Some(vault) = vault else {
        return deposit::run(&args.deposit, session, &mut store, (&organization, provider), (field, &value));
    };

    let (stored, changed) = store.change(session.keep, |tx| {
        deposit::superseded(tx, session, (&organization, provider), field)?;
        let present = credentials::find(tx, organization.id, provider.id, field.as_str())?;
        if let Some(present) = present.as_ref()
            // One that does not open any more is as none: setting it again is how it is mended.
            && vault.holds(tx, &organization, present, &value).unwrap_or(false)
        {
            return Ok((present.clone(), false));
        }
        let by = (session.actor.as_str(), session.now);
        let stored = vault.set(tx, (&organization, provider), field, &value, by)?;
        let entry = audit::Entry {
            actor: &session.actor,
            action: "credential set",
            subject: &format!("{}/{}/{field}", organization.slug, provider.slug),
            before: present.as_ref().map(|present| present.fingerprint.as_str()),
            after: Some(&stored.fingerprint),
        };
        audit::insert(tx, session.now, &entry)?;
        Ok((stored, true))
    })?;
    let set = Set {
        organization: organization.slug.to_string(),
        provider: provider.slug.to_string(),
        field: field.to_string(),
        outcome: if changed { "set" } else { "unchanged" },
        version: stored.version,
        fingerprint: stored.fingerprint,
        set_at: stamp(stored.created_at),
        set_by: stored.created_by,
    };
    session.output.one("CredentialSet", &set, |_| {
        format!("{}, version {}, fingerprint {}", set.outcome, set.version, set.fingerprint)
    })?;
    session.note_dry_run();
    if changed && session.keep == Keep::Yes && integration.manifest.check.is_some() {
        session.output.note(format!("next: skillsctl credential test {} {}", organization.slug, provider.slug));
    }
    Ok(Exit::Done)
}

fn on_command_line() -> UserError {
    UserError::new(
        Exit::Usage,
        "secret_on_command_line",
        "a credential is never taken as an argument: the shell keeps it in its history, and others on this machine can see it",
    )
    .hint(
        "run `skillsctl credential set ORG PROVIDER FIELD` and type it when asked, or give it by --from-stdin, --from-file, \
         --from-env or --from-command; if what was on the line is a real credential, replace it at the provider",
    )
}

/// Returns the field that is meant, if the manifest declares it.
fn declared<'m>(
    args: &SetArgs,
    title: &str,
    secrets: &'m std::collections::BTreeMap<Name, SecretSpec>,
) -> Result<(&'m Name, &'m SecretSpec), UserError> {
    secrets.get_key_value(args.field.as_str()).ok_or_else(|| {
        let known = || secrets.keys().map(Name::as_str);
        // What is no name at all may be the credential itself, given in the wrong place.
        let named = args.field.parse::<Name>().map_or_else(|_| "of that name".to_owned(), |name| format!("`{name}`"));
        let message = format!("{title} has no credential field {named}");
        let meant = nearest(&args.field, known()).map(|word| format!("did you mean `{word}`?"));
        UserError::new(Exit::NotFound, "credential_field_not_found", message)
            .hint(format!("its fields: {}", known().collect::<Vec<_>>().join(", ")))
            .hint_if(meant)
    })
}

/// Returns the value as it was given.
fn read(source: &Source, label: &str, session: &Session) -> Result<Secret> {
    if source.from_stdin {
        return limited(std::io::stdin().lock(), "standard input");
    }
    if let Some(path) = &source.from_file {
        return from_file(path);
    }
    if let Some(name) = &source.from_env {
        let value = session.environment.text(name)?;
        return value.map(Secret::from).ok_or_else(|| {
            UserError::new(
                Exit::Usage,
                "variable_not_set",
                format!("the variable `{}` is not set, or empty", name.escape_debug()),
            )
            .hint("give the name of the variable, not the credential; it must be exported")
            .into()
        });
    }
    if let Some(command) = &source.from_command {
        let words = secret_command::split(Printed::Credential, command)?;
        let limit = secret_command::TIME_LIMIT;
        return Ok(secret_command::run(Printed::Credential, &words, &session.environment, limit)?);
    }
    let prompter = session.output.ask("--from-stdin")?;
    match prompter.secret(label)?.given()? {
        Some(typed) => Ok(Secret::from(typed.as_str().to_owned())),
        None => Err(UserError::new(Exit::Usage, "nothing_typed", "nothing was typed, and nothing was changed").into()),
    }
}

fn from_file(path: &Path) -> Result<Secret> {
    let shown = path.display();
    match std::fs::File::open(path) {
        Ok(file) => limited(file, &format!("`{shown}`")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(UserError::new(Exit::NotFound, "file_not_found", format!("`{shown}` does not exist"))
                .hint("--from-file takes the path of a file that holds the credential and nothing else")
                .into())
        }
        Err(error) => {
            Err(UserError::new(Exit::Invalid, "file_unreadable", format!("`{shown}` cannot be read: {error}")).into())
        }
    }
}

/// Returns all there is to read, unless that is more than any credential.
fn limited(from: impl Read, what: &str) -> Result<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or_default() + 1));
    from.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("reading {what}"))?;
    if bytes.len() as u64 > LONGEST {
        let message = format!("{what} holds more than any credential has");
        return Err(UserError::new(Exit::Invalid, "secret_too_long", message).into());
    }
    Ok(Secret::try_from(std::mem::take(&mut *bytes))?)
}

/// Returns the value to store: without the newline that most ways leave behind it, and of the form the field wants.
fn checked(value: Secret, field: &Name, spec: &SecretSpec, session: &Session) -> Result<Secret> {
    let text = value.expose();
    let cut = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    let value = match cut {
        Some(cut) => {
            session.output.note("one newline at the end was dropped");
            Secret::from(cut.to_owned())
        }
        None => value,
    };
    let text = value.expose();
    if text.trim().is_empty() {
        return Err(UserError::new(Exit::Invalid, "secret_empty", format!("the value of `{field}` is empty"))
            .hint("nothing was changed; `skillsctl credential delete` takes one away")
            .into());
    }
    if !spec.fits(text) {
        let message = format!("this value does not look like `{field}` ({}): it has another form", spec.title);
        let help = spec.help.as_ref().map(|help| help.split_whitespace().collect::<Vec<_>>().join(" "));
        return Err(UserError::new(Exit::Invalid, "secret_malformed", message)
            .hint("nothing was changed; see where it comes from in `skillsctl provider show`")
            .hint_if(help)
            .into());
    }
    if text.trim() != text {
        session.output.warn(format!("the value of `{field}` begins or ends with white space, which is kept"));
    }
    Ok(value)
}
