//! Budgets of requests: so many in so long, counted exactly, shared by all streams and organizations of a credential.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::domain::manifest::{Manifest, Rate};
use crate::secrets::{Secret, hex};

/// All budgets of this process.
#[derive(Default)]
pub(crate) struct Limits {
    windows: Mutex<HashMap<String, Arc<Mutex<SlidingWindow>>>>,
}

/// When the last requests were sent. Counting over a sliding window keeps to the rate at every moment, where a bucket
/// that starts full would send twice as many in its first window.
#[derive(Default)]
struct SlidingWindow {
    sent: VecDeque<Instant>,
    /// Nothing is sent before this, as the provider asked.
    not_before: Option<Instant>,
}

impl Limits {
    /// Takes one request out of a budget. Returns how long to wait before asking again, `None` once it is taken.
    pub(super) fn take(&self, budget: &str, rate: Rate, now: Instant) -> Option<Duration> {
        let window = self.window(budget);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) =
            window.not_before.and_then(|until| until.checked_duration_since(now)).filter(|wait| !wait.is_zero())
        {
            return Some(wait);
        }
        let per = rate.per.std();
        while window.sent.front().is_some_and(|sent| now.duration_since(*sent) >= per) {
            window.sent.pop_front();
        }
        if window.sent.len() < rate.requests as usize {
            window.sent.push_back(now);
            return None;
        }
        window.sent.front().map(|sent| per.saturating_sub(now.duration_since(*sent)))
    }

    /// Holds a budget back after the provider refused a request for its rate.
    pub(super) fn hold(&self, budget: &str, until: Instant) {
        let window = self.window(budget);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.not_before = window.not_before.max(Some(until));
    }

    fn window(&self, budget: &str) -> Arc<Mutex<SlidingWindow>> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.entry(budget.to_owned()).or_default().clone()
    }
}

/// A budget of one credential, ready to be asked for.
pub(super) struct Budget {
    pub(super) name: String,
    pub(super) rate: Rate,
    /// The paths that count; without it all do.
    pub(super) only: Option<regex::Regex>,
}

/// Returns the budgets of a credential. Their names have a digest of it, so that no secret is kept as a key.
pub(super) fn budgets<'s>(
    manifest: &Manifest,
    settings: &BTreeMap<String, Value>,
    secrets: impl Iterator<Item = &'s Secret>,
) -> Vec<Budget> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(manifest.provider.as_str().as_bytes());
    for secret in secrets {
        context.update(&[0]);
        context.update(secret.expose().as_bytes());
    }
    let owner = hex::encode(&context.finish().as_ref()[..16]);
    let budgets = manifest.http.limits.iter().filter_map(|(name, limit)| {
        // The manifest was proved to hold regular expressions, and rates under any settings it allows.
        let only = limit.only.as_deref().map(regex::Regex::new).transpose().ok()?;
        Some(Budget { name: format!("{owner}/{name}"), rate: limit.rate(settings).ok()?, only })
    });
    budgets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Length;

    #[test]
    fn never_more_than_the_rate_in_any_window() {
        let limits = Limits::default();
        let rate = Rate { requests: 3, per: Length(10) };
        let start = Instant::now();
        let mut now = start;
        let mut sent = Vec::new();
        for _ in 0..10 {
            while let Some(wait) = limits.take("a", rate, now) {
                now += wait;
            }
            sent.push(now);
            now += Duration::from_millis(700);
        }
        for window in sent.windows(4) {
            assert!(window[3] - window[0] >= Duration::from_secs(10), "{sent:?}");
        }
        assert_eq!(limits.take("b", rate, start), None);
    }

    #[test]
    fn a_rate_may_be_a_setting() {
        let text = "provider: x\nrevision: 1\nkind: crm\ntitle: X\nsettings: {calls: {type: int, default: 3, min: 1}}\n\
                    http: {base: 'https://x.example', limits: {all: {rate: '{settings.calls}/10s'}}}\n\
                    streams: {a: {key: id, records: '[]', full: {get: /a}}}\n";
        let manifest = crate::domain::manifest::load("x.yaml", text).unwrap();
        let settings = BTreeMap::from([("calls".to_owned(), Value::from(190))]);
        let budgets = budgets(&manifest, &settings, std::iter::empty());
        assert_eq!(budgets[0].rate, Rate { requests: 190, per: Length(10) });
    }

    #[test]
    fn a_held_budget_waits_as_told() {
        let limits = Limits::default();
        let rate = Rate { requests: 3, per: Length(10) };
        let now = Instant::now();
        limits.hold("a", now + Duration::from_secs(5));
        limits.hold("a", now + Duration::from_secs(1));
        assert_eq!(limits.take("a", rate, now), Some(Duration::from_secs(5)));
        assert_eq!(limits.take("a", rate, now + Duration::from_secs(5)), None);
    }
}
