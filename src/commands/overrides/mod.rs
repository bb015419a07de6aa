//! `override`: what is different for one organization, provider by provider.

mod document;
mod set;
mod show;

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Subcommand;
pub(super) use set::key;

use super::change::{self, Changed};
use crate::domain::entity::Entity;
use crate::domain::manifest::{self, SettingSpec, SettingType};
use crate::domain::names::Name;
use crate::domain::network::{self, Network};
use crate::domain::role::Role;
use crate::domain::settings::{self, Change as Overriding, Effective, Overrides, SettingKey};
use crate::error::{Exit, UserError};
use crate::http::authorities;
use crate::lookup::Integration;
use crate::output::Change;
use crate::session::Session;
use crate::store::organizations::Organization;
use crate::store::overrides::{self, Changed as Mark};
use crate::store::{Connection, Store, credentials, deposits, organizations};

/// Manage what is different for one organization
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideCommand {
    Show(show::ShowArgs),
    Set(set::SetArgs),
    Unset(set::UnsetArgs),
    Reset(set::ResetArgs),
    Enable(set::EnableArgs),
    Disable(set::DisableArgs),
    Edit(document::EditArgs),
    Apply(document::ApplyArgs),
}

pub(crate) fn run(command: OverrideCommand, session: &Session) -> Result<Exit> {
    match command {
        OverrideCommand::Show(args) => show::show(&args, session),
        OverrideCommand::Set(args) => set::set(&args, session),
        OverrideCommand::Unset(args) => set::unset(&args, session),
        OverrideCommand::Reset(args) => set::reset(&args, session),
        OverrideCommand::Enable(args) => set::enable(&args, session),
        OverrideCommand::Disable(args) => set::disable(&args, session),
        OverrideCommand::Edit(args) => document::edit(&args, session),
        OverrideCommand::Apply(args) => document::apply(&args, session),
    }
}

/// The overrides of one provider as they are to be from now on.
struct Planned {
    integration: Integration,
    overrides: Overrides,
    /// The revision of the overrides that the plan was made from.
    read_at: i64,
    /// The defaults and built-in values below the overrides.
    inherited: Effective,
}

impl Planned {
    /// Returns a plan that begins with what is.
    fn new(integration: Integration) -> Self {
        Planned {
            overrides: integration.overrides.overrides.clone(),
            read_at: integration.overrides.revision,
            inherited: inherited(&integration.settings),
            integration,
        }
    }

    /// Returns the value that an override of this setting lies over.
    fn below(&self, key: &SettingKey) -> Option<&serde_json::Value> {
        self.inherited.values.get(key).map(|resolved| &resolved.value)
    }

    /// Returns the settings in force once the plan is carried out.
    fn after(&self) -> Effective {
        let below = self.inherited.values.iter().map(|(key, resolved)| (key.clone(), resolved.value.clone())).collect();
        settings::merge(&settings::Block::new(), &below, 0, &self.overrides)
    }

    /// Returns what changes, setting by setting, with the default beside it.
    fn changes(&self) -> Vec<Change> {
        let (before, after) = (&self.integration.overrides.overrides, &self.overrides);
        let (name, new) = (&self.integration.provider.slug, self.after());
        let shown = |effective: &Effective, key: &SettingKey| {
            effective.values.get(key).map(|resolved| settings::show(key, &resolved.value, name))
        };
        let keys: BTreeSet<&SettingKey> = before.keys().chain(after.keys()).collect();
        let differing = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
        let change = |key: &SettingKey| {
            let below = self.below(key).map(|value| settings::show(key, value, name));
            let note = match (after.get(key), below) {
                (Some(Overriding::Set(_)), Some(below)) if shown(&new, key).as_ref() == Some(&below) => {
                    Some("the same as the default; it stays if the default changes".to_owned())
                }
                (Some(_), Some(below)) => Some(format!("default: {below}")),
                (None, Some(_)) => Some("the default".to_owned()),
                (_, None) => None,
            };
            Change {
                path: format!("{name}.{key}"),
                before: shown(&self.integration.settings, key),
                after: shown(&new, key),
                note,
            }
        };
        differing.map(change).collect()
    }
}

/// Returns the settings as they are without any override.
fn inherited(settings: &Effective) -> Effective {
    let mut below = settings.clone();
    below.values.retain(|_, resolved| resolved.origin != settings::Origin::Override || resolved.inherited.is_some());
    for resolved in below.values.values_mut() {
        if let Some(value) = resolved.inherited.take() {
            resolved.value = value;
        }
    }
    for (key, value) in std::mem::take(&mut below.unset) {
        let origin = settings::Origin::BuiltIn;
        below.values.insert(key, settings::Resolved { value, origin, inherited: None });
    }
    below
}

/// Makes a change of overrides in one transaction: plan, check, store, audit.
fn carry_out(
    store: &mut Store,
    session: &Session,
    (slug, action): (&str, &str),
    plan: impl FnOnce(&Connection, &Organization) -> Result<Vec<Planned>>,
) -> Result<Changed> {
    store.change(session.keep, |tx| {
        let organization = organizations::by_slug(tx, slug)?;
        let mut changed = Changed::unchanged(session, &organization.slug);
        for planned in plan(tx, &organization)? {
            let provider = &planned.integration.provider;
            check_addresses(tx, session, &organization, &planned)?;
            check_effective(slug, &planned.integration, &planned.after())?;
            let mark = Mark { by: session.actor.clone(), at: session.now };
            let pair = (organization.id, provider.id);
            if !overrides::put(tx, pair, &planned.overrides, planned.read_at, &mark)? {
                continue;
            }
            let text = |overrides: &Overrides| settings::nested_overrides(overrides).to_string();
            let (before, after) = (text(&planned.integration.overrides.overrides), text(&planned.overrides));
            let subject = format!("{slug}/{}", provider.slug);
            change::record(tx, session, (action, &subject), (Some(&before), Some(&after)))?;
            changed.outcome = "changed";
            changed.changes.extend(planned.changes());
        }
        Ok(changed)
    })
}

/// Fails with the reason why a provider could not be called under these settings, as far as it can be told beforehand.
fn check_network(settings: &Effective, integration: &Integration) -> Result<(), String> {
    network::check(settings, &integration.manifest)?;
    match Network::of(&settings.declared()).ca_file {
        Some(file) => authorities(&file).map(|_| ()),
        None => Ok(()),
    }
}

/// Fails where a provisioner would say whom to call and trust beyond what needs no setting, by a file of the service's own
/// user maybe; or would send credentials that are there already to another address.
fn check_addresses(tx: &Connection, session: &Session, organization: &Organization, planned: &Planned) -> Result<()> {
    if session.role != Some(Role::Provisioner) {
        return Ok(());
    }
    let (before, after) = (&planned.integration.settings, planned.after());
    let changes = |(name, _): &(&Name, &SettingSpec)| before.setting(name.as_str()) != after.setting(name.as_str());
    let changed: Vec<_> = planned.integration.manifest.settings.iter().filter(changes).collect();
    let refused = |message: String, hint| UserError::new(Exit::Refused, "not_allowed", message).hint(hint);
    if let Some((name, _)) = changed.iter().find(|(name, _)| network::is_setting(name.as_str())) {
        let hint = "a super admin says whom else to call and trust: `skillsctl help network`";
        return Err(refused(format!("`{name}` is not for the role provisioner"), hint).into());
    }
    let parts = manifest::in_addresses(&planned.integration.manifest);
    let is_address = |(name, spec): &&(&Name, &SettingSpec)| {
        matches!(spec.setting_type, SettingType::Url | SettingType::Hostname) || parts.contains(name.as_str())
    };
    let Some((name, _)) = changed.iter().find(is_address) else { return Ok(()) };
    let provider = &planned.integration.provider;
    let pair = (organization.id, provider.id);
    if credentials::of_pair(tx, pair)?.is_empty() && deposits::of_pair(tx, pair)?.is_empty() {
        return Ok(());
    }
    let message = format!("the credentials of {} would be sent to another address: `{name}` changes", provider.name);
    Err(refused(message, "set addresses before credentials, or have a super admin change it").into())
}

/// Fails where the settings in force would read one entity from two streams.
pub(super) fn check_streams(slug: &str, integration: &Integration) -> Result<(), UserError> {
    check_effective(slug, integration, &integration.settings)
}

fn check_effective(slug: &str, integration: &Integration, settings: &Effective) -> Result<(), UserError> {
    // What is not called may stay as it is: disabling must always be possible.
    if settings.enabled() {
        check_network(settings, integration)
            .map_err(|why| UserError::new(Exit::Invalid, "invalid_setting", why).hint("skillsctl help network"))?;
    }
    for entity in Entity::ALL {
        settings::feeding_stream(entity, &settings.mappings(entity), &integration.manifest).map_err(|message| {
            let provider = &integration.provider.slug;
            UserError::new(Exit::Invalid, "two_streams", format!("{provider}: {message}"))
                .hint(format!("`skillsctl config show {slug} {provider} --origin` shows where each mapping comes from"))
        })?;
    }
    Ok(())
}
