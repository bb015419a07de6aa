//! `powerbi`: what an embedded report is given: filters, and which role sees which report.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::domain::entity::Entity;
use crate::domain::filter;
use crate::domain::names::Slug;
use crate::error::Exit;
use crate::lookup;
use crate::output::{ALWAYS, Cell, Column, List};
use crate::session::Session;
use crate::store::organizations;

/// Print what Power BI needs for an organization
#[derive(Debug, Subcommand)]
pub(crate) enum PowerbiCommand {
    Filters(FiltersArgs),
    Roles(RolesArgs),
}

/// Print an organization's filters as Power BI filter objects, always as JSON
///
/// `filters` is what an embedded report takes as its `filters`. They always begin with one on `organization_slug`, so that
/// a report shows this organization only. Disabled providers are left out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl powerbi filters acme\n  skillsctl powerbi filters acme aptem")]
pub(crate) struct FiltersArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Only the filters of this provider
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
}

/// List which role sees which reports
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl powerbi roles acme\n  skillsctl powerbi roles acme --json")]
pub(crate) struct RolesArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
}

pub(crate) fn run(command: PowerbiCommand, session: &Session) -> Result<Exit> {
    match command {
        PowerbiCommand::Filters(args) => filters(&args, session),
        PowerbiCommand::Roles(args) => roles(&args, session),
    }
}

#[derive(Debug, Serialize)]
struct Filters {
    kind: &'static str,
    v: u8,
    organization: Slug,
    filters: Vec<Value>,
}

fn filters(args: &FiltersArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let integrations = match &args.provider {
        Some(provider) => vec![lookup::one_integration(connection, &organization, provider)?],
        None => lookup::pinned_integrations(connection, &organization)?,
    };
    let enabled: Vec<_> = integrations.iter().filter(|integration| integration.settings.enabled()).collect();
    // Whatever the settings say, a report shows one organization only.
    let own = Entity::ALL
        .into_iter()
        .filter(|entity| enabled.iter().any(|integration| integration.manifest.kind.entity() == *entity))
        .map(|entity| filter::of_organization(entity, &organization.slug));
    let set = enabled.iter().flat_map(|integration| {
        let kind = integration.manifest.kind;
        integration.settings.filters().into_iter().map(move |(column, condition)| condition.power_bi(&column, kind))
    });
    let filters = own.chain(set).collect();
    let document = Filters { kind: "PowerbiFilters", v: 1, organization: organization.slug.clone(), filters };
    session.output.document(&(serde_json::to_string_pretty(&document)? + "\n"))?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Role {
    organization: Slug,
    role: String,
    reports: Vec<String>,
}

fn roles(args: &RolesArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::pinned_preset(connection, &catalog, &organization)?;
    let items: Vec<Role> = preset
        .role_reports
        .into_iter()
        .map(|(role, reports)| Role { organization: organization.slug.clone(), role, reports })
        .collect();
    let list = List {
        kind: "PowerbiRoleList",
        items: &items,
        warnings: Vec::new(),
        name: |role: &Role| role.role.clone(),
        empty: "the defaults assign no reports to roles",
    };
    session.output.list(
        list,
        [
            Column { header: "ROLE", priority: ALWAYS, cell: |role, _| Cell::text(&role.role) },
            Column { header: "REPORTS", priority: 90, cell: |role, _| Cell::text(role.reports.join(", ")) },
        ],
    )?;
    Ok(Exit::Done)
}
