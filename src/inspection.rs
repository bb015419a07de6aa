//! Looks into a database whose pages are sound, and of the newest schema: whether what stands in its rows can be read, fits,
//! and opens.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::domain::preset::{Catalog, Preset};
use crate::domain::settings;
use crate::lookup;
use crate::store::check::{Check, Finding};
use crate::store::credentials::Credential;
use crate::store::organizations::{self, Organization};
use crate::store::presets::Summary;
use crate::store::providers::Provider;
use crate::store::{
    Connection, credentials, deposits, hash, keys, overrides, presets, providers, sealing_keys, tokens,
};
use crate::vault::Vault;

fn finding(check: Check, place: String, problem: impl ToString) -> Finding {
    Finding { check, place, problem: problem.to_string() }
}

/// Returns what of the settings cannot be read or does not fit: manifests, defaults that are in use, overrides.
pub(crate) fn documents(connection: &Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = read_documents(connection, &mut findings) {
        findings.push(finding(Check::Documents, "database".into(), format!("cannot be read to the end: {error:#}")));
    }
    findings
}

fn read_documents(connection: &Connection, findings: &mut Vec<Finding>) -> Result<()> {
    for (recorded, provider, manifest) in providers::manifests(connection)? {
        if hash(&manifest) != recorded {
            let place = format!("provider_manifests {recorded}");
            findings.push(finding(
                Check::Documents,
                place,
                format!("is not the manifest of {provider} it is recorded as"),
            ));
        }
    }
    let mut catalog = Catalog::new();
    for provider in providers::all(connection)? {
        match lookup::manifest_of(&provider) {
            Ok(manifest) => drop(catalog.insert(provider.slug, manifest)),
            Err(error) => {
                let place = format!("integration_providers {}", provider.slug);
                findings.push(finding(Check::Documents, place, format!("{error:#}")));
            }
        }
    }
    let stored = providers::all(connection)?;
    let organizations = organizations::all(connection, true)?;
    for summary in presets::all(connection)? {
        let mine = || organizations.iter().filter(|organization| organization.preset_id == summary.id);
        let mut revisions: BTreeSet<u32> = mine().map(|organization| organization.defaults_revision).collect();
        // Older revisions nobody is pinned to may speak of what manifests no longer have.
        revisions.insert(summary.revision);
        for revision in revisions {
            match lookup::preset_at(connection, &catalog, &summary, revision) {
                Ok(preset) => {
                    for organization in mine().filter(|organization| organization.defaults_revision == revision) {
                        read_overrides(connection, organization, (&preset, &catalog, &stored), findings);
                    }
                }
                Err(error) => findings.push(unreadable(&summary, revision, &error)),
            }
        }
    }
    Ok(())
}

fn unreadable(summary: &Summary, revision: u32, error: &anyhow::Error) -> Finding {
    let place = format!("integration_preset_defaults {} revision {revision}", summary.slug);
    finding(Check::Documents, place, format!("{error:#}"))
}

/// Checks the overrides of the providers that an organization's defaults have; those of others lie dormant.
fn read_overrides(
    connection: &Connection,
    organization: &Organization,
    (preset, catalog, stored): (&Preset, &Catalog, &[Provider]),
    findings: &mut Vec<Finding>,
) {
    for (name, defaults) in &preset.providers {
        let (Some(manifest), Some(provider)) = (catalog.get(name), stored.iter().find(|known| known.slug == *name))
        else {
            continue;
        };
        let problem = match overrides::get(connection, organization.id, provider.id) {
            Ok(own) => settings::check_overrides(defaults, &own.overrides, manifest).err(),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(problem) = problem {
            let place = format!("organization_integration_overrides {}/{name}", organization.slug);
            findings.push(finding(Check::Documents, place, problem));
        }
    }
}

/// Returns sealed values that cannot be one, as can be told without the master key.
pub(crate) fn sealed(connection: &Connection) -> Vec<Finding> {
    match credentials::sealed_values(connection) {
        Ok(values) => values
            .into_iter()
            .filter(|(_, sealed)| !sealed.is_well_formed())
            .map(|(place, _)| finding(Check::Sealed, place, "is not of the form of a sealed value"))
            .collect(),
        Err(error) => {
            vec![finding(Check::Sealed, "database".into(), format!("cannot be read to the end: {error:#}"))]
        }
    }
}

/// What was opened with the master keys at hand; each count is of those that do open.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Keys that a master key wraps.
    pub(crate) keys: usize,
    /// Of every stage.
    pub(crate) credentials: usize,
    pub(crate) tokens: usize,
    pub(crate) deposits: usize,
    pub(crate) closed: Vec<Finding>,
}

/// Opens everything that is sealed, and returns what does not.
pub(crate) fn open_all(connection: &Connection, vault: &Vault) -> Result<Opened> {
    let mut opened = Opened::default();
    for wrapped in keys::wrapped(connection)? {
        let outcome = vault.unwraps(&wrapped);
        tell(&mut opened.closed, &mut opened.keys, || wrapped.place.to_string(), outcome);
    }
    for pair in sealing_keys::all(connection)? {
        // The public half is in the clear: another one in its place would have what is deposited sealed to a stranger.
        if let Err(error) = vault.prove(&pair) {
            opened.closed.push(finding(Check::Sealed, format!("sealing_keys {}", pair.id), error.message));
        }
    }
    let kept = tokens::all(connection)?;
    for organization in organizations::all(connection, true)? {
        if let Err(error) = vault.erasure_key(connection, &organization) {
            let place = format!("erasure_keys {}", organization.slug);
            opened.closed.push(finding(Check::Sealed, place, format!("does not open: {error:#}")));
        }
        for credential in credentials::every_stage(connection, organization.id)? {
            let Credential { provider, field, .. } = &credential;
            let place = || format!("organization_credentials {}/{provider}/{field}", organization.slug);
            let outcome = vault.opens(connection, &organization, &credential);
            tell(&mut opened.closed, &mut opened.credentials, place, outcome);
        }
        for found in kept.iter().filter(|found| found.organization_id == organization.id) {
            let outcome = vault.token_opens(connection, &organization, found);
            tell(&mut opened.closed, &mut opened.tokens, || found.place(), outcome);
        }
        for deposit in deposits::all(connection, organization.id)? {
            let place = || format!("credential_deposits {}/{}/{}", organization.slug, deposit.provider, deposit.field);
            let outcome = vault.opens_deposit(connection, &organization, &deposit);
            tell(&mut opened.closed, &mut opened.deposits, place, outcome);
        }
    }
    Ok(opened)
}

fn tell(closed: &mut Vec<Finding>, count: &mut usize, place: impl Fn() -> String, outcome: Result<()>) {
    match outcome {
        Ok(()) => *count += 1,
        Err(error) => closed.push(finding(Check::Sealed, place(), format!("does not open: {error:#}"))),
    }
}
