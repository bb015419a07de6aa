//! Judges answers: the manifest's rules first, then what HTTP says, then whether the body is what it should be.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Connector;
use super::told::advice;
use super::values::Values;
use crate::domain::json;
use crate::domain::manifest::{Action, ErrorRule};
use crate::error::{Exit, UserError};
use crate::http::{NoAnswer, Request, Response};
use crate::mutants;

/// Why a read ends before its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The credential is bad, or belongs to another account.
    Refused(UserError),
    /// This stream cannot be read; the others can.
    Skip(UserError),
    /// The position is no longer known: read the window from its start.
    Restart(UserError),
    /// The answers contradict themselves: what the read has shown so far proves nothing.
    Distrust(UserError),
    /// The window holds too much: read it in parts.
    Halve(UserError),
    /// No job is made of this: read plain pages.
    NoJob(UserError),
    /// Come back later, not before the moment that the provider asks for, if it does; the position is kept.
    Defer(UserError, Option<DateTime<Utc>>),
    /// The stream failed.
    Stream(UserError),
    /// Ended from outside.
    Stopped,
    /// A fault of ours, or of the database.
    Internal(anyhow::Error),
}

/// What to do about an answer.
#[derive(Debug)]
pub(super) enum Verdict {
    Fine,
    EmptyPage,
    /// Try again, after this long if the rule says so; the hint is for when that does not help.
    Retry(Option<Duration>, Option<String>),
    /// Get another token and try again once; the hint is for when that does not help.
    Reauth(Option<String>),
    Fail(Failure),
}

impl Connector<'_> {
    /// Judges an answer by the rules of the stream, then of the provider, then of HTTP.
    pub(super) fn judge(
        &self,
        rules: &[ErrorRule],
        values: &Values<'_>,
        request: &Request,
        response: &Response,
    ) -> Result<Verdict, Failure> {
        if response.status == 429 && mutants::on("swallow-429") {
            return Ok(Verdict::EmptyPage);
        }
        let mut facts = None;
        for rule in rules.iter().chain(&self.manifest.http.errors) {
            if !rule.status.0.is_empty() && !rule.status.0.contains(&response.status) {
                continue;
            }
            // A rule without any condition on the status is not held against every good page unless its expression says so.
            if let Some(when) = &rule.when {
                let facts = facts.get_or_insert_with(|| facts_of(response));
                if !when.holds(facts) {
                    continue;
                }
            }
            let hint = rule.hint.as_ref().map(|hint| values.text(hint)).transpose()?.flatten();
            return Ok(self.verdict(rule, hint, request, response));
        }
        Ok(match response.status {
            // Nothing proves nothing: a service that answers so for an empty page has a rule that says it.
            204 | 205 => Verdict::Fail(Failure::Stream(
                self.error(Exit::Unavailable, "empty_answer", request, response)
                    .hint("check `api_url`: a proxy or another service may answer there"),
            )),
            200..=299 => Verdict::Fine,
            401 => Verdict::Reauth(None),
            408 | 425 | 429 | 500..=599 => Verdict::Retry(None, None),
            300..=399 => Verdict::Fail(Failure::Stream(
                self.error(Exit::Unavailable, "redirected", request, response)
                    .hint("redirects are not followed, as they would carry the credential along; check `api_url`"),
            )),
            403 => Verdict::Fail(Failure::Refused(
                self.error(Exit::Refused, "not_allowed", request, response)
                    .hint("the credential lacks the right to read this; ask the provider's administrator"),
            )),
            404 | 410 => Verdict::Fail(Failure::Stream(
                self.error(Exit::Unavailable, "not_found_at_provider", request, response)
                    .hint("check `api_url` and the other settings with `skillsctl config show`"),
            )),
            _ => Verdict::Fail(Failure::Stream(self.error(Exit::Unavailable, "provider_rejected", request, response))),
        })
    }

    fn verdict(&self, rule: &ErrorRule, hint: Option<String>, request: &Request, response: &Response) -> Verdict {
        let error = |exit, code| self.error(exit, code, request, response).hint_if(hint.clone());
        match rule.action {
            Action::Retry => Verdict::Retry(rule.wait.map(|wait| wait.std()), hint),
            Action::Reauth => Verdict::Reauth(hint),
            Action::EmptyPage => Verdict::EmptyPage,
            Action::Refuse => Verdict::Fail(Failure::Refused(error(Exit::Refused, "credential_refused"))),
            Action::SkipStream => Verdict::Fail(Failure::Skip(error(Exit::Refused, "stream_not_readable"))),
            Action::RestartWindow => {
                let lost = self.error(Exit::Unavailable, "position_lost", request, response);
                Verdict::Fail(Failure::Restart(lost.hint("the next sync begins this read again").hint_if(hint)))
            }
            Action::HalveWindow => Verdict::Fail(Failure::Halve(error(Exit::Unavailable, "window_too_large"))),
            Action::SkipJob => Verdict::Fail(Failure::NoJob(error(Exit::Unavailable, "job_refused"))),
            Action::FailStream => Verdict::Fail(Failure::Stream(error(Exit::Unavailable, "provider_rejected"))),
            Action::Defer => {
                let now = crate::config::now();
                let wait = advice(response, now).or(rule.wait.map(|wait| wait.std()));
                Verdict::Fail(Failure::Defer(error(Exit::Unavailable, "rate_limited"), wait.map(|wait| now + wait)))
            }
        }
    }

    /// Returns the error of an answer: method, address without query, status, and what the provider says is wrong.
    pub(super) fn error(&self, exit: Exit, code: &'static str, request: &Request, response: &Response) -> UserError {
        let mut said = self.message_of(response).map_or(String::new(), |said| format!(": {said}"));
        if mutants::on("header-told") {
            said += &format!("{:?}", request.headers);
        }
        UserError::new(exit, code, format!("{} answered {}{said}", request.shown(), response.status))
    }

    /// Returns what the provider says is wrong, where the manifest tells the place; never the body as such.
    pub(super) fn message_of(&self, response: &Response) -> Option<String> {
        let document = json::document_of(&response.body).ok()?;
        let said = self
            .manifest
            .http
            .error_message
            .iter()
            .find_map(|path| path.find(&document)?.as_str().filter(|said| !said.is_empty()))?;
        Some(self.harmless(said))
    }

    /// Returns what says where a request goes: the setting whose value is an address there.
    fn address_setting(&self, request: &Request) -> String {
        let leads_there = |value: &Value| {
            let url = value.as_str().and_then(|text| text.parse::<url::Url>().ok());
            url.is_some_and(|url| url.origin() == request.url.origin())
        };
        let named = |name: &str| self.settings.get(name).is_some_and(leads_there).then(|| name.to_owned());
        let other = || self.settings.iter().find(|(_, value)| leads_there(value)).map(|(name, _)| name.clone());
        named("api_url").or_else(other).map_or_else(
            || format!("the settings that make up `{}`", request.url.host_str().unwrap_or_default()),
            |name| format!("`{name}`"),
        )
    }

    /// Returns the error of a request that got no answer.
    pub(super) fn unanswered(&self, request: &Request, why: &NoAnswer) -> Failure {
        let failed =
            |code, why: String| UserError::new(Exit::Unavailable, code, format!("{} failed: {why}", request.shown()));
        Failure::Stream(match why {
            NoAnswer::Forbidden(why) => {
                UserError::new(Exit::Invalid, "address_refused", format!("{} was not sent: {why}", request.shown()))
                    .hint(format!(
                        "correct {}, or what is allowed of it: `skillsctl help network`",
                        self.address_setting(request)
                    ))
            }
            NoAnswer::Untrusted(why) => failed("tls_untrusted", why.clone()).hint(
                "if the service is one of your own network, set `ca_file` to its authority's certificates; nothing was sent",
            ),
            NoAnswer::Unreachable(why) => {
                let setting = self.address_setting(request);
                failed("provider_unreachable", why.clone()).hint(format!("check {setting} and the network, then try again"))
            }
            NoAnswer::TimedOut => {
                failed("provider_timeout", "there was no complete answer in time".into()).hint("try again later")
            }
            NoAnswer::Broken(why) => failed("bad_response", why.clone()).hint("try again later"),
            NoAnswer::TooLarge(limit) => {
                failed("response_too_large", format!("the answer is larger than {limit} bytes"))
                    .hint("set a smaller `page_size`")
            }
            NoAnswer::Bomb => {
                failed("response_too_large", "the answer is packed as no honest one is".into())
                    .hint("ask the provider what answers at this address")
            }
            NoAnswer::NoRoom(why) => failed("no_room", format!("its answer cannot be kept on the disk: {why}"))
                .hint("make room beside the database, or set a smaller `page_size`"),
        })
    }
}

/// Returns what expressions of rules may ask: `status`, `headers` by lower-case name, and `body`.
pub(super) fn facts_of(response: &Response) -> minijinja::Value {
    let body = json::document_of(&response.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.body[..response.body.len().min(4096)])));
    let headers: std::collections::BTreeMap<&str, &str> =
        response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    minijinja::context! {
        status => response.status,
        headers => minijinja::value::Serde(headers),
        body => minijinja::value::Serde(body),
    }
}
