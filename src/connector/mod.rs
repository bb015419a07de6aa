//! What a manifest says, done: authenticates, sends requests within limits, follows pages and decodes them.
//!
//! `values` fills slots, `request` builds, `auth` logs in, `limits` waits, `call` sends and retries, `errors` judges
//! answers, `paginate` finds the next page, `decode` takes records out, `page` holds them, `spool` holds those of a large one,
//! `read` ties them together.

mod auth;
mod call;
mod decode;
mod errors;
mod limits;
mod page;
mod paginate;
mod read;
mod request;
mod spool;
mod values;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

pub(crate) use decode::scalar;
pub(crate) use errors::Failure;
pub(crate) use limits::Limits;
pub(crate) use page::{Page, Sent};
pub(crate) use read::{Start, Wanted};
pub(crate) use values::Window;

use crate::domain::manifest::Manifest;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::http::Client;
use crate::secrets::Secret;

/// Stores a rotated secret before it is used: an access token that came with it may be the last that the old one gives.
pub(crate) type Rotate<'a> = dyn Fn(&Name, &Secret) -> Result<()> + Sync + 'a;

/// A provider of one organization, ready to be called.
pub(crate) struct Connector<'a> {
    manifest: &'a Manifest,
    settings: BTreeMap<String, Value>,
    secrets: Mutex<BTreeMap<Name, Secret>>,
    rotate: &'a Rotate<'a>,
    client: &'a Client,
    limits: &'a Limits,
    budgets: Vec<limits::Budget>,
    token: Mutex<Option<auth::Token>>,
    /// Held by the one call that gets a token.
    renewing: Mutex<()>,
    stop: &'a AtomicBool,
    /// How far the provider's clock is ahead of ours, in milliseconds, as its last answer said.
    skew_ms: std::sync::atomic::AtomicI64,
    usage: Usage,
}

/// What was sent, received and waited for.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) requests: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) waited_ms: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Usage {
    fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// What a connector is made of.
pub(crate) struct Parts<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) settings: BTreeMap<String, Value>,
    pub(crate) secrets: BTreeMap<Name, Secret>,
    pub(crate) rotate: &'a Rotate<'a>,
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    /// Set from outside to end everything soon.
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Connector<'a> {
    pub(crate) fn new(parts: Parts<'a>) -> Self {
        let budgets = limits::budgets(parts.manifest, parts.secrets.values());
        Connector {
            manifest: parts.manifest,
            settings: parts.settings,
            secrets: Mutex::new(parts.secrets),
            rotate: parts.rotate,
            client: parts.client,
            limits: parts.limits,
            budgets,
            token: Mutex::new(None),
            renewing: Mutex::new(()),
            stop: parts.stop,
            skew_ms: std::sync::atomic::AtomicI64::new(0),
            usage: Usage::default(),
        }
    }

    /// Returns what was used so far.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Returns the provider's own time, as far as its answers told it.
    pub(crate) fn provider_time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    /// Makes the check call where it can tell one account from another.
    pub(crate) fn verify_account(&self) -> Result<(), Failure> {
        match &self.manifest.check {
            Some(check) if !check.expect.0.is_empty() => self.check().map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Makes the manifest's check call. Returns what the account answered at the paths that were expected something of.
    /// Another account's credential is refused.
    pub(crate) fn check(&self) -> Result<Vec<(String, String)>, Failure> {
        let Some(check) = &self.manifest.check else { return Ok(Vec::new()) };
        let values = self.values(None);
        let request = self.request_get(&check.get, &check.query, &values)?;
        let response = self.call(&[], &values, request, true)?;
        let text = decode::text(response, "the check")?;
        let document: Value = serde_json::from_str(&text).map_err(|_| {
            Failure::Stream(
                UserError::new(Exit::Unavailable, "not_json", "the check did not answer with JSON")
                    .hint("check the API address in the settings"),
            )
        })?;
        let mut found = Vec::new();
        for (path, template) in check.expect.iter() {
            let at = path.parse().ok().and_then(|path: crate::domain::path::Path| path.find(&document).cloned());
            let answered = at.as_ref().map(values::plain).unwrap_or_default();
            let wanted = values.text(template)?.unwrap_or_default();
            if answered != wanted {
                let error = UserError::new(
                    Exit::Refused,
                    "wrong_account",
                    format!(
                        "this credential belongs to another account: {} answers {path} `{}`, expected `{wanted}`",
                        self.manifest.title,
                        answered.escape_debug()
                    ),
                );
                let hint = check
                    .hint
                    .clone()
                    .unwrap_or_else(|| "set the credential of the right account, or correct the setting".into());
                return Err(Failure::Refused(error.hint(hint)));
            }
            found.push((path.clone(), answered));
        }
        Ok(found)
    }

    /// Returns whether everything is to end.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs a closure over the secrets, which stay in one place.
    fn with_secrets<T>(&self, use_them: impl FnOnce(&BTreeMap<Name, Secret>) -> T) -> T {
        use_them(&self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns a text from outside, shortened and without any of this connector's secrets or its token.
    fn harmless(&self, text: &str) -> String {
        let token = self.token_text();
        let redacted = self.with_secrets(|secrets| {
            crate::secrets::redact(text, &secrets.values().chain(token.as_ref()).collect::<Vec<_>>())
        });
        let one_line = redacted.split_whitespace().collect::<Vec<_>>().join(" ");
        match one_line.char_indices().nth(200) {
            Some((end, _)) => format!("{}...", &one_line[..end]),
            None => one_line,
        }
    }
}
