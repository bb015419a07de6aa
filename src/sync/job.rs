//! Large full reads: has the provider prepare one by a job, and keeps that job from the moment there is one.

use chrono::{DateTime, Utc};

use super::resolve::StreamPlan;
use crate::connector::{Connector, Failure, JobEnd, JobRead};
use crate::store::state::{Mode, OpenJob, OpenRead};

/// Returns the read that a job may make, if the stream has such.
fn job_read<'p>(plan: &'p StreamPlan, open: &OpenRead) -> Option<JobRead<'p>> {
    let job = plan.stream.job.as_ref().filter(|_| open.mode == Mode::Full)?;
    let each = plan.each.get(open.each).and_then(Option::as_deref);
    Some(JobRead { stream: &plan.stream, job, fields: &plan.transform.wanted, each })
}

/// Makes sure that a job that is to make a read is done. `keep` stores the read whenever its job has changed. Returns
/// why plain pages are read instead, where the provider has refused to make a job.
pub(super) fn prepare(
    connector: &Connector<'_>,
    plan: &StreamPlan,
    open: &mut OpenRead,
    now: DateTime<Utc>,
    mut keep: impl FnMut(&OpenRead) -> Result<(), Failure>,
) -> Result<Option<String>, Failure> {
    // A read that has come to its second page goes on as it began.
    let Some(read) = job_read(plan, open).filter(|_| open.position.is_none()) else { return Ok(None) };
    if open.job.is_none() {
        if !connector.wants_job(&read)? {
            return Ok(None);
        }
        let id = match connector.create_job(&read) {
            Ok(id) => id,
            Err(Failure::NoJob(error)) => return Ok(Some(error.message)),
            Err(failure) => return Err(failure),
        };
        open.job = Some(OpenJob { id, since: connector.provider_time(now) });
        keep(open)?;
    }
    let Some(job) = &open.job else { return Ok(None) };
    match connector.await_job(&read, &job.id, job.since)? {
        JobEnd::Done => Ok(None),
        JobEnd::Failed(error) => {
            connector.delete_job(&read, &job.id);
            open.job = None;
            keep(open)?;
            Ok(Some(error.message))
        }
    }
}

/// Has the provider forget a job whose pages are all stored.
pub(super) fn clear(connector: &Connector<'_>, plan: &StreamPlan, open: &OpenRead) {
    if let (Some(read), Some(job)) = (job_read(plan, open), &open.job) {
        connector.delete_job(&read, &job.id);
    }
}
