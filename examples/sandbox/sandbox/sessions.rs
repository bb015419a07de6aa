//! Access tokens given out by the token endpoints, and the calls counted against a rate.

use std::collections::{HashMap, VecDeque};

use super::clock::{self, SECOND, Ticks};
use super::encoding::base64_url;
use super::service::Service;

struct Session {
    service: Service,
    account: String,
    expires: Ticks,
}

/// What a token is good for.
#[derive(PartialEq, Debug)]
pub(crate) enum Pass {
    Open(String),
    Expired(String),
    Unknown,
}

#[derive(Default)]
pub(crate) struct Sessions {
    open: HashMap<String, Session>,
    /// How often each account's refresh token was replaced.
    rotations: HashMap<String, u64>,
    given: u64,
}

impl Sessions {
    /// Returns a new token that looks like a JWT and lives for `seconds`.
    pub(crate) fn open(&mut self, service: Service, account: &str, seconds: i64) -> String {
        self.given += 1;
        let claims = format!(r#"{{"client":"{account}","jti":"{}"}}"#, self.given);
        let token = format!(
            "{}.{}.{}",
            base64_url(br#"{"alg":"none","typ":"at+jwt"}"#),
            base64_url(claims.as_bytes()),
            base64_url(format!("sandbox {} {account} {}", service.name(), self.given).as_bytes())
        );
        let expires = clock::now() + seconds * SECOND;
        self.open.insert(token.clone(), Session { service, account: account.to_owned(), expires });
        token
    }

    pub(crate) fn pass(&self, service: Service, token: &str) -> Pass {
        match self.open.get(token).filter(|session| session.service == service) {
            None => Pass::Unknown,
            Some(session) if session.expires <= clock::now() => Pass::Expired(session.account.clone()),
            Some(session) => Pass::Open(session.account.clone()),
        }
    }

    /// Ends an account's sessions: its tokens are known, and no longer good.
    pub(crate) fn expire(&mut self, service: Service, account: &str) {
        for session in self.open.values_mut().filter(|open| open.service == service && open.account == account) {
            session.expires = 0;
        }
    }

    /// Returns the one refresh token that is good now.
    pub(crate) fn refresh_token(&self, account: &str) -> String {
        match self.rotations.get(account) {
            None => format!("sandbox-sfrefresh-{account}"),
            Some(times) => format!("sandbox-sfrotated{times}-{account}"),
        }
    }

    /// Returns the next refresh token; the one before is good no more.
    pub(crate) fn rotate(&mut self, account: &str) -> String {
        *self.rotations.entry(account.to_owned()).or_default() += 1;
        self.refresh_token(account)
    }
}

/// Calls in a sliding window, for each bucket.
#[derive(Default)]
pub(crate) struct Meters(HashMap<String, VecDeque<Ticks>>);

impl Meters {
    /// Counts a call: how many more fit into the window, or else the seconds until one does.
    pub(crate) fn admit(&mut self, bucket: String, limit: usize, window: Ticks) -> Result<usize, i64> {
        let now = clock::now();
        let calls = self.0.entry(bucket).or_default();
        while calls.front().is_some_and(|&at| at <= now - window) {
            calls.pop_front();
        }
        if calls.len() >= limit {
            let wait = calls.front().map_or(window, |&at| at + window - now);
            return Err((wait + SECOND - 1) / SECOND);
        }
        calls.push_back(now);
        Ok(limit - calls.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_opens_its_own_service_until_it_expires() {
        let mut sessions = Sessions::default();
        let token = sessions.open(Service::Bud, "acme", 60);
        assert_eq!(sessions.pass(Service::Bud, &token), Pass::Open("acme".into()));
        assert_eq!(sessions.pass(Service::HubSpot, &token), Pass::Unknown);
        sessions.expire(Service::Bud, "acme");
        assert_eq!(sessions.pass(Service::Bud, &token), Pass::Expired("acme".into()));
    }

    #[test]
    fn a_full_window_says_how_long_to_wait() {
        let mut meters = Meters::default();
        assert_eq!(meters.admit("a".into(), 2, 10 * SECOND), Ok(1));
        assert_eq!(meters.admit("a".into(), 2, 10 * SECOND), Ok(0));
        assert_eq!(meters.admit("a".into(), 2, 10 * SECOND), Err(10));
        assert_eq!(meters.admit("b".into(), 2, 10 * SECOND), Ok(1));
    }
}
