//! `credential`: what logs in at providers. Values go in and never come out.

mod deposit;
mod sealing_key;
mod set;
mod test;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

pub(super) use test::{TestArgs, run as test};

use super::change::declined;
use crate::domain::manifest::{Need, secrets_needed};
use crate::domain::names::Name;
use crate::error::{Exit, UserError, nearest};
use crate::lookup::{self, Integration};
use crate::output::{ALWAYS, Cell, Column, List, State};
use crate::session::Session;
use crate::store::credentials::{self, Credential};
use crate::store::deposits::{self, Deposit};
use crate::store::organizations::{self, Organization};
use crate::store::providers::{self, Provider};
use crate::store::{Keep, audit, stamp};
use deposit::Waiting;

/// Set, list, test and delete the credentials of an organization
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(ListArgs),
    Set(set::SetArgs),
    Test(test::TestArgs),
    Delete(DeleteArgs),
    #[command(subcommand)]
    SealingKey(sealing_key::Verb),
}

/// List every credential field of an organization's providers: whether it is set, never its value
///
/// Works without the master key.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl credential list acme\n  skillsctl credential list acme --json")]
struct ListArgs {
    /// Slug of the organization
    org: String,
}

/// Delete a credential of an organization
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential delete acme aptem api_key\n  skillsctl credential delete acme aptem api_key --yes --if-exists"
)]
struct DeleteArgs {
    /// Slug of the organization
    org: String,
    /// Slug of the provider; also one that the organization's preset no longer has
    provider: String,
    /// Name of the field
    field: String,
    /// End well where it is not set
    #[arg(long)]
    if_exists: bool,
}

pub(crate) fn run(args: CredentialArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list(&args, session),
        Verb::Set(args) => set::run(&args, session),
        Verb::Test(args) => test::run(&args, session),
        Verb::Delete(args) => delete(&args, session),
        Verb::SealingKey(verb) => sealing_key::run(verb, session),
    }
}

/// What is known of a credential field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum FieldState {
    Set,
    /// Not set, and a deposit of it waits for a process that has the master key.
    Deposited,
    /// Not set, and its deposit did not open or does not have the form of the field.
    DepositRefused,
    /// Not set, and no sync can start without it.
    Missing,
    /// Not set, and not needed.
    Optional,
    /// Not set, and of no use with the way of authentication that is chosen.
    Unused,
    /// Set, but nothing reads it: its provider is not in the preset, or another way of authentication is chosen.
    Dormant,
}

impl FieldState {
    fn of(need: Need, set: bool, deposit: Option<&Deposit>) -> Self {
        match (need, set) {
            (Need::Unused, true) => FieldState::Dormant,
            (_, true) => FieldState::Set,
            (_, false) if deposit.is_some_and(|deposit| deposit.refused.is_some()) => FieldState::DepositRefused,
            (_, false) if deposit.is_some() => FieldState::Deposited,
            (Need::Required, false) => FieldState::Missing,
            (Need::Optional, false) => FieldState::Optional,
            (Need::Unused, false) => FieldState::Unused,
        }
    }

    fn cell(self) -> Cell {
        match self {
            FieldState::Set => Cell::state(State::Ok, "set"),
            FieldState::Deposited => Cell::state(State::Neutral, "deposited"),
            FieldState::DepositRefused => Cell::state(State::Failed, "deposit refused"),
            FieldState::Missing => Cell::state(State::Failed, "missing"),
            FieldState::Optional => Cell::state(State::Neutral, "optional"),
            FieldState::Unused => Cell::state(State::Neutral, "unused"),
            FieldState::Dormant => Cell::state(State::Neutral, "dormant"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Field {
    provider: Name,
    field: Name,
    title: Option<String>,
    state: FieldState,
    version: Option<i64>,
    fingerprint: Option<String>,
    set_at: Option<String>,
    set_by: Option<String>,
    /// A value that waits to be taken in, also where one is set; null without one.
    deposit: Option<Waiting>,
    #[serde(skip)]
    at: Option<DateTime<Utc>>,
}

impl Field {
    fn new(
        (provider, field): (&Name, &Name),
        title: Option<&str>,
        state: FieldState,
        stored: Option<&Credential>,
        deposit: Option<&Deposit>,
    ) -> Self {
        Field {
            provider: provider.clone(),
            field: field.clone(),
            title: title.map(ToOwned::to_owned),
            state,
            version: stored.map(|stored| stored.version),
            fingerprint: stored.map(|stored| stored.fingerprint.clone()),
            set_at: stored.map(|stored| stamp(stored.created_at)),
            set_by: stored.map(|stored| stored.created_by.clone()),
            deposit: deposit.map(Waiting::new),
            at: stored.map(|stored| stored.created_at),
        }
    }
}

fn list(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let integrations = lookup::pinned_integrations(connection, &organization)?;
    let stored = (credentials::all(connection, organization.id)?, deposits::all(connection, organization.id)?);
    let fields = fields(&integrations, &stored.0, &stored.1);
    let list = List {
        kind: "CredentialList",
        items: &fields,
        warnings: Vec::new(),
        name: |field| format!("{}/{}", field.provider, field.field),
        empty: "no provider of this organization has credentials",
    };
    session.output.list(
        list,
        [
            Column { header: "provider", priority: ALWAYS, cell: |field, _| Cell::text(field.provider.as_str()) },
            Column { header: "field", priority: ALWAYS, cell: |field, _| Cell::text(field.field.as_str()) },
            Column { header: "state", priority: ALWAYS, cell: |field, _| field.state.cell() },
            Column {
                header: "version",
                priority: 2,
                cell: |field, _| field.version.map_or(Cell::Empty, |version| Cell::text(version.to_string())),
            },
            Column {
                header: "fingerprint",
                priority: 3,
                cell: |field, _| Cell::text_or_empty(field.fingerprint.as_deref()),
            },
            Column { header: "set", priority: 4, cell: |field, _| Cell::time(field.at) },
            Column {
                header: "deposited",
                priority: 2,
                cell: |field, _| Cell::time(field.deposit.as_ref().map(|deposit| deposit.at)),
            },
            Column { header: "by", priority: 1, cell: |field, _| Cell::text_or_empty(field.set_by.as_deref()) },
        ],
    )?;
    Ok(Exit::Done)
}

/// Returns the fields that the manifests declare, in the order of the preset, then what else is stored.
fn fields(integrations: &[Integration], stored: &[Credential], deposits: &[Deposit]) -> Vec<Field> {
    let find = |provider: &Name, field: &Name| {
        stored.iter().find(|credential| credential.provider == *provider && credential.field == *field)
    };
    let deposit = |provider: &Name, field: &Name| {
        deposits.iter().find(|deposit| deposit.provider == *provider && deposit.field == *field)
    };
    let mut fields = Vec::new();
    for Integration { provider, manifest, settings, .. } in integrations {
        let mut declared: Vec<Field> = secrets_needed(manifest, settings)
            .into_iter()
            .map(|(name, need)| {
                let (stored, deposit) = (find(&provider.slug, name), deposit(&provider.slug, name));
                let title = manifest.secrets.get(name).map(|spec| spec.title.as_str());
                let state = FieldState::of(need, stored.is_some(), deposit);
                Field::new((&provider.slug, name), title, state, stored, deposit)
            })
            .collect();
        // What is of use comes first.
        declared.sort_by_key(|field| matches!(field.state, FieldState::Unused | FieldState::Dormant));
        fields.append(&mut declared);
    }
    let names = stored.iter().map(|credential| (&credential.provider, &credential.field));
    for name @ (provider, field) in names.chain(deposits.iter().map(|deposit| (&deposit.provider, &deposit.field))) {
        if !fields.iter().any(|known| known.provider == *provider && known.field == *field) {
            let (stored, deposit) = (find(provider, field), deposit(provider, field));
            fields.push(Field::new(name, None, FieldState::Dormant, stored, deposit));
        }
    }
    fields
}

#[derive(Debug, Serialize)]
struct Deleted<'a> {
    organization: &'a str,
    provider: &'a str,
    field: &'a str,
    /// `deleted` or `unchanged`.
    outcome: &'static str,
}

fn delete(args: &DeleteArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let provider = providers::by_slug(store.read(), &args.provider)?;
    let present = credentials::find(store.read(), organization.id, provider.id, &args.field)?;
    let waiting = deposits::find(store.read(), (organization.id, provider.id), &args.field)?;
    if present.is_none() && waiting.is_none() && !args.if_exists {
        return Err(not_set(&organization, &provider, &args.field, &credentials::all(store.read(), organization.id)?));
    }
    let is_there = present.is_some() || waiting.is_some();
    if is_there {
        let known = match &present {
            Some(present) => format!("version {}, fingerprint {}", present.version, present.fingerprint),
            None => "deposited, not taken in yet".to_owned(),
        };
        let what = format!("Delete {} of {} for {} ({known})?", args.field, provider.name, organization.slug);
        if session.keep == Keep::Yes && !session.output.confirm_harm(&what)? {
            return Err(declined().into());
        }
        store.change(session.keep, |tx| {
            credentials::delete(tx, organization.id, provider.id, &args.field)?;
            if let Some(waiting) = &waiting {
                deposits::delete(tx, waiting.id)?;
            }
            let entry = audit::Entry {
                actor: &session.actor,
                action: "credential delete",
                subject: &format!("{}/{}/{}", organization.slug, provider.slug, args.field),
                before: present.as_ref().map(|present| present.fingerprint.as_str()),
                after: None,
            };
            audit::insert(tx, session.now, &entry)
        })?;
        if session.keep == Keep::Yes {
            store.checkpoint()?;
        }
    }
    let deleted = Deleted {
        organization: organization.slug.as_str(),
        provider: provider.slug.as_str(),
        field: &args.field,
        outcome: if is_there { "deleted" } else { "unchanged" },
    };
    session.output.one("CredentialDeleted", &deleted, |_| deleted.outcome.to_owned())?;
    session.note_dry_run();
    if is_there && session.keep == Keep::Yes {
        session.output.note(format!("backups still hold it, sealed; to be sure, replace it at {}", provider.name));
    }
    Ok(Exit::Done)
}

fn not_set(organization: &Organization, provider: &Provider, field: &str, stored: &[Credential]) -> anyhow::Error {
    let known = stored.iter().filter(|credential| credential.provider == provider.slug);
    let meant = nearest(field, known.map(|credential| credential.field.as_str()));
    let message = format!("`{}` of {} is not set for `{}`", field.escape_debug(), provider.name, organization.slug);
    UserError::new(Exit::NotFound, "credential_not_set", message)
        .hint(format!("`skillsctl credential list {}` shows what is", organization.slug))
        .hint_if(meant.map(|word| format!("did you mean `{word}`?")))
        .into()
}
