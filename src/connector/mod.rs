//! What a manifest says, done: authenticates, sends requests within limits, follows pages and decodes them.
//!
//! - A request: `values` fills slots, `request` builds, `auth` logs in, `token` shares what that brings, `call` sends and
//!   tries again, `errors` judges the answer. `rotate` asks for a new secret.
//! - Rates: `limits` keeps the budgets, each of them a `window`; `told` reads what answers say of them.
//! - A page: `decode` takes records out, `csv` turns lines into such first, `lenient` reads what is nearly JSON. `page` holds
//!   them, `spool` those of a page too large for memory. `paginate` finds the next one.
//! - A read: `read` ties these together, `detail` completes thin records, `job` has the service prepare a large one.

mod auth;
mod call;
mod csv;
mod decode;
mod detail;
mod errors;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod job;
mod lenient;
mod limits;
mod page;
mod paginate;
mod read;
mod request;
mod rotate;
mod spool;
mod token;
mod told;
mod values;
mod window;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

pub(crate) use decode::scalar;
pub(crate) use detail::{Detailed, Undetailed, reason};
pub(crate) use errors::Failure;
pub(crate) use job::{JobEnd, JobRead};
pub(crate) use limits::Limits;
pub(crate) use page::{Page, Sent};
pub(crate) use read::{Start, Wanted};
pub(crate) use token::{Keeper, Stored, Token};
pub(crate) use values::Window;

use crate::domain::manifest::Manifest;
use crate::domain::names::Name;
use crate::domain::network::Network;
use crate::error::{Exit, UserError};
use crate::http::Client;
use crate::secrets::Secret;

/// A provider of one organization, ready to be called.
pub(crate) struct Connector<'a> {
    manifest: &'a Manifest,
    settings: BTreeMap<String, Value>,
    secrets: Mutex<BTreeMap<Name, Secret>>,
    keeper: &'a dyn Keeper,
    /// A token from before this moment is no proof.
    proof_since: Option<DateTime<Utc>>,
    /// What sends, within what the settings allow; or why nothing can be sent.
    client: Result<Client, UserError>,
    budgets: Vec<limits::Budget>,
    token: Mutex<Option<Token>>,
    /// Held by the one call that gets a token.
    renewing: Mutex<()>,
    /// The base address that went with the token before.
    left_base: Mutex<Option<url::Url>>,
    stop: &'a AtomicBool,
    /// How far the provider's clock is ahead of ours, in milliseconds, as its last answer said.
    skew_ms: std::sync::atomic::AtomicI64,
    usage: Usage,
    /// What is worth telling of the stream being read, though nothing failed.
    notices: Mutex<Vec<String>>,
    /// How many characters of it could not be read.
    replaced: AtomicU64,
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
    /// Whose secrets these are, where the provider replaces them: the organization.
    pub(crate) owner: &'a str,
    pub(crate) keeper: &'a dyn Keeper,
    /// Has a login made after this moment, to prove the secrets.
    pub(crate) proof_since: Option<DateTime<Utc>>,
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    /// Set from outside to end everything soon.
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Connector<'a> {
    pub(crate) fn new(parts: Parts<'a>) -> Self {
        let client = parts.client.within(Network::of(&parts.settings)).map_err(|why| {
            UserError::new(Exit::Invalid, "ca_file_invalid", why)
                .hint("`ca_file` is the path of a file of PEM certificates that this user can read")
        });
        let mut connector = Connector {
            manifest: parts.manifest,
            settings: parts.settings,
            secrets: Mutex::new(parts.secrets),
            keeper: parts.keeper,
            proof_since: parts.proof_since,
            client,
            budgets: Vec::new(),
            token: Mutex::new(None),
            renewing: Mutex::new(()),
            left_base: Mutex::new(None),
            stop: parts.stop,
            skew_ms: std::sync::atomic::AtomicI64::new(0),
            usage: Usage::default(),
            notices: Mutex::default(),
            replaced: AtomicU64::new(0),
        };
        connector.budgets = connector.find_budgets(parts.limits, parts.owner);
        connector
    }

    /// Returns the budgets of the credentials. Those that the provider replaces do not tell whose they are.
    fn find_budgets(&self, limits: &Limits, owner: &str) -> Vec<limits::Budget> {
        let source = self.token_source().ok().flatten();
        let replaced = source.and_then(|source| match source {
            auth::Source::Oauth(oauth) => oauth.refresh_token.as_ref(),
            auth::Source::Login(_) => None,
        });
        self.with_secrets(|secrets| {
            let lasting = secrets.iter().filter(|(name, _)| Some(*name) != replaced).map(|(_, secret)| secret);
            limits.budgets((self.manifest, &self.settings), replaced.map(|_| owner), lasting)
        })
    }

    /// Notes something worth telling.
    fn notice(&self, notice: String) {
        self.notices.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(notice);
    }

    /// Returns what was worth telling since it was last asked for.
    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns how many characters of answers could not be read since it was last asked for.
    pub(crate) fn take_replaced(&self) -> u64 {
        self.replaced.swap(0, Ordering::Relaxed)
    }

    /// Returns the body of an answer as text, once it has shown that it is JSON.
    fn text(&self, response: crate::http::Response, what: &str) -> Result<String, Failure> {
        let (text, replaced) = decode::text(response, what, |begin| self.harmless(begin))?;
        self.replaced.fetch_add(replaced, Ordering::Relaxed);
        Ok(text)
    }

    /// Returns what was used so far.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Returns the provider's own time, as far as its answers told it: it is no later, and at most a second before that.
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
        let text = self.text(response, "the check")?;
        let document = crate::domain::json::document(&text).map_err(|_| {
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

    /// Returns a digest of what the account shows of what the credential sees; none where the manifest does not say how.
    pub(crate) fn scope(&self) -> Result<Option<String>, Failure> {
        let Some(scope) = self.manifest.check.as_ref().and_then(|check| check.scope.as_ref()) else { return Ok(None) };
        let request = self.request_get(&scope.get, &scope.query, &self.values(None))?;
        let what = request.shown();
        let response = self.call(&[], &self.values(None), request, true)?;
        let text = self.text(response, &what)?;
        let mut wanted = crate::domain::path::Projection::default();
        wanted.add(&scope.key);
        let places = decode::Places { records: &scope.items, next: None, total: None };
        let found = decode::outline(&text, &places, &wanted, &what)?;
        let keys: std::collections::BTreeSet<String> =
            found.values.iter().filter_map(|value| value.of(&text).and_then(scalar)).collect();
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("{keys:?}").as_bytes());
        Ok(Some(crate::secrets::hex::encode(&digest.as_ref()[..8])))
    }

    /// Returns whether everything is to end.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs a closure over the secrets, which stay in one place.
    fn with_secrets<T>(&self, use_them: impl FnOnce(&BTreeMap<Name, Secret>) -> T) -> T {
        use_them(&self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns a text from outside without any of this connector's secrets or its token; nothing for one that has none.
    ///
    /// Texts are looked through quickly, for the forms in which a provider says back what it was sent.
    pub(crate) fn without_secrets(&self, text: &str) -> Option<String> {
        let token = self.token_text();
        self.with_secrets(|secrets| {
            let secrets: Vec<&Secret> = secrets.values().chain(token.as_ref()).collect();
            crate::secrets::holds(text, &secrets).then(|| crate::secrets::redact(text, &secrets))
        })
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
