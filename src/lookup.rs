//! Looks up what commands and the sync both start from: the catalog of manifests, presets, and the settings in force.

use anyhow::{Context as _, Result};

use crate::domain::manifest::{self, Manifest};
use crate::domain::names::Name;
use crate::domain::preset::{self, Catalog, Preset};
use crate::domain::settings::{self, Block, Effective};
use crate::store::organizations::Organization;
use crate::store::presets::Summary;
use crate::store::providers::Provider;
use crate::store::{Connection, overrides, presets, providers};

/// Returns the manifests of all providers.
pub(crate) fn catalog(connection: &Connection) -> Result<Catalog> {
    providers::all(connection)?.iter().map(|provider| Ok((provider.slug.clone(), manifest_of(provider)?))).collect()
}

/// Returns a provider's manifest in force.
pub(crate) fn manifest_of(provider: &Provider) -> Result<Manifest> {
    manifest::load(&format!("{}.yaml", provider.slug), &provider.manifest)
        .with_context(|| format!("reading the stored manifest of {}", provider.name))
}

/// Returns a revision of a preset's defaults, read.
pub(crate) fn preset_at(
    connection: &Connection,
    catalog: &Catalog,
    summary: &Summary,
    revision: u32,
) -> Result<Preset> {
    let stored = presets::revision(connection, summary, revision)?;
    preset::read_preset(&format!("{} revision {revision}", summary.slug), &stored.document, catalog)
        .with_context(|| format!("reading defaults revision {revision} of preset {}", summary.slug))
}

/// Returns the defaults an organization is pinned to.
pub(crate) fn pinned_preset(connection: &Connection, catalog: &Catalog, organization: &Organization) -> Result<Preset> {
    let summary = presets::by_slug(connection, organization.preset.as_str())?;
    preset_at(connection, catalog, &summary, organization.defaults_revision)
}

/// One provider of one organization with everything that is in force for it.
#[derive(Debug)]
pub(crate) struct Integration {
    pub(crate) provider: Provider,
    pub(crate) manifest: Manifest,
    pub(crate) settings: Effective,
    /// The overrides the settings were made with, and who changed them.
    pub(crate) overrides: overrides::Stored,
}

/// Returns the providers of an organization in the order they are called, disabled ones too.
pub(crate) fn integrations(
    connection: &Connection,
    organization: &Organization,
    preset: &Preset,
) -> Result<Vec<Integration>> {
    preset
        .providers
        .iter()
        .map(|(name, defaults)| {
            let provider = providers::by_slug(connection, name.as_str())?;
            let manifest = manifest_of(&provider)?;
            integration(connection, organization, provider, manifest, defaults)
        })
        .collect()
}

fn integration(
    connection: &Connection,
    organization: &Organization,
    provider: Provider,
    manifest: Manifest,
    defaults: &Block,
) -> Result<Integration> {
    let overrides = overrides::get(connection, organization.id, provider.id)?;
    let settings =
        settings::merge(&settings::built_in(&manifest), defaults, organization.defaults_revision, &overrides.overrides);
    Ok(Integration { provider, manifest, settings, overrides })
}

/// Returns the integration of one provider, or why the organization has none.
pub(crate) fn one_integration(
    connection: &Connection,
    organization: &Organization,
    provider: &str,
) -> Result<Integration> {
    use crate::error::{Exit, UserError, nearest};
    let catalog = catalog(connection)?;
    let preset = pinned_preset(connection, &catalog, organization)?;
    let names = || preset.providers.iter().map(|(name, _)| name.as_str());
    if preset
        .has(&provider.parse::<Name>().map_err(|error| UserError::new(Exit::NotFound, "provider_not_found", error))?)
    {
        let stored = providers::by_slug(connection, provider)?;
        let manifest = manifest_of(&stored)?;
        let defaults = preset.block(&stored.slug).cloned().unwrap_or_default();
        return integration(connection, organization, stored, manifest, &defaults);
    }
    providers::by_slug(connection, provider)?;
    let meant = nearest(provider, names()).map(|word| format!("did you mean `{word}`?"));
    let message = format!(
        "organization `{}` has no provider `{provider}`: its preset {} has {}",
        organization.slug,
        preset.name,
        names().collect::<Vec<_>>().join(", ")
    );
    Err(UserError::new(Exit::NotFound, "provider_not_in_preset", message)
        .hint(format!("`skillsctl org set-preset {} PRESET` changes the preset", organization.slug))
        .hint_if(meant)
        .into())
}
