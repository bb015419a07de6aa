//! What is due: every enabled provider of every active organization whose schedule says so.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::fetch::CLOCKS;
use crate::domain::names::Name;
use crate::domain::settings::{Effective, Overrides, merge};
use crate::lookup::Library;
use crate::store::organizations::{self, Organization, Status};
use crate::store::{Connection, overrides, runs};

/// A pair that is due.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) organization: Organization,
    /// In the order they are called.
    pub(crate) providers: Vec<Name>,
}

/// Returns the organizations with something due, each with the providers that are; all enabled ones if `force`.
///
/// Everything is read with a handful of queries, however many organizations there are.
pub(crate) fn due(connection: &Connection, now: DateTime<Utc>, force: bool) -> Result<Vec<Due>> {
    let library = Library::read(connection)?;
    let overrides = overrides::all(connection)?;
    let last_runs = runs::all_last_runs(connection)?;
    let nothing = Overrides::new();
    let mut due = Vec::new();
    for organization in organizations::all(connection, false)? {
        if organization.status != Status::Active {
            continue;
        }
        let Ok(preset) = library.preset(connection, &organization) else {
            // Defaults that cannot be read are this organization's trouble: its runs fail and say so, the others go on.
            let providers = organization.providers.clone();
            due.push(Due { organization, providers });
            continue;
        };
        let mut wanted = Vec::new();
        for (name, defaults) in &preset.providers {
            let Some((provider, _)) = library.provider(name) else { continue };
            let pair = (organization.id, provider.id);
            // Only the schedule is of interest: the manifest's own values cannot touch it.
            let settings: Effective = merge(&Default::default(), defaults, 0, overrides.get(&pair).unwrap_or(&nothing));
            if !settings.enabled() {
                continue;
            }
            // A run far in the future was started by a wrong clock: waiting for it would be waiting for ever.
            let last = last_runs.get(&pair).filter(|last| last.started.is_none_or(|started| started <= now + CLOCKS));
            let mut last = last.copied().unwrap_or_default();
            // Nobody is put off for longer; a moment beyond that was taken from a wrong clock too.
            last.not_before = last.not_before.filter(|not_before| *not_before <= now + CLOCKS);
            let seed = seed(organization.slug.as_str(), name.as_str());
            let next = settings.frequency().next(last, organization.time_zone, seed);
            if force || next.is_some_and(|next| next <= now) {
                wanted.push(name.clone());
            }
        }
        if !wanted.is_empty() {
            due.push(Due { organization, providers: wanted });
        }
    }
    Ok(due)
}

/// Returns a number that is always the same for a pair and spreads over pairs (FNV-1a, 64 bits).
pub(crate) fn seed(organization: &str, provider: &str) -> u64 {
    let bytes = organization.bytes().chain([b'/']).chain(provider.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
