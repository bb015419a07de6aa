//! The work: whether syncs run, backups are made, and the clock can be believed.

use std::path::Path;

use anyhow::Result;
use chrono::TimeDelta;

use super::{Ground, Said, fail, ok, warn};
use crate::domain::network::Network;
use crate::error::Exit;
use crate::lookup::Library;
use crate::overview::{self, Overview};
use crate::store::anchor::{Anchor, Seen};
use crate::store::{audit, organizations, runs};
use crate::sync::lock;

/// A backup older than this is not the nightly one.
const BACKUP: TimeDelta = TimeDelta::hours(49);
/// How far clocks may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// A run under way for longer hangs, or is not watched.
const LONG: TimeDelta = TimeDelta::hours(6);
/// What is due for longer is not called.
const LATE: TimeDelta = TimeDelta::hours(2);

/// When the last backup was made, and whether it is still there.
pub(super) fn backup(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Some(store) = ground.up_to_date() else { return Ok(Vec::new()) };
    let hint = "`skillsctl db backup FILE` makes one; docs/systemd has a timer for each night";
    let Some((at, path)) = audit::last(store.read(), "db backup")? else {
        let none = organizations::all(store.read(), true)?.is_empty();
        return Ok(vec![if none {
            ok("there is nothing to back up yet")
        } else {
            warn("no backup is known of", hint)
        }]);
    };
    let days = (ground.now - at).num_days();
    Ok(vec![if ground.now - at > BACKUP {
        warn(format!("the last backup is {days} days old"), hint)
    } else if !Path::new(&path).exists() {
        ok(format!("the last one was made in time, and `{path}` has been moved since"))
    } else {
        ok(format!("`{path}` was made in time"))
    }])
}

/// Whether something is dated later than now.
pub(super) fn clock(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(store) = ground.store else { return Ok(Vec::new()) };
    let newest = audit::newest(store.read())?.max(runs::newest(store.read())?);
    Ok(vec![match newest {
        Some(newest) if newest > ground.now + SKEW => fail(
            Exit::Database,
            format!("something was written at {newest:?}, which is yet to come"),
            "set the clock of this machine, or wait: schedules count from the last run",
        ),
        _ => ok("nothing is dated later than now"),
    }])
}

/// Whether a run has been under way for too long.
pub(super) fn runs(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    for overview in overviews(ground)? {
        let Some(run) = overview.last_run.as_ref().filter(|run| run.finished_at.is_none()) else { continue };
        let pair = format!("{} {}", overview.organization.slug, overview.provider);
        if overview.standing == overview::Standing::Running && ground.now - run.started_at > LONG {
            let hint = format!("`skillsctl log show {}` tells how far it is; end its process if it hangs", run.id);
            said.push(warn(format!("a sync of {pair} has been under way since {:?}", run.started_at), hint));
        }
    }
    if said.is_empty() && ground.store.is_ok() {
        said.push(ok("no sync has been under way for long"));
    }
    Ok(said)
}

/// How many providers of organizations want looking at.
pub(super) fn standing(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let all = overviews(ground)?;
    let bad = all.iter().filter(|overview| overview.standing.is_bad()).count();
    Ok(match (all.len(), bad) {
        (0, _) => Vec::new(),
        (all, 0) => vec![ok(format!("none of {all} connections wants looking at"))],
        (all, bad) => {
            vec![warn(format!("{bad} of {all} connections want looking at"), "`skillsctl status` shows them first")]
        }
    })
}

/// Whether anything calls `sync --all`.
pub(super) fn schedule(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let late = |overview: &Overview| {
        let ran = overview.last_run.is_some() && overview.standing != overview::Standing::Running;
        ran && overview.next.is_some_and(|next| ground.now - next > LATE)
    };
    let all = overviews(ground)?;
    let waiting = all.iter().filter(|overview| late(overview)).count();
    Ok(match (all.len(), waiting) {
        (0, _) => Vec::new(),
        (_, 0) => vec![ok("nothing has been due for long")],
        (_, waiting) => {
            let message = format!("{waiting} syncs have been due for more than {} hours", LATE.num_hours());
            vec![warn(
                message,
                "is the timer running? `systemctl list-timers skillsctl-sync.timer`, or the line of cron",
            )]
        }
    })
}

/// Which providers may be called without TLS, or in private networks.
pub(super) fn network(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Some(store) = ground.up_to_date() else { return Ok(Vec::new()) };
    let library = Library::read(store.read())?;
    let (mut said, mut private) = (Vec::new(), 0);
    for organization in organizations::all(store.read(), false)? {
        let preset = library.preset(store.read(), &organization)?;
        for (provider, _) in &preset.providers {
            let integration = library.integration(store.read(), &organization, provider.as_str())?;
            let network = Network::of(&integration.settings.declared());
            private += u32::from(network.private);
            if network.insecure_http {
                let place = format!("{} {provider}", organization.slug);
                let hint = format!("`skillsctl override reset {place} allow_insecure_http` ends it");
                said.push(warn(format!("{place} may be called without TLS, on this machine"), hint));
            }
        }
    }
    said.push(match private {
        0 => ok("no provider may be called in a private network"),
        count => ok(format!("{count} may be called in private networks, as their settings say")),
    });
    Ok(said)
}

/// Whether credentials are older than they should become.
pub(super) fn credential_age(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let old: usize = overviews(ground)?.iter().map(|overview| overview.old_credentials.len()).sum();
    Ok(match (ground.store, old) {
        (Err(_), _) => Vec::new(),
        (_, 0) => vec![ok("no credential is older than it should be")],
        (_, old) => vec![warn(
            format!("{old} credentials are older than they should be"),
            "`skillsctl credential list --older-than 180d` lists them, `skillsctl credential rotate` replaces one",
        )],
    })
}

/// Whether an older copy in the place of the database would be noticed.
pub(super) fn anchor(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(store) = ground.store else { return Ok(Vec::new()) };
    let Some(folder) = ground.environment.anchor_folder() else {
        let hint = "name a folder that lies apart from the database in SKILLSCTL_ANCHORS";
        return Ok(vec![warn("an older copy in the place of the database would not be noticed", hint)]);
    };
    let verify = "`skillsctl audit verify` tells more, and `--accept` says that it is meant to be";
    Ok(vec![match Anchor::of(&folder, store.database_id()).compare(store.read())? {
        Seen::Nothing => ok("no change of this database has been seen on this host yet"),
        Seen::Holds(head) => ok(format!("the last change seen on this host, row {} of the audit, is there", head.id)),
        Seen::Older(_) => fail(Exit::Database, "the database is older than the last change seen on this host", verify),
        Seen::Other(_) => fail(Exit::Database, "the database is not the one last seen on this host", verify),
        Seen::Unreadable(why) => warn(format!("the last change seen cannot be read: {why}"), verify),
    }])
}

fn overviews(ground: &Ground<'_>) -> Result<Vec<Overview>> {
    let Some(store) = ground.up_to_date() else { return Ok(Vec::new()) };
    let is_running = |organization: &str, provider: &str| lock::is_held(store.path(), organization, provider);
    overview::of(store.read(), organizations::all(store.read(), false)?, ground.now, &is_running)
}
