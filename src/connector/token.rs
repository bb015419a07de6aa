//! The token in use: got once for all who need it, kept for the runs that follow, renewed by one process at a time.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::auth::Source;
use super::values::Values;
use super::{Connector, Failure};
use crate::config::now;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::http::Request;
use crate::locks::Held;
use crate::mutants;
use crate::secrets::Secret;

/// How long another process may take to log in before a run stops waiting for it.
const LOGIN: Duration = Duration::from_secs(300);

/// A token, and how long it is believed.
pub(crate) struct Token {
    pub(crate) text: Secret,
    /// The fields of the answer it came in, without the secret ones.
    pub(crate) answer: Value,
    pub(crate) got_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// What is stored for a pair now.
pub(crate) struct Stored {
    pub(crate) secrets: std::collections::BTreeMap<Name, Secret>,
    /// The token got with these secrets, if there is one.
    pub(crate) token: Option<Token>,
}

/// Where the secrets and the token of a pair are kept, for all processes.
pub(crate) trait Keeper: Sync {
    /// Returns the right to log in, `None` while another process has it.
    fn try_alone(&self) -> anyhow::Result<Option<Held>>;

    /// Returns what is stored, `None` if a person has replaced a credential since this began.
    fn stored(&self) -> anyhow::Result<Option<Stored>>;

    /// Stores a token, and the secret that the provider has put in place of one, before either is used: an access token
    /// may be the last that the old secret gives. Returns false, and stores nothing, if a person has replaced a credential.
    fn keep(&self, token: &Token, rotated: Option<(&Name, &Secret)>) -> anyhow::Result<bool>;

    /// Forgets the token, which is worth nothing.
    fn forget(&self) -> anyhow::Result<()>;
}

impl Connector<'_> {
    /// Returns the token, or a field of the answer it came in.
    pub(super) fn token_value(&self, member: &str) -> Option<Value> {
        let token = self.lock_token();
        let token = token.as_ref()?;
        if member.is_empty() { Some(Value::from(token.text.expose())) } else { token.answer.get(member).cloned() }
    }

    /// Returns the token itself.
    pub(super) fn token_text(&self) -> Option<Secret> {
        self.lock_token().as_ref().map(|token| Secret::from(token.text.expose().to_owned()))
    }

    /// Gets a token if one is needed and the one at hand is missing or near its end. Calls at once share one request for
    /// it: a second one would spend the refresh token twice, or end the session of the first.
    pub(super) fn ensure_token(&self) -> Result<(), Failure> {
        let Some(source) = self.token_source()? else { return Ok(()) };
        let at_hand = || self.lock_token().as_ref().is_some_and(|token| now() < token.expires_at);
        if at_hand() {
            return Ok(());
        }
        let _one = self.lock_renewing();
        if at_hand() { Ok(()) } else { self.obtain(&source, None) }
    }

    /// Gives a request that was refused a new token, unless it carried an older one than there is by now. Returns false
    /// if there is no way to get one.
    pub(super) fn renew(&self, request: &mut Request, values: &Values<'_>) -> Result<bool, Failure> {
        let auth = &self.manifest.http.auth;
        let Some(source) = self.token_source()? else { return Ok(false) };
        let mut carried = Request { url: request.url.clone(), headers: Vec::new(), body: None, ..*request };
        carried.url.set_query(None);
        let base = {
            let _one = self.lock_renewing();
            self.authorize(auth, &mut carried, values)?;
            let has = |part: &str| request.url.query().is_some_and(|query| query.split('&').any(|own| own == part));
            let same = carried.headers.iter().all(|header| request.headers.contains(header))
                && carried.url.query().is_none_or(|query| query.split('&').all(has));
            let mut left = self.left_base.lock().unwrap_or_else(PoisonError::into_inner);
            if same {
                *left = Some(self.base(values)?);
                let refused = self.lock_token().take();
                self.obtain(&source, refused.as_ref().map(|token| &token.text))?;
            }
            left.clone()
        };
        // The new token may be for another address than the old one was.
        if let Some(left) = base {
            move_to(&mut request.url, &left, &self.base(values)?);
        }
        let named = |header: &str| carried.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header));
        request.headers.retain(|(name, _)| !named(name));
        let names: Vec<&str> =
            carried.url.query().into_iter().flat_map(|query| query.split('&')).map(name_of).collect();
        let kept = request.url.query().unwrap_or_default().split('&').filter(|part| !names.contains(&name_of(part)));
        let kept = kept.collect::<Vec<_>>().join("&");
        request.url.set_query((!kept.is_empty()).then_some(kept.as_str()));
        self.authorize(auth, request, values)?;
        Ok(true)
    }

    /// Forgets a token that the provider does not take although it is new.
    pub(super) fn forget_token(&self) -> Result<(), Failure> {
        if self.token_source()?.is_none() {
            return Ok(());
        }
        *self.lock_token() = None;
        self.keeper.forget().map_err(fault)
    }

    /// Gets a token: the one that another process has stored meanwhile, else a new one, stored before it is used.
    fn obtain(&self, source: &Source<'_>, refused: Option<&Secret>) -> Result<(), Failure> {
        let _alone = self.wait_alone()?;
        // What was read before may have been spent or replaced while this one waited.
        let Stored { secrets, token } =
            self.keeper.stored().map_err(fault)?.ok_or_else(|| self.credential_replaced())?;
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
        let now = now();
        let good = |token: &Token| {
            token.got_at <= now
                && now < token.expires_at
                && refused.is_none_or(|refused| refused.expose() != token.text.expose())
                && self.proof_since.is_none_or(|since| since < token.got_at)
        };
        if let Some(token) = token.filter(good) {
            *self.lock_token() = Some(token);
            return Ok(());
        }
        let got = match source {
            Source::Oauth(oauth) => self.oauth(oauth),
            Source::Login(login) => self.login(login).map(|token| (token, None)),
        };
        let (token, rotated) = match got {
            Ok(got) => got,
            Err(failure) => {
                if matches!(failure, Failure::Refused(_)) {
                    self.keeper.forget().map_err(fault)?;
                }
                return Err(failure);
            }
        };
        if !mutants::on("token-unsaved") {
            let kept = self.keeper.keep(&token, rotated.as_ref().map(|(name, secret)| (name, secret)));
            if !kept.map_err(fault)? {
                return Err(self.credential_replaced());
            }
        }
        mutants::point("token kept");
        if let Some((name, secret)) = rotated {
            self.secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(name, secret);
        }
        // What was rotated is kept by now, whatever the token is worth.
        if let Err(failure) = self.sendable(&token.text) {
            self.keeper.forget().map_err(fault)?;
            return Err(failure);
        }
        *self.lock_token() = Some(token);
        Ok(())
    }

    /// Waits until no other process is logging in for the same pair.
    fn wait_alone(&self) -> Result<Held, Failure> {
        let until = Instant::now() + LOGIN;
        loop {
            if let Some(held) = self.keeper.try_alone().map_err(fault)? {
                return Ok(held);
            }
            if Instant::now() >= until {
                let message = format!("another process has been logging in at {} for too long", self.manifest.title);
                return Err(Failure::Defer(UserError::new(Exit::Locked, "login_locked", message), None));
            }
            self.sleep(Duration::from_millis(20))?;
        }
    }

    /// Returns the failure of a run whose credential a person has replaced: to go on with the new one could mix two
    /// accounts.
    fn credential_replaced(&self) -> Failure {
        let message = format!("a credential of {} was replaced while it was in use", self.manifest.title);
        Failure::Refused(
            UserError::new(Exit::Conflict, "credential_replaced", message)
                .hint("the next sync begins with the new one"),
        )
    }

    fn lock_renewing(&self) -> MutexGuard<'_, ()> {
        self.renewing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the failure of a keeper: what a person can put right is this provider's trouble alone.
fn fault(error: anyhow::Error) -> Failure {
    match error.downcast::<UserError>() {
        Ok(error) => Failure::Refused(error),
        Err(fault) => Failure::Internal(fault),
    }
}

/// Moves an address that lies below one base below another.
fn move_to(url: &mut url::Url, from: &url::Url, to: &url::Url) {
    let below = url.path().strip_prefix(from.path().trim_end_matches('/')).map(str::to_owned);
    if from == to || url.origin() != from.origin() {
        return;
    }
    let path = below.map_or(url.path().to_owned(), |below| format!("{}{below}", to.path().trim_end_matches('/')));
    let query = url.query().map(str::to_owned);
    *url = to.clone();
    url.set_path(&path);
    url.set_query(query.as_deref());
}

/// Returns the name in one part of a query.
fn name_of(part: &str) -> &str {
    part.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_moves_with_the_base_and_keeps_its_own_path_and_query() {
        let moved = |url: &str| {
            let mut url: url::Url = url.parse().unwrap();
            move_to(
                &mut url,
                &"https://old.example/v1".parse().unwrap(),
                &"https://new.example:8443/v2/".parse().unwrap(),
            );
            url.to_string()
        };
        assert_eq!(moved("https://old.example/v1/query?q=a%20b&c"), "https://new.example:8443/v2/query?q=a%20b&c");
        assert_eq!(moved("https://old.example/other"), "https://new.example:8443/other");
        assert_eq!(moved("https://elsewhere.example/v1/query"), "https://elsewhere.example/v1/query");
    }
}
