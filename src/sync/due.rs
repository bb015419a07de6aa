//! What is due: every enabled provider of every active organization whose schedule says so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::fetch::CLOCKS;
use crate::domain::names::Name;
use crate::domain::schedule::{Frequency, LastRuns};
use crate::domain::settings::{Block, Overrides, SettingKey, merge};
use crate::lookup::Library;
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, overrides, requests, runs};

/// An organization with something to run.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) organization: Organization,
    /// In the order they are called.
    pub(crate) providers: Vec<Wanted>,
}

/// A provider that is to run.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) provider: Name,
    /// The number of its newest run when it was found due, 0 before its first: there being a newer one, it is not run
    /// again. `None` where it is run whatever others did.
    pub(crate) newest_run: Option<i64>,
}

/// When a provider is synced, by the defaults alone.
struct Schedule {
    name: Name,
    provider_id: i64,
    /// What the defaults say of it; an override may say otherwise.
    defaults: Block,
    /// `None` where it is disabled.
    frequency: Option<Frequency>,
}

/// Returns the organizations with something due or asked for, each with the providers that are; all enabled ones if `force`. What has
/// waited longest since it last began comes first, so that a sync whose time is over never leaves out the same ones.
///
/// Made for ten thousand organizations of which none is due: nothing is read that the schedule does not depend on, and
/// what all organizations on the same defaults share is worked out once.
pub(crate) fn due(connection: &Connection, now: DateTime<Utc>, force: bool) -> Result<Vec<Due>> {
    let library = Library::read(connection)?;
    let overrides = overrides::of_schedules(connection)?;
    let requested = requests::open(connection)?;
    let mut presets: HashMap<(i64, u32), Option<Vec<Schedule>>> = HashMap::new();
    let mut due = Vec::new();
    for organization in organizations::active(connection)? {
        let schedules = match presets.entry((organization.preset_id, organization.defaults_revision)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(schedules(connection, &library, &organizations::by_slug(connection, &organization.slug)?))
            }
        };
        let Some(schedules) = schedules else {
            // Defaults that cannot be read are this organization's trouble: its runs fail and say so, the others go on.
            let organization = organizations::by_slug(connection, &organization.slug)?;
            let anyway = |provider: &Name| Wanted { provider: provider.clone(), newest_run: None };
            let providers = organization.providers.iter().map(anyway).collect();
            due.push((None, Due { organization, providers }));
            continue;
        };
        let (mut wanted, mut began) = (Vec::new(), Some(now));
        for schedule in schedules {
            let pair = (organization.id, schedule.provider_id);
            let changed = overrides.get(&pair).map(|overrides| frequency(&schedule.defaults, overrides));
            let Some(frequency) = changed.as_ref().unwrap_or(&schedule.frequency) else { continue };
            let mut last = runs::last(connection, pair)?;
            if last.started.is_some_and(|started| started > now + CLOCKS) {
                // A run far in the future was started by a wrong clock: waiting for it would be waiting for ever.
                last = LastRuns { newest: last.newest, ..LastRuns::default() };
            }
            // Nobody is put off for longer; a moment beyond that was taken from a wrong clock too.
            last.not_before = last.not_before.filter(|not_before| *not_before <= now + CLOCKS);
            // Somebody has asked for it; a provider that told us to wait is not asked before.
            let requested = requested.contains_key(&pair) && last.not_before.is_none_or(|not_before| not_before <= now);
            let seed = seed(&organization.slug, schedule.name.as_str());
            let next = frequency.next(last, organization.time_zone, seed);
            if force || requested || next.is_some_and(|next| next <= now) {
                let newest_run = (!force).then_some(last.newest.unwrap_or(0));
                wanted.push(Wanted { provider: schedule.name.clone(), newest_run });
                began = began.min(last.started);
            }
        }
        if !wanted.is_empty() {
            let organization = organizations::by_slug(connection, &organization.slug)?;
            due.push((began, Due { organization, providers: wanted }));
        }
    }
    // Never begun comes before all that has.
    due.sort_by_key(|(began, _)| *began);
    Ok(due.into_iter().map(|(_, due)| due).collect())
}

/// Returns when the providers of an organization's defaults are synced, `None` where the defaults cannot be read.
fn schedules(connection: &Connection, library: &Library, organization: &Organization) -> Option<Vec<Schedule>> {
    let preset = library.preset(connection, organization).ok()?;
    let known = preset.providers.iter().filter_map(|(name, defaults)| {
        let (provider, _) = library.provider(name)?;
        // The manifest's own values cannot touch the schedule.
        let keys = [SettingKey::Enabled, SettingKey::SyncFrequency].into_iter();
        let defaults: Block = keys.filter_map(|key| Some((key.clone(), defaults.get(&key)?.clone()))).collect();
        let frequency = frequency(&defaults, &Overrides::new());
        Some(Schedule { name: name.clone(), provider_id: provider.id, defaults, frequency })
    });
    Some(known.collect())
}

/// Returns how often a provider is synced, `None` where it is disabled.
fn frequency(defaults: &Block, overrides: &Overrides) -> Option<Frequency> {
    let settings = merge(&Block::new(), defaults, 0, overrides);
    settings.enabled().then(|| settings.frequency())
}

/// Returns a number that is always the same for a pair and spreads over pairs (FNV-1a, 64 bits).
pub(crate) fn seed(organization: &str, provider: &str) -> u64 {
    let bytes = organization.bytes().chain([b'/']).chain(provider.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use chrono::Timelike as _;

    use super::*;

    #[test]
    fn starts_of_five_hundred_hourly_syncs_spread_over_the_hour_and_stay_where_they_are() {
        let next = |slug: &str, started: &str| {
            let last = LastRuns { started: started.parse().ok(), ..LastRuns::default() };
            Frequency::Hourly.next(last, chrono_tz::Europe::London, seed(slug, "aptem")).unwrap()
        };
        let mut minutes = [0; 60];
        for number in 0..500 {
            let slug = format!("college-{number}");
            let first = next(&slug, "2026-11-22T09:00:00Z");
            minutes[first.minute() as usize] += 1;
            // From then on it has the same place of each hour, however late a run begins.
            let second = next(&slug, &first.to_rfc3339());
            let late = second + chrono::TimeDelta::minutes(7);
            assert_eq!(next(&slug, &late.to_rfc3339()), second + chrono::TimeDelta::hours(1));
        }
        assert!(minutes.iter().all(|count| *count <= 3 * 500 / 60), "{minutes:?}");
        assert_eq!(seed("acme", "aptem"), 0x15D5_A8E3_40C4_CA81, "a place that moves is one missed or one too many");
    }
}
