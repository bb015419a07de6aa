//! How an instant is written for programs: RFC 3339 in UTC with milliseconds. For `#[serde(serialize_with = ..)]`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Writes an instant.
pub(crate) fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Writes an instant, or null for what has not happened.
pub(crate) fn instant_or_null<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => instant(at, serializer),
        None => serializer.serialize_none(),
    }
}
