//! `sync request`: asks for a sync, which the next `sync --all` performs.

use anyhow::Result;
use clap::Args;

use super::super::change::{self, Changed};
use super::{disabled, nothing_enabled, suspended};
use crate::domain::names::{Name, Slug};
use crate::error::Exit;
use crate::lookup;
use crate::session::Session;
use crate::store::organizations::{self, Status};
use crate::store::requests;

/// Ask for a sync of an organization, which the next `sync --all` performs
///
/// It is performed whatever the schedule says. Who asks needs no master key, and nothing is called from here. For each
/// provider one request can wait.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl sync request acme\n  skillsctl sync request acme --provider aptem\n  skillsctl sync request acme --json"
)]
pub(super) struct RequestArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: Slug,
    /// This provider only
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
}

pub(super) fn run(args: &RequestArgs, session: &Session) -> Result<Exit> {
    let slug = &args.org;
    let mut store = session.store_to_request()?;
    let organization = organizations::by_slug(store.read(), slug.as_str())?;
    if organization.status == Status::Suspended {
        return Err(suspended(slug).into());
    }
    let mut integrations = match &args.provider {
        Some(provider) => vec![lookup::one_integration(store.read(), &organization, provider.as_str())?],
        None => lookup::pinned_integrations(store.read(), &organization)?,
    };
    if let (Some(provider), [one]) = (&args.provider, integrations.as_slice())
        && !one.settings.enabled()
    {
        return Err(disabled(&one.provider.name, slug, provider).into());
    }
    integrations.retain(|integration| integration.settings.enabled());
    if integrations.is_empty() {
        return Err(nothing_enabled(slug).into());
    }
    let changed = store.change(session.keep, |tx| {
        let mut changed = Changed::unchanged(session, slug);
        for integration in &integrations {
            let provider = &integration.provider;
            if requests::insert(tx, (organization.id, provider.id), &session.actor, session.now)? {
                let subject = format!("{slug}/{}", provider.slug);
                change::record(tx, session, ("sync request", &subject), (None, None))?;
                changed.outcome = "requested";
                changed.notes.push(format!("the next `sync --all` syncs {}", provider.name));
            } else {
                changed.notes.push(format!("a sync of {} is waiting already", provider.name));
            }
        }
        Ok(changed)
    })?;
    changed.tell(session, "SyncRequest")
}
