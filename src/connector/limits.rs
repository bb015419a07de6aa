//! Budgets of requests: so many in so long, shared by all streams, organizations and processes that use a credential.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::told;
use super::window::{Pace, Place, Window};
use crate::config::running_now;
use crate::domain::manifest::{Limit, Manifest, Rate};
use crate::http::Response;
use crate::locks;
use crate::secrets::{Names, Secret};

/// How long a run stands back that has used its share of a longer allowance, where the answer does not say.
const STAND_BACK: Duration = Duration::from_secs(3_600);
/// Files of budgets that nobody has used for this long are removed.
const STALE: Duration = Duration::from_secs(7 * 86_400);

/// Where the budgets of this machine are.
pub(crate) struct Limits {
    folder: PathBuf,
    names: Names,
    pruned: Once,
}

impl Limits {
    /// Keeps budgets beside a database, under names that say nothing of the credentials they are for.
    pub(crate) fn beside(database: &Path, names: Names) -> Self {
        Limits { folder: locks::folder(database), names, pruned: Once::new() }
    }

    /// Returns the budgets of a credential. `owner` is whose it is, where the secrets do not stay the same.
    pub(super) fn budgets<'s>(
        &self,
        (manifest, settings): (&Manifest, &BTreeMap<String, Value>),
        owner: Option<&'s str>,
        secrets: impl Iterator<Item = &'s Secret>,
    ) -> Vec<Budget> {
        let identity: Vec<&str> = owner.into_iter().chain(secrets.map(Secret::expose)).collect();
        let budgets = manifest.http.limits.iter().filter_map(|(name, limit)| {
            // The manifest was proved to hold regular expressions, and rates under any settings it allows.
            let only = limit.only.as_deref().map(regex::Regex::new).transpose().ok()?;
            let file = self.names.of([manifest.provider.as_str(), name.as_str()].into_iter().chain(identity.clone()));
            let rate = limit.rate(settings).ok()?;
            Some(Budget { place: Mutex::new(self.open(&format!("rate-{file}"))), rate, only, limit: limit.clone() })
        });
        budgets.collect()
    }

    fn open(&self, name: &str) -> Place {
        if !self.folder.join(name).exists() {
            self.pruned.call_once(|| prune(&self.folder));
        }
        locks::open(&self.folder, name).map_or_else(|_| Place::Memory(Vec::new()), Place::File)
    }
}

/// Removes the budgets that nobody has used for long; a credential that is used again starts anew.
fn prune(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rate-")) {
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        let age = used.ok().and_then(|used| SystemTime::now().duration_since(used).ok());
        if age.is_some_and(|age| age > STALE) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// A budget of one credential.
pub(super) struct Budget {
    place: Mutex<Place>,
    rate: Rate,
    /// The paths that count; without it all do.
    only: Option<regex::Regex>,
    limit: Limit,
}

impl Budget {
    /// Returns whether a request to this path counts.
    pub(super) fn counts(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(path))
    }

    /// Takes one request out of the budget. Returns the moment it counts from, or how long to wait before asking again.
    pub(super) fn take(&self) -> Result<u64, Duration> {
        self.change(|window| window.take())
    }

    /// Returns how long it is until the budget has room.
    pub(super) fn wait(&self) -> Duration {
        self.change(|window| window.wait())
    }

    /// Sends nothing for so long, as the provider asks, whatever was guessed before.
    pub(super) fn advised(&self, wait: Duration) {
        self.change(|window| window.advised(wait));
    }

    /// Sends nothing for so long.
    pub(super) fn hold(&self, wait: Duration) {
        self.change(|window| window.hold(wait));
    }

    /// Halves the share of the rate, once for all requests that were under way with the refused one.
    pub(super) fn refused(&self, sent: u64) {
        self.change(|window| window.refused(sent));
    }

    /// Heeds what an answer tells of the provider's own count.
    pub(super) fn learn(&self, response: &Response, now: DateTime<Utc>) {
        let Limit { remaining, reset, used, stop_at, refill, .. } = &self.limit;
        let reset = || told::wait_in(response, reset.as_ref()?.as_str(), now);
        if let Some(left) = remaining.as_ref().and_then(|header| told::left(response, header.as_str())) {
            // What an answer says of the wait is better than what the window makes one guess.
            let told = if left == 0 { told::advice(response, now).or_else(reset) } else { None };
            match told {
                Some(wait) => self.advised(wait),
                // A rate that is as good as untouched needs no look at the window.
                None if left < u64::from(self.rate.requests) => self.change(|window| window.left(left)),
                None => {}
            }
        }
        let used = used.as_ref().and_then(|header| told::used(response, header.as_str()));
        let Some((used, all)) = used else { return };
        match refill {
            // A leaky bucket at its brim has room again as soon as a drop has left it.
            Some(refill) if used >= all => {
                let drop = refill.per.std() / refill.requests;
                self.hold(drop.mul_f64((used - all + 1) as f64));
            }
            Some(_) => {}
            None if stop_at.is_some_and(|stop_at| used as f64 / all as f64 >= stop_at) => {
                self.hold(reset().unwrap_or(STAND_BACK));
            }
            None => {}
        }
    }

    fn change<T>(&self, change: impl Fn(&mut Window<'_>) -> std::io::Result<T>) -> T {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.change(
            Pace::with_margin(self.rate),
            || u64::try_from(running_now().timestamp_micros()).unwrap_or(0),
            change,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Length;
    use crate::secrets::MasterKey;

    fn manifest() -> Manifest {
        let text = r#"
provider: demo
revision: 1
kind: crm
title: Demo
secrets: {key: {title: Key}}
http:
  base: https://demo.example
  auth: {bearer: "{secret.key}"}
  limits:
    all: {rate: 3/10s, remaining: X-Left, reset: X-Reset}
    day: {rate: 90/10s, used: X-Used, stop_at: 0.8}
    bucket: {rate: 90/10s, used: X-Level, refill: 2/1s}
streams:
  people: {key: id, records: "[]", full: {get: /people}}
"#;
        crate::domain::manifest::load("demo.yaml", text).unwrap()
    }

    fn limits(folder: &tempfile::TempDir) -> Limits {
        let key = MasterKey::parse(&"7f".repeat(32)).unwrap();
        Limits::beside(&folder.path().join("skills.db"), key.names())
    }

    fn budgets(limits: &Limits, secret: &str) -> Vec<Budget> {
        limits.budgets((&manifest(), &BTreeMap::new()), None, [&Secret::from(secret.to_owned())].into_iter())
    }

    fn answer(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status: 200, headers, body: Vec::new(), spooled: None }
    }

    #[test]
    fn a_rate_may_be_a_setting() {
        let text = "provider: x\nrevision: 1\nkind: crm\ntitle: X\nsettings: {calls: {type: int, default: 3, min: 1}}\n\
                    http: {base: 'https://x.example', limits: {all: {rate: '{settings.calls}/10s'}}}\n\
                    streams: {a: {key: id, records: '[]', full: {get: /a}}}\n";
        let manifest = crate::domain::manifest::load("x.yaml", text).unwrap();
        let settings = BTreeMap::from([("calls".to_owned(), Value::from(190))]);
        let folder = tempfile::tempdir().unwrap();
        let budgets = limits(&folder).budgets((&manifest, &settings), None, std::iter::empty());
        assert_eq!(budgets[0].rate, Rate { requests: 190, per: Length(10) });
    }

    #[test]
    fn one_credential_is_one_budget_and_another_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let limits = limits(&folder);
        let [one, same, other] = ["sentinel-5f1e", "sentinel-5f1e", "another"].map(|secret| budgets(&limits, secret));
        assert!(one[0].take().is_ok() && same[0].take().is_ok() && one[0].take().is_ok());
        assert!(one[0].take().is_err() && same[0].take().is_err());
        assert!(other[0].take().is_ok() && one[1].take().is_ok());
        let files = std::fs::read_dir(folder.path().join("skills.db.locks")).unwrap();
        let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names.len(), 6);
        assert!(names.iter().all(|name| name.starts_with("rate-") && !name.contains("sentinel")), "{names:?}");
    }

    #[test]
    fn headers_of_an_answer_lower_a_budget_or_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let limits = limits(&folder);
        let now = running_now();
        let [left, gone, used] = ["a", "b", "c"].map(|secret| budgets(&limits, secret));
        left[0].learn(&answer(&[("x-left", "1")]), now);
        assert!(left[0].take().is_ok() && left[0].take().is_err());
        gone[0].learn(&answer(&[("x-left", "0"), ("x-reset", "90")]), now);
        assert!(gone[0].take().is_err_and(|wait| wait > Duration::from_secs(80)));
        let told = budgets(&limits, "d");
        told[0].learn(&answer(&[("x-left", "0"), ("retry-after", "1")]), now);
        assert!(
            told[0].take().is_err_and(|wait| wait <= Duration::from_secs(1)),
            "the wait that is told beats the window"
        );
        let bucket = budgets(&limits, "e");
        bucket[2].learn(&answer(&[("x-level", "39/40")]), now);
        assert!(bucket[2].take().is_ok());
        bucket[2].learn(&answer(&[("x-level", "40/40")]), now);
        assert!(bucket[2].take().is_err_and(|wait| wait <= Duration::from_millis(500)), "for a drop");
        used[1].learn(&answer(&[("x-used", "usage=79/100")]), now);
        assert!(used[1].take().is_ok());
        used[1].learn(&answer(&[("x-used", "usage=80/100")]), now);
        assert!(used[1].take().is_err_and(|wait| wait > Duration::from_secs(3_500)));
        assert!(used[0].take().is_ok());
    }

    #[test]
    fn a_budget_that_nobody_uses_is_removed_after_a_week() {
        let folder = tempfile::tempdir().unwrap();
        budgets(&limits(&folder), "old")[0].take().unwrap();
        let locks = folder.path().join("skills.db.locks");
        let (old, run) = (std::fs::read_dir(&locks).unwrap().next().unwrap().unwrap().path(), locks.join("run-a-b"));
        std::fs::write(&run, "").unwrap();
        let week = SystemTime::now() - STALE - Duration::from_secs(60);
        for path in [&old, &run] {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(week).unwrap();
        }
        budgets(&limits(&folder), "new");
        assert!(!old.exists() && run.exists());
    }
}
