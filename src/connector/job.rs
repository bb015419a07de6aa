//! Jobs: a large read that the provider prepares first. Whether one is made, its creation, and the wait for its end.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::errors::facts_of;
use super::values::Values;
use super::{Connector, Failure};
use crate::domain::manifest::{ErrorRule, Job, Stream};
use crate::domain::path::Path;
use crate::error::{Exit, UserError};
use crate::http::Response;

/// The first wait between two looks at a job; each next one is twice as long, up to what the manifest says.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// A full read of a stream that a job may make.
#[derive(Clone, Copy)]
pub(crate) struct JobRead<'j> {
    pub(crate) stream: &'j Stream,
    pub(crate) job: &'j Job,
    /// The source paths that mappings need.
    pub(crate) fields: &'j [String],
    pub(crate) each: Option<&'j str>,
}

/// How a job ended.
pub(crate) enum JobEnd {
    /// What it found can be downloaded.
    Done,
    /// It has failed, or taken too long: nothing will come of it.
    Failed(UserError),
}

/// What a column of a download holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
}

/// The columns that hold something other than text.
#[derive(Debug, Default)]
pub(super) struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    pub(super) fn of(&self, column: &str) -> Kind {
        self.0.get(column).copied().unwrap_or(Kind::Text)
    }
}

impl<const N: usize> From<[(String, Kind); N]> for Kinds {
    fn from(kinds: [(String, Kind); N]) -> Self {
        Kinds(kinds.into())
    }
}

impl Connector<'_> {
    /// Returns whether there is so much to read that a job is made of it.
    pub(crate) fn wants_job(&self, read: &JobRead<'_>) -> Result<bool, Failure> {
        let Some(when) = &read.job.when else { return Ok(true) };
        let values = self.job_values(read, None);
        let from = values.text(&when.from)?.unwrap_or_default();
        let from: u64 = from.parse().map_err(|_| {
            let message = format!("`{from}` is not a number of records from which on a job is made");
            Failure::Stream(UserError::new(Exit::Invalid, "job_threshold_invalid", message))
        })?;
        if from == 0 {
            return Ok(true);
        }
        let request = self.request_get(&when.get, &when.query, &values)?;
        let what = request.shown();
        let response = match self.call(&read.stream.errors, &values, request, true) {
            // What cannot even be counted in the time allowed is large.
            Err(Failure::Halve(_)) => return Ok(true),
            answered => answered?,
        };
        let count = self.value_at(response, &when.count, &what)?;
        let count: u64 = count.parse().map_err(|_| {
            let message = format!("{what} answered without a number of records at `{}`", when.count);
            Failure::Stream(UserError::new(Exit::Unavailable, "count_missing", message))
        })?;
        Ok(count >= from)
    }

    /// Creates a job and returns its id. Sent once: a second one would be made where it is only the answer that was lost.
    pub(crate) fn create_job(&self, read: &JobRead<'_>) -> Result<String, Failure> {
        let values = self.job_values(read, None);
        let create = &read.job.create;
        let request = self.request_read(&create.request, &values)?;
        let what = request.shown();
        let response = self.call(&rules(&create.errors, read.stream), &values, request, false)?;
        self.value_at(response, &create.id, &what)
    }

    /// Waits until a job ends. One that takes longer than a run waits is left to the next run.
    pub(crate) fn await_job(&self, read: &JobRead<'_>, id: &str, since: DateTime<Utc>) -> Result<JobEnd, Failure> {
        let values = self.job_values(read, Some(id));
        let (poll, rules) = (&read.job.poll, rules(&read.job.errors, read.stream));
        let hint = poll.hint.as_ref().map(|hint| values.text(hint)).transpose()?.flatten();
        let (mut waited, mut wait) = (Duration::ZERO, FIRST_LOOK.min(poll.every.std()));
        loop {
            let request = self.request_get(&poll.get, &poll.query, &values)?;
            let what = request.shown();
            let response = self.call(&rules, &values, request, true)?;
            let facts = facts_of(&response);
            if poll.fail_when.holds(&facts) {
                let said = self.message_of(&response).map_or(String::new(), |said| format!(": {said}"));
                let error =
                    UserError::new(Exit::Unavailable, "job_failed", format!("the job of {what} has failed{said}"));
                return Ok(JobEnd::Failed(error.hint("the next sync makes another one").hint_if(hint)));
            }
            if poll.until.holds(&facts) {
                return Ok(JobEnd::Done);
            }
            if self.provider_time(crate::config::now()) - since > poll.timeout.delta() {
                let message = format!("the job of {what} is not done after {}", poll.timeout);
                let error = UserError::new(Exit::Unavailable, "job_timeout", message);
                return Ok(JobEnd::Failed(error.hint("the next sync makes another one").hint_if(hint)));
            }
            if waited + wait > poll.park.std() {
                let message = format!("the job of {what} is still at work");
                let error = UserError::new(Exit::Unavailable, "job_pending", message);
                return Err(Failure::Defer(error.hint("a later sync goes on with it"), None));
            }
            self.sleep(wait)?;
            waited += wait;
            wait = (wait * 2).min(poll.every.std());
        }
    }

    /// Deletes a job that is downloaded. Nothing depends on it: services forget jobs by themselves.
    pub(crate) fn delete_job(&self, read: &JobRead<'_>, id: &str) {
        let Some(path) = &read.job.delete else { return };
        let values = self.job_values(read, Some(id));
        if let Ok(request) = self.request_delete(path, &values) {
            self.call(&rules(&read.job.errors, read.stream), &values, request, false).ok();
        }
    }

    /// Returns which columns of a download are not text, as the provider tells it.
    pub(super) fn column_kinds(&self, stream: &Stream, values: &Values<'_>) -> Result<Kinds, Failure> {
        let mut kinds = Kinds::default();
        let Some(types) = stream.job.as_ref().and_then(|job| job.types.as_ref()) else { return Ok(kinds) };
        let request = self.request_get(&types.get, &crate::domain::manifest::Ordered::default(), values)?;
        let what = request.shown();
        let document = self.document(self.call(&stream.errors, values, request, true)?, &what)?;
        let columns =
            types.columns.find(&document).and_then(Value::as_array).ok_or_else(|| missing(&what, &types.columns))?;
        for column in columns {
            let text = |path: &Path| path.find(column).and_then(Value::as_str);
            let (Some(name), Some(kind)) = (text(&types.name), text(&types.kind)) else { continue };
            let is = |named: &[String]| named.iter().any(|named| named == kind);
            if is(&types.numbers) {
                kinds.0.insert(name.to_owned(), Kind::Number);
            } else if is(&types.booleans) {
                kinds.0.insert(name.to_owned(), Kind::Boolean);
            }
        }
        Ok(kinds)
    }

    fn job_values<'v>(&'v self, read: &JobRead<'v>, id: Option<&'v str>) -> Values<'v> {
        Values { fields: read.fields, each: read.each, job: id, ..self.values(Some(read.stream)) }
    }

    fn document(&self, response: Response, what: &str) -> Result<Value, Failure> {
        let text = self.text(response, what)?;
        serde_json::from_str(&text).map_err(|_| {
            let error = UserError::new(Exit::Unavailable, "bad_response", format!("{what} answered with broken JSON"));
            Failure::Stream(error.hint("the answer was cut off or garbled; try again later"))
        })
    }

    /// Returns a text or number of an answer.
    fn value_at(&self, response: Response, path: &Path, what: &str) -> Result<String, Failure> {
        let document = self.document(response, what)?;
        let found = path.find(&document).map(super::values::plain).filter(|text| !text.is_empty());
        found.ok_or_else(|| missing(what, path))
    }
}

/// Returns rules of a job followed by those of its stream.
fn rules(own: &[ErrorRule], stream: &Stream) -> Vec<ErrorRule> {
    own.iter().chain(&stream.errors).cloned().collect()
}

fn missing(what: &str, path: &Path) -> Failure {
    let message = format!("{what} answered without anything at `{path}`");
    Failure::Stream(
        UserError::new(Exit::Unavailable, "bad_response", message)
            .hint("the service may have changed; `skillsctl provider explain` shows what is expected"),
    )
}
