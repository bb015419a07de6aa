//! `integration_sync_logs`: one row for each run of one provider of one organization.

use std::collections::HashMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde::{Deserialize, Serialize};

use super::text::{self, stamp};
use crate::domain::names::{Name, Slug};
use crate::domain::schedule::LastRuns;
use crate::error::{Exit, UserError};

/// How a run ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Running,
    /// Everything was read and stored.
    Ok,
    /// Read to its end, but some records or streams were left out.
    Partial,
    Failed,
    /// Stopped to go on later where it stood, as the provider asked or because its time was over.
    Deferred,
    /// Ended from outside; the next run goes on where it stood.
    Interrupted,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Ok => "ok",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
            Outcome::Deferred => "deferred",
            Outcome::Interrupted => "interrupted",
        }
    }
}

impl std::str::FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Outcome::Running, Outcome::Ok, Outcome::Partial, Outcome::Failed, Outcome::Deferred, Outcome::Interrupted]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| format!("unknown outcome `{text}`"))
    }
}

/// What set a run off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    Manual,
    Schedule,
}

impl Trigger {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Schedule => "schedule",
        }
    }
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Calls the provider. Schedules and standings heed these only.
    Sync,
    /// Calls the provider for what changed in a time that is over, beside the ordinary syncs.
    Backfill,
    /// Stores records out of quarantine.
    Replay,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Sync => "sync",
            Kind::Backfill => "backfill",
            Kind::Replay => "replay",
        }
    }
}

/// What a run did, counted over all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Tally {
    /// Records the provider sent.
    pub(crate) read: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
    /// Rows taken over from a provider the organization had before.
    pub(crate) adopted: u64,
    pub(crate) deleted: u64,
    /// Records that the Power BI filters keep out.
    pub(crate) filtered: u64,
    pub(crate) quarantined: u64,
    /// New learners beyond `max_learners`, not stored.
    pub(crate) over_cap: u64,
    /// Records of persons who were erased, left out.
    pub(crate) erased: u64,
    pub(crate) pages: u64,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    /// Milliseconds spent waiting for rate limits and retries.
    pub(crate) waited_ms: u64,
    /// Bytes of all answers, after decompression.
    pub(crate) bytes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.adopted += other.adopted;
        self.deleted += other.deleted;
        self.filtered += other.filtered;
        self.quarantined += other.quarantined;
        self.over_cap += other.over_cap;
        self.erased += other.erased;
        self.pages += other.pages;
        self.requests += other.requests;
        self.retries += other.retries;
        self.waited_ms += other.waited_ms;
        self.bytes += other.bytes;
    }
}

/// A run as stored.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) organization: Slug,
    pub(crate) provider: Name,
    pub(crate) kind: Kind,
    pub(crate) trigger: Trigger,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) outcome: Outcome,
    pub(crate) tally: Tally,
    pub(crate) warnings: Vec<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) hint: Option<String>,
    /// When the provider lets a deferred run go on, if it told.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// The hash of the settings in force.
    pub(crate) shape: Option<String>,
    /// Whether the current credentials were refused and it went on with those they had replaced.
    pub(crate) fell_back: bool,
}

const SELECT: &str = "SELECT r.id, o.slug AS organization, p.slug AS provider, r.kind, r.trigger, r.started_at, r.finished_at, r.outcome, r.tally,
            r.warnings, r.error_code, r.error, r.hint, r.due_at, r.shape, r.fell_back
     FROM integration_sync_logs r
     JOIN organizations o ON o.id = r.organization_id
     JOIN integration_providers p ON p.id = r.provider_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: row.get("id")?,
        organization: text::parsed(row, "organization")?,
        provider: text::parsed(row, "provider")?,
        kind: match row.get_ref("kind")?.as_str()? {
            "replay" => Kind::Replay,
            "backfill" => Kind::Backfill,
            _ => Kind::Sync,
        },
        trigger: if row.get_ref("trigger")?.as_str()? == "schedule" { Trigger::Schedule } else { Trigger::Manual },
        started_at: text::at(row, "started_at")?,
        finished_at: text::at_or_null(row, "finished_at")?,
        outcome: text::parsed(row, "outcome")?,
        tally: text::json(row, "tally")?,
        warnings: text::json(row, "warnings")?,
        error_code: row.get("error_code")?,
        error: row.get("error")?,
        hint: row.get("hint")?,
        due_at: text::at_or_null(row, "due_at")?,
        shape: row.get("shape")?,
        fell_back: row.get("fell_back")?,
    })
}

/// Records that a run has begun and returns its id. A run of the same pair that still says `running` was killed: the
/// caller holds the pair's lock, so nobody else can be at it.
pub(crate) fn start(
    tx: &Connection,
    (organization_id, provider_id): (i64, i64),
    (kind, trigger, shape): (Kind, Trigger, Option<&str>),
    now: DateTime<Utc>,
) -> Result<i64> {
    tx.execute(
        "UPDATE integration_sync_logs SET outcome = 'interrupted', finished_at = max(started_at, :now),
                error_code = 'interrupted', error = 'the process ended before the run did'
         WHERE organization_id = :organization AND provider_id = :provider AND outcome = 'running'",
        named_params! { ":organization": organization_id, ":provider": provider_id, ":now": stamp(now) },
    )?;
    Ok(tx.query_row(
        "INSERT INTO integration_sync_logs (organization_id, provider_id, kind, trigger, shape, started_at, outcome, tally, warnings)
         VALUES (:organization, :provider, :kind, :trigger, :shape, :now, 'running', '{}', '[]') RETURNING id",
        named_params! {
            ":organization": organization_id, ":provider": provider_id, ":now": stamp(now),
            ":kind": kind.as_str(), ":trigger": trigger.as_str(), ":shape": shape,
        },
        |row| row.get(0),
    )?)
}

/// Stores the counts so far, in the transaction of the page they count.
pub(crate) fn count(tx: &Connection, id: i64, tally: &Tally) -> Result<()> {
    let mut statement = tx.prepare_cached("UPDATE integration_sync_logs SET tally = ?1 WHERE id = ?2")?;
    statement.execute((serde_json::to_string(tally)?, id))?;
    Ok(())
}

/// How a run ended.
pub(crate) struct Finish<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) tally: &'a Tally,
    pub(crate) warnings: &'a [String],
    pub(crate) error: Option<&'a UserError>,
    /// When the provider lets a deferred run go on, if it told.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// Whether it went on with the previous credentials.
    pub(crate) fell_back: bool,
}

/// Records how a run ended: never before it began, whatever the clock says meanwhile.
pub(crate) fn finish(tx: &Connection, id: i64, finish: &Finish<'_>, now: DateTime<Utc>) -> Result<()> {
    tx.execute(
        "UPDATE integration_sync_logs SET finished_at = max(started_at, :now), outcome = :outcome, tally = :tally,
                warnings = :warnings, error_code = :code, error = :error, hint = :hint, due_at = :due_at,
                fell_back = :fell_back WHERE id = :id",
        named_params! {
            ":id": id, ":now": stamp(now), ":outcome": finish.outcome.as_str(), ":tally": serde_json::to_string(finish.tally)?,
            ":warnings": serde_json::to_string(finish.warnings)?, ":code": finish.error.map(|error| error.code),
            ":error": finish.error.map(|error| error.message.as_str()), ":hint": finish.error.and_then(|error| error.hint.as_deref()),
            ":due_at": finish.due_at.map(stamp), ":fell_back": finish.fell_back,
        },
    )?;
    Ok(())
}

// Failures are counted only where the newest run was one, which is seldom. One that was cut off is none.
const LAST_RUNS: &str = "SELECT r.organization_id, r.provider_id, r.id, r.started_at, r.due_at,
            r.outcome = 'deferred' AND r.error_code IS 'out_of_time' AS cut_off,
            CASE WHEN r.outcome IN ('ok', 'partial') THEN 0 ELSE
                (SELECT count(*) FROM integration_sync_logs f
                  WHERE f.organization_id = r.organization_id AND f.provider_id = r.provider_id AND f.outcome <> 'running'
                    AND f.kind = 'sync' AND f.error_code IS NOT 'out_of_time'
                    AND f.id > coalesce((SELECT g.id FROM integration_sync_logs g
                         WHERE g.organization_id = r.organization_id AND g.provider_id = r.provider_id
                           AND g.kind = 'sync' AND g.outcome IN ('ok', 'partial') ORDER BY g.id DESC LIMIT 1), 0))
            END AS failures
     FROM integration_sync_logs r";

fn last_runs(row: &Row<'_>) -> rusqlite::Result<LastRuns> {
    Ok(LastRuns {
        started: Some(text::at(row, "started_at")?),
        failures: row.get("failures")?,
        cut_off: row.get("cut_off")?,
        newest: row.get("id")?,
        not_before: text::at_or_null(row, "due_at")?,
    })
}

/// Returns what schedules need to know of the runs of a pair. However many there were, it costs two look-ups.
pub(crate) fn last(connection: &Connection, (organization_id, provider_id): (i64, i64)) -> Result<LastRuns> {
    let sql = format!(
        "{LAST_RUNS} WHERE r.organization_id = ?1 AND r.provider_id = ?2 AND r.kind = 'sync' ORDER BY r.id DESC LIMIT 1"
    );
    let found = connection.prepare_cached(&sql)?.query_row((organization_id, provider_id), last_runs).optional()?;
    Ok(found.unwrap_or_default())
}

/// Returns what schedules need to know of the runs of all pairs that ever ran, by organization and provider.
pub(crate) fn all_last_runs(connection: &Connection) -> Result<HashMap<(i64, i64), LastRuns>> {
    let mut statement = connection.prepare(&format!(
        "{LAST_RUNS} WHERE r.id IN (SELECT max(id) FROM integration_sync_logs WHERE kind = 'sync' GROUP BY organization_id, provider_id)"
    ))?;
    let rows =
        statement.query_map([], |row| Ok(((row.get("organization_id")?, row.get("provider_id")?), last_runs(row)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns when any run was last started.
pub(crate) fn newest(connection: &Connection) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT started_at FROM integration_sync_logs ORDER BY id DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| text::at(row, "started_at")).optional()?)
}

/// Returns the newest run of a pair that called the provider.
pub(crate) fn latest(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<Option<Run>> {
    let sql = format!(
        "{SELECT} WHERE r.organization_id = ?1 AND r.provider_id = ?2 AND r.kind = 'sync' ORDER BY r.id DESC LIMIT 1"
    );
    Ok(connection.prepare_cached(&sql)?.query_row((organization_id, provider_id), from_row).optional()?)
}

/// Returns the newest run of a pair that did something useful.
pub(crate) fn latest_success(connection: &Connection, organization_id: i64, provider_id: i64) -> Result<Option<Run>> {
    let sql = format!(
        "{SELECT} WHERE r.organization_id = ?1 AND r.provider_id = ?2 AND r.kind = 'sync' AND r.outcome IN ('ok', 'partial')
         ORDER BY r.id DESC LIMIT 1"
    );
    Ok(connection.prepare_cached(&sql)?.query_row((organization_id, provider_id), from_row).optional()?)
}

/// Which runs to list.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) organization_id: Option<i64>,
    pub(crate) provider_id: Option<i64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) limit: u32,
}

/// Returns runs, newest first.
pub(crate) fn list(connection: &Connection, wanted: &Wanted) -> Result<Vec<Run>> {
    let mut statement = connection.prepare(&format!(
        "{SELECT} WHERE (:organization IS NULL OR r.organization_id = :organization)
            AND (:provider IS NULL OR r.provider_id = :provider) AND (:outcome IS NULL OR r.outcome = :outcome)
          ORDER BY r.id DESC LIMIT :limit"
    ))?;
    let parameters = named_params! {
        ":organization": wanted.organization_id, ":provider": wanted.provider_id,
        ":outcome": wanted.outcome.map(Outcome::as_str), ":limit": wanted.limit,
    };
    let rows = statement.query_map(parameters, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the runs that started before a moment and may be deleted, oldest first: all but each pair's newest one and its
/// newest that ended well, those under way, and those with records still in quarantine.
pub(crate) fn prunable(connection: &Connection, before: DateTime<Utc>) -> Result<Vec<i64>> {
    let mut statement = connection.prepare(
        "SELECT id FROM integration_sync_logs WHERE started_at < :before AND outcome <> 'running'
           AND id NOT IN (SELECT max(id) FROM integration_sync_logs WHERE kind = 'sync' GROUP BY organization_id, provider_id)
           AND id NOT IN (SELECT max(id) FROM integration_sync_logs WHERE kind = 'sync' AND outcome IN ('ok', 'partial')
                           GROUP BY organization_id, provider_id)
           AND id NOT IN (SELECT run_id FROM quarantine) ORDER BY id",
    )?;
    let rows = statement.query_map(named_params! { ":before": stamp(before) }, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes some of the runs that are [`prunable`]; a record may have been set aside by one meanwhile. Returns how many.
pub(crate) fn prune(tx: &Connection, ids: &[i64]) -> Result<u64> {
    let sql = "DELETE FROM integration_sync_logs
               WHERE id IN (SELECT value FROM json_each(?1)) AND id NOT IN (SELECT run_id FROM quarantine)";
    Ok(u64::try_from(tx.execute(sql, [serde_json::to_string(ids)?])?).unwrap_or(0))
}

/// What a run said beside its counts.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) id: i64,
    warnings: Vec<String>,
    error: Option<String>,
    hint: Option<String>,
}

impl Said {
    /// Returns all lines of it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().chain(&self.error).chain(&self.hint).map(String::as_str)
    }

    /// Returns it with each line changed for which `change` has another, if there is any.
    pub(crate) fn changed(self, change: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if !self.lines().any(|line| change(line).is_some()) {
            return None;
        }
        let changed = |line: String| change(&line).unwrap_or(line);
        let warnings = self.warnings.into_iter().map(changed).collect();
        Some(Said { id: self.id, warnings, error: self.error.map(changed), hint: self.hint.map(changed) })
    }
}

/// Returns what the runs of an organization said, of those that said anything.
pub(crate) fn texts(connection: &Connection, organization_id: i64) -> Result<Vec<Said>> {
    let mut statement = connection.prepare(
        "SELECT id, warnings, error, hint FROM integration_sync_logs
         WHERE organization_id = ?1 AND (warnings <> '[]' OR error IS NOT NULL OR hint IS NOT NULL) ORDER BY id",
    )?;
    let rows = statement.query_map([organization_id], |row| {
        Ok(Said {
            id: row.get("id")?,
            warnings: text::json(row, "warnings")?,
            error: row.get("error")?,
            hint: row.get("hint")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Puts in other words what a run said.
pub(crate) fn say(tx: &Connection, said: &Said) -> Result<()> {
    let sql = "UPDATE integration_sync_logs SET warnings = ?2, error = ?3, hint = ?4 WHERE id = ?1";
    tx.execute(sql, (said.id, serde_json::to_string(&said.warnings)?, &said.error, &said.hint))?;
    Ok(())
}

/// Returns one run.
pub(crate) fn by_id(connection: &Connection, id: i64) -> Result<Run> {
    connection.query_row(&format!("{SELECT} WHERE r.id = ?1"), [id], from_row).optional()?.ok_or_else(|| {
        UserError::new(Exit::NotFound, "run_not_found", format!("there is no run {id}"))
            .hint("`skillsctl log list` shows what there is")
            .into()
    })
}
