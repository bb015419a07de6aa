//! Looks up what commands and the sync both start from: the catalog of manifests, presets, and the settings in force.

use std::collections::BTreeMap;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::domain::manifest::{self, Manifest};
use crate::domain::names::Name;
use crate::domain::preset::{self, Catalog, Preset};
use crate::domain::settings::{self, Block, Effective};
use crate::error::{Exit, UserError, nearest};
use crate::store::organizations::{self, Organization};
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

/// Returns the providers of an organization by the defaults it is pinned to, in the order they are called.
pub(crate) fn pinned_integrations(connection: &Connection, organization: &Organization) -> Result<Vec<Integration>> {
    let preset = pinned_preset(connection, &catalog(connection)?, organization)?;
    integrations(connection, organization, &preset)
}

/// Returns the integration of one provider, or why the organization has none.
pub(crate) fn one_integration(
    connection: &Connection,
    organization: &Organization,
    provider: &str,
) -> Result<Integration> {
    Library::read(connection)?.integration(connection, organization, provider)
}

/// Manifests and pinned defaults, each read once however many organizations ask for them.
pub(crate) struct Library {
    providers: Vec<Provider>,
    catalog: Catalog,
    presets: Mutex<HashMap<(i64, u32), Arc<Preset>>>,
}

impl Library {
    /// Reads the manifests; defaults are read when they are first asked for.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let providers = providers::all(connection)?;
        let catalog = providers.iter().map(|provider| Ok((provider.slug.clone(), manifest_of(provider)?)));
        Ok(Library { catalog: catalog.collect::<Result<_>>()?, providers, presets: Mutex::default() })
    }

    /// Returns a provider with its manifest.
    pub(crate) fn provider(&self, name: &Name) -> Option<(&Provider, &Manifest)> {
        let provider = self.providers.iter().find(|provider| provider.slug == *name)?;
        Some((provider, self.catalog.get(name)?))
    }

    /// Returns the defaults an organization is pinned to.
    pub(crate) fn preset(&self, connection: &Connection, organization: &Organization) -> Result<Arc<Preset>> {
        let key = (organization.preset_id, organization.defaults_revision);
        if let Some(known) = self.presets.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(known));
        }
        let preset = Arc::new(pinned_preset(connection, &self.catalog, organization)?);
        self.presets.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&preset));
        Ok(preset)
    }

    /// Returns the integration of one provider, or why the organization has none.
    pub(crate) fn integration(
        &self,
        connection: &Connection,
        organization: &Organization,
        provider: &str,
    ) -> Result<Integration> {
        let preset = self.preset(connection, organization)?;
        let name: Name =
            provider.parse().map_err(|error| UserError::new(Exit::NotFound, "provider_not_found", error))?;
        if let (Some(defaults), Some((stored, manifest))) = (preset.block(&name), self.provider(&name)) {
            return integration(connection, organization, stored.clone(), manifest.clone(), defaults);
        }
        providers::by_slug(connection, provider)?;
        let names = || preset.providers.iter().map(|(name, _)| name.as_str());
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
}

/// How much was tried with a manifest.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Presets whose newest defaults use the provider.
    pub(crate) presets: usize,
    /// Organizations whose pinned defaults use it; deleted ones too, as they can come back.
    pub(crate) organizations: usize,
}

/// Tries a manifest in the place of the one in force: every document that uses the provider must still be valid.
pub(crate) fn check_manifest(connection: &Connection, manifest: &Manifest) -> Result<Checked> {
    let mut catalog = catalog(connection)?;
    catalog.insert(manifest.provider.clone(), manifest.clone());
    let mut checked = Checked::default();
    let breaks = |what: String, error: &dyn std::fmt::Display| {
        let message = format!("{what} would no longer be valid: {error}");
        UserError::new(Exit::Conflict, "manifest_in_use", message)
            .hint("nothing was stored; keep what is in use in the manifest, or change what uses it first")
    };
    let summaries = presets::all(connection)?;
    for summary in summaries.iter().filter(|summary| summary.providers.contains(&manifest.provider)) {
        preset_at(connection, &catalog, summary, summary.revision)
            .map_err(|error| breaks(format!("preset `{}`", summary.slug), &error.root_cause()))?;
        checked.presets += 1;
    }
    let mut pinned: BTreeMap<(i64, u32), Preset> = BTreeMap::new();
    let provider_id = providers::all(connection)?.into_iter().find(|known| known.slug == manifest.provider);
    for organization in organizations::all(connection, true)? {
        let Some(provider) = provider_id.as_ref().filter(|_| organization.providers.contains(&manifest.provider))
        else {
            continue;
        };
        let breaks = |error: &dyn std::fmt::Display| breaks(format!("organization `{}`", organization.slug), error);
        let place = (organization.preset_id, organization.defaults_revision);
        if let std::collections::btree_map::Entry::Vacant(entry) = pinned.entry(place) {
            let preset = pinned_preset(connection, &catalog, &organization);
            entry.insert(preset.map_err(|error| breaks(&error.root_cause()))?);
        }
        let defaults = pinned[&place].block(&manifest.provider).cloned().unwrap_or_default();
        let stored = overrides::get(connection, organization.id, provider.id)?;
        settings::check_overrides(&defaults, &stored.overrides, manifest).map_err(|error| breaks(&error))?;
        checked.organizations += 1;
    }
    Ok(checked)
}
