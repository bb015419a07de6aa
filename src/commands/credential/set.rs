//! `credential set`: takes a value in and seals it, in place of what there was.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::deposit::{self, DepositArgs};
use super::value::{self, Source};
use crate::error::{Exit, UserError};
use crate::lookup;
use crate::session::Session;
use crate::store::credentials::Stage;
use crate::store::{Keep, audit, credentials, organizations, stamp};

/// Set a credential of an organization; its value is asked for, hidden, or read from elsewhere
///
/// It is in force at once, and what it replaces is gone; `credential rotate` tests a new value first and keeps the one it replaces for
/// a while. The value is never an argument: it would stay in the history of the shell and be seen by others on the machine.
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

pub(super) fn run(args: &SetArgs, session: &Session) -> Result<Exit> {
    if !args.refused.is_empty() {
        return Err(on_command_line().into());
    }
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let integration = lookup::one_integration(store.read(), &organization, &args.provider)?;
    let provider = &integration.provider;
    let (field, spec) = value::declared(&args.field, &provider.name, &integration.manifest.secrets)?;
    // Before anybody types a secret in vain, and before anything is written.
    let vault = args.deposit.vault(session, &store)?;
    let place = format!("{} for {}", provider.name, organization.name);
    let value = value::of_one(&args.source, (field, spec), &place, session)?;
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
    if changed && session.keep == Keep::Yes {
        // What it has replaced is gone.
        store.checkpoint()?;
    }
    if credentials::find_in(store.read(), (organization.id, provider.id), field.as_str(), Stage::Pending)?.is_some() {
        let pair = format!("{} {}", organization.slug, provider.slug);
        session.output.note(format!(
            "another value of `{field}` is pending: `skillsctl credential rotate {pair}` puts it in force, with `--abort` drops it"
        ));
    }
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
