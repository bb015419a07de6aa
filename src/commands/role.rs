//! `role`: which users of the operating system may do what when sudo runs the program for them.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::change::{self, Changed};
use crate::domain::names::Slug;
use crate::domain::role::{Role, RoleName};
use crate::error::{Exit, UserError};
use crate::output::{self, ALWAYS, Cell, Column, List};
use crate::session::Session;
use crate::store::grants::{self, Grant};
use crate::store::organizations;

/// Say who may do what when sudo runs the program for them
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// List the users that have a role
    #[command(after_help = "Examples:\n  skillsctl role list\n  skillsctl role list --json")]
    List,
    Grant(GrantArgs),
    Revoke(RevokeArgs),
    /// Show the role that this command has
    #[command(after_help = "Examples:\n  skillsctl role show\n  skillsctl role show --role operator --json")]
    Show,
}

/// Give a user of this machine a role, in the place of the one they have
///
/// It holds where sudo runs the program for them as the user that owns the database. `skillsctl help roles` says what each
/// role may do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl role grant ann super\n  skillsctl role grant ci provisioner\n  skillsctl role grant bob tenant acme"
)]
pub(crate) struct GrantArgs {
    /// Name of the user, as `id -un` prints it
    #[arg(value_name = "USER", value_parser = user)]
    user: String,
    /// The role
    #[arg(id = "granted", value_name = "ROLE", value_enum)]
    role: RoleName,
    /// The organization of a tenant
    #[arg(value_name = "ORG")]
    org: Option<Slug>,
}

/// Take a user's role away
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl role revoke bob\n  skillsctl role revoke bob --dry-run")]
pub(crate) struct RevokeArgs {
    /// Name of the user
    #[arg(value_name = "USER", value_parser = user)]
    user: String,
}

/// Returns the name of a user: what may be one depends on the machine, but nothing in it is hidden or divides it.
fn user(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '\\' | '$' | '+');
    if text.is_empty() || text.len() > 256 || text.starts_with('-') || !text.chars().all(fine) {
        return Err(format!("`{}` is not the name of a user", text.escape_debug()));
    }
    Ok(text.to_owned())
}

pub(crate) fn run(command: RoleCommand, session: &Session) -> Result<Exit> {
    match command {
        RoleCommand::List => list(session),
        RoleCommand::Grant(args) => grant(&args, session),
        RoleCommand::Revoke(args) => revoke(&args, session),
        RoleCommand::Show => show(session),
    }
}

/// A grant as scripts see it.
#[derive(Debug, Serialize)]
struct Shown {
    user: String,
    role: RoleName,
    organization: Option<Slug>,
    granted_by: String,
    #[serde(serialize_with = "output::instant")]
    granted_at: DateTime<Utc>,
}

fn list(session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let shown = |grant: Grant| Shown {
        role: grant.role.name(),
        organization: organization_of(&grant.role).cloned(),
        user: grant.user,
        granted_by: grant.by,
        granted_at: grant.at,
    };
    let grants: Vec<Shown> = grants::all(store.read())?.into_iter().map(shown).collect();
    let list = List {
        kind: "RoleList",
        items: &grants,
        warnings: Vec::new(),
        name: |grant| grant.user.clone(),
        empty: "nobody has a role: only root and the owner of the database, both super admins, may do anything",
    };
    session.output.list(
        list,
        [
            Column { header: "user", priority: ALWAYS, cell: |grant, _| Cell::text(&grant.user) },
            Column { header: "role", priority: ALWAYS, cell: |grant, _| Cell::text(grant.role.as_str()) },
            Column {
                header: "organization",
                priority: ALWAYS,
                cell: |grant, _| Cell::text_or_empty(grant.organization.as_ref().map(Slug::as_str)),
            },
            Column { header: "by", priority: 1, cell: |grant, _| Cell::text(&grant.granted_by) },
            Column { header: "since", priority: 2, cell: |grant, _| Cell::time(grant.granted_at) },
        ],
    )?;
    Ok(Exit::Done)
}

fn organization_of(role: &Role) -> Option<&Slug> {
    if let Role::Tenant(organization) = role { Some(organization) } else { None }
}

fn grant(args: &GrantArgs, session: &Session) -> Result<Exit> {
    let role = Role::new(args.role, args.org.clone()).map_err(|message| {
        UserError::new(Exit::Usage, "invalid_role", message)
            .hint("`skillsctl role grant USER tenant ORG`, and no ORG for other roles")
    })?;
    let mut store = session.store()?;
    let changed = store.change(session.keep, |tx| {
        let organization = match organization_of(&role) {
            Some(slug) => Some(organizations::by_slug(tx, slug.as_str())?.id),
            None => None,
        };
        let before = grants::of(tx, &args.user)?.map(|grant| grant.role.to_string());
        let after = role.to_string();
        if before.as_ref() == Some(&after) {
            return Ok(Changed::unchanged(session, &args.user));
        }
        let grant = Grant { user: args.user.clone(), role, by: session.actor.clone(), at: session.now };
        grants::put(tx, &grant, organization)?;
        change::record(tx, session, ("role grant", &args.user), (before.as_deref(), Some(&after)))?;
        let outcome = if before.is_some() { "changed" } else { "created" };
        let change = output::Change { path: "role".into(), before, after: Some(after), note: None };
        Ok(Changed { changes: vec![change], ..Changed::new(session, &args.user, outcome) })
    })?;
    changed.tell(session, "RoleChange")
}

fn revoke(args: &RevokeArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let changed = store.change(session.keep, |tx| {
        let Some(grant) = grants::of(tx, &args.user)? else { return Ok(Changed::unchanged(session, &args.user)) };
        let before = grant.role.to_string();
        grants::delete(tx, &args.user)?;
        change::record(tx, session, ("role revoke", &args.user), (Some(&before), None))?;
        let change = output::Change { path: "role".into(), before: Some(before), after: None, note: None };
        Ok(Changed { changes: vec![change], ..Changed::new(session, &args.user, "deleted") })
    })?;
    changed.tell(session, "RoleChange")
}

/// The role that this command has.
#[derive(Debug, Serialize)]
struct Own<'a> {
    role: RoleName,
    organization: Option<&'a Slug>,
    caller: &'a str,
}

fn show(session: &Session) -> Result<Exit> {
    let Some(role) = &session.role else { return Ok(Exit::Done) };
    let own = Own { role: role.name(), organization: organization_of(role), caller: &session.actor };
    session.output.one("Role", &own, |_| format!("{role}\n"))?;
    Ok(Exit::Done)
}
