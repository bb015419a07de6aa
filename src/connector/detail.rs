//! Detail calls: each thin record of a page is completed by a call of its own, several at once.
//!
//! One that fails whatever is tried must not hold up the others for ever: it is handed on as it is, with the reason. Many
//! that fail are the service's trouble, and end the read.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::values::Values;
use super::{Connector, Failure, decode, lenient};
use crate::domain::manifest::key::joined;
use crate::domain::manifest::{Action, Detail, ErrorRule, Stream};
use crate::domain::path::{Projection, Span};
use crate::error::{Exit, UserError, run_at_hand, working_on};

/// So many detail calls may fail before it is no longer the records' trouble.
pub(super) const FEW: usize = 5;

/// What became of a detail call.
#[derive(Debug)]
pub(crate) enum Detailed {
    /// The record in full.
    Full(String),
    /// The record has gone meanwhile.
    Gone,
    /// There is no telling, and trying again did not help.
    Failed(UserError),
    /// The credential was not let in for this one. It is only doubted where it was let in for none.
    Refused(UserError),
    /// It was not made, as too many before it had failed.
    Untried,
}

/// A record whose details could not be read.
#[derive(Debug)]
pub(crate) struct Undetailed {
    /// The record as far as it is known.
    pub(crate) record: String,
    pub(crate) reason: String,
    /// The value of the loop it was read for.
    pub(crate) each: Option<String>,
}

impl Undetailed {
    pub(super) fn new(record: &str, error: &UserError, each: Option<&str>) -> Self {
        Undetailed { record: record.to_owned(), reason: reason(error), each: each.map(str::to_owned) }
    }
}

/// Returns why a record has no details, as it is kept with the record.
pub(crate) fn reason(error: &UserError) -> String {
    format!("its details cannot be read: {}", error.message)
}

impl Connector<'_> {
    /// Asks for the details of records that were set aside without them. Gives up after a few that fail.
    pub(crate) fn details(
        &self,
        stream: &Stream,
        thin: &[(&str, Option<&str>)],
        fields: &[String],
    ) -> Result<Vec<Detailed>, Failure> {
        let Some(detail) = &stream.detail else { return Ok(Vec::new()) };
        let values = Values { fields, ..self.values(Some(stream)) };
        let mut answers = Vec::with_capacity(thin.len());
        for record in thin {
            answers.push(match self.detailed((stream, detail), &[*record], &values, FEW) {
                // What is refused for one record is no proof against the credential: the pages have just been read with it.
                Ok(mut answer) => match answer.pop().unwrap_or(Detailed::Untried) {
                    Detailed::Refused(error) => Detailed::Failed(error),
                    answer => answer,
                },
                Err(
                    Failure::Refused(error)
                    | Failure::Skip(error)
                    | Failure::Restart(error)
                    | Failure::Distrust(error)
                    | Failure::Halve(error)
                    | Failure::NoJob(error),
                ) if error.exit == Exit::Refused || error.exit == Exit::Unavailable => Detailed::Failed(error),
                Err(failure) => return Err(failure),
            });
            let failed = answers.iter().filter(|answer| matches!(answer, Detailed::Failed(_))).count();
            if failed > FEW {
                break;
            }
        }
        answers.resize_with(thin.len(), || Detailed::Untried);
        Ok(answers)
    }

    /// Makes the detail calls of records, each with the value of the loop it belongs to, until more than `most` have failed.
    pub(super) fn detailed(
        &self,
        (stream, detail): (&Stream, &Detail),
        thin: &[(&str, Option<&str>)],
        values: &Values<'_>,
        most: usize,
    ) -> Result<Vec<Detailed>, Failure> {
        let rules = gone_or(detail, &stream.errors);
        let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let answers: Vec<Mutex<Result<Detailed, Failure>>> =
            thin.iter().map(|_| Mutex::new(Ok(Detailed::Untried))).collect();
        let run = run_at_hand();
        std::thread::scope(|scope| {
            for _ in 0..detail.concurrent.min(thin.len()) {
                scope.spawn(|| {
                    working_on(run);
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((record, each)) = thin.get(index) else { return };
                        let values = Values { each: *each, ..values.clone() };
                        let answer = match self.detail((stream, detail), &rules, record, &values) {
                            // Settings that no request can be made of are nothing that a record can help.
                            Err(Failure::Stream(error)) if error.exit == Exit::Unavailable => {
                                Ok(Detailed::Failed(error))
                            }
                            Err(Failure::Refused(error) | Failure::Skip(error)) if error.exit == Exit::Refused => {
                                Ok(Detailed::Refused(error))
                            }
                            answer => answer,
                        };
                        let too_many = matches!(answer, Ok(Detailed::Failed(_) | Detailed::Refused(_)))
                            && failed.fetch_add(1, Ordering::Relaxed) >= most;
                        if too_many || answer.is_err() {
                            next.store(thin.len(), Ordering::Relaxed);
                        }
                        *answers[index].lock().unwrap_or_else(PoisonError::into_inner) = answer;
                    }
                });
            }
        });
        answers.into_iter().map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Returns what one detail call gave.
    fn detail(
        &self,
        (stream, detail): (&Stream, &Detail),
        rules: &[ErrorRule],
        record: &str,
        values: &Values<'_>,
    ) -> Result<Detailed, Failure> {
        // What is no JSON has no details to be asked for; it is told apart further on.
        let Some(parsed) = lenient::document(record) else { return Ok(Detailed::Full(record.to_owned())) };
        let values = Values { record: Some(&parsed), ..values.clone() };
        let request = self.request_get(&detail.get, &detail.query, &values)?;
        let what = request.shown();
        match self.call(rules, &values, request, true) {
            Ok(response) if response.status == 204 => Ok(Detailed::Gone),
            Ok(response) => {
                let text = self.text(response, &what)?;
                proven(stream, record, &text, &what)?;
                Ok(Detailed::Full(text))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Returns the rules for the answers of detail calls: what says that a record has gone comes first.
fn gone_or(detail: &Detail, rules: &[ErrorRule]) -> Vec<ErrorRule> {
    let status = detail.missing_ok.0.clone();
    let gone = ErrorRule { status, when: None, action: Action::EmptyPage, wait: None, hint: None };
    let gone = Some(gone).filter(|gone| !gone.status.0.is_empty());
    gone.into_iter().chain(rules.iter().cloned()).collect()
}

/// Proves that an answer is the record that was asked for, and not an error or another one with status 200.
fn proven(stream: &Stream, thin: &str, text: &str, what: &str) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Failure::Stream(UserError::new(Exit::Unavailable, "bad_response", format!("{what} answered with {why}")))
    };
    let mut projection = Projection::default();
    let slots: Vec<usize> = stream.key.paths().map(|path| projection.add(path)).collect();
    let key = |values: &[Span], text: &str| {
        let parts = slots.iter().map(|slot| values[*slot].of(text).and_then(decode::scalar).map(Cow::Owned));
        joined(parts).map(Cow::into_owned)
    };
    let mut values = Vec::new();
    let asked = projection.take(thin, &mut values).ok().and_then(|_| key(&values, thin));
    if projection.take(text, &mut values).is_err() {
        return Err(wrong("what is no well-formed JSON"));
    }
    match key(&values, text) {
        None => Err(wrong(&format!("a record that has no `{}`", stream.key))),
        Some(key) if asked.is_some_and(|asked| !asked.eq_ignore_ascii_case(&key)) => {
            Err(wrong("another record than the one asked for"))
        }
        Some(_) => Ok(()),
    }
}
