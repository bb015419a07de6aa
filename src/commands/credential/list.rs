//! `credential list`: what is set and what is missing, how old it is, and what waits or was replaced.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::deposit::Waiting;
use crate::domain::duration::Length;
use crate::domain::manifest::{Need, secrets_needed};
use crate::domain::names::{Name, Slug};
use crate::error::Exit;
use crate::lookup::{self, Integration, Library};
use crate::output::{ALWAYS, Cell, Column, List, Look, State};
use crate::session::Session;
use crate::store::credentials::{self, Credential, Stage};
use crate::store::deposits::{self, Deposit};
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, stamp};

/// List credential fields: whether they are set and since when, never their values
///
/// Of one organization all fields of its providers are listed; of all organizations, or with a filter, those that hold a value. Works
/// without the master key.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential list acme\n  skillsctl credential list --older-than 90d\n  skillsctl credential list --stage pending --json"
)]
pub(super) struct ListArgs {
    /// Slug of the organization; all of them without it
    org: Option<String>,
    /// Only values in force that were set longer ago than this, like `90d`
    #[arg(long, value_name = "AGE")]
    older_than: Option<Length>,
    /// Only values of this stage
    #[arg(long, value_name = "STAGE", conflicts_with = "older_than")]
    stage: Option<Stage>,
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
    /// Set, and not in force before `credential rotate` has tested it.
    Pending,
    /// What the one in force has replaced.
    Previous,
}

impl FieldState {
    fn of(need: Need, stored: Option<&Credential>, deposit: Option<&Deposit>) -> Self {
        match (need, stored.map(|stored| stored.stage)) {
            (_, Some(Stage::Pending)) => FieldState::Pending,
            (_, Some(Stage::Previous)) => FieldState::Previous,
            (Need::Unused, Some(Stage::Current)) => FieldState::Dormant,
            (_, Some(Stage::Current)) => FieldState::Set,
            (_, None) if deposit.is_some_and(|deposit| deposit.refused.is_some()) => FieldState::DepositRefused,
            (_, None) if deposit.is_some() => FieldState::Deposited,
            (Need::Required, None) => FieldState::Missing,
            (Need::Optional, None) => FieldState::Optional,
            (Need::Unused, None) => FieldState::Unused,
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
            FieldState::Pending => Cell::state(State::Doubtful, "pending"),
            FieldState::Previous => Cell::state(State::Neutral, "previous"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Field {
    organization: Slug,
    provider: Name,
    field: Name,
    title: Option<String>,
    state: FieldState,
    /// `current`, `pending` or `previous`; null where nothing is stored.
    stage: Option<Stage>,
    version: Option<i64>,
    fingerprint: Option<String>,
    set_at: Option<String>,
    set_by: Option<String>,
    age_days: Option<i64>,
    /// How old its values may become; null where they may become as old as they like.
    max_age: Option<Length>,
    /// Whether the value in force is older than that.
    too_old: bool,
    /// A value that waits to be taken in, also where one is set; null without one.
    deposit: Option<Waiting>,
    #[serde(skip)]
    at: Option<DateTime<Utc>>,
}

/// The fields of one organization being listed.
struct Listing<'l> {
    organization: &'l Organization,
    integrations: &'l [Integration],
    stored: &'l [Credential],
    deposits: &'l [Deposit],
    now: DateTime<Utc>,
}

impl Listing<'_> {
    fn field(&self, (provider, field): (&Name, &Name), need: Need, stored: Option<&Credential>) -> Field {
        let integration = self.integrations.iter().find(|integration| integration.provider.slug == *provider);
        let spec = integration.and_then(|integration| integration.manifest.secrets.get(field));
        let max_age = spec.map(|spec| spec.max_age).unwrap_or_default();
        let at = stored.map(|stored| stored.created_at);
        let deposit = self.deposits.iter().find(|deposit| deposit.provider == *provider && deposit.field == *field);
        // Beside the value that it is to replace, not beside one that waits or was replaced.
        let deposit = deposit.filter(|_| stored.is_none_or(|stored| stored.stage == Stage::Current));
        let in_force = stored.is_some_and(|stored| stored.stage == Stage::Current);
        Field {
            organization: self.organization.slug.clone(),
            provider: provider.clone(),
            field: field.clone(),
            title: spec.map(|spec| spec.title.clone()),
            state: FieldState::of(need, stored, deposit),
            stage: stored.map(|stored| stored.stage),
            version: stored.map(|stored| stored.version),
            fingerprint: stored.map(|stored| stored.fingerprint.clone()),
            set_at: at.map(stamp),
            set_by: stored.map(|stored| stored.created_by.clone()),
            age_days: at.map(|at| (self.now - at).num_days()),
            max_age: max_age.length(),
            too_old: in_force && at.is_some_and(|at| max_age.is_over(at, self.now)),
            deposit: deposit.map(Waiting::new),
            at,
        }
    }

    /// Returns the fields that the manifests declare, in the order of the preset, then what else is stored.
    fn fields(&self) -> Vec<Field> {
        let of = |provider: &Name, field: &Name| {
            self.stored.iter().filter(|one| one.provider == *provider && one.field == *field).collect::<Vec<_>>()
        };
        let mut fields: Vec<Field> = Vec::new();
        for Integration { provider, manifest, settings, .. } in self.integrations {
            let mut declared = Vec::new();
            for (name, need) in secrets_needed(manifest, settings) {
                let (place, stages) = ((&provider.slug, name), of(&provider.slug, name));
                if !stages.iter().any(|stored| stored.stage == Stage::Current) {
                    declared.push(self.field(place, need, None));
                }
                declared.extend(stages.into_iter().map(|stored| self.field(place, need, Some(stored))));
            }
            // What is of use comes first.
            declared.sort_by_key(|field| matches!(field.state, FieldState::Unused | FieldState::Dormant));
            fields.append(&mut declared);
        }
        let is_declared = |provider: &Name, field: &Name| {
            let declared = self.integrations.iter().find(|integration| integration.provider.slug == *provider);
            declared.is_some_and(|integration| integration.manifest.secrets.contains_key(field))
        };
        for credential in self.stored {
            let Credential { provider, field, .. } = credential;
            if !is_declared(provider, field) {
                fields.push(self.field((provider, field), Need::Unused, Some(credential)));
            }
        }
        for Deposit { provider, field, .. } in self.deposits {
            if !is_declared(provider, field) && of(provider, field).is_empty() {
                fields.push(self.field((provider, field), Need::Unused, None));
            }
        }
        fields
    }
}

pub(super) fn run(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let mut fields = match &args.org {
        Some(org) => {
            let organization = organizations::by_slug(connection, org)?;
            let integrations = lookup::pinned_integrations(connection, &organization)?;
            let stored = credentials::every_stage(connection, organization.id)?;
            let deposits = deposits::all(connection, organization.id)?;
            let (organization, integrations) = (&organization, &integrations[..]);
            Listing { organization, integrations, stored: &stored, deposits: &deposits, now: session.now }.fields()
        }
        None => of_all(connection, session.now)?,
    };
    if args.org.is_none() || args.older_than.is_some() || args.stage.is_some() {
        let filtered = args.older_than.is_some() || args.stage.is_some();
        fields.retain(|field| field.stage.is_some() || (field.deposit.is_some() && !filtered));
    }
    if let Some(age) = args.older_than {
        let is_older = |at| session.now - at > age.delta();
        fields.retain(|field| field.stage == Some(Stage::Current) && field.at.is_some_and(is_older));
        fields.sort_by_key(|field| field.at);
    }
    fields.retain(|field| args.stage.is_none() || field.stage == args.stage);
    print(&fields, args.org.is_none(), session)?;
    Ok(Exit::Done)
}

/// Returns the fields of all organizations.
fn of_all(connection: &Connection, now: DateTime<Utc>) -> Result<Vec<Field>> {
    let library = Library::read(connection)?;
    let mut fields = Vec::new();
    for organization in organizations::all(connection, false)? {
        let stored = credentials::every_stage(connection, organization.id)?;
        let deposits = deposits::all(connection, organization.id)?;
        if stored.is_empty() && deposits.is_empty() {
            continue;
        }
        let preset = library.preset(connection, &organization)?;
        let integration = |(name, _): &(Name, _)| library.integration(connection, &organization, name.as_str());
        let integrations = preset.providers.iter().map(integration).collect::<Result<Vec<_>>>()?;
        let (organization, integrations) = (&organization, &integrations[..]);
        let listing = Listing { organization, integrations, stored: &stored, deposits: &deposits, now };
        fields.extend(listing.fields());
    }
    Ok(fields)
}

fn print(fields: &[Field], of_all: bool, session: &Session) -> Result<()> {
    let list = List {
        kind: "CredentialList",
        items: fields,
        warnings: Vec::new(),
        name: |field| format!("{}/{}/{}", field.organization, field.provider, field.field),
        empty: "no credential is like this",
    };
    let [provider, field, state, version, fingerprint, set, deposited, by] = columns();
    if of_all {
        let cell = |field: &Field, _: &Look| Cell::text(field.organization.as_str());
        let organization = Column { header: "organization", priority: ALWAYS, cell };
        return session
            .output
            .list(list, [organization, provider, field, state, version, fingerprint, set, deposited, by]);
    }
    session.output.list(list, [provider, field, state, version, fingerprint, set, deposited, by])
}

fn columns() -> [Column<Field>; 8] {
    [
        Column { header: "provider", priority: ALWAYS, cell: |field, _| Cell::text(field.provider.as_str()) },
        Column { header: "field", priority: ALWAYS, cell: |field, _| Cell::text(field.field.as_str()) },
        Column {
            header: "state",
            priority: ALWAYS,
            cell: |field, _| if field.too_old { Cell::state(State::Doubtful, "old") } else { field.state.cell() },
        },
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
    ]
}
