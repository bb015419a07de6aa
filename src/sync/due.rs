//! What is due: every enabled provider of every active organization whose schedule says so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::names::Name;
use crate::domain::preset::Preset;
use crate::domain::settings::{Effective, Overrides, merge};
use crate::lookup;
use crate::store::organizations::{self, Organization, Status};
use crate::store::{Connection, overrides, presets, providers, runs};

/// More than any two clocks differ that are set at all.
const CLOCKS: TimeDelta = TimeDelta::days(1);

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
    let catalog = lookup::catalog(connection)?;
    let ids: HashMap<Name, i64> =
        providers::all(connection)?.into_iter().map(|provider| (provider.slug, provider.id)).collect();
    let overrides = overrides::all(connection)?;
    let last_runs = runs::all_last_runs(connection)?;
    let mut pinned: HashMap<(i64, u32), Preset> = HashMap::new();
    let nothing = Overrides::new();
    let mut due = Vec::new();
    for organization in organizations::all(connection, false)? {
        if organization.status != Status::Active {
            continue;
        }
        let key = (organization.preset_id, organization.defaults_revision);
        if let Entry::Vacant(unread) = pinned.entry(key) {
            let summary = presets::by_slug(connection, organization.preset.as_str())?;
            unread.insert(lookup::preset_at(connection, &catalog, &summary, organization.defaults_revision)?);
        }
        let mut wanted = Vec::new();
        for (name, defaults) in &pinned[&key].providers {
            let Some(provider_id) = ids.get(name) else { continue };
            let pair = (organization.id, *provider_id);
            // Only the schedule is of interest: the manifest's own values cannot touch it.
            let settings: Effective = merge(&Default::default(), defaults, 0, overrides.get(&pair).unwrap_or(&nothing));
            if !settings.enabled() {
                continue;
            }
            // A run far in the future was started by a wrong clock: waiting for it would be waiting for ever.
            let last = last_runs.get(&pair).filter(|last| last.started.is_none_or(|started| started <= now + CLOCKS));
            let last = last.copied().unwrap_or_default();
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
