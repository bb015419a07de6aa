//! Sends requests: within the budgets, again after trouble that passes, with a new token once after a 401.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::errors::Verdict;
use super::limits::Budget;
use super::told::advice;
use super::values::Values;
use super::{Connector, Failure, Usage};
use crate::domain::manifest::{ErrorRule, Method};
use crate::error::{Exit, UserError};
use crate::http::{NoAnswer, Request, Response};

/// How often one request is tried altogether.
const TRIES: u32 = 5;
/// The first wait between two tries; each next one is twice as long, up to a minute.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 500 });
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A longer wait than this is not slept through: the run is deferred.
const PARK: Duration = Duration::from_secs(300);

impl Connector<'_> {
    /// Sends a request until its answer is judged fine, or fails. An empty page is an answer with an empty body.
    pub(super) fn call(
        &self,
        rules: &[ErrorRule],
        values: &Values<'_>,
        request: Request,
        idempotent: bool,
    ) -> Result<Response, Failure> {
        let mut request = request;
        let mut reauthorized = false;
        loop {
            let mut empty = false;
            let mut refused = None;
            let mut failed = None;
            let response = self.send_retrying(&request, idempotent, &mut |response, shown| match self
                .judge(rules, values, shown, response)
            {
                Ok(Verdict::Reauth(hint)) => {
                    let error = self.error(Exit::Refused, "credential_refused", shown, response);
                    refused = Some(error.hint(self.credential_hint()).hint_if(hint));
                    Verdict::Fine
                }
                Ok(Verdict::EmptyPage) => {
                    empty = true;
                    Verdict::Fine
                }
                Ok(Verdict::Fail(failure)) => {
                    failed = Some(failure);
                    Verdict::Fine
                }
                Ok(verdict) => verdict,
                Err(failure) => {
                    failed = Some(failure);
                    Verdict::Fine
                }
            })?;
            if let Some(failure) = failed {
                if let Failure::Defer(_, Some(until)) = &failure {
                    self.hold_budgets(&request, (*until - crate::config::now()).to_std().unwrap_or_default());
                }
                return Err(failure);
            }
            let Some(error) = refused else {
                return Ok(if empty {
                    Response { body: Vec::new(), spooled: None, status: 204, ..response }
                } else {
                    response
                });
            };
            if reauthorized || !self.renew(&mut request, values)? {
                self.forget_token()?;
                return Err(Failure::Refused(error));
            }
            reauthorized = true;
        }
    }

    /// Sends a request, and again while the verdict says so and tries are left.
    pub(super) fn send_retrying(
        &self,
        request: &Request,
        idempotent: bool,
        judge: &mut dyn FnMut(&Response, &Request) -> Verdict,
    ) -> Result<Response, Failure> {
        let client = self.client.as_ref().map_err(|error| Failure::Stream(error.clone()))?;
        let may_repeat = idempotent || request.method == Method::Get;
        let mut tries = 0;
        loop {
            let sent = self.wait_for_budget(request)?;
            tries += 1;
            Usage::add(&self.usage.requests, 1);
            let (wait, failure) = match client.send(request) {
                Ok(response) => {
                    Usage::add(&self.usage.bytes, response.bytes());
                    self.note_clock(&response);
                    self.budgets(request).for_each(|budget| budget.learn(&response, crate::config::now()));
                    match judge(&response, request) {
                        Verdict::Retry(wait, hint) => {
                            let told = advice(&response, crate::config::now()).or(wait);
                            if response.status == 429 {
                                self.budgets(request).for_each(|budget| budget.refused(sent));
                                match told {
                                    Some(told) => self.budgets(request).for_each(|budget| budget.advised(told)),
                                    None => self.hold_budgets(request, backoff(tries)),
                                }
                            }
                            let limited = matches!(response.status, 403 | 429);
                            let code = if limited { "rate_limited" } else { "provider_failing" };
                            let error = self
                                .error(Exit::Unavailable, code, request, &response)
                                .hint("it is tried again at the next sync")
                                .hint_if(hint.clone());
                            if let Some(told) = told.filter(|told| *told > PARK) {
                                let until = crate::config::now() + told;
                                return Err(Failure::Defer(error.hint(goes_on(until)).hint_if(hint), Some(until)));
                            }
                            (told, if limited { Failure::Defer(error, None) } else { Failure::Stream(error) })
                        }
                        _ => return Ok(response),
                    }
                }
                Err(
                    why @ (NoAnswer::Forbidden(_)
                    | NoAnswer::Untrusted(_)
                    | NoAnswer::TooLarge(_)
                    | NoAnswer::Bomb
                    | NoAnswer::NoRoom(_)),
                ) => {
                    return Err(self.unanswered(request, &why));
                }
                Err(why) => (None, self.unanswered(request, &why)),
            };
            if tries >= TRIES || !may_repeat {
                return Err(failure);
            }
            Usage::add(&self.usage.retries, 1);
            self.sleep(wait.unwrap_or_else(|| backoff(tries)))?;
        }
    }

    /// Waits until all budgets of a request have room for it. Returns the moment it counts from.
    fn wait_for_budget(&self, request: &Request) -> Result<u64, Failure> {
        let budgets: Vec<&Budget> = self.budgets(request).collect();
        loop {
            // None is taken from before all have room: it would count from a moment before the request is sent.
            let wait = match budgets.as_slice() {
                [] | [_] => Duration::ZERO,
                several => several.iter().map(|budget| budget.wait()).max().unwrap_or_default(),
            };
            let taken = if wait.is_zero() { budgets.iter().try_fold(0, |_, budget| budget.take()) } else { Err(wait) };
            match taken {
                Ok(sent) => return Ok(sent),
                Err(wait) if wait > PARK => return Err(self.parked(wait)),
                Err(wait) => self.sleep(wait)?,
            }
        }
    }

    /// Returns the failure of a run that would have to sleep too long.
    fn parked(&self, wait: Duration) -> Failure {
        let until = crate::config::now() + wait;
        let message = format!("the calls that {} allows are used up for now", self.manifest.title);
        let error = UserError::new(Exit::Unavailable, "rate_limited", message).hint(goes_on(until));
        Failure::Defer(error, Some(until))
    }

    fn hold_budgets(&self, request: &Request, wait: Duration) {
        self.budgets(request).for_each(|budget| budget.hold(wait));
    }

    /// Returns the budgets a request counts against.
    fn budgets(&self, request: &Request) -> impl Iterator<Item = &Budget> {
        let path = request.url.path();
        self.budgets.iter().filter(move |budget| budget.counts(path))
    }

    /// Sleeps in short pieces, so that a stop is noticed.
    pub(super) fn sleep(&self, wait: Duration) -> Result<(), Failure> {
        let until = Instant::now() + wait;
        Usage::add(&self.usage.waited_ms, u64::try_from(wait.as_millis()).unwrap_or(0));
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.stopped() {
                return Err(Failure::Stopped);
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        if self.stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// Learns how far the provider's clock is from ours.
    fn note_clock(&self, response: &Response) {
        if let Some(date) = response.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let skew = (date.to_utc() - crate::config::now()).num_milliseconds();
            // `Date` has whole seconds, cut off: less than two are no difference worth believing, and its moment is over by then.
            self.skew_ms.store(if skew.abs() < 2_000 { 0 } else { skew + 1_000 }, Ordering::Relaxed);
        }
    }
}

/// Returns the hint of a run that is parked.
fn goes_on(until: DateTime<Utc>) -> String {
    format!("what was read is kept; `skillsctl sync --all` goes on from {}", until.format("%F %H:%M UTC"))
}

/// Returns a wait that doubles with each try, drawn at random from its upper half so that clients do not return together.
fn backoff(tries: u32) -> Duration {
    let longest = (FIRST_WAIT * 2_u32.pow(tries.saturating_sub(1).min(10))).min(LONGEST_WAIT);
    let mut byte = [0_u8; 1];
    let share = match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 1.0,
    };
    longest.mul_f64(0.5 + share / 2.0)
}
