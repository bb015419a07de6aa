//! How each provider of each organization stands: connected or not, last and next sync, what is missing.
//!
//! Made for a thousand organizations at once: manifests and presets are read once each, and what the database can tell
//! of all pairs in one query is asked in one.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use crate::domain::manifest::{self, Manifest, secrets_missing, secrets_needed};
use crate::domain::names::Name;
use crate::domain::schedule::{Frequency, LastRuns};
use crate::domain::settings::{self, Effective, Origin, Overrides, SettingKey};
use crate::lookup::Library;
use crate::store::credentials::Since;
use crate::store::organizations::{Organization, Status};
use crate::store::providers::Provider;
use crate::store::runs::{self, Outcome, Run};
use crate::store::state::{self, Doubted};
use crate::store::{Connection, credentials, deposits, overrides, quarantine, requests};
use crate::sync::due::seed;

/// How one provider of one organization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// The last run failed.
    Failing,
    /// The last run was ended from outside.
    Interrupted,
    CredentialsMissing,
    SettingsMissing,
    /// The last run left some records or streams out.
    Partial,
    Running,
    /// A credential that is needed waits, deposited, for the next sync to take it in.
    CredentialsDeposited,
    NeverSynced,
    /// The last run stopped to go on later, as the provider asked or because its time was over.
    Deferred,
    Connected,
    Disabled,
    Suspended,
}

impl Standing {
    /// Returns whether somebody should do something about it.
    pub(crate) fn is_bad(self) -> bool {
        self <= Standing::SettingsMissing
    }

    /// Returns whether syncs start by themselves.
    fn is_scheduled(self) -> bool {
        !matches!(self, Standing::Disabled | Standing::Suspended)
    }
}

/// A credential field that the settings in force make use of.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Field {
    pub(crate) field: Name,
    pub(crate) title: String,
    pub(crate) set: bool,
    /// Whether a value waits to be taken in.
    pub(crate) deposited: bool,
    pub(crate) required: bool,
    /// How many days ago its value was set.
    pub(crate) age_days: Option<i64>,
    /// Whether that is longer ago than its manifest allows.
    pub(crate) too_old: bool,
}

/// All that is shown of one provider of one organization.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) organization: Organization,
    pub(crate) provider: Name,
    pub(crate) title: String,
    pub(crate) kind: manifest::Kind,
    pub(crate) standing: Standing,
    /// The newest run; one that says `running` has been proved to.
    pub(crate) last_run: Option<Run>,
    pub(crate) last_success: Option<Run>,
    /// Runs in a row that did not end well.
    pub(crate) failures: u32,
    /// When the next sync starts; not in the future means now.
    pub(crate) next: Option<DateTime<Utc>>,
    pub(crate) due: bool,
    /// When a sync was asked for that is still to come.
    pub(crate) requested: Option<DateTime<Utc>>,
    pub(crate) frequency: Frequency,
    /// Whether the organization has chosen the frequency itself.
    pub(crate) custom_frequency: bool,
    pub(crate) credentials: Vec<Field>,
    pub(crate) missing_credentials: Vec<Name>,
    /// The fields whose value is older than it should become.
    pub(crate) old_credentials: Vec<Name>,
    pub(crate) missing_settings: Vec<Name>,
    pub(crate) quarantined: u64,
    /// Why the last reads of its streams were not proved complete.
    pub(crate) doubts: Vec<String>,
}

/// Says whether a run of an organization's provider is under way in some process.
pub(crate) type IsRunning<'a> = dyn Fn(&str, &str) -> bool + 'a;

/// Returns how all providers of these organizations stand, what wants looking at first, then what is due.
pub(crate) fn of(
    connection: &Connection,
    organizations: Vec<Organization>,
    now: DateTime<Utc>,
    is_running: &IsRunning<'_>,
) -> Result<Vec<Overview>> {
    let mut all = Vec::new();
    let known = Known::read(connection)?;
    for organization in organizations {
        let preset = known.library.preset(connection, &organization)?;
        for (name, defaults) in &preset.providers {
            let found = known.library.provider(name);
            let (provider, manifest) =
                found.with_context(|| format!("a preset names the provider `{name}`, which is not there"))?;
            let nothing = Overrides::new();
            let overrides = known.overrides.get(&(organization.id, provider.id)).unwrap_or(&nothing);
            let built_in = settings::built_in(manifest);
            let settings = settings::merge(&built_in, defaults, organization.defaults_revision, overrides);
            let pair = Pair { connection, organization: &organization, provider, manifest, settings: &settings };
            all.push(pair.overview(&known, now, is_running)?);
        }
    }
    all.sort_by_cached_key(|overview| {
        let rank = if overview.standing.is_bad() { 0 } else { 1 + u8::from(!overview.due) };
        (rank, if rank == 0 { overview.standing } else { Standing::Failing })
    });
    Ok(all)
}

/// What is read once for all organizations.
struct Known {
    library: Library,
    overrides: HashMap<(i64, i64), Overrides>,
    last_runs: HashMap<(i64, i64), LastRuns>,
    set: HashMap<(i64, i64), Since>,
    deposited: HashMap<(i64, i64), BTreeSet<Name>>,
    quarantined: HashMap<(i64, i64), u64>,
    requested: HashMap<(i64, i64), DateTime<Utc>>,
    doubted: Doubted,
}

impl Known {
    fn read(connection: &Connection) -> Result<Self> {
        Ok(Known {
            library: Library::read(connection)?,
            overrides: overrides::all(connection)?,
            last_runs: runs::all_last_runs(connection)?,
            set: credentials::fields_set(connection)?,
            deposited: deposits::fields_waiting(connection)?,
            quarantined: quarantine::counts(connection)?,
            requested: requests::open(connection)?,
            doubted: state::doubted(connection)?,
        })
    }
}

impl Known {
    /// Returns why reads of a pair were not proved complete, each with its stream.
    fn doubts(&self, pair: (i64, i64)) -> Vec<String> {
        let streams = self.doubted.get(&pair).into_iter().flatten();
        streams.flat_map(|(stream, read)| read.lines().map(move |line| format!("{stream}: {line}"))).collect()
    }
}

/// One provider of one organization.
struct Pair<'a> {
    connection: &'a Connection,
    organization: &'a Organization,
    provider: &'a Provider,
    manifest: &'a Manifest,
    settings: &'a Effective,
}

impl Pair<'_> {
    fn overview(&self, known: &Known, now: DateTime<Utc>, is_running: &IsRunning<'_>) -> Result<Overview> {
        let Pair { connection, organization, provider, manifest, settings } = self;
        let ids = (organization.id, provider.id);
        let none = Since::new();
        let set = known.set.get(&ids).unwrap_or(&none);
        let deposited = known.deposited.get(&ids).cloned().unwrap_or_default();
        let not_set = secrets_missing(manifest, settings, |name| set.contains_key(name));
        let (waiting, missing): (Vec<&Name>, Vec<&Name>) =
            not_set.into_iter().partition(|name| deposited.contains(*name));
        let missing_credentials: Vec<Name> = missing.into_iter().cloned().collect();
        let missing_settings: Vec<Name> = settings.missing(manifest).into_iter().cloned().collect();
        let mut last_run = runs::latest(connection, ids.0, ids.1)?;
        if let Some(run) = &mut last_run {
            run.outcome = believed(run, is_running);
        }
        let last_success = match &last_run {
            Some(run) if matches!(run.outcome, Outcome::Ok | Outcome::Partial) => Some(run.clone()),
            Some(_) => runs::latest_success(connection, ids.0, ids.1)?,
            None => None,
        };
        let standing = if organization.status == Status::Suspended {
            Standing::Suspended
        } else if !settings.enabled() {
            Standing::Disabled
        } else {
            let missing = (!missing_settings.is_empty(), !missing_credentials.is_empty(), !waiting.is_empty());
            standing(last_run.as_ref(), missing)
        };
        let last = known.last_runs.get(&ids).copied().unwrap_or_default();
        let frequency = settings.frequency();
        let seed = seed(organization.slug.as_str(), provider.slug.as_str());
        let next = frequency.next(last, organization.time_zone, seed).filter(|_| standing.is_scheduled());
        let requested = known.requested.get(&ids).copied();
        let asked_for = requested.is_some()
            && standing.is_scheduled()
            && last.not_before.is_none_or(|not_before| not_before <= now);
        let custom = settings.values.get(&SettingKey::SyncFrequency);
        let credentials = self.fields(set, &deposited, now);
        let old = credentials.iter().filter(|field| field.too_old);
        Ok(Overview {
            old_credentials: old.map(|field| field.field.clone()).collect(),
            provider: provider.slug.clone(),
            title: provider.name.clone(),
            kind: provider.kind,
            standing,
            last_success,
            failures: last.failures,
            due: (asked_for || next.is_some_and(|next| next <= now)) && standing != Standing::Running,
            requested,
            next,
            frequency,
            custom_frequency: custom.is_some_and(|resolved| resolved.origin == Origin::Override),
            credentials,
            missing_credentials,
            missing_settings,
            quarantined: known.quarantined.get(&ids).copied().unwrap_or(0),
            doubts: known.doubts(ids),
            last_run,
            organization: (*organization).clone(),
        })
    }

    /// Returns the credential fields that are needed, or there and of use.
    fn fields(&self, set: &Since, deposited: &BTreeSet<Name>, now: DateTime<Utc>) -> Vec<Field> {
        let needed = secrets_needed(self.manifest, self.settings).into_iter();
        let is_there = |name: &Name| set.contains_key(name) || deposited.contains(name);
        needed
            .filter(|(name, need)| {
                *need == manifest::Need::Required || (*need == manifest::Need::Optional && is_there(name))
            })
            .map(|(name, need)| {
                let spec = self.manifest.secrets.get(name);
                let set_at = set.get(name).copied();
                let is_over = |set_at| spec.is_some_and(|spec| spec.max_age.is_over(set_at, now));
                Field {
                    field: name.clone(),
                    title: spec.map(|spec| spec.title.clone()).unwrap_or_default(),
                    set: set_at.is_some(),
                    deposited: deposited.contains(name),
                    required: need == manifest::Need::Required,
                    age_days: set_at.map(|set_at| (now - set_at).num_days()),
                    too_old: set_at.is_some_and(is_over),
                }
            })
            .collect()
    }
}

/// Returns how a run stands: one that says `running` is believed only while its lock is held.
pub(crate) fn believed(run: &Run, is_running: &IsRunning<'_>) -> Outcome {
    match run.outcome {
        Outcome::Running if !is_running(run.organization.as_str(), run.provider.as_str()) => Outcome::Interrupted,
        outcome => outcome,
    }
}

/// Returns how an enabled provider stands.
fn standing(
    last_run: Option<&Run>,
    (settings_missing, credentials_missing, credentials_waiting): (bool, bool, bool),
) -> Standing {
    match last_run.map(|run| run.outcome) {
        Some(Outcome::Running) => Standing::Running,
        _ if settings_missing => Standing::SettingsMissing,
        _ if credentials_missing => Standing::CredentialsMissing,
        _ if credentials_waiting => Standing::CredentialsDeposited,
        None => Standing::NeverSynced,
        Some(Outcome::Ok) => Standing::Connected,
        Some(Outcome::Partial) => Standing::Partial,
        Some(Outcome::Failed) => Standing::Failing,
        Some(Outcome::Deferred) => Standing::Deferred,
        Some(Outcome::Interrupted) => Standing::Interrupted,
    }
}
