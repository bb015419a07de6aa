//! `org create`: by flags, or by a wizard where a person is there to answer.

use anyhow::Result;
use chrono_tz::Tz;
use clap::Args;

use super::super::change::{self, Changed};
use super::show::base_domain;
use super::wizard;
use crate::domain::manifest::secrets_missing;
use crate::domain::names::{self, Name, Slug};
use crate::domain::organization::{self, TIME_ZONE};
use crate::error::{Exit, UserError};
use crate::lookup::{self, Integration};
use crate::output::Change;
use crate::session::Session;
use crate::store::credentials::Credential;
use crate::store::organizations::{NewOrganization, Status};
use crate::store::presets::Summary;
use crate::store::{Connection, organizations, presets};

/// Create an organization
///
/// On a terminal a wizard asks for what is not given: name and subdomain, preset, billing contact. Nothing is written
/// before the final yes. The organization takes the newest defaults of its preset and stays on them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org create\n  skillsctl org create --name 'Acme Training Ltd' --subdomain acme --preset aptem_hubspot\n  skillsctl org create --name 'ABC Training' --subdomain abc --preset aptem --max-learners 500 --billing-email finance@abc.example --if-not-exists"
)]
pub(crate) struct CreateArgs {
    /// Name of the organization
    #[arg(long, value_parser = organization::name)]
    pub(super) name: Option<String>,
    /// Subdomain, which is also the slug that commands take
    #[arg(long, visible_alias = "slug", value_name = "SLUG", value_parser = organization::subdomain)]
    pub(super) subdomain: Option<Slug>,
    /// Preset to use
    #[arg(long, value_name = "PRESET")]
    pub(super) preset: Option<String>,
    /// Largest number of learners that are stored
    #[arg(long, value_name = "N", value_parser = organization::max_learners)]
    pub(super) max_learners: Option<u32>,
    /// Name of the billing contact
    #[arg(long, value_name = "NAME", value_parser = organization::name)]
    pub(super) billing_name: Option<String>,
    /// E-mail address of the billing contact
    #[arg(long, value_name = "EMAIL", value_parser = organization::email)]
    pub(super) billing_email: Option<String>,
    /// Time zone that schedules are read in
    #[arg(long, value_name = "ZONE", default_value = TIME_ZONE, value_parser = organization::time_zone)]
    pub(super) time_zone: Tz,
    /// Do nothing if the organization is there already
    #[arg(long)]
    if_not_exists: bool,
}

/// Everything that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) slug: Slug,
    pub(super) preset: Summary,
    pub(super) max_learners: Option<u32>,
    pub(super) billing_name: Option<String>,
    pub(super) billing_email: Option<String>,
    pub(super) time_zone: Tz,
}

pub(super) fn run(args: CreateArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    if args.if_not_exists
        && let Some(slug) = &args.subdomain
        && let Some(present) = organizations::find(store.read(), slug.as_str())?
        && present.status != Status::Deleted
    {
        return Changed { revision: Some(present.defaults_revision), ..Changed::unchanged(session, slug) }
            .tell(session, "OrgChange");
    }
    let wanted = wanted(args, store.read(), session)?;
    let changed = store.change(session.keep, |tx| create(tx, session, &wanted))?;
    changed.tell(session, "OrgChange")
}

/// Returns the answers: those of the flags, and from a person those that are missing.
fn wanted(args: CreateArgs, connection: &Connection, session: &Session) -> Result<Wanted> {
    let missing: Vec<&str> = [
        ("--name", args.name.is_none()),
        ("--subdomain", args.subdomain.is_none()),
        ("--preset", args.preset.is_none()),
    ]
    .into_iter()
    .filter_map(|(flag, missing)| missing.then_some(flag))
    .collect();
    if !missing.is_empty() {
        session.output.require_terminal(&missing.join("`, `"))?;
        return wizard::ask(args, connection, session);
    }
    let (Some(name), Some(slug), Some(preset)) = (args.name, args.subdomain, args.preset) else {
        return Err(UserError::new(Exit::Usage, "input_needed", "name, subdomain and preset are needed").into());
    };
    Ok(Wanted {
        name,
        slug,
        preset: presets::by_slug(connection, &preset)?,
        max_learners: args.max_learners,
        billing_name: args.billing_name,
        billing_email: args.billing_email,
        time_zone: args.time_zone,
    })
}

/// Stores the organization on the newest defaults of its preset, and says what it still needs.
fn create(tx: &Connection, session: &Session, wanted: &Wanted) -> Result<Changed> {
    let preset = presets::by_slug(tx, wanted.preset.slug.as_str())?;
    let new = NewOrganization {
        slug: wanted.slug.clone(),
        name: wanted.name.clone(),
        preset_id: preset.id,
        defaults_revision: preset.revision,
        max_learners: wanted.max_learners,
        billing_name: wanted.billing_name.clone(),
        billing_email: wanted.billing_email.clone(),
        time_zone: wanted.time_zone,
    };
    distinct(tx, new.slug.as_str(), &new.name)?;
    organizations::insert(tx, &new, session.now)?;
    let organization = organizations::by_slug(tx, wanted.slug.as_str())?;
    let document = super::edit::document(&organization);
    change::record(tx, session, ("org create", wanted.slug.as_str()), (None, Some(&document)))?;
    let catalog = lookup::catalog(tx)?;
    let defaults = lookup::pinned_preset(tx, &catalog, &organization)?;
    let integrations = lookup::integrations(tx, &organization, &defaults)?;
    let said = |path: &str, value: String| Change { path: path.into(), before: None, after: Some(value), note: None };
    let base = base_domain(tx)?;
    let mut changes = vec![
        said("name", organization.name.clone()),
        said("subdomain", format!("{}.{base}", organization.slug)),
        said("preset", format!("{} ({})", organization.preset_name, organization.preset)),
        said("time_zone", organization.time_zone.name().to_owned()),
    ];
    let optional = [
        ("max_learners", organization.max_learners.map(|number| number.to_string())),
        ("billing_name", organization.billing_name.clone()),
        ("billing_email", organization.billing_email.clone()),
    ];
    changes.extend(optional.into_iter().filter_map(|(path, value)| Some(said(path, value?))));
    Ok(Changed {
        revision: Some(organization.defaults_revision),
        changes,
        next: next_steps(organization.slug.as_str(), &integrations, &[]),
        ..Changed::new(session, &organization.slug, "created")
    })
}

/// Returns the commands for what is missing before a sync: settings, credentials other than those present, the sync.
pub(super) fn next_steps(slug: &str, integrations: &[Integration], present: &[Credential]) -> Vec<String> {
    let mut next = Vec::new();
    for integration in integrations.iter().filter(|integration| integration.settings.enabled()) {
        let (provider, manifest) = (&integration.provider.slug, &integration.manifest);
        for name in integration.settings.missing(manifest) {
            let value = name.to_string().to_uppercase();
            next.push(format!("skillsctl override set {slug} {provider} {name}={value}"));
        }
        let set = |field: &Name| present.iter().any(|known| known.provider == *provider && known.field == *field);
        for field in secrets_missing(manifest, &integration.settings, set) {
            next.push(format!("skillsctl credential set {slug} {provider} {field}"));
        }
    }
    next.push(format!("skillsctl sync {slug}"));
    next
}

/// Fails where a name looks like that of another organization; one that was deleted may come back.
pub(super) fn distinct(connection: &Connection, slug: &str, name: &str) -> Result<()> {
    let known = organizations::all(connection, true)?;
    let others = known.iter().filter(|other| other.slug.as_str() != slug);
    Ok(names::distinct(name, others.map(|other| (other.slug.as_str(), other.name.as_str())))?)
}

/// Returns why a subdomain cannot be had, if it is taken.
pub(super) fn taken(connection: &Connection, slug: &Slug) -> Result<(), String> {
    match organizations::find(connection, slug.as_str()) {
        Ok(None) => Ok(()),
        Ok(Some(other)) => Err(format!("`{slug}` is taken by {}", other.name)),
        Err(error) => Err(error.to_string()),
    }
}
