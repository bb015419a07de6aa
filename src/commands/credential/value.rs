//! Takes values of credential fields in by one of five ways, none of them an argument.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use zeroize::Zeroizing;

use crate::config::secret_command::{self, Printed};
use crate::domain::manifest::SecretSpec;
use crate::domain::names::Name;
use crate::error::{Exit, UserError, nearest};
use crate::secrets::Secret;
use crate::session::Session;

/// Where the value comes from; asked for on the terminal where none is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Source {
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

impl Source {
    /// Returns whether it says where the value comes from.
    pub(super) fn is_given(&self) -> bool {
        self.from_stdin || self.from_file.is_some() || self.from_env.is_some() || self.from_command.is_some()
    }
}

/// More than any credential, a private key in PEM included.
const LONGEST: u64 = 64 << 10;

/// Returns the field that is meant, if the manifest declares it.
pub(super) fn declared<'m>(
    field: &str,
    title: &str,
    secrets: &'m BTreeMap<Name, SecretSpec>,
) -> Result<(&'m Name, &'m SecretSpec), UserError> {
    secrets.get_key_value(field).ok_or_else(|| {
        let known = || secrets.keys().map(Name::as_str);
        let meant = nearest(field, known());
        // What is near no name may be the credential itself, given in the wrong place.
        let named = meant.map_or_else(|| "of that name".to_owned(), |_| format!("`{}`", field.escape_debug()));
        let message = format!("{title} has no credential field {named}");
        let meant = meant.map(|word| format!("did you mean `{word}`?"));
        UserError::new(Exit::NotFound, "credential_field_not_found", message)
            .hint(format!("its fields: {}", known().collect::<Vec<_>>().join(", ")))
            .hint_if(meant)
    })
}

/// Returns the value of one field, of the form that it wants. `place` says in words whose it is.
pub(super) fn of_one(
    source: &Source,
    (field, spec): (&Name, &SecretSpec),
    place: &str,
    session: &Session,
) -> Result<Secret> {
    checked(read(source, &format!("{} of {place}", spec.title), session)?, field, spec, session)
}

/// Returns the values of several fields: asked for one after the other, or given as one JSON object.
pub(super) fn of_several<'m>(
    source: &Source,
    fields: &[(&'m Name, &'m SecretSpec)],
    place: &str,
    session: &Session,
) -> Result<Vec<(&'m Name, Secret)>> {
    if !source.is_given() {
        let asked = fields.iter().map(|(name, spec)| Ok((*name, of_one(source, (name, spec), place, session)?)));
        return asked.collect();
    }
    let names = fields.iter().map(|(name, _)| format!("\"{name}\": \"...\"")).collect::<Vec<_>>().join(", ");
    // What is wrong with it is not said: it is full of secrets.
    let wrong = || {
        UserError::new(Exit::Invalid, "not_the_fields", "this is not a JSON object of a text for each field")
            .hint(format!("nothing was changed; several fields are given as {{{names}}}"))
    };
    let given = read(source, "the values", session)?;
    let mut values: BTreeMap<String, String> = serde_json::from_str(given.expose()).map_err(|_| wrong())?;
    let taken = fields.iter().map(|(name, spec)| {
        let value = Secret::from(values.remove(name.as_str()).ok_or_else(wrong)?);
        Ok((*name, checked(value, name, spec, session)?))
    });
    let taken = taken.collect::<Result<_>>()?;
    if values.into_values().map(Secret::from).count() > 0 { Err(wrong().into()) } else { Ok(taken) }
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
