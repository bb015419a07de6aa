//! Looks into a database whose pages are sound: whether what stands in its rows can be read, fits, and opens.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::domain::names::Name;
use crate::domain::preset::{Catalog, Preset};
use crate::domain::settings;
use crate::lookup;
use crate::store::check::{Check, Finding};
use crate::store::organizations::{self, Organization};
use crate::store::presets::Summary;
use crate::store::providers::Provider;
use crate::store::{Connection, credentials, hash, overrides, presets, providers};
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

/// Returns the credentials that do not open with the master key, and how many there are in all.
pub(crate) fn credentials_that_do_not_open(connection: &Connection, vault: &Vault) -> Result<(Vec<Finding>, usize)> {
    let (mut findings, mut count) = (Vec::new(), 0);
    for organization in organizations::all(connection, true)? {
        if let Err(error) = vault.erasure_key(connection, &organization) {
            findings.push(finding(Check::Sealed, format!("erasure_keys {}", organization.slug), format!("{error:#}")));
        }
        for credential in credentials::all(connection, organization.id)? {
            count += 1;
            if let Err(error) = vault.opens(connection, &organization, &credential) {
                let place = place(&organization, &credential.provider, &credential.field);
                findings.push(finding(Check::Sealed, place, format!("does not open: {error:#}")));
            }
        }
    }
    Ok((findings, count))
}

fn place(organization: &Organization, provider: &Name, field: &Name) -> String {
    format!("organization_credentials {}/{provider}/{field}", organization.slug)
}
