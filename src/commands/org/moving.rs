//! `org upgrade` and `org set-preset`: an organization moves to other defaults, once it is known what that changes.

use anyhow::Result;
use clap::Args;

use super::super::change::{self, Changed};
use super::create::next_steps;
use crate::domain::difference::{self, Difference};
use crate::domain::entity::Entity;
use crate::domain::names::Name;
use crate::domain::preset::{Catalog, Preset};
use crate::error::Exit;
use crate::lookup::{self, Integration};
use crate::output::Change;
use crate::session::Session;
use crate::store::organizations::{self, Organization};
use crate::store::presets::Summary;
use crate::store::{Connection, Store, credentials, overrides, presets, records, state};

/// Move an organization to other defaults of its preset: the newest, or a revision
///
/// Shows each setting that would change for this organization first. What it overrides stays as it is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org upgrade acme --dry-run\n  skillsctl org upgrade acme --yes\n  skillsctl org upgrade acme --to 2"
)]
pub(crate) struct UpgradeArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Revision of the defaults to move to; the newest unless given
    #[arg(long, value_name = "N")]
    to: Option<u32>,
}

/// Move an organization to another preset, on its newest defaults
///
/// Syncs of providers that leave stop; their overrides, credentials and learners are kept, dormant. Overrides and
/// credentials of providers that both presets have stay in force.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org set-preset acme aptem --dry-run\n  skillsctl org set-preset acme aptem_hubspot --yes"
)]
pub(crate) struct SetPresetArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// The preset to move to
    #[arg(value_name = "PRESET")]
    preset: String,
}

pub(super) fn upgrade(args: &UpgradeArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let summary = presets::by_slug(store.read(), organization.preset.as_str())?;
    let to = args.to.unwrap_or(summary.revision);
    let unchanged = Changed { revision: Some(to), ..Changed::unchanged(session, &organization.slug) };
    if to == organization.defaults_revision {
        return unchanged.tell(session, "OrgChange");
    }
    move_to(&mut store, session, &organization, (&summary, to), ("org upgrade", "upgraded"))
}

pub(super) fn set_preset(args: &SetPresetArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let summary = presets::by_slug(store.read(), &args.preset)?;
    if summary.id == organization.preset_id {
        let mut unchanged = Changed::unchanged(session, &organization.slug);
        unchanged.revision = Some(organization.defaults_revision);
        if summary.revision > organization.defaults_revision {
            unchanged.next.push(format!("skillsctl org upgrade {} --dry-run", organization.slug));
        }
        return unchanged.tell(session, "OrgChange");
    }
    let revision = summary.revision;
    move_to(&mut store, session, &organization, (&summary, revision), ("org set-preset", "moved"))
}

/// Shows what a move changes, asks, and makes it in one transaction.
fn move_to(
    store: &mut Store,
    session: &Session,
    organization: &Organization,
    (summary, revision): (&Summary, u32),
    (action, outcome): (&str, &'static str),
) -> Result<Exit> {
    let slug = &organization.slug;
    let moving = Moving::new(store.read(), organization, summary, revision)?;
    moving.check()?;
    let mut changed = Changed {
        revision: Some(revision),
        changes: moving.changes(store.read())?,
        next: moving.next(store.read())?,
        ..Changed::new(session, slug, outcome)
    };
    // The first change is the preset or the revision itself.
    if organization.preset_id != summary.id || changed.changes.len() > 1 {
        let to = format!("{} defaults {revision}", summary.name);
        changed = changed.consented(session, &format!("Move {} ({slug}) to {to}?", organization.name))?;
    } else {
        changed.notes.push("no setting in force changes".into());
    }
    let stand = |organization: &Organization| format!("{}@{}", organization.preset, organization.defaults_revision);
    store.change(session.keep, |tx| {
        organizations::update(tx, &moving.moved, session.now)?;
        let active: Vec<i64> = moving.after.iter().map(|integration| integration.provider.id).collect();
        organizations::mark_dormant(tx, organization.id, &active)?;
        // Another provider may take over their rows: should they come back, all is read again.
        state::forget_others(tx, organization.id, &active)?;
        let (before, after) = (stand(organization), stand(&moving.moved));
        change::record(tx, session, (action, slug.as_str()), (Some(&before), Some(&after)))
    })?;
    changed.tell(session, "OrgChange")
}

/// An organization before and after a move.
struct Moving<'a> {
    organization: &'a Organization,
    moved: Organization,
    presets: (Preset, Preset),
    before: Vec<Integration>,
    after: Vec<Integration>,
}

impl<'a> Moving<'a> {
    fn new(connection: &Connection, organization: &'a Organization, summary: &Summary, revision: u32) -> Result<Self> {
        let catalog: Catalog = lookup::catalog(connection)?;
        let old = lookup::pinned_preset(connection, &catalog, organization)?;
        let new = lookup::preset_at(connection, &catalog, summary, revision)?;
        let moved = Organization {
            preset_id: summary.id,
            preset: summary.slug.clone(),
            preset_name: summary.name.clone(),
            defaults_revision: revision,
            providers: new.providers.iter().map(|(name, _)| name.clone()).collect(),
            ..organization.clone()
        };
        let before = lookup::integrations(connection, organization, &old)?;
        let after = lookup::integrations(connection, &moved, &new)?;
        Ok(Moving { organization, moved, presets: (old, new), before, after })
    }

    /// Fails where the organization's overrides do not go with the new defaults.
    fn check(&self) -> Result<()> {
        for integration in &self.after {
            super::super::overrides::check_streams(self.organization.slug.as_str(), integration)?;
        }
        Ok(())
    }

    /// Returns what changes: where it is pinned first, then provider by provider, then the reports.
    fn changes(&self, connection: &Connection) -> Result<Vec<Change>> {
        let mut differences = Vec::new();
        let (old, new) = (self.organization, &self.moved);
        if old.preset_id != new.preset_id {
            differences.extend(Difference::of("preset", Some(old.preset.to_string()), Some(new.preset.to_string())));
        } else {
            let revision = |organization: &Organization| Some(organization.defaults_revision.to_string());
            differences.extend(Difference::of("defaults", revision(old), revision(new)));
        }
        let mut changes = change::shown(differences);
        for name in difference::both(&self.presets.0, &self.presets.1) {
            let (before, after) = (of(&self.before, name), of(&self.after, name));
            match (before, after) {
                (Some(before), Some(after)) => {
                    changes.extend(change::shown(difference::effective(name, &before.settings, &after.settings)));
                }
                (Some(before), None) => changes.push(self.stops(connection, before)?),
                (None, Some(after)) => changes.push(self.starts(connection, after)?),
                (None, None) => {}
            }
        }
        changes.extend(change::shown(difference::role_reports(&self.presets.0, &self.presets.1)));
        Ok(changes)
    }

    /// Says of a provider that leaves what is kept of it.
    fn stops(&self, connection: &Connection, leaving: &Integration) -> Result<Change> {
        let provider = &leaving.provider;
        let rows = |entity| -> Result<u64> {
            let counts = records::counts(connection, self.organization.id, entity)?;
            Ok(counts.get(&provider.id).map_or(0, |counts| counts.iter().sum()))
        };
        let credentials = credentials::all(connection, self.organization.id)?;
        let credentials = credentials.iter().filter(|credential| credential.provider == provider.slug).count();
        let note = format!(
            "its syncs stop; {} overrides and {credentials} credentials are kept, dormant; {} learners and {} employers stay",
            leaving.overrides.overrides.len(),
            rows(Entity::Learner)?,
            rows(Entity::Employer)?
        );
        let before = Some(format!("synced {}", leaving.settings.frequency()));
        Ok(Change { path: provider.slug.to_string(), before, after: None, note: Some(note) })
    }

    /// Says of a provider that arrives what it finds here.
    fn starts(&self, connection: &Connection, arriving: &Integration) -> Result<Change> {
        let provider = &arriving.provider;
        let present = overrides::get(connection, self.organization.id, provider.id)?.overrides.len();
        let note = match (arriving.settings.enabled(), present) {
            (false, _) => "disabled by an override".to_owned(),
            (true, 0) => "new here".to_owned(),
            (true, count) => format!("{count} overrides of before are in force again"),
        };
        let after = Some(format!("synced {}", arriving.settings.frequency()));
        Ok(Change { path: provider.slug.to_string(), before: None, after, note: Some(note) })
    }

    /// Returns the commands for what the new providers still need.
    fn next(&self, connection: &Connection) -> Result<Vec<String>> {
        let present = credentials::all(connection, self.organization.id)?;
        Ok(next_steps(self.organization.slug.as_str(), &self.after, &present))
    }
}

fn of<'s>(side: &'s [Integration], name: &Name) -> Option<&'s Integration> {
    side.iter().find(|integration| integration.provider.slug == *name)
}
