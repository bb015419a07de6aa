//! Sends requests: within the budgets, again after trouble that passes, with a new token once after a 401.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::DateTime;

use super::errors::{Verdict, retry_after};
use super::limits::Budget;
use super::values::Values;
use super::{Connector, Failure, Usage};
use crate::domain::manifest::{ErrorRule, Method, Rate};
use crate::error::{Exit, UserError};
use crate::http::{NoAnswer, Request, Response};

/// How often one request is tried altogether.
const TRIES: u32 = 5;
/// The first wait between two tries; each next one is twice as long, up to a minute.
const FIRST_WAIT: Duration = Duration::from_millis(500);
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
        let may_repeat = idempotent || request.method == Method::Get;
        let mut tries = 0;
        loop {
            self.wait_for_budget(request)?;
            tries += 1;
            Usage::add(&self.usage.requests, 1);
            let (wait, failure) = match self.client.send(request) {
                Ok(response) => {
                    Usage::add(&self.usage.bytes, response.bytes());
                    self.note_clock(&response);
                    match judge(&response, request) {
                        Verdict::Retry(wait, hint) => {
                            // Some say 0, or a moment that is over: that is no advice.
                            let told =
                                retry_after(&response, crate::config::now()).filter(|told| !told.is_zero()).or(wait);
                            if response.status == 429 {
                                self.hold_budgets(request, told.unwrap_or_else(|| backoff(tries)));
                            }
                            let limited = matches!(response.status, 403 | 429);
                            let code = if limited { "rate_limited" } else { "provider_failing" };
                            let error = self
                                .error(Exit::Unavailable, code, request, &response)
                                .hint("it is tried again at the next sync")
                                .hint_if(hint);
                            if told.is_some_and(|told| told > PARK) {
                                return Err(Failure::Defer(error));
                            }
                            (told, if limited { Failure::Defer(error) } else { Failure::Stream(error) })
                        }
                        _ => return Ok(response),
                    }
                }
                Err(why @ (NoAnswer::Forbidden(_) | NoAnswer::TooLarge(_) | NoAnswer::NoRoom(_))) => {
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

    fn wait_for_budget(&self, request: &Request) -> Result<(), Failure> {
        for (budget, rate) in self.budgets(request) {
            while let Some(wait) = self.limits.take(budget, rate, Instant::now()) {
                if wait > PARK {
                    return Err(Failure::Defer(
                        UserError::new(
                            Exit::Unavailable,
                            "rate_limited",
                            format!("{} asks to wait for {} minutes", self.manifest.title, wait.as_secs() / 60),
                        )
                        .hint("it is tried again at the next sync"),
                    ));
                }
                self.sleep(wait)?;
            }
        }
        Ok(())
    }

    fn hold_budgets(&self, request: &Request, wait: Duration) {
        for (budget, _) in self.budgets(request) {
            self.limits.hold(budget, Instant::now() + wait.min(PARK * 12));
        }
    }

    /// Returns the budgets a request counts against.
    fn budgets(&self, request: &Request) -> impl Iterator<Item = (&str, Rate)> {
        let path = request.url.path();
        let counts = move |budget: &&Budget| budget.only.as_ref().is_none_or(|only| only.is_match(path));
        self.budgets.iter().filter(counts).map(|budget| (budget.name.as_str(), budget.rate))
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
            // `Date` has whole seconds: less than two are no difference worth believing.
            self.skew_ms.store(if skew.abs() < 2_000 { 0 } else { skew }, Ordering::Relaxed);
        }
    }
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
